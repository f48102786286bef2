"""Frames, and the protocol of their sources."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Literal, Protocol

from maskyolo.core.images import ImageArray

__all__ = ["Frame", "Reduction", "Source"]

Kind = Literal["image", "video", "live"]


@dataclass(frozen=True)
class Reduction:
    """How much smaller an image was decoded than it is in its file.

    Attributes:
        factor: the factor of both sides, which are rounded up.
        width: width in the file, upright, in pixels.
        height: height in the file, upright, in pixels.
    """

    factor: int
    width: int
    height: int


@dataclass(frozen=True)
class Frame:
    """One image to detect in.

    Attributes:
        image: BGR uint8 (H, W, 3).
        source: the file, URL or camera it comes from, without any password.
        index: its position in the source, from 0, also counting frames that `vid_stride` skips.
        time: seconds since the source's first frame.
        kind: `image`, `video` (a file or download with an end) or `live` (a camera or stream).
        rate: yielded frames per second, so `vid_stride` lowers it; 0 for an image.
        total: number of frames that its source will yield, if known.
        taken: `time.monotonic()` when a camera or stream delivered it.
        skipped: frames of a stream since the previous one that were not decoded because newer
            ones had arrived.
        moment: the time of day at which it was taken, with a zone; None if unknown.
        reduction: set if `image` is smaller than in its file. Detections, `width` and `height` are
            in pixels of the file nevertheless.
    """

    image: ImageArray
    source: str
    index: int = 0
    time: float = 0.0
    kind: Kind = "image"
    rate: Fraction = Fraction(0)
    total: int | None = None
    taken: float = 0.0
    skipped: int = 0
    moment: datetime | None = None
    reduction: Reduction | None = None

    @property
    def width(self) -> int:
        """Width in pixels."""
        return self.reduction.width if self.reduction else self.image.shape[1]

    @property
    def height(self) -> int:
        """Height in pixels."""
        return self.reduction.height if self.reduction else self.image.shape[0]


class Source(Protocol):
    """Something that yields frames; each call of `frames` opens it again."""

    @property
    def name(self) -> str:
        """The name used in messages and results."""
        ...

    def frames(self, vid_stride: int = 1) -> Iterator[Frame]:
        """Yield its frames, or every `vid_stride`-th frame of a video or stream.

        Raises:
            ImageError: an image cannot be decoded.
            SourceError: the source cannot be opened or broke off; every frame before that has
                been yielded.
        """
        ...
