"""The figures of a report: people, mask wearing and time, per period, camera and zone."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

from maskyolo.core.classes import CLASS_NAMES, INCORRECT_MASK
from maskyolo.errors import MaskyoloError
from maskyolo.reports.options import Period
from maskyolo.reports.visits import Visit

__all__ = ["MAX_PERIODS", "Figures", "floor", "gather", "periods_between", "seconds_by_hour"]

#: Maximum number of periods of a report. By hour it is seven months, by day 13 years.
MAX_PERIODS = 5000

_Key = TypeVar("_Key")
_LENGTHS = {Period.HOUR: timedelta(hours=1), Period.DAY: timedelta(days=1)}


@dataclass
class Figures:
    """What was counted.

    People count in the period in which they arrive; time, alerts and crossings in their own.

    Attributes:
        people: number of people by how they are counted, see `Visit.state`.
        seconds: person-seconds of each class.
        stays: how long each person stayed, in seconds.
        crossed: number of crossings of the line, by direction.
        alerts: number of alerts.
    """

    people: Counter[str] = field(default_factory=Counter)
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    stays: list[float] = field(default_factory=list)
    crossed: Counter[str] = field(default_factory=Counter)
    alerts: int = 0

    @property
    def total(self) -> int:
        """Number of people."""
        return sum(self.people.values())

    @property
    def changed(self) -> int:
        """Number of people who put a mask on or took it off."""
        return self.people["put_on"] + self.people["took_off"]

    @property
    def share(self) -> float | None:
        """Fraction of the time that people were visible in which they wore a mask; None if none."""
        total = sum(self.seconds.values())
        return self.seconds[CLASS_NAMES[0]] / total if total else None

    @property
    def median_stay(self) -> float | None:
        """Median stay in seconds; None if there was nobody."""
        return statistics.median(self.stays) if self.stays else None

    def groups(self, incorrect: bool) -> dict[str, int]:
        """Return the number of people of each group that the report shows, by its name."""
        shown = {
            "with mask": self.people[CLASS_NAMES[0]],
            "without mask": self.people[CLASS_NAMES[1]],
        }
        if incorrect:
            shown["worn incorrectly"] = self.people[INCORRECT_MASK]
        return {**shown, "changed": self.changed}

    def add_person(self, visit: Visit) -> None:
        """Count a person, but neither the time nor the events."""
        self.people[visit.state] += 1
        self.stays.append(visit.seconds)


def gather(visits: Iterable[Visit], key: Callable[[Visit, datetime], _Key]) -> dict[_Key, Figures]:
    """Return the figures of visits in groups.

    Args:
        visits: the visits.
        key: returns the group, given a visit and the begin of an hour, in local time.
    """
    found: dict[_Key, Figures] = {}

    def of(visit: Visit, hour: datetime) -> Figures:
        return found.setdefault(key(visit, hour), Figures())

    for visit in visits:
        of(visit, floor(visit.arrived, Period.HOUR)).add_person(visit)
        for alert in visit.alerts:
            of(visit, floor(alert.moment, Period.HOUR)).alerts += 1
        for crossing in visit.crossings:
            direction = crossing.event.removeprefix("crosses_")
            of(visit, floor(crossing.moment, Period.HOUR)).crossed[direction] += 1
        for hour, class_name, seconds in seconds_by_hour(visit):
            of(visit, hour).seconds[class_name] += seconds
    return found


def seconds_by_hour(visit: Visit) -> Iterator[tuple[datetime, str, float]]:
    """Yield how long a person was there in each hour, with which class."""
    for begin, end, class_name in visit.spans:
        moment, zone = begin, begin.tzinfo
        while True:
            hour = floor(moment, Period.HOUR)
            following = min((hour + _LENGTHS[Period.HOUR]).replace(tzinfo=zone), end)
            if seconds := (following - moment).total_seconds():
                yield hour, class_name, seconds
            if following >= end:
                break
            moment = following


def floor(moment: datetime, period: Period) -> datetime:
    """Return the begin of the period that a time is in, as local time without a zone."""
    hour = 0 if period is Period.DAY else moment.hour
    return moment.replace(hour=hour, minute=0, second=0, microsecond=0, tzinfo=None)


def periods_between(first: datetime, last: datetime, period: Period) -> list[datetime]:
    """Return the begins of all periods from the first to the last.

    Raises:
        MaskyoloError: there are more than `MAX_PERIODS`.
    """
    step = _LENGTHS[period]
    number = (last - first) // step + 1
    if number > MAX_PERIODS:
        raise MaskyoloError(
            f"the events are from {first:%Y-%m-%d} to {last:%Y-%m-%d}, which is {number:,} "
            f"{period}s; a report has at most {MAX_PERIODS:,}",
            "use --by day"
            if period is Period.HOUR
            else "check the datetime of the events; a clock may have been wrong",
        )
    return [first + place * step for place in range(number)]
