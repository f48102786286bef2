"""Reads what FiftyOne's database stores for each photo, in bulk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from maskyolo.review.app.fields import LABELS, OTHER_BOXES, to_pixels
from maskyolo.review.corrections import Face
from maskyolo.review.review_set import ReviewPhoto

__all__ = ["StoredBox", "StoredPhoto", "read_stored", "write_values"]


@dataclass(frozen=True)
class StoredBox:
    """A box in FiftyOne's database.

    Attributes:
        label: its class; empty if a person gave it none.
        relative: x, y, width and height, as fractions of the image's.
        tags: its tags.
        line: its line of the label file, or the line that it is a suggestion for, or None.
        reason: for a suggestion, why the label is suspicious.
    """

    label: str
    relative: Sequence[float]
    tags: Sequence[str]
    line: int | None = None
    reason: str | None = None


@dataclass
class StoredPhoto:
    """A photo in FiftyOne's database.

    Attributes:
        id: id of the sample.
        path: the image file.
        text: the label file as it was last read. Edits are the differences between this and
            `labels`.
        tags: tags of the photo.
        size_bytes: size of the image file.
        labels: the labeled boxes.
        others: the boxes of each field of `OTHER_BOXES`.
    """

    id: str
    path: str
    text: str
    tags: list[str]
    size_bytes: int | None
    labels: list[StoredBox]
    others: dict[str, list[StoredBox]] = field(default_factory=dict)

    @property
    def all_tags(self) -> set[str]:
        """The tags of the photo and of all its boxes."""
        boxes = [*self.labels, *(box for boxes in self.others.values() for box in boxes)]
        return {*self.tags, *(tag for box in boxes for tag in box.tags)}

    def faces(self, photo: ReviewPhoto) -> list[Face]:
        """Return the labeled faces."""
        return [Face(to_pixels(box.relative, photo), box.label) for box in self.labels]


def read_stored(samples: Any) -> dict[str, StoredPhoto]:
    """Return what FiftyOne's data set `samples` stores for each photo, by image file."""
    names = ["image", "id", "filepath", "label_text", "tags", "metadata.size_bytes"]
    labels = _read_boxes(samples, LABELS, ("line",))
    others = {
        "suggestions": _read_boxes(samples, "suggestions", ("line", "reason")),
        **{name: _read_boxes(samples, name) for name in OTHER_BOXES if name != "suggestions"},
    }
    return {
        image: StoredPhoto(
            sample_id,
            path,
            text or "",
            tags,
            size,
            labels.get(sample_id, []),
            {name: boxes.get(sample_id, []) for name, boxes in others.items()},
        )
        for image, sample_id, path, text, tags, size in zip(*samples.values(names), strict=True)
    }


def write_values(samples: Any, name: str, values: Mapping[str, Any]) -> None:
    """Write a field of the samples with these ids in bulk."""
    if values:
        samples.set_values(name, dict(values), key_field="id", expand_schema=False)


def _read_boxes(samples: Any, name: str, more: Sequence[str] = ()) -> dict[str, list[StoredBox]]:
    """Return the boxes of a field by sample id.

    Args:
        samples: the data set.
        name: the field.
        more: attributes of `StoredBox` to read as well.
    """
    parts = ("label", "bounding_box", "tags", *more)
    columns = samples.exists(name).values(["id", *(f"{name}.detections.{part}" for part in parts)])
    found = {}
    for sample_id, *lists in zip(*columns, strict=True):
        rows = zip(*(column or [] for column in lists), strict=True)
        found[sample_id] = [
            StoredBox(label or "", box, tags or (), **dict(zip(more, values, strict=True)))
            for label, box, tags, *values in rows
        ]
    return found
