"""Reads, detects and writes at the same time.

One thread reads frames ahead, a few threads detect in them, and results come out in order. Every
frame of a file is processed once. From a camera or stream, only the newest frame is taken, so that
a slow detector never lags behind.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeGuard

import cv2
import numpy as np

from maskyolo.core.boxes import clip_boxes
from maskyolo.core.detector import Detector
from maskyolo.core.images import ImageArray
from maskyolo.errors import MaskyoloError, SourceError
from maskyolo.runtime.frames import Frame, Source

if TYPE_CHECKING:
    import supervision as sv

__all__ = [
    "IDLE",
    "Detected",
    "Ended",
    "Failed",
    "Interrupted",
    "Outcome",
    "Read",
    "ReadAhead",
    "detect_frame",
    "read",
    "results",
]

#: Maximum number of frames read ahead, and the bytes beyond which fewer are read. After a frame
#: larger than that, nothing is read until it is processed and no variable here refers to it.
AHEAD = 4
MAX_BYTES = 96 << 20

#: Seconds without a new frame after which `on_idle` is called, repeatedly.
IDLE = 0.1

#: Seconds between attempts to reconnect to a camera or stream: the first wait, and the maximum.
#: Each wait is twice as long as the previous one.
FIRST_WAIT, LONGEST_WAIT = 0.5, 10.0


@dataclass(frozen=True)
class Detected:
    """A frame and its detections."""

    source: Source
    frame: Frame
    detections: sv.Detections


@dataclass(frozen=True)
class Interrupted:
    """A camera or stream broke off and is being reconnected."""

    source: Source
    error: SourceError


@dataclass(frozen=True)
class Failed:
    """A source could not be read or processed from frame `index` on, because of any error."""

    source: Source
    index: int
    error: Exception


@dataclass(frozen=True)
class Ended:
    """A source was read to its end."""

    source: Source


Outcome = Detected | Interrupted | Failed | Ended


def results(
    sources: Sequence[Source],
    detector: Detector,
    vid_stride: int = 1,
    reconnect: float = 0.0,
    on_dropped: Callable[[int], None] | None = None,
    on_idle: Callable[[], None] = lambda: None,
    given_up: set[int] | None = None,
) -> Generator[Outcome, None, None]:
    """Yield the detections of every frame of every source, in order, and how each source ends.

    Frames of files are processed in several threads, as many as the detector's `workers` attribute
    says; a detector without that attribute is only called in this thread. Close the iterator to
    stop early: the reading thread then ends within a second, unless a camera's driver blocks it.

    Args:
        sources: what to read, one after the other.
        detector: finds faces in an image.
        vid_stride: process every n-th frame of a video.
        reconnect: how long to try to reconnect to a camera or stream before it counts as failed,
            in seconds.
        on_dropped: called whenever frames of a camera or stream are skipped, with their number.
        on_idle: called in the caller's thread, several times per second, while there is no frame.
        given_up: `id` of each source of which no more is wanted; the caller may add to it.
    """
    workers = getattr(detector, "workers", 1)
    stop = threading.Event()
    unwanted: set[int] = set() if given_up is None else given_up
    items = read(sources, vid_stride, reconnect, stop, unwanted)
    ahead = ReadAhead(items, stop, on_dropped, on_idle)
    pool = ThreadPoolExecutor(workers) if workers > 1 else None
    opencv_threads = cv2.getNumThreads()
    if pool:
        # each core works on its own frame, so OpenCV's threads would only compete for cores
        cv2.setNumThreads(1)
    pending: deque[tuple[_Item, Future[sv.Detections] | None]] = deque()

    def first() -> Iterator[Outcome]:
        item, future = pending.popleft()
        if id(item.source) in unwanted:
            return
        if not isinstance(item, Read):
            yield item
            return
        try:
            detections = future.result() if future else detect_frame(detector, item.frame)
        except Exception as error:  # noqa: BLE001  any error of one source is that source's
            unwanted.add(id(item.source))
            yield Failed(item.source, item.frame.index, error)
        else:
            detected = Detected(item.source, item.frame, detections)
            del item, future
            yield detected

    try:
        for item in ahead:
            future = None
            if pool and isinstance(item, Read):
                future = pool.submit(detect_frame, detector, item.frame)
            pending.append((item, future))
            room = 0 if pool is None or _is_live(item) else workers
            del item, future
            while len(pending) > room or _bytes(item for item, _ in pending) > MAX_BYTES:
                yield from first()
        while pending:
            yield from first()
    finally:
        ahead.close()
        if pool:
            pool.shutdown(wait=True, cancel_futures=True)
            cv2.setNumThreads(opencv_threads)


def detect_frame(detector: Detector, frame: Frame) -> sv.Detections:
    """Return the detections of a frame, in pixels of its file."""
    one: Callable[[ImageArray], sv.Detections] = detector
    if frame.kind == "image":
        one = getattr(detector, "detect_photo", detector)
    found = one(frame.image)
    if frame.reduction:
        found.xyxy = clip_boxes(
            found.xyxy * np.float32(frame.reduction.factor), frame.width, frame.height
        )
    return found


@dataclass(frozen=True)
class Read:
    """A frame that was read."""

    source: Source
    frame: Frame


_Item = Read | Interrupted | Failed | Ended


def read(
    sources: Sequence[Source],
    vid_stride: int,
    reconnect: float,
    stop: threading.Event,
    given_up: set[int],
) -> Generator[_Item, None, None]:
    """Yield the frames of each source, and how it ended."""
    for source in sources:
        index = 0
        try:
            for item in _reconnected(source, vid_stride, reconnect, stop):
                if id(source) in given_up:
                    break
                if isinstance(item, Read):
                    _check_alone(item.frame, sources)
                    index = item.frame.index + 1
                yield item
                del item
        except Exception as error:  # noqa: BLE001  any error of one source is that source's
            yield Failed(source, index, error)
        else:
            yield Ended(source)


def _check_alone(frame: Frame, sources: Sequence[Source]) -> None:
    """Raise an error, which ends the run, if a live stream would keep others from their turn."""
    if frame.kind == "live" and len(sources) > 1:
        raise MaskyoloError(
            f"{frame.source} is a live stream, which never ends, and there are {len(sources)} "
            "sources",
            "start one `maskyolo detect` for cameras and streams, and one for files",
        )


def _reconnected(
    source: Source, vid_stride: int, reconnect: float, stop: threading.Event
) -> Iterator[Read | Interrupted]:
    """Yield a source's frames; reopen a camera or stream that breaks off, or may be away at first.

    The numbers and times of its frames continue.
    """
    index, begun, wait = 0, 0.0, FIRST_WAIT
    lost: float | None = None
    away = getattr(source, "may_be_away", False)
    while True:
        earlier, live, error = index, lost is not None or away, None
        try:
            for frame in source.frames(vid_stride):
                now = time.monotonic()
                begun, lost, wait, live = begun or now, None, FIRST_WAIT, frame.kind == "live"
                index = earlier + frame.index + 1
                yield Read(
                    source, replace(frame, index=index - 1, time=now - begun) if earlier else frame
                )
                del frame
        except SourceError as broken:
            error = broken
        lost = time.monotonic() if lost is None else lost
        if not live or time.monotonic() - lost >= reconnect:
            if error:
                raise error
            return
        if wait == FIRST_WAIT:
            yield Interrupted(source, _reconnecting(source, error, reconnect))
        if stop.wait(min(wait, reconnect)):
            return
        wait = min(2 * wait, LONGEST_WAIT)


def _reconnecting(source: Source, error: SourceError | None, reconnect: float) -> SourceError:
    """Return the error to report while a source is being reconnected."""
    duration = f"for {reconnect:g} s" if math.isfinite(reconnect) else "until it is back"
    remedy = f"trying to reconnect {duration}"
    if error is None:
        return SourceError(f"{source.name} ended", remedy)
    return SourceError(error.problem, f"{error.remedy}; {remedy}" if error.remedy else remedy)


class ReadAhead:
    """Iterates over `items`, read ahead in a separate thread; drops outdated live frames.

    Args:
        items: what to read.
        stop: set to end the thread.
        on_dropped: called with the number of dropped frames.
        on_idle: called several times per second while the iterator waits.
        changed: notified of every new item; to be shared by several readers that are not iterated
            over, but asked with `take`.
    """

    def __init__(
        self,
        items: Generator[_Item, None, None],
        stop: threading.Event,
        on_dropped: Callable[[int], None] | None,
        on_idle: Callable[[], None] = lambda: None,
        changed: threading.Condition | None = None,
    ) -> None:
        self._items, self._stop, self._on_dropped, self._on_idle = items, stop, on_dropped, on_idle
        self._ready: deque[_Item] = deque()
        self._changed = changed or threading.Condition()
        self._is_large_out = False
        self._over = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._fill, name="maskyolo-reader", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[_Item]:
        while True:
            with self._changed:
                changed = self._changed.wait_for(lambda: self._ready or self._over, timeout=IDLE)
                if changed and not self._ready:
                    break
                item = self._ready.popleft() if changed else None
                self._is_large_out = item is not None and _is_large(item)
                self._changed.notify_all()
            if item is None:
                self._on_idle()
                continue
            yield item
            del item
            with self._changed:
                self._is_large_out = False
                self._changed.notify_all()
        if self._error:
            raise self._error

    @property
    def has_news(self) -> bool:
        """Whether an item is ready, or an error; to be called with the condition locked."""
        return bool(self._ready) or (self._over and self._error is not None)

    @property
    def is_over(self) -> bool:
        """Whether there are no more items; to be called with the condition locked."""
        return self._over and not self._ready and self._error is None

    def take(self) -> _Item | None:
        """Return the next item without waiting, or None if there is none now.

        Raises:
            BaseException: what ended the thread.
        """
        with self._changed:
            item = self._ready.popleft() if self._ready else None
            if item is None and self._over and self._error:
                raise self._error
            self._changed.notify_all()
        return item

    def close(self, patience: float = 0.5) -> None:
        """Stop the thread; if it is blocked for `patience` seconds, it ends with the process."""
        self._stop.set()
        with self._changed:
            self._ready.clear()
            self._changed.notify_all()
        self._thread.join(timeout=patience)

    def _fill(self) -> None:
        try:
            # closed here, because some camera drivers need the thread that opened them
            with closing(self._items):
                for item in self._items:
                    if self._stop.is_set():
                        break
                    self._put(item)
                    del item
        except BaseException as error:  # noqa: BLE001  raised where the items are consumed
            self._error = error
        finally:
            with self._changed:
                self._over = True
                self._changed.notify_all()

    def _put(self, item: _Item) -> None:
        with self._changed:
            if _is_live(item):
                fresh = [other for other in self._ready if not _is_live(other)]
                dropped = len(self._ready) - len(fresh) + item.frame.skipped
                if self._on_dropped and dropped:
                    self._on_dropped(dropped)
                self._ready = deque(fresh)
            self._ready.append(item)
            self._changed.notify_all()
            is_live = _is_live(item)
            del item
            self._changed.wait_for(lambda: self._stop.is_set() or is_live or self._has_room())

    def _has_room(self) -> bool:
        if self._is_large_out or any(map(_is_large, self._ready)):
            return False
        return len(self._ready) < AHEAD and (
            len(self._ready) < 2 or _bytes(self._ready) < MAX_BYTES
        )


def _is_live(item: _Item) -> TypeGuard[Read]:
    return isinstance(item, Read) and item.frame.kind == "live"


def _is_large(item: _Item) -> bool:
    return _bytes([item]) > MAX_BYTES


def _bytes(items: Iterable[_Item]) -> int:
    return sum(item.frame.image.nbytes for item in items if isinstance(item, Read))
