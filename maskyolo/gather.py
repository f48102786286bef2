"""Gather the photos of one or several sources, class folders and annotated sets alike, for `convert`."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
import numpy.typing as npt

from maskyolo.boxes import as_boxes, box_area
from maskyolo.convert import Photo, find_photos
from maskyolo.core.classes import CLASS_NAMES, SPLITS
from maskyolo.core.files import read_image_list, written_name
from maskyolo.errors import DatasetError
from maskyolo.formats import FORMATS, AnnotatedPhoto, find_format, map_classes, read_annotations
from maskyolo.formats.base import check_boxes, find_repeated, image_size, stem_of
from maskyolo.labels import IGNORE, IGNORE_CLASS, Labels

__all__ = ["gather_photos", "own_splits"]

#: What stands before the names of a source's photos, and these.
_Source = tuple[str, Sequence[Photo | AnnotatedPhoto]]


def gather_photos(
    sources: Sequence[Path | str],
    format: str = "auto",  # noqa: A002  # the command's option
    class_map: Mapping[str, str] | None = None,
    image_list: Path | str | None = None,
    keep_splits: bool = False,
) -> tuple[list[Photo], tuple[str, ...]]:
    """List the photos of all sources, in their order.

    In the ledger the photos of the first source have their own names, which stay when a source is added; those of each further one
    have its name before theirs.

    Args:
        sources: folders with class folders, or annotated sets.
        format: auto, folders, or one of `formats.FORMATS`; holds for all sources.
        class_map: what folders and classes mean.
        image_list: a file with the names of the photos to take, one a line, with any or no folders; also looked for in the sources.
        keep_splits: whether photos of annotated sets keep their splits; those that have none are `excluded`.

    Returns:
        The photos, and the class names of their labels by id: the two, and those that are kept as classes of their own.

    Raises:
        DatasetError: a source that is none, an unknown format or class, a name of `image_list` that no source has.
    """
    if format not in ("auto", "folders", *FORMATS):
        raise DatasetError(
            f"unknown format '{format}'; choose from auto, folders, {', '.join(FORMATS)}"
        )
    class_map = class_map or {}
    read: list[_Source] = []
    for source in map(Path, sources):
        prefix = _prefix(source, read) if read else ""
        kind = find_format(source) if format == "auto" else format
        if kind == "folders":
            read.append((prefix, find_photos(source, class_map, both=len(sources) == 1)))
        else:
            read.append((prefix, read_annotations(source, kind)))
    if image_list is not None:
        read = _chosen(read, _read_list(image_list, sources))
    annotated = [
        photo for _, photos in read for photo in photos if isinstance(photo, AnnotatedPhoto)
    ]
    found = Counter(
        name
        for photo in annotated
        for place, name in enumerate(photo.names)
        if not _is_ignored(photo, place)
    )
    targets = (
        map_classes(dict(sorted(found.items())), class_map, ", ".join(map(str, sources)))
        if annotated
        else {}
    )
    names = (*CLASS_NAMES, *sorted(set(targets.values()) - {*CLASS_NAMES, "drop", IGNORE_CLASS}))
    return [
        replace(made, source=written_name(prefix + made.source))
        for prefix, photos in read
        for photo in photos
        for made in [
            _labelled(photo, targets, names, keep_splits)
            if isinstance(photo, AnnotatedPhoto)
            else photo
        ]
    ], names


def own_splits(photos: Sequence[Photo]) -> tuple[float, ...]:
    """Return the shares of train, val and test among photos that keep their splits.

    Raises:
        DatasetError: none is in train, or none in val.
    """
    counts = Counter(photo.split for photo in photos if not photo.status)
    total = sum(counts[split] for split in SPLITS)
    if not (counts["train"] and counts["val"]):
        found = (
            ", ".join(f"{split} ({counts[split]})" for split in SPLITS if counts[split]) or "none"
        )
        raise DatasetError(
            f"cannot keep the splits: the sources have no train or no val photos; found {found}; give shares with --splits"
        )
    return tuple(counts[split] / total for split in SPLITS)


def _labelled(
    photo: AnnotatedPhoto, targets: Mapping[str, str], names: tuple[str, ...], keep_split: bool
) -> Photo:
    """Return a photo of an annotated set with boxes that can be relied on, or with the reason why there are none."""
    if not keep_split:
        photo = replace(photo, split="")
    elif not photo.split and not photo.status:
        photo = replace(photo, status="excluded", reason="in no split of its set")
    size = None if photo.status else image_size(photo.path)
    if size is None:  # a picture that cannot be read gets its reason when it is decoded
        return Photo(
            photo.path,
            photo.source,
            "",
            _labels([], []),
            split=photo.split,
            status=photo.status,
            reason=photo.reason,
        )
    checked = check_boxes(photo, *size)
    targeted = [
        IGNORE_CLASS if _is_ignored(photo, place) else targets[photo.names[place]]
        for place in checked.index
    ]
    faces = [place for place, name in enumerate(targeted) if name not in ("drop", IGNORE_CLASS)]
    single, clash = find_repeated([targeted[place] for place in faces], checked.boxes[faces])
    status, reason = checked.status, checked.reason
    if clash:
        status, reason = "ambiguous", "two boxes of different classes lie on each other"
    if len(single) < len(faces):
        reason = "; ".join(
            filter(
                None,
                (
                    reason,
                    f"{len(faces) - len(single)} repeated box{'es' if len(faces) - len(single) > 1 else ''} removed",
                ),
            )
        )
    chosen = sorted(
        [faces[place] for place in single]
        + [place for place, name in enumerate(targeted) if name == IGNORE_CLASS]
    )
    if targeted and set(targeted) == {"drop"} and not status:
        status, reason = "excluded", "all its boxes are of dropped classes"
    class_ids = [
        IGNORE if targeted[place] == IGNORE_CLASS else names.index(targeted[place])
        for place in chosen
    ]
    boxes = checked.boxes[chosen]
    areas = np.where(np.array(class_ids) == IGNORE, -1, box_area(boxes)) if chosen else np.zeros(0)
    largest = names[class_ids[int(areas.argmax())]] if len(areas) and areas.max() >= 0 else ""
    return Photo(
        photo.path,
        photo.source,
        largest,
        _labels(boxes, class_ids),
        split=photo.split,
        status=status,
        reason=reason,
    )


def _labels(boxes: npt.ArrayLike, class_ids: Sequence[int]) -> Labels:
    return Labels(as_boxes(boxes), np.array(class_ids, dtype=np.int64))


def _is_ignored(photo: AnnotatedPhoto, place: int) -> bool:
    return bool(len(photo.ignored) and photo.ignored[place])


def _prefix(source: Path, earlier: Sequence[_Source]) -> str:
    """Return what stands before the names of a further source's photos: its own name, numbered where earlier names begin so."""
    path = source.absolute()
    name = path.parent.name if path.is_file() else path.name
    taken = {
        (prefix + photo.source).split("/")[0] for prefix, photos in earlier for photo in photos
    }
    numbered = (f"{name}~{number}" for number in itertools.count(2))
    return (
        next(candidate for candidate in itertools.chain([name], numbered) if candidate not in taken)
        + "/"
    )


def _read_list(image_list: Path | str, sources: Sequence[Path | str]) -> list[str]:
    places = [Path(image_list), *(Path(source) / image_list for source in sources)]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise DatasetError(
            f"no list {image_list}: neither here nor in {', '.join(map(str, sources))}; give a file with a photo's name a line"
        )
    return read_image_list(path)


def _chosen(read: Sequence[_Source], listed: Sequence[str]) -> list[_Source]:
    """Keep the photos that are listed; of several of one name those whose folders fit a line best."""
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
            f"{len(missing)} of {len(listed)} photos of the list are in no source, such as {missing[0]}; correct the list"
        )
    return [
        (prefix, [photo for photo in photos if prefix + photo.source in chosen])
        for prefix, photos in read
    ]


def _common(one: Sequence[str], two: Sequence[str]) -> int:
    """Count how many folders, from the innermost, two paths share."""
    return next(
        (
            count
            for count, (first, second) in enumerate(zip(one, two, strict=False))
            if first != second
        ),
        min(len(one), len(two)),
    )
