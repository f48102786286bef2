"""`maskyolo review find`: a ranked list of a data set's likely errors."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from maskyolo._text import counted
from maskyolo.cli.options import Device, ExistOk, Name, Project, Seed, Trust, examples
from maskyolo.cli.progress import progress_bar

EXAMPLES = examples(
    "maskyolo review find --data data/mask/data.yaml",
    "maskyolo review find --data data/mask --model yolov8n --epochs 6",
    "maskyolo review find --data data/mask --predictions runs/review/find/predictions.jsonl",
)


def find(
    data: Annotated[Path, typer.Option(help="The data set's data.yaml, or its folder.")],
    folds: Annotated[
        int,
        typer.Option(
            min=2,
            help="Parts the photos are dealt out to; each is judged by a detector of the others.",
        ),
    ] = 3,
    model: Annotated[
        str,
        typer.Option(
            help="What the detectors start from: maskyolo-n, yolov8n or a .pt file; one that has not learnt from this very data set."
        ),
    ] = "maskyolo-n",
    epochs: Annotated[
        int, typer.Option(min=1, help="Passes over the photos for each detector.")
    ] = 3,
    imgsz: Annotated[
        int,
        typer.Option(
            min=32, help="Longer side in pixels that pictures are scaled to; a multiple of 32."
        ),
    ] = 416,
    predictions: Annotated[
        Path | None,
        typer.Option(
            help="Train nothing: take the predictions.jsonl of an earlier search, or a file of detect --conf 0.01 --save-json by a "
            "detector that has not learnt from this set."
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            help="Go on with a search that was interrupted: its run's folder. The other options must be the same."
        ),
    ] = None,
    device: Device = "auto",
    seed: Seed = 0,
    trust: Trust = False,
    project: Project = Path("runs/review"),
    name: Name = "find",
    exist_ok: ExistOk = False,
) -> None:
    """Find a data set's likely errors with detectors that have not learnt from what they judge; one ranked list, review.csv."""
    from maskyolo.review import find_errors

    signal.signal(signal.SIGTERM, _interrupt)
    with ExitStack() as bars:
        shown: dict[str, Callable[[int, int | None], None]] = {}

        def on_progress(what: str, done: int, total: int | None) -> None:
            if what not in shown:
                bars.close()
                typer.echo(f"{what}: {total}", err=True)
                shown[what] = bars.enter_context(progress_bar(what.split()[0]))
            shown[what](done, total)

        found = find_errors(
            data,
            folds=folds,
            model=model,
            epochs=epochs,
            imgsz=imgsz,
            predictions=predictions,
            resume=resume,
            device=device,
            seed=seed,
            trust=trust,
            project=project,
            name=name,
            exist_ok=exist_ok,
            on_progress=on_progress,
            on_error=lambda error: typer.echo(f"maskyolo: {error}", err=True),
            on_start=lambda folder: typer.echo(
                f"in {folder}; after an interruption go on with --resume {folder}", err=True
            ),
        )
    photos = len({suspicion.image for suspicion in found.suspicions})
    suspicions = counted(len(found.suspicions), "suspicion")
    print(
        f"{suspicions} in {photos} of {counted(found.photos, 'photo')} with {counted(found.labels, 'label')}"
    )
    for reason, count in found.counts().items():
        print(f"  {reason:<16}{count:>6}")
    print(f"list: {found.csv}; contact sheet: {found.folder / 'sheet.png'}")
    print(found.folder)


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt
