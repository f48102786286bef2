"""Measures how `maskyolo detect` shares one network among several cameras, for ten minutes.

    python benchmarks/cameras.py
    python benchmarks/cameras.py --minutes 1 --no-rtsp

Four cameras on loopback send data/samples/street.mp4 in a loop: "rtsp" (H.264) and "mjpeg" at 30
frames per second, "slow" at 2, and "dying" at 30, which is there for 40 s of each minute; after two
minutes "slow" also freezes: it stays connected and sends nothing. The network gets one CPU thread,
so that it is slower than what arrives. Reported are, for each camera, frames per second, its share
of the frames of a second in which it delivered more than its share, relative to a fair one, and
the age of a frame when its line was written; the memory; and how the command ends after SIGTERM.
The age is read from a bar code in the frame (benchmarks/loopback.py). Needs psutil.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from loopback import mjpeg, rtsp

#: The command, with one more key per line: how old the frame is.
CHILD = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from loopback import age_of
from maskyolo.runtime import json_lines
record = json_lines.json_record
json_lines.json_record = lambda result: record(result) | {"age": age_of(result.frame.image)}
from maskyolo.cli import main
main(sys.argv[1:])
"""
SPAN = 10.0  # seconds over which shares are compared


def shares(lines: list[dict[str, Any]], fast: list[str]) -> list[tuple[float, float]]:
    """Return the smallest and largest share of the fast cameras, relative to a fair one.

    One pair for each span in which at least two of them were there all the time.
    """
    spans: defaultdict[int, Counter[str]] = defaultdict(Counter)
    seconds: defaultdict[int, defaultdict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    begin = datetime.fromisoformat(lines[0]["datetime"]).timestamp()
    for line in lines:
        at = datetime.fromisoformat(line["datetime"]).timestamp() - begin
        spans[int(at / SPAN)][line["source"]] += 1
        seconds[int(at / SPAN)][line["source"]].add(int(at))
    found = []
    for span, counts in sorted(spans.items())[1:-1]:
        there = [name for name in fast if len(seconds[span][name]) >= SPAN]
        if len(there) >= 2:
            fair = sum(counts[name] for name in there) / len(there)
            found.append(
                (min(counts[n] for n in there) / fair, max(counts[n] for n in there) / fair)
            )
    return found


def report(lines: list[dict[str, Any]], minutes: float, fast: list[str]) -> None:
    print(
        f"\n{'camera':8} {'frames':>7} {'per s':>6} {'age ms: median':>15} {'95 %':>6} {'max':>6}"
    )
    for name in sorted({line["source"] for line in lines}):
        ages = [line["age"] for line in lines if line["source"] == name]
        median, high = np.percentile(ages, (50, 95))
        rate = len(ages) / 60 / minutes
        print(f"{name:8} {len(ages):7} {rate:6.1f} {median:15.0f} {high:6.0f} {max(ages):6}")
    pairs = np.array(shares(lines, fast))
    print(
        f"\nshares of fast cameras, relative to fair, in {len(pairs)} spans of {SPAN:g} s: "
        f"{pairs.min():.2f} to {pairs.max():.2f}, median deviation "
        f"{np.median(np.abs(pairs - 1)):.2f}"
    )


def measure(words: list[str], folder: Path, minutes: float) -> list[float]:
    """Run the command, stop it with SIGTERM, and return its memory over time, in MB."""
    command = [sys.executable, "-c", CHILD, str(Path(__file__).parent), *words]
    with (folder / "log.txt").open("w") as log:
        running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    process, begun, sizes = psutil.Process(running.pid), time.monotonic(), list[float]()
    while (now := time.monotonic() - begun) < 60 * minutes and running.poll() is None:
        if now > 30:
            sizes.append(process.memory_info().rss / 1e6)
            if len(sizes) % 12 == 1:
                print(f"{now / 60:5.1f} min  {sizes[-1]:7.1f} MB", flush=True)
        time.sleep(5)
    asked = time.monotonic()
    running.send_signal(signal.SIGTERM)
    out = running.communicate(timeout=60)[0]
    print(
        f"\nended {time.monotonic() - asked:.2f} s after SIGTERM, exit code {running.returncode}; "
        f"it printed:\n\n{out}\n{(folder / 'log.txt').read_text()[-3000:]}"
    )
    return sizes


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--no-rtsp", action="store_true")
    parser.add_argument("more", nargs="*", help="options of maskyolo detect, after --")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        cameras = {
            "mjpeg": mjpeg(30),
            "slow": mjpeg(2, freeze=60 * args.minutes / 5),
            "dying": mjpeg(30, is_up=lambda at: at % 60 < 40),
        }
        server = None
        if not args.no_rtsp:
            cameras["rtsp"], server = rtsp(30, folder)
        config = folder / "cameras.yaml"
        entries = [{"name": name, "source": url} for name, url in cameras.items()]
        config.write_text(json.dumps({"cameras": entries}))  # JSON is YAML
        files = ["--save-json", str(folder / "out.jsonl"), "--events", str(folder / "events.csv")]
        words = ["detect", "--config", str(config), "--reconnect", "inf", "--threads", "1"]
        try:
            sizes = measure([*words, *files, *args.more], folder, args.minutes)
        finally:
            if server:
                server.terminate()
        lines = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
        events = (folder / "events.csv").read_text().splitlines()
        parts = [path.name for path in folder.glob("*.part")]
        print(f"{len(lines)} lines of JSON, {len(events) - 1} events, unfinished files: {parts}")
    report(lines, args.minutes, [name for name in cameras if name != "slow"])
    if sizes:
        last = sizes[-12:]
        print(f"memory: first minute {np.median(sizes[:12]):.0f} MB, last {np.median(last):.0f} MB")


if __name__ == "__main__":
    main()
