"""Kills and power cuts at any step of a program's work on files."""

from __future__ import annotations

import os
import shutil
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

#: What a file system leaves of a file that was not synced.
DAMAGES = ("empty", "zeros", "lost")


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


@contextmanager
def killed_at(step: int) -> Iterator[list[str]]:
    """Let `step` operations on files happen and none after.

    Not even those of handlers that clean up happen, for which a kill leaves no time.
    """
    happened: list[str] = []
    lock = threading.Lock()
    with pytest.MonkeyPatch.context() as patch:

        def counted(home: object, name: str) -> None:
            real = getattr(home, name)

            def operation(*arguments: object, **options: object) -> object:
                with lock:
                    if len(happened) >= step:
                        raise Killed
                    happened.append(f"{name} {arguments[0]}")
                return real(*arguments, **options)

            patch.setattr(home, name, operation)

        for name in ("replace", "unlink", "mkdir", "rmdir", "write_bytes"):
            counted(Path, name)
        counted(shutil, "rmtree")
        counted(os, "fsync")
        yield happened


class Disk:
    """Knows what was synced, and takes away the rest as a power cut does (on Linux).

    Names are the file system's own, which orders them; what it delays is the content.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._synced: dict[int, bytes] = {}

        def sync(file: int) -> None:
            found = os.fstat(file)
            if stat.S_ISREG(found.st_mode):
                self._synced[found.st_ino] = Path(f"/proc/self/fd/{file}").read_bytes()

        patch.setattr(os, "fsync", sync)

    def cut(self, folder: Path, damage: str) -> list[str]:
        """Damage every file below a folder that is not on the disk as it is; return their names."""
        damaged = []
        for path in sorted(folder.rglob("*")):
            if path.is_file() and self._synced.get(path.stat().st_ino) != path.read_bytes():
                damaged.append(path.relative_to(folder).as_posix())
                size = path.stat().st_size
                if damage == "lost":
                    path.unlink()
                else:
                    path.write_bytes(b"\0" * size if damage == "zeros" else b"")
        return damaged


def tree(folder: Path) -> dict[str, bytes]:
    """Return the content of every file below a folder by its relative path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
