"""How much of a plan is done, from the parts that exist."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from maskyolo.batch.parts import read_info
from maskyolo.batch.plans import Plan, read_plan

__all__ = ["BatchStatus", "batch_status", "status_of"]

#: Number of the latest parts from which the rate is computed.
_RECENT = 50


@dataclass(frozen=True)
class BatchStatus:
    """The state of a plan.

    Attributes:
        shards: number of shards.
        finished_shards: number of finished shards.
        items: number of images and videos.
        finished_items: number of those in finished shards.
        rows: number of rows in finished shards: images, frames and errors.
        errors: number of rows with an error.
        rate: items per second, over the latest shards of all machines; None if unknown.
        last: seconds since the latest shard was finished; None if none is.
    """

    shards: int
    finished_shards: int
    items: int
    finished_items: int
    rows: int
    errors: int
    rate: float | None = None
    last: float | None = None

    @property
    def complete(self) -> bool:
        """Whether every shard is finished."""
        return self.finished_shards == self.shards

    @property
    def left(self) -> float | None:
        """Seconds until the last shard is finished, at the same rate; None if unknown."""
        return (self.items - self.finished_items) / self.rate if self.rate else None


def batch_status(out: Path | str) -> BatchStatus:
    """Return how much of a plan is done; also while it is being processed.

    Args:
        out: the folder of the plan.

    Raises:
        MaskyoloError: there is no plan in `out`, or a part is damaged.

    Examples:
        >>> status = batch_status("plans/samples")  # doctest: +SKIP
        >>> status.finished_items, status.items  # doctest: +SKIP
        (4, 9)
    """
    return status_of(read_plan(out))


def status_of(plan: Plan) -> BatchStatus:
    """Return the state of a plan that was read; see `batch_status`."""
    missing = set(plan.missing())
    done = [shard for shard in range(len(plan.sizes)) if shard not in missing]
    infos = {shard: read_info(plan, shard) for shard in done}
    ended = sorted((plan.part(shard).stat().st_mtime, infos[shard].items) for shard in done)
    recent = ended[-_RECENT:]
    seconds = recent[-1][0] - recent[0][0] if recent else 0.0
    return BatchStatus(
        len(plan.sizes),
        len(done),
        sum(plan.sizes),
        sum(info.items for info in infos.values()),
        sum(info.rows for info in infos.values()),
        sum(info.errors for info in infos.values()),
        sum(items for _, items in recent[1:]) / seconds if seconds > 0 else None,
        max(time.time() - recent[-1][0], 0.0) if recent else None,
    )
