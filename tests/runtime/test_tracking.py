"""Tracks survive gaps and crossings; their class changes within a second and never flickers."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
import supervision as sv

from maskyolo.core.classes import CLASS_NAMES
from maskyolo.runtime.frames import Frame
from maskyolo.runtime.tracking import LOST, Tracker, Tracking, Vote

RATE = 25


def faces(*rows: tuple[float, float, int, float]) -> sv.Detections:
    """Return faces of 40 pixels as (x, y, class, confidence)."""
    boxes = np.array([(x, y, x + 40, y + 40) for x, y, *_ in rows], np.float32).reshape(-1, 4)
    class_ids = np.array([row[2] for row in rows], np.int64)
    return sv.Detections(
        boxes,
        confidence=np.array([row[3] for row in rows], np.float32),
        class_id=class_ids,
        data={"class_name": np.array(CLASS_NAMES)[class_ids]},
    )


def tracks(tracker: Tracker, frames: list[sv.Detections], start: int = 0) -> list[list[int]]:
    return [
        tracker.update(found, (start + index) / RATE).tracker_id.tolist()
        for index, found in enumerate(frames)
    ]  # type: ignore[union-attr]


def test_tracks_start_at_one_after_three_frames_and_keep_the_order() -> None:
    found = tracks(Tracker(RATE), [faces((10, 10, 0, 0.6), (200, 10, 1, 0.9))] * 4)
    assert found[0] == found[1] == [-1, -1]
    assert sorted(found[2]) == [1, 2]
    assert found[3] == found[2]
    turned = Tracker(RATE)
    first = tracks(turned, [faces((10, 10, 0, 0.6), (200, 10, 1, 0.9))] * 3)[-1]
    assert tracks(turned, [faces((200, 10, 1, 0.9), (10, 10, 0, 0.6))], start=3) == [first[::-1]]


def test_two_people_who_pass_each_other_keep_their_tracks() -> None:
    frames = [faces((10 + 6 * i, 10, 0, 0.9), (310 - 6 * i, 30, 1, 0.9)) for i in range(50)]
    found = tracks(Tracker(RATE), frames)
    assert len({tuple(row) for row in found[2:]}) == 1
    assert len(set(found[-1])) == 2


def test_a_gap_keeps_the_track_and_a_long_one_ends_it() -> None:
    tracker = Tracker(RATE)
    seen, nothing = [faces((10, 10, 0, 0.9))], [faces()]
    before = tracks(tracker, seen * 5)[-1]
    gap = round(0.8 * LOST * RATE)
    tracks(tracker, nothing * gap, start=5)
    assert tracks(tracker, seen, start=5 + gap) == [before]
    gone = round(1.5 * LOST * RATE)
    tracks(tracker, nothing * gone, start=6 + gap)
    assert tracks(tracker, seen * 5, start=6 + gap + gone)[-1] != before


def test_low_confidence_continues_a_track_but_begins_none() -> None:
    uncertain = faces((10, 10, 0, 0.15))
    assert tracks(Tracker(RATE), [uncertain] * 10)[-1] == [-1]
    tracker = Tracker(RATE)
    before = tracks(tracker, [faces((10, 10, 0, 0.9))] * 5)[-1]
    assert tracks(tracker, [uncertain] * 10, start=5) == [before] * 10


def test_an_empty_frame_is_tracked() -> None:
    found = Tracker(RATE).update(faces(), 0.0)
    assert len(found) == 0
    assert found.tracker_id is not None


@pytest.mark.filterwarnings("error")
def test_a_clock_that_stands_still_or_goes_back_is_harmless() -> None:
    tracker = Tracker(RATE)
    found = [
        tracker.update(faces((10, 10, 0, 0.9)), time).tracker_id
        for time in (0, 0, 0, 0.5, 0.4, 0.4)
    ]
    assert found[-1].tolist() == [1]  # type: ignore[union-attr]


def test_a_stream_that_changes_its_size_keeps_its_tracks() -> None:
    tracker = Tracker(RATE)
    large, small = (
        faces((800, 400, 0, 0.9), (100, 400, 1, 0.9)),
        faces((800, 400, 0, 0.9), (100, 400, 1, 0.9)),
    )
    small.xyxy = small.xyxy / 4
    found = [tracker.update(large, index / RATE, (1280, 720)) for index in range(5)]
    found += [tracker.update(small, index / RATE, (320, 180)) for index in range(5, 8)]
    assert len({tuple(row.tracker_id) for row in found[2:]}) == 1  # type: ignore[arg-type]
    assert (found[-1].xyxy == small.xyxy).all()


@pytest.mark.parametrize("rate", [0.0, 90_000.0])
def test_an_impossible_rate_is_harmless(rate: float) -> None:
    found = tracks(Tracker(rate), [faces((10 + 5 * i, 10, 0, 0.9)) for i in range(10)])
    assert found[2:] == [[1]] * 8


def classes(seen: list[int], rate: float = RATE, confidence: float = 0.8) -> list[int]:
    vote = Vote(seen[0], 0.0)
    return [vote.add(class_id, confidence, index / rate) for index, class_id in enumerate(seen)]


@pytest.mark.parametrize("rate", [5, 10, 25, 60])
def test_putting_a_mask_on_changes_the_class_once_within_a_second(rate: int) -> None:
    found = classes([1] * 5 * rate + [0] * 2 * rate, rate)
    changed = found.index(0) - 5 * rate
    assert found == [1] * (5 * rate + changed) + [0] * (2 * rate - changed)
    assert 0 < changed <= rate


@pytest.mark.parametrize("rate", [2, 5, 25])
def test_single_wrong_frames_change_nothing(rate: int) -> None:
    seen = [1 if index % 4 else 0 for index in range(1, 200)]
    assert set(classes(seen, rate)) == {1}


def test_the_class_of_an_uncertain_detector_does_not_flicker() -> None:
    rng = np.random.default_rng(0)
    found = classes(rng.integers(0, 2, 1000).tolist())
    raw_changes, changes = 500, int(np.abs(np.diff(found)).sum())
    assert changes < raw_changes / 20


def test_votes_are_weighted_by_confidence() -> None:
    vote = Vote(0, 0.0)
    for index in range(100):
        vote.add(0, 0.3, 2 * index / 50)
        vote.add(1, 0.9, (2 * index + 1) / 50)
    assert vote.class_id == 1


def test_detections_have_the_voted_class() -> None:
    tracker = Tracker(RATE)
    for index in range(20):
        tracker.update(faces((10, 10, 1, 0.9)), index / RATE)
    found = tracker.update(faces((10, 10, 0, 0.9)), 20 / RATE)
    assert found.class_id is not None
    assert found.class_id.tolist() == [1]
    assert found.data["class_name"].tolist() == ["without_mask"]


def frame(index: int, source: str = "a.mp4", kind: str = "video") -> Frame:
    return Frame(
        np.zeros((60, 400, 3), np.uint8), source, index, index / RATE, kind, Fraction(RATE)
    )  # type: ignore[arg-type]


def test_sources_are_tracked_separately_and_images_are_not_tracked() -> None:
    tracking = Tracking(conf=0.25)
    for source in ("a.mp4", "b.mp4", "b.mp4"):  # the last one starts again
        found = [
            tracking(frame(index, source), faces((10, 10, 0, 0.9)))[1].tracker_id
            for index in range(4)
        ]
        assert [ids.tolist() for ids in found if ids is not None] == [[-1], [-1], [1], [1]]
    _, still = tracking(frame(0, "c.jpg", "image"), faces((10, 10, 0, 0.9), (100, 10, 0, 0.2)))
    assert still.tracker_id is None
    assert len(still) == 1


def test_low_confidence_is_dropped_unless_tracked() -> None:
    tracking = Tracking(conf=0.25)
    for index in range(5):
        tracking(frame(index), faces((10, 10, 0, 0.9)))
    _, found = tracking(frame(5), faces((10, 10, 0, 0.15), (200, 10, 0, 0.15), (300, 10, 0, 0.3)))
    assert found.tracker_id is not None
    assert found.tracker_id.tolist() == [1, -1]
    assert found.xyxy[:, 0].tolist() == [10, 300]


def test_the_tracker_is_only_imported_when_used() -> None:
    code = (
        "import sys, maskyolo.runtime.detection; "
        "print('trackers' in sys.modules, 'scipy' in sys.modules)"
    )
    assert subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split() == ["False", "False"]
