"""Shared by all formats of annotated sets: images with boxes as read, and checked boxes."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from urllib.parse import parse_qs, unquote

import numpy as np
import numpy.typing as npt

from maskyolo.core.boxes import MAX_BOXES, box_iou
from maskyolo.core.classes import (
    ALL_CLASS_NAMES,
    CLASS_NAMES,
    INCORRECT_MASK,
    class_of,
    plain_name,
)
from maskyolo.core.decoding import open_image
from maskyolo.core.files import walk_files
from maskyolo.core.images import IMAGE_SUFFIXES
from maskyolo.core.labels import IGNORE_CLASS
from maskyolo.core.text import counted
from maskyolo.errors import DatasetError

__all__ = [
    "CLASS_CHOICES",
    "NO_ANNOTATION",
    "AnnotatedPhoto",
    "AnnotatedSet",
    "Checked",
    "ExportedPhoto",
    "ImageIndex",
    "check_boxes",
    "find_repeated",
    "image_size",
    "list_files",
    "map_classes",
    "stem_of",
]

FloatBoxes = npt.NDArray[np.float64]

#: Possible values of CLASS in `--map NAME=CLASS`.
CLASS_CHOICES = (*ALL_CLASS_NAMES, "drop", IGNORE_CLASS, "keep")

#: The reason to leave out an image that its set does not mention: it may show any number of faces.
NO_ANNOTATION = "no annotation"


@dataclass(frozen=True)
class AnnotatedPhoto:
    """An image of an annotated set with its boxes as the set's files specify them, unchecked.

    Attributes:
        path: the image, or the annotation if there is no image.
        source: its path relative to the set's folder, with forward slashes.
        names: the class of each box (n).
        boxes: float64 (n, 4) xyxy, in pixels counted from 0, or as fractions of the image's width
            and height.
        shares: whether the boxes are fractions.
        ignored: bool (n), regions with any number of faces (COCO's `iscrowd`); length 0 if the
            format has none.
        size: width and height according to the annotation; None if it has none.
        split: train, val, test, or empty if the set does not specify it.
        status: a status of the ledger other than `kept` if the annotation or the image cannot be
            used, else empty.
        reason: why, or what was corrected.
        annotated: whether the set has an annotation for the image; an image without one may show
            any number of faces, and is left out.
    """

    path: Path
    source: str
    names: tuple[str, ...] = ()
    boxes: FloatBoxes = field(default_factory=lambda: np.zeros((0, 4)))
    shares: bool = False
    ignored: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=bool))
    size: tuple[int, int] | None = None
    split: str = ""
    status: str = ""
    reason: str = ""
    annotated: bool = True


@dataclass(frozen=True)
class AnnotatedSet:
    """An annotated set as read.

    Attributes:
        format: its format, by its name in `reading.FORMATS`.
        photos: its images, and an entry for each annotation that cannot be used.
        notes: remarks on the whole set, for the user.
    """

    format: str
    photos: list[AnnotatedPhoto]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Checked:
    """The boxes of an annotation that lie in their image.

    Attributes:
        boxes: float64 (k, 4) xyxy pixels of the upright image.
        index: int64 (k,), the index of each box in the annotation.
        status: `ambiguous` if the boxes cannot be trusted, else empty.
        reason: what was corrected or removed, in words; empty if nothing.
    """

    boxes: FloatBoxes
    index: npt.NDArray[np.int64]
    status: str = ""
    reason: str = ""


@dataclass(frozen=True)
class ExportedPhoto:
    """An image of a set that is being written.

    Attributes:
        file: its path relative to the new set's folder.
        split: train, val, test, or empty.
        width: width of the upright image in pixels.
        height: height of the upright image in pixels.
        boxes: float64 (n, 4) xyxy pixels.
        class_ids: class ids of the boxes (n).
    """

    file: Path
    split: str
    width: int
    height: int
    boxes: FloatBoxes
    class_ids: tuple[int, ...]


@np.errstate(over="ignore", invalid="ignore")  # boxes of 1e308 and NaN are removed
def check_boxes(photo: AnnotatedPhoto, width: int, height: int, overhang: float = 0.0) -> Checked:
    """Convert a photo's boxes to pixels of its image of `width` x `height`, and check them.

    Fractions become pixels. Boxes drawn on the same image in another size are scaled. Swapped
    corners are put in order. Boxes are clipped to the image, and removed if no area is left. If the
    image was rotated after it was annotated, the result is `ambiguous`, because the direction is
    unknown.

    Args:
        photo: the image's annotation.
        width: width of the upright image in pixels.
        height: height of the upright image in pixels.
        overhang: number of pixels by which a box may stick out without being clipped.
    """
    boxes = photo.boxes.astype(np.float64).reshape(-1, 4).copy()
    notes: list[str] = []
    if len(boxes) > MAX_BOXES:
        reason = f"{len(boxes):,} boxes, more than {MAX_BOXES:,}"
        return Checked(np.zeros((0, 4)), np.zeros(0, dtype=np.int64), "ambiguous", reason)
    if photo.shares:
        boxes *= [width, height, width, height]
    elif photo.size and min(photo.size) > 0 and photo.size != (width, height):
        claimed = f"{photo.size[0]} x {photo.size[1]}"
        across, down = width / photo.size[0], height / photo.size[1]
        if photo.size == (height, width):
            reason = f"annotated as {claimed}, but the upright image is {width} x {height}: rotated"
            return Checked(np.zeros((0, 4)), np.zeros(0, dtype=np.int64), "ambiguous", reason)
        if abs(across - down) < 0.01 * down:  # 0 for a size of hundreds of digits
            boxes *= [across, down, across, down]
            notes.append(f"boxes scaled from {claimed}")
        else:
            notes.append(f"annotated with the wrong size {claimed}")
    ordered = np.concatenate(
        [np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])], axis=1
    )
    clipped = ordered.clip(0, [width, height, width, height])
    usable = np.isfinite(boxes).all(axis=1) & (clipped[:, :2] < clipped[:, 2:]).all(axis=1)
    outside = np.abs(ordered - clipped).max(axis=1, initial=0)
    for which, what in (
        (usable & (ordered != boxes).any(axis=1), "with swapped corners reordered"),
        # Up to one pixel may just mean that the annotator counted from 1 instead of 0.
        (usable & (outside > 1), "clipped to the image"),
        (~usable, "removed: no area in the image"),
    ):
        if which.any():
            notes.append(f"{counted(int(which.sum()), 'box', 'boxes')} {what}")
    result = np.where((outside > overhang)[:, None], clipped, ordered)
    return Checked(result[usable], np.flatnonzero(usable), "", "; ".join(notes))


def find_repeated(names: Sequence[str], boxes: FloatBoxes) -> tuple[list[int], bool]:
    """Find boxes of the same face: those with an IoU of at least 0.9 with an earlier one.

    Returns:
        The indices of the boxes to keep, and whether boxes of the same face have different classes.
    """
    kept: list[int] = []
    clash = False
    for place, name in enumerate(names):
        overlaps = box_iou(boxes[place : place + 1], boxes[kept])[0]
        twins = [kept[other] for other in np.flatnonzero(overlaps >= 0.9)]
        clash = clash or any(names[other] != name for other in twins)
        if not twins:
            kept.append(place)
    return kept, clash


def map_classes(
    found: Mapping[str, int], class_map: Mapping[str, str], where: str
) -> dict[str, str]:
    """Return what each class of an annotated set becomes: a class name, `drop` or `ignore`.

    A class of masks worn incorrectly must be in `class_map`, unless its name is `incorrect_mask`.
    If it is kept, that becomes its name.

    Args:
        found: number of boxes by class name.
        class_map: the user's choices by class name (case, spaces and punctuation do not matter),
            each one of `CLASS_CHOICES`.
        where: the set, for error messages.

    Raises:
        DatasetError: a class that is neither in `class_map` nor known to `core.classes.class_of`;
            the message lists all classes and the possible values.
    """
    mapped = {plain_name(name): choice for name, choice in class_map.items()}
    wrong = sorted({choice for choice in mapped.values() if choice not in CLASS_CHOICES})
    if wrong:
        raise DatasetError(
            f"unknown class '{wrong[0]}' in the class map",
            f"choose one of {', '.join(CLASS_CHOICES)}",
        )
    usual = {name: class_of(name) for name in found}
    targets = {
        name: mapped.get(plain_name(name))
        or (usual[name] if usual[name] in (*CLASS_NAMES, name) else "")
        for name in found
    }
    # A class 'face' alone may include masks. Next to a class with masks, it does not.
    if "with_mask" in targets.values():
        targets = {
            name: target or ("without_mask" if plain_name(name) in ("face", "faces") else "")
            for name, target in targets.items()
        }
    if not all(targets.values()):
        raise _unknown_class(found, targets, where)
    kept = {name: INCORRECT_MASK if usual[name] == INCORRECT_MASK else name for name in found}
    return {name: kept[name] if target == "keep" else target for name, target in targets.items()}


def _unknown_class(
    found: Mapping[str, int], targets: Mapping[str, str], where: str
) -> DatasetError:
    """Return the error that lists all classes and how to map the first one without a target."""
    listed = []
    for name, count in found.items():
        meaning = "" if targets[name] in ("", name) else f", {targets[name]}"
        listed.append(f"{name} ({counted(count, 'box', 'boxes')}{meaning})")
    unknown = next(name for name, target in targets.items() if not target)
    return DatasetError(
        f"unknown class '{unknown}' in {where}, which has {', '.join(listed)}",
        f"map it with --map {_quoted(unknown)}=CLASS, where CLASS is with_mask, "
        "without_mask, incorrect_mask (a third class), drop (remove the boxes), ignore (blank "
        "them out) or keep (a class of its own)",
    )


def image_size(path: Path) -> tuple[int, int] | None:
    """Return the width and height of an image file, upright by its EXIF orientation.

    Reads only the header, and returns None if it cannot be read.
    """
    try:
        with open_image(path) as image:
            width, height = image.size
            return (
                (height, width)
                if image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
                else (width, height)
            )
    except Exception:  # noqa: BLE001  # Pillow's plugins raise anything; decoding will report it
        return None


def list_files(
    folder: Path, unreadable: Callable[[Path, OSError], None] | None = None
) -> list[Path]:
    """Return all files below a folder, sorted, without hidden ones.

    Args:
        folder: where to start.
        unreadable: called for each folder that cannot be read; see `core.files.walk_files`.
    """
    files = (path for path in walk_files(folder, unreadable) if path.is_file())
    return sorted(
        path
        for path in files
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def stem_of(name: str) -> str:
    """Return a file name without its folders and its image suffix, as lists of images give it.

    >>> stem_of("images/a.b.jpg"), stem_of("a.b")
    ('a.b', 'a.b')
    """
    file = PureWindowsPath(name)
    return file.stem if file.suffix.lower() in IMAGE_SUFFIXES else file.name


class ImageIndex:
    """Finds the image of an annotation, even if the set was copied elsewhere.

    Names are compared without case and in Unicode's composed form. If several images have the same
    name, the one that has the most folder names in common with the annotation is taken.
    """

    def __init__(self, root: Path, files: Iterable[Path]) -> None:
        self.root = root
        self.images = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        self._by_stem: dict[str, list[Path]] = defaultdict(list)
        for path in self.images:
            self._by_name[_folded(path.name)].append(path)
            self._by_stem[_folded(path.stem)].append(path)

    def by_name(self, name: str, annotation: Path) -> Path | None:
        """Return the image with this file name, which may include folders (slashes or backslashes).

        Raises:
            DatasetError: several images have that name, and none of them is nearer than the others.
        """
        parts = PureWindowsPath(name).parts  # splits at slashes and backslashes
        found = self._by_name.get(_folded(parts[-1]), []) if parts else []
        return self._nearest(found, (*annotation.parent.parts, *parts[:-1]), name)

    def by_reference(self, reference: str, annotation: Path) -> Path | None:
        """Return the image that a tool refers to by a path, an address, or either of them encoded.

        Of an address, the last part of its path counts, or what its query says after `d=`, as in
        Label Studio's `/data/local-files/?d=photos/a.jpg`. The name may start with the eight digits
        and the hyphen that Label Studio adds to an uploaded file.

        Raises:
            DatasetError: as for `by_name`.
        """
        decoded = [reference, unquote(reference), unquote(unquote(reference))]
        plain = [re.sub(r"[?#].*", "", name, flags=re.DOTALL) for name in decoded]
        queried = [parse_qs(name.partition("?")[2]).get("d", [""])[0] for name in decoded]
        candidates = [*decoded, *plain, *queried, *(name.replace("+", " ") for name in plain)]
        for name in dict.fromkeys(filter(None, candidates)):
            if image := self.by_name(name, annotation):
                return image
        last = PureWindowsPath(unquote(plain[0])).name
        unnumbered = re.sub(r"^[0-9a-f]{8}-", "", last)
        found = self.by_name(unnumbered, annotation) if unnumbered not in ("", last) else None
        return found or self.by_stem(stem_of(last), annotation) or None

    def by_stem(self, stem: str, annotation: Path) -> Path | None:
        """Return the image with this name without suffix; raises the same errors as `by_name`."""
        return self._nearest(self._by_stem.get(_folded(stem), []), annotation.parent.parts, stem)

    def _nearest(self, found: list[Path], folders: tuple[str, ...], name: str) -> Path | None:
        if len(found) < 2:
            return found[0] if found else None
        names = Counter(folders)
        shared = [
            sum((names & Counter(path.parent.parts)).values()) - len(path.parent.parts) / 1000
            for path in found
        ]
        best = [path for path, score in zip(found, shared, strict=True) if score == max(shared)]
        if len(best) > 1:
            listed = " and ".join(path.relative_to(self.root).as_posix() for path in best[:2])
            raise DatasetError(f"several images are named {name}: {listed}")
        return best[0]


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _quoted(name: str) -> str:
    return f'"{name}"' if re.search(r"[^\w-]", name) else name
