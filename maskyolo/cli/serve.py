"""`maskyolo serve`: cameras as a live page and an HTTP API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from maskyolo.cli.configuration import Config, ConfigSchema, read_config, sources_of
from maskyolo.cli.heartbeat import Heartbeat
from maskyolo.cli.options import examples, with_options
from maskyolo.core.options import Panel
from maskyolo.live.options import ServeOptions

if TYPE_CHECKING:
    from maskyolo.live.serving import Address

EXAMPLES = examples(
    "maskyolo serve --source 0",
    "maskyolo serve --source rtsp://10.0.0.5/live --source rtsp://10.0.0.6/live --blur",
    "maskyolo serve --source 0 --host 0.0.0.0 --token-file token.txt --areas areas.json",
    "maskyolo serve --config cameras.yaml",
)


@with_options(ServeOptions, read_config)
def serve(
    source: Annotated[
        list[str] | None,
        typer.Option(
            help="Camera number, stream URL or video. Repeat it for several cameras.",
            rich_help_panel=Panel.INPUT,
        ),
    ] = None,
    *,
    config: Config = None,
    config_schema: ConfigSchema = False,
    options: ServeOptions,
) -> None:
    """Watch cameras in the browser: live frames, counts, alerts, and an HTTP API.

    Only browsers on this machine can open the page, unless --host is given. Ends with Ctrl-C.
    """
    from maskyolo.live.serving import serve as run

    del config_schema  # its callback prints
    heartbeat = Heartbeat()
    try:
        run(
            sources_of(source or (), config),
            options=options,
            on_start=_announce,
            on_tick=heartbeat.look,
        )
    finally:
        heartbeat.end()


def _announce(address: Address) -> None:
    typer.echo(f"open {address.url} in your browser; Ctrl-C to stop")
    if address.token:
        typer.echo(f"token: {address.token}")
