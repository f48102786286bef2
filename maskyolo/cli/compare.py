"""`maskyolo compare`: detectors side by side, on the same pictures, frames and video."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from maskyolo.cli.options import (
    Device,
    ExistOk,
    ImageList,
    Images,
    ImageSize,
    LabelledData,
    LabelsFolder,
    MaxDetections,
    Name,
    NmsIou,
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
    "maskyolo compare --images data/samples --labels data/samples/annotations",
    "maskyolo compare --data data/mask --model two-stage:mobilenet_v2@yunet --model maskyolo-n",
    "maskyolo compare --source data/samples/street.mp4",
)


def compare(
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="[PIPELINE:][MODEL][@DETECTOR], such as maskyolo-n, best.onnx, two-stage:mobilenet_v2 or two-stage:seed.onnx@yunet. "
            "Repeat it; the others are measured against the first (two-stage, yolo)."
        ),
    ] = None,
    data: LabelledData = None,
    split: Split = "val",
    images: Images = None,
    labels: LabelsFolder = None,
    image_list: ImageList = None,
    source: Annotated[
        str | None, typer.Option(help="Video on which to show them side by side.")
    ] = None,
    conf: ReportConfidence = 0.25,
    iou: NmsIou = 0.5,
    imgsz: ImageSize = None,
    device: Device = "auto",
    max_det: MaxDetections = 300,
    trust: Trust = False,
    seed: Seed = 0,
    rounds: Annotated[
        int,
        typer.Option(
            min=0,
            help="Times that each detector sees each frame when speed is measured; 0 leaves speed out.",
        ),
    ] = 15,
    project: Project = Path("runs/compare"),
    name: Name = "compare",
    exist_ok: ExistOk = False,
    strict: Strict = False,
) -> None:
    """Compare detectors on labelled pictures (how right), on frames with 1 to 40 faces (how fast), and on a video."""
    from contextlib import ExitStack

    from maskyolo.comparison import compare as run

    with ExitStack() as bars:
        shown: dict[str, Callable[[int, int | None], None]] = {}

        def on_progress(what: str, done: int, total: int | None) -> None:
            if what not in shown:
                bars.close()
                shown[what] = bars.enter_context(progress_bar(what))
            shown[what](done, total)

        result = run(
            model=model or ("two-stage", "yolo"),
            data=data,
            split=split,
            images=images,
            labels=labels,
            image_list=image_list,
            source=source,
            conf=conf,
            iou=iou,
            imgsz=imgsz,
            device=device,
            max_det=max_det,
            trust=trust,
            seed=seed,
            rounds=rounds,
            project=project,
            name=name,
            exist_ok=exist_ok,
            on_error=lambda _, error: typer.echo(f"maskyolo: {error}", err=True),
            on_progress=on_progress,
        )
    print(result.table())
    print(result.folder)
    if strict and result.unreadable:
        raise typer.Exit(1)
