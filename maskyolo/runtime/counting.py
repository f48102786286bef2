"""Counts tracked people: who wears a mask, who puts one on or takes it off, who crosses a line.

People are tracks: someone who leaves the image and comes back is counted again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskyolo.core.classes import CLASS_NAMES, INCORRECT_MASK
from maskyolo.core.files import write_atomic
from maskyolo.core.images import ImageArray
from maskyolo.core.text import counted
from maskyolo.runtime.alert_images import AlertFiles, AlertImages
from maskyolo.runtime.areas import Areas
from maskyolo.runtime.events import Event
from maskyolo.runtime.named_cameras import NamedCamera
from maskyolo.runtime.results import NullSink, Result
from maskyolo.runtime.source_counting import SourceCounting, SourceCounts
from maskyolo.runtime.time_of_day import dated_name, format_moment
from maskyolo.runtime.timeline import mask_share

if TYPE_CHECKING:
    from maskyolo.runtime.frames import Frame

__all__ = ["Counting", "states_of"]

#: Seconds between writes of the counts to disk during a run.
SAVE_EVERY = 60.0


def states_of(names: Sequence[str]) -> tuple[str, ...]:
    """Return the ways to count a person, given the classes.

    They are the person's class throughout, or the last change: `put_on` or `took_off`. With three
    classes, `incorrect_mask` is also the state after a change to that class.
    """
    return (*names, "put_on", "took_off")


class Counting(NullSink):
    """A sink that counts people and reports what happens to them.

    For cameras and streams there is one file of counts per day. A person who is visible at midnight
    counts on both days.

    Args:
        zone: corners of a polygon, see `areas.Areas`; only people whose face's center is in it are
            counted.
        line: start and end of a line, see `areas.Areas`; people who cross it are counted.
        alert_after: seconds without a mask, or with one worn incorrectly (in the zone, if there is
            one), after which an alert is raised.
        cameras: sources with their own zone, line or time until an alert.

    Attributes:
        names: the classes that the detector reports.
        listeners: called with each event.
        path: the file that the counts are written to, if any.
        images: saves the frame of each alert, if wanted.
        counts: what was counted, by source; of a camera or stream, today.

    Raises:
        MaskyoloError: the zone or the line cannot be parsed.
    """

    def __init__(
        self,
        zone: str | None = None,
        line: str | None = None,
        alert_after: float | None = None,
        cameras: Sequence[NamedCamera] = (),
    ) -> None:
        self.names: Sequence[str] = CLASS_NAMES
        self.listeners: list[Callable[[Event], None]] = []
        self.path: Path | None = None
        self.images: AlertImages | None = None
        self.counts: list[SourceCounts] = []
        self._zone, self._line, self._alert_after = zone, line, alert_after
        self._own = {camera.name: camera for camera in cameras}
        lines = [Areas(one.zone, one.line).has_line for one in cameras]
        self._has_line = Areas(zone, line).has_line or any(lines)
        self._next_areas: tuple[str | None, str | None] | None = None
        self._open: dict[str, SourceCounting] = {}
        self._frames, self._found = 0, Counter[str]()
        self._saved = 0.0
        self._day: date | None = None
        self._earlier: list[SourceCounts] = []

    def people(self) -> Counter[str]:
        """Return the number of people in each of `states_of`, in all sources and days together."""
        return _people(self._earlier + self.counts)

    def crossed(self, direction: str) -> Counter[str]:
        """Return the number of people of each class who crossed the line, in all sources together.

        Args:
            direction: `in` or `out`.
        """
        return _crossed(self._earlier + self.counts, direction)

    def share_with_mask(self) -> float | None:
        """Return the fraction of visible people, over all frames, who wear a mask; None if none."""
        return _share(self._earlier + self.counts)

    def summary(self) -> str:
        """Return the counts as lines of text."""
        people = self.people()
        changes = {"put a mask on": people["put_on"], "took it off": people["took_off"]}
        groups = [f"{people['with_mask']} with a mask", f"{people['without_mask']} without a mask"]
        if INCORRECT_MASK in self.names:
            groups.append(f"{people[INCORRECT_MASK]} with a mask worn incorrectly")
        changed = f"{sum(changes.values())} changed"
        if any(changes.values()):
            how = (f"{number} {what}" for what, number in changes.items() if number)
            changed += f" ({', '.join(how)})"
        lines = [
            f"{counted(sum(people.values()), 'person', 'people')}: {', '.join([*groups, changed])}"
        ]
        share = self.share_with_mask()
        if share is not None:
            lines.append(f"masks were worn {share:.0%} of the time that people were visible")
        if self._has_line:
            crossings = [
                f"{direction} "
                + ", ".join(f"{self.crossed(direction)[name]} {name}" for name in self.names)
                for direction in ("in", "out")
            ]
            lines.append("crossed the line: " + "; ".join(crossings))
        return "\n".join(lines)

    def record(self) -> dict[str, Any]:
        """Return the counts in the format of `counts.json`; people only if faces were tracked."""
        record: dict[str, Any] = {
            "frames": self._frames,
            "detections": {name: self._found[name] for name in self.names},
        }
        if not self.counts:
            return record
        crossed = {way: _crossed(self.counts, way) for way in ("in", "out")}
        record |= self._people_record(_people(self.counts), crossed, _share(self.counts))
        record["sources"] = [
            {
                "source": counts.source,
                "frames": counts.frames,
                "seconds": round(counts.seconds, 3),
            }
            | ({"datetime": format_moment(counts.moment)} if counts.moment else {})
            | self._people_record(counts.people, counts.crossed, mask_share(counts.seen))
            | {"step": counts.timeline.step, "timeline": counts.timeline_records()}
            for counts in self.counts
        ]
        return record

    def write(self, result: Result) -> None:
        """Count a frame's detections and, if they are tracked, people; see `Sink`."""
        frame, found = result.frame, result.detections
        self._start_day(frame)
        self._frames += 1
        self._found.update(map(str, found.data["class_name"]))
        if found.tracker_id is None:
            return
        if self._next_areas:
            (self._zone, self._line), self._next_areas = self._next_areas, None
            for name, one in self._open.items():
                one.areas = self._areas(name)
        if frame.source not in self._open:
            if frame.kind != "live":  # a file that did not end properly
                self.finish()
            self._open[frame.source] = self._source(frame)
        self._open[frame.source].write(result)
        if self.path and frame.time - self._saved >= SAVE_EVERY:
            self._saved = frame.time
            self._save(self.path)

    def finish(self, source: str = "") -> None:
        """End every track of the source; see `Sink`."""
        for name in [source] if source else list(self._open):
            if name in self._open:
                self._open.pop(name).finish()

    def close(self) -> None:
        """End every track and write the counts; see `Sink`."""
        self.finish()
        if self.path:
            self._save(self.path)

    def set_areas(self, zone: str | None, line: str | None) -> None:
        """Replace the zone and the line from the next frame on; another thread may call it.

        Raises:
            MaskyoloError: the zone or the line cannot be parsed.
        """
        self._has_line = Areas(zone, line).has_line
        self._own, self._next_areas = {}, (zone, line)

    def draw_overlay(self, image: ImageArray, source: str = "") -> None:
        """Draw the zone, and the line with its counts, into an image, BGR uint8 (H, W, 3).

        Args:
            image: drawn on in place.
            source: the source that the image is from; may be omitted if there is only one.
        """
        for name in [source] if source else list(self._open):
            if name in self._open:
                self._open[name].areas.draw(image)

    def _source(self, frame: Frame) -> SourceCounting:
        """Begin the counts of a source."""
        self._saved = min(self._saved, frame.time)
        self.counts.append(
            SourceCounts(frame.source, self.names, begun=frame.time, moment=frame.moment)
        )
        own = self._own.get(frame.source)
        alert_after = own.alert_after if own else None
        return SourceCounting(
            self.counts[-1],
            self._areas(frame.source),
            self._alert_after if alert_after is None else alert_after,
            self._report,
            self._save_image,
        )

    def _areas(self, source: str) -> Areas:
        own = self._own.get(source)
        zone, line = (own.zone, own.line) if own else (None, None)
        return Areas(self._zone if zone is None else zone, self._line if line is None else line)

    def _save_image(self, result: Result, track: int) -> AlertFiles:
        return self.images.save(result, track) if self.images else AlertFiles()

    def _report(self, event: Event) -> None:
        for listener in self.listeners:
            listener(event)

    def _start_day(self, frame: Frame) -> None:
        """Complete the counts of a camera or stream at the first frame of a new day."""
        if frame.kind != "live" or frame.moment is None:
            return
        day = frame.moment.date()
        if self._day is not None and day > self._day:
            self.finish()
            if self.path:
                self._save(dated_name(self.path, self._day))
            self._earlier += self.counts
            self.counts, self._frames, self._found = [], 0, Counter()
        self._day = day if self._day is None else max(day, self._day)

    def _people_record(
        self, people: Counter[str], crossed: dict[str, Counter[str]], share: float | None
    ) -> dict[str, Any]:
        record: dict[str, Any] = {"people": sum(people.values())}
        record |= {state: people[state] for state in states_of(self.names)}
        record["share_with_mask"] = share
        if self._has_line:
            record["line"] = {
                way: {name: counts[name] for name in self.names} for way, counts in crossed.items()
            }
        return record

    def _save(self, path: Path) -> None:
        write_atomic(path, json.dumps(self.record(), indent=2, ensure_ascii=False) + "\n")


def _people(counts: Sequence[SourceCounts]) -> Counter[str]:
    return sum((one.people for one in counts), Counter())


def _crossed(counts: Sequence[SourceCounts], direction: str) -> Counter[str]:
    return sum((one.crossed[direction] for one in counts), Counter())


def _share(counts: Sequence[SourceCounts]) -> float | None:
    return mask_share([sum(numbers) for numbers in zip(*(one.seen for one in counts), strict=True)])
