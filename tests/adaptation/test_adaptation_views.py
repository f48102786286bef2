from __future__ import annotations

import numpy as np
import pytest

from maskyolo.adaptation.views import View, merge_views
from maskyolo.core.boxes import as_boxes
from maskyolo.detectors.faces.base import Faces

SIZE = (200, 100)


def view(*rows: tuple[float, ...]) -> View:
    return np.array(rows, dtype=np.float32).reshape(-1, 6)


def seen_by_yunet(score: float, box: tuple[float, ...] = (10, 10, 30, 30)) -> Faces:
    return Faces(as_boxes([box]), np.array([score], np.float32))


def test_views_of_one_face_become_one_box_weighted_by_confidence() -> None:
    views = [view((10, 10, 30, 30, 0.9, 0)), view((12, 10, 32, 30, 0.3, 0)), view()]

    (face,) = merge_views(views, Faces.none(), SIZE)

    assert face.box.tolist() == pytest.approx([10.5, 10, 30.5, 30])
    assert face.evidence == pytest.approx(0.4)  # the third view counts as 0
    assert face.agreement == 1


def test_a_face_needs_several_views_to_be_certain() -> None:
    row = (10, 10, 30, 30, 0.6, 0)

    (once,) = merge_views([view(row), view(), view()], Faces.none(), SIZE)
    (thrice,) = merge_views([view(row)] * 3, Faces.none(), SIZE)

    assert not once.certain
    assert thrice.certain


@pytest.mark.parametrize(("score", "certain"), [(0.7, True), (0.5, False)])
def test_yunet_confirms_a_face_of_which_all_views_are_unsure(score: float, certain: bool) -> None:
    views = [view((10, 10, 30, 30, 0.22, 1))] * 3

    (face,) = merge_views(views, seen_by_yunet(score), SIZE)

    assert face.certain is certain


def test_views_that_disagree_on_the_class_show_it() -> None:
    masked, bare = (10, 10, 30, 30, 0.6, 0), (10, 10, 30, 30, 0.4, 1)

    (face,) = merge_views([view(masked), view(bare)], Faces.none(), SIZE)

    assert face.agreement == pytest.approx(0.6)
    assert face.evidence == pytest.approx(0.1)


def test_a_face_that_only_yunet_finds_is_reported_as_unclear() -> None:
    views = [view((10, 10, 30, 30, 0.9, 0))] * 3

    own, other = merge_views(views, seen_by_yunet(0.9, (100, 10, 130, 40)), SIZE)

    assert own.certain
    assert not other.certain
    assert other.box.tolist() == [100, 10, 130, 40]
    assert other.confidence == pytest.approx(0.9)


def test_two_faces_next_to_each_other_stay_two() -> None:
    views = [view((10, 10, 30, 30, 0.9, 0), (32, 10, 52, 30, 0.8, 1))] * 3

    left, right = merge_views(views, Faces.none(), SIZE)

    assert left.evidence > 0 > right.evidence


def test_nothing_is_found_in_no_view() -> None:
    assert merge_views([view(), view()], Faces.none(), SIZE) == []
