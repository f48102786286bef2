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
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import cv2
import imagehash
import numpy as np
from PIL import Image, JpegImagePlugin

from maskyolo.core.classes import class_of
from maskyolo.core.files import sha256_if_readable, sha256_of, write_atomic, written_name
from maskyolo.core.images import ImageArray, decode_image, open_image
from maskyolo.core.options import takes_options
from maskyolo.dataset.synthesis_log import SYNTHESIS, MadePhoto, write_synthesis
from maskyolo.dataset.workfolder import JOURNAL, claim, is_taken, publish, working_folder
from maskyolo.detectors.faces.yunet import YuNet
from maskyolo.errors import DatasetError, ImageError, OutputError, output_errors
from maskyolo.synthesis.coverings import draw_mask, draw_occluder
from maskyolo.synthesis.coverings.camera import Landmarks, ObstacleKind, find_obstacle
from maskyolo.synthesis.coverings.occluders import OCCLUDERS
from maskyolo.synthesis.coverings.styles import choose_style
from maskyolo.synthesis.options import SynthesizeOptions

__all__ = ["Synthesis", "find_faces", "synthesize_masks"]

_FOLDERS = ("with_mask", "without_mask")
#: File names in these folders; see `_write`.
_NAMES = r"[0-9a-f]{16}(_.+_\d+)?\.(jpg|png|webp|bmp|tif|gif)"
#: A detection with a lower score may not be a face. Drawing on it, or on all faces but one, would
#: produce a photo with a wrong class, so such photos are left out.
_MIN_CONFIDENT = 0.7
_MIN_CONFIDENCE = 0.3


@dataclass(frozen=True)
class Synthesis:
    """The result of `synthesize_masks`.

    Attributes:
        folder: the folder with the two folders of photos and their `synthesis.csv`.
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

    The result is a folder with `with_mask`, `without_mask` and `synthesis.csv`. What a photo
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

    Example:
        >>> made = synthesize_masks("photos/without_mask", "data/made")  # doctest: +SKIP
        >>> made.counts()["masked"]  # doctest: +SKIP
        400
    """
    chosen = SynthesizeOptions.merge(options, settings)
    faces = Path(faces)
    out, part = working_folder(out)
    paths = find_faces(faces)
    if is_taken(out):
        raise OutputError(
            f"cannot write the photos to {out}: it exists", "choose another folder or remove it"
        )
    detectors: SimpleQueue[YuNet] = SimpleQueue()
    for _ in range(chosen.workers):  # one per thread: a YuNet cannot be shared between threads
        detectors.put(YuNet(chosen.weights, conf=_MIN_CONFIDENCE))
    with output_errors(part):
        done = _start(part, chosen)
        made = _make_all(faces, paths, part, detectors, chosen, done, on_progress)
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
            if class_of(name) == "with_mask":
                raise DatasetError(
                    f"{folder} contains a folder '{name}'",
                    f"give only the folder of bare faces, such as {folder / 'without_mask'}",
                )
    if not paths:
        raise DatasetError(f"no photos in {folder}", remedy)
    return paths


def _start(part: Path, options: SynthesizeOptions) -> dict[str, list[MadePhoto]]:
    """Create the working folder, and return an interrupted run's results by original.

    The results of a run with different options are not reused.
    """
    claim(part, "synthesize", _FOLDERS, _NAMES)
    settings = json.dumps(
        [
            2,
            options.masks,
            options.per_photo,
            options.occluders,
            options.keep_originals,
            options.seed,
        ]
    )
    done: dict[str, list[MadePhoto]] = {}
    journal = part / JOURNAL
    if journal.is_file():
        text = journal.read_text(encoding="utf-8", errors="replace")
        lines = text.split("\n")[:-1]  # the last line may be incomplete
        if lines and lines[0] == settings:
            for line in lines[1:]:
                photos = [MadePhoto.from_dict(values) for values in json.loads(line)]
                done[photos[0].original] = photos
    for name in _FOLDERS:
        (part / name).mkdir(parents=True, exist_ok=True)
    lines = [settings, *(_journal_line(photos) for photos in done.values())]
    write_atomic(journal, "\n".join(lines) + "\n")
    return done


def _journal_line(photos: Sequence[MadePhoto]) -> str:
    return json.dumps([photo.to_dict() for photo in photos])


def _make_all(
    faces: Path,
    paths: Sequence[Path],
    part: Path,
    detectors: SimpleQueue[YuNet],
    options: SynthesizeOptions,
    done: Mapping[str, list[MadePhoto]],
    on_progress: Callable[[int, int], None] | None,
) -> list[MadePhoto]:
    """Process all photos, adding a line to the journal for each."""
    firsts: dict[str, str] = {}

    def work(path: Path, checksum: str) -> list[MadePhoto]:
        name = written_name(path.relative_to(faces))
        if (first := firsts.get(checksum, name)) != name:
            return [MadePhoto(name, "duplicate", f"the same file as {first}", sha256=checksum)]
        detector = detectors.get()
        try:
            return _make(path, name, part, detector, options, done.get(name))
        finally:
            detectors.put(detector)

    made: list[MadePhoto] = []
    with ThreadPoolExecutor(options.workers) as pool:
        try:
            checksums = list(pool.map(sha256_if_readable, paths))
            for path, checksum in zip(paths, checksums, strict=True):
                if checksum:
                    firsts.setdefault(checksum, written_name(path.relative_to(faces)))
            with (part / JOURNAL).open("a", encoding="utf-8") as journal:
                for number, photos in enumerate(pool.map(work, paths, checksums), 1):
                    if photos[0].original not in done:
                        journal.write(_journal_line(photos) + "\n")
                        journal.flush()
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
    earlier: list[MadePhoto] | None,
) -> list[MadePhoto]:
    """Process one photo; return its lines, at least one.

    `earlier` are the lines of an interrupted run, which are returned if still valid.
    """
    line = MadePhoto(name, "unreadable")
    try:
        data = path.read_bytes()
        line = replace(line, sha256=sha256_of(data))
        if (
            earlier
            and earlier[0].sha256 == line.sha256
            and all(not photo.file or (part / photo.file).is_file() for photo in earlier)
        ):
            return earlier
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
            masked, drawn = _masked(image, landmarks, rng(1, number))
            made.append(_write(line, part, "masked", number, drawn, *_encoded(masked, data)))
        if not options.keep_originals:
            reason = "its masked copy is in with_mask"
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
    class_name = "with_mask" if status == "masked" else "without_mask"
    label = f"_{drawn[0].replace(' ', '-')}_{number}" if drawn else ""
    file = f"{class_name}/{line.sha256[:16]}{label}{suffix}"
    write_atomic(part / file, encoded)
    return replace(line, status=status, file=file, class_name=class_name, drawn="; ".join(drawn))


def _masked(
    image: ImageArray, faces: Landmarks, rng: np.random.Generator
) -> tuple[ImageArray, list[str]]:
    """Draw a mask on each face; return the image, and what was drawn on each."""
    drawn = []
    for landmarks in faces:
        style = choose_style(rng)
        image = draw_mask(image, landmarks, rng, style)
        pattern = f" {style.pattern}" if style.pattern != "plain" else ""
        drawn.append(f"{style.kind} {style.color}{pattern}")
    return image, drawn


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
        for path in (part / folder).iterdir():
            if f"{folder}/{path.name}" not in files:
                path.unlink()
