"""Paired differences: p-values compared with a permutation test and under no difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from maskyolo.evaluation.metrics import Case, Matches, match
from maskyolo.evaluation.resampling import (
    boot_weights,
    interval,
    p_value,
    resampled_precision,
)


def images_with_faces(seed: int, number: int = 150) -> list[Case]:
    """Return images with 1 to 5 labeled faces of one class, and nothing found."""
    random = np.random.default_rng(seed)
    cases = []
    for _ in range(number):
        corners = np.arange(random.integers(1, 6))[:, None] * np.array([100.0, 0.0])
        boxes = np.concatenate([corners, corners + 50], axis=1)
        zeros = np.zeros(len(boxes), dtype=np.int64)
        empty = np.zeros((0, 4))
        cases.append(Case(boxes, zeros, empty, empty, zeros[:0], np.zeros(0), (640, 480)))
    return cases


def with_detections(cases: Sequence[Case], recall: float, seed: int) -> list[Case]:
    """Return the images with a detector's answers: it finds a face with that probability."""
    random = np.random.default_rng(seed)
    answered = []
    for case in cases:
        hits = case.boxes[random.random(len(case.boxes)) < recall]
        false = np.array([[0.0, 300, 50, 350]] * random.integers(0, 3)).reshape(-1, 4)
        found = np.concatenate([hits, false])
        scores = np.concatenate([random.beta(4, 2, len(hits)), random.beta(2, 4, len(false))])
        order = np.argsort(-scores)
        answered.append(
            replace(
                case,
                found=found[order],
                found_ids=np.zeros(len(found), dtype=np.int64),
                confidence=scores[order],
            )
        )
    return answered


def permutation_p(first: Matches, second: Matches, times: int = 2000) -> float:
    """Return the p-value of swapping the two detectors' answers on random images.

    The images of both are put in one list, so that a swap is a choice of images by weights.
    """
    number = len(first.positives)
    order = np.argsort(-np.concatenate([first.confidence, second.confidence]), kind="stable")
    both = Matches(
        np.concatenate([first.confidence, second.confidence])[order],
        np.concatenate([first.correct, second.correct])[order],
        np.concatenate([first.image, second.image + number])[order],
        np.concatenate([first.positives, second.positives]),
    )
    keep = np.random.default_rng(0).integers(0, 2, (times, number))
    keep[0] = 1  # as observed
    one, other = np.hstack([keep, 1 - keep]), np.hstack([1 - keep, keep])
    drawn = (resampled_precision(both, other) - resampled_precision(both, one)).mean(axis=1)
    return float((np.abs(drawn) >= abs(drawn[0]) - 1e-12).mean())


def bootstrap_p(first: Matches, second: Matches, seed: int = 0) -> float:
    weights = boot_weights(len(first.positives), seed=seed)
    drawn = resampled_precision(second, weights) - resampled_precision(first, weights)
    found = p_value(drawn.mean(axis=1))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("gain", "seed"), [(0.0, 0), (0.01, 1), (0.03, 2), (0.05, 3), (0.08, 4), (0.0, 6), (0.03, 8)]
)
def test_a_p_value_agrees_with_a_permutation_test(gain: float, seed: int) -> None:
    cases = images_with_faces(seed)
    first = match(with_detections(cases, 0.7, 100 + seed), 0)
    second = match(with_detections(cases, 0.7 + gain, 200 + seed), 0)
    expected, found = permutation_p(first, second), bootstrap_p(first, second)
    # three standard errors of drawing 1,000 resamples (one tail, doubled), and 0.03 between methods
    error = 2 * np.sqrt(expected / 2 * (1 - expected / 2) / 1000)
    assert found == pytest.approx(expected, abs=3 * error + 0.03)


def test_it_is_significant_exactly_if_the_interval_excludes_zero() -> None:
    random = np.random.default_rng(0)
    for shift in np.linspace(-3, 3, 61):
        drawn = random.normal(shift, 1, 1000)
        low, high = interval(drawn) or (0, 0)
        p = p_value(drawn)
        assert p is not None
        if abs(p - 0.05) > 0.005:
            assert (p < 0.05) == (not low <= 0 <= high)


def test_the_smallest_and_the_largest() -> None:
    assert p_value([0.1] * 1000) == pytest.approx(2 / 1001)
    assert p_value([-0.1] * 1000) == pytest.approx(2 / 1001)
    assert p_value([0.0] * 1000) == 1
    assert p_value([None, float("nan"), 0.1]) == pytest.approx(1)  # one resample says nothing
    assert p_value([None]) is None
