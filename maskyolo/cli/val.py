"""`maskyolo val`: precision, recall and average precision of a detector on labeled images."""

from __future__ import annotations

import typer

from maskyolo.cli.options import Strict, examples, with_options
from maskyolo.cli.progress import progress_bar
from maskyolo.evaluation.options import EvaluateOptions

EXAMPLES = examples(
    "maskyolo val --data data/mask/data.yaml",
    "maskyolo val --images data/samples --labels data/samples/annotations",
    "maskyolo val --images data/samples --labels data/samples/annotations --pipeline two-stage",
    "maskyolo val --data data/mask --split test --model runs/train/train/weights/best.onnx",
)


@with_options(EvaluateOptions)
def val(options: EvaluateOptions, strict: Strict = False) -> None:
    """Evaluate a detector on labeled images, end to end: a missed face counts as an error."""
    from maskyolo.evaluation.evaluation import evaluate

    with progress_bar("images") as on_progress:
        result = evaluate(
            options=options,
            on_error=lambda _, error: typer.echo(f"maskyolo: {error}", err=True),
            on_progress=on_progress,
        )
    print(result.table())
    print(result.folder)
    if strict and result.unreadable:
        raise typer.Exit(1)
