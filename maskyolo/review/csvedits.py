"""What people wrote into `review.csv`, as edits of the photos' labels; needs no FiftyOne."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from maskyolo.dataset import class_of
from maskyolo.errors import DatasetError
from maskyolo.review.corrections import PhotoEdit, same_box
from maskyolo.review.photos import ReviewSet
from maskyolo.review.suspicions import TAGS, Suspicion

__all__ = ["edits_of_csv"]


def edits_of_csv(review: ReviewSet, suspicions: Sequence[Suspicion], path: Path | str) -> list[PhotoEdit]:
    """Lay the filled-in lines of a `review.csv` upon the labels of a set.

    Args:
        review: the set.
        suspicions: the lines.
        path: where they are from, for messages.

    Raises:
        DatasetError: an unknown tag or class, a picture that is not in the set, or a box that is not in its labels (any more).
    """
    edits: dict[str, PhotoEdit] = {}
    for line in suspicions:
        if not (line.tags or line.new_class or line.new_box):
            continue
        where = f"{path}, line {line.line}"
        unknown = [tag for tag in line.tags if tag not in TAGS]
        if unknown:
            raise DatasetError(f"{where}: unknown tag '{unknown[0]}'; choose from {', '.join(TAGS)}")
        if line.image not in review.photos:
            raise DatasetError(f"{where}: {line.image or 'an empty name'} is not a picture of {review.root}; correct the line or empty it")
        if line.new_class and line.new_class not in review.names and class_of(line.new_class) not in review.names:
            raise DatasetError(f"{where}: unknown class '{line.new_class}'; choose from {', '.join(review.names)}")
        edit = edits.setdefault(line.image, review.photos[line.image].edit(review.names))
        _lay(edit, line, where)
    return list(edits.values())


def _lay(edit: PhotoEdit, found: Suspicion, where: str) -> None:
    tags = edit.heed(found.tags)
    place = _place(edit, found, where)
    box = found.new_box or (found.suggested_box if {"bad_box", "missing"} & {*tags} else ())
    name = found.new_class or (found.suggested_class if {"wrong_class", "missing"} & {*tags} else "")
    edit.checked |= "ok" in tags
    if "delete" in tags:
        if place is None:
            edit.gone = True
        else:
            edit.remove(place)
    elif place is None:
        if box:
            edit.add(box, name or found.suggested_class or _of_photo(edit))
        elif {"bad_box", "missing", "wrong_class"} & {*tags} or name:
            raise DatasetError(f"{where}: there is no box to {'add' if 'missing' in tags else 'change'}; write one into new_box")
    elif "missing" in tags:  # a face beside the one that has a box
        if not box:
            raise DatasetError(f"{where}: there is no box to add; write one into new_box")
        edit.add(box, name or edit.before[place].class_name)
    else:
        if box:
            edit.set_box(place, box)
        elif "bad_box" in tags:
            raise DatasetError(f"{where}: tagged bad_box, but no better box is suggested; write one into new_box")
        if name:
            edit.set_class(place, name)
        elif "wrong_class" in tags:
            edit.flip(place)
    if "confuser" in tags:
        if place is None and len(edit.before) != 1:
            raise DatasetError(f"{where}: tagged confuser, but the photo has {len(edit.before)} boxes; tag the line of the right one")
        edit.cover(place or 0)


def _place(edit: PhotoEdit, found: Suspicion, where: str) -> int | None:
    """Return the line of the label file that a suspicion is of, None for no box."""
    if found.label is None:
        return None
    lines = [place for place, face in enumerate(edit.before) if not found.box or same_box(face.box, found.box)]
    if found.label in lines:
        return found.label
    if found.box and lines:
        return lines[0]
    raise DatasetError(
        f"{where}: box {found.label} of {found.image} is not in its labels any more, which were changed since; find anew, or empty the line"
    )


def _of_photo(edit: PhotoEdit) -> str:
    classes = {face.class_name for face in edit.before}
    return classes.pop() if len(classes) == 1 else edit.names[0]
