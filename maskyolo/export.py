"""Make a detector's file for another runtime, and measure what it costs in accuracy and gains in speed."""

from __future__ import annotations

import importlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from maskyolo._quiet import quiet
from maskyolo._text import counted
from maskyolo.backends import Backend, Tensor, load_backend, to_tensor
from maskyolo.core.classes import CLASS_NAMES
from maskyolo.core.files import write_atomic
from maskyolo.dataset import list_images, load_dataset
from maskyolo.errors import (
    DatasetError,
    DependencyError,
    ImageError,
    MaskyoloError,
    WeightsError,
    output_errors,
)
from maskyolo.images import ImageArray, read_image
from maskyolo.runs import new_run, save_args
from maskyolo.yolo import (
    DEFAULT_MODELS,
    YoloDetector,
    find_model,
    letterbox,
    load_detector,
    network_shape,
)

if TYPE_CHECKING:
    from maskyolo.evaluate import Evaluation

__all__ = ["CALIBRATION", "FORMATS", "ExportResult", "Measured", "export_model"]

#: What `--format` accepts, and the precisions that each can store.
FORMATS = {
    "openvino": ("fp32", "fp16", "int8"),
    "onnx": ("fp32", "fp16", "int8"),
    "ncnn": ("fp32", "fp16"),
    "tflite": ("fp32", "int8"),
}

#: Most pictures that int8's ranges are measured on, NNCF's own default.
CALIBRATION = 300

#: Rounds of the timing, after one that does not count.
ROUNDS = 15

#: The formats that only Ultralytics writes, by its name of them, with what it needs for that.
_ULTRALYTICS = {
    "ncnn": ("ncnn", "ncnn pnnx==20260526"),
    "tflite": ("litert", "'ultralytics[export-litert]'"),
}


@dataclass(frozen=True)
class Measured:
    """What a model takes and gives.

    Attributes:
        name: its file.
        runs_in: what computed it, and in which precision.
        megabytes: size on disk.
        milliseconds: median time of one picture, from pixels to detections.
        map50: mean average precision at IoU 0.5, or None without labelled pictures.
        map50_95: the same over IoU 0.5, 0.55, …, 0.95.
    """

    name: str
    runs_in: str
    megabytes: float
    milliseconds: float
    map50: float | None = None
    map50_95: float | None = None


@dataclass(frozen=True)
class ExportResult:
    """An exported model beside the one it was made from.

    Attributes:
        folder: the run's folder.
        path: what to give as a model: a file, or for NCNN a folder.
        source: the model it was made from.
        exported: the export.
        measured_on: the labelled pictures, for people, or "".
    """

    folder: Path
    path: Path
    source: Measured
    exported: Measured
    measured_on: str = ""

    def table(self) -> str:
        """Return size, time and accuracy of both, and what the export cost."""
        rows = {
            f"from {self.source.name}": self.source,
            f"to   {self.exported.name}": self.exported,
        }
        width = max(map(len, rows))
        lines = [f"{'':{width}}      MB   ms/picture     mAP50  mAP50-95  computed by", ""]
        for title, row in rows.items():
            numbers = "".join(
                f"{'-' if value is None else f'{value:.4f}':>10}"
                for value in (row.map50, row.map50_95)
            )
            lines.append(
                f"{title:{width}}{row.megabytes:8.1f}{row.milliseconds:13.1f}{numbers}  {row.runs_in}"
            )
        told = [f"{self.source.milliseconds / self.exported.milliseconds:.2f} times as fast"]
        if self.source.map50 is not None and self.exported.map50 is not None:
            told.append(
                f"mAP50 {self.exported.map50 - self.source.map50:+.4f} on {self.measured_on}"
            )
        else:
            told.append(
                "accuracy not measured: give labelled pictures with --data, or --images and --labels"
            )
        return "\n".join([*lines, "", "; ".join(told), ""])

    def json(self) -> dict[str, Any]:
        """Return the same as plain values."""
        return {
            "source": asdict(self.source),
            "exported": asdict(self.exported),
            "measured_on": self.measured_on,
        }


def export_model(
    model: Path | str | None = None,
    format: str = "openvino",  # noqa: A002  Ultralytics' name
    precision: str = "fp32",
    images: Path | str | None = None,
    labels: Path | str | None = None,
    data: Path | str | None = None,
    split: str = "val",
    imgsz: int | None = None,
    trust: bool = False,
    project: Path | str = "runs/export",
    name: str = "export",
    exist_ok: bool = False,
    on_step: Callable[[str], None] | None = None,
) -> ExportResult:
    """Export a detector, then measure the size, speed and accuracy of the export and of its source, computed alike.

    The run's folder gets the model, `args.yaml`, `report.txt` and `report.json`. ONNX and OpenVINO take any size of picture;
    NCNN and TFLite only `imgsz` x `imgsz`.

    Args:
        model: a model's name, or its `.onnx` or `.pt` file.
        format: one of `FORMATS`. `ncnn` and `tflite` are written by Ultralytics from the `.pt` of that name.
        precision: what the weights are stored as. `fp16` halves the file; a CPU computes it in fp32 or bf16. In `int8` all but the
            detection head is also computed, with ranges that NNCF measures on pictures.
        images: pictures to measure these ranges on, best a few hundred of the place where it will be used; by default the
            data set's train split.
        labels: the labels of these pictures, if they are to be measured on, too; as `evaluate.evaluate` takes them.
        data: a data set to measure on: its `data.yaml` or its folder.
        split: which of its splits.
        imgsz: longer side in pixels that pictures are scaled to, rounded up to a multiple of 32, also where the export is used later;
            by default the one that the weights say.
        trust: open a `.pt` file of unknown origin; see `trust.check_trust`.
        project: folder the run's folder is made in.
        name: name of the run's folder; a number is added if it exists.
        exist_ok: write into an existing folder of that name instead.
        on_step: told what is done next, in a few words.

    Raises:
        MaskyoloError: no such format or precision, or the two do not go together.
        WeightsError: no such model, damaged, of other classes, not trusted, or none that this format can be made of.
        DatasetError: no pictures to calibrate with, or none with labels to measure on.
        DependencyError: the format needs a package that is not installed.
        OutputError: the result cannot be written.
    """
    from maskyolo.evaluate import find_images

    if format not in FORMATS:
        raise MaskyoloError(f"unknown format '{format}'; choose from {', '.join(FORMATS)}")
    if precision not in FORMATS[format]:
        raise MaskyoloError(
            f"cannot export {format} in '{precision}'; choose from {', '.join(FORMATS[format])}"
        )
    if data is not None and labels is not None:
        raise DatasetError(
            "cannot measure on both --data and --labels; leave out one, --images alone is for int8"
        )
    source = _source(DEFAULT_MODELS["yolo"] if model is None else model, format)
    labelled: dict[str, Any] = (
        {"data": data, "split": split} if data is not None else {"images": images, "labels": labels}
    )
    if data is not None or labels is not None:
        find_images(**labelled)  # so that an error comes at once
    pictures = _calibration(images, data) if precision == "int8" or images is not None else []
    step = on_step or (lambda _: None)
    detector: Any = load_detector(
        source, imgsz=imgsz, trust=trust
    )  # before a folder is made: it may be damaged, or of other classes
    relabel = imgsz is not None and detector.imgsz != detector.backend.imgsz
    imgsz = int(detector.imgsz)
    folder = new_run(project, name, exist_ok)
    scratch = folder / "export.part"
    try:
        with output_errors(folder):
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir()
        step(
            f"exporting {source.name} to {format}, {precision}"
            + (f", on {counted(len(pictures), 'picture')}" if precision == "int8" else "")
        )
        made = _export(source, format, precision, pictures, imgsz, relabel, scratch)
        with output_errors(folder):
            path = _move(made, folder)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        if not any(folder.iterdir()):
            folder.rmdir()
        raise
    shutil.rmtree(scratch)
    settings = {
        "model": source,
        "format": format,
        "precision": precision,
        "images": images,
        "labels": labels,
        "data": data,
    }
    save_args(folder, settings | {"split": split if data is not None else None, "imgsz": imgsz})
    backends = {"source": detector.backend, "exported": _load(path, format, imgsz)}
    frame = next(iter(_Readable(pictures)), np.full((imgsz, imgsz, 3), 114, np.uint8))
    step("measuring the speed of both")
    times = _times(backends, frame, imgsz)
    scores: dict[str, Evaluation | None] = {"source": None, "exported": None}
    if data is not None or labels is not None:
        for key, backend in backends.items():
            step(f"measuring the accuracy of the {'model' if key == 'source' else 'export'}")
            scores[key] = _accuracy(backend, imgsz, labelled)
    measured = {
        key: Measured(
            name=file.name,
            runs_in=backends[key].description.split(":")[0],
            megabytes=_size(file) / 1e6,
            milliseconds=times[key],
            map50=found.map50 if (found := scores[key]) else None,
            map50_95=found.map50_95 if found else None,
        )
        for key, file in (("source", source), ("exported", path))
    }
    where = (
        "" if scores["source"] is None else f"{data} ({split})" if data is not None else f"{images}"
    )
    result = ExportResult(folder, path, **measured, measured_on=where)
    write_atomic(folder / "report.txt", result.table())
    write_atomic(folder / "report.json", json.dumps(result.json(), indent=2) + "\n")
    return result


def _source(model: Path | str, format: str) -> Path:  # noqa: A002
    """Return the file to export: for Ultralytics' formats the `.pt` beside an `.onnx`."""
    path = find_model(model)
    if path.suffix.lower() not in (".onnx", ".pt"):
        raise WeightsError(
            f"cannot export {path}: an export already, or no model; give a .onnx or .pt file"
        )
    if format in _ULTRALYTICS and path.suffix.lower() != ".pt":
        path = path.with_suffix(".pt")
        if not path.is_file():
            raise WeightsError(
                f"cannot export {model} to {format}: that is made from a .pt file, and there is no {path}; give one"
            )
    return path


def _calibration(images: Path | str | None, data: Path | str | None) -> list[Path]:
    """Return up to `CALIBRATION` pictures, evenly from all there are."""
    if images is not None:
        if not Path(images).is_dir():
            raise DatasetError(f"no folder {images} of pictures; check --images")
        found = list_images(Path(images))
    elif data is not None:
        dataset = load_dataset(data)
        found = dataset.images("train" if "train" in dataset.splits else next(iter(dataset.splits)))
    else:
        raise DatasetError(
            "cannot export in int8 without pictures to measure its ranges on; give a folder of your own with --images"
        )
    if not found:
        raise DatasetError(
            f"no pictures in {images or data}; give a folder of your own with --images"
        )
    return [
        found[place]
        for place in np.linspace(0, len(found) - 1, min(len(found), CALIBRATION))
        .round()
        .astype(int)
    ]


def _export(
    source: Path,
    format: str,  # noqa: A002
    precision: str,
    pictures: Sequence[Path],
    imgsz: int,
    relabel: bool,
    scratch: Path,
) -> Path:
    """Write the export into `scratch` and return it, a file or a folder, whose metadata say `imgsz` if it is to be relabelled."""
    if format in _ULTRALYTICS:
        return _by_ultralytics(source, format, precision, pictures, imgsz, scratch)
    if source.suffix.lower() == ".pt":
        source = _by_ultralytics(source, "onnx", "fp32", [], imgsz, scratch)
    made = scratch / f"{source.stem}.{'xml' if format == 'openvino' else 'onnx'}"
    if format == "onnx" and precision == "fp32" and not relabel:
        if made != source:
            shutil.copyfile(source, made)
        return made
    if format == "onnx":
        onnx = _import("onnx", "exporting ONNX", "maskyolo[export]")
        network = onnx.load(source)
        from maskyolo._onnx import halve, set_metadata, widen

        if precision != "fp32":
            widen(network)
        if precision == "fp16":
            halve(network)
        if precision == "int8":
            _import("onnxruntime", "calibrating ONNX", "maskyolo[export,onnxruntime]")
            network = _quantize(
                network,
                [node.name for node in network.graph.node],
                pictures,
                imgsz,
                network.graph.input[0].name,
            )
        if relabel:
            set_metadata(network, imgsz=str([imgsz, imgsz]))
        onnx.save(network, made)
        return made
    import openvino

    from maskyolo.backends.openvino import OpenVinoNetwork

    model = OpenVinoNetwork(source).model
    if precision == "int8":
        openvino.save_model(
            model, scratch / "half.xml", compress_to_fp16=True
        )  # what stays a float; later it has no effect
        model = OpenVinoNetwork(scratch / "half.xml").model
        model = _quantize(
            model, [node.get_friendly_name() for node in model.get_ordered_ops()], pictures, imgsz
        )
    if relabel:
        model.set_rt_info(str([imgsz, imgsz]), ["framework", "imgsz"])
    openvino.save_model(model, made, compress_to_fp16=precision == "fp16")
    return made


def _quantize(
    network: Any,
    nodes: Sequence[str],
    pictures: Sequence[Path],
    imgsz: int,
    feed: str | None = None,
) -> Any:
    """Return the network in int8 but for its head, as Ultralytics does it: boxes and scores share a tensor, and so would one range.

    Args:
        network: OpenVINO's model, or ONNX's.
        nodes: the names of its nodes, in their order.
        pictures: what the ranges are measured on.
        imgsz: longer side in pixels that they are scaled to.
        feed: name of the input; None gives it by place.
    """
    with quiet(2):  # PyTorch, which NNCF imports where it is installed, looks for CUDA
        nncf = _import("nncf", "exporting in int8", "maskyolo[export]")
    import logging

    def tensor(image: ImageArray) -> Any:
        batch = to_tensor(
            letterbox(image, network_shape(image.shape[0], image.shape[1], imgsz))[0][None]
        )
        return batch if feed is None else {feed: batch}

    if not any(True for _ in _Readable(pictures)):
        raise DatasetError(
            f"none of the {len(pictures)} pictures can be read; the first is {pictures[0]}; give others with --images"
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
            nncf.Dataset(_Readable(pictures), tensor),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(pictures),
            ignored_scope=nncf.IgnoredScope(names=sorted(ignored), validate=False),
        )


class _Readable:
    """The pictures of a list that can be read, each time from the start."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths

    def __iter__(self) -> Iterator[ImageArray]:
        for path in self._paths:
            try:
                image = read_image(path)
            except ImageError:
                continue
            yield image


def _by_ultralytics(
    source: Path, format: str, precision: str, pictures: Sequence[Path], imgsz: int, scratch: Path
) -> Path:  # noqa: A002
    """Export a copy of a checkpoint with Ultralytics, which writes beside it."""
    from maskyolo._ultralytics import import_ultralytics, silenced

    ultralytics = import_ultralytics(f"exporting {source.name}")
    theirs, needed = _ULTRALYTICS.get(format, (format, "onnx"))
    copy = scratch / source.name
    shutil.copyfile(source, copy)
    # not simplified: OpenVINO does that itself, and onnxslim would import ONNX Runtime, whose telemetry marks the home folder
    settings: dict[str, Any] = (
        {"dynamic": True, "simplify": False} if format == "onnx" else {"imgsz": imgsz}
    )
    if precision != "fp32":
        settings["quantize"] = {"fp16": 16, "int8": 8}[precision]
    if precision == "int8":
        settings["data"] = str(_as_dataset(pictures, scratch))
    try:
        with silenced(), redirect_stdout(StringIO()), quiet(1, 2):
            made = Path(
                ultralytics.YOLO(copy).export(
                    format=theirs, device="cpu", verbose=False, **settings
                )
            )
    except ImportError as error:
        raise DependencyError(
            f"exporting to {format} needs {error.name}, which is not here; run: pip install {needed}"
        ) from error
    except Exception as error:  # each exporter raises its own
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise MaskyoloError(
            f"cannot export {source} to {format}: Ultralytics failed ({reason}); export onnx, which all can read"
        ) from error
    return made


def _as_dataset(pictures: Sequence[Path], scratch: Path) -> Path:
    """Copy pictures into a data set without labels, which Ultralytics calibrates with."""
    folder = scratch / "calibration" / "images"
    folder.mkdir(parents=True)
    for number, path in enumerate(pictures):
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


def _load(path: Path, format: str, imgsz: int) -> Backend:  # noqa: A002
    return UltralyticsNetwork(path, imgsz) if format in _ULTRALYTICS else load_backend(path)


class UltralyticsNetwork:
    """A network in a format that only Ultralytics runs, to be measured; a `backends.Backend`.

    Args:
        path: a `.tflite` file, or NCNN's folder.
        imgsz: the side of its input in pixels.
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


def _times(backends: dict[str, Backend], frame: ImageArray, imgsz: int) -> dict[str, float]:
    """Return the median milliseconds of each on a picture, in interleaved rounds."""
    from maskyolo.speed import measure_speed

    laps = measure_speed(
        {key: YoloDetector(backend, imgsz) for key, backend in backends.items()}, {0: frame}, ROUNDS
    )
    return {key: laps[key][0].median for key in backends}


def _accuracy(backend: Backend, imgsz: int, labelled: dict[str, Any]) -> Evaluation:
    from maskyolo.evaluate import AP_FLOOR, evaluate

    return evaluate(**labelled, model=YoloDetector(backend, imgsz, AP_FLOOR), project=None)


def _size(path: Path) -> int:
    """Return the bytes of a file, or of all in a folder; of OpenVINO's `.xml` with its `.bin`."""
    files = (
        path.rglob("*")
        if path.is_dir()
        else (path, path.with_suffix(".bin"))
        if path.suffix == ".xml"
        else (path,)
    )
    return sum(file.stat().st_size for file in files)


def _import(module: str, what: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise DependencyError(
            f'{what} needs {module}, which is not here ({error}); run: pip install "{package}"'
        ) from error
