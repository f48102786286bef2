"""The progress bar of every command: on stderr, with rate and time left, in terminals only."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

__all__ = ["progress_bar", "resumable_progress"]


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
        yield lambda *_: None
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
    with Progress(*columns, console=Console(stderr=True), speed_estimate_period=10) as progress:
        task = progress.add_task(unit, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
