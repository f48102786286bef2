"""The images that int8 is calibrated and measured on, each decoded once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from maskyolo.core.images import ImageArray, list_images, read_image
from maskyolo.core.item_errors import ItemErrors
from maskyolo.dataset.layout import load_dataset
from maskyolo.errors import DatasetError

__all__ = ["CALIBRATION", "ReadableImages", "find_calibration_images"]

#: Maximum number of images to calibrate int8 on: NNCF's default.
CALIBRATION = 300
#: Maximum bytes of decoded images that are kept in memory: about 500 photos of 640 x 480.
_KEPT_BYTES = 500_000_000


def find_calibration_images(images: Path | str | None, data: Path | str | None) -> list[Path]:
    """Return up to `CALIBRATION` images, evenly spaced over all of them."""
    if images is not None:
        if not Path(images).is_dir():
            raise DatasetError(f"no folder {images}", "check --images")
        found = list_images(Path(images))
    elif data is not None:
        dataset = load_dataset(data)
        found = dataset.images("train" if "train" in dataset.splits else next(iter(dataset.splits)))
    else:
        raise DatasetError(
            "cannot export in int8 without images to measure its ranges on",
            "give a folder of your own images with --images",
        )
    if not found:
        raise DatasetError(
            f"no images in {images or data}", "give a folder of your own images with --images"
        )
    places = np.linspace(0, len(found) - 1, min(len(found), CALIBRATION)).round().astype(int)
    return [found[place] for place in places]


class DecodedImages:
    """Reads images, and keeps up to `_KEPT_BYTES` of them in memory.

    The same images may serve for calibration, which reads them several times, and for measuring
    accuracy.
    """

    def __init__(self) -> None:
        self._kept: dict[Path, ImageArray] = {}
        self._free = _KEPT_BYTES

    def read(self, path: Path) -> ImageArray:
        """Return an image, BGR uint8 (H, W, 3); see `read_image` for errors."""
        if path in self._kept:
            return self._kept[path]
        image = read_image(path)
        if image.nbytes <= self._free:
            self._kept[path] = image
            self._free -= image.nbytes
        return image


class ReadableImages:
    """The readable images of a list; each iteration starts from the beginning.

    What cannot be read is left out, and logged as a warning once.
    """

    def __init__(self, paths: Sequence[Path], read: Callable[[Path], ImageArray]) -> None:
        self.paths, self.read = paths, read
        self._reported: set[Path] = set()

    def __iter__(self) -> Iterator[ImageArray]:
        for path in self.paths:
            try:
                image = self.read(path)
            except Exception as error:  # noqa: BLE001  any error of one image is that image's
                explained = ItemErrors().explain(str(path), error)
                if path not in self._reported:
                    self._reported.add(path)
                    logging.getLogger("maskyolo").warning("%s", explained)
                continue
            yield image
