"""A network on a piece of hardware: tensor in, tensor out; everything about pictures and boxes is in `maskyolo.yolo`."""

from __future__ import annotations

import ast
import os
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from maskyolo.errors import WeightsError

__all__ = ["Backend", "Tensor", "load_backend", "parse_names", "usable_cpus"]

Tensor = npt.NDArray[np.float32]


class Backend(Protocol):
    """A loaded YOLO detection network.

    Attributes:
        names: class names by the network's own class id.
        shape: the only (height, width) in pixels it takes, or None if any multiple of 32 will do.
        precision: what it computes in, for instance "f32".
        streams: how many threads may call it at once.
    """

    names: tuple[str, ...]
    shape: tuple[int, int] | None
    precision: str
    streams: int

    def __call__(self, batch: Tensor) -> Tensor:
        """Turn RGB pictures, float32 (n, 3, height, width) from 0 to 1, into float32 (n, 4 + classes, anchors).

        A column is cx, cy, w, h in pixels of the input and one score from 0 to 1 per class (Ultralytics' YOLOv8 head).
        """
        ...


def load_backend(path: Path | str, device: str = "auto", streams: int = 1) -> Backend:
    """Load a network by its file: `.onnx` and `.xml` (OpenVINO) run in OpenVINO, `.pt` in PyTorch.

    A `.pt` file is a Python pickle, which can run any code when it is loaded: open only what you trust.

    Raises:
        WeightsError: no such file, damaged, of an unknown kind, or no YOLO detection network with class names.
        DependencyError: `.pt` without `maskyolo[train]`.
        MaskyoloError: the device is not there.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"cannot load weights {path}: no such file; give a .onnx, .xml or .pt file, or a model's name")
    suffix = path.suffix.lower()
    if suffix in (".onnx", ".xml"):
        from maskyolo.backends.openvino import OpenVinoBackend

        return OpenVinoBackend(path, device, streams)
    if suffix == ".pt":
        from maskyolo.backends.torch import TorchBackend

        return TorchBackend(path, device)
    raise WeightsError(f"cannot load weights {path}: '{suffix}' is not a known kind; give a .onnx, .xml (OpenVINO) or .pt file")


def usable_cpus() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def parse_names(text: str, path: Path) -> tuple[str, ...]:
    """Parse the class names Ultralytics writes into exported models, such as `{0: 'with_mask', 1: 'without_mask'}`.

    Raises:
        WeightsError: `text` is nothing of that kind.
    """
    try:
        names = ast.literal_eval(text)
        return tuple(str(names[place]) for place in range(len(names)))
    except (ValueError, SyntaxError, TypeError, KeyError, RecursionError, MemoryError) as error:
        raise WeightsError(f"wrong weights {path}: its class names cannot be read; export the model again") from error
