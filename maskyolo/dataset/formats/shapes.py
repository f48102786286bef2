"""Bounding boxes of the shapes that annotation tools draw: masks, polygons, rotated boxes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

__all__ = ["box_of_points", "box_of_rle", "rotated_box"]

#: Largest width and height of a mask.
_MAX_SIDE = 1 << 20


def box_of_points(points: Iterable[Sequence[float]]) -> list[float] | None:
    """Return the xyxy box around points (x, y); None if there is no finite point.

    >>> box_of_points([(1, 5), (3, 2)])
    [1.0, 2.0, 3.0, 5.0]
    """
    finite = [(float(x), float(y)) for x, y in points]
    finite = [point for point in finite if math.isfinite(sum(point))]
    if not finite:
        return None
    xs, ys = zip(*finite, strict=True)
    return [min(xs), min(ys), max(xs), max(ys)]


def rotated_box(
    x: float, y: float, width: float, height: float, degrees: float, pivot: tuple[float, float]
) -> list[float]:
    """Return the xyxy box around a rectangle that is rotated clockwise around `pivot`.

    Args:
        x: left side before the rotation, in pixels.
        y: top side before the rotation, in pixels.
        width: width in pixels.
        height: height in pixels.
        degrees: angle of the rotation.
        pivot: the point (x, y) that stays in place.
    """
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    corners = []
    for across, down in ((x, y), (x + width, y), (x, y + height), (x + width, y + height)):
        dx, dy = across - pivot[0], down - pivot[1]
        corners.append((pivot[0] + dx * cosine - dy * sine, pivot[1] + dx * sine + dy * cosine))
    return box_of_points(corners) or [x, y, x, y]


def box_of_rle(segmentation: Any) -> list[float] | None:
    """Return the xyxy box around the mask in COCO's run-length encoding; None if it is empty.

    `counts` has the lengths of runs of background and mask in turn, column by column. It is a list,
    or a text as `pycocotools` writes it.

    >>> box_of_rle({"size": [4, 3], "counts": [5, 2, 5]})
    [1.0, 1.0, 2.0, 3.0]

    Raises:
        ValueError: it is not one, or has other than `size` pixels.
    """
    try:
        height, width = (int(side) for side in segmentation["size"])
        counts = segmentation["counts"]
        runs = list(_decode(counts) if isinstance(counts, str) else map(int, counts))
    except (KeyError, TypeError, OverflowError) as error:
        raise ValueError("not a run-length encoding") from error
    if not (0 < height <= _MAX_SIDE and 0 < width <= _MAX_SIDE) or min(runs, default=-1) < 0:
        raise ValueError("not a run-length encoding")
    if sum(runs) > height * width:
        raise ValueError("more pixels than the mask has")
    left, top, right, bottom = width, height, 0, 0
    start = 0
    for number, run in enumerate(runs):
        if number % 2 and run:
            first, last = divmod(start, height), divmod(start + run - 1, height)
            left, right = min(left, first[0]), max(right, last[0] + 1)
            tall = first[0] != last[0]
            top = 0 if tall else min(top, first[1])
            bottom = height if tall else max(bottom, last[1] + 1)
        start += run
    return [float(left), float(top), float(right), float(bottom)] if right else None


def _decode(text: str) -> Iterator[int]:
    """Yield the runs in a compressed text: 5 bits per character, the lowest first.

    From the third run on, it contains differences to the last run but one.
    """
    before: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise ValueError("not a run-length encoding")
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        run = value + (before[-2] if len(before) > 2 else 0)
        before = [*before[-2:], run]
        yield run
        value = shift = 0
    if shift:
        raise ValueError("a run-length encoding that is cut off")
