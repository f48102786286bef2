"""`maskyolo val`: precision, recall and average precision of a detector on labelled pictures."""

from __future__ import annotations

from pathlib import Path

import typer

from maskyolo.cli.options import (
    Backend,
    Device,
    ExistOk,
    FaceDetectorName,
    FaceWeights,
    ImageList,
    Images,
    ImageSize,
    LabelledData,
    LabelsFolder,
    MaxDetections,
    Model,
    Name,
    NmsIou,
    Pipeline,
    Precision,
    Project,
    ReportConfidence,
    Seed,
    Split,
    Strict,
    Trust,
    examples,
)
from maskyolo.cli.progress import progress_bar

EXAMPLES = examples(
    "maskyolo val --data data/mask/data.yaml",
    "maskyolo val --images data/samples --labels data/samples/annotations",
    "maskyolo val --images data/samples --labels data/samples/annotations --pipeline two-stage",
    "maskyolo val --data data/mask --split test --model runs/train/train/weights/best.onnx",
)


def val(
    data: LabelledData = None,
    split: Split = "val",
    images: Images = None,
    labels: LabelsFolder = None,
    image_list: ImageList = None,
    model: Model = None,
    pipeline: Pipeline = "yolo",
    detector: FaceDetectorName = None,
    face: FaceWeights = None,
    conf: ReportConfidence = 0.25,
    iou: NmsIou = 0.5,
    imgsz: ImageSize = None,
    device: Device = "auto",
    max_det: MaxDetections = 300,
    backend: Backend = "auto",
    precision: Precision = "auto",
    trust: Trust = False,
    seed: Seed = 0,
    project: Project = Path("runs/val"),
    name: Name = "val",
    exist_ok: ExistOk = False,
    strict: Strict = False,
) -> None:
    """Measure a detector on labelled pictures, end to end: a face that is not found is an error."""
    from maskyolo.evaluate import evaluate

    with progress_bar("pictures") as on_progress:
        found = evaluate(
            data=data,
            split=split,
            images=images,
            labels=labels,
            image_list=image_list,
            model=model,
            pipeline=pipeline,
            detector=detector,
            face=face,
            conf=conf,
            iou=iou,
            imgsz=imgsz,
            device=device,
            max_det=max_det,
            backend=backend,
            precision=precision,
            trust=trust,
            seed=seed,
            project=project,
            name=name,
            exist_ok=exist_ok,
            on_error=lambda _, error: typer.echo(f"maskyolo: {error}", err=True),
            on_progress=on_progress,
        )
    print(found.table())
    print(found.folder)
    if strict and found.unreadable:
        raise typer.Exit(1)
