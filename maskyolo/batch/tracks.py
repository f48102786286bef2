"""Tracks and counts people in the rows of a finished plan, as `detect` does while it detects.

No video is decoded again: tracking only needs the boxes, and the time and size of each frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from maskyolo.batch.options import JoinOptions, PlanOptions
from maskyolo.batch.plans import Item, Plan
from maskyolo.core.classes import ALL_CLASS_NAMES
from maskyolo.errors import MaskyoloError, OutputError, output_errors
from maskyolo.runtime.counting import Counting
from maskyolo.runtime.drawing import confidences_of
from maskyolo.runtime.events import EventFile
from maskyolo.runtime.filters import Step, keep_most_confident
from maskyolo.runtime.frames import Frame
from maskyolo.runtime.json_lines import JsonLines, LineFile, json_record
from maskyolo.runtime.results import Result, Sink
from maskyolo.runtime.tracking import Tracking

if TYPE_CHECKING:
    import supervision as sv

__all__ = ["TrackedLines", "exact_record"]

_PIXEL = np.zeros((1, 1, 3), np.uint8)


def exact_record(result: Result) -> dict[str, Any]:
    """Return what tracking needs of a result: a record of `json_record`, not rounded.

    It also has the `rate` of a video's frames, which is None for an image.
    """
    frame, found = result.frame, result.reported
    record = json_record(result) | {
        "time": frame.time,
        "rate": float(frame.rate) if frame.kind != "image" else None,
    }
    for one, box, confidence in zip(
        record["detections"], found.xyxy, confidences_of(found), strict=True
    ):
        one |= {"box": [float(side) for side in box], "confidence": float(confidence)}
    return record


class TrackedLines:
    """Writes the lines, events and counts of `detect` with `track`, from the rows of a plan.

    Args:
        plan: a plan with `track`.
        jsonl: file of lines to write, or None.
        options: what to count, and the other files to write.

    Attributes:
        counting: what was counted.

    Raises:
        OutputError: a file cannot be written.
        MaskyoloError: the zone or the line cannot be parsed, the suffix of the event file is
            unknown, or two of the files are the same.
    """

    def __init__(self, plan: Plan, jsonl: Path | None, options: JoinOptions) -> None:
        _check_files({"--jsonl": jsonl, "--events": options.events, "--counts": options.counts})
        self.counting = Counting(options.zone, options.line, options.alert_after)
        self.counting.names = plan.classes
        self._steps = _steps(plan.options)
        self._sinks: list[Sink] = []
        self._files: list[LineFile] = []
        try:
            if options.events is not None:
                events = EventFile(Path(options.events))
                self._files.append(events)
                self.counting.listeners.append(events)
            if jsonl is not None:
                self._files.append(JsonLines(jsonl))
        except BaseException:
            self.abandon()
            raise
        self._sinks = [*self._files, self.counting]
        self._counts = None if options.counts is None else Path(options.counts)

    def add(self, item: Item, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write the rows of an item."""
        for row in rows:
            if row["error"] is not None:
                for sink in self._sinks:
                    sink.fail(item.name, row["frame"], item.restore(row["error"]))
                continue
            frame, detections = _frame(item, row), _detections(row["detections"])
            for step in self._steps:
                frame, detections = step(frame, detections)
            for sink in self._sinks:
                sink.write(Result(frame, detections))

    def finish(self, item: Item) -> None:
        """End the tracks of a source that has ended."""
        for sink in self._sinks:
            sink.finish(item.name)

    def close(self) -> None:
        """Move the files into place."""
        self.counting.path = self._counts
        for sink in reversed(self._sinks):  # counting first, whose events are written
            sink.close()

    def abandon(self) -> None:
        """Remove the incomplete files."""
        for file in self._files:
            file.abandon()


def _check_files(files: Mapping[str, Path | str | None]) -> None:
    """Raise a MaskyoloError if a file cannot be written, before anything is done."""
    seen: dict[Path, str] = {}
    for option, given in files.items():
        if given is None:
            continue
        path = Path(given)
        other = seen.setdefault(path.absolute(), option)
        if other != option:
            raise MaskyoloError(
                f"cannot write both {other} and {option} to {path}", "use two files"
            )
        if option == "--events":
            EventFile.check(path)
        if path.is_dir():
            raise OutputError(f"cannot write {path}: it is a folder", "use the name of a file")
        with output_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)


def _steps(options: PlanOptions) -> list[Step]:
    """Return what `detect` does with the detections, in order."""
    steps: list[Step] = [Tracking(options.conf)]
    if options.slice_size is not None:
        steps.append(keep_most_confident(options.max_det))
    return steps


def _frame(item: Item, row: Mapping[str, Any]) -> Frame:
    """Return a frame without pixels: all of them are the same one in memory."""
    image = np.broadcast_to(_PIXEL, (row["height"], row["width"], 3))
    if row["rate"] is None:
        return Frame(image, item.name, row["frame"], row["time"])
    return Frame(image, item.name, row["frame"], row["time"], "video", Fraction(row["rate"]))


def _detections(found: list[dict[str, Any]]) -> sv.Detections:
    import supervision as sv

    class_ids = np.array([one["class_id"] for one in found], np.int64)
    return sv.Detections(
        np.array([one["box"] for one in found], np.float32).reshape(-1, 4),
        confidence=np.array([one["confidence"] for one in found], np.float32),
        class_id=class_ids,
        data={"class_name": np.array(ALL_CLASS_NAMES)[class_ids]},
    )
