"""Follows a live stream: always its newest frame, however slow the decoder is."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from maskyolo.core.text import counted
from maskyolo.errors import SourceError
from maskyolo.runtime.ffmpeg import reason_of
from maskyolo.runtime.frames import Frame
from maskyolo.runtime.upright import Upright

__all__ = ["MAX_RATE", "broke_off_message", "follow"]

#: Maximum plausible frame rate of a camera or stream, in frames per second.
MAX_RATE = 240
#: Maximum number and total bytes of a stream's packets that wait to be decoded. If none of them is
#: a keyframe, they are dropped and decoding resumes at the next keyframe.
MAX_PACKETS, MAX_WAITING = 100, 64 << 20


def follow(container: Any, stream: Any, name: str, vid_stride: int) -> Iterator[Frame]:
    """Yield the newest frames of a live stream, timed by their arrival, and close the container.

    A stream's own timestamps cannot be trusted: FFmpeg counts MJPEG over HTTP as 25 frames per
    second.

    Raises:
        SourceError: the stream broke off, or delivered no images.
    """
    import av

    stream.thread_type = "SLICE"  # with frame threads, each frame would wait for as many later ones
    decoder, upright = stream.codec_context, Upright(stream)
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
                    yield Frame(
                        upright(video_frame),
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
        reason = f" ({reason_of(packets.error)})" if packets.error else ""
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
        self._bytes = 0
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
                self._bytes -= packet.size
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
            full = len(self._waiting) >= MAX_PACKETS or self._bytes + packet.size > MAX_WAITING
            if packet.is_keyframe or (full and self._waiting):
                self._left_out += len(self._waiting)
                self._waiting.clear()
                self._bytes = 0
                self._until_keyframe = not packet.is_keyframe
            if self._until_keyframe:
                self._left_out += 1
                return
            self._waiting.append((packet, taken))
            self._bytes += packet.size
            self._changed.notify_all()


def broke_off_message(frames: int) -> str:
    """Say how a video or stream ended too early, after this many frames."""
    return f"it broke off after {counted(frames, 'frame')}" if frames else "it delivers no images"
