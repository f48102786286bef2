"""Draw detections on an image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from maskyolo.core.images import ImageArray

if TYPE_CHECKING:
    import supervision as sv

__all__ = ["confidences_of", "draw_detections"]

#: Colors of the classes, as hex: green with a mask, red without, amber with one worn incorrectly;
#: dark enough for white text.
COLORS = ("#008c3a", "#d0021b", "#a65f00")


def draw_detections(image: ImageArray, detections: sv.Detections) -> ImageArray:
    """Return a copy of an image with boxes and labels, in the color of the class: see `COLORS`.

    Line width and text size depend on the image size. A label stays inside the image. It is
    shortened to the confidence if the full text does not fit; very small images only get boxes.

    Args:
        image: BGR uint8 (H, W, 3).
        detections: as a `Detector` returns them.
    """
    import supervision as sv

    drawn: ImageArray = image.copy()
    if not len(detections):
        return drawn
    size = (image.shape[1], image.shape[0])
    scale = max(sv.calculate_optimal_text_scale(size), 0.35)
    thickness = (
        max(sv.calculate_optimal_line_thickness(size), round(min(size) / 300))
        if min(size) > 100
        else 1
    )
    text_thickness = max(round(scale * 1.5), 1)
    palette = sv.ColorPalette.from_hex(list(COLORS))
    sv.BoxAnnotator(color=palette, thickness=thickness).annotate(drawn, detections)

    def fits(text: str, width: float) -> bool:
        return cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, text_thickness)[0][0] <= width

    if not fits("0.00", size[0] / 2):  # any label would hide the face
        return drawn
    labels = []
    tracks = (
        np.zeros(len(detections), np.int64)
        if detections.tracker_id is None
        else detections.tracker_id
    )
    for box, name, value, track in zip(
        detections.xyxy,
        detections.data["class_name"],
        confidences_of(detections),
        tracks,
        strict=True,
    ):
        number, room = f"#{track} " if track > 0 else "", min(0.9 * size[0], 3 * (box[2] - box[0]))
        choices = (f"{number}{name} {value:.2f}", f"{number}{value:.2f}")
        labels.append(next((label for label in choices if fits(label, room)), f"{value:.2f}"))
    sv.LabelAnnotator(
        color=palette,
        text_scale=scale,
        text_thickness=text_thickness,
        text_padding=max(round(scale * 8), 2),
        smart_position=True,
    ).annotate(drawn, detections, labels)
    return drawn


def confidences_of(detections: sv.Detections) -> Any:
    """Return the confidences, float32 (n,), also if supervision stores None for no detections."""
    return np.zeros(0, np.float32) if detections.confidence is None else detections.confidence
