"""YOLO: one text file per image, boxes as fractions of its size; `data.yaml` names the classes."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from maskyolo.core.boxes import to_normalized
from maskyolo.core.classes import SPLITS, class_of
from maskyolo.core.files import write_atomic
from maskyolo.core.images import IMAGE_SUFFIXES
from maskyolo.core.text import counted
from maskyolo.dataset.class_lists import KNOWN_LISTS, is_class_list
from maskyolo.dataset.formats.base import AnnotatedPhoto, AnnotatedSet, image_size, list_files
from maskyolo.dataset.label_files import canonical_label, has_rows
from maskyolo.dataset.layout import format_data_yaml
from maskyolo.dataset.split_names import REST
from maskyolo.dataset.yolo_set import YoloSet, describe_folder, describe_yaml, find_yaml
from maskyolo.errors import DatasetError

if TYPE_CHECKING:
    from maskyolo.dataset.formats.base import ExportedPhoto

__all__ = ["describe_set", "has_label_files", "is_yolo", "read_yolo_set", "write_yolo"]

#: Lists that no other kind of data set has.
_LISTS = ("classes.txt", "obj.names", "_darknet.labels")
#: Number of text files to look at for one with labels.
_SAMPLE = 20


def is_yolo(source: Path, files: Sequence[Path]) -> bool:
    """Return whether a file or folder is a YOLO set.

    It has a `data.yaml` or a class list.
    """
    if source.is_file():
        return source.suffix.lower() in (".yaml", ".yml")
    return find_yaml(source) is not None or any(path.name.lower() in _LISTS for path in files)


def has_label_files(source: Path, files: Sequence[Path]) -> bool:
    """Return whether a folder that is no other set has YOLO's label files, without a class list."""
    texts = [path for path in files if path.suffix.lower() == ".txt"]
    if not texts:
        return False
    images = {path.stem: path for path in files if path.suffix.lower() in IMAGE_SUFFIXES}
    labels = [path for path in texts if path.stem in images][:_SAMPLE]
    return any(
        has_rows(path)
        # class folders are preferred to labels without class names
        and not any(map(class_of, images[path.stem].relative_to(source).parts[:-1]))
        for path in labels
    )


def read_yolo_set(source: Path, split: str | None = None) -> AnnotatedSet:
    """Read a YOLO set by its `data.yaml`, or a folder without one; see `yolo_set` for layouts.

    A label with more than five numbers is a polygon, which is replaced by its bounding box, a box
    with confidence and track id, or a box with keypoints if the `data.yaml` says so (`kpt_shape`).
    As with Ultralytics, an image without label file has no boxes.

    Args:
        source: the `data.yaml` or the folder.
        split: the only split to read; splits may share images.

    Raises:
        DatasetError: no names, no images, or a YAML file that cannot be read.
    """
    described = describe_set(source)
    images = described.splits_by_image()
    chosen = images if split is None else dict.fromkeys(described.images(split), split)
    if not images:
        raise DatasetError(
            f"no images in {described.source}: looked below {described.root}",
            "correct `path`, `train` and `val` in it",
        )
    tracked: list[int] = []
    photos = [_read_one(image, own, described, tracked) for image, own in chosen.items()]
    _mark_shared(photos, described)
    files = list_files(described.root)
    orphans, notes = _unused_labels(described, images, files)
    notes += [f"{error.problem}, so this split is not read" for error in described.missing.values()]
    if any(tracked):
        notes.append(
            f"{counted(sum(tracked), 'row')} of the labels end with a confidence and a track id, "
            "which are ignored"
        )
    return AnnotatedSet("yolo", [*photos, *orphans], tuple(notes))


def describe_set(source: Path) -> YoloSet:
    """Describe a YOLO set, given as its `data.yaml` or its folder.

    Raises:
        DatasetError: a `data.yaml` that cannot be read or has no names.
    """
    found = find_yaml(source) if source.is_dir() else source
    return describe_yaml(found) if found else describe_folder(source, list_files(source))


def write_yolo(
    photos: Sequence[ExportedPhoto], names: Sequence[str], out: Path, home: Path
) -> None:
    """Write `labels/SPLIT/*.txt` for the images in `images/SPLIT`, and the `data.yaml`.

    Args:
        photos: the images.
        names: class names by id.
        out: the folder to write to.
        home: the folder that the set will be moved to, to be named in `data.yaml`.
    """
    for photo in photos:
        shares = to_normalized(photo.boxes, photo.width, photo.height).clip(0, 1)
        lines = (
            f"{number} {' '.join(f'{value:.6f}' for value in row)}\n"
            for number, row in zip(photo.class_ids, shares, strict=True)
        )
        label = out / canonical_label(photo.file)
        label.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(label, "".join(lines))
    used = {photo.split for photo in photos}
    splits = [split or REST for split in (*SPLITS, "") if split in used]
    write_atomic(out / "data.yaml", format_data_yaml(home, splits, names))


def _read_one(image: Path, split: str, described: YoloSet, tracked: list[int]) -> AnnotatedPhoto:
    source = _source_of(image, described.root) if image.is_absolute() else image.as_posix()
    unreadable = AnnotatedPhoto(image, source, split=split, status="unreadable")
    if not image.is_file():
        return replace(unreadable, reason="the image is missing; add it to the set")
    label = described.finder.find(image)
    try:
        rows = described.read_rows(image, label.name if label else "")
    except DatasetError as error:
        return replace(unreadable, reason=str(error))
    tracked.append(rows.tracked)
    known = described.classes.names_for(label, image) if label else {}
    names = tuple(
        class_id if isinstance(class_id, str) else known.get(class_id, f"class {class_id}")
        for class_id in rows.classes
    )
    return AnnotatedPhoto(image, source, names, rows.boxes, shares=True, split=split)


def _mark_shared(photos: list[AnnotatedPhoto], described: YoloSet) -> None:
    """Keep only the first of several images that share a label file.

    They are usually the same image with two suffixes. If their shapes differ, none can be used.
    """
    by_label: dict[Path, list[int]] = defaultdict(list)
    for place, photo in enumerate(photos):
        label = described.finder.find(photo.path)
        if label and not photo.status:
            by_label[label].append(place)
    for label, places in by_label.items():
        if len(places) < 2:
            continue
        first = photos[places[0]]
        sizes = [image_size(photos[place].path) for place in places]
        shapes = {round(size[0] / size[1], 2) for size in sizes if size}
        if len(shapes) > 1:
            listed = " and ".join(photos[place].path.name for place in places[:2])
            reason = f"{listed} have different shapes and share the label file {label.name}"
            for place in places:
                photos[place] = replace(photos[place], status="ambiguous", reason=reason)
            continue
        reason = f"shares the label file {label.name} with {first.path.name}"
        for place in places[1:]:
            photos[place] = replace(photos[place], status="duplicate", reason=reason)


def _unused_labels(
    described: YoloSet, images: Iterable[Path], files: Sequence[Path]
) -> tuple[list[AnnotatedPhoto], list[str]]:
    """Return an entry for each label file whose image is missing, and remarks on the set."""
    used = {described.finder.find(image) for image in images}
    lists = {place for places in described.splits.values() for place in places}
    by_stem: dict[str, list[Path]] = defaultdict(list)
    for path in files:
        if path.suffix.lower() in IMAGE_SUFFIXES:
            by_stem[path.stem].append(path)
    orphans, idle = [], Counter[Path]()
    for path in files:
        if path.suffix.lower() != ".txt" or path in used or path in lists or is_class_list(path):
            continue
        if not has_rows(path):
            continue
        if path.stem in by_stem:
            idle[path.parent] += 1
            continue
        name = path.relative_to(described.root).as_posix()
        reason = "no image of this name; add it to the set"
        orphans.append(AnnotatedPhoto(path, name, status="unreadable", reason=reason))
    notes = [
        f"{counted(count, 'label file')} in {folder} not used: their images are not in the set, or "
        "have another label file"
        for folder, count in idle.items()
    ]
    if clash := described.classes.contradiction():
        notes.append(clash)
    if not described.classes:
        notes.append(
            f"no class names in {described.root}: there is no list of them ({KNOWN_LISTS})"
        )
    return orphans, notes


def _source_of(image: Path, root: Path) -> str:
    source = os.path.relpath(image, root)
    return Path(
        os.path.relpath(image.resolve(), root) if source.startswith("..") else source
    ).as_posix()
