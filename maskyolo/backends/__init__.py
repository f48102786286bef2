"""A network on a piece of hardware: pixels in, tensor out; everything about sizes and boxes is in `maskyolo.yolo`."""

from __future__ import annotations

import ast
import importlib.util
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from maskyolo.errors import MaskyoloError, WeightsError
from maskyolo.images import ImageArray
from maskyolo.trust import check_trust

__all__ = [
    "BACKENDS",
    "PRECISIONS",
    "Backend",
    "Tensor",
    "check_yolo",
    "choose_backend",
    "load_backend",
    "parse_imgsz",
    "parse_names",
    "to_tensor",
]

#: What `--backend` accepts, and `--precision`.
BACKENDS = ("auto", "openvino", "onnxruntime", "torch")
PRECISIONS = ("auto", "fp32", "bf16")

Tensor = npt.NDArray[np.float32]


class Backend(Protocol):
    """A loaded YOLO detection network.

    Attributes:
        names: class names by the network's own class id.
        shape: the only (height, width) in pixels it takes, or None if any multiple of 32 will do.
        imgsz: longer side in pixels that pictures were scaled to in training, or at its export; None if its file does not say.
        precision: what it computes in, "fp32" or "bf16".
        streams: how many threads may call it at once.
        description: what computes it where and in which precision, and why, in a line; `load_backend` writes it.
    """

    names: tuple[str, ...]
    shape: tuple[int, int] | None
    imgsz: int | None
    precision: str
    streams: int
    description: str

    def __call__(self, batch: ImageArray) -> Tensor:
        """Turn BGR pictures, uint8 (n, height, width, 3), into float32 (n, 4 + classes, anchors).

        A column is cx, cy, w, h in pixels of the input and one score from 0 to 1 per class (Ultralytics' YOLOv8 head).
        """
        ...


def load_backend(
    path: Path | str,
    device: str = "auto",
    streams: int = 1,
    backend: str = "auto",
    precision: str = "auto",
    trust: bool = False,
) -> Backend:
    """Load a network by its file: `.onnx`, `.xml` (OpenVINO) or `.pt`.

    Args:
        path: a `.onnx`, `.xml` or `.pt` file.
        device: auto, cpu, 0 (first GPU), mps.
        streams: how many threads will call it at once, each on its share of the cores.
        backend: one of `BACKENDS`; `auto` takes what `choose_backend` says.
        precision: what the network computes in, one of `PRECISIONS`. `bf16` is quicker on CPUs that have it in hardware, and
            a little less exact; OpenVINO only. `auto` takes it there, and fp32 everywhere else.
        trust: open a `.pt` file of unknown origin; see `trust.check_trust`.

    Raises:
        WeightsError: no such file, damaged, of an unknown kind or not for this backend, no YOLO detection network with class names, or
            a `.pt` file that is not trusted.
        DependencyError: the backend is not installed.
        MaskyoloError: no such backend or precision, or the device is not there.
    """
    path = Path(path)
    if precision == "int8":
        raise MaskyoloError(
            "cannot compute in int8 on demand: it is made from pictures; run maskyolo export --format openvino --precision int8 "
            "--images FOLDER and give its result as --model"
        )
    for name, value, known in (
        ("backend", backend, BACKENDS),
        ("precision", precision, PRECISIONS),
    ):
        if value not in known:
            raise MaskyoloError(f"unknown {name} '{value}'; choose from {', '.join(known)}")
    if not path.is_file():
        raise WeightsError(
            f"cannot load weights {path}: no such file; give a .onnx, .xml or .pt file, or a model's name"
        )
    suffix = path.suffix.lower()
    if suffix not in _READ_BY:
        raise WeightsError(
            f"cannot load weights {path}: '{suffix}' is not a known kind; give a .onnx, .xml (OpenVINO) or .pt file"
        )
    reason = ""
    if backend == "auto":
        backend, reason = choose_backend(suffix, device)
    elif backend not in _READ_BY[suffix]:
        raise WeightsError(
            f"cannot load weights {path} with {backend}: '{suffix}' is read by {' or '.join(_READ_BY[suffix])}"
        )
    if precision not in ("auto", "fp32") and backend != "openvino":
        raise MaskyoloError(
            f"cannot compute in {precision} with {backend}; use --backend openvino, or leave out --precision"
        )
    network = _load(path, device, streams, backend, precision, trust)
    reasons = [reason] if reason else []
    if precision == "auto" and network.precision != "fp32":
        reasons.append(
            f"this CPU has {network.precision} in hardware (--precision fp32 is slower and a little more exact)"
        )
    network.description += f", {network.precision}" + (f": {'; '.join(reasons)}" if reasons else "")
    return network


def choose_backend(suffix: str, device: str = "auto") -> tuple[str, str]:
    """Choose what runs a file of this kind, and say why in a few words.

    OpenVINO is quickest on x86-64, and comes with this package; ONNX Runtime is for ARM, for a CUDA GPU, and for where there is no
    OpenVINO; PyTorch reads `.pt`, which nothing else does.

    >>> choose_backend(".pt")
    ('torch', 'nothing else reads .pt')
    """
    usual = _READ_BY[suffix][0]
    if len(_READ_BY[suffix]) == 1:
        return usual, f"nothing else reads {suffix}"
    if device.isdigit():
        return "onnxruntime", f"it computes {suffix} on a CUDA GPU"
    machine = platform.machine().lower()
    if importlib.util.find_spec("openvino") is None:
        return "onnxruntime", "OpenVINO is not installed"
    if machine in ("arm64", "aarch64") and importlib.util.find_spec("onnxruntime") is not None:
        return "onnxruntime", f"the quickest on {machine}"
    return usual, f"the quickest on {machine}" if machine in (
        "x86_64",
        "amd64",
    ) else "it is installed"


#: The backends that read each kind of file, the usual one first.
_READ_BY = {".onnx": ("openvino", "onnxruntime"), ".xml": ("openvino",), ".pt": ("torch",)}


def _load(
    path: Path, device: str, streams: int, backend: str, precision: str, trust: bool
) -> Backend:
    if backend == "torch":
        check_trust(path, trust)
        from maskyolo.backends.torch import TorchBackend

        return TorchBackend(path, device)
    if backend == "onnxruntime":
        from maskyolo.backends.onnxruntime import OnnxRuntimeBackend

        return OnnxRuntimeBackend(path, device, streams)
    from maskyolo.backends.openvino import OpenVinoBackend

    return OpenVinoBackend(path, device, streams, precision)


def check_yolo(
    metadata: Mapping[str, str],
    inputs: Sequence[Sequence[int]],
    outputs: Sequence[Sequence[int]],
    path: Path,
) -> tuple[str, ...]:
    """Return the class names of a YOLOv8 detection network, after checking that it is one.

    Args:
        metadata: what the export says about it: `task` and `names`.
        inputs: the shapes of its inputs, 0 for a side that is free.
        outputs: the same of its outputs.
        path: its file, for the messages.

    Raises:
        WeightsError: it is none.
    """
    if metadata.get("task", "detect") != "detect" or "names" not in metadata:
        if "maskyolo" in metadata:
            raise WeightsError(
                f"wrong weights {path}: a classifier of face crops; add --pipeline two-stage, or give a YOLO detector"
            )
        found = (
            f"a network for the task '{metadata['task']}'"
            if "task" in metadata
            else "a network without class names"
        )
        raise WeightsError(
            f"wrong weights {path}: {found}; a YOLO detector exported by `maskyolo train` or Ultralytics is needed"
        )
    names = parse_names(metadata["names"], path)
    pictures = len(inputs) == 1 and len(inputs[0]) == 4 and inputs[0][1] == 3
    if not pictures or len(outputs[0]) != 3 or outputs[0][1] not in (0, 4 + len(names)):
        shapes = ", ".join(str([side or "?" for side in shape]) for shape in outputs)
        raise WeightsError(
            f"wrong weights {path}: output {shapes}, not [n, {4 + len(names)}, anchors] of YOLOv8; export it without NMS"
        )
    return names


def to_tensor(batch: ImageArray) -> Tensor:
    """Turn BGR pictures, uint8 (n, height, width, 3), into a YOLO network's own input, RGB float32 (n, 3, height, width) from 0 to 1."""
    return np.asarray(cv2.dnn.blobFromImages(list(batch), 1 / 255, swapRB=True), dtype=np.float32)


def parse_names(text: str, path: Path) -> tuple[str, ...]:
    """Parse the class names Ultralytics writes into exported models, such as `{0: 'with_mask', 1: 'without_mask'}`.

    Raises:
        WeightsError: `text` is nothing of that kind.
    """
    try:
        names = ast.literal_eval(text)
        return tuple(str(names[place]) for place in range(len(names)))
    except (ValueError, SyntaxError, TypeError, KeyError, RecursionError, MemoryError) as error:
        raise WeightsError(
            f"wrong weights {path}: its class names cannot be read; export the model again"
        ) from error


def parse_imgsz(metadata: Mapping[str, str], path: Path) -> int | None:
    """Return the longer side of the size Ultralytics writes into exported models, such as `[416, 416]`; None if there is none.

    Raises:
        WeightsError: it is nothing of that kind.
    """
    if "imgsz" not in metadata:
        return None
    try:
        sides = ast.literal_eval(metadata["imgsz"])
        return max(map(int, sides)) if isinstance(sides, (list, tuple)) else int(sides)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise WeightsError(
            f"wrong weights {path}: its imgsz cannot be read; export the model again"
        ) from error
