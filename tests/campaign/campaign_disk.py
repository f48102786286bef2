"""Full disks, files that may not grow, and two runs that write to one place.

The run ends with a line, what is on the disk is whole, and with space a rerun completes it.
"""

from __future__ import annotations

import functools
import json
import random
import resource
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from campaign_kills import (
    CONVERT,
    PATIENCE,
    PHOTOS,
    SYNTHESIZE,
    VIDEO,
    convert,
    result_of,
    synthesize,
    undisturbed,
)
from harness import Outcome, Size, Trial, maskyolo

#: Commands to try with little space: their arguments, and the set that they make.
COMMANDS: dict[str, tuple[tuple[str | Path, ...], str]] = {
    "convert": (CONVERT, "set"),
    "synthesize": (SYNTHESIZE, "made"),
    "photos": ((*PHOTOS, "--save-crop"), ""),
    "video": (VIDEO, ""),
}


def _limit(size: int) -> None:
    """Let no file of this process grow beyond so many bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def _run(name: str, folder: Path, prepare: Callable[[], None] | None = None) -> Outcome:
    arguments, _ = COMMANDS[name]
    return maskyolo(*arguments, cwd=folder, seconds=PATIENCE, memory_mb=2500, prepare=prepare)


def _check_rest(name: str, outcome: Outcome, folder: Path) -> None:
    """What there is after a run without enough space is whole, and a rerun with space works."""
    outcome.check(codes=(0, 1))
    for path in (folder / "out.jsonl", folder / "out.jsonl.part"):
        for line in path.read_bytes().splitlines() if path.exists() else ():
            json.loads(line)
    made = COMMANDS[name][1]
    if made and not (folder / made).exists():
        _run(name, folder).check(codes=(0,))
    if made:
        whole, _ = undisturbed({"convert": convert, "synthesize": synthesize}[name])
        assert result_of(folder, made) == result_of(whole, made), "the set differs"
    else:
        _run(name, folder).check(codes=(0,))


def _check_limit(name: str, size: int, folder: Path) -> None:
    _check_rest(name, _run(name, folder, functools.partial(_limit, size)), folder)


def _check_full(name: str, size: int, folder: Path) -> None:
    place = folder / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "maskyolo-campaign", place]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        return  # it takes the right to mount
    try:
        outcome = _run(name, place).check(codes=(0, 1))
        if outcome.code:
            assert "no space left" in outcome.stderr, outcome.stderr
        subprocess.run(["mount", "-o", "remount,size=200m", place], check=True)
        _check_rest(name, outcome, place)
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def _check_together(name: str, folder: Path) -> None:
    """Of runs that write to one place, one does it, and the others say that it is in use."""
    with ThreadPoolExecutor(3) as pool:
        outcomes = list(pool.map(lambda _: _run(name, folder), range(3)))
    for outcome in outcomes:
        outcome.check(codes=(0, 1))
        said = ("another run is", "it exists", "exists")
        assert not outcome.code or any(text in outcome.stderr for text in said), outcome.stderr
    assert any(outcome.code == 0 for outcome in outcomes), "none did it"
    if COMMANDS[name][1]:
        _check_rest(name, outcomes[0], folder)
    else:
        lines = (folder / "out.jsonl").read_text().splitlines()
        names = [json.loads(line)["source"] for line in lines]
        assert names
        assert len(lines) == len(
            {(json.loads(line)["source"], json.loads(line)["frame"]) for line in lines}
        )


def trials(rng: random.Random, size: Size) -> Iterator[Trial]:
    """Yield limits, full disks and runs at once."""
    names = ["photos"] if size is Size.SMALL else list(COMMANDS)
    count = 1 if size is Size.SMALL else 8
    for name in names:
        for _ in range(count):
            limit = int(10 ** rng.uniform(2.5, 5.2))
            yield Trial(
                f"disk/{name}-files-to-{limit}", functools.partial(_check_limit, name, limit)
            )
        for _ in range(count - 1):
            space = int(10 ** rng.uniform(4.2, 6.2))
            yield Trial(f"disk/{name}-space-{space}", functools.partial(_check_full, name, space))
        if size is Size.LARGE:
            yield Trial(f"disk/{name}-three-at-once", functools.partial(_check_together, name))
