"""A labeled data set of tiny images, and stub detectors that know what is in each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import supervision as sv

from maskyolo.core.classes import ALL_CLASS_NAMES, CLASS_NAMES
from maskyolo.core.images import ImageArray, write_image

Row = tuple[str, float, float, float, float]

#: The labels of each image of 200 x 100, by its gray value.
TRUTH: dict[int, list[Row]] = {
    10: [("with_mask", 20, 20, 60, 70)],
    20: [("with_mask", 20, 20, 60, 70), ("without_mask", 100, 20, 140, 70)],
    30: [("without_mask", 100, 20, 140, 70), ("face_on_a_poster", 20, 20, 60, 70)],
    40: [],
}


class Stub:
    """Returns the given rows of class, box and confidence for an image, by its gray value."""

    def __init__(
        self, found: Mapping[int, Sequence[tuple[str, float, float, float, float, float]]]
    ) -> None:
        self.found = found

    def __call__(self, image: ImageArray) -> sv.Detections:
        rows = self.found.get(int(image[0, 0, 0]), [])
        ids = np.array([ALL_CLASS_NAMES.index(row[0]) for row in rows], dtype=np.int64)
        return sv.Detections(
            xyxy=np.array([row[1:5] for row in rows], np.float32).reshape(-1, 4),
            confidence=np.array([row[5] for row in rows], np.float32),
            class_id=ids,
            data={"class_name": np.array(ALL_CLASS_NAMES)[ids]},
        )


def perfect() -> Stub:
    """Return a detector that finds every labeled face and nothing else."""
    return Stub(
        {
            gray: [(*row, 0.9) for row in rows if row[0] in CLASS_NAMES]
            for gray, rows in TRUTH.items()
        }
    )


def flawed() -> Stub:
    """Return a detector that confuses the class of one face and misses another.

    It also finds one on the ignored box, and one where there is nothing.
    """
    with_mask, without = TRUTH[10][0], TRUTH[20][1]
    return Stub(
        {
            10: [(*with_mask, 0.8)],
            20: [("without_mask", *with_mask[1:], 0.7)],
            30: [(*without, 0.6), ("with_mask", *with_mask[1:], 0.9)],
            40: [("with_mask", 10, 10, 40, 40, 0.5)],
        }
    )


def make_voc(folder: Path) -> tuple[Path, Path]:
    """Write the images and their Pascal VOC files; return both folders."""
    images, labels = folder / "images", folder / "annotations"
    for place in (images, labels):
        place.mkdir()
    for gray, rows in TRUTH.items():
        write_image(images / f"p{gray}.png", np.full((100, 200, 3), gray, np.uint8))
        objects = "".join(
            f"<object><name>{name}</name><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>"
            f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
            for name, x1, y1, x2, y2 in rows
        )
        (labels / f"p{gray}.xml").write_text(f"<annotation>{objects}</annotation>")
    return images, labels


def make_yolo(folder: Path, names: Sequence[str] = (*CLASS_NAMES, "face_on_a_poster")) -> Path:
    """Write the same as a YOLO data set with a val split; return its data.yaml.

    The image without faces has no label file.
    """
    for place in ("images/val", "labels/val"):
        (folder / place).mkdir(parents=True)
    for gray, rows in TRUTH.items():
        write_image(
            folder / "images" / "val" / f"p{gray}.png", np.full((100, 200, 3), gray, np.uint8)
        )
        lines = [
            f"{names.index(name)} {(x1 + x2) / 400} {(y1 + y2) / 200} "
            f"{(x2 - x1) / 200} {(y2 - y1) / 100}\n"
            for name, x1, y1, x2, y2 in rows
        ]
        if lines:
            (folder / "labels" / "val" / f"p{gray}.txt").write_text("".join(lines))
    listed = "".join(f"  {number}: {name}\n" for number, name in enumerate(names))
    (folder / "data.yaml").write_text(
        f"path: {folder}\ntrain: images/val\nval: images/val\nnames:\n{listed}"
    )
    return folder / "data.yaml"
