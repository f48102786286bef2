"""YOLO: one text file per image, boxes as fractions of its size; `data.yaml` names the classes."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING

import numpy as np
import yaml

from maskyolo.core.boxes import to_normalized
from maskyolo.core.files import read_image_list, write_atomic
from maskyolo.core.images import list_images
from maskyolo.dataset.formats.base import REST, AnnotatedPhoto, FloatBoxes, list_files, split_of
from maskyolo.dataset.layout import Dataset, format_data_yaml
from maskyolo.errors import DatasetError

if TYPE_CHECKING:
    from maskyolo.dataset.formats.base import ExportedPhoto

__all__ = ["is_yolo", "parse_shares", "read_yolo_set", "write_yolo"]

_SPLIT_KEYS = (
    ("train", "train"),
    ("val", "val"),
    ("valid", "val"),
    ("validation", "val"),
    ("test", "test"),
    (REST, ""),
)


@dataclass(frozen=True)
class _Description:
    """A set: its folder, class names by id, images with their splits, and if it has keypoints."""

    root: Path
    names: dict[int, str]
    images: dict[Path, str]
    keypoints: bool = False


def is_yolo(source: Path, files: Sequence[Path]) -> bool:
    """Return whether a file or folder is a YOLO set: it has a `data.yaml` or a `classes.txt`."""
    if source.is_file():
        return source.suffix.lower() in (".yaml", ".yml")
    return _find_yaml(source) is not None or _find_classes(files) is not None


def read_yolo_set(source: Path) -> list[AnnotatedPhoto]:
    """Read a YOLO set by its `data.yaml`, or a folder with a `classes.txt`.

    The `data.yaml` may come from Ultralytics, Roboflow and others: names may be a list or a
    mapping, in any order, and splits may be folders, list files, or lists of both. Paths that do
    not exist, such as those of another machine or relative to another folder, are looked for below
    the `data.yaml`. A label with more than five numbers is a polygon, which is replaced by its
    bounding box, or a box with keypoints if the `data.yaml` says so (`kpt_shape`). As with
    Ultralytics, an image without label file has no boxes.

    Raises:
        DatasetError: no names, no images, or a YAML file that cannot be read.
    """
    found = _find_yaml(source) if source.is_dir() else source
    described = _describe(found) if found else _describe_folder(source)
    if not described.images:
        raise DatasetError(
            f"no images in {found or source}: looked below {described.root}",
            "correct `path`, `train` and `val` in it",
        )
    return [_read_one(image, split, described) for image, split in described.images.items()]


def parse_shares(
    text: str, name: str = "labels", keypoints: bool = False
) -> tuple[list[int], FloatBoxes]:
    """Parse a label file from any tool.

    Args:
        text: lines of `class cx cy w h`, with or without a confidence at the end, or of
            `class x1 y1 x2 y2 x3 y3 …` for a polygon.
        name: the file, for error messages.
        keypoints: whether keypoints follow the box.

    Returns:
        Class ids (n), and boxes float64 (n, 4), xyxy as fractions of the image's size.

    Raises:
        DatasetError: any other line, or one with pixels instead of fractions; the message includes
            the line number.
    """
    class_ids, boxes = [], []
    for number, line in enumerate(text.lstrip("\ufeff").splitlines(), 1):
        if not line.strip():
            continue
        try:
            class_id, *values = (float(value) for value in line.split())
        except ValueError:
            raise DatasetError(
                f"{name}, line {number}: expected numbers, found '{line.strip()[:60]}'",
                "correct the line",
            ) from None
        if not math.isfinite(class_id):
            raise DatasetError(
                f"{name}, line {number}: {class_id:g} is not a class id", "correct the line"
            )
        polygon = len(values) >= 6 and len(values) % 2 == 0 and not keypoints
        if not (
            len(values) in (4, 5) or polygon or (keypoints and len(values) > 4)
        ) or class_id != int(class_id):
            raise DatasetError(
                f"{name}, line {number}: expected 'class cx cy w h', found '{line.strip()[:60]}'",
                "correct the line",
            )
        if not polygon and max(values[:4]) > 2:
            raise DatasetError(
                f"{name}, line {number}: {max(values[:4]):g} is not a fraction of the image's size",
                "divide pixels by the image's size",
            )
        if polygon:
            xs, ys = values[::2], values[1::2]
            boxes.append([min(xs), min(ys), max(xs), max(ys)])
        else:
            cx, cy, w, h = values[:4]
            boxes.append([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2])
        class_ids.append(int(class_id))
    return class_ids, np.array(boxes, dtype=np.float64).reshape(-1, 4)


def write_yolo(
    photos: Sequence[ExportedPhoto], names: Sequence[str], out: Path, home: Path
) -> None:
    """Write `labels/SPLIT/*.txt` for the images in `images/SPLIT`, and the `data.yaml`.

    Args:
        photos: the images.
        names: class names by id.
        out: the folder to write to.
        home: the folder that the set will be moved to, to be named in `data.yaml`.
    """
    for photo in photos:
        shares = to_normalized(photo.boxes, photo.width, photo.height).clip(0, 1)
        lines = (
            f"{number} {' '.join(f'{value:.6f}' for value in row)}\n"
            for number, row in zip(photo.class_ids, shares, strict=True)
        )
        label = out / Dataset.label_of(photo.file)
        label.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(label, "".join(lines))
    used = {photo.split for photo in photos}
    write_atomic(
        out / "data.yaml",
        format_data_yaml(home, [split or REST for _, split in _SPLIT_KEYS if split in used], names),
    )


def _find_yaml(folder: Path) -> Path | None:
    """Return the YAML file in a folder that names classes, preferably `data.yaml`.

    If there is none, a damaged `data.yaml` is returned, so that its error is reported.
    """
    damaged = None
    for path in (
        folder / "data.yaml",
        *sorted(folder.glob("*.yaml")),
        *sorted(folder.glob("*.yml")),
    ):
        try:
            content = (
                yaml.safe_load(path.read_text(encoding="utf-8-sig")) if path.is_file() else None
            )
        except (OSError, ValueError, yaml.YAMLError):  # ValueError: an invalid date
            damaged = path if path.name == "data.yaml" else damaged
            continue
        if isinstance(content, dict) and content.get("names"):
            return path
    return damaged


def _find_classes(files: Sequence[Path]) -> Path | None:
    return next((path for path in files if path.name.lower() in ("classes.txt", "obj.names")), None)


def _describe_folder(source: Path) -> _Description:
    files = list_files(source)
    classes = _find_classes(files)
    if not classes:
        raise DatasetError(
            f"no YOLO set in {source}: neither a data.yaml with names nor a classes.txt",
            "add a data.yaml with `names`",
        )
    names = [line.strip() for line in _text_of(classes).splitlines() if line.strip()]
    images = {path: split_of(path.relative_to(source).as_posix()) for path in list_images(source)}
    return _Description(source, dict(enumerate(names)), images)


def _describe(path: Path) -> _Description:
    try:
        content = yaml.safe_load(_text_of(path))
    except (yaml.YAMLError, ValueError) as error:
        raise DatasetError(
            f"cannot read {path}: {' '.join(str(error).split())}", "correct the file"
        ) from error
    names = content.get("names") if isinstance(content, dict) else None
    if not names or not isinstance(names, (list, dict)):
        raise DatasetError(
            f"{path} is not a data set: it names no classes", "add `names` and `train` to it"
        )
    try:
        numbered = {
            int(number): str(name)
            for number, name in (names.items() if isinstance(names, dict) else enumerate(names))
        }
    except (TypeError, ValueError):
        raise DatasetError(
            f"{path}: `names` must be a list or number its classes from 0", "correct it"
        ) from None
    base = path.parent.resolve()
    root = _resolve(str(content.get("path") or "."), (base,)) or base
    images: dict[Path, str] = {}
    for key, split in _SPLIT_KEYS:
        entries = content.get(key) or []
        for entry in entries if isinstance(entries, list) else [entries]:
            if not isinstance(entry, str):
                raise DatasetError(
                    f"{path}: `{key}` must be a path or a list of paths", "correct it"
                )
            place = _resolve(entry, (root, base))
            if place is None:
                raise DatasetError(
                    f"{path}: the {key} images are not at {entry}",
                    f"correct `path` or `{key}` in it",
                )
            for image in _images_at(place, (root, base)):
                images.setdefault(image, split)
    return _Description(base, numbered, images, keypoints=bool(content.get("kpt_shape")))


def _resolve(entry: str, bases: Sequence[Path]) -> Path | None:
    """Return the existing path that `entry` refers to, or None.

    It may be absolute or relative to one of the folders. A path from another machine is matched by
    its last parts.
    """
    for base in bases:
        if _is_there(base / entry):
            # Do not resolve links: labels are next to the link, not next to its target.
            return Path(os.path.normpath(base / entry))
    parts = [
        part
        for part in PureWindowsPath(entry).parts
        if part not in ("..", ".") and not part.endswith(("\\", "/"))
    ]
    ends = (base.joinpath(*parts[start:]) for start in range(len(parts)) for base in bases)
    return next((Path(os.path.normpath(end)) for end in ends if _is_there(end)), None)


def _is_there(path: Path) -> bool:
    return os.path.exists(path)  # noqa: PTH110  # Path.exists raises OSError if the name is too long


def _images_at(place: Path, bases: Sequence[Path]) -> Iterator[Path]:
    """List the images of a folder or list file, including missing ones, to report them."""
    if place.is_dir():
        yield from list_images(place)
        return
    for name in read_image_list(place):
        yield _resolve(name, (place.parent, *bases)) or place.parent / name


def _read_one(image: Path, split: str, described: _Description) -> AnnotatedPhoto:
    source = _source_of(image, described.root) if image.is_absolute() else image.as_posix()
    unreadable = AnnotatedPhoto(image, source, split=split, status="unreadable")
    if not image.is_file():
        return replace(unreadable, reason="the image is missing; add it to the set")
    label = Dataset.label_of(image)
    if os.path.lexists(label) and not label.is_file():  # a broken link does not mean "no faces"
        reason = f"its label {label.name} is not a file; fix it, or remove it if there are no faces"
        return replace(unreadable, reason=reason)
    try:
        text = _text_of(label, label.name) if label.is_file() else ""
        class_ids, boxes = parse_shares(text, label.name, described.keypoints)
    except DatasetError as error:
        return replace(unreadable, reason=str(error))
    names = tuple(described.names.get(number, f"class {number}") for number in class_ids)
    return AnnotatedPhoto(image, source, names, boxes, shares=True, split=split)


def _source_of(image: Path, root: Path) -> str:
    source = os.path.relpath(image, root)
    return Path(
        os.path.relpath(image.resolve(), root) if source.startswith("..") else source
    ).as_posix()


def _text_of(path: Path, name: str = "") -> str:
    """Return the text of a file; error messages call the file `name`, if given."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"cannot read {name or path}: {error}", "check the file") from error
