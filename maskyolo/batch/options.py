"""Options of `batch plan` and `batch run`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from maskyolo.core.options import Options, Panel, option, option_of
from maskyolo.detectors.options import InferenceOptions, ModelOptions
from maskyolo.errors import MaskyoloError
from maskyolo.runtime.options import SourceOptions

__all__ = ["PlanOptions", "WorkOptions"]


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


@dataclass(frozen=True, kw_only=True)
class WorkOptions(Options, panel=Panel.ADVANCED):
    """Which shards of a plan to process, and with how many processes."""

    only: str | None = option(
        None,
        help="Process only part I of N, such as 0/8, to share a plan among the N jobs of a job "
        "array. I counts from 0.",
        panel=Panel.INPUT,
    )
    workers: int | None = option(
        None, help="Number of processes on this machine. Default: one per 4 cores.", minimum=1
    )
    threads: int | None = option_of(
        ModelOptions,
        "threads",
        help="Maximum number of CPU threads of all processes. Default: one per core.",
        panel=Panel.ADVANCED,
    )
    trust: bool = option_of(ModelOptions, "trust", panel=Panel.ADVANCED)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.share()

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
