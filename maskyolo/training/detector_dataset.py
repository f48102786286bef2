"""Reads a data set with Ultralytics, without the files that Ultralytics keeps in it.

This module imports Ultralytics, so it is itself imported only when needed.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from ultralytics.data import build, dataset, utils
from ultralytics.models.yolo.detect import DetectionValidator

from maskyolo.models.ultralytics import replaced

__all__ = ["DetectorValidation", "decoded_images", "own_dataset"]

#: Number of images from which the disk space of all decoded images is estimated.
_SAMPLED = 30


def own_dataset(run: Path) -> AbstractContextManager[None]:
    """Make Ultralytics build `_OwnDataset` in this context.

    Args:
        run: the run's folder.
    """
    return replaced(build, YOLODataset=functools.partial(_OwnDataset, decoded=_decoded(run)))


@contextmanager
def decoded_images(run: Path) -> Iterator[None]:
    """Provide an empty folder for decoded images (`--cache disk`) and delete it afterwards."""
    _delete(_decoded(run))
    _decoded(run).mkdir()
    try:
        yield
    finally:
        _delete(_decoded(run))


class DetectorValidation(DetectionValidator):  # type: ignore[misc]
    """Ultralytics' validation, which reads the data set as the training does."""

    def build_dataset(self, *args: Any, **kwargs: Any) -> Any:
        """Build the data set of a split."""
        with own_dataset(self.save_dir):
            return super().build_dataset(*args, **kwargs)


class _OwnDataset(dataset.YOLODataset):  # type: ignore[misc]
    """Ultralytics' data set, which only reads the folders of the images and labels.

    Ultralytics itself would unpickle `labels/train.cache`, which can run any code, use `.npy` files
    next to images instead of the images, and delete them if they are damaged. It would also write
    both kinds of files, and replace JPEG files without an end marker.

    Args:
        decoded: folder for decoded images.
    """

    def __init__(self, *args: Any, decoded: Path, **kwargs: Any) -> None:
        self._decoded = decoded
        super().__init__(*args, **kwargs)

    @property
    def npy_files(self) -> list[Path]:
        """The files of decoded images, one per image; they exist only with `--cache disk`."""
        return self._npy_files

    @npy_files.setter
    def npy_files(self, beside: list[Path]) -> None:
        names = (hashlib.sha256(os.fsencode(path)).hexdigest() for path in beside)
        self._npy_files = [self._decoded / f"{name}.npy" for name in names]

    def get_labels(self) -> list[dict[str, Any]]:
        """Read all labels, and the sizes of the images."""
        with (
            replaced(
                dataset, load_dataset_cache_file=_no_cache, save_dataset_cache_file=_save_nothing
            ),
            replaced(utils, _replace_image=_replace_nothing),
        ):
            labels: list[dict[str, Any]] = super().get_labels()
        return labels

    def check_cache_disk(self, safety_margin: float = 0.1) -> bool:
        """Return whether the decoded images fit on the disk of the run's folder."""
        places = range(0, self.ni, max(self.ni // _SAMPLED, 1))
        sampled = sum(int(self.load_image(place)[0].nbytes) for place in places)
        needed = sampled / len(places) * int(self.ni)
        fits: bool = needed * (1 + safety_margin) < shutil.disk_usage(self._decoded).free
        if not fits:
            self.cache = None
        return fits


def _decoded(run: Path) -> Path:
    return run / "decoded"


def _delete(folder: Path) -> None:
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder, ignore_errors=True)


def _no_cache(path: Path) -> Any:
    raise FileNotFoundError(path)


def _save_nothing(_prefix: str, _path: Path, labels: dict[str, Any], version: str) -> None:
    labels["version"] = version  # expected by the caller


def _replace_nothing(*_: Any) -> None:
    pass
