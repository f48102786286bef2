"""Video clips for tests, whose frames can be told apart by their gray level."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np


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
