"""Count the people that are tracked: who wears a mask, who puts one on or takes it off, who is in a zone or crosses a line.

People are tracks: someone who leaves the picture and comes back counts again.
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

import cv2
import numpy as np

from maskyolo._text import counted
from maskyolo.core.classes import CLASS_NAMES
from maskyolo.core.files import write_atomic
from maskyolo.errors import MaskyoloError
from maskyolo.images import ImageArray
from maskyolo.sinks import LineFile, NullSink, Result
from maskyolo.tracking import LOST

if TYPE_CHECKING:
    import supervision as sv

__all__ = ["STATES", "Counting", "Event", "EventFile", "SourceCounts", "Timeline", "parse_points"]

#: What a person is counted as: with a mask or without one all the time, or by the last change.
STATES = ("with_mask", "without_mask", "put_on", "took_off")

#: Seconds that a face must be seen before it counts as a person: its class has settled, and most false alarms are gone.
SETTLED = 0.5

#: Most entries of a timeline; then two become one, each of twice the length.
ENTRIES = 600

#: Seconds between two copies of the counts on the disk while a run goes on.
SAVE_EVERY = 60.0

WITHOUT = CLASS_NAMES.index("without_mask")


@dataclass(frozen=True)
class Event:
    """Something that happened to a person.

    Attributes:
        event: `appears`, `changes` (its class), `enters` or `leaves` (the zone), `crosses_in` or `crosses_out` (the line),
            `alert` (has had no mask for too long), `ends` (not seen any more; frame and time are those of the last sight).
        source: the file, address or camera.
        frame: place of the frame in its source, from 0.
        time: seconds since the source's first frame.
        track_id: number of the person in this source, from 1.
        class_name: what the person wears from this moment on.
        confidence: of the detection in this frame.
    """

    event: str
    source: str
    frame: int
    time: float
    track_id: int
    class_name: str
    confidence: float

    def record(self) -> dict[str, Any]:
        """Return the event as files and alerts have it."""
        fields = asdict(self) | {
            "time": round(self.time, 3),
            "confidence": round(self.confidence, 4),
        }
        return {{"class_name": "class"}.get(key, key): value for key, value in fields.items()}


class Timeline:
    """How many people with and without a mask are seen over time, in at most `ENTRIES` entries of equal length.

    Attributes:
        step: seconds of an entry.
    """

    def __init__(self) -> None:
        self.step = 1.0
        self._frames: list[int] = []
        self._seen: list[list[int]] = []

    def add(self, time: float, seen: Sequence[int]) -> None:
        """Add a frame, in which so many people of each class are seen."""
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
        """Return an entry for each step with frames: its time, the mean number of people of each class, the share with a mask."""
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
        frames: frames that were looked at.
        seconds: time of the last one.
        people: number of people of each of `STATES`; with a zone, of those that were in it.
        crossed: number of people of each class that crossed the line, by direction.
        seen: sum over the frames of the people of each class.
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


@dataclass
class _Person:
    """A track as it was seen last."""

    first: float
    frame: int
    time: float
    box: Any
    class_id: int
    confidence: float
    appeared: bool = False
    told: int = 0
    inside: bool = False
    state: str = ""
    counted: int = 0
    bare_since: float | None = None
    alerted: bool = False


class Counting(NullSink):
    """A sink that counts people and tells what happens to them.

    Args:
        zone: corners of a polygon as x, y, x, y, …; only people whose face's middle is in it are counted. Numbers that are all
            from 0 to 1 are shares of the picture's width and height, others pixels.
        line: x1, y1, x2, y2 in the same way; who crosses it is counted.
        alert_after: seconds without a mask (in the zone, if there is one) after which there is an alert.

    Attributes:
        listeners: told of each event.
        path: the file that the counts are written to, if any.
        counts: what was counted, by source.
    """

    def __init__(
        self, zone: str | None = None, line: str | None = None, alert_after: float | None = None
    ) -> None:
        self.listeners: list[Callable[[Event], None]] = []
        self.path: Path | None = None
        self.counts: list[SourceCounts] = []
        self._zone_points = parse_points(zone, "zone", least=3) if zone is not None else None
        self._line_points = (
            parse_points(line, "line", least=2, most=2) if line is not None else None
        )
        if alert_after is not None and alert_after < 0:
            raise MaskyoloError(
                f"cannot alert after {alert_after:g} seconds; give a number of 0 or more"
            )
        self._alert_after = alert_after
        self._size = (0, 0)
        self._zone: sv.PolygonZone | None = None
        self._line: sv.LineZone | None = None
        self._people: dict[int, _Person] = {}
        self._frames, self._found = 0, Counter[str]()
        self._saved = 0.0

    def people(self) -> Counter[str]:
        """Return the number of people of each of `STATES` in all sources together."""
        return sum((counts.people for counts in self.counts), Counter())

    def crossed(self, direction: str) -> Counter[str]:
        """Return the number of people of each class that crossed the line `in` or `out`, in all sources together."""
        return sum((counts.crossed[direction] for counts in self.counts), Counter())

    def share_with_mask(self) -> float | None:
        """Return the share of the people seen, over all frames, that wear a mask; None where nobody was seen."""
        return _share(
            [sum(numbers) for numbers in zip(*(counts.seen for counts in self.counts), strict=True)]
        )

    def summary(self) -> str:
        """Return the counts as lines for people."""
        people = self.people()
        share = self.share_with_mask()
        lines = [
            f"{counted(sum(people.values()), 'person', 'people')}: {people['with_mask']} with a mask, {people['without_mask']} without, "
            f"{people['put_on']} put one on, {people['took_off']} took one off"
            + (f"; {share:.0%} of the time with a mask" if share is not None else "")
        ]
        if self._line_points:
            crossings = [
                f"{direction} "
                + ", ".join(f"{self.crossed(direction)[name]} {name}" for name in CLASS_NAMES)
                for direction in ("in", "out")
            ]
            lines.append("crossed the line: " + "; ".join(crossings))
        return "\n".join(lines)

    def record(self) -> dict[str, Any]:
        """Return the counts as `counts.json` has them; people only where something was tracked."""

        def counted(
            people: Counter[str], crossed: Callable[[str], Counter[str]], share: float | None
        ) -> dict[str, Any]:
            found: dict[str, Any] = {"people": sum(people.values())} | {
                state: people[state] for state in STATES
            }
            found["share_with_mask"] = share
            if self._line_points:
                found["line"] = {
                    way: {name: crossed(way)[name] for name in CLASS_NAMES} for way in ("in", "out")
                }
            return found

        detections = {
            "frames": self._frames,
            "detections": {name: self._found[name] for name in CLASS_NAMES},
        }
        if not self.counts:
            return detections
        return (
            detections
            | counted(self.people(), self.crossed, self.share_with_mask())
            | {
                "sources": [
                    {
                        "source": counts.source,
                        "frames": counts.frames,
                        "seconds": round(counts.seconds, 3),
                    }
                    | counted(counts.people, counts.crossed.__getitem__, _share(counts.seen))
                    | {"step": counts.timeline.step, "timeline": counts.timeline.records()}
                    for counts in self.counts
                ]
            }
        )

    def write(self, result: Result) -> None:
        """Count a frame's detections and, where they are tracked, people; see `Sink`."""
        frame, found = result.frame, result.detections
        self._frames += 1
        self._found.update(map(str, found.data["class_name"]))
        tracks = found.tracker_id
        if tracks is None:
            return
        if not self.counts or self.counts[-1].source != frame.source:
            self.finish()
            self.counts.append(SourceCounts(frame.source))
        self._fit(frame.image.shape[1], frame.image.shape[0])
        here = self.counts[-1]
        here.frames, here.seconds = here.frames + 1, frame.time
        rows: Any = zip(tracks, found.xyxy, found.class_id, found.confidence, strict=True)  # type: ignore[arg-type]
        now = []
        for track, box, class_id, confidence in rows:
            if track < 1:
                continue
            person = self._people.setdefault(
                int(track), _Person(frame.time, 0, 0.0, box, int(class_id), 0.0)
            )
            person.frame, person.time, person.box = frame.index, frame.time, box
            person.class_id, person.confidence = int(class_id), float(confidence)
            if frame.time - person.first >= SETTLED:
                now.append(int(track))
        inside = self._inside(now)
        for track in now:
            self._follow(track, self._people[track], track in inside)
        self._cross()
        seen = [
            sum(self._people[track].class_id == class_id for track in inside)
            for class_id in range(len(CLASS_NAMES))
        ]
        here.seen = [before + more for before, more in zip(here.seen, seen, strict=True)]
        here.timeline.add(frame.time, seen)
        self._end(
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
        self._line, self._size, self._saved = None, (0, 0), 0.0

    def close(self) -> None:
        """End every track and write the counts; see `Sink`."""
        self.finish()
        if self.path:
            self._save()

    def draw_overlay(self, image: ImageArray) -> None:
        """Draw the zone and the line with its counts into a picture, BGR uint8 (H, W, 3)."""
        import supervision as sv

        height, width = image.shape[:2]
        thickness = max(round(min(width, height) / 300), 1)
        if self._zone:
            sv.draw_polygon(image, self._zone.polygon, sv.Color.WHITE, thickness)
        if self._line and self._line_points:
            start, end = self._fitted(self._line_points, width, height).tolist()
            cv2.line(image, start, end, (255, 255, 255), thickness, cv2.LINE_AA)
            text = f"in {self._line.in_count} out {self._line.out_count}"
            scale = sv.calculate_optimal_text_scale((width, height))
            middle = ((start[0] + end[0]) // 2, (start[1] + end[1]) // 2)
            cv2.putText(
                image,
                text,
                middle,
                cv2.FONT_HERSHEY_SIMPLEX,
                scale,
                (0, 0, 0),
                3 * thickness,
                cv2.LINE_AA,
            )
            cv2.putText(
                image,
                text,
                middle,
                cv2.FONT_HERSHEY_SIMPLEX,
                scale,
                (255, 255, 255),
                thickness,
                cv2.LINE_AA,
            )

    def _fit(self, width: int, height: int) -> None:
        """Lay zone and line over pictures of this size."""
        import supervision as sv

        if self._size == (width, height):
            return
        self._size = (width, height)
        if self._zone_points:
            polygon = self._fitted(self._zone_points, width, height).clip(0, (width, height))
            if not _crosses(polygon, width, height):
                raise MaskyoloError(
                    f"the --zone lies outside of the picture, which has {width} x {height} pixels; correct its corners"
                )
            self._zone = sv.PolygonZone(polygon, triggering_anchors=[sv.Position.CENTER])
        if self._line_points:
            start, end = (
                sv.Point(*point)
                for point in self._fitted(self._line_points, width, height).tolist()
            )
            if start == end:
                raise MaskyoloError("the --line has no length; give two different points")
            self._line = sv.LineZone(
                start, end, triggering_anchors=[sv.Position.CENTER], minimum_crossing_threshold=2
            )

    @staticmethod
    def _fitted(points: Sequence[tuple[float, float]], width: int, height: int) -> Any:
        shares = all(0 <= value <= 1 for point in points for value in point)
        return np.rint(np.array(points) * ((width, height) if shares else 1)).astype(np.int64)

    def _detections(self, tracks: Sequence[int]) -> sv.Detections:
        import supervision as sv

        people = [self._people[track] for track in tracks]
        return sv.Detections(
            np.array([person.box for person in people], np.float32).reshape(-1, 4),
            class_id=np.array([person.class_id for person in people], np.int64),
            tracker_id=np.array(tracks, np.int64),
        )

    def _inside(self, tracks: Sequence[int]) -> set[int]:
        if self._zone is None:
            return set(tracks)
        return {
            track
            for track, inside in zip(
                tracks, self._zone.trigger(self._detections(tracks)), strict=True
            )
            if inside
        }

    def _cross(self) -> None:
        """Count who crosses the line; one that is not seen just now stays where it was seen last."""
        if self._line is None:
            return
        tracks = [track for track, person in self._people.items() if person.appeared]
        for direction, crossed in zip(
            ("in", "out"), self._line.trigger(self._detections(tracks)), strict=True
        ):
            for track in np.array(tracks, np.int64)[crossed].tolist():
                self.counts[-1].crossed[direction][CLASS_NAMES[self._people[track].class_id]] += 1
                self._tell(f"crosses_{direction}", track)

    def _follow(self, track: int, person: _Person, inside: bool) -> None:
        """Tell what is new about a person who is seen, and count them."""
        if not person.appeared:
            person.appeared = True
            self._tell("appears", track)
        elif person.told != person.class_id:
            self._tell("changes", track)
        person.told = person.class_id
        if self._zone and inside != person.inside:
            self._tell("enters" if inside else "leaves", track)
        person.inside = inside
        if inside and (not person.state or person.counted != person.class_id):
            people = self.counts[-1].people
            if person.state:
                people[person.state] -= 1
                person.state = "took_off" if person.class_id == WITHOUT else "put_on"
            else:
                person.state = CLASS_NAMES[person.class_id]
            people[person.state] += 1
            person.counted = person.class_id
        if not inside or person.class_id != WITHOUT:
            person.bare_since, person.alerted = None, False
            return
        person.bare_since = person.time if person.bare_since is None else person.bare_since
        if (
            self._alert_after is not None
            and not person.alerted
            and person.time - person.bare_since >= self._alert_after
        ):
            person.alerted = True
            self._tell("alert", track)

    def _end(self, tracks: Iterable[int]) -> None:
        """Tell of people who are not seen any more, in the order of their last sights, and forget them."""
        for track in sorted(tracks, key=lambda track: self._people[track].time):
            if self._people[track].appeared:
                self._tell("ends", track)
            del self._people[track]

    def _tell(self, event: str, track: int) -> None:
        person = self._people[track]
        told = Event(
            event,
            self.counts[-1].source,
            person.frame,
            person.time,
            track,
            CLASS_NAMES[person.class_id],
            person.confidence,
        )
        for listener in self.listeners:
            listener(told)

    def _save(self) -> None:
        if self.path:
            write_atomic(self.path, json.dumps(self.record(), indent=2, ensure_ascii=False) + "\n")


class EventFile(LineFile):
    """Writes one line per event, as CSV with a head or as JSON, by the suffix of the file.

    Args:
        path: a `.csv`, `.jsonl` or `.json` file; see `LineFile`.

    Raises:
        OutputError: no space left, no permission, no such folder.
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
        """Check that the suffix says how to write."""
        if path.suffix.lower() not in (".csv", ".jsonl", ".json"):
            raise MaskyoloError(
                f"cannot write events to {path}: '{path.suffix}' is no known kind; give a .csv or .jsonl file"
            )

    def __call__(self, event: Event) -> None:
        """Write an event's line."""
        record = event.record()
        if self._csv:
            self.line(_csv_line([record[key] for key in self.FIELDS]))
        else:
            self.line(json.dumps({key: record[key] for key in self.FIELDS}, ensure_ascii=False))


def parse_points(
    text: str, name: str, least: int, most: int | None = None
) -> list[tuple[float, float]]:
    """Parse points written as x1,y1,x2,y2 and so on.

    Raises:
        MaskyoloError: no numbers, an odd number of them, negative ones, or too few or too many points.
    """
    wanted = f"give {'x1,y1,x2,y2' if most == 2 else 'x1,y1,x2,y2,x3,y3,… with three corners or more'}, in pixels or in shares from 0 to 1"
    try:
        values = [float(part) for part in text.replace(" ", "").split(",")]
    except ValueError as error:
        raise MaskyoloError(
            f"cannot read --{name} '{text}': these are not numbers with commas; {wanted}"
        ) from error
    if len(values) % 2 or len(values) < 2 * least or (most and len(values) > 2 * most):
        raise MaskyoloError(f"cannot read --{name} '{text}': {len(values)} numbers; {wanted}")
    if not all(0 <= value < 1e6 for value in values):
        raise MaskyoloError(
            f"cannot read --{name} '{text}': a number is outside of every picture; {wanted}"
        )
    return list(zip(values[::2], values[1::2], strict=True))


def _crosses(polygon: Any, width: int, height: int) -> bool:
    """Tell whether any pixel of a picture lies in a polygon."""
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [polygon.astype(np.int32)], 1)
    return bool(mask.any())


def _share(seen: Sequence[int]) -> float | None:
    """Return the share of the class with_mask, or None where nobody was seen."""
    return round(seen[1 - WITHOUT] / sum(seen), 4) if sum(seen) else None


def _csv_line(values: Sequence[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(values)
    return text.getvalue()
