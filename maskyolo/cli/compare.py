"""`maskyolo compare`: detectors side by side, on the same images, frames and video."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from maskyolo.cli.options import Strict, examples, with_options
from maskyolo.cli.progress import progress_bar
from maskyolo.evaluation.options import CompareOptions

EXAMPLES = examples(
    "maskyolo compare --images data/samples --labels data/samples/annotations",
    "maskyolo compare --data data/mask --model two-stage:mobilenet_v2@yunet --model maskyolo-n",
    "maskyolo compare --source data/samples/street.mp4",
)


@with_options(CompareOptions)
def compare(
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="[PIPELINE:][MODEL][@DETECTOR], such as maskyolo-n, best.onnx, "
            "two-stage:mobilenet_v2 or two-stage:seed.onnx@yunet. Repeat it for each detector; the "
            "others are compared with the first. Default: two-stage and yolo."
        ),
    ] = None,
    source: Annotated[
        str | None, typer.Option(help="Video file to run all detectors on, side by side.")
    ] = None,
    *,
    options: CompareOptions,
    strict: Strict = False,
) -> None:
    """Compare detectors: accuracy on labeled images, and speed on frames with 1 to 40 faces."""
    from contextlib import ExitStack

    from maskyolo.evaluation.comparison import compare as run
    from maskyolo.evaluation.contestants import DEFAULT_DETECTORS

    with ExitStack() as bars:
        shown: dict[str, Callable[[int, int | None], None]] = {}

        def on_progress(what: str, done: int, total: int | None) -> None:
            if what not in shown:
                bars.close()
                shown[what] = bars.enter_context(progress_bar(what))
            shown[what](done, total)

        result = run(
            model or DEFAULT_DETECTORS,
            source,
            options=options,
            on_error=lambda _, error: typer.echo(f"maskyolo: {error}", err=True),
            on_progress=on_progress,
        )
    print(result.table())
    print(result.folder)
    if strict and result.unreadable:
        raise typer.Exit(1)
