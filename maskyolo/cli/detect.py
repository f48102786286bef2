"""`maskyolo detect`: find faces in images, videos, cameras and streams."""

from __future__ import annotations

import signal
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from maskyolo.cli.options import Strict, examples, with_options
from maskyolo.cli.progress import progress_bar
from maskyolo.core.text import counted
from maskyolo.runtime.options import DetectOptions

if TYPE_CHECKING:
    from maskyolo.runtime.run import Summary

EXAMPLES = examples(
    "maskyolo detect --source data/samples",
    "maskyolo detect --source data/samples/street.mp4 --save-json street.jsonl",
    "maskyolo detect --source 'data/samples/*.jpg' --no-save --save-txt --save-conf",
    "maskyolo detect --source 0 --show",
    "maskyolo detect --source data/samples --pipeline two-stage",
    "maskyolo detect --source data/samples/street.mp4 --track --events street.csv",
    "maskyolo detect --source data/samples/street.mp4 --stats-only --zone 0,0.2,1,0.2,1,1,0,1",
    "maskyolo detect --source data/samples --blur",
)


@with_options(DetectOptions)
def detect(
    source: Annotated[
        str,
        typer.Option(
            "--source",
            "--image",
            help="Image, video, folder, glob, list of these (.txt), camera number, or URL (http, "
            "https, rtsp).",
        ),
    ],
    options: DetectOptions,
    strict: Strict = False,
) -> None:
    """Detect faces, and whether each wears a mask, in one forward pass per frame.

    With --pipeline two-stage, a face detector runs first, then a classifier on each face.
    """
    from maskyolo.runtime.detection import detect as run
    from maskyolo.runtime.run import Summary

    for ending in ("SIGTERM", "SIGHUP"):  # a kill, or a closed terminal
        if hasattr(signal, ending):
            signal.signal(getattr(signal, ending), _interrupt)
    summary = Summary()
    try:
        with (
            progress_bar("frames") as on_progress,
            closing(
                run(
                    source,
                    options=replace(options, save=options.save and not options.stats_only),
                    on_error=lambda _, error: typer.echo(f"maskyolo: {error}", err=True),
                    summary=summary,
                )
            ) as results,
        ):
            for number, _ in enumerate(results):
                if number == 0 and summary.network:
                    typer.echo(summary.network, err=True)
                on_progress(summary.frames, summary.total)
    finally:  # also after Ctrl-C and errors: everything finished so far is on disk
        _print_summary(summary, options)
    if len(summary.errors) > 1:
        typer.echo(
            f"maskyolo: {len(summary.errors)} sources could not be read completely", err=True
        )
    if strict and summary.errors:
        raise typer.Exit(1)


def _print_summary(summary: Summary, options: DetectOptions) -> None:
    from maskyolo.core.classes import CLASS_NAMES

    if summary.frames:
        found = ", ".join(f"{summary.counts[name]} {name}" for name in CLASS_NAMES)
        print(f"{counted(summary.frames, 'frame')}: {found}")
    if summary.people and summary.frames:
        print(summary.people.summary())
    if summary.dropped:
        print(f"{counted(summary.dropped, 'frame')} skipped to keep up")
    if summary.interruptions:
        times = "once" if summary.interruptions == 1 else f"{summary.interruptions} times"
        print(f"connection lost {times}")
    for path in (options.save_json, options.events):
        if path and summary.frames:
            print(path)
    if summary.folder:
        print(summary.folder)


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt
