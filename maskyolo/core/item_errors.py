"""Errors of single items of a batch: each is reported in one line, and the batch continues."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from maskyolo.core.files import written_name
from maskyolo.errors import FULL_DISK, ImageError, MaskyoloError, NameRefusedError, SourceError

__all__ = ["ERROR_LOG", "ItemErrors"]

#: Usual name of the log file, in the folder of the run or of the output.
ERROR_LOG = "errors.log"
#: Size in bytes at which the log stops growing. A bug that affects every item would fill the disk.
_MAX_LOG = 1 << 20


class ItemErrors:
    """Turns any error of one item of a batch into a user's error about that item.

    An error that is not a user's error is a bug of ours or of a library. Its traceback is
    appended to a log file, which the line names.

    Args:
        log: returns the log file; called at the first unexpected error. None for no log.
        shown: the name of the log file in messages, if the file is to be moved there later.
        hide: hides passwords in a text; applied to what other libraries' errors say.
    """

    def __init__(
        self,
        log: Callable[[], Path] | None = None,
        shown: Path | None = None,
        hide: Callable[[str], str] = str,
    ) -> None:
        self._log, self._shown, self._hide = log, shown, hide
        self._lock = threading.Lock()

    def explain(self, item: str, error: Exception) -> MaskyoloError:
        """Return the error of an item as a line for the user.

        Args:
            item: the item's name.
            error: what its processing raised.

        Raises:
            MaskyoloError: `error` itself, if it concerns more than this item: a full disk, missing
                weights or packages, or a wrong data set.
            OSError: `error` itself; a full or read-only disk.
        """
        if isinstance(error, (ImageError, SourceError, NameRefusedError)):
            return error
        if isinstance(error, MaskyoloError) or getattr(error, "errno", None) in FULL_DISK:
            raise error
        name = written_name(item)
        if isinstance(error, OSError) and error.strerror:
            return MaskyoloError(
                f"cannot process {name}: {error.strerror.lower()}", "check the file"
            )
        if isinstance(error, MemoryError):
            return MaskyoloError(f"cannot process {name}: not enough memory", "scale it down first")
        what = self._hide(" ".join(str(error).split()))[:200]
        kind = type(error).__name__
        return MaskyoloError(
            f"cannot process {name}: unexpected {kind}{': ' if what else ''}{written_name(what)}",
            f"this is a bug in maskyolo; please report it with {self._write(name, error)}",
        )

    def _write(self, name: str, error: Exception) -> str:
        """Append a traceback to the log; return how to refer to it in a message."""
        if self._log is None:
            return "this line"
        lines = self._hide("".join(traceback.format_exception(error, limit=-40)))
        now = datetime.now(UTC).isoformat(timespec="seconds")
        text = f"{now} {name}\n{lines}\n"
        try:
            with self._lock, self._log().open("ab") as log:
                if log.tell() < _MAX_LOG:
                    log.write(text.encode(errors="backslashreplace"))
                return str(self._shown or log.name)
        except (OSError, MaskyoloError):  # the item's error matters more
            return "this line"
