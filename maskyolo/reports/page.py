"""A report as an HTML page that needs no other file and no network."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from maskyolo.core.images import read_image
from maskyolo.core.text import counted, printable
from maskyolo.errors import MaskyoloError
from maskyolo.evaluation.html import Cell, embedded, facts, grid, page, table
from maskyolo.reports.charts import COLORS, heat_table, share_chart, stacked_bars
from maskyolo.reports.event_files import LoggedEvent
from maskyolo.reports.figures import Figures, floor
from maskyolo.reports.options import Period
from maskyolo.reports.totals import Statistics

__all__ = ["render"]

#: Maximum number of alerts shown in the page, and of those with their image.
MAX_ALERTS, MAX_IMAGES = 200, 48
#: Maximum number of rows of the table of periods; the CSV file has all.
MAX_ROWS = 200
#: Upper ends of the classes of the histogram of stays, in seconds.
_STAYS = (5, 15, 30, 60, 300, 900)
_STAY_LABELS = ("up to 5 s", "15 s", "30 s", "1 min", "5 min", "15 min", "longer")
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_STYLE = """<style>
.figures div { flex: 1 1 8em }
figcaption { font-weight: 600; color: var(--ink) } figure.photo figcaption { font-weight: 400 }
section > figure + figure { margin-top: 1.2em }
table.heat { table-layout: fixed; min-width: 52em; font-size: .8em; margin-top: .5em }
table.heat td, table.heat th { text-align: center; padding: .3em 0;
  border: 1px solid var(--bg) }
table.heat th:first-child { text-align: left; width: 3em }
</style>"""


def render(statistics: Statistics, files: Sequence[Path], csv_files: Sequence[Path]) -> str:
    """Return the page.

    Args:
        statistics: what to show.
        files: the event files.
        csv_files: the CSV files next to the page.
    """
    days = [floor(moment, Period.DAY).date().isoformat() for moment in statistics.range]
    title = f"Mask wearing, {days[0]}" + (f" to {days[1]}" if days[1] != days[0] else "")
    return page(
        title,
        [
            _STYLE,
            _headline(statistics),
            facts(_header(statistics, files, csv_files)),
            _over_time(statistics),
            _over_day_and_week(statistics),
            _cameras(statistics),
            _stays(statistics),
            _alerts(statistics, csv_files[-1].name),
            _periods(statistics, csv_files[0].name),
        ],
    )


def _headline(statistics: Statistics) -> str:
    total = statistics.total
    numbers = {"people": f"{total.total:,}"}
    numbers |= {name: f"{number:,}" for name, number in total.groups(statistics.incorrect).items()}
    numbers["of the time with mask"] = _percent(total.share)
    numbers["median stay"] = duration(total.median_stay)
    numbers["alerts"] = f"{total.alerts:,}"
    shown = "".join(f"<div><b>{text}</b>{name}</div>" for name, text in numbers.items())
    return f'<div class="figures">{shown}</div>'


def _header(
    statistics: Statistics, files: Sequence[Path], csv_files: Sequence[Path]
) -> dict[str, str]:
    first, last = statistics.range
    header = {
        "cameras": counted(len(statistics.cameras), "camera"),
        "from": f"{first:%Y-%m-%d %H:%M}",
        "to": f"{last:%Y-%m-%d %H:%M}",
        "files": ", ".join(_shown(path) for path in files[:10])
        + (f" and {len(files) - 10} more" if len(files) > 10 else ""),
        "as CSV": ", ".join(path.name for path in csv_files),
        "how people count": "A person who leaves and returns counts as a new person.",
    }
    if statistics.open_ended:
        header["not ended"] = (
            f"{counted(statistics.open_ended, 'person', 'people')}: the run still goes on or was "
            "killed; their time counts up to their last event."
        )
    return header


def _over_time(statistics: Statistics) -> str:
    pattern = "%m-%d" if statistics.by is Period.DAY else "%m-%d %H:%M"
    labels = [f"{period:{pattern}}" for period in statistics.periods]
    by_period = [statistics.by_period.get(period, Figures()) for period in statistics.periods]
    bars = stacked_bars(
        labels, _series(by_period, statistics.incorrect), f"People per {statistics.by}"
    )
    shares = [figures.share for figures in by_period]
    line = share_chart(labels, shares, "Share of the time with a mask")
    return f"<section><h2>Over time</h2>{_legend(statistics.incorrect)}{bars}{line}</section>"


def _over_day_and_week(statistics: Statistics) -> str:
    by_hour = [statistics.by_hour_of_day.get(hour, Figures()) for hour in range(24)]
    hours = [str(hour) for hour in range(24)]
    series = _series(by_hour, statistics.incorrect)
    bars = stacked_bars(hours, series, "People by hour of day", 560)
    by_weekday = [statistics.by_weekday.get(day, Figures()) for day in range(7)]
    week = stacked_bars(
        _WEEKDAYS, _series(by_weekday, statistics.incorrect), "People by weekday", 420
    )
    cells = {
        place: (figures.share, figures.total)
        for place, figures in statistics.by_weekday_and_hour.items()
    }
    heat = heat_table(_WEEKDAYS, hours, cells, "Share of the time with a mask, by weekday and hour")
    return (
        f"<section><h2>Over the day and the week</h2>{_legend(statistics.incorrect)}"
        f"{grid([bars, week], 26)}{heat}</section>"
    )


def _cameras(statistics: Statistics) -> str:
    line = any(figures.crossed for figures in statistics.by_place.values())
    rows: list[list[str | Cell]] = []
    for (camera, zone), figures in statistics.by_place.items():
        name = Cell(_shown(camera), f"in {_shown(zone)}" if zone else "", prose=True)
        rows.append([name, *_numbers(figures, statistics.incorrect)])
        if line:
            rows[-1].append(f"{figures.crossed['in']:,} / {figures.crossed['out']:,}")
    head = ["camera and zone", *_number_heads(statistics.incorrect)]
    body = table([*head, "in / out"] if line else head, rows)
    return f"<section><h2>Cameras and zones</h2>{body}</section>"


def _number_heads(incorrect: bool) -> list[str]:
    groups = Figures().groups(incorrect)
    return ["people", *groups, "time with mask", "median stay", "alerts"]


def _numbers(figures: Figures, incorrect: bool) -> list[str]:
    groups = [f"{number:,}" for number in figures.groups(incorrect).values()]
    shares = [_percent(figures.share), duration(figures.median_stay)]
    return [f"{figures.total:,}", *groups, *shares, f"{figures.alerts:,}"]


def _stays(statistics: Statistics) -> str:
    counts = {name: [0] * len(_STAY_LABELS) for name in Figures().groups(statistics.incorrect)}
    for visit in statistics.visits:
        if not visit.zone:
            place = sum(visit.seconds > end for end in _STAYS)
            one = Figures()
            one.add_person(visit)
            for name, number in one.groups(statistics.incorrect).items():
                counts[name][place] += number
    bars = stacked_bars(_STAY_LABELS, counts, "People by how long they stayed", 560)
    return f"<section><h2>Stays</h2>{_legend(statistics.incorrect)}{bars}</section>"


def _alerts(statistics: Statistics, csv_file: str) -> str:
    alerts = statistics.alerts[::-1]
    if not alerts:
        return "<section><h2>Alerts</h2><p>No alerts.</p></section>"
    images: list[str] = []
    rows: list[list[str | Cell]] = []
    for alert in alerts[:MAX_ALERTS]:
        note = ""
        if alert.image and len(images) < MAX_IMAGES:
            try:
                images.append(embedded(read_image(found_image(alert)), _caption(alert)))
            except MaskyoloError:
                note = "the image cannot be read"
        where = Cell(_shown(alert.source), prose=True)
        image = Cell(_shown(alert.image), note, prose=True)
        time = f"{alert.moment:%Y-%m-%d %H:%M:%S}"
        rows.append([time, where, str(alert.track_id), alert.class_name, image])
    note = ""
    if len(alerts) > MAX_ALERTS:
        note = (
            f'<p class="note">The latest {MAX_ALERTS} of {len(alerts):,} alerts; all are in '
            f"{escape(csv_file)}.</p>"
        )
    shown = table(["time", "camera", "track", "class", "image"], rows)
    return f"<section><h2>Alerts</h2>{grid(images, 13)}{note}{shown}</section>"


def found_image(alert: LoggedEvent) -> Path:
    """Return where an alert's image is: its path, or else that relative to the event file."""
    path = Path(alert.image)
    beside = alert.file.parent / path
    return beside if beside.is_file() else path


def _caption(alert: LoggedEvent) -> str:
    return f"{alert.moment:%m-%d %H:%M:%S}, {_shown(alert.source)}, track {alert.track_id}"


def _periods(statistics: Statistics, csv_file: str) -> str:
    pattern = "%Y-%m-%d" if statistics.by is Period.DAY else "%Y-%m-%d %H:%M"
    latest = sorted(statistics.by_period.items(), reverse=True)[:MAX_ROWS]
    rows = [
        [f"{period:{pattern}}", *_numbers(figures, statistics.incorrect)]
        for period, figures in latest
    ]
    body = table([str(statistics.by), *_number_heads(statistics.incorrect)], rows)
    more = "" if len(statistics.by_period) <= MAX_ROWS else f"The latest {MAX_ROWS}. "
    note = f'<p class="note">{more}By camera and zone: {escape(csv_file)}.</p>'
    return f"<section><h2>Numbers</h2>{note}{body}</section>"


def _series(figures: Sequence[Figures], incorrect: bool) -> dict[str, list[int]]:
    groups = [one.groups(incorrect) for one in figures]
    return {name: [group[name] for group in groups] for name in Figures().groups(incorrect)}


def _legend(incorrect: bool) -> str:
    keys = "".join(
        f'<span class="key"><i class="dot" style="background:{COLORS[name]}"></i>{name}</span>'
        for name in Figures().groups(incorrect)
    )
    return f'<p class="keys">{keys}</p>'


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


def duration(seconds: float | None) -> str:
    """Return seconds as text.

    >>> duration(None), duration(8.4), duration(75), duration(3700)
    ('-', '8.4 s', '1:15 min', '1:01 h')
    """
    if seconds is None:
        return "-"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d} min" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d} h"


def _shown(name: str | Path) -> str:
    return printable(str(name))
