"""Frames from any source: images, folders, globs, lists, videos, cameras, network streams."""

from __future__ import annotations

import glob
import os
import re
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from base64 import b64encode
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from http import HTTPStatus
from http.client import HTTPException, InvalidURL
from pathlib import Path
from typing import Any, Literal, Protocol

import cv2
import numpy as np

from maskyolo._text import counted
from maskyolo.core.files import read_image_list
from maskyolo.errors import SourceError
from maskyolo.images import IMAGE_SUFFIXES, ImageArray, decode_image, open_image, read_image

__all__ = [
    "VIDEO_SUFFIXES",
    "CameraSource",
    "Frame",
    "ImageSource",
    "Source",
    "StreamSource",
    "VideoSource",
    "display_name",
    "http_request",
    "open_sources",
]

#: Suffixes of the files of a folder that are read as videos. A file's content decides its format.
VIDEO_SUFFIXES = frozenset(
    {
        ".mp4",
        ".avi",
        ".mov",
        ".mkv",
        ".webm",
        ".m4v",
        ".mpg",
        ".mpeg",
        ".wmv",
        ".flv",
        ".ts",
        ".mts",
        ".m2ts",
        ".3gp",
        ".ogv",
        ".asf",
    }
)

#: Seconds to wait for an address to answer, or for more data from a stream.
TIMEOUT = 10.0

#: Maximum credible frame rate of a camera or stream, in frames per second.
MAX_RATE = 240

#: Maximum number of a stream's packets that wait to be decoded. If there is no keyframe among
#: that many, decoding resumes at the next one.
MAX_PACKETS = 100

#: Maximum size in bytes of an image that is downloaded.
MAX_DOWNLOAD = 256 << 20

_SILENT = "no answer within {:g} s"

_SUPPORTED = "use an image, video, folder, glob, list (.txt), camera number or address"

Kind = Literal["image", "video", "live"]


@dataclass(frozen=True)
class Frame:
    """One image to detect in.

    Attributes:
        image: BGR uint8 (H, W, 3).
        source: the file, address or camera it comes from, without any password.
        index: its position in its source, from 0, including frames that `vid_stride` skips.
        time: seconds since the source's first frame.
        kind: `image`, `video` (a file or download with an end) or `live` (a camera or stream).
        rate: yielded frames per second, so `vid_stride` lowers it; 0 for an image.
        total: number of frames that its source will yield, if known.
        taken: `time.monotonic()` when a camera or stream delivered it.
        skipped: frames of a stream since the previous one that were not decoded because newer
            ones had arrived.
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


class Source(Protocol):
    """Something that frames come from; each call of `frames` opens it again."""

    @property
    def name(self) -> str:
        """Name in messages and results."""
        ...

    def frames(self, vid_stride: int = 1) -> Iterator[Frame]:
        """Yield its frames, or every `vid_stride`-th frame of a video or stream.

        Raises:
            ImageError: an image cannot be decoded.
            SourceError: the source cannot be opened or broke off; every frame before that has
                been yielded.
        """
        ...


@dataclass(frozen=True)
class ImageSource:
    """An image file."""

    path: Path

    @property
    def name(self) -> str:
        """The path, as given."""
        return str(self.path)

    def frames(self, vid_stride: int = 1) -> Iterator[Frame]:
        """Yield the image; see `Source`."""
        del vid_stride
        yield Frame(read_image(self.path), self.name, total=1)


@dataclass(frozen=True)
class VideoSource:
    """A video file, in any format that FFmpeg reads."""

    path: Path

    @property
    def name(self) -> str:
        """The path, as given."""
        return str(self.path)

    def frames(self, vid_stride: int = 1) -> Iterator[Frame]:
        """Yield the video's frames, upright; see `Source`."""
        if not self.path.is_file():
            raise SourceError(f"cannot read {self.path}: no such file", "check the path")
        if not os.access(self.path, os.R_OK):
            raise SourceError(
                f"cannot read {self.path}: permission denied", "change the file's permissions"
            )
        yield from _decode(f"file:{self.path}", self.name, vid_stride)


@dataclass(frozen=True)
class CameraSource:
    """A camera of this machine, by its index."""

    index: int

    @property
    def name(self) -> str:
        """The index as text."""
        return str(self.index)

    def frames(self, vid_stride: int = 1) -> Iterator[Frame]:
        """Yield frames until the camera is disconnected; see `Source`."""
        with _quiet_opencv():
            camera = cv2.VideoCapture(self.index)
        try:
            if not camera.isOpened():
                raise SourceError(
                    f"cannot open camera {self.index}: not found, in use, or not permitted",
                    "connect it, or try another index",
                )
            rate = Fraction(camera.get(cv2.CAP_PROP_FPS) or 30).limit_denominator(1001)
            rate = rate if 1 <= rate <= MAX_RATE else Fraction(30)
            start, index = time.monotonic(), 0
            while True:
                with _quiet_opencv():
                    success, image = camera.read()
                if not success:
                    raise SourceError(
                        f"cannot read camera {self.index}: {_broke_off(index)}",
                        "check its cable and whether another program is using it",
                    )
                if index % vid_stride == 0:
                    now = time.monotonic()
                    yield Frame(
                        np.asarray(image, np.uint8),
                        self.name,
                        index,
                        now - start,
                        "live",
                        rate / vid_stride,
                        taken=now,
                    )
                index += 1
        finally:
            camera.release()


@dataclass(frozen=True)
class StreamSource:
    """An address: an image or video over HTTP(S), or a stream such as RTSP."""

    url: str

    @property
    def name(self) -> str:
        """The address without its password."""
        return display_name(self.url)

    def frames(self, vid_stride: int = 1) -> Iterator[Frame]:
        """Yield the image or the frames at the address; see `Source`."""
        if self.url.lower().startswith(("http:", "https:")):
            data = self._download_image()
            if data is not None:
                yield Frame(decode_image(data, self.name), self.name, total=1)
                return
        # fpsprobesize 0: do not wait for frames just to measure the rate
        options = (
            {"rtsp_transport": "tcp", "fpsprobesize": "0"}
            if self.url.lower().startswith("rtsp")
            else {}
        )
        yield from _decode(self.url, self.name, vid_stride, options)

    def _download_image(self) -> bytes | None:
        """Return the bytes if the server declares an image, else None."""
        try:
            with urllib.request.urlopen(http_request(self.url), timeout=TIMEOUT) as answer:  # noqa: S310
                if answer.headers.get_content_maintype() != "image":
                    return None
                data = answer.read(MAX_DOWNLOAD + 1)
        except urllib.error.HTTPError as error:
            error.close()
            if (
                error.code == HTTPStatus.UNAUTHORIZED
                and "@" in urllib.parse.urlsplit(self.url).netloc
            ):
                return None  # FFmpeg supports more authentication methods
            raise self._unreachable(error) from error
        except (ValueError, InvalidURL) as error:  # its text may contain part of a password
            raise SourceError(
                f"cannot read {self.name}: not a valid address",
                "check it, and write / and @ in a password as %2F and %40",
            ) from error
        except (OSError, HTTPException) as error:  # URLError and timeouts are OSErrors
            raise self._unreachable(error) from error
        if len(data) > MAX_DOWNLOAD:
            raise SourceError(
                f"cannot read {self.name}: larger than {MAX_DOWNLOAD >> 20} MB", "download it first"
            )
        return bytes(data)

    def _unreachable(self, error: Exception) -> SourceError:
        reason = getattr(error, "reason", None) or error
        return SourceError(
            f"cannot read {self.name}: {' '.join(str(reason).split()).lower()}",
            "check the address and the network",
        )


def open_sources(source: str | int | Path) -> list[Source]:
    """Find out what `source` refers to, without opening anything.

    - An existing path is that file or folder, whatever characters its name contains. A folder
      stands for the images and videos directly in it, sorted by name.
    - A number is a camera, and `scheme://…` an address.
    - A `.txt` file is a list of any of these, one per line. A relative path is looked up in the
      working folder, then next to the list.
    - Anything else that contains `*`, `?` or `[` is a glob (`**` includes subfolders).

    Raises:
        SourceError: the file does not exist, the folder is empty, the glob has no match, or the
            list is empty or unreadable.
    """
    text = str(source)
    if not text:
        raise SourceError("no source given: the name is empty", _SUPPORTED)
    path = Path(text)
    if isinstance(source, int) or (text.isascii() and text.isdigit()):
        return [CameraSource(int(text))]
    if "://" in text:
        return [StreamSource(text)]
    if path.is_dir():
        return _in_folder(path)
    if path.suffix.lower() == ".txt" and path.is_file():
        return _in_list(path)
    if path.exists():
        return [_file(path)]
    if glob.has_magic(text):
        matches = sorted(map(Path, glob.glob(text, recursive=True)))  # noqa: PTH207  Path.glob refuses absolute patterns
        found = [_file(match) for match in matches if match.is_file() and _wanted(match)]
        if not found:
            raise SourceError(f"no image or video matches {text}", "check the pattern")
        return found
    raise SourceError(f"no source '{text}': no such file or folder", _SUPPORTED)


def display_name(source: str | int | Path) -> str:
    """Return a source as it may be shown and stored.

    In an address, every password becomes `***`, including those in the query.
    """
    text = str(source)
    if "://" not in text:
        return text
    # also catches passwords with a / that is not written as %2F
    text = re.sub(r"(://[^/:@?#]*):(?!\d*(?:[/?#]|$)).*@", r"\1:***@", text)
    return re.sub(
        r"([?&;][^=&;#]*(?:pass|pwd|token|secret|key|auth|sig)[^=&;#]*=)[^&;#]+",
        r"\1***",
        text,
        flags=re.IGNORECASE,
    )


def _file(path: Path) -> Source:
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES or (suffix not in VIDEO_SUFFIXES and _is_image(path)):
        return ImageSource(path)
    return VideoSource(path)


def _wanted(path: Path) -> bool:
    if path.name.startswith("."):
        return False
    return path.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES or _is_image(path)


def _is_image(path: Path) -> bool:
    """Return whether a file with an odd suffix, such as `.jpg_640x480`, starts like an image."""
    try:
        with open_image(path):
            return True
    except Exception:  # noqa: BLE001  Pillow's plugins raise anything on other files
        return False


def _in_folder(folder: Path) -> list[Source]:
    try:
        found = [
            _file(path) for path in sorted(folder.iterdir()) if path.is_file() and _wanted(path)
        ]
    except OSError as error:
        raise SourceError(
            f"cannot read folder {folder}: {(error.strerror or str(error)).lower()}",
            "check its permissions",
        ) from error
    if not found:
        inside = any(path.is_dir() for path in folder.iterdir())
        remedy = (
            f"to include its subfolders, use the glob '{folder / '**' / '*'}'"
            if inside
            else "check the path"
        )
        raise SourceError(f"no image or video in {folder}", remedy)
    return found


def _in_list(path: Path) -> list[Source]:
    found: list[Source] = []
    for line in read_image_list(path, SourceError):
        sibling = path.parent / line
        entry = sibling if not Path(line).exists() and sibling.exists() else Path(line)
        try:
            if "://" in line:
                found += open_sources(line)
            elif entry.suffix.lower() == ".txt":  # no nested lists: one could contain itself
                found.append(VideoSource(entry))
            else:
                found += open_sources(str(entry))
        except SourceError:  # reported in its turn, like other bad files of a batch
            found.append(_file(entry))
    if not found:
        raise SourceError(f"the list {path} is empty", "write one path per line")
    return found


def http_request(
    url: str, data: bytes | None = None, headers: Mapping[str, str] | None = None
) -> urllib.request.Request:
    """Return a request for an HTTP(S) address, which posts `data` if given.

    A user name and password in the address are sent as basic authentication, but not to where the
    server redirects.

    Raises:
        ValueError: not a valid address; its text may contain part of a password.
    """
    # urllib, not requests: it trusts the system's certificates, as cameras of an organization
    # need it, reads no .netrc, and its errors do not contain the address with its secrets.
    parts = urllib.parse.urlsplit(url)
    login, _, host = parts.netloc.rpartition("@")
    place = parts._replace(netloc=host).geturl()
    request = urllib.request.Request(place, data, {"User-Agent": "maskyolo", **(headers or {})})  # noqa: S310
    if login:
        request.add_unredirected_header(
            "Authorization", "Basic " + b64encode(urllib.parse.unquote_to_bytes(login)).decode()
        )
    return request


def _decode(
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
    """Decodes a video with an end, and keeps track of what was damaged or missing.

    Attributes:
        frames: number of decoded frames.
        packets: number of packets with data.
        damaged: number of packets that are damaged or cannot be decoded.
        time: seconds of the last frame since the first one.
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
        """Yield every frame that can be decoded, as PyAV has it."""
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
    """Yield every frame of a video with an end.

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
    stream.thread_type = "SLICE"  # frame threads would delay each frame by their number
    decoder, reformatter = stream.codec_context, VideoReformatter()
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
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
            except av.FFmpegError:  # lost on the way; the next keyframe repairs it
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
            f"cannot read {name}: {_broke_off(index)}{reason}", "check the camera and the network"
        )


class _Packets:
    """Reads a live stream's packets from the network in its own thread, and yields recent ones.

    Nothing piles up in front of a slow decoder, because a keyframe makes all packets before it
    unnecessary. The thread closes the container.
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
        """Yield each packet, its arrival time, and how many packets before it were left out."""
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


def _broke_off(frames: int) -> str:
    return f"it broke off after {counted(frames, 'frame')}" if frames else "it delivers no images"


def _reason(error: BaseException) -> str:
    # FFmpeg's "immediate exit requested": PyAV stopped waiting
    if type(error).__name__ == "ExitError":
        return _SILENT.format(TIMEOUT)
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(text.split()).lower()


def _contents(container: Any) -> str:
    return ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"


@contextmanager
def _quiet_opencv() -> Iterator[None]:
    """Keep OpenCV from writing its own warnings to stderr."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)
