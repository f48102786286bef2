"""Speed: stages, rounds, sentences. Times are those of a clock that ticks once per reading."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from stubs import Stub, perfect

from maskyolo.core.images import ImageArray, read_image
from maskyolo.detectors.faces.base import Faces
from maskyolo.detectors.loading import load_detector
from maskyolo.detectors.two_stage import TwoStageDetector
from maskyolo.evaluation.speed import (
    COUNTS,
    Laps,
    crowd_frame,
    cut_faces,
    measure_memory,
    measure_speed,
    timed,
    verdicts,
)


class Face:
    name = "stub"

    def detect(self, image: ImageArray) -> Faces:
        return Faces(
            np.array([[0, 0, 9, 9], [5, 5, 20, 20]], np.float32), np.array([0.9, 0.8], np.float32)
        )


def classify(image: ImageArray, boxes: np.ndarray) -> np.ndarray:
    return np.tile(np.array([[0.2, 0.8]], np.float32), (len(boxes), 1))


def ticks() -> Callable[[], float]:
    """Return a clock whose readings are one second apart."""
    return itertools.count().__next__


def laps(*milliseconds: float) -> Laps:
    return Laps(1, list(milliseconds), {})


def test_stages_of_one_pass_add_up_and_the_detector_is_left_as_it_was() -> None:
    detector = load_detector(imgsz=64)
    before = dict(vars(detector))
    image = np.zeros((48, 64, 3), np.uint8)
    with timed(detector, clock=ticks()) as run:
        detections, whole, stages = run(image)
    assert stages == {"preprocess": 1000, "network": 1000, "postprocess": 1000}
    assert whole == 3000
    assert vars(detector) == before
    assert len(detections) == len(detector(image))


def test_stages_of_two_and_none_of_a_detector_that_is_not_known() -> None:
    two: TwoStageDetector = TwoStageDetector(Face(), classify)  # type: ignore[arg-type]
    with timed(two, clock=ticks()) as run:
        detections, whole, stages = run(np.zeros((30, 30, 3), np.uint8))
    assert len(detections) == 2
    assert stages == {"face detector": 1000, "classifier": 1000}
    assert whole == 5000
    assert isinstance(two.face_detector, Face)
    with timed(perfect()) as run:
        assert run(np.full((10, 10, 3), 20, np.uint8))[2] == {}


def test_every_detector_sees_every_frame_in_turn() -> None:
    seen: list[tuple[str, int]] = []

    class Watched(Stub):
        def __init__(self, name: str) -> None:
            super().__init__({1: [("with_mask", 0, 0, 5, 5, 0.9)]})
            self.name = name

        def __call__(self, image: ImageArray) -> object:  # type: ignore[override]
            seen.append((self.name, int(image[0, 0, 0])))
            return super().__call__(image)

    frames = {1: np.full((8, 8, 3), 1, np.uint8), 2: np.full((8, 8, 3), 2, np.uint8)}
    speed = measure_speed({"a": Watched("a"), "b": Watched("b")}, frames, rounds=2)  # type: ignore[dict-item]
    assert seen == [
        *[("a", 1), ("b", 1), ("a", 2), ("b", 2)],
        *[("b", 1), ("a", 1), ("b", 2), ("a", 2)],
        *[("a", 1), ("b", 1), ("a", 2), ("b", 2)],
    ]
    assert {name: [row.found for row in rows.values()] for name, rows in speed.items()} == {
        "a": [1, 0],
        "b": [1, 0],
    }
    # the first round does not count
    assert [len(row.whole) for row in speed["a"].values()] == [2, 2]


def test_verdicts_are_fair_in_both_directions() -> None:
    speed = {
        "two": {1: laps(10, 11, 10), 5: laps(20, 21, 19), 40: laps(90, 100, 110)},
        "one": {1: laps(20, 22, 20), 5: laps(21, 19.5, 21), 40: laps(20, 20, 20)},
    }
    assert verdicts(speed) == [
        (
            "two is faster than one with 1 face (2.0 times); about as fast as one with 5 faces; "
            "slower than one with 40 faces (5.0 times)."
        )
    ]
    assert verdicts({"one": speed["one"], "two": speed["two"]}) == [
        (
            "one is faster than two with 40 faces (5.0 times); about as fast as two with 5 faces; "
            "slower than two with 1 face (2.0 times)."
        )
    ]
    assert verdicts({}) == []


def test_laps_as_json() -> None:
    content = Laps(3, [1.0, 2.0, 9.0], {"network": [1.0, 1.5, 7.0]}).json()
    assert content == {
        "median": 2.0,
        "quartiles": [1.5, 5.5],
        "stages": {"network": 1.5},
        "found": 3,
        "rounds": [1.0, 2.0, 9.0],
    }


@pytest.mark.parametrize("count", COUNTS)
def test_a_crowd_frame_shows_each_face_whole_and_once(count: int) -> None:
    faces = [np.full((50, 50, 3), 130 + place, np.uint8) for place in range(40)]
    frame = crowd_frame(faces, count)
    assert frame.shape == (720, 1280, 3)
    shades, pixels = np.unique(frame[frame != 114], return_counts=True)
    assert shades.tolist() == [130 + place for place in range(count)]
    assert len(set(pixels.tolist())) == 1
    assert pixels[0] >= 3 * 144 * 144


def test_few_faces_are_repeated() -> None:
    frame = crowd_frame([np.full((9, 9, 3), 200, np.uint8)], 40)
    assert (frame == 200).mean() > 0.85


def test_a_face_is_cut_with_a_margin_and_only_inside_the_image() -> None:
    image = np.zeros((100, 200, 3), np.uint8)
    image[40:60, 90:110] = 255
    (cut,) = cut_faces(image, [[90, 40, 110, 60], [0, 0, 20, 20]])
    assert cut.shape == (36, 36, 3)
    assert (cut[8:28, 8:28] == 255).all()
    assert cut.sum() == image.sum()


def test_memory_is_that_of_a_process_of_its_own(samples) -> None:  # type: ignore[no-untyped-def]
    peak = measure_memory({"imgsz": 64}, read_image(samples / "portrait.jpg"))
    assert peak is not None
    assert 50 < peak < 2000
    assert measure_memory({"model": "gone"}, np.zeros((8, 8, 3), np.uint8)) is None
