"""`maskyolo review`: show a data set in FiftyOne, and apply corrections made there or in a CSV."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maskyolo.cli import review_find
from maskyolo.cli.help import Command
from maskyolo.cli.options import examples, with_options
from maskyolo.cli.progress import progress_bar
from maskyolo.core.options import Panel
from maskyolo.core.text import counted
from maskyolo.errors import MaskyoloError
from maskyolo.review.options import ApplyOptions, OpenOptions

if TYPE_CHECKING:
    from maskyolo.review.app.opening import OpenedReview
    from maskyolo.review.apply import ApplyResult

__all__ = ["app"]

OPEN_EXAMPLES = examples(
    "maskyolo review open --data data/mask/data.yaml",
    "maskyolo review open --data data/mask --model runs/train/train/weights/best.onnx "
    "--pipeline two-stage",
    "maskyolo review open --data data/mask --remote --port 5152",
    "maskyolo review open --data data/mask --no-app",
)
APPLY_EXAMPLES = examples(
    "maskyolo review apply --data data/mask/data.yaml --dry-run",
    "maskyolo review apply --data data/mask",
    "maskyolo review apply --data data/mask --csv data/mask/review.csv",
    "maskyolo review apply --data data/mask --undo",
)

#: Maximum number of problems to print one by one.
_SHOWN_PROBLEMS = 20

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Find and correct a data set's errors, in FiftyOne's App or in a CSV file.",
)

Data = Annotated[
    Path,
    typer.Option(help="The data set's data.yaml, or its folder.", rich_help_panel=Panel.INPUT),
]


@app.command(
    "open",
    cls=Command,
    epilog=OPEN_EXAMPLES,
    short_help="Show a data set in FiftyOne's App, to correct it there.",
)
@with_options(OpenOptions)
def open_(data: Data, options: OpenOptions) -> None:
    """Open a data set in FiftyOne: labels, ledger, predictions, evaluation and saved views."""
    from maskyolo.review.app.opening import open_review

    with progress_bar("photos") as on_progress:
        opened = open_review(
            data,
            options=options,
            on_progress=on_progress,
            on_error=lambda _, error: typer.echo(f"maskyolo: {error}", err=True),
        )
    _report_opened(opened, data)
    if opened.session is None:
        return
    if options.remote:
        port = options.port
        print(
            f"on another machine, run `ssh -N -L {port}:127.0.0.1:{port} {_host()}` and open the "
            "same address there"
        )
    print(f"{opened.url}  (press Ctrl-C to quit; edits are kept)", flush=True)
    logging.getLogger("fiftyone").setLevel(logging.CRITICAL)
    try:
        opened.wait()
    except KeyboardInterrupt:
        typer.echo(
            f"maskyolo: closed; apply the edits with: maskyolo review apply --data {data}",
            err=True,
        )
        raise


app.command(
    "find",
    cls=Command,
    epilog=review_find.EXAMPLES,
    short_help="List a data set's likely errors, the worst first.",
)(review_find.find)


@app.command(
    "apply",
    cls=Command,
    epilog=APPLY_EXAMPLES,
    short_help="Apply corrections to the labels, or undo them.",
)
@with_options(ApplyOptions)
def apply(
    data: Data,
    options: ApplyOptions,
    undo: Annotated[
        bool,
        typer.Option(
            "--undo", help="Undo the latest change instead. Repeat to undo the one before it."
        ),
    ] = False,
) -> None:
    """Apply edits made in the App, or in review.csv, to the label files and the ledger.

    Either all files change or none does, and the change can be undone.
    """
    from maskyolo.review.apply import apply_review
    from maskyolo.review.undo import undo_review

    if undo:
        if options != ApplyOptions():
            raise MaskyoloError(
                "--undo cannot be used with --csv, --name or --dry-run",
                "leave out one or the other",
            )
        files = undo_review(data)
        print(f"restored: {counted(len(files), 'file')}")
        print("run `maskyolo review open` to refresh what FiftyOne shows")
        return
    _report_applied(apply_review(data, options=options), options.dry_run)


def _report_opened(opened: OpenedReview, data: Path) -> None:
    synced = opened.synced
    for problem in opened.problems:
        typer.echo(f"maskyolo: warning: {problem}", err=True)
    parts = [
        counted(opened.photos, "photo"),
        f"{len(synced.new)} new",
        f"{synced.updated} updated",
        f"{synced.removed} removed",
    ]
    parts += [f"{synced.moved} moved"] if synced.moved else []
    parts += [f"{opened.predicted} predicted"] if opened.predicted else []
    scenes = f"; {counted(opened.scenes, 'composed scene')} left out" if opened.scenes else ""
    print(f"{opened.name}: {', '.join(parts)}{scenes}")
    if opened.suspicious is None:
        print(f"no list of suspicions yet; create it with: maskyolo review find --data {data}")
    else:
        print(f"suspicious: {counted(opened.suspicious, 'photo')}, in the saved view 'suspicious'")
    if synced.waiting:
        print(f"edited and not applied yet: {counted(synced.waiting, 'photo')}")


def _report_applied(result: ApplyResult, dry_run: bool) -> None:
    if dry_run:
        for change in result.changes:
            print(f"{change.image}: {change}")
    for problem in result.problems[:_SHOWN_PROBLEMS]:
        typer.echo(f"maskyolo: warning: {problem}", err=True)
    if len(result.problems) > _SHOWN_PROBLEMS:
        more = len(result.problems) - _SHOWN_PROBLEMS
        typer.echo(f"maskyolo: … and {more} more", err=True)
    counts = {kind.value: count for kind, count in result.counts().items()}
    words = {
        "class": ("class", "classes"),
        "box": ("box moved", "boxes moved"),
        "added": ("box added", "boxes added"),
        "removed": ("box removed", "boxes removed"),
        "photo_removed": ("photo removed", "photos removed"),
        "checked": ("photo checked", "photos checked"),
    }
    parts = [counted(counts[kind], *nouns) for kind, nouns in words.items() if kind in counts]
    photos = f", in {counted(result.photos, 'photo')}" if result.changes else ""
    print(f"{'would change' if dry_run else 'changed'}: {', '.join(parts) or 'nothing'}{photos}")
    if result.folder:
        print(result.folder)


def _host() -> str:
    import getpass
    import socket

    return f"{getpass.getuser()}@{socket.gethostname()}"
