"""What a run without an end has done so far, for its log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Activity"]


@dataclass(frozen=True)
class Activity:
    """What a run has done so far.

    Attributes:
        active: when it last did something, in the seconds of `time.monotonic`; 0: not yet.
        frames: processed frames of each camera.
        people: people counted; None if they are not counted.
        skipped: frames that were skipped because newer ones had arrived.
        interruptions: how often a connection was lost.
    """

    active: float
    frames: Mapping[str, int]
    people: int | None = None
    skipped: int = 0
    interruptions: int = 0
