"""Find the label file of an image in any of the layouts that tools write."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from maskyolo.core.files import walk_files
from maskyolo.core.images import IMAGE_SUFFIXES
from maskyolo.core.label_rows import looks_like_rows

__all__ = ["LabelFinder", "canonical_label", "has_rows"]

#: Names of folders with label files, in lower case.
_FOLDERS = ("labels", "label", "annotations", "annotation", "txt")
_IMAGES = re.compile(r"jpegimages|images?|imgs?|photos?|pictures?|frames?", re.IGNORECASE)


def canonical_label(image: Path) -> Path:
    """Return where our own sets and Ultralytics have the label file of an image.

    The last folder named `images` in its path becomes `labels`, and its suffix `.txt`.
    """
    parts = list(image.parts)
    for place in range(len(parts) - 2, -1, -1):
        if parts[place] == "images":
            parts[place] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


class LabelFinder:
    """Finds label files by the image's name without suffix.

    It is looked for where Ultralytics expects it, beside the image, in a folder `labels` next to
    the image, then in a folder `labels` in the place of any folder above it (`imgs/train` and
    `labels/train`, `train_images` and `train_labels`). Case and Unicode composition do not matter.
    Nothing above `root` is searched for images that are in it. If no image of a folder has a label
    in any of these places, any folder below `root` may have them (`pics/a.jpg` and `boxes/a.txt`),
    provided that the names leave only one possibility.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._found: dict[Path, tuple[dict[str, Path], dict[str, str]]] = {}
        self._places: dict[Path, list[Path]] = {}
        self._unlabeled: dict[Path, bool] = {}
        self._everywhere: tuple[dict[str, list[Path]], dict[str, list[Path]]] | None = None

    def find(self, image: Path) -> Path | None:
        """Return the label file of an image; None if there is none."""
        folder = image.parent
        if folder not in self._places:
            self._places[folder] = [place for place in self._folders(image) if self._in(place)]
        for place in self._places[folder]:
            files = self._in(place)
            found = files.get(_folded(image.stem)) or files.get(_folded(image.name))
            if found:
                return found
        return self._find_elsewhere(image)

    def _find_elsewhere(self, image: Path) -> Path | None:
        """Return the only label below the root that can belong to an image; else None."""
        folder = image.parent
        if folder not in self._unlabeled:
            stems = {_folded(path.stem) for path in _images_in(folder)}
            self._unlabeled[folder] = not any(
                stems & self._in(place).keys() for place in self._places[folder]
            )
        if not self._unlabeled[folder] or not image.is_relative_to(self._root):
            return None
        if self._everywhere is None:
            self._everywhere = self._list_everywhere()
        labels, images = (kind.get(_folded(image.stem), []) for kind in self._everywhere)
        if len(labels) != len(images):
            return None
        # several images of one name, as in train and val, are told apart by their folders
        folders = set(image.relative_to(self._root).parts[:-1])
        shared = [len(folders & set(path.relative_to(self._root).parts[:-1])) for path in labels]
        best = [path for path, count in zip(labels, shared, strict=True) if count == max(shared)]
        return best[0] if len(best) == 1 and has_rows(best[0]) else None

    def _list_everywhere(self) -> tuple[dict[str, list[Path]], dict[str, list[Path]]]:
        """Return the text files and the images below the root by their names without suffix."""
        labels: dict[str, list[Path]] = defaultdict(list)
        images: dict[str, list[Path]] = defaultdict(list)
        for path in walk_files(self._root, lambda *_: None):
            suffix = path.suffix.lower()
            if suffix == ".txt":
                labels[_folded(path.stem)].append(path)
            elif suffix in IMAGE_SUFFIXES:
                images[_folded(path.stem)].append(path)
        return labels, images

    def _folders(self, image: Path) -> Iterator[Path]:
        yield canonical_label(image).parent
        yield image.parent
        yield from self._label_folders(image.parent)
        inner: tuple[str, ...] = ()
        folder = image.parent
        while folder not in (self._root, folder.parent) and len(inner) < 4:
            for place in self._label_folders(folder.parent, folder.name):
                yield place.joinpath(*inner)
            inner = (folder.name, *inner)
            folder = folder.parent

    def _label_folders(self, folder: Path, images: str = "") -> Iterator[Path]:
        """List the folders with labels in a folder, for the images in its folder `images`."""
        names = self._folder_names(folder)
        wanted = [_IMAGES.sub("labels", images).lower(), f"{images}_labels".lower()]
        for name in dict.fromkeys((*wanted, *_FOLDERS)):
            if name in names and names[name] != images:
                yield folder / names[name]

    def _in(self, folder: Path) -> dict[str, Path]:
        """Return the label files in a folder by their names without suffix."""
        return self._scan(folder)[0]

    def _folder_names(self, folder: Path) -> dict[str, str]:
        """Return the names of the folders in a folder, by their names in lower case."""
        return self._scan(folder)[1]

    def _scan(self, folder: Path) -> tuple[dict[str, Path], dict[str, str]]:
        if folder not in self._found:
            try:
                entries = sorted(os.scandir(folder), key=lambda entry: entry.name, reverse=True)
            except OSError:
                entries = []
            labels = {
                _folded(entry.name[:-4]): folder / entry.name
                for entry in entries
                if entry.name.lower().endswith(".txt")
            }
            # Label Studio encodes the names of labels, but not those of images
            for name, label in list(labels.items()):
                labels.setdefault(_folded(unquote(name)), label)
            folders = {entry.name.lower(): entry.name for entry in entries if entry.is_dir()}
            self._found[folder] = labels, folders
        return self._found[folder]


def _images_in(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES]
    except OSError:
        return []


def has_rows(path: Path) -> bool:
    """Return whether a text file begins like a label file."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            return looks_like_rows(file.read(10_000))
    except OSError:
        return False


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
