"""Write a model's file for another runtime."""

from __future__ import annotations

import importlib
import logging
import shutil
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from maskyolo.core.choices import ExportFormat, ExportPrecision
from maskyolo.core.classes import CLASS_NAMES
from maskyolo.core.images import ImageArray
from maskyolo.core.installation import install_command
from maskyolo.core.silence import quiet
from maskyolo.detectors.yolo import letterbox, network_shape
from maskyolo.errors import DatasetError, DependencyError, MaskyoloError, output_errors
from maskyolo.export.calibration import ReadableImages
from maskyolo.models.backends.base import Backend, Tensor, to_tensor
from maskyolo.models.backends.loading import load_backend

__all__ = ["ULTRALYTICS_FORMATS", "ExportJob", "load_exported", "write_model"]

#: The formats that only Ultralytics writes: its name for each, and the packages it needs.
ULTRALYTICS_FORMATS = {
    ExportFormat.NCNN: ("ncnn", "ncnn pnnx==20260526"),
    ExportFormat.TFLITE: ("litert", "'ultralytics[export-litert]'"),
}


#: How Ultralytics' exports name the nodes of the first two layers.
_FIRST_LAYERS = ("/model.0/", "/model.1/")


@dataclass(frozen=True)
class ExportJob:
    """What to export.

    Attributes:
        source: an `.onnx` or `.pt` file.
        format: the format to write.
        precision: number format of the weights.
        images: the images that int8 is calibrated on.
        imgsz: longer side of the network's input in pixels.
        relabel: entries of the export's metadata that differ from the source's; OpenVINO and ONNX
            only.
        scratch: folder for intermediate files.
    """

    source: Path
    format: ExportFormat
    precision: ExportPrecision
    images: ReadableImages
    imgsz: int
    relabel: Mapping[str, str]
    scratch: Path


def write_model(job: ExportJob, folder: Path) -> Path:
    """Write the export to the run's folder; remove the folder if that fails."""
    try:
        with output_errors(folder):
            shutil.rmtree(job.scratch, ignore_errors=True)
            job.scratch.mkdir()
        made = _export(job)
        with output_errors(folder):
            path = _move(made, folder)
    except BaseException:
        shutil.rmtree(job.scratch, ignore_errors=True)
        if not any(folder.iterdir()):
            folder.rmdir()
        raise
    shutil.rmtree(job.scratch)
    return path


def _export(job: ExportJob) -> Path:
    """Write the export to the scratch folder, and return its path: a file or a folder."""
    if job.format in ULTRALYTICS_FORMATS:
        return _by_ultralytics(job)
    source = job.source
    if source.suffix.lower() == ".pt":
        source = _by_ultralytics(
            replace(job, format=ExportFormat.ONNX, precision=ExportPrecision.FP32)
        )
    return (_write_onnx if job.format is ExportFormat.ONNX else _write_openvino)(job, source)


def _write_onnx(job: ExportJob, source: Path) -> Path:
    made = job.scratch / f"{source.stem}.onnx"
    if job.precision is ExportPrecision.FP32 and not job.relabel:
        if made != source:
            shutil.copyfile(source, made)
        return made
    onnx = _import("onnx", "exporting ONNX", "export")
    network = onnx.load(source)
    from maskyolo.models.onnx_files import make_activations_unsigned, widen, write_onnx

    if job.precision is not ExportPrecision.FP32:
        widen(network)
    if job.precision is ExportPrecision.INT8:
        _import("onnxruntime", "calibrating ONNX", "export,onnxruntime")
        nodes = [node.name for node in network.graph.node]
        network = _quantize(network, nodes, job, network.graph.input[0].name)
        make_activations_unsigned(network)
    is_half = job.precision is ExportPrecision.FP16
    write_onnx(network, made, half=is_half, metadata=dict(job.relabel))
    return made


def _write_openvino(job: ExportJob, source: Path) -> Path:
    import openvino

    from maskyolo.models.backends.openvino import OpenVinoNetwork

    made = job.scratch / f"{source.stem}.xml"
    model = OpenVinoNetwork(source).model
    if job.precision is ExportPrecision.INT8:
        # the layers that stay float are stored as fp16; compressing after quantization has no
        # effect
        half = job.scratch / "half.xml"
        openvino.save_model(model, half, compress_to_fp16=True)
        model = OpenVinoNetwork(half).model
        nodes = [node.get_friendly_name() for node in model.get_ordered_ops()]
        model = _quantize(model, nodes, job)
    for key, value in job.relabel.items():
        model.set_rt_info(value, ["framework", key])
    is_half = job.precision is ExportPrecision.FP16
    openvino.save_model(model, made, compress_to_fp16=is_half)
    return made


def _quantize(network: Any, nodes: Sequence[str], job: ExportJob, feed: str | None = None) -> Any:
    """Return the network in int8 except for its first two layers and the end of its head.

    At the end, boxes and scores are in one tensor, and would have to share one quantization range.
    The first layers see the smallest faces. Ultralytics quantizes them, and leaves out all of the
    head, whose first convolutions are a third of the network's work and lose nothing in int8.

    Args:
        network: an OpenVINO or ONNX model.
        nodes: the names of its nodes, in order.
        job: the images to calibrate on, and the size they are scaled to.
        feed: name of the input; None: the input is passed by position.
    """
    with quiet(2):  # PyTorch, which NNCF imports if it is installed, looks for CUDA
        nncf = _import("nncf", "exporting in int8", "export")

    def tensor(image: ImageArray) -> Any:
        shape = network_shape(image.shape[0], image.shape[1], job.imgsz)
        batch = to_tensor(letterbox(image, shape)[0][None])
        return batch if feed is None else {feed: batch}

    paths = job.images.paths
    if next(iter(job.images), None) is None:
        raise DatasetError(
            f"none of the {len(paths)} images can be read; the first is {paths[0]}",
            "choose other images with --images",
        )
    sigmoids = [name for name in nodes if name.split("/")[-1].startswith("Sigmoid")]
    head = next(
        (f"{name.rsplit('/', 1)[0]}/" for name in reversed(sigmoids) if name.count("/") > 1), None
    )
    ends = (name for name in nodes if head and name.startswith(head) and "/conv/" not in name)
    ignored = {*sigmoids, *ends, *(name for name in nodes if name.startswith(_FIRST_LAYERS))}
    logging.getLogger("nncf").setLevel(logging.ERROR)  # set_log_level changes handlers as well
    with redirect_stdout(StringIO()), quiet(2):
        return nncf.quantize(
            network,
            nncf.Dataset(job.images, tensor),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(paths),
            ignored_scope=nncf.IgnoredScope(names=sorted(ignored), validate=False),
        )


def _by_ultralytics(job: ExportJob) -> Path:
    """Export with Ultralytics, from a copy of the checkpoint, because it writes next to it."""
    from maskyolo.models.ultralytics import import_ultralytics, silenced

    ultralytics = import_ultralytics(f"exporting {job.source.name}")
    name, needed = ULTRALYTICS_FORMATS.get(job.format, (str(job.format), "onnx"))
    copy = job.scratch / job.source.name
    shutil.copyfile(job.source, copy)
    # Not simplified: OpenVINO does that itself, and onnxslim would import ONNX Runtime, whose
    # telemetry leaves a device id in the home folder.
    settings: dict[str, Any] = (
        {"dynamic": True, "simplify": False}
        if job.format is ExportFormat.ONNX
        else {"imgsz": job.imgsz}
    )
    if job.precision is not ExportPrecision.FP32:
        settings["quantize"] = 8 if job.precision is ExportPrecision.INT8 else 16
    if job.precision is ExportPrecision.INT8:
        settings["data"] = str(_as_dataset(job.images.paths, job.scratch))
    try:
        with silenced(), redirect_stdout(StringIO()), quiet(1, 2):
            made = ultralytics.YOLO(copy).export(
                format=name, device="cpu", verbose=False, **settings
            )
    except ImportError as error:
        raise DependencyError(
            f"exporting to {job.format} needs {error.name}, which is not installed",
            f"run: pip install {needed}",
        ) from error
    except Exception as error:  # each exporter raises errors of its own
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise MaskyoloError(
            f"cannot export {job.source} to {job.format}: Ultralytics failed ({reason})",
            "export to onnx, which most runtimes can read",
        ) from error
    return Path(made)


def _as_dataset(images: Sequence[Path], scratch: Path) -> Path:
    """Make a data set without labels from images, for Ultralytics to calibrate with."""
    folder = scratch / "calibration" / "images"
    folder.mkdir(parents=True)
    for number, path in enumerate(images):
        shutil.copyfile(path, folder / f"{number}{path.suffix}")
    place = folder.parent / "data.yaml"
    settings = {
        "path": str(folder.parent.absolute()),
        "train": "images",
        "val": "images",
        "names": dict(enumerate(CLASS_NAMES)),
    }
    place.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return place


def _move(made: Path, folder: Path) -> Path:
    """Move an export and its companion files to the run's folder."""
    for file in (made, made.with_suffix(".bin")) if made.suffix == ".xml" else (made,):
        place = folder / file.name
        if place.is_dir():
            shutil.rmtree(place)
        file.replace(place)
    return folder / made.name


def load_exported(path: Path, format: ExportFormat, imgsz: int) -> Backend:  # noqa: A002
    """Load an exported model, so that it can be measured."""
    return UltralyticsNetwork(path, imgsz) if format in ULTRALYTICS_FORMATS else load_backend(path)


class UltralyticsNetwork:
    """A network in a format that only Ultralytics runs, as a `Backend`, so that it can be measured.

    Args:
        path: a `.tflite` file, or NCNN's folder.
        imgsz: longer side of its input in pixels.
    """

    precision = "fp32"
    streams = 1
    shape: tuple[int, int] | None
    imgsz: int | None

    def __init__(self, path: Path, imgsz: int) -> None:
        from ultralytics.nn.autobackend import AutoBackend

        from maskyolo.models.ultralytics import silenced

        with silenced():
            self._network: Any = AutoBackend(str(path))
        names = self._network.names
        self.names = tuple(str(names[place]) for place in range(len(names)))
        self.shape, self.imgsz = (imgsz, imgsz), imgsz
        self.title = self.description = "NCNN" if path.is_dir() else "LiteRT"

    def __call__(self, batch: ImageArray, mixed: bool = False) -> Tensor:  # noqa: ARG002
        """Run the network; see `backends.Backend`."""
        import torch

        output = self._network(torch.from_numpy(to_tensor(batch)))
        output = output[0] if isinstance(output, (list, tuple)) else output
        return np.array(output, dtype=np.float32)


def _import(module: str, what: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise DependencyError(
            f"{what} needs {module}, which is not installed ({error})",
            f"run: {install_command(extra)}",
        ) from error
