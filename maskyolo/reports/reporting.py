"""Report people with and without a mask over time; used by `maskyolo report`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maskyolo.core.files import write_atomic
from maskyolo.core.options import takes_options
from maskyolo.errors import MaskyoloError, OutputError, output_errors
from maskyolo.reports.event_files import read_events
from maskyolo.reports.options import ReportOptions
from maskyolo.reports.page import render
from maskyolo.reports.tables import alerts_csv, people_csv, periods_csv
from maskyolo.reports.totals import Statistics, compute
from maskyolo.reports.visits import visits_of

__all__ = ["report"]


@takes_options(ReportOptions)
def report(
    events: str | Path | Sequence[str | Path],
    options: ReportOptions | None = None,
    **settings: Any,
) -> Statistics:
    """Report people with and without a mask over time, as an HTML page and CSV files.

    Args:
        events: one or several files that `maskyolo detect --events` wrote.
        options: the options as one object.
        settings: fields of `ReportOptions`; they override `options`.

    Returns:
        The figures.

    Raises:
        MaskyoloError: a file cannot be read or is not a file of events, there are no people in
            it, the time of day is unknown, or there are too many periods.
        OutputError: a file cannot be written.

    Example:
        >>> figures = report("events-2026-11-27.csv", by="hour", out="monday.html")
        >>> print(figures.summary())
        5 people: 3 with mask, 1 without mask, 1 changed; masks worn 86% of the time
    """
    chosen = ReportOptions.merge(options, settings)
    files = [Path(path) for path in ([events] if isinstance(events, (str, Path)) else events)]
    if not files:
        raise MaskyoloError("there are no event files", "give at least one")
    out = Path(chosen.out)
    if out.suffix.lower() not in (".html", ".htm"):
        raise OutputError(f"cannot write the report to {out}", "use a name that ends in .html")
    tables = [out.with_name(f"{out.stem}{part}.csv") for part in ("", "-people", "-alerts")]
    _check_inputs(files, tables)
    statistics = compute(visits_of(read_events(files, chosen.start)), chosen.by)
    texts = [table(statistics) for table in (periods_csv, people_csv, alerts_csv)]
    with output_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    for path, text in zip(tables, texts, strict=True):
        write_atomic(path, text)
    write_atomic(out, render(statistics, files, tables))
    return statistics


def _check_inputs(files: Sequence[Path], outputs: Sequence[Path]) -> None:
    """Raise an OutputError if the report would replace its own input."""
    inputs = {path.resolve() for path in files}
    for path in outputs:
        if path.resolve() in inputs:
            raise OutputError(
                f"cannot write {path}: it is one of the event files", "choose another --out"
            )
