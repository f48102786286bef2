"""Records which photos a packaged model was trained on, for the warnings of `val` and `compare`.

    python tools/hash_training_photos.py maskyolo-n-folders PHOTOS/with_mask PHOTOS/without_mask
    python tools/hash_training_photos.py maskyolo-n PHOTOS/with_mask PHOTOS/without_mask train.txt

A folder stands for all images in it, and a text file for the images that it lists, relative to its
folder. The hashes go to `maskyolo/weights/NAME.photos.txt`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from maskyolo.core.files import package_folder, read_image_list
from maskyolo.core.images import list_images
from maskyolo.dataset.photo_hashes import hash_photos, save_hashes


def main() -> None:
    """Parse the arguments, hash the photos and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="name of the model")
    parser.add_argument("photos", nargs="+", type=Path, help="folders of photos, or lists of them")
    given = parser.parse_args()
    photos: list[Path] = []
    for place in given.photos:
        if place.is_dir():
            photos += list_images(place)
        else:
            photos += [place.parent / line for line in read_image_list(place)]
    hashes = hash_photos(photos)
    path = save_hashes(package_folder() / "weights" / f"{given.name}.onnx", hashes)
    print(f"{path}: {len(hashes)} hashes of {len(photos)} photos")


if __name__ == "__main__":
    main()
