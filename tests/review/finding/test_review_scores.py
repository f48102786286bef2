"""Scores and ranking on generated photos in which every error is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from benchmarks_as_modules import load_benchmark

from maskyolo.core.boxes import as_boxes, box_iou
from maskyolo.core.labels import Labels
from maskyolo.detectors.faces.base import Faces
from maskyolo.review.finding.features import FaceFeatures, background_boxes
from maskyolo.review.finding.folds import assign_folds, fuse_boxes
from maskyolo.review.finding.predictions import JudgedPhoto, Predictions
from maskyolo.review.finding.ranking import (
    neighbor_distances,
    rank,
    suspect_copies,
    suspect_labels,
    suspect_unusual,
)
from maskyolo.review.finding.scores import (
    Convention,
    find_candidates,
    linear_probabilities,
    pair_boxes,
    score_photos,
)

label_quality = load_benchmark("label_quality")

SIDE = 40
#: A detector's boxes are lower and larger than the labels; that is not an error.
CONVENTION = Convention(dx=0.0, dy=0.1, dw=-0.05, dh=-0.1)


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)).astype(
        np.float32
    )


def make_photo(number: int, rng: np.random.Generator, faces: int = 2) -> JudgedPhoto:
    """Make a photo of 640 x 480 with faces in a row, correct labels, and two good detectors."""
    left = np.linspace(60, 460, faces)
    boxes = as_boxes([[x, 200, x + SIDE + number % 20, 240 + number % 20] for x in left])
    class_ids = np.array([(number + place) % 2 for place in range(faces)], dtype=np.int64)
    seen = Convention(-CONVENTION.dx, -CONVENTION.dy, -CONVENTION.dw, -CONVENTION.dh).apply(
        boxes
    ) + rng.normal(0, 0.8, boxes.shape).astype(np.float32)
    scores = np.full((faces, 2), 0.05, np.float32)
    scores[np.arange(faces), class_ids] = rng.uniform(0.6, 0.9, faces)
    features = rng.normal(0, 0.3, (faces, 8))
    features[:, 0] += np.where(class_ids == 1, 1, -1)
    features[:, 1] += 1
    background = rng.normal(0, 0.3, (2, 8)) - np.eye(8)[1]
    hashes = rng.integers(0, 2**63, 2)
    face_features = FaceFeatures(
        width=640,
        height=480,
        labels=Labels(boxes, class_ids),
        sha256=str(number),
        hashes=(f"{hashes[0]:016x}", f"{hashes[1]:016x}"),
        faces=Faces(boxes + 1, np.full(faces, 0.9, np.float32)),
        probabilities=np.where(np.eye(2)[class_ids], 0.9, 0.1).astype(np.float32),
        label_features=unit(features),
        background_features=unit(background),
        photo_features=unit(np.ones(8) + rng.normal(0, 0.2, 8)),
    )
    return JudgedPhoto(
        f"images/train/{number:03}.jpg",
        "train",
        face_features,
        Predictions(seen, scores),
        fold=number % 3,
        source=f"{number}.jpg",
    )


def relabeled(photo: JudgedPhoto, boxes: Any, class_ids: Any, like: Any) -> JudgedPhoto:
    """Return a photo with other labels; `like` says which old label's features each gets, or -1."""
    blank = np.concatenate([photo.features.label_features, photo.features.background_features[:1]])
    unsure = np.concatenate([photo.features.probabilities, [[0.5, 0.5]]]).astype(np.float32)
    labels = Labels(as_boxes(boxes), np.array(class_ids, dtype=np.int64))
    return replace(
        photo,
        features=replace(
            photo.features, labels=labels, label_features=blank[like], probabilities=unsure[like]
        ),
    )


@pytest.fixture
def photos() -> list[JudgedPhoto]:
    rng = np.random.default_rng(0)
    return [make_photo(number, rng) for number in range(60)]


@pytest.fixture
def planted(photos: list[JudgedPhoto]) -> list[JudgedPhoto]:
    """Five photos with an error: 0 swapped, 1 moved, 2 deleted, 3 spurious, 4 duplicate."""
    boxes, ids = (
        [photo.labels.boxes for photo in photos],
        [photo.labels.class_ids for photo in photos],
    )
    moved = boxes[1].copy()
    moved[0, [0, 2]] += (moved[0, 2] - moved[0, 0]) / 2
    photos[0] = relabeled(photos[0], boxes[0], [1 - ids[0][0], ids[0][1]], [0, 1])
    photos[1] = relabeled(photos[1], moved, ids[1], [0, 1])
    photos[2] = relabeled(photos[2], boxes[2][1:], ids[2][1:], [1])
    photos[3] = relabeled(photos[3], [*boxes[3], [200, 20, 250, 70]], [*ids[3], 0], [0, 1, -1])
    photos[4] = relabeled(photos[4], [*boxes[4], boxes[4][0] + 2], [*ids[4], ids[4][0]], [0, 1, 0])
    return photos


def test_each_planted_error_leads_the_list_with_its_reason_and_fix(
    planted: list[JudgedPhoto],
) -> None:
    scores = score_photos(planted)
    found = rank(planted, scores)
    top = {suspicion.image: suspicion for suspicion in reversed(found) if suspicion.rank <= 5}
    assert set(top) == {planted[place].image for place in range(5)}
    swapped, moved, deleted, spurious, twice = (top[planted[place].image] for place in range(5))
    right = [make_photo(number, np.random.default_rng(0)).labels.boxes for number in range(3)]
    assert (swapped.reason, swapped.label, swapped.suggested_class) == (
        "wrong_class",
        0,
        "with_mask",
    )
    assert (moved.reason, moved.label) == ("bad_box", 0)
    assert box_iou(moved.suggested_box, right[1][0])[0, 0] > 0.85
    assert (deleted.reason, deleted.label, deleted.suggested_class) == (
        "missing",
        None,
        "with_mask",
    )
    assert box_iou(deleted.suggested_box, right[2][0])[0, 0] > 0.85
    assert (spurious.reason, spurious.label, spurious.suggested_box) == ("spurious", 2, ())
    assert (twice.reason, twice.label) == ("duplicate", 2)
    assert min(suspicion.score for suspicion in top.values()) > 0.5


def test_correct_labels_are_hardly_suspicious(photos: list[JudgedPhoto]) -> None:
    for score in score_photos(photos):
        assert (
            max(
                score.wrong_class.max(),
                score.bad_box.max(),
                score.spurious.max(),
                score.duplicate.max(),
            )
            < 0.35
        )
        assert len(score.missing) == 0


def test_the_convention_of_a_set_s_boxes_is_measured_and_is_not_an_error(
    photos: list[JudgedPhoto],
) -> None:
    faces = np.concatenate([photo.predictions.boxes for photo in photos])
    labels = np.concatenate([photo.labels.boxes for photo in photos])
    found = Convention.between(labels, faces)
    assert (found.dy, found.dh) == (
        pytest.approx(CONVENTION.dy, abs=0.02),
        pytest.approx(CONVENTION.dh, abs=0.02),
    )
    assert (
        np.median(np.diag(box_iou(found.apply(faces), labels)))
        > np.median(np.diag(box_iou(faces, labels))) + 0.05
    )
    assert Convention.between(labels[:9], faces[:9]) == Convention()


def test_a_face_that_only_the_second_detector_finds(photos: list[JudgedPhoto]) -> None:
    features = photos[7].features
    more = Faces(
        np.concatenate([features.faces.boxes, as_boxes([300, 40, 345, 85])]),
        np.array([0.9, 0.9, 0.9], np.float32),
    )
    photos[7] = replace(photos[7], features=replace(features, faces=more))
    score = score_photos(photos)[7]
    assert score.only_second.tolist() == [True]
    assert [suspicion.reason for suspicion in suspect_labels(photos[7], score, minimum=0.0)][
        -1
    ] == "second_detector"
    painted = replace(photos[7], ignored=as_boxes([295, 35, 350, 90]))
    assert len(score_photos([*photos[:7], painted, *photos[8:]])[7].missing) == 0


def test_a_folder_s_class_against_the_classifier(planted: list[JudgedPhoto]) -> None:
    planted[0] = replace(planted[0], by_folder=True)
    score = score_photos(planted)[0]
    assert suspect_labels(planted[0], score)[0].reason == "folder_class"


def test_evidence_is_weighted_by_how_often_it_agrees(planted: list[JudgedPhoto]) -> None:
    """A classifier that contradicts every label is as good as one that agrees."""
    contrary = [
        replace(
            photo,
            features=replace(photo.features, probabilities=photo.features.probabilities[:, ::-1]),
        )
        for photo in planted
    ]
    scores = score_photos(contrary)
    assert scores[0].wrong_class[0] > 0.5 > scores[5].wrong_class.max()


def test_sets_without_predictions_are_judged_by_other_evidence(planted: list[JudgedPhoto]) -> None:
    unseen = [replace(photo, predictions=Predictions.none()) for photo in planted]
    top = [
        suspicion.image for suspicion in rank(unseen, score_photos(unseen)) if suspicion.rank <= 5
    ]
    assert set(top) == {photo.image for photo in planted[:5]}


def test_photos_without_labels_and_sets_of_one_class() -> None:
    rng = np.random.default_rng(1)
    empty = [
        relabeled(make_photo(number, rng), [], [], np.array([], dtype=int)) for number in range(3)
    ]
    assert [len(score.wrong_class) for score in score_photos(empty)] == [0, 0, 0]
    masked = [make_photo(number, rng, faces=1) for number in range(0, 40, 2)]
    assert max(score.wrong_class.max() for score in score_photos(masked)) < 0.5


def test_a_third_class_is_never_wrong(photos: list[JudgedPhoto]) -> None:
    photos[3] = relabeled(
        photos[3], photos[3].labels.boxes, [2, photos[3].labels.class_ids[1]], [0, 1]
    )
    assert score_photos(photos)[3].wrong_class[0] == 0


def test_errors_of_and_in_the_third_class_lead_the_list() -> None:
    """Every third photo shows a mask worn incorrectly, which the classifier calls either."""
    rng = np.random.default_rng(2)
    photos = []
    for number in range(90):
        photo = make_photo(number, rng)
        ids, features = photo.labels.class_ids.copy(), photo.features
        scores = np.pad(photo.predictions.scores, ((0, 0), (0, 1)), constant_values=0.05)
        looks, unsure = features.label_features.copy(), features.probabilities.copy()
        if number % 3 == 0:
            ids[0], scores[0], looks[0] = 2, [0.1, 0.1, 0.8], unit(np.eye(8)[1] + np.eye(8)[3])
            unsure[0] = rng.permutation([0.4, 0.6])
        features = replace(
            features,
            labels=Labels(photo.labels.boxes, ids),
            label_features=looks,
            probabilities=unsure,
        )
        predictions = Predictions(photo.predictions.boxes, scores)
        photos.append(replace(photo, features=features, predictions=predictions, by_folder=True))
    right = [photo.labels.class_ids for photo in photos]
    for number, class_id in ((3, 0), (6, 1), (10, 2)):  # 3 and 6 are of the third class, 10 is not
        ids = [class_id, right[number][1]]
        photos[number] = relabeled(photos[number], photos[number].labels.boxes, ids, [0, 1])
    found = [one for one in rank(photos, score_photos(photos)) if one.rank <= 3]
    assert {one.image: one.suggested_class for one in found} == {
        photos[3].image: "incorrect_mask",
        photos[6].image: "incorrect_mask",
        photos[10].image: ("with_mask", "without_mask")[right[10][0]],
    }
    assert all(one.label == 0 and one.score > 0.5 for one in found)
    for photo, score in zip(photos, score_photos(photos), strict=True):
        assert (score.other_class_ids != photo.labels.class_ids).all()
    assert {one.reason for one in found if one.image == photos[10].image} == {"wrong_class"}
    without = [replace(photo, predictions=Predictions.none(3)) for photo in photos]
    assert {one.image for one in rank(without, score_photos(without)) if one.rank <= 3} == {
        one.image for one in found
    }


def test_predictions_of_three_classes_for_a_set_of_two_and_the_other_way_round() -> None:
    three = Predictions(as_boxes([[0, 0, 9, 9]]), np.float32([[0.1, 0.2, 0.7]]))
    two = three.with_classes(2)
    np.testing.assert_allclose(two.scores, [[0.1, 0.7]])
    np.testing.assert_allclose(two.with_classes(3).scores, [[0.1, 0.7, 0]])
    assert Predictions.none().with_classes(3).scores.shape == (0, 3)


def test_linear_probabilities_come_from_the_other_folds(planted: list[JudgedPhoto]) -> None:
    """The only photo of fold 9 is not fitted to: its own label does not change its probability."""
    alone = replace(planted[0], fold=9)
    agreed = replace(
        alone,
        features=replace(
            alone.features, labels=Labels(alone.labels.boxes, 1 - alone.labels.class_ids)
        ),
    )
    one, two = (linear_probabilities([photo, *planted[1:]])[0] for photo in (alone, agreed))
    np.testing.assert_allclose(one, two)


def test_linear_probabilities_tell_the_classes_apart(photos: list[JudgedPhoto]) -> None:
    bare = np.concatenate(linear_probabilities(photos))[:, 1] > 0.5
    labeled_bare = np.concatenate([photo.labels.class_ids for photo in photos]) == 1
    assert (bare == labeled_bare).mean() > 0.95


def test_candidates_join_what_both_detectors_find(photos: list[JudgedPhoto]) -> None:
    found = find_candidates(photos)[0]
    assert len(found) == 2
    assert (found.second_scores > 0.8).all()
    assert (found.scores.max(axis=1) > 0.5).all()


def test_boxes_are_paired_one_to_one() -> None:
    boxes = as_boxes([[0, 0, 10, 10], [4, 0, 14, 10]])
    assert pair_boxes(boxes, as_boxes([[3, 0, 13, 10]])).tolist() == [-1, 0]
    assert pair_boxes(boxes, as_boxes([])).tolist() == [-1, -1]
    assert pair_boxes(as_boxes([]), boxes).tolist() == []


def test_cleanlab_finds_swapped_moved_and_deleted(planted: list[JudgedPhoto]) -> None:
    scores = label_quality.cleanlab_scores(planted)
    rest = scores[5:]
    assert scores[0].wrong_class[0] > max(other.wrong_class.max() for other in rest)
    assert scores[1].bad_box[0] > max(other.bad_box.max() for other in rest)
    assert scores[2].missing[0] > 0.5
    assert max(other.missing.max() for other in rest) == 0


def test_fiftyone_s_mistakenness_finds_swapped_deleted_and_spurious(
    fiftyone: Any, planted: list[JudgedPhoto]
) -> None:
    before = fiftyone.list_datasets()
    planted[2].predictions.scores[0, planted[2].predictions.class_ids[0]] = (
        0.97  # it ignores less confident ones
    )
    scores = label_quality.mistakenness(planted[:8])
    assert scores[0].wrong_class[0] > 0.5 > scores[5].wrong_class.max()
    assert scores[2].missing[0] > 0.5
    assert scores[3].spurious.tolist() == [0, 0, 1]
    assert fiftyone.list_datasets() == before


def test_copies_are_listed_by_what_is_wrong_with_them(photos: list[JudgedPhoto]) -> None:
    def copy(photo: JudgedPhoto, of: JudgedPhoto, **changes: Any) -> JudgedPhoto:
        return replace(
            photo,
            features=replace(photo.features, hashes=of.features.hashes, labels=of.labels),
            **changes,
        )

    first = photos[0]
    plain, leaking = copy(photos[2], first), copy(photos[4], first, split="val")
    other = replace(
        photos[6],
        features=replace(
            photos[6].features, hashes=first.features.hashes[::-1], labels=Labels(*_one(first))
        ),
    )
    found = {
        suspicion.image: suspicion.score
        for suspicion in suspect_copies([first, plain, leaking, other, photos[8]])
    }
    assert first.image not in found
    assert photos[8].image not in found
    assert found[other.image] > found[leaking.image] > found[plain.image] > 0


def _one(photo: JudgedPhoto) -> tuple[np.ndarray, np.ndarray]:
    return photo.labels.boxes[:1], photo.labels.class_ids[:1]


def test_a_photo_unlike_all_others_is_unusual_and_never_leads(planted: list[JudgedPhoto]) -> None:
    planted[20] = replace(
        planted[20], features=replace(planted[20].features, photo_features=unit(-np.ones(8)))
    )
    assert [suspicion.image for suspicion in suspect_unusual(planted)][:1] == [planted[20].image]
    found = {
        suspicion.image: suspicion for suspicion in reversed(rank(planted, score_photos(planted)))
    }
    assert found[planted[20].image].rank > 5
    assert neighbor_distances(unit(np.eye(4) + 1), 2).shape == (4,)


def test_the_list_is_by_photo_and_leaves_out_what_people_corrected(
    planted: list[JudgedPhoto],
) -> None:
    found = rank(planted, score_photos(planted), leave_out={planted[0].image})
    ranks = [suspicion.rank for suspicion in found]
    assert ranks == sorted(ranks)
    assert planted[0].image not in {suspicion.image for suspicion in found}
    by_photo = {suspicion.image: suspicion.rank for suspicion in found}
    assert sorted(by_photo.values()) == list(range(1, len(by_photo) + 1))


def test_folds_are_even_and_keep_near_copies_together() -> None:
    groups = [number // 2 for number in range(60)]
    folds = assign_folds(groups, [0] * 60, 3)
    assert np.bincount(folds).tolist() == [20, 20, 20]
    assert all(folds[place] == folds[place + 1] for place in range(0, 60, 2))
    assert assign_folds(groups, [0] * 60, 3, seed=1) != folds


def test_fused_faces_are_means_weighted_by_score() -> None:
    boxes = as_boxes([[0, 0, 10, 10], [2, 0, 12, 10], [50, 50, 60, 60]])
    found = fuse_boxes(boxes, np.array([[0.6, 0.0], [0.0, 0.3], [0.2, 0.1]], np.float32))
    np.testing.assert_allclose(
        found.boxes, [[2 / 3, 0, 10 + 2 / 3, 10], [50, 50, 60, 60]], atol=1e-4
    )
    np.testing.assert_allclose(found.scores, [[0.4, 0.1], [0.2, 0.1]], atol=1e-4)
    assert len(fuse_boxes(as_boxes([]), np.zeros((0, 2), np.float32))) == 0


def test_background_touches_no_label_and_no_face() -> None:
    labels, faces = as_boxes([[0, 0, 50, 50]]), as_boxes([[50, 50, 100, 100]])
    found = background_boxes(labels, faces, 200, 200, seed=0)
    assert found.shape == (1, 4)
    assert box_iou(found, np.concatenate([labels, faces])).max() == 0
    assert background_boxes(as_boxes([[0, 0, 200, 200]]), faces, 200, 200, seed=0).shape == (0, 4)
