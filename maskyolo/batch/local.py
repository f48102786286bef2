"""Processes shards in worker processes on this machine, and finds the items that kill them."""

from __future__ import annotations

import contextlib
import json
import queue
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

from maskyolo import errors
from maskyolo.batch.parts import PartWriter
from maskyolo.batch.plans import Item, Plan
from maskyolo.core.children import python_command
from maskyolo.core.files import written_name
from maskyolo.errors import MaskyoloError, SourceError

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Event", "Resources", "Worker", "process_shard", "run_locally"]

#: What a worker process runs.
CODE = "from maskyolo.batch.worker import main; main()"
#: How often an item may kill its process before it counts as the cause.
_DEATHS = 2
#: How often a worker process is started, if it ends before it is ready.
_STARTS = 3


@dataclass(frozen=True)
class Event:
    """What has happened: items are done, an item has an error, or a shard is finished."""

    items: int = 0
    error: tuple[str, str] | None = None
    shard: int | None = None


@dataclass(frozen=True)
class Resources:
    """What a worker process may use.

    Attributes:
        threads: maximum number of CPU threads; None for one per core.
        trust: whether to load a `.pt` file of unknown origin.
    """

    threads: int | None = None
    trust: bool = False


class WorkerDied(Exception):  # noqa: N818  an event, which is handled
    """The worker process has ended before it had answered.

    Attributes:
        how: how it ended, such as "signal SIGSEGV".
    """

    def __init__(self, code: int) -> None:
        super().__init__(code)
        known = {number.value: number.name for number in signal.Signals}
        self.how = f"signal {known.get(-code, -code)}" if code < 0 else f"exit code {code}"


class _Stopped(Exception):  # noqa: N818  an event, which ends a thread
    """The job was given up meanwhile."""


class Worker:
    """A process that serves `worker.main`; it is started when it is first needed.

    It ends with this process, however that ends.
    """

    def __init__(self, plan: Plan, resources: Resources) -> None:
        self._plan, self._resources = plan, resources
        self._process: subprocess.Popen[str] | None = None
        self._lock, self._stopped = threading.Lock(), False
        self._made: dict[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the process."""
        del kind, error, trace
        self.close()

    def made(self) -> dict[str, Any]:
        """Return versions and processor of the process; see `PartInfo`.

        Raises:
            MaskyoloError: it cannot be started.
        """
        if not self._made:
            self._start()
        return self._made

    def ask(self, **request: int) -> Iterator[dict[str, Any]]:
        """Send a request, and yield the answers until it is finished.

        Raises:
            WorkerDied: the process has ended.
            MaskyoloError: it cannot be started, or has reported an error that concerns more than
                one item.
        """
        if self._process is None:
            self._start()
        self._send(request)
        for answer in self._answers():
            if "finished" in answer:
                return
            yield answer

    def stop(self) -> None:
        """End the process for good; any thread may call this."""
        with self._lock:
            self._stopped = True
            if self._process:
                self._process.kill()

    def close(self) -> None:
        """End the process for good; only the thread that asks may call this, or a later one."""
        self.stop()
        if self._process:
            with contextlib.suppress(WorkerDied):
                self._end()

    def _start(self) -> None:
        how = ""
        for _ in range(_STARTS):
            try:
                self._launch()
                self._send({"out": str(self._plan.out), **vars(self._resources)})
                self._made = next(self._answers())["made"]
            except WorkerDied as death:
                how = death.how
            else:
                return
        raise MaskyoloError(
            f"a worker process ended with {how} before its first image",
            "run `maskyolo doctor`, and look for a lack of memory",
        )

    def _launch(self) -> None:
        with self._lock:
            if self._stopped:
                raise _Stopped
            # in a session of its own, so that Ctrl-C in the terminal only reaches the driver
            self._process = subprocess.Popen(
                python_command(CODE),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                encoding="ascii",
                start_new_session=True,
            )

    def _send(self, request: dict[str, Any]) -> None:
        assert self._process  # noqa: S101
        assert self._process.stdin  # noqa: S101
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            self._end()

    def _answers(self) -> Iterator[dict[str, Any]]:
        assert self._process  # noqa: S101
        assert self._process.stdout  # noqa: S101
        for line in self._process.stdout:
            answer = json.loads(line) if line.endswith("\n") else {}
            if "failed" in answer:
                kind, problem, remedy = answer["failed"]
                raise getattr(errors, kind, MaskyoloError)(problem, remedy)
            if answer:
                yield answer
        self._end()

    def _end(self) -> None:
        assert self._process  # noqa: S101
        with self._lock:
            process, self._process = self._process, None
        for pipe in (process.stdin, process.stdout):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()
        raise WorkerDied(process.wait())


def process_shard(
    plan: Plan, shard: int, worker: Worker, on_event: Callable[[Event], None]
) -> None:
    """Process a shard in a worker process. If that dies, process the shard item by item.

    Raises:
        MaskyoloError: an error that concerns more than one item.
    """
    done = 0
    try:
        for answer in worker.ask(shard=shard):
            done += answer["done"]
            for name, error in answer["errors"]:
                on_event(Event(error=(name, error)))
            on_event(Event(items=answer["done"]))
    except WorkerDied:
        _process_singly(plan, shard, worker, done, on_event)
    on_event(Event(shard=shard))


def _process_singly(
    plan: Plan, shard: int, worker: Worker, reported: int, on_event: Callable[[Event], None]
) -> None:
    """Process a shard item by item; one that kills the worker process twice gets an error.

    The part is written here, in a process that survives. `on_event` knows already of the first
    `reported` items.
    """
    items = plan.items(shard)
    with PartWriter(plan, shard, worker.made()) as writer:
        for place, item in enumerate(items):
            for record in _records(worker, item, shard):
                writer.add(item, record)
                if "error" in record and place >= reported:
                    on_event(Event(error=(item.name, record["error"])))
            if place >= reported:
                on_event(Event(items=1))
        writer.finish()


def _records(worker: Worker, item: Item, shard: int) -> Iterator[dict[str, Any]]:
    """Yield the records of an item; if it kills the process repeatedly, also an error."""
    yielded, frame, how = 0, -1, ""
    for _ in range(_DEATHS):
        place = 0
        try:
            for answer in worker.ask(item=item.number, of=shard):
                place += 1
                if place > yielded:  # the others were yielded before the process died
                    yielded, frame = place, answer["record"]["frame"]
                    yield answer["record"]
        except WorkerDied as death:
            how = death.how
        else:
            return
    name = written_name(item.name)
    error = SourceError(
        f"cannot process {name}: it ends the process ({how})", "remove it or copy it again"
    )
    yield {"frame": frame + 1, "error": str(error)}


def run_locally(
    plan: Plan,
    shards: Sequence[int],
    workers: int,
    resources: Resources,
    on_event: Callable[[Event], None],
) -> None:
    """Process shards in several worker processes; `on_event` is called in this thread.

    Raises:
        MaskyoloError: an error that concerns more than one item; unfinished shards are given up.
    """
    todo, events = deque(shards), queue.SimpleQueue[Event | BaseException | None]()
    crew = [Worker(plan, resources) for _ in range(min(workers, len(shards)))]
    stopped = threading.Event()

    def work(worker: Worker) -> None:
        try:
            while not stopped.is_set():
                process_shard(plan, todo.popleft(), worker, events.put)
        except IndexError:
            events.put(None)
        except BaseException as error:  # noqa: BLE001  raised in the caller's thread
            events.put(error)

    threads = [threading.Thread(target=work, args=(worker,), daemon=True) for worker in crew]
    try:
        for thread in threads:
            thread.start()
        running = len(threads)
        while running:
            event = events.get()
            if isinstance(event, BaseException):
                raise event
            if event is None:
                running -= 1
            else:
                on_event(event)
    finally:
        stopped.set()
        for worker in crew:
            worker.stop()
        for thread in threads:
            thread.join()
        for worker in crew:
            worker.close()
