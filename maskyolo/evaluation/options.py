"""Which labeled images a detector is measured on, and how: options of `val` and `compare`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from maskyolo.core.choices import Split
from maskyolo.core.options import Options, option, option_of
from maskyolo.core.runs import RunOptions
from maskyolo.detectors.options import InferenceOptions

__all__ = ["CompareOptions", "EvaluateOptions", "LabeledDataOptions"]


@dataclass(frozen=True, kw_only=True)
class LabeledDataOptions(Options):
    """Which labeled images to use: a data set's split, or a folder of images and one of labels."""

    data: Path | str | None = option(
        None, help="A data set's data.yaml, or its folder.", cli_type=Path | None
    )
    split: Split = option(Split.VAL, help="Split of the data set: train, val or test.")
    images: Path | str | None = option(
        None, help="Folder of images, instead of --data.", cli_type=Path | None
    )
    labels: Path | str | None = option(
        None,
        help="Folder of labels for --images: YOLO .txt or Pascal VOC .xml files with matching "
        "names.",
        cli_type=Path | None,
    )
    image_list: Path | str | None = option(
        None,
        help="File with the names of the images to use, one per line. Default: all.",
        flags=("--list",),
        cli_type=Path | None,
    )


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(RunOptions, InferenceOptions, LabeledDataOptions):
    """Options of `evaluate` and `maskyolo val`."""

    conf: float = option_of(
        InferenceOptions,
        "conf",
        help="Confidence threshold for precision, recall and the confusion matrix.",
    )
    face_conf: float | None = option_of(
        InferenceOptions,
        "face_conf",
        help="Minimum face score with two-stage. Default: 0.1, because average precision also "
        "needs faces with low scores.",
    )
    seed: int = option(
        0, help="Random seed of the bootstrap for the confidence intervals.", minimum=0
    )
    project: Path | str | None = option_of(  # type: ignore[assignment]  # None: nothing is written
        RunOptions, "project", default="runs/val"
    )
    name: str = option_of(RunOptions, "name", default="val")


@dataclass(frozen=True, kw_only=True)
class _CompareSettings(LabeledDataOptions):
    """How to compare; a separate class, so that the help lists these options first."""

    conf: float = option_of(EvaluateOptions, "conf")
    iou: float = option_of(InferenceOptions, "iou")
    imgsz: int | None = option_of(InferenceOptions, "imgsz")
    device: str = option_of(InferenceOptions, "device")
    max_det: int = option_of(InferenceOptions, "max_det")
    trust: bool = option_of(InferenceOptions, "trust")
    seed: int = option_of(EvaluateOptions, "seed")
    rounds: int = option(
        15,
        help="Number of times each detector runs on each frame to measure speed (0: do not "
        "measure speed and memory).",
        minimum=0,
    )


@dataclass(frozen=True, kw_only=True)
class CompareOptions(RunOptions, _CompareSettings):
    """Options of `compare` and `maskyolo compare`; each model has its own pipeline."""

    project: Path | str = option_of(RunOptions, "project", default="runs/compare")
    name: str = option_of(RunOptions, "name", default="compare")
