"""Convert a detector for another runtime, and measure the change in accuracy and speed."""

from __future__ import annotations

import importlib
import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from maskyolo._quiet import quiet
from maskyolo._text import counted
from maskyolo.backends import Backend, Tensor, load_backend, to_tensor
from maskyolo.core.choices import ExportFormat, ExportPrecision
from maskyolo.core.classes import CLASS_NAMES
from maskyolo.core.files import write_atomic
from maskyolo.core.options import takes_options
from maskyolo.dataset import list_images, load_dataset
from maskyolo.errors import (
    DatasetError,
    DependencyError,
    ImageError,
    MaskyoloError,
    WeightsError,
    output_errors,
)
from maskyolo.evaluate import AP_FLOOR, Evaluation, LabeledImage, find_images, measure, predict
from maskyolo.export_options import ExportOptions
from maskyolo.images import ImageArray, read_image
from maskyolo.runs import new_run, save_args
from maskyolo.speed import measure_speed
from maskyolo.yolo import (
    DEFAULT_MODELS,
    YoloDetector,
    find_model,
    letterbox,
    load_detector,
    network_shape,
)

__all__ = ["CALIBRATION", "ExportResult", "Measured", "export_model"]

#: Maximum number of images that int8's ranges are measured on: NNCF's own default.
CALIBRATION = 300

#: Rounds of the speed measurement, after one that does not count.
ROUNDS = 15

#: Decoded images that are kept for the next reader, in bytes: some 500 photos of 640 x 480.
_KEPT_BYTES = 500_000_000

#: The formats that only Ultralytics writes: its own name of them, and the packages it needs.
_ULTRALYTICS = {
    ExportFormat.NCNN: ("ncnn", "ncnn pnnx==20260526"),
    ExportFormat.TFLITE: ("litert", "'ultralytics[export-litert]'"),
}


@dataclass(frozen=True)
class Measured:
    """Size, speed and accuracy of a model.

    Attributes:
        name: name of its file.
        runs_in: the runtime that computed it, and in which precision.
        megabytes: size on disk.
        milliseconds: median time per image, from pixels to detections.
        map50: mean average precision at IoU 0.5; None without labeled images.
        map50_95: the same, averaged over IoU 0.5, 0.55, …, 0.95.
    """

    name: str
    runs_in: str
    megabytes: float
    milliseconds: float
    map50: float | None = None
    map50_95: float | None = None


@dataclass(frozen=True)
class ExportResult:
    """An exported model and the one it was made from.

    Attributes:
        folder: the run's folder.
        path: what `--model` takes: a file, or a folder for NCNN.
        source: the model it was made from.
        exported: the export.
        measured_on: where the labeled images are, for reading; "" without any.
    """

    folder: Path
    path: Path
    source: Measured
    exported: Measured
    measured_on: str = ""

    def table(self) -> str:
        """Return size, time and accuracy of both, and what the export costs, as text."""
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
    take images of any size; NCNN and TFLite only `imgsz` x `imgsz`. A CPU computes fp16 weights in
    fp32 or bf16. With int8 all layers except the detection head are computed in int8, with ranges
    that NNCF measures on images.

    Args:
        model: name of a model, or its `.onnx` or `.pt` file. NCNN and TFLite are written by
            Ultralytics, from the `.pt` of that name.
        options: the options, see `ExportOptions`. For int8, `images` are best a few hundred from
            the place where the model will be used. With `labels`, they are also what accuracy is
            measured on. `imgsz` is also stored in the export.
        on_step: called with the next step, in a few words.
        settings: fields of `ExportOptions` as keywords, such as `format` and `precision`.

    Raises:
        MaskyoloError: the format cannot store the precision.
        WeightsError: no such model, damaged, with other classes, not trusted, or not one that this
            format can be made from.
        DatasetError: no images to calibrate with, or no labeled ones to measure on.
        DependencyError: the format needs a package that is not installed.
        OutputError: the result cannot be written.

    Example:
        >>> result = export_model(format="onnx", precision="fp16")  # doctest: +SKIP
    """
    if model is not None:
        settings["model"] = model
    chosen = ExportOptions.merge(options, settings)
    source = _source(chosen.model or DEFAULT_MODELS["yolo"], chosen.format)
    labeled, where = _labeled_images(chosen)
    is_int8 = chosen.precision is ExportPrecision.INT8
    calibration = (
        _calibration(chosen.images, chosen.data) if is_int8 or chosen.images is not None else []
    )
    images = _Readable(calibration, DecodedImages().read)
    step = on_step or (lambda _: None)
    # before a folder is made: the model may be damaged, or have other classes
    detector: Any = load_detector(source, imgsz=chosen.imgsz, trust=chosen.trust)
    imgsz = int(detector.imgsz)
    relabel = chosen.imgsz is not None and imgsz != detector.backend.imgsz
    folder = new_run(chosen.project, chosen.name, chosen.exist_ok)
    scratch = folder / "export.part"
    job = _Job(source, chosen.format, chosen.precision, images, imgsz, relabel, scratch)
    on_images = f", on {counted(len(calibration), 'image')}" if is_int8 else ""
    step(f"exporting {source.name} to {chosen.format}, {chosen.precision}{on_images}")
    path = _write(job, folder)
    split = str(chosen.split) if chosen.data is not None else None
    save_args(folder, {**chosen.recorded(), "model": source, "split": split, "imgsz": imgsz})
    models = {
        "source": (source, detector.backend),
        "exported": (path, _load(path, chosen.format, imgsz)),
    }
    measured = _measure(models, imgsz, images, labeled, step)
    result = ExportResult(folder, path, **measured, measured_on=where)
    write_atomic(folder / "report.txt", result.table())
    write_atomic(folder / "report.json", json.dumps(result.json(), indent=2) + "\n")
    return result


def _source(model: Path | str, format: ExportFormat) -> Path:  # noqa: A002
    """Return the file to export: for Ultralytics' formats the `.pt` next to an `.onnx`."""
    path = find_model(model)
    if path.suffix.lower() not in (".onnx", ".pt"):
        raise WeightsError(
            f"cannot export {path}: it is already an export, or not a model",
            "give a .onnx or .pt file",
        )
    if format in _ULTRALYTICS and path.suffix.lower() != ".pt":
        path = path.with_suffix(".pt")
        if not path.is_file():
            raise WeightsError(
                f"cannot export {model} to {format}: that is made from a .pt file, and there is "
                f"no {path}",
                "give a .pt file",
            )
    return path


def _labeled_images(chosen: ExportOptions) -> tuple[list[LabeledImage], str]:
    """Return the images that accuracy is measured on, and their place; none without labels."""
    if chosen.data is not None:
        images, _ = find_images(data=chosen.data, split=chosen.split)
        return images, f"{chosen.data} ({chosen.split})"
    if chosen.labels is not None:
        return find_images(images=chosen.images, labels=chosen.labels)
    return [], ""


def _calibration(images: Path | str | None, data: Path | str | None) -> list[Path]:
    """Return up to `CALIBRATION` images, evenly spaced among all."""
    if images is not None:
        if not Path(images).is_dir():
            raise DatasetError(f"no folder {images}", "check --images")
        found = list_images(Path(images))
    elif data is not None:
        dataset = load_dataset(data)
        found = dataset.images("train" if "train" in dataset.splits else next(iter(dataset.splits)))
    else:
        raise DatasetError(
            "cannot export in int8 without images to measure its ranges on",
            "give a folder of your own images with --images",
        )
    if not found:
        raise DatasetError(
            f"no images in {images or data}", "give a folder of your own images with --images"
        )
    places = np.linspace(0, len(found) - 1, min(len(found), CALIBRATION)).round().astype(int)
    return [found[place] for place in places]


class DecodedImages:
    """Reads images, and keeps as many of them in memory as `_KEPT_BYTES` permits.

    The same images may serve for calibration, which reads them several times, and for measuring
    accuracy.
    """

    def __init__(self) -> None:
        self._kept: dict[Path, ImageArray] = {}
        self._free = _KEPT_BYTES

    def read(self, path: Path) -> ImageArray:
        """Return an image, BGR uint8 (H, W, 3); see `read_image` for errors."""
        if path in self._kept:
            return self._kept[path]
        image = read_image(path)
        if image.nbytes <= self._free:
            self._kept[path] = image
            self._free -= image.nbytes
        return image


class _Readable:
    """Those images of a list that can be read; each iteration starts from the beginning."""

    def __init__(self, paths: Sequence[Path], read: Callable[[Path], ImageArray]) -> None:
        self.paths, self.read = paths, read

    def __iter__(self) -> Iterator[ImageArray]:
        for path in self.paths:
            try:
                image = self.read(path)
            except ImageError:
                continue
            yield image


@dataclass(frozen=True)
class _Job:
    """What to export.

    Attributes:
        source: an `.onnx` or `.pt` file.
        format: the format to write.
        precision: number format of the weights.
        images: what int8's ranges are measured on.
        imgsz: longer side of the network's input in pixels.
        relabel: whether the export's metadata must be changed to `imgsz`.
        scratch: folder for what is being made.
    """

    source: Path
    format: ExportFormat
    precision: ExportPrecision
    images: _Readable
    imgsz: int
    relabel: bool
    scratch: Path


def _write(job: _Job, folder: Path) -> Path:
    """Write the export into the run's folder; leave no folder behind if that fails."""
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


def _export(job: _Job) -> Path:
    """Write the export into the scratch folder and return it, a file or a folder."""
    if job.format in _ULTRALYTICS:
        return _by_ultralytics(job)
    source = job.source
    if source.suffix.lower() == ".pt":
        source = _by_ultralytics(
            replace(job, format=ExportFormat.ONNX, precision=ExportPrecision.FP32)
        )
    return (_write_onnx if job.format is ExportFormat.ONNX else _write_openvino)(job, source)


def _write_onnx(job: _Job, source: Path) -> Path:
    made = job.scratch / f"{source.stem}.onnx"
    if job.precision is ExportPrecision.FP32 and not job.relabel:
        if made != source:
            shutil.copyfile(source, made)
        return made
    onnx = _import("onnx", "exporting ONNX", "maskyolo[export]")
    network = onnx.load(source)
    from maskyolo._onnx import make_activations_unsigned, widen, write_onnx

    if job.precision is not ExportPrecision.FP32:
        widen(network)
    if job.precision is ExportPrecision.INT8:
        _import("onnxruntime", "calibrating ONNX", "maskyolo[export,onnxruntime]")
        nodes = [node.name for node in network.graph.node]
        network = _quantize(network, nodes, job, network.graph.input[0].name)
        make_activations_unsigned(network)
    metadata = {"imgsz": str([job.imgsz, job.imgsz])} if job.relabel else None
    write_onnx(network, made, half=job.precision is ExportPrecision.FP16, metadata=metadata)
    return made


def _write_openvino(job: _Job, source: Path) -> Path:
    import openvino

    from maskyolo.backends.openvino import OpenVinoNetwork

    made = job.scratch / f"{source.stem}.xml"
    model = OpenVinoNetwork(source).model
    if job.precision is ExportPrecision.INT8:
        # what stays a float is stored as fp16; compressing after quantization has no effect
        half = job.scratch / "half.xml"
        openvino.save_model(model, half, compress_to_fp16=True)
        model = OpenVinoNetwork(half).model
        nodes = [node.get_friendly_name() for node in model.get_ordered_ops()]
        model = _quantize(model, nodes, job)
    if job.relabel:
        model.set_rt_info(str([job.imgsz, job.imgsz]), ["framework", "imgsz"])
    is_half = job.precision is ExportPrecision.FP16
    openvino.save_model(model, made, compress_to_fp16=is_half)
    return made


def _quantize(network: Any, nodes: Sequence[str], job: _Job, feed: str | None = None) -> Any:
    """Return the network in int8 except for its head.

    Ultralytics leaves out the head, too: boxes and scores share a tensor there, and thus would
    share one range.

    Args:
        network: an OpenVINO or ONNX model.
        nodes: the names of its nodes, in order.
        job: the images to measure ranges on, and the size they are scaled to.
        feed: name of the input; None passes it by position.
    """
    with quiet(2):  # PyTorch, which NNCF imports if it is installed, looks for CUDA
        nncf = _import("nncf", "exporting in int8", "maskyolo[export]")

    def tensor(image: ImageArray) -> Any:
        shape = network_shape(image.shape[0], image.shape[1], job.imgsz)
        batch = to_tensor(letterbox(image, shape)[0][None])
        return batch if feed is None else {feed: batch}

    paths = job.images.paths
    if next(iter(job.images), None) is None:
        raise DatasetError(
            f"none of the {len(paths)} images can be read; the first is {paths[0]}",
            "give others with --images",
        )
    sigmoids = [name for name in nodes if name.split("/")[-1].startswith("Sigmoid")]
    head = next(
        (f"{name.rsplit('/', 1)[0]}/" for name in reversed(sigmoids) if name.count("/") > 1), None
    )
    ignored = {*sigmoids, *(name for name in nodes if head and name.startswith(head))}
    nncf.set_log_level(logging.ERROR)
    with redirect_stdout(StringIO()), quiet(2):
        return nncf.quantize(
            network,
            nncf.Dataset(job.images, tensor),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(paths),
            ignored_scope=nncf.IgnoredScope(names=sorted(ignored), validate=False),
        )


def _by_ultralytics(job: _Job) -> Path:
    """Export a copy of a checkpoint with Ultralytics, which writes next to it."""
    from maskyolo._ultralytics import import_ultralytics, silenced

    ultralytics = import_ultralytics(f"exporting {job.source.name}")
    name, needed = _ULTRALYTICS.get(job.format, (str(job.format), "onnx"))
    copy = job.scratch / job.source.name
    shutil.copyfile(job.source, copy)
    # Not simplified: OpenVINO does that itself, and onnxslim would import ONNX Runtime, whose
    # telemetry marks the home folder.
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
    except Exception as error:  # each exporter raises its own
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise MaskyoloError(
            f"cannot export {job.source} to {job.format}: Ultralytics failed ({reason})",
            "export to onnx, which most runtimes can read",
        ) from error
    return Path(made)


def _as_dataset(images: Sequence[Path], scratch: Path) -> Path:
    """Copy images into a data set without labels, which Ultralytics calibrates with."""
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
    """Move an export, with what belongs to it, into the run's folder."""
    for file in (made, made.with_suffix(".bin")) if made.suffix == ".xml" else (made,):
        place = folder / file.name
        if place.is_dir():
            shutil.rmtree(place)
        file.replace(place)
    return folder / made.name


def _load(path: Path, format: ExportFormat, imgsz: int) -> Backend:  # noqa: A002
    return UltralyticsNetwork(path, imgsz) if format in _ULTRALYTICS else load_backend(path)


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

        from maskyolo._ultralytics import silenced

        with silenced():
            self._network: Any = AutoBackend(str(path))
        names = self._network.names
        self.names = tuple(str(names[place]) for place in range(len(names)))
        self.shape, self.imgsz = (imgsz, imgsz), imgsz
        self.description = "NCNN" if path.is_dir() else "LiteRT"

    def __call__(self, batch: ImageArray) -> Tensor:
        """Run the network; see `backends.Backend`."""
        import torch

        output = self._network(torch.from_numpy(to_tensor(batch)))
        output = output[0] if isinstance(output, (list, tuple)) else output
        return np.array(output, dtype=np.float32)


def _measure(
    models: Mapping[str, tuple[Path, Backend]],
    imgsz: int,
    images: _Readable,
    labeled: Sequence[LabeledImage],
    step: Callable[[str], None],
) -> dict[str, Measured]:
    """Measure models, by name: file and network, all on the same images and in the same way.

    Args:
        models: file and network of each, by name.
        imgsz: longer side of the networks' input in pixels.
        images: the first of them is what speed is measured on; without any, a gray one.
        labeled: what accuracy is measured on; not at all without any.
        step: called with what is measured next.
    """
    backends = {key: backend for key, (_, backend) in models.items()}
    frame = next(iter(images), np.full((imgsz, imgsz, 3), 114, np.uint8))
    step("measuring the speed of both")
    times = _times(backends, frame, imgsz)
    scores: dict[str, Evaluation] = {}
    if labeled:
        step("measuring the accuracy of both")
        scores = _scores(backends, imgsz, labeled, images.read)
    return {
        key: Measured(
            name=file.name,
            runs_in=backend.description.split(":")[0],
            megabytes=_size(file) / 1e6,
            milliseconds=times[key],
            map50=scores[key].map50 if scores else None,
            map50_95=scores[key].map50_95 if scores else None,
        )
        for key, (file, backend) in models.items()
    }


def _times(backends: Mapping[str, Backend], frame: ImageArray, imgsz: int) -> dict[str, float]:
    """Return the median milliseconds of each on an image, in interleaved rounds."""
    detectors = {key: YoloDetector(backend, imgsz) for key, backend in backends.items()}
    laps = measure_speed(detectors, {0: frame}, ROUNDS)
    return {key: laps[key][0].median for key in backends}


def _scores(
    backends: Mapping[str, Backend],
    imgsz: int,
    labeled: Sequence[LabeledImage],
    read: Callable[[Path], ImageArray],
) -> dict[str, Evaluation]:
    """Measure the accuracy of all in one pass over the images."""
    detectors = {key: YoloDetector(backend, imgsz, AP_FLOOR) for key, backend in backends.items()}
    cases, sharpness, _ = predict(labeled, detectors, read=read)
    return {key: measure(key, cases[key], sharpness) for key in detectors}


def _size(path: Path) -> int:
    """Return the bytes of a file or of all files in a folder; an `.xml` includes its `.bin`."""
    if path.is_dir():
        files = list(path.rglob("*"))
    else:
        files = [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]
    return sum(file.stat().st_size for file in files)


def _import(module: str, what: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise DependencyError(
            f"{what} needs {module}, which is not installed ({error})",
            f'run: pip install "{package}"',
        ) from error
