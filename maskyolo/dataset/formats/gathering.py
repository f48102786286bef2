"""Read sets with a few annotation files for many images, such as COCO's JSON or CVAT's XML."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from maskyolo.core.text import counted
from maskyolo.dataset.formats.base import (
    NO_ANNOTATION,
    AnnotatedPhoto,
    AnnotatedSet,
    ImageIndex,
    list_files,
)
from maskyolo.dataset.split_names import split_of
from maskyolo.errors import DatasetError

__all__ = ["Shapes", "find_referenced", "gather", "problems_of"]

#: Reads an annotation file: its images, and an entry with the file's own path for its problems.
#: None if the file is of another kind.
ReadFile = Callable[[Path, ImageIndex], "list[AnnotatedPhoto] | None"]


@dataclass
class Shapes:
    """Collects the shapes of an image's annotation.

    An image of which a shape cannot be used is `ambiguous`: without one of its faces, it would
    teach that the face is background.
    """

    names: list[str] = field(default_factory=list)
    boxes: list[list[float]] = field(default_factory=list)
    odd: Counter[str] = field(default_factory=Counter)

    def add(self, name: str, box: list[float] | None, why_not: str = "without a box") -> None:
        """Add a shape; if `box` is None, count it under the reason `why_not`."""
        if box is None:
            self.odd[why_not] += 1
        else:
            self.names.append(name)
            self.boxes.append(box)

    def photo(self, image: Path, index: ImageIndex, split: str = "") -> AnnotatedPhoto:
        """Return the image with these shapes in pixels; the split may come from its path."""
        source = image.relative_to(index.root).as_posix()
        odd = (f"{counted(count, 'annotation')} {why}" for why, count in self.odd.items())
        return AnnotatedPhoto(
            image,
            source,
            tuple(self.names),
            np.array(self.boxes, dtype=np.float64).reshape(-1, 4),
            split=split or split_of(source),
            status="ambiguous" if self.odd else "",
            reason=", ".join(odd),
        )


def find_referenced(
    reference: str, path: Path, index: ImageIndex, key: object
) -> tuple[Path | None, AnnotatedPhoto | None]:
    """Find the image that an annotation file refers to, or return an entry that says why not.

    Args:
        reference: a path or an address; see `ImageIndex.by_reference`.
        path: the annotation file.
        index: the images of the set.
        key: what identifies the image in the file.
    """
    reason = f"its image {reference or '(without a name)'} is missing; add it to the set"
    try:
        image = index.by_reference(reference, path)
    except DatasetError as error:
        image, reason = None, str(error)
    if image:
        return image, None
    name = f"{path.relative_to(index.root).as_posix()}#{key}"
    return None, AnnotatedPhoto(path, name, status="unreadable", reason=reason)


def problems_of(path: Path, index: ImageIndex, problems: Counter[str]) -> list[AnnotatedPhoto]:
    """Return an entry with the problems of an annotation file, or nothing if there are none."""
    if not problems:
        return []
    reason = ", ".join(f"{count} {what}" for what, count in problems.items())
    name = path.relative_to(index.root).as_posix()
    return [AnnotatedPhoto(path, name, status="unreadable", reason=reason)]


def gather(source: Path, form: str, suffix: str, read: ReadFile, expected: str) -> AnnotatedSet:
    """Read an annotation file, or all of them in a folder.

    Images are looked for below the file's folder, or below its parent if the folder is named
    `annotations` or `labels`. An image that no file of a folder lists is `excluded`; one that two
    files list gets the boxes of both.

    Args:
        source: the file or folder.
        form: the name of the format.
        suffix: suffix of the files.
        read: reads a file.
        expected: what a set of the format needs, for the error.

    Raises:
        DatasetError: no such file.
    """
    folder = source.parent if source.is_file() else source
    inner = source.is_file() and folder.name.lower() in ("annotations", "labels")
    root = folder.parent if inner else folder
    files = list_files(root)
    index = ImageIndex(root, files)
    candidates = [path for path in files if path.suffix.lower() == suffix]
    read_files = [
        (path, found)
        for path in ([source] if source.is_file() else candidates)
        if (found := read(path, index)) is not None
    ]
    if not read_files:
        title = {"coco": "COCO", "cvat": "CVAT"}.get(form, "Label Studio")
        raise DatasetError(f"no {title} annotations in {source}", expected)
    photos: dict[Path, AnnotatedPhoto] = {}
    problems = []
    for path, found in read_files:
        for photo in found:
            if photo.path == path:
                problems.append(photo)
            elif photo.path in photos:
                photos[photo.path] = _joined(photos[photo.path], photo)
            else:
                photos[photo.path] = photo
    for image in index.images if source.is_dir() else ():
        if image not in photos:
            photos[image] = _unannotated(image, index)
    listed: Sequence[AnnotatedPhoto] = [*photos.values(), *problems]
    return AnnotatedSet(form, sorted(listed, key=lambda photo: photo.source))


def _unannotated(image: Path, index: ImageIndex) -> AnnotatedPhoto:
    name = image.relative_to(index.root).as_posix()
    return AnnotatedPhoto(
        image,
        name,
        split=split_of(name),
        status="excluded",
        reason=NO_ANNOTATION,
        annotated=False,
    )


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
        ignored=np.concatenate([one.ignored, two.ignored[new]])
        if len(two.ignored)
        else one.ignored,
        status=one.status or two.status,
        reason=one.reason or two.reason,
        annotated=one.annotated or two.annotated,
    )
