"""The benchmark of face boxes must count rightly, or its figures mean nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import supervision as sv
from benchmarks_as_modules import load_benchmark

from maskyolo.core.boxes import as_boxes
from maskyolo.core.images import ImageArray, read_image
from maskyolo.detectors.faces.base import Faces


@pytest.fixture(scope="module")
def labels() -> ModuleType:
    return load_benchmark("labels")


def test_crops_have_the_margin_and_every_human_box_in_them(
    labels: ModuleType, samples: Path
) -> None:
    made = list(labels.pictures(samples, ["queue.jpg", "portrait.jpg"], 40))
    assert [picture.kind for picture in made if picture.photo.name == "portrait.jpg"] == [
        "photo",
        "0%",
        "10%",
        "25%",
        "50%",
        "100%",
    ]
    assert {picture.kind for picture in made if picture.photo.name == "queue.jpg"} == {
        "0%",
        "10%",
        "25%",
        "50%",
        "100%",
    }  # two classes
    tight = next(
        picture for picture in made if picture.kind == "0%" and picture.photo.name == "portrait.jpg"
    )
    x1, y1, x2, y2 = tight.window
    assert tight.must == pytest.approx(np.array([[0, 0, x2 - x1, y2 - y1]]), abs=1)
    wide = [
        picture for picture in made if picture.kind == "100%" and picture.photo.name == "queue.jpg"
    ]
    assert max(len(picture.must) for picture in wide) > 1


def test_perfect_boxes_are_perfect_and_others_are_counted(
    labels: ModuleType, samples: Path
) -> None:
    made = list(labels.pictures(samples, ["queue.jpg"], 40))
    perfect = labels.tally(made, [picture.must for picture in made], lambda picture: ["all"])["all"]
    assert min(perfect.ious) == pytest.approx(1)
    assert perfect.false == 0
    with_others = [np.concatenate([picture.may, picture.must]) for picture in made]
    assert labels.tally(made, with_others, lambda picture: ["all"])["all"].false == 0


def test_a_box_counts_once_and_misses_below_one_half(labels: ModuleType) -> None:
    picture = labels.Picture(
        Path(),
        (0, 0, 100, 100),
        "photo",
        "with_mask",
        as_boxes([[0, 0, 10, 10]]),
        as_boxes([[50, 50, 60, 60]]),
    )
    ious, false = labels.match(
        as_boxes([[0, 0, 10, 8], [0, 0, 10, 10], [51, 51, 60, 60], [20, 20, 30, 30]]), picture
    )
    assert ious == pytest.approx([0.8])
    assert false == 2  # the second on the same face, and the one on nothing
    ious, false = labels.match(as_boxes([[0, 0, 10, 4]]), picture)
    assert ious.tolist() == [0]
    assert false == 1
    assert labels.match(as_boxes([]), picture)[1] == 0


def test_a_face_that_nobody_annotated_may_be_found_or_not(
    labels: ModuleType, tmp_path: Path
) -> None:
    (tmp_path / "audit.csv").write_text(
        "image,x1,y1,x2,y2,confidence,found_by,kind,what\n"
        "a.jpg,30,40,50,70,0.5,n640,face_unclear,\n"
        "a.jpg,0,0,10,10,0.5,n640,not_face,hand\n"
        "a.jpg,500,0,510,10,0.5,n640,with_mask,\n"
    )
    audit = labels.read_audit(tmp_path / "audit.csv")
    none = as_boxes([])
    picture = labels.Picture(Path("a.jpg"), (20, 20, 120, 120), "50%", "with_mask", none, none)
    audited = labels.with_audit(picture, audit)
    assert audited.may.tolist() == [[10, 20, 30, 50]]
    assert labels.match(as_boxes([[11, 21, 31, 51], [60, 60, 80, 80]]), audited)[1] == 1
    other = labels.Picture(Path("b.jpg"), (0, 0, 50, 50), "photo", "with_mask", none, none)
    assert labels.with_audit(other, audit).may.shape == (0, 4)


def test_what_convert_labels_has_no_box_for_what_it_paints_over_or_sets_aside(
    labels: ModuleType, samples: Path
) -> None:
    made = [
        picture
        for picture in labels.pictures(samples, ["portrait.jpg"], 40)
        if picture.kind in ("photo", "50%")
    ]
    truth = {picture.kind: picture.must for picture in made}

    class Perfect:
        def detect(self, image: ImageArray) -> Faces:
            (kind,) = (
                picture.kind
                for picture in made
                if picture.pixels(read_image(picture.photo)).shape == image.shape
            )
            boxes = np.concatenate([truth[kind], [[0, 0, 30, 30]]]).astype(np.float32)
            return Faces(boxes, np.ones(len(boxes), dtype=np.float32), ("ssd",) * len(boxes))

    def sees(*shown: float) -> Callable[[ImageArray], sv.Detections]:
        def judge(image: ImageArray) -> sv.Detections:
            (kind,) = (
                picture.kind
                for picture in made
                if picture.pixels(read_image(picture.photo)).shape == image.shape
            )
            class_ids = np.full(
                len(truth[kind]), ["with_mask", "without_mask"].index(made[0].class_name)
            )
            return sv.Detections(
                truth[kind], confidence=np.full(len(truth[kind]), shown[0]), class_id=class_ids
            )

        return judge

    assert [len(faces) for faces in labels.find(Perfect(), made)[0]] == [2, 2]
    labelled, _ = labels.find(Perfect(), made, sees(0.9))
    assert [faces.boxes.tolist() for faces in labelled] == [
        picture.must.tolist() for picture in made
    ], "the other face is painted over"
    assert [len(faces) for faces in labels.find(Perfect(), made, sees(0.0))[0]] == [0, 0], (
        "ambiguous"
    )
