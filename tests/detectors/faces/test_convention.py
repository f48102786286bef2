from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from maskyolo.conversion.mask_judge import MaskJudge
from maskyolo.core.boxes import as_boxes, box_iou
from maskyolo.core.choices import CrossCheck, FaceDetectorName
from maskyolo.core.images import ImageArray, read_image
from maskyolo.detectors.faces import convention
from maskyolo.detectors.faces.base import Faces
from maskyolo.detectors.faces.convention import SHIFTS, InConvention, to_convention
from maskyolo.detectors.faces.loading import load_face_detector

IMAGE = np.zeros((100, 100, 3), np.uint8)


class Drawn:
    """A face detector with given answers."""

    name = "drawn"

    def __init__(self, faces: Faces) -> None:
        self.faces = faces

    def detect(self, image: ImageArray) -> Faces:
        return self.faces


@pytest.fixture
def shifts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(convention.SHIFTS, "drawn", ((0.1, 0), (-0.2, 0.3), (0.25, 0), (0, -0.1)))
    monkeypatch.setitem(convention.SHIFTS, "maskyolo-n-folders", ((0, 0), (0, 0.2), (0, 0), (0, 0)))


@pytest.mark.usefixtures("shifts")
def test_each_side_moves_by_its_fractions_of_width_and_height() -> None:
    boxes = as_boxes([[10, 20, 50, 100]])
    assert to_convention(boxes, "drawn") == pytest.approx(np.array([[14, 36, 60, 92]]))
    assert boxes.tolist() == [[10, 20, 50, 100]]
    assert to_convention(as_boxes([]), "drawn").shape == (0, 4)


@pytest.mark.usefixtures("shifts")
@pytest.mark.parametrize(("width", "height", "top"), [(10, 80, 17.6), (80, 40, 0)])
def test_the_top_never_moves_up_nor_to_the_eyes(width: int, height: int, top: float) -> None:
    moved = to_convention(as_boxes([[0, 0, width, height]]), "drawn")
    assert moved[0, 1] == pytest.approx(top)


def test_an_unknown_detectors_boxes_stay_as_they_are() -> None:
    boxes = as_boxes([[10, 20, 50, 100]])
    moved = to_convention(boxes, "yolo")
    assert moved.tolist() == boxes.tolist()
    assert not np.shares_memory(moved, boxes)


@pytest.mark.usefixtures("shifts")
def test_boxes_are_clipped_and_a_face_of_our_own_detectors_moves_as_its_boxes_do() -> None:
    doubtful = Faces(as_boxes([[0, 0, 9, 9]]), np.float32([0.4]))
    faces = Faces(
        as_boxes([[50, 20, 90, 100], [10, 20, 50, 70]]),
        np.float32([0.9, 0.6]),
        ("ssd+maskyolo-n-folders", "maskyolo-n-folders"),
        np.array([True, False]),
        doubtful=doubtful,
    )
    moved = InConvention(Drawn(faces)).detect(IMAGE)
    assert moved.boxes == pytest.approx(np.array([[54, 36, 100, 92], [10, 30, 50, 70]]))
    assert moved.scores.tolist() == faces.scores.tolist()
    assert moved.origins == faces.origins
    assert moved.doubtful is doubtful
    none = InConvention(Drawn(Faces.none())).detect(IMAGE)
    assert none.boxes.shape == (0, 4)


def test_every_detector_of_ours_has_its_shifts() -> None:
    names = {
        load_face_detector(name, cross_check=check).name
        for name in FaceDetectorName
        if name is not FaceDetectorName.YOLO
        for check in CrossCheck
    }
    assert names | {MaskJudge.name} == set(SHIFTS)


@pytest.mark.parametrize(
    ("name", "check"), [("ssd", "both"), ("ssd", "none"), ("yunet", "none"), ("haar", "none")]
)
def test_boxes_in_the_convention_are_nearer_to_those_that_people_drew(
    name: str, check: str, samples: Path
) -> None:
    def mean_iou(moved: bool) -> float:
        detector = load_face_detector(name, cross_check=check, convention=moved)
        overlaps = []
        for row in csv.DictReader((samples / "folders.csv").open()):
            human = [float(row[side]) for side in ("face_x1", "face_y1", "face_x2", "face_y2")]
            boxes = detector.detect(read_image(samples / "folders" / row["file"])).boxes
            overlaps.append(box_iou([human], boxes).max(initial=0))
        found = [one for one in overlaps if one > 0.3]
        assert len(found) >= 8
        return float(np.mean(found))

    assert mean_iou(True) > mean_iou(False) + 0.05
