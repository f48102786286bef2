"""Make masked photos of bare faces, and photos of bare faces with something before them, with a guard against leakage.

One photo's way: `_make` decodes it and finds its faces with their landmarks; if every face can be drawn on, chance decides by the
photo's own checksum whether it is masked, and what is drawn. A masked photo's original is left out of `without_mask`; `synthesis.csv`
says what each photo was made from, and `convert` keeps both in one split by it.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable
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
from maskyolo.core.files import sha256_of, write_atomic, written_name
from maskyolo.coverings import CONFUSERS, choose_style, draw_confuser, draw_mask, obstacle
from maskyolo.coverings.camera import Landmarks
from maskyolo.errors import DatasetError, ImageError, MaskyoloError, OutputError, output_errors
from maskyolo.faces.yunet import YuNet
from maskyolo.images import ImageArray, decode_image, open_picture
from maskyolo.origins import SYNTHESIS, MadePhoto, write_synthesis
from maskyolo.workfolder import MARKER, claim, working_folder

__all__ = ["Synthesis", "find_faces", "synthesize_masks"]

_JOURNAL = "journal.jsonl"
_FOLDERS = ("with_mask", "without_mask")
#: Names of the files in them, see `_make`.
_NAMES = r"[0-9a-f]{16}(_.+_\d+)?\.(jpg|png|webp|bmp|tif|gif)"
#: A face of a lesser score may be none, and drawing on none, or on all faces but one, would make a photo with a wrong class.
_SURE = 0.7
_LEAST_SURE = 0.3


@dataclass(frozen=True)
class Synthesis:
    """What `synthesize_masks` made.

    Attributes:
        folder: the two folders of photos and their `synthesis.csv`.
        photos: its lines, in order of the originals.
    """

    folder: Path
    photos: list[MadePhoto]

    def counts(self) -> Counter[str]:
        """Count the lines by status."""
        return Counter(photo.status for photo in self.photos)


def synthesize_masks(
    faces: Path | str,
    out: Path | str,
    *,
    masks: float = 0.5,
    per_photo: int = 1,
    confusers: float = 0.3,
    keep_originals: bool = False,
    weights: Path | str | None = None,
    seed: int = 0,
    workers: int = 2,
    on_progress: Callable[[int, int], None] | None = None,
) -> Synthesis:
    """Draw masks on photos of bare faces: a folder with `with_mask`, `without_mask` and `synthesis.csv`, as `convert` takes it.

    What is made of a photo depends on its bytes, the options and the seed only. Work goes to `OUT.part` and becomes `out` when all
    is done; after an interruption the same call goes on where it stopped.

    Args:
        faces: folder of photos in which nobody wears a mask, at any depth.
        out: folder to make; it must not exist or be empty.
        masks: share of the photos that get masks; the others go to `without_mask` as they are.
        per_photo: masked copies of each of these.
        confusers: share of the others of which a copy goes to `without_mask`, too, that has something else before the face.
        keep_originals: put the originals of masked copies into `without_mask`, too.
        weights: YuNet's file or folder, if it is not where `manifest.find_weights` looks.
        seed: of everything random.
        workers: photos worked on at once.
        on_progress: called with the number of photos done and the number of all.

    Raises:
        DatasetError: no photos, or a folder of masked ones among them.
        MaskyoloError: a share that is none, or fewer than one copy.
        OutputError: `out` exists, or cannot be written, or `OUT.part` has files that are not of an interrupted run.
        WeightsError: YuNet's weights are missing or wrong.
    """
    faces = Path(faces)
    out, part = working_folder(out)
    if not (0 <= masks <= 1 and 0 <= confusers <= 1) or per_photo < 1:
        raise MaskyoloError(
            f"cannot mask {masks:g} of the photos {per_photo} times and hide {confusers:g} of the others; "
            "the shares are from 0 to 1, and --per-photo is at least 1"
        )
    paths = find_faces(faces)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(
            f"cannot write the photos to {out}: it exists; choose another folder or remove it"
        )
    detectors: SimpleQueue[YuNet] = SimpleQueue()
    for _ in range(workers):
        detectors.put(YuNet(weights, conf=_LEAST_SURE))  # one each, as they are not safe to share
    plan = _Plan(masks, per_photo, confusers, keep_originals, seed)

    with output_errors(part), ThreadPoolExecutor(workers) as pool:
        done = _start(part, plan)
        firsts: dict[str, str] = {}

        def work(path: Path, checksum: str) -> list[MadePhoto]:
            name = written_name(path.relative_to(faces))
            if firsts.get(checksum, name) != name:
                return [
                    MadePhoto(
                        name, "duplicate", f"the same file as {firsts[checksum]}", sha256=checksum
                    )
                ]
            detector = detectors.get()
            try:
                return _make(path, name, part, detector, plan, done)
            finally:
                detectors.put(detector)

        made: list[MadePhoto] = []
        try:
            checksums = list(pool.map(_checksum, paths))
            for path, checksum in zip(paths, checksums, strict=True):
                if checksum:
                    firsts.setdefault(checksum, written_name(path.relative_to(faces)))
            with (part / _JOURNAL).open("a", encoding="utf-8") as journal:
                for number, photos in enumerate(pool.map(work, paths, checksums), 1):
                    if photos[0].original not in done:
                        journal.write(json.dumps([photo.to_dict() for photo in photos]) + "\n")
                        journal.flush()
                    made += photos
                    if on_progress:
                        on_progress(number, len(paths))
        finally:
            pool.shutdown(cancel_futures=True)
        _remove_leftovers(part, {photo.file for photo in made})
        write_synthesis(part / SYNTHESIS, made)
        (part / _JOURNAL).unlink()
        if out.is_dir():
            out.rmdir()
        part.replace(out)
        (out / MARKER).unlink()
    return Synthesis(out, made)


def find_faces(folder: Path | str) -> list[Path]:
    """List the files below a folder of photos of bare faces, sorted.

    Raises:
        DatasetError: no such folder, no photos, or a folder in it whose name says that its photos are masked.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DatasetError(
            f"no folder {folder}; give a folder of photos in which nobody wears a mask"
        )
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
                    f"{folder} has a folder '{name}'; give only the folder of bare faces, such as {folder / 'without_mask'}"
                )
    if not paths:
        raise DatasetError(
            f"no photos in {folder}; give a folder of photos in which nobody wears a mask"
        )
    return paths


@dataclass(frozen=True)
class _Plan:
    masks: float
    per_photo: int
    confusers: float
    keep_originals: bool
    seed: int


def _start(part: Path, plan: _Plan) -> dict[str, list[MadePhoto]]:
    """Make the working folder, or return what an interrupted run with the same options left in it, by original."""
    claim(part, "synthesize", _FOLDERS, _NAMES)
    settings = json.dumps([1, *vars(plan).values()])
    done: dict[str, list[MadePhoto]] = {}
    journal = part / _JOURNAL
    if journal.is_file():
        lines = journal.read_text(encoding="utf-8", errors="replace").split("\n")[
            :-1
        ]  # the last may be cut short
        if lines and lines[0] == settings:
            for line in lines[1:]:
                photos = [MadePhoto.from_dict(values) for values in json.loads(line)]
                done[photos[0].original] = photos
    for name in _FOLDERS:
        (part / name).mkdir(parents=True, exist_ok=True)
    lines = [
        settings,
        *(json.dumps([photo.to_dict() for photo in photos]) for photos in done.values()),
    ]
    write_atomic(journal, "\n".join(lines) + "\n")
    return done


def _make(
    path: Path,
    name: str,
    part: Path,
    detector: YuNet,
    plan: _Plan,
    done: dict[str, list[MadePhoto]],
) -> list[MadePhoto]:
    """Make what is to be made of one photo; return its lines, at least one."""
    line = MadePhoto(name, "unreadable")
    try:
        data = path.read_bytes()
        sha256 = sha256_of(data)
        earlier = done.get(name)
        if (
            earlier
            and earlier[0].sha256 == sha256
            and all(not photo.file or (part / photo.file).is_file() for photo in earlier)
        ):
            return earlier
        line = replace(line, sha256=sha256)
        image = decode_image(data, name)
    except OSError as error:
        return [replace(line, reason=(error.strerror or str(error)).lower())]
    except ImageError as error:
        return [replace(line, reason=str(error))]
    line = replace(
        line, phash=str(imagehash.phash(Image.fromarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY))))
    )
    found = detector.detect(image)
    if not len(found) or found.landmarks is None:
        return [replace(line, status="no_face", reason="no face found")]
    line = replace(
        line, landmarks=json.dumps(np.round(found.landmarks.astype(np.float64), 1).tolist())
    )
    if found.scores.min() < _SURE:
        return [
            replace(
                line,
                status="unsure",
                reason=f"a face of score {found.scores.min():.2f}, which may be none",
            )
        ]
    for landmarks in found.landmarks:
        if reason := obstacle(landmarks):
            return [replace(line, status="small" if "small" in reason else "turned", reason=reason)]

    def rng(*numbers: int) -> np.random.Generator:
        return np.random.default_rng([plan.seed, int(sha256[:16], 16), *numbers])

    def write(status: str, number: int, drawn: list[str], encoded: bytes, suffix: str) -> MadePhoto:
        class_name = "with_mask" if status == "masked" else "without_mask"
        label = f"_{drawn[0].replace(' ', '-')}_{number}" if drawn else ""
        file = f"{class_name}/{sha256[:16]}{label}{suffix}"
        write_atomic(part / file, encoded)
        return replace(
            line, status=status, file=file, class_name=class_name, drawn="; ".join(drawn)
        )

    chance, second_chance = rng(0).random(2)
    made = []
    if chance < plan.masks:
        for number in range(1, plan.per_photo + 1):
            masked, drawn = _masked(image, found.landmarks, rng(1, number))
            made.append(write("masked", number, drawn, *_encoded(masked, data)))
        if not plan.keep_originals:
            return [
                *made,
                replace(line, status="left_out", reason="its masked copy is in with_mask"),
            ]
    elif second_chance < plan.confusers:
        hidden, drawn = _hidden(image, found.landmarks, rng(2, 1))
        made.append(write("confuser", 1, drawn, *_encoded(hidden, data)))
    return [*made, write("bare", 0, [], data, _suffix(data))]


def _masked(
    image: ImageArray, faces: Landmarks, rng: np.random.Generator
) -> tuple[ImageArray, list[str]]:
    drawn = []
    for landmarks in faces:
        style = choose_style(rng)
        image = draw_mask(image, landmarks, rng, style)
        drawn.append(
            f"{style.kind} {style.colour}"
            + (f" {style.pattern}" if style.pattern != "plain" else "")
        )
    return image, drawn


def _hidden(
    image: ImageArray, faces: Landmarks, rng: np.random.Generator
) -> tuple[ImageArray, list[str]]:
    drawn = []
    for landmarks in faces:
        drawn.append(str(rng.choice(CONFUSERS)))
        image = draw_confuser(image, landmarks, rng, drawn[-1])
    return image, drawn


def _encoded(image: ImageArray, original: bytes) -> tuple[bytes, str]:
    """Encode a picture as its original was: a JPEG with the same tables, so that its traces tell nothing, or a PNG."""
    picture = Image.fromarray(np.ascontiguousarray(image[:, :, ::-1]))
    buffer = io.BytesIO()
    if _suffix(original) == ".png":
        picture.save(buffer, "PNG")
        return buffer.getvalue(), ".png"
    with open_picture(io.BytesIO(original)) as file:
        if isinstance(file, JpegImagePlugin.JpegImageFile) and file.mode in ("RGB", "L"):
            plugin: Any = JpegImagePlugin  # typed in some versions of Pillow, not in others
            jpeg: Any = file
            picture.convert(file.mode).save(
                buffer, "JPEG", qtables=jpeg.quantization, subsampling=plugin.get_sampling(jpeg)
            )
        else:
            picture.save(buffer, "JPEG", quality=92)
    return buffer.getvalue(), ".jpg"


def _suffix(data: bytes) -> str:
    """Return the file name ending for a picture's own format, whatever its name says."""
    with open_picture(io.BytesIO(data)) as file:
        return {"PNG": ".png", "WEBP": ".webp", "BMP": ".bmp", "TIFF": ".tif", "GIF": ".gif"}.get(
            file.format or "", ".jpg"
        )


def _remove_leftovers(part: Path, files: set[str]) -> None:
    """Remove what an interrupted run made of photos that have gone or changed since."""
    for folder in _FOLDERS:
        for path in (part / folder).iterdir():
            if f"{folder}/{path.name}" not in files:
                path.unlink()


def _checksum(path: Path) -> str:
    """Return the SHA-256 of a file as hex digits, or an empty string if it cannot be read."""
    try:
        return sha256_of(path)
    except OSError:
        return ""
