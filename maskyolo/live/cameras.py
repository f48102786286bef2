"""Cameras that are watched: each reads and detects in a thread, and shows its newest frame."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from maskyolo.core.detector import Detector, class_names_of
from maskyolo.core.images import ImageArray, encode_jpeg
from maskyolo.errors import MaskyoloError
from maskyolo.live.tally import Tally
from maskyolo.runtime.addresses import display_name
from maskyolo.runtime.alert_clips import AlertClips
from maskyolo.runtime.alert_images import AlertImages
from maskyolo.runtime.areas import Areas
from maskyolo.runtime.counting import Counting
from maskyolo.runtime.detection import detect
from maskyolo.runtime.events import Event
from maskyolo.runtime.frames import Frame
from maskyolo.runtime.json_lines import json_record
from maskyolo.runtime.named_cameras import GivenSource, NamedCamera
from maskyolo.runtime.options import DetectOptions
from maskyolo.runtime.results import Result
from maskyolo.runtime.run import Summary

if TYPE_CHECKING:
    import supervision as sv

__all__ = ["Camera", "Seen", "Status"]

#: Maximum length of the longer side of served frames.
_LONGEST = 1280
#: Seconds until a source that could not be opened is tried again.
_RETRY = 5.0
#: Seconds over which the frame rate is averaged.
_RATE_SPAN = 3.0


class Status(StrEnum):
    """What a camera does."""

    CONNECTING = "connecting"
    LIVE = "live"
    INTERRUPTED = "interrupted"
    ENDED = "ended"


@dataclass
class Seen:
    """A frame with its detections; what viewers get is made when the first one asks for it.

    Attributes:
        number: counts the frames of the camera, from 1.
        result: the frame, blurred if that was requested, with its detections.
    """

    number: int
    result: Result
    _jpeg: bytes = b""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @cached_property
    def record(self) -> dict[str, Any]:
        """The line of JSON of `maskyolo detect --save-json`."""
        return json_record(self.result)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the frame in pixels."""
        height, width = self.result.frame.image.shape[:2]
        return width, height

    def jpeg(self) -> bytes:
        """Return the annotated frame as JPEG; it is encoded once for all viewers."""
        with self._lock:
            if not self._jpeg:
                self._jpeg = encode_jpeg(self.result.drawn, _LONGEST)
            return self._jpeg


class Camera:
    """Watches one source in a thread of its own.

    Args:
        number: its number, from 1.
        source: what `detect` accepts: a camera, stream or video.
        detector: finds faces; any number of cameras may share it.
        options: options of `detect`, with tracking.
        on_event: called in the camera's thread with each event, and a function that returns the
            current frame.
        alerts: folder that the frames of alerts are saved in, if they are.
        on_frame: called in the camera's thread with each frame.
        clip: seconds of a video of each alert, before and after it, that is saved there, too.

    Attributes:
        name: its name, or the source without passwords.
        status: what it does.
        problem: what is wrong, if anything.
        zone: its zone, as in `DetectOptions`.
        line: its line.
        tally: the people of each hour.
        events: number of events of each kind.
        frames: number of processed frames.
        class_names: the classes that the detector reports.
    """

    def __init__(
        self,
        number: int,
        source: GivenSource,
        detector: Detector,
        options: DetectOptions,
        on_event: Callable[[Camera, Event, Seen], None],
        alerts: Path | None = None,
        on_frame: Callable[[Result], None] = lambda _: None,
        clip: float | None = None,
    ) -> None:
        self.number = number
        self.name = source.name if isinstance(source, NamedCamera) else display_name(source)
        self.status, self.problem = Status.CONNECTING, ""
        self.zone, self.line = options.zone, options.line
        self.tally = Tally()
        self.events: Counter[str] = Counter()
        self.frames = 0
        self.class_names = class_names_of(detector)
        # its own zone, line and time until an alert are in the options
        self._source = (
            NamedCamera(source.name, source.source) if isinstance(source, NamedCamera) else source
        )
        self._detector, self._options = detector, options
        self._on_event, self._on_frame = on_event, on_frame
        self._summary = Summary()
        self._resting: float | None = time.monotonic()
        self._skipped = self._interruptions = 0
        self._alerts, self._clip = alerts, clip
        self._clips: AlertClips | None = None
        self._newest: Seen | None = None
        self._times: list[float] = []
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._counting: Counting | None = None
        self._pending: list[Event] = []
        self._thread = threading.Thread(
            target=self._run, name=f"maskyolo-camera-{number}", daemon=True
        )

    def start(self) -> None:
        """Start to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Stop soon; do not wait for it."""
        self._stop.set()

    def join(self, seconds: float) -> None:
        """Wait at most this long until it has stopped."""
        self._thread.join(seconds)

    def newest(self) -> Seen | None:
        """Return the newest frame, or None if there was none yet."""
        return self._newest

    async def after(self, number: int) -> Seen:
        """Wait until there is a newer frame than that with this number, and return the newest."""
        while True:
            loop = asyncio.get_running_loop()
            future: asyncio.Future[None] = loop.create_future()
            with self._lock:
                if self._newest and self._newest.number > number:
                    return self._newest
                self._waiting.append((loop, future))
            try:
                await future
            finally:
                with self._lock, suppress(ValueError):
                    self._waiting.remove((loop, future))

    @property
    def rate(self) -> float:
        """Frames per second, over the last seconds."""
        times = [each for each in list(self._times) if time.monotonic() - each < _RATE_SPAN]
        return len(times) / _RATE_SPAN

    @property
    def active(self) -> float:
        """When it last did something, or waited on purpose, in seconds of `time.monotonic`."""
        if not self._thread.is_alive() or self._resting is None:
            return time.monotonic()
        return max(self._summary.active, self._resting)

    @property
    def skipped(self) -> int:
        """Frames that were skipped because newer ones had arrived."""
        return self._skipped + self._summary.dropped

    @property
    def interruptions(self) -> int:
        """How often its connection was lost."""
        return self._interruptions + self._summary.interruptions

    def set_areas(self, zone: str | None, line: str | None) -> None:
        """Replace zone and line, from the next frame on.

        Raises:
            MaskyoloError: they cannot be parsed, or do not fit the image.
        """
        areas = Areas(zone, line)
        seen = self._newest
        if seen:
            areas.fit(*seen.size)
        self.zone, self.line = zone, line
        if self._counting:
            self._counting.set_areas(zone, line)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._watch()
            except MaskyoloError as error:
                self.status, self.problem = Status.INTERRUPTED, str(error)
            except Exception as error:  # noqa: BLE001  one camera must not end the others
                self.status = Status.INTERRUPTED
                self.problem = f"unexpected error: {type(error).__name__}"
            else:
                self.status = Status.ENDED
                return
            self._rest(_RETRY)

    def _rest(self, seconds: float) -> None:
        """Wait on purpose."""
        self._resting = None
        self._stop.wait(seconds)
        self._resting = time.monotonic()

    def _watch(self) -> None:
        """Read and detect until the source ends or breaks off."""
        self._skipped, self._interruptions = self.skipped, self.interruptions
        self._summary = summary = Summary()
        self.tally.restart()
        options = DetectOptions.merge(self._options, {"zone": self.zone, "line": self.line})
        frames = detect(
            self._source,
            self._detector,
            options=options,
            on_error=self._interrupted,
            summary=summary,
            stop=self._stop,
        )
        begun = None
        with ExitStack() as stack:
            stack.callback(self._pass_events)  # after the frames are closed, which ends all visits
            stack.enter_context(closing(frames))
            for image, detections in frames:
                if begun is None:
                    begun = time.monotonic() - detections.metadata["time"]
                    self._listen(summary.people, stack)
                self._publish(image, detections)
                if "datetime" not in detections.metadata:  # a recording: at its own speed
                    self._rest(begun + detections.metadata["time"] - time.monotonic())

    def _listen(self, counting: Counting | None, stack: ExitStack) -> None:
        if self._alerts and self._clip:
            self._clips = AlertClips(self._clip, partial(self._interrupted, "alert"))
            stack.callback(self._clips.close)
        if counting:
            self._counting = counting
            counting.images = AlertImages(self._alerts, self._clips) if self._alerts else None
            counting.listeners.append(self._pending.append)

    def _interrupted(self, source: str, error: MaskyoloError) -> None:
        if source in ("alert", "mqtt"):  # the camera goes on
            logging.getLogger("maskyolo").warning("%s: %s", self.name, error)
            return
        self.status, self.problem = Status.INTERRUPTED, str(error)

    def _publish(self, image: ImageArray, detections: sv.Detections) -> None:
        facts = detections.metadata
        moment = facts.get("datetime")
        kind: Literal["live", "video"] = "live" if moment else "video"
        frame = Frame(image, self.name, facts["frame"], facts["time"], kind, moment=moment)
        self.frames += 1
        seen = Seen(self.frames, Result(frame, detections, self._overlay))
        if self._clips:
            self._clips.write(seen.result)
        self.status, self.problem = Status.LIVE, ""
        now = time.monotonic()
        self._times = [each for each in self._times if now - each < _RATE_SPAN] + [now]
        with self._lock:
            self._newest = seen
            waiting, self._waiting = self._waiting, []
        for loop, future in waiting:
            with suppress(RuntimeError):  # the server's loop has ended
                loop.call_soon_threadsafe(_resolve, future)
        self._on_frame(seen.result)
        self._pass_events()

    def _pass_events(self) -> None:
        events, self._pending[:] = list(self._pending), []
        for event in events:
            seen = self._newest
            if seen is None:
                continue
            moment = event.moment or datetime.now().astimezone()
            self.tally.add(event, moment, self.zone is not None)
            self.events[event.event] += 1
            self._on_event(self, event, seen)

    def _overlay(self, image: ImageArray) -> None:
        if self._counting:
            self._counting.draw_overlay(image)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
