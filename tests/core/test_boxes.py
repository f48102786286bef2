from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskyolo.core.boxes import (
    as_boxes,
    box_area,
    box_coverage,
    box_iou,
    box_iou_double,
    clip_boxes,
    from_normalized,
    to_normalized,
)


def test_no_boxes_keep_their_shape_everywhere() -> None:
    for result in (
        as_boxes([]),
        clip_boxes([], 10, 10),
        from_normalized([], 10, 10),
        to_normalized([], 10, 10),
    ):
        assert result.shape == (0, 4)
    assert box_area([]).shape == (0,)
    assert box_iou([], [[0, 0, 1, 1]]).shape == (0, 1)


def test_clip_moves_only_what_is_outside() -> None:
    boxes = np.array([[-5, 2, 50, 60], [1, 2, 3, 4]], dtype=np.float32)
    assert clip_boxes(boxes, 40, 30).tolist() == [[0, 2, 40, 30], [1, 2, 3, 4]]
    assert boxes[0, 0] == -5, "the argument was changed"


def test_iou_of_half_overlap_disjoint_and_empty_boxes() -> None:
    iou = box_iou([[0, 0, 2, 2], [3, 3, 3, 3]], [[1, 0, 3, 2], [10, 10, 12, 12], [3, 3, 3, 3]])
    assert iou == pytest.approx(np.array([[1 / 3, 0, 0], [0, 0, 0]]))


def test_an_inverted_box_has_no_area() -> None:
    assert box_area([[5, 5, 1, 9], [0, 0, 2, 3]]).tolist() == [0, 6]


@given(
    st.integers(1, 5000),
    st.integers(1, 5000),
    st.lists(st.tuples(*[st.floats(0, 1, width=32)] * 4), max_size=5),
)
def test_normalizing_and_back_is_exact_to_a_hundredth_of_a_pixel(
    width: int, height: int, shares: list[tuple[float, ...]]
) -> None:
    corners = as_boxes(shares) * np.float32([width, height, width, height])
    boxes = np.concatenate(
        [np.minimum(corners[:, :2], corners[:, 2:]), np.maximum(corners[:, :2], corners[:, 2:])],
        axis=1,
    )
    assert from_normalized(to_normalized(boxes, width, height), width, height) == pytest.approx(
        boxes, abs=0.01
    )


def test_coverage_is_of_the_smaller_box() -> None:
    assert box_coverage(
        [[0, 0, 10, 10]], [[2, 2, 4, 4], [5, 0, 15, 10], [3, 3, 3, 9], [20, 20, 30, 30]]
    ).tolist() == [[1, 0.5, 0, 0]]
    assert box_coverage([], [[0, 0, 1, 1]]).shape == (0, 1)


def test_double_precision_keeps_digits_that_single_precision_loses() -> None:
    a = np.array([[0, 0, 100000.01, 1]])
    b = np.array([[0, 0, 100000.02, 1], [5, 5, 5, 5]])
    assert box_iou_double(a, b)[0, 0] == pytest.approx(100000.01 / 100000.02, abs=1e-15)
    assert box_iou_double(a, b)[0, 0] != float(box_iou(a, b)[0, 0])
    assert box_iou_double(a, b)[0, 1] == 0
    assert box_iou_double([[1, 1, 1, 1]], [[1, 1, 1, 1]]).tolist() == [[0.0]]
    assert box_iou_double([], b).shape == (0, 2)


@pytest.mark.parametrize("overlap", [box_iou, box_iou_double, box_coverage])
def test_overlaps_in_blocks_are_the_same(
    overlap: Callable[..., npt.NDArray[np.float32]], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    corners = rng.random((30, 2)) * 50
    boxes = np.concatenate([corners, corners + rng.random((30, 2)) * 50], axis=1)
    whole = overlap(boxes, boxes[:20])
    monkeypatch.setattr("maskyolo.core.boxes._BLOCK", 50)
    assert np.array_equal(overlap(boxes, boxes[:20]), whole)
    assert whole.max() > 0.9


def test_many_overlaps_take_little_memory_besides_the_result() -> None:
    boxes = np.tile(np.array([[0, 0, 2, 2]], np.float32), (3000, 1))
    tracemalloc.start()
    try:
        box_iou(boxes, boxes)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3000 * 3000 * 4 + (60 << 20)
