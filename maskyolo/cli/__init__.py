"""The `maskyolo` command: one module per subcommand, which parses, calls the library and prints."""

from __future__ import annotations

import atexit
import errno
import importlib
import os
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import suppress
from typing import Annotated, Any

import typer
import typer.main
from typer.core import TyperGroup

from maskyolo import __version__
from maskyolo.cli.help import Command
from maskyolo.cli.options import examples
from maskyolo.cli.streams import repair_streams
from maskyolo.cli.terminal import printable_streams
from maskyolo.core.children import protect_children
from maskyolo.errors import MaskyoloError

__all__ = ["app", "main"]

#: The commands, each a module of this package, in the order of `maskyolo --help`.
_SUMMARIES = {
    "convert": "Convert folders of photos to a data set with boxes.",
    "synthesize": "Draw masks on photos of bare faces.",
    "train": "Train a detector on a data set.",
    "val": "Evaluate a detector on labeled images.",
    "compare": "Compare the accuracy and speed of detectors.",
    "detect": "Detect faces and masks in images, video and streams.",
    "batch": "Detect in archives, on one machine or many.",
    "report": "Report who wore a mask over time, from events.",
    "adapt": "Make training data of a camera's own recordings.",
    "export": "Export a model for another runtime.",
    "serve": "Watch cameras in the browser, and over HTTP.",
    "web": "Detect in the browser: photos, videos and the camera.",
    "models": "List, download and verify weights.",
    "doctor": "Check the installation and suggest fixes.",
    "review": "Find and correct errors in a data set.",
}


#: Maximum number of characters of a path in an error message.
_MAX_SHOWN = 200


class _Commands(MutableMapping[str, Any]):
    """The commands by name. A command's module is imported when it is asked for.

    Otherwise every start would import the options of all commands.
    """

    def __init__(self) -> None:
        self._built: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._built:
            self._built[name] = _build(name, _SUMMARIES[name])
        return self._built[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._built[name] = command

    def __delitem__(self, name: str) -> None:
        del self._built[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_SUMMARIES)

    def __len__(self) -> int:
        return len(_SUMMARIES)


def _build(name: str, summary: str) -> Any:
    """Return the command, or group of commands, of the module with this name."""
    module = importlib.import_module(f"maskyolo.cli.{name}")
    inner: typer.Typer | None = getattr(module, "app", None)
    if inner is None:
        inner = typer.Typer(add_completion=False, rich_markup_mode=None)
        inner.command(name, cls=Command, epilog=module.EXAMPLES)(getattr(module, name))
    command: Any = typer.main.get_command(inner)
    command.name, command.short_help = name, summary
    return command


#: Commands of other tools, and what to type instead.
_ELSEWHERE = {
    "predict": "maskyolo detect --source …",
    "track": "maskyolo detect --track --source …",
    "evaluate": "maskyolo val",
    "validate": "maskyolo val",
    "benchmark": "maskyolo compare",
}


class _Group(TyperGroup):
    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _Commands()

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] in _ELSEWHERE:
            ctx.fail(f"No such command '{args[0]}'. Use: {_ELSEWHERE[args[0]]}")
        return super().resolve_command(ctx, args)


app = typer.Typer(
    name="maskyolo",
    cls=_Group,
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


def main(arguments: list[str] | None = None) -> None:
    """Run the command.

    Exit codes: 0 for success, 1 for an error that the user can fix (one line on stderr), 2 for a
    usage error, 130 for Ctrl-C.
    """
    if arguments is None:
        repair_streams()
        protect_children()
    with printable_streams():
        code = _run(arguments)
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


def _run(arguments: list[str] | None) -> int:
    try:
        app(arguments)
    except MaskyoloError as error:
        print(f"maskyolo: {error}", file=sys.stderr)
        return 1
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except OSError as error:
        return _unusable(error) if isinstance(error.filename, (str, bytes)) else _unwritten(error)
    return 0


def _unusable(error: OSError) -> int:
    """Report a path that the operating system refuses, such as one that is too long; return 1."""
    from maskyolo.core.files import written_name

    name = written_name(os.fsdecode(error.filename))
    shown = name if len(name) <= _MAX_SHOWN else f"{name[:_MAX_SHOWN]}…"
    reason = (error.strerror or str(error)).lower()
    print(f"maskyolo: cannot use {shown}: {reason}; check the path", file=sys.stderr)
    return 1


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
