"""Options of `detect`: what to read, track, report and write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from maskyolo.core.options import Options, Panel, option, option_of
from maskyolo.core.runs import RunOptions
from maskyolo.detectors.options import InferenceOptions
from maskyolo.errors import MaskyoloError

__all__ = [
    "AlertOptions",
    "DetectOptions",
    "OutputOptions",
    "SourceOptions",
    "TrackingOptions",
]


@dataclass(frozen=True, kw_only=True)
class SourceOptions(Options, panel=Panel.INPUT):
    """Which frames of a source are processed, and whether in tiles."""

    vid_stride: int = option(1, help="Process every n-th frame of a video or stream.", minimum=1)
    reconnect: float = option(
        60.0,
        help="How long to try to reconnect to a camera or stream, in seconds (inf: forever).",
        minimum=0,
    )
    start: str | None = option(
        None,
        help="Start of a recording, such as 2026-11-27T08:00:00+01:00, to write the time of day of "
        "each frame. Cameras and streams have it without this.",
    )
    slice_size: int | None = option(
        None,
        help="Also detect in overlapping tiles of this size in pixels, to find distant faces in "
        "very large images.",
        minimum=64,
        flags=("--slice",),
        panel=Panel.DETECTION,
    )


@dataclass(frozen=True, kw_only=True)
class TrackingOptions(Options, panel=Panel.TRACKING):
    """How to track and count people; every option here turns tracking on."""

    track: bool = option(
        False,
        help="Track faces in videos and streams, to stabilize labels and count people.",
    )
    zone: str | None = option(
        None,
        help="Count only people in this polygon: x1,y1,x2,y2,x3,y3,... in pixels, or as fractions "
        "from 0 to 1.",
    )
    line: str | None = option(
        None,
        help="Count people who cross this line: x1,y1,x2,y2 in pixels, or as fractions from 0 to "
        "1.",
    )
    events: Path | str | None = option(
        None,
        help="Write events to this .csv or .jsonl file, one per line: appears, changes, alert, ...",
        cli_type=Path | None,
        repeated=False,
    )


@dataclass(frozen=True, kw_only=True)
class AlertOptions(Options, panel=Panel.ALERTS):
    """When to raise an alert, and where to send it."""

    alert_after: float | None = option(
        None,
        help="Raise an alert when a person has been seen without a mask for this many seconds. "
        "Turns on tracking.",
        minimum=0,
    )
    alert_cmd: str | None = option(
        None,
        help="Program to run on each alert, without a shell; it receives the event as JSON on "
        "standard input.",
        repeated=False,
    )
    alert_url: str | None = option(
        None, help="URL to post the event to, as JSON, on each alert.", repeated=False
    )
    mqtt: str | None = option(
        None,
        help="MQTT broker to publish alerts and the counts of cameras to, such as "
        "mqtt://user@host:1883, with Home Assistant's discovery. The password can be in the "
        "environment variable MASKYOLO_MQTT_PASSWORD. Turns on tracking. Needs the extra mqtt.",
        repeated=False,
    )
    notify: Sequence[str] | None = option(
        None,
        help="Address of apprise to send a message to on each alert, such as tgram://TOKEN/CHAT "
        "(Telegram), or a file with such addresses. Can be repeated. Needs the extra notify.",
        cli_type=list[str] | None,
        repeated=False,
    )
    notify_images: bool = option(
        False,
        help="Attach the image of each alert to the messages of --notify. Needs --save-alerts.",
        repeated=False,
    )
    alert_outbox: Path | str | None = option(
        None,
        help="Folder that alerts wait in until they can be delivered, also by the next run. "
        "Default: the folder outbox in --project.",
        cli_type=Path | None,
        repeated=False,
    )
    save_alerts: bool = option(
        False, help="Save an image of each alert in the folder alerts of the run's folder."
    )

    alert_clip: float | None = option(
        None,
        help="Also save a video of each alert, from this many seconds before it until as many "
        "after it. Turns on --save-alerts.",
        minimum=1,
        maximum=30,
    )

    @property
    def saves_images(self) -> bool:
        """Whether the images of alerts are saved."""
        return self.save_alerts or self.alert_clip is not None

    def __post_init__(self) -> None:
        super().__post_init__()
        wanted = (self.alert_cmd, self.alert_url, self.notify, self.saves_images or None)
        if self.alert_after is None and any(value is not None for value in wanted):
            raise MaskyoloError(
                "alerts (--alert-cmd, --alert-url, --notify, --save-alerts, --alert-clip) need "
                "--alert-after",
                "set --alert-after to the number of seconds without a mask",
            )
        if self.notify_images and not (self.notify and self.saves_images):
            raise MaskyoloError(
                "--notify-images needs --notify and --save-alerts", "add both, or omit it"
            )


@dataclass(frozen=True, kw_only=True)
class OutputOptions(Options, panel=Panel.OUTPUT):
    """What to write and show."""

    classes: Sequence[str] | None = option(
        None,
        help="Draw, save and write only detections of this class, such as without_mask. Counts, "
        "events and alerts are not affected. Can be repeated.",
        cli_type=list[str] | None,
    )
    blur: bool = option(
        False,
        help="Make every face unrecognizable in all saved and displayed output.",
        panel=Panel.DISPLAY,
    )
    stats_only: bool = option(
        False, help="Save only counts (counts.json in the run's folder), no images."
    )
    save: bool = option(
        False,
        help="Save annotated images and videos in the run's folder.",
        cli_default=True,
    )
    save_json: Path | str | None = option(
        None,
        help="Write JSON Lines to this file, one line per frame.",
        cli_type=Path | None,
        repeated=False,
    )
    resume: bool = option(
        False,
        help="Continue the file of --save-json that an interrupted run over image and video files "
        "has left, or start it if there is none. Finished lines are kept.",
        repeated=False,
    )
    keep_days: int | None = option(
        None,
        help="Delete files of cameras and streams that are older than this many days: files of "
        "earlier days, and images of alerts. Default: keep all.",
        minimum=1,
        repeated=False,
    )
    keep_gb: float | None = option(
        None,
        help="Delete the oldest of these files if they take more than this many gigabytes.",
        minimum=0,
        repeated=False,
    )
    save_txt: bool = option(False, help="Save YOLO label files in the run's folder.")
    save_conf: bool = option(False, help="Add the confidence to the label files.")
    save_crop: bool = option(False, help="Save an image of each detection in the run's folder.")
    show: bool = option(
        False, help="Show the frames in a window; press q to quit.", panel=Panel.DISPLAY
    )


# Dataclass fields are collected from the bases right to left; --help shows them in that order.
@dataclass(frozen=True, kw_only=True)
class DetectOptions(
    RunOptions, OutputOptions, AlertOptions, TrackingOptions, SourceOptions, InferenceOptions
):
    """Options of `detect`."""

    project: Path | str = option_of(RunOptions, "project", default="runs/detect")
    name: str = option_of(RunOptions, "name", default="predict")

    @property
    def tracks(self) -> bool:
        """Whether people are tracked, because of `track` or of an option that needs tracks."""
        needing = (self.zone, self.line, self.events, self.alert_after, self.mqtt)
        return self.track or any(value is not None for value in needing)

    @property
    def outbox(self) -> Path:
        """The folder that alerts wait in until they are delivered."""
        chosen = self.alert_outbox
        return Path(self.project) / "outbox" if chosen is None else Path(chosen)

    @property
    def needs_folder(self) -> bool:
        """Whether something is written into the run's folder."""
        alerts = self.save_alerts or self.alert_clip is not None
        return any((self.save, self.save_txt, self.save_crop, self.stats_only, alerts))
