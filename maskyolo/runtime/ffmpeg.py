"""Opens videos and streams with FFmpeg, within limits of time, memory, formats and protocols."""

from __future__ import annotations

import ctypes
import functools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from maskyolo.errors import SourceError

__all__ = [
    "FILE",
    "MAX_PIXELS",
    "TIMEOUT",
    "Access",
    "open_video",
    "reason_of",
]

#: Seconds to wait for a URL to answer, or for the next packet of a stream.
TIMEOUT = 10.0
#: Maximum number of pixels of a frame: what level 6 of H.264, H.265 and AV1 allows, 8192 x 4352. It
#: is lower than an image's, because a decoder keeps several frames.
MAX_PIXELS = 8192 * 4352
#: Maximum bytes of a single allocation of FFmpeg, and so of a packet; a stream may declare any
#: size. The largest raw frame with 16 bits per sample fits.
MAX_ALLOCATION = 256 << 20
#: Formats that are read, by FFmpeg's names. Playlists (hls, dash, concat, sdp), numbered images
#: (image2) and formats that read files beside theirs are missing on purpose: a file or stream from
#: a stranger must not open anything else.
_FORMATS = (
    "apng,asf,av1,avi,avs2,avs3,cavsvideo,cine,dhav,dirac,dnxhd,dv,evc,flv,gif,gif_pipe,gxf,"
    "h261,h263,h264,hevc,hxvs,ingenient,ipmovie,ivf,ivr,kux,live_flv,lmlm4,lxf,m4v,matroska,mjpeg,"
    "mjpeg_2000,moflex,mov,mpeg,mpegts,mpegvideo,mpjpeg,msnwctcp,mxf,mxg,nsv,nut,nuv,obu,ogg,pva,"
    "rm,roq,rtsp,ser,smjpeg,smk,swf,ty,vc1,vc1test,vivo,vvc,wtv,yuv4mpegpipe,"
    "bmp_pipe,j2k_pipe,jpeg_pipe,jpegls_pipe,jpegxl_anim,jpegxl_pipe,pam_pipe,pbm_pipe,pcx_pipe,"
    "pgm_pipe,png_pipe,ppm_pipe,qoi_pipe,sgi_pipe,sunrast_pipe,tiff_pipe,webp_pipe,xbm_pipe,"
    "aac,ac3,aiff,au,caf,flac,mp3,wav"  # so that the error can say that it is audio
)
_UNREACHABLE = "check that it is a video and can be reached"


@dataclass(frozen=True)
class Access:
    """What FFmpeg may use for a source.

    Attributes:
        protocols: FFmpeg's names of protocols, separated by commas.
        formats: formats beyond those that any source may have.
        options: further options for FFmpeg.
        io_open: opens every URL of the source, instead of FFmpeg.
        ends: whether the source is known to have an end, such as a file.
    """

    protocols: str
    formats: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    io_open: Callable[[str, int, dict[str, str]], Any] | None = None
    ends: bool = False


#: A local file, pipe or device.
FILE = Access("file", ends=True)


def open_video(url: Any, name: str, access: Access) -> tuple[Any, Any]:
    """Open a URL, or a file object, and return PyAV's container, to be closed, and a video stream.

    Raises:
        SourceError: it cannot be opened, it is not a video, or its frames are too large.
    """
    import av

    _limit_allocations()
    begun = time.monotonic()
    options = {
        "format_whitelist": f"{_FORMATS},{access.formats}",
        "protocol_whitelist": access.protocols,
        "max_pixels": str(MAX_PIXELS),
    }
    try:
        container = av.open(
            url,
            timeout=(TIMEOUT, TIMEOUT),
            options={**options, **access.options},
            io_open=access.io_open,
            **_metadata(av.__version__),
        )
    except (av.FFmpegError, OSError, ValueError) as error:
        # RTSP reports a timeout as invalid data
        timed_out = time.monotonic() - begun >= TIMEOUT
        reason = _silent() if timed_out else reason_of(error)
        # FFmpeg's error contains the URL with its password, so it must not be chained
        raise SourceError(f"cannot read {name}: {reason}", _UNREACHABLE) from None
    try:
        return container, _video_stream(container, name)
    except BaseException:
        container.close()
        raise


def _metadata(version: str) -> dict[str, str]:
    """Return the arguments with which titles and tags that are not UTF-8 are no error.

    PyAV 19 has no such argument: it never raises an error for them.
    """
    return {"metadata_errors": "replace"} if int(version.split(".")[0]) < 19 else {}


def _video_stream(container: Any, name: str) -> Any:
    """Return the first stream of video that is not a cover."""
    from av.stream import Disposition

    found = list(container.streams.video)
    if not found:
        contents = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise SourceError(
            f"cannot read {name}: it contains no images, only {contents}", "use a video"
        )
    stream = next(
        (one for one in found if not one.disposition & Disposition.attached_pic), found[0]
    )
    if stream.codec_context is None:
        raise SourceError(f"cannot read {name}: its codec is not supported", "convert it to H.264")
    width, height = stream.codec_context.width, stream.codec_context.height
    if width * height > MAX_PIXELS:
        raise SourceError(
            f"cannot read {name}: its frames have {width} x {height} pixels, more than "
            f"{MAX_PIXELS // 10**6} megapixels",
            "scale the video down first",
        )
    stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
    return stream


def reason_of(error: BaseException) -> str:
    """Return why FFmpeg failed, in lower case and without any URL."""
    if type(error).__name__ == "ExitError":  # "immediate exit requested": PyAV stopped waiting
        return _silent()
    if type(error).__name__ == "ArgumentError":  # excluded by _FORMATS, or damaged
        return "it is damaged, or not in a supported video format"
    if isinstance(error, MemoryError):
        return f"a part of it is larger than {MAX_ALLOCATION >> 20} MB"
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(text.split()).lower()


def _silent() -> str:
    return f"no answer within {TIMEOUT:g} s"


@functools.cache
def _limit_allocations() -> None:
    """Limit each allocation of FFmpeg in this process.

    PyAV does not offer this function of FFmpeg, but its extension modules are linked to it. On
    Windows, it cannot be found this way.
    """
    import av.buffer

    try:
        limit = ctypes.CDLL(av.buffer.__file__).av_max_alloc
    except (OSError, AttributeError):
        return
    limit.argtypes, limit.restype = [ctypes.c_size_t], None
    limit(MAX_ALLOCATION)
