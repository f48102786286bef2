"""Turn class folders of photos into a YOLO data set: face boxes from the SSD, one ledger row a photo, splits without near-copies.

One photo's way: `find_photos` lists it with its folder's class; `_process` decodes it, finds its faces and writes picture and
label into the working folder; when all are done, groups and splits are settled, and the working folder becomes the data set.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue

import cv2
import imagehash
import numpy as np
from PIL import Image

from maskyolo.boxes import as_boxes
from maskyolo.dataset import CLASS_NAMES, SPLITS, format_data_yaml
from maskyolo.errors import DatasetError, ImageError, OutputError, output_errors
from maskyolo.faces import FaceDetector, Faces, load_face_detector
from maskyolo.images import decode_image, is_plain_rgb, write_atomic
from maskyolo.labels import Labels, format_yolo
from maskyolo.ledger import LedgerRow, write_ledger
from maskyolo.origins import SYNTHESIS, Origin, read_origins
from maskyolo.scenes import write_scenes
from maskyolo.splits import assign_splits, group_near_copies

__all__ = ["CLASS_FOLDERS", "Conversion", "Photo", "convert_dataset", "convert_photos", "find_photos"]

#: Folder names that mean a class, compared without case, spaces and signs.
CLASS_FOLDERS: Mapping[str, str] = {
    **dict.fromkeys(("withmask", "mask", "masked", "with", "masks", "facemask"), "with_mask"),
    **dict.fromkeys(("withoutmask", "nomask", "unmasked", "without", "nonmask", "notmasked", "bare", "bareface"), "without_mask"),
}

_LITTER = {"thumbs.db", "desktop.ini", SYNTHESIS}
_JOURNAL = "journal.jsonl"


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
    """

    path: Path
    source: str
    class_name: str
    labels: Labels | None = None
    origin: Origin | None = None


@dataclass(frozen=True)
class Conversion:
    """What `convert_dataset` made.

    Attributes:
        folder: the data set.
        rows: the ledger, in order of the sources.
        scenes: number of composed scenes among the training pictures.
    """

    folder: Path
    rows: list[LedgerRow]
    scenes: int = 0

    @property
    def data(self) -> Path:
        """The set's `data.yaml`, to train with."""
        return self.folder / "data.yaml"

    def counts(self) -> dict[str, Counter[str]]:
        """Count the photos of each class by status."""
        return {name: Counter(row.status for row in self.rows if row.class_name == name) for name in CLASS_NAMES}


def convert_dataset(
    source: Path | str,
    out: Path | str,
    *,
    detector: str = "ssd",
    weights: Path | str | None = None,
    conf: float = 0.5,
    splits: Sequence[float] = (0.8, 0.1, 0.1),
    seed: int = 0,
    class_map: Mapping[str, str] | None = None,
    scenes: int = 0,
    workers: int = 2,
    on_progress: Callable[[int, int], None] | None = None,
) -> Conversion:
    """Convert a folder with one folder of photos per class into a YOLO data set with a ledger.

    Every face found in a photo gets the class of the photo's folder; photos with several faces say so in the ledger. Work goes
    to `OUT.part` and becomes `out` when all is done; after an interruption the same call goes on where it stopped.

    Args:
        source: folder with `with_mask` and `without_mask` (see `CLASS_FOLDERS` for other spellings), at any depth.
        out: folder to make; it must not exist or be empty.
        detector: one of `faces.FACE_DETECTORS`.
        weights: the detector's file or folder, if it is not where `manifest.find_weights` looks.
        conf: least score of a face.
        splits: shares of train, val and test; they sum to 1.
        seed: of the splits.
        class_map: further folder names and the class each means.
        scenes: number of training pictures to compose of the training photos' faces besides, see `maskyolo.scenes`.
        workers: photos worked on at once.
        on_progress: called with the number of photos and scenes done and the number of all.

    Raises:
        DatasetError: no photos, one class without photos or without faces, a folder that is no class, splits that are no shares.
        OutputError: `out` exists, or cannot be written.
        WeightsError: the face detector's weights are missing or wrong.
    """
    _shares(splits)  # the user's error, if any, comes before any work
    return convert_photos(
        find_photos(source, class_map),
        out,
        detector=detector,
        weights=weights,
        conf=conf,
        splits=splits,
        seed=seed,
        scenes=scenes,
        workers=workers,
        on_progress=on_progress,
    )


def convert_photos(
    photos: Sequence[Photo],
    out: Path | str,
    *,
    detector: str = "ssd",
    weights: Path | str | None = None,
    conf: float = 0.5,
    splits: Sequence[float] = (0.8, 0.1, 0.1),
    seed: int = 0,
    scenes: int = 0,
    workers: int = 2,
    on_progress: Callable[[int, int], None] | None = None,
) -> Conversion:
    """Convert photos from anywhere; arguments and errors are those of `convert_dataset`.

    Photos that come with labels keep these (status `kept`, detector `given`), in the others faces are looked for. Every `source`
    must be there once.
    """
    out = Path(out)
    shares = _shares(splits)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"cannot write the data set to {out}: it exists; choose another folder or remove it")
    load_face_detector(detector, weights, conf)  # before any work, too
    part = out.with_name(out.name + ".part")
    with output_errors(part):
        if (part / "images.all").exists():  # interrupted in its last second, while files were being moved
            shutil.rmtree(part)
        for kind in ("images", "labels"):
            (part / kind).mkdir(parents=True, exist_ok=True)
        settings = {"detector": detector, "conf": conf, "version": 1}
        total = len(photos) + scenes

        def report(done: int) -> None:
            if on_progress:
                on_progress(done, total)

        rows = _process_all(photos, part, settings, lambda: load_face_detector(detector, weights, conf), workers, report)
        rows = _settle(rows, shares, seed, {photo.source: photo.origin for photo in photos if photo.origin})
        write_ledger(part / "ledger.csv", rows)
        for name in CLASS_NAMES:
            if not any(row.status == "kept" and name in row.classes for row in rows):
                raise DatasetError(f"no face found in any '{name}' photo; {part / 'ledger.csv'} says why for each; correct the photos")
        if scenes:
            train = [(part / "images" / Path(row.image).name, _labels_of(row)) for row in rows if row.split == "train"]
            write_scenes(
                train,
                part / "images",
                part / "labels",
                scenes,
                seed=seed,
                workers=workers,
                on_progress=lambda done: report(len(rows) + done),
            )
        _arrange(part, rows, shares)
        write_atomic(part / "data.yaml", format_data_yaml(out, list(shares)))
        if out.is_dir():
            out.rmdir()
        part.replace(out)
    return Conversion(out, rows, scenes)


def find_photos(source: Path | str, class_map: Mapping[str, str] | None = None) -> list[Photo]:
    """List the files of all class folders below `source`, sorted; folders inside a class folder belong to its class.

    Raises:
        DatasetError: no such folder, no class folders, a class without files, or a folder of files that is no class.
    """
    source = Path(source)
    if not source.is_dir():
        raise DatasetError(f"no folder {source}; give the folder that has with_mask and without_mask in it")
    known = {**CLASS_FOLDERS, **{_plain(folder): name for folder, name in (class_map or {}).items()}}
    wrong = [name for name in known.values() if name not in (*CLASS_NAMES, "ignore")]
    if wrong:
        raise DatasetError(f"unknown class '{wrong[0]}' in the class map; choose from {', '.join(CLASS_NAMES)}, ignore")
    photos, unknown, origins = [], Counter[str](), read_origins(source)
    for path in sorted(source.rglob("*")):
        relative = path.relative_to(source)
        if not path.is_file() or path.name.lower() in _LITTER or any(part.startswith(".") for part in relative.parts):
            continue
        classes = [known[_plain(folder)] for folder in relative.parts[:-1] if _plain(folder) in known]
        if not classes:
            unknown[relative.parent.as_posix()] += 1
        elif classes[0] != "ignore":
            name = relative.as_posix()
            photos.append(Photo(path, name, classes[0], origin=origins.get(name)))
    if not photos:
        found = ", ".join(sorted(unknown)[:5]) or "nothing"
        raise DatasetError(f"no class folders in {source}: found files in {found}; sort the photos into with_mask and without_mask")
    folders = [folder for folder in unknown if folder != "."]  # loose files beside the class folders, such as a README, are no photos
    if folders:
        raise DatasetError(
            f"unknown class folder '{folders[0]}' in {source} ({unknown[folders[0]]} files); say what it is with "
            f"--map {folders[0].split('/')[-1]}=CLASS, where CLASS is with_mask, without_mask or ignore"
        )
    for name in CLASS_NAMES:
        if not any(photo.class_name == name for photo in photos):
            raise DatasetError(f"class '{name}' has no photos in {source}; a detector needs both classes")
    return photos


def _shares(splits: Sequence[float]) -> dict[str, float]:
    if len(splits) != len(SPLITS) or min(splits) < 0 or abs(sum(splits) - 1) > 1e-6 or min(splits[:2]) == 0:
        raise DatasetError(
            f"splits {', '.join(f'{share:g}' for share in splits)} do not fit: give the shares of train, val and test, "
            "as 0.8,0.1,0.1; they sum to 1, and train and val are above 0"
        )
    return {split: share for split, share in zip(SPLITS, splits, strict=True) if share > 0}


def _plain(folder: str) -> str:
    return re.sub(r"[\W_]", "", folder).lower()


def _process_all(
    photos: Sequence[Photo],
    part: Path,
    settings: dict[str, object],
    load: Callable[[], FaceDetector],
    workers: int,
    report: Callable[[int], None],
) -> list[LedgerRow]:
    """Process the photos in parallel, in order, a line in the journal for each; what an earlier run did is taken over."""
    done = _read_journal(part / _JOURNAL, settings)
    detectors: SimpleQueue[FaceDetector] = SimpleQueue()
    for _ in range(workers):
        detectors.put(load())  # one each: cv2.dnn networks are not safe to share between threads

    def work(photo: Photo) -> LedgerRow:
        detector = detectors.get()
        try:
            return _process(photo, part, detector, done)
        finally:
            detectors.put(detector)

    rows = []
    with (part / _JOURNAL).open("w", encoding="utf-8") as journal, ThreadPoolExecutor(workers) as pool:
        journal.write(json.dumps(settings) + "\n")
        for row in done.values():  # at once, so that a second interruption loses nothing either
            journal.write(json.dumps(row.to_dict()) + "\n")
        try:
            for row in _in_order(pool, work, photos, ahead=4 * workers):
                rows.append(row)
                if row.source not in done:
                    journal.write(json.dumps(row.to_dict()) + "\n")
                    journal.flush()
                report(len(rows))
        finally:
            pool.shutdown(cancel_futures=True)
    return rows


def _in_order(pool: ThreadPoolExecutor, work: Callable[[Photo], LedgerRow], photos: Sequence[Photo], ahead: int) -> Iterator[LedgerRow]:
    """Map with a bounded number of photos under way, so that memory stays flat and Ctrl-C is quick."""
    waiting: list[Future[LedgerRow]] = []
    for photo in photos:
        waiting.append(pool.submit(work, photo))
        if len(waiting) >= ahead:
            yield waiting.pop(0).result()
    for future in waiting:
        yield future.result()


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


def _process(photo: Photo, part: Path, detector: FaceDetector, done: Mapping[str, LedgerRow]) -> LedgerRow:
    """Decode one photo, find its faces, write its picture and label into the working folder; return its row so far."""
    row = LedgerRow(photo.source, photo.class_name, "unreadable", detector=detector.name)
    try:
        data = photo.path.read_bytes()
    except OSError as error:
        return replace(row, reason=(error.strerror or str(error)).lower())
    row = replace(row, sha256=hashlib.sha256(data).hexdigest())
    earlier = done.get(photo.source)
    if earlier and earlier.sha256 == row.sha256 and (not earlier.image or (part / earlier.image).is_file()):
        return earlier
    try:
        image = decode_image(data, photo.source)
    except ImageError as error:
        return replace(row, reason=str(error))
    height, width = image.shape[:2]
    if photo.labels is None:
        faces = detector.detect(image)
        class_ids = np.full(len(faces), CLASS_NAMES.index(photo.class_name), dtype=np.int64)
    else:
        faces = Faces(photo.labels.boxes, np.ones(len(photo.labels), dtype=np.float32))
        class_ids = photo.labels.class_ids
    row = replace(
        row,
        width=width,
        height=height,
        detector=detector.name if photo.labels is None else "given",
        phash=str(imagehash.phash(Image.fromarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)))),
        boxes=tuple(tuple(round(float(value), 2) for value in box) for box in faces.boxes),
        scores=tuple(round(float(score), 4) for score in faces.scores),
        classes=tuple(CLASS_NAMES[class_id] for class_id in class_ids),
    )
    if not len(faces) and photo.labels is None:
        return replace(row, status="no_face", reason="no face found")
    plain = is_plain_rgb(data)
    name = f"{photo.class_name}_{_slug(photo.path.stem)}_{hashlib.sha256(photo.source.encode()).hexdigest()[:8]}"
    suffix = (".png" if data.startswith(b"\x89PNG") else ".jpg") if plain else ".jpg"
    if not plain:
        data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    write_atomic(part / "labels" / f"{name}.txt", format_yolo(_labels_of(row), width, height))
    write_atomic(part / "images" / f"{name}{suffix}", data)
    reason = f"{len(faces)} faces, all given the folder's class" if len(faces) > 1 and photo.labels is None else ""
    return replace(row, status="kept", reason=reason, image=f"images/{name}{suffix}")


def _labels_of(row: LedgerRow) -> Labels:
    return Labels(as_boxes(row.boxes), np.array([CLASS_NAMES.index(name) for name in row.classes], dtype=np.int64))


def _slug(stem: str) -> str:
    """Make a file name part that every system and tool takes: ASCII letters, digits and hyphens, at most 60."""
    ascii_stem = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9]+", "-", ascii_stem).strip("-")[:60] or "photo"


def _settle(rows: list[LedgerRow], shares: dict[str, float], seed: int, origins: Mapping[str, Origin]) -> list[LedgerRow]:
    """Set aside exact copies and originals, number the groups of near-copies, and deal the kept photos out to the splits.

    A made photo is in one group with its original and the near-copies of that, whether the original is here or not.
    """
    firsts: dict[str, LedgerRow] = {}
    settled = []
    for row in rows:
        first = firsts.setdefault(row.sha256, row) if row.sha256 else row
        if first is not row and row.status == "kept":
            row = replace(row, status="duplicate", reason=f"the same file as {first.source}", image="")
            if first.class_name != row.class_name:
                row = replace(row, status="ambiguous", reason=f"the same file as {first.source}, of the other class")
        settled.append(row)
    twice = {row.sha256 for row in settled if row.status == "ambiguous"}
    settled = [
        replace(row, status="ambiguous", reason="the same file is in the other class too", image="")
        if row.status == "kept" and row.sha256 in twice
        else row
        for row in settled
    ]
    copies = [(origins[row.source], row.source) for row in settled if row.status == "kept" and row.source in origins]
    masked = {origin.sha256: source for origin, source in copies if origin.left_out}
    settled = [
        replace(row, status="original", reason=f"{masked[row.sha256]} is the same photo with a drawn mask", image="")
        if row.status == "kept" and row.sha256 in masked
        else row
        for row in settled
    ]
    hashed = [place for place, row in enumerate(settled) if row.phash]
    originals = {origin.sha256: origin.phash for origin in origins.values()}
    numbers = {sha256: len(hashed) + number for number, sha256 in enumerate(originals)}
    links = [
        (number, numbers[origins[settled[place].source].sha256]) for number, place in enumerate(hashed) if settled[place].source in origins
    ]
    groups = group_near_copies([*(settled[place].phash for place in hashed), *originals.values()], links=links)
    for place, group in zip(hashed, groups[: len(hashed)], strict=True):
        settled[place] = replace(settled[place], group=int(group))
    kept = [place for place, row in enumerate(settled) if row.status == "kept"]
    rows_kept = [settled[place] for place in kept]
    splits = assign_splits(
        [row.group for row in rows_kept], [row.class_name for row in rows_kept], shares, seed, [row.source for row in rows_kept]
    )
    for place, split in zip(kept, splits, strict=True):
        image = settled[place].image.replace("images/", f"images/{split}/", 1)
        settled[place] = replace(settled[place], split=split, image=image)
    return settled


def _arrange(part: Path, rows: list[LedgerRow], shares: dict[str, float]) -> None:
    """Move the kept pictures and labels into their splits' folders and remove what else the working folder holds."""
    for kind in ("images", "labels"):
        (part / kind).rename(part / f"{kind}.all")
        for split in shares:
            (part / kind / split).mkdir(parents=True, exist_ok=True)
    kept = [(Path(row.image).name, row.split) for row in rows if row.status == "kept"]
    kept += [(path.name, "train") for path in (part / "images.all").glob("scene_*.jpg")]
    for name, split in kept:
        label = Path(name).with_suffix(".txt")
        (part / "images.all" / name).replace(part / "images" / split / name)
        (part / "labels.all" / label).replace(part / "labels" / split / label)
    for kind in ("images", "labels"):
        shutil.rmtree(part / f"{kind}.all")
    (part / _JOURNAL).unlink()
