"""The CSV files of a report."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from maskyolo.core.classes import ALL_CLASS_NAMES
from maskyolo.reports.figures import Figures
from maskyolo.reports.totals import Statistics
from maskyolo.runtime.time_of_day import format_moment

__all__ = ["alerts_csv", "people_csv", "periods_csv"]

_STATES = (*ALL_CLASS_NAMES, "put_on", "took_off")


def periods_csv(statistics: Statistics) -> str:
    """Return one row per period with people, camera and zone; `zone` is empty for the camera.

    `begin` is local time. `seconds_CLASS` are person-seconds.
    """
    head = ["begin", "camera", "zone", "people", *_STATES, "share_with_mask"]
    head += [f"seconds_{name}" for name in ALL_CLASS_NAMES]
    head += ["median_stay", "alerts", "crossed_in", "crossed_out"]
    rows = (
        [period.isoformat(timespec="minutes"), camera, zone, *_numbers(figures)]
        for (period, camera, zone), figures in sorted(statistics.by_period_and_place.items())
    )
    return _csv(head, rows)


def _numbers(figures: Figures) -> list[Any]:
    share, stay = figures.share, figures.median_stay
    return [
        figures.total,
        *(figures.people[state] for state in _STATES),
        "" if share is None else round(share, 4),
        *(round(figures.seconds[name], 3) for name in ALL_CLASS_NAMES),
        "" if stay is None else round(stay, 3),
        figures.alerts,
        figures.crossed["in"],
        figures.crossed["out"],
    ]


def people_csv(statistics: Statistics) -> str:
    """Return one row per person and camera, and one per person and zone, by arrival."""
    head = ["camera", "zone", "track_id", "arrived", "left", "seconds", "state", "alerts", "ended"]
    rows = (
        [
            visit.camera,
            visit.zone,
            visit.track_id,
            format_moment(visit.arrived),
            format_moment(visit.left),
            round(visit.seconds, 3),
            visit.state,
            len(visit.alerts),
            int(visit.ended),
        ]
        for visit in statistics.visits
    )
    return _csv(head, rows)


def alerts_csv(statistics: Statistics) -> str:
    """Return one row per alert, by time."""
    rows = (
        [
            format_moment(alert.moment),
            alert.source,
            alert.zone,
            alert.track_id,
            alert.class_name,
            alert.image,
        ]
        for alert in statistics.alerts
    )
    return _csv(["datetime", "camera", "zone", "track_id", "class", "image"], rows)


def _csv(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([_safe(value) for value in row] for row in rows)
    return text.getvalue()


def _safe(value: Any) -> Any:
    """Return text that a spreadsheet does not take for a formula (OWASP, CSV injection)."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") else value
