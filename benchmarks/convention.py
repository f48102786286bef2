"""Fits how far each face detector's boxes are moved to where people draw them.

The face detectors, and our own mask detector on the whole image with a border, run on crops around
faces, made as in labels.py. Each human box is paired with the detector's box that overlaps it most,
from IoU 0.35. Then the six numbers of a detector are searched (Powell's method) that give the
highest mean IoU after the boxes are clipped to the image: the left and right side move by a
fraction of the box's width, and the top and the bottom by a fraction of its width plus one of its
height.

    python benchmarks/convention.py kaggle853 --list kaggle853/train.txt --faces 60

prints `SHIFTS` of maskyolo/detectors/faces/convention.py, and the mean IoU before and after, on the
faces used and on as many others.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from labels import Picture, pictures
from scipy.optimize import minimize

from maskyolo.core.boxes import Boxes, box_area, box_iou, clip_boxes
from maskyolo.core.images import ImageArray, read_image
from maskyolo.detectors.faces.loading import load_face_detector
from maskyolo.detectors.faces.mask_model import MaskModel

#: Arguments of `load_face_detector`.
DETECTORS = (
    ("ssd", None, 0.5, "both"),
    ("ssd", None, 0.5, "yunet"),
    ("ssd", None, 0.5, "none"),
    ("ssd-plain", None, 0.5, "none"),
    ("yunet", None, 0.5, "none"),
    ("haar", None, 0.5, "none"),
)
MIN_IOU = 0.35

Rows = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Pairs:
    """Boxes of a detector and of people: xyxy (n, 4) each, and the images' sizes (n, 2)."""

    boxes: Rows
    human: Rows
    sizes: Rows

    def mean_iou(self, shifts: Rows) -> float:
        """Return the mean IoU after moving the boxes by `shifts` (4, 2) and clipping them."""
        sides = self.boxes[:, 2:] - self.boxes[:, :2]
        moved = (self.boxes + sides @ shifts.T).clip(0, np.tile(self.sizes, 2))
        low = np.maximum(moved[:, :2], self.human[:, :2])
        high = np.minimum(moved[:, 2:], self.human[:, 2:])
        shared = (high - low).clip(min=0).prod(axis=1)
        return float((shared / (box_area(moved) + box_area(self.human) - shared)).mean())


def pair(made: list[Picture], find: Callable[[ImageArray], Boxes]) -> Pairs:
    """Run a detector on the images, and pair its boxes with the human ones."""
    rows, last, photo = [], Path(), np.zeros((0, 0, 3), np.uint8)
    for picture in made:
        if picture.photo != last:
            last, photo = picture.photo, read_image(picture.photo)
        image = np.ascontiguousarray(picture.pixels(photo))
        height, width = image.shape[:2]
        boxes = find(image)
        for human, overlaps in zip(picture.must, box_iou(picture.must, boxes), strict=True):
            if overlaps.max(initial=0) > MIN_IOU:
                rows.append([*boxes[overlaps.argmax()], *human, width, height])
    table = np.asarray(rows, dtype=np.float64).reshape(-1, 10)
    return Pairs(table[:, :4], table[:, 4:8], table[:, 8:])


def matrix(numbers: Rows) -> Rows:
    """Return the six numbers as fractions of width and height by side, (4, 2)."""
    left, top_width, top_height, right, bottom_width, bottom_height = numbers
    return np.array([[left, 0], [top_width, top_height], [right, 0], [bottom_width, bottom_height]])


def fit(pairs: Pairs) -> Rows:
    """Return the shifts (4, 2) with the highest mean IoU."""
    numbers = np.zeros(6)
    for _ in range(3):  # restarted, because Powell's method stops early on such a surface
        numbers = minimize(
            lambda tried: -pairs.mean_iou(matrix(tried)),
            numbers,
            method="Powell",
            options={"xtol": 1e-3, "ftol": 1e-6},
        ).x
    return matrix(numbers)


def finders() -> dict[str, Callable[[ImageArray], Boxes]]:
    """Return a function for each detector, from an image to its boxes as it draws them."""
    found: dict[str, Callable[[ImageArray], Boxes]] = {}
    model = MaskModel()
    found[model.name] = lambda image: clip_boxes(
        model.detect_all(image)[:, :4], image.shape[1], image.shape[0]
    )
    for arguments in DETECTORS:
        detector = load_face_detector(*arguments)
        found[detector.name] = lambda image, detector=detector: detector.detect(image).boxes
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="folder with images and annotations (Pascal VOC)")
    parser.add_argument("--list", type=Path, required=True, help="file with the photos to use")
    parser.add_argument("--floor", type=float, default=40, help="smallest face, in pixels")
    parser.add_argument("--faces", type=int, default=60, help="faces to fit on, chosen at random")
    parser.add_argument("--detectors", nargs="+", help="names of the detectors; default: all")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    names = options.list.read_text().split()
    crops = [
        picture
        for picture in pictures(options.folder, names, options.floor, 2 * options.faces)
        if picture.kind != "photo"
    ]
    half = len(crops) // 2
    for name, find in finders().items():
        if name not in (options.detectors or [name]):
            continue
        used, others = pair(crops[:half], find), pair(crops[half:], find)
        shifts, none = fit(used), np.zeros((4, 2))
        print(f'    "{name}": (')
        for across, down in shifts.round(3) + 0.0:
            print(f"        ({across:g}, {down:g}),")
        print("    ),")
        print(
            f"    # {len(used.boxes)} faces: mean IoU {used.mean_iou(none):.3f}, moved "
            f"{used.mean_iou(shifts):.3f}; {len(others.boxes)} others: "
            f"{others.mean_iou(none):.3f}, moved {others.mean_iou(shifts):.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
