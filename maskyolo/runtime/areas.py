"""The zone in which people are counted, and the line that they cross."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from maskyolo.core.images import ImageArray
from maskyolo.errors import MaskyoloError

if TYPE_CHECKING:
    import supervision as sv

__all__ = ["Areas", "parse_points"]


class Areas:
    """An optional zone and an optional line, scaled to the size of the images.

    Args:
        zone: corners of a polygon as `x1,y1,x2,y2,x3,y3,…`. If all numbers are from 0 to 1, they
            are fractions of the image's width and height; otherwise they are pixels.
        line: start and end as `x1,y1,x2,y2`, in the same units.

    Raises:
        MaskyoloError: see `parse_points`.
    """

    def __init__(self, zone: str | None = None, line: str | None = None) -> None:
        self._zone_points = None if zone is None else parse_points(zone, "zone", minimum=3)
        self._line_points = (
            None if line is None else parse_points(line, "line", minimum=2, maximum=2)
        )
        self._size = (0, 0)
        self._zone: sv.PolygonZone | None = None
        self._line: sv.LineZone | None = None

    @property
    def has_zone(self) -> bool:
        """Whether there is a zone."""
        return self._zone_points is not None

    @property
    def has_line(self) -> bool:
        """Whether there is a line."""
        return self._line_points is not None

    def fit(self, width: int, height: int) -> None:
        """Scale the zone and the line to images of this size, and reset the line's counts.

        Does nothing if the size has not changed since the last call.

        Raises:
            MaskyoloError: the zone lies outside the images, or the line has no length.
        """
        import supervision as sv

        if self._size == (width, height):
            return
        self._size = (width, height)
        if self._zone_points:
            polygon = _fitted(self._zone_points, width, height).clip(0, (width, height))
            if not _contains_pixels(polygon, width, height):
                raise MaskyoloError(
                    f"the --zone lies outside the {width} x {height} image",
                    "change its corners",
                )
            self._zone = sv.PolygonZone(polygon, triggering_anchors=[sv.Position.CENTER])
        if self._line_points:
            start, end = (
                sv.Point(*point) for point in _fitted(self._line_points, width, height).tolist()
            )
            if start == end:
                raise MaskyoloError("the --line has no length", "use two different points")
            # a crossing takes two frames on the other side, so that jitter on the line does not
            # count
            self._line = sv.LineZone(
                start, end, triggering_anchors=[sv.Position.CENTER], minimum_crossing_threshold=2
            )

    def reset(self) -> None:
        """Forget the current source; the next call of `fit` starts again."""
        self._line, self._size = None, (0, 0)

    def inside(self, detections: sv.Detections) -> npt.NDArray[np.bool_]:
        """Return, per detection, whether its center is in the zone; all True without a zone."""
        if self._zone is None:
            return np.ones(len(detections), np.bool_)
        return self._zone.trigger(detections)

    def crossings(
        self, detections: sv.Detections
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Return, per detection, whether its track crosses the line now: inward and outward."""
        if self._line is None:
            none = np.zeros(len(detections), np.bool_)
            return none, none
        return self._line.trigger(detections)

    def draw(self, image: ImageArray) -> None:
        """Draw the zone, and the line with its counts, into an image, BGR uint8 (H, W, 3)."""
        import supervision as sv

        height, width = image.shape[:2]
        thickness = max(round(min(width, height) / 300), 1)
        if self._zone:
            sv.draw_polygon(image, self._zone.polygon, sv.Color.WHITE, thickness)
        if not self._line or not self._line_points:
            return
        start, end = _fitted(self._line_points, width, height).tolist()
        cv2.line(image, start, end, (255, 255, 255), thickness, cv2.LINE_AA)
        text = f"in {self._line.in_count} out {self._line.out_count}"
        scale = sv.calculate_optimal_text_scale((width, height))
        middle = ((start[0] + end[0]) // 2, (start[1] + end[1]) // 2)
        font = cv2.FONT_HERSHEY_SIMPLEX
        # a black outline, so that the white text shows on any background
        for color, weight in (((0, 0, 0), 3 * thickness), ((255, 255, 255), thickness)):
            cv2.putText(image, text, middle, font, scale, color, weight, cv2.LINE_AA)


def parse_points(
    text: str, name: str, minimum: int, maximum: int | None = None
) -> list[tuple[float, float]]:
    """Parse points written as `x1,y1,x2,y2` and so on.

    Args:
        text: the option's value.
        name: name of the option, for messages.
        minimum: minimum number of points.
        maximum: maximum number of points.

    Raises:
        MaskyoloError: not numbers, an odd number of them, negative numbers, or too few or too many
            points.
    """
    shape = "x1,y1,x2,y2" if maximum == 2 else "x1,y1,x2,y2,x3,y3,… with at least three corners"
    remedy = f"use {shape}, in pixels or as fractions from 0 to 1"
    try:
        values = [float(part) for part in text.replace(" ", "").split(",")]
    except ValueError as error:
        raise MaskyoloError(
            f"cannot read --{name} '{text}': not numbers separated by commas", remedy
        ) from error
    if len(values) % 2 or len(values) < 2 * minimum or (maximum and len(values) > 2 * maximum):
        raise MaskyoloError(f"cannot read --{name} '{text}': got {len(values)} numbers", remedy)
    if not all(0 <= value < 1e6 for value in values):
        raise MaskyoloError(
            f"cannot read --{name} '{text}': coordinates must be at least 0 and below 1e6", remedy
        )
    return list(zip(values[::2], values[1::2], strict=True))


def _fitted(
    points: Sequence[tuple[float, float]], width: int, height: int
) -> npt.NDArray[np.int64]:
    """Return points in pixels, int64 (n, 2)."""
    fractions = all(0 <= value <= 1 for point in points for value in point)
    scaled: npt.NDArray[Any] = np.array(points) * ((width, height) if fractions else 1)
    fitted: npt.NDArray[np.int64] = np.rint(scaled).astype(np.int64)
    return fitted


def _contains_pixels(polygon: npt.NDArray[np.int64], width: int, height: int) -> bool:
    """Return whether a polygon contains any pixel of an image of this size."""
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [polygon.astype(np.int32)], 1)
    return bool(mask.any())
