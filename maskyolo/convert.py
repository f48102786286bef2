"""Turn photos into a YOLO data set: face boxes, a class for each, one ledger row a photo, splits without near-copies.

One photo's way: `find_photos` lists it with its folder's class; `_Work.process` decodes it, finds its faces, decides their classes and
writes picture and label into the working folder; when all are done, `_settle` sets aside what must not be in the set and deals the
others out to the splits, and the working folder becomes the data set (see `maskyolo.workfolder`).
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
import threading
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

import cv2
import numpy as np
import yaml

from maskyolo.boxes import as_boxes, clip_boxes
from maskyolo.bystanders import decide_faces
from maskyolo.core.classes import CLASS_NAMES, SPLITS, class_of, plain_name
from maskyolo.core.files import walk_files, write_atomic
from maskyolo.core.parallel import map_ahead, usable_cpus
from maskyolo.dataset import format_data_yaml, list_images
from maskyolo.errors import DatasetError, ImageError, MaskyoloError, OutputError, output_errors
from maskyolo.faces import FaceDetector, Faces, load_face_detector
from maskyolo.formats import CLASS_CHOICES
from maskyolo.images import ImageArray, decode_image, is_plain_rgb, read_image
from maskyolo.labels import IGNORE, IGNORE_CLASS, Labels, format_yolo, read_yolo
from maskyolo.ledger import LedgerRow, read_ledger, size_class, write_ledger
from maskyolo.origins import SYNTHESIS, Origin, read_origins
from maskyolo.scenes import write_scenes
from maskyolo.sheets import write_sheets
from maskyolo.splits import (
    assign_splits,
    group_near_copies,
    near_copies,
    perceptual_hashes,
    random_leaks,
)
from maskyolo.subject import OTHERS, Decision, paint_over
from maskyolo.workfolder import (
    JOURNAL,
    SETTINGS,
    SHEETS,
    arrange,
    claim,
    flatten,
    foreign_file,
    locked,
    publish,
    recover,
    working_folder,
)

if TYPE_CHECKING:
    import supervision as sv

__all__ = ["Conversion", "Photo", "convert_dataset", "convert_photos", "find_photos"]

#: Photos of one class that are lost this many standard errors more often than those of the other are no chance (a two-proportion
#: z-test; p below 0.003), and from a difference of one in a hundred on it matters.
_UNEVEN = 3.0
_LOST = ("no_face", "ambiguous", "unreadable")
#: Longer side of what our own detector of masks is shown of a photo, and what both sides are multiples of, in pixels: it is compiled for
#: each shape, which takes as long as ten photos, and so there are nine shapes.
_JUDGE_SIDE, _JUDGE_STEP = 640, 128

_LITTER = {"thumbs.db", "desktop.ini", SYNTHESIS}
#: Names of the files in the working folder's `images` and `labels`, see `_Work._label` and `scenes.write_scenes`.
_WORK_NAMES = r"(.+_[0-9a-f]{8}|scene_\d{5,})\.(jpg|png|txt)"


@dataclass(frozen=True)
class Photo:
    """A picture to convert.

    Attributes:
        path: where it is.
        source: its path relative to the source folder, with forward slashes; its name in the ledger.
        class_name: what its folder stands for; of a photo with given labels the class of its largest face, empty if it has none.
        labels: boxes in pixels of the upright picture, where the source has them: they are used as they are and no face is
            looked for. None for a photo of a class folder.
        origin: the photo it was made from, if `synthesize` made it.
        split: train, val or test, if the source says it; near-copies of one another go where the first of them goes.
        status: a status of the ledger, if the source already tells that the photo cannot be used; else empty.
        reason: why, or what else the source says of it, for the ledger.
    """

    path: Path
    source: str
    class_name: str
    labels: Labels | None = None
    origin: Origin | None = None
    split: str = ""
    status: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Conversion:
    """What `convert_dataset` made.

    Attributes:
        folder: the data set.
        rows: the ledger, in order of the sources.
        scenes: number of composed scenes among the training pictures.
        pairs: number of pairs of near-copies in the set.
        leaks: how many of them are in different splits; none, unless corrected photos were.
        random_leaks: how many of them a plain random split would have parted, on average.
        gone: rows of the old set whose photos are not in the source any more; they left the set.
        names: class names by id.
    """

    folder: Path
    rows: list[LedgerRow]
    scenes: int = 0
    pairs: int = 0
    leaks: int = 0
    random_leaks: float = 0.0
    gone: list[LedgerRow] = field(default_factory=list)
    names: tuple[str, ...] = CLASS_NAMES

    @property
    def data(self) -> Path:
        """The set's `data.yaml`, to train with."""
        return self.folder / "data.yaml"

    def counts(self) -> dict[str, Counter[str]]:
        """Count the photos of each class by status; those of annotated sets that show no face come last, under an empty name."""
        names = [*self.names, ""] if any(not row.class_name for row in self.rows) else self.names
        return {
            name: Counter(row.status for row in self.rows if row.class_name == name)
            for name in names
        }

    def uneven_loss(self) -> str:
        """Say if one class lost more of its photos than the other, to no face, an unknown class or damage; empty if not.

        What is lost is seldom lost by chance: it may be all profiles, or all dark masks, which the detector then never sees.
        """
        counts = self.counts()
        all_of = {
            name: sum(counts[name][status] for status in ("kept", "corrected", *_LOST))
            for name in CLASS_NAMES
        }
        lost = {name: sum(counts[name][status] for status in _LOST) for name in CLASS_NAMES}
        if not min(all_of.values()):
            return ""
        rates = {name: lost[name] / all_of[name] for name in CLASS_NAMES}
        pooled = sum(lost.values()) / sum(all_of.values())
        error = math.sqrt(pooled * (1 - pooled) * sum(1 / number for number in all_of.values()))
        more, less = sorted(CLASS_NAMES, key=lambda name: -rates[name])
        if rates[more] - rates[less] < 0.01 or rates[more] - rates[less] < _UNEVEN * error:
            return ""
        return (
            f"{more} lost {lost[more]} of {all_of[more]} photos ({rates[more]:.1%}), {less} {lost[less]} of {all_of[less]} "
            f"({rates[less]:.1%}): what is missing may be of one kind; look at {self.folder / SHEETS}"
        )


def convert_dataset(
    source: Path | str | Sequence[Path | str],
    out: Path | str,
    *,
    format: str = "auto",  # noqa: A002  # the command's option
    image_list: Path | str | None = None,
    detector: str = "ssd",
    weights: Path | str | None = None,
    conf: float = 0.5,
    second_opinion: str = "both",
    others: str = "detector",
    splits: Sequence[float] | str = (0.8, 0.1, 0.1),
    seed: int = 0,
    class_map: Mapping[str, str] | None = None,
    exclude: Sequence[Path | str] = (),
    scenes: int = 0,
    update: bool = False,
    sheets: bool = True,
    workers: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Conversion:
    """Convert folders of photos, one folder per class, or annotated sets, into one YOLO data set with a ledger.

    In photos of class folders faces are looked for; Pascal VOC, COCO and YOLO sets have boxes, which are used (see `maskyolo.gather`).
    Work goes to `OUT.part` and becomes `out` when all is done; after an interruption, a kill included, the same call goes on where
    it stopped.

    Args:
        source: one or several folders with `with_mask` and `without_mask` (see `dataset.class_of` for other spellings), at any depth;
            Pascal VOC folders, COCO files or folders, YOLO sets by `data.yaml` or folder.
        out: folder to make; it must not exist or be empty, unless `update`.
        format: of the sources: auto, folders, voc, coco or yolo.
        image_list: a file with the names of the photos to take, one a line.
        detector: one of `FaceDetectorName`.
        weights: the detector's file or folder, if it is not where `manifest.find_weights` looks.
        conf: least score of a face.
        second_opinion: who checks and completes the faces of `ssd`: `yunet`; `both`, YuNet and, for the boxes, maskyolo-n-folders; `none`.
            Other detectors stand alone.
        others: how the faces beside a photo's subject come to their class, one of `subject.OTHERS`.
        splits: shares of train, val and test, which sum to 1; or "keep" for the splits that annotated sets have.
        seed: of the splits and scenes.
        class_map: what further folders and classes mean: with_mask, without_mask, drop, ignore or keep (see `formats.map_classes`).
        exclude: folders of pictures, such as a benchmark; photos that are near-copies of one of them, mirrored ones too, are left out.
        scenes: number of training pictures to compose of the training photos' faces besides, see `maskyolo.scenes`.
        update: bring the set in `out` up to date: only photos that are new, changed, or were converted with other settings are
            converted, and what people corrected (`LedgerRow.corrected`, or a label file changed by hand) stays as it is.
        sheets: draw contact sheets of the photos of each status into `sheets`.
        workers: photos worked on at once; by default one more than there are cores, so that none waits while a photo is read or written.
        on_progress: called with the number of photos and scenes done and the number of all.

    Raises:
        DatasetError: no photos, one class without photos or without faces, a folder that is no class, splits that are no shares.
        OutputError: `out` exists, or cannot be written, or `OUT.part` has files that are not of an interrupted conversion.
        WeightsError: the face detector's weights are missing or wrong.
    """
    from maskyolo.gather import gather_photos, own_splits

    if not isinstance(splits, str):
        _shares(splits)  # the user's error, if any, comes before any work
    elif splits != "keep":
        raise DatasetError(f"unknown splits '{splits}'; give shares such as 0.8,0.1,0.1, or keep")
    sources = [source] if isinstance(source, (str, Path)) else list(source)
    photos, names = gather_photos(
        sources, format, class_map, image_list, keep_splits=splits == "keep"
    )
    return convert_photos(
        photos,
        out,
        detector=detector,
        weights=weights,
        conf=conf,
        second_opinion=second_opinion,
        others=others,
        splits=own_splits(photos) if isinstance(splits, str) else splits,
        seed=seed,
        exclude=exclude,
        scenes=scenes,
        update=update,
        sheets=sheets,
        workers=workers,
        on_progress=on_progress,
        names=names,
    )


def convert_photos(
    photos: Sequence[Photo],
    out: Path | str,
    *,
    detector: str = "ssd",
    weights: Path | str | None = None,
    conf: float = 0.5,
    second_opinion: str = "both",
    others: str = "detector",
    splits: Sequence[float] = (0.8, 0.1, 0.1),
    seed: int = 0,
    exclude: Sequence[Path | str] = (),
    scenes: int = 0,
    update: bool = False,
    sheets: bool = True,
    workers: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    names: tuple[str, ...] = CLASS_NAMES,
) -> Conversion:
    """Convert photos from anywhere; arguments and errors are those of `convert_dataset`.

    Photos that come with labels keep these (detector and origin `given`), in the others faces are looked for. Every `source` must be
    there once. `names` are the classes that labels may have.
    """
    out, part = working_folder(out)
    shares = _shares(splits)
    if others not in OTHERS:
        raise MaskyoloError(
            f"unknown way '{others}' with the other faces of a photo; choose from {', '.join(OTHERS)}"
        )

    def load() -> FaceDetector:
        return load_face_detector(detector, weights, conf, second_opinion)

    workers = workers or usable_cpus() + 1
    finder = load().name  # errors come before any work, too
    judge = _Judge.checksum() if others == "detector" or _Judge.name in finder else ""
    settings = {"version": 4, "detector": finder, "conf": conf, "others": others, "judge": judge}
    with output_errors(part), locked(part):
        recover(part, out)
        old = (
            _OldSet.read(out, settings, names)
            if update and (out / "ledger.csv").is_file()
            else _OldSet()
        )
        if not old.rows and out.exists() and (not out.is_dir() or any(out.iterdir())):
            mend = (
                "it has no ledger.csv; only a set that convert made can be updated"
                if update
                else "it exists"
            )
            hint = "" if update else ", or bring it up to date with --update"
            raise OutputError(
                f"cannot write the data set to {out}: {mend}; choose another folder or remove it{hint}"
            )
        benchmark = _benchmark(exclude, workers)
        claim(part, "convert", ("images", "labels"), _WORK_NAMES)
        flatten(part)
        total = len(photos) + scenes

        def report(done: int) -> None:
            if on_progress:
                on_progress(done, total)

        work = _Work(part, settings, old, others, names)
        rows = work.process_all(photos, load, workers, report)
        rows = _settle(rows, photos, shares, seed, benchmark, old.splits())
        write_ledger(part / "ledger.csv", rows)
        for name in CLASS_NAMES:
            if not any(row.in_set and name in row.classes for row in rows):
                raise DatasetError(
                    f"no face found in any '{name}' photo; {part / 'ledger.csv'} says why for each; correct the photos"
                )
        kept = [row for row in rows if row.in_set]
        placed = [(Path(row.image).name, row.split) for row in kept]
        if scenes:
            train = [
                (part / "images" / Path(row.image).name, labels_of(row, names))
                for row in kept
                if row.split == "train"
            ]
            made = write_scenes(
                train,
                part / "images",
                part / "labels",
                scenes,
                seed=seed,
                workers=workers,
                on_progress=lambda done: report(len(rows) + done),
            )
            placed += [(path.name, "train") for path in made]
        arrange(part, placed, shares)
        shutil.rmtree(part / SHEETS, ignore_errors=True)
        if sheets:
            paths = {photo.source: photo.path for photo in photos}
            write_sheets(
                rows,
                lambda row: part / row.image if row.in_set else paths[row.source],
                part / SHEETS,
                workers,
            )
        used = {
            "settings": settings,
            "splits": [float(share) for share in splits],
            "seed": seed,
            "scenes": scenes,
        }
        write_atomic(part / SETTINGS, yaml.safe_dump(used, sort_keys=False))
        write_atomic(part / "data.yaml", format_data_yaml(out, list(shares), names))
        publish(part, out)
    hashes, mirrored = [row.phash for row in kept], [row.phash_mirrored for row in kept]
    pairs = near_copies(hashes, mirrored)
    leaks = sum(kept[one].split != kept[other].split for one, other in pairs)
    by_chance = random_leaks(len(pairs), Counter(row.split for row in kept).values())
    sources = {photo.source for photo in photos}
    gone = [row for row in old.rows.values() if row.source not in sources]
    return Conversion(out, rows, scenes, len(pairs), leaks, by_chance, gone, names)


def find_photos(
    source: Path | str, class_map: Mapping[str, str] | None = None, both: bool = True
) -> list[Photo]:
    """List the files of all class folders below `source`, sorted; folders inside a class folder belong to its class.

    Links to folders are followed. A folder that cannot be read, and a link to nothing, are listed as `unreadable`.

    Args:
        source: the folder that has the class folders in it.
        class_map: further folder names and what each means: a class, or ignore (or drop) for a folder to leave out.
        both: whether photos of one class only are an error.

    Raises:
        DatasetError: no such folder, no class folders, a class without files, or a folder of files that is no class.
    """
    source = Path(source)
    if not source.is_dir():
        raise DatasetError(
            f"no folder {source}; give the folder that has with_mask and without_mask in it"
        )
    known = {plain_name(folder): name for folder, name in (class_map or {}).items()}
    wrong = [name for name in known.values() if name not in CLASS_CHOICES]
    if wrong:
        raise DatasetError(
            f"unknown class '{wrong[0]}' in the class map; choose from {', '.join(CLASS_CHOICES)}"
        )
    photos, unknown, origins = [], Counter[str](), read_origins(source)
    reasons: dict[Path, str] = {}

    def unreadable(folder: Path, error: OSError) -> None:
        reasons[folder] = f"folder not read: {(error.strerror or str(error)).lower()}"

    found = list(walk_files(source, unreadable))
    reasons |= {
        path: "a link to nothing" if path.is_symlink() else "not a file"
        for path in found
        if not path.is_file()
    }
    for path in sorted({*found, *reasons}):
        relative = path.relative_to(source)
        if path.name.lower() in _LITTER or any(part.startswith(".") for part in relative.parts):
            continue
        inside = relative.parts if path.is_dir() else relative.parts[:-1]
        classes = [
            name
            for folder in inside
            if (name := known.get(plain_name(folder)) or class_of(folder)) not in ("", "keep")
        ]
        if not classes:
            unknown[Path(*inside).as_posix()] += 1
        elif classes[0] in CLASS_NAMES:
            name = relative.as_posix()
            status = "unreadable" if path in reasons else ""
            photos.append(
                Photo(
                    path,
                    name,
                    classes[0],
                    origin=origins.get(name),
                    status=status,
                    reason=reasons.get(path, ""),
                )
            )
    if not photos:
        places = ", ".join(sorted(unknown)[:5]) or "nothing"
        raise DatasetError(
            f"no class folders in {source}: found files in {places}; sort the photos into with_mask and without_mask"
        )
    folders = [
        folder for folder in unknown if folder != "."
    ]  # loose files beside the class folders, such as a README, are no photos
    if folders:
        raise DatasetError(
            f"unknown class folder '{folders[0]}' in {source} ({unknown[folders[0]]} files); say what it is with "
            f"--map {folders[0].split('/')[-1]}=CLASS, where CLASS is with_mask, without_mask or ignore"
        )
    for name in CLASS_NAMES if both else ():
        if not any(photo.class_name == name for photo in photos):
            raise DatasetError(
                f"class '{name}' has no photos in {source}; a detector needs both classes"
            )
    return photos


def labels_of(row: LedgerRow, names: Sequence[str] = CLASS_NAMES) -> Labels:
    """Return what a row's label file says: its boxes but for the painted ones, with the ids of their classes in `names`."""
    learnt = [place for place, name in enumerate(row.classes) if name != IGNORE_CLASS]
    class_ids = np.array([names.index(row.classes[place]) for place in learnt], dtype=np.int64)
    return Labels(as_boxes([row.boxes[place] for place in learnt]), class_ids)


def _shares(splits: Sequence[float]) -> dict[str, float]:
    if (
        len(splits) != len(SPLITS)
        or min(splits) < 0
        or abs(sum(splits) - 1) > 1e-6
        or min(splits[:2]) == 0
        or not math.isfinite(sum(splits))
    ):
        raise DatasetError(
            f"splits {', '.join(f'{share:g}' for share in splits)} do not fit: give the shares of train, val and test, "
            "as 0.8,0.1,0.1; they sum to 1, and train and val are above 0"
        )
    return {split: share for split, share in zip(SPLITS, splits, strict=True) if share > 0}


@dataclass(frozen=True)
class _OldSet:
    """The set that an update replaces: its rows by source, as people left them, and whether they were made with the same settings."""

    folder: Path = Path()
    rows: dict[str, LedgerRow] = field(default_factory=dict)
    same_settings: bool = False

    @classmethod
    def read(cls, folder: Path, settings: Mapping[str, object], names: Sequence[str]) -> _OldSet:
        """Read the ledger and all label files of a set; a label file that is not the ledger's is a correction."""
        rows = {row.source: row for row in read_ledger(folder / "ledger.csv")}
        stranger = foreign_file(folder, [row.image for row in rows.values() if row.in_set])
        if stranger:
            raise OutputError(
                f"cannot update {folder}: {stranger} is not in its ledger and would be lost; move it elsewhere first"
            )
        own_names = _names_of(folder) or tuple(names)
        for source, row in rows.items():
            label = (folder / row.image.replace("images/", "labels/", 1)).with_suffix(".txt")
            if not row.in_set or not label.is_file():
                continue
            if label.read_text(encoding="utf-8") != format_yolo(
                labels_of(row, own_names), row.width, row.height
            ):
                found = read_yolo(label, row.width, row.height, len(own_names))
                painted = [
                    box
                    for box, name in zip(row.boxes, row.classes, strict=True)
                    if name == IGNORE_CLASS
                ]
                classes = [own_names[class_id] for class_id in found.class_ids] + [
                    IGNORE_CLASS
                ] * len(painted)
                reason = (
                    row.reason
                    if row.status == "corrected"
                    else "its label file was changed by hand"
                )
                rows[source] = row.corrected([*found.boxes.tolist(), *painted], classes, reason)
        for row in rows.values():
            lost = (
                sorted(set(row.classes) - {*names, IGNORE_CLASS})
                if row.status == "corrected" and row.in_set
                else []
            )
            if lost:
                raise DatasetError(
                    f"{row.source} in {folder} was corrected and has faces of class '{lost[0]}', which is not kept any more"
                )
        try:
            used = yaml.safe_load((folder / SETTINGS).read_text(encoding="utf-8"))["settings"]
        except (OSError, yaml.YAMLError, KeyError, TypeError):
            used = None
        return cls(folder, rows, used == settings)

    def has_picture(self, row: LedgerRow) -> bool:
        """Tell whether a row's picture is there, if it is to be: someone may have deleted it."""
        return not row.in_set or (self.folder / row.image).is_file()

    def splits(self) -> dict[str, str]:
        """Return the splits of the corrected photos by source."""
        return {
            row.source: row.split
            for row in self.rows.values()
            if row.status == "corrected" and row.in_set
        }


def _names_of(folder: Path) -> tuple[str, ...]:
    """Return the class names of a set by id, as its `data.yaml` has them; nothing if that cannot be read."""
    try:
        names = yaml.safe_load((folder / "data.yaml").read_text(encoding="utf-8"))["names"]
        return tuple(str(names[number]) for number in range(len(names)))
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError):
        return ()


class _Judge:
    """Our own detector of masks, loaded when the first photo with several faces comes, for all threads together."""

    name = "maskyolo-n-folders"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._detector: Callable[[ImageArray], sv.Detections] | None = None

    @classmethod
    def checksum(cls) -> str:
        """Return the SHA-256 of its weights: with others, an update decides anew."""
        from maskyolo.yolo import find_model

        return hashlib.sha256(find_model(cls.name).read_bytes()).hexdigest()

    def __call__(self, image: ImageArray) -> sv.Detections:
        from maskyolo.yolo import letterbox, load_detector, network_shape

        with self._lock:
            if self._detector is None:
                # the same boxes on every machine; two threads at once, a core each
                self._detector = load_detector(
                    self.name, conf=0.1, imgsz=_JUDGE_SIDE, precision="fp32", streams=2
                )
        height, width = image.shape[:2]
        rows, columns = (
            -(-side // _JUDGE_STEP) * _JUDGE_STEP
            for side in network_shape(height, width, _JUDGE_SIDE)
        )
        canvas, scales, border = letterbox(image, (rows, columns))
        found = self._detector(canvas)
        found.xyxy = clip_boxes(
            (found.xyxy - np.tile(border, 2)) / np.tile(scales, 2), width, height
        )
        return found


class _Work:
    """Turns photos into rows, pictures and labels in the working folder."""

    def __init__(
        self,
        part: Path,
        settings: dict[str, object],
        old: _OldSet,
        others: str,
        names: tuple[str, ...],
    ) -> None:
        self._part = part
        self._settings = settings
        self._old = old
        self._others = others
        self._names = names
        self._judge = _Judge()
        self._done: dict[str, LedgerRow] = {}

    def process_all(
        self,
        photos: Sequence[Photo],
        load: Callable[[], FaceDetector],
        workers: int,
        report: Callable[[int], None],
    ) -> list[LedgerRow]:
        """Process the photos in parallel, a line in the journal for each; return their rows in order."""
        self._done = _read_journal(self._part / JOURNAL, self._settings)
        detectors: SimpleQueue[FaceDetector] = SimpleQueue()
        with _side_by_side(workers):
            for _ in range(workers):
                detectors.put(
                    load()
                )  # one each: cv2.dnn networks are not safe to share between threads

        def work(photo: Photo) -> LedgerRow:
            detector = detectors.get()
            try:
                return self.process(photo, detector)
            finally:
                detectors.put(detector)

        rows: dict[str, LedgerRow] = {}
        with (
            (self._part / JOURNAL).open("w", encoding="utf-8") as journal,
            _side_by_side(workers),
            ThreadPoolExecutor(workers) as pool,
        ):
            journal.write(json.dumps(self._settings) + "\n")
            for (
                row
            ) in self._done.values():  # at once, so that a second interruption loses nothing either
                journal.write(json.dumps(row.to_dict()) + "\n")
            try:
                copies = self._exact_copies(photos, pool)
                once = [photo for photo in photos if photo.source not in copies]
                for row in map_ahead(pool, work, once, ahead=4 * workers):
                    rows[row.source] = row
                    if row.source not in self._done:
                        journal.write(json.dumps(row.to_dict()) + "\n")
                        journal.flush()
                    report(len(rows))
            finally:
                pool.shutdown(cancel_futures=True)
        for photo in photos:
            if photo.source in copies:
                rows[photo.source] = _copy_row(photo, *copies[photo.source], rows)
        report(len(rows))
        return [rows[photo.source] for photo in photos]

    def process(self, photo: Photo, detector: FaceDetector) -> LedgerRow:
        """Decode one photo, find its faces, write its picture and label into the working folder; return its row so far."""
        looked = detector.name if photo.labels is None else "given"
        row = LedgerRow(
            photo.source,
            photo.class_name,
            photo.status or "unreadable",
            photo.reason,
            detector=looked,
        )
        before = self._old.rows.get(photo.source)
        if before and before.status == "corrected":
            return self._take_over(before)
        if photo.status:
            return row
        try:
            data = photo.path.read_bytes()
        except OSError as error:
            return replace(row, reason=(error.strerror or str(error)).lower())
        row = replace(row, sha256=hashlib.sha256(data).hexdigest())
        if photo.labels is None:
            earlier = self._done.get(photo.source)
            if (
                earlier
                and _is_same(earlier, row)
                and (not earlier.in_set or (self._part / earlier.image).is_file())
            ):
                return earlier
            if (
                before
                and _is_same(before, row)
                and self._old.same_settings
                and _is_whole(before)
                and self._old.has_picture(before)
            ):
                return self._take_over(before)
        try:
            image = decode_image(data, photo.source)
        except ImageError as error:
            return replace(row, reason=str(error))
        return self._label(photo, row, data, image, detector)

    def _label(
        self, photo: Photo, row: LedgerRow, data: bytes, image: ImageArray, detector: FaceDetector
    ) -> LedgerRow:
        height, width = image.shape[:2]
        phash, mirrored = perceptual_hashes(image)
        if photo.labels is None:
            class_id = CLASS_NAMES.index(photo.class_name)
            faces = detector.detect(image)
            faces = replace(faces, origins=faces.origins or (detector.name,) * len(faces))
            faces, decision = decide_faces(image, faces, class_id, self._others, self._judge)
        else:
            faces = Faces(
                photo.labels.boxes,
                np.ones(len(photo.labels), dtype=np.float32),
                ("given",) * len(photo.labels),
            )
            decision = Decision(photo.labels.class_ids, ("given",) * len(faces), photo.reason)
        row = replace(
            row,
            reason=decision.reason,
            width=width,
            height=height,
            phash=phash,
            phash_mirrored=mirrored,
            boxes=tuple(tuple(round(float(value), 2) for value in box) for box in faces.boxes),
            scores=tuple(round(float(score), 4) for score in faces.scores),
            classes=tuple(
                IGNORE_CLASS if class_id == IGNORE else self._names[class_id]
                for class_id in decision.class_ids
            ),
            origins=faces.origins,
            deciders=decision.deciders,
            agreed=() if faces.agreed is None else tuple(bool(agreed) for agreed in faces.agreed),
            size=size_class(faces.boxes, width, height),
        )
        if decision.ambiguous:
            return replace(row, status="ambiguous")
        if not len(faces) and photo.labels is None:
            return replace(row, status="no_face", reason="no face found")
        painted = decision.class_ids == IGNORE
        class_name = (
            photo.class_name
            if photo.class_name in CLASS_NAMES
            else _slug(photo.class_name or "background")
        )
        name = f"{class_name}_{_slug(photo.path.stem)}_{hashlib.sha256(photo.source.encode()).hexdigest()[:8]}"
        suffix = ".png" if data.startswith(b"\x89PNG") else ".jpg"
        if painted.any() or not is_plain_rgb(data):
            image = (
                paint_over(image, faces.boxes[painted], faces.boxes[~painted])
                if painted.any()
                else image
            )
            suffix, data = (
                ".jpg",
                cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes(),
            )
        row = replace(row, status="kept", image=f"images/{name}{suffix}")
        self._write(row, data)
        return row

    def _write(self, row: LedgerRow, data: bytes) -> None:
        label = Path(row.image).with_suffix(".txt").name
        write_atomic(
            self._part / "labels" / label,
            format_yolo(labels_of(row, self._names), row.width, row.height),
        )
        write_atomic(self._part / row.image, data)  # the picture last: where it is, the label is

    def _take_over(self, before: LedgerRow) -> LedgerRow:
        """Copy a photo of the old set into the working folder."""
        row = replace(
            before,
            image=f"images/{Path(before.image).name}" if before.in_set else "",
            split="",
            group=-1,
        )
        if row.in_set:
            if not self._old.has_picture(before):
                raise DatasetError(
                    f"{self._old.folder / before.image} is gone, whose labels a person corrected; put it back, or take the line of "
                    f"{before.source} out of {self._old.folder / 'ledger.csv'} to have it converted anew"
                )
            self._write(row, (self._old.folder / before.image).read_bytes())
        return row

    def _exact_copies(
        self, photos: Sequence[Photo], pool: ThreadPoolExecutor
    ) -> dict[str, tuple[str, bool]]:
        """Find photos that are the same file as an earlier one: the source of that one, and whether their classes differ.

        Of the same file in both classes neither is worked on, unless a person corrected one of them.
        """
        corrected = {row.source for row in self._old.rows.values() if row.status == "corrected"}
        whole = [photo for photo in photos if not photo.status]
        by_content: dict[str, list[Photo]] = {}
        for photo, checksum in zip(whole, pool.map(_checksum, whole), strict=True):
            if checksum:
                by_content.setdefault(checksum, []).append(photo)
        copies: dict[str, tuple[str, bool]] = {}
        for group in by_content.values():
            first = next((photo for photo in group if photo.source in corrected), group[0])
            other = next((photo for photo in group if photo.class_name != first.class_name), None)
            torn = other is not None and first.source not in corrected
            for photo in group:
                if photo is not first and photo.source not in corrected:
                    copies[photo.source] = (first.source, torn)
            if torn and other:
                copies[first.source] = (other.source, True)
        return copies


def _copy_row(photo: Photo, first: str, torn: bool, rows: Mapping[str, LedgerRow]) -> LedgerRow:
    if torn:
        reason = f"the same file as {first}, of the other class"
        return LedgerRow(
            photo.source, photo.class_name, "ambiguous", reason, sha256=_checksum(photo)
        )
    original = rows[first]
    status, reason = ("duplicate", "") if original.in_set else (original.status, original.reason)
    reason = f"the same file as {first}" + (f": {reason}" if reason else "")
    return replace(
        original,
        source=photo.source,
        class_name=photo.class_name,
        status=status,
        reason=reason,
        image="",
    )


def _checksum(photo: Photo) -> str:
    try:
        return hashlib.sha256(photo.path.read_bytes()).hexdigest()
    except OSError:
        return ""


def _is_same(earlier: LedgerRow, row: LedgerRow) -> bool:
    """Whether an earlier row is of the same bytes, for the same class (another `--map` gives another) and with the same detector."""
    return (earlier.sha256, earlier.class_name, earlier.detector) == (
        row.sha256,
        row.class_name,
        row.detector,
    )


def _is_whole(row: LedgerRow) -> bool:
    """Whether a row of the old set says all that working on the photo again would; of copies and left-out photos it does not."""
    return (
        row.in_set
        or row.status in ("no_face", "unreadable")
        or (row.status == "ambiguous" and bool(row.phash))
    )


@contextmanager
def _side_by_side(workers: int) -> Iterator[None]:
    """Let the networks of several workers compute each on its own: those that each take all cores wait for each other."""
    if workers == 1:
        yield
        return
    from maskyolo.backends.openvino import unpinned

    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with unpinned():
            yield
    finally:
        cv2.setNumThreads(before)


def _read_journal(path: Path, settings: dict[str, object]) -> dict[str, LedgerRow]:
    """Return the rows an interrupted run with the same settings left, by source; a last line cut short is left out."""
    rows: dict[str, LedgerRow] = {}
    if not path.is_file():
        return rows
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
    if lines and lines[0] == json.dumps(settings):
        for line in lines[1:]:
            row = LedgerRow.from_dict(json.loads(line))
            rows[row.source] = row
    return rows


def _slug(stem: str) -> str:
    """Make a file name part that every system and tool takes: ASCII letters, digits and hyphens, at most 60."""
    ascii_stem = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9]+", "-", ascii_stem).strip("-")[:60] or "photo"


def _benchmark(folders: Sequence[Path | str], workers: int) -> dict[str, str]:
    """Return the pictures of folders that the set must keep away from: perceptual hash to file.

    Raises:
        DatasetError: no such folder, or no pictures in it.
        ImageError: a picture that cannot be read, and so cannot be kept away from.
    """
    hashes: dict[str, str] = {}
    with ThreadPoolExecutor(workers) as pool:
        for folder in map(Path, folders):
            pictures = list_images(folder)
            if not pictures:
                raise DatasetError(f"no pictures to exclude in {folder}; give a folder of pictures")
            for path, (phash, _) in zip(
                pictures,
                pool.map(lambda path: perceptual_hashes(read_image(path)), pictures),
                strict=True,
            ):
                hashes.setdefault(phash, f"{folder.name}/{path.relative_to(folder).as_posix()}")
    return hashes


def _settle(
    rows: Iterable[LedgerRow],
    photos: Sequence[Photo],
    shares: dict[str, float],
    seed: int,
    benchmark: Mapping[str, str],
    corrected: Mapping[str, str],
) -> list[LedgerRow]:
    """Set aside originals of made photos and what is near a benchmark, number the groups of near-copies, and deal out the splits.

    A made photo is in one group with its original and the near-copies of that, whether the original is here or not.
    """
    settled = list(rows)
    origins = {photo.source: photo.origin for photo in photos if photo.origin}
    made = [
        (origins[row.source], row.source) for row in settled if row.in_set and row.source in origins
    ]
    masked = {origin.sha256: source for origin, source in made if origin.left_out}
    hashed = [place for place, row in enumerate(settled) if row.phash]
    hashes, mirrored = (
        [settled[place].phash for place in hashed],
        [settled[place].phash_mirrored for place in hashed],
    )
    near = {
        hashed[one]: other
        for one, other in reversed(near_copies(hashes, mirrored, to=list(benchmark)).tolist())
    }
    for place, row in enumerate(settled):
        if row.in_set and row.sha256 in masked and row.source not in origins:
            reason = f"{masked[row.sha256]} is the same photo with a drawn mask"
            settled[place] = replace(row, status="original", reason=reason, image="")
        elif place in near and (row.in_set or row.status == "duplicate"):
            reason = f"near-copy of {list(benchmark.values())[near[place]]}"
            settled[place] = replace(row, status="excluded", reason=reason, image="")
    originals = {origin.sha256: origin.phash for origin in origins.values()}
    numbers = {sha256: len(hashed) + number for number, sha256 in enumerate(originals)}
    links = [
        (number, numbers[origins[settled[place].source].sha256])
        for number, place in enumerate(hashed)
        if settled[place].source in origins
    ]
    groups = group_near_copies(
        [*hashes, *originals.values()], [*mirrored, *originals.values()], links=links
    )
    for place, group in zip(hashed, groups[: len(hashed)], strict=True):
        settled[place] = replace(settled[place], group=int(group))
    kept = [place for place, row in enumerate(settled) if row.in_set]
    wanted = {photo.source: photo.split for photo in photos if photo.split} | dict(corrected)
    fixed: dict[int, str] = {}
    for row in sorted(
        (settled[place] for place in kept), key=lambda row: row.source not in corrected
    ):  # corrected ones come first
        if wanted.get(row.source) in shares:
            fixed.setdefault(row.group, wanted[row.source])
    rows_kept = [settled[place] for place in kept]
    strata = [(row.class_name, row.size) for row in rows_kept]
    splits = assign_splits(
        [row.group for row in rows_kept],
        strata,
        shares,
        seed,
        [row.source for row in rows_kept],
        fixed,
    )
    for place, split in zip(kept, splits, strict=True):
        image = settled[place].image.replace("images/", f"images/{split}/", 1)
        settled[place] = replace(settled[place], split=split, image=image)
    return settled
