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
from maskyolo.core.parsing import load_json
from maskyolo.dataset.formats.base import AnnotatedPhoto, AnnotatedSet, ImageIndex
from maskyolo.dataset.formats.gathering import Shapes, find_referenced, gather, problems_of
from maskyolo.dataset.formats.shapes import box_of_points, box_of_rle
from maskyolo.dataset.split_names import REST, split_of
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


def read_coco(source: Path) -> AnnotatedSet:
    """Read a COCO JSON file, or all of them in a folder; see `gather` for images.

    Ids may be any numbers or texts. A missing box is computed from the polygons or the mask of the
    segmentation; an image with an annotation without any of these is `ambiguous`. `iscrowd` marks a
    region with any number of faces, unless all annotations have it. Splits come from the names of
    the files, or else of the folders.

    Raises:
        DatasetError: no COCO file.
    """
    expected = "it needs a .json file with images, annotations and categories"
    return _without_crowds(gather(source, "coco", ".json", _read_file, expected))


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
        content = load_json(path, nan=True)
    except DatasetError:
        return None
    parts = ("images", "annotations", "categories")
    return (
        content
        if isinstance(content, dict) and all(isinstance(content.get(part), list) for part in parts)
        else None
    )


def _read_file(path: Path, index: ImageIndex) -> list[AnnotatedPhoto] | None:
    """Return the images of one file, plus an entry for the file itself if it has problems."""
    content = _load(path)
    if content is None:
        return None
    problems = Counter[str]()
    try:
        categories = {_key(entry["id"]): str(entry["name"]) for entry in content["categories"]}
        named = Counter(str(entry["file_name"]) for entry in content["images"])
        # some tools write the name of the image instead of its id
        listed = {
            name: _key(entry["id"])
            for entry in content["images"]
            if named[name := str(entry["file_name"])] == 1
        }
        listed |= {key: key for key in (_key(entry["id"]) for entry in content["images"])}
        by_image: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for entry in content["annotations"]:
            if key := listed.get(_key(entry["image_id"])):
                by_image[key].append(entry)
            else:
                problems["annotations of images that are not listed"] += 1
        photos = [
            _read_image(path, image, by_image[_key(image["id"])], categories, index)
            for image in content["images"]
        ]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DatasetError(
            f"{path} is not a COCO file: {type(error).__name__}: {error}", "correct the file"
        ) from error
    return [*photos, *problems_of(path, index, problems)]


def _key(value: Any) -> str:
    """Return an id for comparison: tools write 1, 1.0 and "1" for the same one."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()


def _read_image(
    path: Path,
    entry: Mapping[str, Any],
    annotations: Sequence[Mapping[str, Any]],
    categories: Mapping[str, str],
    index: ImageIndex,
) -> AnnotatedPhoto:
    """Return one of the `images` in the file `path` with its annotations."""
    image, missing = find_referenced(str(entry["file_name"]), path, index, entry["id"])
    if image is None:
        assert missing  # noqa: S101  # one of the two is always there
        return missing
    size = (int(entry.get("width") or 0), int(entry.get("height") or 0))
    shapes, crowds = Shapes(), []
    for annotation in annotations:
        category = _key(annotation.get("category_id"))
        names = categories.values()
        name = categories.get(category, category if category in names else f"category {category}")
        try:
            box = _box(annotation, size)
        except ValueError as error:
            shapes.add(name, None, f"with a mask that cannot be used ({error})")
            continue
        shapes.add(name, box)
        if box:
            crowds.append(str(annotation.get("iscrowd") or 0) not in ("0", "False", "false"))
    split = split_of(path.relative_to(index.root).as_posix())
    photo = shapes.photo(image, index, split)
    return replace(photo, ignored=np.array(crowds, dtype=bool), size=size)


def _box(entry: Mapping[str, Any], size: tuple[int, int]) -> list[float] | None:
    box = entry.get("bbox")
    shape = entry.get("segmentation")
    if isinstance(box, list) and len(box) == 4:
        x, y, width, height = (float(value) for value in box)
        if (width > 0 and height > 0) or not shape:
            return [x, y, x + width, y + height]
    if isinstance(shape, dict):
        sides = [int(side) for side in shape.get("size") or ()]
        if min(size) > 0 and len(sides) == 2 and (sides[1], sides[0]) != size:
            raise ValueError(f"it is {sides[1]} x {sides[0]}")
        return box_of_rle(shape)
    if not isinstance(shape, list):
        return None
    polygons = shape if shape and isinstance(shape[0], list) else [shape]
    points = [point for polygon in polygons for point in np.reshape(polygon, (-1, 2)).tolist()]
    return box_of_points(points)


def _without_crowds(found: AnnotatedSet) -> AnnotatedSet:
    """Treat crowds as faces if a set has nothing else, as CVAT marks every mask as a crowd."""
    crowds = [bool(crowd) for photo in found.photos for crowd in photo.ignored]
    if not crowds or not all(crowds):
        return found
    faces = [replace(photo, ignored=np.zeros_like(photo.ignored)) for photo in found.photos]
    note = f"all {len(crowds)} annotations have iscrowd 1, so each was read as one face"
    return replace(found, photos=faces, notes=(note,))
