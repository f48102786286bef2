"""`maskyolo export`: a detector for another runtime, and what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maskyolo.cli.options import (
    ExistOk,
    ImageSize,
    LabelledData,
    Name,
    Project,
    Split,
    Trust,
    examples,
)

EXAMPLES = examples(
    "maskyolo export --format openvino --precision fp16",
    "maskyolo export --precision int8 --images data/samples --labels data/samples/annotations",
    "maskyolo export --format onnx --model runs/train/train/weights/best.pt --data data/mask",
    "maskyolo export --format ncnn --precision fp16",
)


def export(
    model: Annotated[
        str | None, typer.Option(help="Name of a model (maskyolo-n), or its .onnx or .pt file.")
    ] = None,
    format: Annotated[str, typer.Option(help="openvino, onnx, ncnn or tflite.")] = "openvino",  # noqa: A002
    precision: Annotated[
        str,
        typer.Option(
            help="What the weights are stored as: fp32, fp16 (half the size), int8 (a quarter)."
        ),
    ] = "fp32",
    images: Annotated[
        Path | None,
        typer.Option(
            help="Folder of your own pictures that int8 is calibrated on (else the train split of --data)."
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="Folder of their labels, YOLO .txt or Pascal VOC .xml, to measure the accuracy on them."
        ),
    ] = None,
    data: LabelledData = None,
    split: Split = "val",
    imgsz: ImageSize = None,
    trust: Trust = False,
    project: Project = Path("runs/export"),
    name: Name = "export",
    exist_ok: ExistOk = False,
) -> None:
    """Make a model for another runtime, and measure what that costs in accuracy and gains in speed."""
    from maskyolo.export import export_model

    result = export_model(
        model=model,
        format=format,
        precision=precision,
        images=images,
        labels=labels,
        data=data,
        split=split,
        imgsz=imgsz,
        trust=trust,
        project=project,
        name=name,
        exist_ok=exist_ok,
        on_step=lambda text: typer.echo(text, err=True),
    )
    print(result.table())
    print(
        f"use it with: --model {result.path}"
        if result.path.suffix in (".xml", ".onnx")
        else result.path
    )
    print(result.folder)
