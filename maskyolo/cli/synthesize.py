"""`maskyolo synthesize`: draw masks on photos of bare faces."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maskyolo.cli.options import Strict, examples, with_options
from maskyolo.cli.progress import resumable_progress
from maskyolo.core.options import Panel
from maskyolo.synthesis.options import SynthesizeOptions

if TYPE_CHECKING:
    from maskyolo.synthesis.synthesize import Synthesis

EXAMPLES = examples(
    "maskyolo synthesize data/samples/folders/without_mask --out data/made",
    "maskyolo synthesize photos/without_mask --out data/made --masks 0.3 --occluders 0.5",
    "maskyolo synthesize photos/without_mask --out data/made --incorrect 0.3",
)


@with_options(SynthesizeOptions)
def synthesize(
    faces: Annotated[Path, typer.Argument(help="Folder of photos in which nobody wears a mask.")],
    out: Annotated[
        Path,
        typer.Option(
            help="Output folder, which will contain one folder per class. Must not exist yet.",
            rich_help_panel=Panel.OUTPUT,
        ),
    ],
    options: SynthesizeOptions,
    strict: Strict = False,
) -> None:
    """Draw masks on photos of bare faces, and occluders such as hands, cups and scarves.

    The result is one folder of photos per class, ready for maskyolo convert.
    """
    from maskyolo.synthesis.synthesize import synthesize_masks

    with resumable_progress("photos", out) as on_progress:
        made = synthesize_masks(faces, out, options, on_progress=on_progress)
    _print(made)
    if strict and made.counts()["unreadable"]:
        raise typer.Exit(1)


def _print(made: Synthesis) -> None:
    from maskyolo.dataset.synthesis_log import MADE_STATUSES, SYNTHESIS

    counts = made.counts()
    for status, meaning in MADE_STATUSES.items():
        if counts[status]:
            print(f"{status:11}{counts[status]:7}  {meaning}")
    for photo in made.photos:
        if photo.status == "unreadable":
            typer.echo(f"maskyolo: unreadable: {photo.original}: {photo.reason}", err=True)
    print(f"ledger: {made.folder / SYNTHESIS}")
    print(made.folder)
