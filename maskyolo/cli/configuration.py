"""The options `--config` and `--config-schema`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from maskyolo.core.options import Panel

if TYPE_CHECKING:
    from maskyolo.configuration.loading import Configuration
    from maskyolo.runtime.named_cameras import GivenSource

__all__ = ["Config", "ConfigSchema", "read_config", "sources_of"]


def _print_schema(wanted: bool) -> None:
    if wanted:
        from maskyolo.configuration.schema import json_schema

        typer.echo(json.dumps(json_schema(), indent=2))
        raise typer.Exit


Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="YAML file with cameras and options. Options given here take precedence, and --source "
        "replaces its cameras.",
        rich_help_panel=Panel.INPUT,
    ),
]

ConfigSchema = Annotated[
    bool,
    typer.Option(
        "--config-schema",
        help="Print the JSON schema of the file of --config, for editors.",
        is_eager=True,
        callback=_print_schema,
        rich_help_panel=Panel.INPUT,
    ),
]


def read_config(path: Path) -> Configuration:
    """Return the content of a configuration file.

    Raises:
        MaskyoloError: see `load_config`.
    """
    from maskyolo.configuration.loading import load_config

    return load_config(path)


def sources_of(given: Sequence[str], config: Any) -> list[GivenSource]:
    """Return the sources that are given, or else the cameras of a configuration.

    Raises:
        BadParameter: there are none.
    """
    found: list[GivenSource] = [*given] or (list(config.cameras) if config else [])
    if not found:
        raise typer.BadParameter("no source given, such as photo.jpg or 0", param_hint="--source")
    return found
