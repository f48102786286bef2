"""`maskyolo detect`: find faces in images, videos, cameras and streams."""

from __future__ import annotations

import signal
import sys
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from maskyolo.cli.configuration import Config, ConfigSchema, read_config, sources_of
from maskyolo.cli.heartbeat import Heartbeat, Reports
from maskyolo.cli.options import Strict, Verbose, examples, with_options
from maskyolo.cli.progress import progress_bar
from maskyolo.core.options import Panel
from maskyolo.core.text import counted
from maskyolo.runtime.options import DetectOptions

if TYPE_CHECKING:
    from maskyolo.runtime.run import Summary

EXAMPLES = examples(
    "maskyolo detect --source data/samples",
    "maskyolo detect data/samples/street.jpg data/samples/office.jpg",
    "maskyolo detect --source data/samples/street.mp4 --save-json street.jsonl",
    "maskyolo detect --source 'data/samples/*.jpg' --no-save --save-txt --save-conf",
    "maskyolo detect --source 0 --show",
    "maskyolo detect --source data/samples --pipeline two-stage",
    "maskyolo detect --source data/samples/street.mp4 --track --events street.csv",
    "maskyolo detect --source data/samples/street.mp4 --stats-only --zone 0,0.2,1,0.2,1,1,0,1",
    "maskyolo detect --source data/samples --blur",
    "maskyolo detect --config cameras.yaml",
)


@with_options(DetectOptions, read_config)
def detect(
    sources: Annotated[
        list[str] | None,
        typer.Argument(metavar="SOURCE", help="The same as --source, without the option."),
    ] = None,
    *,
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--source",
            "--image",
            help="Image, video, folder, glob, list of these (.txt), numbered images "
            "(frame_%04d.png), camera number, URL (http, https, rtsp), or - for a video on "
            "standard input. Can be given several times.",
            rich_help_panel=Panel.INPUT,
        ),
    ] = None,
    config: Config = None,
    config_schema: ConfigSchema = False,
    options: DetectOptions,
    verbose: Verbose = False,
    strict: Strict = False,
) -> None:
    """Detect faces, and whether each wears a mask, in one forward pass per frame.

    With --pipeline two-stage, a face detector runs first, then a classifier on each face.
    """
    from maskyolo.runtime.detection import detect as run
    from maskyolo.runtime.run import Summary

    del config_schema  # its callback prints
    given = sources_of([*(sources or ()), *(source or ())], config)
    for ending in ("SIGTERM", "SIGHUP"):  # a kill, or a closed terminal
        if hasattr(signal, ending):
            signal.signal(getattr(signal, ending), _interrupt)
    summary = Summary()
    bar = sys.stderr.isatty()
    try:
        with (
            progress_bar("frames") as on_progress,
            Heartbeat(lambda: summary.live and not bar).beating(summary.activity),
            closing(
                run(
                    given,
                    options=replace(options, save=options.save and not options.stats_only),
                    on_error=Reports(summary),
                    summary=summary,
                    reduced=True,
                )
            ) as results,
        ):
            shown = False
            for frame in results:
                del frame  # before the next one is read
                if not shown and summary.network:
                    typer.echo(summary.network_details if verbose else summary.network, err=True)
                shown = True
                if bar or not summary.live:
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
    if summary.frames:
        found = ", ".join(f"{summary.counts[name]} {name}" for name in summary.class_names)
        total = counted(sum(summary.counts.values()), "detection")
        print(f"{counted(summary.frames, 'frame')}, {total}: {found}")
    if summary.resumed:
        print(f"{counted(summary.resumed, 'source')} finished before")
    if summary.people and summary.frames:
        print(summary.people.summary())
    for name, rate in summary.rates.items():
        print(f"{name}: {counted(rate.frames, 'frame')}, {rate.per_second:.1f} per second")
    if summary.dropped:
        print(f"{counted(summary.dropped, 'frame')} skipped to keep up")
    if summary.interruptions:
        times = "once" if summary.interruptions == 1 else f"{summary.interruptions} times"
        print(f"connection lost {times}")
    for path in (options.save_json, options.events):
        if path and (summary.frames or summary.resumed):
            print(path)
    if summary.folder:
        print(summary.folder)


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt
