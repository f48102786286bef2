"""Pascal VOC: an XML file a picture, with boxes in whole pixels.

Boxes are taken and written as they stand, as xyxy in coordinates of edges; so does `maskyolo val --labels`. docs/formats.md says why.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

import numpy as np

from maskyolo.core.classes import SPLITS
from maskyolo.core.files import write_atomic
from maskyolo.errors import DatasetError
from maskyolo.formats.base import (
    NO_ANNOTATION,
    AnnotatedPhoto,
    ImageIndex,
    list_files,
    split_of,
    stem_of,
)

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from maskyolo.formats.base import ExportedPhoto

__all__ = ["format_voc", "is_voc", "parse_voc", "read_voc", "write_voc"]


def is_voc(source: Path, files: Sequence[Path]) -> bool:
    """Tell whether a folder is a Pascal VOC set: whether one of its first XML files is an annotation."""
    annotations = [path for path in files if path.suffix.lower() == ".xml"][:20]
    return source.is_dir() and any(b"<annotation" in _head(path) for path in annotations)


def read_voc(source: Path) -> list[AnnotatedPhoto]:
    """Read a folder that has pictures and XML files in it, anywhere.

    An annotation belongs to the picture of its own name, and where there is none to the one that its `filename` names. A picture
    without annotation is `excluded`: it may show any number of faces. Splits are those of `ImageSets/Main/{train,val,test}.txt` or
    of such files beside the pictures' folder, or else of folders of these names.

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
        if path.suffix.lower() != ".xml" or not (
            path.stem in stems or b"<annotation" in _head(path)
        ):
            continue
        annotations += 1
        photo = _read_one(path, index)
        if photo.path in photos:
            reason = f"a second annotation of {photo.source}, which has {photos[photo.path].reason or 'one'}"
            photo = AnnotatedPhoto(
                path, path.relative_to(source).as_posix(), status="unreadable", reason=reason
            )
        photos[photo.path] = photo
    if not annotations:
        raise DatasetError(
            f"no Pascal VOC annotations in {source}: found no .xml file with <annotation>; give the folder that has them"
        )
    for path in index.images:
        if path not in photos:
            name = path.relative_to(source).as_posix()
            photos[path] = AnnotatedPhoto(
                path, name, status="excluded", reason=NO_ANNOTATION, annotated=False
            )
    return sorted(
        (_with_split(photo, splits) for photo in photos.values()), key=lambda photo: photo.source
    )


def parse_voc(
    data: bytes, name: str = "annotation"
) -> tuple[str, tuple[int, int] | None, list[str], list[list[float]]]:
    """Parse the bytes of an annotation.

    Returns:
        The picture's file name, its width and height if given, the class of each box, and the boxes xmin, ymin, xmax, ymax.

    Raises:
        DatasetError: no XML, an XML with a DOCTYPE (which can be made to unpack to gigabytes) or of another kind, or an object without
            name or box.
    """
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import ParseError, fromstring

    try:
        root = fromstring(data.removeprefix(b"\xef\xbb\xbf").lstrip(), forbid_dtd=True)
    except DefusedXmlException:
        raise DatasetError(
            f"{name}: it has a DOCTYPE, which no annotation needs; remove it"
        ) from None
    except (ParseError, ValueError, LookupError) as error:
        raise DatasetError(f"{name}: damaged XML: {error}; mend it") from None
    if root.tag != "annotation":
        raise DatasetError(f"{name}: it has no <annotation>; replace it")
    names, boxes = [], []
    for number, thing in enumerate(root.iter("object"), 1):
        class_name, box = (thing.findtext("name") or "").strip(), thing.find("bndbox")
        sides = [_number(box, side) for side in ("xmin", "ymin", "xmax", "ymax")]
        if not class_name or None in sides:
            raise DatasetError(
                f"{name}: object {number} lacks a name or one of xmin, ymin, xmax, ymax; correct it"
            )
        names.append(class_name)
        boxes.append([float(side or 0) for side in sides])
    size = root.find("size")
    width, height = _number(size, "width"), _number(size, "height")
    given = (
        (int(width), int(height)) if width and height and math.isfinite(width + height) else None
    )
    return (root.findtext("filename") or "").strip(), given, names, boxes


def format_voc(
    filename: str,
    width: int,
    height: int,
    names: Sequence[str],
    boxes: Sequence[Sequence[float]],
    folder: str = "JPEGImages",
) -> str:
    """Return the text of an annotation; xyxy boxes are rounded to whole pixels, at least one wide."""
    objects = []
    for name, (x1, y1, x2, y2) in zip(names, boxes, strict=True):
        left, top = round(x1), round(y1)
        objects.append(
            f"\t<object>\n\t\t<name>{escape(name)}</name>\n\t\t<pose>Unspecified</pose>\n"
            "\t\t<truncated>0</truncated>\n\t\t<difficult>0</difficult>\n"
            f"\t\t<bndbox>\n\t\t\t<xmin>{left}</xmin>\n\t\t\t<ymin>{top}</ymin>\n"
            f"\t\t\t<xmax>{max(round(x2), left + 1)}</xmax>\n\t\t\t<ymax>{max(round(y2), top + 1)}</ymax>\n\t\t</bndbox>\n\t</object>\n"
        )
    return (
        f"<annotation>\n\t<folder>{escape(folder)}</folder>\n\t<filename>{escape(filename)}</filename>\n"
        f"\t<size>\n\t\t<width>{width}</width>\n\t\t<height>{height}</height>\n\t\t<depth>3</depth>\n\t</size>\n"
        f"\t<segmented>0</segmented>\n{''.join(objects)}</annotation>\n"
    )


def write_voc(photos: Sequence[ExportedPhoto], names: Sequence[str], out: Path) -> None:
    """Write `Annotations/*.xml` and `ImageSets/Main/*.txt` for pictures that are in `JPEGImages`."""
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
    try:
        picture = index.by_stem(path.stem, path)
    except DatasetError as error:
        return AnnotatedPhoto(path, source, status="unreadable", reason=str(error))
    photo = AnnotatedPhoto(
        picture or path, picture.relative_to(index.root).as_posix() if picture else source
    )
    try:
        filename, size, names, boxes = parse_voc(path.read_bytes(), source)
        picture = picture or (index.by_name(filename, path) if filename else None)
    except OSError as error:
        return replace(photo, status="unreadable", reason=(error.strerror or str(error)).lower())
    except DatasetError as error:
        return replace(photo, status="unreadable", reason=str(error))
    if not picture:
        return replace(
            photo,
            status="unreadable",
            reason=f"its picture {filename or path.stem} is not there; copy it to the others",
        )
    array = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    return AnnotatedPhoto(
        picture, picture.relative_to(index.root).as_posix(), tuple(names), array, size=size
    )


def _read_splits(source: Path) -> dict[str, str]:
    """Return the split by picture's stem, from the lists that a set has."""
    for folder in (source / "ImageSets" / "Main", *sorted(source.glob("*/ImageSets/Main")), source):
        lists = {
            split: folder / f"{split}.txt"
            for split in SPLITS
            if (folder / f"{split}.txt").is_file()
        }
        if lists:
            return {
                stem_of(line.strip()): split
                for split, path in lists.items()
                for line in path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
                if line.strip()
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


def _head(path: Path) -> bytes:
    """Return how a file begins, in UTF-16 without the zeros."""
    try:
        with path.open("rb") as file:
            return file.read(4096).replace(b"\0", b"")
    except OSError:
        return b""
