"""The interface of backends, and the parsing of a network's metadata."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from maskyolo.core.images import ImageArray
from maskyolo.errors import WeightsError

__all__ = ["Backend", "Tensor", "check_yolo", "parse_imgsz", "parse_names", "to_tensor"]

Tensor = npt.NDArray[np.float32]


class Backend(Protocol):
    """A loaded YOLO detection network.

    Attributes:
        names: class names by the network's own class id.
        shape: the only (height, width) in pixels that it accepts, or None if it accepts any
            multiples of 32.
        imgsz: longer side in pixels of the images it was trained or exported with; None if its
            file does not specify it.
        precision: the precision it computes in, "fp32" or "bf16".
        streams: number of threads that may call it at once.
        description: runtime, device, and precision with the reason for it, in one line; completed
            by `load_backend`.
    """

    names: tuple[str, ...]
    shape: tuple[int, int] | None
    imgsz: int | None
    precision: str
    streams: int
    description: str

    def __call__(self, batch: ImageArray) -> Tensor:
        """Convert BGR images, uint8 (n, height, width, 3), to float32 (n, 4 + classes, anchors).

        A column is cx, cy, w, h in pixels of the input, and one score from 0 to 1 per class, as in
        Ultralytics' YOLOv8 head.
        """
        ...


def check_yolo(
    metadata: Mapping[str, str],
    inputs: Sequence[Sequence[int]],
    outputs: Sequence[Sequence[int]],
    path: Path,
) -> tuple[str, ...]:
    """Check that a network is a YOLOv8 detection network, and return its class names.

    Args:
        metadata: its metadata from export: `task` and `names`.
        inputs: shapes of its inputs, 0 for dynamic sides.
        outputs: shapes of its outputs, likewise.
        path: its file, for error messages.

    Raises:
        WeightsError: it is not a YOLOv8 detection network.
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
    """Convert BGR images to the input of a YOLO network.

    Args:
        batch: uint8 (n, height, width, 3).

    Returns:
        RGB float32 (n, 3, height, width) from 0 to 1.
    """
    return np.asarray(cv2.dnn.blobFromImages(list(batch), 1 / 255, swapRB=True), dtype=np.float32)


def parse_names(text: str, path: Path) -> tuple[str, ...]:
    """Parse the class names that Ultralytics writes into exported models.

    Args:
        text: text such as `{0: 'with_mask', 1: 'without_mask'}`; parsed as literals, never run.
        path: the model's file, for error messages.

    Raises:
        WeightsError: `text` has another format.
    """
    try:
        names = ast.literal_eval(text)
        return tuple(str(names[place]) for place in range(len(names)))
    except (ValueError, SyntaxError, TypeError, KeyError, RecursionError, MemoryError) as error:
        raise _unreadable(path, "class names") from error


def parse_imgsz(metadata: Mapping[str, str], path: Path) -> int | None:
    """Return the inference size (longer side, in pixels) in a model's metadata, or None.

    Args:
        metadata: its `imgsz` has the format of Ultralytics, such as `[416, 416]`.
        path: the model's file, for error messages.

    Raises:
        WeightsError: `imgsz` has another format.
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
