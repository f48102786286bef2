"""`maskyolo train`: train the detector, or the two-stage path's classifier, on a YOLO data set."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from maskyolo._text import counted
from maskyolo.cli.options import Device, ExistOk, Name, Project, Trust, examples
from maskyolo.cli.progress import progress_bar

if TYPE_CHECKING:
    from maskyolo.detector_training import Progress

EXAMPLES = examples(
    "maskyolo train --data data/mask/data.yaml",
    "maskyolo train --data data/mask --model maskyolo-n --epochs 3 --imgsz 640 --device 0",
    "maskyolo train --resume latest",
    "maskyolo train --pipeline two-stage --data data/mask --arch mobilenet_v2",
)


def train(
    data: Annotated[
        Path | None, typer.Option(help="The data set's data.yaml, or its folder.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Start weights: yolov8n (the default), maskyolo-n, a .pt file, or yolov8n.yaml for a random start; with two "
            "stages a file of torchvision's ImageNet weights."
        ),
    ] = None,
    pipeline: Annotated[
        str,
        typer.Option(
            help="What to train: yolo (the detector), or two-stage (a classifier of face crops, as in 2020)."
        ),
    ] = "yolo",
    arch: Annotated[
        str | None,
        typer.Option(
            help="Backbone of that classifier: mobilenet_v2 (the default) or resnet50, learnt on ImageNet."
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="Settings: a name in configs/ (the default is detector, or classifier) or a YAML file."
        ),
    ] = None,
    imgsz: Annotated[
        int | None,
        typer.Option(
            min=32,
            help="Longer side in pixels that pictures are scaled to; a multiple of 32 (recipe: 416; crops: 224).",
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(min=1, help="Passes over the training pictures (recipe: 12; crops: 20)."),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            min=1, help="Pictures in a step (16, unless the recipe says otherwise; crops: 32)."
        ),
    ] = None,
    optimizer: Annotated[
        str | None, typer.Option(help="Of the classifier: adam (the default) or rmsprop.")
    ] = None,
    unfreeze: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="How many of the last blocks of the classifier's backbone learn as well (0: only the head).",
        ),
    ] = None,
    device: Device = "auto",
    workers: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Processes that load pictures beside the training (recipe: 1; threads for crops: 2).",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0, help="Seed of everything random (0, unless the recipe says otherwise)."
        ),
    ] = None,
    patience: Annotated[
        int | None, typer.Option(min=0, help="Stop after so many epochs without improvement (100).")
    ] = None,
    cache: Annotated[
        str | None,
        typer.Option(help="Where decoded pictures are kept: ram, disk or none (recipe: ram)."),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            help="Continue an unfinished run: its folder, its last.pt, or latest for the newest one."
        ),
    ] = None,
    trust: Trust = False,
    project: Project = Path("runs/train"),
    name: Name = "train",
    exist_ok: ExistOk = False,
) -> None:
    """Train a YOLOv8 detector; Ctrl-C or a kill leaves a run that --resume continues. Or, in minutes, a classifier of face crops."""
    from maskyolo.errors import MaskyoloError

    both = {
        "data": data,
        "model": model,
        "recipe": recipe,
        "imgsz": imgsz,
        "epochs": epochs,
        "batch": batch,
        "device": device,
    }
    both |= {
        "workers": workers,
        "seed": seed,
        "project": project,
        "name": name,
        "exist_ok": exist_ok,
    }
    only = {
        "yolo": {"patience": patience, "cache": cache, "resume": resume, "trust": trust},
        "two-stage": {"arch": arch, "optimizer": optimizer, "unfreeze": unfreeze},
    }
    if pipeline not in only:
        raise MaskyoloError(f"unknown pipeline '{pipeline}'; choose from {', '.join(only)}")
    own = only.pop(pipeline)
    for other, settings in only.items():
        wrong = [
            f"--{key}"
            for key, value in settings.items()
            if value is not None and value is not False
        ]
        if wrong:
            raise MaskyoloError(
                f"cannot use {', '.join(wrong)} with --pipeline {pipeline}: of {other} only; leave it out"
            )
    signal.signal(signal.SIGTERM, _interrupt)
    if pipeline == "yolo":
        _train_detector(both | own)
    else:
        _train_classifier(both | own)


def _train_detector(settings: dict[str, Any]) -> None:
    from maskyolo.detector_training import train_detector

    with progress_bar("batches") as bar:
        report = _Lines(bar)
        try:
            result = train_detector(**settings, on_progress=report, on_warning=_warn)
        except KeyboardInterrupt:
            where = (
                f"; continue with: maskyolo train --resume {_relative(report.folder)}"
                if report.folder
                else ""
            )
            typer.echo(f"maskyolo: stopped{where}", err=True)
            raise typer.Exit(130) from None
    print(result.report.table())
    print(f"weights: {_relative(result.best)}, {_relative(result.onnx)}")
    print(_relative(result.folder))


def _train_classifier(settings: dict[str, Any]) -> None:
    from maskyolo.classifier_training import train_classifier
    from maskyolo.errors import MaskyoloError

    if settings["data"] is None:
        raise MaskyoloError("no data set given; give --data DIR/data.yaml")
    with progress_bar("batches") as bar:
        report = _Lines(bar)
        try:
            result = train_classifier(**settings, on_progress=report, on_warning=_warn)
        except KeyboardInterrupt:
            where = (
                f"; {_relative(report.folder)}/results.csv has the epochs so far"
                if report.folder and report.begun
                else ""
            )
            typer.echo(
                f"maskyolo: stopped{where}; a classifier's training is not continued, start it again",
                err=True,
            )
            raise typer.Exit(130) from None
    for table in result.reports.values():
        print(table.table())
    print(f"weights: {_relative(result.best)}")
    print(_relative(result.folder))


class _Lines:
    """Shows the batches on the bar, and a line for each epoch on stderr."""

    def __init__(self, bar: Any) -> None:
        self.bar = bar
        self.folder: Path | None = None
        self.begun = 0.0
        self.first = 0
        self.seconds = 0.0

    def __call__(self, now: Progress) -> None:
        if now.epoch == 0:
            if self.folder is None:
                self.folder = now.folder
                typer.echo(
                    f"training in {_relative(now.folder)}; first the frozen layers' pass over {counted(now.batches, 'crop')}",
                    err=True,
                )
            self.bar(now.batch, now.batches)
            return
        if not self.begun:
            self.folder, self.begun, self.first = now.folder, time.monotonic(), now.epoch
            length = f"{counted(now.epochs, 'epoch')} of {counted(now.batches, 'batch', 'batches')}"
            typer.echo(f"training in {_relative(now.folder)}, {length}", err=True)
        self.bar((now.epoch - 1) * now.batches + now.batch, now.epochs * now.batches)
        if not now.metrics:
            self.seconds = now.seconds
        else:
            values = [f"{name} {value:.3f}" for name, value in (now.losses | now.metrics).items()]
            left = (
                (time.monotonic() - self.begun)
                / (now.epoch - self.first + 1)
                * (now.epochs - now.epoch)
            )
            rate = f"{now.batches / self.seconds:.2f} batches/s" if self.seconds else ""
            print(
                f"epoch {now.epoch}/{now.epochs}  {'  '.join(values)}  {rate}  {_clock(left)} left",
                file=sys.stderr,
                flush=True,
            )


def _warn(line: str) -> None:
    typer.echo(f"maskyolo: {line}", err=True)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def _relative(path: Path) -> Path:
    """Return the path as seen from the working folder, where it is below it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt
