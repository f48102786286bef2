"""COCO: one JSON file for many pictures, with boxes as x, y, width, height in pixels counted from 0."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from maskyolo.core.files import write_atomic
from maskyolo.errors import DatasetError
from maskyolo.formats.base import (
    NO_ANNOTATION,
    REST,
    AnnotatedPhoto,
    ImageIndex,
    list_files,
    split_of,
)

if TYPE_CHECKING:
    from maskyolo.formats.base import ExportedPhoto

__all__ = ["format_coco", "is_coco", "read_coco", "write_coco"]


def is_coco(source: Path, files: Sequence[Path]) -> bool:
    """Tell whether a file or folder is a COCO set: whether there is a JSON file with images and annotations."""
    candidates = (
        [source]
        if source.is_file()
        else [path for path in files if path.suffix.lower() == ".json"][:20]
    )
    return any(path.suffix.lower() == ".json" and _load(path) is not None for path in candidates)


def read_coco(source: Path) -> list[AnnotatedPhoto]:
    """Read a COCO JSON file, or all of a folder; pictures are looked for below its folder, or the one above it.

    Category ids may be any numbers. A box that is missing is taken from the segmentation's polygons. `iscrowd` marks a region that
    holds any number of faces. A picture that no file lists is `excluded`; one that two files list has the boxes of both. Splits are
    those that the file names, or else the folders, speak of.

    Raises:
        DatasetError: no COCO file.
    """
    root = source
    if source.is_file():
        root = (
            source.parent.parent
            if source.parent.name.lower() in ("annotations", "labels")
            else source.parent
        )
    files = list_files(root)
    index = ImageIndex(root, files)
    photos: dict[Path, AnnotatedPhoto] = {}
    problems = []
    found = False
    for path in (
        [source] if source.is_file() else [path for path in files if path.suffix.lower() == ".json"]
    ):
        content = _load(path)
        if content is None:
            continue
        found = True
        for photo in _read_one(path, content, index):
            if photo.path == path:
                problems.append(photo)
            elif photo.path in photos:
                photos[photo.path] = _joined(photos[photo.path], photo)
            else:
                photos[photo.path] = photo
    if not found:
        raise DatasetError(
            f"no COCO annotations in {source}: found no .json file with images, annotations and categories"
        )
    for picture in index.images:
        if picture not in photos and source.is_dir():
            name = picture.relative_to(root).as_posix()
            photos[picture] = AnnotatedPhoto(
                picture,
                name,
                split=split_of(name),
                status="excluded",
                reason=NO_ANNOTATION,
                annotated=False,
            )
    return sorted([*photos.values(), *problems], key=lambda photo: photo.source)


def format_coco(photos: Sequence[ExportedPhoto], names: Sequence[str], folder: Path) -> str:
    """Return the text of a COCO file; file names in it are relative to `folder`, and categories are counted from 1."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, photo in enumerate(photos, 1):
        name = photo.file.relative_to(folder).as_posix()
        images.append(
            {"id": number, "file_name": name, "width": photo.width, "height": photo.height}
        )
        for class_id, (x1, y1, x2, y2) in zip(photo.class_ids, photo.boxes.tolist(), strict=True):
            box = [round(value, 3) for value in (x1, y1, x2 - x1, y2 - y1)]
            common = {"id": len(annotations) + 1, "image_id": number, "category_id": class_id + 1}
            annotations.append(
                common
                | {"bbox": box, "area": round(box[2] * box[3], 3), "segmentation": [], "iscrowd": 0}
            )
    categories = [
        {"id": number, "name": name, "supercategory": "face"}
        for number, name in enumerate(names, 1)
    ]
    return json.dumps(
        {"images": images, "annotations": annotations, "categories": categories}, ensure_ascii=False
    )


def write_coco(photos: Sequence[ExportedPhoto], names: Sequence[str], out: Path) -> None:
    """Write `annotations/instances_SPLIT.json` for pictures that are in `images/SPLIT`."""
    (out / "annotations").mkdir()
    for split in sorted({photo.split for photo in photos}):
        chosen = [photo for photo in photos if photo.split == split]
        folder = Path("images", split or REST)
        write_atomic(
            out / "annotations" / f"instances_{split or REST}.json",
            format_coco(chosen, names, folder),
        )


def _load(path: Path) -> dict[str, Any] | None:
    """Return a COCO file's content, or None if it is none."""
    try:
        content = json.loads(path.read_bytes())  # in any UTF
    except (OSError, ValueError, RecursionError):
        return None
    parts = ("images", "annotations", "categories")
    return (
        content
        if isinstance(content, dict) and all(isinstance(content.get(part), list) for part in parts)
        else None
    )


def _read_one(path: Path, content: Mapping[str, Any], index: ImageIndex) -> list[AnnotatedPhoto]:
    """Return the pictures of one file, and what is wrong in it under the file's own path."""
    name = path.relative_to(index.root).as_posix()
    split = split_of(name)
    photos, problems = [], Counter[str]()
    try:
        categories = {entry["id"]: str(entry["name"]) for entry in content["categories"]}
        listed = {entry["id"]: str(entry["file_name"]) for entry in content["images"]}
        by_image: dict[Any, list[Mapping[str, Any]]] = defaultdict(list)
        for entry in content["annotations"]:
            if entry["image_id"] in listed:
                by_image[entry["image_id"]].append(entry)
            else:
                problems["annotations of images that are not listed"] += 1
        for image in content["images"]:
            try:
                picture = index.by_name(listed[image["id"]], path)
            except DatasetError as error:
                photos.append(
                    AnnotatedPhoto(
                        path, f"{name}#{image['id']}", status="unreadable", reason=str(error)
                    )
                )
                continue
            if not picture:
                reason = f"its picture {image['file_name']} is not there; copy it to the others"
                photos.append(
                    AnnotatedPhoto(
                        path, f"{name}#{image['id']}", status="unreadable", reason=reason
                    )
                )
                continue
            names, boxes, crowds = [], [], []
            for entry in by_image[image["id"]]:
                box = _box(entry)
                if box is None:
                    problems["annotations without a box"] += 1
                    continue
                names.append(
                    categories.get(entry.get("category_id"), f"category {entry.get('category_id')}")
                )
                boxes.append(box)
                crowds.append(bool(entry.get("iscrowd")))
            source = picture.relative_to(index.root).as_posix()
            photos.append(
                AnnotatedPhoto(
                    picture,
                    source,
                    tuple(names),
                    np.array(boxes, dtype=np.float64).reshape(-1, 4),
                    ignored=np.array(crowds, dtype=bool),
                    size=(int(image.get("width") or 0), int(image.get("height") or 0)),
                    split=split or split_of(source),
                )
            )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DatasetError(
            f"{path} is no COCO file: {type(error).__name__}: {error}; correct the file"
        ) from error
    if problems:
        reason = ", ".join(f"{count} {what}" for what, count in problems.items())
        photos.append(AnnotatedPhoto(path, name, status="unreadable", reason=reason))
    return photos


def _box(entry: Mapping[str, Any]) -> list[float] | None:
    box = entry.get("bbox")
    if isinstance(box, list) and len(box) == 4:
        x, y, width, height = (float(value) for value in box)
        return [x, y, x + width, y + height]
    polygons = entry.get("segmentation")
    points = (
        np.concatenate([np.reshape(polygon, (-1, 2)) for polygon in polygons])
        if isinstance(polygons, list) and polygons
        else None
    )
    return None if points is None else [*points.min(axis=0).tolist(), *points.max(axis=0).tolist()]


def _joined(one: AnnotatedPhoto, two: AnnotatedPhoto) -> AnnotatedPhoto:
    """Return a picture that two files list, with the boxes of both, each box once."""
    known = list(zip(one.names, one.boxes.tolist(), strict=True))
    new = [
        place
        for place, box in enumerate(zip(two.names, two.boxes.tolist(), strict=True))
        if box not in known
    ]
    return replace(
        one,
        names=(*one.names, *(two.names[place] for place in new)),
        boxes=np.concatenate([one.boxes, two.boxes[new]]),
        ignored=np.concatenate([one.ignored, two.ignored[new]]),
    )
