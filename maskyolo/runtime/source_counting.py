"""Counts the tracked people of one source, and reports what happens to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from maskyolo.core.classes import CLASS_NAMES
from maskyolo.runtime.alert_images import AlertFiles
from maskyolo.runtime.areas import Areas
from maskyolo.runtime.events import Event
from maskyolo.runtime.people import Person
from maskyolo.runtime.results import Result
from maskyolo.runtime.time_of_day import format_moment
from maskyolo.runtime.timeline import Timeline
from maskyolo.runtime.tracking import LOST

if TYPE_CHECKING:
    import supervision as sv

    from maskyolo.runtime.frames import Frame

__all__ = ["SETTLED", "SourceCounting", "SourceCounts"]

#: Seconds for which a face must be visible before it counts as a person. By then its class has
#: settled, and most false detections have gone.
SETTLED = 0.5

_NONE = AlertFiles()


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
        now: number of visible people of each class in the last frame.
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
    now: list[int] = field(init=False)
    timeline: Timeline = field(init=False)

    def __post_init__(self) -> None:
        self.seen, self.now = [0] * len(self.names), [0] * len(self.names)
        self.timeline = Timeline(self.names)

    def add(self, time: float, seen: Sequence[int]) -> None:
        """Add a frame, given the number of visible people of each class."""
        self.seen = [before + now for before, now in zip(self.seen, seen, strict=True)]
        self.now = list(seen)
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


class SourceCounting:
    """Counts the people of one source, frame by frame.

    Args:
        counts: what has been counted; updated in place.
        areas: the zone and the line.
        alert_after: seconds without a mask after which an alert is raised; see `Counting`.
        report: called with each event.
        save_image: saves a frame in which an alert was raised, given the track, and returns the
            files.
    """

    def __init__(
        self,
        counts: SourceCounts,
        areas: Areas,
        alert_after: float | None,
        report: Callable[[Event], None],
        save_image: Callable[[Result, int], AlertFiles],
    ) -> None:
        self.counts, self.areas = counts, areas
        self._alert_after, self._listener, self._save_image = alert_after, report, save_image
        self._people: dict[int, Person] = {}

    def write(self, result: Result) -> None:
        """Count the people in a frame whose detections are tracked."""
        frame, found, here = result.frame, result.detections, self.counts
        self.areas.fit(frame.image.shape[1], frame.image.shape[0])
        here.frames, here.seconds = here.frames + 1, frame.time
        settled = self._see(frame, found)
        inside = self._inside(settled)
        for track in settled:
            person = self._people[track]
            for event in person.follow(
                track in inside, self.areas.has_zone, here.people, self._alert_after
            ):
                alert = event == "alert"
                saved = self._save_image(result, track) if alert else _NONE
                self._report(event, track, saved)
        self._cross()
        seen = [
            sum(self._people[track].class_id == class_id for track in inside)
            for class_id in range(len(here.names))
        ]
        here.add(frame.time, seen)
        self._end(  # the tracker may still resume a track for LOST seconds
            track
            for track, person in self._people.items()
            if frame.time - person.time > LOST + SETTLED
        )

    def finish(self) -> None:
        """End every track."""
        self._end(self._people)
        self.areas.reset()

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
        if not self.areas.has_zone:
            return set(tracks)
        inside = self.areas.inside(self._detections(tracks))
        return {track for track, is_inside in zip(tracks, inside, strict=True) if is_inside}

    def _cross(self) -> None:
        """Count people who cross the line; those not visible stay where they were last seen."""
        if not self.areas.has_line:
            return
        tracks = [track for track, person in self._people.items() if person.appeared]
        crossings = self.areas.crossings(self._detections(tracks))
        for direction, crossed in zip(("in", "out"), crossings, strict=True):
            for track in np.array(tracks, np.int64)[crossed].tolist():
                self.counts.crossed[direction][self.counts.names[self._people[track].class_id]] += 1
                self._report(f"crosses_{direction}", track)

    def _end(self, tracks: Iterable[int]) -> None:
        """Report and forget people who are no longer seen, in the order they were last seen."""
        for track in sorted(tracks, key=lambda track: self._people[track].time):
            if self._people[track].appeared:
                self._report("ends", track)
            del self._people[track]

    def _report(self, name: str, track: int, saved: AlertFiles = _NONE) -> None:
        person = self._people[track]
        event = Event(
            name,
            self.counts.source,
            person.frame,
            person.time,
            track,
            self.counts.names[person.class_id],
            person.confidence,
            person.moment,
            saved.image,
            saved.clip,
        )
        self._listener(event)
