"""Outputs: annotated images and videos, JSONL, YOLO label files, crops, a window."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from maskyolo.core.boxes import as_boxes
from maskyolo.core.classes import CLASS_NAMES
from maskyolo.core.files import write_atomic
from maskyolo.core.images import write_image
from maskyolo.core.labels import Labels, format_yolo
from maskyolo.errors import OutputError, output_errors
from maskyolo.runtime.drawing import confidences_of
from maskyolo.runtime.frames import Frame
from maskyolo.runtime.results import NullSink, Result
from maskyolo.runtime.video_writer import VideoWriter

if TYPE_CHECKING:
    import supervision as sv

__all__ = ["Crops", "Drawings", "LabelFiles", "class_ids_of"]

#: Suffixes of the formats that annotated images are written in; any other becomes JPEG.
WRITABLE = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})
#: Images with more pixels are not written as WebP, whose encoder takes 24 bytes per pixel.
_MAX_WEBP = 12_000_000


class _Names:
    """Gives each source a unique name in one folder: its stem, or `stem_2`, … if that is taken.

    An image `clip_0` also blocks the name of a video `clip`, whose first frame's files would have
    the same name.

    Args:
        added: number of bytes that are added to a name. File systems allow 255 in all, so longer
            names are cut.
    """

    def __init__(self, added: int) -> None:
        self._longest = 255 - added
        self._names: dict[tuple[str, bool], str] = {}
        self._taken: set[tuple[str, bool]] = set()
        self._videos: set[str] = set()  # names that images block

    def __call__(self, frame: Frame) -> str:
        still = frame.kind == "image"
        if (frame.source, still) not in self._names:
            stem = _stem(frame)
            name, number = _cut(stem, self._longest), 1
            while self._is_taken(name.casefold(), still):
                number += 1
                ending = f"_{number}"
                name = _cut(stem, self._longest - len(ending)) + ending
            self._taken.add((name.casefold(), still))
            if still and (video := _video_of(name.casefold())):
                self._videos.add(video)
            self._names[frame.source, still] = name
        return self._names[frame.source, still]

    def _is_taken(self, name: str, still: bool) -> bool:
        other = (_video_of(name), False) in self._taken if still else name in self._videos
        return other or (name, still) in self._taken


class Drawings(NullSink):
    """Writes annotated images under their own names, and videos as `.mp4`, to `folder`.

    Args:
        folder: an existing folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._name = _Names(len(".jpg"))
        self._videos: dict[str, VideoWriter] = {}

    def write(self, result: Result) -> None:
        """Write an image or a video's next frame; see `Sink`."""
        frame = result.frame
        if frame.kind == "image":
            suffix = Path(frame.source).suffix
            height, width = result.drawn.shape[:2]
            large = suffix.lower() == ".webp" and width * height > _MAX_WEBP
            suffix = ".jpg" if large or suffix.lower() not in WRITABLE else suffix
            path = self._folder / (self._name(frame) + suffix)
            source = Path(frame.source)
            if path.exists() and source.exists() and path.samefile(source):
                raise OutputError(
                    f"cannot write {path}: it is the source itself",
                    "choose another --project or --name",
                )
            write_image(path, result.drawn)
            return
        if frame.source not in self._videos:
            self._videos[frame.source] = VideoWriter(
                self._folder / f"{self._name(frame)}.mp4", frame.rate, timed=frame.kind == "live"
            )
        self._videos[frame.source].write(result.drawn, frame.time)

    def finish(self, source: str = "") -> None:
        """Close the video of the source that ended; see `Sink`."""
        with ExitStack() as stack:  # every one is closed, even if another cannot be
            for name in [source] if source else list(self._videos):
                if name in self._videos:
                    stack.callback(self._videos.pop(name).close)

    def close(self) -> None:
        """Close the open videos; see `Sink`."""
        self.finish()


class LabelFiles(NullSink):
    """Writes YOLO label files: `stem.txt` per image, `stem_FRAME.txt` per frame of a video.

    A file is empty if nothing was found.

    Args:
        folder: an existing folder.
        conf: add the confidence as a sixth number.
    """

    def __init__(self, folder: Path, conf: bool = False) -> None:
        self._folder, self._conf = folder, conf
        self._name = _Names(len("_1234567890.txt"))

    def write(self, result: Result) -> None:
        """Write a frame's file; see `Sink`."""
        found, frame = result.reported, result.frame
        text = format_yolo(
            Labels(as_boxes(found.xyxy), class_ids_of(found)), frame.width, frame.height
        )
        if self._conf:
            text = "".join(
                f"{line} {value:.6f}\n"
                for line, value in zip(text.splitlines(), confidences_of(found), strict=True)
            )
        write_atomic(self._folder / f"{self._name(frame)}{_place(frame)}.txt", text)


class Crops(NullSink):
    """Writes an image of each detection: `folder/CLASS/stem_NUMBER.jpg`.

    For a frame of a video, it is `stem_FRAME_NUMBER.jpg`.

    Args:
        folder: an existing folder.
        names: the classes that the detector reports.
    """

    def __init__(self, folder: Path, names: Sequence[str] = CLASS_NAMES) -> None:
        self._folder, self._names = folder, names
        self._name = _Names(len("_1234567890_12345.jpg"))
        with output_errors(folder):
            for name in names:
                (folder / name).mkdir(exist_ok=True)

    def write(self, result: Result) -> None:
        """Write a frame's crops; see `Sink`."""
        frame = result.frame
        stem = self._name(frame) + _place(frame)
        edges = np.concatenate(
            [np.floor(result.reported.xyxy[:, :2]), np.ceil(result.reported.xyxy[:, 2:])],
            axis=1,
        ).astype(int)
        for number, ((x1, y1, x2, y2), class_id) in enumerate(
            zip(edges, class_ids_of(result.reported), strict=True), 1
        ):
            crop = frame.image[y1:y2, x1:x2]
            if crop.size:  # a box can be empty after rounding
                write_image(self._folder / self._names[class_id] / f"{stem}_{number}.jpg", crop)


def class_ids_of(detections: sv.Detections) -> Any:
    """Return the class ids, int64 (n,), also if supervision stores None for no detections."""
    return np.zeros(0, np.int64) if detections.class_id is None else detections.class_id


def _video_of(name: str) -> str:
    """Return the name of the video whose frames' files could have this name, or an empty string."""
    found = re.fullmatch(r"(.+)_\d+", name)
    return found[1] if found else ""


def _cut(name: str, length: int) -> str:
    """Return the beginning of a file's name, at most `length` bytes and whole characters."""
    while len(os.fsencode(name)) > length:
        name = name[:-1]
    return name


def _place(frame: Frame) -> str:
    return "" if frame.kind == "image" else f"_{frame.index}"


def _stem(frame: Frame) -> str:
    """Return a name for a frame's source that is valid in every file system."""
    if "://" in frame.source:
        tail = frame.source.partition("://")[2].partition("?")[0].rstrip("/").rpartition("/")[2]
        stem = "".join(
            letter if letter.isalnum() or letter in "-_." else "_" for letter in Path(tail).stem
        )[:100]
        return stem or "stream"
    return f"camera{frame.source}" if frame.kind == "live" else Path(frame.source).stem
