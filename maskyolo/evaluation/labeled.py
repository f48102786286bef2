"""Find labeled images to evaluate on, and read their labels."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from maskyolo.core.boxes import Boxes, as_boxes
from maskyolo.core.classes import (
    ALL_CLASS_NAMES,
    CLASS_NAMES,
    INCORRECT_MASK_ID,
    WITHOUT_MASK_ID,
    class_of,
)
from maskyolo.core.files import read_image_list
from maskyolo.core.images import IMAGE_SUFFIXES, list_images
from maskyolo.core.label_rows import parse_rows
from maskyolo.core.labels import Labels, check_rows
from maskyolo.core.options import takes_options
from maskyolo.core.parsing import read_limited, read_text
from maskyolo.core.text import counted
from maskyolo.dataset.class_lists import lists_above
from maskyolo.dataset.formats.base import AnnotatedPhoto, AnnotatedSet, check_boxes, image_size
from maskyolo.dataset.formats.reading import read_split
from maskyolo.dataset.formats.voc import parse_voc
from maskyolo.dataset.label_files import LabelFinder, canonical_label
from maskyolo.errors import DatasetError
from maskyolo.evaluation.ignored import read_regions
from maskyolo.evaluation.options import LabeledDataOptions
from maskyolo.runtime.provenance import describe_data

__all__ = ["LabeledImage", "describe_images", "find_images"]

_log = logging.getLogger("maskyolo")


@dataclass(frozen=True)
class LabeledImage:
    """An image and its labels.

    Attributes:
        path: the image file.
        labels: the boxes of `ALL_CLASS_NAMES`.
        ignored: boxes (n, 4) of other classes; a detection on one is neither right nor wrong.
        normalized: whether the boxes are fractions of the image's width and height, not pixels.
        regions: further boxes (n, 4) to ignore, always in pixels.
    """

    path: Path
    labels: Labels
    ignored: Boxes
    normalized: bool
    regions: Boxes = field(default_factory=lambda: as_boxes([]))

    def in_pixels(self, width: int, height: int) -> LabeledImage:
        """Return the same labels with boxes in pixels of an image of that size.

        The regions are then among the ignored boxes.
        """
        size = [width, height, width, height] if self.normalized else [1, 1, 1, 1]
        scale = np.array(size, dtype=np.float32)
        return replace(
            self,
            labels=replace(self.labels, boxes=self.labels.boxes * scale),
            ignored=np.concatenate([self.ignored * scale, self.regions]),
            normalized=False,
            regions=as_boxes([]),
        )

    def as_bytes(self) -> bytes:
        """Return the labels as bytes that are the same on every machine, for checksums."""
        boxes = (self.labels.boxes, self.ignored, self.regions)
        parts = [np.asarray(part, dtype="<f4").tobytes() for part in boxes]
        parts.append(np.asarray(self.labels.class_ids, dtype="<i8").tobytes())
        return b"|".join(parts)

    def in_two_classes(self, fold: bool) -> LabeledImage:
        """Return the same labels without incorrect_mask.

        Args:
            fold: whether its boxes become boxes of without_mask. Otherwise they are ignored.
        """
        third = self.labels.class_ids == INCORRECT_MASK_ID
        if fold:
            ids = np.where(third, WITHOUT_MASK_ID, self.labels.class_ids)
            return replace(self, labels=replace(self.labels, class_ids=ids))
        return replace(
            self,
            labels=Labels(self.labels.boxes[~third], self.labels.class_ids[~third]),
            ignored=np.concatenate([self.ignored, self.labels.boxes[third]]),
        )


def describe_images(images: Sequence[LabeledImage]) -> dict[str, Any]:
    """Return a checksum of labeled images and counts; see `provenance.describe_data`."""
    ids = np.concatenate([image.labels.class_ids for image in images])
    boxes = {name: int((ids == number).sum()) for number, name in enumerate(ALL_CLASS_NAMES)}
    return describe_data(
        ((image.path, image.as_bytes()) for image in images),
        {name: count for name, count in boxes.items() if count},
    )


@takes_options(LabeledDataOptions)
def find_images(
    options: LabeledDataOptions | None = None, **settings: Any
) -> tuple[list[LabeledImage], str]:
    """Return the labeled images, in the order of the list or by path, and their folder.

    Args:
        options: a data set and its split, or a folder of images and one of labels.
        settings: fields of `LabeledDataOptions` as keywords.

    Raises:
        DatasetError: neither or both are given, no images, no labels, labels that cannot be read,
            a list that names images which do not exist, or boxes to ignore that cannot be read.
    """
    chosen = LabeledDataOptions.merge(options, settings)
    data, images, labels = chosen.data, chosen.images, chosen.labels
    if data is not None and images is None and labels is None:
        found, where = _in_dataset(data, chosen.split, chosen.image_list), str(data)
    elif data is None and images is not None and labels is not None:
        found, where = _in_folders(Path(images), Path(labels), chosen.image_list), str(images)
    else:
        raise DatasetError(
            "no labeled images",
            "give either a data set with --data, or images with --images and their boxes with "
            "--labels",
        )
    if not any(len(image.labels) for image in found):
        raise DatasetError(
            f"no {' or '.join(CLASS_NAMES)} box in the labels of any of the {len(found)} images of "
            f"{where}",
            "check the labels; `maskyolo convert` converts sets with other class names",
        )
    if chosen.ignore_boxes is not None:
        regions = read_regions(chosen.ignore_boxes, [image.path for image in found])
        found = [replace(image, regions=part) for image, part in zip(found, regions, strict=True)]
    return found, where


def _in_dataset(data: Path | str, split: str, image_list: Path | str | None) -> list[LabeledImage]:
    found = read_split(data, split)
    for note in (*found.notes, *_unused(found)):
        _log.warning("%s", note)
    photos = {photo.path: photo for photo in found.photos if photo.annotated}
    images = [path for path in photos if path.suffix.lower() in IMAGE_SUFFIXES]
    chosen = _choose_images(images, Path(data), image_list)
    if not any(len(photos[path].names) for path in chosen):
        _check_labels_exist(data, found, chosen)
    names = {name for path in chosen for name in photos[path].names}
    if names and not any(map(class_of, names)):
        raise DatasetError(
            f"{data} has the classes {', '.join(sorted(names)[:6])}",
            f"give a data set with the classes {' and '.join(CLASS_NAMES)}; `maskyolo convert` "
            "renames classes with --map",
        )
    return [_labeled(photos[path]) for path in chosen if photos[path].status != "duplicate"]


def _unused(found: AnnotatedSet) -> list[str]:
    """Return a remark on each annotation without a usable image."""
    return [
        f"{photo.source}: {photo.reason}"
        for photo in found.photos
        if photo.status == "unreadable" and photo.path.suffix.lower() not in IMAGE_SUFFIXES
    ]


def _labeled(photo: AnnotatedPhoto) -> LabeledImage:
    """Return a photo of an annotated set with its labels.

    Raises:
        DatasetError: its annotation cannot be used.
    """
    if photo.status:
        raise DatasetError(
            f"cannot use the labels of {photo.path}: {photo.reason}",
            "correct them, or leave the image out with --list",
        )
    boxes, shares = photo.boxes, photo.shares
    # crowds are regions to ignore, whatever their class
    crowds = photo.ignored if len(photo.ignored) else [False] * len(photo.names)
    names = ["" if crowd else name for name, crowd in zip(photo.names, crowds, strict=True)]
    size = None if shares or photo.size is None else image_size(photo.path)
    if size and photo.size != size:  # annotated on the same image in another size
        checked = check_boxes(photo, *size)
        if checked.status:
            raise DatasetError(f"cannot use the labels of {photo.path}: {checked.reason}")
        boxes, names = checked.boxes, [names[place] for place in checked.index]
    return _make(photo.path, names, boxes.tolist(), shares)


def _check_labels_exist(data: Path | str, found: AnnotatedSet, images: Sequence[Path]) -> None:
    if found.format == "yolo" and not any(LabelFinder(Path(data)).find(path) for path in images):
        first = canonical_label(images[0])
        raise DatasetError(
            f"no labels for any of the {len(images)} images of {data}: {first} would be the first",
            "check the data set",
        )


def _in_folders(images: Path, labels: Path, image_list: Path | str | None) -> list[LabeledImage]:
    for folder in (images, labels):
        if not folder.is_dir():
            raise DatasetError(f"no folder {folder}", "check the path")
    paths = [path for path in list_images(images) if path.parent == images]
    paths = _choose_images(paths, images, image_list)
    files = [_label_file(path, labels) for path in paths]
    missing = [path for path, file in zip(paths, files, strict=True) if not file.exists()]
    if missing:
        name, stem = missing[0].name, missing[0].stem
        raise DatasetError(
            f"no labels for {len(missing)} of {len(paths)} images in {labels}: the first is "
            f"{name}, with neither {stem}.xml nor {stem}.txt",
            "add an empty .txt for an image without faces, or leave images out with --list",
        )
    lists = lists_above(labels, images)
    return [
        _read_labels(path, file, lists.names_for(file.absolute(), path.absolute()))
        for path, file in zip(paths, files, strict=True)
    ]


def _choose_images(paths: list[Path], root: Path, image_list: Path | str | None) -> list[Path]:
    if not paths:
        raise DatasetError(f"no images in {root}", "check the path")
    return paths if image_list is None else _listed(Path(image_list), paths, root)


def _listed(file: Path, paths: Sequence[Path], root: Path) -> list[Path]:
    """Return the images that a list names, in its order.

    A line is the end of the image's path, or its name, preceded by any folder.
    """
    lines = read_image_list(file)
    if not lines:
        raise DatasetError(f"the list {file} is empty", "write one image name per line")
    known = {
        "/".join(path.parts[start:]): path for path in paths for start in range(len(path.parts))
    }
    missing = [line for line in lines if line not in known and Path(line).name not in known]
    if missing:
        raise DatasetError(
            f"{file} lists {counted(len(missing), 'image')} missing from {root}: the first is "
            f"{missing[0]}",
            "correct the list",
        )
    return list(dict.fromkeys(known.get(line) or known[Path(line).name] for line in lines))


def _label_file(image: Path, folder: Path) -> Path:
    files = [folder / f"{image.stem}{suffix}" for suffix in (".xml", ".txt")]
    return next((file for file in files if file.exists()), files[-1])


def _read_labels(image: Path, file: Path, names: Mapping[int, str]) -> LabeledImage:
    """Read a label file; without names of classes, ids are those of our own sets."""
    is_voc = file.suffix == ".xml"
    try:
        if is_voc:
            annotation = parse_voc(read_limited(file), str(file))
            classes, boxes = list(annotation.names), annotation.boxes.tolist()
        else:
            rows = parse_rows(read_text(file), str(file))
            known = names or dict(enumerate(ALL_CLASS_NAMES))
            numbered = [known.get(number, "") for number in range(max(known) + 1)]
            labels = check_rows(rows, 1, 1, str(file), numbered)
            classes = [numbered[number] for number in labels.class_ids]
            boxes = rows.boxes.tolist()
    except (OSError, ValueError) as error:
        raise DatasetError(f"cannot read labels {file}: {error}", "check the file") from error
    if is_voc:
        _check_voc(file, classes, boxes)
    return _make(image, classes, boxes, not is_voc)


def _make(
    image: Path, classes: Sequence[str], boxes: Sequence[Sequence[float]], normalized: bool
) -> LabeledImage:
    """Return a labeled image; boxes of other classes than ours are ignored."""
    ours = [bool(class_of(name)) for name in classes]
    ids = [ALL_CLASS_NAMES.index(class_of(name)) for name in itertools.compress(classes, ours)]
    labels = Labels(
        as_boxes(list(itertools.compress(boxes, ours))), np.asarray(ids, dtype=np.int64)
    )
    others = [box for box, our in zip(boxes, ours, strict=True) if not our]
    return LabeledImage(image, labels, as_boxes(others), normalized)


def _check_voc(file: Path, classes: Sequence[str], boxes: Sequence[Sequence[float]]) -> None:
    """Raise a DatasetError for a box without area, which no detector could find."""
    for name, (x1, y1, x2, y2) in zip(classes, boxes, strict=True):
        if not (np.isfinite([x1, y1, x2, y2]).all() and x1 < x2 and y1 < y2):
            raise DatasetError(
                f"cannot read labels {file}: {name} has the box {x1:g}, {y1:g}, {x2:g}, {y2:g}",
                "correct the file",
            )
