"""Convert photos to a YOLO data set: face boxes, their classes, and splits without near-copies.

The path of a photo: `find_photos` lists it with its folder's class. `Labeler.process` decodes it,
finds its faces, decides their classes, and writes image and label file to the working folder. When
all photos are done, `settle` decides which of them are in the set and assigns these to the splits.
Then the working folder becomes the data set (see `maskyolo.dataset.workfolder`). The ledger has a
row for each photo.
"""

from __future__ import annotations

import math
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from maskyolo.conversion.assign import hash_benchmark, settle
from maskyolo.conversion.inputs import list_photos, own_splits
from maskyolo.conversion.labeling import Labeler
from maskyolo.conversion.mask_judge import MaskJudge
from maskyolo.conversion.options import KEEP, ConvertOptions
from maskyolo.conversion.photos import Photo
from maskyolo.conversion.previous import PreviousSet
from maskyolo.conversion.scenes import write_scenes
from maskyolo.core.choices import Bystanders
from maskyolo.core.classes import ALL_CLASS_NAMES, CLASS_NAMES, SPLITS
from maskyolo.core.files import write_atomic
from maskyolo.core.item_errors import ERROR_LOG, ItemErrors
from maskyolo.core.options import takes_options
from maskyolo.core.parallel import usable_cpus
from maskyolo.core.text import counted
from maskyolo.dataset.contact_sheets import write_sheets
from maskyolo.dataset.layout import format_data_yaml
from maskyolo.dataset.ledger import LedgerRow, labels_of, write_ledger
from maskyolo.dataset.near_copies import count_near_copies
from maskyolo.dataset.splits import random_leaks
from maskyolo.dataset.workfolder import (
    SETTINGS,
    SHEETS,
    arrange,
    claim,
    flatten,
    is_taken,
    locked,
    publish,
    recover,
    working_folder,
)
from maskyolo.detectors.faces.base import FaceDetector
from maskyolo.detectors.faces.loading import load_face_detector
from maskyolo.errors import DatasetError, OutputError, output_errors

__all__ = ["Conversion", "convert_dataset", "convert_photos"]

#: Warn about lost photos if the difference between the classes is at least this many standard
#: errors (a two-proportion z-test; p below 0.003), and at least this large.
_UNEVEN, _MIN_DIFFERENCE = 3.0, 0.01
_LOST = ("no_face", "ambiguous", "unreadable")
#: File names in the working folder's `images` and `labels`; see `Labeler` and `scenes`.
_WORK_NAMES = r"(.+_[0-9a-f]{8}|scene_\d{5,})\.(jpg|png|txt)"


@dataclass(frozen=True)
class Conversion:
    """The result of `convert_dataset`.

    Attributes:
        folder: the data set.
        rows: the ledger, in order of the sources.
        scenes: number of composed scenes among the training images.
        pairs: number of pairs of near-copies in the set.
        leaks: number of these pairs that are in different splits; 0 unless photos were corrected.
        random_leaks: number of pairs that a plain random split would separate, on average.
        gone: rows of the previous set that were removed because their photos are no longer in the
            sources.
        names: class names by id.
        unannotated: sources of the photos that were left out because they have no annotation.
        notes: remarks on the annotated sets among the sources.
    """

    folder: Path
    rows: list[LedgerRow]
    scenes: int = 0
    pairs: int = 0
    leaks: int = 0
    random_leaks: float = 0.0
    gone: list[LedgerRow] = field(default_factory=list)
    names: tuple[str, ...] = CLASS_NAMES
    unannotated: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()

    @property
    def data(self) -> Path:
        """The set's `data.yaml`, for training."""
        return self.folder / "data.yaml"

    def counts(self) -> dict[str, Counter[str]]:
        """Count the photos of each class by status.

        Photos of annotated sets that show no face come last, under an empty name.
        """
        names = [*self.names, ""] if any(not row.class_name for row in self.rows) else self.names
        return {
            name: Counter(row.status for row in self.rows if row.class_name == name)
            for name in names
        }

    def uneven_loss(self) -> str:
        """Return a warning if one class lost a larger fraction of its photos, or "".

        Photos are lost if they have no face or an unknown class, or are damaged. Losses are seldom
        random: they may be all profiles, or all dark masks, which the detector then never sees.
        """
        counts = self.counts()
        totals = {
            name: sum(counts[name][status] for status in ("kept", "corrected", *_LOST))
            for name in CLASS_NAMES
        }
        lost = {name: sum(counts[name][status] for status in _LOST) for name in CLASS_NAMES}
        if not min(totals.values()):
            return ""
        rates = {name: lost[name] / totals[name] for name in CLASS_NAMES}
        pooled = sum(lost.values()) / sum(totals.values())
        error = math.sqrt(pooled * (1 - pooled) * sum(1 / number for number in totals.values()))
        more, less = sorted(CLASS_NAMES, key=lambda name: -rates[name])
        if rates[more] - rates[less] < max(_MIN_DIFFERENCE, _UNEVEN * error):
            return ""
        return (
            f"{more} lost {lost[more]} of {totals[more]} photos ({rates[more]:.1%}), {less} "
            f"{lost[less]} of {totals[less]} ({rates[less]:.1%}), and the lost ones may have "
            f"something in common: look at {self.folder / SHEETS}"
        )


@takes_options(ConvertOptions)
def convert_dataset(
    source: Path | str | Sequence[Path | str],
    out: Path | str,
    options: ConvertOptions | None = None,
    *,
    on_progress: Callable[[int, int], None] | None = None,
    **settings: Any,
) -> Conversion:
    """Convert class folders or annotated sets into one YOLO data set with a ledger.

    Faces are detected in photos of class folders. Pascal VOC, COCO and YOLO sets come with boxes,
    which are used instead (see `maskyolo.conversion.inputs`). Work in progress is in `OUT.part`,
    which becomes `out` at the end. After an interruption, even a kill, the same call continues
    where it stopped.

    Args:
        source: one or more folders that contain `with_mask` and `without_mask` (see `class_of` for
            other spellings) at any depth; Pascal VOC folders; COCO files or folders; YOLO sets, by
            `data.yaml` or folder.
        out: output folder; it must not exist or be empty, unless `update` is set.
        options: the options as one object.
        on_progress: called with the number of photos and scenes done and their total number.
        settings: fields of `ConvertOptions`; they override `options`.

    Raises:
        DatasetError: there are no photos, a class has no photos or no faces, a folder is not a
            known class, or the splits are not fractions that sum to 1.
        OutputError: `out` exists or cannot be written, or `OUT.part` contains files that are not
            from an interrupted conversion.
        WeightsError: the face detector's weights are missing or wrong.

    Examples:
        >>> made = convert_dataset("photos", "data/mask", seed=3)  # doctest: +SKIP
        >>> made.counts()["with_mask"]["kept"]  # doctest: +SKIP
        1915
    """
    chosen = ConvertOptions.merge(options, settings)
    listed = list_photos(
        [source] if isinstance(source, (str, Path)) else list(source),
        chosen.format,
        chosen.class_map,
        chosen.image_list,
        keep_splits=chosen.splits == KEEP,
    )
    made = convert_photos(listed.photos, out, chosen, names=listed.names, on_progress=on_progress)
    return replace(made, notes=listed.notes)


@takes_options(ConvertOptions)
def convert_photos(
    photos: Sequence[Photo],
    out: Path | str,
    options: ConvertOptions | None = None,
    *,
    names: tuple[str, ...] = CLASS_NAMES,
    on_progress: Callable[[int, int], None] | None = None,
    **settings: Any,
) -> Conversion:
    """Convert photos from any source; raises the same errors as `convert_dataset`.

    Photos that come with labels keep them (detector and origin are `given`); in all others, faces
    are detected.

    Args:
        photos: the photos; each `source` must occur only once.
        out: output folder, as for `convert_dataset`.
        options: the options as one object; `format`, `image_list` and `class_map` have no effect.
        names: the names of the classes that labels may have, by id.
        on_progress: called with the number of photos and scenes done and their total number.
        settings: fields of `ConvertOptions`; they override `options`.
    """
    chosen = ConvertOptions.merge(options, settings)
    out, part = working_folder(out)
    splits = own_splits(photos) if isinstance(chosen.splits, str) else chosen.splits
    shares = {split: share for split, share in zip(SPLITS, splits, strict=True) if share > 0}
    workers = chosen.workers or usable_cpus() + 1

    def load() -> FaceDetector:
        return load_face_detector(
            chosen.detector,
            chosen.weights,
            chosen.conf,
            cross_check=chosen.cross_check,
            convention=True,
        )

    def report(done: int) -> None:
        if on_progress:
            on_progress(done, len(photos) + chosen.scenes)

    facts = _settings(chosen, load().name)  # loaded now, to raise errors before any work is done
    with output_errors(part), locked(part):
        recover(part, out)
        old = _read_previous(out, facts, names, chosen.update)
        benchmark = hash_benchmark(chosen.exclude or (), workers)
        claim(part, "convert", ("images", "labels"), _WORK_NAMES)
        flatten(part)
        item_errors = ItemErrors(lambda: part / ERROR_LOG, shown=out / ERROR_LOG)
        labeler = Labeler(part, facts, old, chosen.bystanders, names, item_errors)
        rows = labeler.process_all(photos, load, workers, report)
        rows = settle(rows, photos, shares, chosen.seed, benchmark, old.splits())
        write_ledger(part / "ledger.csv", rows)
        _check_classes(rows, names, part / "ledger.csv")
        placed = [(Path(row.image).name, row.split) for row in rows if row.in_set]
        if chosen.scenes:
            placed += _compose_scenes(rows, part, chosen, names, workers, report)
        arrange(part, placed, shares)
        shutil.rmtree(part / SHEETS, ignore_errors=True)
        if chosen.sheets:
            paths = {photo.source: photo.path for photo in photos}
            write_sheets(
                rows,
                lambda row: part / row.image if row.in_set else paths[row.source],
                part / SHEETS,
                workers,
            )
        used = {
            "settings": facts,
            "splits": [float(share) for share in splits],
            "seed": chosen.seed,
            "scenes": chosen.scenes,
        }
        write_atomic(part / SETTINGS, yaml.safe_dump(used, sort_keys=False))
        write_atomic(part / "data.yaml", format_data_yaml(out, list(shares), names))
        publish(part, out)
    return _result(out, rows, photos, old, chosen.scenes, names)


def _settings(options: ConvertOptions, finder: str) -> dict[str, object]:
    """Return the settings that affect a photo's row; if they change, it is converted again."""
    asked = options.bystanders is Bystanders.DETECTOR or MaskJudge.name in finder
    return {
        "version": 6,
        "detector": finder,
        "conf": options.conf,
        "bystanders": str(options.bystanders),
        "judge": MaskJudge.checksum() if asked else "",
    }


def _read_previous(
    out: Path, settings: Mapping[str, object], names: Sequence[str], update: bool
) -> PreviousSet:
    """Read the set to update, if there is one and `update` is set.

    Raises:
        OutputError: `out` exists and must not, or cannot, be updated.
    """
    if update and (out / "ledger.csv").is_file():
        old = PreviousSet.read(out, settings, names)
        if old.rows:
            return old
    if is_taken(out):
        problem, remedy = "it exists", "choose another folder or remove it"
        if update:
            problem = "it has no ledger.csv, and only a set that convert made can be updated"
        else:
            remedy += ", or update it with --update"
        raise OutputError(f"cannot write the data set to {out}: {problem}", remedy)
    return PreviousSet()


def _check_classes(rows: Sequence[LedgerRow], names: Sequence[str], ledger: Path) -> None:
    """Raise DatasetError if a class does not occur in the set."""
    used = [row for row in rows if row.in_set]
    for name in (name for name in names if name in ALL_CLASS_NAMES):
        if any(name in row.classes for row in used):
            continue
        if all(row.detector == "given" for row in rows):
            others = Counter(other for row in used for other in row.classes)
            listed = ", ".join(f"{other} {count}" for other, count in others.items()) or "none"
            raise DatasetError(
                f"no box of class {name} in the {counted(len(used), 'image')} that can be used "
                f"(boxes: {listed})",
                f"a detector needs both classes; see {ledger} for why images were left out",
            )
        raise DatasetError(
            f"no face found in any '{name}' photo; {ledger} gives the reason for each",
            "fix the problems listed there",
        )


def _compose_scenes(
    rows: Sequence[LedgerRow],
    part: Path,
    options: ConvertOptions,
    names: Sequence[str],
    workers: int,
    report: Callable[[int], None],
) -> list[tuple[str, str]]:
    """Write scenes composed from the training photos; return their file names and split."""
    train = [
        (part / "images" / Path(row.image).name, labels_of(row, names))
        for row in rows
        if row.in_set and row.split == "train"
    ]
    made = write_scenes(
        train,
        part / "images",
        part / "labels",
        options.scenes,
        seed=options.seed,
        class_ids=[place for place, name in enumerate(names) if name in ALL_CLASS_NAMES],
        workers=workers,
        on_progress=lambda done: report(len(rows) + done),
    )
    return [(path.name, "train") for path in made]


def _result(
    out: Path,
    rows: list[LedgerRow],
    photos: Sequence[Photo],
    old: PreviousSet,
    scenes: int,
    names: tuple[str, ...],
) -> Conversion:
    kept = [row for row in rows if row.in_set]
    pairs, leaks = count_near_copies(
        [row.phash for row in kept],
        [row.phash_mirrored for row in kept],
        [row.split for row in kept],
    )
    sources = {photo.source for photo in photos}
    unannotated = {photo.source for photo in photos if not photo.annotated}
    return Conversion(
        out,
        rows,
        scenes,
        pairs=pairs,
        leaks=leaks,
        random_leaks=random_leaks(pairs, Counter(row.split for row in kept).values()),
        gone=[row for row in old.rows.values() if row.source not in sources],
        names=names,
        unannotated=frozenset(
            row.source for row in rows if row.source in unannotated and row.status == "excluded"
        ),
    )
