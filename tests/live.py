"""Cameras on loopback that send numbered frames on command.

There is MJPEG over HTTP, RTSP, and a stand-in for OpenCV's cameras.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import select
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from maskyolo.core.images import ImageArray, read_image

BITS = 16

#: Number of frames that a camera sends by itself as soon as a client connects.
FIRST = 10

RTSP_SERVER = Path(__file__).with_name("rtsp_server.py")


def until(condition: Callable[[], object], seconds: float = 30) -> None:
    """Return as soon as a condition holds; fail if it does not within so many seconds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition never held"
        time.sleep(0.002)


def stamp(image: ImageArray, number: int) -> ImageArray:
    """Write a number into the top of an image as a bar code that survives encoding.

    The lowest bit is on the left.
    """
    width = image.shape[1] // BITS
    for bit in range(BITS):
        image[: image.shape[0] // 8, bit * width : (bit + 1) * width] = 255 * (number >> bit & 1)
    return image


def number_of(image: ImageArray) -> int:
    """Read the number that `stamp` wrote."""
    width = image.shape[1] // BITS
    return sum(
        int(image[image.shape[0] // 16, bit * width + width // 2].mean() > 128) << bit
        for bit in range(BITS)
    )


class Mjpeg:
    """An MJPEG server that repeats a sample photo, with the number of each frame.

    Attributes:
        sent: number of frames sent so far; the next one has this number.
        delay: number of frames that may stay in the decoder until more arrive.
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
        """Send some frames; `size` (width, height) applies to these and later ones."""
        self._size = size or self._size
        for _ in range(count):
            frame = stamp(np.asarray(cv2.resize(self._photo, self._size), np.uint8), self.sent)
            with self._changed:
                self._frames.append(cv2.imencode(".jpg", frame)[1].tobytes())
                self._changed.notify_all()

    def die(self) -> None:
        """Break off in the middle of a frame, and stop listening."""
        assert self._server
        with self._changed:
            self._broken = self._frames[-1][:3000]
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()
        until(lambda: not self._connections)

    def start(self, port: int | None = None) -> None:
        """Listen, by default on the previous port.

        A client gets the frames from now on, the first ones immediately.
        """
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
                # a client only becomes readable when it disconnects
                if broken or select.select([client.connection], [], [], 0)[0]:
                    return
        except OSError:
            pass
        finally:
            with self._changed:
                self._connections -= 1


class Rtsp:
    """An RTSP server with H.264, in its own process with GStreamer.

    Debian: gir1.2-gst-rtsp-server-1.0; see `missing`.
    """

    def __init__(self) -> None:
        self.sent, self.port, self.delay = 0, 0, 1
        self.start()

    @staticmethod
    @functools.cache
    def missing() -> str:
        """Return why it cannot run here, or an empty string."""
        code = """
import gi
gi.require_version('Gst', '1.0')
gi.require_version('GstRtspServer', '1.0')
from gi.repository import Gst, GstRtspServer
Gst.init(None)
for name in ('appsrc', 'x264enc', 'rtph264pay'):
    assert Gst.ElementFactory.find(name), name
"""
        python = shutil.which("python3", path="/usr/bin")
        if (
            python is None
            or subprocess.run(
                [python, "-c", code], capture_output=True, timeout=60, check=False
            ).returncode
        ):
            plugins = " ".join(f"gstreamer1.0-plugins-{kind}" for kind in ("base", "good", "ugly"))
            packages = f"python3-gi gir1.2-gst-rtsp-server-1.0 {plugins}"
            return (
                "needs the system's Python with GStreamer's RTSP server "
                f"(Debian: apt-get install {packages})"
            )
        return ""

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/live"

    def send(self, count: int, size: tuple[int, int] | None = None) -> None:
        """Send some frames; `size` (width, height) applies to these and later ones."""
        for line in ["{}x{}".format(*size)] if size else []:
            self._say(line)
        self._say(str(count))
        self.sent += count

    def die(self) -> None:
        """Kill the process."""
        self._process.kill()
        self._process.communicate()

    def start(self) -> None:
        """Listen, on the same port as before, and continue the numbering.

        A client gets the first frames immediately.
        """
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
    """A stand-in for `cv2.VideoCapture` that sends frames on command, like the others."""

    def __init__(self) -> None:
        self.sent, self.url, self.delay = 0, "0", 0
        self._waiting: list[ImageArray] = []
        self._changed = threading.Condition()
        self._there, self._size = True, (320, 240)
        self.start()

    def __call__(self, index: int) -> Webcam:
        return self

    def send(self, count: int, size: tuple[int, int] | None = None) -> None:
        """Send some frames; `size` (width, height) applies to these and later ones."""
        self._size = size or self._size
        with self._changed:
            for _ in range(count):
                self._waiting.append(
                    stamp(np.full((self._size[1], self._size[0], 3), 128, np.uint8), self.sent)
                )
                self.sent += 1
            self._changed.notify_all()

    def die(self) -> None:
        """Unplug the camera."""
        with self._changed:
            self._there = False
            self._changed.notify_all()

    def start(self) -> None:
        """Plug the camera in again."""
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


class Web:
    """A web server on loopback that answers by path with what a test says.

    An answer is the raw bytes of headers and body, without the status line, or a function that
    gets the connection and an event that is set when the test ends.

    Attributes:
        asked: the paths that were requested, in order.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.over = threading.Event()
        self._answers: dict[str, bytes | Callable[[socket.socket, threading.Event], None]] = {}
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    def put(
        self,
        path: str,
        body: bytes | Callable[[socket.socket, threading.Event], None],
        kind: str = "application/octet-stream",
        length: bool = True,
    ) -> str:
        """Answer a path with a body, or with what a function sends; return its address."""
        if isinstance(body, bytes):
            size = f"Content-Length: {len(body)}\r\n" if length else ""
            head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nConnection: close\r\n{size}\r\n"
            body = head.encode() + body
        self._answers[path] = body
        return self.url + path

    def close(self) -> None:
        self.over.set()
        self._socket.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client = self._socket.accept()[0]
                threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            request = b""
            while b"\r\n\r\n" not in request:
                if not (block := client.recv(4096)):
                    return
                request += block
            path = request.split()[1].decode()
            self.asked.append(path)
            answer = self._answers.get(path, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            if isinstance(answer, bytes):
                client.sendall(answer)
            else:
                answer(client, self.over)
