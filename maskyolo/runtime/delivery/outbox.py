"""Alerts on disk that wait for their delivery, in order."""

from __future__ import annotations

import contextlib
import io
import re
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from maskyolo.core.files import open_alone, sync_files, write_atomic
from maskyolo.errors import OutputError, output_errors

__all__ = ["Outbox", "Waiting"]

#: Maximum number of alerts that wait for one target, and their bytes together. The oldest ones are
#: dropped for newer ones.
MAX_ALERTS, MAX_BYTES = 10_000, 16 << 20

#: Maximum size in bytes of one alert; an event has less than a kilobyte.
MAX_ALERT = 64 << 10

#: Maximum number of runs and cameras at the same time that send alerts to the same target.
MAX_FOLDERS = 1000

#: When it was put in, in nanoseconds since 1970, and a random part.
_NAME = re.compile(r"(\d{20})-[0-9a-f]{32}\.json")
_LOCK = "lock"


@dataclass(frozen=True)
class Waiting:
    """An alert that waits.

    Attributes:
        name: name of its file; names are in the order of the alerts.
        size: number of its bytes.
        data: its content, if it could not be written to disk.
    """

    name: str
    size: int
    data: bytes | None = None


class Outbox:
    """Keeps alerts for one target in a folder, one file each, until they are removed.

    A file is complete as soon as it has its name, so a killed process loses none. Several processes
    and objects may use the same folder: each locks one for itself (`key`, `key-2`, …). What others
    have left, because they were killed or stopped, is taken over when an outbox is opened. The
    folder is made for the first alert, and removed when nothing is left in it.

    All methods can be called from any thread.

    Args:
        folder: contains a folder for each target.
        key: name of the target's folder.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self._folder, self._key = folder, key
        self._own: Path | None = None
        self._lock: io.FileIO | None = None
        self._waiting: dict[str, Waiting] = {}
        self._bytes, self._newest = 0, 0
        self._guard = threading.RLock()
        self.dropped = 0
        for left in sorted(folder.glob(f"{key}*"), key=lambda path: (len(path.name), path.name)):
            self._take_over(left)

    def __len__(self) -> int:
        """Return the number of alerts that wait."""
        with self._guard:
            return len(self._waiting)

    @property
    def folder(self) -> Path | None:
        """The folder with the alerts; None if there is none."""
        return self._own

    def put(self, data: bytes) -> OutputError | None:
        """Add an alert.

        Returns:
            Why it is only kept in memory, if it cannot be written to disk.
        """
        with self._guard:
            while self._waiting and (
                len(self._waiting) >= MAX_ALERTS or self._bytes + len(data) > MAX_BYTES
            ):
                self._forget(next(iter(self._waiting)))
                self.dropped += 1
            self._newest = max(time.time_ns(), self._newest + 1)
            name = f"{self._newest:020d}-{uuid.uuid4().hex}.json"
            try:
                write_atomic(self._claim() / name, data)
            except OutputError as error:
                self._add(Waiting(name, len(data), data))
                return error
            self._add(Waiting(name, len(data)))
            return None

    def first(self) -> Waiting | None:
        """Return the oldest alert, or None if there is none."""
        with self._guard:
            return next(iter(self._waiting.values()), None)

    def read(self, waiting: Waiting) -> bytes | None:
        """Return the content of an alert; None if somebody has removed its file.

        Raises:
            OSError: it cannot be read now.
        """
        if waiting.data is not None or self._own is None:
            return waiting.data
        try:
            return (self._own / waiting.name).read_bytes()
        except FileNotFoundError:
            return None

    def remove(self, waiting: Waiting) -> None:
        """Remove an alert that has been delivered, if it is still there."""
        with self._guard:
            self._forget(waiting.name)

    def sync(self, waiting: Waiting) -> None:
        """Wait until the disk has an alert, so that it also survives a power cut."""
        if self._own is not None and waiting.data is None:
            with contextlib.suppress(OSError):
                sync_files([self._own / waiting.name])

    def close(self) -> None:
        """Release the folder, and remove it if nothing waits in it."""
        with self._guard:
            if self._own is not None and self._lock is not None:
                _release(self._own, self._lock, empty=not self._waiting)
            self._own = self._lock = None

    def _claim(self) -> Path:
        """Return the own folder; make it if there is none.

        Raises:
            OutputError: it cannot be made.
        """
        if self._own is not None:
            return self._own
        for number in range(1, MAX_FOLDERS + 1):
            folder = self._folder / (self._key if number == 1 else f"{self._key}-{number}")
            with output_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)
                if lock := _locked(folder):
                    self._own, self._lock = folder, lock
                    return folder
        raise OutputError(
            f"cannot write {self._folder}: {MAX_FOLDERS} runs are using it", "choose another folder"
        )

    def _take_over(self, left: Path) -> None:
        """Add the alerts of a folder that nobody uses, which becomes the own one if there is none.

        What cannot be read or moved is left there for later.
        """
        if not re.fullmatch(r"(-\d+)?", left.name.removeprefix(self._key)):
            return
        with contextlib.suppress(OSError):
            lock = None if left.is_symlink() or not left.is_dir() else _locked(left)
            if lock is None:
                return
            if self._own is None:
                self._own, self._lock = left, lock
            for path in left.iterdir():
                if path.suffix == ".part":  # of a process that was killed
                    path.unlink()
                elif _NAME.fullmatch(path.name) and path.is_file() and not path.is_symlink():
                    size = path.stat().st_size
                    if size <= MAX_ALERT:
                        path.replace(self._own / path.name)
                        self._add(Waiting(path.name, size))
            if left != self._own:
                _release(left, lock, empty=True)
        self._waiting = dict(sorted(self._waiting.items()))
        if self._waiting:
            self._newest = int(max(self._waiting)[:20])

    def _add(self, waiting: Waiting) -> None:
        self._waiting[waiting.name] = waiting
        self._bytes += waiting.size

    def _forget(self, name: str) -> None:
        if waiting := self._waiting.pop(name, None):
            self._bytes -= waiting.size
            if waiting.data is None and self._own is not None:
                with contextlib.suppress(OSError):
                    (self._own / name).unlink()


def _locked(folder: Path) -> io.FileIO | None:
    """Lock a folder for this process, which also ends if the process is killed; None if it is used.

    Raises:
        OSError: there is no such folder, or no permission.
    """
    try:
        return open_alone(folder / _LOCK)
    except (OutputError, FileNotFoundError):  # used, or just being removed
        return None


def _release(folder: Path, lock: io.FileIO, *, empty: bool) -> None:
    with contextlib.suppress(OSError):
        if empty:
            (folder / _LOCK).unlink()
            folder.rmdir()
    lock.close()
