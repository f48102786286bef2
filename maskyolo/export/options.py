"""Options of `export`: the format and precision to write, and the data to calibrate and test on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from maskyolo.core.choices import ExportFormat, ExportPrecision, Split
from maskyolo.core.options import Options, Panel, option, option_of
from maskyolo.core.runs import RunOptions
from maskyolo.detectors.options import InferenceOptions
from maskyolo.errors import DatasetError, MaskyoloError
from maskyolo.evaluation.options import LabeledDataOptions

__all__ = ["FORMATS", "ExportOptions"]

#: The precisions that each format can store.
FORMATS = {
    ExportFormat.OPENVINO: (ExportPrecision.FP32, ExportPrecision.FP16, ExportPrecision.INT8),
    ExportFormat.ONNX: (ExportPrecision.FP32, ExportPrecision.FP16, ExportPrecision.INT8),
    ExportFormat.NCNN: (ExportPrecision.FP32, ExportPrecision.FP16),
    ExportFormat.TFLITE: (ExportPrecision.FP32, ExportPrecision.INT8),
}


@dataclass(frozen=True, kw_only=True)
class _ExportSettings(Options, panel=Panel.OUTPUT):
    """What to export; a separate class, so that the help lists these options first."""

    model: Path | str | None = option_of(
        InferenceOptions,
        "model",
        help="Name of a model (maskyolo-n), or its .onnx or .pt file.",
    )
    format: ExportFormat = option(
        ExportFormat.OPENVINO, help="Output format: openvino, onnx, ncnn or tflite."
    )
    precision: ExportPrecision = option(
        ExportPrecision.FP32,
        help="Precision of the stored weights: fp32, fp16 (half the size) or int8 (a quarter).",
    )
    images: Path | str | None = option_of(
        LabeledDataOptions,
        "images",
        help="Folder of your own images to calibrate int8 on. Default: the train split of --data.",
    )
    labels: Path | str | None = option_of(
        LabeledDataOptions,
        "labels",
        help="Folder of labels for --images, YOLO .txt or Pascal VOC .xml files, to measure "
        "accuracy on them.",
    )
    data: Path | str | None = option_of(LabeledDataOptions, "data")
    split: Split = option_of(LabeledDataOptions, "split")
    imgsz: int | None = option_of(
        InferenceOptions,
        "imgsz",
        help="Inference size in pixels (longer side), rounded up to a multiple of 32. Default: "
        "the size the weights were trained at.",
    )
    class_map: Mapping[str, str] | None = option_of(InferenceOptions, "class_map")
    trust: bool = option_of(InferenceOptions, "trust")


@dataclass(frozen=True, kw_only=True)
class ExportOptions(RunOptions, _ExportSettings):
    """Options of `export_model` and `maskyolo export`.

    Raises:
        MaskyoloError: the format cannot store the precision.
        DatasetError: labels are given for both a data set and a folder of images.
    """

    project: Path | str = option_of(RunOptions, "project", default="runs/export")
    name: str = option_of(RunOptions, "name", default="export")

    def __post_init__(self) -> None:
        super().__post_init__()
        possible = FORMATS[self.format]
        if self.precision not in possible:
            raise MaskyoloError(
                f"cannot export {self.format} in {self.precision}",
                f"choose one of {', '.join(possible)}",
            )
        if self.data is not None and self.labels is not None:
            raise DatasetError(
                "cannot measure accuracy on both --data and --labels",
                "use only one; --images without --labels is for int8",
            )
