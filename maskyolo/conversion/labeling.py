"""Label photos: decode them, find faces, decide their classes, write images and label files."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue

import cv2
import numpy as np

from maskyolo.conversion.bystanders import decide_faces
from maskyolo.conversion.face_classes import Decision, blank_out
from maskyolo.conversion.mask_judge import MaskJudge
from maskyolo.conversion.photos import Photo
from maskyolo.conversion.previous import PreviousSet
from maskyolo.core.choices import Bystanders
from maskyolo.core.classes import ALL_CLASS_NAMES
from maskyolo.core.decoding import large_turn
from maskyolo.core.files import sha256_if_readable, sha256_of, write_atomic
from maskyolo.core.images import MAX_FILE, ImageArray, decode_image, is_plain_rgb
from maskyolo.core.item_errors import ItemErrors
from maskyolo.core.labels import IGNORE, IGNORE_CLASS, format_yolo
from maskyolo.core.parallel import map_ahead
from maskyolo.core.parsing import ParseError, read_limited
from maskyolo.dataset.journal import Entry, Journal, read_journal
from maskyolo.dataset.ledger import LedgerRow, labels_of, size_class
from maskyolo.dataset.near_copies import perceptual_hashes
from maskyolo.dataset.workfolder import JOURNAL
from maskyolo.detectors.faces.base import FaceDetector, Faces
from maskyolo.errors import DatasetError, ImageError


class Labeler:
    """Turns photos into rows, images and labels in the working folder."""

    def __init__(
        self,
        part: Path,
        settings: dict[str, object],
        old: PreviousSet,
        bystanders: Bystanders,
        names: tuple[str, ...],
        item_errors: ItemErrors,
    ) -> None:
        self._part = part
        self._settings = settings
        self._old = old
        self._bystanders = bystanders
        self._names = names
        self._judge = MaskJudge()
        self._item_errors = item_errors
        self._done: dict[str, tuple[LedgerRow, Entry]] = {}

    def process_all(
        self,
        photos: Sequence[Photo],
        load: Callable[[], FaceDetector],
        workers: int,
        report: Callable[[int], None],
    ) -> list[LedgerRow]:
        """Process the photos in parallel, adding a line to the journal for each.

        Args:
            photos: the photos.
            load: loads a face detector.
            workers: number of threads, each with its own detector.
            report: called with the number of photos done.

        Returns:
            The rows, in order of the photos.
        """
        entries = read_journal(self._part / JOURNAL, self._settings)
        rows_before = [LedgerRow.from_dict(entry.content) for entry in entries]
        self._done = {
            row.source: (row, entry) for row, entry in zip(rows_before, entries, strict=True)
        }
        detectors: SimpleQueue[FaceDetector] = SimpleQueue()
        with _side_by_side(workers):
            for _ in range(workers):  # cv2.dnn networks cannot be shared between threads
                detectors.put(load())

        def work(photo: Photo) -> LedgerRow:
            detector = detectors.get()
            try:
                return self.process(photo, detector)
            except Exception as error:  # noqa: BLE001  any error of one photo is that photo's
                reason = str(self._item_errors.explain(photo.source, error))
                return LedgerRow(photo.source, photo.class_name, "unreadable", reason)
            finally:
                detectors.put(detector)

        rows: dict[str, LedgerRow] = {}
        # started with these, so that a second interruption does not lose them either
        known = [entry for _, entry in self._done.values()]
        with (
            closing(Journal(self._part / JOURNAL, self._settings, known)) as journal,
            _side_by_side(workers),
            ThreadPoolExecutor(workers) as pool,
        ):
            try:
                copies = self._exact_copies(photos, pool)
                once = [photo for photo in photos if photo.source not in copies]
                # far ahead, so that the workers go on while the journal is synced
                for row in map_ahead(pool, work, once, ahead=16 * workers):
                    rows[row.source] = row
                    if row is not self._earlier(row.source):
                        files = [_label_of(row), row.image] if row.in_set else []
                        journal.add(Entry.of(row.to_dict(), self._part, files))
                    report(len(rows))
            finally:
                pool.shutdown(cancel_futures=True)
        for photo in photos:
            if photo.source in copies:
                rows[photo.source] = _copy_row(photo, *copies[photo.source], rows)
        report(len(rows))
        return [rows[photo.source] for photo in photos]

    def process(self, photo: Photo, detector: FaceDetector) -> LedgerRow:
        """Decode a photo, find its faces, and write image and label file; return its row so far.

        Results of an interrupted run, and of the previous set, are reused if still valid.
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
            data = read_limited(photo.path, MAX_FILE)
        except OSError as error:
            return replace(row, reason=(error.strerror or str(error)).lower())
        except ParseError as error:
            return replace(row, reason=str(error))
        row = replace(row, sha256=sha256_of(data))
        if photo.labels is None and (known := self._known(row, before)):
            return known
        with large_turn(data):
            try:
                image = decode_image(data, photo.source)
            except ImageError as error:
                return replace(row, reason=str(error))
            return self._label(photo, row, data, image, detector)

    def _known(self, row: LedgerRow, before: LedgerRow | None) -> LedgerRow | None:
        """Return the photo's row from the interrupted run or the previous set, if still valid."""
        earlier, entry = self._done.get(row.source, (None, Entry(None)))
        if earlier and _is_same(earlier, row) and entry.is_intact(self._part):
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

    def _earlier(self, source: str) -> LedgerRow | None:
        return self._done[source][0] if source in self._done else None

    def _label(
        self, photo: Photo, row: LedgerRow, data: bytes, image: ImageArray, detector: FaceDetector
    ) -> LedgerRow:
        """Label a decoded photo, whose file is `data`; complete its row and write its files."""
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
        # Copy plain images byte for byte; re-encode others, which programs may read differently.
        if blanked.any() or not is_plain_rgb(data):
            suffix = ".jpg"
            data = cv2.imencode(suffix, image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
        row = replace(row, status="kept", image=f"images/{_file_stem(photo)}{suffix}")
        self._write(row, data)
        return row

    def _decide(
        self, photo: Photo, image: ImageArray, detector: FaceDetector
    ) -> tuple[Faces, Decision]:
        """Find the faces of a photo and decide their classes; given labels are left unchanged."""
        if photo.labels is None:
            faces = detector.detect(image)
            faces = replace(faces, origins=faces.origins or (detector.name,) * len(faces))
            class_id = self._names.index(photo.class_name)
            return decide_faces(image, faces, class_id, self._bystanders, self._judge)
        count = len(photo.labels)
        faces = Faces(photo.labels.boxes, np.ones(count, dtype=np.float32), ("given",) * count)
        return faces, Decision(photo.labels.class_ids, ("given",) * count, photo.reason)

    def _write(self, row: LedgerRow, data: bytes) -> None:
        write_atomic(
            self._part / _label_of(row),
            format_yolo(labels_of(row, self._names), row.width, row.height),
        )
        # the image last, so that no image is ever without its label file
        write_atomic(self._part / row.image, data)

    def _take_over(self, before: LedgerRow) -> LedgerRow:
        """Copy a photo of the previous set into the working folder."""
        image = f"images/{Path(before.image).name}" if before.in_set else ""
        row = replace(before, image=image, split="", group=-1)
        if row.in_set:
            if not self._old.has_image(before):
                raise DatasetError(
                    f"{self._old.folder / before.image}, whose labels were corrected, is missing",
                    f"put it back, or remove the line of {before.source} from "
                    f"{self._old.folder / 'ledger.csv'} to convert the photo again",
                )
            self._write(row, (self._old.folder / before.image).read_bytes())
        return row

    def _exact_copies(
        self, photos: Sequence[Photo], pool: ThreadPoolExecutor
    ) -> dict[str, tuple[str, bool]]:
        """Find photos that are the same file as an earlier one.

        If the same file is in both classes, none of its copies is used, unless one of them was
        manually corrected.

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


def _label_of(row: LedgerRow) -> str:
    """Return the label file of a photo in the working folder, relative to it."""
    return f"labels/{Path(row.image).with_suffix('.txt').name}"


def _copy_row(photo: Photo, first: str, torn: bool, rows: Mapping[str, LedgerRow]) -> LedgerRow:
    """Return the row of a photo that is the same file as the one with the source `first`.

    `torn` means that their classes differ.
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
    """Return whether an earlier row has the same bytes, class and detector.

    The class changes if `--map` does.
    """
    return (earlier.sha256, earlier.class_name, earlier.detector) == (
        row.sha256,
        row.class_name,
        row.detector,
    )


def _is_whole(row: LedgerRow) -> bool:
    """Return whether a row of the previous set has everything that processing would determine.

    Rows of copies and of photos that were left out do not.
    """
    return (
        row.in_set
        or row.status in ("no_face", "unreadable")
        or (row.status == "ambiguous" and bool(row.phash))
    )


@contextmanager
def _side_by_side(workers: int) -> Iterator[None]:
    """Make each worker's network use one core.

    If each used all cores, they would wait for one another.
    """
    if workers == 1:
        yield
        return
    from maskyolo.models.backends.openvino import unpinned

    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with unpinned():
            yield
    finally:
        cv2.setNumThreads(before)


def _file_stem(photo: Photo) -> str:
    """Return a name for a photo's files: its class, its name, and a checksum of its source."""
    class_name = photo.class_name
    if class_name not in ALL_CLASS_NAMES:
        class_name = _slug(class_name or "background")
    return f"{class_name}_{_slug(photo.path.stem)}_{sha256_of(photo.source.encode())[:8]}"


def _slug(stem: str) -> str:
    """Return part of a file name that is valid in every system and tool.

    It has at most 60 characters: ASCII letters, digits and hyphens.
    """
    ascii_stem = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9]+", "-", ascii_stem).strip("-")[:60] or "photo"
