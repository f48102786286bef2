"""How many people were seen in each hour, counted while it happens."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from maskyolo.core.classes import CLASS_NAMES, INCORRECT_MASK
from maskyolo.runtime.events import Event

__all__ = ["Tally"]

#: Hours that are kept.
_KEPT = timedelta(hours=48)


@dataclass
class _Counted:
    """A person who is visible.

    Attributes:
        class_name: the class now.
        hour: the hour in which the person was counted; None if not counted yet.
        counted_class: the class when counted.
        state: how the person is counted.
    """

    class_name: str
    hour: datetime | None = None
    counted_class: str = ""
    state: str = ""


class Tally:
    """Counts people by the hour in which they arrive, from their events.

    A person counts with a mask or without one throughout, or by the last change, as in
    `maskyolo.runtime.people.Person`. Any number of threads may call it.
    """

    def __init__(self) -> None:
        self._hours: dict[datetime, Counter[str]] = {}
        self._people: dict[int, _Counted] = {}
        self._inside: set[int] = set()
        self._lock = threading.Lock()

    def add(self, event: Event, now: datetime, has_zone: bool) -> None:
        """Count an event.

        Args:
            event: what happened.
            now: its time of day.
            has_zone: whether only people in the zone count.
        """
        with self._lock:
            track = event.track_id
            person = self._people.setdefault(track, _Counted(event.class_name))
            person.class_name = event.class_name
            if event.event == "enters":
                self._inside.add(track)
            elif event.event == "leaves":
                self._inside.discard(track)
            if not has_zone or track in self._inside:
                self._count(person, now)
            if event.event == "ends":
                del self._people[track]
                self._inside.discard(track)

    def restart(self) -> None:
        """Forget who is visible, because the numbers of people start again."""
        with self._lock:
            self._people.clear()
            self._inside.clear()

    def today(self, day: date) -> dict[str, int]:
        """Return the number of people by state on a day; see `summary_of`."""
        with self._lock:
            hours = [counts for hour, counts in self._hours.items() if hour.date() == day]
        return summary_of(sum(hours, Counter()))

    def by_hour(self, day: date) -> list[dict[str, int]]:
        """Return the same for each of the 24 hours of a day."""
        with self._lock:
            begin = datetime(day.year, day.month, day.day)
            hours = [Counter(self._hours.get(begin + timedelta(hours=n), {})) for n in range(24)]
        return [summary_of(counts) for counts in hours]

    def record(self) -> dict[str, dict[str, int]]:
        """Return the counts by hour, such as `2026-11-27T08:00:00`, for `restore`."""
        with self._lock:
            return {hour.isoformat(): dict(counts) for hour, counts in self._hours.items()}

    def restore(self, record: Mapping[str, Mapping[str, int]]) -> None:
        """Take over the counts of an earlier run.

        Raises:
            ValueError: not what `record` returns.
        """
        hours = {datetime.fromisoformat(hour): Counter(counts) for hour, counts in record.items()}
        known = {*CLASS_NAMES, INCORRECT_MASK, "put_on", "took_off"}
        for hour, counts in hours.items():
            numbers = all(type(number) is int and number >= 0 for number in counts.values())
            if hour.tzinfo or not numbers or not known.issuperset(counts):
                raise ValueError(f"not counts of an hour: {hour.isoformat()}")
        with self._lock:
            self._hours = hours

    def _count(self, person: _Counted, now: datetime) -> None:
        if person.state and person.counted_class == person.class_name:
            return
        if person.hour is None:
            person.hour = now.replace(minute=0, second=0, microsecond=0, tzinfo=None)
            for hour in [hour for hour in self._hours if person.hour - hour > _KEPT]:
                del self._hours[hour]
        counts = self._hours.setdefault(person.hour, Counter())
        if person.state:
            counts[person.state] -= 1
        if person.state and person.class_name != INCORRECT_MASK:
            person.state = "put_on" if person.class_name == CLASS_NAMES[0] else "took_off"
        else:
            person.state = person.class_name
        counts[person.state] += 1
        person.counted_class = person.class_name


def summary_of(counts: Mapping[str, int]) -> dict[str, int]:
    """Return counts by state as the API returns them, with their sum as `people`."""
    states = (*CLASS_NAMES, INCORRECT_MASK, "put_on", "took_off")
    found: dict[str, Any] = {state: counts.get(state, 0) for state in states}
    return {"people": sum(found.values()), **found}
