"""Keeps what is stored of a camera's frames to the minimum: blurs them, and removes them."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from maskyolo.core.boxes import as_boxes
from maskyolo.core.images import ImageArray
from maskyolo.dataset.workfolder import SHEETS
from maskyolo.errors import output_errors

__all__ = ["blur_outside", "remove_frames"]

#: Margin around a face that stays sharp, as a fraction of its width and height.
_MARGIN = 0.25
#: Standard deviation of the blur, as a fraction of the image's longer side: letters and figures in
#: the background cannot be recognized.
_BLUR = 0.02


def blur_outside(image: ImageArray, boxes: npt.ArrayLike) -> ImageArray:
    """Return a copy of an image that is blurred outside of boxes with a margin.

    Args:
        image: BGR uint8 (H, W, 3).
        boxes: xyxy pixels (n, 4).
    """
    height, width = image.shape[:2]
    sigma = max(_BLUR * max(height, width), 1.0)
    blurred = np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), dtype=np.uint8)
    for x1, y1, x2, y2 in as_boxes(boxes).tolist():
        dx, dy = _MARGIN * (x2 - x1), _MARGIN * (y2 - y1)
        rows = slice(max(int(y1 - dy), 0), int(np.ceil(y2 + dy)))
        columns = slice(max(int(x1 - dx), 0), int(np.ceil(x2 + dx)))
        blurred[rows, columns] = image[rows, columns]
    return blurred


def remove_frames(folder: Path) -> None:
    """Remove the images, labels and contact sheets of a data set; its ledger stays."""
    with output_errors(folder):
        for name in ("images", "labels", SHEETS):
            shutil.rmtree(folder / name, ignore_errors=False)
        (folder / "data.yaml").unlink(missing_ok=True)
