"""Decodes videos, cameras and streams with FFmpeg."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from maskyolo.core.text import counted
from maskyolo.errors import SourceError
from maskyolo.runtime.ffmpeg import FILE, Access, open_video, reason_of
from maskyolo.runtime.frames import Frame
from maskyolo.runtime.live_stream import follow
from maskyolo.runtime.upright import Upright

__all__ = ["decode_video"]


def decode_video(url: Any, name: str, vid_stride: int, access: Access = FILE) -> Iterator[Frame]:
    """Yield the frames of a URL, or a file object, that FFmpeg opens.

    Raises:
        SourceError: see `open_video`; or, after the last frame, the video was damaged or
            incomplete, or the stream broke off.
    """
    container, stream = open_video(url, name, access)
    still = container.format.name.endswith("_pipe")  # FFmpeg's formats for images
    if container.duration is None and not access.ends and not still:
        yield from follow(container, stream, name, vid_stride)
        return
    with container:
        frames = _whole(container, stream, name, vid_stride)
        if still and not access.ends:
            yield replace(next(frames), kind="image", rate=Fraction(0), total=1)
        else:
            yield from frames


@dataclass
class _VideoReader:
    """Decodes a video that has an end, and records what was damaged or missing.

    Attributes:
        frames: number of decoded frames.
        packets: number of packets with data.
        damaged: number of packets that are damaged or cannot be decoded.
        time: time of the last frame, in seconds after the first one.
        longest: longest time for which a frame was shown, in seconds, so far as is known.
        error: why reading stopped early, or empty.
    """

    container: Any
    stream: Any
    frames: int = 0
    packets: int = 0
    damaged: int = 0
    time: float = 0.0
    longest: float = 0.0
    error: str = ""

    def __post_init__(self) -> None:
        self.unit = float(self.stream.time_base or 0)  # of durations, in seconds

    def decode(self) -> Iterator[Any]:
        """Yield every frame that can be decoded, as PyAV's `VideoFrame`."""
        import av

        packets = self.container.demux(self.stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except (av.FFmpegError, OSError, MemoryError) as error:
                self.error = reason_of(error)
                return
            self.packets += packet.size > 0
            self.damaged += packet.is_corrupt
            try:
                decoded = packet.decode()
            except av.FFmpegError:
                self.damaged += 1
                continue
            yield from decoded

    def show(self, decoded: Any, time: float) -> None:
        """Record the time of the next frame."""
        shown = (decoded.duration or 0) * self.unit
        self.longest = max(self.longest, shown, time - self.time)
        self.time = time

    @property
    def is_complete(self) -> bool:
        """Whether everything that the file declares was decoded."""
        import av

        duration = self.container.duration
        # Only a video without sound is known to last as long as the file. In a slideshow, the last
        # frame lasts as long as others do.
        alone = len(self.container.streams) == 1 and duration is not None
        end = self.time + max(2.0, 1.5 * self.longest)
        short = self.packets < self.stream.frames or (
            alone and self.frames > 1 and end < (duration or 0) / av.time_base
        )
        return not (self.error or self.damaged or short or not self.frames)


def _whole(container: Any, stream: Any, name: str, vid_stride: int) -> Iterator[Frame]:
    """Yield every frame of a video that has an end.

    Raises:
        SourceError: after the last frame, if the video was damaged or incomplete.
    """
    import av

    stream.thread_type = "AUTO"
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    known = stream.frames or round((container.duration or 0) / av.time_base * rate)
    total = -(-known // vid_stride) if known else None
    upright, reader = Upright(stream), _VideoReader(container, stream)
    start: float | None = None
    for decoded in reader.decode():
        now, index = decoded.time, reader.frames
        start = now if start is None else start
        reader.show(decoded, index / float(rate) if now is None or start is None else now - start)
        if index % vid_stride == 0:
            image = upright(decoded)
            yield Frame(image, name, index, reader.time, "video", rate / vid_stride, total)
        reader.frames += 1
    if not reader.is_complete:
        found = (
            f"it is damaged or breaks off: only {counted(reader.frames, 'frame')} of "
            f"{known or 'it'} can be read"
            if reader.frames
            else "no frame can be decoded"
        )
        reason = f" ({reader.error})" if reader.error else ""
        raise SourceError(f"cannot read all of {name}: {found}{reason}", "copy or record it again")
