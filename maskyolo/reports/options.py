"""Options of `report`: how events are grouped, and where the report is written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from maskyolo.core.options import Choice, Options, Panel, option

__all__ = ["Period", "ReportOptions"]


class Period(Choice):
    """How long the periods are that people are counted in."""

    HOUR = "hour"
    DAY = "day"


@dataclass(frozen=True, kw_only=True)
class ReportOptions(Options, panel=Panel.OUTPUT):
    """Options of `report` and `maskyolo report`."""

    by: Period | None = option(
        None,
        help="Count people per hour or per day. Default: hour for up to three days, day for more.",
    )
    out: Path | str = option(
        Path("report.html"),
        help="HTML file to write. The CSV files next to it have the same name: report.csv, "
        "report-people.csv and report-alerts.csv. Existing ones are replaced.",
        cli_type=Path,
    )
    start: str | None = option(
        None,
        help="When a recording started, in ISO 8601, such as 2026-11-27T08:00:00+01:00, if its "
        "events have no time of day (datetime).",
        panel=Panel.INPUT,
    )
