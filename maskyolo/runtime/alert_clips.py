"""Saves a short video of each alert, which begins some seconds before it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from maskyolo.core.images import decode_image, encode_jpeg
from maskyolo.core.text import counted
from maskyolo.errors import MaskyoloError
from maskyolo.runtime.results import NullSink, Result
from maskyolo.runtime.video_writer import VideoWriter

__all__ = ["AlertClips"]

#: Maximum frames per second of a clip, length of its longer side in pixels, and the quality of the
#: JPEGs that frames are kept as.
RATE, LONGEST, QUALITY = 15, 1280, 85

#: Maximum number of bytes of the frames that are kept for each source. If they have more, a clip
#: begins later.
MAX_BYTES = 64 << 20

#: Maximum number of clips that wait to be written, of all sources together.
MAX_WAITING = 4


@dataclass(frozen=True)
class _Kept:
    """A frame as JPEG, and its time in seconds."""

    time: float
    jpeg: bytes


@dataclass
class _Recent:
    """The last frames of a source, and its clips that are not complete yet: file, begin, end."""

    frames: deque[_Kept] = field(default_factory=deque)
    size: int = 0
    clips: list[tuple[Path, float, float]] = field(default_factory=list)

    def add(self, kept: _Kept, seconds: float) -> None:
        """Add a frame, and forget those that are too old or too many."""
        self.frames.append(kept)
        self.size += len(kept.jpeg)
        oldest = min([kept.time - seconds, *(begin for _, begin, _ in self.clips)])
        while self.frames[0].time < oldest or (self.size > MAX_BYTES and len(self.frames) > 1):
            self.size -= len(self.frames.popleft().jpeg)


class AlertClips(NullSink):
    """Saves annotated videos of alerts, each from some seconds before it until as many after it.

    The last frames of each source are kept as JPEGs. A thread writes the clips, so that frames of
    cameras do not wait for them.

    Args:
        seconds: how long a clip is before the alert, and after it.
        on_failure: called with an error for the first clip that cannot be written, in the thread
            that calls the sink's methods.
    """

    def __init__(self, seconds: float, on_failure: Callable[[MaskyoloError], None]) -> None:
        self._seconds, self._on_failure = seconds, on_failure
        self._recent: dict[str, _Recent] = {}
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="maskyolo-clip")
        self._writing: list[Future[None]] = []
        self._reported = False

    def begin(self, path: Path, result: Result) -> None:
        """Plan the clip of an alert, before `write` gets its frame.

        Args:
            path: the `.mp4` to write.
            result: the frame in which the alert was raised.
        """
        time = result.frame.time
        recent = self._recent.setdefault(result.frame.source, _Recent())
        recent.clips.append((path, time - self._seconds, time + self._seconds))

    def write(self, result: Result) -> None:
        """Keep a frame, and write the clips that it completes; see `Sink`."""
        frame = result.frame
        recent = self._recent.setdefault(frame.source, _Recent())
        pause = frame.time - recent.frames[-1].time if recent.frames else 1.0
        if pause >= 0.99 / RATE:
            jpeg = encode_jpeg(result.drawn, LONGEST, QUALITY)
            recent.add(_Kept(frame.time, jpeg), self._seconds)
        for clip in [one for one in recent.clips if frame.time >= one[2]]:
            recent.clips.remove(clip)
            self._save(clip, recent, waits=frame.kind != "live")
        self._report()

    def finish(self, source: str = "") -> None:
        """Write the clips of a source that has ended; see `Sink`."""
        for name in [source] if source else list(self._recent):
            recent = self._recent.pop(name, _Recent())
            for clip in recent.clips:
                self._save(clip, recent, waits=True)

    def close(self) -> None:
        """Write all clips; see `Sink`."""
        self.finish()
        self._writer.shutdown()
        self._report()

    def _save(self, clip: tuple[Path, float, float], recent: _Recent, *, waits: bool) -> None:
        path, begin, end = clip
        frames = [kept for kept in recent.frames if begin <= kept.time <= end]
        if not frames:
            return
        self._report()
        if len(self._writing) >= MAX_WAITING:
            if not waits:  # a camera's next frames would be late
                self._failed(
                    f"cannot save {path}: {counted(MAX_WAITING, 'clip')} are being written",
                    "use a shorter --alert-clip",
                )
                return
            self._writing[0].exception()  # waits
        self._writing.append(self._writer.submit(_write, path, frames))

    def _report(self) -> None:
        """Report what could not be written, and forget what has been written."""
        for one in [each for each in self._writing if each.done()]:
            self._writing.remove(one)
            if error := one.exception():
                known = isinstance(error, MaskyoloError)
                problem = error.problem if known else f"cannot save a clip: {error}"  # type: ignore[attr-defined]
                self._failed(problem, error.remedy if known else "")  # type: ignore[attr-defined]

    def _failed(self, problem: str, remedy: str) -> None:
        if not self._reported:
            self._reported = True
            self._on_failure(MaskyoloError(problem, remedy))


def _write(path: Path, frames: Sequence[_Kept]) -> None:
    video = VideoWriter(path, Fraction(RATE), timed=True)
    try:
        for kept in frames:
            video.write(decode_image(kept.jpeg, path.name), kept.time - frames[0].time)
    finally:
        video.close()
