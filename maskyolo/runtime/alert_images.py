"""Saves the frame of each alert as an image, and a clip next to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from maskyolo.core.images import write_image
from maskyolo.errors import output_errors
from maskyolo.runtime.alert_clips import AlertClips
from maskyolo.runtime.results import Result

__all__ = ["AlertFiles", "AlertImages"]


@dataclass(frozen=True)
class AlertFiles:
    """The files that are saved of an alert; empty if they are not.

    Attributes:
        image: the frame in which it was raised.
        clip: a video; it is complete some seconds after the alert.
    """

    image: str = ""
    clip: str = ""


class AlertImages:
    """Saves the annotated frame of an alert, named by time and track.

    With a known time of day, the name is `2026-11-27_080012.250_track3.jpg`, otherwise the time in
    the source, `12.250s_track3.jpg`. A name that is taken gets `_2`, `_3` and so on. With `blur`,
    the frame that is passed on is blurred already.

    Args:
        folder: the folder to save in; it is created with the first alert.
        clips: saves the clips, which have the name of the image with the suffix `.mp4`.
    """

    def __init__(self, folder: Path, clips: AlertClips | None = None) -> None:
        self._folder, self._clips = folder, clips

    def save(self, result: Result, track_id: int) -> AlertFiles:
        """Save the frame, begin the clip, and return the files.

        Args:
            result: the frame in which the alert was raised.
            track_id: number of the person.

        Raises:
            OutputError: no space left, or no permission.
        """
        with output_errors(self._folder):
            self._folder.mkdir(exist_ok=True)
        frame = result.frame
        when = f"{frame.time:.3f}s"
        if frame.moment:
            when = f"{frame.moment:%Y-%m-%d_%H%M%S}.{frame.moment.microsecond // 1000:03d}"
        stem = f"{when}_track{track_id}"
        path, number = self._folder / f"{stem}.jpg", 1
        while path.exists():
            number += 1
            path = self._folder / f"{stem}_{number}.jpg"
        write_image(path, result.drawn)
        if self._clips is None:
            return AlertFiles(str(path))
        clip = path.with_suffix(".mp4")
        self._clips.begin(clip, result)
        return AlertFiles(str(path), str(clip))
