"""Which photos a model was trained on: their perceptual hashes, in a file beside its weights.

`best.photos.txt` belongs to `best.onnx` and `best.pt`. It has one hash per line, as 16 hex digits
(imagehash's `phash`, 64 bits); photos cannot be reconstructed from them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from maskyolo.core.files import write_atomic
from maskyolo.core.images import ImageArray, read_image
from maskyolo.core.parallel import map_ahead, usable_cpus
from maskyolo.core.parsing import read_text
from maskyolo.dataset.near_copies import near_copies, perceptual_hashes
from maskyolo.errors import MaskyoloError, WeightsError

__all__ = [
    "HashingReader",
    "count_seen",
    "hash_photos",
    "hashes_file",
    "load_hashes",
    "save_hashes",
]

#: Largest file of hashes that is read, in bytes: about four million photos.
_MAX_BYTES = 64 << 20
_HASH = re.compile("[0-9a-f]{16}")


class HashingReader:
    """Reads images and keeps their perceptual hashes.

    Attributes:
        hashes: the hash of each image that was read, and that of its mirror image, by path.
    """

    def __init__(self, read: Callable[[Path], ImageArray] = read_image) -> None:
        self._read = read
        self.hashes: dict[Path, tuple[str, str]] = {}

    def __call__(self, path: Path) -> ImageArray:
        """Read an image file: BGR uint8 (H, W, 3)."""
        image = self._read(path)
        self.hashes[path] = perceptual_hashes(image)
        return image


def hash_photos(paths: Iterable[Path]) -> list[str]:
    """Return the perceptual hashes of image files, sorted, each once.

    Files that cannot be read are left out.

    Examples:
        >>> hash_photos([])
        []
    """

    def hash_of(path: Path) -> str:
        try:
            return perceptual_hashes(read_image(path))[0]
        except MaskyoloError:
            return ""

    with ThreadPoolExecutor(usable_cpus()) as pool:
        found = set(map_ahead(pool, hash_of, paths, 2 * usable_cpus()))
    return sorted(found - {""})


def hashes_file(weights: Path) -> Path:
    """Return where the hashes of a model's training photos are, which may not exist.

    Examples:
        >>> str(hashes_file(Path("weights/best.onnx")))
        'weights/best.photos.txt'
    """
    return weights.with_name(f"{weights.stem}.photos.txt")


def load_hashes(weights: Path) -> list[str]:
    """Return the hashes of the photos that a model was trained on; none if nobody recorded them.

    Args:
        weights: the model's file.

    Raises:
        WeightsError: their file is not one of hashes.
    """
    path = hashes_file(weights)
    if not path.is_file():
        return []
    try:
        lines = read_text(path, _MAX_BYTES).split()
    except (OSError, ValueError) as error:
        raise WeightsError(f"cannot read {path}: {error}", "remove it, or train again") from error
    wrong = next((line for line in lines if not _HASH.fullmatch(line)), None)
    if wrong is not None:
        raise WeightsError(
            f"cannot read {path}: '{wrong[:20]}' is not a hash of 16 hex digits",
            "remove it, or train again",
        )
    return lines


def save_hashes(weights: Path, hashes: Iterable[str]) -> Path:
    """Write the hashes of a model's training photos beside its file, and return where.

    Args:
        weights: the model's file, which need not exist yet.
        hashes: the hashes as 16 hex digits.

    Raises:
        OutputError: the file cannot be written.
    """
    path = hashes_file(weights)
    write_atomic(path, "".join(f"{value}\n" for value in sorted(set(hashes))))
    return path


def count_seen(images: Sequence[tuple[str, str]], seen: Sequence[str]) -> int:
    """Return how many images are near-copies of training photos.

    Args:
        images: the perceptual hash (n) of each image, and that of its mirror image.
        seen: the hashes of the training photos (m).

    Examples:
        >>> count_seen([("00ff00ff00ff00ff", "ff" * 8), ("0f" * 8, "f0" * 8)], ["0f" * 8])
        1
    """
    plain, mirrored = [one for one, _ in images], [turned for _, turned in images]
    return len(set(near_copies(plain, mirrored, to=seen)[:, 0].tolist()))
