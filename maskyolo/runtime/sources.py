"""Frames from any source: images, folders, globs, lists, videos, cameras, network streams."""

from __future__ import annotations

import glob
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from http import HTTPStatus
from http.client import HTTPException, InvalidURL
from pathlib import Path

import cv2
import numpy as np

from maskyolo.core.files import read_image_list
from maskyolo.core.images import IMAGE_SUFFIXES, decode_image, open_image, read_image
from maskyolo.errors import SourceError
from maskyolo.runtime import video
from maskyolo.runtime.addresses import display_name, http_request
from maskyolo.runtime.frames import Frame, Source
from maskyolo.runtime.video import MAX_RATE, broke_off_message, decode_video

__all__ = [
    "VIDEO_SUFFIXES",
    "CameraSource",
    "ImageSource",
    "StreamSource",
    "VideoSource",
    "open_sources",
]

#: Suffixes of files in a folder that are read as videos; the content determines the format.
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
#: Maximum size in bytes of an image that is downloaded.
MAX_DOWNLOAD = 256 << 20
_SUPPORTED = "use an image, video, folder, glob, list (.txt), camera number or URL"


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
        yield from decode_video(f"file:{self.path}", self.name, vid_stride)


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
                        f"cannot read camera {self.index}: {broke_off_message(index)}",
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
    """A URL: an image or video over HTTP(S), or a stream such as RTSP."""

    url: str

    @property
    def name(self) -> str:
        """The URL without its password."""
        return display_name(self.url)

    def frames(self, vid_stride: int = 1) -> Iterator[Frame]:
        """Yield the image or the frames at the URL; see `Source`."""
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
        yield from decode_video(self.url, self.name, vid_stride, options)

    def _download_image(self) -> bytes | None:
        """Return the bytes if the server declares an image, else None."""
        try:
            with urllib.request.urlopen(http_request(self.url), timeout=video.TIMEOUT) as answer:  # noqa: S310
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
                f"cannot read {self.name}: not a valid URL",
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
            "check the URL and the network",
        )


def open_sources(source: str | int | Path) -> list[Source]:
    """Return the sources that `source` refers to, without opening them.

    - An existing path is that file or folder, whatever characters its name contains. A folder
      stands for the images and videos directly in it, sorted by name.
    - A number is a camera, and `scheme://…` a URL.
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
    """Return whether a file with an unusual suffix, such as `.jpg_640x480`, is an image."""
    try:
        with open_image(path):
            return True
    except Exception:  # noqa: BLE001  Pillow's plugins can raise any error on other files
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
        except SourceError:  # reported when it is its turn, like other unreadable files
            found.append(_file(entry))
    if not found:
        raise SourceError(f"the list {path} is empty", "write one path per line")
    return found


@contextmanager
def _quiet_opencv() -> Iterator[None]:
    """Keep OpenCV from writing its own warnings to stderr."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)
