"""`maskyolo train`: train the detector, or the two-stage pipeline's classifier."""

from __future__ import annotations

import shlex
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from maskyolo.cli.options import examples, with_options
from maskyolo.cli.progress import progress_bar
from maskyolo.core.choices import Pipeline
from maskyolo.core.options import Panel
from maskyolo.core.text import counted
from maskyolo.training.options import ClassifierTrainOptions, DetectorTrainOptions, TrainOptions

if TYPE_CHECKING:
    from maskyolo.training.progress import Progress

EXAMPLES = examples(
    "maskyolo train --data data/mask/data.yaml",
    "maskyolo train --data data/mask --model maskyolo-n --epochs 3 --imgsz 640 --device 0",
    "maskyolo train --resume latest",
    "maskyolo train --pipeline two-stage --data data/mask --arch mobilenet_v2",
)


@with_options(TrainOptions)
def train(
    *,
    data: Annotated[
        Path | None,
        typer.Option(help="The data set's data.yaml, or its folder.", rich_help_panel=Panel.INPUT),
    ] = None,
    options: TrainOptions,
) -> None:
    """Train a YOLOv8 detector or, within minutes, a classifier of face crops.

    An interrupted detector training can be continued with --resume.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    if options.pipeline is Pipeline.YOLO:
        _train_detector(data, options.part(DetectorTrainOptions))
    else:
        _train_classifier(data, options.part(ClassifierTrainOptions))


def _train_detector(data: Path | None, options: DetectorTrainOptions) -> None:
    from maskyolo.training.detector import train_detector

    def after_stop(reporter: _Reporter) -> str:
        if reporter.folder is None:
            return ""
        return f"; continue with: maskyolo train --resume {_relative(reporter.folder)}"

    result = _run(train_detector, data, options, after_stop)
    print(result.report.table())
    print(f"weights: {_relative(result.best)}, {_relative(result.onnx)}")
    model = shlex.quote(str(_relative(result.onnx)))
    print(f"next: maskyolo detect --source 0 --show --model {model}")
    print(_relative(result.folder))


def _train_classifier(data: Path | None, options: ClassifierTrainOptions) -> None:
    from maskyolo.errors import MaskyoloError
    from maskyolo.training.classifier import train_classifier

    if data is None:
        raise MaskyoloError("no data set given", "give --data DIR/data.yaml")

    def after_stop(reporter: _Reporter) -> str:
        epochs = ""
        if reporter.folder and reporter.started:
            epochs = f"; {_relative(reporter.folder)}/results.csv has the epochs so far"
        return f"{epochs}; classifier training cannot be resumed: start it again"

    result = _run(train_classifier, data, options, after_stop)
    for report in result.reports.values():
        print(report.table())
    print(f"weights: {_relative(result.best)}")
    model = shlex.quote(str(_relative(result.best)))
    print(f"next: maskyolo detect --source 0 --show --pipeline two-stage --model {model}")
    print(_relative(result.folder))


def _run(
    train: Callable[..., Any],
    data: Path | None,
    options: DetectorTrainOptions | ClassifierTrainOptions,
    after_stop: Callable[[_Reporter], str],
) -> Any:
    """Return the result of a training; on Ctrl-C, print what `after_stop` returns and exit."""
    with progress_bar("batches") as bar:
        reporter = _Reporter(bar)
        try:
            return train(data, options, on_progress=reporter, on_warning=_warn)
        except KeyboardInterrupt:
            typer.echo(f"maskyolo: stopped{after_stop(reporter)}", err=True)
            raise typer.Exit(130) from None


class _Reporter:
    """Shows progress within an epoch on the progress bar, and prints a line per epoch on stderr."""

    def __init__(self, bar: Any) -> None:
        self.bar = bar
        self.folder: Path | None = None
        self.started = 0.0
        self.first_epoch = 0
        self.batch_seconds = 0.0  # time spent on the epoch's batches, without validation

    def __call__(self, now: Progress) -> None:
        if now.epoch == 0:
            self._show_crops(now)
            return
        if not self.started:
            self.folder, self.started, self.first_epoch = now.folder, time.monotonic(), now.epoch
            length = f"{counted(now.epochs, 'epoch')} of {counted(now.batches, 'batch', 'batches')}"
            typer.echo(f"training in {_relative(now.folder)}, {length}", err=True)
        self.bar((now.epoch - 1) * now.batches + now.batch, now.epochs * now.batches)
        if now.metrics:
            self._print_epoch(now)
        else:
            self.batch_seconds = now.seconds

    def _show_crops(self, now: Progress) -> None:
        if self.folder is None:
            self.folder = now.folder
            typer.echo(
                f"training in {_relative(now.folder)}; first, running "
                f"{counted(now.batches, 'crop')} through the frozen layers",
                err=True,
            )
        self.bar(now.batch, now.batches)

    def _print_epoch(self, now: Progress) -> None:
        values = [f"{name} {value:.3f}" for name, value in (now.losses | now.metrics).items()]
        per_epoch = (time.monotonic() - self.started) / (now.epoch - self.first_epoch + 1)
        left = _format_duration(per_epoch * (now.epochs - now.epoch))
        rate = f"{now.batches / self.batch_seconds:.2f} batches/s" if self.batch_seconds else ""
        print(
            f"epoch {now.epoch}/{now.epochs}  {'  '.join(values)}  {rate}  {left} left",
            file=sys.stderr,
            flush=True,
        )


def _warn(line: str) -> None:
    typer.echo(f"maskyolo: {line}", err=True)


def _format_duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def _relative(path: Path) -> Path:
    """Return the path relative to the current folder, if it is inside that folder."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt
