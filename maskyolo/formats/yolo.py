"""YOLO: a text file a picture, with boxes as shares of its size, and a `data.yaml` that names classes and splits."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING

import numpy as np
import yaml

from maskyolo.boxes import to_normalized
from maskyolo.core.files import read_image_list, write_atomic
from maskyolo.dataset import Dataset, format_data_yaml, list_images
from maskyolo.errors import DatasetError
from maskyolo.formats.base import REST, AnnotatedPhoto, FloatBoxes, list_files, split_of

if TYPE_CHECKING:
    from maskyolo.formats.base import ExportedPhoto

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
    """What is known of a set: its folder, class names by id, pictures with their splits, and whether labels end in keypoints."""

    root: Path
    names: dict[int, str]
    pictures: dict[Path, str]
    keypoints: bool = False


def is_yolo(source: Path, files: Sequence[Path]) -> bool:
    """Tell whether a file or folder is a YOLO set: a `data.yaml` with names, or a `classes.txt` with label files."""
    if source.is_file():
        return source.suffix.lower() in (".yaml", ".yml")
    return _find_yaml(source) is not None or _find_classes(files) is not None


def read_yolo_set(source: Path) -> list[AnnotatedPhoto]:
    """Read a YOLO set by its `data.yaml` (as Ultralytics, Roboflow and others write it), or a folder with a `classes.txt`.

    Names may be a list or a mapping, in any order. Splits may be folders, list files, or lists of both; paths that do not hold here,
    such as those of another machine or relative to another folder, are looked for below the `data.yaml`. A label of more than five
    numbers is a polygon, whose bounding box is taken, or a box with keypoints where the `data.yaml` says so (`kpt_shape`). A picture
    without label file has no boxes, as for Ultralytics.

    Raises:
        DatasetError: no names, no pictures, or a YAML file that cannot be read.
    """
    found = _find_yaml(source) if source.is_dir() else source
    described = _describe(found) if found else _describe_folder(source)
    if not described.pictures:
        raise DatasetError(
            f"no pictures in {found or source}: looked below {described.root}; correct `path`, `train` and `val` in it"
        )
    return [_read_one(picture, split, described) for picture, split in described.pictures.items()]


def parse_shares(
    text: str, name: str = "labels", keypoints: bool = False
) -> tuple[list[int], FloatBoxes]:
    """Parse a label file of anybody's.

    Args:
        text: lines of `class cx cy w h`, or of `class x1 y1 x2 y2 x3 y3 …` for a polygon; a sixth number is a confidence.
        name: the file, for messages.
        keypoints: whether what follows the box are keypoints.

    Returns:
        Class ids (n), and boxes float64 (n, 4), xyxy as shares of the picture's size.

    Raises:
        DatasetError: a line that is none of these, or with pixels instead of shares; the line is in the message.
    """
    class_ids, boxes = [], []
    for number, line in enumerate(text.lstrip("\ufeff").splitlines(), 1):
        if not line.strip():
            continue
        try:
            class_id, *values = (float(value) for value in line.split())
        except ValueError:
            raise DatasetError(
                f"{name}, line {number}: expected numbers, found '{line.strip()[:60]}'; correct the line"
            ) from None
        if not math.isfinite(class_id):
            raise DatasetError(f"{name}, line {number}: {class_id:g} is no class; correct the line")
        polygon = len(values) >= 6 and len(values) % 2 == 0 and not keypoints
        if not (
            len(values) in (4, 5) or polygon or (keypoints and len(values) > 4)
        ) or class_id != int(class_id):
            raise DatasetError(
                f"{name}, line {number}: expected 'class cx cy w h', found '{line.strip()[:60]}'; correct the line"
            )
        if not polygon and max(values[:4]) > 2:
            raise DatasetError(
                f"{name}, line {number}: {max(values[:4]):g} is no share of the picture's size; divide pixels by the size"
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
    """Write `labels/SPLIT/*.txt` for pictures that are in `images/SPLIT`, and the `data.yaml` of a set that will be at `home`."""
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
    """Return the YAML file of a folder that names classes, `data.yaml` first; or a `data.yaml` that cannot be read, to be told of."""
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
        except (OSError, ValueError, yaml.YAMLError):  # a date that is none is a ValueError
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
            f"no YOLO set in {source}: neither a data.yaml with names nor a classes.txt; add a data.yaml with `names`"
        )
    names = [line.strip() for line in _text_of(classes).splitlines() if line.strip()]
    pictures = {path: split_of(path.relative_to(source).as_posix()) for path in list_images(source)}
    return _Description(source, dict(enumerate(names)), pictures)


def _describe(path: Path) -> _Description:
    try:
        content = yaml.safe_load(_text_of(path))
    except (yaml.YAMLError, ValueError) as error:
        raise DatasetError(
            f"cannot read {path}: {' '.join(str(error).split())}; correct the file"
        ) from error
    names = content.get("names") if isinstance(content, dict) else None
    if not names or not isinstance(names, (list, dict)):
        raise DatasetError(
            f"{path} is no data set: it names no classes; it needs `names` and `train`"
        )
    try:
        numbered = {
            int(number): str(name)
            for number, name in (names.items() if isinstance(names, dict) else enumerate(names))
        }
    except (TypeError, ValueError):
        raise DatasetError(
            f"{path}: `names` must be a list or number its classes from 0; correct it"
        ) from None
    base = path.parent.resolve()
    root = _resolve(str(content.get("path") or "."), (base,)) or base
    pictures: dict[Path, str] = {}
    for key, split in _SPLIT_KEYS:
        entries = content.get(key) or []
        for entry in entries if isinstance(entries, list) else [entries]:
            if not isinstance(entry, str):
                raise DatasetError(f"{path}: `{key}` must be a path or a list of paths; correct it")
            place = _resolve(entry, (root, base))
            if place is None:
                raise DatasetError(
                    f"{path}: the {key} pictures are not at {entry}; correct `path` or `{key}` in it"
                )
            for picture in _pictures_at(place, (root, base)):
                pictures.setdefault(picture, split)
    return _Description(base, numbered, pictures, keypoints=bool(content.get("kpt_shape")))


def _resolve(entry: str, bases: Sequence[Path]) -> Path | None:
    """Return what a path means: below one of the folders, absolute, or, written on another machine, by its last parts."""
    for base in bases:
        if _is_there(base / entry):
            return Path(
                os.path.normpath(base / entry)
            )  # not resolved: the labels lie beside a link, not beside what it leads to
    parts = [
        part
        for part in PureWindowsPath(entry).parts
        if part not in ("..", ".") and not part.endswith(("\\", "/"))
    ]
    ends = (base.joinpath(*parts[start:]) for start in range(len(parts)) for base in bases)
    return next((Path(os.path.normpath(end)) for end in ends if _is_there(end)), None)


def _is_there(path: Path) -> bool:
    return os.path.exists(path)  # noqa: PTH110  # Path's own raises OSError at a name that is too long


def _pictures_at(place: Path, bases: Sequence[Path]) -> Iterator[Path]:
    """List the pictures of a folder or of a list file, whose missing ones are listed as they stand, to be told of."""
    if place.is_dir():
        yield from list_images(place)
        return
    for name in read_image_list(place):
        yield _resolve(name, (place.parent, *bases)) or place.parent / name


def _read_one(picture: Path, split: str, described: _Description) -> AnnotatedPhoto:
    source = _source_of(picture, described.root) if picture.is_absolute() else picture.as_posix()
    if not picture.is_file():
        return AnnotatedPhoto(
            picture,
            source,
            split=split,
            status="unreadable",
            reason="the picture is not there; copy it to the others",
        )
    label = Dataset.label_of(picture)
    if (
        os.path.lexists(label) and not label.is_file()
    ):  # a link to nothing, say: it is not that there are no faces
        reason = f"its label {label.name} is not a file; put it right, or remove it if no face is to be seen"
        return AnnotatedPhoto(picture, source, split=split, status="unreadable", reason=reason)
    try:
        class_ids, boxes = parse_shares(
            _text_of(label) if label.is_file() else "", label.name, described.keypoints
        )
    except DatasetError as error:
        return AnnotatedPhoto(
            picture,
            source,
            split=split,
            status="unreadable",
            reason=str(error).replace(str(label), label.name),
        )
    names = tuple(described.names.get(number, f"class {number}") for number in class_ids)
    return AnnotatedPhoto(picture, source, names, boxes, shares=True, split=split)


def _source_of(picture: Path, root: Path) -> str:
    source = os.path.relpath(picture, root)
    return Path(
        os.path.relpath(picture.resolve(), root) if source.startswith("..") else source
    ).as_posix()


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"cannot read {path}: {error}; check the file") from error
