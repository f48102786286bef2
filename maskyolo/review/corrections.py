"""A person's corrections of a photo's labels, made in FiftyOne's App or in `review.csv`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from maskyolo.core.boxes import as_boxes, box_area, clip_boxes
from maskyolo.core.classes import CLASS_NAMES, find_class
from maskyolo.core.options import Choice
from maskyolo.review.suspicions import Box, Tag

__all__ = ["Change", "ChangeKind", "Face", "PhotoEdit", "Problem", "same_box", "same_faces"]

#: Maximum difference in pixels between the sides of equal boxes, as in `LedgerRow.corrected`.
_TOLERANCE = 0.5


class ChangeKind(Choice):
    """What was changed; these values are written to the change log."""

    CLASS = "class"
    BOX = "box"
    ADDED = "added"
    REMOVED = "removed"
    PHOTO_REMOVED = "photo_removed"
    CHECKED = "checked"


@dataclass(frozen=True)
class Face:
    """A labeled face: its box (xyxy pixels) and class name."""

    box: Box
    class_name: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for the change log, rounded for readability."""
        return {"class": self.class_name, "box": [round(value, 2) for value in self.box]}


@dataclass(frozen=True)
class Change:
    """One change that a person made.

    Attributes:
        image: the image file, relative to the set's folder.
        kind: what was changed.
        before: the face before the change; None for an added face, and for whole photos.
        after: the face after the change; None for a removed face, and for whole photos.
        tags: the tags of the photo and its boxes.
        source: the photo's name in the ledger.
    """

    image: str
    kind: ChangeKind
    before: Face | None = None
    after: Face | None = None
    tags: tuple[str, ...] = ()
    source: str = ""

    def __str__(self) -> str:
        faces = [
            f"{face.class_name} {_format_box(face.box)}"
            for face in (self.before, self.after)
            if face
        ]
        parts = [
            self.kind.value.replace("_", " "),
            " -> ".join(faces),
            f"({', '.join(self.tags)})" if self.tags else "",
        ]
        return " ".join(parts).strip()

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a line of the change log."""
        return {
            "image": self.image,
            "source": self.source,
            "what": str(self.kind),
            "before": self.before and self.before.to_dict(),
            "after": self.after and self.after.to_dict(),
            "tags": list(self.tags),
        }


@dataclass(frozen=True)
class Problem:
    """A correction not applied, or not exactly; `image` is empty if it concerns the whole set."""

    image: str
    message: str

    def __str__(self) -> str:
        return f"{self.image}: {self.message}" if self.image else self.message


def same_box(a: Sequence[float], b: Sequence[float]) -> bool:
    """Return whether two boxes (4) differ by less than half a pixel on every side."""
    return max(abs(one - other) for one, other in zip(a, b, strict=True)) < _TOLERANCE


def same_faces(one: Sequence[Face], other: Sequence[Face]) -> bool:
    """Return whether two lists have the same classes and the same boxes, in the same order."""
    return len(one) == len(other) and all(
        a.class_name == b.class_name and same_box(a.box, b.box)
        for a, b in zip(one, other, strict=True)
    )


@dataclass
class PhotoEdit:
    """The labels of one photo, and a person's corrections of them.

    Attributes:
        image: the image file, relative to the set's folder.
        width: width of the image in pixels.
        height: height of the image in pixels.
        names: the set's classes by id.
        before: the labeled faces, in the order of the label file.
        source: the photo's name in the ledger.
        faces: the faces after the edit, in the same order; None for a removed box.
        added: faces to add.
        removed: whether the photo is removed from the set.
        checked: whether a person marked the photo as correct.
        tags: all known tags of the photo and its boxes.
        open_tags: the tags that could not be applied.
        problems: what could not be applied, or not exactly as asked.
    """

    image: str
    width: int
    height: int
    names: tuple[str, ...]
    before: list[Face]
    source: str = ""
    faces: list[Face | None] = field(init=False)
    added: list[Face] = field(default_factory=list)
    removed: bool = False
    checked: bool = False
    tags: list[Tag] = field(default_factory=list)
    open_tags: set[Tag] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.faces = list(self.before)

    def add_problem(self, message: str, *tags: Tag) -> None:
        """Record a correction that could not be applied, and the tags that therefore stay open."""
        self.problems.append(Problem(self.image, message))
        self.open_tags |= {*tags}

    def add_tags(self, tags: Sequence[str]) -> list[Tag]:
        """Record the known tags in `tags` for the change log, and return them."""
        values = {tag.value for tag in Tag}
        known = [Tag(tag) for tag in tags if tag in values]
        self.tags += [tag for tag in known if tag not in self.tags]
        return known

    def set_class(self, line: int, text: str) -> None:
        """Change the class of the face in a line of the label file."""
        face, name = self.faces[line], self._class_name(text)
        if face and name:
            self.faces[line] = Face(face.box, name)

    def flip_class(self, line: int) -> None:
        """Change the class of the face in a line of the label file to the other of two classes."""
        face = self.before[line]
        others = [name for name in self.names if name != face.class_name]
        if len(others) == 1:
            self.set_class(line, others[0])
        else:
            self.add_problem(
                f"tagged wrong_class, but there are {len(others)} other classes; set the class "
                "of the box",
                Tag.WRONG_CLASS,
            )

    def set_unmasked(self, line: int) -> None:
        """Set the class of a face that something other than a mask covers to without_mask."""
        self.set_class(line, CLASS_NAMES[1])

    def set_box(self, line: int, box: Sequence[float]) -> None:
        """Change the box of the face in a line of the label file, unless the box is the same."""
        face = self.faces[line]
        if face and not same_box(face.box, box) and (clipped := self._clip(box)):
            self.faces[line] = Face(clipped, face.class_name)

    def remove_box(self, line: int) -> None:
        """Remove the box in a line of the label file."""
        self.faces[line] = None

    def add_face(self, box: Sequence[float], text: str) -> None:
        """Add a face that had no box, unless the same box is already there."""
        name = self._class_name(text)
        clipped = self._clip(box) if name else ()
        known = [*self.added, *(face for face in self.faces if face)]
        if clipped and not any(same_box(face.box, clipped) for face in known):
            self.added.append(Face(clipped, name))

    @property
    def after(self) -> list[Face]:
        """The faces after the edit, in the order of the label file."""
        return [face for face in self.faces if face] + self.added

    def changes(self) -> list[Change]:
        """Return the differences that the edit makes; empty if there are none."""

        def change(kind: ChangeKind, before: Face | None = None, after: Face | None = None) -> None:
            tags = tuple(str(tag) for tag in self.tags)
            found.append(Change(self.image, kind, before, after, tags, self.source))

        found: list[Change] = []
        if self.removed:
            change(ChangeKind.PHOTO_REMOVED)
            return found
        for old, new in zip(self.before, self.faces, strict=True):
            if new is None:
                change(ChangeKind.REMOVED, old)
            elif new != old:
                same_class = new.class_name == old.class_name
                change(ChangeKind.BOX if same_class else ChangeKind.CLASS, old, new)
        for new in self.added:
            change(ChangeKind.ADDED, None, new)
        if not found and self.checked:
            change(ChangeKind.CHECKED)
        return found

    def _class_name(self, text: str) -> str:
        """Return the set's class for any spelling of it; if unknown, empty with a problem."""
        name = find_class(text, self.names)
        if not name:
            self.add_problem(
                f"unknown class '{text}', so the class was not changed; "
                f"choose one of {', '.join(self.names)}"
            )
            return ""
        return name

    def _clip(self, box: Sequence[float]) -> Box:
        """Return a box clipped to the image, or () if it is outside; both record a problem."""
        values = as_boxes(box)
        clipped = clip_boxes(values, self.width, self.height)
        image = f"the image ({self.width} x {self.height})"
        if not np.isfinite(values).all() or box_area(clipped)[0] < 1:
            self.add_problem(f"the box {_format_box(box)} is outside {image} and was ignored")
            return ()
        if not same_box(clipped[0].tolist(), list(box)):
            self.add_problem(
                f"the box {_format_box(box)} extended beyond {image} and was clipped to it"
            )
        return tuple(round(float(value), 2) for value in clipped[0])


def _format_box(box: Sequence[float]) -> str:
    return "[" + ", ".join(f"{value:.0f}" for value in box) + "]"
