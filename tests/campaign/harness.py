"""Runs hostile inputs against the commands, each in a process of its own with limits.

An area is a module `campaign_NAME.py` in this folder with one function:

    def trials(rng: random.Random, size: Size) -> Iterator[Trial]:

It yields trials in an order and with contents that depend on `rng` only. A trial gets an empty
folder, builds its input there, runs commands with `maskyolo(...)`, and raises `AssertionError`
(or calls `outcome.check()`, which does) if a promise is broken:

    def _empty_label(folder: Path) -> None:
        ...
        with untouched(folder / "set"):
            outcome = maskyolo("convert", "set", "--out", "out", cwd=folder)
        outcome.check(codes=(0, 1), says="empty")

    yield Trial("labels/empty", _empty_label)

`Size.SMALL` is for `make test`: all areas together take under a minute on a free core, so an area
has about 5 s. `Size.LARGE` is for `make campaign`: minutes per area and seed.

A command runs in a child of a fork server that has imported the heavy packages once, so it starts
in milliseconds. The parent kills it at its limits of time and memory, which are failures.
"""

from __future__ import annotations

import contextlib
import enum
import hashlib
import importlib
import multiprocessing
import os
import random
import re
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

#: Imported once by the fork server. None of them may start threads when imported.
PRELOADED = ["maskyolo.cli", "numpy", "cv2", "PIL.Image", "yaml", "supervision", "scipy.special"]

#: The usual limits of one command.
SECONDS = 60.0
MEMORY_MB = 1500

#: Control characters that reach a terminal raw: C0 but for newline, carriage return (progress
#: lines) and tab, DEL, C1, and marks that change the direction of text.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class Size(enum.Enum):
    """How many trials an area yields."""

    SMALL = "small"
    LARGE = "large"


@dataclass(frozen=True)
class Trial:
    """One hostile input and what must hold for it.

    Attributes:
        name: area and what is tried, such as `images/jpeg-truncated-at-1234`; unique in its area.
        run: builds the input in the empty folder that it is given, and checks what happens.
    """

    name: str
    run: Callable[[Path], None]


@dataclass(frozen=True)
class Outcome:
    """What one command did.

    Attributes:
        code: exit code; negative: the signal that ended it.
        stdout, stderr: what it printed, undecodable bytes as surrogates.
        seconds: how long it ran.
        peak_mb: highest resident memory seen, all its processes together, in MB.
    """

    code: int
    stdout: str
    stderr: str
    seconds: float
    peak_mb: float

    def check(self, *, codes: tuple[int, ...] = (0, 1), says: str = "") -> Outcome:
        """Assert that it ended as promised: exit code, no traceback, no control characters.

        Args:
            codes: exit codes that are right here.
            says: text that stderr or stdout must contain.
        """
        output = self.stdout + self.stderr
        assert self.code in codes, f"exit code {self.code}, not in {codes}: {output[-800:]}"
        assert "Traceback (most recent" not in output, f"traceback: {output[-1500:]}"
        raw = _CONTROL.search(output)
        assert not raw, f"control character {raw[0]!r} printed: {output[-800:]!r}"
        assert says in output, f"does not say {says!r}: {output[-800:]}"
        if self.code == 1:
            assert self.stderr.strip(), "exit code 1 without a line on stderr"
        return self


@dataclass(frozen=True)
class Failure:
    """A trial whose promise was broken.

    Attributes:
        name: the trial's name.
        reason: what was found.
    """

    name: str
    reason: str


def maskyolo(
    *arguments: str | Path,
    cwd: Path,
    seconds: float = SECONDS,
    memory_mb: float = MEMORY_MB,
    kill_after: float | None = None,
    prepare: Callable[[], None] | None = None,
) -> Outcome:
    """Run `maskyolo ARGUMENTS` in a process of its own and wait for it.

    Args:
        arguments: the command's arguments.
        cwd: its working directory; its runs/ is there, too.
        seconds: limit of time; a command that takes longer is killed, and that is a failure.
        memory_mb: limit of resident memory of all its processes together, in MB; likewise.
        kill_after: end it with SIGKILL after so many seconds, if it still runs; no failure.
        prepare: called in the new process before the command, such as to set a resource limit; a
            function at the top level of a module.

    Returns:
        Its outcome.

    Raises:
        AssertionError: It exceeded a limit.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with tempfile.TemporaryDirectory() as scratch:
        out, err = Path(scratch, "stdout"), Path(scratch, "stderr")
        words = [os.fspath(argument) for argument in arguments]
        process = context.Process(target=_child, args=(words, cwd, out, err, prepare))
        start = time.monotonic()
        process.start()
        peak, broken = 0.0, ""
        while process.is_alive():
            process.join(0.02 if kill_after is not None else 0.1)
            elapsed = time.monotonic() - start
            peak = max(peak, _resident_mb(process.pid))
            if kill_after is not None and elapsed >= kill_after:
                _kill_group(process.pid)
            elif elapsed > seconds:
                broken = f"still runs after {seconds:.0f} s"
            elif peak > memory_mb:
                broken = f"takes {peak:.0f} MB, more than {memory_mb:.0f}"
            if broken:
                _kill_group(process.pid)
                process.join()
        _kill_group(process.pid)
        code = process.exitcode if process.exitcode is not None else -signal.SIGKILL
        texts = [
            path.read_text(encoding="utf-8", errors="surrogateescape") if path.exists() else ""
            for path in (out, err)
        ]
    assert not broken, f"maskyolo {' '.join(words)[:200]}: {broken}: {texts[1][-500:]}"
    return Outcome(code, *texts, seconds=time.monotonic() - start, peak_mb=peak)


def _child(
    words: list[str], cwd: Path, out: Path, err: Path, prepare: Callable[[], None] | None
) -> None:
    """Become the command: own process group, output to files, then `maskyolo.cli.main`."""
    os.setpgid(0, 0)
    os.chdir(cwd)
    for stream, number, path in ((sys.stdout, 1, out), (sys.stderr, 2, err)):
        stream.flush()
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(handle, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    if prepare is not None:
        prepare()
    from maskyolo.cli import main

    sys.argv = ["maskyolo", *words]
    code = 0
    try:
        result = main(words)
        code = result if isinstance(result, int) else 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:  # noqa: BLE001  # a traceback is what the trials look for
        traceback.print_exc()
        code = 70
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _resident_mb(pid: int | None) -> float:
    """Return the resident memory of a process and its descendants, in MB."""
    if pid is None:
        return 0.0
    total = 0
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        for one in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                total += one.memory_info().rss
    return total / 1e6


def _kill_group(pid: int | None) -> None:
    """End a process and everything that it started."""
    if pid is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)


@contextlib.contextmanager
def untouched(folder: Path) -> Iterator[None]:
    """Assert that no file in a folder is added, changed or removed meanwhile."""
    before = snapshot(folder)
    yield
    after = snapshot(folder)
    changed = sorted(
        name for name in before.keys() | after.keys() if before.get(name) != after.get(name)
    )
    assert not changed, f"changed in {folder}: {changed[:5]}"


def snapshot(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file in a folder by relative path; of a link, its target."""
    found: dict[str, str] = {}
    for parent, folders, names in os.walk(folder):
        for name in (*names, *folders):
            path = Path(parent, name)
            key = os.path.relpath(path, folder)
            if path.is_symlink():
                found[key] = "-> " + str(path.readlink())
            elif path.is_file():
                found[key] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def run_area(
    name: str, seed: int, size: Size, on_trial: Callable[[str, float], None] | None = None
) -> tuple[int, list[Failure]]:
    """Run all trials of one area.

    Args:
        name: the area.
        seed: what its contents depend on.
        size: how many trials there are.
        on_trial: called after each trial with its name and the seconds that it took.

    Returns:
        How many were tried, and those that failed.
    """
    area = importlib.import_module(f"campaign_{name}")
    rng = random.Random(f"{name} {seed}")
    tried, failures = 0, []
    for trial in area.trials(rng, size):
        tried += 1
        start = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="campaign-") as folder:
            try:
                trial.run(Path(folder))
            except AssertionError as error:
                failures.append(Failure(trial.name, str(error) or "an assertion failed"))
        if on_trial:
            on_trial(trial.name, time.monotonic() - start)
    return tried, failures


def areas() -> list[str]:
    """Return the names of all areas."""
    here = Path(__file__).parent
    return sorted(path.stem.removeprefix("campaign_") for path in here.glob("campaign_*.py"))
