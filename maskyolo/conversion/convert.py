"""Turn photos into a YOLO data set: face boxes, their classes, and splits without near-copies.

The path of one photo: `find_photos` lists it with its folder's class. `Labeler.process` decodes it,
finds its faces, decides their classes, and writes image and label into the working folder. When all
are done, `settle` sets aside what must not be in the set and assigns the others to the splits, and
the working folder becomes the data set (see `maskyolo.workfolder`). The ledger has a row for each
photo.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import threading
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import yaml

from maskyolo.boxes import as_boxes, clip_boxes
from maskyolo.bystanders import decide_faces
from maskyolo.conversion.options import KEEP, ConvertOptions
from maskyolo.core.choices import Bystanders
from maskyolo.core.classes import CLASS_NAMES, SPLITS, class_of, plain_name
from maskyolo.core.files import sha256_if_readable, sha256_of, walk_files, write_atomic
from maskyolo.core.options import takes_options
from maskyolo.core.parallel import map_ahead, usable_cpus
from maskyolo.dataset import format_data_yaml, list_images
from maskyolo.errors import DatasetError, ImageError, OutputError, output_errors
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
from maskyolo.subject import Decision, blank_out
from maskyolo.workfolder import (
    JOURNAL,
    SETTINGS,
    SHEETS,
    arrange,
    claim,
    flatten,
    foreign_file,
    is_taken,
    locked,
    publish,
    recover,
    working_folder,
)

if TYPE_CHECKING:
    import supervision as sv

__all__ = ["Conversion", "Photo", "convert_dataset", "convert_photos", "find_photos", "labels_of"]

#: The warning threshold for lost photos, in standard errors of the difference between the classes
#: (a two-proportion z-test; p below 0.003), and the smallest difference that matters.
_UNEVEN, _MIN_DIFFERENCE = 3.0, 0.01
_LOST = ("no_face", "ambiguous", "unreadable")
#: Longer side of the image that our own mask detector gets, and what both sides are multiples of,
#: in pixels. The network is compiled per shape, which takes as long as ten photos; this way there
#: are only nine shapes.
_JUDGE_SIDE, _JUDGE_STEP = 640, 128

_LITTER = {"thumbs.db", "desktop.ini", SYNTHESIS}
#: Names of the files in the working folder's `images` and `labels`; see `Labeler` and `scenes`.
_WORK_NAMES = r"(.+_[0-9a-f]{8}|scene_\d{5,})\.(jpg|png|txt)"


@dataclass(frozen=True)
class Photo:
    """A photo to convert.

    Attributes:
        path: the file.
        source: its path relative to the source folder, with forward slashes; the ledger names the
            photo by it.
        class_name: what its folder stands for. For a photo with given labels: the class of its
            largest face, empty if it has none.
        labels: boxes in pixels of the upright image, if the source has them; they are used as they
            are, and no faces are searched for. None for a photo of a class folder.
        origin: the photo it was made from, if `synthesize` made it.
        split: train, val or test, if the source specifies it. Near-copies of one another all go to
            the split of the first of them.
        status: a status of the ledger, if the photo is already known to be unusable; else empty.
        reason: why, or other remarks of the source, for the ledger.
        annotated: whether its source says which faces it shows; False only for images of an
            annotated set that have no annotation.
    """

    path: Path
    source: str
    class_name: str
    labels: Labels | None = None
    origin: Origin | None = None
    split: str = ""
    status: str = ""
    reason: str = ""
    annotated: bool = True


@dataclass(frozen=True)
class Conversion:
    """The result of `convert_dataset`.

    Attributes:
        folder: the data set.
        rows: the ledger, in order of the sources.
        scenes: number of composed scenes among the training images.
        pairs: number of pairs of near-copies in the set.
        leaks: number of these pairs that are in different splits; 0 unless photos were corrected.
        random_leaks: number of pairs that a plain random split would have separated, on average.
        gone: rows of the previous set whose photos are no longer in the source; they left the set.
        names: class names by id.
        unannotated: sources of the photos that were left out because they have no annotation.
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
        """Return a warning if one class lost a larger share of its photos than the other, or "".

        Photos without a face, with an unknown class, or damaged are lost. Losses are seldom random:
        they may be all profiles, or all dark masks, which the detector then never sees.
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
            f"{lost[less]} of {totals[less]} ({rates[less]:.1%}); what is missing may be of one "
            f"kind: look at {self.folder / SHEETS}"
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

    In photos of class folders, faces are detected. Pascal VOC, COCO and YOLO sets come with boxes,
    which are used (see `maskyolo.gather`). Work in progress is in `OUT.part`, which becomes `out`
    when everything is done; after an interruption, even a kill, the same call continues where it
    stopped.

    Args:
        source: one or several folders that contain `with_mask` and `without_mask` (see
            `class_of` for other spellings) at any depth; Pascal VOC folders; COCO files or folders;
            YOLO sets, by `data.yaml` or folder.
        out: output folder; it must not exist or be empty, unless `update` is set.
        options: the options as one object.
        on_progress: called with the number of photos and scenes done and their total number.
        settings: fields of `ConvertOptions`; they override `options`.

    Raises:
        DatasetError: there are no photos, a class has no photos or no faces, a folder is no known
            class, or the splits are not shares of a whole.
        OutputError: `out` exists or cannot be written, or `OUT.part` contains files that are not of
            an interrupted conversion.
        WeightsError: the face detector's weights are missing or wrong.

    Example:
        >>> made = convert_dataset("photos", "data/mask", seed=3)  # doctest: +SKIP
        >>> made.counts()["with_mask"]["kept"]  # doctest: +SKIP
        1915
    """
    # imports this module
    from maskyolo.gather import gather_photos

    chosen = ConvertOptions.merge(options, settings)
    photos, names = gather_photos(
        [source] if isinstance(source, (str, Path)) else list(source),
        chosen.format,
        chosen.class_map,
        chosen.image_list,
        keep_splits=chosen.splits == KEEP,
    )
    return convert_photos(photos, out, chosen, names=names, on_progress=on_progress)


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
    """Convert photos from anywhere; errors are those of `convert_dataset`.

    Photos that come with labels keep them (detector and origin `given`); in the others, faces are
    detected.

    Args:
        photos: the photos; each `source` must occur only once.
        out: output folder, as for `convert_dataset`.
        options: the options as one object; `format`, `image_list` and `class_map` have no effect.
        names: the names of the classes that labels may have, by id.
        on_progress: called with the number of photos and scenes done and their total number.
        settings: fields of `ConvertOptions`; they override `options`.
    """
    # imports this module
    from maskyolo.gather import own_splits

    chosen = ConvertOptions.merge(options, settings)
    out, part = working_folder(out)
    splits = own_splits(photos) if isinstance(chosen.splits, str) else chosen.splits
    shares = {split: share for split, share in zip(SPLITS, splits, strict=True) if share > 0}
    workers = chosen.workers or usable_cpus() + 1

    def load() -> FaceDetector:
        return load_face_detector(
            chosen.detector, chosen.weights, chosen.conf, cross_check=chosen.cross_check
        )

    def report(done: int) -> None:
        if on_progress:
            on_progress(done, len(photos) + chosen.scenes)

    facts = _settings(chosen, load().name)  # loaded now, so that errors come before any work
    with output_errors(part), locked(part):
        recover(part, out)
        old = _read_previous(out, facts, names, chosen.update)
        benchmark = hash_benchmark(chosen.exclude or (), workers)
        claim(part, "convert", ("images", "labels"), _WORK_NAMES)
        flatten(part)
        labeler = Labeler(part, facts, old, chosen.bystanders, names)
        rows = labeler.process_all(photos, load, workers, report)
        rows = settle(rows, photos, shares, chosen.seed, benchmark, old.splits())
        write_ledger(part / "ledger.csv", rows)
        _check_classes(rows, part / "ledger.csv")
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
    """Return the settings that a photo's row depends on; with other ones it is converted again."""
    asked = options.bystanders is Bystanders.DETECTOR or MaskJudge.name in finder
    return {
        "version": 5,
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
        OutputError: `out` exists and is not to be, or cannot be, updated.
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


def _check_classes(rows: Sequence[LedgerRow], ledger: Path) -> None:
    """Raise DatasetError if a class is nowhere in the set."""
    for name in CLASS_NAMES:
        if not any(row.in_set and name in row.classes for row in rows):
            raise DatasetError(
                f"no face found in any '{name}' photo; {ledger} gives the reason for each",
                "correct the photos",
            )


def _compose_scenes(
    rows: Sequence[LedgerRow],
    part: Path,
    options: ConvertOptions,
    names: Sequence[str],
    workers: int,
    report: Callable[[int], None],
) -> list[tuple[str, str]]:
    """Write scenes made of the training photos; return their file names and split."""
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
    pairs = near_copies([row.phash for row in kept], [row.phash_mirrored for row in kept])
    sources = {photo.source for photo in photos}
    unannotated = {photo.source for photo in photos if not photo.annotated}
    return Conversion(
        out,
        rows,
        scenes,
        pairs=len(pairs),
        leaks=sum(kept[one].split != kept[other].split for one, other in pairs),
        random_leaks=random_leaks(len(pairs), Counter(row.split for row in kept).values()),
        gone=[row for row in old.rows.values() if row.source not in sources],
        names=names,
        unannotated=frozenset(
            row.source for row in rows if row.source in unannotated and row.status == "excluded"
        ),
    )


def find_photos(
    source: Path | str, class_map: Mapping[str, str] | None = None, both: bool = True
) -> list[Photo]:
    """List the files of all class folders below `source`, sorted.

    Folders inside a class folder belong to its class. Links to folders are followed. A folder that
    cannot be read, and a broken link, are listed as `unreadable`.

    Args:
        source: the folder that contains the class folders.
        class_map: further folder names and what each stands for: a class, or ignore (or drop) for a
            folder to leave out.
        both: whether it is an error if one of the two classes has no photos.

    Raises:
        DatasetError: there is no such folder, it has no class folders, a class has no files, or a
            folder with files is no known class.
    """
    source = Path(source)
    if not source.is_dir():
        raise DatasetError(
            f"no folder {source}", "give the folder that contains with_mask and without_mask"
        )
    known = {plain_name(folder): name for folder, name in (class_map or {}).items()}
    for name in known.values():
        if name not in CLASS_CHOICES:
            raise DatasetError(
                f"unknown class '{name}' in the class map",
                f"choose one of {', '.join(CLASS_CHOICES)}",
            )
    origins = read_origins(source)
    photos, unknown = [], Counter[str]()
    for path, reason in _list_files(source):
        relative = path.relative_to(source)
        if path.name.lower() in _LITTER or any(part.startswith(".") for part in relative.parts):
            continue
        folders = relative.parts if path.is_dir() else relative.parts[:-1]
        class_name = _class_of_folders(folders, known)
        if not class_name:
            unknown[Path(*folders).as_posix()] += 1
        elif class_name in CLASS_NAMES:
            photos.append(
                Photo(
                    path,
                    relative.as_posix(),
                    class_name,
                    origin=origins.get(relative.as_posix()),
                    status="unreadable" if reason else "",
                    reason=reason,
                )
            )
    _check_folders(source, photos, unknown, CLASS_NAMES if both else ())
    return photos


def _list_files(source: Path) -> list[tuple[Path, str]]:
    """List all files below a folder, sorted, each with the reason why it cannot be read, or ""."""
    reasons: dict[Path, str] = {}

    def unreadable(folder: Path, error: OSError) -> None:
        reasons[folder] = f"folder not read: {(error.strerror or str(error)).lower()}"

    found = list(walk_files(source, unreadable))
    for path in found:
        if not path.is_file():
            reasons[path] = "a link to nothing" if path.is_symlink() else "not a file"
    return [(path, reasons.get(path, "")) for path in sorted({*found, *reasons})]


def _class_of_folders(folders: Sequence[str], known: Mapping[str, str]) -> str:
    """Return what the outermost folder with a meaning stands for; empty if there is none."""
    for folder in folders:
        name = known.get(plain_name(folder)) or class_of(folder)
        if name not in ("", "keep"):
            return name
    return ""


def _check_folders(
    source: Path, photos: Sequence[Photo], unknown: Counter[str], wanted: Sequence[str]
) -> None:
    """Raise DatasetError if there are no photos, unknown folders, or a wanted class is missing."""
    if not photos:
        places = ", ".join(sorted(unknown)[:5]) or "nothing"
        raise DatasetError(
            f"no class folders in {source}: found files in {places}",
            "sort the photos into with_mask and without_mask",
        )
    # loose files next to the class folders, such as a README, are not photos
    folder = next((folder for folder in unknown if folder != "."), None)
    if folder is not None:
        raise DatasetError(
            f"unknown class folder '{folder}' in {source} ({unknown[folder]} files)",
            f"say what it stands for with --map {folder.split('/')[-1]}=CLASS, where CLASS is "
            "with_mask, without_mask or ignore",
        )
    for name in wanted:
        if not any(photo.class_name == name for photo in photos):
            raise DatasetError(
                f"class '{name}' has no photos in {source}", "a detector needs both classes"
            )


def labels_of(row: LedgerRow, names: Sequence[str] = CLASS_NAMES) -> Labels:
    """Return what a row's label file contains: its boxes, without those that are blanked out.

    Args:
        row: a row of the ledger.
        names: the names of the classes, by id.
    """
    learned = [place for place, name in enumerate(row.classes) if name != IGNORE_CLASS]
    class_ids = np.array([names.index(row.classes[place]) for place in learned], dtype=np.int64)
    return Labels(as_boxes([row.boxes[place] for place in learned]), class_ids)


@dataclass(frozen=True)
class PreviousSet:
    """The set that an update replaces.

    Attributes:
        folder: the data set.
        rows: its rows by source, including what people corrected since.
        same_settings: whether it was made with the same settings.
    """

    folder: Path = Path()
    rows: dict[str, LedgerRow] = field(default_factory=dict)
    same_settings: bool = False

    @classmethod
    def read(
        cls, folder: Path, settings: Mapping[str, object], names: Sequence[str]
    ) -> PreviousSet:
        """Read the ledger and all label files of a set.

        A label file that differs from the ledger is a correction.

        Raises:
            OutputError: the folder contains files that are not in the ledger, and would be lost.
            DatasetError: a corrected photo has a face of a class that is not in `names`, or the
                ledger or a label file cannot be read.
        """
        rows = {row.source: row for row in read_ledger(folder / "ledger.csv")}
        stranger = foreign_file(folder, [row.image for row in rows.values() if row.in_set])
        if stranger:
            raise OutputError(
                f"cannot update {folder}: {stranger} is not in its ledger and would be lost",
                "move it elsewhere first",
            )
        own_names = _names_of(folder) or tuple(names)
        rows = {source: _with_edits(row, folder, own_names) for source, row in rows.items()}
        for row in rows.values():
            lost = set(row.classes) - {*names, IGNORE_CLASS}
            if lost and row.status == "corrected" and row.in_set:
                raise DatasetError(
                    f"{row.source} in {folder} was corrected and has faces of class "
                    f"'{min(lost)}', which is no longer kept"
                )
        try:
            used = yaml.safe_load((folder / SETTINGS).read_text(encoding="utf-8"))["settings"]
        except (OSError, yaml.YAMLError, KeyError, TypeError):
            used = None
        return cls(folder, rows, used == settings)

    def has_image(self, row: LedgerRow) -> bool:
        """Return whether a row's image exists, if it should: someone may have deleted it."""
        return not row.in_set or (self.folder / row.image).is_file()

    def splits(self) -> dict[str, str]:
        """Return the splits of the corrected photos by source."""
        return {
            row.source: row.split
            for row in self.rows.values()
            if row.status == "corrected" and row.in_set
        }


def _with_edits(row: LedgerRow, folder: Path, names: Sequence[str]) -> LedgerRow:
    """Return a row of the set in `folder` as corrected, if its label file was edited by hand."""
    label = (folder / row.image.replace("images/", "labels/", 1)).with_suffix(".txt")
    if not row.in_set or not label.is_file():
        return row
    written = format_yolo(labels_of(row, names), row.width, row.height)
    if label.read_text(encoding="utf-8") == written:
        return row
    found = read_yolo(label, row.width, row.height, len(names))
    blanked = [
        box for box, name in zip(row.boxes, row.classes, strict=True) if name == IGNORE_CLASS
    ]
    classes = [names[class_id] for class_id in found.class_ids] + [IGNORE_CLASS] * len(blanked)
    corrected = row.status == "corrected"
    reason = row.reason if corrected else "its label file was changed by hand"
    return row.corrected([*found.boxes.tolist(), *blanked], classes, reason)


def _names_of(folder: Path) -> tuple[str, ...]:
    """Return the class names of a set by id, from its `data.yaml`; empty if it cannot be read."""
    try:
        names = yaml.safe_load((folder / "data.yaml").read_text(encoding="utf-8"))["names"]
        return tuple(str(names[number]) for number in range(len(names)))
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError):
        return ()


class MaskJudge:
    """Our own mask detector, loaded for the first photo that needs it and shared by all threads."""

    name = "maskyolo-n-folders"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._detector: Callable[[ImageArray], sv.Detections] | None = None

    @classmethod
    def checksum(cls) -> str:
        """Return the SHA-256 of its weights: with other weights, an update decides again."""
        from maskyolo.yolo import find_model

        return sha256_of(find_model(cls.name))

    def __call__(self, image: ImageArray) -> sv.Detections:
        """Detect faces with and without a mask in a BGR image, uint8 (H, W, 3).

        Detections from a confidence of 0.1 are returned, in pixels of the image.
        """
        from maskyolo.yolo import letterbox, load_detector, network_shape

        with self._lock:
            if self._detector is None:
                # fp32: the same boxes on every machine; two threads at once, a core each
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


class Labeler:
    """Turns photos into rows, images and labels in the working folder."""

    def __init__(
        self,
        part: Path,
        settings: dict[str, object],
        old: PreviousSet,
        bystanders: Bystanders,
        names: tuple[str, ...],
    ) -> None:
        self._part = part
        self._settings = settings
        self._old = old
        self._bystanders = bystanders
        self._names = names
        self._judge = MaskJudge()
        self._done: dict[str, LedgerRow] = {}

    def process_all(
        self,
        photos: Sequence[Photo],
        load: Callable[[], FaceDetector],
        workers: int,
        report: Callable[[int], None],
    ) -> list[LedgerRow]:
        """Process the photos in parallel, with a line in the journal for each.

        Args:
            photos: the photos.
            load: loads a face detector.
            workers: number of threads, each with its own detector.
            report: called with the number of photos done.

        Returns:
            The rows, in order of the photos.
        """
        self._done = _read_journal(self._part / JOURNAL, self._settings)
        detectors: SimpleQueue[FaceDetector] = SimpleQueue()
        with _side_by_side(workers):
            for _ in range(workers):  # cv2.dnn networks cannot be shared between threads
                detectors.put(load())

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
            # at once, so that a second interruption loses nothing either
            for row in self._done.values():
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
        """Decode a photo, find its faces, write image and label; return its row so far.

        Work of an interrupted run, and of the previous set, is reused where it still holds.
        """
        row = LedgerRow(
            photo.source,
            photo.class_name,
            photo.status or "unreadable",
            photo.reason,
            detector=detector.name if photo.labels is None else "given",
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
        row = replace(row, sha256=sha256_of(data))
        if photo.labels is None and (known := self._known(row, before)):
            return known
        try:
            image = decode_image(data, photo.source)
        except ImageError as error:
            return replace(row, reason=str(error))
        return self._label(photo, row, data, image, detector)

    def _known(self, row: LedgerRow, before: LedgerRow | None) -> LedgerRow | None:
        """Return the row of the interrupted run or of the previous set, if it still holds."""
        earlier = self._done.get(row.source)
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
            and self._old.has_image(before)
        ):
            return self._take_over(before)
        return None

    def _label(
        self, photo: Photo, row: LedgerRow, data: bytes, image: ImageArray, detector: FaceDetector
    ) -> LedgerRow:
        """Label a decoded photo whose file is `data`; complete its row and write its files."""
        height, width = image.shape[:2]
        phash, mirrored = perceptual_hashes(image)
        faces, decision = self._decide(photo, image, detector)
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
        blanked = decision.class_ids == IGNORE
        if blanked.any():
            image = blank_out(image, faces.boxes[blanked], faces.boxes[~blanked])
        suffix = ".png" if data.startswith(b"\x89PNG") else ".jpg"
        # a plain image is copied byte for byte; others would not look the same to every program
        if blanked.any() or not is_plain_rgb(data):
            suffix = ".jpg"
            data = cv2.imencode(suffix, image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
        row = replace(row, status="kept", image=f"images/{_file_stem(photo)}{suffix}")
        self._write(row, data)
        return row

    def _decide(
        self, photo: Photo, image: ImageArray, detector: FaceDetector
    ) -> tuple[Faces, Decision]:
        """Find the faces of a photo and decide their classes; given labels stay as they are."""
        if photo.labels is None:
            faces = detector.detect(image)
            faces = replace(faces, origins=faces.origins or (detector.name,) * len(faces))
            class_id = CLASS_NAMES.index(photo.class_name)
            return decide_faces(image, faces, class_id, self._bystanders, self._judge)
        count = len(photo.labels)
        faces = Faces(photo.labels.boxes, np.ones(count, dtype=np.float32), ("given",) * count)
        return faces, Decision(photo.labels.class_ids, ("given",) * count, photo.reason)

    def _write(self, row: LedgerRow, data: bytes) -> None:
        label = Path(row.image).with_suffix(".txt").name
        write_atomic(
            self._part / "labels" / label,
            format_yolo(labels_of(row, self._names), row.width, row.height),
        )
        # the image last: wherever there is an image, there is its label
        write_atomic(self._part / row.image, data)

    def _take_over(self, before: LedgerRow) -> LedgerRow:
        """Copy a photo of the previous set into the working folder."""
        image = f"images/{Path(before.image).name}" if before.in_set else ""
        row = replace(before, image=image, split="", group=-1)
        if row.in_set:
            if not self._old.has_image(before):
                raise DatasetError(
                    f"{self._old.folder / before.image} is gone, whose labels a person corrected",
                    f"put it back, or remove the line of {before.source} from "
                    f"{self._old.folder / 'ledger.csv'} to have it converted again",
                )
            self._write(row, (self._old.folder / before.image).read_bytes())
        return row

    def _exact_copies(
        self, photos: Sequence[Photo], pool: ThreadPoolExecutor
    ) -> dict[str, tuple[str, bool]]:
        """Find photos that are the same file as an earlier one.

        If the same file is in both classes, none of its copies is used, unless a person corrected
        one of them.

        Returns:
            By source: the source of the earlier photo, and whether their classes differ.
        """
        corrected = {row.source for row in self._old.rows.values() if row.status == "corrected"}
        whole = [photo for photo in photos if not photo.status]
        checksums = pool.map(sha256_if_readable, [photo.path for photo in whole])
        by_content: dict[str, list[Photo]] = {}
        for photo, checksum in zip(whole, checksums, strict=True):
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
    """Return the row of a photo that is the same file as the one with source `first`.

    `torn` says that their classes differ.
    """
    if torn:
        reason = f"the same file as {first}, of the other class"
        checksum = sha256_if_readable(photo.path)
        return LedgerRow(photo.source, photo.class_name, "ambiguous", reason, sha256=checksum)
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


def _is_same(earlier: LedgerRow, row: LedgerRow) -> bool:
    """Return whether an earlier row is of the same bytes, with the same class and detector.

    Another `--map` gives a photo another class.
    """
    return (earlier.sha256, earlier.class_name, earlier.detector) == (
        row.sha256,
        row.class_name,
        row.detector,
    )


def _is_whole(row: LedgerRow) -> bool:
    """Return whether a row of the previous set says all that processing the photo would.

    Rows of copies and of photos that were left out do not.
    """
    return (
        row.in_set
        or row.status in ("no_face", "unreadable")
        or (row.status == "ambiguous" and bool(row.phash))
    )


@contextmanager
def _side_by_side(workers: int) -> Iterator[None]:
    """Make the networks of several workers use one core each.

    If each used all cores, they would wait for one another.
    """
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
    """Return the rows that an interrupted run with the same settings left, by source.

    An incomplete last line is left out.
    """
    rows: dict[str, LedgerRow] = {}
    if not path.is_file():
        return rows
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
    if lines and lines[0] == json.dumps(settings):
        for line in lines[1:]:
            row = LedgerRow.from_dict(json.loads(line))
            rows[row.source] = row
    return rows


def _file_stem(photo: Photo) -> str:
    """Return a name for a photo's files: its class, its name, and a checksum of its source."""
    class_name = photo.class_name
    if class_name not in CLASS_NAMES:
        class_name = _slug(class_name or "background")
    return f"{class_name}_{_slug(photo.path.stem)}_{sha256_of(photo.source.encode())[:8]}"


def _slug(stem: str) -> str:
    """Return a file name part that every system and tool accepts.

    It has at most 60 characters: ASCII letters, digits and hyphens.
    """
    ascii_stem = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9]+", "-", ascii_stem).strip("-")[:60] or "photo"


def hash_benchmark(folders: Sequence[Path | str], workers: int) -> dict[str, str]:
    """Return the images of folders that the set must keep away from: file by perceptual hash.

    Raises:
        DatasetError: there is no such folder, or no images in it.
        ImageError: an image cannot be read, and so cannot be kept away from.
    """
    hashes: dict[str, str] = {}
    with ThreadPoolExecutor(workers) as pool:
        for folder in map(Path, folders):
            images = list_images(folder)
            if not images:
                raise DatasetError(f"no images to exclude in {folder}", "give a folder of images")
            found = pool.map(lambda path: perceptual_hashes(read_image(path)), images)
            for path, (phash, _) in zip(images, found, strict=True):
                hashes.setdefault(phash, f"{folder.name}/{path.relative_to(folder).as_posix()}")
    return hashes


def settle(
    rows: Sequence[LedgerRow],
    photos: Sequence[Photo],
    shares: Mapping[str, float],
    seed: int,
    benchmark: Mapping[str, str],
    corrected: Mapping[str, str],
) -> list[LedgerRow]:
    """Decide which photos are in the set and in which split.

    Originals of synthesized photos and near-copies of a benchmark are set aside. The groups of
    near-copies are numbered, and each group is assigned to one split.

    Args:
        rows: the rows of all photos, in the same order as `photos`.
        photos: the photos.
        shares: the share of each split that is not empty.
        seed: of the splits.
        benchmark: files to keep away from, by perceptual hash.
        corrected: splits of the photos that people corrected, by source; these stay.

    Returns:
        The rows with their final status, group, image and split.
    """
    origins = {photo.source: photo.origin for photo in photos if photo.origin}
    wanted = {photo.source: photo.split for photo in photos if photo.split} | dict(corrected)
    settled = _set_aside(rows, origins, benchmark)
    settled = _number_groups(settled, origins)
    kept = [place for place, row in enumerate(settled) if row.in_set]
    in_set = [settled[place] for place in kept]
    splits = assign_splits(
        [row.group for row in in_set],
        [(row.class_name, row.size) for row in in_set],
        dict(shares),
        seed,
        [row.source for row in in_set],
        _fixed_groups(in_set, shares, wanted, corrected),
    )
    for place, split in zip(kept, splits, strict=True):
        image = settled[place].image.replace("images/", f"images/{split}/", 1)
        settled[place] = replace(settled[place], split=split, image=image)
    return settled


def _set_aside(
    rows: Sequence[LedgerRow], origins: Mapping[str, Origin], benchmark: Mapping[str, str]
) -> list[LedgerRow]:
    """Take originals of masked copies, and near-copies of a benchmark, out of the set."""
    masked = {
        origins[row.source].sha256: row.source
        for row in rows
        if row.in_set and row.source in origins and origins[row.source].left_out
    }
    near = _near_benchmark(rows, benchmark)
    settled = []
    for place, row in enumerate(rows):
        if row.in_set and row.sha256 in masked and row.source not in origins:
            reason = f"{masked[row.sha256]} is the same photo with a drawn mask"
            row = replace(row, status="original", reason=reason, image="")
        elif place in near and (row.in_set or row.status == "duplicate"):
            row = replace(row, status="excluded", reason=f"near-copy of {near[place]}", image="")
        settled.append(row)
    return settled


def _near_benchmark(rows: Sequence[LedgerRow], benchmark: Mapping[str, str]) -> dict[int, str]:
    """Return the places of rows that are near-copies of a benchmark's file, and that file."""
    hashed = [place for place, row in enumerate(rows) if row.phash]
    pairs = near_copies(
        [rows[place].phash for place in hashed],
        [rows[place].phash_mirrored for place in hashed],
        to=list(benchmark),
    )
    files = list(benchmark.values())
    # reversed, so that the first of several near-copies is named
    return {hashed[one]: files[other] for one, other in reversed(pairs.tolist())}


def _number_groups(rows: Sequence[LedgerRow], origins: Mapping[str, Origin]) -> list[LedgerRow]:
    """Number the groups of near-copies.

    A synthesized photo is in one group with its original and the near-copies of that, even if the
    original itself is not among the photos.
    """
    hashed = [place for place, row in enumerate(rows) if row.phash]
    originals = {origin.sha256: origin.phash for origin in origins.values()}
    numbers = {sha256: len(hashed) + number for number, sha256 in enumerate(originals)}
    links = [
        (number, numbers[origins[rows[place].source].sha256])
        for number, place in enumerate(hashed)
        if rows[place].source in origins
    ]
    groups = group_near_copies(
        [*(rows[place].phash for place in hashed), *originals.values()],
        [*(rows[place].phash_mirrored for place in hashed), *originals.values()],
        links=links,
    )
    numbered = list(rows)
    for place, group in zip(hashed, groups[: len(hashed)], strict=True):
        numbered[place] = replace(numbered[place], group=int(group))
    return numbered


def _fixed_groups(
    rows: Sequence[LedgerRow],
    shares: Mapping[str, float],
    wanted: Mapping[str, str],
    corrected: Mapping[str, str],
) -> dict[int, str]:
    """Return the split of each group in which a photo has a wanted split.

    Corrected photos take precedence, then the order of the rows.
    """
    fixed: dict[int, str] = {}
    for row in sorted(rows, key=lambda row: row.source not in corrected):
        if wanted.get(row.source) in shares:
            fixed.setdefault(row.group, wanted[row.source])
    return fixed
