"""FiftyOne's data set of a set under review: kept in step with its folder, and read for edits."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskyolo._text import counted
from maskyolo.core.classes import SPLITS
from maskyolo.errors import DatasetError
from maskyolo.review.app.database import connect
from maskyolo.review.app.fields import (
    LABELS,
    LEDGER_FIELDS,
    OTHER_BOXES,
    PREDICTIONS,
    declare_fields,
    ledger_values,
    make_detections,
    make_labels,
    make_metadata,
    make_sample,
)
from maskyolo.review.app.stored import StoredPhoto, read_stored
from maskyolo.review.app.suggestions import SUSPICION_FIELDS, is_settled, suspicion_values
from maskyolo.review.app.tag_edits import edit_from_app
from maskyolo.review.corrections import Face, PhotoEdit, Problem, same_box
from maskyolo.review.review_set import ReviewPhoto, ReviewSet
from maskyolo.review.suspicions import Suspicion, Tag

if TYPE_CHECKING:
    import supervision as sv

__all__ = ["OpenedSet", "SyncResult"]

_CONFLICT = "conflict"

#: Names of the tags that are applied.
_TAGS = [tag.value for tag in Tag]

#: Tags that maskyolo itself puts on photos.
_OWN_TAGS = {*SPLITS, _CONFLICT}


@dataclass
class SyncResult:
    """What bringing FiftyOne's data set in step with the folder did.

    Attributes:
        new: names of the images that were added.
        updated: number of photos whose labels were read again.
        removed: number of photos that are no longer in the set.
        moved: number of photos that are in another folder now.
        waiting: number of photos with edits that are not applied yet.
        problems: what the user should know.
    """

    new: list[str] = field(default_factory=list)
    updated: int = 0
    removed: int = 0
    moved: int = 0
    waiting: int = 0
    problems: list[Problem] = field(default_factory=list)


class OpenedSet:
    """FiftyOne's data set of a set under review.

    Args:
        fo: the module `fiftyone`, connected.
        samples: its data set.
        review: the set.
    """

    def __init__(self, fo: Any, samples: Any, review: ReviewSet) -> None:
        self.fo, self.samples, self.review = fo, samples, review

    @classmethod
    def find(cls, review: ReviewSet, name: str | None = None) -> OpenedSet:
        """Return FiftyOne's data set of a set that was opened before.

        Raises:
            DatasetError: it was never opened, or the data set of that name is of another set.
        """
        fo = connect()
        name = name or review.root.name
        if not fo.dataset_exists(name):
            raise DatasetError(
                f"FiftyOne has no data set '{name}' of {review.root}",
                "open it first with `maskyolo review open`, or give its --name",
            )
        samples = fo.load_dataset(name)
        _check_owner(samples, review)
        return cls(fo, samples, review)

    @classmethod
    def make(cls, review: ReviewSet, name: str | None = None) -> OpenedSet:
        """Return FiftyOne's data set of a set; it is created if it does not exist.

        Raises:
            DatasetError: a data set of that name exists that was made from another folder, or
                not by maskyolo.
        """
        fo = connect()
        name = name or review.root.name
        if fo.dataset_exists(name):
            samples = fo.load_dataset(name)
            _check_owner(samples, review)
        else:
            samples = fo.Dataset(name, persistent=True)
            samples.media_type = "image"
            declare_fields(fo, samples)
        opened = cls(fo, samples, review)
        opened.remember(root=str(review.root))
        return opened

    def remember(self, **values: Any) -> None:
        """Store values with the data set."""
        known = dict(self.samples.info.get("maskyolo", {}))
        if any(known.get(name) != value for name, value in values.items()):
            self.samples.info["maskyolo"] = known | values
            self.samples.save()

    def recall(self, name: str) -> Any:
        """Return a value that `remember` stored, or None."""
        return self.samples.info.get("maskyolo", {}).get(name)

    def sync(self) -> SyncResult:
        """Bring photos, labels and ledger in step with the folder; pending edits are kept."""
        result = SyncResult()
        stored = read_stored(self.samples)
        photos, names = self.review.photos, self.review.names
        result.new = [image for image in photos if image not in stored]
        if result.new:
            new = [make_sample(self.fo, photos[image], names) for image in result.new]
            self.samples.add_samples(new, expand_schema=False)
        self._sync_files(stored, result)
        self._sync_ledger(stored)
        result.removed = self._remove_missing(stored, result)
        return result

    def show_suspicions(
        self, suspicions: Sequence[Suspicion], images: Iterable[str] | None = None
    ) -> None:
        """Show a `review.csv`: rank, score and reasons per photo, and the suggested boxes.

        Suspicions that were dealt with since the list was made are left out.

        Args:
            suspicions: the lines of the list.
            images: the photos to update; None for all.
        """
        photos, names = self.review.photos, self.review.names
        by_image: dict[str, list[Suspicion]] = defaultdict(list)
        for found in suspicions:
            photo = photos.get(found.image)
            if photo and not is_settled(found, photo.faces(names)):
                by_image[found.image].append(found)
        ids = dict(zip(*self.samples.values(["image", "id"]), strict=True))
        values = {}
        for image in ids if images is None else images:
            rows = by_image.get(image)
            values[ids[image]] = (
                suspicion_values(self.fo, photos[image], names, rows) if rows else SUSPICION_FIELDS
            )
        for name in SUSPICION_FIELDS:
            self._set(name, {sample_id: value[name] for sample_id, value in values.items()})

    def unpredicted(self, where: str) -> dict[str, str]:
        """Return the images without predictions in the field `where`: name to sample id."""
        view = self.samples.exists(where, False)
        return dict(zip(*view.values(["image", "id"]), strict=True))

    def store_predictions(
        self, where: str, found: Mapping[str, tuple[ReviewPhoto, sv.Detections]]
    ) -> None:
        """Store predictions in the field `where`, for each sample id a photo and its detections."""
        values = {}
        for sample_id, (photo, detections) in found.items():
            names = detections.data.get("class_name", ())
            faces = [
                Face(tuple(float(side) for side in box), str(name))
                for box, name in zip(detections.xyxy, names, strict=True)
            ]
            scores = [] if detections.confidence is None else detections.confidence.tolist()
            values[sample_id] = make_detections(self.fo, photo, faces, scores)
        self._set(where, values)

    def edits(self) -> tuple[list[PhotoEdit], list[Problem]]:
        """Return what people edited and tagged since the labels were last read, and problems.

        A photo whose label file has changed since is skipped, with a problem.
        """
        edits, problems, unknown = [], [], Counter[str]()
        names = self.review.names
        for image, stored in sorted(read_stored(self.samples).items()):
            photo = self.review.photos.get(image)
            if photo is None:
                continue
            unknown.update(stored.all_tags - {*_TAGS} - _OWN_TAGS)
            tagged, faces = bool(stored.all_tags & {*_TAGS}), stored.faces(photo)
            if not tagged and _same_faces(faces, photo.faces(names, stored.text)):
                continue
            if stored.text == photo.text:
                edits.append(edit_from_app(photo, stored, names))
            elif tagged or not _same_faces(faces, photo.faces(names)):
                message = (
                    "its label file was changed after it was opened, so its edits were skipped; "
                    "run `maskyolo review open` again"
                )
                problems.append(Problem(image, message))
        for tag, count in sorted(unknown.items()):
            message = (
                f"unknown tag '{tag}' on {counted(count, 'photo')} was ignored; known tags are "
                f"{', '.join(_TAGS)}"
            )
            problems.append(Problem("", message))
        return edits, problems

    def settle(self, edits: Iterable[PhotoEdit]) -> None:
        """Show the result of edits as labels, and remove their tags; open tags go on the photo."""
        stored = read_stored(self.samples)
        labels = {}
        still_open: dict[str, list[str]] = defaultdict(list)
        for edit in edits:
            if edit.removed:
                continue
            sample_id, photo = stored[edit.image].id, self.review.photos[edit.image]
            labels[sample_id] = make_labels(self.fo, photo, edit.faces, edit.added)
            for tag in edit.open_tags:
                still_open[tag.value].append(sample_id)
        self._set(LABELS, labels)
        self._set("unmerged", dict.fromkeys(labels))
        if labels:
            self._remove_tags(list(labels))
        for tag, ids in still_open.items():
            self.samples.select(ids).tag_samples(tag)

    def refresh(self, review: ReviewSet, edits: Iterable[PhotoEdit]) -> None:
        """Read edited photos again after their files were written, and drop their suspicions.

        Args:
            review: the set as it is now.
            edits: what was applied.
        """
        self.review = review
        stored = read_stored(self.samples)
        known = [edit for edit in edits if edit.image in stored]
        settled = [stored[edit.image].id for edit in known if not edit.open_tags]
        for name, nothing in SUSPICION_FIELDS.items():
            self._set(name, dict.fromkeys(settled, nothing))
        removed = [edit.image for edit in known if edit.removed and edit.image not in review.photos]
        if removed:
            self.samples.delete_samples([stored[image].id for image in removed])
        edited = {edit.image: stored[edit.image] for edit in known}
        self._sync_files(edited, SyncResult())
        self._sync_ledger(edited)

    def _sync_files(self, stored: Mapping[str, StoredPhoto], result: SyncResult) -> None:
        """Show what changed in the image and label files of known photos."""
        changed: dict[str, dict[str, Any]] = defaultdict(dict)  # by field, then by sample id
        names = self.review.names
        for image, known in stored.items():
            photo = self.review.photos.get(image)
            if photo is None:
                continue
            if known.path != str(photo.path):
                changed["filepath"][known.id] = str(photo.path)
            faces = known.faces(photo)
            edited = not _same_faces(faces, photo.faces(names, known.text))
            result.waiting += edited or bool(known.all_tags & {*_TAGS})
            if known.text != photo.text:
                if edited and not _same_faces(faces, photo.faces(names)):
                    changed["unmerged"][known.id] = make_detections(self.fo, photo, faces)
                changed["label_text"][known.id] = photo.text
                changed[LABELS][known.id] = make_labels(self.fo, photo, photo.faces(names))
            size = photo.path.stat().st_size
            if known.size_bytes != size:
                changed["metadata"][known.id] = make_metadata(self.fo, photo, size)
                for name in PREDICTIONS:  # they are of another image
                    changed[name][known.id] = None
        for name, values in changed.items():
            self._set(name, values)
        result.moved, result.updated = len(changed["filepath"]), len(changed["label_text"])
        if conflicts := list(changed["unmerged"]):
            self.samples.select(conflicts).tag_samples(_CONFLICT)
            message = (
                f"{counted(len(conflicts), 'photo')} edited in the App while the label files also "
                "changed: the files count, and the edits are kept in the field 'unmerged' (saved "
                "view 'conflict')"
            )
            result.problems.append(Problem("", message))

    def _sync_ledger(self, stored: Mapping[str, StoredPhoto]) -> None:
        """Show what changed in the ledger's rows of known photos."""
        if not self.review.rows or not stored:
            return
        view = self.samples.select([known.id for known in stored.values()])
        columns = view.values(["image", "id", *LEDGER_FIELDS])
        changed: dict[str, dict[str, Any]] = defaultdict(dict)
        for image, sample_id, *old in zip(*columns, strict=True):
            if photo := self.review.photos.get(image):
                for (name, value), before in zip(ledger_values(photo).items(), old, strict=True):
                    if value != before:
                        changed[name][sample_id] = value
        for name, values in changed.items():
            self._set(name, values)

    def _remove_missing(self, stored: Mapping[str, StoredPhoto], result: SyncResult) -> int:
        """Remove the samples of photos that left the set; return how many.

        Those with tags that are not applied yet stay, because the tags would be lost.
        """
        missing = {
            image: known for image, known in stored.items() if image not in self.review.photos
        }
        pending = {*_TAGS} - {Tag.DELETE.value}
        kept = [image for image, known in missing.items() if known.all_tags & pending]
        if kept:
            message = (
                f"{counted(len(kept), 'tagged photo')} no longer in the set, such as {kept[0]}; "
                "they only remain in FiftyOne"
            )
            result.problems.append(Problem("", message))
        ids = [known.id for image, known in missing.items() if image not in kept]
        if ids:
            self.samples.delete_samples(ids)
        return len(ids)

    def _remove_tags(self, ids: Sequence[str]) -> None:
        view = self.samples.select(list(ids))
        view.untag_samples([*_TAGS, _CONFLICT])
        names = [LABELS, *OTHER_BOXES]
        names = [name for name in names if self.samples.has_sample_field(name)]
        view.untag_labels(_TAGS, label_fields=names)

    def _set(self, name: str, values: Mapping[str, Any]) -> None:
        """Write a field of the samples with these ids, in one go."""
        if values:
            self.samples.set_values(name, dict(values), key_field="id", expand_schema=False)


def _check_owner(samples: Any, review: ReviewSet) -> None:
    """Check that a data set of FiftyOne was made from this folder, perhaps before it was moved.

    Raises:
        DatasetError: it was not.
    """
    remedy = "choose another name with --name"
    root = samples.info.get("maskyolo", {}).get("root")
    if root is None:
        raise DatasetError(
            f"FiftyOne's data set '{samples.name}' was not made by maskyolo and is left unchanged",
            remedy,
        )
    if Path(root) == review.root:
        return
    images = set(samples.values("image"))
    common = len(images & {*review.photos})
    if (Path(root) / "data.yaml").is_file() or common < len(images) / 2:
        raise DatasetError(
            f"FiftyOne's data set '{samples.name}' is of {root}, not of {review.root}, and is left "
            "unchanged",
            remedy,
        )


def _same_faces(one: Sequence[Face], other: Sequence[Face]) -> bool:
    return len(one) == len(other) and all(
        a.class_name == b.class_name and same_box(a.box, b.box)
        for a, b in zip(one, other, strict=True)
    )
