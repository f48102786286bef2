"""How many people wore a mask over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from maskyolo.core.classes import CLASS_NAMES, WITH_MASK_ID

__all__ = ["Timeline", "mask_share"]

#: Maximum number of entries of a timeline; beyond it, pairs of entries are merged.
ENTRIES = 600


class Timeline:
    """How many people of each class are visible over time.

    It has at most `ENTRIES` entries, of equal length.

    Args:
        names: the classes.

    Attributes:
        step: seconds per entry.
    """

    def __init__(self, names: Sequence[str] = CLASS_NAMES) -> None:
        self.step = 1.0
        self._names = names
        self._frames: list[int] = []
        self._seen: list[list[int]] = []

    def add(self, time: float, seen: Sequence[int]) -> None:
        """Add a frame.

        Args:
            time: time of the frame in seconds.
            seen: number of visible people of each class.
        """
        while time >= ENTRIES * self.step:
            self.step *= 2
            self._frames = [
                sum(self._frames[place : place + 2]) for place in range(0, len(self._frames), 2)
            ]
            pairs = [self._seen[place : place + 2] for place in range(0, len(self._seen), 2)]
            self._seen = [[sum(counts) for counts in zip(*pair, strict=True)] for pair in pairs]
        place = int(max(time, 0.0) / self.step)
        while len(self._frames) <= place:
            self._frames.append(0)
            self._seen.append([0] * len(self._names))
        self._frames[place] += 1
        self._seen[place] = [
            before + now for before, now in zip(self._seen[place], seen, strict=True)
        ]

    def records(self) -> list[dict[str, Any]]:
        """Return one record per entry that has frames.

        It contains the time in seconds, the mean number of people of each class, and the fraction
        with a mask.
        """
        return [
            {"time": round(place * self.step, 3)}
            | {
                name: round(count / frames, 3)
                for name, count in zip(self._names, seen, strict=True)
            }
            | {"share_with_mask": mask_share(seen)}
            for place, (frames, seen) in enumerate(zip(self._frames, self._seen, strict=True))
            if frames
        ]


def mask_share(seen: Sequence[int]) -> float | None:
    """Return the fraction of people with a mask, or None if nobody was seen."""
    return round(seen[WITH_MASK_ID] / sum(seen), 4) if sum(seen) else None
