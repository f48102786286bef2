"""A network on a device: pixels in, tensor out; `maskyolo.yolo` knows about sizes and boxes."""

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

from maskyolo.core.choices import BackendName, Precision
from maskyolo.errors import MaskyoloError, WeightsError
from maskyolo.images import ImageArray
from maskyolo.trust import check_trust

__all__ = [
    "Backend",
    "Tensor",
    "check_yolo",
    "choose_backend",
    "load_backend",
    "parse_imgsz",
    "parse_names",
    "to_tensor",
]

Tensor = npt.NDArray[np.float32]


class Backend(Protocol):
    """A loaded YOLO detection network.

    Attributes:
        names: class names by the network's own class id.
        shape: the only (height, width) in pixels it accepts, or None if it accepts any multiples
            of 32.
        imgsz: longer side in pixels of the images it was trained or exported with; None if its
            file does not say.
        precision: the number format it computes in, "fp32" or "bf16".
        streams: how many threads may call it at once.
        description: runtime, device and precision with the reason for them, in one line;
            `load_backend` writes it.
    """

    names: tuple[str, ...]
    shape: tuple[int, int] | None
    imgsz: int | None
    precision: str
    streams: int
    description: str

    def __call__(self, batch: ImageArray) -> Tensor:
        """Turn BGR images, uint8 (n, height, width, 3), into float32 (n, 4 + classes, anchors).

        A column is cx, cy, w, h in pixels of the input, and one score from 0 to 1 per class
        (Ultralytics' YOLOv8 head).
        """
        ...


#: The backends that read each kind of file, the usual one first.
_READ_BY = {
    ".onnx": (BackendName.OPENVINO, BackendName.ONNXRUNTIME),
    ".xml": (BackendName.OPENVINO,),
    ".pt": (BackendName.TORCH,),
}


def load_backend(
    path: Path | str,
    device: str = "auto",
    streams: int = 1,
    backend: BackendName | str = BackendName.AUTO,
    precision: Precision | str = Precision.AUTO,
    trust: bool = False,
) -> Backend:
    """Load a network from its file: `.onnx`, `.xml` (OpenVINO) or `.pt`.

    Args:
        path: a `.onnx`, `.xml` or `.pt` file.
        device: auto, cpu, 0 (first GPU), mps.
        streams: how many threads will call it at once, each on its share of the cores.
        backend: a `BackendName`, or its text; `auto` takes the one that `choose_backend` returns.
        precision: a `Precision`, or its text. `bf16` is faster on CPUs that support it in hardware
            and slightly less exact; OpenVINO only. `auto` uses it there, and fp32 elsewhere.
        trust: load a `.pt` file of unknown origin; see `check_trust`.

    Raises:
        WeightsError: no such file, a damaged one, one of an unknown type or not for this backend,
            not a YOLO detection network with class names, or a `.pt` file that is not trusted.
        DependencyError: the backend is not installed.
        MaskyoloError: no such backend or precision, or the device is not available.
    """
    path = Path(path)
    backend = BackendName.parse(backend, "backend")
    precision = Precision.parse(precision, "precision")
    if not path.is_file():
        raise WeightsError(
            f"cannot load weights {path}: no such file",
            "give a .onnx, .xml or .pt file, or a model's name",
        )
    suffix = path.suffix.lower()
    if suffix not in _READ_BY:
        raise WeightsError(
            f"cannot load weights {path}: unknown file type '{suffix}'",
            "give a .onnx, .xml (OpenVINO) or .pt file",
        )
    reasons = []
    if backend is BackendName.AUTO:
        backend, reason = choose_backend(suffix, device)
        reasons.append(reason)
    elif backend not in _READ_BY[suffix]:
        readers = " or ".join(_READ_BY[suffix])
        raise WeightsError(
            f"cannot load weights {path} with {backend}: '{suffix}' files are read by {readers}",
            f"use --backend {_READ_BY[suffix][0]}",
        )
    if precision is Precision.BF16 and backend is not BackendName.OPENVINO:
        raise MaskyoloError(
            f"cannot compute in {precision} with {backend}",
            "use --backend openvino, or leave out --precision",
        )
    network = _load(path, device, streams, backend, precision, trust)
    if precision is Precision.AUTO and network.precision != Precision.FP32:
        reasons.append(
            f"this CPU supports {network.precision} in hardware (--precision fp32 is slower and "
            "slightly more exact)"
        )
    network.description += f", {network.precision}" + (f": {'; '.join(reasons)}" if reasons else "")
    return network


def choose_backend(suffix: str, device: str = "auto") -> tuple[BackendName, str]:
    """Choose the runtime for a type of file, and return it with the reason in a few words.

    OpenVINO is the fastest on x86-64 and is installed with this package. ONNX Runtime is for ARM,
    for a CUDA GPU, and for machines without OpenVINO. Only PyTorch reads `.pt`.

    Args:
        suffix: `.onnx`, `.xml` or `.pt`.
        device: auto, cpu, 0 (first GPU), mps.

    Example:
        >>> backend, reason = choose_backend(".pt")
        >>> str(backend), reason
        ('torch', 'nothing else reads .pt')
    """
    usual = _READ_BY[suffix][0]
    if len(_READ_BY[suffix]) == 1:
        return usual, f"nothing else reads {suffix}"
    if device.isdigit():
        return BackendName.ONNXRUNTIME, f"it computes {suffix} on a CUDA GPU"
    machine = platform.machine().lower()
    if importlib.util.find_spec("openvino") is None:
        return BackendName.ONNXRUNTIME, "OpenVINO is not installed"
    if machine in ("arm64", "aarch64") and importlib.util.find_spec("onnxruntime") is not None:
        return BackendName.ONNXRUNTIME, f"the fastest on {machine}"
    if machine in ("x86_64", "amd64"):
        return usual, f"the fastest on {machine}"
    return usual, "it is installed"


def _load(
    path: Path,
    device: str,
    streams: int,
    backend: BackendName,
    precision: Precision,
    trust: bool,
) -> Backend:
    if backend is BackendName.TORCH:
        check_trust(path, trust)
        from maskyolo.backends.torch import TorchBackend

        return TorchBackend(path, device)
    if backend is BackendName.ONNXRUNTIME:
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
    """Check that a network is a YOLOv8 detection network, and return its class names.

    Args:
        metadata: the metadata of its export: `task` and `names`.
        inputs: shapes of its inputs, 0 for a side that is free.
        outputs: shapes of its outputs, likewise.
        path: its file, for the messages.

    Raises:
        WeightsError: it is not one.
    """
    if metadata.get("task", "detect") != "detect" or "names" not in metadata:
        if "maskyolo" in metadata:
            raise WeightsError(
                f"wrong weights {path}: a classifier of face crops",
                "add --pipeline two-stage, or give a YOLO detector",
            )
        found = (
            f"a network for the task '{metadata['task']}'"
            if "task" in metadata
            else "a network without class names"
        )
        raise WeightsError(
            f"wrong weights {path}: {found}",
            "use a YOLO detector exported by `maskyolo train` or Ultralytics",
        )
    names = parse_names(metadata["names"], path)
    takes_images = len(inputs) == 1 and len(inputs[0]) == 4 and inputs[0][1] == 3
    if not takes_images or len(outputs[0]) != 3 or outputs[0][1] not in (0, 4 + len(names)):
        shapes = ", ".join(str([side or "?" for side in shape]) for shape in outputs)
        raise WeightsError(
            f"wrong weights {path}: output {shapes} instead of YOLOv8's "
            f"[n, {4 + len(names)}, anchors]",
            "export the model without NMS",
        )
    return names


def to_tensor(batch: ImageArray) -> Tensor:
    """Turn BGR images into the input of a YOLO network.

    Args:
        batch: uint8 (n, height, width, 3).

    Returns:
        RGB float32 (n, 3, height, width) from 0 to 1.
    """
    return np.asarray(cv2.dnn.blobFromImages(list(batch), 1 / 255, swapRB=True), dtype=np.float32)


def parse_names(text: str, path: Path) -> tuple[str, ...]:
    """Parse the class names that Ultralytics writes into exported models.

    Args:
        text: such as `{0: 'with_mask', 1: 'without_mask'}`; it is read as literals, never run.
        path: the model's file, for the message.

    Raises:
        WeightsError: `text` is something else.
    """
    try:
        names = ast.literal_eval(text)
        return tuple(str(names[place]) for place in range(len(names)))
    except (ValueError, SyntaxError, TypeError, KeyError, RecursionError, MemoryError) as error:
        raise _unreadable(path, "class names") from error


def parse_imgsz(metadata: Mapping[str, str], path: Path) -> int | None:
    """Return the inference size (longer side, in pixels) in a model's metadata, or None.

    Args:
        metadata: its `imgsz` is such as `[416, 416]`, as Ultralytics writes it.
        path: the model's file, for the message.

    Raises:
        WeightsError: `imgsz` is something else.
    """
    if "imgsz" not in metadata:
        return None
    try:
        sides = ast.literal_eval(metadata["imgsz"])
        return max(map(int, sides)) if isinstance(sides, (list, tuple)) else int(sides)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise _unreadable(path, "imgsz") from error


def _unreadable(path: Path, what: str) -> WeightsError:
    return WeightsError(
        f"wrong weights {path}: its {what} cannot be read", "export the model again"
    )
