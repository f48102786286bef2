from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import supervision as sv

from maskyolo.conversion.bystanders import decide_faces, find_bystanders, has_room
from maskyolo.core.boxes import as_boxes
from maskyolo.core.choices import Bystanders
from maskyolo.core.images import ImageArray
from maskyolo.core.labels import IGNORE
from maskyolo.detectors.faces.base import Faces

PICTURE = np.full((200, 200, 3), 200, dtype=np.uint8)
SUBJECT, SMALL, FAR, BIG = (
    (60.0, 60.0, 120.0, 120.0),
    (10.0, 20.0, 30.0, 40.0),
    (150.0, 20.0, 170.0, 40.0),
    (130.0, 60.0, 190.0, 120.0),
)
FACES = Faces(as_boxes([SUBJECT]), np.float32([0.9]), ("ssd",), np.array([True]))

Found = tuple[tuple[float, ...], int, float]


class StubJudge:
    """A mask detector that returns given detections: box, class id and confidence each."""

    name = "judge"

    def __init__(self, *found: Found) -> None:
        self.asked = 0
        self.found = found

    def __call__(self, image: ImageArray) -> sv.Detections:
        self.asked += 1
        places, class_ids, confidences = (
            zip(*self.found, strict=True) if self.found else ((), (), ())
        )
        return sv.Detections(
            as_boxes(places), None, np.float32(confidences), np.array(class_ids, dtype=int)
        )


def with_doubts(*doubts: tuple[tuple[float, ...], float], faces: Faces = FACES) -> Faces:
    places, scores = zip(*doubts, strict=True) if doubts else ((), ())
    return replace(
        faces, doubtful=Faces(as_boxes(places), np.float32(scores), ("yunet",) * len(doubts))
    )


def test_a_photo_has_room_if_its_face_is_small_or_another_is_suspected() -> None:
    large = Faces(as_boxes([(20.0, 20.0, 180.0, 180.0)]), np.float32([0.9]))
    assert has_room(FACES, 200, 200)
    assert not has_room(large, 200, 200)
    assert not has_room(Faces.none(), 200, 200)
    assert has_room(with_doubts((SMALL, 0.3), faces=large), 200, 200)


def test_a_face_that_both_see_gets_the_class_of_the_mask_detector() -> None:
    judge = StubJudge((SUBJECT, 0, 0.9), (SMALL, 1, 0.5))
    faces, decided = decide_faces(PICTURE, with_doubts((SMALL, 0.6)), 0, Bystanders.DETECTOR, judge)
    assert faces.boxes.tolist() == [list(SUBJECT), list(SMALL)]
    assert (decided.class_ids.tolist(), decided.deciders) == ([0, 1], ("folder", "judge"))
    assert (faces.origins, faces.agreed is not None and faces.agreed.tolist()) == (
        ("ssd", "judge"),
        [True, True],
    )
    assert decided.reason == "bystanders: 1 labeled by judge"


@pytest.mark.parametrize(
    ("found", "doubt"),
    [
        ((SMALL, 1, 0.9), 0.0),
        ((SMALL, 1, 0.3), 0.9),
        ((FAR, 1, 0.3), 0.6),
        (((10.0, 20.0, 17.0, 27.0), 1, 0.9), 0.9),
    ],
    ids=["of the mask detector only", "of unsure class", "of the face detector only", "tiny"],
)
def test_doubtful_ones_are_blanked_out(found: Found, doubt: float) -> None:
    faces, decided = decide_faces(
        PICTURE, with_doubts((SMALL, doubt)), 0, Bystanders.DETECTOR, StubJudge(found)
    )
    assert (decided.class_ids.tolist(), decided.deciders) == ([0, IGNORE], ("folder", "nobody"))
    assert decided.reason == "bystanders: 1 doubtful and blanked out"
    assert faces.origins[1] == ("yunet" if found[0] == FAR else "judge")


def test_what_is_seen_too_weakly_or_on_a_known_face_is_left() -> None:
    nose = (80.0, 80.0, 100.0, 100.0)
    judge = StubJudge((SUBJECT, 1, 0.9), (nose, 1, 0.9), (SMALL, 0, 0.3))
    faces, decided = decide_faces(
        PICTURE, with_doubts((nose, 0.9), (SMALL, 0.45)), 0, Bystanders.DETECTOR, judge
    )
    assert (len(faces), decided.class_ids.tolist(), decided.reason) == (1, [0], "")


@pytest.mark.parametrize("bystanders", [Bystanders.BLANK, Bystanders.FOLDER, Bystanders.SET_ASIDE])
def test_the_other_ways_ask_nobody_and_blank_out_what_is_doubtful(bystanders: Bystanders) -> None:
    judge = StubJudge((FAR, 1, 0.9))
    faces, decided = decide_faces(PICTURE, with_doubts((SMALL, 0.6)), 0, bystanders, judge)
    assert (judge.asked, len(faces), decided.class_ids.tolist(), decided.ambiguous) == (
        0,
        2,
        [0, IGNORE],
        False,
    )


def test_a_face_as_large_as_the_one_that_was_found_may_be_the_subject() -> None:
    judge = StubJudge((SUBJECT, 1, 0.9), (BIG, 0, 0.8))
    faces, decided = decide_faces(PICTURE, with_doubts((BIG, 0.6)), 0, Bystanders.DETECTOR, judge)
    assert faces.boxes.tolist() == [list(SUBJECT), list(BIG)]
    assert (decided.class_ids.tolist(), decided.deciders) == ([1, 0], ("judge", "folder"))
    small = StubJudge((SUBJECT, 1, 0.9), (SMALL, 0, 0.8))
    assert decide_faces(PICTURE, with_doubts((SMALL, 0.6)), 0, Bystanders.DETECTOR, small)[
        1
    ].deciders == (
        "folder",
        "judge",
    ), "a passer-by is not"


def test_nothing_is_added_to_photos_without_a_face_or_of_unknown_class() -> None:
    judge = StubJudge((SMALL, 0, 0.9))
    faces, _ = decide_faces(
        PICTURE, replace(Faces.none(), doubtful=Faces.none()), 0, Bystanders.DETECTOR, judge
    )
    assert (len(faces), judge.asked) == (0, 0)
    two = Faces(
        as_boxes([SUBJECT, BIG]), np.float32([0.9, 0.8]), ("ssd", "ssd"), np.array([True, True])
    )
    faces, decided = decide_faces(PICTURE, two, 0, Bystanders.DETECTOR, StubJudge((SMALL, 1, 0.9)))
    assert (len(faces), decided.ambiguous) == (2, True)


def test_each_face_beside_is_found_once_best_first() -> None:
    judge = StubJudge(
        (SMALL, 1, 0.4), ((12.0, 20.0, 32.0, 40.0), 0, 0.7), (FAR, 0, 0.2), (SUBJECT, 0, 0.9)
    )
    beside, class_ids = find_bystanders(with_doubts((FAR, 0.9)), judge(PICTURE), "judge")
    assert beside.scores.tolist() == pytest.approx([0.7, 0.2])
    assert class_ids.tolist() == [IGNORE, IGNORE]
    assert beside.agreed is not None
    assert beside.agreed.tolist() == [False, True]
