from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from maskyolo.adaptation.views import Sighting
from maskyolo.adaptation.voting import Moment, label_recording, label_still
from maskyolo.core.classes import WITH_MASK_ID, WITHOUT_MASK_ID
from maskyolo.core.labels import IGNORE

RATE = 10.0


def sighting(evidence: float, *, agreement: float = 1.0, certain: bool = True) -> Sighting:
    box = np.array([40, 40, 80, 80], np.float32)
    return Sighting(box, evidence, agreement, 0.8, certain)


def recording(evidence: Sequence[float]) -> list[Moment]:
    return [
        Moment(number / RATE, (200, 200), [sighting(value)])
        for number, value in enumerate(evidence)
    ]


def classes_of(moments: list[Moment]) -> list[int]:
    return [int(labels.class_ids[0]) for labels, _ in label_recording(moments, RATE)]


def test_clear_moments_label_the_unsure_ones_between_them() -> None:
    labeled = label_recording(recording([0.9] * 8 + [-0.2] * 3 + [0.9] * 8), RATE)

    # the tracker needs three frames to begin a track
    assert [int(labels.class_ids[0]) for labels, _ in labeled[3:]] == [WITH_MASK_ID] * 16
    assert [number for number, (_, unsure) in enumerate(labeled) if unsure] == [8, 9, 10]


def test_a_mask_that_is_put_on_changes_the_class_at_that_moment() -> None:
    classes = classes_of(recording([-0.9] * 10 + [0.9] * 10))

    assert classes[3:9] == [WITHOUT_MASK_ID] * 6
    assert classes[9:11] == [IGNORE] * 2  # the vote is balanced where the class changes
    assert classes[11:] == [WITH_MASK_ID] * 9


def test_a_face_that_is_seen_for_a_moment_only_is_blanked_out() -> None:
    assert classes_of(recording([0.9] * 4)) == [IGNORE] * 4


def test_a_face_whose_votes_are_balanced_is_blanked_out() -> None:
    assert classes_of(recording([0.1, -0.1] * 8)) == [IGNORE] * 16


def test_in_a_still_image_only_certain_faces_that_the_views_agree_on_are_labeled() -> None:
    labels, unsure = label_still(
        [
            sighting(0.8),
            sighting(-0.8),
            sighting(0.8, agreement=0.6),
            sighting(0.8, certain=False),
        ]
    )

    assert labels.class_ids.tolist() == [WITH_MASK_ID, WITHOUT_MASK_ID, IGNORE, IGNORE]
    assert unsure


def test_what_is_too_faint_to_be_a_face_is_neither_labeled_nor_blanked_out() -> None:
    faint = Sighting(np.zeros(4, np.float32), 0.01, 1.0, 0.1, certain=False)

    labels, _ = label_still([faint])

    assert len(labels) == 0


def test_frames_without_faces_have_no_labels() -> None:
    labeled = label_recording([Moment(0, (200, 200), []), Moment(0.1, (200, 200), [])], RATE)

    assert [len(labels) for labels, _ in labeled] == [0, 0]
