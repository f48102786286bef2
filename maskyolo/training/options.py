"""Options of both trainings; the command `maskyolo train` offers them all."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from maskyolo.core.choices import Architecture, ImageCache, Optimizer, Pipeline
from maskyolo.core.options import Options, option, option_of
from maskyolo.core.runs import RunOptions
from maskyolo.detectors.options import ModelOptions
from maskyolo.errors import MaskyoloError

__all__ = ["ClassifierTrainOptions", "DetectorTrainOptions", "TrainOptions"]

# Each training's options are put together from the classes below, and so are the command's: it
# finds an option that was given to the wrong pipeline by the class that declares it.


@dataclass(frozen=True, kw_only=True)
class _PipelineOption(Options):
    pipeline: Pipeline = option(
        Pipeline.YOLO,
        help="What to train: yolo (the detector) or two-stage (a classifier of face crops).",
    )


@dataclass(frozen=True, kw_only=True)
class _SharedOptions(Options):
    """What both trainings have; None is the recipe's value."""

    model: Path | str | None = option(
        None,
        help="Start weights: yolov8n (the default), maskyolo-n, a .pt file, or yolov8n.yaml for "
        "random weights. With two-stage, a file of torchvision's ImageNet weights, or its folder.",
        cli_type=str | None,
    )
    recipe: Path | str | None = option(
        None,
        help="Training settings: a name in configs/ (default: detector, or classifier with "
        "two-stage) or a YAML file.",
        cli_type=str | None,
    )
    imgsz: int | None = option(
        None,
        help="Image size in pixels (longer side), a multiple of 32; with two-stage, the sides of a "
        "face crop. Default: 416; 224 with two-stage.",
        minimum=32,
    )
    epochs: int | None = option(
        None,
        help="Number of passes over the training images. Default: 12; 20 with two-stage.",
        minimum=1,
    )
    batch: int | None = option(
        None, help="Images or crops per step. Default: 16; 32 with two-stage.", minimum=1
    )
    device: str = option_of(ModelOptions, "device")
    workers: int | None = option(
        None,
        help="Number of processes that load images (default: 1); with two-stage, of threads "
        "(default: 2).",
        minimum=0,
    )
    seed: int | None = option(None, help="Seed of all random choices. Default: 0.", minimum=0)


@dataclass(frozen=True, kw_only=True)
class _DetectorOptions(Options):
    """What only the training of a detector has."""

    patience: int | None = option(
        None,
        help="Stop early after this many epochs without improvement. Default: 100.",
        minimum=0,
    )
    cache: ImageCache | None = option(
        None, help="Where to keep decoded images: ram, disk or none. Default: ram."
    )
    resume: Path | str | None = option(
        None,
        help="Continue an unfinished run: its folder, its last.pt, or latest for the newest in "
        "--project. Its settings are kept; only --data, --device, --workers and --cache may "
        "change.",
        cli_type=str | None,
    )
    trust: bool = option_of(ModelOptions, "trust")


@dataclass(frozen=True, kw_only=True)
class _ClassifierOptions(Options):
    """What only the training of a classifier has."""

    arch: Architecture | None = option(
        None, help="Backbone of the classifier. Default: mobilenet_v2."
    )
    optimizer: Optimizer | None = option(None, help="Optimizer of the classifier. Default: adam.")
    unfreeze: int | None = option(
        None,
        help="Number of the backbone's last blocks that are trained too (0: only the new head). "
        "Default: 0.",
        minimum=0,
    )


@dataclass(frozen=True, kw_only=True)
class _TrainRunOptions(RunOptions):
    project: Path | str = option_of(RunOptions, "project", default="runs/train")
    name: str = option_of(RunOptions, "name", default="train")


@dataclass(frozen=True, kw_only=True)
class DetectorTrainOptions(_TrainRunOptions, _DetectorOptions, _SharedOptions):
    """Options of `train_detector`; None is the recipe's value, and then Ultralytics' default."""


@dataclass(frozen=True, kw_only=True)
class ClassifierTrainOptions(_TrainRunOptions, _ClassifierOptions, _SharedOptions):
    """Options of `train_classifier`; None is the recipe's value."""


@dataclass(frozen=True, kw_only=True)
class TrainOptions(
    _TrainRunOptions, _ClassifierOptions, _DetectorOptions, _SharedOptions, _PipelineOption
):
    """Options of the command: of both trainings, and which of them to run.

    Raises:
        MaskyoloError: an option of the other pipeline is given.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        other, theirs = (
            (Pipeline.TWO_STAGE, _ClassifierOptions)
            if self.pipeline is Pipeline.YOLO
            else (Pipeline.YOLO, _DetectorOptions)
        )
        given = [f for f in fields(theirs) if getattr(self, f.name) != f.default]
        if given:
            names = ", ".join(f"--{field.name}" for field in given)
            raise MaskyoloError(
                f"{names} cannot be used with --pipeline {self.pipeline}",
                f"leave it out, or give --pipeline {other}",
            )
