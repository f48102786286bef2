"""A data set under review as FiftyOne has it: kept in step with its folder, and read for what people edited.

What a person edits is told apart from what the folder says by the label file's text as it was when it was last read, which each sample
carries: boxes that differ from it are the person's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maskyolo._text import counted
from maskyolo.boxes import box_iou
from maskyolo.core.classes import SPLITS
from maskyolo.errors import DatasetError
from maskyolo.ledger import LEDGER_SIZES, size_class
from maskyolo.review.app.database import connect
from maskyolo.review.corrections import Face, PhotoEdit, Problem, same_box
from maskyolo.review.review_set import ReviewPhoto, ReviewSet
from maskyolo.review.suspicions import REASONS, TAGS, Suspicion

__all__ = ["BESIDE", "OpenedSet", "Synced"]

#: Fields of boxes beside the labels, in the order in which they are asked for what a tagged label should be.
BESIDE = ("suggestions", "predictions", "two_stage")

#: Least overlap of a prediction with the labelled face that its tag is about.
_OVERLAP = 0.1

#: Tags that we put on photos ourselves.
_OWN_TAGS = {*SPLITS, "conflict"}

#: Fields of a sample from the ledger: name, attribute of the row, what it says.
_LEDGER_FIELDS = {
    "source": "the photo's name in the ledger",
    "folder_class": "the class of the folder it is from",
    "status": "what became of it: kept or corrected",
    "reason": "why, in words",
    "detector": "the face detector that looked",
    "face_size": f"size of its largest face: {', '.join(LEDGER_SIZES)}",
    "group": "number that near-copies share",
}


@dataclass
class Synced:
    """What bringing FiftyOne's data set in step with the folder did.

    Attributes:
        new: pictures that were added.
        updated: photos whose labels were read anew.
        removed: photos that left the set.
        moved: photos that are in another folder now.
        waiting: photos with edits that are not applied yet.
        problems: what a person should know.
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
        self.problems: list[Problem] = []

    @classmethod
    def find(cls, review: ReviewSet, name: str | None = None) -> OpenedSet:
        """Return FiftyOne's data set of a set that was opened before.

        Raises:
            DatasetError: it was not, or the name is another set's.
        """
        fo = connect()
        name = name or default_name(review)
        if not fo.dataset_exists(name):
            raise DatasetError(
                f"FiftyOne has no data set '{name}' of {review.root}: open it first with `maskyolo review open`, or give its --name"
            )
        samples = fo.load_dataset(name)
        _check_owner(samples, review)
        return cls(fo, samples, review)

    @classmethod
    def make(cls, review: ReviewSet, name: str | None = None) -> OpenedSet:
        """Return FiftyOne's data set of a set, made if it is not there.

        Raises:
            DatasetError: there is one of that name that was made from another folder, or not by maskyolo.
        """
        fo = connect()
        name = name or default_name(review)
        if fo.dataset_exists(name):
            samples = fo.load_dataset(name)
            _check_owner(samples, review)
        else:
            samples = fo.Dataset(name, persistent=True)
            samples.media_type = "image"
            _declare(fo, samples)
        opened = cls(fo, samples, review)
        opened.remember(root=str(review.root))
        return opened

    def remember(self, **values: Any) -> None:
        """Keep values in the data set."""
        known = dict(self.samples.info.get("maskyolo", {}))
        if any(known.get(name) != value for name, value in values.items()):
            self.samples.info["maskyolo"] = known | values
            self.samples.save()

    def recall(self, name: str) -> Any:
        """Return a value that was kept, or None."""
        return self.samples.info.get("maskyolo", {}).get(name)

    def sync(self) -> Synced:
        """Bring it in step with the folder: photos, labels and ledger; edits that are not applied stay."""
        told = Synced()
        known = self._known()
        told.new = [image for image in self.review.photos if image not in known]
        if told.new:
            self.samples.add_samples(
                [self._sample(self.review.photos[image]) for image in told.new], expand_schema=False
            )
        self._read_anew(known, told)
        self._sync_ledger(known)
        told.removed = self._drop_missing(known, told)
        return told

    def _read_anew(self, known: Mapping[str, _Sample], told: Synced) -> None:
        """Take over what changed in the folder of photos that are known."""
        paths, texts, labels, unmerged, sizes = {}, {}, {}, {}, {}
        conflicts = []
        for image, sample in known.items():
            photo = self.review.photos.get(image)
            if photo is None:
                continue
            if sample.path != str(photo.path):
                paths[sample.id] = str(photo.path)
            base = photo.faces(self.review.names, sample.text)
            edited = not _same_faces(sample.faces(photo), base)
            told.waiting += edited or bool({*sample.tags, *sample.label_tags} & {*TAGS})
            if sample.text != photo.text:
                if edited and not _same_faces(sample.faces(photo), photo.faces(self.review.names)):
                    conflicts.append(sample.id)
                    unmerged[sample.id] = self._detections(photo, sample.faces(photo), lines=False)
                texts[sample.id] = photo.text
                labels[sample.id] = self._detections(photo, photo.faces(self.review.names))
            size = photo.path.stat().st_size
            if sample.bytes != size:
                sizes[sample.id] = self._metadata(photo, size)
        self._set("filepath", paths)
        self._set("label_text", texts)
        self._set("ground_truth", labels)
        self._set("unmerged", unmerged)
        self._set("metadata", sizes)
        self._set("predictions", dict.fromkeys(sizes))
        self._set("two_stage", dict.fromkeys(sizes))
        told.moved, told.updated = len(paths), len(texts)
        if conflicts:
            self.samples.select(conflicts).tag_samples("conflict")
            told.problems.append(
                Problem("", f"{counted(len(conflicts), 'photo')} edited in the App while the label files changed as well: the "
                "files count, and the edits are kept in the field 'unmerged' (saved view 'conflict')")
            )  # fmt: skip

    def suspect(self, suspicions: Sequence[Suspicion], images: Iterable[str] | None = None) -> None:
        """Show the suspicions of a `review.csv`: rank, score and reasons of each photo, and a box for each that has one.

        Those that were dealt with since they were found are left out. With `images`, only of these.
        """
        by_image: dict[str, list[Suspicion]] = {}
        for found in suspicions:
            photo = self.review.photos.get(found.image)
            if photo and not _is_settled(found, photo.faces(self.review.names)):
                by_image.setdefault(found.image, []).append(found)
        ranks, scores, reasons, boxes = {}, {}, {}, {}
        ids = dict(zip(*self.samples.values(["image", "id"]), strict=True))
        for image in ids if images is None else images:
            sample_id = ids[image]
            rows = by_image.get(image, [])
            ranks[sample_id] = min((row.rank for row in rows), default=None)
            scores[sample_id] = max((row.score for row in rows), default=None)
            reasons[sample_id] = (
                sorted({row.reason for row in rows}, key=[*REASONS].index) if rows else []
            )
            boxes[sample_id] = (
                self._suggestions(self.review.photos[image], rows)
                if rows and image in self.review.photos
                else None
            )
        self._set("rank", ranks)
        self._set("suspicion", scores)
        self._set("reasons", reasons)
        self._set("suggestions", boxes)

    def unpredicted(self, where: str) -> dict[str, str]:
        """Return the pictures that have no predictions in a field: name to sample id."""
        view = self.samples.exists(where, False)
        return dict(zip(*view.values(["image", "id"]), strict=True))

    def put_predictions(self, where: str, found: Mapping[str, tuple[ReviewPhoto, Any]]) -> None:
        """Write predictions: sample id to photo and `supervision.Detections`."""
        values = {}
        for sample_id, (photo, detections) in found.items():
            faces = [
                Face(tuple(float(side) for side in box), str(name))
                for box, name in zip(
                    detections.xyxy, detections.data.get("class_name", ()), strict=True
                )
            ]
            scores = (
                []
                if detections.confidence is None
                else [float(score) for score in detections.confidence]
            )
            values[sample_id] = self._detections(photo, faces, lines=False, confidence=scores)
        self._set(where, values)

    def edits(self) -> list[PhotoEdit]:
        """Return what people edited and tagged since the labels were last read, photo by photo.

        A photo whose label file has changed since is passed over, with a problem noted.
        """
        self.problems = []
        edits, unknown = [], dict[str, int]()
        for image, sample in sorted(self._known().items()):
            photo = self.review.photos.get(image)
            if photo is None:
                continue
            for tag in {*sample.tags, *sample.label_tags} - {*TAGS} - _OWN_TAGS:
                unknown[tag] = unknown.get(tag, 0) + 1
            base = photo.faces(self.review.names, sample.text)
            tagged = bool({*sample.tags, *sample.label_tags} & {*TAGS})
            if not tagged and _same_faces(sample.faces(photo), base):
                continue
            if sample.text != photo.text:
                if tagged or not _same_faces(sample.faces(photo), photo.faces(self.review.names)):
                    self.problems.append(
                        Problem(
                            image,
                            "its label file was changed since it was opened, so it was passed over; `maskyolo review open` it again",
                        )
                    )
                continue
            edits.append(self._edit(photo, sample))
        self.problems += [
            Problem(
                "",
                f"unknown tag '{tag}' on {counted(count, 'photo')}: nothing was done for it; the tags that count are {', '.join(TAGS)}",
            )
            for tag, count in sorted(unknown.items())
        ]
        return edits

    def settle(self, edits: Iterable[PhotoEdit]) -> None:
        """Put what became of the edits into the labels shown, and take away the tags that led to it; open ones stay on the photo."""
        known = self._known()
        labels = {}
        still_open: dict[str, list[str]] = {}
        for edit in edits:
            sample_id = known[edit.image].id
            if edit.gone:
                continue
            labels[sample_id] = self._detections(
                self.review.photos[edit.image], edit.faces, added=edit.added
            )
            for tag in edit.open_tags:
                still_open.setdefault(tag, []).append(sample_id)
        self._set("ground_truth", labels)
        self._set("unmerged", dict.fromkeys(labels))
        if labels:
            self._untag(list(labels))
        for tag, ids in still_open.items():
            self.samples.select(ids).tag_samples(tag)

    def refresh(self, review: ReviewSet, edits: Iterable[PhotoEdit]) -> None:
        """Read the labels anew after they were written; photos taken out leave, and suspicions of changed ones are dealt with."""
        self.review = review
        edits = list(edits)
        known = self._known()
        settled = [
            known[edit.image].id for edit in edits if edit.image in known and not edit.open_tags
        ]
        for name in ("rank", "suspicion", "suggestions"):
            self._set(name, dict.fromkeys(settled))
        self._set("reasons", {sample_id: [] for sample_id in settled})
        gone = [
            known[edit.image].id
            for edit in edits
            if edit.gone and edit.image in known and edit.image not in review.photos
        ]
        if gone:
            self.samples.delete_samples(gone)
        edited = {edit.image: known[edit.image] for edit in edits if edit.image in known}
        self._read_anew(edited, Synced())
        self._sync_ledger(edited)

    def _known(self) -> dict[str, _Sample]:
        fields = ["image", "id", "filepath", "label_text", "tags", "metadata.size_bytes"]
        boxes = ["line", "label", "bounding_box", "tags"]
        columns = self.samples.values(
            fields + [f"ground_truth.detections.{name}" for name in boxes]
        )
        beside = {name: self._labels_beside(name) for name in BESIDE}
        known = {}
        for image, sample_id, path, text, tags, size, *parts in zip(*columns, strict=True):
            sample = _Sample(
                sample_id,
                path,
                text or "",
                tags,
                size,
                list(zip(*(part or [] for part in parts), strict=True)),
            )
            sample.beside = {name: labels.get(sample_id, []) for name, labels in beside.items()}
            known[image] = sample
        return known

    def _labels_beside(self, name: str) -> dict[str, list[tuple[Any, ...]]]:
        """Return the boxes of a field beside the labels by sample id: (label, bounding_box, tags, reason, line)."""
        view = self.samples.exists(name)
        parts = ["label", "bounding_box", "tags"] + (
            ["reason", "line"] if name == "suggestions" else []
        )
        columns = view.values(["id", *(f"{name}.detections.{part}" for part in parts)])
        found = {}
        for sample_id, *lists in zip(*columns, strict=True):
            rows = zip(*(column or [] for column in lists), strict=True)
            found[sample_id] = [(*row, None, None)[:5] for row in rows]
        return found

    def _edit(self, photo: ReviewPhoto, sample: _Sample) -> PhotoEdit:
        edit = photo.edit(self.review.names, sample.text)
        lines = set()
        for line, label, relative, tags in sample.boxes:
            box = _pixels(relative, photo)
            tags = edit.heed(tags or [])
            if line is None or not 0 <= line < len(edit.before) or line in lines:
                if "delete" not in tags:
                    edit.add(box, label or "")
                continue
            lines.add(line)
            edit.set_box(line, box)
            if label != edit.before[line].class_name:
                edit.set_class(line, label or "")
            self._heed(edit, sample, photo, line, tags)
        for line in set(range(len(edit.before))) - lines:
            edit.remove(line)
        for name in BESIDE:
            for label, relative, tags, _, _ in sample.beside[name]:
                self._heed_beside(
                    edit,
                    _pixels(relative, photo),
                    label,
                    [tag for tag in tags or [] if tag in TAGS],
                )
        self._heed_photo(edit, sample, photo)
        return edit

    def _heed(
        self, edit: PhotoEdit, sample: _Sample, photo: ReviewPhoto, line: int, tags: Sequence[str]
    ) -> None:
        """Do what the tags of a labelled box ask for, unless the person did it by hand already."""
        before, face = edit.before[line], edit.faces[line]
        if face is None:
            return
        suggested = {
            reason: (label, relative)
            for label, relative, _, reason, of in sample.beside["suggestions"]
            if of == line
        }
        if "delete" in tags:
            edit.remove(line)
            return
        edit.checked |= "ok" in tags
        if "wrong_class" in tags and face.class_name == before.class_name:
            label = suggested.get("wrong_class", ("", ()))[0]
            if label and label != before.class_name:
                edit.set_class(line, label)
            else:
                edit.flip(line)
        if "bad_box" in tags and same_box(face.box, before.box):
            if "bad_box" in suggested:
                edit.set_box(line, _pixels(suggested["bad_box"][1], photo))
            else:
                message = "a box is tagged bad_box, but no better one is suggested; draw it, or tag the better prediction bad_box"
                edit.problem(message, "bad_box")
        if "confuser" in tags:
            edit.cover(line)

    def _heed_beside(
        self, edit: PhotoEdit, box: Sequence[float], label: str, tags: Sequence[str]
    ) -> None:
        """Do what the tags of a prediction or suggestion ask for: it is right where the labels are not."""
        edit.heed(tags)
        if "missing" in tags:
            edit.add(box, label)
        places = [place for place, face in enumerate(edit.faces) if face]
        overlaps = (
            box_iou([edit.faces[place].box for place in places], [box])[:, 0] if places else ()
        )  # type: ignore[union-attr]
        if not {"bad_box", "wrong_class"} & {*tags}:
            return
        if not len(overlaps) or max(overlaps) < _OVERLAP:
            edit.problem(
                f"a prediction is tagged {' and '.join(tags)}, but it overlaps no labelled box; tag it missing to add it",
                *tags,
            )
            return
        line = places[int(overlaps.argmax())]  # type: ignore[union-attr]
        if "bad_box" in tags:
            edit.set_box(line, box)
        if "wrong_class" in tags:
            edit.set_class(line, label)

    def _heed_photo(self, edit: PhotoEdit, sample: _Sample, photo: ReviewPhoto) -> None:
        """Do what the tags of a whole photo ask for; where it is not plain which box they mean, that is a problem."""
        tags = edit.heed(sample.tags)
        edit.gone = "delete" in tags
        edit.checked |= "ok" in tags
        if edit.gone or not {"wrong_class", "bad_box", "missing", "confuser"} & {*tags}:
            return
        suggestions = sample.beside["suggestions"]
        if "missing" in tags and not edit.added:
            missing = [
                (label, relative)
                for label, relative, _, reason, _ in suggestions
                if reason == "missing"
            ]
            for label, relative in missing:
                edit.add(_pixels(relative, photo), label)
            if not missing:
                edit.problem(
                    "tagged missing, but no face is suggested; draw its box, or tag the prediction that shows it missing",
                    "missing",
                )
        by_hand = edit.faces != edit.before
        for tag in ("wrong_class", "bad_box", "confuser"):
            lines = sorted(
                {of for _, _, _, reason, of in suggestions if reason == tag and of is not None}
            ) or list(range(len(edit.before)))
            if tag not in tags or by_hand:
                continue
            if len(lines) == 1:
                self._heed(edit, sample, photo, lines[0], [tag])
            else:
                edit.problem(
                    f"tagged {tag}, but it has {len(edit.before)} boxes; tag the box that is meant",
                    tag,
                )

    def _untag(self, ids: Sequence[str]) -> None:
        view = self.samples.select(list(ids))
        view.untag_samples([*TAGS, "conflict"])
        fields = ["ground_truth", *BESIDE]
        view.untag_labels(
            list(TAGS),
            label_fields=[name for name in fields if self.samples.has_sample_field(name)],
        )

    def _sync_ledger(self, known: Mapping[str, _Sample]) -> None:
        if not self.review.rows or not known:
            return
        columns = self.samples.select([sample.id for sample in known.values()]).values(
            ["image", "id", *_LEDGER_FIELDS]
        )
        changed: dict[str, dict[str, Any]] = {name: {} for name in _LEDGER_FIELDS}
        for image, sample_id, *values in zip(*columns, strict=True):
            photo = self.review.photos.get(image)
            for (name, value), old in zip(
                _ledger_values(photo).items() if photo else (), values if photo else (), strict=True
            ):
                if value != old:
                    changed[name][sample_id] = value
        for name, fresh in changed.items():
            self._set(name, fresh)

    def _drop_missing(self, known: Mapping[str, _Sample], told: Synced) -> int:
        """Remove the samples of photos that left the set; those with edits that are not applied stay, as they would be lost."""
        missing = {
            image: sample for image, sample in known.items() if image not in self.review.photos
        }
        kept = [
            image
            for image, sample in missing.items()
            if {*sample.tags, *sample.label_tags} & ({*TAGS} - {"delete"})
        ]
        if kept:
            told.problems.append(
                Problem(
                    "",
                    f"{len(kept)} tagged photos are not in the set any more, such as {kept[0]}; they stay in FiftyOne only",
                )
            )
        gone = [sample.id for image, sample in missing.items() if image not in kept]
        if gone:
            self.samples.delete_samples(gone)
        return len(gone)

    def _sample(self, photo: ReviewPhoto) -> Any:
        values = _ledger_values(photo)
        return self.fo.Sample(
            filepath=str(photo.path),
            tags=[photo.split],
            metadata=self._metadata(photo, photo.path.stat().st_size),
            image=photo.image,
            label_text=photo.text,
            ground_truth=self._detections(photo, photo.faces(self.review.names)),
            **values,
        )

    def _metadata(self, photo: ReviewPhoto, size: int) -> Any:
        mime = {".png": "image/png", ".webp": "image/webp", ".bmp": "image/bmp"}.get(
            photo.path.suffix.lower(), "image/jpeg"
        )
        return self.fo.ImageMetadata(
            size_bytes=size, mime_type=mime, width=photo.width, height=photo.height, num_channels=3
        )

    def _detections(
        self,
        photo: ReviewPhoto,
        faces: Sequence[Face | None],
        *,
        lines: bool = True,
        added: Sequence[Face] = (),
        confidence: Sequence[float] = (),
    ) -> Any:
        """Return faces as FiftyOne's detections; with `lines`, each knows its line of the label file and what the ledger says of it."""
        found = []
        for place, face in enumerate([*faces, *added]):
            if face is None:
                continue
            known: dict[str, Any] = {"line": place} if lines and place < len(faces) else {}
            if lines and photo.row:
                known |= _ledger_attributes(photo, face)
            if confidence:
                known["confidence"] = confidence[place]
            size = size_class([face.box], photo.width, photo.height)
            found.append(
                self.fo.Detection(
                    label=face.class_name,
                    bounding_box=_relative(face.box, photo),
                    size=size,
                    **known,
                )
            )
        return self.fo.Detections(detections=found)

    def _suggestions(self, photo: ReviewPhoto, rows: Sequence[Suspicion]) -> Any:
        faces = photo.faces(self.review.names)
        found = []
        for row in rows:
            box = row.suggested_box or row.box
            if not box:
                continue
            line = _line_of(row, faces)
            label = row.suggested_class or (
                faces[line].class_name if line is not None else row.reason
            )
            known: dict[str, Any] = {"reason": row.reason} | (
                {} if line is None else {"line": line}
            )
            found.append(
                self.fo.Detection(
                    label=label, bounding_box=_relative(box, photo), confidence=row.score, **known
                )
            )
        return self.fo.Detections(detections=found) if found else None

    def _set(self, name: str, values: Mapping[str, Any]) -> None:
        """Write a field of the samples with these ids, in one go."""
        if values:
            self.samples.set_values(name, dict(values), key_field="id", expand_schema=False)


@dataclass
class _Sample:
    """What FiftyOne has of a photo; boxes are (line, label, bounding_box, tags)."""

    id: str
    path: str
    text: str
    tags: list[str]
    bytes: int | None
    boxes: list[tuple[Any, ...]]
    beside: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)

    @property
    def label_tags(self) -> list[str]:
        own = [tag for *_, tags in self.boxes for tag in tags or []]
        return own + [
            tag
            for boxes in self.beside.values()
            for _, _, tags, _, _ in boxes
            for tag in tags or []
        ]

    def faces(self, photo: ReviewPhoto) -> list[Face]:
        return [Face(_pixels(relative, photo), label or "") for _, label, relative, _ in self.boxes]


def default_name(review: ReviewSet) -> str:
    """Return the name that FiftyOne's data set of a set has unless another is asked for."""
    return review.root.name


def _check_owner(samples: Any, review: ReviewSet) -> None:
    """Raise DatasetError unless a data set of FiftyOne was made from this folder, or from where the folder was before it was moved."""
    root = samples.info.get("maskyolo", {}).get("root")
    if root is None:
        raise DatasetError(
            f"FiftyOne has a data set '{samples.name}' that is not maskyolo's, and it stays as it is; choose another name with --name"
        )
    if Path(root) == review.root:
        return
    images = set(samples.values("image"))
    common = len(images & {*review.photos})
    if (Path(root) / "data.yaml").is_file() or common < len(images) / 2:
        raise DatasetError(
            f"FiftyOne's data set '{samples.name}' is of {root}, not of {review.root}, and stays as it is; choose another name with --name"
        )


def _declare(fo: Any, samples: Any) -> None:
    """Declare the fields, so that the App shows and filters them even while they are empty."""
    text, number, real = fo.StringField, fo.IntField, fo.FloatField
    for name, told in _LEDGER_FIELDS.items():
        samples.add_sample_field(name, number if name == "group" else text, description=told)
    samples.add_sample_field(
        "rank", number, description="place in review.csv, 1 is the most suspicious photo"
    )
    samples.add_sample_field(
        "suspicion", real, description="score of its most suspicious label, 0 to 1"
    )
    samples.add_sample_field(
        "reasons", fo.ListField, subfield=text, description="why it is suspicious"
    )
    samples.add_sample_field(
        "image", text, description="the picture's name in the set", read_only=True
    )
    samples.add_sample_field("label_text", text, description="its label file as it was last read")
    attributes = {
        "ground_truth": {
            "line": number,
            "size": text,
            "origin": text,
            "decider": text,
            "score": real,
            "agreed": fo.BooleanField,
        },
        "predictions": {"size": text},
        "two_stage": {"size": text},
        "suggestions": {"reason": text, "line": number},
        "unmerged": {"size": text},
    }
    for name, parts in attributes.items():
        samples.add_sample_field(name, fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
        for part, kind in parts.items():
            samples.add_sample_field(f"{name}.detections.{part}", kind)
    samples.create_index("image", unique=True)


def _ledger_values(photo: ReviewPhoto) -> dict[str, Any]:
    row = photo.row
    if row is None:
        return dict.fromkeys(_LEDGER_FIELDS)
    values = (row.source, row.class_name, row.status, row.reason, row.detector, row.size, row.group)
    return dict(zip(_LEDGER_FIELDS, values, strict=True))


def _ledger_attributes(photo: ReviewPhoto, face: Face) -> dict[str, Any]:
    row = photo.row
    place = (
        next((place for place, box in enumerate(row.boxes) if same_box(box, face.box)), None)
        if row
        else None
    )
    if row is None or place is None:
        return {}
    known: dict[str, Any] = {
        "origin": row.origins[place],
        "decider": row.deciders[place],
        "score": row.scores[place],
    }
    return known | ({"agreed": row.agreed[place]} if row.agreed else {})


def _is_settled(found: Suspicion, faces: Sequence[Face]) -> bool:
    """Tell whether the labels are no more what a suspicion is about."""
    line = _line_of(found, faces)
    if found.label is not None and line is None:
        return True
    if (
        found.reason == "wrong_class"
        and line is not None
        and found.suggested_class == faces[line].class_name
    ):
        return True
    if found.reason == "missing" and found.suggested_box and faces:
        return bool(box_iou([face.box for face in faces], [found.suggested_box]).max() > 0.5)
    return False


def _line_of(found: Suspicion, faces: Sequence[Face]) -> int | None:
    if found.label is None:
        return None
    if not found.box:
        return found.label if found.label < len(faces) else None
    lines = [place for place, face in enumerate(faces) if same_box(face.box, found.box)]
    return found.label if found.label in lines else lines[0] if lines else None


def _same_faces(one: Sequence[Face], other: Sequence[Face]) -> bool:
    return len(one) == len(other) and all(
        a.class_name == b.class_name and same_box(a.box, b.box)
        for a, b in zip(one, other, strict=True)
    )


def _relative(box: Sequence[float], photo: ReviewPhoto) -> list[float]:
    x1, y1, x2, y2 = (float(value) for value in box)
    return [x1 / photo.width, y1 / photo.height, (x2 - x1) / photo.width, (y2 - y1) / photo.height]


def _pixels(relative: Sequence[float], photo: ReviewPhoto) -> tuple[float, ...]:
    x, y, width, height = relative
    return (
        x * photo.width,
        y * photo.height,
        (x + width) * photo.width,
        (y + height) * photo.height,
    )
