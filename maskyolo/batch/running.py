"""Processes the shards of a plan that are not finished."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from maskyolo.batch.joining import write_manifest
from maskyolo.batch.local import Event, Resources, run_locally
from maskyolo.batch.options import Engine, WorkOptions
from maskyolo.batch.parts import read_info
from maskyolo.batch.plans import Plan, read_plan
from maskyolo.batch.progress import BatchStatus, status_of
from maskyolo.core.options import takes_options
from maskyolo.core.parallel import usable_cpus

__all__ = ["run_batch"]

#: Cores per worker process: in one process, a single thread decodes the images.
_CORES = 4


@takes_options(WorkOptions)
def run_batch(
    out: Path | str,
    *,
    options: WorkOptions | None = None,
    on_progress: Callable[[int, int | None], None] | None = None,
    on_error: Callable[[str, str], None] | None = None,
    **settings: Any,
) -> BatchStatus:
    """Process the shards of a plan that are not finished.

    Each shard's results are put in place as a whole. If this process or one of its workers is
    killed, run it again: finished shards are kept. If a shard kills its worker, it is processed
    again item by item, and an item that kills the worker twice gets an error.

    Args:
        out: the folder of the plan; see `plan_batch`.
        options: all settings; see `WorkOptions`.
        on_progress: called with the number of items processed, and the number of those to process.
        on_error: called with the name of an item and its error. Default: errors are logged as
            warnings.
        settings: fields of `WorkOptions`, which override `options`.

    Returns:
        The state of the whole plan.

    Raises:
        MaskyoloError: there is no plan in `out`, or another version of maskyolo made it.
        WeightsError: the model is not the one that was planned.
        OutputError: the results cannot be written.
        DependencyError: PyArrow, or Ray, is not installed.

    Examples:
        >>> status = run_batch("plans/samples")  # doctest: +SKIP
        >>> status.complete  # doctest: +SKIP
        True
    """
    chosen = WorkOptions.merge(options, settings)
    plan = read_plan(out)
    index, number = chosen.share()
    shards = [shard for shard in _unfinished(plan, chosen) if shard % number == index]
    total, done = sum(plan.sizes[shard] for shard in shards), 0
    report = on_error or _log

    def on_event(event: Event) -> None:
        nonlocal done
        if event.error:
            report(*event.error)
        if event.items:
            done += event.items
            if on_progress:
                on_progress(done, total)

    if shards and chosen.engine is Engine.RAY:
        from maskyolo.batch.ray_engine import run_on_ray

        threads = chosen.threads or plan.options.threads
        resources = Resources(threads, chosen.trust)
        run_on_ray(plan, shards, chosen.address, chosen.workers, resources, on_event)
    elif shards:
        workers, resources = _shares(chosen, plan, len(shards))
        run_locally(plan, shards, workers, resources, on_event)
    status = status_of(plan)
    if status.complete:
        write_manifest(plan)
    return status


def _unfinished(plan: Plan, options: WorkOptions) -> list[int]:
    missing = plan.missing()
    if not options.retry_errors:
        return missing
    finished = set(range(len(plan.sizes))) - set(missing)
    return sorted({*missing, *(one for one in finished if read_info(plan, one).errors)})


def _shares(options: WorkOptions, plan: Plan, shards: int) -> tuple[int, Resources]:
    """Return the number of worker processes, and what each may use."""
    threads = options.threads or plan.options.threads
    cores = min(threads or usable_cpus(), usable_cpus())
    workers = min(options.workers or max(1, cores // _CORES), shards)
    own = threads if workers == 1 else max(1, cores // workers)
    return workers, Resources(own, options.trust)


def _log(source: str, error: str) -> None:
    del source
    logging.getLogger("maskyolo").warning("%s", error)
