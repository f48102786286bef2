"""Which labeled images a detector is measured on, and how: options of `val` and `compare`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from maskyolo.core.choices import Split
from maskyolo.core.options import Options, Panel, option, option_of
from maskyolo.core.plotting import check_matplotlib
from maskyolo.core.runs import RunOptions
from maskyolo.detectors.options import InferenceOptions

__all__ = ["CompareOptions", "EvaluateOptions", "LabeledDataOptions", "PlotOptions"]


@dataclass(frozen=True, kw_only=True)
class LabeledDataOptions(Options, panel=Panel.INPUT):
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
    ignore_boxes: Path | str | None = option(
        None,
        help="CSV of boxes to ignore, such as faces without a label: columns image, x1, y1, x2, y2 "
        "in pixels. Rows with the kind not_face are left out.",
        cli_type=Path | None,
    )


@dataclass(frozen=True, kw_only=True)
class PlotOptions(Options, panel=Panel.OUTPUT):
    """Which plots to write."""

    save_plots: bool = option(
        False,
        help="Also save plots as PNG and SVG, with 95 % intervals: precision-recall and F1 curves, "
        "confusion, and scores by size, number and sharpness of faces.",
    )

    def __post_init__(self) -> None:
        """Check that plots can be drawn."""
        super().__post_init__()
        if self.save_plots:
            check_matplotlib("--save-plots")


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(
    PlotOptions, RunOptions, InferenceOptions, LabeledDataOptions, panel=Panel.MEASURING
):
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
    incorrect: bool = option_of(
        InferenceOptions,
        "incorrect",
        help="Measure masks worn incorrectly as a third class, incorrect_mask, which the model "
        "must have.",
    )
    fold_incorrect: bool = option(
        False,
        help="Count labels of masks worn incorrectly as without_mask. Default: they are ignored; "
        "a detection on one is neither right nor wrong.",
    )
    seed: int = option(
        0, help="Random seed of the bootstrap for the confidence intervals.", minimum=0
    )
    save_coco: bool = option(
        False,
        help="Also save labels and detections as COCO JSON, for pycocotools.",
        panel=Panel.OUTPUT,
    )
    project: Path | str | None = option_of(  # type: ignore[assignment]  # None: nothing is written
        RunOptions, "project", default="runs/val"
    )
    name: str = option_of(RunOptions, "name", default="val")


@dataclass(frozen=True, kw_only=True)
class _CompareSettings(LabeledDataOptions, panel=Panel.MEASURING):
    """How to compare; a separate class, so that the help lists these options first."""

    conf: float = option_of(EvaluateOptions, "conf")
    iou: float = option_of(InferenceOptions, "iou")
    imgsz: int | None = option_of(InferenceOptions, "imgsz")
    device: str = option_of(InferenceOptions, "device")
    max_det: int = option_of(InferenceOptions, "max_det")
    class_map: Mapping[str, str] | None = option_of(InferenceOptions, "class_map")
    incorrect: bool = option_of(
        InferenceOptions,
        "incorrect",
        help="Measure masks worn incorrectly as a third class, incorrect_mask, which all models "
        "must have.",
    )
    fold_incorrect: bool = option_of(EvaluateOptions, "fold_incorrect")
    threads: int | None = option_of(InferenceOptions, "threads")
    trust: bool = option_of(InferenceOptions, "trust")
    seed: int = option_of(EvaluateOptions, "seed")
    rounds: int = option(
        15,
        help="Number of times each detector runs on each frame to measure speed (0: do not "
        "measure speed and memory).",
        minimum=0,
    )


@dataclass(frozen=True, kw_only=True)
class CompareOptions(PlotOptions, RunOptions, _CompareSettings):
    """Options of `compare` and `maskyolo compare`; each model has its own pipeline."""

    project: Path | str = option_of(RunOptions, "project", default="runs/compare")
    name: str = option_of(RunOptions, "name", default="compare")
