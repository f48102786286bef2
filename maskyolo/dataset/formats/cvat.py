"""CVAT's own XML: one file for many images ("CVAT for images"), or for the frames of a video."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from maskyolo.core.parsing import MAX_JSON, ParseError, read_limited
from maskyolo.dataset.formats.base import AnnotatedPhoto, AnnotatedSet, ImageIndex
from maskyolo.dataset.formats.gathering import Shapes, find_referenced, gather
from maskyolo.dataset.formats.shapes import box_of_points, rotated_box
from maskyolo.dataset.formats.xml_files import parse_xml
from maskyolo.dataset.split_names import split_of_name
from maskyolo.errors import DatasetError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

__all__ = ["is_cvat", "read_cvat"]

_SHAPES = ("box", "polygon", "mask", "ellipse", "polyline", "points", "cuboid", "skeleton")


def is_cvat(source: Path, files: Sequence[Path]) -> bool:
    """Return whether a file or folder is a set in CVAT's own XML."""
    candidates = [source] if source.is_file() else files
    return any(map(_is_annotations, [p for p in candidates if p.suffix.lower() == ".xml"][:20]))


def read_cvat(source: Path) -> AnnotatedSet:
    """Read CVAT's XML file, or all of them in a folder; see `gather` for images.

    Boxes, polygons, masks and ellipses become boxes around them. An image with another shape is
    `ambiguous`. A video's frames are images named `frame_000000` and so on, as CVAT exports them.

    Raises:
        DatasetError: no such file.
    """
    return gather(
        source, "cvat", ".xml", _read_file, "export the task as 'CVAT for images 1.1' or as COCO"
    )


def _is_annotations(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return b"<annotations" in file.read(4096).replace(b"\0", b"")
    except OSError:
        return False


def _read_file(path: Path, index: ImageIndex) -> list[AnnotatedPhoto] | None:
    if not _is_annotations(path):
        return None
    name = path.relative_to(index.root).as_posix()
    try:
        root = parse_xml(read_limited(path, MAX_JSON), name)
        return [
            *(_read_image(path, image, index) for image in root.iter("image")),
            *_read_tracks(path, list(root.iter("track")), index),
        ]
    except (OSError, ParseError, DatasetError) as error:
        return [AnnotatedPhoto(path, name, status="unreadable", reason=str(error))]


def _read_image(path: Path, element: Element, index: ImageIndex) -> AnnotatedPhoto:
    reference = element.get("name", "")
    image, missing = find_referenced(reference, path, index, element.get("id", reference))
    if image is None:
        assert missing  # noqa: S101  # one of the two is always there
        return missing
    shapes = Shapes()
    for shape in element:
        if shape.tag in _SHAPES:
            shapes.add(shape.get("label", ""), _box(shape), f"with a {shape.tag} without a box")
    split = split_of_name(element.get("subset", "")) or ""
    photo = shapes.photo(image, index, split)
    try:
        size = (int(element.get("width", 0)), int(element.get("height", 0)))
    except ValueError:
        size = (0, 0)
    return replace(photo, size=size)


def _read_tracks(path: Path, tracks: Sequence[Element], index: ImageIndex) -> list[AnnotatedPhoto]:
    """Return the frames of a video with the shapes of its tracks."""
    frames: Mapping[str, Shapes] = defaultdict(Shapes)
    for track in tracks:
        for shape in track:
            if shape.tag in _SHAPES and shape.get("outside") != "1":
                what = f"with a {shape.tag} without a box"
                frames[shape.get("frame", "")].add(track.get("label", ""), _box(shape), what)
    found = []
    for frame, shapes in frames.items():
        image, missing = find_referenced(f"frame_{frame.zfill(6)}", path, index, frame)
        found.append(shapes.photo(image, index) if image else missing)
    return [photo for photo in found if photo]


def _box(shape: Element) -> list[float] | None:
    """Return the xyxy box of a shape in pixels; None if it has none."""
    try:
        if shape.tag == "box":
            x1, y1, x2, y2 = (float(shape.get(side, "")) for side in ("xtl", "ytl", "xbr", "ybr"))
            turned = float(shape.get("rotation", 0))
            center = ((x1 + x2) / 2, (y1 + y2) / 2)
            box = [x1, y1, x2, y2]
            return rotated_box(x1, y1, x2 - x1, y2 - y1, turned, center) if turned else box
        if shape.tag == "polygon":
            pairs = (point.split(",") for point in shape.get("points", "").split(";"))
            return box_of_points([(float(x), float(y)) for x, y in pairs])
        if shape.tag == "mask":
            left, top, w, h = (float(shape.get(k, "")) for k in ("left", "top", "width", "height"))
            return [left, top, left + w, top + h]
        if shape.tag == "ellipse":
            cx, cy, rx, ry = (float(shape.get(key, "")) for key in ("cx", "cy", "rx", "ry"))
            turned = float(shape.get("rotation", 0))
            return rotated_box(cx - rx, cy - ry, 2 * rx, 2 * ry, turned, (cx, cy))
    except ValueError:
        return None
    return None
