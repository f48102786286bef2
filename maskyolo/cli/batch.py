"""`maskyolo batch`: detect in archives, in shards, on one machine or many."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from maskyolo.batch.options import JoinOptions, PlanOptions, WorkOptions
from maskyolo.cli.help import Command
from maskyolo.cli.options import Strict, examples, with_options
from maskyolo.cli.progress import duration, progress_bar
from maskyolo.core.options import Panel
from maskyolo.core.text import counted

if TYPE_CHECKING:
    from maskyolo.batch.progress import BatchStatus

__all__ = ["app"]

PLAN_EXAMPLES = examples(
    "maskyolo batch plan photos --out plans/photos",
    "maskyolo batch plan 'archive/**/*' --out plans/archive --shard 5000 --imgsz 320",
    "maskyolo batch plan 'shards/*.tar' s3://bucket/photos --out plans/all",
    "maskyolo batch plan recordings.txt --out plans/recordings --vid-stride 5 --track",
)
RUN_EXAMPLES = examples(
    "maskyolo batch run plans/photos",
    "maskyolo batch run plans/photos --only 0/8",
    "maskyolo batch run plans/photos --workers 4 --threads 16",
    "maskyolo batch run plans/photos --engine ray --address 10.0.0.1:6379",
)
STATUS_EXAMPLES = examples("maskyolo batch status plans/photos")
JOIN_EXAMPLES = examples(
    "maskyolo batch join plans/photos",
    "maskyolo batch join plans/photos --jsonl photos.jsonl --strict",
    "maskyolo batch join plans/recordings --events events.csv --counts counts.json",
)

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Detect in archives of images and videos, in shards, on one machine or many.",
)

Folder = Annotated[
    Path, typer.Argument(metavar="OUT", help="Folder of the plan.", show_default=False)
]


@app.command(
    "plan",
    cls=Command,
    epilog=PLAN_EXAMPLES,
    short_help="List an archive in shards, and fix the settings.",
)
@with_options(PlanOptions)
def plan(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE",
            help="Image, video, folder, glob, or list of these (.txt); tar file; Parquet file with "
            "images as bytes; address of an object or prefix (s3://, gs://, abfs://). Can be given "
            "several times.",
            show_default=False,
        ),
    ],
    *,
    out: Annotated[
        Path,
        typer.Option(
            help="Folder to create, for the plan and the results.", rich_help_panel=Panel.OUTPUT
        ),
    ],
    options: PlanOptions,
) -> None:
    """List the images and videos of an archive in shards, for `maskyolo batch run`.

    Runtime, precision and inference size are fixed, so that every machine gives the same results.
    """
    from maskyolo.batch.planning import plan_batch

    with progress_bar("items") as on_progress:
        made = plan_batch(sources, out, options=options, on_progress=on_progress)
    print(f"{counted(sum(made.sizes), 'item')} in {counted(len(made.sizes), 'shard')}")
    print(out)


@app.command(
    "run",
    cls=Command,
    epilog=RUN_EXAMPLES,
    short_help="Process the shards that are not finished.",
)
@with_options(WorkOptions)
def run(out: Folder, options: WorkOptions, strict: Strict = False) -> None:
    """Process the shards of a plan that are not finished.

    Run it again after an interruption, or on several machines that share the folder.
    """
    from maskyolo.batch.running import run_batch

    for ending in ("SIGTERM", "SIGHUP"):  # a kill, or a closed terminal
        if hasattr(signal, ending):
            signal.signal(getattr(signal, ending), _interrupt)
    errors = 0

    def on_error(_: str, error: str) -> None:
        nonlocal errors
        errors += 1
        typer.echo(f"maskyolo: {error}", err=True)

    try:
        with progress_bar("items") as on_progress:
            status = run_batch(out, options=options, on_progress=on_progress, on_error=on_error)
    except KeyboardInterrupt:
        typer.echo(
            "maskyolo: stopped; finished shards are kept; run the same command again to continue",
            err=True,
        )
        raise
    _print_status(status)
    if status.complete:
        print(out)
    if strict and errors:
        raise typer.Exit(1)


@app.command(
    "status",
    cls=Command,
    epilog=STATUS_EXAMPLES,
    short_help="Print how much of a plan is done.",
)
def status(out: Folder) -> None:
    """Print how much of a plan is done, the rate, and the time left; also while it is running."""
    from maskyolo.batch.progress import batch_status

    _print_status(batch_status(out))


@app.command(
    "join",
    cls=Command,
    epilog=JOIN_EXAMPLES,
    short_help="Write the manifest and the lines of all shards.",
)
@with_options(JoinOptions)
def join(
    out: Folder,
    *,
    jsonl: Annotated[
        Path | None,
        typer.Option(
            help="Write JSON Lines to this file, the same as with `maskyolo detect --save-json`.",
            rich_help_panel=Panel.OUTPUT,
        ),
    ] = None,
    options: JoinOptions,
    strict: Strict = False,
) -> None:
    """Check that all shards are finished, and write the manifest and the lines of all shards.

    If the plan was made with --track, people are tracked and counted now, as by `maskyolo detect
    --track`; nothing is decoded or detected again.
    """
    from maskyolo.batch.joining import join_batch

    with progress_bar("items") as on_progress:
        joined = join_batch(out, jsonl, options=options, on_progress=on_progress)
    print(
        f"{counted(joined.items, 'item')}, {counted(joined.rows, 'row')}, "
        f"{counted(joined.errors, 'error')}"
    )
    if joined.people:
        print(joined.people.summary())
    for path in (jsonl, options.events, options.counts):
        if path:
            print(path)
    print(joined.manifest)
    if strict and joined.errors:
        raise typer.Exit(1)


def _print_status(status: BatchStatus) -> None:
    print(
        f"{status.finished_shards} of {counted(status.shards, 'shard')}, "
        f"{status.finished_items} of {counted(status.items, 'item')}, "
        f"{counted(status.errors, 'error')}"
    )
    if status.complete or status.last is None:
        return
    left = status.left
    rate = f"{status.rate:.3g} items/s, {duration(left)} left; " if left is not None else ""
    print(f"{rate}the latest shard was finished {duration(status.last)} ago")


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt
