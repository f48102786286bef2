"""At what time of day frames were taken."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path

from maskyolo.errors import MaskyoloError
from maskyolo.runtime.frames import Frame

__all__ = ["Clock", "dated_name", "format_moment", "parse_start"]

_EXAMPLE = "2026-11-27T08:00:00+01:00"


class Clock:
    """Gives the time of day of frames, in the zone of this machine or of the recording's start.

    Frames of cameras and streams have the time at which they arrived, by this machine's clock.
    Frames of files have one only if the start of the recording is given.

    Args:
        start: when the recording was started, with a zone; None if unknown.
        now: returns the current time with a zone. Default: in the machine's zone.
        monotonic: returns the seconds that `Frame.taken` is measured in.
    """

    def __init__(
        self,
        start: datetime | None = None,
        now: Callable[[], datetime] = lambda: datetime.now().astimezone(),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._start, self._now, self._monotonic = start, now, monotonic

    def moment(self, frame: Frame) -> datetime | None:
        """Return when a frame was taken, or None if that is unknown.

        Raises:
            MaskyoloError: the start is given, but the frame is from a camera or stream, or too far
                from the start.
        """
        if frame.kind != "live":
            if self._start is None:
                return None
            try:
                return self._start + timedelta(seconds=frame.time)
            except OverflowError:
                raise MaskyoloError(
                    f"the frame at {frame.time:g} s would be after the year 9999",
                    f"correct --start, such as {_EXAMPLE}",
                ) from None
        if self._start is not None:
            raise MaskyoloError(
                f"--start is for recordings, and {frame.source} is a live source, which has the "
                "time of day",
                "omit --start",
            )
        return self._now() - timedelta(seconds=self._monotonic() - frame.taken)


def dated_name(path: Path, day: date) -> Path:
    """Return a name for a day's file that is not taken: `events-2026-11-27.csv` for `events.csv`.

    If that file exists, the name ends in `_2`, `_3` and so on.
    """
    dated, number = path.with_name(f"{path.stem}-{day.isoformat()}{path.suffix}"), 1
    while dated.exists():
        number += 1
        dated = path.with_name(f"{path.stem}-{day.isoformat()}_{number}{path.suffix}")
    return dated


def parse_start(text: str) -> datetime:
    """Return the start of a recording as a time with a zone.

    Args:
        text: ISO 8601, such as `2026-11-27T08:00:00+01:00`; without a zone, it is in that of this
            machine.

    Raises:
        MaskyoloError: not such a time.

    Examples:
        >>> parse_start("2026-11-27T08:00:00+01:00").isoformat()
        '2026-11-27T08:00:00+01:00'
    """
    try:
        start = datetime.fromisoformat(text)
        return start.astimezone() if start.tzinfo is None else start
    except (ValueError, OverflowError, OSError):
        raise MaskyoloError(
            f"--start must be a date and time in ISO 8601, got '{text[:40]}'",
            f"give it like {_EXAMPLE}",
        ) from None


def format_moment(moment: datetime) -> str:
    """Return a time as ISO 8601 with milliseconds and zone: `2026-11-27T08:00:00.000+01:00`."""
    return moment.isoformat(timespec="milliseconds")
