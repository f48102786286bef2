"""Processes shards on a Ray cluster, or with Ray on this machine.

Every shard is a task that starts, or reuses, a worker process like those of `local.py`, so an image
that kills it does not concern Ray. Ray itself runs a task again, on another node if there is one,
when the node or the process of the task dies.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from maskyolo.batch.local import Event, Resources, Worker, process_shard
from maskyolo.batch.plans import Plan, read_plan
from maskyolo.core.installation import install_command
from maskyolo.core.parallel import usable_cpus
from maskyolo.errors import DependencyError, MaskyoloError

__all__ = ["process_on_node", "run_on_ray"]

#: How often Ray runs a shard again whose node or process has died.
_RETRIES = 20
#: Number of tasks per CPU that are waiting in Ray at a time.
_WAITING = 4
#: Cores per task.
_CORES = 4

#: The worker process of this process, and what it was started for.
_cached: list[tuple[tuple[str, str, Resources], Worker]] = []


def process_on_node(out: str, shard: int, resources: Resources) -> list[Event]:
    """Process a shard; this is Ray's task.

    Args:
        out: folder of the plan.
        shard: number of the shard.
        resources: what the worker process may use.

    Returns:
        What has happened, as for `process_shard`.

    Raises:
        MaskyoloError: an error that concerns more than one item.
    """
    plan = read_plan(out)
    events: list[Event] = []
    key = out, plan.id, resources
    if not _cached or _cached[0][0] != key:
        while _cached:
            _cached.pop()[1].close()
        _cached.append((key, Worker(plan, resources)))
    process_shard(plan, shard, _cached[0][1], events.append)
    return events


def run_on_ray(
    plan: Plan,
    shards: Sequence[int],
    address: str | None,
    workers: int | None,
    resources: Resources,
    on_event: Callable[[Event], None],
) -> None:
    """Process shards as tasks of Ray.

    Args:
        plan: the plan.
        shards: which of its shards.
        address: the cluster, such as `10.0.0.1:6379` or `auto`; None starts Ray on this machine,
            for this run only, where it listens on the loopback address and demands a token.
        workers: number of tasks at once, if Ray is started here. Default: one per 4 cores.
        resources: what each worker process may use. Default: 4 threads, or all of a smaller node.
        on_event: called in this thread.

    Raises:
        DependencyError: Ray is not installed.
        MaskyoloError: the cluster cannot be reached, or an error that concerns more than one item.
    """
    with _connected(address) as ray:
        nodes = [node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]]
        cores = int(min([count for count in nodes if count] or [1]))
        share = max(1, cores // workers) if workers else min(_CORES, cores)
        threads = min(resources.threads or share, cores)
        task = ray.remote(process_on_node).options(
            num_cpus=threads, max_retries=_RETRIES, scheduling_strategy="SPREAD"
        )
        todo, running = deque(shards), list[Any]()
        own = Resources(threads, resources.trust)
        try:
            while todo or running:
                while todo and len(running) < _WAITING * max(int(sum(nodes)), 1):
                    running.append(task.remote(str(plan.out), todo.popleft(), own))
                (done, *_), running = ray.wait(running)
                for event in _result(ray, done):
                    on_event(event)
        finally:
            for reference in running:
                ray.cancel(reference, force=True)


def _result(ray: Any, reference: Any) -> list[Event]:
    try:
        events: list[Event] = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        cause = getattr(error, "cause", None)
        raise cause if isinstance(cause, MaskyoloError) else error from error
    except ray.exceptions.RayError as error:
        reason = " ".join(str(error).split())[:200]
        raise MaskyoloError(
            f"a shard could not be finished in {_RETRIES + 1} attempts: {reason}",
            "look for nodes that lack memory, and run the same command again",
        ) from error
    return events


@contextmanager
def _connected(address: str | None) -> Iterator[Any]:
    """Return the module `ray`, connected to a cluster."""
    before = dict(os.environ)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # reports nothing to Ray's makers
    if address is None:
        # Its name is misleading: nodes then only listen on the loopback address.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    try:
        import ray
    except ImportError as error:
        raise DependencyError(
            f"--engine ray needs Ray, which cannot be imported ({error})",
            f"run: {install_command('ray')}",
        ) from error
    if ray.is_initialized():  # by the caller
        yield ray
        return
    quiet = {"logging_level": "ERROR", "log_to_driver": False}
    try:
        if address is None:
            ray.init(num_cpus=usable_cpus(), include_dashboard=False, **quiet)
        else:
            ray.init(address=address, **quiet)
    except (OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise MaskyoloError(
            f"cannot connect to Ray at {address or 'this machine'}: {reason}",
            "check the address and the token (RAY_AUTH_TOKEN), or start a cluster: ray start "
            "--head",
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()
        os.environ.clear()
        os.environ.update(before)
