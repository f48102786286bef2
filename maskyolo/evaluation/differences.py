"""Paired differences between detectors on the same images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from maskyolo.evaluation.resampling import interval, p_value

if TYPE_CHECKING:
    from maskyolo.evaluation.scores import Evaluation

__all__ = ["Difference", "differences_from_first"]


@dataclass(frozen=True)
class Difference:
    """A detector's score minus the first one's.

    Attributes:
        difference: the difference.
        interval: its 95 % interval, or None if nothing is labeled.
        p: the two-sided p-value of no difference (paired bootstrap over the images), not corrected
            for the number of comparisons; None if nothing is labeled.
    """

    difference: float
    interval: tuple[float, float] | None
    p: float | None

    @property
    def is_clear(self) -> bool:
        """Whether the interval excludes 0."""
        return self.interval is not None and not self.interval[0] <= 0 <= self.interval[1]


def differences_from_first(
    evaluations: Sequence[Evaluation],
) -> dict[str, dict[str, Difference]]:
    """Return each detector's differences from the first, by its name and then by metric.

    The metrics are those of `Evaluation.resampled`. Both detectors are measured on the same
    resamples of the images, so that the differences are paired.
    """
    found: dict[str, dict[str, Difference]] = {}
    for other in evaluations[1:]:
        first = evaluations[0]
        found[other.name] = {}
        for metric, values in other.resampled.items():
            pairs = zip(values, first.resampled[metric], strict=True)
            drawn = [None if a is None or b is None else a - b for a, b in pairs]
            value = (other.mean(metric) or 0.0) - (first.mean(metric) or 0.0)
            found[other.name][metric] = Difference(value, interval(drawn), p_value(drawn))
    return found
