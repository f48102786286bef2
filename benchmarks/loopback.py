"""Cameras on loopback whose frames carry the time at which they were sent; used by other scripts.

A bar code of 16 bits at the top of each frame is the sending time in milliseconds, modulo 65,536.
It survives encoding, so that whoever gets the frame, in whatever way, knows how old it is.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

CLIP = Path(__file__).parent.parent / "data" / "samples" / "street.mp4"
BITS = 16
ROW = 16  # height of the bar code in pixels

#: Runs in the system's Python, with GStreamer's RTSP server; see tests/live.py for the packages.
RTSP = """
import sys, time, gi
gi.require_version("Gst", "1.0"); gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer
Gst.init(None)
path, width, height, rate, bits, row = sys.argv[1], *map(int, sys.argv[2:7])
raw, size = open(path, "rb").read(), width * height * 3 // 2
clip = [raw[at : at + size] for at in range(0, len(raw), size)]
source, number = None, 0

def send():
    global number
    if source:
        stamp = int(time.time() * 1000) % (1 << bits)
        bar = b"".join(
            (b"\\xeb" if stamp >> bit & 1 else b"\\x10") * (width // bits) for bit in range(bits)
        )
        frame = bar * row + clip[number % len(clip)][width * row :]
        source.emit("push-buffer", Gst.Buffer.new_wrapped(frame))
        number += 1
    return True

def configure(factory, media):
    global source
    source = media.get_element().get_child_by_name("source")
    caps = f"video/x-raw,format=I420,width={width},height={height},framerate={rate}/1"
    source.set_property("caps", Gst.Caps.from_string(caps))

factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(
    "( appsrc name=source is-live=true format=time do-timestamp=true"
    " ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=25 bitrate=3000 threads=1"
    " ! rtph264pay name=pay0 config-interval=-1 )"
)
factory.set_shared(True)
factory.connect("media-configure", configure)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1"); server.set_service("0")
server.get_mount_points().add_factory("/live", factory)
server.attach(None)
print(server.get_bound_port(), flush=True)
GLib.timeout_add(1000 // rate, send)
GLib.MainLoop().run()
"""


def clip_frames() -> list[np.ndarray]:
    """Return the frames of the sample clip, BGR uint8."""
    with av.open(str(CLIP)) as container:
        return [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]


def stamped(image: np.ndarray) -> np.ndarray:
    """Return a copy of an image with the time as its bar code."""
    image, now = image.copy(), int(time.time() * 1000)
    width = image.shape[1] // BITS
    for bit in range(BITS):
        image[:ROW, bit * width : (bit + 1) * width] = 255 * (now >> bit & 1)
    return image


def age_of(image: np.ndarray) -> int:
    """Return how many milliseconds ago a frame was sent."""
    width = image.shape[1] // BITS
    bars = image[ROW // 2, width // 2 : BITS * width : width].mean(axis=-1) > 128
    sent = sum(int(bar) << bit for bit, bar in enumerate(bars))
    return (int(time.time() * 1000) - sent) % (1 << BITS)


def mjpeg(rate: float, is_up: Callable[[float], bool] = lambda _: True, freeze: float = 1e9) -> str:
    """Start a camera that sends MJPEG over HTTP, and return its address.

    Args:
        rate: frames per second.
        is_up: whether it is there, given the seconds since the start; else connections break off.
        freeze: seconds after which it stays connected but sends nothing.
    """
    frames, begun = clip_frames(), time.monotonic()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            if not is_up(time.monotonic() - begun):
                self.send_error(503)
                return
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            start, number = time.monotonic(), 0
            try:
                while is_up(time.monotonic() - begun):
                    if time.monotonic() - begun > freeze:
                        time.sleep(0.1)
                        continue
                    image = stamped(frames[number % len(frames)])
                    data = cv2.imencode(".jpg", image)[1].tobytes()
                    head = "--frame\r\nContent-Type: image/jpeg\r\n"
                    head += f"Content-Length: {len(data)}\r\n\r\n"
                    self.wfile.write(head.encode() + data + b"\r\n")
                    number += 1
                    time.sleep(max(start + number / rate - time.monotonic(), 0))
            except OSError:
                pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/live.mjpg"


def rtsp(rate: int, folder: Path) -> tuple[str, subprocess.Popen[str]]:
    """Start a camera that sends H.264 over RTSP; return its address and process.

    Args:
        rate: frames per second.
        folder: for the frames, which the process reads.
    """
    frames = clip_frames()
    height, width = frames[0].shape[:2]
    raw = folder / "frames.yuv"
    raw.write_bytes(b"".join(cv2.cvtColor(f, cv2.COLOR_BGR2YUV_I420).tobytes() for f in frames))
    words = [raw, width, height, rate, BITS, ROW]
    process = subprocess.Popen(
        ["/usr/bin/python3", "-c", RTSP, *map(str, words)], stdout=subprocess.PIPE, text=True
    )
    port = process.stdout.readline().strip() if process.stdout else ""
    if not port:
        sys.exit("no RTSP server: install the packages that tests/live.py names, or use --no-rtsp")
    return f"rtsp://127.0.0.1:{port}/live", process
