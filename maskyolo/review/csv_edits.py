"""Converts a filled-in `review.csv` to edits of labels; does not need FiftyOne."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from maskyolo.core.classes import CLASS_NAMES, find_class
from maskyolo.core.text import counted
from maskyolo.errors import DatasetError
from maskyolo.review.corrections import ChangeKind, Face, PhotoEdit, Problem, same_box
from maskyolo.review.review_set import ReviewSet
from maskyolo.review.suspicions import Box, Suspicion, Tag
from maskyolo.review.transaction import Transaction

__all__ = ["edits_from_csv"]


def edits_from_csv(
    review: ReviewSet, suspicions: Sequence[Suspicion], path: Path | str
) -> tuple[list[PhotoEdit], list[Problem]]:
    """Return the edits from the filled-in lines of a `review.csv`, and problems.

    Lines that were applied before are skipped; one of the problems reports their number.

    Args:
        review: the data set.
        suspicions: the lines.
        path: the file that they come from, for messages.

    Raises:
        DatasetError: an unknown tag or class, an image that is not in the set, or a box that is
            not (or no longer) in its labels.
    """
    edits: dict[str, PhotoEdit] = {}
    log: dict[str, list[Mapping[str, Any]]] = {}
    for change in Transaction.log(review.root):
        log.setdefault(change["image"], []).append(change)
    skipped = 0
    for line in suspicions:
        if not line.is_filled_in:
            continue
        where = f"{path}, line {line.line}"
        _check_tags(line, where)
        photo = review.photos.get(line.image)
        faces = photo.faces(review.names) if photo else None
        if any(_is_done(line, change, faces) for change in log.get(line.image, ())):
            skipped += 1
            continue
        if photo is None:
            raise DatasetError(
                f"{where}: {line.image or 'an empty name'} is not an image of {review.root}",
                "correct the line, or leave its last three columns empty",
            )
        _check_class(line, review.names, where)
        edit = edits.setdefault(line.image, photo.start_edit(review.names))
        _LineEdit(edit, line, where).apply()
    if not skipped:
        return list(edits.values()), []
    message = (
        f"skipped {counted(skipped, 'line')} of {path} applied before; to change a box again, "
        "fill in new_class or new_box"
    )
    return list(edits.values()), [Problem("", message)]


def _check_tags(line: Suspicion, where: str) -> None:
    known = [tag.value for tag in Tag]
    for tag in line.tags:
        if tag not in known:
            raise DatasetError(f"{where}: unknown tag '{tag}'", f"choose from {', '.join(known)}")


def _check_class(line: Suspicion, names: Sequence[str], where: str) -> None:
    if line.new_class and not find_class(line.new_class, names):
        raise DatasetError(
            f"{where}: unknown class '{line.new_class}'", f"choose from {', '.join(names)}"
        )


def _is_done(line: Suspicion, change: Mapping[str, Any], faces: Sequence[Face] | None) -> bool:
    """Return whether an earlier change already did what a line asks for and is still in effect.

    Args:
        line: the filled-in line.
        change: a line of the change log about the same photo.
        faces: the photo's current labels; None if it is not in the set.
    """
    if faces is None:
        removed = change["what"] == ChangeKind.PHOTO_REMOVED
        return removed and Tag.DELETE in line.tags and line.label is None
    old, new = change["before"], change["after"]
    if line.label is None or not old:
        return False
    if not new:
        return _is_removed(line, old, faces)
    here = line.box or (faces[line.label].box if line.label in range(len(faces)) else ())
    if Tag.DELETE in line.tags or not here or not _has(faces, new):
        return False
    # A line without a box applied to whatever box was there, so the box after the change counts.
    if not same_box(here, (old if line.box else new)["box"]):
        return False
    return _is_as_asked(line, old, new)


def _is_removed(line: Suspicion, old: Mapping[str, Any], faces: Sequence[Face]) -> bool:
    """Return whether a line asks to remove the box `old`, and it is still removed."""
    asked = Tag.DELETE in line.tags and bool(line.box) and same_box(line.box, old["box"])
    return asked and not _has(faces, old)


def _is_as_asked(line: Suspicion, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Return whether a change from `old` to `new` gave the box and class that a line asks for."""
    box = line.new_box or (line.suggested_box if Tag.BAD_BOX in line.tags else ())
    if box and not same_box(box, new["box"]):
        return False
    name = line.new_class or (line.suggested_class if Tag.WRONG_CLASS in line.tags else "")
    if Tag.OCCLUDER in line.tags:
        name = CLASS_NAMES[1]
    if not name and Tag.WRONG_CLASS in line.tags:  # the other one of two classes
        return bool(old["class"] != new["class"])
    return not name or bool(find_class(name, [new["class"]]))


def _has(faces: Sequence[Face], face: Mapping[str, Any]) -> bool:
    return any(
        known.class_name == face["class"] and same_box(known.box, face["box"]) for known in faces
    )


@dataclass
class _LineEdit:
    """One filled-in line, applied to the edit of its photo.

    Attributes:
        edit: the edit to change.
        line: the filled-in line.
        where: file and line, for messages.
        tags: the line's tags.
    """

    edit: PhotoEdit
    line: Suspicion
    where: str
    tags: list[Tag] = field(init=False)

    def __post_init__(self) -> None:
        self.tags = self.edit.add_tags(self.line.tags)

    def apply(self) -> None:
        """Apply the line to the edit.

        Raises:
            DatasetError: the line asks for something that is not possible.
        """
        place = self._place()
        self.edit.checked |= Tag.OK in self.tags
        if Tag.DELETE in self.tags:
            if place is None:
                self.edit.removed = True
            else:
                self.edit.remove_box(place)
        elif place is None:
            self._add_face()
        elif Tag.MISSING in self.tags:
            self._add_face_beside(place)
        else:
            self._change_face(place)
        if Tag.OCCLUDER in self.tags:
            self._set_unmasked(place)

    def _place(self) -> int | None:
        """Return the line of the label file that this line is about, or None."""
        label, box = self.line.label, self.line.box
        if label is None:
            return None
        before = self.edit.before
        places = [
            place for place in range(len(before)) if not box or same_box(before[place].box, box)
        ]
        if label in places:
            return label
        if box and places:  # the label file was reordered
            return places[0]
        raise DatasetError(
            f"{self.where}: box {label} of {self.line.image} is no longer in its labels, which "
            "were changed after the list was made",
            "run `maskyolo review find` again, or leave the line's last three columns empty",
        )

    def _box(self) -> Box:
        suggested = {Tag.BAD_BOX, Tag.MISSING} & {*self.tags}
        return self.line.new_box or (self.line.suggested_box if suggested else ())

    def _class(self) -> str:
        suggested = {Tag.WRONG_CLASS, Tag.MISSING} & {*self.tags}
        return self.line.new_class or (self.line.suggested_class if suggested else "")

    def _add_face(self) -> None:
        """Add the face of a line that is not about a box in the label file."""
        box, name = self._box(), self._class()
        if box:
            self.edit.add_face(box, name or self.line.suggested_class or _usual_class(self.edit))
        elif {Tag.BAD_BOX, Tag.MISSING, Tag.WRONG_CLASS} & {*self.tags} or name:
            self._fail(f"there is no box to {'add' if Tag.MISSING in self.tags else 'change'}")

    def _add_face_beside(self, place: int) -> None:
        """Add a face next to one that already has a box."""
        box = self._box()
        if not box:
            self._fail("there is no box to add")
        self.edit.add_face(box, self._class() or self.edit.before[place].class_name)

    def _change_face(self, place: int) -> None:
        box, name = self._box(), self._class()
        if box:
            self.edit.set_box(place, box)
        elif Tag.BAD_BOX in self.tags:
            self._fail("tagged bad_box, but no better box is suggested")
        if name:
            self.edit.set_class(place, name)
        elif Tag.WRONG_CLASS in self.tags:
            self.edit.flip_class(place)

    def _set_unmasked(self, place: int | None) -> None:
        if place is None and len(self.edit.before) != 1:
            raise DatasetError(
                f"{self.where}: tagged occluder, but the photo has {len(self.edit.before)} boxes",
                "tag the line of the box that is meant",
            )
        self.edit.set_unmasked(place or 0)

    def _fail(self, problem: str) -> NoReturn:
        raise DatasetError(f"{self.where}: {problem}", "fill in new_box")


def _usual_class(edit: PhotoEdit) -> str:
    """Return the class of all faces of a photo, or the set's first class if they differ."""
    classes = {face.class_name for face in edit.before}
    return classes.pop() if len(classes) == 1 else edit.names[0]
