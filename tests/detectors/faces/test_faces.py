from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from maskyolo.core.boxes import box_iou
from maskyolo.core.images import ImageArray, read_image
from maskyolo.detectors.faces.base import FaceDetector, Faces
from maskyolo.detectors.faces.ensemble import FaceEnsemble
from maskyolo.detectors.faces.loading import load_face_detector
from maskyolo.detectors.faces.mask_model import MaskModel
from maskyolo.detectors.faces.ssd import PASSES, MultiPassSsd, Ssd, cut_window
from maskyolo.detectors.faces.yunet import YuNet, YuNetPass
from maskyolo.errors import MaskyoloError, WeightsError
from maskyolo.models.weights import find_weights

Answer = list[tuple[float, ...]]
NEAR = -1


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return load_face_detector("ssd")


class ScriptedSsd(Ssd):
    """An SSD with given answers, by index in `PASSES`: boxes as shares of the image, score.

    `NEAR` is the answer for a close-up of a region that may contain a face.
    """

    def __init__(self, answers: dict[int, Answer]) -> None:
        self.conf = 0.5
        self.answers = answers
        self.seen = self.windows = 0

    def forward(self, canvases: list[ImageArray], conf: float) -> list[np.ndarray]:
        if canvases[0].shape[0] < 300:
            self.windows += 1
            numbers = range(NEAR, NEAR + 1)
            found = [
                np.array(self.answers.get(number, []), dtype=np.float32).reshape(-1, 5)
                for number in numbers
            ]
            return [rows[rows[:, 4] >= conf] for rows in found]
        numbers = range(self.seen, self.seen + len(canvases))
        self.seen += len(canvases)
        found = [
            np.array(self.answers.get(number, []), dtype=np.float32).reshape(-1, 5)
            for number in numbers
        ]
        return [rows[rows[:, 4] >= conf] for rows in found]


class ScriptedYuNet(YuNet):
    """A YuNet with given answers: xyxy pixels and a score."""

    def __init__(self, answers: Answer) -> None:
        self.conf = 0.5
        self.answers = np.array(sorted(answers, key=lambda row: -row[4]), dtype=np.float32).reshape(
            -1, 5
        )

    def detect_pass(self, image: ImageArray, one: YuNetPass, conf: float | None = None) -> Faces:
        rows = self.answers[self.answers[:, 4] >= (self.conf if conf is None else conf)]
        return Faces(rows[:, :4], rows[:, 4])


IMAGE = np.zeros((100, 100, 3), np.uint8)


def ask(ssd: dict[int, Answer], yunet: Answer) -> tuple[Faces, int]:
    """Return the ensemble's faces, and how many passes of SSD they took."""
    scripted = ScriptedSsd(ssd)
    return FaceEnsemble(MultiPassSsd(scripted), ScriptedYuNet(yunet)).detect(IMAGE), scripted.seen


def test_the_real_ssd_finds_every_sample_face_where_a_person_drew_it(
    detector: FaceDetector, samples: Path
) -> None:
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


def test_tight_crops_have_ghosts_for_the_plain_ssd_and_none_for_ours(
    detector: FaceDetector, samples: Path
) -> None:
    image = read_image(samples / "folders" / "without_mask" / "01.jpg")
    (face,) = detector.detect(image).boxes.astype(int)
    tight = image[face[1] : face[3], face[0] : face[2]]
    faces = detector.detect(tight)
    assert len(faces) == 1
    height, width = tight.shape[:2]
    assert box_iou(faces.boxes, [[0, 0, width, height]])[0, 0] > 0.6


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 500, 3), (3000, 20, 3), (300, 300, 3)])
def test_images_without_a_face(detector: FaceDetector, shape: tuple[int, int, int]) -> None:
    faces = detector.detect(np.full(shape, 128, np.uint8))
    assert faces.boxes.shape == (0, 4)
    assert faces.scores.shape == (0,)


def test_a_ghost_outside_the_image_is_rejected_and_the_face_kept() -> None:
    face, ghost = (
        (0.3, 0.3, 0.6, 0.7, 0.99),
        (0.7, 0.7, 1.0, 1.0, 0.99),
    )  # as shares of the bordered image: its inner half is the image
    faces = MultiPassSsd(ScriptedSsd({0: [face, ghost]})).detect(IMAGE)
    assert faces.boxes.tolist() == pytest.approx(np.array([[10, 10, 70, 90]]), abs=0.01)


def test_the_plain_pass_is_accepted_for_small_faces_only() -> None:
    small, large = (0.1, 0.1, 0.2, 0.25, 0.9), (0.5, 0.5, 1.0, 1.0, 0.9)
    faces = MultiPassSsd(ScriptedSsd({1: [small, large]})).detect(IMAGE)
    assert faces.boxes == pytest.approx(np.array([[10, 10, 20, 25]]), abs=0.01)


def test_two_passes_at_one_face_become_their_weighted_mean_and_parts_of_it_vanish() -> None:
    bordered = (0.30, 0.30, 0.40, 0.40, 0.9)  # 10..30 in the image
    plain = (0.12, 0.10, 0.30, 0.30, 0.6)
    part = (0.14, 0.14, 0.22, 0.22, 0.55)
    faces = MultiPassSsd(ScriptedSsd({0: [bordered], 1: [plain, part]})).detect(IMAGE)
    assert len(faces) == 1
    assert faces.boxes[0] == pytest.approx([(10 * 0.9 + 12 * 0.6) / 1.5, 10, 30, 30], abs=0.01)
    assert faces.scores[0] == pytest.approx(0.9)


def test_a_mirrored_pass_is_mirrored_back() -> None:
    mirrored = len(PASSES) - 1
    assert PASSES[mirrored].mirrored
    left = (
        0.55,
        0.3,
        0.7,
        0.5,
        0.9,
    )  # in the mirror; 30..50 % of the bordered width when mirrored back
    faces = MultiPassSsd(ScriptedSsd({mirrored: [left]})).detect(IMAGE)
    assert faces.boxes == pytest.approx(np.array([[10, 10, 40, 50]]), abs=0.01)


def test_a_weak_face_counts_only_when_two_passes_agree() -> None:
    weak, elsewhere = (0.3, 0.3, 0.5, 0.5, 0.2), (0.1, 0.1, 0.25, 0.25, 0.2)
    alone = MultiPassSsd(ScriptedSsd({0: [weak], 1: [elsewhere]})).detect(IMAGE)
    assert len(alone) == 0
    agreed = MultiPassSsd(
        ScriptedSsd({0: [weak], 1: [(0.1, 0.1, 0.5, 0.5, 0.2)], 5: [(0.5, 0.3, 0.7, 0.5, 0.2)]})
    )
    assert len(agreed.detect(IMAGE)) == 1


def test_the_plain_ssd_is_what_opencv_itself_answers(samples: Path) -> None:
    plain = load_face_detector("ssd-plain", conf=0.3)
    assert isinstance(plain, Ssd)
    image = read_image(samples / "street.jpg")
    height, width = image.shape[:2]
    net = cv2.dnn.readNetFromCaffe(str(find_weights("ssd-prototxt")), str(find_weights("ssd")))
    net.setInput(
        cv2.dnn.blobFromImage(cv2.resize(image, (300, 300)), 1.0, (300, 300), (104, 177, 123))
    )
    expected = net.forward()[0, 0]
    expected = expected[expected[:, 2] >= 0.3][:, 3:7] * [width, height, width, height]
    assert len(expected)
    assert plain.detect(image).boxes == pytest.approx(
        expected.clip(0, [width, height, width, height]), abs=0.5
    )


def test_what_the_ssd_sees_does_not_depend_on_the_shapes_it_was_shown_before(samples: Path) -> None:
    image = read_image(samples / "street.jpg")
    small, large = cv2.resize(image, (160, 160)), cv2.resize(image, (300, 300))
    used = Ssd()
    for canvases in ([small], [large, large], [large], [small]):
        found = used.forward(canvases, 0.1)
        fresh = Ssd().forward(canvases, 0.1)
        assert len(found) == len(canvases)
        assert all(
            np.array_equal(one, other) and len(one) for one, other in zip(found, fresh, strict=True)
        )


FACE = (
    0.4,
    0.4,
    0.6,
    0.6,
    0.9,
)  # as shares of the image with a border of half its side: 30..70 of the image


def near(box: tuple[float, ...], place: tuple[float, ...], score: float) -> tuple[float, ...]:
    """Return a box as shares of the window that shows SSD a region; both in xyxy pixels."""
    side = 2 * max(place[2] - place[0], place[3] - place[1])
    left, top = (place[0] + place[2] - side) / 2, (place[1] + place[3] - side) / 2
    return (
        (box[0] - left) / side,
        (box[1] - top) / side,
        (box[2] - left) / side,
        (box[3] - top) / side,
        score,
    )


def test_a_window_is_enough_where_the_ssd_sees_the_face_that_yunet_sees() -> None:
    place = (30, 30, 70, 70)
    for score in (0.9, 0.2):  # YuNet is confident
        ssd = ScriptedSsd(
            {NEAR: [near((32, 34, 72, 76), place, score), near((60, 60, 90, 90), place, 0.9)]}
        )
        faces = FaceEnsemble(MultiPassSsd(ssd), ScriptedYuNet([(*place, 0.8)])).detect(IMAGE)
        assert (ssd.windows, ssd.seen) == (1, 0)
        assert faces.boxes == pytest.approx(np.array([[31.4, 32.8, 71.4, 74.2]]), abs=0.01), (
            "the SSD's box, moved a little to YuNet's"
        )
        assert faces.origins == ("ssd",)
        assert faces.agreed is not None
        assert faces.agreed.tolist() == [True]


def test_a_window_shows_the_place_as_it_is_in_the_image(
    detector: FaceDetector, samples: Path
) -> None:
    assert isinstance(detector, MultiPassSsd)
    image = read_image(samples / "folders" / "without_mask" / "01.jpg")
    (face,) = detector.detect(image).boxes
    moved = face + np.float32([10, -6, 10, -6])
    for scale in (1.0, 0.2, 5.0):
        scaled = cv2.resize(image, None, fx=scale, fy=scale)
        seen = detector.detect_near(scaled, moved[None] * scale)
        best = seen[seen[:, 4].argmax()]
        assert best[4] > 0.9
        assert box_iou([best[:4]], [face * scale])[0, 0] > 0.8


class ScriptedModel(MaskModel):
    """A mask model with given answers, for all regions and for whole images: xyxy, score."""

    def __init__(self, answer: tuple[float, ...], *whole: tuple[float, ...]) -> None:
        self.answer, self.whole = answer, whole
        self.passes = 0

    def detect_near(self, image: ImageArray, regions: np.ndarray) -> np.ndarray:
        return np.float32([self.answer] * len(regions)).reshape(-1, 5)

    def detect_all(self, image: ImageArray) -> np.ndarray:
        self.passes += 1
        return np.float32(self.whole).reshape(-1, 5)


@pytest.mark.parametrize(("score", "passes"), [(0.9, 0), (0.2, len(PASSES)), (0.0, len(PASSES))])
def test_a_face_of_yunets_that_the_mask_model_sees_too_needs_no_further_pass(
    score: float, passes: int
) -> None:
    ssd = ScriptedSsd({})
    model = ScriptedModel((30, 40, 70, 100, score))
    faces = FaceEnsemble(MultiPassSsd(ssd), ScriptedYuNet([(30, 30, 70, 70, 0.9)]), model).detect(
        IMAGE
    )
    assert ssd.seen == passes
    assert faces.origins == (("yunet+maskyolo-n-folders",) if score else ("yunet",))
    assert faces.agreed is not None
    assert faces.agreed.tolist() == [score > 0.5]
    assert faces.boxes == pytest.approx(
        np.array([[30, 35, 70, 85] if score else [30, 31, 70, 70]]), abs=0.6
    )


def test_a_face_that_all_three_see_gets_half_of_the_mask_models_box() -> None:
    place = (30, 30, 70, 70)
    ssd = ScriptedSsd({NEAR: [near((32, 34, 72, 76), place, 0.9)]})
    model = ScriptedModel((20, 20, 80, 110, 0.9))
    faces = FaceEnsemble(MultiPassSsd(ssd), ScriptedYuNet([(*place, 0.8)]), model).detect(IMAGE)
    assert faces.boxes == pytest.approx(np.array([[25.7, 26.4, 75.7, 87.1]]), abs=0.01), (
        "clipped to the image before"
    )
    assert faces.origins == ("ssd+maskyolo-n-folders",)


@pytest.mark.parametrize(
    ("whole", "counts"),
    [
        ((5, 5, 30, 35, 0.6), True),
        ((5, 5, 18, 20, 0.9), False),
        ((28, 28, 72, 72, 0.9), False),
        ((5, 5, 60, 60, 0.9), False),
    ],
)
def test_a_face_that_only_the_mask_model_sees_counts_if_it_is_not_small_beside_the_others(
    whole: tuple[float, ...], counts: bool
) -> None:
    place = (30, 30, 70, 70)
    model = ScriptedModel((*place, 0.6), whole)
    ssd = ScriptedSsd({NEAR: [near(place, place, 0.9)]})
    faces = FaceEnsemble(MultiPassSsd(ssd), ScriptedYuNet([(*place, 0.8)]), model).detect(IMAGE)
    assert faces.boxes.round() == pytest.approx(
        np.array([place, whole[:4]] if counts else [place]), abs=1
    )
    assert faces.origins == ("ssd+maskyolo-n-folders", "maskyolo-n-folders")[: len(faces)]
    assert faces.agreed is not None
    assert faces.agreed.tolist() == [True, False][: len(faces)]


@pytest.mark.parametrize(
    ("score", "alike", "replaced"),
    [(0.0, 20, True), (0.2, 20, True), (0.3, 20, False), (0.2, 2, False)],
)
def test_a_face_that_the_mask_model_does_not_confirm_gives_way_to_one_that_it_is_confident_of(
    score: float, alike: int, replaced: bool
) -> None:
    place, whole = (30, 30, 70, 70), (30 - alike, 30 - alike, 70 + alike, 70)
    ssd = ScriptedSsd({NEAR: [near(place, place, 0.9)]})
    model = ScriptedModel((*place, score), (*whole, 0.9))
    faces = FaceEnsemble(MultiPassSsd(ssd), ScriptedYuNet([(*place, 0.8)]), model).detect(IMAGE)
    assert faces.boxes == pytest.approx(np.array([whole if replaced else place]), abs=0.5)
    assert (faces.origins == ("maskyolo-n-folders",)) is replaced


@pytest.mark.parametrize(
    ("second", "counts"), [(0.25, True), (0.15, False), (0.0, False)], ids=["weak", "weaker", "no"]
)
def test_a_weak_face_of_the_mask_models_counts_if_yunet_finds_it_too(
    second: float, counts: bool
) -> None:
    place, whole = (50, 50, 90, 90), (5, 5, 30, 35)
    model = ScriptedModel((*place, 0.6), (*whole, 0.12))
    ssd = ScriptedSsd({NEAR: [near(place, place, 0.9)]})
    yunet = ScriptedYuNet([(*place, 0.8), (4, 4, 31, 33, second)])
    faces = FaceEnsemble(MultiPassSsd(ssd), yunet, model).detect(IMAGE)
    assert len(faces) == 1 + counts
    if counts:
        assert faces.boxes[1].tolist() == list(whole)
        assert faces.origins[1] == "maskyolo-n-folders"
        assert faces.agreed is not None
        assert faces.agreed[1]


def test_a_weak_face_of_the_mask_models_counts_if_the_ssd_finds_it_too() -> None:
    whole = (5, 5, 45, 55)
    for score, count in ((0.3, 1), (0.1, 0)):
        ssd = ScriptedSsd({1: [(0.05, 0.05, 0.28, 0.33, score)]})  # too small to count by itself
        model = ScriptedModel((0, 0, 0, 0, 0.0), (5, 5, 30, 35, 0.12))
        faces = FaceEnsemble(MultiPassSsd(ssd), ScriptedYuNet([]), model).detect(IMAGE)
        assert len(faces) == count, whole


@pytest.mark.parametrize(
    ("found", "seen", "whole", "replaced"),
    [
        (0.9, 0.0, 0.3, False),  # confident
        (0.3, 0.3, 0.3, False),  # confirmed
        (0.3, 0.0, 0.3, True),
        (0.3, 0.0, 0.2, False),
        (0.3, 0.3, 0.6, True),  # confirmed, but not by much, and the other is confident
    ],
)
def test_an_uncertain_face_gives_way_to_a_more_likely_one_of_the_mask_models(
    found: float, seen: float, whole: float, replaced: bool
) -> None:
    place, other = (40, 40, 70, 70), (15, 15, 75, 80)
    ssd = ScriptedSsd({NEAR: [near(place, place, found)]})
    model = ScriptedModel((*place, seen), (*other, whole))
    faces = FaceEnsemble(MultiPassSsd(ssd), ScriptedYuNet([(*place, 0.8)]), model).detect(IMAGE)
    assert faces.boxes == pytest.approx(np.array([other if replaced else place]), abs=0.5)


@pytest.mark.parametrize(("found", "left"), [(0.9, 26), (0.6, 20)])
def test_an_uncertain_face_gets_the_whole_box_of_a_mask_model_that_is_certain(
    found: float, left: float
) -> None:
    place = (30, 30, 70, 70)
    ssd = ScriptedSsd({NEAR: [near((32, 34, 72, 76), place, found)]})
    model = ScriptedModel((20, 20, 80, 90, 0.9))
    faces = FaceEnsemble(MultiPassSsd(ssd), ScriptedYuNet([(*place, 0.8)]), model).detect(IMAGE)
    assert faces.boxes[0, 0] == pytest.approx(left, abs=0.5)


def test_the_mask_model_gets_the_whole_photo_only_in_doubt_or_if_there_is_room() -> None:
    for place, score, passes in (
        ((10, 10, 90, 90), 0.9, 0),
        ((10, 10, 90, 90), 0.4, 1),
        ((30, 30, 70, 70), 0.9, 1),
    ):
        model = ScriptedModel((*place, score))
        ssd = ScriptedSsd({NEAR: [near(place, place, 0.9)]})
        FaceEnsemble(MultiPassSsd(ssd), ScriptedYuNet([(*place, 0.8)]), model).detect(IMAGE)
        assert model.passes == passes
    model = ScriptedModel((0, 0, 0, 0, 0.0), (20, 20, 80, 80, 0.7))
    faces = FaceEnsemble(MultiPassSsd(ScriptedSsd({})), ScriptedYuNet([]), model).detect(IMAGE)
    assert (faces.boxes.tolist(), faces.origins) == ([[20, 20, 80, 80]], ("maskyolo-n-folders",))


def test_the_mask_model_sees_the_face_near_a_place_at_any_size_and_none_elsewhere(
    samples: Path,
) -> None:
    image = read_image(samples / "folders" / "with_mask" / "01.jpg")
    row = next(
        row
        for row in csv.DictReader((samples / "folders.csv").open())
        if row["file"] == "with_mask/01.jpg"
    )
    truth = np.float32([float(row[name]) for name in ("face_x1", "face_y1", "face_x2", "face_y2")])
    model = MaskModel()
    for scale in (1.0, 0.3, 4.0):
        scaled = cv2.resize(image, None, fx=scale, fy=scale)
        (seen,) = model.detect_near(scaled, (truth + np.float32([6, -6, 6, -6]))[None] * scale)
        assert seen[4] > 0.5
        assert box_iou([seen[:4]], [truth * scale])[0, 0] > 0.7
    corner = np.float32([[0, 0, 20, 20]])
    assert model.detect_near(image, corner).tolist() == [[0.0] * 5]
    assert model.detect_near(image, corner[:0]).shape == (0, 5)
    (whole,) = model.detect_all(image)
    assert box_iou([whole[:4]], [truth])[0, 0] > 0.6
    assert model.detect_all(np.zeros((60, 90, 3), np.uint8)).shape == (0, 5)


def test_weak_faces_beside_a_larger_one_are_not_accepted() -> None:
    large, small = (20.0, 20.0, 60.0, 60.0), (80.0, 10.0, 95.0, 25.0)
    answer = [near(large, large, 0.3)]  # shares are those of the small one's window, too

    faces, _ = ask({NEAR: answer}, [(*large, 0.9), (*small, 0.6)])
    assert faces.boxes == pytest.approx(np.array([large]), abs=0.01)
    assert faces.doubtful is not None
    assert faces.doubtful.boxes == pytest.approx(np.array([small]), abs=0.01)
    answer = [near(large, large, 0.6)]
    assert len(ask({NEAR: answer}, [(*large, 0.9), (*small, 0.6)])[0]) == 2


def test_where_both_disagree_yunet_runs_on_the_photo_in_full_size() -> None:
    class Full(ScriptedYuNet):
        def detect_pass(
            self, image: ImageArray, one: YuNetPass, conf: float | None = None
        ) -> Faces:
            sides.append(one.side)
            return (
                super().detect_pass(image, one, conf)
                if one.border
                else Faces(np.float32([[2, 2, 9, 9]]), np.float32([0.6]))
            )

    for place, passes in (
        ((40.0, 40.0, 60.0, 60.0), [320, 100]),
        ((10.0, 10.0, 90.0, 90.0), [320]),
    ):
        sides: list[int] = []
        faces = FaceEnsemble(
            MultiPassSsd(ScriptedSsd({NEAR: [near(place, place, 0.9)]})), Full([(*place, 0.9)])
        ).detect(IMAGE)
        assert sides == passes
        assert faces.doubtful is not None
        assert faces.doubtful.boxes.tolist() == [[2, 2, 9, 9]] * (len(passes) - 1)


def test_a_face_that_only_the_ssd_sees_is_kept_and_said_to_be_in_doubt() -> None:
    faces, passes = ask({0: [FACE]}, [])
    assert passes == 3
    assert faces.origins == ("ssd",)
    assert faces.agreed is not None
    assert faces.agreed.tolist() == [False]


@pytest.mark.parametrize("score", [0.6, 0.9])
def test_yunets_face_counts_where_no_pass_of_the_ssd_sees_any(score: float) -> None:
    faces, passes = ask({}, [(20, 20, 60, 70, score)])
    assert passes == len(PASSES), (
        "of tight crops of masks YuNet, however confident, draws half a face"
    )
    assert faces.origins == ("yunet",)
    assert box_iou(faces.boxes, [[20, 20, 60, 70]])[0, 0] > 0.9
    assert faces.boxes[0, 1] > 20  # the SSD draws the top a little lower
    assert faces.scores == pytest.approx([score])


@pytest.mark.parametrize(
    ("second", "counts"),
    [
        ((75, 30, 110, 70, 0.8), True),
        ((75, 30, 110, 70, 0.6), False),  # not confident
        ((80, 30, 90, 42, 0.8), False),  # far behind the other
        ((45, 30, 85, 70, 0.8), False),  # on the same face
    ],
)
def test_a_further_face_of_yunets_must_be_confident_large_and_apart(
    second: tuple[float, ...], counts: bool
) -> None:
    faces, passes = ask({0: [FACE]}, [(30, 30, 70, 70, 0.9), second])
    assert passes == (3 if second[4] < 0.7 else 1)
    assert faces.origins == (("ssd", "yunet") if counts else ("ssd",))
    assert faces.boxes.max() <= 100


def test_a_weak_face_counts_when_both_see_it() -> None:
    weak = (*FACE[:4], 0.2)
    assert ask({NEAR: [(0.25, 0.25, 0.75, 0.75, 0.2)]}, [(30, 30, 70, 70, 0.35)])[1] == 0
    faces, passes = ask({0: [weak]}, [(30, 30, 70, 70, 0.35)])
    assert passes == len(PASSES)
    assert faces.origins == ("ssd",)
    assert faces.agreed is not None
    assert faces.agreed.all()
    assert len(ask({0: [weak]}, [])[0]) == 0
    assert len(ask({0: [weak]}, [(30, 30, 70, 70, 0.2)])[0]) == 0


@pytest.mark.parametrize(("score", "counts"), [(0.6, False), (0.8, True)])
def test_beside_a_face_of_both_one_of_ssds_must_be_confident(score: float, counts: bool) -> None:
    ear = (0.65, 0.45, 0.7, 0.55, score)
    faces, _ = ask({0: [FACE, ear]}, [(30, 30, 70, 70, 0.9)])
    assert len(faces) == 1 + counts
    assert len(ask({0: [ear]}, [])[0]) == 1  # alone it counts


def test_a_weak_face_of_two_passes_counts_in_a_tight_crop_unless_yunet_sees_another() -> None:
    small = (*FACE[:4], 0.2)
    assert len(ask({0: [small], 5: [small]}, [])[0]) == 0
    large = (0.35, 0.35, 0.65, 0.65, 0.2)
    weak = {0: [large], 5: [large]}
    alone, _ = ask(weak, [])
    assert alone.origins == ("ssd",)
    assert alone.agreed is not None
    assert not alone.agreed.any()
    assert ask(weak, [(0, 0, 25, 28, 0.9)])[0].origins == ("yunet",)


@pytest.fixture(scope="module")
def both() -> FaceDetector:
    return load_face_detector("ssd", cross_check="both")


def test_both_together_find_every_sample_face_and_mostly_agree_on_it(
    both: FaceDetector, samples: Path
) -> None:
    assert both.name == "ssd+yunet+maskyolo-n-folders"
    agreed = []
    for row in csv.DictReader((samples / "folders.csv").open()):
        faces = both.detect(read_image(samples / "folders" / row["file"]))
        truth = [float(row[name]) for name in ("face_x1", "face_y1", "face_x2", "face_y2")]
        assert box_iou([truth], faces.boxes[:1])[0, 0] > 0.5, row["file"]
        assert faces.agreed is not None
        agreed.append(faces.agreed[0])
    assert sum(agreed) >= len(agreed) - 1


@pytest.mark.parametrize(
    "name", ["with_mask/01.jpg", "with_mask/05.jpg", "without_mask/02.jpg", "without_mask/07.jpg"]
)
def test_both_together_find_a_face_without_any_margin(
    both: FaceDetector, samples: Path, name: str
) -> None:
    row = next(
        row for row in csv.DictReader((samples / "folders.csv").open()) if row["file"] == name
    )
    x1, y1, x2, y2 = (
        round(float(row[side])) for side in ("face_x1", "face_y1", "face_x2", "face_y2")
    )
    tight = np.ascontiguousarray(read_image(samples / "folders" / name)[y1:y2, x1:x2])
    faces = both.detect(tight)
    assert len(faces) == 1
    assert box_iou(faces.boxes, [[0, 0, x2 - x1, y2 - y1]])[0, 0] > 0.6


def test_yunet_answers_as_opencv_s_own_does(samples: Path) -> None:
    yunet = YuNet()
    for name in ("street.jpg", "portrait.jpg", "queue.jpg"):
        image = read_image(samples / name)[:333, :445]
        opencv = cv2.FaceDetectorYN.create(
            str(find_weights("yunet")), "", image.shape[1::-1], 0.3, 0.3, 5000
        )
        _, expected = opencv.detect(image)
        found = yunet._forward(image, YuNetPass(max(image.shape[:2])), 0.3)
        assert len(expected)
        assert found == pytest.approx(expected[np.argsort(-expected[:, 14])], abs=0.01)


@pytest.mark.parametrize(
    ("name", "cross_check"),
    [("yunet", "none"), ("haar", "none"), ("ssd", "yunet"), ("ssd", "both")],
)
@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 500, 3), (1000, 20, 3)])
def test_other_detectors_on_images_without_a_face(
    name: str, cross_check: str, shape: tuple[int, int, int]
) -> None:
    faces = load_face_detector(name, cross_check=cross_check).detect(np.full(shape, 128, np.uint8))
    assert faces.boxes.shape == (0, 4)
    assert faces.boxes.dtype == np.float32
    assert faces.scores.shape == (0,)


@pytest.mark.parametrize("scale", [0.5, 1, 3])
def test_yunets_boxes_and_landmarks_lie_on_the_face_at_any_size(
    samples: Path, scale: float
) -> None:
    row = next(
        row
        for row in csv.DictReader((samples / "folders.csv").open())
        if row["file"] == "without_mask/01.jpg"
    )
    image = cv2.resize(read_image(samples / "folders" / row["file"]), None, fx=scale, fy=scale)
    faces = load_face_detector("yunet").detect(image)
    truth = [scale * float(row[name]) for name in ("face_x1", "face_y1", "face_x2", "face_y2")]
    assert len(faces) == 1
    assert box_iou(faces.boxes, [truth])[0, 0] > 0.5
    assert faces.landmarks is not None
    right_eye, left_eye, nose, right_mouth, left_mouth = faces.landmarks[0] / scale
    assert right_eye[0] < nose[0] < left_eye[0]
    assert right_mouth[0] < nose[0] < left_mouth[0]
    assert max(right_eye[1], left_eye[1]) < nose[1] < min(right_mouth[1], left_mouth[1])
    x1, y1, x2, y2 = np.array(truth) / scale
    assert x1 < right_eye[0] < left_eye[0] < x2
    assert y1 < left_mouth[1] < y2


def test_yunet_passes_twice_at_large_images_for_small_faces_and_once_for_each(
    samples: Path,
) -> None:
    yunet = load_face_detector("yunet")
    image = read_image(samples / "station.jpg")
    annotated = (samples / "annotations" / "station.xml").read_text().count("<object>")
    large = cv2.resize(image, (640, round(640 * image.shape[0] / image.shape[1])))
    faces = yunet.detect(large)
    assert 0.7 * annotated < len(faces) < 1.3 * annotated
    overlaps = box_iou(faces.boxes, faces.boxes) - np.eye(len(faces))
    assert overlaps.max() < 0.31
    assert (np.diff(faces.scores) <= 0).all()


def test_haar_finds_a_bare_face_with_score_one(samples: Path) -> None:
    row = next(
        row
        for row in csv.DictReader((samples / "folders.csv").open())
        if row["file"] == "without_mask/01.jpg"
    )
    faces = load_face_detector("haar").detect(read_image(samples / "folders" / row["file"]))
    truth = [float(row[name]) for name in ("face_x1", "face_y1", "face_x2", "face_y2")]
    assert box_iou([truth], faces.boxes).max() > 0.5
    assert set(faces.scores.tolist()) == {1.0}


def test_an_unknown_cross_check_is_refused_and_detectors_without_one_ignore_it() -> None:
    with pytest.raises(MaskyoloError, match="choose one of both, yunet, none"):
        load_face_detector("ssd", cross_check="haar")
    assert load_face_detector("haar", cross_check="yunet").name == "haar"
    with pytest.raises(MaskyoloError, match="haar takes no weights"):
        load_face_detector("haar", "gone")


def test_missing_weights_say_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"res10_300x300_ssd_iter_140000\.caffemodel"):
        load_face_detector("ssd", weights=tmp_path)


def test_an_unknown_detector() -> None:
    with pytest.raises(MaskyoloError, match="choose one of ssd"):
        load_face_detector("yunet9000")


@pytest.mark.parametrize("shape", [(1, 4000), (4000, 1), (1, 1), (2, 900)])
def test_a_window_of_an_image_that_is_a_line(shape: tuple[int, int]) -> None:
    image = np.full((*shape, 3), 90, np.uint8)
    window = cut_window(image, -2000.0, -2000.0, 6000.0, 160, (0.0, 0.0, 0.0))
    assert window.shape == (160, 160, 3)
