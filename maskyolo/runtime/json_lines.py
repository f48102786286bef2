"""One line of JSON per image or frame."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from maskyolo.core.classes import ALL_CLASS_NAMES
from maskyolo.core.files import fresh_part, move_into_place, open_alone
from maskyolo.errors import OutputError, output_errors
from maskyolo.runtime.drawing import confidences_of
from maskyolo.runtime.results import NullSink, Result
from maskyolo.runtime.resuming import save_settings, settings_file
from maskyolo.runtime.retention import keep_earlier
from maskyolo.runtime.sinks import class_ids_of
from maskyolo.runtime.time_of_day import dated_name, format_moment

__all__ = ["JsonLines", "LineFile", "json_record"]


class LineFile(NullSink):
    """Writes whole lines of text at once to `part_of(path)`, which `close` moves into place.

    The final file is therefore never incomplete, and the temporary one is always valid up to its
    last line, even after a crash. A pipe or device (`/dev/stdout`) is written to directly.

    If days are given (`start_day`), there is a file per day: at the first line of a new day, the
    file of the day before gets its date (`seen-2026-11-27.jsonl`), and a new one begins.

    Args:
        path: the file to write; `close` replaces an existing one.
        keep: number of bytes of the temporary file to keep, of an interrupted run.
        dated: whether the file of an earlier run gets its date, and is not overwritten.

    Raises:
        OutputError: no space left, no permission, no such folder, or another run is writing it.
    """

    def __init__(self, path: Path, keep: int = 0, dated: bool = False) -> None:
        self._path = path
        # our own standard output may be a plain file, which must not be replaced
        own = {"/dev/stdout": 1, "/dev/fd/1": 1, "/dev/stderr": 2, "/dev/fd/2": 2}.get(str(path))
        with output_errors(path):
            if path.is_dir():  # also "/", which has no name to add to
                raise OutputError(f"cannot write {path}: it is a folder", "use the name of a file")
            special = own is not None or (path.exists() and not path.is_file())
            self._part = path if special else fresh_part(path)
            if own:
                self._file = os.fdopen(os.dup(own), "wb", buffering=0)
            elif special:
                self._file = path.open("wb", buffering=0)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                if dated:
                    keep_earlier(path)
                self._file = open_alone(self._part, keep)
        self._size = keep
        self._day: date | None = None

    @property
    def is_direct(self) -> bool:
        """Whether lines go directly to a pipe or device."""
        return self._part == self._path

    def start_day(self, day: date) -> None:
        """Say which day the next lines are of; a later day than before begins a new file.

        A pipe or device stays one.

        Raises:
            OutputError: no space left, or no permission.
        """
        before = self._day or day
        self._day = max(before, day)
        if day <= before or self.is_direct:
            return
        self._file.close()
        with output_errors(self._path):
            move_into_place(self._part, dated_name(self._path, before))
            self._part = fresh_part(self._path)
            self._file = open_alone(self._part)
        self._size = 0
        self.begin()

    def begin(self) -> None:
        """Write what each file begins with: nothing, except in subclasses."""

    def close(self) -> None:
        """Move the file into place; see `Sink`."""
        self._file.close()
        if not self.is_direct:
            with output_errors(self._path):
                move_into_place(self._part, self._path)

    def abandon(self) -> None:
        """Close the file and remove it; what went to a pipe or device stays."""
        self._file.close()
        if not self.is_direct:
            self._part.unlink(missing_ok=True)

    def line(self, text: str) -> None:
        """Write a line."""
        line = (text + "\n").encode(errors="backslashreplace")  # a file name may be invalid Unicode
        with output_errors(self._path):
            try:
                written = 0
                while written < len(line):
                    written += self._file.write(line[written:]) or 0
            except BaseException:  # leave no incomplete line
                if not self.is_direct:
                    self._file.truncate(self._size)
                    self._file.seek(self._size)
                raise
        self._size += len(line)


class JsonLines(LineFile):
    """Writes one line of JSON per frame; see `LineFile`.

    Args:
        path: the file to write.
        keep: number of bytes of an interrupted run's temporary file to keep.
        settings: what decides about the content of lines. It is stored beside the temporary file,
            so that an interrupted run can be resumed; None for a run that cannot.
        dated: see `LineFile`.
    """

    def __init__(
        self,
        path: Path,
        keep: int = 0,
        settings: Mapping[str, Any] | None = None,
        dated: bool = False,
    ) -> None:
        super().__init__(path, keep, dated)
        self._settings = None if settings is None or self.is_direct else settings_file(path)
        if settings is not None and self._settings:
            save_settings(path, settings)

    def close(self) -> None:
        """Move the file into place; see `Sink`."""
        super().close()
        if self._settings:
            self._settings.unlink(missing_ok=True)

    def write(self, result: Result) -> None:
        """Write a frame's line; see `Sink`."""
        frame = result.frame
        if frame.kind == "live" and frame.moment:
            self.start_day(frame.moment.date())
        self.line(json.dumps(json_record(result), ensure_ascii=False))

    def fail(self, source: str, index: int, error: str) -> None:
        """Write a line with `error` and without `detections`; see `Sink`."""
        self.line(
            json.dumps({"source": source, "frame": index, "error": error}, ensure_ascii=False)
        )


def json_record(result: Result) -> dict[str, Any]:
    """Return a result as a line of JSONL: boxes in pixels xyxy; `track_id` None if not tracked."""
    frame, found = result.frame, result.reported
    tracks = (
        [None] * len(found)
        if found.tracker_id is None
        else [int(track) if track > 0 else None for track in found.tracker_id]
    )
    return {
        "source": frame.source,
        "frame": frame.index,
        "time": round(frame.time, 6),
        **({"datetime": format_moment(frame.moment)} if frame.moment else {}),
        "width": frame.width,
        "height": frame.height,
        "detections": [
            {
                "box": [round(float(side), 2) for side in box],
                "class": ALL_CLASS_NAMES[class_id],
                "class_id": int(class_id),
                "confidence": round(float(value), 4),
                "track_id": track,
            }
            for box, class_id, value, track in zip(
                found.xyxy, class_ids_of(found), confidences_of(found), tracks, strict=True
            )
        ],
    }
