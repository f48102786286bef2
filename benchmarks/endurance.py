"""Measures whether the memory of `maskyolo detect` stays constant on an endless camera stream.

    python benchmarks/endurance.py  # ten minutes: tracking, events, alerts, JSONL, annotated video
    python benchmarks/endurance.py --minutes 60 -- --no-save

A server on loopback sends data/samples/street.mp4 in a loop as MJPEG at 25 frames per second, so
that the same people keep coming and going, and it breaks the connection once a minute. The memory
of the command (resident set, without the server's) is read every five seconds. Options after `--`
are passed to the command. At the end it is stopped with SIGTERM, and its files are checked. Needs
psutil.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import psutil

CLIP = Path(__file__).parent.parent / "data" / "samples" / "street.mp4"
RATE = 25
EVERY = 5.0
WARM_UP = 30.0


def serve(frames: list[bytes], session: float) -> str:
    """Serve the frames in a loop, breaking connections after `session` seconds; return the URL."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            begun, number = time.monotonic(), 0
            try:
                while time.monotonic() - begun < session:
                    frame = frames[number % len(frames)]
                    self.wfile.write(
                        b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%b\r\n"
                        % (len(frame), frame)
                    )
                    number += 1
                    time.sleep(max(begun + number / RATE - time.monotonic(), 0))
            except OSError:
                pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/endless.mjpg"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--session", type=float, default=60, help="seconds per connection")
    parser.add_argument("more", nargs="*", help="options of maskyolo detect, after --")
    args = parser.parse_args()
    with av.open(str(CLIP)) as container:
        images = [image.to_ndarray(format="bgr24") for image in container.decode(video=0)]
    url = serve([cv2.imencode(".jpg", image)[1].tobytes() for image in images], args.session)
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        words = [
            "--source",
            url,
            "--project",
            folder,
            "--save-json",
            folder / "out.jsonl",
            "--events",
            folder / "events.jsonl",
        ]
        words += ["--line", "0.5,0,0.5,1", "--alert-after", "1", "--alert-cmd", "true", *args.more]
        with (folder / "log.txt").open("w") as log:
            command = [sys.executable, "-m", "maskyolo", "detect", *map(str, words)]
            running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        process, begun = psutil.Process(running.pid), time.monotonic()
        samples: list[tuple[float, float]] = []
        while (now := time.monotonic() - begun) < 60 * args.minutes and running.poll() is None:
            if now >= WARM_UP:
                samples.append((now / 60, process.memory_info().rss / 1e6))
                if len(samples) % 12 == 1:
                    print(
                        f"{now / 60:5.1f} min  {samples[-1][1]:7.1f} MB  "
                        f"{process.num_threads()} threads  {process.num_fds()} files",
                        flush=True,
                    )
            time.sleep(EVERY)
        asked = time.monotonic()
        running.send_signal(signal.SIGTERM)
        out = running.communicate(timeout=60)[0]
        print(
            f"\nstopped {time.monotonic() - asked:.2f} s after SIGTERM with exit code "
            f"{running.returncode}; it printed:\n\n{out}"
        )
        records = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
        events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
        print(
            f"{len(records)} lines of JSON, {len(events)} events, "
            f"{max(event['track_id'] for event in events)} tracks"
        )
        for video in folder.glob("predict/*.mp4"):
            with av.open(str(video)) as container:
                print(
                    f"{video.name}: {sum(1 for _ in container.decode(video=0))} frames, "
                    f"{video.stat().st_size / 1e6:.1f} MB"
                )
        print((folder / "log.txt").read_text())
    minutes, sizes = np.array(samples).T
    first, last = sizes[minutes < minutes[0] + 1], sizes[minutes > minutes[-1] - 1]
    slope = np.polyfit(minutes, sizes, 1)[0]
    half = minutes > minutes.mean()
    later = np.polyfit(minutes[half], sizes[half], 1)[0]
    print(
        f"\nfirst minute {np.median(first):.1f} MB, last minute {np.median(last):.1f} MB, "
        f"maximum {sizes.max():.1f} MB"
    )
    print(f"slope {slope:+.2f} MB per minute overall, {later:+.2f} in the second half")


if __name__ == "__main__":
    main()
