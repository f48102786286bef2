"""`maskyolo adapt`: training data and weights of a camera's own recordings."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from maskyolo.adaptation.options import AdaptOptions
from maskyolo.cli.options import Strict, examples, with_options
from maskyolo.cli.progress import progress_bar
from maskyolo.core.options import Panel

if TYPE_CHECKING:
    from maskyolo.adaptation.adapting import Adaptation

EXAMPLES = examples(
    "maskyolo adapt --source door.mp4 --out data/door",
    "maskyolo adapt --source 'recordings/*.mp4' --out data/door --data data/street "
    "--val-data data/labeled",
    "maskyolo adapt --out data/door --data data/street --no-keep-frames",
    "maskyolo adapt --source stills/ --out data/stills --model best.onnx --frames 500",
)


@with_options(AdaptOptions)
def adapt(
    *,
    source: Annotated[
        list[str] | None,
        typer.Option(
            help="Recording, image, folder, glob or list (.txt). Can be repeated. Without it, the "
            "frames in --out are used.",
            rich_help_panel=Panel.INPUT,
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            help="Output folder. Must not exist yet, unless --source is left out.",
            rich_help_panel=Panel.OUTPUT,
        ),
    ],
    options: AdaptOptions,
    strict: Strict = False,
) -> None:
    """Make training data and weights of a camera's own recordings, without labels by a person.

    Nothing leaves this machine. Look at the contact sheets, and correct labels with maskyolo
    review open. With --data, a short training follows; if its weights are not better, the present
    ones stay, and the exit code is 1.
    """
    from maskyolo.adaptation.adapting import adapt as run

    with ExitStack() as bars:
        shown: dict[str, Any] = {}

        def on_progress(what: str, done: int, total: int | None) -> None:
            if what not in shown:
                bars.close()
                shown[what] = bars.enter_context(progress_bar(what))
            shown[what](done, total)

        made = run(source, out, options, on_progress=on_progress)
    for name, error in made.errors:
        typer.echo(f"maskyolo: {name}: {error}", err=True)
    _print_frames(made, options)
    if made.learned:
        print(made.learned.table)
        if made.learned.weights is None:
            typer.echo(f"maskyolo: {made.learned.verdict}", err=True)
        else:
            print(made.learned.verdict)
            print(f"weights: {made.learned.weights}, {made.learned.weights.with_suffix('.onnx')}")
    print(made.folder)
    if (strict and made.errors) or (made.learned and made.learned.weights is None):
        raise typer.Exit(1)


def _print_frames(made: Adaptation, options: AdaptOptions) -> None:
    if made.looked_at:
        print(f"taken: {len(made.rows)} of {made.looked_at} frames")
    for reason, count in made.left_out.items():
        print(f"left out: {count}, {reason}")
    counts = made.counts()
    print(
        f"faces: {counts['with_mask']} with a mask, {counts['without_mask']} without, "
        f"{counts['ignore']} blanked out"
    )
    if options.keep_frames:
        print(f"contact sheets: {made.folder / 'sheets'}")
