"""A data set under review: its photos, each with its label file and its row of the ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from maskyolo.core.boxes import as_boxes
from maskyolo.core.label_rows import LabelRows, parse_rows
from maskyolo.core.labels import IGNORE_CLASS, Labels, check_rows, format_yolo
from maskyolo.core.parsing import read_limited
from maskyolo.dataset.formats.base import image_size
from maskyolo.dataset.layout import Dataset, load_dataset
from maskyolo.dataset.ledger import LedgerRow, format_ledger, read_ledger
from maskyolo.errors import DatasetError, ImageError
from maskyolo.review.corrections import ChangeKind, Face, PhotoEdit, same_box
from maskyolo.review.suspicions import Box

__all__ = ["LEDGER", "ReviewPhoto", "ReviewSet", "load_own_set", "read_review_set"]

#: Name of the ledger in the data set's folder.
LEDGER = "ledger.csv"

#: Text for each kind of change in the ledger's `reason`; existing ledgers contain these texts.
_LEDGER_WORDS = {
    ChangeKind.CLASS: "{} class changed",
    ChangeKind.BOX: "{} box moved",
    ChangeKind.ADDED: "{} box added",
    ChangeKind.REMOVED: "{} box removed",
    ChangeKind.PHOTO_REMOVED: "taken out",
    ChangeKind.CHECKED: "checked",
}


@dataclass
class ReviewPhoto:
    """A photo of a data set.

    Attributes:
        image: the image file, relative to the set's folder, with forward slashes.
        split: train, val or test.
        path: the image file.
        width: width of the upright image in pixels.
        height: height of the upright image in pixels.
        label: its label file, relative to the set's folder.
        text: content of the label file; empty if there is none.
        row: its row of the ledger, if there is one.
        parse: parses the text of its label file, given the file's name for error messages.
    """

    image: str
    split: str
    path: Path
    width: int
    height: int
    label: str
    text: str
    row: LedgerRow | None = None
    parse: Callable[[str, str], LabelRows] = parse_rows

    @property
    def source(self) -> str:
        """Its name in the ledger; empty without a ledger."""
        return self.row.source if self.row else ""

    @property
    def is_corrected(self) -> bool:
        """Whether a person has corrected it, or has checked that it is correct."""
        return self.row is not None and self.row.status == "corrected"

    @property
    def ignored(self) -> list[Box]:
        """The boxes of faces that are blanked out, xyxy pixels."""
        if self.row is None:
            return []
        boxes = zip(self.row.boxes, self.row.classes, strict=True)
        return [box for box, name in boxes if name == IGNORE_CLASS]

    def faces(self, names: Sequence[str], text: str | None = None) -> list[Face]:
        """Return the labeled faces in the order of the label file.

        A box that is also in the ledger is taken from there, because label files are rounded.

        Args:
            names: the set's classes by id.
            text: content of the label file, if it differs from `self.text`.

        Raises:
            DatasetError: the label file does not parse.
        """
        labels = self.labels(names, self.width, self.height, text)
        known = self.row.boxes if self.row else ()
        faces = []
        for box, class_id in zip(labels.boxes.tolist(), labels.class_ids, strict=True):
            exact = next(
                (old for old in known if same_box(old, box)),
                tuple(round(value, 4) for value in box),
            )
            faces.append(Face(exact, names[class_id]))
        return faces

    def labels(
        self, names: Sequence[str], width: int, height: int, text: str | None = None
    ) -> Labels:
        """Return the label file's boxes in pixels of an image of `width` x `height`.

        Raises:
            DatasetError: the label file does not parse.
        """
        rows = self.parse(self.text if text is None else text, self.label)
        return check_rows(rows, width, height, self.label, names)

    def start_edit(self, names: tuple[str, ...], text: str | None = None) -> PhotoEdit:
        """Return an edit of its labels that changes nothing yet; see `faces` for the arguments."""
        return PhotoEdit(
            self.image, self.width, self.height, names, self.faces(names, text), self.source
        )


@dataclass
class ReviewSet:
    """A data set under review.

    Attributes:
        dataset: its `data.yaml`.
        photos: its photos by image file. Composed scenes are left out, because their errors are
            those of the photos they are made of.
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

    def files_after(self, edits: Sequence[PhotoEdit]) -> dict[str, bytes | None]:
        """Return the new content of each file that the edits change, for `Transaction.prepare`.

        These are label files, removed images (None), and the ledger.
        """
        files: dict[str, bytes | None] = {}
        rows: dict[str, LedgerRow] = {}
        for edit in edits:
            photo, changes = self.photos[edit.image], edit.changes()
            counts = Counter(change.kind for change in changes)
            done = ", ".join(_LEDGER_WORDS[kind].format(count) for kind, count in counts.items())
            reason = f"review: {done}" + (f" ({', '.join(edit.tags)})" if edit.tags else "")
            if edit.removed:
                files[photo.image] = files[photo.label] = None
                if photo.row:
                    rows[photo.source] = photo.row.removed(reason)
                continue
            boxes = [face.box for face in edit.after] + photo.ignored
            classes = [face.class_name for face in edit.after] + [IGNORE_CLASS] * len(photo.ignored)
            if photo.row:
                rows[photo.source] = row = photo.row.corrected(boxes, classes, reason)
                boxes = list(row.boxes)
            if {*counts} != {ChangeKind.CHECKED}:
                labels = _labels(boxes, classes, self.names)
                files[photo.label] = format_yolo(labels, photo.width, photo.height).encode()
        if rows:
            ledger = format_ledger([rows.get(row.source, row) for row in self.rows])
            files[LEDGER] = ledger.encode(errors="backslashreplace")
        return files


def read_review_set(data: Path | str) -> ReviewSet:
    """Read a data set with all its label files and its ledger.

    Args:
        data: the set's `data.yaml`, or its folder.

    Raises:
        DatasetError: there is no data set, images are outside its folder or share a label file,
            or the ledger or a label file does not parse.
        ImageError: an image that is not in the ledger cannot be read.
    """
    dataset = load_own_set(data)
    rows = read_ledger(dataset.root / LEDGER) if (dataset.root / LEDGER).is_file() else []
    by_image = {row.image: row for row in rows if row.in_set}
    review = ReviewSet(dataset, {}, rows)
    by_label: dict[str, str] = {}
    for split in dataset.splits:
        for path in dataset.images(split):
            image, label = _names_in_set(dataset, path)
            row = by_image.get(image)
            if rows and row is None and path.name.startswith("scene_"):
                review.scenes += 1
                continue
            if (other := by_label.setdefault(label, image)) != image:
                raise DatasetError(
                    f"{dataset.yaml}: {other} and {image} share the label file {label}",
                    "rename one of them",
                )
            width, height = (row.width, row.height) if row else _size(path)
            text = _read_text(dataset.root / label)
            parse = dataset.files.parse
            photo = ReviewPhoto(image, split, path, width, height, label, text, row, parse)
            photo.faces(dataset.names)  # fails on a bad line now, before anything is changed
            review.photos[image] = photo
    return review


def load_own_set(data: Path | str) -> Dataset:
    """Load a data set that is to be changed, and check that it is the one its `data.yaml` is in.

    The `path` in a file from someone else, or in a copied set, may refer to another set.

    Args:
        data: the set's `data.yaml`, or its folder.

    Raises:
        DatasetError: there is no data set, or its `path` leads elsewhere.
    """
    dataset = load_dataset(data)
    home = dataset.yaml.parent.resolve()
    if dataset.root != home:
        raise DatasetError(
            f"{dataset.yaml} is for the data set in {dataset.root}, not for the one in {home}",
            f"correct `path` in it, or give {dataset.root}",
        )
    return dataset


def _names_in_set(dataset: Dataset, path: Path) -> tuple[str, str]:
    """Return the names of an image and its label file, relative to the set's folder."""
    try:
        label = dataset.label_of(path).relative_to(dataset.root)
        return path.relative_to(dataset.root).as_posix(), label.as_posix()
    except ValueError:
        raise DatasetError(
            f"{dataset.yaml}: the image {path} is outside {dataset.root}",
            "review needs all images and labels below one folder",
        ) from None


def _labels(
    boxes: Sequence[Sequence[float]], classes: Sequence[str], names: Sequence[str]
) -> Labels:
    """Return the faces for the label file: all except those that are blanked out."""
    labeled = [place for place, name in enumerate(classes) if name != IGNORE_CLASS]
    ids = np.array([names.index(classes[place]) for place in labeled], dtype=np.int64)
    return Labels(as_boxes([boxes[place] for place in labeled]), ids)


def _read_text(path: Path) -> str:
    try:
        return read_limited(path).decode()
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        raise DatasetError(f"cannot read labels {path}: {error}", "check the file") from error


def _size(path: Path) -> tuple[int, int]:
    size = image_size(path)
    if size is None:
        raise ImageError(f"cannot read image {path}", "remove it or copy it again")
    return size
