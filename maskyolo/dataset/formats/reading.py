"""Detect the format of an annotated set, and read it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from maskyolo.core.text import counted
from maskyolo.dataset.formats import coco, cvat, label_studio, voc, yolo
from maskyolo.dataset.formats.base import AnnotatedPhoto, AnnotatedSet, list_files
from maskyolo.dataset.formats.foreign import foreign_format
from maskyolo.errors import DatasetError

__all__ = [
    "FORMATS",
    "Format",
    "check_understood",
    "find_format",
    "read_annotations",
    "read_split",
]


class Format(Protocol):
    """A format of annotated sets: how to detect it, and how to read it."""

    def knows(self, source: Path, files: Sequence[Path]) -> bool:
        """Return whether `source` is a set in this format; `files` are all files in it."""

    def read(self, source: Path) -> AnnotatedSet:
        """Read all images with their boxes, or with the reason they cannot be used.

        Raises:
            DatasetError: not a set in this format.
        """


@dataclass(frozen=True)
class _Functions:
    knows: Callable[[Path, Sequence[Path]], bool]
    read: Callable[[Path], AnnotatedSet]


#: The formats by name, in the order in which they are tried.
FORMATS: Mapping[str, Format] = {
    "yolo": _Functions(yolo.is_yolo, yolo.read_yolo_set),
    "cvat": _Functions(cvat.is_cvat, cvat.read_cvat),
    "voc": _Functions(voc.is_voc, voc.read_voc),
    "coco": _Functions(coco.is_coco, coco.read_coco),
    "label-studio": _Functions(label_studio.is_label_studio, label_studio.read_label_studio),
}


def find_format(source: Path | str) -> str:
    """Return the format of an annotated set, a name in `FORMATS`, or else `folders`.

    Raises:
        DatasetError: `source` does not exist, or is a file that is not an annotation.
    """
    source = Path(source)
    if not source.exists():
        raise DatasetError(
            f"no folder {source}",
            "give a folder that contains with_mask and without_mask, or an annotated set",
        )
    # Ignore folders that cannot be read; the format's reader reports them.
    files = list_files(source, lambda *_: None) if source.is_dir() else []
    found = next((name for name, form in FORMATS.items() if form.knows(source, files)), None)
    if found is None and yolo.has_label_files(source, files):
        found = "yolo"
    if found is None and source.is_file():
        raise DatasetError(
            f"{source} is not a data set: expected a folder, a data.yaml, or a file "
            "of COCO, CVAT or Label Studio",
            "give the folder that contains it",
        )
    return found or "folders"


def check_understood(source: Path | str, found: AnnotatedSet) -> None:
    """Check that at least one box of an annotated set can be used.

    Raises:
        DatasetError: none can; the message gives the format and the reasons.
    """
    usable = [photo for photo in found.photos if not photo.status]
    if any(photo.names for photo in usable):
        return
    reasons: dict[str, list[str]] = {}
    for photo in found.photos:
        if photo.status:
            reasons.setdefault(photo.status, []).append(photo.reason)
    listed = [
        f"{len(given)} {status}, the first because: {given[0]}" for status, given in reasons.items()
    ]
    if usable:
        listed.append(f"{counted(len(usable), 'image')} without boxes")
    raise DatasetError(
        f"{source} was recognized as a set in the format {found.format}, but none of its boxes can "
        f"be used: {'; '.join([*listed, *found.notes])}",
        "correct this, or export the set as COCO or as YOLO",
    )


def read_annotations(source: Path | str, format: str = "auto") -> AnnotatedSet:  # noqa: A002  # the command's option
    """Read an annotated set.

    Raises:
        DatasetError: no such set, or an unknown format.
    """
    name = find_format(source) if format == "auto" else format
    if name not in FORMATS:
        files = list_files(Path(source)) if Path(source).is_dir() else []
        found = foreign_format(files)
        raise DatasetError(
            f"{source} has no annotations in a known format"
            + (f": it has {found}" if found else f" (found '{name}')"),
            f"{'export it as one of' if found else 'the formats are'} {', '.join(FORMATS)}",
        )
    return _plausible(source, FORMATS[name].read(Path(source)))


def _plausible(source: Path | str, found: AnnotatedSet) -> AnnotatedSet:
    """Return a set whose boxes have plausible units: pixels, or fractions of the image's size.

    Some tools write COCO or Pascal VOC with fractions.

    Raises:
        DatasetError: the boxes look like corners, where the format has a size.
    """
    photos = [photo for photo in found.photos if not photo.status and len(photo.boxes)]
    if not photos:
        return found
    boxes = np.concatenate([photo.boxes for photo in photos])
    if not any(photo.shares for photo in photos) and boxes.max() <= 1.001:
        fractions = [replace(photo, shares=True) for photo in found.photos]
        note = "all boxes are fractions of the image's size, as in YOLO, and were read as such"
        return replace(found, photos=fractions, notes=(*found.notes, note))
    if found.format in ("coco", "yolo"):
        _check_no_corners(source, photos, boxes, centered=found.format == "yolo")
    return found


def _check_no_corners(
    source: Path | str,
    photos: Sequence[AnnotatedPhoto],
    boxes: npt.NDArray[np.float64],
    *,
    centered: bool,
) -> None:
    """Check that the last two numbers of the boxes in the files are sizes, not the other corner.

    If they were corners, all are larger than the first two, and many boxes stick out.

    Raises:
        DatasetError: they look like corners.
    """
    sizes = boxes[:, 2:] - boxes[:, :2]
    first = (boxes[:, :2] + boxes[:, 2:]) / 2 if centered else boxes[:, :2]
    limits = [
        (1, 1) if photo.shares else photo.size or (0, 0) for photo in photos for _ in photo.boxes
    ]
    ends = np.array(limits, dtype=float)
    known = ends > 0
    below, above = boxes[:, :2] < -0.02 * ends, boxes[:, 2:] > 1.02 * ends
    outside = ((below | above) & known).any(axis=1)
    if (sizes > first).all() and outside.mean() > 0.25:
        expected = f"{'cx cy' if centered else 'x y'} width height"
        raise DatasetError(
            f"the boxes of {source} look like corners (x1 y1 x2 y2), not {expected}: "
            f"{int(outside.sum())} of {len(boxes)} would stick out of their images",
            "export the set again, or write the boxes as the format requires",
        )


def read_split(source: Path | str, split: str) -> AnnotatedSet:
    """Read the images of a split of an annotated set; all of them if the set has no splits.

    Raises:
        DatasetError: no such set, or it has splits, but not this one.
    """
    source = Path(source)
    name = find_format(source) if source.exists() else ""
    if name not in FORMATS:
        raise DatasetError(
            f"no data set at {source}: {'it has no annotations' if name else 'it does not exist'}",
            "create one with `maskyolo convert FOLDER --out DIR`",
        )
    if name == "yolo":
        described = yolo.describe_set(source)
        if any(described.splits):
            described.check_split(split)
            return _plausible(source, yolo.read_yolo_set(source, split))
    found = read_annotations(source, name)
    splits = {photo.split for photo in found.photos} - {""}
    if not splits:
        return found
    _check_split(source, split, sorted(splits))
    return replace(found, photos=[photo for photo in found.photos if photo.split == split])


def _check_split(source: Path, split: str, splits: Iterable[str]) -> None:
    listed = [known for known in splits if known]
    if split not in listed:
        raise DatasetError(f"{source} has no split '{split}'", f"choose one of {', '.join(listed)}")
