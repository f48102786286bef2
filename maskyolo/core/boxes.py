"""Arrays of boxes: float32 (n, 4), xyxy in pixels; n may be 0 everywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "MAX_BOXES",
    "Boxes",
    "as_boxes",
    "box_area",
    "box_coverage",
    "box_iou",
    "box_iou_double",
    "clip_boxes",
    "from_normalized",
    "to_normalized",
]

Boxes = npt.NDArray[np.float32]
#: Maximum number of labeled boxes in an image. Comparing each box with each other takes time and
#: memory that grow with its square.
MAX_BOXES = 10_000
#: Number of overlaps that are computed at a time.
_BLOCK = 1 << 20


def as_boxes(boxes: npt.ArrayLike) -> Boxes:
    """Return `boxes` as a float32 array of shape (n, 4); an empty list becomes (0, 4)."""
    return np.asarray(boxes, dtype=np.float32).reshape(-1, 4)


def clip_boxes(boxes: npt.ArrayLike, width: int, height: int) -> Boxes:
    """Clip xyxy pixel boxes (n, 4) to an image of `width` x `height`."""
    clipped: Boxes = as_boxes(boxes).copy()
    clipped[:, 0::2] = clipped[:, 0::2].clip(0, width)
    clipped[:, 1::2] = clipped[:, 1::2].clip(0, height)
    return clipped


def box_area(boxes: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Return the areas (n,) in square pixels of xyxy boxes (n, 4); an inverted box has area 0."""
    areas: npt.NDArray[np.float32] = _areas(as_boxes(boxes))
    return areas


def box_iou(a: npt.ArrayLike, b: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Return the intersection over union (n, m) of xyxy boxes a (n, 4) and b (m, 4).

    It is 0 where both areas are 0.

    >>> box_iou([[0, 0, 2, 2]], [[0, 0, 2, 1], [5, 5, 6, 6]]).tolist()
    [[0.5, 0.0]]
    """
    iou: npt.NDArray[np.float32] = _in_blocks(_iou, as_boxes(a), as_boxes(b))
    return iou


def box_iou_double(a: npt.ArrayLike, b: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return `box_iou` in double precision, as COCO's metrics require."""
    first, second = (np.asarray(boxes, dtype=np.float64).reshape(-1, 4) for boxes in (a, b))
    iou: npt.NDArray[np.float64] = _in_blocks(_iou, first, second)
    return iou


def box_coverage(a: npt.ArrayLike, b: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Return the intersection of xyxy boxes a (n, 4) and b (m, 4) over the smaller area, (n, m).

    It is 0 where an area is 0.

    >>> box_coverage([[0, 0, 2, 2]], [[0, 0, 1, 4], [5, 5, 6, 6]]).tolist()
    [[0.5, 0.0]]
    """
    coverage: npt.NDArray[np.float32] = _in_blocks(_coverage, as_boxes(a), as_boxes(b))
    return coverage


def to_normalized(boxes: npt.ArrayLike, width: int, height: int) -> npt.NDArray[np.float64]:
    """Convert xyxy pixels (n, 4) to YOLO's normalized xywh (n, 4): center and size, from 0 to 1.

    >>> to_normalized([[0, 0, 50, 20]], 100, 40).tolist()
    [[0.25, 0.25, 0.5, 0.5]]
    """
    x1, y1, x2, y2 = as_boxes(boxes).astype(np.float64).T
    return np.stack(
        [(x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height],
        axis=1,
    )


def from_normalized(xywh: npt.ArrayLike, width: int, height: int) -> Boxes:
    """Convert YOLO's normalized xywh (n, 4) to xyxy pixels, float32 (n, 4)."""
    cx, cy, w, h = np.asarray(xywh, dtype=np.float64).reshape(-1, 4).T
    return as_boxes(
        np.stack(
            [
                (cx - w / 2) * width,
                (cy - h / 2) * height,
                (cx + w / 2) * width,
                (cy + h / 2) * height,
            ],
            1,
        )
    )


def _areas(boxes: npt.NDArray[Any]) -> npt.NDArray[Any]:
    x1, y1, x2, y2 = boxes.T
    areas: npt.NDArray[Any] = (x2 - x1).clip(min=0) * (y2 - y1).clip(min=0)
    return areas


def _in_blocks(
    overlap: Callable[[npt.NDArray[Any], npt.NDArray[Any]], npt.NDArray[Any]],
    a: npt.NDArray[Any],
    b: npt.NDArray[Any],
) -> npt.NDArray[Any]:
    """Return `overlap(a, b)` (n, m), computed for some of `a` at a time: it takes 12 copies."""
    if len(a) * len(b) <= _BLOCK:
        return overlap(a, b)
    result = np.empty((len(a), len(b)), a.dtype)
    rows = max(1, _BLOCK // len(b))
    for start in range(0, len(a), rows):
        result[start : start + rows] = overlap(a[start : start + rows], b)
    return result


def _coverage(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> npt.NDArray[Any]:
    intersection = _intersection(a, b)
    smaller = np.minimum(_areas(a)[:, None], _areas(b)[None])
    coverage: npt.NDArray[Any] = np.divide(
        intersection, smaller, out=np.zeros_like(intersection), where=smaller > 0
    )
    return coverage


def _iou(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> npt.NDArray[Any]:
    intersection = _intersection(a, b)
    union = _areas(a)[:, None] + _areas(b)[None] - intersection
    iou: npt.NDArray[Any] = np.divide(
        intersection, union, out=np.zeros_like(intersection), where=union > 0
    )
    return iou


def _intersection(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> npt.NDArray[Any]:
    first, second = a[:, None], b[None]
    sides = (
        np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(first[..., :2], second[..., :2])
    ).clip(min=0)
    shared: npt.NDArray[Any] = sides[..., 0] * sides[..., 1]
    return shared
