"""Find labeled images to evaluate on, and read their labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from maskyolo.core.boxes import Boxes, as_boxes
from maskyolo.core.classes import CLASS_NAMES, class_of
from maskyolo.core.files import read_image_list
from maskyolo.core.images import list_images
from maskyolo.core.labels import Labels, parse_yolo
from maskyolo.core.options import takes_options
from maskyolo.core.text import counted
from maskyolo.dataset.formats.voc import parse_voc
from maskyolo.dataset.layout import load_dataset
from maskyolo.errors import DatasetError
from maskyolo.evaluation.options import LabeledDataOptions

__all__ = ["LabeledImage", "find_images"]


@dataclass(frozen=True)
class LabeledImage:
    """An image and its labels.

    Attributes:
        path: the image file.
        labels: the boxes of the two classes.
        ignored: boxes (n, 4) of other classes; a detection on one is neither right nor wrong.
        normalized: whether the boxes are fractions of the image's width and height, not pixels.
    """

    path: Path
    labels: Labels
    ignored: Boxes
    normalized: bool

    def in_pixels(self, width: int, height: int) -> LabeledImage:
        """Return the same labels with boxes in pixels of an image of that size."""
        if not self.normalized:
            return self
        scale = np.array([width, height, width, height], dtype=np.float32)
        return replace(
            self,
            labels=replace(self.labels, boxes=self.labels.boxes * scale),
            ignored=self.ignored * scale,
            normalized=False,
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
            or a list that names images which do not exist.
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
    return found, where


def _in_dataset(data: Path | str, split: str, image_list: Path | str | None) -> list[LabeledImage]:
    dataset = load_dataset(data)
    paths = dataset.images(split)
    if not any(map(class_of, dataset.names)):
        raise DatasetError(
            f"{dataset.yaml} has the classes {', '.join(dataset.names[:6])}",
            f"give a data set with the classes {' and '.join(CLASS_NAMES)}",
        )
    paths = _choose_images(paths, dataset.splits[split], image_list)
    files = [dataset.label_of(path) for path in paths]
    if not any(file.exists() for file in files):
        raise DatasetError(
            f"no labels for any of the {len(files)} images of {data}: {files[0]} would be the "
            "first",
            "check the data set",
        )
    return [
        _read_labels(path, file, dataset.names) for path, file in zip(paths, files, strict=True)
    ]


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
    return [_read_labels(path, file, CLASS_NAMES) for path, file in zip(paths, files, strict=True)]


def _choose_images(paths: list[Path], root: Path, image_list: Path | str | None) -> list[Path]:
    if not paths:
        raise DatasetError(f"no images in {root}", "check the path")
    return paths if image_list is None else _listed(Path(image_list), paths, root)


def _listed(file: Path, paths: Sequence[Path], root: Path) -> list[Path]:
    """Return the images that a list names, in its order.

    A line is the image's path relative to the folder, or its name, preceded by any folder.
    """
    lines = read_image_list(file)
    if not lines:
        raise DatasetError(f"the list {file} is empty", "write one image name per line")
    known = {path.name: path for path in paths} | {
        path.relative_to(root).as_posix(): path for path in paths if path.is_relative_to(root)
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


def _read_labels(image: Path, file: Path, names: Sequence[str]) -> LabeledImage:
    """Read a label file; a YOLO file that does not exist has no boxes."""
    is_voc = file.suffix == ".xml"
    try:
        if is_voc:
            annotation = parse_voc(file.read_bytes(), str(file))
            classes, boxes = list(annotation.names), annotation.boxes.tolist()
        else:
            text = file.read_text(encoding="utf-8") if file.exists() else ""
            parsed = parse_yolo(text, 1, 1, name=str(file), classes=len(names))
            classes = [names[number] for number in parsed.class_ids]
            boxes = parsed.boxes.tolist()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"cannot read labels {file}: {error}", "check the file") from error
    if is_voc:
        _check_voc(file, classes, boxes)
    known = [
        (CLASS_NAMES.index(class_of(name)), box)
        for name, box in zip(classes, boxes, strict=True)
        if class_of(name)
    ]
    return LabeledImage(
        path=image,
        labels=Labels(
            as_boxes([box for _, box in known]),
            np.asarray([number for number, _ in known], dtype=np.int64),
        ),
        ignored=as_boxes(
            [box for name, box in zip(classes, boxes, strict=True) if not class_of(name)]
        ),
        normalized=not is_voc,
    )


def _check_voc(file: Path, classes: Sequence[str], boxes: Sequence[Sequence[float]]) -> None:
    """Raise a DatasetError for a box without area, which no detector could find."""
    for name, (x1, y1, x2, y2) in zip(classes, boxes, strict=True):
        if not (np.isfinite([x1, y1, x2, y2]).all() and x1 < x2 and y1 < y2):
            raise DatasetError(
                f"cannot read labels {file}: {name} has the box {x1:g}, {y1:g}, {x2:g}, {y2:g}",
                "correct the file",
            )
