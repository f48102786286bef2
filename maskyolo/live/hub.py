"""What the server shows: the cameras, the last alerts, and a stream of all events."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from maskyolo.core.images import encode_jpeg
from maskyolo.live.cameras import Camera, Seen
from maskyolo.runtime.activity import Activity
from maskyolo.runtime.areas import parse_points
from maskyolo.runtime.events import Event, EventFile
from maskyolo.runtime.json_lines import JsonLines
from maskyolo.runtime.results import Result

__all__ = ["Alert", "Hub"]

#: Number of alerts that are kept in memory, and the longer side of their images.
_ALERTS, _ALERT_SIZE = 20, 480
#: Events that wait for a slow reader; older ones are dropped.
_WAITING = 256


@dataclass(frozen=True)
class Alert:
    """An alert.

    Attributes:
        number: counts the alerts, from 1.
        camera: number of the camera.
        record: the event, as it is written to event files.
        jpeg: the annotated frame; empty if no images are served.
    """

    number: int
    camera: int
    record: dict[str, Any]
    jpeg: bytes


class Hub:
    """The state of the server.

    Args:
        stats_only: whether no image may be served.
        event_file: gets all events, if wanted.
        lines: gets all frames, if wanted.

    Attributes:
        cameras: the cameras by number.
    """

    def __init__(
        self,
        stats_only: bool,
        event_file: EventFile | None = None,
        lines: JsonLines | None = None,
    ) -> None:
        self.cameras: dict[int, Camera] = {}
        self.stats_only = stats_only
        self._alerts: deque[Alert] = deque(maxlen=_ALERTS)
        self._number = 0
        self._event_file, self._lines = event_file, lines
        self._readers: list[tuple[asyncio.AbstractEventLoop, asyncio.Queue[dict[str, Any]]]] = []
        self._lock = threading.Lock()

    def on_event(self, camera: Camera, event: Event, seen: Seen) -> None:
        """Take an event from a camera's thread."""
        record = {"camera": camera.number, **event.record()}
        with self._lock:
            if self._event_file:
                self._event_file.write(seen.result)
                self._event_file(event)
        if event.event == "alert":
            image = b""
            if not self.stats_only:
                image = encode_jpeg(seen.result.drawn, _ALERT_SIZE)
            moment = event.moment or datetime.now().astimezone()
            with self._lock:
                self._number += 1
                noted = {**record, "datetime": moment.isoformat(timespec="milliseconds")}
                self._alerts.appendleft(Alert(self._number, camera.number, noted, image))
        with self._lock:
            readers = list(self._readers)
        for loop, queue in readers:
            with suppress(RuntimeError):  # the server's loop has ended
                loop.call_soon_threadsafe(_put, queue, record)

    def on_frame(self, result: Result) -> None:
        """Take a frame from a camera's thread."""
        with self._lock:
            if self._lines:
                self._lines.write(result)

    def activity(self) -> Activity:
        """Return what all cameras have done so far; it is as old as that of the slowest."""
        cameras = list(self.cameras.values())
        return Activity(
            min((camera.active for camera in cameras), default=time.monotonic()),
            {camera.name: camera.frames for camera in cameras},
            sum(camera.events["appears"] for camera in cameras),
            sum(camera.skipped for camera in cameras),
            sum(camera.interruptions for camera in cameras),
        )

    def close(self) -> None:
        """Complete the files of events and frames; later ones are not written."""
        with self._lock:
            for file in (self._event_file, self._lines):
                if file:
                    file.close()
            self._event_file = self._lines = None

    def alerts(self) -> list[Alert]:
        """Return the last alerts, the newest first."""
        with self._lock:
            return list(self._alerts)

    @asynccontextmanager
    async def reader(self) -> AsyncIterator[asyncio.Queue[dict[str, Any]]]:
        """Give a queue of all events from now on."""
        entry = (asyncio.get_running_loop(), asyncio.Queue[dict[str, Any]](_WAITING))
        with self._lock:
            self._readers.append(entry)
        try:
            yield entry[1]
        finally:
            with self._lock:
                self._readers.remove(entry)

    def state(self) -> dict[str, Any]:
        """Return what the page shows, apart from the frames."""
        day = datetime.now().astimezone().date()
        return {
            "stats_only": self.stats_only,
            "cameras": [_describe(camera, day) for camera in self.cameras.values()],
            "alerts": [
                {"number": alert.number, "image": bool(alert.jpeg), **alert.record}
                for alert in self.alerts()
            ],
        }


def _describe(camera: Camera, day: Any) -> dict[str, Any]:
    seen = camera.newest()
    now = Counter(found["class"] for found in seen.record["detections"]) if seen else Counter()
    return {
        "number": camera.number,
        "name": camera.name,
        "status": str(camera.status),
        "problem": camera.problem,
        "rate": round(camera.rate, 1),
        "size": seen.size if seen else None,
        "now": dict(now) if camera.status == "live" else None,
        "today": camera.tally.today(day),
        "hours": camera.tally.by_hour(day),
        "zone": _fractions(camera.zone, seen),
        "line": _fractions(camera.line, seen),
    }


def _fractions(text: str | None, seen: Seen | None) -> list[list[float]] | None:
    """Return the points of a zone or line as fractions of the image's size."""
    if text is None:
        return None
    points = parse_points(text, "zone", minimum=2)
    if all(0 <= value <= 1 for point in points for value in point):
        return [list(point) for point in points]
    if seen is None:
        return None
    width, height = seen.size
    return [[x / width, y / height] for x, y in points]


def _put(queue: asyncio.Queue[dict[str, Any]], record: dict[str, Any]) -> None:
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(record)
