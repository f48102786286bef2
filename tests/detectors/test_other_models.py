"""Detectors of other people: recognized by their class names, mapped, or refused with advice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from classifiers import make_classifier
from foreign_models import Head, foreign_model
from paths import SAMPLES

from maskyolo.core.boxes import box_iou
from maskyolo.core.classes import ALL_CLASS_NAMES
from maskyolo.core.detector import class_names_of
from maskyolo.core.images import read_image
from maskyolo.detectors.classes import find_classes
from maskyolo.detectors.loading import load_detector
from maskyolo.detectors.yolo import YoloDetector
from maskyolo.errors import MaskyoloError, WeightsError
from maskyolo.models.backends.base import Tensor
from maskyolo.models.own import find_model

WITH, WITHOUT = "with_mask", "without_mask"
SIZE = 320

#: Heads of other people's models, and the class map that each needs.
HEADS: dict[str, tuple[Head, dict[str, str]]] = {
    "other order and spelling": ([("No-Mask", WITHOUT), ("Mask", WITH)], {}),
    "with a class of any face": ([("mask", WITH), ("no-mask", WITHOUT), ("face", None)], {}),
    "face is bare": ([("face", WITHOUT), ("face_mask", WITH)], {}),
    "three classes": (
        [("mask_weared_incorrect", None), ("with_mask", WITH), ("without_mask", WITHOUT)],
        {},
    ),
    "unknown names": (
        [("gut", WITH), ("schlecht", WITHOUT)],
        {"Gut": "with_mask", "schlecht": "without_mask"},
    ),
    "construction site": (
        [("Hardhat", WITHOUT), ("Mask", WITH), ("NO-Mask", WITHOUT), ("Safety Vest", WITH)],
        {"Hardhat": "ignore", "Safety Vest": "drop"},
    ),
}


def found(model: Path | str, image: Any, **settings: Any) -> Any:
    detector = load_detector(model, imgsz=SIZE, precision="fp32", trust=True, **settings)
    return detector(image)


def assert_same(one: Any, other: Any) -> None:
    assert len(one) == len(other) > 2
    np.testing.assert_allclose(one.xyxy, other.xyxy, atol=0.05)
    np.testing.assert_allclose(one.confidence, other.confidence, atol=1e-3)
    assert one.class_id.tolist() == other.class_id.tolist()
    assert one.data["class_name"].tolist() == other.data["class_name"].tolist()
    assert {0, 1} <= {*one.class_id.tolist()}


@pytest.fixture(scope="module")
def street() -> Any:
    return read_image(SAMPLES / "street.jpg")


@pytest.fixture(scope="module")
def ours(street: Any) -> Any:
    return found("maskyolo-n", street)


@pytest.mark.parametrize("title", HEADS)
def test_a_model_with_other_classes_finds_what_ours_finds(
    title: str, street: Any, ours: Any, tmp_path: Path
) -> None:
    head, class_map = HEADS[title]
    model = foreign_model(tmp_path / "other.onnx", head)
    assert_same(found(model, street, class_map=class_map), ours)


@pytest.mark.parametrize(
    ("suffix", "settings"),
    [(".onnx", {"backend": "onnxruntime"}), (".xml", {}), (".pt", {"device": "cpu"})],
)
def test_in_every_runtime(
    suffix: str, settings: dict[str, Any], street: Any, ours: Any, tmp_path: Path
) -> None:
    head, _ = HEADS["three classes"]
    model = foreign_model(tmp_path / f"other{suffix}", head)
    assert_same(found(model, street, **settings), ours)


def test_the_description_says_what_the_classes_mean(tmp_path: Path) -> None:
    head, class_map = HEADS["construction site"]
    model = foreign_model(tmp_path / "other.onnx", head)
    detector = load_detector(model, class_map=class_map)
    meanings = (
        "; classes: Hardhat as nothing, Mask as with_mask, NO-Mask as without_mask, "
        "Safety Vest as nothing"
    )
    assert detector.description.endswith(meanings)
    assert detector.title.endswith(meanings)
    assert "classes" not in load_detector().description


COCO = [(name, None) for name in ("person", "bicycle", "car", *map(str, range(77)))]
REFUSED: dict[str, tuple[list[str], str]] = {
    "unknown": (
        ["gut", "sehr schlecht"],
        (
            "unknown classes gut, sehr schlecht; map them with --map gut=CLASS "
            "--map 'sehr schlecht=CLASS', where CLASS is with_mask, without_mask, incorrect_mask "
            "or ignore (leave out)"
        ),
    ),
    "half known": (
        ["mask", "nose"],
        "unknown classes nose; map them with --map nose=CLASS, where CLASS is",
    ),
    "more than ours": (
        ["helmet", "mask", "no mask"],
        "unknown classes helmet; leave out their detections with --map helmet=ignore, or give",
    ),
    "one class": (
        ["face"],
        (
            "its only class is face, so it cannot tell faces with a mask from faces without; use a "
            "model with both classes; if it finds faces, let a classifier decide: "
            "--pipeline two-stage --detector yolo --face other.onnx, without --model"
        ),
    ),
    "one of ours": (
        ["with_mask"],
        "none of its classes (with_mask) is without_mask; use a model that finds faces with and",
    ),
    "80 classes": (
        [name for name, _ in COCO],
        (
            "80 classes (person, bicycle, car, 0, 1, 2 and 74 more), but not with_mask and "
            "without_mask; use a model that finds faces with and without a mask, such as "
            "maskyolo-n, or map each class with --map person=CLASS and so on"
        ),
    ),
}


@pytest.mark.parametrize("title", REFUSED)
def test_other_classes_are_refused_in_a_line_that_gives_the_map(title: str) -> None:
    names, message = REFUSED[title]
    with pytest.raises(WeightsError) as failed:
        find_classes(names, weights="other.onnx")
    assert str(failed.value).startswith("wrong weights other.onnx: ")
    assert message in str(failed.value)


@pytest.mark.parametrize("title", ["one class", "80 classes"])
def test_files_of_other_detectors_are_refused(title: str, tmp_path: Path) -> None:
    names, _ = REFUSED[title]
    model = foreign_model(tmp_path / "other.onnx", [(name, None) for name in names])
    with pytest.raises(WeightsError, match=r"wrong weights .*other.onnx: (its only class|80)"):
        load_detector(model)


def test_a_class_map_with_an_unknown_class_lists_the_known_ones() -> None:
    with pytest.raises(MaskyoloError, match=r"unknown class 'masked' in the class map; choose one"):
        find_classes(["a", "b"], {"a": "masked"})


def test_the_third_class_needs_a_model_that_has_it() -> None:
    with pytest.raises(WeightsError, match="is incorrect_mask; leave out --incorrect, or use"):
        load_detector(incorrect=True)
    with pytest.raises(MaskyoloError, match="--incorrect has no effect with --pipeline two-stage"):
        load_detector(pipeline="two-stage", incorrect=True)
    with pytest.raises(MaskyoloError, match="--map has no effect with --pipeline two-stage"):
        load_detector(pipeline="two-stage", class_map={"a": "with_mask"})


def test_the_third_class_is_folded_or_reported(street: Any, ours: Any, tmp_path: Path) -> None:
    head = [("incorrect", WITHOUT), ("without_mask", None), ("with_mask", WITH)]
    model = foreign_model(tmp_path / "three.onnx", head)
    assert_same(found(model, street), ours)
    detector = load_detector(model, imgsz=SIZE, precision="fp32", incorrect=True)
    three = detector(street)
    assert class_names_of(detector) == detector.class_names == ALL_CLASS_NAMES
    assert three.class_id is not None
    assert ours.class_id is not None
    assert three.class_id.tolist() == [2 * number for number in ours.class_id]
    assert {*three.data["class_name"]} == {"with_mask", "incorrect_mask"}


class FakeNetwork:
    """A network with given scores for one box."""

    precision, streams, description = "fp32", 1, "fake"
    shape: tuple[int, int] | None = None
    imgsz: int | None = 32

    def __init__(self, names: tuple[str, ...], scores: list[float]) -> None:
        self.names, self.scores = names, scores

    def __call__(self, batch: Any, mixed: bool = False) -> Tensor:
        return np.array([16, 16, 20, 20, *self.scores], np.float32).reshape(1, -1, 1)


def test_scores_of_classes_that_mean_the_same_are_joined() -> None:
    network = FakeNetwork((WITH, WITHOUT, "incorrect_mask"), [0.4, 0.3, 0.3])
    image = np.zeros((32, 32, 3), np.uint8)
    folded = YoloDetector(network)(image)
    assert (folded.class_id, folded.confidence) == (pytest.approx([1]), pytest.approx([0.51]))
    classes = find_classes(network.names, incorrect=True)
    three = YoloDetector(network, classes=classes)(image)
    assert (three.class_id, three.confidence) == (pytest.approx([0]), pytest.approx([0.4]))


def test_the_usual_classes_cost_nothing() -> None:
    output = np.zeros((6, 10), np.float32)
    assert find_classes([WITH, WITHOUT]).select(output) is output
    assert find_classes([WITH, WITHOUT, "incorrect"], incorrect=True).select(output) is output
    assert find_classes([WITHOUT, WITH]).select(output) is not output


def test_a_face_detector_is_the_first_of_two_stages(street: Any, ours: Any, tmp_path: Path) -> None:
    model = foreign_model(tmp_path / "face.onnx", [("face", WITH)])
    settings = {"pipeline": "two-stage", "detector": "yolo", "conf": 0}
    classifier = make_classifier(tmp_path / "classifier.onnx")
    two_stage = load_detector(classifier, face=model, **settings)
    found = two_stage(street)
    alone = load_detector(imgsz=640, conf=0.5, precision="fp32")(street)
    masked = alone.xyxy[alone.class_id == 0]
    assert len(masked) > 0
    assert box_iou(masked, found.xyxy).max(axis=1).min() > 0.9
    assert {*found.data["class_name"]} <= {WITH, WITHOUT}
    # the weights of a detector of masks find faces, too
    both = load_detector(classifier, face=Path("maskyolo-n"), **settings)(street)
    assert len(both) >= len(alone) > len(masked)
    with pytest.raises(MaskyoloError, match="yolo needs its weights; give its"):
        load_detector(classifier, **settings)
    coco = foreign_model(tmp_path / "coco.onnx", [(name, None) for name in ("cat", "dog")])
    with pytest.raises(WeightsError, match="none of its 2 classes is a face"):
        load_detector(classifier, face=coco, **settings)


def with_input(path: Path, kind: str, *, last: bool = False) -> Path:
    """Write maskyolo-n with another type of input, or with its channels last."""
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load(find_model("maskyolo-n"))
    name, sides = model.graph.input[0].name, [1, SIZE, SIZE, 3] if last else [1, 3, SIZE, SIZE]
    node = (
        helper.make_node("Transpose", ["other"], [name], perm=[0, 3, 1, 2])
        if last
        else helper.make_node("Cast", ["other"], [name], to=TensorProto.FLOAT)
    )
    model.graph.node.insert(0, node)
    del model.graph.input[:]
    other = helper.make_tensor_value_info("other", getattr(TensorProto, kind), sides)
    model.graph.input.append(other)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_other_inputs_are_fed_rightly_or_refused(backend: str, tmp_path: Path) -> None:
    image = read_image(SAMPLES / "queue.jpg")
    settings: dict[str, Any] = {"imgsz": SIZE, "precision": "fp32", "backend": backend}
    for kind, last, message in (
        ("UINT8", False, "type .*u.*8.*, not float"),
        ("FLOAT", True, rf"input \[1, {SIZE}, {SIZE}, 3\] instead of"),
    ):
        with pytest.raises(WeightsError, match=message):
            load_detector(with_input(tmp_path / "other.onnx", kind, last=last), **settings)
    half = load_detector(with_input(tmp_path / "half.onnx", "FLOAT16"), **settings)(image)
    assert len(half) == len(load_detector(**settings)(image)) > 2


def test_a_model_without_class_names_can_be_mapped_by_number(tmp_path: Path) -> None:
    import onnx

    path = foreign_model(tmp_path / "a.onnx", HEADS["other order and spelling"][0])
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, path)
    with pytest.raises(WeightsError, match=r"unknown classes 0, 1; .* --map 0=CLASS"):
        load_detector(path)
    image = read_image(SAMPLES / "queue.jpg")
    assert_same(found(path, image, class_map={"0": WITHOUT, "1": WITH}), found("maskyolo-n", image))
