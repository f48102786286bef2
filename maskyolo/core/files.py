"""Files and folders: atomic writes, checksums, directory walks, and lists of images."""

from __future__ import annotations

import hashlib
import importlib.resources
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath

from maskyolo.errors import DatasetError, MaskyoloError, output_errors

__all__ = [
    "package_folder",
    "read_image_list",
    "sha256_if_readable",
    "sha256_of",
    "walk_files",
    "write_atomic",
    "written_name",
]


def write_atomic(path: Path | str, data: bytes | str) -> None:
    """Write `data` (text as UTF-8) to a temporary name in the same folder and move it into place.

    Raises:
        OutputError: no space left, no permission, or the folder does not exist.
    """
    path = Path(path)
    part = path.with_name(path.name + ".part")
    try:
        with output_errors(path):
            if isinstance(data, str):  # it may contain a file name that is not valid Unicode
                data = data.encode(errors="backslashreplace")
            part.write_bytes(data)
            part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def sha256_of(data: Path | bytes) -> str:
    """Return the SHA-256 of a file, or of bytes, as lower-case hex.

    Raises:
        OSError: the file cannot be read.
    """
    if not isinstance(data, Path):
        return hashlib.sha256(data).hexdigest()
    digest = hashlib.sha256()
    with data.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def sha256_if_readable(path: Path) -> str:
    """Return the SHA-256 of a file as lower-case hex; empty if the file cannot be read."""
    try:
        return sha256_of(path)
    except OSError:
        return ""


def read_image_list(path: Path | str, error: type[MaskyoloError] = DatasetError) -> list[str]:
    """Read a text file with one image name per line, and return the names; empty lines are skipped.

    Args:
        path: text in UTF-8, with or without a byte order mark.
        error: the class of error to raise.

    Raises:
        MaskyoloError: of class `error`; the file cannot be read, or is not UTF-8 text.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as reason:
        raise error(
            f"cannot read list {path}: {reason}", "it must be UTF-8 text with one path per line"
        ) from reason
    return [line.strip() for line in text.splitlines() if line.strip()]


def written_name(path: PurePath | str) -> str:
    r"""Return a path with forward slashes as one line of text.

    Control characters, and bytes that are not UTF-8, become `\xNN`.
    """
    name = path if isinstance(path, str) else path.as_posix()
    text = name.encode(errors="surrogateescape").decode(errors="backslashreplace")
    return re.sub(r"[\x00-\x1f\x7f]", lambda found: rf"\x{ord(found[0]):02x}", text)


def walk_files(
    folder: Path, unreadable: Callable[[Path, OSError], None] | None = None
) -> Iterator[Path]:
    """List everything below a folder except folders, in no particular order.

    Links to folders are followed, except back into a folder that contains them.

    Args:
        folder: where to start; if it is not a folder, nothing is listed.
        unreadable: called for each folder that cannot be read.

    Raises:
        DatasetError: a folder cannot be read, and there is no `unreadable`.
    """

    def walk(place: Path, above: frozenset[str]) -> Iterator[Path]:
        real = os.path.realpath(place)
        if real in above:
            return
        try:
            entries = list(place.iterdir())
        except OSError as error:
            if unreadable is None:
                reason = (error.strerror or str(error)).lower()
                raise DatasetError(
                    f"cannot read folder {place}: {reason}", "make it readable or move it away"
                ) from error
            unreadable(place, error)
            return
        for entry in entries:
            if entry.is_dir():
                yield from walk(entry, above | {real})
            else:
                yield entry

    if folder.is_dir():
        yield from walk(folder, frozenset())


def package_folder() -> Path:
    """Return the folder that the package is installed in, with its weights and manifest."""
    return Path(str(importlib.resources.files("maskyolo")))
