"""Measures the browser page: time per frame by inference size and threads, start, download.

    python benchmarks/web.py

A frame of 1280x720 goes through the page's detector in Chromium, from its pixels to detections, and
through the same network in native ONNX Runtime, in interleaved rounds, so that other load affects
both. Writes `--out` (web.md). Needs maskyolo[dev], Chromium, and an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import os
import platform
import shutil
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import cv2
import onnxruntime
from playwright.sync_api import sync_playwright

from maskyolo import load_detector
from maskyolo.core.parallel import usable_cpus
from maskyolo.web.server import PageServer
from maskyolo.web.site import build_site

SAMPLES = Path(__file__).parent.parent / "data" / "samples"
SIZES, THREADS = (640, 416, 320), (1, 2)
HEAD = """# Speed of the browser page

Written by `python benchmarks/web.py`. Times are from one machine and one run, so compare ratios.
The page and native ONNX Runtime run the same network (maskyolo-n) in interleaved rounds.
"""
PREPARE = """
async (frame) => {
  const { Detector } = await import("/detector.js");
  window.model = await (await fetch("/model.json")).json();
  window.detector = new Detector();
  await detector.load(model, () => {});
  const bytes = Uint8Array.from(atob(frame), (letter) => letter.charCodeAt(0));
  window.frame = await createImageBitmap(new Blob([bytes]));
  return detector.threads;
}
"""
DETECT = """
async (imgsz) => {
  const copy = await createImageBitmap(frame);
  const answer = await detector.detect(copy, { imgsz, groups: model.two, shownSide: 320 });
  answer.shown.close();
  return answer.ms;
}
"""


@contextmanager
def served() -> Iterator[str]:
    """Serve the page and yield its address."""
    with PageServer(build_site(), 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.url
        server.shutdown()


def time_frames(browser: Any, url: str, rounds: int) -> dict[tuple[str, int, int], list[float]]:
    """Return milliseconds per frame by runtime, inference size and number of threads."""
    image = cv2.resize(cv2.imread(str(SAMPLES / "street.jpg")), (1280, 720))
    png = base64.b64encode(cv2.imencode(".png", image)[1].tobytes()).decode()
    pages = {}
    for threads in THREADS:
        pages[threads] = browser.new_page()
        pages[threads].goto(f"{url}model.json?threads={threads}")
        used = pages[threads].evaluate(PREPARE, png)
        assert used == threads, f"the page uses {used} threads, not {threads}"
    native = {
        (size, threads): load_detector(backend="onnxruntime", imgsz=size, threads=threads)
        for size in SIZES
        for threads in THREADS
    }
    times: dict[tuple[str, int, int], list[float]] = defaultdict(list)
    for number in range(rounds + 3):
        for size in SIZES:
            for threads in THREADS:
                page_ms = pages[threads].evaluate(DETECT, size)
                start = time.perf_counter()
                native[size, threads](image)
                native_ms = (time.perf_counter() - start) * 1000
                if number >= 3:  # the first rounds compile
                    times["page", size, threads].append(page_ms)
                    times["native", size, threads].append(native_ms)
        print(f"\rround {number + 1} of {rounds + 3}", end="", flush=True)
    print()
    return times


def time_start(browser: Any, url: str) -> float:
    """Return the seconds from opening the page in a new profile to the boxes in a first photo."""
    context = browser.new_context()
    page = context.new_page()
    start = time.perf_counter()
    page.goto(url)
    page.locator("[data-example*=street]").click()
    page.locator("#strip .sum b").first.wait_for()
    seconds = time.perf_counter() - start
    context.close()
    return seconds


def table(times: dict[tuple[str, int, int], list[float]]) -> str:
    """Return the Markdown table of the medians."""
    lines = [
        "| inference size | threads | page, ms | native ONNX Runtime, ms | ratio |",
        "| ---: | ---: | ---: | ---: | ---: |",
    ]
    for size in SIZES:
        for threads in THREADS:
            page, native = (
                statistics.median(times[side, size, threads]) for side in ("page", "native")
            )
            lines.append(
                f"| {size} | {threads} | {page:.1f} | {native:.1f} | {page / native:.1f} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Measure, and write the results."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=30)
    options.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    args = options.parse_args()
    needed = [file.data for name, file in build_site().items() if not name.endswith(".txt")]
    raw = sum(map(len, needed)) / 1e6
    packed = sum(len(gzip.compress(data, 6)) for data in needed) / 1e6
    with served() as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        starts = sorted(time_start(browser, url) for _ in range(5))
        times = time_frames(browser, url, args.rounds)
        version = browser.version
        browser.close()
    args.out.write_text(
        f"""{HEAD}
## One frame

Time from the pixels of a 1280x720 frame to its detections, as the median of {args.rounds} rounds.

{table(times)}

## Start

Time from opening the page in a new browser profile to the boxes in the first photo, downloaded from
this machine: median **{starts[2]:.1f} s**, at most {starts[-1]:.1f} s in 5 starts.
Target on an idle machine with two cores: 10 s.

The page, the runtime and the model take **{raw:.1f} MB**, or {packed:.1f} MB with gzip (targets: 21
and 10).

({date.today():%d %B %Y}; {processor()}, {usable_cpus()} cores; Chromium {version}, \
onnxruntime {onnxruntime.__version__}; load average at the end of the run: {os.getloadavg()[0]:.0f})
""",
        encoding="utf-8",
    )
    print(args.out)


def processor() -> str:
    """Return the name of the CPU."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.split(": ")[1] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    main()
