"""Sources on the network and cameras: streams, and images and videos at a URL."""

from __future__ import annotations

import io
import re
import time
import urllib.error
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from http import HTTPStatus
from http.client import HTTPException, InvalidURL
from typing import Any

import cv2
import numpy as np

from maskyolo.core.decoding import open_image
from maskyolo.core.images import decode_image
from maskyolo.core.text import printable
from maskyolo.errors import SourceError
from maskyolo.runtime import ffmpeg
from maskyolo.runtime.addresses import display_name
from maskyolo.runtime.downloads import MAX_DOWNLOAD, NoRedirects, http_request, open_url
from maskyolo.runtime.ffmpeg import Access
from maskyolo.runtime.file_sources import decode_animation, is_animation, is_playlist
from maskyolo.runtime.frames import Frame
from maskyolo.runtime.live_stream import MAX_RATE, broke_off_message
from maskyolo.runtime.video import decode_video

__all__ = ["CameraSource", "StreamSource"]

#: Seconds for the download of an image, or of a segment of a playlist.
DOWNLOAD_TIME = 60.0
#: The protocols that FFmpeg may use for an address of each scheme.
_WEB = "http,https,httpproxy,tcp,tls"
_RTSP = "rtsp,rtp,srtp,udp,tcp,tls"
_RTMP = f"rtmp,rtmpe,rtmps,rtmpt,rtmpte,rtmpts,ffrtmphttp,ffrtmpcrypt,{_WEB}"
PROTOCOLS = {
    "http": _WEB,
    "https": _WEB,
    "rtsp": _RTSP,
    "rtsps": _RTSP,
    **dict.fromkeys(("rtmp", "rtmpe", "rtmps", "rtmpt", "rtmpte", "rtmpts"), _RTMP),
    "rtp": "rtp,udp",
    "srt": "srt,udp",
    "tcp": "tcp",
    "udp": "udp",
    "ftp": "ftp,tcp",
    "mmsh": f"mmsh,{_WEB}",
    "mmst": "mmst,tcp",
}
#: Do not wait for frames just to measure their rate.
_AT_ONCE = {"fpsprobesize": "0"}
_PLAYLIST_OPTIONS = {"http_persistent": "0", "http_multiple": "0"}  # both bypass io_open
#: How images begin: JPEG, PNG, GIF, WebP, BMP, TIFF, PNM, AVIF and HEIF, JPEG 2000.
_IMAGE = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n|GIF8|RIFF....WEBP|BM|II\*\0|MM\0\*|P[1-6]\s|"
    rb"....ftyp(avi[fs]|hei[cxms]|mif1|msf1)|\0\0\0\x0cjP  ",
    re.DOTALL,
)
#: Where one JPEG ends and the next begins. A few phones store a second one behind a photo.
_NEXT_JPEG = re.compile(rb"\xff\xd9\s*\xff\xd8\xff")
MIN_JPEGS = 3


@dataclass(frozen=True)
class CameraSource:
    """A camera of this machine, by its index.

    Attributes:
        index: its index.
        title: what it is called; empty: its index.
    """

    index: int
    title: str = ""

    @property
    def name(self) -> str:
        """The title, or the index as text."""
        return self.title or str(self.index)

    @property
    def may_be_away(self) -> bool:
        """Whether it need not be there at the start."""
        return bool(self.title)

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
    """A URL: an image or video over HTTP(S), or a stream such as RTSP.

    Attributes:
        url: the address, with its password.
        number: distinguishes addresses that differ only in hidden parts.
        title: what it is called; empty: the address without its password.
    """

    url: str
    number: int = 1
    title: str = ""

    @property
    def may_be_away(self) -> bool:
        """Whether it need not be there at the start."""
        return bool(self.title)

    @property
    def name(self) -> str:
        """The title, or the URL without its password."""
        if self.title:
            return self.title
        return display_name(self.url) + (f"#{self.number}" if self.number > 1 else "")

    @property
    def scheme(self) -> str:
        """The URL's scheme, in lower case."""
        return self.url.partition("://")[0].lower()

    def frames(self, vid_stride: int = 1) -> Iterator[Frame]:
        """Yield the image or the frames at the URL; see `Source`."""
        protocols = PROTOCOLS.get(self.scheme)
        if protocols is None:
            raise SourceError(
                f"cannot read {self.name}: addresses of this kind are not supported",
                f"use one of {', '.join(sorted(PROTOCOLS))}",
            )
        if self.scheme in ("http", "https"):
            yield from self._from_web(vid_stride)
            return
        options = {"rtsp_transport": "tcp", **_AT_ONCE} if protocols == _RTSP else _AT_ONCE
        yield from decode_video(self.url, self.name, vid_stride, Access(protocols, options=options))

    def _from_web(self, vid_stride: int) -> Iterator[Frame]:
        """Yield what is at an HTTP(S) URL."""
        found = self._look()
        if not isinstance(found, bytes):
            url, access = found
            yield from decode_video(url, self.name, vid_stride, access)
        elif len(_NEXT_JPEG.findall(found)) >= MIN_JPEGS - 1:
            yield from decode_video(io.BytesIO(found), self.name, vid_stride)
        elif _is_animated(found):
            yield from decode_animation(found, self.name, vid_stride)
        else:
            yield Frame(decode_image(found, self.name), self.name, total=1)

    def _look(self) -> bytes | tuple[str, Access]:
        """Return the image at an HTTP(S) URL, or the URL and how FFmpeg may open it.

        The headers and the first bytes determine which, because servers often send a wrong type.
        """
        try:
            with open_url(http_request(self.url), ffmpeg.TIMEOUT, DOWNLOAD_TIME) as answer:
                kind = answer.headers.get_content_maintype()
                start = b"" if kind == "multipart" else answer.peek(512)[:512]
                ends = answer.headers["Content-Length"] is not None
                if kind == "image" or (kind != "video" and _IMAGE.match(start)):
                    data = self._read_image(answer, motion=not ends and kind != "image")
                    if data is not None:
                        return data
                if is_playlist(start):
                    return self._playlist(answer.url)
                return self.url, Access(_WEB, options={} if ends else _AT_ONCE, ends=ends)
        except urllib.error.HTTPError as error:
            error.close()
            if (
                error.code == HTTPStatus.UNAUTHORIZED
                and "@" in urllib.parse.urlsplit(self.url).netloc
            ):
                return self.url, Access(_WEB)  # FFmpeg supports more authentication methods
            raise self._unreachable(error) from None
        except (ValueError, InvalidURL):  # its text may contain part of a password
            raise SourceError(
                f"cannot read {self.name}: not a valid URL",
                "check it, and write / and @ in a password as %2F and %40",
            ) from None
        except (OSError, HTTPException) as error:  # URLError and timeouts are OSErrors
            raise self._unreachable(error) from None

    def _read_image(self, answer: Any, motion: bool) -> bytes | None:
        """Read the whole answer.

        Args:
            answer: what the server sends.
            motion: return None if it turns out to be an endless row of JPEG images.
        """
        data, jpegs = bytearray(), 0
        while block := answer.read1(1 << 16):
            data += block
            if len(data) > MAX_DOWNLOAD:
                raise SourceError(
                    f"cannot read {self.name}: larger than {MAX_DOWNLOAD >> 20} MB",
                    "download it first",
                )
            if motion:
                jpegs += len(_NEXT_JPEG.findall(data[-len(block) - 8 :]))
                if jpegs >= MIN_JPEGS - 1:
                    return None
        return bytes(data)

    def _playlist(self, url: str) -> tuple[str, Access]:
        """Return how to open an HLS playlist, which may only name its own host."""
        host = urllib.parse.urlsplit(url).netloc
        url = self.url if urllib.parse.urlsplit(self.url).netloc.endswith(host) else url

        def io_open(part: str, flags: int, options: dict[str, str]) -> Any:
            del flags
            parts = urllib.parse.urlsplit(part)
            if parts.scheme not in ("http", "https") or parts.netloc.rpartition("@")[2] != host:
                raise SourceError(
                    f"cannot read {self.name}: its playlist names another host or a file, "
                    f"{display_name(part)}",
                    "use the address of the video itself",
                )
            headers = {}
            if "offset" in options or "end_offset" in options:
                last = int(options.get("end_offset", 0)) - 1
                headers["Range"] = f"bytes={options.get('offset', 0)}-{last if last > 0 else ''}"
            request = http_request(part, headers=headers)
            return open_url(request, ffmpeg.TIMEOUT, DOWNLOAD_TIME, NoRedirects())

        return url, Access(_WEB, "hls", _PLAYLIST_OPTIONS, io_open)

    def _unreachable(self, error: Exception) -> SourceError:
        reason = getattr(error, "reason", None) or error
        return SourceError(
            f"cannot read {self.name}: {printable(' '.join(str(reason).split()))[:200].lower()}",
            "check the URL and the network",
        )


def _is_animated(data: bytes) -> bool:
    try:
        with open_image(io.BytesIO(data)) as image:
            return is_animation(image)
    except Exception:  # noqa: BLE001  Pillow's plugins can raise any error; decoding reports it
        return False


@contextmanager
def _quiet_opencv() -> Iterator[None]:
    """Keep OpenCV from writing its own warnings to stderr."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)
