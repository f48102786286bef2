"""The interface of backends, and the parsing of a network's metadata."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from maskyolo.core.images import ImageArray
from maskyolo.errors import WeightsError

__all__ = ["Backend", "Tensor", "check_yolo", "parse_imgsz", "parse_names", "to_tensor"]

Tensor = npt.NDArray[np.float32]

#: Limits of a network's metadata: length of a text (the names of a thousand classes take 25,000
#: characters) and of one name, and an inference size that no network has.
_MAX_LITERAL, _MAX_NAME, _MAX_IMGSZ = 200_000, 200, 1_000_000
#: Maximum number of classes of a network without class names: more are anchors or coordinates.
_MAX_NUMBERED = 100
#: What parsing a text as a literal and taking it apart can raise.
_LITERAL_ERRORS = (
    ArithmeticError,
    LookupError,
    MemoryError,
    RecursionError,
    SyntaxError,
    TypeError,
    ValueError,
)


class Backend(Protocol):
    """A loaded YOLO detection network.

    Attributes:
        names: class names by the network's own class id.
        shape: the only (height, width) in pixels that it accepts, or None if it accepts any
            multiples of 32.
        imgsz: longer side in pixels of the images it was trained or exported with; None if its
            file does not specify it.
        precision: the precision it computes in, "fp32" or "bf16".
        streams: number of threads that should call it at once. Any number may.
        title: runtime, device and precision, such as "OpenVINO CPU bf16"; completed by
            `load_backend`.
        description: the same with the reason for them, in one line; completed by `load_backend`.
    """

    names: tuple[str, ...]
    shape: tuple[int, int] | None
    imgsz: int | None
    precision: str
    streams: int
    title: str
    description: str

    def __call__(self, batch: ImageArray, mixed: bool = False) -> Tensor:
        """Convert BGR images, uint8 (n, height, width, 3), to float32 (n, 4 + classes, anchors).

        With `mixed`, batches of other shapes will follow: memory matters more than the last bit of
        speed.

        A column is cx, cy, w, h in pixels of the input, and one score from 0 to 1 per class, as in
        Ultralytics' YOLOv8 head.
        """
        ...


def check_yolo(
    metadata: Mapping[str, str],
    inputs: Sequence[Sequence[int]],
    outputs: Sequence[Sequence[int]],
    path: Path,
    input_type: str,
) -> tuple[str, ...]:
    """Check that a network is a YOLOv8 detection network, and return its class names.

    If it has no names, but a fixed number of classes, they are called 0, 1, ...

    Args:
        metadata: its metadata from export: `task` and `names`.
        inputs: shapes of its inputs, 0 for dynamic sides.
        outputs: shapes of its outputs, likewise.
        path: its file, for error messages.
        input_type: type of its first input, such as `f32` or `tensor(float16)`.

    Raises:
        WeightsError: it is not a YOLOv8 detection network.
    """
    names = _names_of(metadata, outputs, path)
    if not ("f16" in input_type or "f32" in input_type or "float" in input_type):
        raise WeightsError(
            f"wrong weights {path}: its input is of the type {input_type}, not float",
            "export the model with a float input of values from 0 to 1, as Ultralytics does",
        )
    if inputs and len(inputs[0]) == 4 and inputs[0][0] > 1:
        raise WeightsError(
            f"wrong weights {path}: it requires a batch size of {inputs[0][0]}",
            "export the model with a batch size of 1, or any batch size (dynamic=True)",
        )
    takes_images = len(inputs) == 1 and len(inputs[0]) == 4 and inputs[0][1] == 3
    if not takes_images:
        shapes = ", ".join(str([side or "?" for side in shape]) for shape in inputs)
        raise WeightsError(
            f"wrong weights {path}: input {shapes} instead of YOLOv8's [n, 3, height, width]",
            "export the model as Ultralytics does",
        )
    if len(outputs[0]) != 3 or outputs[0][1] not in (0, 4 + len(names)):
        shapes = ", ".join(str([side or "?" for side in shape]) for shape in outputs)
        raise WeightsError(
            f"wrong weights {path}: output {shapes} instead of YOLOv8's "
            f"[n, {4 + len(names)}, anchors]",
            "export a detector of YOLOv8 or later, without NMS",
        )
    return names


def _names_of(
    metadata: Mapping[str, str], outputs: Sequence[Sequence[int]], path: Path
) -> tuple[str, ...]:
    """Return the class names of a detection network; see `check_yolo`."""
    single = len(outputs) == 1 and len(outputs[0]) == 3
    anonymous = "names" not in metadata
    numbered = range(max(outputs[0][1] - 4, 0) if single and anonymous else 0)
    wrong_task = metadata.get("task", "detect") != "detect"
    if wrong_task or (anonymous and not 0 < len(numbered) <= _MAX_NUMBERED):
        if "maskyolo" in metadata:
            raise WeightsError(
                f"wrong weights {path}: a classifier of face crops",
                "add --pipeline two-stage, or give a YOLO detector",
            )
        found = (
            f"a network for the task '{metadata['task']}'"
            if wrong_task
            else "a network without class names"
        )
        raise WeightsError(
            f"wrong weights {path}: {found}",
            "use a YOLO detector exported by `maskyolo train` or Ultralytics",
        )
    return tuple(map(str, numbered)) or parse_names(metadata["names"], path)


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
        names = _parse_literal(text)
        if isinstance(names, dict):  # the keys of JSON are texts
            names = {int(place): name for place, name in names.items()}
        texts = tuple(str(names[place]) for place in range(len(names)))
        if any(len(name) > _MAX_NAME for name in texts):
            raise ValueError("too long")
    except _LITERAL_ERRORS as error:
        raise _unreadable(path, "class names") from error
    return texts


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
        sides = _parse_literal(metadata["imgsz"])
        longer = max(map(int, sides)) if isinstance(sides, (list, tuple)) else int(sides)
        if not 0 < longer < _MAX_IMGSZ:
            raise ValueError("out of range")
    except _LITERAL_ERRORS as error:
        raise _unreadable(path, "imgsz") from error
    return longer


def _parse_literal(text: str) -> Any:
    if len(text) > _MAX_LITERAL:
        raise ValueError("too long")
    return ast.literal_eval(text)


def _unreadable(path: Path, what: str) -> WeightsError:
    return WeightsError(
        f"wrong weights {path}: its {what} cannot be read", "export the model again"
    )
