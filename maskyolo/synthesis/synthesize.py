"""Make masked photos, and bare ones with occluders, from photos of bare faces, without leakage.

The path of a photo: `_make` decodes it and finds its faces with their landmarks. If all faces can
be drawn on, the photo's own checksum seeds the choice of whether it is masked, and what is drawn.
The original of a masked photo is left out of `without_mask`. `synthesis.csv` records which photo
each one was made from, and `convert` uses it to keep both in one split.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import cv2
import imagehash
import numpy as np
from PIL import Image, JpegImagePlugin

from maskyolo.core.classes import CLASS_NAMES, INCORRECT_MASK, class_of
from maskyolo.core.decoding import open_image
from maskyolo.core.files import sha256_if_readable, sha256_of, write_atomic, written_name
from maskyolo.core.images import ImageArray, decode_image
from maskyolo.core.item_errors import ERROR_LOG, ItemErrors
from maskyolo.core.options import takes_options
from maskyolo.dataset.journal import Entry, Journal, read_journal
from maskyolo.dataset.synthesis_log import SYNTHESIS, MadePhoto, write_synthesis
from maskyolo.dataset.workfolder import JOURNAL, check_free, claim, locked, publish, working_folder
from maskyolo.detectors.faces.yunet import YuNet
from maskyolo.errors import DatasetError, ImageError, output_errors
from maskyolo.synthesis.coverings import draw_mask, draw_occluder
from maskyolo.synthesis.coverings.camera import Camera, Landmarks, ObstacleKind, find_obstacle
from maskyolo.synthesis.coverings.occluders import OCCLUDERS
from maskyolo.synthesis.coverings.styles import MaskStyle, choose_style, choose_worn
from maskyolo.synthesis.options import SynthesizeOptions

__all__ = ["Synthesis", "find_faces", "synthesize_masks"]

_FOLDERS = (*CLASS_NAMES, INCORRECT_MASK)
#: File names in these folders; see `_write`.
_NAMES = r"[0-9a-f]{16}(_.+_\d+)?\.(jpg|png|webp|bmp|tif|gif)"
_CLASS_OF = {"masked": "with_mask", "incorrect": INCORRECT_MASK}
#: A detection with a lower score may not be a face. Drawing on it, or on all faces but one, would
#: produce a photo with a wrong class, so such photos are left out.
_MIN_CONFIDENT = 0.7
_MIN_CONFIDENCE = 0.3
#: Minimum area of an incorrectly worn mask in the photo, in units of the squared distance between
#: the eyes. In a photo cut close to the face, a mask on the chin may be outside.
_MIN_VISIBLE = 0.45
#: Change of a pixel, from 0 to 255, that makes it visibly part of a mask.
_VISIBLE_CHANGE = 20


@dataclass(frozen=True)
class Synthesis:
    """The result of `synthesize_masks`.

    Attributes:
        folder: the folder with the folders of photos and their `synthesis.csv`.
        photos: the lines of `synthesis.csv`, in order of the originals.
    """

    folder: Path
    photos: list[MadePhoto]

    def counts(self) -> Counter[str]:
        """Count the lines by status."""
        return Counter(photo.status for photo in self.photos)


@takes_options(SynthesizeOptions)
def synthesize_masks(
    faces: Path | str,
    out: Path | str,
    options: SynthesizeOptions | None = None,
    *,
    on_progress: Callable[[int, int], None] | None = None,
    **settings: Any,
) -> Synthesis:
    """Draw masks on photos of bare faces, for `convert`.

    The result is a folder with `with_mask`, `without_mask` and `synthesis.csv`, and with
    `incorrect_mask` if `incorrect` is above 0. What a photo
    becomes depends only on its bytes, the options and the seed. Work in progress is in `OUT.part`,
    which becomes `out` at the end. After an interruption, the same call continues where it stopped.

    Args:
        faces: folder of photos in which nobody wears a mask, at any depth.
        out: output folder; it must not exist or be empty.
        options: what to draw, and on what fraction of the photos.
        on_progress: called with the number of photos done and their total number.
        settings: fields of `SynthesizeOptions`; they override `options`.

    Raises:
        DatasetError: there are no photos, or a folder of masked photos is among them.
        MaskyoloError: an option is out of its range.
        OutputError: `out` exists or cannot be written, or `OUT.part` contains files that are not
            from an interrupted run.
        WeightsError: YuNet's weights are missing or wrong.

    Examples:
        >>> made = synthesize_masks("photos/without_mask", "data/made")  # doctest: +SKIP
        >>> made.counts()["masked"]  # doctest: +SKIP
        400
    """
    chosen = SynthesizeOptions.merge(options, settings)
    faces = Path(faces)
    out, part = working_folder(out)
    paths = find_faces(faces)
    check_free(out, "photos")
    detectors: SimpleQueue[YuNet] = SimpleQueue()
    for _ in range(chosen.workers):  # one per thread: a YuNet cannot be shared between threads
        detectors.put(YuNet(chosen.weights, conf=_MIN_CONFIDENCE))
    with output_errors(part), locked(part):
        check_free(out, "photos")  # another run may have finished in the meantime
        done = _start(part, chosen)
        item_errors = ItemErrors(lambda: part / ERROR_LOG, shown=out / ERROR_LOG)
        made = _make_all(faces, paths, part, detectors, chosen, done, item_errors, on_progress)
        _remove_leftovers(part, {photo.file for photo in made})
        write_synthesis(part / SYNTHESIS, made)
        publish(part, out)
    return Synthesis(out, made)


def find_faces(folder: Path | str) -> list[Path]:
    """List the files below a folder of photos of bare faces, sorted.

    Raises:
        DatasetError: there is no such folder, it contains no photos, or the name of a folder in it
            indicates masked photos.
    """
    folder = Path(folder)
    remedy = "give a folder of photos in which nobody wears a mask"
    if not folder.is_dir():
        raise DatasetError(f"no folder {folder}", remedy)
    paths = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    for path in paths:
        for name in path.relative_to(folder).parts[:-1]:
            if class_of(name) in ("with_mask", INCORRECT_MASK):
                raise DatasetError(
                    f"{folder} contains a folder '{name}'",
                    f"give only the folder of bare faces, such as {folder / 'without_mask'}",
                )
    if not paths:
        raise DatasetError(f"no photos in {folder}", remedy)
    return paths


def _settings(options: SynthesizeOptions) -> list[Any]:
    """Return what a photo's results depend on; those of a run with others are not reused."""
    return [
        4,
        options.masks,
        options.incorrect,
        options.per_photo,
        options.occluders,
        options.keep_originals,
        options.seed,
    ]


def _start(part: Path, options: SynthesizeOptions) -> dict[str, Entry]:
    """Create the working folder, and return an interrupted run's entries by original."""
    claim(part, "synthesize", _FOLDERS, _NAMES)
    for name in _FOLDERS if options.incorrect else CLASS_NAMES:
        (part / name).mkdir(parents=True, exist_ok=True)
    entries = read_journal(part / JOURNAL, _settings(options))
    return {_photos(entry)[0].original: entry for entry in entries}


def _photos(entry: Entry) -> list[MadePhoto]:
    return [MadePhoto.from_dict(values) for values in entry.content]


def _make_all(
    faces: Path,
    paths: Sequence[Path],
    part: Path,
    detectors: SimpleQueue[YuNet],
    options: SynthesizeOptions,
    done: Mapping[str, Entry],
    item_errors: ItemErrors,
    on_progress: Callable[[int, int], None] | None,
) -> list[MadePhoto]:
    """Process all photos, adding a line to the journal for each."""
    firsts: dict[str, str] = {}

    def work(path: Path, sha256: str) -> list[MadePhoto]:
        name = written_name(path.relative_to(faces))
        if (first := firsts.get(sha256, name)) != name:
            return [MadePhoto(name, "duplicate", f"the same file as {first}", sha256=sha256)]
        detector = detectors.get()
        try:
            return _make(path, name, part, detector, options, done.get(name))
        except Exception as error:  # noqa: BLE001  any error of one photo is that photo's
            return [MadePhoto(name, "unreadable", str(item_errors.explain(name, error)))]
        finally:
            detectors.put(detector)

    made: list[MadePhoto] = []
    with (
        closing(Journal(part / JOURNAL, _settings(options), done.values())) as journal,
        ThreadPoolExecutor(options.workers) as pool,
    ):
        try:
            checksums = list(pool.map(sha256_if_readable, paths))
            for path, sha256 in zip(paths, checksums, strict=True):
                if sha256:
                    firsts.setdefault(sha256, written_name(path.relative_to(faces)))
            for number, photos in enumerate(pool.map(work, paths, checksums), 1):
                content = [photo.to_dict() for photo in photos]
                known = done.get(photos[0].original)
                if known is None or known.content != content:
                    files = [photo.file for photo in photos if photo.file]
                    journal.add(Entry.of(content, part, files))
                made += photos
                if on_progress:
                    on_progress(number, len(paths))
        finally:
            pool.shutdown(cancel_futures=True)
    return made


def _make(
    path: Path,
    name: str,
    part: Path,
    detector: YuNet,
    options: SynthesizeOptions,
    earlier: Entry | None,
) -> list[MadePhoto]:
    """Process one photo; return its lines, at least one.

    `earlier` is what an interrupted run did, which is returned if still valid.
    """
    line = MadePhoto(name, "unreadable")
    try:
        data = path.read_bytes()
        line = replace(line, sha256=sha256_of(data))
        if earlier and earlier.is_intact(part):
            photos = _photos(earlier)
            if photos[0].sha256 == line.sha256:
                return photos
        image = decode_image(data, name)
    except OSError as error:
        return [replace(line, reason=(error.strerror or str(error)).lower())]
    except ImageError as error:
        return [replace(line, reason=str(error))]
    gray = Image.fromarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY))
    line = replace(line, phash=str(imagehash.phash(gray)))
    found = detector.detect(image)
    if not len(found) or found.landmarks is None:
        return [replace(line, status="no_face", reason="no face found")]
    points = np.round(found.landmarks.astype(np.float64), 1)
    line = replace(line, landmarks=json.dumps(points.tolist()))
    if found.scores.min() < _MIN_CONFIDENT:
        reason = f"a detection with score {found.scores.min():.2f}, which may not be a face"
        return [replace(line, status="unsure", reason=reason)]
    for landmarks in found.landmarks:
        if obstacle := find_obstacle(landmarks):
            status = "small" if obstacle.kind is ObstacleKind.TOO_SMALL else "turned"
            return [replace(line, status=status, reason=obstacle.reason)]
    return _draw(line, part, data, image, found.landmarks, options)


def _draw(
    line: MadePhoto,
    part: Path,
    data: bytes,
    image: ImageArray,
    landmarks: Landmarks,
    options: SynthesizeOptions,
) -> list[MadePhoto]:
    """Decide whether to mask a photo whose faces can all be drawn on, and write its files."""

    def rng(*numbers: int) -> np.random.Generator:
        return np.random.default_rng([options.seed, int(line.sha256[:16], 16), *numbers])

    chance, second_chance = rng(0).random(2)
    made = []
    if chance < options.masks:
        for number in range(1, options.per_photo + 1):
            incorrect = rng(3, number).random() < options.incorrect
            masked, drawn = _masked(image, landmarks, rng(1, number), incorrect)
            status = "incorrect" if incorrect else "masked"
            made.append(_write(line, part, status, number, drawn, *_encoded(masked, data)))
        if not options.keep_originals:
            reason = f"its masked copy is in {made[-1].class_name}"
            return [*made, replace(line, status="left_out", reason=reason)]
    elif second_chance < options.occluders:
        hidden, drawn = _hidden(image, landmarks, rng(2, 1))
        made.append(_write(line, part, "occluder", 1, drawn, *_encoded(hidden, data)))
    return [*made, _write(line, part, "bare", 0, [], data, _suffix(data))]


def _write(
    line: MadePhoto,
    part: Path,
    status: str,
    number: int,
    drawn: Sequence[str],
    encoded: bytes,
    suffix: str,
) -> MadePhoto:
    """Write one photo of the set, named by its original's checksum; return its line."""
    class_name = _CLASS_OF.get(status, "without_mask")
    label = f"_{drawn[0].replace(' ', '-')}_{number}" if drawn else ""
    file = f"{class_name}/{line.sha256[:16]}{label}{suffix}"
    write_atomic(part / file, encoded)
    return replace(line, status=status, file=file, class_name=class_name, drawn="; ".join(drawn))


def _masked(
    image: ImageArray, faces: Landmarks, rng: np.random.Generator, incorrect: bool
) -> tuple[ImageArray, list[str]]:
    """Draw a mask on each face; return the image, and what was drawn on each."""
    drawn = []
    for landmarks in faces:
        style = choose_style(rng)
        if incorrect:
            image, style = _worn_incorrectly(image, landmarks, rng, style)
        else:
            image = draw_mask(image, landmarks, rng, style)
        pattern = f" {style.pattern}" if style.pattern != "plain" else ""
        worn = f" {style.worn}" if incorrect else ""
        drawn.append(f"{style.kind} {style.color}{pattern}{worn}")
    return image, drawn


def _worn_incorrectly(
    image: ImageArray, landmarks: Landmarks, rng: np.random.Generator, style: MaskStyle
) -> tuple[ImageArray, MaskStyle]:
    """Draw a mask worn in a way that the photo can show; return the image and the style."""
    style = choose_worn(style, rng)
    masked = draw_mask(image, landmarks, rng, style)
    change = np.abs(masked.astype(np.int16) - image).max(axis=2)
    area = float((change > _VISIBLE_CHANGE).sum()) / Camera.fit(landmarks).area
    if area < _MIN_VISIBLE and style.worn != "under the nose":
        style = replace(style, worn="under the nose")
        masked = draw_mask(image, landmarks, rng, style)
    return masked, style


def _hidden(
    image: ImageArray, faces: Landmarks, rng: np.random.Generator
) -> tuple[ImageArray, list[str]]:
    """Draw an occluder on each face; return the image, and what was drawn on each."""
    drawn = []
    for landmarks in faces:
        drawn.append(str(rng.choice(OCCLUDERS)))
        image = draw_occluder(image, landmarks, rng, drawn[-1])
    return image, drawn


def _encoded(image: ImageArray, original: bytes) -> tuple[bytes, str]:
    """Encode an image like its original, and return the file's bytes and name suffix.

    A JPEG gets the same quantization tables, so that compression reveals nothing; a PNG stays a
    PNG.
    """
    drawn = Image.fromarray(np.ascontiguousarray(image[:, :, ::-1]))
    buffer = io.BytesIO()
    if _suffix(original) == ".png":
        drawn.save(buffer, "PNG")
        return buffer.getvalue(), ".png"
    with open_image(io.BytesIO(original)) as file:
        if isinstance(file, JpegImagePlugin.JpegImageFile) and file.mode in ("RGB", "L"):
            plugin: Any = JpegImagePlugin  # typed in some versions of Pillow, not in others
            jpeg: Any = file
            drawn.convert(file.mode).save(
                buffer, "JPEG", qtables=jpeg.quantization, subsampling=plugin.get_sampling(jpeg)
            )
        else:
            drawn.save(buffer, "JPEG", quality=92)
    return buffer.getvalue(), ".jpg"


def _suffix(data: bytes) -> str:
    """Return the file name suffix for an image's actual format, whatever its name says."""
    with open_image(io.BytesIO(data)) as file:
        return {"PNG": ".png", "WEBP": ".webp", "BMP": ".bmp", "TIFF": ".tif", "GIF": ".gif"}.get(
            file.format or "", ".jpg"
        )


def _remove_leftovers(part: Path, files: set[str]) -> None:
    """Remove files an interrupted run made from photos that were removed or changed since."""
    for folder in _FOLDERS:
        for path in (part / folder).glob("*"):
            if f"{folder}/{path.name}" not in files:
                path.unlink()
