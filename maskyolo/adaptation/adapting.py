"""Makes training data and weights of a camera's own recordings, without labels by a person."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from maskyolo.adaptation.frames import blur_outside, remove_frames
from maskyolo.adaptation.learning import Learned, check_learning, learn
from maskyolo.adaptation.options import AdaptOptions
from maskyolo.adaptation.selection import Candidate, choose
from maskyolo.adaptation.views import Teacher
from maskyolo.adaptation.voting import Moment, label_recording, label_still
from maskyolo.conversion.face_classes import blank_out
from maskyolo.core.classes import CLASS_NAMES
from maskyolo.core.files import write_atomic
from maskyolo.core.images import write_image
from maskyolo.core.labels import IGNORE, IGNORE_CLASS, Labels, format_yolo
from maskyolo.core.options import takes_options
from maskyolo.dataset.contact_sheets import write_sheets
from maskyolo.dataset.layout import format_data_yaml
from maskyolo.dataset.ledger import LedgerRow, labels_of, read_ledger, size_class, write_ledger
from maskyolo.dataset.near_copies import perceptual_hashes
from maskyolo.dataset.workfolder import SHEETS, check_free, claim, locked, publish, working_folder
from maskyolo.detectors.loading import DEFAULT_MODELS
from maskyolo.errors import MaskyoloError, SourceError, output_errors
from maskyolo.runtime.frames import Frame, Source
from maskyolo.runtime.live_sources import CameraSource, StreamSource
from maskyolo.runtime.sources import open_sources

__all__ = ["Adaptation", "adapt"]

_IMAGES, _LABELS = "images/train", "labels/train"
_NAMES = r"\d{4,}_\d{6,}\.(jpg|txt)"


@dataclass(frozen=True)
class Adaptation:
    """The result of `adapt`.

    Attributes:
        folder: the data set and, in `weights/`, the new weights if they are better.
        rows: its ledger, one row per frame that was taken.
        looked_at: number of frames and images that were looked at.
        left_out: number of frames that were not taken, by reason.
        errors: the sources that could not be read, or broke off, as (source, error).
        learned: the result of the training, if there was one.
    """

    folder: Path
    rows: list[LedgerRow]
    looked_at: int
    left_out: dict[str, int]
    errors: list[tuple[str, MaskyoloError]]
    learned: Learned | None = None

    def counts(self) -> Counter[str]:
        """Count the faces by class; `ignore` are those that are blanked out."""
        return Counter(name for row in self.rows for name in row.classes)


@takes_options(AdaptOptions)
def adapt(
    source: str | Path | Sequence[str | Path] | None,
    out: Path | str,
    options: AdaptOptions | None = None,
    *,
    on_progress: Callable[[str, int, int | None], None] | None = None,
    **settings: Any,
) -> Adaptation:
    """Make training data and weights of a camera's recordings, without labels by a person.

    The detector looks at each frame in three sizes, mirrored and not, and YuNet confirms the faces.
    In recordings, faces are tracked, and their classes are voted on over time, so that clear
    moments label unsure ones. Faces that stay unclear are blanked out, or their frame is left out.
    The result is a YOLO data set with `ledger.csv` and contact sheets in `sheets/`. Nothing leaves
    this machine.

    With `data`, a short training follows, with photos of that set mixed in. The new weights are
    averaged with the present ones and kept, in `weights/`, only if they are better; see
    `choose_trial`.

    Args:
        source: files, folders, globs or lists of images and videos. None: train on the frames in
            `out`, which an earlier call made and a person may have corrected.
        out: output folder; it must not exist or be empty, unless `source` is None.
        options: which frames to take, the model, and how to train.
        on_progress: called with what is counted ("frames", "batches" or "photos"), the number done,
            and their total if it is known.
        settings: fields of `AdaptOptions`; they override `options`.

    Raises:
        SourceError: there is nothing to read, a source is live, or no frame has a clear face.
        DatasetError: a data set cannot be used.
        WeightsError: the model or YuNet cannot be loaded.
        OutputError: `out` exists or cannot be written.
        MaskyoloError: an option is out of its range.

    Examples:
        >>> made = adapt("door.mp4", "data/door")  # doctest: +SKIP
        >>> made.counts()["with_mask"]  # doctest: +SKIP
        412
        >>> adapt(None, "data/door", data="data/street").learned.verdict  # doctest: +SKIP
        'new weights, blend 0.5: mAP50 gain on the camera not measured (give --val-data), ...'
    """
    chosen = AdaptOptions.merge(options, settings)
    if chosen.data is not None:
        check_learning(chosen)
    if source is None:
        made = _labeled(Path(out), chosen)
    else:
        made = _label(source, out, chosen, on_progress)
    if chosen.data is None:
        return made
    try:
        return replace(made, learned=learn(made.folder, chosen, on_progress))
    finally:
        if not chosen.keep_frames:
            remove_frames(made.folder)


def _labeled(folder: Path, options: AdaptOptions) -> Adaptation:
    """Return what an earlier call made."""
    if options.data is None:
        raise SourceError(
            "no recordings given", "give --source, or --data to train on the frames in --out"
        )
    ledger = folder / "ledger.csv"
    if not (folder / _IMAGES).is_dir() or not ledger.is_file():
        raise SourceError(f"{folder} has no frames to train on", "give recordings with --source")
    rows = [row for row in read_ledger(ledger) if row.status == "kept"]
    return Adaptation(folder, rows, 0, {}, [])


def _label(
    source: str | Path | Sequence[str | Path],
    out: Path | str,
    chosen: AdaptOptions,
    on_progress: Callable[[str, int, int | None], None] | None,
) -> Adaptation:
    """Label frames of recordings; see `adapt`."""
    out, part = working_folder(out)
    sources = _recorded_sources(source)
    check_free(out, "data set")
    look = _Look(Teacher(chosen), chosen.vid_stride, on_progress)
    with output_errors(part), locked(part):
        check_free(out, "data set")
        candidates = [one for number, each in enumerate(sources) for one in look.at(number, each)]
        taken, left_out = choose(candidates, chosen.frames)
        if not taken:
            raise _nothing_taken(look, left_out)
        claim(part, "adapt", ("images", "labels"), _NAMES)
        for folder in ("images", "labels"):  # of an interrupted run
            shutil.rmtree(part / folder, ignore_errors=True)
        rows = _write(part, sources, taken, chosen, look)
        write_ledger(part / "ledger.csv", rows)
        write_atomic(part / "data.yaml", format_data_yaml(out, ["train"]))
        write_sheets(rows, lambda row: part / row.image, part / SHEETS)
        publish(part, out)
    return Adaptation(out, rows, look.done, left_out, look.errors)


def _recorded_sources(source: str | Path | Sequence[str | Path]) -> list[Source]:
    sources = open_sources(source)
    for one in sources:
        if isinstance(one, (CameraSource, StreamSource)):
            raise SourceError(
                f"{one.name} is a camera or an address, and `adapt` reads its recordings twice",
                "record it, for example with `maskyolo detect --save`, and give the file",
            )
    return sources


def _nothing_taken(look: _Look, left_out: dict[str, int]) -> SourceError:
    if not look.done and look.errors:
        name, error = look.errors[0]
        return SourceError(
            f"no source can be read; the first, {name}: {error.problem}", error.remedy
        )
    why = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
    return SourceError(
        f"none of the {look.done} frames has a clear face ({why})",
        "give recordings in which faces are visible",
    )


@dataclass
class _Look:
    """Looks at the frames of sources.

    Attributes:
        done: number of frames so far.
        errors: the sources that could not be read, or broke off.
    """

    teacher: Teacher
    vid_stride: int
    on_progress: Callable[[str, int, int | None], None] | None
    done: int = 0
    errors: list[tuple[str, MaskyoloError]] = field(default_factory=list)

    def at(self, number: int, source: Source) -> list[Candidate]:
        """Return the frames of a source; of one that breaks off, those before that."""
        stills, hashes, indices = [], [], []
        moments: list[Moment] = []
        rate = 0.0
        for frame in self.frames(source):
            sightings = self.teacher(frame.image)
            height, width = frame.image.shape[:2]
            moments.append(Moment(frame.time, (width, height), sightings))
            hashes.append(perceptual_hashes(frame.image))
            indices.append(frame.index)
            stills.append(frame.kind == "image")
            rate = float(frame.rate)
            self.done += 1
            if self.on_progress:
                self.on_progress("frames", self.done, None)
        labeled = (
            [label_still(one.sightings) for one in moments]
            if all(stills)
            else label_recording(moments, rate)
        )
        return [
            Candidate(number, index, still, hashed, labels, unsure)
            for index, still, hashed, (labels, unsure) in zip(
                indices, stills, hashes, labeled, strict=True
            )
        ]

    def frames(self, source: Source) -> Iterator[Frame]:
        """Yield the frames of a source, and record the error if it cannot be read to its end."""
        frames = source.frames(self.vid_stride)
        try:
            yield from frames
        except MaskyoloError as error:
            if source.name not in dict(self.errors):
                self.errors.append((source.name, error))


def _write(
    part: Path,
    sources: Sequence[Source],
    taken: Sequence[Candidate],
    options: AdaptOptions,
    look: _Look,
) -> list[LedgerRow]:
    """Write the images and labels of the frames that are taken, and return their ledger."""
    for folder in (_IMAGES, _LABELS):
        (part / folder).mkdir(parents=True, exist_ok=True)
    wanted = {(one.source, one.index): one for one in taken}
    model = str(options.model or DEFAULT_MODELS[options.pipeline])
    rows = []
    for number in sorted({one.source for one in taken}):
        last = max(index for place, index in wanted if place == number)
        with closing(look.frames(sources[number])) as frames:  # type: ignore[type-var]
            for frame in frames:
                if (number, frame.index) in wanted:
                    name = f"{number:04d}_{frame.index:06d}"
                    row = _row(frame, wanted[number, frame.index], f"{_IMAGES}/{name}.jpg", model)
                    spared = labels_of(row)
                    blanked = [
                        box
                        for box, kind in zip(row.boxes, row.classes, strict=True)
                        if kind == IGNORE_CLASS
                    ]
                    image = blank_out(frame.image, blanked, spared.boxes)
                    if options.blur_outside:
                        image = blur_outside(image, spared.boxes)
                    write_image(part / row.image, image)
                    write_atomic(
                        part / _LABELS / f"{name}.txt", format_yolo(spared, row.width, row.height)
                    )
                    rows.append(row)
                if frame.index >= last:
                    break
    return rows


def _row(frame: Frame, candidate: Candidate, image: str, model: str) -> LedgerRow:
    labels: Labels = candidate.labels
    height, width = frame.image.shape[:2]
    classes = tuple(
        IGNORE_CLASS if class_id == IGNORE else CLASS_NAMES[class_id]
        for class_id in labels.class_ids.tolist()
    )
    decider = model if candidate.still else "track"
    place = "" if candidate.still else f"#{frame.index}"
    return LedgerRow(
        source=f"{frame.source}{place}",
        class_name="",
        status="kept",
        reason="unsure" if candidate.unsure else "",
        image=image,
        split="train",
        width=width,
        height=height,
        phash=candidate.hashes[0],
        phash_mirrored=candidate.hashes[1],
        detector=model,
        boxes=tuple(tuple(round(value, 2) for value in box) for box in labels.boxes.tolist()),
        scores=(1.0,) * len(labels),
        classes=classes,
        origins=(model,) * len(labels),
        deciders=tuple("nobody" if name == IGNORE_CLASS else decider for name in classes),
        size=size_class(labels.boxes, width, height),
    )
