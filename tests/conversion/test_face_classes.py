from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
import supervision as sv

from maskyolo.conversion.face_classes import Decision, blank_out, decide_classes, prominence
from maskyolo.core.boxes import Boxes, as_boxes
from maskyolo.core.choices import Bystanders
from maskyolo.core.images import read_image
from maskyolo.core.labels import IGNORE

SUBJECT, BESIDE, FAR = (
    (60.0, 20.0, 120.0, 80.0),
    (10.0, 30.0, 50.0, 70.0),
    (180.0, 5.0, 195.0, 20.0),
)
FACES = as_boxes([FAR, SUBJECT, BESIDE])


def decide(
    boxes: Boxes,
    class_id: int,
    bystanders: Bystanders = Bystanders.DETECTOR,
    *found: tuple[tuple[float, ...], int, float],
) -> Decision:
    """Decide with a mask detector that returns `found`: box, class id and confidence each."""
    places, class_ids, confidences = zip(*found, strict=True) if found else ((), (), ())
    detections = sv.Detections(
        as_boxes(places), None, np.float32(confidences), np.array(class_ids, dtype=int)
    )
    return decide_classes(boxes, class_id, 200, 100, bystanders, detections, "judge")


def test_a_lone_face_has_the_folders_class() -> None:
    decided = decide(as_boxes([SUBJECT]), 1, Bystanders.DETECTOR, (SUBJECT, 0, 0.9))
    assert (decided.class_ids.tolist(), decided.deciders, decided.reason) == ([1], ("folder",), "")
    assert decide(as_boxes([]), 0).class_ids.tolist() == []


def test_the_largest_face_is_the_subject_unless_it_stands_at_the_edge() -> None:
    assert prominence(FACES, 200, 100).argmax() == 1
    middle, corner = (80.0, 30.0, 120.0, 70.0), (0.0, 0.0, 45.0, 45.0)
    assert prominence([middle, corner], 200, 100).argmax() == 0
    assert prominence([middle, (0.0, 0.0, 95.0, 95.0)], 200, 100).argmax() == 1


def test_others_get_the_class_that_the_detector_is_sure_of_or_are_blanked_out() -> None:
    decided = decide(
        FACES, 0, Bystanders.DETECTOR, (SUBJECT, 0, 0.4), (BESIDE, 1, 0.7), (FAR, 1, 0.5)
    )
    assert decided.class_ids.tolist() == [IGNORE, 0, 1]
    assert decided.deciders == ("nobody", "folder", "judge")
    assert decided.reason == "3 faces: the subject, 1 labeled by judge, 1 blanked out"
    assert not decided.ambiguous


def test_a_face_that_may_be_either_is_not_sure() -> None:
    assert decide(
        FACES, 0, Bystanders.DETECTOR, (SUBJECT, 0, 0.9), (BESIDE, 1, 0.7), (BESIDE, 0, 0.5)
    ).class_ids.tolist() == [IGNORE, 0, IGNORE]


def test_the_subject_is_a_face_of_which_the_folders_class_is_suspected() -> None:
    found = (
        (SUBJECT, 1, 0.9),
        (SUBJECT, 0, 0.25),
        (BESIDE, 0, 0.3),
    )  # the masked one stands beside a larger bare face
    decided = decide(FACES, 0, Bystanders.DETECTOR, *found)
    assert decided.class_ids.tolist() == [IGNORE, 1, 0]
    assert decided.deciders == ("nobody", "judge", "folder")


def test_in_a_photo_of_a_mask_worn_incorrectly_the_subject_is_a_face_that_the_detector_sees() -> (
    None
):
    for class_id in (0, 1):  # a detector of two classes may call it either
        found = ((SUBJECT, class_id, 0.3), (BESIDE, 1, 0.9))
        decided = decide(FACES, 2, Bystanders.DETECTOR, *found)
        assert decided.class_ids.tolist() == [IGNORE, 2, 1]
        assert decided.deciders == ("nobody", "folder", "judge")
    assert decide(FACES, 2, Bystanders.DETECTOR).ambiguous


def test_a_photo_in_which_no_face_is_of_the_folders_class_is_ambiguous() -> None:
    for found in ([(SUBJECT, 1, 0.9)], []):
        decided = decide(FACES, 0, Bystanders.DETECTOR, *found)
        assert decided.ambiguous
        assert decided.reason == "3 faces, none of which is clearly of the folder's class"


@pytest.mark.parametrize(
    ("bystanders", "class_ids", "ambiguous"),
    [
        (Bystanders.BLANK, [IGNORE, 0, IGNORE], False),
        (Bystanders.SET_ASIDE, [0, 0, 0], True),
        (Bystanders.FOLDER, [0, 0, 0], False),
    ],
)
def test_the_other_ways_ask_nobody(
    bystanders: Bystanders, class_ids: list[int], ambiguous: bool
) -> None:
    decided = decide(FACES, 0, bystanders, (BESIDE, 0, 0.9))
    assert (decided.class_ids.tolist(), decided.ambiguous) == (class_ids, ambiguous)
    assert decided.reason.startswith("3 faces")


def test_painting_leaves_nothing_of_a_face_and_spares_those_that_are_learnt() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (100, 200, 3), dtype=np.uint8)
    before = image.copy()
    blanked = blank_out(image, [SUBJECT], [(100.0, 50.0, 110.0, 60.0)])
    assert (
        blanked[20:80, 60:99].std(axis=(0, 1)).max()
        < 15
        < image[20:80, 60:99].std(axis=(0, 1)).min()
    )
    assert (blanked[50:61, 100:111] == image[50:61, 100:111]).all()
    assert (blanked[:, 136:] == image[:, 136:]).all()
    assert (image == before).all(), "the image itself is left alone"
    assert (blank_out(image, [], [SUBJECT]) == image).all()
    assert blank_out(image, [(-50.0, -50.0, 500.0, 500.0)], []).std() < 15


def test_our_detector_tells_bare_from_masked_in_a_street(samples: Path) -> None:
    from maskyolo.conversion.mask_judge import MaskJudge

    image = read_image(samples / "street.jpg")
    boxes = as_boxes(_drawn(samples, "street"))
    decided = decide_classes(
        boxes,
        0,
        image.shape[1],
        image.shape[0],
        Bystanders.DETECTOR,
        MaskJudge()(image),
        MaskJudge.name,
    )
    truth = _classes(samples, "street")
    told = [
        (name, class_id)
        for name, class_id in zip(truth, decided.class_ids.tolist(), strict=True)
        if class_id != IGNORE
    ]
    assert len(told) >= 3
    assert all(class_id == ["with_mask", "without_mask"].index(name) for name, class_id in told)


def _drawn(samples: Path, name: str) -> list[list[float]]:
    root = ET.parse(f"{samples}/annotations/{name}.xml").getroot()
    return [
        [float(box.findtext(side, "")) for side in ("xmin", "ymin", "xmax", "ymax")]
        for box in root.iter("bndbox")
    ]


def _classes(samples: Path, name: str) -> list[str]:
    return [
        item.findtext("name", "")
        for item in ET.parse(f"{samples}/annotations/{name}.xml").getroot().iter("object")
    ]
