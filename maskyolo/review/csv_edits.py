"""What people wrote into `review.csv`, as edits of the photos' labels; needs no FiftyOne."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from maskyolo._text import counted
from maskyolo.core.classes import CLASS_NAMES, class_of
from maskyolo.errors import DatasetError
from maskyolo.review.corrections import Face, PhotoEdit, Problem, same_box
from maskyolo.review.review_set import ReviewSet
from maskyolo.review.suspicions import TAGS, Suspicion
from maskyolo.review.transaction import Transaction

__all__ = ["edits_of_csv"]


def edits_of_csv(
    review: ReviewSet, suspicions: Sequence[Suspicion], path: Path | str
) -> tuple[list[PhotoEdit], list[Problem]]:
    """Lay the filled-in lines of a `review.csv` upon the labels of a set; those that were taken over before are passed over.

    Args:
        review: the set.
        suspicions: the lines.
        path: where they are from, for messages.

    Raises:
        DatasetError: an unknown tag or class, a picture that is not in the set, or a box that is not in its labels (any more).
    """
    edits: dict[str, PhotoEdit] = {}
    log: dict[str, list[Mapping[str, Any]]] = {}
    for change in Transaction.log(review.root):
        log.setdefault(change["image"], []).append(change)
    before = 0
    for line in suspicions:
        if not (line.tags or line.new_class or line.new_box):
            continue
        where = f"{path}, line {line.line}"
        unknown = [tag for tag in line.tags if tag not in TAGS]
        if unknown:
            raise DatasetError(
                f"{where}: unknown tag '{unknown[0]}'; choose from {', '.join(TAGS)}"
            )
        photo = review.photos.get(line.image)
        faces = photo.faces(review.names) if photo else None
        if any(_is_done(line, change, faces) for change in log.get(line.image, ())):
            before += 1
            continue
        if photo is None:
            raise DatasetError(
                f"{where}: {line.image or 'an empty name'} is not a picture of {review.root}; correct the line or empty it"
            )
        if (
            line.new_class
            and line.new_class not in review.names
            and class_of(line.new_class) not in review.names
        ):
            raise DatasetError(
                f"{where}: unknown class '{line.new_class}'; choose from {', '.join(review.names)}"
            )
        _lay(edits.setdefault(line.image, photo.edit(review.names)), line, where)
    told = f"passed over: {counted(before, 'line')} of {path} taken over before; to change a box again write new_class or new_box"
    return list(edits.values()), [Problem("", told)] if before else []


def _is_done(line: Suspicion, change: Mapping[str, Any], faces: Sequence[Face] | None) -> bool:
    """Tell whether an earlier change did what a line asks for, and nothing was changed since.

    Args:
        line: what a person filled in.
        change: a line of the change log of its photo.
        faces: the photo's labels now; None if it is not in the set.
    """
    if faces is None:
        return change["what"] == "photo_removed" and "delete" in line.tags and line.label is None
    old, new = change["before"], change["after"]
    if line.label is None or not old:
        return False
    if not new:
        return (
            "delete" in line.tags
            and bool(line.box)
            and same_box(line.box, old["box"])
            and not _has(faces, old)
        )
    here = line.box or (faces[line.label].box if line.label in range(len(faces)) else ())
    if (
        "delete" in line.tags
        or not here
        or not same_box(here, (old if line.box else new)["box"])
        or not _has(faces, new)
    ):
        return False
    box = line.new_box or (line.suggested_box if "bad_box" in line.tags else ())
    name = line.new_class or (line.suggested_class if "wrong_class" in line.tags else "")
    name = CLASS_NAMES[1] if "confuser" in line.tags else name
    if box and not same_box(box, new["box"]):
        return False
    if not name and "wrong_class" in line.tags:
        return bool(old["class"] != new["class"])
    return not name or new["class"] in (name, class_of(name))


def _has(faces: Sequence[Face], face: Mapping[str, Any]) -> bool:
    return any(
        known.class_name == face["class"] and same_box(known.box, face["box"]) for known in faces
    )


def _lay(edit: PhotoEdit, found: Suspicion, where: str) -> None:
    tags = edit.heed(found.tags)
    place = _place(edit, found, where)
    box = found.new_box or (found.suggested_box if {"bad_box", "missing"} & {*tags} else ())
    name = found.new_class or (
        found.suggested_class if {"wrong_class", "missing"} & {*tags} else ""
    )
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
            raise DatasetError(
                f"{where}: there is no box to {'add' if 'missing' in tags else 'change'}; write one into new_box"
            )
    elif "missing" in tags:  # a face beside the one that has a box
        if not box:
            raise DatasetError(f"{where}: there is no box to add; write one into new_box")
        edit.add(box, name or edit.before[place].class_name)
    else:
        if box:
            edit.set_box(place, box)
        elif "bad_box" in tags:
            raise DatasetError(
                f"{where}: tagged bad_box, but no better box is suggested; write one into new_box"
            )
        if name:
            edit.set_class(place, name)
        elif "wrong_class" in tags:
            edit.flip(place)
    if "confuser" in tags:
        if place is None and len(edit.before) != 1:
            raise DatasetError(
                f"{where}: tagged confuser, but the photo has {len(edit.before)} boxes; tag the line of the right one"
            )
        edit.cover(place or 0)


def _place(edit: PhotoEdit, found: Suspicion, where: str) -> int | None:
    """Return the line of the label file that a suspicion is of, None for no box."""
    if found.label is None:
        return None
    lines = [
        place
        for place, face in enumerate(edit.before)
        if not found.box or same_box(face.box, found.box)
    ]
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
