"""`maskyolo compare`: detectors side by side, on the same images, frames and video."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from maskyolo.cli.options import Strict, examples, with_options
from maskyolo.cli.progress import progress_bar
from maskyolo.core.choices import Pipeline
from maskyolo.core.options import Panel
from maskyolo.evaluation.options import CompareOptions

if TYPE_CHECKING:
    from maskyolo.evaluation.comparison_result import Comparison

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
            "others are compared with the first. Default: two-stage and yolo.",
            rich_help_panel=Panel.MODEL,
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            help="Video file to run all detectors on, side by side.", rich_help_panel=Panel.INPUT
        ),
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
            on_warning=lambda line: typer.echo(f"maskyolo: {line}", err=True),
        )
    print(result.table())
    if result.folder:
        print(f"report: {result.folder / 'report.html'}")
        print(f"next: {_next(result)}")
        print(result.folder)
    if strict and result.unreadable:
        raise typer.Exit(1)


def _next(result: Comparison) -> str:
    """Return the command that runs the detector with the highest mAP50, or else the first one."""
    from maskyolo.evaluation.contestants import Contestant

    best = max(
        result.names,
        key=lambda name: result.evaluations[name].map50 or 0.0 if result.evaluations else 0.0,
    )
    chosen = Contestant.parse(result.models[best])
    words = ["maskyolo", "detect", "--source", "0", "--show", "--model", chosen.model]
    if chosen.pipeline == Pipeline.TWO_STAGE:
        words += ["--pipeline", chosen.pipeline]
    if chosen.detector:
        words += ["--detector", chosen.detector]
    return shlex.join(words)
