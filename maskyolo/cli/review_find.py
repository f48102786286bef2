"""`maskyolo review find`: a ranked list of a data set's likely errors."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from maskyolo.cli.options import examples, with_options
from maskyolo.cli.progress import progress_bar
from maskyolo.core.options import Panel
from maskyolo.core.text import counted
from maskyolo.review.options import FindOptions

__all__ = ["EXAMPLES", "find"]

EXAMPLES = examples(
    "maskyolo review find --data data/mask/data.yaml",
    "maskyolo review find --data data/mask --model yolov8n --epochs 6",
    "maskyolo review find --data data/mask --predictions runs/review/find/predictions.jsonl",
)


@with_options(FindOptions)
def find(
    data: Annotated[
        Path,
        typer.Option(help="The data set's data.yaml, or its folder.", rich_help_panel=Panel.INPUT),
    ],
    options: FindOptions,
) -> None:
    """Find a data set's likely errors, and write them to a ranked list, review.csv.

    Each photo is judged by a detector that was not trained on it.
    """
    from maskyolo.review.finding.find import find_errors

    signal.signal(signal.SIGTERM, _interrupt)
    with ExitStack() as bars:
        shown: dict[str, Callable[[int, int | None], None]] = {}

        def on_progress(what: str, done: int, total: int | None) -> None:
            if what not in shown:
                bars.close()
                typer.echo(f"{what}: {total}", err=True)
                shown[what] = bars.enter_context(progress_bar(what.split()[0]))
            shown[what](done, total)

        found = find_errors(
            data,
            options=options,
            on_progress=on_progress,
            on_error=lambda error: typer.echo(f"maskyolo: {error}", err=True),
            on_start=lambda folder: typer.echo(
                f"in {folder}; after an interruption, continue with --resume {folder}", err=True
            ),
        )
    photos = len({suspicion.image for suspicion in found.suspicions})
    print(
        f"{counted(len(found.suspicions), 'suspicion')} in {photos} of "
        f"{counted(found.photos, 'photo')} with {counted(found.labels, 'label')}"
    )
    for reason, count in found.counts().items():
        print(f"  {reason:<16}{count:>6}")
    print(f"list: {found.csv}; contact sheet: {found.folder / 'sheet.png'}")
    print(found.folder)


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt
