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
    "FULL_DISK",
    "DatasetError",
    "DependencyError",
    "ImageError",
    "ImageWarning",
    "MaskyoloError",
    "NameRefusedError",
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

    Examples:
        >>> str(MaskyoloError("conf must be between 0 and 1, got 1.5", "use a value such as 0.5"))
        'conf must be between 0 and 1, got 1.5; use a value such as 0.5'
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem, remedy)  # both, so that the error can be pickled
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        text = f"{self.problem}; {self.remedy}" if self.remedy else self.problem
        return text.replace("\n", "\\x0a")  # from a file's name or content; the error is one line


class ImageError(MaskyoloError):
    """An image that cannot be decoded: missing, truncated, not an image, or too large."""


class ImageWarning(UserWarning):
    """A part of an image file is not used, such as further pages; the message is one line."""


class SourceError(MaskyoloError):
    """A source of frames (file, folder, camera, stream) that cannot be opened or fails midway."""


class DatasetError(MaskyoloError):
    """A data set that does not follow its format: folders, labels, `data.yaml`, ledger."""


class WeightsError(MaskyoloError):
    """Weights that are missing, have the wrong checksum, or are for a different task."""


class OutputError(MaskyoloError):
    """An output that cannot be written: it already exists, no permission, no space left."""


class NameRefusedError(OutputError):
    """An output whose name the file system refuses; outputs with other names can be written."""


class DependencyError(MaskyoloError):
    """An optional package is not installed; the remedy is the command that installs it."""


#: Errors of the operating system that affect every other write, too.
FULL_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})

#: The operating system's errors about the name of a file.
_NAMES = frozenset({errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ})

_SPACE = "free some space or choose another folder"
_ACCESS = "choose a folder you can write to"
_IN_THE_WAY = "there is a file where a folder is needed; choose another folder"

#: Remedies for the operating system's write errors, by error number.
_REMEDIES = {
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: _SPACE,
    errno.EACCES: _ACCESS,
    errno.EPERM: _ACCESS,
    errno.EROFS: _ACCESS,
    errno.ENOTDIR: _IN_THE_WAY,
    errno.EEXIST: _IN_THE_WAY,
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EINVAL: "choose another name; the file system refuses this one",
    errno.EILSEQ: "choose another name; the file system refuses this one",
    errno.EFBIG: "the file system or a limit allows no larger file; choose another folder",
    errno.ENOENT: "its folder was removed or renamed; create it again or choose another one",
    errno.ENOTEMPTY: "another program has put files there; choose another folder",
}


@contextmanager
def output_errors(path: Path | str) -> Iterator[None]:
    """Turn the operating system's errors when writing `path` into a one-line `OutputError`.

    Raises:
        NameRefusedError: the name is too long, or has characters that the file system refuses.
        OutputError: no space left, no permission, a failing disk, a folder that was removed
            meanwhile, a file where a folder is needed, or any other error of the system.
    """
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        if error.filename and str(path) not in str(error.filename):
            reason += f" ({error.filename})"
        known = error.errno or 0
        kind = NameRefusedError if known in _NAMES else OutputError
        remedy = _REMEDIES.get(known, "check the disk or choose another folder")
        raise kind(f"cannot write {path}: {reason}", remedy) from error
