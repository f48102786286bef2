"""Measures whether `maskyolo detect` becomes slower while the server of `--alert-url` is down.

    python benchmarks/outage.py

A server on loopback sends data/samples/street.mp4 in a loop as MJPEG at 25 frames per second.
In one run, the webhook alternates every ten seconds between answering, refusing
connections, and accepting them without an answer. Printed are the frames per second in each state,
and what arrived after the last outage.
"""

from __future__ import annotations

import argparse
import json
import socket
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import av
import cv2
from endurance import CLIP, serve

from maskyolo import detect

STATES = ("answers", "refuses", "is silent")


class Webhook:
    """A server that answers, refuses connections, or is silent."""

    def __init__(self) -> None:
        self.got: list[str] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.state = STATES[0]
        threading.Thread(target=self._run, daemon=True).start()

    def change(self, state: str) -> None:
        if state == "refuses":
            self.state = state
            socket.create_connection(("127.0.0.1", self.port)).close()  # ends `accept`
        elif self.state == "refuses":
            self._socket = socket.create_server(("127.0.0.1", self.port))
            self.state = state
            threading.Thread(target=self._run, daemon=True).start()
        else:
            self.state = state

    def _run(self) -> None:
        silent = []
        while True:
            client = self._socket.accept()[0]
            if self.state == "refuses":
                client.close()
                self._socket.close()
                return
            if self.state == "is silent":
                silent.append(client)
                continue
            with client:
                client.settimeout(5)
                data = b""
                while not data.rstrip().endswith(b"}"):
                    data += client.recv(65536)
                self.got.append(json.loads(data.partition(b"\r\n\r\n")[2])["id"])
                client.sendall(b"HTTP/1.1 204 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--phase", type=float, default=10.0, help="seconds per state")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with av.open(str(CLIP)) as container:
        images = [image.to_ndarray(format="bgr24") for image in container.decode(video=0)]
    url = serve([cv2.imencode(".jpg", image)[1].tobytes() for image in images], float("inf"))
    hook, frames, seconds = Webhook(), Counter[str](), Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        results = detect(
            url,
            alert_after=0.0,
            alert_url=f"http://127.0.0.1:{hook.port}/",
            events=Path(folder) / "events.jsonl",
            project=folder,
            on_error=lambda _, error: print(error),
        )
        next(results)
        phases = [*(STATES * arguments.rounds), STATES[0]]
        for state in phases:
            hook.change(state)
            begun = time.monotonic()
            while time.monotonic() - begun < arguments.phase:
                next(results)
                frames[state] += 1
            seconds[state] += time.monotonic() - begun
        results.close()
        lines = (Path(folder) / "events.jsonl").read_text().splitlines()
        raised = sum(json.loads(line)["event"] == "alert" for line in lines)
    rates = {state: frames[state] / seconds[state] for state in STATES}
    for state, rate in rates.items():
        print(f"{state}: {rate:.1f} frames per second, {rate / rates[STATES[0]]:.2f} of answering")
    print(f"{raised} alerts, {len(set(hook.got))} delivered, {len(hook.got)} posts")


if __name__ == "__main__":
    main()
