"""Crops `data/samples/folders/{with_mask,without_mask}/` from the Kaggle photos.

The coordinates are in `data/samples/folders.csv`.

Run it in the repository's root with the folder of the photos:
`python tools/make_sample_folders.py kaggle853/images`.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from PIL import Image

FOLDERS = Path(__file__).resolve().parent.parent / "data" / "samples" / "folders"


def main(photos: Path) -> None:
    """Crop each row's view, in pixels of the photo, and scale its longer side to `longest`."""
    with (FOLDERS.with_suffix(".csv")).open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            photo = Image.open(photos / row["photo"]).convert("RGB")
            crop = photo.crop(tuple(int(row[side]) for side in ("left", "top", "right", "bottom")))
            crop.thumbnail((int(row["longest"]),) * 2, Image.Resampling.LANCZOS)
            target = FOLDERS / row["file"]
            target.parent.mkdir(exist_ok=True)
            crop.save(target, quality=90)
            print(
                f"{row['file']}: {crop.width}x{crop.height}, {target.stat().st_size / 1000:.0f} kB"
            )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
