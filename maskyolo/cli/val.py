"""`maskyolo val`: precision, recall and average precision of a detector on labeled images."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import typer

from maskyolo.cli.options import Strict, Verbose, examples, with_options
from maskyolo.cli.progress import progress_bar
from maskyolo.core.choices import Pipeline
from maskyolo.evaluation.options import EvaluateOptions

if TYPE_CHECKING:
    from maskyolo.core.detector import Detector

EXAMPLES = examples(
    "maskyolo val --data data/mask/data.yaml",
    "maskyolo val --images data/samples --labels data/samples/annotations",
    "maskyolo val --images data/samples --labels data/samples/annotations --pipeline two-stage",
    "maskyolo val --data data/mask --split test --model runs/train/train/weights/best.onnx",
)


@with_options(EvaluateOptions)
def val(options: EvaluateOptions, verbose: Verbose = False, strict: Strict = False) -> None:
    """Evaluate a detector on labeled images, end to end: a missed face counts as an error."""
    from maskyolo.detectors.loading import describe_detector
    from maskyolo.evaluation.evaluation import evaluate

    def show_network(detector: Detector) -> None:
        short, details = describe_detector(detector)
        typer.echo(details if verbose else short, err=True)

    with progress_bar("images") as on_progress:
        result = evaluate(
            options=options,
            on_error=lambda _, error: typer.echo(f"maskyolo: {error}", err=True),
            on_progress=on_progress,
            on_detector=show_network,
            on_warning=lambda line: typer.echo(f"maskyolo: {line}", err=True),
        )
    print(result.table())
    if result.folder:
        print(f"report: {result.folder / 'report.html'}")
        print(f"next: {_next(options)}")
        print(result.folder)
    if strict and result.unreadable:
        raise typer.Exit(1)


def _next(options: EvaluateOptions) -> str:
    """Return the command that shows the errors of a data set, or the boxes on other images."""
    two_stage = options.pipeline is Pipeline.TWO_STAGE
    words: list[Any] = ["maskyolo", "detect", "--source", options.images]
    if options.data is not None:
        words = ["maskyolo", "review", "open", "--data", options.data]
    if two_stage:
        words += ["--pipeline", options.pipeline]
    if options.model is not None and not (two_stage and options.data is not None):
        words += ["--model", options.model]  # `review open` shows the default classifier's boxes
    return shlex.join(map(str, words))
