"""Sources that are files: images, animations, numbered images, videos, and pipes."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from PIL import Image

from maskyolo.core.decoding import TooLargeError, check_memory, open_image, to_bgr
from maskyolo.core.images import MAX_FILE, decode_reduced, read_image, read_image_file
from maskyolo.core.parsing import ParseError, read_limited
from maskyolo.core.text import counted
from maskyolo.errors import ImageError, MaskyoloError, SourceError
from maskyolo.runtime.ffmpeg import Access
from maskyolo.runtime.frames import Frame, Reduction, Source
from maskyolo.runtime.live_stream import MAX_RATE
from maskyolo.runtime.video import decode_video

__all__ = [
    "NUMBERED_RATE",
    "AnimationSource",
    "ImageSource",
    "NumberedImages",
    "PipeSource",
    "UnreadableSource",
    "VideoSource",
    "decode_animation",
    "decode_photo",
    "is_animation",
    "is_playlist",
    "reduced_photos",
]

#: Frames per second of numbered images, as FFmpeg takes them.
NUMBERED_RATE = Fraction(25)
#: Image formats whose further images are frames; those of a TIFF are pages.
_ANIMATED = frozenset({"GIF", "PNG", "WEBP", "AVIF"})
#: Browsers show frames that claim to be shorter than 20 ms for this long, in milliseconds.
_DEFAULT_DURATION = 100
#: How playlists begin: M3U8, DASH, FFmpeg's concat, SDP, PLS.
_PLAYLIST = re.compile(
    rb"(\xef\xbb\xbf)?\s*(#EXTM3U|ffconcat\s|v=0\r?\n|\[playlist\])|.{0,400}<MPD\b", re.DOTALL
)


@dataclass(frozen=True)
class ImageSource:
    """An image file.

    Attributes:
        path: the file.
        side: number of pixels of the longer side that are enough; None means all of them. A large
            JPEG is then decoded at a reduced size.
    """

    path: Path
    side: int | None = None

    @property
    def name(self) -> str:
        """The path, as given."""
        return str(self.path)

    def frames(self, vid_stride: int = 1) -> Iterator[Frame]:
        """Yield the image; see `Source`."""
        del vid_stride
        yield decode_photo(read_image_file(self.path), self.name, self.side)


@dataclass(frozen=True)
class AnimationSource:
    """An animated GIF, PNG, WebP or AVIF file, which is read as a video."""

    path: Path

    @property
    def name(self) -> str:
        """The path, as given."""
        return str(self.path)

    def frames(self, vid_stride: int = 1) -> Iterator[Frame]:
        """Yield the frames of one round; see `Source`."""
        try:
            data = read_limited(self.path, MAX_FILE)
        except (OSError, ParseError) as error:
            reason = (getattr(error, "strerror", "") or str(error)).lower()
            raise SourceError(f"cannot read {self.path}: {reason}", "check the path") from error
        yield from decode_animation(data, self.name, vid_stride)


@dataclass(frozen=True)
class NumberedImages:
    """Images with numbered names, which are the frames of a video.

    Attributes:
        pattern: the common path with `%d` or `%04d` for the number.
        paths: the images in the order of their numbers.
    """

    pattern: str
    paths: Sequence[Path]

    @property
    def name(self) -> str:
        """The pattern."""
        return self.pattern

    def frames(self, vid_stride: int = 1) -> Iterator[Frame]:
        """Yield the images as frames at `NUMBERED_RATE`; see `Source`."""
        bad: list[ImageError] = []
        wanted = range(0, len(self.paths), vid_stride)
        for index in wanted:
            try:
                image = read_image(self.paths[index])
            except ImageError as error:
                bad.append(error)
                continue
            rate, time = NUMBERED_RATE / vid_stride, float(index / NUMBERED_RATE)
            yield Frame(image, self.name, index, time, "video", rate, len(wanted))
        if bad:
            raise SourceError(
                f"cannot read {counted(len(bad), 'image')} of {len(wanted)} of {self.name}; "
                f"the first: {bad[0].problem}",
                bad[0].remedy,
            )


@dataclass(frozen=True)
class VideoSource:
    """A video file, in any format that FFmpeg reads.

    Attributes:
        path: the file.
        title: what it is called, if the file is a temporary copy; empty: its path.
    """

    path: Path
    title: str = ""

    @property
    def name(self) -> str:
        """The title, or the path, as given."""
        return self.title or str(self.path)

    def frames(self, vid_stride: int = 1) -> Iterator[Frame]:
        """Yield the video's frames, upright; see `Source`."""
        try:
            with self.path.open("rb") as file:
                playlist = is_playlist(file.read(512))
        except FileNotFoundError:
            raise SourceError(f"cannot read {self.name}: no such file", "check the path") from None
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise SourceError(
                f"cannot read {self.name}: {reason}", "check the path and its permissions"
            ) from error
        if playlist:
            raise SourceError(
                f"cannot read {self.name}: it is a playlist, which names other files or addresses",
                "use the videos themselves, or the address of the playlist",
            )
        yield from decode_video(f"file:{self.path}", self.name, vid_stride)


@dataclass(frozen=True)
class PipeSource:
    """A named pipe or standard input, with a video in any format that needs no seeking.

    Attributes:
        path: the pipe; None is standard input.
        title: what it is called; empty: its path.
    """

    path: Path | None = None
    title: str = ""

    @property
    def name(self) -> str:
        """The title, or the path, as given, or `stdin`."""
        return self.title or ("stdin" if self.path is None else str(self.path))

    def frames(self, vid_stride: int = 1) -> Iterator[Frame]:
        """Yield every frame that comes through the pipe; see `Source`."""
        if self.path is not None:
            yield from decode_video(f"file:{self.path}", self.name, vid_stride)
            return
        if sys.__stdin__ is None or os.isatty(0):
            raise SourceError(
                "cannot read standard input: it is a terminal or closed",
                "pipe a video into it, such as: cat street.ts | maskyolo detect --source -",
            )
        yield from decode_video("pipe:0", self.name, vid_stride, Access("pipe", ends=True))


@dataclass(frozen=True)
class UnreadableSource:
    """A part of a list or folder that cannot be read, which is reported in its turn."""

    name: str
    error: MaskyoloError

    def frames(self, vid_stride: int = 1) -> Iterator[Frame]:
        """Raise the error; see `Source`."""
        del vid_stride
        yield from ()
        raise SourceError(self.error.problem, self.error.remedy)


def decode_photo(data: bytes, name: str, side: int | None = None) -> Frame:
    """Return the only frame of an image file; see `ImageSource`.

    Raises:
        ImageError: it cannot be decoded.
    """
    image, factor, size = decode_reduced(data, side, name)
    return Frame(image, name, total=1, reduction=Reduction(factor, *size) if factor > 1 else None)


def reduced_photos(sources: Sequence[Source], side: int) -> list[Source]:
    """Return the same sources, but each photo decoded at a reduced size that is at least `side`."""
    return [
        replace(source, side=side) if isinstance(source, ImageSource) else source
        for source in sources
    ]


def decode_animation(data: bytes, name: str, vid_stride: int) -> Iterator[Frame]:
    """Yield the frames of an animated image.

    Raises:
        SourceError: it is damaged; the frames before that have been yielded.
    """
    index, time, rate = 0, 0.0, Fraction(0)
    try:
        with open_image(io.BytesIO(data)) as image:
            check_memory(image, data)
            number = getattr(image, "n_frames", 1)
            for index in range(number):
                image.seek(index)
                check_memory(image, data)
                pixels = to_bgr(image)
                duration = image.info.get("duration") or 0  # known after the frame is decoded
                duration = duration if duration >= 20 else _DEFAULT_DURATION
                rate = rate or min(Fraction(1000, round(duration)), Fraction(MAX_RATE))
                if index % vid_stride == 0:
                    total = -(-number // vid_stride)
                    yield Frame(pixels, name, index, time, "video", rate / vid_stride, total)
                time += duration / 1000
            complete = image.format != "GIF" or data.rstrip(b"\0").endswith(b";")
    except GeneratorExit:
        raise
    except (TooLargeError, Image.DecompressionBombError) as error:
        raise SourceError(f"cannot read {name}: {error}", "scale it down first") from error
    except Exception as error:  # Pillow's plugins raise many kinds of errors on damaged files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SourceError(
            f"cannot read all of {name}: frame {index} is damaged ({reason})", "copy it again"
        ) from error
    if not complete:
        raise SourceError(
            f"cannot read all of {name}: it breaks off after {counted(index + 1, 'frame')}",
            "copy it again",
        )


def is_animation(image: Image.Image) -> bool:
    """Return whether an opened image has several frames."""
    return image.format in _ANIMATED and bool(getattr(image, "is_animated", False))


def is_playlist(start: bytes) -> bool:
    """Return whether a file begins like a playlist, which names other files or addresses."""
    return _PLAYLIST.match(start) is not None
