"""COCO: one JSON file for many images, with boxes as x, y, width, height in pixels from 0."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from maskyolo.core.files import write_atomic
from maskyolo.dataset.formats.base import (
    NO_ANNOTATION,
    REST,
    AnnotatedPhoto,
    ImageIndex,
    list_files,
    split_of,
)
from maskyolo.errors import DatasetError

if TYPE_CHECKING:
    from maskyolo.dataset.formats.base import ExportedPhoto

__all__ = ["format_coco", "is_coco", "read_coco", "write_coco"]


def is_coco(source: Path, files: Sequence[Path]) -> bool:
    """Return whether a file or folder is a COCO set: a JSON file with images and annotations."""
    candidates = (
        [source]
        if source.is_file()
        else [path for path in files if path.suffix.lower() == ".json"][:20]
    )
    return any(path.suffix.lower() == ".json" and _load(path) is not None for path in candidates)


def read_coco(source: Path) -> list[AnnotatedPhoto]:
    """Read a COCO JSON file, or all of them in a folder.

    Images are looked for below the file's folder, or below its parent if the folder is named
    `annotations` or `labels`. Category ids may be any numbers. A missing box is computed from the
    polygons of the segmentation. `iscrowd` marks a region with any number of faces. An image that
    no file lists is `excluded`; one that two files list gets the boxes of both. Splits come from
    the names of the files, or else of the folders.

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
            f"no COCO annotations in {source}",
            "it needs a .json file with images, annotations and categories",
        )
    for image in index.images:
        if image not in photos and source.is_dir():
            name = image.relative_to(root).as_posix()
            photos[image] = AnnotatedPhoto(
                image,
                name,
                split=split_of(name),
                status="excluded",
                reason=NO_ANNOTATION,
                annotated=False,
            )
    return sorted([*photos.values(), *problems], key=lambda photo: photo.source)


def format_coco(photos: Sequence[ExportedPhoto], names: Sequence[str], folder: Path) -> str:
    """Return the text of a COCO file.

    File names in it are relative to `folder`; categories are numbered starting with 1.
    """
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
    """Write `annotations/instances_SPLIT.json` for the images in `images/SPLIT`."""
    (out / "annotations").mkdir()
    for split in sorted({photo.split for photo in photos}):
        chosen = [photo for photo in photos if photo.split == split]
        folder = Path("images", split or REST)
        write_atomic(
            out / "annotations" / f"instances_{split or REST}.json",
            format_coco(chosen, names, folder),
        )


def _load(path: Path) -> dict[str, Any] | None:
    """Return the content of a COCO file, or None if it is not a COCO file."""
    try:
        content = json.loads(path.read_bytes())  # bytes, so that any UTF encoding is detected
    except (OSError, ValueError, RecursionError):
        return None
    parts = ("images", "annotations", "categories")
    return (
        content
        if isinstance(content, dict) and all(isinstance(content.get(part), list) for part in parts)
        else None
    )


def _read_one(path: Path, content: Mapping[str, Any], index: ImageIndex) -> list[AnnotatedPhoto]:
    """Return the images of one file, plus an entry for the file itself if it has problems."""
    name = path.relative_to(index.root).as_posix()
    problems = Counter[str]()
    try:
        categories = {entry["id"]: str(entry["name"]) for entry in content["categories"]}
        listed = {entry["id"]: str(entry["file_name"]) for entry in content["images"]}
        by_image: dict[Any, list[Mapping[str, Any]]] = defaultdict(list)
        for entry in content["annotations"]:
            if entry["image_id"] in listed:
                by_image[entry["image_id"]].append(entry)
            else:
                problems["annotations of images that are not listed"] += 1
        photos = [
            _read_image(path, image, by_image[image["id"]], categories, index, problems)
            for image in content["images"]
        ]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DatasetError(
            f"{path} is not a COCO file: {type(error).__name__}: {error}", "correct the file"
        ) from error
    if problems:
        reason = ", ".join(f"{count} {what}" for what, count in problems.items())
        photos.append(AnnotatedPhoto(path, name, status="unreadable", reason=reason))
    return photos


def _read_image(
    path: Path,
    entry: Mapping[str, Any],
    annotations: Sequence[Mapping[str, Any]],
    categories: Mapping[Any, str],
    index: ImageIndex,
    problems: Counter[str],
) -> AnnotatedPhoto:
    """Return one of the `images` in the file `path` with its annotations; count its problems."""
    name = path.relative_to(index.root).as_posix()
    file_name = str(entry["file_name"])
    reason = f"its image {file_name} is missing; add it to the set"
    try:
        image = index.by_name(file_name, path)
    except DatasetError as error:
        image, reason = None, str(error)
    if not image:
        return AnnotatedPhoto(path, f"{name}#{entry['id']}", status="unreadable", reason=reason)
    names, boxes, crowds = [], [], []
    for annotation in annotations:
        box = _box(annotation)
        if box is None:
            problems["annotations without a box"] += 1
            continue
        category = annotation.get("category_id")
        names.append(categories.get(category, f"category {category}"))
        boxes.append(box)
        crowds.append(bool(annotation.get("iscrowd")))
    source = image.relative_to(index.root).as_posix()
    return AnnotatedPhoto(
        image,
        source,
        tuple(names),
        np.array(boxes, dtype=np.float64).reshape(-1, 4),
        ignored=np.array(crowds, dtype=bool),
        size=(int(entry.get("width") or 0), int(entry.get("height") or 0)),
        split=split_of(name) or split_of(source),
    )


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
    """Merge two entries of an image that two files list; boxes in both are kept once."""
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
