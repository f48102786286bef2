"""Counts tracked people: who wears a mask, who puts one on or takes it off, who crosses a line.

People are tracks: someone who leaves the image and comes back is counted again.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from maskyolo._text import counted
from maskyolo.core.classes import CLASS_NAMES
from maskyolo.core.files import write_atomic
from maskyolo.errors import MaskyoloError
from maskyolo.images import ImageArray
from maskyolo.runtime.areas import Areas
from maskyolo.sinks import LineFile, NullSink, Result
from maskyolo.tracking import LOST

if TYPE_CHECKING:
    import supervision as sv

    from maskyolo.sources import Frame

__all__ = ["STATES", "Counting", "Event", "EventFile", "Person", "SourceCounts", "Timeline"]

#: How a person is counted: with or without a mask all the time, or by their last change.
STATES = ("with_mask", "without_mask", "put_on", "took_off")

#: Seconds for which a face must be visible before it counts as a person. By then its class has
#: settled, and most false detections have gone.
SETTLED = 0.5

#: Maximum number of entries of a timeline; beyond it, pairs of entries are merged.
ENTRIES = 600

#: Seconds between two copies of the counts on disk during a run.
SAVE_EVERY = 60.0

WITHOUT = CLASS_NAMES.index("without_mask")


@dataclass(frozen=True)
class Event:
    """Something that happened to a person.

    Attributes:
        event: `appears`, `changes` (the class), `enters` or `leaves` (the zone), `crosses_in` or
            `crosses_out` (the line), `alert` (without a mask for too long), or `ends` (not seen
            any more; frame and time are those of the last detection).
        source: the file, address or camera.
        frame: index of the frame in its source, from 0.
        time: seconds since the source's first frame.
        track_id: number of the person in this source, from 1.
        class_name: the person's class from this moment on.
        confidence: confidence of the detection in this frame.
    """

    event: str
    source: str
    frame: int
    time: float
    track_id: int
    class_name: str
    confidence: float

    def record(self) -> dict[str, Any]:
        """Return the event as it is written to files and sent in alerts."""
        fields = asdict(self) | {
            "time": round(self.time, 3),
            "confidence": round(self.confidence, 4),
        }
        return {{"class_name": "class"}.get(key, key): value for key, value in fields.items()}


class Timeline:
    """How many people with and without a mask are visible over time.

    It has at most `ENTRIES` entries, of equal length.

    Attributes:
        step: seconds per entry.
    """

    def __init__(self) -> None:
        self.step = 1.0
        self._frames: list[int] = []
        self._seen: list[list[int]] = []

    def add(self, time: float, seen: Sequence[int]) -> None:
        """Add a frame.

        Args:
            time: time of the frame in seconds.
            seen: number of visible people of each class.
        """
        while time >= ENTRIES * self.step:
            self.step *= 2
            self._frames = [
                sum(self._frames[place : place + 2]) for place in range(0, len(self._frames), 2)
            ]
            pairs = [self._seen[place : place + 2] for place in range(0, len(self._seen), 2)]
            self._seen = [[sum(counts) for counts in zip(*pair, strict=True)] for pair in pairs]
        place = int(max(time, 0.0) / self.step)
        while len(self._frames) <= place:
            self._frames.append(0)
            self._seen.append([0] * len(CLASS_NAMES))
        self._frames[place] += 1
        self._seen[place] = [
            before + now for before, now in zip(self._seen[place], seen, strict=True)
        ]

    def records(self) -> list[dict[str, Any]]:
        """Return one record per entry that has frames.

        It contains the time in seconds, the mean number of people of each class, and the fraction
        with a mask.
        """
        return [
            {"time": round(place * self.step, 3)}
            | {
                name: round(count / frames, 3)
                for name, count in zip(CLASS_NAMES, seen, strict=True)
            }
            | {"share_with_mask": _share(seen)}
            for place, (frames, seen) in enumerate(zip(self._frames, self._seen, strict=True))
            if frames
        ]


@dataclass
class SourceCounts:
    """What was counted in one source.

    Attributes:
        source: the file, address or camera.
        frames: number of processed frames.
        seconds: time of the last one.
        people: number of people in each of `STATES`; with a zone, of those who were in it.
        crossed: number of people of each class who crossed the line, by direction.
        seen: sum over the frames of the visible people of each class.
        timeline: the same over time.
    """

    source: str
    frames: int = 0
    seconds: float = 0.0
    people: Counter[str] = field(default_factory=Counter)
    crossed: dict[str, Counter[str]] = field(
        default_factory=lambda: {"in": Counter(), "out": Counter()}
    )
    seen: list[int] = field(default_factory=lambda: [0] * len(CLASS_NAMES))
    timeline: Timeline = field(default_factory=Timeline)

    def add(self, time: float, seen: Sequence[int]) -> None:
        """Add a frame, in which so many people of each class are visible."""
        self.seen = [before + now for before, now in zip(self.seen, seen, strict=True)]
        self.timeline.add(time, seen)


@dataclass
class Person:
    """A track: its last detection, and what is known about it.

    Attributes:
        first: time of the first detection.
        frame: index of the frame of the last detection.
        time: time of the last detection.
        box: xyxy pixels of the last detection, (4,).
        class_id: class of the last detection.
        confidence: confidence of the last detection.
        appeared: whether it counts as a person, see `SETTLED`.
        reported_class: class in the last event.
        inside: whether it is in the zone.
        state: how it is counted, one of `STATES`, or empty if it is not counted yet.
        counted_class: class when it was counted.
        bare_since: time since which it has had no mask in the zone, or None.
        alerted: whether there was an alert since then.
    """

    first: float
    frame: int
    time: float
    box: Any
    class_id: int
    confidence: float
    appeared: bool = False
    reported_class: int = 0
    inside: bool = False
    state: str = ""
    counted_class: int = 0
    bare_since: float | None = None
    alerted: bool = False

    def see(self, frame: Frame, box: Any, class_id: int, confidence: float) -> None:
        """Take over a detection in a new frame."""
        self.frame, self.time, self.box = frame.index, frame.time, box
        self.class_id, self.confidence = class_id, confidence

    def follow(
        self, inside: bool, has_zone: bool, people: Counter[str], alert_after: float | None
    ) -> list[str]:
        """Bring the person's state up to date with the last detection.

        Args:
            inside: whether the person is in the zone; True if there is none.
            has_zone: whether there is a zone.
            people: number of people in each of `STATES`; it is updated.
            alert_after: seconds without a mask after which there is an alert.

        Returns:
            The events that follow, see `Event`.
        """
        events = []
        if not self.appeared:
            self.appeared = True
            events.append("appears")
        elif self.reported_class != self.class_id:
            events.append("changes")
        self.reported_class = self.class_id
        if has_zone and inside != self.inside:
            events.append("enters" if inside else "leaves")
        self.inside = inside
        if inside and (not self.state or self.counted_class != self.class_id):
            self._count(people)
        if not inside or self.class_id != WITHOUT:
            self.bare_since, self.alerted = None, False
            return events
        self.bare_since = self.time if self.bare_since is None else self.bare_since
        overdue = alert_after is not None and self.time - self.bare_since >= alert_after
        if overdue and not self.alerted:
            self.alerted = True
            events.append("alert")
        return events

    def _count(self, people: Counter[str]) -> None:
        if self.state:
            people[self.state] -= 1
            self.state = "took_off" if self.class_id == WITHOUT else "put_on"
        else:
            self.state = CLASS_NAMES[self.class_id]
        people[self.state] += 1
        self.counted_class = self.class_id


class Counting(NullSink):
    """A sink that counts people and reports what happens to them.

    Args:
        zone: corners of a polygon, see `areas.Areas`; only people whose face's center is in it are
            counted.
        line: start and end of a line, see `areas.Areas`; people who cross it are counted.
        alert_after: seconds without a mask (in the zone, if there is one) after which there is an
            alert.

    Attributes:
        listeners: called with each event.
        path: the file that the counts are written to, if any.
        counts: what was counted, by source.

    Raises:
        MaskyoloError: the zone or the line cannot be parsed.
    """

    def __init__(
        self, zone: str | None = None, line: str | None = None, alert_after: float | None = None
    ) -> None:
        self.listeners: list[Callable[[Event], None]] = []
        self.path: Path | None = None
        self.counts: list[SourceCounts] = []
        self._areas = Areas(zone, line)
        self._alert_after = alert_after
        self._people: dict[int, Person] = {}
        self._frames, self._found = 0, Counter[str]()
        self._saved = 0.0

    def people(self) -> Counter[str]:
        """Return the number of people in each of `STATES`, in all sources together."""
        return sum((counts.people for counts in self.counts), Counter())

    def crossed(self, direction: str) -> Counter[str]:
        """Return the number of people of each class who crossed the line, in all sources together.

        Args:
            direction: `in` or `out`.
        """
        return sum((counts.crossed[direction] for counts in self.counts), Counter())

    def share_with_mask(self) -> float | None:
        """Return the fraction of visible people, over all frames, who wear a mask; None if none."""
        return _share(
            [sum(numbers) for numbers in zip(*(counts.seen for counts in self.counts), strict=True)]
        )

    def summary(self) -> str:
        """Return the counts as lines of text."""
        people = self.people()
        share = self.share_with_mask()
        lines = [
            f"{counted(sum(people.values()), 'person', 'people')}: "
            f"{people['with_mask']} with a mask, {people['without_mask']} without, "
            f"{people['put_on']} put one on, {people['took_off']} took one off"
            + (f"; {share:.0%} of the time with a mask" if share is not None else "")
        ]
        if self._areas.has_line:
            crossings = [
                f"{direction} "
                + ", ".join(f"{self.crossed(direction)[name]} {name}" for name in CLASS_NAMES)
                for direction in ("in", "out")
            ]
            lines.append("crossed the line: " + "; ".join(crossings))
        return "\n".join(lines)

    def record(self) -> dict[str, Any]:
        """Return the counts as `counts.json` has them; people only if something was tracked."""
        record: dict[str, Any] = {
            "frames": self._frames,
            "detections": {name: self._found[name] for name in CLASS_NAMES},
        }
        if not self.counts:
            return record
        crossed = {way: self.crossed(way) for way in ("in", "out")}
        record |= self._people_record(self.people(), crossed, self.share_with_mask())
        record["sources"] = [
            {
                "source": counts.source,
                "frames": counts.frames,
                "seconds": round(counts.seconds, 3),
            }
            | self._people_record(counts.people, counts.crossed, _share(counts.seen))
            | {"step": counts.timeline.step, "timeline": counts.timeline.records()}
            for counts in self.counts
        ]
        return record

    def write(self, result: Result) -> None:
        """Count a frame's detections and, if they are tracked, people; see `Sink`."""
        frame, found = result.frame, result.detections
        self._frames += 1
        self._found.update(map(str, found.data["class_name"]))
        if found.tracker_id is None:
            return
        if not self.counts or self.counts[-1].source != frame.source:
            self.finish()
            self.counts.append(SourceCounts(frame.source))
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
                self._report(event, track)
        self._cross()
        seen = [
            sum(self._people[track].class_id == class_id for track in inside)
            for class_id in range(len(CLASS_NAMES))
        ]
        here.add(frame.time, seen)
        self._end(  # the tracker may still resume a track for LOST seconds
            track
            for track, person in self._people.items()
            if frame.time - person.time > LOST + SETTLED
        )
        if self.path and frame.time - self._saved >= SAVE_EVERY:
            self._saved = frame.time
            self._save()

    def finish(self) -> None:
        """End every track of the source; see `Sink`."""
        self._end(self._people)
        self._areas.reset()
        self._saved = 0.0

    def close(self) -> None:
        """End every track and write the counts; see `Sink`."""
        self.finish()
        if self.path:
            self._save()

    def draw_overlay(self, image: ImageArray) -> None:
        """Draw the zone, and the line with its counts, into an image, BGR uint8 (H, W, 3)."""
        self._areas.draw(image)

    def _people_record(
        self, people: Counter[str], crossed: dict[str, Counter[str]], share: float | None
    ) -> dict[str, Any]:
        record: dict[str, Any] = {"people": sum(people.values())}
        record |= {state: people[state] for state in STATES}
        record["share_with_mask"] = share
        if self._areas.has_line:
            record["line"] = {
                way: {name: counts[name] for name in CLASS_NAMES} for way, counts in crossed.items()
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
        """Return those of the tracks that are in the zone; all of them if there is none."""
        if not self._areas.has_zone:
            return set(tracks)
        inside = self._areas.inside(self._detections(tracks))
        return {track for track, is_inside in zip(tracks, inside, strict=True) if is_inside}

    def _cross(self) -> None:
        """Count who crosses the line; anyone not visible now stays where they were last seen."""
        if not self._areas.has_line:
            return
        tracks = [track for track, person in self._people.items() if person.appeared]
        crossings = self._areas.crossings(self._detections(tracks))
        for direction, crossed in zip(("in", "out"), crossings, strict=True):
            for track in np.array(tracks, np.int64)[crossed].tolist():
                self.counts[-1].crossed[direction][CLASS_NAMES[self._people[track].class_id]] += 1
                self._report(f"crosses_{direction}", track)

    def _end(self, tracks: Iterable[int]) -> None:
        """Report and forget people who are no longer seen, in the order they were last seen."""
        for track in sorted(tracks, key=lambda track: self._people[track].time):
            if self._people[track].appeared:
                self._report("ends", track)
            del self._people[track]

    def _report(self, name: str, track: int) -> None:
        person = self._people[track]
        event = Event(
            name,
            self.counts[-1].source,
            person.frame,
            person.time,
            track,
            CLASS_NAMES[person.class_id],
            person.confidence,
        )
        for listener in self.listeners:
            listener(event)

    def _save(self) -> None:
        if self.path:
            write_atomic(self.path, json.dumps(self.record(), indent=2, ensure_ascii=False) + "\n")


class EventFile(LineFile):
    """Writes one line per event, as CSV with a header or as JSON, by the file's suffix.

    Args:
        path: a `.csv`, `.jsonl` or `.json` file; see `LineFile`.

    Raises:
        OutputError: no space left, no permission, or no such folder.
        MaskyoloError: another suffix.
    """

    FIELDS = ("source", "frame", "time", "track_id", "event", "class", "confidence")

    def __init__(self, path: Path) -> None:
        self.check(path)
        super().__init__(path)
        self._csv = path.suffix.lower() == ".csv"
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

    def __call__(self, event: Event) -> None:
        """Write an event's line."""
        record = event.record()
        if self._csv:
            self.line(_csv_line([record[key] for key in self.FIELDS]))
        else:
            self.line(json.dumps({key: record[key] for key in self.FIELDS}, ensure_ascii=False))


def _share(seen: Sequence[int]) -> float | None:
    """Return the fraction of people with a mask, or None if nobody was seen."""
    return round(seen[1 - WITHOUT] / sum(seen), 4) if sum(seen) else None


def _csv_line(values: Sequence[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(values)
    return text.getvalue()
