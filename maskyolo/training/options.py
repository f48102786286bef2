"""Options of detector and classifier training; `maskyolo train` offers them all."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from maskyolo.core.choices import Architecture, ImageCache, Logger, Optimizer, Pipeline
from maskyolo.core.options import Options, Panel, option, option_of
from maskyolo.core.repeating import args_file, load_args, typed_value
from maskyolo.core.runs import RunOptions
from maskyolo.detectors.options import ModelOptions
from maskyolo.errors import MaskyoloError

__all__ = ["ClassifierTrainOptions", "DetectorTrainOptions", "TrainOptions"]

# Each training's options, and the command's, are combined from the classes below. The class that
# declares an option tells the command which pipeline the option belongs to.


@dataclass(frozen=True, kw_only=True)
class _PipelineOption(Options, panel=Panel.MODEL):
    pipeline: Pipeline = option(
        Pipeline.YOLO,
        help="What to train: yolo (the detector) or two-stage (a classifier of face crops).",
    )


@dataclass(frozen=True, kw_only=True)
class _SharedOptions(Options, panel=Panel.TRAINING):
    """Options of both trainings; None means the recipe's value."""

    model: Path | str | None = option(
        None,
        help="Initial weights: yolov8n (the default), maskyolo-n, a .pt file, or yolov8n.yaml for "
        "random weights. With two-stage: torchvision's ImageNet weights, as a file or its folder.",
        cli_type=str | None,
        panel=Panel.MODEL,
    )
    recipe: Path | str | None = option(
        None,
        help="Training settings: a name in configs/ (default: detector, or classifier with "
        "two-stage) or a YAML file.",
        cli_type=str | None,
    )
    imgsz: int | None = option(
        None,
        help="Image size in pixels (longer side), a multiple of 32; with two-stage, side of a face "
        "crop. Default: 416; 224 with two-stage.",
        minimum=32,
    )
    epochs: int | None = option(
        None,
        help="Number of training epochs. Default: 12; 20 with two-stage.",
        minimum=1,
    )
    batch: int | None = option(
        None, help="Batch size. Default: 16 images; 32 crops with two-stage.", minimum=1
    )
    device: str = option_of(ModelOptions, "device")
    workers: int | None = option(
        None,
        help="Number of processes (default: 1) or, with two-stage, threads (default: 2) that load "
        "images.",
        minimum=0,
        panel=Panel.ADVANCED,
    )
    seed: int | None = option(
        None, help="Random seed. Default: 0.", minimum=0, panel=Panel.ADVANCED
    )

    @classmethod
    def saved(cls, run: Path | str) -> dict[str, Any]:
        """Return the options that repeat an earlier training: its `args.yaml` is the recipe.

        Args:
            run: its `args.yaml`, or its folder.

        Raises:
            MaskyoloError: the file cannot be read, or a value has the wrong type.
        """
        content, file = load_args(run), args_file(run)
        kinds = {"model": str, "device": str, "pipeline": Pipeline}
        known = {field.name for field in fields(cls)}
        found = {
            name: typed_value(content[name], kind, f"{file}: {name}")
            for name, kind in kinds.items()
            if name in known and content.get(name) is not None
        }
        return {"recipe": file, **found}


@dataclass(frozen=True, kw_only=True)
class _DetectorOptions(Options, panel=Panel.TRAINING):
    """Options of detector training only."""

    patience: int | None = option(
        None,
        help="Stop early after this many epochs without improvement. Default: 100.",
        minimum=0,
    )
    cache: ImageCache | None = option(
        None,
        help="Where to cache decoded images: ram, disk or none. Default: ram.",
        panel=Panel.ADVANCED,
    )
    logger: Logger | None = option(
        None,
        help="Also log to tensorboard, mlflow or wandb, whose package must be installed. Default: "
        "no log besides the run's folder, and no connection.",
        recorded=False,
        panel=Panel.OUTPUT,
    )
    resume: Path | str | None = option(
        None,
        help="Continue an unfinished run, given its folder, its last.pt, or latest (the newest in "
        "--project). It keeps its settings; only --data, --device, --workers and --cache may "
        "change.",
        cli_type=str | None,
    )
    trust: bool = option_of(ModelOptions, "trust")


@dataclass(frozen=True, kw_only=True)
class _ClassifierOptions(Options, panel=Panel.TWO_STAGE):
    """Options of classifier training only."""

    arch: Architecture | None = option(
        None, help="Backbone of the classifier. Default: mobilenet_v2."
    )
    optimizer: Optimizer | None = option(None, help="Optimizer of the classifier. Default: adam.")
    unfreeze: int | None = option(
        None,
        help="Number of final backbone blocks to train along with the new head (0: head only). "
        "Default: 0.",
        minimum=0,
    )


@dataclass(frozen=True, kw_only=True)
class _TrainRunOptions(RunOptions):
    project: Path | str = option_of(RunOptions, "project", default="runs/train")
    name: str = option_of(RunOptions, "name", default="train")


@dataclass(frozen=True, kw_only=True)
class DetectorTrainOptions(_TrainRunOptions, _DetectorOptions, _SharedOptions):
    """Options of `train_detector`; None means the recipe's value, or else Ultralytics' default."""


@dataclass(frozen=True, kw_only=True)
class ClassifierTrainOptions(_TrainRunOptions, _ClassifierOptions, _SharedOptions):
    """Options of `train_classifier`; None means the recipe's value."""


@dataclass(frozen=True, kw_only=True)
class TrainOptions(
    _TrainRunOptions, _ClassifierOptions, _DetectorOptions, _SharedOptions, _PipelineOption
):
    """Options of `maskyolo train`: those of both trainings, and which one to run.

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
