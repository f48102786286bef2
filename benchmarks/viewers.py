"""Measures what viewers of `maskyolo serve` cost, and how old a frame is in the page, in one run.

    python benchmarks/viewers.py
    python benchmarks/viewers.py --seconds 60 --viewers 0 1 5 0

A camera on loopback sends data/samples/street.mp4 as MJPEG at 10 frames per second. For each number
of viewers, that many pages are open in Chromium, on the same machine, and the CPU time of the
server's process is read, also per processed frame, because on a busy machine there are fewer. The
age of a frame is from when the camera sent it to when its pixels are in the page's canvas, where
its bar code is read (benchmarks/loopback.py). Needs psutil, playwright and the system's Chromium.
"""

from __future__ import annotations

import argparse
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from typing import Any

import numpy as np
import psutil
from loopback import BITS, ROW, mjpeg
from playwright.sync_api import sync_playwright

RATE = 10
SETTLE = 5.0  # seconds after the pages are opened

#: Notes the age of each new frame on the canvas, in milliseconds.
WATCH = """([bits, row]) => {
  const canvas = document.querySelector(".camera canvas, canvas");
  const context = canvas.getContext("2d");
  window.ages = [];
  let last = -1;
  setInterval(() => {
    if (!canvas.width) return;
    const data = context.getImageData(0, row / 2, canvas.width, 1).data;
    const width = Math.floor(canvas.width / bits);
    let sent = 0;
    for (let bit = 0; bit < bits; bit++) {
      if (data[4 * (bit * width + (width >> 1))] > 128) sent += 2 ** bit;
    }
    if (sent === last) return;
    last = sent;
    window.ages.push((((Date.now() - sent) % 2 ** bits) + 2 ** bits) % 2 ** bits);
  }, 4);
}"""


def frames_of(url: str) -> float:
    """Return how many frames the server has processed."""
    with urllib.request.urlopen(f"{url}metrics") as answer:
        text = answer.read().decode()
    found = re.findall(r"^maskyolo_frames_total\{.*\} (\S+)$", text, re.MULTILINE)
    return sum(map(float, found))


def measure(browser: Any, url: str, viewers: int, server: psutil.Process, seconds: float) -> None:
    """Print a line: CPU of the server, frames and their age in the pages."""
    pages = [browser.new_context().new_page() for _ in range(viewers)]
    for page in pages:
        page.goto(url)
        page.wait_for_selector("canvas")
        page.wait_for_function("document.querySelector('canvas').width > 300")
    time.sleep(SETTLE)
    for page in pages:
        page.evaluate(WATCH, [BITS, ROW])
    begun, used, before = time.monotonic(), sum(server.cpu_times()[:2]), frames_of(url)
    time.sleep(seconds)
    used, number = sum(server.cpu_times()[:2]) - used, frames_of(url) - before
    share = used / (time.monotonic() - begun)
    ages = [page.evaluate("window.ages.slice(1)") for page in pages]
    for page in pages:
        page.context.close()
    each = 1000 * used / max(number, 1)
    text = f"{viewers} viewers: {share:6.1%} of a core, {each:.0f} ms per frame"
    if ages:
        together = np.concatenate(ages)
        rate = np.mean([len(one) for one in ages]) / seconds
        median, high = np.percentile(together, (50, 95))
        text += f", {rate:.1f} frames per second each, age {median:.0f} ms (95 %: {high:.0f} ms)"
    print(text, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--viewers", type=int, nargs="+", default=[0, 1, 5, 0])
    args = parser.parse_args()
    command = [sys.executable, "-m", "maskyolo", "serve", "--source", mjpeg(RATE), "--port", "0"]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        line = running.stdout.readline() if running.stdout else ""
        url = re.findall(r"http://\S+", line)[0]
        chromium = shutil.which("chromium")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            while frames_of(url) < 5 * RATE:  # the network has been compiled
                time.sleep(1)
            for viewers in args.viewers:
                measure(browser, url, viewers, psutil.Process(running.pid), args.seconds)
            browser.close()
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait(60)


if __name__ == "__main__":
    main()
