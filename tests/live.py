"""Cameras on loopback that send numbered frames when they are told to: MJPEG over HTTP, RTSP, and one in place of OpenCV's."""

from __future__ import annotations

import functools
import http.server
import select
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from maskyolo.images import ImageArray, read_image

BITS = 16

#: Frames that a camera sends of itself as soon as somebody is there.
FIRST = 10

RTSP_SERVER = Path(__file__).with_name("rtsp_server.py")


def until(condition: Callable[[], object], seconds: float = 30) -> None:
    """Return as soon as a condition holds; fail when it does not come."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.002)


def stamp(image: ImageArray, number: int) -> ImageArray:
    """Write a number into the top of a picture as a bar code, lowest bit on the left, so that no encoder can hide it."""
    width = image.shape[1] // BITS
    for bit in range(BITS):
        image[: image.shape[0] // 8, bit * width : (bit + 1) * width] = 255 * (number >> bit & 1)
    return image


def number_of(image: ImageArray) -> int:
    """Read the number that `stamp` has written."""
    width = image.shape[1] // BITS
    return sum(
        int(image[image.shape[0] // 16, bit * width + width // 2].mean() > 128) << bit
        for bit in range(BITS)
    )


class Mjpeg:
    """An MJPEG server: a photo of the samples, over and over, with the number of each frame.

    Attributes:
        sent: frames that were given out so far; the next one has this number.
        delay: newest frames that may stay behind in the decoder until more come.
    """

    def __init__(self, photo: Path) -> None:
        self._photo = read_image(photo)
        self._frames: list[bytes] = []
        self._begin = 0
        self._changed = threading.Condition()
        self._size, self.delay = (320, 240), 0
        self._broken: bytes | None = None
        self._connections = 0
        self._server: http.server.ThreadingHTTPServer | None = None
        self.logins: set[str | None] = set()
        self.start(0)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/live.mjpg"

    @property
    def sent(self) -> int:
        return len(self._frames)

    def send(self, count: int, size: tuple[int, int] | None = None) -> None:
        """Give out some frames, from here on of another size if one is given."""
        self._size = size or self._size
        for _ in range(count):
            frame = stamp(np.asarray(cv2.resize(self._photo, self._size), np.uint8), self.sent)
            with self._changed:
                self._frames.append(cv2.imencode(".jpg", frame)[1].tobytes())
                self._changed.notify_all()

    def die(self) -> None:
        """Break off in the middle of a frame, and listen no more."""
        assert self._server
        with self._changed:
            self._broken = self._frames[-1][:3000]
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()
        until(lambda: not self._connections)

    def start(self, port: int | None = None) -> None:
        """Listen, on the same port as before; who connects gets the frames from now on, some at once."""
        camera, self._broken, self._begin = self, None, self.sent

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None:
                pass

            def do_GET(self) -> None:
                camera.logins.add(self.headers["Authorization"])
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                camera._stream(self)

        http.server.ThreadingHTTPServer.allow_reuse_address = True
        self._server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", self.port if port is None else port), Handler
        )
        self._server.daemon_threads = True
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self.send(FIRST)

    def _stream(self, client: http.server.BaseHTTPRequestHandler) -> None:
        place = self._begin
        with self._changed:
            self._connections += 1
        try:
            while True:
                with self._changed:
                    if not self._broken and place == self.sent:
                        self._changed.wait(timeout=0.05)
                    broken, frames = self._broken, self._frames[place:]
                for frame in [broken] if broken else frames:
                    head = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % (
                        len(frame) + bool(broken)
                    )
                    client.wfile.write(head + frame + b"\r\n" * (not broken))
                place += len(frames)
                if (
                    broken or select.select([client.connection], [], [], 0)[0]
                ):  # a client says no more unless it leaves
                    return
        except OSError:
            pass
        finally:
            with self._changed:
                self._connections -= 1


class Rtsp:
    """An RTSP server with H.264, as a process of its own with GStreamer (Debian: gir1.2-gst-rtsp-server-1.0, see `missing`)."""

    def __init__(self) -> None:
        self.sent, self.port, self.delay = 0, 0, 1
        self.start()

    @staticmethod
    @functools.cache
    def missing() -> str:
        """Return why it cannot run here, or nothing."""
        wanted = "for name in ('appsrc', 'x264enc', 'rtph264pay'): assert Gst.ElementFactory.find(name), name"
        versions = "gi.require_version('Gst', '1.0'); gi.require_version('GstRtspServer', '1.0')"
        code = f"import gi; {versions}; from gi.repository import Gst, GstRtspServer; Gst.init(None)\n{wanted}"
        python = shutil.which("python3", path="/usr/bin")
        if (
            python is None
            or subprocess.run(
                [python, "-c", code], capture_output=True, timeout=60, check=False
            ).returncode
        ):
            packages = "python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly"
            return f"needs the system's Python with GStreamer's RTSP server (Debian: apt-get install {packages})"
        return ""

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/live"

    def send(self, count: int, size: tuple[int, int] | None = None) -> None:
        """Give out some frames, from here on of another size if one is given."""
        for line in ["{}x{}".format(*size)] if size else []:
            self._say(line)
        self._say(str(count))
        self.sent += count

    def die(self) -> None:
        """Be killed."""
        self._process.kill()
        self._process.communicate()

    def start(self) -> None:
        """Listen, on the same port as before, and number frames on; who connects gets some at once."""
        command = ["/usr/bin/python3", str(RTSP_SERVER), str(self.port), str(self.sent), str(FIRST)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout
        self.port = int(self._process.stdout.readline())
        self.sent += FIRST

    def _say(self, line: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()


class Webcam:
    """A camera in place of `cv2.VideoCapture`, which is told what to send in the same way."""

    def __init__(self) -> None:
        self.sent, self.url, self.delay = 0, "0", 0
        self._waiting: list[ImageArray] = []
        self._changed = threading.Condition()
        self._there, self._size = True, (320, 240)
        self.start()

    def __call__(self, index: int) -> Webcam:
        return self

    def send(self, count: int, size: tuple[int, int] | None = None) -> None:
        """Give out some frames, from here on of another size if one is given."""
        self._size = size or self._size
        with self._changed:
            for _ in range(count):
                self._waiting.append(
                    stamp(np.full((self._size[1], self._size[0], 3), 128, np.uint8), self.sent)
                )
                self.sent += 1
            self._changed.notify_all()

    def die(self) -> None:
        """Be unplugged."""
        with self._changed:
            self._there = False
            self._changed.notify_all()

    def start(self) -> None:
        """Be plugged in again."""
        self._there, self._waiting = True, []
        self.send(FIRST)

    def isOpened(self) -> bool:  # noqa: N802  OpenCV's name
        return self._there

    def get(self, key: int) -> float:
        return 0.0

    def read(self) -> tuple[bool, ImageArray | None]:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or not self._there)
            return (True, self._waiting.pop(0)) if self._there else (False, None)

    def release(self) -> None:
        pass
