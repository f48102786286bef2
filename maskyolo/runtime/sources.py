"""Finds out what a source is: images, folders, globs, lists, videos, cameras, network streams."""

from __future__ import annotations

import glob
import os
import re
import stat
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from maskyolo.core.decoding import open_image
from maskyolo.core.files import read_image_list
from maskyolo.core.images import IMAGE_SUFFIXES
from maskyolo.errors import MaskyoloError, SourceError
from maskyolo.runtime.addresses import display_name
from maskyolo.runtime.file_sources import (
    AnimationSource,
    ImageSource,
    NumberedImages,
    PipeSource,
    UnreadableSource,
    VideoSource,
    is_animation,
)
from maskyolo.runtime.frames import Source
from maskyolo.runtime.live_sources import CameraSource, StreamSource
from maskyolo.runtime.media_names import (
    ANIMATION_SUFFIXES,
    LIST_SUFFIXES,
    MEDIA_SUFFIXES,
    RAW_SUFFIXES,
    VIDEO_SUFFIXES,
)
from maskyolo.runtime.named_cameras import GivenSource, NamedCamera

__all__ = ["are_cameras", "are_live", "as_video", "numbered_pattern", "open_sources"]

_SUPPORTED = "use an image, video, folder, glob, list (.txt), camera number or URL"
#: Suffixes of video files that cameras use in the addresses of their streams, too.
_STREAM_SUFFIXES = frozenset({".mjpeg", ".mjpg", ".ts"})
#: The major device number of cameras (Video4Linux).
_CAMERA_MAJOR = 81


def open_sources(source: GivenSource | Sequence[GivenSource]) -> list[Source]:
    """Return the sources that `source` refers to, without opening them.

    - An existing path is that file or folder, whatever characters its name contains. A folder
      stands for the images and videos directly in it, sorted by name. A file that is named like
      an image or video but cannot be read is reported in its turn.
    - A number, or a device such as `/dev/video0`, is a camera, and `scheme://…` a URL.
    - `-` is a video on standard input, and a named pipe is a video, too.
    - A `.txt` or `.streams` file is a list of any of these, one per line. A relative path is looked
      up in the working folder, then next to the list.
    - A name with `%d` or `%04d`, such as `frame_%04d.png`, stands for images that are the frames of
      one video, in the order of their numbers.
    - A `NamedCamera` is one camera, stream or video with that name.
    - Anything else that contains `*`, `?` or `[` is a glob (`**` includes subfolders).
    - A sequence of several of these is all of them: files one after the other, cameras and streams
      at the same time (see `are_cameras`).

    Raises:
        SourceError: the file does not exist, the folder is empty, the glob has no match, the list
            is empty or unreadable, or a camera or stream is among files.
    """
    if isinstance(source, GivenSource):
        found = _open(source)
    else:
        given = list(source)
        if not given:
            raise SourceError("no source given", _SUPPORTED)
        found = _open(given[0]) if len(given) == 1 else []
        for entry in given if len(given) > 1 else ():
            found += _open(entry) if isinstance(entry, NamedCamera) else _open_entry(str(entry))
    live = [one for one in found if _never_ends(one)]
    files = [one for one in found if not isinstance(one, (CameraSource, StreamSource))]
    if live and files:
        raise SourceError(
            f"{live[0].name} is a camera or stream, which never ends, and {files[0].name} a file",
            "start one `maskyolo detect` for cameras and streams, and one for files",
        )
    return _number_same_names(found)


def are_cameras(sources: Sequence[Source]) -> bool:
    """Return whether these are several cameras or streams, which are read at the same time."""
    return len(sources) > 1 and are_live(sources)


def are_live(sources: Sequence[Source]) -> bool:
    """Return whether these are cameras and streams.

    Addresses over HTTP and FTP count as streams, unless all of them are named like images or
    videos.
    """
    if not all(isinstance(one, (CameraSource, StreamSource)) for one in sources):
        return False
    return any(_never_ends(one) or not _is_named_like_a_file(one) for one in sources)


def _is_named_like_a_file(source: Source) -> bool:
    if not isinstance(source, StreamSource) or source.title:
        return False
    path = urllib.parse.urlsplit(source.url).path
    return Path(path).suffix.lower() in (IMAGE_SUFFIXES | VIDEO_SUFFIXES) - _STREAM_SUFFIXES


def _open(source: GivenSource) -> list[Source]:
    if isinstance(source, NamedCamera):
        return [_named(source)]
    text = str(source)
    if not text:
        raise SourceError("no source given: the name is empty", _SUPPORTED)
    if isinstance(source, int) or (text.isascii() and text.isdigit()):
        return [CameraSource(int(text))]
    if text == "-":
        return [PipeSource()]
    if text.lower().startswith("file://"):
        text = urllib.request.url2pathname(urllib.parse.urlsplit(text).path)
    elif "://" in text:
        return [StreamSource(text)]
    path = Path(text)
    if path.is_dir():
        return _in_folder(path)
    if path.suffix.lower() in LIST_SUFFIXES and path.is_file():
        return _in_list(path)
    if path.exists() or re.fullmatch(r"/dev/video\d+", text):
        return [_existing(path)]
    if re.search(r"%0?\d*d", path.name):
        return [_numbered(path)]
    if glob.has_magic(text):
        matches = sorted(map(Path, glob.glob(text, recursive=True)))  # noqa: PTH207  Path.glob refuses absolute patterns
        found = list(filter(None, map(_listed, matches)))
        if not found:
            raise SourceError(f"no image or video matches {_shown(text)}", "check the pattern")
        return found
    raise SourceError(f"no source '{_shown(text)}': no such file or folder", _SUPPORTED)


def _named(camera: NamedCamera) -> Source:
    """Return the source of a camera with a name."""
    found = _open(camera.source)
    if len(found) == 1 and isinstance(
        found[0], (CameraSource, StreamSource, VideoSource, PipeSource)
    ):
        return replace(found[0], title=camera.name)
    raise SourceError(
        f"the source of '{camera.name}' is not one camera, stream or video",
        "give each camera its own address",
    )


def _shown(text: str) -> str:
    """Return the name of what does not exist; it may be an address with a mistake."""
    return display_name(f"://{text}")[3:] if "@" in text or "=" in text else text


def _never_ends(source: Source) -> bool:
    """Return whether a source is live for certain; behind HTTP and FTP there can be a file."""
    if isinstance(source, StreamSource):
        return bool(source.title) or source.scheme not in ("http", "https", "ftp")
    return isinstance(source, CameraSource)


def _number_same_names(sources: list[Source]) -> list[Source]:
    """Number the addresses that are shown alike, because only hidden parts of them differ."""
    names: dict[str, list[str]] = {}
    found: list[Source] = []
    for source in sources:
        if isinstance(source, StreamSource):
            urls = names.setdefault(source.name, [])
            if source.url not in urls:
                urls.append(source.url)
            source = replace(source, number=urls.index(source.url) + 1)
        found.append(source)
    return found


def _existing(path: Path) -> Source:
    """Return the source for a path that exists, also if it is a device or pipe."""
    number = _camera_number(path)
    if number is not None:
        return CameraSource(number)
    mode = path.stat().st_mode
    if stat.S_ISFIFO(mode):
        return PipeSource(path)
    if stat.S_ISREG(mode):
        return _file(path)
    kind = (
        "a device that is not a camera"
        if stat.S_ISCHR(mode)
        else "a disk"
        if stat.S_ISBLK(mode)
        else "a socket"
    )
    raise SourceError(f"cannot read {path}: it is {kind}", _SUPPORTED)


def _camera_number(path: Path) -> int | None:
    """Return the index of the camera that a path such as `/dev/v4l/by-id/…` belongs to, if any."""
    named = re.fullmatch(r"/dev/video(\d+)", os.path.realpath(path))
    if named:
        return int(named[1])
    status = path.stat()
    if not stat.S_ISCHR(status.st_mode) or os.major(status.st_rdev) != _CAMERA_MAJOR:
        return None
    minor = os.minor(status.st_rdev)
    known = re.fullmatch(
        r".*/video(\d+)", os.path.realpath(f"/sys/dev/char/{_CAMERA_MAJOR}:{minor}")
    )
    return int(known[1]) if known else minor


def _file(path: Path) -> Source:
    suffix = path.suffix.lower()
    if suffix in VIDEO_SUFFIXES:
        return VideoSource(path)
    if suffix in RAW_SUFFIXES:
        error = SourceError(
            f"cannot read {path}: raw photos are not supported", "convert it to JPEG"
        )
        return UnreadableSource(str(path), error)
    if suffix in IMAGE_SUFFIXES - ANIMATION_SUFFIXES:
        return ImageSource(path)
    image = _image(path)
    return image or (ImageSource(path) if suffix in IMAGE_SUFFIXES else VideoSource(path))


def _image(path: Path) -> Source | None:
    """Return the source for an image, also with an unusual suffix such as `.jpg_640x480`."""
    try:
        with open_image(path) as image:
            return AnimationSource(path) if is_animation(image) else ImageSource(path)
    except Exception:  # noqa: BLE001  Pillow's plugins can raise any error on other files
        return None


def _wanted(path: Path) -> bool:
    """Return whether a file in a folder is an image or video, or is named like one."""
    if path.name.startswith("."):
        return False
    return path.suffix.lower() in MEDIA_SUFFIXES or _image(path) is not None


def _listed(path: Path) -> Source | None:
    """Return the source for a path in a folder; None if it is a folder or no image or video."""
    if path.is_file():
        return _file(path) if _wanted(path) else None
    hidden = path.name.startswith(".")
    if path.is_dir() or hidden or path.suffix.lower() not in MEDIA_SUFFIXES:
        return None
    found = "a special file" if path.exists() else "a link to a file that does not exist"
    error = SourceError(
        f"cannot read {path}: it is {found}", "replace it with the file, or remove it"
    )
    return UnreadableSource(str(path), error)


def _in_folder(folder: Path) -> list[Source]:
    try:
        found = list(filter(None, map(_listed, sorted(folder.iterdir()))))
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


def _numbered(pattern: Path) -> NumberedImages:
    """Return the images whose names match a pattern such as `frame_%04d.png`."""
    before, directive, after = re.split(r"(%0?\d*d)", pattern.name, maxsplit=1)
    width = int(re.sub(r"\D", "", directive) or 1)
    name = re.compile(f"{re.escape(before)}(\\d{{{width},}}){re.escape(after)}")
    found = [
        (int(match[1]), path.name)
        for path in (pattern.parent.iterdir() if pattern.parent.is_dir() else ())
        if (match := name.fullmatch(path.name)) and path.is_file()
    ]
    if not found:
        raise SourceError(f"no image matches {_shown(str(pattern))}", "check the pattern")
    return NumberedImages(str(pattern), [pattern.parent / name for _, name in sorted(found)])


def numbered_pattern(sources: Sequence[Source]) -> str:
    """Return the pattern by which images with numbered names are read as a video, or ''.

    Example:
        >>> numbered_pattern([ImageSource(Path("a/f_001.png")), ImageSource(Path("a/f_002.png"))])
        'a/f_%03d.png'
    """
    found: Counter[Path] = Counter()
    for source in sources:
        if isinstance(source, ImageSource):
            stem, digits, tail = re.fullmatch(r"(.*?)(\d*)(\D*)", source.path.name).groups()  # type: ignore[union-attr]
            width = f"0{len(digits)}" if digits.startswith("0") else ""
            if digits:
                found[source.path.with_name(f"{stem}%{width}d{tail}")] += 1
    common = found.most_common(1)
    return str(common[0][0]) if common and common[0][1] == len(sources) > 1 else ""


def as_video(sources: list[Source]) -> list[Source]:
    """Return images with numbered names as the frames of one video; anything else unchanged.

    Example:
        >>> as_video([ImageSource(Path("f_2.png")), ImageSource(Path("f_10.png"))])[0].name
        'f_%d.png'
    """
    pattern = numbered_pattern(sources)
    if not pattern:
        return sources
    before = Path(pattern).name.partition("%")[0]
    images = [one.path for one in sources if isinstance(one, ImageSource)]
    number = re.compile(r"\d+")
    order = sorted(images, key=lambda path: int(number.findall(path.name[len(before) :])[0]))
    return [NumberedImages(pattern, order)]


def _in_list(path: Path) -> list[Source]:
    found: list[Source] = []
    for line in read_image_list(path, SourceError):
        sibling = path.parent / line
        near = "://" not in line and not Path(line).exists() and sibling.exists()
        found += _open_entry(str(sibling) if near else line, nested=True)
    if not found:
        raise SourceError(f"the list {path} is empty", "write one path per line")
    return found


def _open_entry(text: str, nested: bool = False) -> list[Source]:
    """Return the sources of an entry of a list; what is wrong with it is reported in its turn."""
    if nested and "://" not in text and Path(text).suffix.lower() in LIST_SUFFIXES:
        return [VideoSource(Path(text))]  # no nested lists: one could contain itself
    try:
        return _open(text)
    except MaskyoloError as error:
        path = Path(text)
        return [_file(path) if not path.exists() else UnreadableSource(text, error)]
