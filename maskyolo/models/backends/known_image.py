"""Check a network on a known image before its first use on a machine.

Runtimes compute some networks wrong on some processors, without an error: OpenVINO 2026.4 finds
nothing with an int8 ONNX file on x86 CPUs without VNNI. The answer is kept in the user's cache.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import platformdirs

from maskyolo.core.boxes import Boxes, box_iou
from maskyolo.core.files import package_folder, sha256_of, write_atomic
from maskyolo.core.images import ImageArray, read_image
from maskyolo.core.processor import describe_processor
from maskyolo.errors import MaskyoloError
from maskyolo.models.backends.base import Backend, Tensor

__all__ = ["Expected", "agrees", "answers_right", "expected_faces", "expected_of", "known_input"]

#: The faces in `known_image.jpg`, by hand, xyxy in pixels.
_FACES: dict[str, tuple[tuple[int, int, int, int], ...]] = {
    "with_mask": ((102, 97, 140, 135), (296, 153, 335, 195)),
    "without_mask": ((64, 151, 110, 201), (251, 88, 282, 124)),
}
#: Height and width of a network's input, if it accepts any; and the minimum of a fixed input's
#: shorter side, at which the faces are large enough to be found.
_SHAPE, _MIN_SIDE = (384, 640), 256
#: A box is the expected one from this overlap (IoU) on; boxes of our models differ in the forehead.
_SAME = 0.5
#: Score from which a detection counts as confident, and from which one is expected to be found.
_CONFIDENT, _FOUND = 0.5, 0.25
#: Minimum part of the expected boxes that is found, and of the confident boxes that is expected.
_ENOUGH = 0.8
#: Number of answers to keep.
_ANSWERS_KEPT = 64


@dataclass(frozen=True)
class Expected:
    """What a network must find in the known image.

    Attributes:
        boxes: xyxy in pixels of the network's input, float32 (n, 4).
        class_ids: by the network's own class ids (n,).
    """

    boxes: Boxes
    class_ids: npt.NDArray[np.int64]


def known_input(shape: tuple[int, int] | None) -> tuple[ImageArray, float]:
    """Return the known image as a network's input, and the scale at which it is in its corner.

    Args:
        shape: the only (height, width) in pixels that the network accepts, or None.
    """
    image = read_image(package_folder() / "weights" / "known_image.jpg")
    height, width = shape or _SHAPE
    scale = min(height / image.shape[0], width / image.shape[1])
    scaled = cv2.resize(image, (int(image.shape[1] * scale), int(image.shape[0] * scale)))
    canvas = np.full((1, height, width, 3), 114, np.uint8)
    canvas[0, : scaled.shape[0], : scaled.shape[1]] = scaled
    return canvas, scale


def expected_faces(network: Backend) -> Expected:
    """Return the faces in the known image, which each of our own networks finds."""
    scale = known_input(network.shape)[1]
    boxes, class_ids = [], []
    for name, faces in _FACES.items():
        boxes += [[side * scale for side in face] for face in faces]
        class_ids += [network.names.index(name)] * len(faces)
    return Expected(np.array(boxes, np.float32), np.array(class_ids))


def expected_of(output: Tensor) -> Expected:
    """Return what a network is confident of, from its output for one image."""
    return Expected(*_found(output, _CONFIDENT))


def agrees(output: Tensor, expected: Expected) -> bool:
    """Return whether a network's output for the known image is as expected.

    Boxes are compared without NMS: each expected box must be among those found, and each confident
    box near one of the expected ones.

    Args:
        output: float32 (4 + classes, anchors), see `Backend`.
        expected: what must be found.
    """
    found, _ = _found(output, _CONFIDENT)
    extra = box_iou(found, expected.boxes).max(axis=1, initial=0.0) < _SAME / 2
    boxes, class_ids = _found(output, _FOUND)
    same = box_iou(expected.boxes, boxes) * (expected.class_ids[:, None] == class_ids)
    missing = same.max(axis=1, initial=0.0) < _SAME
    return all(len(wrong) * (1 - _ENOUGH) >= wrong.sum() for wrong in (extra, missing))


def answers_right(network: Backend, path: Path, reference: Callable[[], Backend] | None) -> bool:
    """Return whether a network finds in the known image what it must; the answer is kept.

    Args:
        network: the network to check.
        path: its file.
        reference: loads the same network in a form that is known to be right. None for our own
            networks, which find the faces in the image.
    """
    if network.shape and min(network.shape) < _MIN_SIDE:
        return True  # the faces would be too small
    place = _place(network, path)
    kept = _kept(place)
    if kept is not None:
        return kept
    batch, _ = known_input(network.shape)
    try:
        expected = expected_of(reference()(batch)[0]) if reference else expected_faces(network)
        right = agrees(network(batch)[0], expected)
    except MaskyoloError:
        return True  # it cannot be compared; the error will be reported where it is used
    _keep(place, right)
    return right


def _found(output: Tensor, least: float) -> tuple[Boxes, npt.NDArray[np.int64]]:
    """Return the boxes and classes of all anchors with at least this score."""
    columns = output[:, output[4:].max(axis=0) >= least].astype(np.float32)
    corner, size = columns[:2] - columns[2:4] / 2, columns[2:4]
    return np.concatenate([corner, corner + size]).T, columns[4:].argmax(axis=0)


def _place(network: Backend, path: Path) -> Path:
    """Return the file of the kept answer, named by all that the answer depends on."""
    processor, flags = describe_processor()
    files = [path, *(() if path.suffix == ".onnx" else (path.with_suffix(".bin"),))]
    parts = [sha256_of(file) for file in files if file.is_file()]
    parts += [network.title, str(network.shape), processor, *sorted(flags)]
    parts += [os.environ.get("ONEDNN_MAX_CPU_ISA", "")]
    for runtime in ("openvino", "onnxruntime"):
        try:
            parts.append(version(runtime))
        except PackageNotFoundError:
            parts.append("")
    name = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
    return platformdirs.user_cache_path("maskyolo", appauthor=False) / "checked" / name


def _kept(place: Path) -> bool | None:
    try:
        return {"right": True, "wrong": False}.get(place.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _keep(place: Path, right: bool) -> None:
    """Keep the answer, if the cache is writable, and delete the oldest ones."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        answers = sorted(place.parent.iterdir(), key=lambda file: file.stat().st_mtime)
        for file in answers[: 1 - _ANSWERS_KEPT]:
            file.unlink(missing_ok=True)
        write_atomic(place, "right" if right else "wrong")
    except (OSError, MaskyoloError):
        return
