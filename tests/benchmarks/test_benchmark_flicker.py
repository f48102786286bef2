"""The flicker benchmark must count each face's changes and gaps, and nothing else."""

from __future__ import annotations

import numpy as np
import supervision as sv
from benchmarks_as_modules import load_benchmark


def _frame(*faces: tuple[float, int]) -> sv.Detections:
    """Return 40-pixel faces at the given x, with their class ids."""
    if not faces:
        return sv.Detections.empty()
    boxes = np.array([[x, 10, x + 40, 50] for x, _ in faces], np.float32)
    ids = np.array([class_id for _, class_id in faces])
    return sv.Detections(xyxy=boxes, confidence=np.ones(len(faces), np.float32), class_id=ids)


def test_changes_and_gaps_are_counted_for_each_face() -> None:
    flicker = load_benchmark("flicker")
    frames = []
    for index in range(20):
        moving = (2.0 * index, 1 if index in (5, 6) else 0)  # two changes
        still = (200.0, 1)
        faces = [moving] if index in (8, 9, 10) else [moving, still]  # three lost frames
        frames.append(_frame(*faces, *([(400.0, 0)] if index < 9 else [])))  # seen too rarely
    faces = flicker.link(frames, 5)
    assert len(faces) == 3
    assert flicker.count(faces) == (40, 2, 3)


def test_a_face_that_was_away_for_long_is_another_one() -> None:
    flicker = load_benchmark("flicker")
    frames = [_frame((0.0, 0))] * 10 + [_frame()] * 6 + [_frame((0.0, 1))] * 10
    faces = flicker.link(frames, 5)
    assert [len(face.frames) for face in faces] == [10, 10]
    assert flicker.count(faces) == (20, 0, 0)
    assert flicker.count(flicker.link(frames, 6)) == (26, 1, 6)
