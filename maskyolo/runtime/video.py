"""Decode videos, cameras and streams with FFmpeg, within limits."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from maskyolo.core.images import ImageArray
from maskyolo.core.text import counted
from maskyolo.errors import SourceError
from maskyolo.runtime.frames import Frame

__all__ = ["broke_off_message", "decode_video"]

#: Seconds to wait for a URL to answer, or for more data from a stream.
TIMEOUT = 10.0
#: Maximum plausible frame rate of a camera or stream, in frames per second.
MAX_RATE = 240
#: Maximum number of a stream's packets that wait to be decoded. If none of them is a keyframe, they
#: are dropped and decoding resumes at the next keyframe.
MAX_PACKETS = 100
_SILENT = "no answer within {:g} s"


def decode_video(
    url: str, name: str, vid_stride: int, options: dict[str, str] | None = None
) -> Iterator[Frame]:
    """Yield the frames of anything that FFmpeg opens."""
    import av

    begun = time.monotonic()
    try:
        container = av.open(
            url, timeout=(TIMEOUT, TIMEOUT), options=options or {}, metadata_errors="replace"
        )
    except (av.FFmpegError, OSError, ValueError) as error:
        # RTSP reports a timeout as invalid data
        timed_out = time.monotonic() - begun >= TIMEOUT
        reason = _SILENT.format(TIMEOUT) if timed_out else _reason(error)
        raise SourceError(
            f"cannot read {name}: {reason}", "check that it is a video and can be reached"
        ) from error
    with ExitStack() as closing:
        closing.enter_context(container)
        if not container.streams.video:
            raise SourceError(
                f"cannot read {name}: it contains no images, only {_contents(container)}",
                "use a video",
            )
        if container.duration is None and "://" in url:
            closing.pop_all()  # _follow closes it
            yield from _follow(container, name, vid_stride)
        else:
            yield from _whole(container, name, vid_stride)


@dataclass
class _VideoReader:
    """Decodes a video that has an end, and records what was damaged or missing.

    Attributes:
        frames: number of decoded frames.
        packets: number of packets with data.
        damaged: number of packets that are damaged or cannot be decoded.
        time: time of the last frame, in seconds after the first one.
        error: why reading stopped early, or empty.
    """

    container: Any
    stream: Any
    frames: int = 0
    packets: int = 0
    damaged: int = 0
    time: float = 0.0
    error: str = ""

    def decode(self) -> Iterator[Any]:
        """Yield every frame that can be decoded, as PyAV's `VideoFrame`."""
        import av

        packets = self.container.demux(self.stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except (av.FFmpegError, OSError) as error:
                self.error = _reason(error)
                return
            self.packets += packet.size > 0
            self.damaged += packet.is_corrupt
            try:
                decoded = packet.decode()
            except av.FFmpegError:
                self.damaged += 1
                continue
            yield from decoded

    @property
    def is_complete(self) -> bool:
        """Whether everything that the file declares was decoded."""
        import av

        duration = self.container.duration
        # Only a video without sound is known to last as long as the file.
        alone = len(self.container.streams) == 1 and duration is not None
        short = self.packets < self.stream.frames or (
            alone and self.time + 2 < (duration or 0) / av.time_base
        )
        return not (self.error or self.damaged or short or not self.frames)


def _whole(container: Any, name: str, vid_stride: int) -> Iterator[Frame]:
    """Yield every frame of a video that has an end.

    Raises:
        SourceError: after the last frame, if the video was damaged or incomplete.
    """
    import av
    from av.video.reformatter import VideoReformatter

    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    known = stream.frames or round((container.duration or 0) / av.time_base * rate)
    total = -(-known // vid_stride) if known else None
    reformatter, reader = VideoReformatter(), _VideoReader(container, stream)
    start: float | None = None
    for decoded in reader.decode():
        now, index = decoded.time, reader.frames
        start = now if start is None else start
        reader.time = index / float(rate) if now is None or start is None else now - start
        if index % vid_stride == 0:
            image = _upright(reformatter, decoded)
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


def _follow(container: Any, name: str, vid_stride: int) -> Iterator[Frame]:
    """Yield the newest frames of a live stream, timed by their arrival, and close the container.

    A stream's own timestamps cannot be trusted: FFmpeg counts MJPEG over HTTP as 25 frames per
    second.
    """
    import av
    from av.video.reformatter import VideoReformatter

    stream = container.streams.video[0]
    stream.thread_type = "SLICE"  # with frame threads, each frame would wait for as many later ones
    decoder, reformatter = stream.codec_context, VideoReformatter()
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    # 1001 is the denominator of NTSC rates such as 30000/1001
    rate = Fraction(rate).limit_denominator(1001) if 1 <= rate <= MAX_RATE else Fraction(25)
    index = wanted = skipped = 0
    start: float | None = None
    packets = _Packets(container, stream)
    try:
        for packet, taken, left_out in packets:
            index, skipped = index + left_out, skipped + left_out
            start = taken if start is None else start
            try:
                decoded = decoder.decode(packet)
            except av.FFmpegError:  # lost data; the next keyframe repairs the image
                continue
            for video_frame in decoded if not packet.is_corrupt else ():
                if index >= wanted:
                    image = _upright(reformatter, video_frame)
                    yield Frame(
                        image,
                        name,
                        index,
                        taken - start,
                        "live",
                        rate / vid_stride,
                        taken=taken,
                        skipped=skipped,
                    )
                    wanted, skipped = index + vid_stride, 0
                index += 1
    finally:
        packets.close()
    if packets.error or not index:
        reason = f" ({_reason(packets.error)})" if packets.error else ""
        raise SourceError(
            f"cannot read {name}: {broke_off_message(index)}{reason}",
            "check the camera and the network",
        )


class _Packets:
    """Reads a live stream's packets from the network in its own thread, and yields recent ones.

    Packets do not pile up before a slow decoder: a keyframe makes all earlier ones unnecessary. The
    thread closes the container.
    """

    def __init__(self, container: Any, stream: Any) -> None:
        self.error: Exception | None = None
        self._container, self._stream = container, stream
        self._waiting: deque[tuple[Any, float]] = deque()
        self._left_out, self._until_keyframe, self._over = 0, False, False
        self._changed, self._closed = threading.Condition(), threading.Event()
        self._thread = threading.Thread(target=self._take, name="maskyolo-stream", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[tuple[Any, float, int]]:
        """Yield each packet, its arrival time, and how many packets were skipped before it."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._over)
                if not self._waiting:
                    return
                packet, taken = self._waiting.popleft()
                left_out, self._left_out = self._left_out, 0
            yield packet, taken, left_out

    def close(self) -> None:
        """End the thread, without waiting for it if the server is silent (up to `TIMEOUT`)."""
        self._closed.set()
        self._thread.join(timeout=0.2)

    def _take(self) -> None:
        with self._container:
            try:
                for packet in self._container.demux(self._stream):
                    if self._closed.is_set():
                        break
                    self._put(packet)
            except Exception as error:  # noqa: BLE001  reported where the packets are consumed
                self.error = error
            with self._changed:
                self._over = True
                self._changed.notify_all()
            self._closed.wait()  # the decoder may still be using the container

    def _put(self, packet: Any) -> None:
        taken = time.monotonic()
        with self._changed:
            if packet.is_keyframe or len(self._waiting) >= MAX_PACKETS:
                self._left_out += len(self._waiting)
                self._waiting.clear()
                self._until_keyframe = not packet.is_keyframe
            if self._until_keyframe:
                self._left_out += 1
                return
            self._waiting.append((packet, taken))
            self._changed.notify_all()


def _upright(reformatter: Any, decoded: Any) -> ImageArray:
    """Return a decoded frame as BGR uint8 (H, W, 3), rotated as its metadata says."""
    made = reformatter.reformat(decoded, format="bgr24")
    if made is decoded:  # the decoder may still need its buffer
        image: ImageArray = made.to_ndarray()
    else:
        rows = np.frombuffer(made.planes[0], np.uint8).reshape(
            made.height, made.planes[0].line_size
        )
        # copied only if rows are padded
        image = np.ascontiguousarray(rows[:, : 3 * made.width]).reshape(made.height, made.width, 3)
    if decoded.rotation % 360:
        return np.ascontiguousarray(np.rot90(image, k=decoded.rotation // 90))
    return image


def broke_off_message(frames: int) -> str:
    """Say how a video or stream ended too early, after this many frames."""
    return f"it broke off after {counted(frames, 'frame')}" if frames else "it delivers no images"


def _reason(error: BaseException) -> str:
    # FFmpeg's "immediate exit requested": PyAV stopped waiting
    if type(error).__name__ == "ExitError":
        return _SILENT.format(TIMEOUT)
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(text.split()).lower()


def _contents(container: Any) -> str:
    return ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
