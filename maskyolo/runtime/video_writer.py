"""Writes MP4 files that can be played even if the process was killed."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from maskyolo.core.files import fresh_part
from maskyolo.core.images import ImageArray
from maskyolo.errors import output_errors

__all__ = ["VideoWriter"]

#: x264 settings. They give the quality of preset `veryfast` with CRF 23 in two thirds of the time,
#: in files a quarter larger. The short lookahead halves the memory.
_ENCODING = {"preset": "superfast", "crf": "27", "rc-lookahead": "2", "bf": "1"}
#: Maximum number of pixels of a frame: level 5.2 of H.264, which is what players support. Encoding
#: larger frames would also take gigabytes.
MAX_PIXELS = 4096 * 2304


class VideoWriter:
    """Writes an H.264 MP4 that any player supports.

    It is written to a temporary file, which `close` moves into place. If the process is killed or
    the disk is full, the temporary file can be played up to its last second.

    Args:
        path: the `.mp4` to write.
        rate: frames per second.
        timed: give each frame the time passed to `write` instead of one computed from its index,
            because a camera's frames are unevenly spaced.

    Raises:
        OutputError: no space left, or no permission.
    """

    def __init__(self, path: Path, rate: Fraction, timed: bool = False) -> None:
        import av

        self._path = path
        self._part = fresh_part(path)
        self._timed, self._pts, self._count = timed, -1, 0
        self._base = Fraction(1, 1000) if timed else 1 / rate
        with output_errors(path):
            self._part.touch()
            # fragments keep the unfinished file playable; closing it replaces them by an index
            options = {
                "movflags": "hybrid_fragmented+negative_cts_offsets",
                "frag_duration": "1000000",
                "flush_packets": "1",
            }
            self._container = av.open(f"file:{self._part}", "w", format="mp4", options=options)
        self._stream = self._container.add_stream(
            "libx264", rate=rate.limit_denominator(100_000), options=_ENCODING
        )
        self._stream.pix_fmt = "yuv420p"
        if timed:
            self._stream.codec_context.time_base = self._base

    def write(self, image: ImageArray, time: float = 0.0) -> None:
        """Write one frame.

        Args:
            image: BGR uint8 (H, W, 3). It is scaled to the size of the first one, and that to at
                most `MAX_PIXELS`; odd sides are padded by a pixel.
            time: time of the frame in seconds, if the video is `timed`.
        """
        import av

        height, width = image.shape[:2]
        even = (width + width % 2, height + height % 2)
        if not self._count:
            self._stream.width, self._stream.height = _playable(*even)
        size = (self._stream.width, self._stream.height)
        if even != size:
            image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        elif even != (width, height):
            image = np.asarray(
                cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE),
                np.uint8,
            )
        # from_ndarray would copy the image
        frame = av.VideoFrame.from_numpy_buffer(np.ascontiguousarray(image), format="bgr24")
        self._pts = max(self._pts + 1, round(time / self._base)) if self._timed else self._count
        frame.pts, frame.time_base = self._pts, self._base
        self._count += 1
        with output_errors(self._path):
            self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Complete the file and move it into place."""
        try:
            with output_errors(self._path):
                try:
                    self._container.mux(self._stream.encode(None))
                finally:
                    self._container.close()
                self._part.replace(self._path)
        except BaseException:
            if not self._count:  # a file without frames is useless
                self._part.unlink(missing_ok=True)
            raise


def _playable(width: int, height: int) -> tuple[int, int]:
    """Return the size in which frames of an even size are written."""
    scale = min((MAX_PIXELS / (width * height)) ** 0.5, 1.0)
    return (max(2 * int(width * scale / 2), 2), max(2 * int(height * scale / 2), 2))
