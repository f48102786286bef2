"""Video clips for tests, whose frames can be told apart by their gray level."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import IO

import av
import numpy as np

from maskyolo.core.images import ImageArray


def make_clip(
    path: Path,
    frames: int = 12,
    size: tuple[int, int] = (64, 48),
    rate: Fraction = Fraction(25),
    options: dict[str, str] | None = None,
) -> Path:
    """Write a clip of `size` (width, height).

    The upper half of frame i is gray 10 * i (modulo 250); the lower half is noise, so that the file
    has a realistic size.
    """
    noise = np.random.default_rng(0)
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(
            "libx264", rate=rate, options={"crf": "10", "g": "4", "bf": "0"}
        )
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for index in range(frames):
            image = np.full((size[1], size[0], 3), 10 * index % 250, np.uint8)
            image[size[1] // 2 :] = noise.integers(0, 255, image[size[1] // 2 :].shape, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode(None))
    return path


def probe(path: Path) -> tuple[int, Fraction, tuple[int, int]]:
    """Decode a whole clip; return its number of frames, its frame rate and (width, height)."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        count = sum(1 for _ in container.decode(stream))
        assert stream.average_rate is not None
        return count, stream.average_rate, (stream.width, stream.height)


def write_clip(
    path: Path | IO[bytes],
    images: Iterable[ImageArray],
    rate: Fraction = Fraction(25),
    codec: str = "libx264",
    shape: Fraction = Fraction(1),
    container: str | None = None,
) -> None:
    """Write images, BGR uint8 (H, W, 3), as a clip; `shape` is the pixels' width by height."""
    target = str(path) if isinstance(path, Path) else path
    with av.open(target, "w", format=container) as file:
        stream = file.add_stream(codec, rate=rate)
        for index, image in enumerate(images):
            if index == 0:
                stream.height, stream.width = image.shape[:2]
                stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
                stream.codec_context.sample_aspect_ratio = shape
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        file.mux(stream.encode(None))


def set_matrix(path: Path, values: Sequence[int]) -> None:
    """Write a display matrix a, b, c, d into an MP4's header, in place.

    A player shows a pixel at (x, y) at (a x + c y, b x + d y), up to a shift.
    """
    data = path.read_bytes()
    place = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (value << 16 for value in values)
    matrix = b"".join(
        value.to_bytes(4, "big", signed=True) for value in (a, b, 0, c, d, 0, 0, 0, 1 << 30)
    )
    path.write_bytes(data[:place] + matrix + data[place + 36 :])
