from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from maskyolo.boxes import box_iou
from maskyolo.errors import MaskyoloError, WeightsError
from maskyolo.faces import FaceDetector, load_face_detector
from maskyolo.faces.ssd import LOOKS, MultiLookSsd, Ssd
from maskyolo.images import ImageArray, read_image

Answer = list[tuple[float, ...]]


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return load_face_detector("ssd")


class ScriptedSsd(Ssd):
    """An SSD whose answers are given: for the place of a look in `LOOKS` boxes in shares of the bordered picture, and a score."""

    def __init__(self, answers: dict[int, Answer]) -> None:
        self.conf = 0.5
        self.answers = answers
        self.seen = 0

    def forward(self, canvases: list[ImageArray], conf: float) -> list[np.ndarray]:
        numbers = range(self.seen, self.seen + len(canvases))
        self.seen += len(canvases)
        found = [np.array(self.answers.get(number, []), dtype=np.float32).reshape(-1, 5) for number in numbers]
        return [rows[rows[:, 4] >= conf] for rows in found]


PICTURE = np.zeros((100, 100, 3), np.uint8)


def test_the_real_ssd_finds_every_sample_face_where_a_person_drew_it(detector: FaceDetector, samples: Path) -> None:
    rows = list(csv.DictReader((samples / "folders.csv").open()))
    assert len(rows) >= 16
    found = 0
    for row in rows:
        image = read_image(samples / "folders" / row["file"])
        faces = detector.detect(image)
        truth = [float(row[name]) for name in ("face_x1", "face_y1", "face_x2", "face_y2")]
        found += bool(len(faces)) and box_iou([truth], faces.boxes[:1])[0, 0] > 0.5
        height, width = image.shape[:2]
        assert (faces.boxes >= 0).all()
        assert (faces.boxes <= [width, height, width, height]).all()
    assert found >= len(rows) - 1


def test_tight_crops_have_ghosts_for_the_plain_ssd_and_none_for_ours(detector: FaceDetector, samples: Path) -> None:
    image = read_image(samples / "folders" / "without_mask" / "01.jpg")
    (face,) = detector.detect(image).boxes.astype(int)
    tight = image[face[1] : face[3], face[0] : face[2]]
    faces = detector.detect(tight)
    assert len(faces) == 1
    height, width = tight.shape[:2]
    assert box_iou(faces.boxes, [[0, 0, width, height]])[0, 0] > 0.6


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 500, 3), (3000, 20, 3), (300, 300, 3)])
def test_pictures_without_a_face(detector: FaceDetector, shape: tuple[int, int, int]) -> None:
    faces = detector.detect(np.full(shape, 128, np.uint8))
    assert faces.boxes.shape == (0, 4)
    assert faces.scores.shape == (0,)


def test_a_ghost_outside_the_picture_is_rejected_and_the_face_kept() -> None:
    face, ghost = (0.3, 0.3, 0.6, 0.7, 0.99), (0.7, 0.7, 1.0, 1.0, 0.99)  # in shares of the bordered picture: its inner half is the picture
    faces = MultiLookSsd(ScriptedSsd({0: [face, ghost]})).detect(PICTURE)
    assert faces.boxes.tolist() == pytest.approx(np.array([[10, 10, 70, 90]]), abs=0.01)


def test_the_plain_look_is_believed_for_small_faces_only() -> None:
    small, large = (0.1, 0.1, 0.2, 0.25, 0.9), (0.5, 0.5, 1.0, 1.0, 0.9)
    faces = MultiLookSsd(ScriptedSsd({1: [small, large]})).detect(PICTURE)
    assert faces.boxes == pytest.approx(np.array([[10, 10, 20, 25]]), abs=0.01)


def test_two_looks_at_one_face_become_their_weighted_mean_and_parts_of_it_vanish() -> None:
    bordered = (0.30, 0.30, 0.40, 0.40, 0.9)  # 10..30 in the picture
    plain = (0.12, 0.10, 0.30, 0.30, 0.6)
    part = (0.14, 0.14, 0.22, 0.22, 0.55)
    faces = MultiLookSsd(ScriptedSsd({0: [bordered], 1: [plain, part]})).detect(PICTURE)
    assert len(faces) == 1
    assert faces.boxes[0] == pytest.approx([(10 * 0.9 + 12 * 0.6) / 1.5, 10, 30, 30], abs=0.01)
    assert faces.scores[0] == pytest.approx(0.9)


def test_a_mirrored_look_is_mirrored_back() -> None:
    mirrored = len(LOOKS) - 1
    assert LOOKS[mirrored].mirrored
    left = (0.55, 0.3, 0.7, 0.5, 0.9)  # in the mirror; 30..50 % of the bordered width when mirrored back
    faces = MultiLookSsd(ScriptedSsd({mirrored: [left]})).detect(PICTURE)
    assert faces.boxes == pytest.approx(np.array([[10, 10, 40, 50]]), abs=0.01)


def test_a_weak_face_counts_only_when_two_looks_agree() -> None:
    weak, elsewhere = (0.3, 0.3, 0.5, 0.5, 0.2), (0.1, 0.1, 0.25, 0.25, 0.2)
    alone = MultiLookSsd(ScriptedSsd({0: [weak], 1: [elsewhere]})).detect(PICTURE)
    assert len(alone) == 0
    agreed = MultiLookSsd(ScriptedSsd({0: [weak], 1: [(0.1, 0.1, 0.5, 0.5, 0.2)], 5: [(0.5, 0.3, 0.7, 0.5, 0.2)]}))
    assert len(agreed.detect(PICTURE)) == 1


def test_the_plain_ssd_is_what_opencv_itself_answers(samples: Path) -> None:
    import cv2

    plain = load_face_detector("ssd-plain", conf=0.3)
    assert isinstance(plain, Ssd)
    image = read_image(samples / "street.jpg")
    height, width = image.shape[:2]
    plain._net.setInput(cv2.dnn.blobFromImage(cv2.resize(image, (300, 300)), 1.0, (300, 300), (104, 177, 123)))
    expected = plain._net.forward()[0, 0]
    expected = expected[expected[:, 2] >= 0.3][:, 3:7] * [width, height, width, height]
    assert len(expected)
    assert plain.detect(image).boxes == pytest.approx(expected.clip(0, [width, height, width, height]), abs=0.5)


def test_missing_weights_say_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"res10_300x300_ssd_iter_140000\.caffemodel"):
        load_face_detector("ssd", weights=tmp_path)


def test_an_unknown_detector() -> None:
    with pytest.raises(MaskyoloError, match="choose from ssd"):
        load_face_detector("yunet9000")
