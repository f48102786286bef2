"""Options of `review open`, `review find` and `review apply`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from maskyolo.core.choices import Pipeline
from maskyolo.core.options import Options, Panel, option, option_of
from maskyolo.core.runs import RunOptions
from maskyolo.detectors.options import InferenceOptions, ModelOptions

__all__ = ["PORT", "ApplyOptions", "FindOptions", "OpenOptions"]

#: FiftyOne's default port of the App.
PORT = 5151


@dataclass(frozen=True, kw_only=True)
class OpenOptions(Options, panel=Panel.DISPLAY):
    """Options of `open_review`."""

    model: Path | str | None = option_of(
        ModelOptions,
        "model",
        help="Detector whose predictions to show: a model name (default: maskyolo-n), or a .onnx, "
        ".xml (OpenVINO) or .pt file.",
    )
    pipeline: Pipeline = option_of(
        ModelOptions,
        "pipeline",
        help="yolo, or two-stage to also show the predictions of the two-stage pipeline.",
    )
    predict: bool = option(
        True,
        help="Run the detector on photos that have no predictions from it yet.",
        panel=Panel.MODEL,
    )
    conf: float = option_of(InferenceOptions, "conf", help="Minimum confidence of a prediction.")
    imgsz: int | None = option_of(InferenceOptions, "imgsz")
    device: str = option_of(ModelOptions, "device")
    class_map: Mapping[str, str] | None = option_of(ModelOptions, "class_map")
    incorrect: bool = option_of(InferenceOptions, "incorrect")
    trust: bool = option_of(ModelOptions, "trust")
    name: str | None = option(
        None, help="Name of the data set in FiftyOne. Default: the name of its folder."
    )
    app: bool = option(
        True, help="Serve the App. With --no-app, only FiftyOne's database is updated."
    )
    remote: bool = option(
        False,
        help="Do not open a browser, and print how to reach the App from another machine.",
    )
    port: int = option(
        PORT,
        help="Port of the App, which listens on this machine only.",
        minimum=1,
        maximum=65535,
    )


@dataclass(frozen=True, kw_only=True)
class _SearchOptions(Options, panel=Panel.TRAINING):
    """Which data set to search, and how to train the detectors that judge it."""

    folds: int = option(
        3,
        help="Number of folds (cross-validation): each part of the photos is judged by a detector "
        "trained on the other parts.",
        minimum=2,
    )
    model: Path | str = option(
        "maskyolo-n",
        help="Initial weights of the detectors: maskyolo-n, yolov8n or a .pt file. They must not "
        "have been trained on this data set.",
        cli_type=str,
        panel=Panel.MODEL,
    )
    epochs: int = option(3, help="Number of training epochs for each detector.", minimum=1)
    imgsz: int = option_of(
        InferenceOptions,
        "imgsz",
        default=416,
        help="Image size in pixels (longer side), a multiple of 32.",
        panel=Panel.TRAINING,
    )
    predictions: Path | str | None = option(
        None,
        help="Skip training and use these predictions: predictions.jsonl of an earlier search, or "
        "the output of detect --conf 0.01 --save-json with a detector not trained on this set.",
        cli_type=Path | None,
        panel=Panel.INPUT,
    )
    resume: Path | str | None = option(
        None,
        help="Continue an interrupted search, given its run's folder. The other options must be "
        "the same.",
        cli_type=Path | None,
        recorded=False,
    )
    device: str = option_of(ModelOptions, "device")
    seed: int = option(0, help="Random seed.", minimum=0, panel=Panel.ADVANCED)
    trust: bool = option_of(ModelOptions, "trust")


@dataclass(frozen=True, kw_only=True)
class _RunOptions(RunOptions):
    project: Path | str = option_of(RunOptions, "project", default="runs/review")
    name: str = option_of(RunOptions, "name", default="find")


@dataclass(frozen=True, kw_only=True)
class FindOptions(_RunOptions, _SearchOptions):
    """Options of `find_errors`."""


@dataclass(frozen=True, kw_only=True)
class ApplyOptions(Options):
    """Options of `apply_review`."""

    csv: Path | str | None = option(
        None,
        help="An edited review.csv to apply instead of the edits made in the App.",
        panel=Panel.INPUT,
        cli_type=Path | None,
    )
    name: str | None = option_of(OpenOptions, "name", panel="")
    dry_run: bool = option(False, help="Only report what would change.")
