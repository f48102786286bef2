"""The errors a user can cause: one root, so that a caller can catch them all, and a child for each kind of mend.

Every message is one line and says what failed, where, what was found and what to do.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = [
    "DatasetError",
    "DependencyError",
    "ImageError",
    "MaskyoloError",
    "OutputError",
    "SourceError",
    "WeightsError",
    "output_errors",
]


class MaskyoloError(Exception):
    """Anything the user can mend; the command prints it as one line and exits with 1."""


class ImageError(MaskyoloError):
    """A picture that cannot be decoded: missing, truncated, no picture at all, or too large."""


class SourceError(MaskyoloError):
    """A source of frames that cannot be opened or that broke off: file, folder, camera, stream."""


class DatasetError(MaskyoloError):
    """A data set that is not what its format promises: folders, labels, `data.yaml`, ledger."""


class WeightsError(MaskyoloError):
    """Model weights that are missing, have the wrong checksum, or do not belong to this task."""


class OutputError(MaskyoloError):
    """An output that cannot be written: it exists already, no permission, no space left."""


class DependencyError(MaskyoloError):
    """An optional package that a command needs is not installed; the message says the line that installs it."""


@contextmanager
def output_errors(path: Path | str) -> Iterator[None]:
    """Turn the operating system's refusals to write to `path` into an `OutputError` of one line.

    Raises:
        OutputError: no space left, no permission, a read-only file system, or a file where a folder is needed.
    """
    mends = {
        errno.ENOSPC: "free some space or choose another folder",
        errno.EDQUOT: "free some space or choose another folder",
        errno.EACCES: "choose a folder you may write to",
        errno.EPERM: "choose a folder you may write to",
        errno.EROFS: "choose a folder you may write to",
        errno.ENOTDIR: "a file stands where a folder is needed; choose another folder",
        errno.EEXIST: "a file stands where a folder is needed; choose another folder",
        errno.ENAMETOOLONG: "choose a shorter name",
    }
    try:
        yield
    except OSError as error:
        if error.errno not in mends:
            raise
        raise OutputError(
            f"cannot write {path}: {(error.strerror or str(error)).lower()}; {mends[error.errno]}"
        ) from error
