"""What reaches the terminal: text without control characters, and warnings in one line."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from maskyolo.core.text import printable
from maskyolo.errors import ImageWarning

__all__ = ["printable_streams", "raw_stderr"]


class _Printable:
    """A text stream that writes control characters as text; otherwise, as the stream itself."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        self.stream.write(printable(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        if name == "buffer":  # typer would write there
            raise AttributeError(name)
        return getattr(self.stream, name)


@contextmanager
def printable_streams() -> Iterator[None]:
    """Escape control characters in what is printed: file names and content may contain them.

    They could move the cursor, change the terminal's title, or reverse the text. A stream that
    something else has replaced is left as it is.
    """
    names, before = ("stdout", "stderr"), (sys.stdout, sys.stderr)
    cleaned = [stream and _Printable(stream) for stream in before]  # None if it is closed
    show = warnings.showwarning

    def show_warning(message: Warning | str, category: type[Warning], *rest: Any) -> None:
        if issubclass(category, ImageWarning):
            print(f"maskyolo: warning: {message}", file=sys.stderr)
        else:
            show(message, category, *rest)

    for name, stream in zip(names, cleaned, strict=True):
        setattr(sys, name, stream)
    warnings.showwarning = show_warning  # type: ignore[assignment]
    try:
        yield
    finally:
        warnings.showwarning = show
        for name, stream, own in zip(names, before, cleaned, strict=True):
            if getattr(sys, name) is own:
                setattr(sys, name, stream)


def raw_stderr() -> TextIO:
    """Return stderr as it was before `printable_streams`, for progress bars."""
    return getattr(sys.stderr, "stream", sys.stderr)
