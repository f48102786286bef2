"""`maskyolo train`: train the detector on a YOLO data set."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from maskyolo.cli.options import Device, ExistOk, Name, Project, Trust, examples
from maskyolo.cli.progress import progress_bar

if TYPE_CHECKING:
    from maskyolo.train import Progress

EXAMPLES = examples(
    "maskyolo train --data data/mask/data.yaml",
    "maskyolo train --data data/mask --model maskyolo-n --epochs 3 --imgsz 640 --device 0",
    "maskyolo train --resume latest",
)


def train(
    data: Annotated[Path | None, typer.Option(help="The data set's data.yaml, or its folder.")] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Start weights: yolov8n (the default), maskyolo-n, a .pt file you trust, or yolov8n.yaml for a random start."),
    ] = None,
    recipe: Annotated[str | None, typer.Option(help="Settings: a name in configs/ (the default is detector) or a YAML file.")] = None,
    imgsz: Annotated[
        int | None, typer.Option(min=32, help="Longer side in pixels that pictures are scaled to; a multiple of 32 (recipe: 416).")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the training pictures (recipe: 12).")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Pictures in a step (16, unless the recipe says otherwise).")] = None,
    device: Device = "auto",
    workers: Annotated[int | None, typer.Option(min=0, help="Processes that load pictures beside the training (recipe: 1).")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of everything random (0, unless the recipe says otherwise).")] = None,
    patience: Annotated[int | None, typer.Option(min=0, help="Stop after so many epochs without improvement (100).")] = None,
    cache: Annotated[str | None, typer.Option(help="Where decoded pictures are kept: ram, disk or none (recipe: ram).")] = None,
    resume: Annotated[
        str | None, typer.Option(help="Continue an unfinished run: its folder, its last.pt, or latest for the newest one.")
    ] = None,
    trust: Trust = False,
    project: Project = Path("runs/train"),
    name: Name = "train",
    exist_ok: ExistOk = False,
) -> None:
    """Train a YOLOv8 detector; Ctrl-C or a kill leaves a run that --resume continues."""
    from maskyolo.train import train_detector

    signal.signal(signal.SIGTERM, _interrupt)
    with progress_bar("batches") as bar:
        report = _Lines(bar)
        try:
            result = train_detector(
                data=data,
                model=model,
                recipe=recipe,
                imgsz=imgsz,
                epochs=epochs,
                batch=batch,
                device=device,
                workers=workers,
                seed=seed,
                patience=patience,
                cache=cache,
                resume=resume,
                trust=trust,
                project=project,
                name=name,
                exist_ok=exist_ok,
                on_progress=report,
                on_warning=lambda line: typer.echo(f"maskyolo: {line}", err=True),
            )
        except KeyboardInterrupt:
            where = f"; continue with: maskyolo train --resume {_relative(report.folder)}" if report.folder else ""
            typer.echo(f"maskyolo: stopped{where}", err=True)
            raise typer.Exit(130) from None
    print(result.report.table())
    print(f"weights: {_relative(result.best)}, {_relative(result.onnx)}")
    print(_relative(result.folder))


class _Lines:
    """Shows the batches on the bar, and a line for each epoch on stderr."""

    def __init__(self, bar: Any) -> None:
        self.bar = bar
        self.folder: Path | None = None
        self.begun = 0.0
        self.first = 0
        self.seconds = 0.0

    def __call__(self, now: Progress) -> None:
        if self.folder is None:
            self.folder, self.begun, self.first = now.folder, time.monotonic(), now.epoch
            typer.echo(f"training in {_relative(now.folder)}, {now.epochs} epochs of {now.batches} batches", err=True)
        self.bar((now.epoch - 1) * now.batches + now.batch, now.epochs * now.batches)
        if not now.metrics:
            self.seconds = now.seconds
        else:
            values = [f"{name} {value:.3f}" for name, value in (now.losses | now.metrics).items()]
            left = (time.monotonic() - self.begun) / (now.epoch - self.first + 1) * (now.epochs - now.epoch)
            rate = f"{now.batches / self.seconds:.2f} batches/s" if self.seconds else ""
            print(f"epoch {now.epoch}/{now.epochs}  {'  '.join(values)}  {rate}  {_clock(left)} left", file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def _relative(path: Path) -> Path:
    """Return the path as seen from the working folder, where it is below it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt
