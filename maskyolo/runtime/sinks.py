"""Outputs: annotated images and videos, JSONL, YOLO label files, crops, a window."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np

from maskyolo.boxes import as_boxes
from maskyolo.core.classes import CLASS_NAMES
from maskyolo.core.files import write_atomic
from maskyolo.errors import OutputError, output_errors
from maskyolo.images import ImageArray, write_image
from maskyolo.interrupts import uninterrupted
from maskyolo.labels import Labels, format_yolo
from maskyolo.sources import Frame

if TYPE_CHECKING:
    import supervision as sv

__all__ = [
    "Crops",
    "Drawings",
    "JsonLines",
    "LabelFiles",
    "LineFile",
    "NullSink",
    "Quit",
    "Result",
    "Sink",
    "Sinks",
    "VideoWriter",
    "Window",
    "draw_detections",
    "json_record",
]

#: Colors of the classes, as hex: green with a mask, red without; dark enough for white text.
COLORS = ("#008c3a", "#d0021b")

#: Settings of x264. The quality is that of `veryfast` with 23, in two thirds of the time and a file
#: that is a quarter larger; a short lookahead halves the memory.
_ENCODING = {"preset": "superfast", "crf": "27", "rc-lookahead": "2", "bf": "1"}

#: Suffixes of the formats that annotated images are written in; any other becomes JPEG.
WRITABLE = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})


class Quit(Exception):  # noqa: N818  not an error
    """The user closed the window or pressed `q`."""


@dataclass(frozen=True)
class Result:
    """A frame and its detections.

    Attributes:
        overlay: draws what the run adds to an annotated frame, such as a zone.
    """

    frame: Frame
    detections: sv.Detections
    overlay: Callable[[ImageArray], None] | None = None

    @cached_property
    def drawn(self) -> ImageArray:
        """A copy of the frame with detections and overlay drawn, made once for all sinks."""
        drawn = draw_detections(self.frame.image, self.detections)
        if self.overlay:
            self.overlay(drawn)
        return drawn


class Sink(Protocol):
    """Receives the results of one run, in order."""

    def write(self, result: Result) -> None:
        """Write one result.

        Raises:
            OutputError: no space left, or no permission.
        """
        ...

    def fail(self, source: str, index: int, error: str) -> None:
        """Record that `source` could not be read from frame `index` on."""
        ...

    def finish(self) -> None:
        """Complete the outputs of the source that has just ended."""
        ...

    def close(self) -> None:
        """Complete everything, so that all results are on disk and every file is whole."""
        ...


class NullSink:
    """Ignores everything; base of sinks that need only part of the protocol."""

    def write(self, result: Result) -> None:
        """Ignore it; see `Sink`."""

    def fail(self, source: str, index: int, error: str) -> None:
        """Ignore it; see `Sink`."""

    def finish(self) -> None:
        """Do nothing; see `Sink`."""

    def close(self) -> None:
        """Do nothing; see `Sink`."""


class Sinks:
    """Several sinks as one, opened at the first result.

    A run that finds nothing to read therefore leaves no files.

    Args:
        make: opens the sinks one by one.
    """

    def __init__(self, make: Callable[[], Iterable[Sink]]) -> None:
        self._make = make
        self._sinks: list[Sink] | None = None
        self._closing = ExitStack()

    def write(self, result: Result) -> None:
        """Pass a result to each sink; see `Sink`."""
        for sink in self._open():
            sink.write(result)

    def fail(self, source: str, index: int, error: str) -> None:
        """Inform each sink; see `Sink`."""
        for sink in self._open():
            sink.fail(source, index, error)

    def finish(self) -> None:
        """Inform each sink; see `Sink`."""
        for sink in self._sinks or []:
            sink.finish()

    def close(self) -> None:
        """Close every sink, even if one fails, and however often Ctrl-C is pressed; see `Sink`."""
        with uninterrupted():
            self._closing.close()

    def _open(self) -> list[Sink]:
        if self._sinks is None:
            self._sinks = []
            for sink in self._make():
                self._closing.callback(sink.close)
                self._sinks.append(sink)
        return self._sinks


class _Names:
    """Gives each source a unique name in one folder: its stem, or `stem_2`, … if that is taken.

    An image `clip_0` also blocks the name of a video `clip`, whose first frame's files would have
    the same name.
    """

    def __init__(self) -> None:
        self._names: dict[tuple[str, bool], str] = {}
        self._taken: set[tuple[str, bool]] = set()
        self._videos: set[str] = set()  # names that images block

    def __call__(self, frame: Frame) -> str:
        still = frame.kind == "image"
        if (frame.source, still) not in self._names:
            stem = name = _stem(frame)
            number = 1
            while self._is_taken(name.casefold(), still):
                number += 1
                name = f"{stem}_{number}"
            self._taken.add((name.casefold(), still))
            if still and (video := _video_of(name.casefold())):
                self._videos.add(video)
            self._names[frame.source, still] = name
        return self._names[frame.source, still]

    def _is_taken(self, name: str, still: bool) -> bool:
        other = (_video_of(name), False) in self._taken if still else name in self._videos
        return other or (name, still) in self._taken


class Drawings(NullSink):
    """Writes annotated images, under their own names, and videos, as `.mp4`, into `folder`.

    Args:
        folder: an existing folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._name = _Names()
        self._video: VideoWriter | None = None

    def write(self, result: Result) -> None:
        """Write an image or a video's next frame; see `Sink`."""
        frame = result.frame
        if frame.kind == "image":
            suffix = Path(frame.source).suffix
            suffix = suffix if suffix.lower() in WRITABLE else ".jpg"
            path = self._folder / (self._name(frame) + suffix)
            source = Path(frame.source)
            if path.exists() and source.exists() and path.samefile(source):
                raise OutputError(
                    f"cannot write {path}: it is the source itself",
                    "choose another --project or --name",
                )
            write_image(path, result.drawn)
            return
        if self._video is None:
            self._video = VideoWriter(
                self._folder / f"{self._name(frame)}.mp4", frame.rate, timed=frame.kind == "live"
            )
        self._video.write(result.drawn, frame.time)

    def finish(self) -> None:
        """Close the video of the source that ended; see `Sink`."""
        if self._video:
            video, self._video = self._video, None
            video.close()

    def close(self) -> None:
        """Close the open video; see `Sink`."""
        self.finish()


class VideoWriter:
    """Writes an H.264 MP4 that any player supports.

    It is written to a temporary file, which `close` moves into place. If the process is killed or
    the disk is full, the temporary file can be played up to its last second.

    Args:
        path: the `.mp4` to write.
        rate: frames per second.
        timed: give each frame the time passed to `write`, as a camera's frames are unevenly spaced,
            instead of a time by its index.

    Raises:
        OutputError: no space left, or no permission.
    """

    def __init__(self, path: Path, rate: Fraction, timed: bool = False) -> None:
        import av

        self._path = path
        self._part = path.with_name(path.name + ".part")
        self._timed, self._pts, self._count = timed, -1, 0
        self._base = Fraction(1, 1000) if timed else 1 / rate
        with output_errors(path):
            self._part.touch()
            # fragments keep the unfinished file playable; closing it replaces them by an index
            options = {
                "movflags": "hybrid_fragmented+negative_cts_offsets",
                "frag_duration": "1000000",
                "flush_packets": "1",
            }
            self._container = av.open(f"file:{self._part}", "w", format="mp4", options=options)
        self._stream = self._container.add_stream(
            "libx264", rate=rate.limit_denominator(100_000), options=_ENCODING
        )
        self._stream.pix_fmt = "yuv420p"
        if timed:
            self._stream.codec_context.time_base = self._base

    def write(self, image: ImageArray, time: float = 0.0) -> None:
        """Write one frame.

        Args:
            image: BGR uint8 (H, W, 3). It is scaled to the size of the first one; odd sides are
                padded by a pixel.
            time: time of the frame in seconds, if the video is `timed`.
        """
        import av

        height, width = image.shape[:2]
        even = (width + width % 2, height + height % 2)
        if not self._count:
            self._stream.width, self._stream.height = even
        size = (self._stream.width, self._stream.height)
        if even != size:
            image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        elif even != (width, height):
            image = np.asarray(
                cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE),
                np.uint8,
            )
        # from_ndarray would copy the image
        frame = av.VideoFrame.from_numpy_buffer(np.ascontiguousarray(image), format="bgr24")
        self._pts = max(self._pts + 1, round(time / self._base)) if self._timed else self._count
        frame.pts, frame.time_base = self._pts, self._base
        self._count += 1
        with output_errors(self._path):
            self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Complete the file and move it into place."""
        try:
            with output_errors(self._path):
                try:
                    self._container.mux(self._stream.encode(None))
                finally:
                    self._container.close()
                self._part.replace(self._path)
        except BaseException:
            if not self._count:  # a file without frames is of no use
                self._part.unlink(missing_ok=True)
            raise


class LineFile(NullSink):
    """Writes whole lines of text at once to `path + ".part"`, which `close` moves into place.

    The final file is therefore never incomplete, and the temporary one is always valid up to its
    last line, even after a crash. A pipe or device (`/dev/stdout`) is written to directly.

    Args:
        path: the file to write; `close` replaces an existing one.

    Raises:
        OutputError: no space left, no permission, or no such folder.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # our own standard output may be a plain file, which must not be replaced
        own = {"/dev/stdout": 1, "/dev/fd/1": 1, "/dev/stderr": 2, "/dev/fd/2": 2}.get(str(path))
        special = own is not None or (path.exists() and not path.is_file() and not path.is_dir())
        self._part = path if special else path.with_name(path.name + ".part")
        with output_errors(path):
            if path.is_dir():
                raise OutputError(f"cannot write {path}: it is a folder", "use the name of a file")
            if not special:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._file = (
                os.fdopen(os.dup(own), "wb", buffering=0)
                if own
                else self._part.open("wb", buffering=0)
            )
        self._size = 0

    def close(self) -> None:
        """Move the file into place; see `Sink`."""
        self._file.close()
        if self._part != self._path:
            with output_errors(self._path):
                self._part.replace(self._path)

    def line(self, text: str) -> None:
        """Write a line."""
        line = (text + "\n").encode(errors="backslashreplace")  # a file name may be invalid Unicode
        with output_errors(self._path):
            try:
                written = 0
                while written < len(line):
                    written += self._file.write(line[written:]) or 0
            except BaseException:  # leave no incomplete line
                if self._part != self._path:
                    self._file.truncate(self._size)
                    self._file.seek(self._size)
                raise
        self._size += len(line)


class JsonLines(LineFile):
    """Writes one line of JSON per frame; see `LineFile`."""

    def write(self, result: Result) -> None:
        """Write a frame's line; see `Sink`."""
        self.line(json.dumps(json_record(result), ensure_ascii=False))

    def fail(self, source: str, index: int, error: str) -> None:
        """Write a line with `error` and without `detections`; see `Sink`."""
        self.line(
            json.dumps({"source": source, "frame": index, "error": error}, ensure_ascii=False)
        )


class LabelFiles(NullSink):
    """Writes YOLO label files: `stem.txt` per image, `stem_FRAME.txt` per frame of a video.

    A file is empty if nothing was found.

    Args:
        folder: an existing folder.
        conf: add the confidence as a sixth number.
    """

    def __init__(self, folder: Path, conf: bool = False) -> None:
        self._folder, self._conf = folder, conf
        self._name = _Names()

    def write(self, result: Result) -> None:
        """Write a frame's file; see `Sink`."""
        found, frame = result.detections, result.frame
        height, width = frame.image.shape[:2]
        text = format_yolo(Labels(as_boxes(found.xyxy), _ids(found)), width, height)
        if self._conf:
            text = "".join(
                f"{line} {value:.6f}\n"
                for line, value in zip(text.splitlines(), _confidences(found), strict=True)
            )
        write_atomic(self._folder / f"{self._name(frame)}{_place(frame)}.txt", text)


class Crops(NullSink):
    """Writes an image of each detection: `folder/CLASS/stem_NUMBER.jpg`.

    For a frame of a video, it is `stem_FRAME_NUMBER.jpg`.

    Args:
        folder: an existing folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._name = _Names()
        with output_errors(folder):
            for name in CLASS_NAMES:
                (folder / name).mkdir(exist_ok=True)

    def write(self, result: Result) -> None:
        """Write a frame's crops; see `Sink`."""
        frame = result.frame
        stem = self._name(frame) + _place(frame)
        edges = np.concatenate(
            [np.floor(result.detections.xyxy[:, :2]), np.ceil(result.detections.xyxy[:, 2:])],
            axis=1,
        ).astype(int)
        for number, ((x1, y1, x2, y2), class_id) in enumerate(
            zip(edges, _ids(result.detections), strict=True), 1
        ):
            crop = frame.image[y1:y2, x1:x2]
            if crop.size:  # a box can be empty after rounding
                write_image(self._folder / CLASS_NAMES[class_id] / f"{stem}_{number}.jpg", crop)


class Window:
    """Shows annotated frames; `q` or Esc quits, any other key continues after a still image.

    Frames of a camera or stream are labeled with the time since they were taken.

    Raises:
        OutputError: no window can be opened here. A child process tries it first, because OpenCV
            aborts the process in which it fails.
    """

    TITLE = "maskyolo (q quits)"

    def __init__(self) -> None:
        if reason := _no_window():
            raise OutputError(
                f"cannot show a window: {reason}", "run without --show and open the saved images"
            )
        self._shape: tuple[int, ...] = ()

    def write(self, result: Result) -> None:
        """Show a frame.

        Raises:
            Quit: the user closed the window.
        """
        image = result.drawn
        if not self._shape:
            cv2.namedWindow(self.TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
        if image.shape != self._shape:
            self._shape = image.shape
            scale = min(1280 / image.shape[1], 720 / image.shape[0], 1)
            cv2.resizeWindow(
                self.TITLE,
                max(round(image.shape[1] * scale), 1),
                max(round(image.shape[0] * scale), 1),
            )
        if result.frame.kind == "live":
            latency = f"{1000 * (time.monotonic() - result.frame.taken):.0f} ms"
            font, white = cv2.FONT_HERSHEY_SIMPLEX, (255, 255, 255)
            image = cv2.putText(image.copy(), latency, (8, 24), font, 0.7, white, 2, cv2.LINE_AA)
        cv2.imshow(self.TITLE, image)
        if result.frame.kind == "image":
            while not self._pressed(50):
                pass
        else:
            self._pressed(1)

    def idle(self) -> None:
        """Respond to the user while there is no frame.

        Raises:
            Quit: the user closed the window.
        """
        if self._shape:
            self._pressed(1)

    def close(self) -> None:
        """Close the window."""
        if self._shape:
            cv2.destroyAllWindows()

    def _pressed(self, wait: int) -> bool:
        """Wait up to `wait` milliseconds for a key; return whether one was pressed."""
        key = cv2.waitKey(wait)
        if key in (ord("q"), 27) or cv2.getWindowProperty(self.TITLE, cv2.WND_PROP_VISIBLE) < 1:
            raise Quit
        return bool(key != -1)


def draw_detections(image: ImageArray, detections: sv.Detections) -> ImageArray:
    """Return a copy of an image with boxes and labels: green with a mask, red without.

    Line width and text size follow the image size. A label stays inside the image. It is shortened
    to the confidence if the full text does not fit; very small images only get boxes.

    Args:
        image: BGR uint8 (H, W, 3).
        detections: as a `Detector` returns them.
    """
    import supervision as sv

    drawn: ImageArray = image.copy()
    if not len(detections):
        return drawn
    size = (image.shape[1], image.shape[0])
    scale = max(sv.calculate_optimal_text_scale(size), 0.35)
    thickness = (
        max(sv.calculate_optimal_line_thickness(size), round(min(size) / 300))
        if min(size) > 100
        else 1
    )
    text_thickness = max(round(scale * 1.5), 1)
    palette = sv.ColorPalette.from_hex(list(COLORS))
    sv.BoxAnnotator(color=palette, thickness=thickness).annotate(drawn, detections)

    def fits(text: str, width: float) -> bool:
        return cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, text_thickness)[0][0] <= width

    if not fits("0.00", size[0] / 2):  # any label would hide the face
        return drawn
    labels = []
    tracks = (
        np.zeros(len(detections), np.int64)
        if detections.tracker_id is None
        else detections.tracker_id
    )
    for box, name, value, track in zip(
        detections.xyxy,
        detections.data["class_name"],
        _confidences(detections),
        tracks,
        strict=True,
    ):
        number, room = f"#{track} " if track > 0 else "", min(0.9 * size[0], 3 * (box[2] - box[0]))
        choices = (f"{number}{name} {value:.2f}", f"{number}{value:.2f}")
        labels.append(next((label for label in choices if fits(label, room)), f"{value:.2f}"))
    sv.LabelAnnotator(
        color=palette,
        text_scale=scale,
        text_thickness=text_thickness,
        text_padding=max(round(scale * 8), 2),
        smart_position=True,
    ).annotate(drawn, detections, labels)
    return drawn


def json_record(result: Result) -> dict[str, Any]:
    """Return a result as a line of JSONL: boxes in pixels xyxy; `track_id` None if not tracked."""
    frame, found = result.frame, result.detections
    tracks = (
        [None] * len(found)
        if found.tracker_id is None
        else [int(track) if track > 0 else None for track in found.tracker_id]
    )
    return {
        "source": frame.source,
        "frame": frame.index,
        "time": round(frame.time, 6),
        "width": frame.image.shape[1],
        "height": frame.image.shape[0],
        "detections": [
            {
                "box": [round(float(side), 2) for side in box],
                "class": CLASS_NAMES[class_id],
                "class_id": int(class_id),
                "confidence": round(float(value), 4),
                "track_id": track,
            }
            for box, class_id, value, track in zip(
                found.xyxy, _ids(found), _confidences(found), tracks, strict=True
            )
        ],
    }


def _ids(detections: sv.Detections) -> Any:
    return np.zeros(0, np.int64) if detections.class_id is None else detections.class_id


def _confidences(detections: sv.Detections) -> Any:
    return np.zeros(0, np.float32) if detections.confidence is None else detections.confidence


def _video_of(name: str) -> str:
    """Return the name of the video whose frames' files could have this name, or an empty string."""
    found = re.fullmatch(r"(.+)_\d+", name)
    return found[1] if found else ""


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


def _no_window() -> str:
    """Return why no window can be opened here, or an empty string."""
    if sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        return "there is no display ($DISPLAY is not set)"
    attempt = "import cv2; cv2.namedWindow('maskyolo', cv2.WINDOW_NORMAL); cv2.destroyAllWindows()"
    try:
        done = subprocess.run(
            [sys.executable, "-c", attempt], capture_output=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return "the display does not respond"
    return (
        ""
        if done.returncode == 0
        else "OpenCV has no window system here, or cannot reach the display"
    )
