"""The log of a run without an end: a line per minute, and signs of life for systemd."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import typer

from maskyolo.cli.systemd import notify
from maskyolo.core.text import counted
from maskyolo.errors import MaskyoloError, SourceError
from maskyolo.runtime.activity import Activity

if TYPE_CHECKING:
    from maskyolo.runtime.run import Summary

__all__ = ["Heartbeat", "Reports"]

#: Seconds between two lines, and between two looks.
PERIOD, EVERY = 60.0, 1.0


class Heartbeat:
    """Prints what happened in each minute to stderr, and tells systemd that the run is alive.

    Systemd gets READY when the run first does something, and WATCHDOG as long as it does.

    Args:
        prints: returns whether to print lines.
    """

    def __init__(self, prints: Callable[[], bool] = lambda: True) -> None:
        self._prints = prints
        self._before, self._since = Activity(0.0, {}), time.monotonic()
        self._active, self._stop = 0.0, threading.Event()

    @contextmanager
    def beating(self, activity: Callable[[], Activity]) -> Iterator[None]:
        """Look once per second, in a thread of its own, while the block runs."""
        thread = threading.Thread(
            target=self._beat, args=(activity,), name="maskyolo-heartbeat", daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            self.end()
            thread.join(EVERY)

    def end(self) -> None:
        """Tell systemd that the run ends."""
        self._stop.set()
        notify("STOPPING=1")

    def look(self, now: Activity) -> None:
        """Print a line if it is time, and tell systemd if the run did something."""
        if now.active > self._active:
            notify(*([] if self._active else ["READY=1"]), "WATCHDOG=1")
            self._active = now.active
        moment = time.monotonic()
        if moment - self._since < PERIOD:
            return
        line = describe(self._before, now, moment - self._since)
        self._before, self._since = now, moment
        if self._prints():
            typer.echo(f"maskyolo: {line}", err=True)
        notify(f"STATUS={line}")

    def _beat(self, activity: Callable[[], Activity]) -> None:
        while not self._stop.wait(EVERY):
            with suppress(RuntimeError):  # a counter changed meanwhile
                self.look(activity())


def describe(before: Activity, now: Activity, seconds: float) -> str:
    """Return what happened between two moments, as one line."""
    frames = Counter(now.frames)
    frames.subtract(before.frames)
    rates = {name: frames[name] / seconds for name in now.frames}
    parts = [f"{counted(sum(frames.values()), 'frame')}, {sum(rates.values()):.1f} per second"]
    if len(rates) > 1:
        parts[0] += f" ({', '.join(f'{name} {rate:.1f}' for name, rate in rates.items())})"
    if now.people is not None:
        parts.append(counted(now.people - (before.people or 0), "person", "people"))
    if skipped := now.skipped - before.skipped:
        parts.append(f"{counted(skipped, 'frame')} skipped")
    if lost := now.interruptions - before.interruptions:
        parts.append(f"connection lost {'once' if lost == 1 else f'{lost} times'}")
    return f"last minute: {', '.join(parts)}"


@dataclass
class Reports:
    """Prints errors to stderr; of cameras that are being reconnected, one each per minute.

    Attributes:
        summary: the run, whose `errors` are final and always printed.
    """

    summary: Summary
    _last: dict[str, float] = field(default_factory=dict)

    def __call__(self, source: str, error: MaskyoloError) -> None:
        """Print an error, unless the camera had one in the last minute."""
        final = any(error is known for _, known in self.summary.errors)
        if isinstance(error, SourceError) and not final:
            now = time.monotonic()
            if now - self._last.get(source, -PERIOD) < PERIOD:
                return
            self._last[source] = now
        typer.echo(f"maskyolo: {error}", err=True)
