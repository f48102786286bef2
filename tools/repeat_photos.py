"""Adds copies of some training photos to a data set, so that a training sees them more often.

    python tools/repeat_photos.py data/all --names 'maksssksksss' --times 4

The copies are hard links where the disk allows it. They go into the data set itself, as
`NAME-copy1.jpg` and so on, with copies of their labels.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
from pathlib import Path

from maskyolo.core.images import list_images

COPY = re.compile(r"-copy\d+$")


def link(source: Path, copy: Path) -> None:
    """Make a hard link, or a copy where the disk has no hard links."""
    copy.unlink(missing_ok=True)
    try:
        os.link(source, copy)
    except OSError:
        shutil.copyfile(source, copy)


def main() -> None:
    """Parse the arguments and add the copies."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the data set")
    parser.add_argument("--names", required=True, help="regular expression of the photos' names")
    parser.add_argument("--times", type=int, default=2, help="how often each photo shall occur")
    given = parser.parse_args()
    images, labels = given.data / "images" / "train", given.data / "labels" / "train"
    chosen = [
        path
        for path in list_images(images)
        if re.search(given.names, path.stem) and not COPY.search(path.stem)
    ]
    for path in chosen:
        for number in range(1, given.times):
            link(path, path.with_name(f"{path.stem}-copy{number}{path.suffix}"))
            link(labels / f"{path.stem}.txt", labels / f"{path.stem}-copy{number}.txt")
    print(f"{images}: {len(chosen)} photos, each {given.times} times")


if __name__ == "__main__":
    main()
