"""A data set on disk: `data.yaml`, `ledger.csv`, `images/{train,val,test}`, `labels/...`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from maskyolo.core.classes import CLASS_NAMES, SPLITS
from maskyolo.core.files import read_image_list
from maskyolo.core.images import list_images
from maskyolo.errors import DatasetError

__all__ = ["Dataset", "format_data_yaml", "load_dataset"]


@dataclass(frozen=True)
class Dataset:
    """A data set on disk, found through its `data.yaml`.

    Attributes:
        yaml: path of the `data.yaml`.
        root: the folder that contains `images` and `labels`.
        names: class names by id.
        splits: by split, its folder of images or its list file.
    """

    yaml: Path
    root: Path
    names: tuple[str, ...]
    splits: dict[str, Path]

    def images(self, split: str) -> list[Path]:
        """Return the images of a split, sorted if from a folder, in order if from a list file.

        Raises:
            DatasetError: the set has no such split, or its list cannot be read.
        """
        if split not in self.splits:
            raise DatasetError(
                f"{self.yaml} has no split '{split}'", f"choose one of {', '.join(self.splits)}"
            )
        place = self.splits[split]
        if not place.is_file():
            return list_images(place)
        return [_joined(self.root, name) for name in read_image_list(place)]

    @staticmethod
    def label_of(image: Path) -> Path:
        """Return the label file of an image.

        The last folder named `images` in its path becomes `labels`, and its suffix `.txt`.
        """
        parts = list(image.parts)
        for place in range(len(parts) - 2, -1, -1):
            if parts[place] == "images":
                parts[place] = "labels"
                break
        return Path(*parts).with_suffix(".txt")


def format_data_yaml(root: Path, splits: Sequence[str], names: Sequence[str] = CLASS_NAMES) -> str:
    """Return the text of the `data.yaml` of a set in the folder `root`.

    `path` is absolute, because Ultralytics does not resolve it against the file's folder.
    """
    content = (
        {"path": str(root.absolute())}
        | {split: f"images/{split}" for split in splits}
        | {"names": dict(enumerate(names))}
    )
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def load_dataset(data: Path | str) -> Dataset:
    """Load a `data.yaml`, given as a file or its folder, and check that the folders in it exist.

    Raises:
        DatasetError: no such file, not YAML, no `names` or `train`, classes not numbered from 0, or
            a folder is missing.
    """
    path = Path(data)
    path = path / "data.yaml" if path.is_dir() else path
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise DatasetError(
            f"no data set at {data}: {path} does not exist",
            "create one with `maskyolo convert FOLDER --out DIR`",
        ) from None
    except (OSError, yaml.YAMLError, ValueError) as error:  # ValueError: an invalid date
        raise DatasetError(
            f"cannot read data set {path}: {' '.join(str(error).split())}", "correct the file"
        ) from error
    if not isinstance(content, dict) or not content.get("names"):
        raise DatasetError(
            f"{path} is not a data set: it names no classes",
            "add `names`, `train` and `val` to it",
        )
    names = _class_names(content["names"], path)
    root = (path.parent.absolute() / str(content.get("path") or ".")).resolve()
    if not root.is_dir():  # the set was moved or copied, so use the folder it is in now
        root = path.parent.resolve()
    splits = {
        split: _place_of(path, root, split, content[split])
        for split in SPLITS
        if content.get(split)
    }
    if "train" not in splits:
        raise DatasetError(f"{path} names no `train` images", "add the line `train: images/train`")
    return Dataset(yaml=path.absolute(), root=root, names=names, splits=splits)


def _place_of(path: Path, root: Path, split: str, entry: Any) -> Path:
    """Return the folder or list file of a split in the `data.yaml` at `path`."""
    if not isinstance(entry, str):
        raise DatasetError(
            f"{path}: `{split}` must be one folder or list file, found {entry}", "correct it"
        )
    place = _joined(root, entry)
    if not place.exists():
        raise DatasetError(
            f"{path}: the {split} images are not at {place}", f"correct `path` or `{split}` in it"
        )
    return place


def _class_names(names: Any, path: Path) -> tuple[str, ...]:
    """Return the classes in a `data.yaml`, a list or a mapping by class id, ordered by id."""
    try:
        numbered = {
            int(number): str(name)
            for number, name in (
                names.items() if isinstance(names, dict) else enumerate(list(names))
            )
        }
    except (TypeError, ValueError):
        numbered = {}
    if isinstance(names, str) or sorted(numbered) != list(range(len(numbered))) or not numbered:
        raise DatasetError(
            f"{path}: `names` must be a list or number its classes from 0, found {names}",
            "correct it",
        )
    return tuple(numbered[number] for number in range(len(numbered)))


def _joined(root: Path, entry: str) -> Path:
    """Return `root / entry` without `..`, and without following links.

    Labels are next to a link, not next to its target.
    """
    return Path(os.path.normpath(root / entry))
