"""Events, such as a person taking off a mask, and the file they are written to."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from maskyolo.errors import MaskyoloError
from maskyolo.runtime.json_lines import LineFile
from maskyolo.runtime.results import Result
from maskyolo.runtime.time_of_day import format_moment

__all__ = ["Event", "EventFile"]


@dataclass(frozen=True)
class Event:
    """Something that happened to a person.

    Attributes:
        event: `appears`, `changes` (the class), `enters` or `leaves` (the zone), `crosses_in` or
            `crosses_out` (the line), `alert` (without a mask for too long), or `ends` (no longer
            seen; frame and time are those of the last detection).
        source: the file, URL or camera.
        frame: index of the frame in its source, from 0.
        time: seconds since the source's first frame.
        track_id: number of the person in this source, from 1.
        class_name: the person's class from this moment on.
        confidence: confidence of the detection in this frame.
        moment: the time of day of this frame, with a zone; None if unknown.
        image: the file of an alert's image; empty if none is saved.
        clip: the file of an alert's video, which is completed later; empty if none is saved.
    """

    event: str
    source: str
    frame: int
    time: float
    track_id: int
    class_name: str
    confidence: float
    moment: datetime | None = None
    image: str = ""
    clip: str = ""

    def record(self) -> dict[str, Any]:
        """Return the event as it is written to files and sent in alerts.

        It contains `datetime` only if the time of day is known, and `image` and `clip` only if
        there are any.
        """
        fields = asdict(self) | {
            "time": round(self.time, 3),
            "confidence": round(self.confidence, 4),
        }
        moment = fields.pop("moment")
        saved = {name: file for name in ("image", "clip") if (file := fields.pop(name))}
        record = {{"class_name": "class"}.get(key, key): value for key, value in fields.items()}
        if moment:
            record["datetime"] = format_moment(moment)
        return record | saved


class EventFile(LineFile):
    """Writes one line per event; the file's suffix selects CSV with a header or JSON.

    Events of cameras and streams are in one file per day; see `LineFile.start_day`.

    Args:
        path: a `.csv`, `.jsonl` or `.json` file; see `LineFile`.
        dated: see `LineFile`.

    Raises:
        OutputError: no space left, no permission, or no such folder.
        MaskyoloError: an unknown suffix.
    """

    FIELDS = (
        "source", "frame", "time", "track_id", "event", "class", "confidence", "datetime", "image",
        "clip",
    )  # fmt: skip

    def __init__(self, path: Path, dated: bool = False) -> None:
        self.check(path)
        super().__init__(path, dated=dated)
        self._csv = path.suffix.lower() == ".csv"
        self._live = False
        self.begin()

    def begin(self) -> None:
        """Write the header of a CSV file."""
        if self._csv:
            self.line(_csv_line(self.FIELDS))

    @staticmethod
    def check(path: Path) -> None:
        """Check the suffix, which determines the format.

        Raises:
            MaskyoloError: an unknown suffix.
        """
        if path.suffix.lower() not in (".csv", ".jsonl", ".json"):
            raise MaskyoloError(
                f"cannot write events to {path}: unknown suffix '{path.suffix}'",
                "use a .csv or .jsonl file",
            )

    def write(self, result: Result) -> None:
        """Note whether the events of this frame are of a camera or stream; see `Sink`."""
        self._live = result.frame.kind == "live"

    def __call__(self, event: Event) -> None:
        """Write an event's line."""
        if self._live and event.moment:
            self.start_day(event.moment.date())
        record = event.record()
        if self._csv:
            self.line(_csv_line([record.get(key, "") for key in self.FIELDS]))
        else:
            fields = {key: record[key] for key in self.FIELDS if key in record}
            self.line(json.dumps(fields, ensure_ascii=False))


def _csv_line(values: Sequence[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(values)
    return text.getvalue()
