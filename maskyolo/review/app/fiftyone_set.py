"""FiftyOne's data set for a set under review: updated from its folder, and read for edits."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskyolo.core.classes import SPLITS
from maskyolo.core.text import counted
from maskyolo.errors import DatasetError
from maskyolo.review.app.database import connect
from maskyolo.review.app.fields import (
    LABELS,
    OTHER_BOXES,
    declare_fields,
    make_detections,
    make_labels,
    make_sample,
)
from maskyolo.review.app.stored import read_stored, write_values
from maskyolo.review.app.suggestions import SUSPICION_FIELDS, is_settled, suspicion_values
from maskyolo.review.app.syncing import (
    CONFLICT,
    TAG_NAMES,
    SyncResult,
    remove_missing,
    sync_files,
    sync_ledger,
)
from maskyolo.review.app.tag_edits import edit_from_app
from maskyolo.review.corrections import Face, PhotoEdit, Problem, same_faces
from maskyolo.review.review_set import ReviewPhoto, ReviewSet
from maskyolo.review.suspicions import Suspicion

if TYPE_CHECKING:
    import supervision as sv

__all__ = ["OpenedSet"]

#: Tags that maskyolo itself puts on photos.
_OWN_TAGS = {*SPLITS, CONFLICT}


class OpenedSet:
    """FiftyOne's data set for a set under review.

    Args:
        fo: the module `fiftyone`, connected.
        samples: its data set.
        review: the set.
    """

    def __init__(self, fo: Any, samples: Any, review: ReviewSet) -> None:
        self.fo, self.samples, self.review = fo, samples, review

    @classmethod
    def find(cls, review: ReviewSet, name: str | None = None) -> OpenedSet:
        """Return FiftyOne's data set for a set that was opened before.

        Raises:
            DatasetError: it was never opened, or the data set of that name belongs to another set.
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
        """Return FiftyOne's data set for a set, creating it if it does not exist.

        Raises:
            DatasetError: a data set of that name exists, but it was made from another folder or not
                by maskyolo.
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
        """Update photos, labels and ledger from the folder; pending edits are kept."""
        result = SyncResult()
        stored = read_stored(self.samples)
        photos, names = self.review.photos, self.review.names
        result.new = [image for image in photos if image not in stored]
        if result.new:
            new = [make_sample(self.fo, photos[image], names) for image in result.new]
            self.samples.add_samples(new, expand_schema=False)
        sync_files(self.fo, self.samples, self.review, stored, result)
        sync_ledger(self.samples, self.review, stored)
        result.removed = remove_missing(self.samples, self.review, stored, result)
        return result

    def show_suspicions(
        self, suspicions: Sequence[Suspicion], images: Iterable[str] | None = None
    ) -> None:
        """Show a `review.csv`: rank, score and reasons per photo, and the suggested boxes.

        Suspicions that were resolved since the list was made are left out.

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
            write_values(
                self.samples, name, {sample_id: value[name] for sample_id, value in values.items()}
            )

    def unpredicted(self, where: str) -> dict[str, str]:
        """Return the sample ids of images without predictions in the field `where`, by name."""
        view = self.samples.exists(where, False)
        return dict(zip(*view.values(["image", "id"]), strict=True))

    def store_predictions(
        self, where: str, found: Mapping[str, tuple[ReviewPhoto, sv.Detections]]
    ) -> None:
        """Store predictions in the field `where`: each photo and its detections, by sample id."""
        values = {}
        for sample_id, (photo, detections) in found.items():
            names = detections.data.get("class_name", ())
            faces = [
                Face(tuple(float(side) for side in box), str(name))
                for box, name in zip(detections.xyxy, names, strict=True)
            ]
            scores = [] if detections.confidence is None else detections.confidence.tolist()
            values[sample_id] = make_detections(self.fo, photo, faces, scores)
        write_values(self.samples, where, values)

    def edits(self) -> tuple[list[PhotoEdit], list[Problem]]:
        """Return the edits and tags made since the labels were last read, and problems.

        A photo whose label file has changed since is skipped, with a problem.
        """
        edits, problems, unknown = [], [], Counter[str]()
        names = self.review.names
        for image, stored in sorted(read_stored(self.samples).items()):
            photo = self.review.photos.get(image)
            if photo is None:
                continue
            unknown.update(stored.all_tags - {*TAG_NAMES} - _OWN_TAGS)
            tagged, faces = bool(stored.all_tags & {*TAG_NAMES}), stored.faces(photo)
            if not tagged and same_faces(faces, photo.faces(names, stored.text)):
                continue
            if stored.text == photo.text:
                edits.append(edit_from_app(photo, stored, names))
            elif tagged or not same_faces(faces, photo.faces(names)):
                message = (
                    "its label file was changed after it was opened, so its edits were skipped; "
                    "run `maskyolo review open` again"
                )
                problems.append(Problem(image, message))
        for name, count in sorted(unknown.items()):
            message = (
                f"unknown tag '{name}' on {counted(count, 'photo')} was ignored; known tags are "
                f"{', '.join(TAG_NAMES)}"
            )
            problems.append(Problem("", message))
        return edits, problems

    def settle(self, edits: Iterable[PhotoEdit]) -> None:
        """Show edits as labels and remove their tags; tags that stay open move to the photo."""
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
        write_values(self.samples, LABELS, labels)
        write_values(self.samples, "unmerged", dict.fromkeys(labels))
        if labels:
            self._remove_tags(list(labels))
        for name, ids in still_open.items():
            self.samples.select(ids).tag_samples(name)

    def refresh(self, review: ReviewSet, edits: Iterable[PhotoEdit]) -> None:
        """Read edited photos again after their files were written, and remove their suspicions.

        Args:
            review: the set as it is now.
            edits: the edits that were applied.
        """
        self.review = review
        stored = read_stored(self.samples)
        known = [edit for edit in edits if edit.image in stored]
        settled = [stored[edit.image].id for edit in known if not edit.open_tags]
        for name, nothing in SUSPICION_FIELDS.items():
            write_values(self.samples, name, dict.fromkeys(settled, nothing))
        removed = [edit.image for edit in known if edit.removed and edit.image not in review.photos]
        if removed:
            self.samples.delete_samples([stored[image].id for image in removed])
        edited = {edit.image: stored[edit.image] for edit in known}
        sync_files(self.fo, self.samples, review, edited, SyncResult())
        sync_ledger(self.samples, review, edited)

    def _remove_tags(self, ids: Sequence[str]) -> None:
        view = self.samples.select(list(ids))
        view.untag_samples([*TAG_NAMES, CONFLICT])
        names = [LABELS, *OTHER_BOXES]
        names = [name for name in names if self.samples.has_sample_field(name)]
        view.untag_labels(TAG_NAMES, label_fields=names)


def _check_owner(samples: Any, review: ReviewSet) -> None:
    """Check that FiftyOne's data set was made from this folder, possibly before it was moved.

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
