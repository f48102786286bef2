"""A video of what the compared detectors find, side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from maskyolo.core.detector import Detector
from maskyolo.core.images import ImageArray
from maskyolo.errors import MaskyoloError, SourceError
from maskyolo.evaluation.speed import cut_faces, timed
from maskyolo.runtime.addresses import display_name
from maskyolo.runtime.drawing import draw_detections
from maskyolo.runtime.file_sources import VideoSource
from maskyolo.runtime.sources import open_sources
from maskyolo.runtime.video_writer import VideoWriter

__all__ = ["SPEED_FACES", "open_video", "side_by_side"]

#: Maximum width of the side-by-side video in pixels.
VIDEO_WIDTH = 1920
#: Number of faces to crop for the frames that speed is measured on.
SPEED_FACES = 40


def open_video(source: Path | str) -> Any:
    """Return the source for a video file.

    Raises:
        SourceError: `source` is not a video file.
    """
    sources = open_sources(source)
    if len(sources) > 1 or not isinstance(sources[0], VideoSource):
        raise SourceError(
            f"cannot compare on {display_name(source)}: not a video file",
            "for images give --images and --labels",
        )
    return sources[0]


def side_by_side(
    video: Any,
    detectors: Mapping[str, Detector],
    path: Path,
    on_progress: Callable[[int, int | None], None],
    on_error: Callable[[str, MaskyoloError], None] | None,
) -> tuple[dict[str, dict[str, float]], list[ImageArray]]:
    """Write what each detector finds, side by side.

    Returns:
        Median milliseconds ("ms") and mean number of faces ("faces") per frame, by detector; the
        largest faces, cropped from the frames.
    """
    times: dict[str, list[float]] = {name: [] for name in detectors}
    counts = dict.fromkeys(detectors, 0)
    faces: list[ImageArray] = []
    frames = 0
    with ExitStack() as stack:
        runs = {name: stack.enter_context(timed(detector)) for name, detector in detectors.items()}
        writer: VideoWriter | None = None
        try:
            for frame in video.frames():
                if writer is None:
                    writer = VideoWriter(path, frame.rate)
                    stack.callback(writer.close)
                    for run in runs.values():
                        run(frame.image)  # the first run compiles the network
                panels = []
                for name, run in runs.items():
                    detections, lap, _ = run(frame.image)
                    times[name].append(lap)
                    counts[name] += len(detections)
                    drawn = draw_detections(frame.image, detections)
                    panels.append(_panel(drawn, f"{name}  {lap:.0f} ms", len(detectors)))
                    if len(faces) < 4 * SPEED_FACES and name == next(iter(runs)):
                        faces += cut_faces(frame.image, detections.xyxy.tolist())
                writer.write(np.concatenate(panels, axis=1))
                frames += 1
                on_progress(frames, frame.total)
        except SourceError as error:
            if not frames or on_error is None:
                raise
            on_error(str(video.name), error)
    largest = sorted(faces, key=lambda face: -face.shape[0])[:SPEED_FACES]
    return {
        name: {"ms": float(np.median(times[name])), "faces": counts[name] / max(frames, 1)}
        for name in detectors
    }, largest


def _panel(image: ImageArray, title: str, panels: int) -> ImageArray:
    """Return a frame, scaled down to its share of the video's width, under a bar with its title."""
    scale = min(VIDEO_WIDTH / panels / image.shape[1], 1)
    width, height = max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1)
    panel = np.full((height + 28, width, 3), 32, np.uint8)
    cv2.resize(image, (width, height), dst=panel[28:], interpolation=cv2.INTER_AREA)
    (text_width, _), _ = cv2.getTextSize(title, cv2.FONT_HERSHEY_SIMPLEX, 0.55, 1)
    size = min(0.55, 0.55 * (width - 12) / max(text_width, 1))
    cv2.putText(
        panel, title, (6, 19), cv2.FONT_HERSHEY_SIMPLEX, size, (255, 255, 255), 1, cv2.LINE_AA
    )
    return panel
