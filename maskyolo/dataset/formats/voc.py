"""Pascal VOC: one XML file per image, with boxes in whole pixels.

Boxes are read and written unchanged, as xyxy edge coordinates, as in `maskyolo val --labels`.
docs/formats.md explains why.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

import numpy as np

from maskyolo.core.files import read_image_list, write_atomic
from maskyolo.core.parsing import ParseError, read_limited
from maskyolo.dataset.formats.base import (
    NO_ANNOTATION,
    AnnotatedPhoto,
    AnnotatedSet,
    FloatBoxes,
    ImageIndex,
    list_files,
    stem_of,
)
from maskyolo.dataset.formats.xml_files import parse_xml
from maskyolo.dataset.split_names import split_of, split_of_name
from maskyolo.errors import DatasetError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from maskyolo.dataset.formats.base import ExportedPhoto

__all__ = ["VocAnnotation", "format_voc", "is_voc", "parse_voc", "read_voc", "write_voc"]


@dataclass(frozen=True)
class VocAnnotation:
    """The content of an annotation file, unchecked.

    Attributes:
        filename: file name of the image; empty if not given.
        size: width and height of the image in pixels; None if not given.
        names: the class name of each box (n).
        boxes: float64 (n, 4) xmin, ymin, xmax, ymax in pixels; may be swapped or not finite.
    """

    filename: str
    size: tuple[int, int] | None
    names: tuple[str, ...]
    boxes: FloatBoxes


def is_voc(source: Path, files: Sequence[Path]) -> bool:
    """Return whether a folder is a Pascal VOC set: one of its first XML files is an annotation."""
    annotations = [path for path in files if path.suffix.lower() == ".xml"][:20]
    return source.is_dir() and any(_is_annotation(path) for path in annotations)


def read_voc(source: Path) -> AnnotatedSet:
    """Read a folder with images and XML files at any depth.

    An annotation belongs to the image with the same name or, if there is none, to the one named by
    its `filename`. An image without annotation is `excluded`, because it may show any number of
    faces. Splits come from `ImageSets/Main/{train,val,test}.txt`, from such files in the set's
    folder, or else from the names of folders.

    Raises:
        DatasetError: no annotation in the folder.
    """
    files = list_files(source)
    index = ImageIndex(source, files)
    stems = {path.stem for path in index.images}
    splits = _read_splits(source)
    photos: dict[Path, AnnotatedPhoto] = {}
    annotations = 0
    for path in files:
        if path.suffix.lower() != ".xml" or not (path.stem in stems or _is_annotation(path)):
            continue
        annotations += 1
        photo = _read_one(path, index)
        if photo.path in photos:
            first = photos[photo.path].reason or "one"
            reason = f"a second annotation of {photo.source}, which has {first}"
            photo = AnnotatedPhoto(
                path, path.relative_to(source).as_posix(), status="unreadable", reason=reason
            )
        photos[photo.path] = photo
    if not annotations:
        raise DatasetError(
            f"no Pascal VOC annotations in {source}: found no .xml file with <annotation>",
            "give the folder that contains them",
        )
    for path in index.images:
        if path not in photos:
            photos[path] = AnnotatedPhoto(
                path,
                path.relative_to(source).as_posix(),
                status="excluded",
                reason=NO_ANNOTATION,
                annotated=False,
            )
    found = (_with_split(photo, splits) for photo in photos.values())
    return AnnotatedSet("voc", sorted(found, key=lambda photo: photo.source))


def parse_voc(data: bytes, name: str = "annotation") -> VocAnnotation:
    """Parse the bytes of an annotation.

    Args:
        data: the XML.
        name: the file, for error messages.

    Raises:
        DatasetError: not XML, XML with a DOCTYPE (which could expand to gigabytes), another kind of
            XML, or an object without a name or a complete box.
    """
    root = parse_xml(data, name)
    if root.tag != "annotation":
        raise DatasetError(f"{name}: it has no <annotation>", "replace the file")
    names: list[str] = []
    boxes: list[list[float]] = []
    for number, item in enumerate(root.iter("object"), 1):
        class_name, box = (item.findtext("name") or "").strip(), item.find("bndbox")
        sides = [_number(box, side) for side in ("xmin", "ymin", "xmax", "ymax")]
        if not class_name or None in sides:
            raise DatasetError(
                f"{name}: object {number} lacks a name or one of xmin, ymin, xmax, ymax",
                "correct the file",
            )
        names.append(class_name)
        boxes.append([float(side or 0) for side in sides])
    size = root.find("size")
    width, height = _number(size, "width"), _number(size, "height")
    return VocAnnotation(
        filename=(root.findtext("filename") or "").strip(),
        size=(int(width), int(height))
        if width and height and math.isfinite(width + height)
        else None,
        names=tuple(names),
        boxes=np.array(boxes, dtype=np.float64).reshape(-1, 4),
    )


def format_voc(
    filename: str,
    width: int,
    height: int,
    names: Sequence[str],
    boxes: Sequence[Sequence[float]],
    folder: str = "JPEGImages",
) -> str:
    """Return the text of an annotation; boxes are rounded to whole pixels, at least one wide.

    Args:
        filename: file name of the image.
        width: width of the image in pixels.
        height: height of the image in pixels.
        names: class name of each box (n).
        boxes: (n, 4) xyxy pixels.
        folder: folder of the image.
    """
    objects = []
    for name, (x1, y1, x2, y2) in zip(names, boxes, strict=True):
        left, top = round(x1), round(y1)
        right, bottom = max(round(x2), left + 1), max(round(y2), top + 1)
        objects.append(
            f"\t<object>\n\t\t<name>{escape(name)}</name>\n\t\t<pose>Unspecified</pose>\n"
            "\t\t<truncated>0</truncated>\n\t\t<difficult>0</difficult>\n"
            f"\t\t<bndbox>\n\t\t\t<xmin>{left}</xmin>\n\t\t\t<ymin>{top}</ymin>\n"
            f"\t\t\t<xmax>{right}</xmax>\n\t\t\t<ymax>{bottom}</ymax>\n\t\t</bndbox>\n"
            "\t</object>\n"
        )
    return (
        f"<annotation>\n\t<folder>{escape(folder)}</folder>\n"
        f"\t<filename>{escape(filename)}</filename>\n"
        f"\t<size>\n\t\t<width>{width}</width>\n\t\t<height>{height}</height>\n"
        "\t\t<depth>3</depth>\n\t</size>\n"
        f"\t<segmented>0</segmented>\n{''.join(objects)}</annotation>\n"
    )


def write_voc(photos: Sequence[ExportedPhoto], names: Sequence[str], out: Path) -> None:
    """Write `Annotations/*.xml` and `ImageSets/Main/*.txt` for the images in `JPEGImages`."""
    for folder in ("Annotations", "ImageSets/Main"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    for photo in photos:
        text = format_voc(
            photo.file.name,
            photo.width,
            photo.height,
            [names[number] for number in photo.class_ids],
            photo.boxes.tolist(),
        )
        write_atomic(out / "Annotations" / f"{photo.file.stem}.xml", text)
    for split in sorted({photo.split for photo in photos} - {""}):
        stems = [photo.file.stem for photo in photos if photo.split == split]
        write_atomic(
            out / "ImageSets" / "Main" / f"{split}.txt", "".join(f"{stem}\n" for stem in stems)
        )


def _read_one(path: Path, index: ImageIndex) -> AnnotatedPhoto:
    source = path.relative_to(index.root).as_posix()
    image, several = None, ""
    try:
        image = index.by_stem(path.stem, path)
    except DatasetError as error:
        several = str(error)
    photo = AnnotatedPhoto(
        image or path, image.relative_to(index.root).as_posix() if image else source
    )
    try:
        annotation = parse_voc(read_limited(path), source)
        if not image and annotation.filename:
            image = index.by_reference(annotation.filename, path)
    except OSError as error:
        return replace(photo, status="unreadable", reason=(error.strerror or str(error)).lower())
    except (DatasetError, ParseError) as error:
        return replace(photo, status="unreadable", reason=several or str(error))
    if not image:
        missing = f"its image {annotation.filename or path.stem} is missing; add it to the set"
        return replace(photo, status="unreadable", reason=several or missing)
    return AnnotatedPhoto(
        image,
        image.relative_to(index.root).as_posix(),
        annotation.names,
        annotation.boxes,
        size=annotation.size,
    )


def _read_splits(source: Path) -> dict[str, str]:
    """Return the split of each image, by its stem, from the lists of the set."""
    for folder in (source / "ImageSets" / "Main", *sorted(source.glob("*/ImageSets/Main")), source):
        lists = [(split_of_name(path.stem) or "", path) for path in sorted(folder.glob("*.txt"))]
        if any(split for split, _ in lists):
            return {
                stem_of(name): split
                for split, path in lists
                if split
                for name in read_image_list(path)
            }
    return {}


def _with_split(photo: AnnotatedPhoto, splits: dict[str, str]) -> AnnotatedPhoto:
    split = splits.get(photo.path.stem, "") if splits else split_of(photo.source)
    return replace(photo, split=split)


def _number(element: Element | None, name: str) -> float | None:
    try:
        return float((element.findtext(name) if element is not None else "") or "")
    except ValueError:
        return None


def _is_annotation(path: Path) -> bool:
    """Return whether a file begins as an annotation; without UTF-16's zero bytes."""
    try:
        with path.open("rb") as file:
            return bool(re.search(rb"<annotation[\s>/]", file.read(4096).replace(b"\0", b"")))
    except OSError:
        return False
