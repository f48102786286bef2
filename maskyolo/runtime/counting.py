"""Counts tracked people: who wears a mask, who puts one on or takes it off, who crosses a line.

People are tracks: someone who leaves the image and comes back is counted again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from maskyolo.core.classes import CLASS_NAMES, INCORRECT_MASK
from maskyolo.core.files import write_atomic
from maskyolo.core.images import ImageArray
from maskyolo.core.text import counted
from maskyolo.runtime.alert_images import AlertImages
from maskyolo.runtime.areas import Areas
from maskyolo.runtime.events import Event
from maskyolo.runtime.people import Person
from maskyolo.runtime.results import NullSink, Result
from maskyolo.runtime.time_of_day import dated_name, format_moment
from maskyolo.runtime.timeline import Timeline, mask_share
from maskyolo.runtime.tracking import LOST

if TYPE_CHECKING:
    import supervision as sv

    from maskyolo.runtime.frames import Frame

__all__ = ["Counting", "SourceCounts", "states_of"]

#: Seconds for which a face must be visible before it counts as a person. By then its class has
#: settled, and most false detections have gone.
SETTLED = 0.5
#: Seconds between writes of the counts to disk during a run.
SAVE_EVERY = 60.0


def states_of(names: Sequence[str]) -> tuple[str, ...]:
    """Return the ways to count a person, given the classes.

    They are the person's class throughout, or the last change: `put_on` or `took_off`. With three
    classes, `incorrect_mask` is also the state after a change to that class.
    """
    return (*names, "put_on", "took_off")


@dataclass
class SourceCounts:
    """What was counted in one source, or on one day of a camera or stream.

    Attributes:
        source: the file, URL or camera.
        frames: number of processed frames.
        seconds: time of the last frame.
        begun: time of the first frame.
        moment: time of day of the first frame; None if unknown.
        names: the classes.
        people: number of people in each of `states_of`; with a zone, of those who were in it.
        crossed: number of people of each class who crossed the line, by direction.
        seen: number of visible people of each class, summed over all frames.
        timeline: visible people of each class over time.
    """

    source: str
    names: Sequence[str] = CLASS_NAMES
    frames: int = 0
    seconds: float = 0.0
    begun: float = 0.0
    moment: datetime | None = None
    people: Counter[str] = field(default_factory=Counter)
    crossed: dict[str, Counter[str]] = field(
        default_factory=lambda: {"in": Counter(), "out": Counter()}
    )
    seen: list[int] = field(init=False)
    timeline: Timeline = field(init=False)

    def __post_init__(self) -> None:
        self.seen, self.timeline = [0] * len(self.names), Timeline(self.names)

    def add(self, time: float, seen: Sequence[int]) -> None:
        """Add a frame, given the number of visible people of each class."""
        self.seen = [before + now for before, now in zip(self.seen, seen, strict=True)]
        self.timeline.add(time - self.begun, seen)

    def timeline_records(self) -> list[dict[str, Any]]:
        """Return the timeline's entries, with the time of day if it is known."""
        return [
            entry
            | {"time": round(self.begun + entry["time"], 3)}
            | (
                {"datetime": format_moment(self.moment + timedelta(seconds=entry["time"]))}
                if self.moment
                else {}
            )
            for entry in self.timeline.records()
        ]


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
        self, zone: str | None = None, line: str | None = None, alert_after: float | None = None
    ) -> None:
        self.names: Sequence[str] = CLASS_NAMES
        self.listeners: list[Callable[[Event], None]] = []
        self.path: Path | None = None
        self.images: AlertImages | None = None
        self.counts: list[SourceCounts] = []
        self._areas = Areas(zone, line)
        self._next_areas: Areas | None = None
        self._alert_after = alert_after
        self._people: dict[int, Person] = {}
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
        if self._areas.has_line:
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
            self._areas, self._next_areas = self._next_areas, None
        if not self.counts or self.counts[-1].source != frame.source:
            self.finish()
            self.counts.append(
                SourceCounts(frame.source, self.names, begun=frame.time, moment=frame.moment)
            )
        self._areas.fit(frame.image.shape[1], frame.image.shape[0])
        here = self.counts[-1]
        here.frames, here.seconds = here.frames + 1, frame.time
        settled = self._see(frame, found)
        inside = self._inside(settled)
        for track in settled:
            person = self._people[track]
            for event in person.follow(
                track in inside, self._areas.has_zone, here.people, self._alert_after
            ):
                image = self.images.save(result, track) if self.images and event == "alert" else ""
                self._report(event, track, str(image))
        self._cross()
        seen = [
            sum(self._people[track].class_id == class_id for track in inside)
            for class_id in range(len(self.names))
        ]
        here.add(frame.time, seen)
        self._end(  # the tracker may still resume a track for LOST seconds
            track
            for track, person in self._people.items()
            if frame.time - person.time > LOST + SETTLED
        )
        if self.path and frame.time - self._saved >= SAVE_EVERY:
            self._saved = frame.time
            self._save(self.path)

    def finish(self) -> None:
        """End every track of the source; see `Sink`."""
        self._end(self._people)
        self._areas.reset()
        self._saved = 0.0

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
        self._next_areas = Areas(zone, line)

    def draw_overlay(self, image: ImageArray) -> None:
        """Draw the zone, and the line with its counts, into an image, BGR uint8 (H, W, 3)."""
        self._areas.draw(image)

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
        if self._areas.has_line:
            record["line"] = {
                way: {name: counts[name] for name in self.names} for way, counts in crossed.items()
            }
        return record

    def _see(self, frame: Frame, found: sv.Detections) -> list[int]:
        """Update the tracks that were detected in a frame; return those that count as people."""
        rows: Any = zip(
            found.tracker_id,  # type: ignore[arg-type]
            found.xyxy,
            found.class_id,  # type: ignore[arg-type]
            found.confidence,  # type: ignore[arg-type]
            strict=True,
        )
        settled = []
        for track, box, class_id, confidence in rows:
            if track < 1:
                continue
            person = self._people.setdefault(
                int(track), Person(frame.time, 0, 0.0, box, int(class_id), 0.0)
            )
            person.see(frame, box, int(class_id), float(confidence))
            if frame.time - person.first >= SETTLED:
                settled.append(int(track))
        return settled

    def _detections(self, tracks: Sequence[int]) -> sv.Detections:
        """Return the last detections of these tracks."""
        import supervision as sv

        people = [self._people[track] for track in tracks]
        return sv.Detections(
            np.array([person.box for person in people], np.float32).reshape(-1, 4),
            class_id=np.array([person.class_id for person in people], np.int64),
            tracker_id=np.array(tracks, np.int64),
        )

    def _inside(self, tracks: Sequence[int]) -> set[int]:
        """Return the tracks that are in the zone; all of them if there is no zone."""
        if not self._areas.has_zone:
            return set(tracks)
        inside = self._areas.inside(self._detections(tracks))
        return {track for track, is_inside in zip(tracks, inside, strict=True) if is_inside}

    def _cross(self) -> None:
        """Count people who cross the line; those not visible stay where they were last seen."""
        if not self._areas.has_line:
            return
        tracks = [track for track, person in self._people.items() if person.appeared]
        crossings = self._areas.crossings(self._detections(tracks))
        for direction, crossed in zip(("in", "out"), crossings, strict=True):
            for track in np.array(tracks, np.int64)[crossed].tolist():
                self.counts[-1].crossed[direction][self.names[self._people[track].class_id]] += 1
                self._report(f"crosses_{direction}", track)

    def _end(self, tracks: Iterable[int]) -> None:
        """Report and forget people who are no longer seen, in the order they were last seen."""
        for track in sorted(tracks, key=lambda track: self._people[track].time):
            if self._people[track].appeared:
                self._report("ends", track)
            del self._people[track]

    def _report(self, name: str, track: int, image: str = "") -> None:
        person = self._people[track]
        event = Event(
            name,
            self.counts[-1].source,
            person.frame,
            person.time,
            track,
            self.names[person.class_id],
            person.confidence,
            person.moment,
            image,
        )
        for listener in self.listeners:
            listener(event)

    def _save(self, path: Path) -> None:
        write_atomic(path, json.dumps(self.record(), indent=2, ensure_ascii=False) + "\n")


def _people(counts: Sequence[SourceCounts]) -> Counter[str]:
    return sum((one.people for one in counts), Counter())


def _crossed(counts: Sequence[SourceCounts], direction: str) -> Counter[str]:
    return sum((one.crossed[direction] for one in counts), Counter())


def _share(counts: Sequence[SourceCounts]) -> float | None:
    return mask_share([sum(numbers) for numbers in zip(*(one.seen for one in counts), strict=True)])
