"""Measures the face boxes that `maskyolo convert` makes against boxes drawn by people.

Two kinds of images, as found in class folders, are made from Pascal VOC annotations of street
photos:

- *photos*: whole photos in which every box has the same class;
- *crops*: cut around each face of at least `--floor` pixels (square root of its area), with a
  margin of 0, 10, 25, 50 and 100 % of the box's sides, as far as the photo reaches.

Both the converter's face detectors and the whole converter run on them. The converter also searches
for bystanders (`maskyolo.conversion.bystanders`); its boxes are those that it would write to the
label file, which are none for a photo that it sets aside. Boxes are matched one to one with human
boxes at IoU 0.5 or more. Human boxes below the floor, and those that the crop cuts off by more than
half, are ignored: they need not be found, and a box on them is not false. With `--audit`, this also
holds for faces that the annotators left unlabeled. Every other box without a match is false.

The detectors' boxes are moved to this project's convention, as `convert` does
(`maskyolo.detectors.faces.convention`), unless `--as-drawn` is given.

    python benchmarks/labels.py kaggle853 --list kaggle853/val.txt --audit kaggle853/audit.csv

prints the tables of benchmarks/labels.md. Without `--list`, all photos of the folder are used.
"""

from __future__ import annotations

import argparse
import csv
import random
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from maskyolo.conversion.bystanders import decide_faces
from maskyolo.conversion.mask_judge import MaskJudge
from maskyolo.core.boxes import Boxes, as_boxes, box_area, box_iou, clip_boxes
from maskyolo.core.images import ImageArray, list_images, read_image
from maskyolo.core.labels import IGNORE
from maskyolo.detectors.faces.base import FaceDetector, Faces
from maskyolo.detectors.faces.loading import load_face_detector

MARGINS = (0.0, 0.1, 0.25, 0.5, 1.0)
FOLDER_CLASSES = ("with_mask", "without_mask")
SIZES = ((16, 40), (40, 64), (64, 128), (128, 9999))
#: The default detectors plus everything else that `convert` does: the boxes in the label files.
CONVERTED = "what convert labels (converted)"
#: The compared detectors: arguments of `load_face_detector`.
DETECTORS: dict[str, tuple[str, None, float, str]] = {
    "SSD as in 2020 (ssd-plain)": ("ssd-plain", None, 0.5, "none"),
    "SSD, several passes (ssd)": ("ssd", None, 0.5, "none"),
    "YuNet (yunet)": ("yunet", None, 0.5, "none"),
    "Haar (haar)": ("haar", None, 0.5, "none"),
    "SSD, cross-checked by YuNet (ssd+yunet)": ("ssd", None, 0.5, "yunet"),
    "SSD, cross-checked by YuNet and maskyolo-n-folders (ssd+yunet+maskyolo-n-folders)": (
        "ssd",
        None,
        0.5,
        "both",
    ),
    CONVERTED: ("ssd", None, 0.5, "both"),
}


@dataclass(frozen=True)
class Picture:
    """An image as in a class folder: its window in the photo, class, and human boxes.

    Attributes:
        kind: `photo` or a margin such as `25 %`.
        must: human boxes that must be found, in pixels of this image.
        may: human boxes that may be found or not.
    """

    photo: Path
    window: tuple[int, int, int, int]
    kind: str
    class_name: str
    must: Boxes
    may: Boxes

    def pixels(self, photo: ImageArray) -> ImageArray:
        x1, y1, x2, y2 = self.window
        return photo[y1:y2, x1:x2]


def read_voc(path: Path) -> tuple[list[str], Boxes]:
    """Return the class names and boxes of a VOC file."""
    objects = list(ET.parse(path).getroot().iter("object"))
    sides = ("xmin", "ymin", "xmax", "ymax")
    boxes = [[float(box.findtext(f"bndbox/{side}", "nan")) for side in sides] for box in objects]
    return [box.findtext("name", "") for box in objects], as_boxes(boxes)


def read_audit(path: Path) -> dict[str, Boxes]:
    """Return the faces that the annotators left unlabeled, (n, 4) by the photo's file name.

    The CSV file has the columns `image`, `x1`, `y1`, `x2`, `y2` and `kind`; rows whose kind begins
    with `not_face` are no faces.
    """
    found: dict[str, list[list[float]]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if not row["kind"].startswith("not_face"):
                box = [float(row[side]) for side in ("x1", "y1", "x2", "y2")]
                found.setdefault(row["image"], []).append(box)
    return {name: as_boxes(boxes) for name, boxes in found.items()}


def with_audit(picture: Picture, audit: dict[str, Boxes]) -> Picture:
    """Return the image with the photo's audited faces among those that may be found or not."""
    faces = audit.get(picture.photo.name, as_boxes([]))
    x1, y1, x2, y2 = picture.window
    shown = clip_boxes(faces - np.float32([x1, y1, x1, y1]), x2 - x1, y2 - y1)
    return replace(picture, may=np.concatenate([picture.may, shown[box_area(shown) > 0]]))


def cut(
    photo: Path,
    window: tuple[int, int, int, int],
    kind: str,
    class_name: str,
    boxes: Boxes,
    floor: float,
) -> Picture:
    """Make an image from a window of a photo and the photo's human boxes (n, 4)."""
    x1, y1, x2, y2 = window
    clipped = clip_boxes(boxes - [x1, y1, x1, y1], x2 - x1, y2 - y1)
    shown = box_area(clipped)
    must = (shown >= 0.5 * box_area(boxes)) & (np.sqrt(shown) >= floor)
    return Picture(photo, window, kind, class_name, clipped[must], clipped[~must & (shown > 0)])


def pictures(folder: Path, names: Iterable[str], floor: float, faces: int = 0) -> Iterator[Picture]:
    """Make the images from the photos `names`, with crops of `faces` random faces (0: all)."""
    crops: list[list[Picture]] = []
    for name in names:
        photo = folder / name
        classes, boxes = read_voc(folder / "annotations" / f"{photo.stem}.xml")
        height, width = read_image(photo).shape[:2]
        if len(set(classes)) == 1 and classes[0] in FOLDER_CLASSES:
            yield cut(photo, (0, 0, width, height), "photo", classes[0], boxes, floor)
        for class_name, box in zip(classes, boxes, strict=True):
            if class_name in FOLDER_CLASSES and np.sqrt(box_area(box)[0]) >= floor:
                crops.append(
                    [
                        _crop(photo, box, margin, class_name, boxes, floor, width, height)
                        for margin in MARGINS
                    ]
                )
    if faces:
        crops = random.Random(0).sample(crops, min(faces, len(crops)))
    for crop in crops:
        yield from crop


def _crop(
    photo: Path,
    box: npt.NDArray[np.float32],
    margin: float,
    class_name: str,
    boxes: Boxes,
    floor: float,
    width: int,
    height: int,
) -> Picture:
    x1, y1, x2, y2 = box
    across, down = margin * (x2 - x1), margin * (y2 - y1)
    window = (
        clip_boxes([x1 - across, y1 - down, x2 + across, y2 + down], width, height)[0]
        .round()
        .astype(int)
    )
    return cut(photo, tuple(window.tolist()), f"{margin:.0%}", class_name, boxes, floor)


@dataclass
class Tally:
    """Counts over images: human boxes, the IoU of each with its match (or 0), false boxes."""

    pictures: int = 0
    ious: list[float] = field(default_factory=list)
    false: int = 0

    def cells(self) -> str:
        found = [iou for iou in self.ious if iou >= 0.5]
        recall = f"{len(found) / len(self.ious):.3f}" if self.ious else ""
        mean = f"{np.mean(found):.3f}" if found else ""
        false = f"{self.false / self.pictures:.3f}" if self.pictures else ""
        return f"{len(self.ious)} | {recall} | {mean} | {false}"


def match(boxes: Boxes, picture: Picture) -> tuple[npt.NDArray[np.float32], int]:
    """Match boxes (n, 4), best first, with human boxes.

    Returns:
        The IoU of each human box with its match (m,), and the number of false boxes.
    """
    best = np.zeros(len(picture.must), dtype=np.float32)
    iou = box_iou(boxes, picture.must)
    false = 0
    for box, overlaps in zip(boxes, iou, strict=True):
        free = np.where(best > 0, 0, overlaps)
        if free.size and free.max() >= 0.5:
            best[free.argmax()] = free.max()
        elif not _inside(box, picture.may):
            false += 1
    return best, false


def _inside(box: npt.NDArray[np.float32], regions: Boxes) -> bool:
    """Return whether a box lies on a region: half of either is inside the other."""
    low, high = np.maximum(box[:2], regions[:, :2]), np.minimum(box[2:], regions[:, 2:])
    shared = (high - low).clip(min=0).prod(axis=1)
    return bool((shared > 0.5 * np.minimum(box_area(box), box_area(regions))).any())


def find(
    detector: FaceDetector, made: list[Picture], judge: MaskJudge | None = None
) -> tuple[list[Faces], float]:
    """Run a detector on all images.

    Returns:
        The faces it finds (with a judge, those that are labeled), and mean processor time in ms.
    """
    found, seconds, last, photo = [], 0.0, Path(), np.zeros((0, 0, 3), np.uint8)
    for picture in made:
        if picture.photo != last:
            last, photo = picture.photo, read_image(picture.photo)
        pixels = np.ascontiguousarray(picture.pixels(photo))
        start = time.process_time()
        faces = detector.detect(pixels)
        if judge:
            faces, decision = decide_faces(
                pixels, faces, FOLDER_CLASSES.index(picture.class_name), detector=judge
            )
            faces = faces[(decision.class_ids != IGNORE) & (not decision.ambiguous)]
        found.append(faces)
        seconds += time.process_time() - start
    return found, 1000 * seconds / len(made)


def tally(
    made: list[Picture], found: list[Boxes], keys: Callable[[Picture], list[str]]
) -> dict[str, Tally]:
    """Match all boxes with the human ones, and sum up the counts per key of an image."""
    tallies: dict[str, Tally] = {}
    for picture, boxes in zip(made, found, strict=True):
        ious, false = match(boxes, picture)
        for key in keys(picture):
            one = tallies.setdefault(key, Tally())
            one.pictures += 1
            one.ious += ious.tolist()
            one.false += false
    return tallies


def by_size(made: list[Picture], found: list[Boxes]) -> dict[str, Tally]:
    """Match the crops' boxes with the human ones, by class of the crop and size of the face."""
    tallies = {f"{name} {low}-{high} px": Tally() for name in FOLDER_CLASSES for low, high in SIZES}
    for picture, boxes in zip(made, found, strict=True):
        ious, _ = match(boxes, picture)
        for iou, side in zip(ious, np.sqrt(box_area(picture.must)), strict=True):
            for low, high in SIZES:
                if picture.kind != "photo" and low <= side < high:
                    tallies[f"{picture.class_name} {low}-{high} px"].ious.append(float(iou))
    return tallies


def table(title: str, tallies: dict[str, Tally]) -> str:
    lines = [
        f"| {title} | faces | recall at IoU 0.5 | mean IoU | false boxes per image |",
        "| --- | --- | --- | --- | --- |",
    ]
    return "\n".join(
        lines + [f"| {key} | {one.cells()} |" for key, one in tallies.items() if one.ious]
    )


def _kinds(picture: Picture) -> list[str]:
    kind = "whole photos" if picture.kind == "photo" else f"crops, margin {picture.kind}"
    return [f"{picture.class_name}, {kind}"]


def _sums(picture: Picture) -> list[str]:
    return (
        ["whole photos"]
        if picture.kind == "photo"
        else ["all crops", f"crops, margin {picture.kind}"]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="folder with images and annotations (Pascal VOC)")
    parser.add_argument(
        "--list",
        type=Path,
        help="file with the photos to use, relative to the folder, one per line; default: all",
    )
    parser.add_argument(
        "--floor", type=float, default=40, help="smallest face to crop, root of its area in pixels"
    )
    parser.add_argument(
        "--faces",
        type=int,
        default=0,
        help="crop around this many faces chosen at random; 0: around all",
    )
    parser.add_argument("--audit", type=Path, help="CSV file of faces that have no human box")
    parser.add_argument(
        "--as-drawn", action="store_true", help="leave the boxes as the detectors draw them"
    )
    parser.add_argument("--detectors", nargs="+", default=list(DETECTORS), choices=DETECTORS)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    every = (
        path.relative_to(options.folder).as_posix()
        for path in list_images(options.folder / "images")
    )
    names = options.list.read_text().split() if options.list else every
    audit = read_audit(options.audit) if options.audit else {}
    made = [
        with_audit(picture, audit)
        for picture in pictures(options.folder, names, options.floor, options.faces)
    ]
    print(
        f"{len(made)} images, {sum(picture.kind == 'photo' for picture in made)} of them whole "
        f"photos; faces of {options.floor:g} px\n"
    )
    for name in options.detectors:
        convention = not options.as_drawn
        judge = MaskJudge(convention) if name == CONVERTED else None
        detector = load_face_detector(*DETECTORS[name], convention=convention)
        faces, milliseconds = find(detector, made, judge)
        found = [one.boxes for one in faces]
        print(f"### {name}: {milliseconds:.0f} ms of one core per image\n")
        print(table("all", tally(made, found, _sums)) + "\n")
        print(table("by class", tally(made, found, _kinds)) + "\n")
        print(table("crops by size", by_size(made, found)) + "\n", flush=True)


if __name__ == "__main__":
    main()
