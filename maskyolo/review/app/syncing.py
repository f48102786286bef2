"""Updates FiftyOne's data set from the folder: image and label files, and the ledger."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from maskyolo.core.text import counted
from maskyolo.review.app.fields import (
    LABELS,
    LEDGER_FIELDS,
    PREDICTIONS,
    ledger_values,
    make_detections,
    make_labels,
    make_metadata,
)
from maskyolo.review.app.stored import StoredPhoto, write_values
from maskyolo.review.corrections import Problem, same_faces
from maskyolo.review.review_set import ReviewSet
from maskyolo.review.suspicions import Tag

__all__ = ["CONFLICT", "TAG_NAMES", "SyncResult", "remove_missing", "sync_files", "sync_ledger"]

#: Tag of photos whose label file changed while they were edited in the App.
CONFLICT = "conflict"

#: Names of the tags that `review apply` applies.
TAG_NAMES = [tag.value for tag in Tag]


@dataclass
class SyncResult:
    """What an update of FiftyOne's data set from the folder changed.

    Attributes:
        new: names of the images that were added.
        updated: number of photos whose labels were read again.
        removed: number of photos that are no longer in the set.
        moved: number of photos that are in another folder now.
        waiting: number of photos with edits that are not applied yet.
        problems: messages for the user.
    """

    new: list[str] = field(default_factory=list)
    updated: int = 0
    removed: int = 0
    moved: int = 0
    waiting: int = 0
    problems: list[Problem] = field(default_factory=list)


def sync_files(
    fo: Any, samples: Any, review: ReviewSet, stored: Mapping[str, StoredPhoto], result: SyncResult
) -> None:
    """Update known photos whose image or label files have changed."""
    changed: dict[str, dict[str, Any]] = defaultdict(dict)  # by field, then by sample id
    names = review.names
    for image, known in stored.items():
        photo = review.photos.get(image)
        if photo is None:
            continue
        if known.path != str(photo.path):
            changed["filepath"][known.id] = str(photo.path)
        faces = known.faces(photo)
        edited = not same_faces(faces, photo.faces(names, known.text))
        result.waiting += edited or bool(known.all_tags & {*TAG_NAMES})
        if known.text != photo.text:
            if edited and not same_faces(faces, photo.faces(names)):
                changed["unmerged"][known.id] = make_detections(fo, photo, faces)
            changed["label_text"][known.id] = photo.text
            changed[LABELS][known.id] = make_labels(fo, photo, photo.faces(names))
        size = photo.path.stat().st_size
        if known.size_bytes != size:
            changed["metadata"][known.id] = make_metadata(fo, photo, size)
            for name in PREDICTIONS:  # predictions of the old image
                changed[name][known.id] = None
    for name, values in changed.items():
        write_values(samples, name, values)
    result.moved, result.updated = len(changed["filepath"]), len(changed["label_text"])
    if conflicts := list(changed["unmerged"]):
        samples.select(conflicts).tag_samples(CONFLICT)
        message = (
            f"{counted(len(conflicts), 'photo')} edited in the App while the label files also "
            "changed: the files count, and the edits are kept in the field 'unmerged' (saved "
            "view 'conflict')"
        )
        result.problems.append(Problem("", message))


def sync_ledger(samples: Any, review: ReviewSet, stored: Mapping[str, StoredPhoto]) -> None:
    """Update known photos whose rows in the ledger have changed."""
    if not review.rows or not stored:
        return
    view = samples.select([known.id for known in stored.values()])
    columns = view.values(["image", "id", *LEDGER_FIELDS])
    changed: dict[str, dict[str, Any]] = defaultdict(dict)
    for image, sample_id, *old in zip(*columns, strict=True):
        if photo := review.photos.get(image):
            for (name, value), before in zip(ledger_values(photo).items(), old, strict=True):
                if value != before:
                    changed[name][sample_id] = value
    for name, values in changed.items():
        write_values(samples, name, values)


def remove_missing(
    samples: Any, review: ReviewSet, stored: Mapping[str, StoredPhoto], result: SyncResult
) -> int:
    """Remove the samples of photos that are no longer in the set; return their number.

    Photos with tags that are not applied yet stay, because their tags would be lost.
    """
    missing = {image: known for image, known in stored.items() if image not in review.photos}
    pending = {*TAG_NAMES} - {Tag.DELETE.value}
    kept = [image for image, known in missing.items() if known.all_tags & pending]
    if kept:
        message = (
            f"{counted(len(kept), 'tagged photo')} no longer in the set, such as {kept[0]}; "
            "they only remain in FiftyOne"
        )
        result.problems.append(Problem("", message))
    ids = [known.id for image, known in missing.items() if image not in kept]
    if ids:
        samples.delete_samples(ids)
    return len(ids)
