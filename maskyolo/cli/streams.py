"""The standard streams: a closed or full one neither ends a command nor damages its files."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Any

__all__ = ["repair_streams"]


class _Forgiving:
    """A stream whose errors are ignored: a failed message must not end a run."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def repair_streams() -> None:
    """Make the standard streams safe to use.

    A closed one is connected to nothing. Otherwise the next file that is opened would get its
    number, and everything that libraries print would go into that file. Text that is not valid
    Unicode, such as the name of a file, is printed with its bytes as escapes.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if not _is_open(number):
            nothing = os.open(os.devnull, os.O_RDWR)
            if nothing != number:
                os.dup2(nothing, number)
                os.close(nothing)
            setattr(sys, name, os.fdopen(number, "r+" if number == 0 else "w", closefd=False))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    sys.stderr = _Forgiving(sys.stderr)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
