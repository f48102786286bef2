"""`maskyolo export`: convert a detector for another runtime, and measure what it costs."""

from __future__ import annotations

import typer

from maskyolo.cli.options import examples, with_options
from maskyolo.export.options import ExportOptions

EXAMPLES = examples(
    "maskyolo export --format openvino --precision fp16",
    "maskyolo export --precision int8 --images data/samples --labels data/samples/annotations",
    "maskyolo export --format onnx --model runs/train/train/weights/best.pt --data data/mask",
    "maskyolo export --format ncnn --precision fp16",
)


@with_options(ExportOptions)
def export(options: ExportOptions) -> None:
    """Export a model for another runtime, and measure the change in accuracy and speed."""
    from maskyolo.export.export import export_model

    result = export_model(options=options, on_step=lambda text: typer.echo(text, err=True))
    print(result.table())
    print(
        f"use it with: --model {result.path}"
        if result.path.suffix in (".xml", ".onnx")
        else result.path
    )
    print(result.folder)
