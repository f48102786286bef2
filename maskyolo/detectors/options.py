"""Options of every command that detects: which model to run, where, and what to report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from maskyolo.core.choices import BackendName, FaceDetectorName, Pipeline, Precision
from maskyolo.core.options import Options, option

__all__ = ["InferenceOptions", "ModelOptions"]


@dataclass(frozen=True, kw_only=True)
class ModelOptions(Options):
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
        None, help="Face detector for two-stage. Default: ssd-plain."
    )
    face: Path | None = option(
        None, help="Weights of the face detector, or the folder that contains them."
    )
    device: str = option(
        "auto", help="Device to run on: auto, cpu, 0 (first GPU), 0,1 (several GPUs), mps."
    )
    backend: BackendName = option(
        BackendName.AUTO, help="Inference runtime. auto: chosen by file type and hardware."
    )
    precision: Precision = option(
        Precision.AUTO,
        help="Inference precision. auto: bf16 where the CPU supports it (OpenVINO only).",
    )
    trust: bool = option(
        False,
        help="Load a .pt file of unknown origin, which can run any code on this machine.",
        recorded=False,
    )


@dataclass(frozen=True, kw_only=True)
class InferenceOptions(ModelOptions):
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
    max_det: int = option(300, help="Maximum number of detections per image.", minimum=1)
    face_conf: float | None = option(
        None, help="Minimum face score with two-stage. Default: 0.5.", minimum=0, maximum=1
    )
