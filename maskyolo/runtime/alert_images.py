"""Saves the frame of each alert as an image."""

from __future__ import annotations

from pathlib import Path

from maskyolo.core.images import write_image
from maskyolo.errors import output_errors
from maskyolo.runtime.results import Result

__all__ = ["AlertImages"]


class AlertImages:
    """Saves the annotated frame of an alert, named by time and track.

    With a known time of day, the name is `2026-11-27_080012.250_track3.jpg`, otherwise the time in
    the source, `12.250s_track3.jpg`. A name that is taken gets `_2`, `_3` and so on. With `blur`,
    the frame that is passed on is blurred already.

    Args:
        folder: the folder to save in; it is created with the first alert.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, result: Result, track_id: int) -> Path:
        """Save the frame and return the file.

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
        return path
