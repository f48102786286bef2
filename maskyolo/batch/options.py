"""Options of `batch plan`, `batch run` and `batch join`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from maskyolo.core.options import Choice, Options, Panel, option, option_of
from maskyolo.detectors.options import InferenceOptions, ModelOptions
from maskyolo.errors import MaskyoloError
from maskyolo.runtime.options import AlertOptions, SourceOptions, TrackingOptions

__all__ = ["Engine", "JoinOptions", "PlanOptions", "WorkOptions"]


@dataclass(frozen=True, kw_only=True)
class PlanOptions(InferenceOptions, panel=Panel.INPUT):
    """How an archive is divided into shards, and how its images are processed."""

    shard: int = option(
        2000,
        help="Number of images per shard, the unit that is finished as a whole. A video counts as "
        "one image per 20 kB.",
        minimum=1,
    )
    vid_stride: int = option_of(SourceOptions, "vid_stride", help="Process every n-th video frame.")
    slice_size: int | None = option_of(SourceOptions, "slice_size")
    track: bool = option(
        False,
        help="Keep what is needed to track and count people in videos: also faces of low "
        "confidence, and numbers that are not rounded.",
        panel=Panel.TRACKING,
    )


class Engine(Choice):
    """What distributes the shards: processes on this machine, or Ray on a cluster."""

    LOCAL = "local"
    RAY = "ray"


@dataclass(frozen=True, kw_only=True)
class JoinOptions(Options, panel=Panel.TRACKING):
    """What to count in a plan with `track`, and the files of that."""

    zone: str | None = option_of(TrackingOptions, "zone")
    line: str | None = option_of(TrackingOptions, "line")
    events: Path | str | None = option_of(TrackingOptions, "events")
    counts: Path | str | None = option(
        None,
        help="Write the counts of people to this file, in the format of counts.json.",
        cli_type=Path | None,
    )
    alert_after: float | None = option_of(
        AlertOptions,
        "alert_after",
        help="Write the event alert when a person has been seen without a mask for this many "
        "seconds.",
    )

    @property
    def needs_tracks(self) -> bool:
        """Whether an option is given that needs tracks."""
        return any(value is not None for value in vars(self).values())


@dataclass(frozen=True, kw_only=True)
class WorkOptions(Options, panel=Panel.ADVANCED):
    """Which shards of a plan to process, and with how many processes."""

    only: str | None = option(
        None,
        help="Process only part I of N, such as 0/8, to share a plan among the N jobs of a job "
        "array. I counts from 0.",
        panel=Panel.INPUT,
    )
    engine: Engine = option(
        Engine.LOCAL,
        help="What distributes the shards: local (processes on this machine) or ray (a Ray "
        "cluster).",
    )
    address: str | None = option(
        None,
        help="Address of the Ray cluster, such as 10.0.0.1:6379, or auto for the one on this "
        "machine. Default: start Ray for this run only.",
    )
    retry_errors: bool = option(
        False,
        help="Also process the finished shards that have errors again, such as after a failure of "
        "the network. Their results are replaced.",
        panel=Panel.INPUT,
    )
    workers: int | None = option(
        None, help="Number of processes on this machine. Default: one per 4 cores.", minimum=1
    )
    threads: int | None = option_of(
        ModelOptions,
        "threads",
        help="Maximum number of CPU threads of all processes; with ray, of each. Default: one per "
        "core; with ray, 4.",
        panel=Panel.ADVANCED,
    )
    trust: bool = option_of(ModelOptions, "trust", panel=Panel.ADVANCED)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.share()
        if self.address is not None and self.engine is not Engine.RAY:
            raise MaskyoloError("--address needs --engine ray", "add it, or omit --address")
        if self.address is not None and self.workers is not None:
            raise MaskyoloError(
                "--workers has no effect on a cluster, which runs as many shards as it has cores "
                "for",
                "omit --workers, or set the cores per shard with --threads",
            )

    def share(self) -> tuple[int, int]:
        """Return I and N of `only`; (0, 1) for all shards.

        Raises:
            MaskyoloError: `only` has another form.
        """
        if self.only is None:
            return 0, 1
        found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", self.only)
        index, number = (int(found[1]), int(found[2])) if found else (0, 0)
        if index >= number:
            raise MaskyoloError(
                f"only must be I/N with I from 0 to N - 1, got '{self.only[:40]}'",
                "use 0/8, 1/8, … 7/8 for eight jobs",
            )
        return index, number
