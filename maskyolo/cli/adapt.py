"""`maskyolo adapt`: training data of a camera's own recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maskyolo.adaptation.options import AdaptOptions
from maskyolo.cli.options import Strict, examples, with_options
from maskyolo.cli.progress import progress_bar
from maskyolo.core.options import Panel

EXAMPLES = examples(
    "maskyolo adapt --source door.mp4 --out data/door",
    "maskyolo adapt --source 'recordings/*.mp4' --out data/door --frames 500 --vid-stride 10",
    "maskyolo adapt --source stills/ --out data/stills --model best.onnx",
)


@with_options(AdaptOptions)
def adapt(
    source: Annotated[
        list[str],
        typer.Option(
            help="Recording, image, folder, glob or list (.txt). Can be repeated.",
            rich_help_panel=Panel.INPUT,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(help="Output folder. Must not exist yet.", rich_help_panel=Panel.OUTPUT),
    ],
    options: AdaptOptions,
    strict: Strict = False,
) -> None:
    """Make training data of a camera's own recordings, without labels by a person.

    Nothing leaves this machine. Look at the contact sheets, and correct labels with maskyolo
    review open.
    """
    from maskyolo.adaptation.adapting import adapt as run

    with progress_bar("frames") as on_progress:
        made = run(source, out, options, on_progress=on_progress)
    for name, error in made.errors:
        typer.echo(f"maskyolo: {name}: {error}", err=True)
    print(f"taken: {len(made.rows)} of {made.looked_at} frames")
    for reason, count in made.left_out.items():
        print(f"left out: {count}, {reason}")
    counts = made.counts()
    print(
        f"faces: {counts['with_mask']} with a mask, {counts['without_mask']} without, "
        f"{counts['ignore']} blanked out"
    )
    print(f"contact sheets: {made.folder / 'sheets'}")
    print(made.folder)
    if strict and made.errors:
        raise typer.Exit(1)
