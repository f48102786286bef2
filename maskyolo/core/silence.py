"""Silence native (non-Python) code that writes to the terminal."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

__all__ = ["quiet"]


@contextmanager
def quiet(*descriptors: int) -> Iterator[None]:
    """Discard what is written to these descriptors (1 stdout, 2 stderr) while the block runs.

    That includes output of C libraries and of child processes.
    """
    with ExitStack() as stack:
        nothing = stack.enter_context(Path(os.devnull).open("wb"))
        for number in descriptors:
            try:
                kept = os.dup(number)
            except OSError:  # the descriptor is closed
                continue
            stack.callback(os.close, kept)
            stack.callback(os.dup2, kept, number)
            os.dup2(nothing.fileno(), number)
        yield
