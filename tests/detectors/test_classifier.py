"""Crops: cut, scaled and normalized for training and detection alike; and their classifier."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from classifiers import make_classifier

from maskyolo.core.images import ImageArray
from maskyolo.detectors.classifier import (
    MAX_BATCH,
    Classifier,
    CropSettings,
    cut_crops,
    normalize_crops,
    preprocess,
)
from maskyolo.errors import MaskyoloError, WeightsError
from maskyolo.models.backends.loading import load_backend
from maskyolo.models.own import find_model

IMAGENET = CropSettings(
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    margin=0.1,
    names=("without_mask", "with_mask"),
)


@pytest.fixture
def halves() -> ImageArray:
    """A BGR image (20, 40), red on the left and green on the right."""
    image = np.zeros((20, 40, 3), np.uint8)
    image[:, :20, 2] = image[:, 20:, 1] = 255
    return image


def test_settings_survive_their_json() -> None:
    assert CropSettings.from_json(IMAGENET.to_json()) == IMAGENET
    assert set(json.loads(IMAGENET.to_json())) == {"arch", "size", "mean", "std", "margin", "names"}


@pytest.mark.parametrize(
    "change",
    [
        {"size": 0},
        {"margin": -0.1},
        {"std": [0, 1, 1]},
        {"mean": [0.5]},
        {"names": ["cat", "dog"]},
        {"size": None},
        {"names": 3},
        {"more": 1},
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(change: dict[str, object]) -> None:
    with pytest.raises((ValueError, TypeError)):
        CropSettings.from_json(json.dumps(json.loads(IMAGENET.to_json()) | change))


@pytest.mark.parametrize("text", ["", "[]", "{}", "{'size': 1}"])
def test_what_is_no_settings_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        CropSettings.from_json(text)


def test_a_crop_is_the_box_in_rgb(colors: ImageArray) -> None:
    (crop,) = cut_crops(colors, [[3, 5, 11, 13]], CropSettings(size=8))
    assert crop.dtype == np.uint8
    assert (crop == colors[5:13, 3:11, ::-1]).all()


def test_boxes_are_rounded_to_whole_pixels(colors: ImageArray) -> None:
    (crop,) = cut_crops(colors, [[2.6, 5.4, 10.6, 13.4]], CropSettings(size=8))
    assert (crop == colors[5:13, 3:11, ::-1]).all()


def test_a_crop_is_stretched_to_a_square(halves: ImageArray) -> None:
    (crop,) = cut_crops(halves, [[10, 0, 30, 10]], CropSettings(size=40))
    assert crop.shape == (40, 40, 3)
    assert crop[20, 5].tolist() == [255, 0, 0]
    assert crop[20, 35].tolist() == [0, 255, 0]


def test_the_margin_is_a_share_of_the_box_and_ends_at_the_border(colors: ImageArray) -> None:
    (crop,) = cut_crops(colors, [[16, 10, 24, 18]], CropSettings(size=16, margin=0.5))
    assert (crop == colors[6:22, 12:28, ::-1]).all()
    (crop,) = cut_crops(colors, [[0, 0, 8, 8]], CropSettings(size=12, margin=0.5))
    assert (crop == colors[:12, :12, ::-1]).all()


@pytest.mark.parametrize(
    ("box", "pixel"),
    [
        ([7, 9, 7, 9], (9, 7)),
        ([7, 9, 8, 10], (9, 7)),
        ([7.2, 9.1, 7.3, 9.2], (9, 7)),
        ([20, 15, 10, 5], (15, 20)),
        ([-9, -9, -3, -3], (0, 0)),
        ([90, 90, 99, 99], (29, 39)),
        ([40, 30, 40, 30], (29, 39)),
    ],
    ids=str,
)
def test_of_an_empty_or_outer_box_one_pixel_is_taken(
    colors: ImageArray, box: list[float], pixel: tuple[int, int]
) -> None:
    (crop,) = cut_crops(colors, [box], CropSettings(size=4))
    assert (crop == colors[pixel][::-1]).all()


def test_no_boxes_are_no_crops(colors: ImageArray) -> None:
    assert cut_crops(colors, [], CropSettings(size=8)).shape == (0, 8, 8, 3)
    batch = preprocess(colors, [], CropSettings(size=8))
    assert batch.shape == (0, 3, 8, 8)
    assert batch.dtype == np.float32


def test_pixels_are_scaled_as_mobilenets_preprocess_input_does(colors: ImageArray) -> None:
    settings = CropSettings(size=8)
    batch = preprocess(colors, [[3, 5, 11, 13], [0, 0, 8, 8]], settings)
    expected = colors[5:13, 3:11, ::-1].transpose(2, 0, 1) / 127.5 - 1
    assert batch.dtype == np.float32
    assert batch.flags.c_contiguous
    assert np.abs(batch[0] - expected).max() < 1e-6


def test_mean_and_standard_deviation_are_those_of_their_channel() -> None:
    batch = normalize_crops(np.full((1, 2, 2, 3), 255, np.uint8), IMAGENET)
    assert batch[0, :, 0, 0] == pytest.approx(
        [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225], rel=1e-6
    )


def test_probabilities_are_in_our_order_whatever_the_models(
    tmp_path: Path, halves: ImageArray
) -> None:
    boxes = np.array([[0, 0, 20, 20], [20, 0, 40, 20]], np.float32)
    ours = Classifier(make_classifier(tmp_path / "a.onnx"))(halves, boxes)
    assert ours.shape == (2, 2)
    assert ours.dtype == np.float32
    high = 1 / (1 + np.exp(-2))
    assert ours.ravel() == pytest.approx([high, 1 - high, 1 - high, high], abs=1e-5)
    other = make_classifier(
        tmp_path / "b.onnx", CropSettings(size=8, names=("without_mask", "with_mask"))
    )
    assert Classifier(other)(halves, boxes) == pytest.approx(ours[:, ::-1])


def test_many_faces_get_what_each_gets_alone(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (90, 120, 3), np.uint8)
    corners = rng.uniform(0, 80, (2 * MAX_BATCH + 3, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(0, 40, corners.shape)], axis=1).astype(
        np.float32
    )
    classifier = Classifier(make_classifier(tmp_path / "a.onnx"))
    together = classifier(image, boxes)
    alone = np.concatenate(
        [classifier(image, boxes[number : number + 1]) for number in range(len(boxes))]
    )
    assert together == pytest.approx(alone, abs=1e-6)
    assert classifier(image, boxes[:0]).shape == (0, 2)


def test_networks_other_than_crop_classifiers_are_a_one_line_error(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("text")
    wrong = {
        find_model("maskyolo-n"): "YOLO",
        tmp_path / "text.onnx": "not a network",
        make_classifier(tmp_path / "bare.onnx", metadata=""): "without crop settings",
        make_classifier(tmp_path / "odd.onnx", metadata="{}"): "arch, size, mean",
        make_classifier(
            tmp_path / "size.onnx", metadata=CropSettings(size=9).to_json()
        ): r"\[\?,3,9,9\]",
        make_classifier(tmp_path / "three.onnx", outputs=3): r"\[\?,3\]",
    }
    for path, message in wrong.items():
        with pytest.raises(WeightsError, match=message) as error:
            Classifier(path)
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "metadata",
    [
        "[" * 5000,
        '{"size": 1e999}',
        json.dumps(json.loads(CropSettings(size=8).to_json()) | {"size": float("inf")}),
        json.dumps(json.loads(CropSettings(size=8).to_json()) | {"size": 10**6}),
        json.dumps(json.loads(CropSettings(size=8).to_json()) | {"margin": 1e300}),
        json.dumps(json.loads(CropSettings(size=8).to_json()) | {"margin": float("nan")}),
        json.dumps(json.loads(CropSettings(size=8).to_json()) | {"mean": [float("nan")] * 3}),
        json.dumps(json.loads(CropSettings(size=8).to_json()) | {"std": [1e-40] * 3}),
    ],
)
def test_crop_settings_from_anyone_are_one_line(metadata: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        Classifier(make_classifier(tmp_path / "x.onnx", metadata=metadata))
    assert "\n" not in str(caught.value)


def test_a_classifier_that_returns_no_numbers_is_one_line(tmp_path: Path) -> None:
    path = make_classifier(tmp_path / "x.onnx")
    model = onnx.load(path)
    weights = np.full((3, 2), np.nan, np.float32)
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weights, "weights"))
    onnx.save(model, path)
    classifier = Classifier(path)
    with pytest.raises(WeightsError, match="returned invalid numbers"):
        classifier(np.full((20, 20, 3), 99, np.uint8), np.array([[2, 2, 15, 15]], np.float32))


def test_an_unavailable_device_is_a_one_line_error(tmp_path: Path) -> None:
    with pytest.raises(MaskyoloError, match="npu7"):
        Classifier(make_classifier(tmp_path / "a.onnx"), device="npu7")


def test_a_classifier_given_as_a_yolo_detector_says_how_to_use_it(
    tmp_path: Path,
) -> None:
    with pytest.raises(WeightsError, match="--pipeline two-stage"):
        load_backend(make_classifier(tmp_path / "a.onnx"))
