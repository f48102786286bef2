"""Decides which of the new weights to keep, or to keep the present ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from maskyolo.evaluation.differences import Difference

__all__ = ["ALLOWED_LOSS", "Trial", "choose_trial", "explain", "table"]

#: Maximum loss of mAP50 on the base set.
ALLOWED_LOSS = 0.005


@dataclass(frozen=True)
class Trial:
    """New weights, compared with the present ones.

    Attributes:
        blend: share of the trained weights in the average with the present ones.
        base: difference of mAP50 on the base set's photos.
        camera: difference of mAP50 on the camera's labeled frames, if there are any.
    """

    blend: float
    base: Difference
    camera: Difference | None = None

    @property
    def forgets(self) -> bool:
        """Whether it loses more on the base set than is allowed."""
        return self.base.difference < -ALLOWED_LOSS

    @property
    def gains(self) -> bool:
        """Whether the gain on the camera's frames is above 0 with its whole 95 % interval."""
        return self.camera is not None and self.camera.difference > 0 and self.camera.is_clear

    def json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return asdict(self)


def choose_trial(trials: Sequence[Trial]) -> Trial | None:
    """Return the trial whose weights to keep, or None to keep the present ones.

    Of those that lose at most `ALLOWED_LOSS` on the base set, it is the one with the highest gain
    on the camera's frames, if that gain is clear. Without labeled frames of the camera, it is the
    one with the highest mAP50 on the base set.

    Examples:
        >>> def by(value):
        ...     return Difference(value, (value - 0.02, value + 0.02), 0.1)
        >>> choose_trial([Trial(0.25, by(-0.001), by(0.03)), Trial(0.5, by(-0.02), by(0.06))]).blend
        0.25
        >>> choose_trial([Trial(0.25, by(-0.001), by(0.01))]) is None
        True
    """
    allowed = [one for one in trials if not one.forgets]
    measured = [one for one in allowed if one.camera is not None]
    if measured:
        best = max(measured, key=lambda one: one.camera.difference if one.camera else 0.0)
        return best if best.gains else None
    return max(allowed, key=lambda one: one.base.difference, default=None)


def explain(trials: Sequence[Trial], chosen: Trial | None) -> str:
    """Return in one line why these weights are kept."""
    if chosen is not None:
        measured = (
            f"{_change(chosen.camera)} on the camera's frames, "
            if chosen.camera
            else "gain on the camera not measured (give --val-data), "
        )
        base = f"{_change(chosen.base)} on the base set"
        return f"new weights, blend {chosen.blend:g}: mAP50 {measured}{base}"
    allowed = [one for one in trials if not one.forgets]
    if not allowed:
        best = max(trials, key=lambda one: one.base.difference)
        return (
            "the training does not help, the present weights stay: mAP50 on the base set changes "
            f"by {_change(best.base)}, and a loss of {ALLOWED_LOSS} is allowed"
        )
    best = max(allowed, key=lambda one: one.camera.difference if one.camera else 0.0)
    return (
        "the training does not help, the present weights stay: mAP50 on the camera's frames "
        f"changes by {_change(best.camera)}"
    )


def table(trials: Sequence[Trial], chosen: Trial | None) -> str:
    """Return the trials as text."""
    lines = [f"{'blend':8}{'base set':28}camera (differences of mAP50, 95 % interval)"]
    for one in trials:
        mark = "  kept" if one is chosen else ""
        lines.append(f"{one.blend:<8g}{_change(one.base):28}{_change(one.camera)}{mark}")
    return "\n".join(lines)


def _change(found: Difference | None) -> str:
    if found is None:
        return "not measured"
    if found.interval is None:
        return f"{found.difference:+.3f}"
    low, high = found.interval
    return f"{found.difference:+.3f} ({low:+.3f} to {high:+.3f})"
