"""Reads several cameras and streams at once, and detects in the newest frame of each in turn."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence

from maskyolo.core.detector import Detector
from maskyolo.runtime.frames import Source
from maskyolo.runtime.pipeline import (
    IDLE,
    Detected,
    Failed,
    Outcome,
    Read,
    ReadAhead,
    detect_frame,
    read,
)

__all__ = ["camera_results"]

#: Seconds to wait at the end for all threads that read, together; a driver may block one.
PATIENCE = 0.5


def camera_results(
    sources: Sequence[Source],
    detector: Detector,
    vid_stride: int = 1,
    reconnect: float = 0.0,
    on_dropped: Callable[[int], None] | None = None,
    on_idle: Callable[[], None] = lambda: None,
    given_up: set[int] | None = None,
) -> Generator[Outcome, None, None]:
    """Yield the detections of several cameras and streams as they come, and how each one ends.

    Each has its own thread that reads and reconnects, so one that is slow, silent or broken does
    not delay the others. The detector is called in this thread, with the newest frame of each
    camera that has a new one, in turn: cameras that are faster than the detector get equal shares.
    Parameters are those of `pipeline.results`.
    """
    stop, changed = threading.Event(), threading.Condition()
    unwanted: set[int] = set() if given_up is None else given_up
    readers = [
        ReadAhead(
            read([source], vid_stride, reconnect, stop, unwanted),
            stop,
            on_dropped,
            changed=changed,
        )
        for source in sources
    ]

    def is_over() -> bool:
        return all(reader.is_over for reader in readers)

    try:
        while True:
            with changed:
                changed.wait_for(
                    lambda: is_over() or any(reader.has_news for reader in readers), timeout=IDLE
                )
                if is_over():
                    return
            idle = True
            for reader in readers:
                item = reader.take()
                if item is not None and id(item.source) not in unwanted:
                    idle = False
                    yield from _outcome(item, detector, unwanted)
                del item
            if idle:
                on_idle()
    finally:
        stop.set()
        end = time.monotonic() + PATIENCE
        for reader in readers:
            reader.close(max(end - time.monotonic(), 0.0))


def _outcome(item: Read | Outcome, detector: Detector, unwanted: set[int]) -> Iterator[Outcome]:
    """Yield the detections in a frame, or what else happened."""
    if not isinstance(item, Read):
        yield item
        return
    try:
        detections = detect_frame(detector, item.frame)
    except Exception as error:  # noqa: BLE001  any error of one source is that source's
        unwanted.add(id(item.source))
        yield Failed(item.source, item.frame.index, error)
    else:
        yield Detected(item.source, item.frame, detections)
