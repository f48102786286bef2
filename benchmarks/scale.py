"""Compares `batch` with `detect` on an archive of photos: lines, throughput and peak memory.

    python benchmarks/scale.py PHOTOS --work /tmp/scale --images 10000 --rounds 1

PHOTOS are copied to `--images` photos, each re-encoded differently, so that no two are equal. Each
round processes all of them in four ways, one after the other, so that other load on the machine
affects all alike. Peak memory is the sum over all processes of a run (proportional set size), from
samples every half second.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from maskyolo.core.images import decode_image, list_images, write_image
from maskyolo.errors import MaskyoloError


@dataclass(frozen=True)
class Cost:
    """What a run took: wall-clock and CPU seconds, and peak memory in MB."""

    seconds: float
    cpu: float
    peak: float


MASKYOLO = [sys.executable, "-m", "maskyolo"]


def make_photos(photos: Path, folder: Path, number: int, size: int) -> None:
    """Fill a folder with re-encoded photos, whose longer side has at most `size` pixels."""
    import cv2

    if folder.is_dir():
        return
    part = folder.with_suffix(".part")
    part.mkdir(parents=True, exist_ok=True)
    files, made, round_ = list_images(photos), 0, 0
    while made < number:
        for file in files:
            try:
                image = decode_image(file.read_bytes(), str(file))
            except MaskyoloError:
                continue
            scale = size / max(image.shape[:2])
            if scale < 1:
                image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            write_image(part / f"{made:06}.jpg", image, quality=90 - 7 * round_)
            made += 1
            if made == number:
                break
        round_ += 1
    part.rename(folder)


def memory(process: psutil.Process) -> int:
    """Return the bytes that a process and its descendants use."""
    total = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            total += one.memory_full_info().pss
        except psutil.Error:
            continue
    return total


def run(*words: str | Path) -> Cost:
    """Run maskyolo and return what it took."""
    begun, peak, before = time.monotonic(), 0, resource.getrusage(resource.RUSAGE_CHILDREN)
    with subprocess.Popen(
        [*MASKYOLO, *map(str, words)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as child:
        process = psutil.Process(child.pid)
        while True:
            try:
                _, told = child.communicate(timeout=0.5)
                break
            except subprocess.TimeoutExpired:
                peak = max(peak, memory(process))
    if child.returncode:
        raise SystemExit(told)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(time.monotonic() - begun, cpu, peak / 1e6)


def measure(way: str, photos: Path, work: Path, shard: int) -> tuple[Cost, Path]:
    """Process all photos in one way; return what it took, and the file of lines."""
    lines = work / f"{way.replace(' ', '-')}.jsonl"
    if way == "detect":
        return run("detect", photos, "--no-save", "--imgsz", "320", "--save-json", lines), lines
    out = work / "plan"
    shutil.rmtree(out, ignore_errors=True)
    steps: list[list[str | Path]] = [
        ["plan", photos, "--out", out, "--imgsz", "320", "--shard", str(shard)]
    ]
    if way == "batch --only":
        steps += [["run", out, "--only", f"{index}/2"] for index in (0, 1)]
    elif way == "batch ray":
        steps += [["run", out, "--engine", "ray", "--workers", "2"]]
    else:
        steps += [["run", out]]
    steps += [["join", out, "--jsonl", lines]]
    found = [run("batch", *step) for step in steps]
    whole = Cost(
        sum(cost.seconds for cost in found),
        sum(cost.cpu for cost in found),
        max(cost.peak for cost in found),
    )
    return whole, lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--work", type=Path, default=Path("/tmp/scale"))
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--shard", type=int, default=500)
    parser.add_argument("--ways", default="detect,batch,batch ray,batch --only")
    options = parser.parse_args()
    photos = options.work / f"photos-{options.images}"
    make_photos(options.photos, photos, options.images, 320)
    print("| round | way | s | photos/s | of detect | CPU s | peak MB | same lines |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for number in range(1, options.rounds + 1):
        base, expected = 0.0, b""
        for way in options.ways.split(","):
            cost, lines = measure(way, photos, options.work, options.shard)
            content = lines.read_bytes()
            base, expected = base or cost.seconds, expected or content
            same = "yes" if sorted(content.splitlines()) == sorted(expected.splitlines()) else "no"
            print(
                f"| {number} | {way} | {cost.seconds:.0f} | {options.images / cost.seconds:.1f} | "
                f"{base / cost.seconds:.2f} | {cost.cpu:.0f} | {cost.peak:.0f} | {same} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
