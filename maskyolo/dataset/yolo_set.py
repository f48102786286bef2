"""A YOLO set as its files describe it: class names, images by split, and label files."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PureWindowsPath
from typing import Any

from maskyolo.core.files import read_image_list
from maskyolo.core.images import IMAGE_SUFFIXES, list_images
from maskyolo.core.label_rows import LabelRows, UndecidedRowError, parse_rows, tails_of
from maskyolo.core.parsing import load_yaml, read_text
from maskyolo.dataset.class_lists import (
    KNOWN_LISTS,
    ClassLists,
    is_class_list,
    names_by_id,
    read_darknet_data,
)
from maskyolo.dataset.label_files import LabelFinder
from maskyolo.dataset.split_names import REST, split_of, split_of_name
from maskyolo.errors import DatasetError

__all__ = ["YoloSet", "describe_folder", "describe_yaml", "find_yaml"]

#: Maximum length of a path in a list.
_MAX_LINE = 10_000
_SPLIT_KEYS = (
    ("train", "train"),
    ("val", "val"),
    ("valid", "val"),
    ("validation", "val"),
    ("test", "test"),
    (REST, ""),
)


@dataclass(frozen=True)
class YoloSet:
    """A YOLO set.

    Attributes:
        source: its `data.yaml`, or its folder if it has none.
        root: the folder that the names of its images are relative to.
        home: the `path` in its `data.yaml`, if it exists; else `root`.
        splits: folders, list files and images by split; the split is empty for images in none.
        classes: its class names.
        keypoints: whether keypoints follow the boxes in its label files.
        missing: an error for each split in its `data.yaml` whose images do not exist.
    """

    source: Path
    root: Path
    home: Path
    splits: Mapping[str, tuple[Path, ...]]
    classes: ClassLists
    keypoints: bool = False
    missing: Mapping[str, DatasetError] = field(default_factory=dict)
    _tails: list[frozenset[bool]] = field(default_factory=list)

    @cached_property
    def finder(self) -> LabelFinder:
        """Finds the label files of its images."""
        return LabelFinder(self.root)

    def check_split(self, split: str) -> None:
        """Check that the set has a split.

        Raises:
            DatasetError: it does not, or the images of the split do not exist.
        """
        if split in self.missing:
            raise self.missing[split]
        if split not in self.splits:
            named = ", ".join(filter(None, self.splits))
            raise DatasetError(f"{self.source} has no split '{split}'", f"choose one of {named}")

    def images(self, split: str) -> list[Path]:
        """Return the images of a split, including those in list files that do not exist."""
        found = [image for place in self.splits[split] for image in self._images_at(place)]
        return list(dict.fromkeys(found))

    def splits_by_image(self) -> dict[Path, str]:
        """Return the split of each image; the first one if it is in several."""
        found: dict[Path, str] = {}
        for split in self.splits:
            for image in self.images(split):
                found.setdefault(image, split)
        return found

    def read_rows(self, image: Path, name: str = "") -> LabelRows:
        """Read the label file of an image; without one, it has no rows.

        Args:
            image: the image.
            name: what error messages call the file; by default its path.

        Raises:
            DatasetError: the label file cannot be read.
        """
        label = self.finder.find(image)
        if label is None:
            return parse_rows("")
        if not label.is_file():  # a broken link does not mean "no faces"
            raise DatasetError(
                f"its label {name or label} is not a file",
                "fix it, or remove it if there are no faces",
            )
        try:
            text = read_text(label)
        except (OSError, ValueError) as error:
            raise DatasetError(f"cannot read {name or label}: {error}", "check the file") from error
        return self.parse(text, name or str(label))

    def parse(self, text: str, name: str) -> LabelRows:
        """Parse the text of one of the set's label files; see `parse_rows`."""
        try:
            return parse_rows(text, name, self.keypoints)
        except UndecidedRowError:
            return parse_rows(text, name, self.keypoints, self._all_tails())

    def _images_at(self, place: Path) -> Iterator[Path]:
        if place.is_dir():
            yield from list_images(place)
        elif place.suffix.lower() in IMAGE_SUFFIXES:
            yield place
        else:
            for name in read_image_list(place):
                found = resolve(name, (place.parent, self.home, self.root))
                yield found or place.parent / name

    def _all_tails(self) -> frozenset[bool]:
        """Return what the long rows in all label files of the set end with."""
        if not self._tails:
            found: set[bool] = set()
            for image in self.splits_by_image():
                label = self.finder.find(image)
                if label and label.is_file():
                    with contextlib.suppress(OSError, ValueError):  # reported where it is read
                        found |= tails_of(read_text(label))
            self._tails.append(frozenset(found))
        return self._tails[0]


def find_yaml(folder: Path) -> Path | None:
    """Return the YAML file in a folder that describes a set, preferably `data.yaml`.

    If there is none, a damaged `data.yaml` is returned, so that its error is reported.
    """
    damaged = None
    for path in (
        folder / "data.yaml",
        *sorted(folder.glob("*.yaml")),
        *sorted(folder.glob("*.yml")),
    ):
        try:
            content = load_yaml(path, booleans=False) if path.is_file() else None
        except DatasetError:
            damaged = path if path.name == "data.yaml" else damaged
            continue
        if isinstance(content, dict) and (
            content.get("names") or {"train", "nc"} <= content.keys()
        ):
            return path
    return damaged


def describe_yaml(path: Path) -> YoloSet:
    """Read a `data.yaml` of Ultralytics, Roboflow, CVAT or others.

    Names may be a list or a mapping, in any order, and splits may be folders, list files, or lists
    of both. Paths that do not exist, such as those of another machine or relative to another
    folder, are looked for below the file. If it has no names, a class list in its folder is used.
    A split without its folder is `missing`: Roboflow names `test` even if an export has none.

    Raises:
        DatasetError: it cannot be read, or has no names, or a part of a split, or all of them do
            not exist.
    """
    content = load_yaml(path, booleans=False)
    names = content.get("names") if isinstance(content, dict) else None
    base = path.parent.resolve()
    if not isinstance(content, dict):
        raise _no_names(path)
    if names and names_by_id(names) is None:
        raise DatasetError(
            f"{path}: `names` must be a list or number its classes from 0, found {names}",
            "correct it",
        )
    home = resolve(str(content.get("path") or "."), (base,)) or base
    home = home if home.is_dir() else base
    splits, missing = _splits_of(content, path, (home, base))
    folders = {base, home, *(place for places in splits.values() for place in places)}
    classes = ClassLists.among(_beside(folders), names_by_id(names))
    if not classes:
        raise _no_names(path)
    return YoloSet(
        path,
        base,
        home,
        {split: tuple(places) for split, places in splits.items()},
        classes,
        keypoints=bool(content.get("kpt_shape")),
        missing=missing,
    )


def describe_folder(source: Path, files: Sequence[Path]) -> YoloSet:
    """Read a folder without a `data.yaml`, such as those of Darknet, CVAT and labelImg.

    Splits come from the lists in Darknet's `obj.data`, or lists such as `train.txt` and `valid.txt`
    in the folder, or else from the names of its folders.

    Args:
        source: the folder.
        files: all files in it.
    """
    images = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    splits: dict[str, list[Path]] = {}
    lists = _list_files(source, files)
    if lists:
        for split, path in lists:
            splits.setdefault(split, []).append(path)
        splits.setdefault("", []).extend(images)
    else:
        for image in images:
            split = split_of(image.relative_to(source).as_posix())
            splits.setdefault(split, []).append(image)
    order = ("train", "val", "test", "")
    found = {split: tuple(splits[split]) for split in order if split in splits}
    return YoloSet(source, source, source, found, ClassLists.among(files))


def resolve(entry: str, bases: Sequence[Path]) -> Path | None:
    """Return the existing path that `entry` refers to, or None.

    It may be absolute or relative to one of the folders. A path from another machine is matched by
    its last parts. One that starts with `..` is first looked for in the folders themselves, as
    Roboflow's exports mean it.
    """
    places = [base / entry for base in bases]
    if entry.startswith(("../", "..\\")):
        places = [base / entry[3:] for base in bases] + places
    for place in places:
        if _is_there(place):
            # Do not resolve links: labels are next to the link, not next to its target.
            return Path(os.path.normpath(place))
    parts = [
        part
        for part in PureWindowsPath(entry).parts
        if part not in ("..", ".") and not part.endswith(("\\", "/"))
    ]
    ends = (base.joinpath(*parts[start:]) for start in range(len(parts)) for base in bases)
    return next((Path(os.path.normpath(end)) for end in ends if _is_there(end)), None)


def _splits_of(
    content: Mapping[str, Any], path: Path, bases: Sequence[Path]
) -> tuple[dict[str, list[Path]], dict[str, DatasetError]]:
    """Return the places of each split of a `data.yaml`, and an error for each without any."""
    splits: dict[str, list[Path]] = {}
    missing: dict[str, DatasetError] = {}
    for key, split in _SPLIT_KEYS:
        entries = content.get(key) or []
        entries = entries if isinstance(entries, list) else [entries]
        places = [_place_of(path, key, entry, bases) for entry in entries]
        absent = [place for place in places if isinstance(place, DatasetError)]
        if absent and len(absent) < len(places):
            raise absent[0]
        if absent:
            missing[split] = absent[0]
        elif places:
            splits.setdefault(split, []).extend(p for p in places if isinstance(p, Path))
    if missing and not splits:
        raise next(iter(missing.values()))
    return splits, {split: error for split, error in missing.items() if split not in splits}


def _place_of(path: Path, key: str, entry: Any, bases: Sequence[Path]) -> Path | DatasetError:
    """Return the folder, list file or image that an entry of the `data.yaml` at `path` names.

    An error is returned if it does not exist, and raised if it is no path.
    """
    if not isinstance(entry, str):
        raise DatasetError(f"{path}: `{key}` must be a path or a list of paths", "correct it")
    place = resolve(entry, bases)
    return place or DatasetError(
        f"{path}: the {key} images were not found at {entry}", f"correct `path` or `{key}` in it"
    )


def _no_names(path: Path) -> DatasetError:
    return DatasetError(
        f"{path} is not a data set: it has no class names, and there is no class list next to it",
        f"add `names` to it, in the order of the class ids, or one of {KNOWN_LISTS}",
    )


def _beside(folders: Iterable[Path]) -> list[Path]:
    """Return the files in folders, and in the folders above and beside them."""
    near = {path for folder in folders for path in (folder, folder.parent / "labels")}
    near |= {folder.parent for folder in near if folder.name.lower() in ("images", "labels")}
    return sorted({path for folder in near if folder.is_dir() for path in folder.iterdir()})


def _is_there(path: Path) -> bool:
    return os.path.exists(path)  # noqa: PTH110  # Path.exists raises OSError if the name is too long


def _list_files(source: Path, files: Sequence[Path]) -> list[tuple[str, Path]]:
    """Return the lists of images in a folder, each with its split."""
    for path in files:
        if path.suffix.lower() == ".data":
            settings = read_darknet_data(path)
            named = [
                (split, resolve(settings[key], (path.parent, source)))
                for key, split in _SPLIT_KEYS
                if key in settings
            ]
            found = [(split, place) for split, place in named if place and place.is_file()]
            if found:
                return found
    lists = []
    for path in files:
        split = split_of_name(path.stem)
        if path.suffix.lower() == ".txt" and split is not None and not is_class_list(path):
            with path.open(encoding="utf-8-sig", errors="replace") as file:
                first = file.readline(_MAX_LINE).strip()
            if PureWindowsPath(first).suffix.lower() in IMAGE_SUFFIXES:
                lists.append((split, path))
    return lists
