"""Read the event files that `maskyolo detect --events` writes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from maskyolo.core.classes import ALL_CLASS_NAMES
from maskyolo.core.parsing import MAX_CSV, parse_json, read_limited, read_table
from maskyolo.errors import MaskyoloError
from maskyolo.runtime.time_of_day import parse_start

__all__ = ["LoggedEvent", "read_events"]

_COLUMNS = ("source", "time", "track_id", "event", "class")
_OPTIONAL = ("datetime", "zone", "image")
_REMEDY = "use a file that `maskyolo detect --events` wrote"


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """A line of an event file; see `maskyolo.runtime.events.Event`.

    Attributes:
        file: the event file.
        source: the file, URL or camera.
        moment: the time of day, with a zone.
        track_id: number of the person in this source.
        event: what happened, such as `appears`.
        class_name: the person's class from this moment on.
        zone: name of the zone, if it has one.
        image: path of an alert's image, if one was saved.
    """

    file: Path
    source: str
    moment: datetime
    track_id: int
    event: str
    class_name: str
    zone: str = ""
    image: str = ""


def read_events(paths: Sequence[Path], start: str | None = None) -> list[LoggedEvent]:
    """Return the events of all files, in the order of their lines.

    Args:
        paths: `.csv`, `.jsonl` or `.json` files, also while they are still written (`.part`). A
            file that is given twice is read once.
        start: when the recording started whose events have no time of day, in ISO 8601.

    Raises:
        MaskyoloError: a file cannot be read, or is not a file of events; an event has no time of
            day and `start` is not given, or several recordings have none.
    """
    files = {path.resolve(): path for path in paths}.values()
    begun = None if start is None else parse_start(start)
    undated: set[tuple[Path, str]] = set()
    events = [event for path in files for event in _File(path, begun, undated).read()]
    if len(undated) > 1:
        raise MaskyoloError(
            "--start is the start of one recording, and the events of "
            f"{len(undated)} recordings have no time of day (datetime)",
            "run `maskyolo detect --start` on each of them again",
        )
    if begun and events and not undated:
        raise MaskyoloError("all events have a time of day (datetime) already", "omit --start")
    return events


class _File:
    """Reads one file.

    Args:
        path: the file.
        start: when the recording started whose events have no time of day.
        undated: files and sources of events without a time of day; updated.
    """

    def __init__(self, path: Path, start: datetime | None, undated: set[tuple[Path, str]]) -> None:
        self._path, self._start, self._undated = path, start, undated

    def read(self) -> list[LoggedEvent]:
        path = self._path
        if path.is_dir():
            raise MaskyoloError(
                f"cannot read {path}: it is a folder",
                f"give its files, such as {path / 'events*.csv'}",
            )
        suffix = (path.with_suffix("") if path.suffix == ".part" else path).suffix.lower()
        if suffix == ".csv":
            return read_table(path, _COLUMNS, self._parse, MaskyoloError, _REMEDY, _OPTIONAL)
        if suffix in (".jsonl", ".json"):
            return self._read_lines()
        raise MaskyoloError(f"cannot read {path}: unknown suffix '{path.suffix}'", _REMEDY)

    def _read_lines(self) -> list[LoggedEvent]:
        """Return the events of a file with one JSON object per line."""
        found, number = [], 0
        try:
            lines = read_limited(self._path, MAX_CSV).splitlines()
            for number, line in enumerate(lines, 1):
                if line.strip():
                    found.append(self._parse(_object(line), number))
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise MaskyoloError(f"cannot read {self._path}: {reason}", "check the path") from error
        except (ValueError, TypeError, OverflowError) as error:
            where = f"line {number}: " if number else ""
            raise MaskyoloError(f"cannot read {self._path}: {where}{error}", _REMEDY) from error
        return found

    def _parse(self, row: Mapping[str, Any], line: int) -> LoggedEvent:
        """Return a line's event.

        Raises:
            ValueError: a value is not what `detect` writes.
            TypeError: a value has the wrong type.
            OverflowError: the time is too far from the start.
            MaskyoloError: there is no time of day.
        """
        time, track = float(row["time"]), int(row["track_id"])
        if not (math.isfinite(time) and time >= 0):
            raise ValueError(f"the time is '{row['time']}'")
        if row["class"] not in ALL_CLASS_NAMES:
            known = ", ".join(ALL_CLASS_NAMES)
            raise ValueError(f"the class is '{row['class']}', not one of {known}")
        if row.get("datetime"):
            moment = datetime.fromisoformat(str(row["datetime"]))
            if moment.tzinfo is None:
                raise ValueError(f"the datetime '{row['datetime']}' has no zone")
        elif self._start is None:
            raise MaskyoloError(
                f"cannot report {self._path}: line {line} has no time of day (datetime)",
                "if its events are of one recording, pass the time at which that started, such as "
                "--start 2026-11-27T08:00:00+01:00",
            )
        else:
            moment = self._start + timedelta(seconds=time)
            self._undated.add((self._path, str(row["source"])))
        return LoggedEvent(
            self._path,
            str(row["source"]),
            moment,
            track,
            str(row["event"]),
            str(row["class"]),
            str(row.get("zone") or ""),
            str(row.get("image") or ""),
        )


def _object(data: bytes) -> dict[str, Any]:
    found = parse_json(data)
    if not isinstance(found, dict):
        raise TypeError("not a JSON object")
    missing = [name for name in _COLUMNS if name not in found]
    if missing:
        raise ValueError(f"missing {', '.join(missing)}")
    return found
