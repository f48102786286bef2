"""What a person makes of a photo's labels: edits are gathered here, whether they come from the App or from `review.csv`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from maskyolo.boxes import as_boxes, box_area, clip_boxes
from maskyolo.core.classes import CLASS_NAMES, class_of
from maskyolo.review.suspicions import TAGS, Box

__all__ = ["SAME", "Change", "Face", "PhotoEdit", "Problem", "same_box"]

#: Boxes whose sides differ by less, in pixels, are the same; as in `LedgerRow.corrected`.
SAME = 0.5


@dataclass(frozen=True)
class Face:
    """A labelled face: its box, xyxy pixels, and the name of its class."""

    box: Box
    class_name: str

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values, rounded for people to read."""
        return {"class": self.class_name, "box": [round(value, 2) for value in self.box]}


@dataclass(frozen=True)
class Change:
    """One thing that a person changed.

    Attributes:
        image: the picture, relative to the set's folder.
        what: class, box, added, removed, photo_removed or checked.
        before: the face as it was; None for what is new, and for whole photos.
        after: the face as it is now; None for what is gone.
        tags: what the person tagged it with, or the photo.
        source: the photo's name in the ledger.
    """

    image: str
    what: str
    before: Face | None = None
    after: Face | None = None
    tags: tuple[str, ...] = ()
    source: str = ""

    def __str__(self) -> str:
        told = [
            f"{face.class_name} {_shown(face.box)}" for face in (self.before, self.after) if face
        ]
        return " ".join(
            [
                self.what.replace("_", " "),
                " -> ".join(told),
                f"({', '.join(self.tags)})" if self.tags else "",
            ]
        ).strip()

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values, for a line of the change log."""
        return {
            "image": self.image,
            "source": self.source,
            "what": self.what,
            "before": self.before and self.before.to_dict(),
            "after": self.after and self.after.to_dict(),
            "tags": list(self.tags),
        }


@dataclass(frozen=True)
class Problem:
    """Something that could not be taken over, or not as it was; `image` is empty if it is of no single photo."""

    image: str
    message: str

    def __str__(self) -> str:
        return f"{self.image}: {self.message}" if self.image else self.message


def same_box(a: Sequence[float], b: Sequence[float]) -> bool:
    """Tell whether two boxes (4) differ by less than `SAME` on every side."""
    return max(abs(one - other) for one, other in zip(a, b, strict=True)) < SAME


@dataclass
class PhotoEdit:
    """The labels of one photo while a person's edits are laid upon them.

    Attributes:
        image: the picture, relative to the set's folder.
        width: of the picture, in pixels.
        height: of the picture, in pixels.
        names: the set's classes by id.
        before: its faces by the lines of its label file.
        source: its name in the ledger.
        faces: its faces as they are to be, by the same lines; None for a box taken out.
        added: faces that had no box.
        gone: whether the photo is taken out of the set.
        checked: whether a person said that it is right as it is.
        tags: all tags that were heeded.
        open_tags: those of them that nothing could be made of.
        problems: what could not be taken over.
    """

    image: str
    width: int
    height: int
    names: tuple[str, ...]
    before: list[Face]
    source: str = ""
    faces: list[Face | None] = field(init=False)
    added: list[Face] = field(default_factory=list)
    gone: bool = False
    checked: bool = False
    tags: list[str] = field(default_factory=list)
    open_tags: set[str] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.faces = list(self.before)

    def problem(self, message: str, *tags: str) -> None:
        """Note something that could not be taken over, and the tags that stay open by it."""
        self.problems.append(Problem(self.image, message))
        self.open_tags |= {*tags}

    def class_name(self, text: str) -> str:
        """Return the class of the set that a person means, or an empty string with a problem noted."""
        name = text if text in self.names else class_of(text)
        if name not in self.names:
            self.problem(
                f"unknown class '{text}', so the box keeps the one it had; choose from {', '.join(self.names)}"
            )
            return ""
        return name

    def inside(self, box: Sequence[float]) -> Box:
        """Return a box clipped to the picture, with a problem noted if it reached out; empty if nothing of it is inside."""
        values = as_boxes(box)
        clipped = clip_boxes(values, self.width, self.height)
        if not np.isfinite(values).all() or box_area(clipped)[0] < 1:
            self.problem(
                f"the box {_shown(box)} is not in the picture ({self.width} x {self.height}) and was not taken over"
            )
            return ()
        if not same_box(clipped[0].tolist(), list(box)):
            self.problem(
                f"the box {_shown(box)} reached out of the picture ({self.width} x {self.height}) and was clipped to it"
            )
        return tuple(round(float(value), 2) for value in clipped[0])

    def set_class(self, line: int, text: str) -> None:
        """Give the face of a line another class."""
        face, name = self.faces[line], self.class_name(text)
        if face and name:
            self.faces[line] = Face(face.box, name)

    def flip(self, line: int) -> None:
        """Give the face of a line the other one of two classes."""
        face = self.before[line]
        others = [name for name in self.names if name != face.class_name]
        if len(others) == 1:
            self.set_class(line, others[0])
        else:
            self.problem(
                f"tagged wrong_class, but there are {len(others)} other classes; give the box the right one",
                "wrong_class",
            )

    def set_box(self, line: int, box: Sequence[float]) -> None:
        """Give the face of a line another box; one that is the same within `SAME` changes nothing."""
        face = self.faces[line]
        if face and not same_box(face.box, box) and (inside := self.inside(box)):
            self.faces[line] = Face(inside, face.class_name)

    def remove(self, line: int) -> None:
        """Take the box of a line out."""
        self.faces[line] = None

    def add(self, box: Sequence[float], text: str) -> None:
        """Add a face that had no box; one that is there already within `SAME` is not added again."""
        name = self.class_name(text)
        inside = self.inside(box) if name else ()
        known = [*self.added, *(face for face in self.faces if face)]
        if inside and not any(same_box(face.box, inside) for face in known):
            self.added.append(Face(inside, name))

    def cover(self, line: int) -> None:
        """Say that something else than a mask covers the face of a line: it is without_mask."""
        self.set_class(line, CLASS_NAMES[1])

    def heed(self, tags: Sequence[str]) -> list[str]:
        """Return those of `tags` that are known, and remember them for the change log."""
        known = [tag for tag in tags if tag in TAGS]
        self.tags += [tag for tag in known if tag not in self.tags]
        return known

    @property
    def after(self) -> list[Face]:
        """Its faces as they are to be, in the order of the label file."""
        return [face for face in self.faces if face] + self.added

    def changes(self) -> list[Change]:
        """List what is different now; empty if nothing is."""
        tags = tuple(self.tags)
        if self.gone:
            return [Change(self.image, "photo_removed", tags=tags, source=self.source)]
        found = []
        for old, new in zip(self.before, self.faces, strict=True):
            if new is None:
                found.append(Change(self.image, "removed", old, None, tags, self.source))
            elif new != old:
                what = "class" if new.class_name != old.class_name else "box"
                found.append(Change(self.image, what, old, new, tags, self.source))
        found += [Change(self.image, "added", None, new, tags, self.source) for new in self.added]
        if not found and self.checked:
            found.append(Change(self.image, "checked", tags=tags, source=self.source))
        return found


def _shown(box: Sequence[float]) -> str:
    return "[" + ", ".join(f"{value:.0f}" for value in box) + "]"
