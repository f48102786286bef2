"""Files and folders: atomic and durable writes, checksums, directory walks, lists of images.

`write_atomic` alone survives a killed process, but not a power cut: the system writes the content
to the disk up to half a minute later, in any order. What must survive a power cut is synced with
`sync_files` or `sync_tree` before it is reported as done.
"""

from __future__ import annotations

import errno
import hashlib
import importlib.resources
import io
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePath

from maskyolo.core.parsing import MAX_CSV, read_text
from maskyolo.errors import DatasetError, MaskyoloError, OutputError, output_errors

if sys.platform != "win32":
    import fcntl

__all__ = [
    "fresh_part",
    "inside",
    "move_into_place",
    "open_alone",
    "package_folder",
    "part_of",
    "read_image_list",
    "sha256_if_readable",
    "sha256_of",
    "sync_files",
    "sync_folder",
    "sync_tree",
    "walk_files",
    "write_atomic",
    "written_name",
]

#: Names of up to this many bytes get a longer temporary name, which eCryptfs (143) accepts, too.
_LONG = 138
#: Number of files that are synced at once: the file system then writes its journal once for all of
#: them, which takes a fifteenth of the time.
_SYNCING = 8


def write_atomic(path: Path | str, data: bytes | str) -> None:
    """Write `data` (text as UTF-8) to a temporary name in the same folder and move it into place.

    If there is an older file, a power cut leaves one of the two. A new file is not synced.

    Raises:
        OutputError: no space left, no permission, or the folder does not exist.
    """
    path = Path(path)
    part = fresh_part(path)
    try:
        with output_errors(path):
            if isinstance(data, str):  # it may contain a file name that is not valid Unicode
                data = data.encode(errors="backslashreplace")
            part.write_bytes(data)
            if path.exists():
                _sync(part)
            part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def move_into_place(part: Path, path: Path) -> None:
    """Move a finished temporary file in the same folder to its name, and sync both.

    Raises:
        OSError: the file cannot be moved.
    """
    _sync(part)
    part.replace(path)
    sync_folder(path.parent)


def open_alone(path: Path, keep: int = 0) -> io.FileIO:
    """Open a new or existing file to overwrite it, and lock it against other runs.

    The lock ends with the process, even if the process is killed. There is none on Windows.

    Args:
        path: the file.
        keep: number of bytes at its beginning to keep; writing continues after them.

    Raises:
        OutputError: another run is writing it.
        OSError: it cannot be opened.
    """
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b", buffering=0)
    try:
        if sys.platform != "win32":
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # If the other run has just finished, it has moved its file to the final name.
            if not path.exists() or not os.path.samestat(path.stat(), os.fstat(file.fileno())):
                raise BlockingIOError  # noqa: TRY301
        file.truncate(keep)
        file.seek(keep)
    except BlockingIOError:
        file.close()
        raise OutputError(
            f"cannot write {path}: another run is writing it",
            "wait until it is done, or choose another name",
        ) from None
    return file


def sync_files(paths: Iterable[Path]) -> None:
    """Wait until the disk has the content of files, and then their names in their folders.

    Raises:
        OSError: a file does not exist, or the disk fails.
    """
    paths = list(paths)
    with ThreadPoolExecutor(_SYNCING) as pool:
        list(pool.map(_sync, paths))
        list(pool.map(sync_folder, {path.parent for path in paths}))


def sync_tree(folder: Path) -> None:
    """Wait until the disk has all files and folders in a folder; links are not followed.

    Raises:
        OSError: the disk fails.
    """
    files, folders = [], []
    for place, _, names in os.walk(folder):
        folders.append(Path(place))
        files += [path for name in names if not (path := Path(place, name)).is_symlink()]
    with ThreadPoolExecutor(_SYNCING) as pool:
        list(pool.map(_sync, files))
        list(pool.map(sync_folder, folders))


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the names in a folder; does nothing where that is not possible."""
    if sys.platform == "win32":  # it cannot open folders
        return
    try:
        _sync(folder)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems
            raise


def _sync(path: Path) -> None:
    """Wait until the disk has the content of a file."""
    # Windows syncs only what is open for writing.
    file = os.open(path, os.O_RDWR if sys.platform == "win32" else os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def part_of(path: Path) -> Path:
    """Return the temporary name of a file in the same folder: with `.part` added.

    File systems limit names, usually to 255 bytes, so that of a long name is its checksum.
    """
    name = os.fsencode(path.name)
    return path.with_name(
        path.name + ".part" if len(name) <= _LONG else f"{sha256_of(name)[:32]}.part"
    )


def fresh_part(path: Path) -> Path:
    """Return `part_of` a file, and remove a link of that name.

    A stranger's data set may contain one, which would redirect the output elsewhere.
    """
    part = part_of(path)
    if part.is_symlink():
        part.unlink()
    return part


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
        text = read_text(path, MAX_CSV)
    except (OSError, ValueError) as reason:
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
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda found: rf"\x{ord(found[0]):02x}", text)


def inside(root: Path, name: PurePath | str) -> Path:
    """Return `root / name` for a name that was read from a data set, which may be a stranger's.

    Everything that is written, moved or deleted under such a name must pass here first.

    Args:
        root: the data set's folder.
        name: a path relative to it.

    Raises:
        DatasetError: with all links followed, the path is outside `root`, or it is `root` itself.
    """
    path = root / name
    try:
        real, home = path.resolve(), root.resolve()
    except (OSError, RuntimeError, ValueError):  # a circle of links; a null byte
        real = home = root
    if home not in real.parents:
        raise DatasetError(
            f"{root}: '{written_name(name)}' is outside the data set",
            "remove this link or name; nothing outside the data set is changed",
        )
    return path


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
