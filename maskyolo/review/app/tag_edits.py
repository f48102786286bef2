"""Edits made in FiftyOne's App: changed boxes, and tags.

Edits of boxes are the differences from the label file as it was last read; FiftyOne keeps its text
for each photo.
"""

from __future__ import annotations

from collections.abc import Sequence

from maskyolo.core.boxes import box_iou
from maskyolo.review.app.fields import OTHER_BOXES, to_pixels
from maskyolo.review.app.stored import StoredBox, StoredPhoto
from maskyolo.review.corrections import PhotoEdit, same_box
from maskyolo.review.review_set import ReviewPhoto
from maskyolo.review.suspicions import Box, Reason, Tag

__all__ = ["edit_from_app"]

#: Minimum IoU of a tagged prediction with the labeled face that its tag is about.
_OVERLAP = 0.1


def edit_from_app(photo: ReviewPhoto, stored: StoredPhoto, names: tuple[str, ...]) -> PhotoEdit:
    """Return what a person edited and tagged in the App.

    Args:
        photo: the photo; its label file must be unchanged since FiftyOne read it.
        stored: the photo as stored in FiftyOne.
        names: the set's classes by id.
    """
    edit = photo.start_edit(names, stored.text)
    work = _AppEdit(edit, photo, stored)
    work.apply_labels()
    for name in OTHER_BOXES:
        for box in stored.others[name]:
            work.apply_other_box(box)
    work.apply_photo_tags()
    return edit


class _AppEdit:
    """Builds the edit of one photo from its boxes and tags.

    Args:
        edit: the edit to change.
        photo: the photo.
        stored: the photo as stored in FiftyOne.
    """

    def __init__(self, edit: PhotoEdit, photo: ReviewPhoto, stored: StoredPhoto) -> None:
        self.edit, self.photo = edit, photo
        self.labels, self.photo_tags = stored.labels, stored.tags
        self.suggestions = stored.others["suggestions"]

    def apply_labels(self) -> None:
        """Apply labeled boxes that were moved, added or removed, and the tags of all of them."""
        edit = self.edit
        lines = set()
        for box in self.labels:
            tags = edit.add_tags(box.tags)
            line = box.line
            if line is None or not 0 <= line < len(edit.before) or line in lines:
                if Tag.DELETE not in tags:
                    edit.add_face(self._pixels(box), box.label)
                continue
            lines.add(line)
            edit.set_box(line, self._pixels(box))
            if box.label != edit.before[line].class_name:
                edit.set_class(line, box.label)
            self._apply_tags(line, tags)
        for line in set(range(len(edit.before))) - lines:
            edit.remove_box(line)

    def apply_other_box(self, box: StoredBox) -> None:
        """Apply the tags of a prediction or suggestion, which corrects a label."""
        edit, tags = self.edit, self.edit.add_tags(box.tags)
        if Tag.MISSING in tags:
            edit.add_face(self._pixels(box), box.label)
        if not {Tag.BAD_BOX, Tag.WRONG_CLASS} & {*tags}:
            return
        line = self._line_at(self._pixels(box))
        if line is None:
            edit.add_problem(
                f"a prediction is tagged {' and '.join(tags)}, but it does not overlap a labeled "
                "box; tag it missing to add it",
                *tags,
            )
            return
        if Tag.BAD_BOX in tags:
            edit.set_box(line, self._pixels(box))
        if Tag.WRONG_CLASS in tags:
            edit.set_class(line, box.label)

    def apply_photo_tags(self) -> None:
        """Apply the tags of the photo itself, if it is clear which box they mean."""
        edit, tags = self.edit, self.edit.add_tags(self.photo_tags)
        edit.removed = Tag.DELETE in tags
        edit.checked |= Tag.OK in tags
        if edit.removed:
            return
        if Tag.MISSING in tags and not edit.added:
            self._add_missing()
        if edit.faces != edit.before:  # the person already changed the boxes by hand
            return
        for tag in (Tag.WRONG_CLASS, Tag.BAD_BOX, Tag.OCCLUDER):
            if tag in tags:
                self._apply_photo_tag(tag)

    def _apply_photo_tag(self, tag: Tag) -> None:
        suggested = {box.line for box in self.suggestions if box.reason == tag}
        lines = sorted(line for line in suggested if line is not None)
        count = len(self.edit.before)
        lines = lines or list(range(count))
        if len(lines) == 1:
            self._apply_tags(lines[0], [tag])
        else:
            self.edit.add_problem(
                f"tagged {tag}, but the photo has {count} boxes; tag the box that is meant", tag
            )

    def _add_missing(self) -> None:
        missing = [box for box in self.suggestions if box.reason == Reason.MISSING]
        for box in missing:
            self.edit.add_face(self._pixels(box), box.label)
        if not missing:
            self.edit.add_problem(
                "tagged missing, but no face is suggested; draw its box, or tag the prediction "
                "that shows it missing",
                Tag.MISSING,
            )

    def _apply_tags(self, line: int, tags: Sequence[Tag]) -> None:
        """Apply the tags of a labeled box, unless the person already made the change by hand."""
        edit = self.edit
        before, face = edit.before[line], edit.faces[line]
        if face is None:
            return
        if Tag.DELETE in tags:
            edit.remove_box(line)
            return
        edit.checked |= Tag.OK in tags
        if Tag.WRONG_CLASS in tags and face.class_name == before.class_name:
            suggested = self._suggested(line, Reason.WRONG_CLASS)
            if suggested and suggested.label not in ("", before.class_name):
                edit.set_class(line, suggested.label)
            else:
                edit.flip_class(line)
        if Tag.BAD_BOX in tags and same_box(face.box, before.box):
            if suggested := self._suggested(line, Reason.BAD_BOX):
                edit.set_box(line, self._pixels(suggested))
            else:
                edit.add_problem(
                    "a box is tagged bad_box, but no better one is suggested; draw it, or tag the "
                    "better prediction bad_box",
                    Tag.BAD_BOX,
                )
        if Tag.OCCLUDER in tags:
            edit.set_unmasked(line)

    def _suggested(self, line: int, reason: Reason) -> StoredBox | None:
        """Return the last suggestion with this reason for a line of the label file."""
        found = [box for box in self.suggestions if box.line == line and box.reason == reason]
        return found[-1] if found else None

    def _line_at(self, box: Box) -> int | None:
        """Return the line of the labeled face that a box overlaps most, or None."""
        boxes = {line: face.box for line, face in enumerate(self.edit.faces) if face}
        if not boxes:
            return None
        overlaps = box_iou([*boxes.values()], [box])[:, 0]
        best = int(overlaps.argmax())
        return [*boxes][best] if overlaps[best] >= _OVERLAP else None

    def _pixels(self, box: StoredBox) -> Box:
        return to_pixels(box.relative, self.photo)
