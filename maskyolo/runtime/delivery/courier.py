"""Delivers the alerts of an outbox to its target, in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections import deque
from pathlib import Path

from tenacity import (
    RetryCallState,
    RetryError,
    Retrying,
    retry_if_exception_type,
    stop_when_event_set,
    wait_exponential,
)

from maskyolo.core.text import counted
from maskyolo.errors import MaskyoloError
from maskyolo.runtime.delivery.outbox import Outbox, Waiting
from maskyolo.runtime.delivery.targets import RefusedError, Target, UndeliveredError

__all__ = ["Courier"]

#: Seconds until a delivery is tried again: at first, and at most.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0


class Courier:
    """Delivers alerts to one target: in order, each at least once, also those of earlier runs.

    An alert that cannot be delivered is tried again until it can; the next ones wait for it. One
    that the target refuses is dropped.

    Args:
        target: where to.
        folder: the folder of all outboxes; see `Outbox`.
    """

    def __init__(self, target: Target, folder: Path) -> None:
        self._target = target
        self._outbox = Outbox(folder, target.key)
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._failing = self._reported = self._in_memory = self._is_full = False
        self._hurry = False
        self._problems: deque[MaskyoloError] = deque(maxlen=4)
        self._thread = threading.Thread(
            target=self._run, name=f"maskyolo{target.option}", daemon=True
        )

    def start(self) -> None:
        """Begin to deliver; what earlier runs have left comes first."""
        self._thread.start()

    def put(self, data: bytes) -> None:
        """Add an alert; this does not wait for anything but the file's creation."""
        error = self._outbox.put(data)
        if error and not self._in_memory:
            self._in_memory = True
            self._problems.append(
                MaskyoloError(
                    f"alerts that cannot be delivered are only kept in memory: {error.problem}",
                    error.remedy,
                )
            )
        if self._outbox.dropped and not self._is_full:
            self._is_full = True
            self._problems.append(
                MaskyoloError(
                    f"too many alerts wait for {self._target.label}; the oldest ones are dropped",
                    "see why they are not delivered",
                )
            )
        with self._changed:
            self._changed.notify_all()

    def problems(self) -> list[MaskyoloError]:
        """Return what went wrong since the last call; of an outage, only its beginning."""
        found = []
        while self._problems:
            found.append(self._problems.popleft())
        return found

    def wait(self, seconds: float) -> None:
        """Wait until everything is delivered or one more try has failed, at most this long."""
        with self._changed:
            self._hurry, self._failing = self._failing, False
            self._changed.notify_all()
            self._changed.wait_for(lambda: not len(self._outbox) or self._failing, timeout=seconds)

    def close(self, seconds: float) -> None:
        """Give the alerts so many seconds; the next run delivers what is left then."""
        end = time.monotonic() + seconds
        self.wait(seconds)
        folder = self._outbox.folder
        self._stop.set()
        with self._changed:
            self._changed.notify_all()
        # a slow answer is not waited for; the thread then ends with the process
        self._thread.join(max(end - time.monotonic(), 0.0))
        if left := len(self._outbox):
            self._problems.append(
                MaskyoloError(
                    f"{counted(left, 'alert')} for {self._target.label} not delivered",
                    f"the next run with the same {self._target.option} delivers what is in {folder}"
                    if folder and not self._in_memory
                    else "use an --alert-outbox that can be written",
                )
            )

    def _run(self) -> None:
        try:
            while waiting := self._next():
                self._deliver(waiting)
        finally:
            self._outbox.close()
            self._target.close()

    def _next(self) -> Waiting | None:
        """Wait for the next alert and return it; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._stop.is_set() or self._outbox.first())
            return None if self._stop.is_set() else self._outbox.first()

    def _deliver(self, waiting: Waiting) -> None:
        retrying = Retrying(
            retry=retry_if_exception_type(UndeliveredError),
            wait=wait_exponential(multiplier=FIRST_PAUSE, max=LONGEST_PAUSE),
            stop=stop_when_event_set(self._stop),
            sleep=self._pause,
            before_sleep=self._failed,
        )
        try:
            retrying(self._attempt, waiting)
        except RetryError:  # the run has ended
            return
        except RefusedError as error:
            self._report(f"an alert was refused: {self._target.label}: {error}", "it is dropped")
        else:
            self._reported = False
        with self._changed:
            self._failing = False
            self._outbox.remove(waiting)
            self._changed.notify_all()

    def _attempt(self, waiting: Waiting) -> None:
        if self._stop.is_set():
            raise UndeliveredError("the run has ended")
        try:
            data = self._outbox.read(waiting)
        except OSError as error:
            raise UndeliveredError((error.strerror or str(error)).lower()) from error
        if data is None:
            return
        try:
            self._target.send(data)
        except (RefusedError, UndeliveredError):
            raise
        except Exception as error:  # its text may contain a secret
            raise UndeliveredError(f"unexpected error: {type(error).__name__}") from error

    def _failed(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if state.attempt_number == 1:
            self._outbox.sync(self._outbox.first() or Waiting("", 0, b""))
        self._report(
            f"an alert was not delivered: {self._target.label}: {error}",
            "it is tried again until it can be delivered",
        )
        with self._changed:
            self._failing = True
            self._changed.notify_all()

    def _pause(self, seconds: float) -> None:
        """Sleep, unless the run ends or one more try is wanted at once."""
        with self._changed:
            self._changed.wait_for(lambda: self._stop.is_set() or self._hurry, timeout=seconds)
            self._hurry = False

    def _report(self, problem: str, remedy: str) -> None:
        if not self._reported:
            self._reported = True
            self._problems.append(MaskyoloError(problem, remedy))
