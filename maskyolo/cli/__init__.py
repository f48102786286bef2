"""The command `maskyolo`: one file per command, each parses, builds, calls one library function and prints."""

from __future__ import annotations

import atexit
import errno
import os
import sys
from contextlib import suppress
from typing import Annotated

import typer

from maskyolo import __version__
from maskyolo.cli import (
    compare,
    convert,
    detect,
    doctor,
    export,
    models,
    review,
    synthesize,
    train,
    val,
)
from maskyolo.cli.options import examples
from maskyolo.errors import MaskyoloError

__all__ = ["app", "main"]

app = typer.Typer(
    name="maskyolo",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        print(f"maskyolo {__version__}")
        raise typer.Exit


@app.callback(
    epilog=examples(
        "maskyolo detect --source 0 --show",
        "maskyolo convert photos --out data/mask",
        "maskyolo train --data data/mask/data.yaml",
        "maskyolo detect --source photo.jpg --model runs/train/train/weights/best.onnx",
    )
)
def _app(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Find faces in pictures and videos, tell which wear a mask, and train such a detector from two folders of photos."""


app.command(
    "convert",
    epilog=convert.EXAMPLES,
    short_help="Make a data set with boxes from two folders of photos.",
)(convert.convert)
app.command(
    "synthesize", epilog=synthesize.EXAMPLES, short_help="Draw masks on photos of bare faces."
)(synthesize.synthesize)
app.command("train", epilog=train.EXAMPLES, short_help="Train a detector on a data set.")(
    train.train
)
app.command("val", epilog=val.EXAMPLES, short_help="Measure a detector on labelled pictures.")(
    val.val
)
app.command(
    "compare",
    epilog=compare.EXAMPLES,
    short_help="Set detectors side by side: how right, how fast.",
)(compare.compare)
app.command(
    "detect",
    epilog=detect.EXAMPLES,
    short_help="Find faces and masks in pictures, videos, streams.",
)(detect.detect)
app.command("export", epilog=export.EXAMPLES, short_help="Make a model for another runtime.")(
    export.export
)
app.command("models", epilog=models.EXAMPLES, short_help="List, fetch and check weights.")(
    models.models
)
app.command(
    "doctor", epilog=doctor.EXAMPLES, short_help="Check the installation, and say the mends."
)(doctor.doctor)
app.add_typer(review.app, name="review", short_help="Find and correct a data set's errors.")


def main(arguments: list[str] | None = None) -> None:
    """Run the command; exit codes: 0, 1 a user's error told in one line on stderr, 2 usage, 130 Ctrl-C."""
    try:
        app(arguments)
    except MaskyoloError as error:
        print(f"maskyolo: {error}", file=sys.stderr)
        code = 1
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        code = _unwritten(error)
    try:
        if sys.stdout:
            sys.stdout.flush()
    except OSError as error:
        code = code or _unwritten(error)
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # what is left has nowhere to go
    if arguments is None and not {"torch", "fiftyone"} & sys.modules.keys():
        _leave(code)
    sys.exit(code)


def _unwritten(error: OSError) -> int:
    """Tell that the output went nowhere, unless its reader has had enough of it; return the exit code."""
    if error.errno != errno.EPIPE:
        reason = (error.strerror or str(error)).lower()
        print(
            f"maskyolo: cannot write the output: {reason}; free some space or send it elsewhere",
            file=sys.stderr,
        )
    return 1


def _leave(code: int) -> None:
    """End this process at once: to take down OpenVINO and some thousand modules one by one takes longer than to look at a picture."""
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, AttributeError):  # a closed pipe, no stream at all
            stream.flush()
    os._exit(code)
