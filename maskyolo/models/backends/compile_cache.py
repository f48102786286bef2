"""The folder of networks that OpenVINO has compiled, in the user's cache."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs

if sys.platform != "win32":
    import fcntl

__all__ = ["FILES_KEPT", "compile_cache"]

#: Number of compiled networks to keep on disk, about 13 MB each; the oldest are deleted first.
FILES_KEPT = 8


@contextmanager
def compile_cache() -> Iterator[Path | None]:
    """Yield the folder of compiled networks in the user's cache, for one process at a time.

    OpenVINO names the files by network, device, settings and its own version, and compiles again if
    a file is damaged. It maps a file into memory, so that one that another process is writing ends
    this process with SIGBUS. So while another process uses the folder, and if it is not writable,
    this yields None.
    """
    folder = _prepared_cache()
    if folder is None or sys.platform == "win32":
        yield folder
        return
    try:
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
        yield None
        return
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # another process has it, or the file system has no locks
            yield None
        else:
            yield folder
    finally:
        os.close(lock)


def _prepared_cache() -> Path | None:
    """Return the folder with only the newest files, or None if it is not writable."""
    folder = platformdirs.user_cache_path("maskyolo", appauthor=False) / "compiled"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        files = sorted(folder.glob("*.blob"), key=lambda file: file.stat().st_mtime)
        for file in files[: 1 - FILES_KEPT]:
            file.unlink(missing_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None
