"""The names of a YOLO set's classes by id, from the files that tools write them to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Any

from maskyolo.core.parsing import load_json, load_yaml, read_text
from maskyolo.errors import DatasetError

__all__ = [
    "KNOWN_LISTS",
    "ClassLists",
    "is_class_list",
    "lists_above",
    "names_by_id",
    "read_darknet_data",
]

#: The files that name classes, for messages.
KNOWN_LISTS = "classes.txt, obj.names, obj.data, _darknet.labels or notes.json"

_FILES = frozenset(
    {
        "data.yaml",
        "notes.json",
        "classes.txt",
        "_classes.txt",
        "predefined_classes.txt",
        "_darknet.labels",
        "darknet.labels",
    }
)
#: A list of classes is short; a larger file is another one of that name.
_MAX_BYTES = 1_000_000


def names_by_id(names: Any) -> dict[int, str] | None:
    """Return the classes in the `names` of a `data.yaml`, a list or a mapping by id.

    None if it is neither, or empty, or an id is not a whole number, or a name is not a text.
    """
    if not isinstance(names, (list, dict)) or not names:
        return None
    pairs = list(names.items() if isinstance(names, dict) else enumerate(names))
    if any(isinstance(name, (list, dict)) for _, name in pairs):
        return None
    try:
        return {int(number): str(name) for number, name in pairs}
    except (TypeError, ValueError):
        return None


def is_class_list(path: Path) -> bool:
    """Return whether a file names classes, by its own name."""
    name = path.name.lower()
    return name in _FILES or path.suffix.lower() in (".names", ".data")


@dataclass
class ClassLists:
    """The class lists of a set, by folder.

    Two teams may have labeled parts of a set with their classes in different orders, so the list
    nearest to a label file names its classes. A list that is not in any folder above the label
    counts if it is the only one.

    Attributes:
        named: class names by id for the whole set, from its `data.yaml`; they take precedence.
        by_folder: the class list of each folder that has one.
        files: the files of these lists.
    """

    named: Mapping[int, str] | None = None
    by_folder: dict[Path, dict[int, str]] = field(default_factory=dict)
    files: dict[Path, Path] = field(default_factory=dict)

    @classmethod
    def among(cls, files: Iterable[Path], named: Mapping[int, str] | None = None) -> ClassLists:
        """Read all class lists among the files of a set."""
        found = cls(named)
        # obj.data names the list, so it takes precedence; the others have the same rank
        for path in sorted(files, key=lambda path: (path.suffix.lower() != ".data", path)):
            if is_class_list(path) and path.parent not in found.by_folder:
                names = _read_list(path)
                if names:
                    found.by_folder[path.parent] = names
                    found.files[path.parent] = path
        return found

    def __bool__(self) -> bool:
        return bool(self.named or self.by_folder)

    def names_for(self, *files: Path) -> Mapping[int, str]:
        """Return the classes by id for the first of these files that has a list above it."""
        if self.named is not None:
            return self.named
        if not self.by_folder:
            return {}
        for file in files:
            for folder in file.parents:
                if folder in self.by_folder:
                    return self.by_folder[folder]
        lists = list(self.by_folder.values())
        return lists[0] if all(names == lists[0] for names in lists) else {}

    def contradiction(self) -> str:
        """Return how a class list contradicts the names of the `data.yaml`; empty if none does."""
        for folder, names in self.by_folder.items():
            for number, name in (self.named or {}).items():
                other = names.get(number, name)
                if other.casefold() != name.casefold():
                    return (
                        f"{self.files[folder]} calls class {number} '{other}', and the data.yaml, "
                        f"which was used, calls it '{name}'"
                    )
        return ""


def lists_above(labels: Path, images: Path) -> ClassLists:
    """Read the class lists in a folder of labels, in one of images, and above both.

    Args:
        labels: the folder of labels.
        images: the folder of images.
    """
    labels, images = labels.absolute(), images.absolute()
    common = {*labels.parents, labels} & {*images.parents, images}
    top = max(common, key=lambda folder: len(folder.parts), default=labels)
    places = [labels, images, *labels.parents, *images.parents]
    top = top.parent if top in (labels, images) else top
    found = [
        path
        for folder in dict.fromkeys(places)
        if folder.is_relative_to(top)
        for path in _files_in(folder)
        if is_class_list(path)
    ]
    return ClassLists.among(found)


def read_darknet_data(path: Path) -> dict[str, str]:
    """Return the settings in Darknet's `obj.data`, such as `train` and `names`, by key."""
    pairs = (line.partition("=") for line in _text_of(path).splitlines() if "=" in line)
    return {key.strip().lower(): value.strip() for key, _, value in pairs if value.strip()}


def _read_list(path: Path) -> dict[int, str]:
    if path.name.lower() == "notes.json":
        return _categories(path)
    if path.suffix.lower() == ".yaml":
        try:
            content = load_yaml(path, booleans=False)
        except DatasetError:
            return {}
        return names_by_id(content.get("names") if isinstance(content, dict) else None) or {}
    if path.suffix.lower() == ".data":
        named = PureWindowsPath(read_darknet_data(path).get("names", "")).name
        if not named:
            return {}
        places = (path.parent, *(entry for entry in _folders_in(path.parent)))
        path = next((place / named for place in places if (place / named).is_file()), Path())
        if not path.name:
            return {}
    lines = (line.strip() for line in _text_of(path).splitlines())
    return dict(enumerate(line for line in lines if line))


def _categories(path: Path) -> dict[int, str]:
    """Return the classes in Label Studio's `notes.json`."""
    try:
        content = load_json(path)
        return {int(entry["id"]): str(entry["name"]) for entry in content["categories"]}
    except (DatasetError, ValueError, KeyError, TypeError, OverflowError):
        return {}


def _text_of(path: Path) -> str:
    try:
        return read_text(path, _MAX_BYTES)
    except (OSError, ValueError):
        return ""


def _files_in(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_file())
    except OSError:
        return []


def _folders_in(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError:
        return []
