"""Small annotated sets as other tools write them, and what each command reads from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from maskyolo.conversion.inputs import list_photos
from maskyolo.core.classes import CLASS_NAMES
from maskyolo.dataset.layout import load_dataset
from maskyolo.evaluation.labeled import find_images
from maskyolo.review.review_set import read_review_set

#: Class and rounded xyxy box of each face, sorted, by image name without suffix.
Faces = dict[str, list[tuple[str, tuple[int, ...]]]]
#: Ids of the two classes in most of these sets: not in our order.
ORDER = ("without_mask", "with_mask")


@dataclass(frozen=True)
class Shot:
    """An image of 100 x 80 pixels with its faces: class and xyxy pixels."""

    name: str
    split: str
    faces: tuple[tuple[str, tuple[int, int, int, int]], ...]


SHOTS = (
    Shot("a", "train", (("with_mask", (10, 8, 30, 40)), ("without_mask", (50, 16, 70, 56)))),
    Shot("b", "train", (("without_mask", (20, 24, 60, 64)),)),
    Shot("c", "train", ()),
    Shot("d", "val", (("with_mask", (5, 4, 25, 28)),)),
    Shot("e", "val", (("without_mask", (60, 40, 90, 76)),)),
)
TRUTH: Faces = {shot.name: sorted(shot.faces) for shot in SHOTS}
SPLITS = {shot.name: shot.split for shot in SHOTS}


def draw(path: Path, size: tuple[int, int] = (100, 80)) -> Path:
    """Write an image of noise, which depends on the file's name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = int.from_bytes(path.stem.encode(), "big") % 2**32
    noise = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(noise).resize(size).save(path)
    return path


def rows(shot: Shot, order: Sequence[str] = ORDER, tail: str = "") -> str:
    """Return the label file of an image, with `tail` at the end of each row."""
    lines = []
    for number, (name, (x1, y1, x2, y2)) in enumerate(shot.faces, 1):
        box = ((x1 + x2) / 200, (y1 + y2) / 160, (x2 - x1) / 100, (y2 - y1) / 80)
        numbers = " ".join(f"{value:.6f}" for value in box)
        lines.append(f"{order.index(name)} {numbers}{tail.format(number)}\n")
    return "".join(lines)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def write_yolo(
    root: Path,
    images: str = "images/{split}",
    labels: str = "labels/{split}",
    files: Mapping[str, str] | None = None,
    shots: Sequence[Shot] = SHOTS,
    tail: str = "",
    order: Sequence[str] = ORDER,
) -> Path:
    """Write the images and labels of a YOLO set, and other files by name."""
    for shot in shots:
        draw(root / images.format(split=shot.split) / f"{shot.name}.jpg")
        if shot.faces:
            place = root / labels.format(split=shot.split)
            write(place / f"{shot.name}.txt", rows(shot, order, tail))
    for name, text in (files or {}).items():
        write(root / name, text)
    return root


def by_convert(source: Path, keep_splits: bool = True) -> tuple[Faces, dict[str, str]]:
    """Return the faces and splits that `convert` reads."""
    listed = list_photos([source], keep_splits=keep_splits)
    photos = [photo for photo in listed.photos if not photo.status]
    faces = {
        photo.path.stem: sorted(
            (listed.names[number], tuple(round(float(side)) for side in box))
            for number, box in zip(photo.labels.class_ids, photo.labels.boxes, strict=True)
        )
        for photo in photos
        if photo.labels is not None
    }
    return faces, {photo.path.stem: photo.split for photo in photos}


def by_val(source: Path, split: str) -> Faces:
    """Return the faces that `val` and `compare` read."""
    images, _ = find_images(data=source, split=split)
    return _faces_of_val(images)


def by_val_folders(images: Path, labels: Path) -> Faces:
    """Return the faces that `val --images --labels` reads."""
    return _faces_of_val(find_images(images=images, labels=labels)[0])


def by_training(source: Path, names: Sequence[str] = ORDER) -> tuple[Faces, dict[str, str]]:
    """Return the faces and splits that the checks of `train` read."""
    dataset = load_dataset(source)
    faces: Faces = {}
    splits = {}
    for split in dataset.splits:
        for image in dataset.images(split):
            found = dataset.read_labels(image, 100, 80)
            ids = [names[number] for number in found.class_ids]
            faces[image.stem] = _sorted(ids, found.boxes.tolist())
            splits[image.stem] = split
    return faces, splits


def by_review(source: Path, names: Sequence[str] = ORDER) -> tuple[Faces, dict[str, str]]:
    """Return the faces and splits that `review` reads."""
    review = read_review_set(source)
    faces, splits = {}, {}
    for photo in review.photos.values():
        found = photo.faces(names)
        boxes = [list(face.box) for face in found]
        faces[photo.path.stem] = _sorted([face.class_name for face in found], boxes)
        splits[photo.path.stem] = photo.split
    return faces, splits


def _faces_of_val(images: Sequence[object]) -> Faces:
    faces: Faces = {}
    for image in images:
        found = image.in_pixels(100, 80)  # type: ignore[attr-defined]
        ids = [CLASS_NAMES[number] for number in found.labels.class_ids]
        faces[found.path.stem] = _sorted(ids, found.labels.boxes.tolist())
    return faces


def _sorted(
    names: Sequence[str], boxes: Sequence[Sequence[float]]
) -> list[tuple[str, tuple[int, ...]]]:
    return sorted(
        (name, tuple(round(side) for side in box)) for name, box in zip(names, boxes, strict=True)
    )
