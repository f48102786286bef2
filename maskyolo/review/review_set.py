"""The photos of a data set as a review sees them: each with its label file and its row of the ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from maskyolo.boxes import as_boxes
from maskyolo.dataset import Dataset, load_dataset
from maskyolo.errors import DatasetError, ImageError
from maskyolo.images import open_image
from maskyolo.labels import IGNORE_CLASS, Labels, format_yolo, parse_yolo
from maskyolo.ledger import LedgerRow, format_ledger, read_ledger
from maskyolo.review.corrections import Face, PhotoEdit, same_box

__all__ = ["LEDGER", "ReviewPhoto", "ReviewSet", "read_review_set"]

LEDGER = "ledger.csv"


@dataclass
class ReviewPhoto:
    """A photo of a data set.

    Attributes:
        image: the picture, relative to the set's folder, with forward slashes.
        split: train, val or test.
        path: the picture.
        width: in pixels, upright.
        height: in pixels, upright.
        label: its label file, relative to the set's folder.
        text: what the label file says.
        row: its row of the ledger, if there is one.
    """

    image: str
    split: str
    path: Path
    width: int
    height: int
    label: str
    text: str
    row: LedgerRow | None = None

    @property
    def source(self) -> str:
        """Its name in the ledger; empty without one."""
        return self.row.source if self.row else ""

    def faces(self, names: Sequence[str], text: str | None = None) -> list[Face]:
        """Return the labelled faces by the lines of the label file, or of another `text` of it.

        A box that the ledger has is taken from there, where it is not rounded to the picture's size. Raises DatasetError.
        """
        labels = parse_yolo(
            self.text if text is None else text, self.width, self.height, self.label, len(names)
        )
        known = self.row.boxes if self.row else ()
        faces = []
        for box, class_id in zip(labels.boxes.tolist(), labels.class_ids, strict=True):
            exact = next(
                (old for old in known if same_box(old, box)),
                tuple(round(value, 4) for value in box),
            )
            faces.append(Face(exact, names[class_id]))
        return faces

    def edit(self, names: tuple[str, ...], text: str | None = None) -> PhotoEdit:
        """Begin an edit of its labels."""
        return PhotoEdit(
            self.image, self.width, self.height, names, self.faces(names, text), self.source
        )


@dataclass
class ReviewSet:
    """A data set under review.

    Attributes:
        dataset: its `data.yaml`.
        photos: its photos by their pictures' names; without composed scenes, whose errors are those of the photos they are made of.
        rows: its ledger; empty if it has none.
        scenes: number of composed scenes.
    """

    dataset: Dataset
    photos: dict[str, ReviewPhoto]
    rows: list[LedgerRow] = field(default_factory=list)
    scenes: int = 0

    @property
    def root(self) -> Path:
        """The set's folder."""
        return self.dataset.root

    @property
    def names(self) -> tuple[str, ...]:
        """Class names by id."""
        return self.dataset.names

    def files(self, edits: Sequence[PhotoEdit]) -> dict[str, bytes | None]:
        """Return what each file becomes by some edits, for `Transaction.prepare`: label files, pictures taken out, the ledger."""
        files: dict[str, bytes | None] = {}
        corrected: dict[str, LedgerRow] = {}
        for edit in edits:
            photo, changes = self.photos[edit.image], edit.changes()
            done = ", ".join(
                _counted(what, count)
                for what, count in Counter(change.what for change in changes).items()
            )
            reason = f"review: {done}" + (f" ({', '.join(edit.tags)})" if edit.tags else "")
            if edit.gone:
                files[photo.image] = files[photo.label] = None
                if photo.row:
                    corrected[photo.source] = photo.row.removed(reason)
                continue
            painted = (
                [
                    box
                    for box, name in zip(photo.row.boxes, photo.row.classes, strict=True)
                    if name == IGNORE_CLASS
                ]
                if photo.row
                else []
            )
            boxes = [face.box for face in edit.after] + painted
            classes = [face.class_name for face in edit.after] + [IGNORE_CLASS] * len(painted)
            if photo.row:
                corrected[photo.source] = row = photo.row.corrected(boxes, classes, reason)
                boxes = list(row.boxes)
            if [change.what for change in changes] != ["checked"]:
                labels = _labels(boxes, classes, self.names)
                files[photo.label] = format_yolo(labels, photo.width, photo.height).encode()
        if corrected:
            files[LEDGER] = format_ledger(
                [corrected.get(row.source, row) for row in self.rows]
            ).encode(errors="backslashreplace")
        return files


def read_review_set(data: Path | str) -> ReviewSet:
    """Read a data set with all its label files and its ledger.

    Raises:
        DatasetError: no data set, pictures outside its folder or with a common label file, or a ledger or label file that does not parse.
        ImageError: a picture that the ledger does not know and that cannot be read.
    """
    dataset = load_dataset(data)
    rows = read_ledger(dataset.root / LEDGER) if (dataset.root / LEDGER).is_file() else []
    by_image = {row.image: row for row in rows if row.in_set}
    photos: dict[str, ReviewPhoto] = {}
    by_label: dict[str, str] = {}
    scenes = 0
    for split in dataset.splits:
        for path in dataset.images(split):
            try:
                image = path.relative_to(dataset.root).as_posix()
                label = dataset.label_of(path)
                label_name = label.relative_to(dataset.root).as_posix()
            except ValueError:
                raise DatasetError(
                    f"{dataset.yaml}: the picture {path} is not below {dataset.root}; review needs all in one folder"
                ) from None
            row = by_image.get(image)
            if rows and row is None and path.name.startswith("scene_"):
                scenes += 1
                continue
            if (other := by_label.setdefault(label_name, image)) != image:
                raise DatasetError(
                    f"{dataset.yaml}: {other} and {image} have one label file, {label_name}; rename one of them"
                )
            width, height = (row.width, row.height) if row else _size(path)
            photos[image] = photo = ReviewPhoto(
                image, split, path, width, height, label_name, _text(label), row
            )
            photo.faces(dataset.names)  # a line that does not parse is told before anything is done
    return ReviewSet(dataset, photos, rows, scenes)


def _labels(
    boxes: Sequence[Sequence[float]], classes: Sequence[str], names: Sequence[str]
) -> Labels:
    learnt = [place for place, name in enumerate(classes) if name != IGNORE_CLASS]
    ids = np.array([names.index(classes[place]) for place in learnt], dtype=np.int64)
    return Labels(as_boxes([boxes[place] for place in learnt]), ids)


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"cannot read labels {path}: {error}; check the file") from error


def _size(path: Path) -> tuple[int, int]:
    """Return the width and height of a picture as it is seen, upright, without decoding it."""
    try:
        with open_image(path) as image:
            turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
            return (image.height, image.width) if turned else (image.width, image.height)
    except (OSError, ValueError, SyntaxError) as error:
        raise ImageError(
            f"cannot read picture {path}: {' '.join(str(error).split())}; remove it or copy it again"
        ) from error


def _counted(what: str, count: int) -> str:
    words = {
        "class": "class changed",
        "box": "box moved",
        "added": "box added",
        "removed": "box removed",
    }
    return (
        f"{count} {words[what]}"
        if what in words
        else {"photo_removed": "taken out", "checked": "checked"}[what]
    )
