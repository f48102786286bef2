"""The `maskyolo` command: one module per subcommand, which parses, calls the library and prints."""

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
    """Detect faces with and without a mask in images and video.

    Also trains detectors from two folders of photos.
    """


app.command(
    "convert",
    epilog=convert.EXAMPLES,
    short_help="Convert folders of photos to a data set with boxes.",
)(convert.convert)
app.command(
    "synthesize", epilog=synthesize.EXAMPLES, short_help="Draw masks on photos of bare faces."
)(synthesize.synthesize)
app.command("train", epilog=train.EXAMPLES, short_help="Train a detector on a data set.")(
    train.train
)
app.command("val", epilog=val.EXAMPLES, short_help="Evaluate a detector on labeled images.")(
    val.val
)
app.command(
    "compare",
    epilog=compare.EXAMPLES,
    short_help="Compare the accuracy and speed of detectors.",
)(compare.compare)
app.command(
    "detect",
    epilog=detect.EXAMPLES,
    short_help="Detect faces and masks in images, video and streams.",
)(detect.detect)
app.command("export", epilog=export.EXAMPLES, short_help="Export a model for another runtime.")(
    export.export
)
app.command("models", epilog=models.EXAMPLES, short_help="List, download and verify weights.")(
    models.models
)
app.command(
    "doctor", epilog=doctor.EXAMPLES, short_help="Check the installation and suggest fixes."
)(doctor.doctor)
app.add_typer(review.app, name="review", short_help="Find and correct errors in a data set.")


def main(arguments: list[str] | None = None) -> None:
    """Run the command.

    Exit codes: 0 for success, 1 for an error that the user can fix (one line on stderr), 2 for a
    usage error, 130 for Ctrl-C.
    """
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
        # Python flushes stdout again at exit; discard the rest, so that this flush cannot fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if arguments is None and not {"torch", "fiftyone"} & sys.modules.keys():
        _leave(code)
    sys.exit(code)


def _unwritten(error: OSError) -> int:
    """Report that the output could not be written, except to a closed pipe; return 1."""
    if error.errno != errno.EPIPE:
        reason = (error.strerror or str(error)).lower()
        print(
            f"maskyolo: cannot write the output: {reason}; free some space or redirect it",
            file=sys.stderr,
        )
    return 1


def _leave(code: int) -> None:
    """Exit at once, without Python's cleanup.

    Unloading OpenVINO and thousands of modules takes longer than detecting in an image.
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, AttributeError):  # a closed pipe, or no stream at all
            stream.flush()
    os._exit(code)
