r"""Adds faces that the annotators left out to a Pascal VOC set, from a table of corrections.

    python tools/add_faces.py kaggle853 data/kaggle853-corrections.csv \
        --list kaggle853/train.txt --out data/corrected

The table has a row per face: `image,x1,y1,x2,y2,class`, in pixels. The class is with_mask,
without_mask, or `unclear` for faces to be blanked out (`maskyolo convert --map unclear=ignore`).
The source set, with `images/` and `annotations/`, is not changed.
"""

from __future__ import annotations

import argparse
import csv
import shutil
from collections import defaultdict
from pathlib import Path

from maskyolo.core.files import read_image_list, write_atomic
from maskyolo.core.images import read_image
from maskyolo.dataset.formats.voc import format_voc, parse_voc

COLUMNS = ("image", "x1", "y1", "x2", "y2", "class")
CLASSES = ("with_mask", "without_mask", "unclear")


def read_corrections(table: Path) -> dict[str, list[tuple[str, list[float]]]]:
    """Return class and box (xyxy pixels) of each added face, by image name."""
    added = defaultdict(list)
    with table.open(newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.DictReader(file), start=2):
            if set(COLUMNS) - set(row) or row["class"] not in CLASSES:
                raise SystemExit(
                    f"{table}, line {number}: expected the columns {', '.join(COLUMNS)} and a"
                    f" class of {', '.join(CLASSES)}, found {row.get('class')!r}"
                )
            added[row["image"]].append((row["class"], [float(row[key]) for key in COLUMNS[1:5]]))
    return dict(added)


def main() -> None:
    """Parse the arguments, and copy the listed images with their completed annotations."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="folder with images/ and annotations/")
    parser.add_argument("corrections", type=Path, help="table of added faces")
    parser.add_argument("--list", type=Path, required=True, help="names of the images to copy")
    parser.add_argument("--out", type=Path, required=True, help="output folder; must not exist")
    given = parser.parse_args()
    added = read_corrections(given.corrections)
    names = [Path(line).name for line in read_image_list(given.list)]
    if strangers := sorted(set(added) - set(names)):
        raise SystemExit(
            f"{given.corrections}: {len(strangers)} images are not in {given.list}, such as"
            f" {strangers[0]}; the corrections of a test photo must not be learned from"
        )
    for folder in ("images", "annotations"):
        (given.out / folder).mkdir(parents=True)
    count = 0
    for name in names:
        path = given.source / "images" / name
        place = given.source / "annotations" / f"{path.stem}.xml"
        found = parse_voc(place.read_bytes(), str(place))
        height, width = read_image(path).shape[:2]
        faces = added.get(name, [])
        count += len(faces)
        text = format_voc(
            name,
            width,
            height,
            [*found.names, *(kind for kind, _ in faces)],
            [*found.boxes.tolist(), *(box for _, box in faces)],
            "images",
        )
        shutil.copyfile(path, given.out / "images" / name)
        write_atomic(given.out / "annotations" / f"{path.stem}.xml", text)
    print(f"{given.out}: {len(names)} images, {count} faces added")


if __name__ == "__main__":
    main()
