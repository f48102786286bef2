"""Options of every command that detects: which model to run, where, and what to report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from maskyolo.core.choices import BackendName, FaceDetectorName, Pipeline, Precision
from maskyolo.core.classes import parse_class_map
from maskyolo.core.options import Options, Panel, option

__all__ = ["InferenceOptions", "ModelOptions"]


@dataclass(frozen=True, kw_only=True)
class ModelOptions(Options, panel=Panel.MODEL):
    """Which model to load, and the runtime and device to run it on."""

    model: str | Path | None = option(
        None,
        help="Name of a model (maskyolo-n, or mobilenet_v2 with two-stage), or a file: .onnx, "
        ".xml (OpenVINO) or .pt.",
        cli_type=str | None,
    )
    pipeline: Pipeline = option(
        Pipeline.YOLO,
        help="yolo (one forward pass) or two-stage (a face detector, then a classifier per face).",
    )
    detector: FaceDetectorName | None = option(
        None,
        help="Face detector for two-stage. Default: ssd-plain. yolo: any YOLO face detector, given "
        "with --face.",
        panel=Panel.TWO_STAGE,
    )
    face: Path | None = option(
        None,
        help="Weights of the face detector, or the folder that contains them.",
        panel=Panel.TWO_STAGE,
    )
    device: str = option(
        "auto",
        help="Device to run on: auto, cpu, 0 (first GPU), 0,1 (several GPUs), mps.",
        panel=Panel.ADVANCED,
    )
    backend: BackendName = option(
        BackendName.AUTO,
        help="Inference runtime. auto: chosen by file type and hardware.",
        panel=Panel.ADVANCED,
    )
    precision: Precision = option(
        Precision.AUTO,
        help="Inference precision. auto: bf16 or int8 where that is fastest (OpenVINO only).",
        panel=Panel.ADVANCED,
    )
    class_map: Mapping[str, str] | None = option(
        None,
        help="NAME=CLASS: map a class of the model to with_mask, without_mask, incorrect_mask or "
        "ignore (leave out), if its name is not recognized. Can be repeated.",
        flags=("--map",),
        cli_type=list[str] | None,
        cli_parse=parse_class_map,
    )
    threads: int | None = option(
        None,
        help="Maximum number of CPU threads, to leave cores to other programs. Default: one per "
        "core.",
        minimum=1,
        panel=Panel.ADVANCED,
    )
    trust: bool = option(
        False,
        help="Load a .pt file of unknown origin, which can run any code on this machine.",
        recorded=False,
        panel=Panel.ADVANCED,
    )


@dataclass(frozen=True, kw_only=True)
class InferenceOptions(ModelOptions, panel=Panel.DETECTION):
    """The inference size, and which detections to keep."""

    conf: float = option(
        0.25,
        help="Minimum confidence of a detection.",
        minimum=0,
        maximum=1,
        flags=("--conf", "--confidence"),
    )
    iou: float = option(
        0.5,
        help="Overlap (IoU) above which the less confident of two boxes is dropped.",
        minimum=0,
        maximum=1,
    )
    imgsz: int | None = option(
        None,
        help="Inference size in pixels (longer side). Default: the size the weights were trained "
        "at.",
        minimum=32,
        maximum=8192,
    )
    incorrect: bool = option(
        False,
        help="Report masks worn incorrectly as a third class, incorrect_mask, if the model has it. "
        "Default: they count as without_mask.",
    )
    max_det: int = option(300, help="Maximum number of detections per image.", minimum=1)
    face_conf: float | None = option(
        None,
        help="Minimum face score with two-stage. Default: 0.5.",
        minimum=0,
        maximum=1,
        panel=Panel.TWO_STAGE,
    )
