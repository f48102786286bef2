"""Everything that a report shows, computed once for the page and the CSV files."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from maskyolo.core.classes import INCORRECT_MASK
from maskyolo.errors import MaskyoloError
from maskyolo.reports.event_files import LoggedEvent
from maskyolo.reports.figures import Figures, floor, gather, periods_between
from maskyolo.reports.options import Period
from maskyolo.reports.visits import Visit

__all__ = ["Statistics", "compute"]

#: Number of days up to which people are counted by hour, unless `by` says otherwise.
_HOURLY = 3


@dataclass(frozen=True)
class Statistics:
    """What a report shows; where no place is named, all cameras, without their zones.

    Attributes:
        by: the length of the periods.
        range: time of the first arrival, and of the last departure.
        visits: all visits, to cameras and to zones.
        alerts: all alerts, by time.
        incorrect: whether there is the class of masks worn incorrectly.
        open_ended: number of people whose last event is not `ends`.
        total: all people.
        periods: the begins of all periods of the range, also those without people.
        by_period: the figures of periods with people, by their begin.
        by_hour_of_day: by hour, 0 to 23.
        by_weekday: by weekday, 0 (Monday) to 6.
        by_weekday_and_hour: by both.
        by_place: by camera and zone ("" for the whole camera).
        by_period_and_place: by period, camera and zone.
    """

    by: Period
    range: tuple[datetime, datetime]
    visits: list[Visit]
    alerts: list[LoggedEvent]
    incorrect: bool
    open_ended: int
    total: Figures
    periods: list[datetime]
    by_period: dict[datetime, Figures]
    by_hour_of_day: dict[int, Figures]
    by_weekday: dict[int, Figures]
    by_weekday_and_hour: dict[tuple[int, int], Figures]
    by_place: dict[tuple[str, str], Figures]
    by_period_and_place: dict[tuple[datetime, str, str], Figures]

    @property
    def cameras(self) -> list[str]:
        """The names of the cameras, sorted."""
        return sorted({camera for camera, _ in self.by_place})

    def summary(self) -> str:
        """Return the totals as a line of text."""
        groups = self.total.groups(self.incorrect)
        text = ", ".join(f"{number:,} {name}" for name, number in groups.items())
        share = (
            "" if self.total.share is None else f"; masks worn {self.total.share:.0%} of the time"
        )
        return f"{self.total.total:,} people: {text}{share}"


def compute(visits: list[Visit], by: Period | None) -> Statistics:
    """Return the statistics of visits.

    Args:
        visits: to cameras and zones, in any order.
        by: the length of the periods; None for hours if there are at most three days, else days.

    Raises:
        MaskyoloError: there are no visits, or too many periods.
    """
    if not visits:
        raise MaskyoloError(
            "there are no people in these events", "check that they are the right files"
        )
    people = [visit for visit in visits if not visit.zone]
    first = min(visit.arrived for visit in people)
    last = max(visit.left for visit in people)
    days = (floor(last, Period.DAY) - floor(first, Period.DAY)).days + 1
    by = by or (Period.HOUR if days <= _HOURLY else Period.DAY)
    periods = periods_between(floor(first, by), floor(last, by), by)
    places = gather(visits, lambda visit, _: (visit.camera, visit.zone))
    return Statistics(
        by,
        (first, last),
        sorted(visits, key=lambda visit: (visit.arrived, visit.camera, visit.zone)),
        sorted((alert for visit in people for alert in visit.alerts), key=lambda one: one.moment),
        any(INCORRECT_MASK in span for visit in people for span in visit.spans),
        sum(not visit.ended for visit in people),
        gather(people, lambda *_: None)[None],
        periods,
        gather(people, lambda _, hour: floor(hour, by)),
        gather(people, lambda _, hour: hour.hour),
        gather(people, lambda _, hour: hour.weekday()),
        gather(people, lambda _, hour: (hour.weekday(), hour.hour)),
        dict(sorted(places.items())),
        gather(visits, lambda visit, hour: (floor(hour, by), visit.camera, visit.zone)),
    )
