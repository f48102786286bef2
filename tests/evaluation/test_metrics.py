"""Metrics compared with pycocotools, with values computed by hand, and with repeated images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from maskyolo.evaluation.metrics import (
    Case,
    average_precision,
    best_f1,
    confusion,
    greedy,
    match,
    precision_recall,
    rates,
)
from maskyolo.evaluation.resampling import (
    boot_weights,
    interval,
    resampled_f1,
    resampled_precision,
    resampled_rates,
)

IOUS = np.arange(0.5, 0.96, 0.05)


def case(
    boxes: Sequence[Sequence[float]],
    class_ids: Sequence[int],
    found: Sequence[Sequence[float]],
    found_ids: Sequence[int],
    confidence: Sequence[float],
    ignored: Sequence[Sequence[float]] = (),
    size: tuple[int, int] = (640, 480),
) -> Case:
    def as_array(rows: Sequence[Sequence[float]]) -> np.ndarray:
        return np.asarray(rows, dtype=np.float64).reshape(-1, 4)

    return Case(
        as_array(boxes),
        np.array(class_ids, int),
        as_array(ignored),
        as_array(found),
        np.array(found_ids, int),
        np.array(confidence, float),
        size,
    )


def crowd(seed: int = 0, images: int = 30) -> list[Case]:
    """Return images with up to 12 faces.

    Most faces are found, shifted, sometimes twice or in the wrong class, with false ones between.
    """
    random = np.random.default_rng(seed)
    cases = []
    for _ in range(images):
        count = random.integers(0, 13)
        corners, sides = random.uniform(0, 400, (count, 2)), random.uniform(10, 120, (count, 2))
        boxes = np.concatenate([corners, corners + sides], axis=1)
        class_ids = random.integers(0, 2, count)
        picked = random.integers(0, max(count, 1), count * 2)
        found = (
            boxes[picked] + random.normal(0, 1, (len(picked), 4)) * np.tile(sides[picked], 2) * 0.12
            if count
            else boxes
        )
        found_ids = (
            np.where(random.random(len(picked)) < 0.85, class_ids[picked], 1 - class_ids[picked])
            if count
            else class_ids
        )
        corners = random.uniform(0, 400, (5, 2))
        found = np.concatenate(
            [found, np.concatenate([corners, corners + random.uniform(10, 120, (5, 2))], axis=1)]
        )
        found_ids = np.concatenate([found_ids, random.integers(0, 2, 5)])
        confidence = np.sort(random.random(len(found)).round(2))[::-1]  # rounded: many are equal
        cases.append(case(boxes, class_ids, found, found_ids, confidence))
    return cases


def coco_precision(cases: Sequence[Case], agnostic: bool = False) -> np.ndarray:
    """Return pycocotools' average precision by overlap and class: all sizes and detections."""

    def xywh(box: np.ndarray) -> list[float]:
        return [float(box[0]), float(box[1]), float(box[2] - box[0]), float(box[3] - box[1])]

    truth, results = COCO(), []
    annotations: list[dict[str, object]] = []
    for number, one in enumerate(cases):
        for box, class_id in zip(one.boxes, one.class_ids, strict=True):
            entry = {
                "id": len(annotations) + 1,
                "image_id": number,
                "category_id": 0 if agnostic else int(class_id),
                "iscrowd": 0,
            }
            annotations.append(entry | {"bbox": xywh(box), "area": xywh(box)[2] * xywh(box)[3]})
        for box, class_id, score in zip(one.found, one.found_ids, one.confidence, strict=True):
            results.append(
                {
                    "image_id": number,
                    "category_id": 0 if agnostic else int(class_id),
                    "bbox": xywh(box),
                    "score": float(score),
                }
            )
    truth.dataset = {
        "images": [{"id": number} for number in range(len(cases))],
        "categories": [{"id": 0}] if agnostic else [{"id": 0}, {"id": 1}],
        "annotations": annotations,
        "info": {},
    }
    truth.createIndex()
    judge = COCOeval(truth, truth.loadRes(results), "bbox")
    judge.params.maxDets, judge.params.areaRng, judge.params.areaRngLbl = (
        [10_000],
        [[0, 1e10]],
        ["all"],
    )
    judge.params.iouThrs = IOUS
    judge.evaluate()
    judge.accumulate()
    return judge.eval["precision"][:, :, :, 0, 0].mean(axis=1)


@pytest.mark.parametrize("seed", range(3))
def test_average_precision_is_that_of_pycocotools(seed: int) -> None:
    cases = crowd(seed)
    ours = [
        [average_precision(match(cases, class_id, float(iou))) for class_id in range(2)]
        for iou in IOUS
    ]
    theirs = coco_precision(cases)
    assert 0.2 < theirs[0].min() < theirs[0].max() < 0.98
    assert np.array(ours, float) == pytest.approx(theirs, abs=1e-9)


def test_faces_of_any_class_are_those_of_pycocotools_with_one_class() -> None:
    cases = crowd(7)
    assert average_precision(match(cases)) == pytest.approx(
        coco_precision(cases, agnostic=True)[0, 0], abs=1e-9
    )


def test_overlaps_by_hand() -> None:
    boxes = [[0, 0, 2, 2], [1, 0, 3, 2], [9, 9, 10, 10]]
    one = case(boxes, [0] * 3, boxes[:1], [0], [0.9])
    assert one.overlaps.tolist() == [[1, pytest.approx(1 / 3), 0]]
    assert one.overlaps.dtype == np.float64
    assert case(boxes, [0] * 3, [], [], []).overlaps.shape == (0, 3)


def test_the_most_confident_detection_takes_its_best_box_and_leaves_the_rest() -> None:
    overlaps = np.array([[0.6, 0.9], [0.0, 0.8], [0.55, 0.7]])
    assert greedy(overlaps, 0.5).tolist() == [1, -1, 0]
    assert greedy(np.zeros((2, 0)), 0.5).tolist() == [-1, -1]


def test_a_box_found_twice_is_right_once() -> None:
    found = match(
        [case([[0, 0, 10, 10]], [0], [[0, 0, 10, 10], [0, 0, 10, 9]], [0, 0], [0.9, 0.8])], 0
    )
    assert found.correct.tolist() == [True, False]
    assert rates(found, 0.5) == pytest.approx((0.5, 1.0, 2 / 3))
    assert rates(found, 0.9) == pytest.approx((1.0, 1.0, 1.0))  # a confidence equal to conf counts
    assert average_precision(found) == pytest.approx(1.0)


def test_a_detection_on_an_ignored_box_counts_neither_way() -> None:
    boxes, ignored = [[0, 0, 10, 10]], [[50, 50, 60, 60]]
    # the third overlaps the ignored box by only 0.4
    found = [[50, 50, 60, 60], [50, 50, 60, 55], [50, 50, 60, 54], [0, 0, 10, 10]]
    result = match([case(boxes, [0], found, [0, 0, 0, 0], [0.9, 0.8, 0.7, 0.6], ignored)], 0)
    assert result.correct.tolist() == [False, True]
    assert result.confidence.tolist() == [0.7, 0.6]
    counts, _ = confusion(
        case(boxes, [0], found, [0, 0, 0, 0], [0.9, 0.8, 0.7, 0.6], ignored), 0.5, 2
    )
    assert counts.tolist() == [[1, 0, 0], [0, 0, 0], [1, 0, 0]]


def test_a_labeled_box_goes_before_an_ignored_one_and_strict_overlaps_excuse_no_less() -> None:
    one = case([[0, 0, 10, 10]], [0], [[0, 0, 10, 8]], [0], [0.9], ignored=[[0, 0, 10, 5]])
    assert match([one], 0, 0.5).correct.tolist() == [True]
    assert len(match([one], 0, 0.9).correct) == 0  # no longer a match, but still excused


def test_by_size_other_sizes_are_ignored() -> None:
    boxes = [[0, 0, 10, 10], [100, 100, 150, 150]]  # sides 10 and 50 in an image of 640
    found = [[100, 100, 150, 150], [0, 0, 10, 10], [300, 300, 360, 360], [400, 400, 408, 408]]
    one = case(boxes, [0, 0], found, [0] * 4, [0.9, 0.8, 0.7, 0.6])
    small, large = match([one], 0, sides=(0, 16)), match([one], 0, sides=(32, 96))
    assert (small.correct.tolist(), small.positives.tolist()) == ([True, False], [1])
    assert (large.correct.tolist(), large.positives.tolist()) == ([True, False], [1])
    assert large.confidence.tolist() == [0.9, 0.7]
    half = case(boxes, [0, 0], found, [0] * 4, [0.9, 0.8, 0.7, 0.6], size=(1280, 960))
    assert match([half], 0, sides=(16, 32)).positives.tolist() == [1]  # 50 pixels of 1280


def test_confusion_has_rows_for_what_is_there_and_for_nothing() -> None:
    boxes = [[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]]
    found = [[0, 0, 10, 10], [20, 0, 30, 10], [80, 0, 90, 10], [60, 0, 70, 10]]
    counts, found_as = confusion(
        case(boxes, [0, 0, 1], found, [0, 1, 1, 0], [0.9, 0.8, 0.7, 0.1]), 0.5, 2
    )
    assert counts.tolist() == [[1, 1, 0], [0, 0, 1], [0, 1, 0]]
    assert found_as.tolist() == [0, 1, -1]


def test_nothing_found_and_nothing_there() -> None:
    nothing = match([case([], [], [], [], [])], 0)
    assert average_precision(nothing) is None
    assert best_f1(nothing) == (0.0, 1.0)
    assert rates(nothing, 0.5) == (0, 0, 0)
    missed = match([case([[0, 0, 9, 9]], [0], [], [], [])], 0)
    assert average_precision(missed) == 0.0
    assert [len(part) for part in precision_recall(missed)] == [0, 0]
    false = match([case([], [], [[0, 0, 9, 9]], [0], [0.9])], 0)
    assert average_precision(false) is None
    assert match([], 0).positives.shape == (0,)


def test_best_f1_is_the_highest_over_all_confidences() -> None:
    found = match(crowd(3), 0)
    tried = [rates(found, conf).f1 for conf in np.unique(found.confidence)]
    f1, at = best_f1(found)
    assert f1 >= max(tried) - 1e-12
    assert at in found.confidence


def test_a_weight_equals_repeating_the_image() -> None:
    cases = crowd(5, 12)
    weights = np.array([0, 3, 1, 0, 2, 1, 1, 0, 2, 1, 0, 1])
    repeated = [one for one, weight in zip(cases, weights, strict=True) for _ in range(weight)]
    for class_id in (0, 1, None):
        found = match(cases, class_id)
        assert average_precision(found, weights) == pytest.approx(
            average_precision(match(repeated, class_id)), abs=1e-12
        )
        assert rates(found, 0.4, weights) == pytest.approx(rates(match(repeated, class_id), 0.4))
    assert average_precision(match(cases, 0), np.zeros(12)) is None


def test_resamples_are_seeded_and_draw_as_many_images_as_there_are() -> None:
    weights = boot_weights(50, 20, seed=1)
    assert weights.shape == (20, 50)
    assert set(weights.sum(axis=1)) == {50}
    assert (weights == boot_weights(50, 20, seed=1)).all()
    assert (weights != boot_weights(50, 20, seed=2)).any()
    assert interval([None, 1.0, 3.0]) == pytest.approx((1.05, 2.95))
    assert interval([None]) is None


def test_resamples_at_once_equal_resamples_one_by_one() -> None:
    cases = crowd(seed=3)
    weights = boot_weights(len(cases), 60, seed=0)
    for found in (match(cases, 0), match(cases, 1, 0.75), match(cases, 7)):
        one_by_one = [average_precision(found, row) for row in weights]
        at_once = resampled_precision(found, weights).mean(axis=1)
        assert [None if np.isnan(value) else value for value in at_once] == pytest.approx(
            one_by_one
        )
        for conf in (0.0, 0.3, 2.0):
            expected = [rates(found, conf, row) for row in weights]
            assert resampled_rates(found, conf, weights) == pytest.approx(np.array(expected))
            f1 = resampled_f1(found, np.array([0.9, conf]), weights)
            assert f1[:, 1] == pytest.approx([row.f1 for row in expected])
