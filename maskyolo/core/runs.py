"""The folder of a run: `runs/<command>/<name>`, `<name>2`, ..., and its `args.yaml`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from maskyolo.core.files import write_atomic, written_name
from maskyolo.core.options import Choice, Options, Panel, option
from maskyolo.core.repeating import ARGS, PROVENANCE
from maskyolo.errors import OutputError, output_errors

__all__ = [
    "RunOptions",
    "add_to_args",
    "check_no_links",
    "clear_run",
    "new_run",
    "save_args",
]


@dataclass(frozen=True, kw_only=True)
class RunOptions(Options, panel=Panel.OUTPUT):
    """Where to create a run's folder; each command has its own defaults of `project` and `name`."""

    project: Path | str = option(
        "runs",
        help="Parent folder of the run's folder.",
        cli_type=Path,
        recorded=False,
    )
    name: str = option(
        "run", help="Name of the run's folder; a number is added if it exists.", recorded=False
    )
    exist_ok: bool = option(
        False,
        help="Write into an existing folder of that name instead of adding a number.",
        recorded=False,
    )
    args: Path | str | None = option(
        None,
        help="Repeat an earlier run, given its folder or its args.yaml. Options given here take "
        "precedence. If the model, data, packages or machine differ, one line says how.",
        cli_type=Path | None,
        recorded=False,
        panel=Panel.INPUT,
    )


def new_run(project: Path | str, name: str, exist_ok: bool = False) -> Path:
    """Create the folder `project/name` and return it.

    If it exists, a number is added as Ultralytics does: `name2`, `name3`, ...

    Args:
        project: parent folder of all runs.
        name: the run's name.
        exist_ok: use an existing folder of that name, unchanged.

    Raises:
        OutputError: the folder cannot be created (no permission, no space, a file in its place),
            or `name` is not a single folder name.
    """
    project = Path(project)
    if not name or Path(name).name != name:
        raise OutputError(
            f"the name of a run must be a single folder name, got '{name}'",
            "use --project for its parent folders",
        )
    with output_errors(project / name):
        project.mkdir(parents=True, exist_ok=True)
        number = 1
        while True:
            folder = project / (name if number == 1 else f"{name}{number}")
            try:
                folder.mkdir(exist_ok=exist_ok)
            except FileExistsError:
                if exist_ok:  # so it is a file, not a folder
                    raise
                number += 1
            else:
                check_no_links(folder)
                return folder


def check_no_links(folder: Path) -> None:
    """Check that a run's folder contains no links, through which the run would write elsewhere.

    Raises:
        OutputError: it does; the folder may come from someone else.
    """
    for parent, folders, files in os.walk(folder):
        for path in (Path(parent, name) for name in (*folders, *files)):
            if path.is_symlink():
                raise OutputError(
                    f"cannot write in {folder}: {written_name(path.relative_to(folder))} is a link",
                    "replace the link with what it refers to, or remove it",
                )


def save_args(
    folder: Path, args: Mapping[str, Any], provenance: Mapping[str, Any] | None = None
) -> None:
    """Write a run's settings to `folder/args.yaml`; values without a YAML type are written as text.

    Args:
        folder: the run's folder.
        args: the settings by name.
        provenance: what the run is made with, under a key of its own; see
            `maskyolo.runtime.provenance`.

    Raises:
        OutputError: the file cannot be written.
    """
    content = {**args, PROVENANCE: provenance} if provenance else args
    write_atomic(folder / ARGS, _as_yaml(content))


def add_to_args(folder: Path, args: Mapping[str, Any]) -> None:
    """Add settings to a run's `args.yaml`.

    Raises:
        OutputError: the file cannot be written.
    """
    path = folder / ARGS
    write_atomic(path, path.read_text(encoding="utf-8") + _as_yaml(args))


def _as_yaml(values: Mapping[str, Any]) -> str:
    text: str = yaml.safe_dump(_plain(values), sort_keys=False, allow_unicode=True)
    return text


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Choice):  # a str, but YAML cannot represent enums
        return str(value)
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def clear_run(folder: Path) -> None:
    """Remove an earlier run's results from a reused folder.

    Otherwise they could be mistaken for the new run's.
    """
    for pattern in (
        "report.*",
        "blend.json",
        "curves.png",
        "results.csv",
        "weights/*.pt",
        "weights/*.onnx",
        "weights/*.photos.txt",
        "weights/*.part",
    ):
        for path in folder.glob(pattern):
            path.unlink()
