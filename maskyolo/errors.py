"""The errors that a user can cause: one base class to catch them all, and a subclass per area.

Every error states in one line what failed, where, and what was found (`problem`), and how to fix
it (`remedy`).
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
    """Any error the user can fix; the command prints it as one line and exits with 1.

    Attributes:
        problem: what failed, where, and what was found, in one line without a period.
        remedy: what the user can do about it; empty if the problem already says it.

    Example:
        >>> str(MaskyoloError("conf must be between 0 and 1, got 1.5", "use a value such as 0.5"))
        'conf must be between 0 and 1, got 1.5; use a value such as 0.5'
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem, remedy)  # both, so that the error can be pickled
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.problem}; {self.remedy}" if self.remedy else self.problem


class ImageError(MaskyoloError):
    """An image that cannot be decoded: missing, truncated, not an image, or too large."""


class SourceError(MaskyoloError):
    """A source of frames (file, folder, camera, stream) that cannot be opened or fails midway."""


class DatasetError(MaskyoloError):
    """A data set that does not follow its format: folders, labels, `data.yaml`, ledger."""


class WeightsError(MaskyoloError):
    """Weights that are missing, have the wrong checksum, or are for a different task."""


class OutputError(MaskyoloError):
    """An output that cannot be written: it already exists, no permission, no space left."""


class DependencyError(MaskyoloError):
    """An optional package is not installed; the remedy is the command that installs it."""


#: Remedies for the operating system's write errors, by error number.
_REMEDIES = {
    errno.ENOSPC: "free some space or choose another folder",
    errno.EDQUOT: "free some space or choose another folder",
    errno.EACCES: "choose a folder you can write to",
    errno.EPERM: "choose a folder you can write to",
    errno.EROFS: "choose a folder you can write to",
    errno.ENOTDIR: "there is a file where a folder is needed; choose another folder",
    errno.EEXIST: "there is a file where a folder is needed; choose another folder",
    errno.ENAMETOOLONG: "choose a shorter name",
}


@contextmanager
def output_errors(path: Path | str) -> Iterator[None]:
    """Turn the operating system's errors when writing `path` into a one-line `OutputError`.

    Raises:
        OutputError: no space left, no permission, a read-only file system, or a file where a
            folder is needed. Any other `OSError` passes through unchanged.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _REMEDIES:
            raise
        reason = (error.strerror or str(error)).lower()
        raise OutputError(f"cannot write {path}: {reason}", _REMEDIES[error.errno]) from error
