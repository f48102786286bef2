"""The options of detecting on a source: what is read, tracked, reported and written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from maskyolo.core.options import Options, option, option_of
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
class SourceOptions(Options):
    """Which frames of a source are processed, and in which parts."""

    vid_stride: int = option(1, help="Process every n-th frame of a video or stream.", minimum=1)
    reconnect: float = option(
        60.0,
        help="How long to try to reconnect to a camera or stream, in seconds (inf: forever).",
        minimum=0,
    )
    slice_size: int | None = option(
        None,
        help="Also detect in overlapping tiles of this many pixels, for distant faces in very "
        "large images.",
        minimum=64,
        flags=("--slice",),
    )


@dataclass(frozen=True, kw_only=True)
class TrackingOptions(Options):
    """How people are tracked and counted; every option here turns on tracking."""

    track: bool = option(
        False,
        help="Track faces in videos and streams: labels stop flickering, and people are counted.",
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
        help="Write what happens to people to this .csv or .jsonl file: appears, changes, alert, "
        "...",
        cli_type=Path | None,
    )


@dataclass(frozen=True, kw_only=True)
class AlertOptions(Options):
    """When there is an alert, and where it is sent."""

    alert_after: float | None = option(
        None,
        help="Raise an alert when a person has been seen without a mask for this many seconds. "
        "Turns on tracking.",
        minimum=0,
    )
    alert_cmd: str | None = option(
        None,
        help="Program to run at each alert, without a shell; it gets the event as JSON on its "
        "standard input.",
    )
    alert_url: str | None = option(
        None, help="Address that the event is posted to as JSON at each alert."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        wanted = self.alert_cmd is not None or self.alert_url is not None
        if wanted and self.alert_after is None:
            raise MaskyoloError(
                "cannot tell when to raise an alert",
                "set the seconds without a mask with --alert-after",
            )


@dataclass(frozen=True, kw_only=True)
class OutputOptions(Options):
    """What is written and shown."""

    blur: bool = option(
        False, help="Make every face unrecognizable in everything that is saved and shown."
    )
    stats_only: bool = option(
        False, help="Save no images, only numbers: counts.json in the run's folder."
    )
    save: bool = option(
        False,
        help="Save annotated images and videos in the run's folder.",
        cli_default=True,
    )
    save_json: Path | str | None = option(
        None, help="Write one line of JSON per frame to this file.", cli_type=Path | None
    )
    save_txt: bool = option(False, help="Save YOLO label files in the run's folder.")
    save_conf: bool = option(False, help="Add the confidence to the label files.")
    save_crop: bool = option(False, help="Save an image of each detection in the run's folder.")
    show: bool = option(False, help="Show the frames in a window; press q to quit.")


# Fields are in the order of the bases from right to left; --help shows them in that order.
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
        needing = (self.zone, self.line, self.events, self.alert_after)
        return self.track or any(value is not None for value in needing)
