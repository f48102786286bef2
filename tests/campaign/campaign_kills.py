"""Kills at random moments: after a rerun, the result is that of an undisturbed run.

A trial runs a command, ends it with SIGKILL after a random fraction of the time that it takes, and
runs it again. What cannot be continued must be complete as far as it goes: the lines of `detect`
and the frames of its video.
"""

from __future__ import annotations

import functools
import json
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import av
from harness import Outcome, Size, Trial, maskyolo, snapshot

from maskyolo.dataset.ledger import read_ledger
from maskyolo.review.suspicions import Reason, Suspicion, write_suspicions

SAMPLES = Path(__file__).parents[2] / "data" / "samples"
FOLDERS = SAMPLES / "folders"
STREET = SAMPLES / "street.mp4"
#: Frames per second of the video; what a kill costs is its last second, and some read ahead.
RATE = 25
#: Seconds for one command on a busy machine.
PATIENCE = 900.0

#: Runs a command in a folder, undisturbed or killed after some seconds.
Run = Callable[[Path, "float | None"], Outcome]


def _command(*arguments: str | Path, memory_mb: float = 2500) -> Run:
    def run(folder: Path, kill_after: float | None = None) -> Outcome:
        return maskyolo(
            *arguments, cwd=folder, seconds=PATIENCE, kill_after=kill_after, memory_mb=memory_mb
        )

    return run


#: The fastest detector: what matters here is when files are written.
CONVERT = (
    "convert", FOLDERS, "--out", "set", "--workers", "2", "--splits", "0.6,0.4,0",
    "--detector", "yunet", "--cross-check", "none", "--bystanders", "folder",
)  # fmt: skip
SYNTHESIZE = ("synthesize", FOLDERS / "without_mask", "--out", "made", "--seed", "3")
PHOTOS = ("detect", "--source", str(SAMPLES / "*.jpg"), "--save-json", "out.jsonl", "--save-txt")
VIDEO = ("detect", "--source", STREET, "--save-json", "out.jsonl")

convert = _command(*CONVERT)
synthesize = _command(*SYNTHESIZE)
photos = _command(*PHOTOS)
video = _command(*VIDEO)
apply = _command("review", "apply", "--data", "set", "--csv", "review.csv")
train = _command(
    "train", "--data", "set", "--model", "maskyolo-n", "--epochs", "2", "--imgsz", "64",
    "--batch", "8", "--workers", "0", "--device", "cpu", memory_mb=6000,
)  # fmt: skip
resume = _command(
    "train", "--resume", "runs/train/train", "--workers", "0", "--device", "cpu", memory_mb=6000
)


@functools.cache
def undisturbed(run: Run, start: Run | None = None) -> tuple[Path, float]:
    """Return a folder in which a command was run to its end, and the seconds that it took."""
    place = tempfile.TemporaryDirectory(prefix="undisturbed-")
    _KEPT.append(place)
    folder = Path(place.name)
    if start:
        _copy_set(folder)
    return folder, run(folder, None).check(codes=(0,)).seconds


_KEPT: list[tempfile.TemporaryDirectory[str]] = []


def _copy_set(folder: Path) -> None:
    """Copy the converted set to a folder, with a list of corrections that is filled in."""
    made, _ = undisturbed(convert)
    shutil.copytree(made / "set", folder / "set")
    data = folder / "set" / "data.yaml"
    data.write_text(data.read_text().replace(str(made), str(folder)))
    rows = [row for row in read_ledger(folder / "set" / "ledger.csv") if row.in_set]
    lines = [
        Suspicion(1, row.image, row.split, Reason.WRONG_CLASS, 0.5, 0, tags=("wrong_class",))
        for row in rows
    ]
    write_suspicions(folder / "review.csv", lines)


def result_of(folder: Path, name: str) -> dict[str, str]:
    """Return the files of a set by name, without what depends on its place or on the time."""
    return {
        name: digest
        for name, digest in snapshot(folder / name).items()
        if name != "data.yaml" and not name.endswith("changes.jsonl")
    }


def _check_set(run: Run, name: str, fraction: float, folder: Path) -> None:
    """A set that is made in a working folder is the same after a kill and a rerun."""
    whole, seconds = undisturbed(run)
    run(folder, fraction * seconds)
    if not (folder / name).exists() or (folder / f"{name}.part").exists():
        run(folder, None).check(codes=(0,))
    assert result_of(folder, name) == result_of(whole, name), "the set differs"
    left = [path.name for path in folder.iterdir() if path.name != name]
    assert not left, f"left behind: {left}"


def _check_review(fraction: float, folder: Path) -> None:
    whole, seconds = undisturbed(apply, convert)
    _copy_set(folder)
    apply(folder, fraction * seconds)
    apply(folder, None).check(codes=(0,))
    found, expected = (
        {
            key: value
            for key, value in result_of(place, "set").items()
            if not key.startswith("review/")
        }
        for place in (folder, whole)
    )
    assert found == expected, "the set differs"


def _lines(path: Path) -> list[dict[str, object]]:
    """Return the lines of JSON of a file; each must be whole."""
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def _check_detect(run: Run, fraction: float, folder: Path) -> None:
    """What was written is whole and is the beginning of the result; a rerun gives all of it."""
    whole, seconds = undisturbed(run)
    expected = _lines(whole / "out.jsonl")
    outcome = run(folder, fraction * seconds)
    finished = (folder / "out.jsonl").exists()
    found = _lines(folder / ("out.jsonl" if finished else "out.jsonl.part"))
    assert found == expected[: len(found)], "the lines differ"
    assert not finished or len(found) == len(expected)
    runs = folder / "runs" / "detect"
    for path in runs.glob("*/*.mp4*"):
        frames = _frames(path)
        assert frames >= len(found) - 2 * RATE, f"{frames} frames for {len(found)} lines"
    before = snapshot(runs) if runs.exists() else {}
    again = run(folder, None).check(codes=(0,))
    assert _lines(folder / "out.jsonl") == expected, "the lines of the rerun differ"
    assert not (folder / "out.jsonl.part").exists()
    assert {name: snapshot(runs).get(name) for name in before} == before, "older results changed"
    assert str(Path("runs", "detect")) in again.stdout
    assert outcome.code in (0, -9), f"exit code {outcome.code}"


def _frames(path: Path) -> int:
    """Return how many frames of a video can be decoded."""
    if not path.stat().st_size:
        return 0
    try:
        with av.open(f"file:{path}", format="mp4") as container:
            return sum(1 for _ in container.decode(video=0))
    except av.FFmpegError:
        return 0


def _check_train(fraction: float, folder: Path) -> None:
    whole, seconds = undisturbed(train, convert)
    _copy_set(folder)
    train(folder, fraction * seconds)
    place = folder / "runs" / "train" / "train"
    if not (place / "report.json").exists():
        outcome = resume(folder, None)
        if outcome.code:  # nothing to continue yet: a line says so, and the same command starts
            outcome.check(codes=(1,), says="runs/train/train")
            shutil.rmtree(folder / "runs", ignore_errors=True)
            train(folder, None).check(codes=(0,))
    expected = whole / "runs" / "train" / "train"
    names = {path.name for path in expected.rglob("*") if path.is_file()}
    assert not names - {path.name for path in place.rglob("*") if path.is_file()}, "files missing"
    rows = [(at / "results.csv").read_text().splitlines() for at in (place, expected)]
    assert len(rows[0]) == len(rows[1]), f"epochs: {rows[0]}"
    assert not list(place.rglob("*.part")), "left behind"


def trials(rng: random.Random, size: Size) -> Iterator[Trial]:
    """Yield the kills, at other moments for each seed."""
    checks: dict[str, tuple[int, Callable[[float, Path], None]]] = {
        "convert": (10, functools.partial(_check_set, convert, "set")),
        "photos": (10, functools.partial(_check_detect, photos)),
        "video": (10, functools.partial(_check_detect, video)),
        "review": (10, _check_review),
        "synthesize": (10, functools.partial(_check_set, synthesize, "made")),
        "train": (10, _check_train),
    }
    for name, (count, check) in checks.items():
        fractions = [rng.random() for _ in range(count)]
        if size is Size.SMALL:
            fractions = fractions[: name in ("convert", "review")]
        for fraction in fractions:
            yield Trial(f"kills/{name}-at-{fraction:.3f}", functools.partial(check, fraction))
