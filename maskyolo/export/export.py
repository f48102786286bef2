"""Convert a detector for another runtime, and measure the change in accuracy and speed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from maskyolo.core.choices import ExportFormat, ExportPrecision
from maskyolo.core.detector import Detector
from maskyolo.core.files import write_atomic
from maskyolo.core.options import takes_options
from maskyolo.core.runs import new_run, save_args
from maskyolo.core.text import counted
from maskyolo.dataset.photo_hashes import load_hashes, save_hashes
from maskyolo.detectors.loading import DEFAULT_MODELS, describe_detector, load_detector
from maskyolo.errors import WeightsError
from maskyolo.evaluation.labeled import LabeledImage, describe_images, find_images
from maskyolo.export.calibration import DecodedImages, ReadableImages, find_calibration_images
from maskyolo.export.measuring import Measured, measure_models
from maskyolo.export.options import ExportOptions
from maskyolo.export.writing import ULTRALYTICS_FORMATS, ExportJob, load_exported, write_model
from maskyolo.models.backends.loading import precision_of_file
from maskyolo.models.own import find_model
from maskyolo.runtime.provenance import (
    describe_data,
    describe_model,
    made_with,
    report_differences,
)

__all__ = ["ExportResult", "export_model"]


@dataclass(frozen=True)
class ExportResult:
    """An exported model and the one it was made from.

    Attributes:
        folder: the run's folder.
        path: what `--model` takes: a file, or a folder for NCNN.
        source: the model it was made from.
        exported: the export.
        measured_on: description of the labeled images; empty if there are none.
    """

    folder: Path
    path: Path
    source: Measured
    exported: Measured
    measured_on: str = ""

    def table(self) -> str:
        """Return size, time and accuracy of both, and the change, as text."""
        rows = {
            f"from {self.source.name}": self.source,
            f"to   {self.exported.name}": self.exported,
        }
        width = max(map(len, rows))
        lines = [f"{'':{width}}      MB     ms/image     mAP50  mAP50-95  computed by", ""]
        for title, row in rows.items():
            numbers = "".join(
                f"{'-' if value is None else f'{value:.4f}':>10}"
                for value in (row.map50, row.map50_95)
            )
            size_and_time = f"{row.megabytes:8.1f}{row.milliseconds:13.1f}"
            lines.append(f"{title:{width}}{size_and_time}{numbers}  {row.runs_in}")
        speedup = f"{self.source.milliseconds / self.exported.milliseconds:.2f} times as fast"
        if self.source.map50 is not None and self.exported.map50 is not None:
            change = self.exported.map50 - self.source.map50
            accuracy = f"mAP50 {change:+.4f} on {self.measured_on}"
        else:
            accuracy = (
                "accuracy not measured: give labeled images with --data, or --images and --labels"
            )
        return "\n".join([*lines, "", f"{speedup}; {accuracy}", ""])

    def json(self) -> dict[str, Any]:
        """Return the same as plain values."""
        return {
            "source": asdict(self.source),
            "exported": asdict(self.exported),
            "measured_on": self.measured_on,
        }


@takes_options(ExportOptions)
def export_model(
    model: Path | str | None = None,
    options: ExportOptions | None = None,
    *,
    on_step: Callable[[str], None] | None = None,
    **settings: Any,
) -> ExportResult:
    """Export a detector, then measure size, speed and accuracy of the export and of its source.

    The run's folder gets the model, `args.yaml`, `report.txt` and `report.json`. ONNX and OpenVINO
    accept images of any size; NCNN and TFLite only `imgsz` x `imgsz`. On a CPU, a model with fp16
    weights runs in fp32 or bf16. With int8, all layers except the detection head run in int8,
    calibrated by NNCF on images.

    Args:
        model: name of a model, or its `.onnx` or `.pt` file. NCNN and TFLite are written by
            Ultralytics, from the `.pt` of that name.
        options: see `ExportOptions`. For int8, `images` should be a few hundred from the place
            where the model will be used. With `labels`, accuracy is also measured on them. `imgsz`
            is also stored in the export, and so are the class names according to `class_map`
            (ONNX and OpenVINO only).
        on_step: called with the next step, in a few words.
        settings: fields of `ExportOptions` as keywords, such as `format` and `precision`.

    Raises:
        MaskyoloError: the format cannot store the precision.
        WeightsError: the model does not exist, is damaged, has other classes, is not trusted, or
            cannot be converted to this format.
        DatasetError: no images to calibrate on, or no labeled images to measure on.
        DependencyError: the format needs a package that is not installed.
        OutputError: the result cannot be written.

    Examples:
        >>> result = export_model(format="onnx", precision="fp16")  # doctest: +SKIP
    """
    if model is not None:
        settings["model"] = model
    chosen = ExportOptions.merge(options, settings)
    source = _source(chosen.model or DEFAULT_MODELS["yolo"], chosen.format)
    labeled, where = _labeled_images(chosen)
    is_int8 = chosen.precision is ExportPrecision.INT8
    calibration = (
        find_calibration_images(chosen.images, chosen.data)
        if is_int8 or chosen.images is not None
        else []
    )
    images = ReadableImages(calibration, DecodedImages().read)
    step = on_step or (lambda _: None)
    # checked before a folder is made: the model may be damaged, or have other classes
    detector = _load(source, chosen)
    imgsz = int(detector.imgsz)
    relabel = {}
    if chosen.imgsz is not None and imgsz != detector.backend.imgsz:
        relabel["imgsz"] = str([imgsz, imgsz])
    if chosen.class_map:
        relabel["names"] = str(dict(enumerate(detector.classes.meanings)))
    folder = new_run(chosen.project, chosen.name, chosen.exist_ok)
    scratch = folder / "export.part"
    job = ExportJob(source, chosen.format, chosen.precision, images, imgsz, relabel, scratch)
    on_images = f", on {counted(len(calibration), 'image')}" if is_int8 else ""
    step(f"exporting {source.name} to {chosen.format}, {chosen.precision}{on_images}")
    path = write_model(job, folder)
    if hashes := load_hashes(source):
        save_hashes(path, hashes)
    split = str(chosen.split) if chosen.data is not None else None
    made = _made_with(source, detector, labeled, calibration if is_int8 else [])
    report_differences(chosen.args, made)
    own = {"model": source, "split": split, "imgsz": imgsz}
    save_args(folder, {**chosen.recorded(), **own}, made)
    models = {
        "source": (source, detector.backend),
        "exported": (path, load_exported(path, chosen.format, imgsz)),
    }
    measured = measure_models(models, imgsz, images, labeled, step, chosen.class_map)
    result = ExportResult(folder, path, **measured, measured_on=where)
    write_atomic(folder / "report.txt", result.table())
    write_atomic(folder / "report.json", json.dumps(result.json(), indent=2) + "\n")
    return result


def _load(source: Path, options: ExportOptions) -> Any:
    return load_detector(
        source,
        imgsz=options.imgsz,
        class_map=options.class_map,
        trust=options.trust,
        precision=precision_of_file(source),
    )


def _made_with(
    source: Path, detector: Detector, labeled: list[LabeledImage], calibration: Sequence[Path]
) -> dict[str, Any]:
    """Return what an export is made with."""
    images = [(image, b"") for image in calibration]
    return made_with(
        model=describe_model(source, describe_detector(detector)[0]),
        data=describe_images(labeled) if labeled else None,
        calibration=describe_data(images) if images else None,
    )


def _source(model: Path | str, format: ExportFormat) -> Path:  # noqa: A002
    """Return the file to export; for Ultralytics' formats, the `.pt` next to the `.onnx`."""
    path = find_model(model)
    if path.suffix.lower() not in (".onnx", ".pt"):
        raise WeightsError(
            f"cannot export {path}: it is already an export, or not a model",
            "give a .onnx or .pt file",
        )
    if format in ULTRALYTICS_FORMATS and path.suffix.lower() != ".pt":
        path = path.with_suffix(".pt")
        if not path.is_file():
            raise WeightsError(
                f"cannot export {model} to {format}: {format} is made from a .pt file, and "
                f"there is no {path}",
                "give a .pt file",
            )
    return path


def _labeled_images(chosen: ExportOptions) -> tuple[list[LabeledImage], str]:
    """Return the images to measure accuracy on, and their folder; none without labels."""
    if chosen.data is not None:
        images, _ = find_images(data=chosen.data, split=chosen.split)
        return images, f"{chosen.data} ({chosen.split})"
    if chosen.labels is not None:
        return find_images(images=chosen.images, labels=chosen.labels)
    return [], ""
