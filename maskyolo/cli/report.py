"""`maskyolo report`: people with and without a mask over time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maskyolo.cli.options import examples, with_options
from maskyolo.reports.options import ReportOptions

EXAMPLES = examples(
    "maskyolo report events-2026-11-27.csv",
    "maskyolo report events-*.csv --by hour --out week.html",
    "maskyolo report street.jsonl --start 2026-11-27T08:00:00+01:00",
)


@with_options(ReportOptions)
def report(
    events: Annotated[
        list[Path],
        typer.Argument(help="Files that `maskyolo detect --events` wrote.", show_default=False),
    ],
    *,
    options: ReportOptions,
) -> None:
    """Report people with and without a mask over time, as an HTML page and CSV files."""
    from maskyolo.reports.reporting import report as run

    statistics = run(events, options)
    print(statistics.summary())
    print(options.out)
