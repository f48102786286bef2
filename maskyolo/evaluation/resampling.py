"""Bootstrap over the images: 95 % intervals, and p-values of paired differences.

Images are drawn with replacement, because faces in one image resemble each other (B. Efron and
R. Tibshirani 1993, "An Introduction to the Bootstrap", chapters 13 and 15). All detectors are
measured on the same draws, so their differences are paired.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from maskyolo.evaluation.metrics import RECALLS, Floats, Ints, Matches

__all__ = [
    "boot_weights",
    "interval",
    "intervals_of",
    "mean_over",
    "p_value",
    "resampled_f1",
    "resampled_mean",
    "resampled_precision",
    "resampled_rates",
]

Span = tuple[float, float]

#: Number of resamples that are computed at once; their arrays fit the processor's cache.
_CHUNK = 50


def boot_weights(images: int, times: int = 1000, seed: int = 0) -> Ints:
    """Return how often each bootstrap sample draws each image, (times, images)."""
    return np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), size=times)


def interval(values: npt.ArrayLike | Iterable[float | None]) -> Span | None:
    """Return the 2.5th and 97.5th percentiles of resampled values, or None if there are none.

    Values that are None or NaN, as of resamples without any labeled box, are left out.
    """
    drawn = np.asarray(
        values if isinstance(values, np.ndarray) else list(values),  # type: ignore[arg-type]
        dtype=np.float64,
    )
    known = drawn[~np.isnan(drawn)]
    if not len(known):
        return None
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)


def intervals_of(values: Floats) -> Floats:
    """Return the 2.5th and 97.5th percentiles of each column, (times, n) to (2, n).

    Resamples in NaN are left out; without any other, both percentiles are NaN.
    """
    known = values[~np.isnan(values).any(axis=1)]
    if not len(known):
        return np.full((2, values.shape[1]), np.nan)
    spans: Floats = np.percentile(known, [2.5, 97.5], axis=0)
    return spans


def p_value(differences: Iterable[float | None]) -> float | None:
    """Return the two-sided p-value of a paired difference, from its value in each resample.

    It is twice the smaller fraction of resamples at or beyond 0, and therefore below 0.05 if the
    95 % interval excludes 0. The observed sample counts as one of the resamples, so that it is
    never 0: with 1,000 resamples, the smallest is 0.002.

    Returns:
        The p-value, or None if there are no differences.

    Examples:
        >>> round(p_value([0.1, 0.2, 0.1, -0.1] * 250), 3)
        0.501
    """
    known = [value for value in differences if value is not None and not np.isnan(value)]
    if not known:
        return None
    drawn = np.asarray(known)
    tail = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    return float(min(1.0, 2 * (tail + 1) / (len(drawn) + 1)))


def resampled_precision(matches: Matches, weights: Ints) -> Floats:
    """Return the interpolated precision at each recall level of each resample, (times, 101).

    The mean of a row is the average precision of that resample. The rows of resamples without
    any labeled box are NaN.

    Args:
        matches: the detections of one class, matched at one IoU.
        weights: how often each resample draws each image (times, images).
    """
    positives = (weights @ matches.positives).astype(np.float64)
    sampled = np.zeros((len(weights), len(RECALLS)))
    hits = np.flatnonzero(matches.correct)
    if len(hits):
        image = matches.image[: hits[-1] + 1]
        for start in range(0, len(weights), _CHUNK):
            part = slice(start, start + _CHUNK)
            counts = weights[part][:, image]
            right = counts[:, hits].cumsum(axis=1, dtype=np.float64)
            found = counts.cumsum(axis=1)[:, hits]
            precision = right / np.maximum(found, 1e-9)
            precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
            recall = right / np.maximum(positives[part, None], 1e-9)
            for row in range(len(counts)):
                places = np.searchsorted(recall[row], RECALLS)
                sampled[start + row] = np.append(precision[row], 0.0)[places]
    sampled[positives == 0] = np.nan
    return sampled


def resampled_rates(matches: Matches, conf: float, weights: Ints) -> Floats:
    """Return precision, recall and F1 at a confidence of each resample, (times, 3)."""
    right, found = _per_image(matches, np.array([conf]))
    right, found = (weights @ right)[:, 0], (weights @ found)[:, 0]
    precision = right / np.maximum(found, 1)
    recall = right / np.maximum(weights @ matches.positives, 1)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
    return np.stack([precision, recall, f1], axis=1)


def resampled_f1(matches: Matches, confidences: Floats, weights: Ints) -> Floats:
    """Return the F1 at each confidence (n,) of each resample, (times, n)."""
    right, found = _per_image(matches, confidences)
    total = weights @ found + (weights @ matches.positives)[:, None]
    return np.asarray(2 * (weights @ right) / np.maximum(total, 1), dtype=np.float64)


def resampled_mean(values: Floats, counts: Floats, weights: Ints) -> Floats:
    """Return the sum of `values` by the sum of `counts`, both (images,), of each resample."""
    total = (weights @ counts).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        means: Floats = (weights @ values) / np.where(total == 0, np.nan, total)
    return means


def mean_over(values: Floats) -> Floats:
    """Return the mean over rows of the values that are known; NaN where none is."""
    known = (~np.isnan(values)).sum(axis=0)
    means: Floats = np.where(known, np.nansum(values, axis=0) / np.maximum(known, 1), np.nan)
    return means


def _per_image(matches: Matches, confidences: Floats) -> tuple[Ints, Ints]:
    """Return the right and all detections of each image at each confidence, (images, n)."""
    order = np.argsort(confidences)
    # the number of chosen confidences that a detection reaches
    reached = np.searchsorted(confidences[order], matches.confidence, side="right")
    shape = (len(matches.positives), len(confidences) + 1)
    right, found = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    np.add.at(found, (matches.image, reached), 1)
    np.add.at(right, (matches.image[matches.correct], reached[matches.correct]), 1)
    back = np.empty_like(order)
    back[order] = np.arange(len(order))

    def at_least(counts: Ints) -> Ints:
        summed: Ints = counts[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:][:, back]
        return summed

    return at_least(right), at_least(found)
