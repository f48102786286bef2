"""Frames from anywhere: pictures, folders, globs, list files, videos, cameras, network streams."""

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

#: File name endings that are taken for videos when a folder is listed; what a file really is, its content decides.
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

#: Seconds after which an address that does not answer, or a stream that gives nothing more, is given up.
TIMEOUT = 10.0

#: Most frames a second that a camera or stream is believed to have.
MOST_RATE = 240

#: Most packets of a stream that wait to be decoded; if there is no keyframe in so many, decoding goes on at the next one.
MOST_PACKETS = 100

#: Most bytes of a picture that is fetched from an address.
MAX_DOWNLOAD = 256 << 20

_SILENT = "no answer within {:g} s"

Kind = Literal["image", "video", "live"]


@dataclass(frozen=True)
class Frame:
    """One picture to look at.

    Attributes:
        image: BGR uint8 (H, W, 3).
        source: the file, address or camera it is from, without any password.
        index: its place in its source, counted from 0; frames that `vid_stride` leaves out are counted.
        time: seconds since the source's first frame.
        kind: a still picture, a frame of a video with an end, or of a camera or stream.
        rate: frames a second that are yielded (so `vid_stride` lowers it); 0 for a still picture.
        total: frames that its source will yield, where that is known.
        taken: `time.monotonic()` when a camera or stream gave it.
        skipped: frames of a stream between the one before and this that were not decoded, as newer ones were there.
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
    """One thing that frames come from, opened anew by each call of `frames`."""

    @property
    def name(self) -> str:
        """What messages and results call it."""
        ...

    def frames(self, vid_stride: int = 1) -> Iterator[Frame]:
        """Yield its frames, of a video every `vid_stride`-th.

        Raises:
            ImageError: a picture that cannot be decoded.
            SourceError: what cannot be opened, or broke off; everything before the break has been yielded.
        """
        ...


@dataclass(frozen=True)
class ImageSource:
    """A picture file."""

    path: Path

    @property
    def name(self) -> str:
        """The path as it was given."""
        return str(self.path)

    def frames(self, vid_stride: int = 1) -> Iterator[Frame]:
        """Yield the picture; see `Source`."""
        del vid_stride
        yield Frame(read_image(self.path), self.name, total=1)


@dataclass(frozen=True)
class VideoSource:
    """A video file; any that FFmpeg reads."""

    path: Path

    @property
    def name(self) -> str:
        """The path as it was given."""
        return str(self.path)

    def frames(self, vid_stride: int = 1) -> Iterator[Frame]:
        """Yield the video's frames, upright; see `Source`."""
        if not self.path.is_file():
            raise SourceError(f"cannot read {self.path}: no such file; check the path")
        if not os.access(self.path, os.R_OK):
            raise SourceError(
                f"cannot read {self.path}: permission denied; change the file's permissions"
            )
        yield from _decode(f"file:{self.path}", self.name, vid_stride)


@dataclass(frozen=True)
class CameraSource:
    """A camera of this machine by its index."""

    index: int

    @property
    def name(self) -> str:
        """The index as text."""
        return str(self.index)

    def frames(self, vid_stride: int = 1) -> Iterator[Frame]:
        """Yield frames until the camera is gone; see `Source`."""
        with _quiet_opencv():
            camera = cv2.VideoCapture(self.index)
        try:
            if not camera.isOpened():
                raise SourceError(
                    f"cannot open camera {self.index}: none is there, it is in use, or not permitted; plug it in, or try another index"
                )
            rate = Fraction(camera.get(cv2.CAP_PROP_FPS) or 30).limit_denominator(1001)
            rate = rate if 1 <= rate <= MOST_RATE else Fraction(30)
            start, index = time.monotonic(), 0
            while True:
                with _quiet_opencv():
                    there, image = camera.read()
                if not there:
                    found = (
                        f"it broke off after {counted(index, 'frame')}"
                        if index
                        else "it gives no picture"
                    )
                    raise SourceError(
                        f"cannot read camera {self.index}: {found}; check its cable and whether another program uses it"
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
    """An address: a picture or video over HTTP(S), or a stream such as RTSP."""

    url: str

    @property
    def name(self) -> str:
        """The address without its password."""
        return display_name(self.url)

    def frames(self, vid_stride: int = 1) -> Iterator[Frame]:
        """Yield the picture or the frames behind the address; see `Source`."""
        if self.url.lower().startswith(("http:", "https:")):
            data = self._picture()
            if data is not None:
                yield Frame(decode_image(data, self.name), self.name, total=1)
                return
        # the rate is not worth waiting for
        options = (
            {"rtsp_transport": "tcp", "fpsprobesize": "0"}
            if self.url.lower().startswith("rtsp")
            else {}
        )
        yield from _decode(self.url, self.name, vid_stride, options)

    def _picture(self) -> bytes | None:
        """Return the bytes if the server says that it is a picture."""
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
                return None  # FFmpeg knows more ways to log in
            raise self._unreachable(error) from error
        except (ValueError, InvalidURL) as error:  # whose text may be a part of a password
            mend = "write / and @ in a password as %2F and %40"
            raise SourceError(
                f"cannot read {self.name}: no valid address; check it, and {mend}"
            ) from error
        except OSError as error:  # URLError, timeouts
            raise self._unreachable(error) from error
        except HTTPException as error:
            raise self._unreachable(error) from error
        if len(data) > MAX_DOWNLOAD:
            raise SourceError(
                f"cannot read {self.name}: more than {MAX_DOWNLOAD >> 20} MB; download it first"
            )
        return bytes(data)

    def _unreachable(self, error: Exception) -> SourceError:
        reason = getattr(error, "reason", None) or error
        return SourceError(
            f"cannot read {self.name}: {' '.join(str(reason).split()).lower()}; check the address and the network"
        )


def open_sources(source: str | int | Path) -> list[Source]:
    """Find what `source` means; nothing is opened yet.

    A path that exists is that file or folder, whatever characters are in its name. A folder gives the pictures and videos
    directly in it, by name. A number is a camera, `scheme://…` an address, a `.txt` file a list of any of these (one a line; a
    relative path is looked for in the working folder, then beside the list), and anything else with `*`, `?` or `[` a glob
    (`**` for folders in folders).

    Raises:
        SourceError: nothing there, an empty folder, a glob without a match, or an empty or unreadable list.
    """
    text = str(source)
    if not text:
        raise SourceError(
            "no source given: the name is empty; give a picture, video, folder, glob, list (.txt), camera number or address"
        )
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
            raise SourceError(f"no picture or video matches {text}; check the pattern")
        return found
    raise SourceError(
        f"no source '{text}': no such file or folder; give a picture, video, folder, glob, list (.txt), camera number or address"
    )


def display_name(source: str | int | Path) -> str:
    """Return a source as it may be shown and stored: in an address each password, also one in the query, becomes `***`."""
    text = str(source)
    if "://" not in text:
        return text
    text = re.sub(
        r"(://[^/:@?#]*):(?!\d*(?:[/?#]|$)).*@", r"\1:***@", text
    )  # also of passwords with a / that is not written as %2F
    return re.sub(
        r"([?&;][^=&;#]*(?:pass|pwd|token|secret|key|auth|sig)[^=&;#]*=)[^&;#]+",
        r"\1***",
        text,
        flags=re.IGNORECASE,
    )


def _file(path: Path) -> Source:
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES or (suffix not in VIDEO_SUFFIXES and _is_picture(path)):
        return ImageSource(path)
    return VideoSource(path)


def _wanted(path: Path) -> bool:
    if path.name.startswith("."):
        return False
    return path.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES or _is_picture(path)


def _is_picture(path: Path) -> bool:
    """Tell whether a file of an unknown name ending, such as `.jpg_640x480`, begins like a picture."""
    try:
        with open_image(path):
            return True
    except Exception:  # noqa: BLE001  Pillow's plugins raise anything on what is no picture
        return False


def _in_folder(folder: Path) -> list[Source]:
    try:
        found = [
            _file(path) for path in sorted(folder.iterdir()) if path.is_file() and _wanted(path)
        ]
    except OSError as error:
        raise SourceError(
            f"cannot read folder {folder}: {(error.strerror or str(error)).lower()}; check its permissions"
        ) from error
    if not found:
        inside = any(path.is_dir() for path in folder.iterdir())
        mend = (
            f"for those in its folders give the glob '{folder / '**' / '*'}'"
            if inside
            else "check the path"
        )
        raise SourceError(f"no picture or video in {folder}; {mend}")
    return found


def _in_list(path: Path) -> list[Source]:
    found: list[Source] = []
    for line in read_image_list(path, SourceError):
        beside = path.parent / line
        entry = beside if not Path(line).exists() and beside.exists() else Path(line)
        try:
            is_list = (
                entry.suffix.lower() == ".txt" and "://" not in line
            )  # a list in a list could hold itself
            found += (
                [VideoSource(entry)]
                if is_list
                else open_sources(line if "://" in line else str(entry))
            )
        except SourceError:
            found.append(
                _file(entry)
            )  # reported when its turn comes, as other bad files of a batch
    if not found:
        raise SourceError(f"the list {path} is empty; write a path on each line")
    return found


def http_request(
    url: str, data: bytes | None = None, headers: Mapping[str, str] | None = None
) -> urllib.request.Request:
    """Return a request for an http(s) address, with `data` to post; a name and password in it are sent as HTTP has them.

    Raises:
        ValueError: no valid address; the text may have a part of a password.
    """
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
    """Yield the frames of whatever FFmpeg opens."""
    import av

    begun = time.monotonic()
    try:
        container = av.open(
            url, timeout=(TIMEOUT, TIMEOUT), options=options or {}, metadata_errors="replace"
        )
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = (
            _reason(error) if time.monotonic() - begun < TIMEOUT else _SILENT.format(TIMEOUT)
        )  # RTSP calls that invalid data
        raise SourceError(
            f"cannot read {name}: {reason}; check that it is a video and can be reached"
        ) from error
    with ExitStack() as closing:
        closing.enter_context(container)
        if not container.streams.video:
            raise SourceError(
                f"cannot read {name}: there is no picture in it, only {_contents(container)}; give a video"
            )
        if container.duration is None and "://" in url:
            closing.pop_all()
            yield from _follow(container, name, vid_stride)
        else:
            yield from _whole(container, name, vid_stride)


def _whole(container: Any, name: str, vid_stride: int) -> Iterator[Frame]:
    """Yield every frame of a video with an end; raise a SourceError there if any of it was damaged or missing."""
    import av
    from av.video.reformatter import VideoReformatter

    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    known = stream.frames or round((container.duration or 0) / av.time_base * rate)
    total = -(-known // vid_stride) if known else None
    reformatter = VideoReformatter()
    index = packets = damaged = 0
    start: float | None = None
    moment, error_text = 0.0, ""
    packets_left = container.demux(stream)
    while True:
        try:
            packet = next(packets_left)
        except StopIteration:
            break
        except (av.FFmpegError, OSError) as error:
            error_text = _reason(error)
            break
        packets += packet.size > 0
        damaged += packet.is_corrupt
        try:
            decoded = packet.decode()
        except av.FFmpegError:
            damaged += 1
            continue
        for picture in decoded:
            now = picture.time
            start = now if start is None else start
            moment = index / float(rate) if now is None or start is None else now - start
            if index % vid_stride == 0:
                yield Frame(
                    _upright(reformatter, picture),
                    name,
                    index,
                    moment,
                    "video",
                    rate / vid_stride,
                    total,
                )
            index += 1
    alone = len(container.streams) == 1 and container.duration is not None
    short = packets < stream.frames or (
        alone and moment + 2 < (container.duration or 0) / av.time_base
    )
    if error_text or damaged or short or not index:
        found = (
            "it has no frame that can be decoded"
            if not index
            else f"it is damaged or breaks off: {counted(index, 'frame')} of {known or 'it'} is all that can be read"
        )
        raise SourceError(
            f"cannot read all of {name}: {found}{f' ({error_text})' if error_text else ''}; copy or record it again"
        )


def _follow(container: Any, name: str, vid_stride: int) -> Iterator[Frame]:
    """Yield the frames of a live stream while they are new, timed by their arrival, and close the container.

    What a stream says of its own time can be anything: FFmpeg counts MJPEG over HTTP as 25 frames a second.
    """
    import av
    from av.video.reformatter import VideoReformatter

    stream = container.streams.video[0]
    stream.thread_type = "SLICE"  # threads that take a frame each would hold back as many
    decoder, reformatter = stream.codec_context, VideoReformatter()
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    rate = Fraction(rate).limit_denominator(1001) if 1 <= rate <= MOST_RATE else Fraction(25)
    index = wanted = skipped = 0
    start: float | None = None
    packets = _Packets(container, stream)
    try:
        for packet, taken, left_out in packets:
            index, skipped = index + left_out, skipped + left_out
            start = taken if start is None else start
            try:
                decoded = decoder.decode(packet)
            except av.FFmpegError:  # lost on the way; the next keyframe mends it
                continue
            for picture in decoded if not packet.is_corrupt else ():
                if index >= wanted:
                    image = _upright(reformatter, picture)
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
        found = f"it broke off after {counted(index, 'frame')}" if index else "it gives no picture"
        reason = f" ({_reason(packets.error)})" if packets.error else ""
        raise SourceError(f"cannot read {name}: {found}{reason}; check the camera and the network")


class _Packets:
    """Takes a live stream's packets from the network at once, in a thread of its own, and iterates over those that are not too old.

    So nothing piles up in front of a slow decoder: a keyframe makes all packets before it needless. The thread closes the container.
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
        """Yield each packet, when it came, and how many before it were left out."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._over)
                if not self._waiting:
                    return
                packet, taken = self._waiting.popleft()
                left_out, self._left_out = self._left_out, 0
            yield packet, taken, left_out

    def close(self) -> None:
        """End the thread; while the server is silent that takes up to `TIMEOUT`, which is not waited for."""
        self._closed.set()
        self._thread.join(timeout=0.2)

    def _take(self) -> None:
        with self._container:
            try:
                for packet in self._container.demux(self._stream):
                    if self._closed.is_set():
                        break
                    self._put(packet)
            except Exception as error:  # noqa: BLE001  told where the packets are taken
                self.error = error
            with self._changed:
                self._over = True
                self._changed.notify_all()
            self._closed.wait()  # the decoder may still be at work

    def _put(self, packet: Any) -> None:
        taken = time.monotonic()
        with self._changed:
            if packet.is_keyframe or len(self._waiting) >= MOST_PACKETS:
                self._left_out += len(self._waiting)
                self._waiting.clear()
                self._until_keyframe = not packet.is_keyframe
            if self._until_keyframe:
                self._left_out += 1
                return
            self._waiting.append((packet, taken))
            self._changed.notify_all()


def _upright(reformatter: Any, picture: Any) -> ImageArray:
    """Return a decoded picture as BGR, turned as the camera was held."""
    made = reformatter.reformat(picture, format="bgr24")
    if made is picture:  # which the decoder may still need
        image: ImageArray = made.to_ndarray()
    else:
        rows = np.frombuffer(made.planes[0], np.uint8).reshape(
            made.height, made.planes[0].line_size
        )
        image = np.ascontiguousarray(rows[:, : 3 * made.width]).reshape(
            made.height, made.width, 3
        )  # copied only if rows are padded
    return (
        np.ascontiguousarray(np.rot90(image, k=picture.rotation // 90))
        if picture.rotation % 360
        else image
    )


def _reason(error: BaseException) -> str:
    if (
        type(error).__name__ == "ExitError"
    ):  # FFmpeg's "immediate exit requested": PyAV stopped waiting
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
