"""The progress of every command on stderr: a bar in a terminal, otherwise a line per minute."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from maskyolo.cli.terminal import printable_streams, raw_stderr

__all__ = ["duration", "progress_bar", "resumable_progress"]

#: Seconds between two lines of progress without a terminal, such as in a log file.
_PERIOD = 60.0


@contextmanager
def resumable_progress(unit: str, out: Path) -> Iterator[Callable[[int, int | None], None]]:
    """Like `progress_bar`; on Ctrl-C, also print how to continue the work kept in `OUT.part`."""
    try:
        with progress_bar(unit) as on_progress:
            yield on_progress
    except KeyboardInterrupt:
        typer.echo(
            f"maskyolo: stopped; the work so far is in {out}.part; run the same command again to "
            "continue",
            err=True,
        )
        raise


@contextmanager
def progress_bar(unit: str) -> Iterator[Callable[[int, int | None], None]]:
    """Yield a function `(done, total)` that draws a job's progress.

    Args:
        unit: what is counted, such as "images". A `total` of None means that it is unknown.
    """
    if not sys.stderr.isatty():
        yield _lines(unit)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:.1f} {unit}/s" if task.speed else f"… {unit}/s")

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(file=raw_stderr())
    with (
        Progress(*columns, console=console, speed_estimate_period=10) as progress,
        printable_streams(),  # over those with which the bar makes room for lines
    ):
        task = progress.add_task(unit, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _lines(unit: str) -> Callable[[int, int | None], None]:
    """Return a function `(done, total)` that prints a line per `_PERIOD`, with rate and time left.

    Short jobs print nothing.
    """
    start = printed = time.monotonic()

    def on_progress(done: int, total: int | None) -> None:
        nonlocal printed
        now = time.monotonic()
        if now - printed < _PERIOD or not done:
            return
        printed = now
        rate = done / (now - start)
        left = f" of {total}, {duration((total - done) / rate)} left" if total else ""
        typer.echo(f"maskyolo: {unit}: {done}{left}, {rate:.3g} {unit}/s", err=True)

    return on_progress


def duration(seconds: float) -> str:
    """Return seconds as `H:MM:SS`, or `M:SS` below an hour."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
