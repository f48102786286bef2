"""Deletes old files that this program has dated, and keeps those of an earlier run of a camera."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

from maskyolo.core.files import move_into_place, open_alone, part_of
from maskyolo.core.repeating import ARGS
from maskyolo.errors import MaskyoloError, output_errors
from maskyolo.runtime.results import NullSink, Result
from maskyolo.runtime.time_of_day import dated_name

__all__ = ["Kept", "Retention", "keep_earlier"]

#: Seconds between two looks at the files.
EVERY = 600.0
#: What `dated_name` adds to a name, and how images and clips of alerts are called.
_DATED = r"-(\d{4}-\d\d-\d\d)(?:_\d+)?"
_ALERT = re.compile(r"(\d{4}-\d\d-\d\d)_\d{6}\.\d{3}_track\d+(?:_\d+)?\.(?:jpg|mp4)")


@dataclass(frozen=True)
class Kept:
    """How long files are kept, and how much of them.

    Attributes:
        days: days after which a file is deleted; None: never.
        gigabytes: size of all dated files together above which the oldest are deleted; None: no
            limit.
    """

    days: int | None = None
    gigabytes: float | None = None

    @property
    def is_limited(self) -> bool:
        """Whether anything is ever deleted."""
        return self.days is not None or self.gigabytes is not None


class Retention(NullSink):
    """Deletes old files at the start and every ten minutes, in a thread of its own.

    Only regular files are deleted whose name contains a date as this program writes it: files of
    lines and counts of earlier days, and images and clips of alerts.

    Args:
        kept: what is kept.
        files: files of lines, of which earlier days have dated names next to them.
        runs: the run's folder without its number; all with that name are searched.
        on_failure: called with an error for the first file that cannot be deleted.
    """

    def __init__(
        self,
        kept: Kept,
        files: Iterable[Path],
        runs: Path,
        on_failure: Callable[[MaskyoloError], None],
    ) -> None:
        self._kept, self._files, self._runs = kept, list(files), runs
        self._on_failure, self._failed = on_failure, False
        self._next = 0.0
        self._thread: threading.Thread | None = None

    def write(self, result: Result) -> None:
        """Start to look, if it is time; see `Sink`."""
        del result
        self.look()

    def look(self) -> None:
        """Start to look, if it is time."""
        now = time.monotonic()
        if now < self._next or (self._thread and self._thread.is_alive()):
            return
        self._next = now + EVERY
        self._thread = threading.Thread(target=self.clean, name="maskyolo-retention", daemon=True)
        self._thread.start()

    def clean(self, today: date | None = None) -> list[Path]:
        """Delete what is too old or too much, and return it."""
        found = sorted(self._dated())
        gone = []
        if self._kept.days is not None:
            last = (today or datetime.now().astimezone().date()) - timedelta(days=self._kept.days)
            gone = [path for day, path in found if day < last]
        if self._kept.gigabytes is not None:
            left = [path for _, path in found[len(gone) :]]
            sizes = [_size(path) for path in left]
            excess = sum(sizes) - self._kept.gigabytes * 1e9
            for path, size in zip(left, sizes, strict=True):
                if excess <= 0:
                    break
                gone.append(path)
                excess -= size
        return [path for path in gone if self._delete(path)]

    def _dated(self) -> Iterator[tuple[date, Path]]:
        """Yield the files that may be deleted, with their days."""
        for path in self._files:
            yield from _matching(path.parent, _pattern(path))
        for folder in self._run_folders():
            yield from _matching(folder, _pattern(Path("counts.json")))
            alerts = folder / "alerts"
            yield from _matching(alerts, _ALERT)
            for camera in _folders(alerts):
                yield from _matching(camera, _ALERT)

    def _run_folders(self) -> Iterator[Path]:
        name = re.compile(rf"{re.escape(self._runs.name)}\d*")
        for folder in _folders(self._runs.parent):
            if name.fullmatch(folder.name) and (folder / ARGS).is_file():
                yield folder

    def _delete(self, path: Path) -> bool:
        try:
            path.unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            if not self._failed:
                self._failed = True
                reason = (error.strerror or str(error)).lower()
                self._on_failure(
                    MaskyoloError(f"cannot delete {path}: {reason}", "check its permissions")
                )
            return False
        return True


def keep_earlier(path: Path) -> None:
    """Give the file of an earlier run its date, so that it is not overwritten.

    Both the finished and the unfinished file are moved, to `events-2026-11-27.csv` for
    `events.csv`; the day is that of the last change.

    Raises:
        OutputError: another run is writing it, or it cannot be moved.
    """
    for old in (path, part_of(path)):
        if not old.is_file() or old.is_symlink():
            continue
        with output_errors(path):
            status = old.stat()
            if not status.st_size:
                continue
            with open_alone(old, keep=status.st_size):
                move_into_place(old, dated_name(path, date.fromtimestamp(status.st_mtime)))


def _pattern(path: Path) -> re.Pattern[str]:
    return re.compile(re.escape(path.stem) + _DATED + re.escape(path.suffix))


def _matching(folder: Path, pattern: re.Pattern[str]) -> Iterator[tuple[date, Path]]:
    """Yield the regular files in a folder whose names match, and the date in the first group."""
    for path in _children(folder):
        match = pattern.fullmatch(path.name)
        if match and path.is_file() and not path.is_symlink():
            try:
                yield date.fromisoformat(match[1]), path
            except ValueError:  # not a date, such as 2026-13-01
                continue


def _folders(folder: Path) -> list[Path]:
    return [path for path in _children(folder) if path.is_dir() and not path.is_symlink()]


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:  # not there, or not readable
        return []


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
