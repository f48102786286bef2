"""Limits for models of unknown origin: memory, and errors that become one line.

These formats run no code, but a few bytes of a model can ask for an array of terabytes.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from maskyolo.errors import MaskyoloError, WeightsError

__all__ = ["limited_memory", "model_errors"]

#: Memory that a model may take in addition to what the process has, in bytes: several times what
#: YOLOv8x takes at 1280 pixels. Each thread of a runtime has a stack and buffers of its own.
_MORE = 3 << 30
_MORE_PER_CPU = 64 << 20

#: Texts in libraries' messages about a failed allocation.
_NO_MEMORY = ("bad_alloc", "bad alloc", "allocate memory", "MemoryError", "OutOfMemory")

_lock = threading.Lock()
_active = 0
_before = (-1, -1)


@contextmanager
def limited_memory() -> Iterator[None]:
    """Limit how much more memory this process gets in this context; beyond it, allocations fail.

    The limit applies to the whole process, including other threads. It works on Linux only.
    """
    _change(1)
    try:
        yield
    finally:
        _change(-1)


@contextmanager
def model_errors(path: Path) -> Iterator[None]:
    """Limit memory, and convert what a runtime raises to a `WeightsError` in one line.

    Args:
        path: the model's file, for error messages.
    """
    try:
        with limited_memory():
            yield
    except MaskyoloError:
        raise
    except Exception as error:  # each runtime has exceptions of its own
        text = " ".join(str(error).split()) or type(error).__name__
        needs_memory = isinstance(error, MemoryError) or any(word in text for word in _NO_MEMORY)
        reason = f"it needs more than {_MORE >> 30} GB of memory" if needs_memory else text[:160]
        raise WeightsError(
            f"wrong weights {path}: {reason}", "download or export it again"
        ) from error


def _change(by: int) -> None:
    """Count the contexts that are active; the first sets the limit, the last removes it."""
    global _active, _before
    try:
        import resource
    except ImportError:  # Windows
        return
    with _lock:
        with suppress(OSError, ValueError):
            if _active == 0 and by > 0:
                _before = resource.getrlimit(resource.RLIMIT_DATA)
                limit = _used() + _MORE + _MORE_PER_CPU * (os.cpu_count() or 1)
                soft = limit if _before[0] == resource.RLIM_INFINITY else min(limit, _before[0])
                resource.setrlimit(resource.RLIMIT_DATA, (soft, _before[1]))
            elif _active + by == 0:
                resource.setrlimit(resource.RLIMIT_DATA, _before)
        _active += by


def _used() -> int:
    """Return the memory that the limit applies to, in bytes."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5])
    return pages * os.sysconf("SC_PAGE_SIZE")
