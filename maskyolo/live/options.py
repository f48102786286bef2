"""Options of `serve`: what the cameras detect, and who can see it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from maskyolo.core.options import Options, Panel, option, option_of
from maskyolo.core.runs import RunOptions
from maskyolo.detectors.options import InferenceOptions
from maskyolo.errors import MaskyoloError
from maskyolo.runtime.events import EventFile
from maskyolo.runtime.named_cameras import GivenSource, NamedCamera
from maskyolo.runtime.options import DetectOptions

__all__ = ["PORT", "ServeOptions"]

_Value = TypeVar("_Value")

#: Next to the port of `maskyolo web`.
PORT = 8643


@dataclass(frozen=True, kw_only=True)
class _ServerOptions(Options, panel=Panel.SERVER):
    """Where the page is served, and who may see it."""

    host: str = option(
        "127.0.0.1",
        help="Address to serve on. 127.0.0.1: only this machine; any other needs the token that is "
        "printed at the start. 0.0.0.0: all addresses of this machine.",
        recorded=False,
    )
    port: int = option(
        PORT, help="Port to serve on. 0: any free port.", minimum=0, maximum=65535, recorded=False
    )
    token_file: Path | None = option(
        None,
        help="File that contains the token; created if it does not exist. Default: a new token at "
        "each start, if --host needs one.",
        recorded=False,
        repeated=False,
    )
    allow_host: tuple[str, ...] | None = option(
        None,
        help="Another name by which browsers may call this server, such as that of a reverse "
        "proxy. Can be repeated. Allowed anyway: localhost, this machine's name, IP addresses.",
        cli_type=list[str] | None,
        cli_parse=tuple,
        recorded=False,
        repeated=False,
    )
    areas: Path | None = option(
        None,
        help="JSON file that zones and lines drawn on the page are saved in and loaded from. "
        "Default: they are forgotten at the end.",
        recorded=False,
        repeated=False,
    )


class _SavingOptions(DetectOptions):
    """Options of `detect` for a camera that saves the images of alerts in the server's folder."""

    @property
    def saves_images(self) -> bool:
        """See `AlertOptions`."""
        return True


@dataclass(frozen=True, kw_only=True)
class ServeOptions(_ServerOptions, InferenceOptions):
    """Options of `serve` and `maskyolo serve`."""

    vid_stride: int = option_of(DetectOptions, "vid_stride")
    reconnect: float = option_of(DetectOptions, "reconnect", default=math.inf)
    zone: str | None = option_of(DetectOptions, "zone")
    line: str | None = option_of(DetectOptions, "line")
    alert_after: float | None = option_of(
        DetectOptions,
        "alert_after",
        help="Raise an alert when a person has been seen without a mask for this many seconds.",
    )
    alert_cmd: str | None = option_of(DetectOptions, "alert_cmd")
    alert_url: str | None = option_of(DetectOptions, "alert_url")
    mqtt: str | None = option_of(
        DetectOptions,
        "mqtt",
        help="MQTT broker to publish alerts and counts to, such as mqtt://user@host:1883, with "
        "Home Assistant's discovery. The password can be in the environment variable "
        "MASKYOLO_MQTT_PASSWORD. Needs the extra mqtt.",
    )
    notify: Sequence[str] | None = option_of(DetectOptions, "notify")
    notify_images: bool = option_of(DetectOptions, "notify_images")
    alert_outbox: Path | str | None = option_of(DetectOptions, "alert_outbox")
    save_alerts: bool = option_of(DetectOptions, "save_alerts")
    alert_clip: float | None = option_of(DetectOptions, "alert_clip")
    events: Path | str | None = option_of(
        DetectOptions,
        "events",
        help="Write the events of all cameras to this .csv or .jsonl file, one per line, for "
        "`maskyolo report`. There is one file per day.",
        panel=Panel.OUTPUT,
    )
    save_json: Path | str | None = option_of(
        DetectOptions,
        "save_json",
        help="Write JSON Lines to this file, one line per frame of each camera. There is one file "
        "per day.",
    )
    save_counts: Path | None = option(
        None,
        help="JSON file that the counts of the last two days are kept in, so that the page has "
        "them after a restart. Default: they are forgotten at the end.",
        recorded=False,
        repeated=False,
        panel=Panel.OUTPUT,
    )
    keep_days: int | None = option_of(DetectOptions, "keep_days")
    keep_gb: float | None = option_of(DetectOptions, "keep_gb")
    project: Path | str = option_of(RunOptions, "project", default="runs/serve")
    name: str = option_of(RunOptions, "name", default="serve")
    exist_ok: bool = option_of(RunOptions, "exist_ok")
    blur: bool = option_of(
        DetectOptions, "blur", help="Make every face unrecognizable in everything that is served."
    )
    stats_only: bool = option_of(
        DetectOptions,
        "stats_only",
        help="Serve only numbers, no images.",
        panel=Panel.DISPLAY,
    )

    @property
    def saves_images(self) -> bool:
        """Whether the images of alerts are saved."""
        return self.save_alerts or self.alert_clip is not None

    def __post_init__(self) -> None:
        """Check the options of `detect` too."""
        super().__post_init__()
        self.for_detection(self.zone, self.line)
        if self.saves_images and self.stats_only:
            raise MaskyoloError(
                "cannot save images with --stats-only, which saves none",
                "omit --save-alerts and --alert-clip, or --stats-only",
            )
        if self.events is not None:
            EventFile.check(Path(self.events))

    def for_camera(self, source: GivenSource) -> DetectOptions:
        """Return the options of `detect` for a camera, with what is its own."""
        if not isinstance(source, NamedCamera):
            return self.for_detection(self.zone, self.line)
        own = replace(self, alert_after=_first(source.alert_after, self.alert_after))
        return own.for_detection(_first(source.zone, self.zone), _first(source.line, self.line))

    def for_detection(self, zone: str | None, line: str | None) -> DetectOptions:
        """Return the options of `detect` for a camera with this zone and line."""
        own = (_SavingOptions if self.saves_images else DetectOptions)(
            vid_stride=self.vid_stride,
            reconnect=self.reconnect,
            zone=zone,
            line=line,
            blur=self.blur,
            track=True,
            alert_after=self.alert_after,
            alert_cmd=self.alert_cmd,
            alert_url=self.alert_url,
            mqtt=self.mqtt,
            notify=self.notify,
            notify_images=self.notify_images,
            alert_outbox=self.alert_outbox,
            project=self.project,
        )
        return DetectOptions.merge(
            own, {name: getattr(self, name) for name in InferenceOptions.__dataclass_fields__}
        )


def _first(own: _Value | None, common: _Value | None) -> _Value | None:
    return common if own is None else own
