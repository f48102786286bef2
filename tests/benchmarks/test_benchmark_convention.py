"""The fit of the box convention must find shifts that are known."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from benchmarks_as_modules import load_benchmark


@pytest.fixture(scope="module")
def convention() -> ModuleType:
    load_benchmark("labels")
    return load_benchmark("convention")


def test_the_fit_finds_the_shifts_that_boxes_were_moved_by(convention: ModuleType) -> None:
    rng = np.random.default_rng(0)
    corners = rng.uniform(200, 400, (60, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(60, 140, (60, 2))], axis=1)
    known = np.array([[0.05, 0], [-0.3, 0.4], [-0.02, 0], [0.1, -0.05]])
    human = boxes + (boxes[:, 2:] - boxes[:, :2]) @ known.T
    pairs = convention.Pairs(boxes, human, np.full((60, 2), 1000.0))
    assert pairs.mean_iou(known) == pytest.approx(1, abs=1e-5)
    assert pairs.mean_iou(np.zeros((4, 2))) < 0.9
    assert pairs.mean_iou(convention.fit(pairs)) > 0.98


def test_boxes_are_clipped_before_they_are_compared(convention: ModuleType) -> None:
    pairs = convention.Pairs(
        np.array([[-20.0, 0, 120, 100]]), np.array([[0.0, 0, 100, 100]]), np.array([[100.0, 100]])
    )
    assert pairs.mean_iou(np.zeros((4, 2))) == pytest.approx(1)
