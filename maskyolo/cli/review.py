"""`maskyolo review`: look at a data set in FiftyOne, correct it there or in a list, and take the corrections over."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maskyolo._text import counted
from maskyolo.cli import review_find
from maskyolo.cli.options import Device, ImageSize, Trust, examples
from maskyolo.cli.progress import progress_bar
from maskyolo.errors import MaskyoloError

if TYPE_CHECKING:
    from maskyolo.review.app.opening import Opened
    from maskyolo.review.apply import Applied

__all__ = ["app"]

OPEN_EXAMPLES = examples(
    "maskyolo review open --data data/mask/data.yaml",
    "maskyolo review open --data data/mask --model runs/train/train/weights/best.onnx --pipeline two-stage",
    "maskyolo review open --data data/mask --remote --port 5152",
    "maskyolo review open --data data/mask --no-app",
)
APPLY_EXAMPLES = examples(
    "maskyolo review apply --data data/mask/data.yaml --dry-run",
    "maskyolo review apply --data data/mask",
    "maskyolo review apply --data data/mask --csv data/mask/review.csv",
    "maskyolo review apply --data data/mask --undo",
)

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Find and correct a data set's errors: in FiftyOne's App, or in a list.",
)

Data = Annotated[Path, typer.Option(help="The data set's data.yaml, or its folder.")]
SetName = Annotated[
    str | None,
    typer.Option(
        "--name", help="Name of the data set in FiftyOne; that of its folder if not given."
    ),
]


@app.command(
    "open",
    epilog=OPEN_EXAMPLES,
    short_help="Look at a data set in FiftyOne's App and correct it there.",
)
def open_(
    data: Data,
    model: Annotated[
        str | None,
        typer.Option(
            help="Detector whose predictions are shown: the name of a model (maskyolo-n), or a .onnx, .xml or .pt file."
        ),
    ] = None,
    pipeline: Annotated[
        str,
        typer.Option(
            help="yolo, or two-stage to have the predictions of the two-stage path besides."
        ),
    ] = "yolo",
    predict: Annotated[
        bool,
        typer.Option(
            "--predict/--no-predict",
            help="Have the detector look at the photos it has not seen yet.",
        ),
    ] = True,
    conf: Annotated[
        float, typer.Option(min=0, max=1, help="Least confidence of a prediction.")
    ] = 0.25,
    imgsz: ImageSize = None,
    device: Device = "auto",
    trust: Trust = False,
    name: SetName = None,
    app: Annotated[
        bool,
        typer.Option(
            "--app/--no-app",
            help="Serve the App; without it the data set is only made or brought up to date.",
        ),
    ] = True,
    remote: Annotated[
        bool,
        typer.Option(
            "--remote",
            help="Open no browser on this machine, and say how another one gets to the App.",
        ),
    ] = False,
    port: Annotated[
        int,
        typer.Option(min=1, max=65535, help="Port of the App, on this machine's own address only."),
    ] = 5151,
) -> None:
    """Open a data set in FiftyOne: labels, ledger, predictions, evaluation, and a saved view for each kind of suspicion."""
    from maskyolo.review import open_review

    with progress_bar("photos") as on_progress:
        opened = open_review(
            data,
            model=model,
            pipeline=pipeline,
            predict=predict,
            conf=conf,
            imgsz=imgsz,
            device=device,
            trust=trust,
            name=name,
            app=app,
            remote=remote,
            port=port,
            on_progress=on_progress,
            on_error=lambda _, error: typer.echo(f"maskyolo: {error}", err=True),
        )
    _tell_opened(opened, data)
    if opened.session is None:
        return
    if remote:
        print(
            f"from another machine: ssh -N -L {port}:127.0.0.1:{port} {_host()}, then the same address there"
        )
    print(f"{opened.url}  (Ctrl-C ends it; edits are kept)", flush=True)
    logging.getLogger("fiftyone").setLevel(logging.CRITICAL)
    try:
        opened.wait()
    except KeyboardInterrupt:
        typer.echo(
            f"maskyolo: closed; take the edits over with: maskyolo review apply --data {data}",
            err=True,
        )
        raise


app.command(
    "find",
    epilog=review_find.EXAMPLES,
    short_help="List a data set's likely errors, the worst first.",
)(review_find.find)


@app.command(
    "apply", epilog=APPLY_EXAMPLES, short_help="Take corrections over into labels, or undo that."
)
def apply(
    data: Data,
    csv: Annotated[
        Path | None,
        typer.Option(help="An edited review.csv to take over instead of what was done in the App."),
    ] = None,
    name: SetName = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell what would change.")
    ] = False,
    undo: Annotated[
        bool,
        typer.Option(
            "--undo", help="Undo the latest change instead; once more undoes the one before it."
        ),
    ] = False,
) -> None:
    """Take edits made in the App, or in review.csv, over into label files and ledger, all together and so that they can be undone."""
    from maskyolo.review import apply_review, undo_review

    if undo:
        if csv is not None or name is not None or dry_run:
            raise MaskyoloError(
                "--undo puts back what was before and has no use for --csv, --name or --dry-run; leave out one or the other"
            )
        files = undo_review(data)
        print(f"put back as before: {counted(len(files), 'file')}")
        print("what FiftyOne shows follows with the next: maskyolo review open")
        return
    applied = apply_review(data, csv=csv, name=name, dry_run=dry_run)
    _tell_applied(applied, dry_run)


def _tell_opened(opened: Opened, data: Path) -> None:
    synced = opened.synced
    for problem in opened.problems:
        typer.echo(f"maskyolo: warning: {problem}", err=True)
    parts = [
        counted(opened.photos, "photo"),
        f"{len(synced.new)} new",
        f"{synced.updated} read anew",
        f"{synced.removed} gone",
    ]
    parts += [f"{synced.moved} moved"] if synced.moved else []
    parts += [f"{opened.predicted} looked at"] if opened.predicted else []
    print(
        f"{opened.name}: {', '.join(parts)}"
        + (f"; without {counted(opened.scenes, 'composed scene')}" if opened.scenes else "")
    )
    if opened.suspicious is None:
        print(f"no list of suspicions yet: make it with maskyolo review find --data {data}")
    else:
        print(f"suspicious: {counted(opened.suspicious, 'photo')}, in the saved view 'suspicious'")
    if synced.waiting:
        print(f"edited and not applied yet: {counted(synced.waiting, 'photo')}")


def _tell_applied(applied: Applied, dry_run: bool) -> None:
    if dry_run:
        for change in applied.changes:
            print(f"{change.image}: {change}")
    for problem in applied.problems[:20]:
        typer.echo(f"maskyolo: warning: {problem}", err=True)
    if len(applied.problems) > 20:
        typer.echo(f"maskyolo: … and {len(applied.problems) - 20} more", err=True)
    counts = applied.counts()
    words = {
        "class": ("class", "classes"),
        "box": ("box moved", "boxes moved"),
        "added": ("box added", "boxes added"),
        "removed": ("box removed", "boxes removed"),
        "photo_removed": ("photo taken out", "photos taken out"),
        "checked": ("photo checked", "photos checked"),
    }
    told = (
        ", ".join(counted(counts[what], *nouns) for what, nouns in words.items() if counts[what])
        or "nothing to take over"
    )
    print(
        f"{'would change' if dry_run else 'changed'}: {told}"
        + (f", in {counted(applied.photos, 'photo')}" if applied.changes else "")
    )
    if applied.folder:
        print(applied.folder)


def _host() -> str:
    import getpass
    import socket

    return f"{getpass.getuser()}@{socket.gethostname()}"
