"""Read boxes to ignore, such as faces that the annotators left unlabeled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from maskyolo.core.boxes import Boxes, as_boxes
from maskyolo.core.parsing import read_table
from maskyolo.errors import DatasetError

__all__ = ["read_regions"]

#: Rows of this kind are not ignored: an audit lists them as confirmed false alarms.
NOT_A_FACE = "not_face"

_CORNERS = ("x1", "y1", "x2", "y2")


def read_regions(file: Path | str, images: Sequence[Path]) -> list[Boxes]:
    """Return the boxes to ignore in each image (n, 4), xyxy in pixels.

    Args:
        file: CSV with the columns image, x1, y1, x2 and y2; others are not read, but for `kind`:
            rows with the kind `not_face` are left out. An image is named by its file name, or the
            end of its path; rows of other images than these are left out.
        images: the image files.

    Raises:
        DatasetError: the file cannot be read, a box has no area, a name fits several images, or no
            row is about any of the images.
    """
    places: dict[str, list[int]] = {}
    for place, path in enumerate(images):
        for start in range(len(path.parts)):
            places.setdefault("/".join(path.parts[start:]), []).append(place)

    def parse(row: dict[str, str], _: int) -> tuple[str, list[float]] | None:
        box = [float(row[name]) for name in _CORNERS]
        if not (all(map(math.isfinite, box)) and box[0] < box[2] and box[1] < box[3]):
            raise ValueError(f"the box {', '.join(f'{value:g}' for value in box)} has no area")
        name = PurePosixPath(row["image"].strip().replace("\\", "/")).as_posix()
        if len(places.get(name, ())) > 1:
            raise ValueError(f"{name} is the name of several images; give more of the path")
        return None if row["kind"].strip() == NOT_A_FACE else (name, box)

    rows = read_table(file, ("image", *_CORNERS), parse, optional=("kind",))
    boxes: list[list[list[float]]] = [[] for _ in images]
    named = [row for row in rows if row]
    for name, box in named:
        for place in places.get(name, ()):
            boxes[place].append(box)
    if named and not any(boxes):
        raise DatasetError(
            f"no row of {file} is about any of the {len(images)} images: the first names "
            f"{named[0][0]}",
            "give the table that belongs to these images",
        )
    return [as_boxes(part) for part in boxes]
