"""Kills of `maskyolo batch run` at random moments: the joined lines are those of `detect`.

The driver is killed and run again; a worker process is killed and replaced; a node of a Ray cluster
dies, and its shards are processed on another one.
"""

from __future__ import annotations

import functools
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
from harness import Size, Trial, maskyolo

SAMPLES = Path(__file__).parents[2] / "data" / "samples"
SOURCES = (*sorted(SAMPLES.glob("*.jpg")), SAMPLES / "street.mp4")
#: Seconds for one command on a busy machine.
PATIENCE = 900.0
#: Processes a plan on the given Ray cluster.
RAY = """
import sys
from maskyolo.batch import run_batch
run_batch(sys.argv[1], engine="ray", address=sys.argv[2])
"""

_KEPT: list[tempfile.TemporaryDirectory[str]] = []


@functools.cache
def undisturbed() -> tuple[Path, bytes, float]:
    """Return a plan, the lines of `detect` on the same files, and the seconds of a whole run."""
    place = tempfile.TemporaryDirectory(prefix="undisturbed-")
    _KEPT.append(place)
    folder = Path(place.name)
    maskyolo(
        "detect", *SOURCES, "--imgsz", "160", "--no-save", "--save-json", "out.jsonl",
        cwd=folder, seconds=PATIENCE,
    ).check(codes=(0,))  # fmt: skip
    maskyolo(
        "batch", "plan", *SOURCES, "--imgsz", "160", "--shard", "2", "--out", "plan",
        cwd=folder, seconds=PATIENCE,
    ).check(codes=(0,))  # fmt: skip
    whole = shutil.copytree(folder / "plan", folder / "whole")
    seconds = maskyolo("batch", "run", whole, cwd=folder, seconds=PATIENCE).check(codes=(0,))
    return folder / "plan", (folder / "out.jsonl").read_bytes(), seconds.seconds


def _check(folder: Path) -> None:
    """The plan in a folder is complete, and its lines are right."""
    maskyolo(
        "batch", "join", "plan", "--jsonl", "lines.jsonl", "--strict", cwd=folder, seconds=PATIENCE
    ).check(codes=(0,))
    assert (folder / "lines.jsonl").read_bytes() == undisturbed()[1], "the lines differ"
    left = [path.name for path in (folder / "plan" / "parts").iterdir() if path.name[0] == "."]
    assert not left, f"left behind: {left}"


def _kill_driver(fraction: float, folder: Path) -> None:
    plan, _, seconds = undisturbed()
    shutil.copytree(plan, folder / "plan")
    outcome = maskyolo(
        "batch", "run", "plan", cwd=folder, seconds=PATIENCE, kill_after=fraction * seconds
    )
    assert outcome.code in (0, -9), f"exit code {outcome.code}"
    maskyolo("batch", "run", "plan", cwd=folder, seconds=PATIENCE).check(codes=(0,))
    _check(folder)


def _kill_worker(fraction: float, folder: Path) -> None:
    plan, _, seconds = undisturbed()
    shutil.copytree(plan, folder / "plan")
    command = [sys.executable, "-m", "maskyolo", "batch", "run", "plan"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL) as driver:
        try:
            driver.wait(fraction * seconds)
        except subprocess.TimeoutExpired:
            for worker in psutil.Process(driver.pid).children():
                worker.kill()
        code = driver.wait(PATIENCE)
    assert code == 0, f"exit code {code}"
    _check(folder)


def _kill_node(fraction: float, folder: Path) -> None:
    # read when Ray is first imported: its nodes then only listen on the loopback address
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    from ray.cluster_utils import Cluster

    plan, _, seconds = undisturbed()
    shutil.copytree(plan, folder / "plan")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        node = cluster.add_node(num_cpus=1)
        remove = functools.partial(cluster.remove_node, node, allow_graceful=False)
        timer = threading.Timer(fraction * 2 * seconds, remove)
        timer.start()
        command = [sys.executable, "-c", RAY, str(folder / "plan"), cluster.address]
        code = subprocess.run(command, check=False, timeout=PATIENCE).returncode
        timer.cancel()
        timer.join()
    finally:
        cluster.shutdown()
    assert code == 0, f"exit code {code}"
    _check(folder)


def trials(rng: random.Random, size: Size) -> Iterator[Trial]:
    """Yield the kills, at other moments for each seed."""
    checks: dict[str, Callable[[float, Path], None]] = {
        "driver": _kill_driver,
        "worker": _kill_worker,
        "node": _kill_node,
    }
    for name, check in checks.items():
        fractions = [rng.random() for _ in range(10)]
        if size is Size.SMALL:
            fractions = fractions[: name == "driver"]  # tests/batch has the others
        for fraction in fractions:
            yield Trial(f"batch/{name}-at-{fraction:.3f}", functools.partial(check, fraction))
