"""Turn events back into people: how long each was visible, and with or without a mask."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from maskyolo.core.classes import CLASS_NAMES, INCORRECT_MASK
from maskyolo.reports.event_files import LoggedEvent

__all__ = ["ZONE", "Visit", "visits_of"]

#: Name of a zone whose events do not name it.
ZONE = "zone"


@dataclass
class Visit:
    """A person's time in front of a camera, or in a zone of it.

    Attributes:
        camera: the source.
        zone: name of the zone; empty for the whole image.
        track_id: number of the person in this source.
        state: how the person is counted: the class throughout, or the last change, `put_on` or
            `took_off`. With three classes, `incorrect_mask` is also the state after a change to it.
        spans: begin and end of each time with one class, and the class.
        alerts: the alerts about the person.
        crossings: the events of crossing the line.
        ended: whether the events say when the person was last seen.
    """

    camera: str
    zone: str
    track_id: int
    state: str = ""
    spans: list[tuple[datetime, datetime, str]] = field(default_factory=list)
    alerts: list[LoggedEvent] = field(default_factory=list)
    crossings: list[LoggedEvent] = field(default_factory=list)
    ended: bool = False
    _class: str = ""
    _since: datetime | None = None

    @property
    def arrived(self) -> datetime:
        """When the person was first there."""
        return self.spans[0][0]

    @property
    def left(self) -> datetime:
        """When the person was last there."""
        return self.spans[-1][1]

    @property
    def seconds(self) -> float:
        """How long the person was there, in seconds; in a zone, without the time outside it."""
        return sum((end - begin for begin, end, _ in self.spans), timedelta()).total_seconds()

    def begin(self, moment: datetime, class_name: str) -> None:
        """Start, or continue with a class; see `maskyolo.runtime.people.Person`."""
        self.pause(moment)
        if class_name != self._class:
            if self.state and class_name != INCORRECT_MASK:
                self.state = "put_on" if class_name == CLASS_NAMES[0] else "took_off"
            else:
                self.state = class_name
        self._class, self._since = class_name, moment

    def pause(self, moment: datetime) -> None:
        """The person is not there from this moment on, or its class changes."""
        if self._since is not None:
            self.spans.append((self._since, max(self._since, moment), self._class))
        self._since = None


def visits_of(events: Iterable[LoggedEvent]) -> list[Visit]:
    """Return one visit per person and camera, and one per person and zone.

    Someone who is in a zone several times is one visit with several spans, as in `counts.json`.

    Args:
        events: in the order of their files' lines, each with its time of day.
    """
    open_people: dict[tuple[str, str, int], _Person] = {}
    people: list[_Person] = []
    for event in events:
        key = (str(event.file), event.source, event.track_id)
        person = open_people.get(key)
        if person is None or event.event == "appears":
            # without "appears", the file's beginning is missing; the person is counted from here
            person = open_people[key] = _Person(event)
            people.append(person)
        person.follow(event)
        if event.event == "ends":
            del open_people[key]
    for person in people:
        person.finish()
    return [visit for person in people for visit in person.visits()]


class _Person:
    """Follows the events of one person."""

    def __init__(self, first: LoggedEvent) -> None:
        self._camera = Visit(first.source, "", first.track_id)
        self._zones: dict[str, Visit] = {}
        self._inside: set[str] = set()
        self._class, self._last = "", first.moment

    def follow(self, event: LoggedEvent) -> None:
        moment = self._last = max(self._last, event.moment)
        if event.class_name != self._class:
            self._class = event.class_name
            for visit in (self._camera, *(self._zones[zone] for zone in self._inside)):
                visit.begin(moment, self._class)
        zone = event.zone or ZONE
        if event.event == "enters":
            visit = self._zones.setdefault(
                zone, Visit(self._camera.camera, zone, self._camera.track_id)
            )
            visit.begin(moment, self._class)
            self._inside.add(zone)
        elif event.event == "leaves" and zone in self._inside:
            self._zones[zone].pause(moment)
            self._inside.remove(zone)
        elif event.event in ("crosses_in", "crosses_out"):
            self._camera.crossings.append(event)
        elif event.event == "alert":
            for visit in self._here(event.zone):
                visit.alerts.append(event)
        elif event.event == "ends":
            self.finish()
            for visit in self.visits():
                visit.ended = True

    def finish(self) -> None:
        """End the visits with the last event."""
        self._camera.pause(self._last)
        for visit in self._zones.values():
            visit.pause(self._last)

    def visits(self) -> Iterator[Visit]:
        yield self._camera
        yield from self._zones.values()

    def _here(self, zone: str) -> Iterator[Visit]:
        """Yield the visits that an alert belongs to."""
        yield self._camera
        if zone in self._zones:
            yield self._zones[zone]
        elif not zone:
            yield from (self._zones[inside] for inside in self._inside)
