"""Gather the photos of one or more sources for `convert`: class folders and annotated sets."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
import numpy.typing as npt

from maskyolo.conversion.photos import Photo, find_photos
from maskyolo.core.boxes import as_boxes, box_area
from maskyolo.core.choices import SourceFormat
from maskyolo.core.classes import SPLITS, order_names
from maskyolo.core.files import read_image_list, written_name
from maskyolo.core.labels import IGNORE, IGNORE_CLASS, Labels
from maskyolo.dataset.formats.base import (
    AnnotatedPhoto,
    Checked,
    check_boxes,
    find_repeated,
    image_size,
    list_files,
    map_classes,
    stem_of,
)
from maskyolo.dataset.formats.foreign import foreign_format
from maskyolo.dataset.formats.reading import check_understood, find_format, read_annotations
from maskyolo.errors import DatasetError

__all__ = ["ListedPhotos", "list_photos", "own_splits"]

#: The value in a class map for classes whose boxes are left out.
_DROP = "drop"


@dataclass(frozen=True)
class ListedPhotos:
    """The photos to convert.

    Attributes:
        photos: the photos of all sources, in order.
        names: the class names of their labels by id: the usual two, `incorrect_mask` if there is a
            folder or class of it, then those that are kept as classes of their own.
        notes: remarks on the annotated sets, for the user.
    """

    photos: list[Photo]
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()


#: A source: the prefix of its photos' names, and the photos.
_Source = tuple[str, Sequence[Photo | AnnotatedPhoto]]


def list_photos(
    sources: Sequence[Path | str],
    format: SourceFormat | str = SourceFormat.AUTO,  # noqa: A002  # the option's name
    class_map: Mapping[str, str] | None = None,
    image_list: Path | str | None = None,
    keep_splits: bool = False,
) -> ListedPhotos:
    """List the photos of all sources, in order.

    In the ledger, the photos of the first source keep their names, so these do not change when
    sources are added. The names of all other photos start with the name of their source.

    Args:
        sources: folders that contain class folders, or annotated sets.
        format: format of all sources.
        class_map: what folders and classes stand for.
        image_list: a file with the names of the photos to use, one per line, with any folders or
            none. It is looked for in the working folder and in the sources.
        keep_splits: whether photos keep the splits of their source; those that are in none of them
            are then `excluded`.

    Raises:
        DatasetError: a source is neither, no box of an annotated set can be used, a class is
            unknown, or `image_list` contains a name that
            no source has.
        MaskyoloError: the format is unknown.
    """
    format = SourceFormat.parse(format, "format")  # noqa: A001
    class_map = class_map or {}
    read: list[_Source] = []
    notes: list[str] = []
    for source in map(Path, sources):
        prefix = _prefix(source, read) if read else ""
        kind = find_format(source) if format is SourceFormat.AUTO else format
        if kind == SourceFormat.FOLDERS:
            read.append((prefix, _in_class_folders(source, class_map, len(sources) == 1)))
        else:
            found = read_annotations(source, kind)
            check_understood(source, found)
            read.append((prefix, found.photos))
            notes += found.notes
    if image_list is not None:
        read = _chosen(read, _read_list(image_list, sources))
    targets = _map_classes(read, class_map, ", ".join(map(str, sources)))
    folders = {one.class_name for _, found in read for one in found if isinstance(one, Photo)}
    names = order_names(sorted({*folders, *targets.values()} - {_DROP, IGNORE_CLASS}))
    photos = []
    for prefix, listed in read:
        for one in _in_splits(listed) if keep_splits else listed:
            photo = _labeled(one, targets, names) if isinstance(one, AnnotatedPhoto) else one
            split = photo.split if keep_splits else ""
            name = written_name(prefix + photo.source)
            photos.append(replace(photo, source=name, split=split))
    return ListedPhotos(photos, names, tuple(notes))


def own_splits(photos: Sequence[Photo]) -> tuple[float, ...]:
    """Return the fractions of train, val and test among photos that keep their splits.

    Raises:
        DatasetError: no photo is in train, or none in val.
    """
    counts = Counter(photo.split for photo in photos if not photo.status)
    total = sum(counts[split] for split in SPLITS)
    if not (counts["train"] and counts["val"]):
        found = ", ".join(f"{split} ({counts[split]})" for split in SPLITS if counts[split])
        raise DatasetError(
            "cannot keep the splits: the sources have no train or no val photos; "
            f"found {found or 'none'}",
            "give fractions with --splits",
        )
    return tuple(counts[split] / total for split in SPLITS)


def _map_classes(
    read: Sequence[_Source], class_map: Mapping[str, str], where: str
) -> dict[str, str]:
    """Return what each class of the annotated sets stands for; empty if there are none."""
    annotated = [
        photo for _, photos in read for photo in photos if isinstance(photo, AnnotatedPhoto)
    ]
    if not annotated:
        return {}
    found = Counter(
        name
        for photo in annotated
        for place, name in enumerate(photo.names)
        if not _is_ignored(photo, place)
    )
    return map_classes(dict(sorted(found.items())), class_map, where)


def _in_class_folders(source: Path, class_map: Mapping[str, str], both: bool) -> list[Photo]:
    """List the photos in class folders; see `find_photos`.

    Raises:
        DatasetError: as `find_photos`; if there are annotations in a format that is not read, the
            message names that format.
    """
    try:
        return find_photos(source, class_map, both=both)
    except DatasetError as error:
        found = foreign_format(list_files(source, lambda *_: None)) if source.is_dir() else ""
        if not found:
            raise
        raise DatasetError(
            f"cannot read {source}: it has {found}, which is not supported, and no class folders "
            f"({error.problem})",
            "export the set as COCO, YOLO or Pascal VOC, or sort the photos into with_mask and "
            "without_mask",
        ) from error


def _in_splits(
    photos: Sequence[Photo | AnnotatedPhoto],
) -> Iterator[Photo | AnnotatedPhoto]:
    """Exclude the photos of a source that are in none of its splits.

    Photos of class folders without splits stay, and are assigned to splits later.
    """
    has_splits = any(photo.split or isinstance(photo, AnnotatedPhoto) for photo in photos)
    for photo in photos:
        if has_splits and not photo.split and not photo.status:
            photo = replace(photo, status="excluded", reason="in no split of its set")
        yield photo


def _labeled(photo: AnnotatedPhoto, targets: Mapping[str, str], names: tuple[str, ...]) -> Photo:
    """Return a photo of an annotated set with its usable boxes, or with the reason for none."""
    size = None if photo.status else image_size(photo.path)
    made = Photo(
        photo.path,
        photo.source,
        "",
        _labels([], []),
        split=photo.split,
        status=photo.status,
        reason=photo.reason,
        annotated=photo.annotated,
    )
    if size is None:  # unreadable; the reason is added when the image is decoded
        return made
    checked = check_boxes(photo, *size)
    targeted = [
        IGNORE_CLASS if _is_ignored(photo, place) else targets[photo.names[place]]
        for place in checked.index
    ]
    chosen, status, reason = _choose_boxes(checked, targeted)
    class_ids = [
        IGNORE if targeted[place] == IGNORE_CLASS else names.index(targeted[place])
        for place in chosen
    ]
    boxes = checked.boxes[chosen]
    return replace(
        made,
        class_name=_largest(boxes, class_ids, names),
        labels=_labels(boxes, class_ids),
        status=status,
        reason=reason,
    )


def _choose_boxes(checked: Checked, targeted: Sequence[str]) -> tuple[list[int], str, str]:
    """Choose the boxes of a photo to use, given what the class of each stands for.

    Returns:
        The indices of the boxes, in order; the status, empty if the photo can be used; the reason.
    """
    faces = [place for place, name in enumerate(targeted) if name not in (_DROP, IGNORE_CLASS)]
    single, clash = find_repeated([targeted[place] for place in faces], checked.boxes[faces])
    status, reason = checked.status, checked.reason
    if clash:
        status, reason = "ambiguous", "two boxes of the same face have different classes"
    if repeated := len(faces) - len(single):
        note = f"{repeated} repeated box{'es' if repeated > 1 else ''} removed"
        reason = f"{reason}; {note}" if reason else note
    if targeted and set(targeted) == {_DROP} and not status:
        status, reason = "excluded", "all its boxes are of dropped classes"
    ignored = [place for place, name in enumerate(targeted) if name == IGNORE_CLASS]
    return sorted([*(faces[place] for place in single), *ignored]), status, reason


def _largest(boxes: npt.ArrayLike, class_ids: Sequence[int], names: Sequence[str]) -> str:
    """Return the class of the largest face; empty if there is none."""
    if not class_ids:
        return ""
    areas = np.where(np.array(class_ids) == IGNORE, -1, box_area(boxes))
    return names[class_ids[int(areas.argmax())]] if areas.max() >= 0 else ""


def _labels(boxes: npt.ArrayLike, class_ids: Sequence[int]) -> Labels:
    return Labels(as_boxes(boxes), np.array(class_ids, dtype=np.int64))


def _is_ignored(photo: AnnotatedPhoto, place: int) -> bool:
    return bool(len(photo.ignored) and photo.ignored[place])


def _prefix(source: Path, earlier: Sequence[_Source]) -> str:
    """Return the prefix for the names of an additional source's photos.

    It is the source's own name, with a number added if another source's names start with it.
    """
    path = source.absolute()
    name = path.parent.name if path.is_file() else path.name
    taken = {
        (prefix + photo.source).split("/")[0] for prefix, photos in earlier for photo in photos
    }
    numbered = (f"{name}~{number}" for number in itertools.count(2))
    free = (candidate for candidate in itertools.chain([name], numbered) if candidate not in taken)
    return next(free) + "/"


def _read_list(image_list: Path | str, sources: Sequence[Path | str]) -> list[str]:
    places = [Path(image_list), *(Path(source) / image_list for source in sources)]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise DatasetError(
            f"no list {image_list} here or in {', '.join(map(str, sources))}",
            "give a file with the name of one photo per line",
        )
    return read_image_list(path)


def _chosen(read: Sequence[_Source], listed: Sequence[str]) -> list[_Source]:
    """Keep the photos that are listed.

    If several photos have the name in a line, those whose folders match the line best are kept.
    """
    by_stem: dict[str, list[str]] = defaultdict(list)
    for prefix, photos in read:
        for photo in photos:
            by_stem[stem_of(photo.source)].append(prefix + photo.source)
    chosen: set[str] = set()
    missing = []
    for line in listed:
        candidates = by_stem.get(stem_of(line), [])
        folders = PureWindowsPath(line).parts[-2::-1]
        fits = [
            _common(folders, PurePosixPath(candidate).parts[-2::-1]) for candidate in candidates
        ]
        chosen.update(
            candidate for candidate, fit in zip(candidates, fits, strict=True) if fit == max(fits)
        )
        if not candidates:
            missing.append(line)
    if missing:
        raise DatasetError(
            f"{len(missing)} of {len(listed)} listed photos are in no source, such as {missing[0]}",
            "correct the list",
        )
    return [
        (prefix, [photo for photo in photos if prefix + photo.source in chosen])
        for prefix, photos in read
    ]


def _common(one: Sequence[str], two: Sequence[str]) -> int:
    """Count how many folders two paths share, starting with the innermost."""
    return next(
        (
            count
            for count, (first, second) in enumerate(zip(one, two, strict=False))
            if first != second
        ),
        min(len(one), len(two)),
    )
