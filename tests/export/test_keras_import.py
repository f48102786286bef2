"""Keras' HDF5 models become ONNX: small ones, compared with the layers written in NumPy."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest
from paths import ROOT

from maskyolo.core.images import ImageArray
from maskyolo.detectors.classifier import Classifier, CropSettings, normalize_crops
from maskyolo.errors import DependencyError, MaskyoloError, WeightsError
from maskyolo.export import keras_file
from maskyolo.export.keras_import import convert_keras

Array = npt.NDArray[np.float64]
SIDE = 17


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read HDF5 here, because a process for each of the many files would take a second."""
    monkeypatch.setattr(keras_file, "_extract_elsewhere", keras_file._extract)


def keras_layer(kind: str, name: str, inputs: list[str], **config: Any) -> dict[str, Any]:
    """Return a layer as Keras 2 writes it."""
    nodes = [[[source, 0, 0, {}] for source in inputs]] if inputs else []
    return {
        "class_name": kind,
        "name": name,
        "config": {"name": name, **config},
        "inbound_nodes": nodes,
    }


def as_keras_3(layer: dict[str, Any]) -> dict[str, Any]:
    """Return that layer as Keras 3 writes it."""
    tensors = [
        {
            "class_name": "__keras_tensor__",
            "config": {"shape": [None], "dtype": "float32", "keras_history": history[:3]},
        }
        for node in layer["inbound_nodes"]
        for history in node
    ]
    arguments = [tensors] if layer["class_name"] == "Add" else tensors
    config = {
        ("batch_shape" if key == "batch_input_shape" else key): value
        for key, value in layer["config"].items()
    }
    return layer | {
        "config": config,
        "inbound_nodes": [{"args": arguments, "kwargs": {}}] if tensors else [],
    }


CONV = {"data_format": "channels_last", "dilation_rate": [1, 1], "activation": "linear"}
POOL = {"data_format": "channels_last", "pool_size": [2, 2], "strides": [2, 2]}
LAYERS = [
    keras_layer("InputLayer", "input_1", [], batch_input_shape=[None, SIDE, SIDE, 3]),
    keras_layer(
        "ZeroPadding2D", "pad", ["input_1"], padding=[[0, 1], [2, 1]], data_format="channels_last"
    ),
    keras_layer("Conv2D", "conv", ["pad"], strides=[2, 2], padding="valid", **CONV),
    keras_layer("BatchNormalization", "bn", ["conv"], axis=[3], epsilon=0.001),
    keras_layer("ReLU", "relu", ["bn"], max_value=6.0, negative_slope=0.0, threshold=0.0),
    keras_layer(
        "DepthwiseConv2D",
        "deep",
        ["relu"],
        strides=[2, 2],
        padding="same",
        depth_multiplier=1,
        **CONV,
    ),
    keras_layer("Activation", "active", ["deep"], activation="relu"),
    keras_layer(
        "Conv2D",
        "wide",
        ["active"],
        strides=[1, 1],
        padding="same",
        **CONV | {"activation": "relu"},
    ),
    keras_layer("Add", "add", ["active", "wide"]),
    keras_layer("AveragePooling2D", "pool", ["add"], padding="valid", **POOL),
    keras_layer("Flatten", "flat", ["pool"], data_format="channels_last"),
    keras_layer("Dense", "dense", ["flat"], activation="relu"),
    keras_layer("Dropout", "dropout", ["dense"], rate=0.5),
    keras_layer("Dense", "dense_1", ["dropout"], activation="softmax"),
]


@pytest.fixture(scope="module")
def weights() -> dict[str, dict[str, Array]]:
    rng = np.random.default_rng(0)

    def some(*shape: int) -> Array:
        return rng.normal(0, 0.6, shape).astype(np.float32).astype(np.float64)

    return {
        "conv": {"kernel": some(3, 3, 3, 4)},
        "bn": {
            "gamma": some(4),
            "beta": some(4),
            "moving_mean": some(4),
            "moving_variance": some(4) ** 2,
        },
        "deep": {"depthwise_kernel": some(3, 3, 4, 1), "bias": some(4)},
        "wide": {"kernel": some(2, 2, 4, 4), "bias": some(4)},
        "dense": {"kernel": some(4 * 2 * 2, 5), "bias": some(5)},
        "dense_1": {"kernel": some(5, 2), "bias": some(2)},
    }


def write_h5(
    path: Path,
    layers: list[dict[str, Any]],
    weights: dict[str, dict[str, Array]],
    kind: str = "Model",
    **more: Any,
) -> Path:
    """Write a model as `model.save(path, save_format="h5")` does."""
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(
            {"class_name": kind, "config": {"name": "model", "layers": layers, **more}}
        )
        stored = file.create_group("model_weights")
        for layer in layers:
            name = layer["config"]["name"]
            inner = [one["config"]["name"] for one in layer["config"].get("layers", [])] or [name]
            found = {
                f"{one}/{key}:0": array
                for one in inner
                for key, array in weights.get(one, {}).items()
            }
            group = stored.create_group(name)
            group.attrs["weight_names"] = [key.encode() for key in found]
            for key, array in found.items():
                group.create_dataset(key, data=array.astype(np.float32))
    return path


def slide(
    x: Array, size: tuple[int, int], stride: int, padding: str, reduce: Callable[[Array], Array]
) -> Array:
    """Slide a window over (H, W, C) as TensorFlow does: `same` pads the more at the end."""
    if padding == "same":
        missing = [
            max((-(-side // stride) - 1) * stride + length - side, 0)
            for side, length in zip(x.shape[:2], size, strict=True)
        ]
        x = np.pad(
            x,
            [
                (missing[0] // 2, -(-missing[0] // 2)),
                (missing[1] // 2, -(-missing[1] // 2)),
                (0, 0),
            ],
        )
    rows, columns = (
        range(0, side - length + 1, stride) for side, length in zip(x.shape[:2], size, strict=True)
    )
    return np.array(
        [
            [reduce(x[row : row + size[0], column : column + size[1]]) for column in columns]
            for row in rows
        ]
    )


def reference(image: Array, weights: dict[str, dict[str, Array]]) -> Array:
    """Compute the output of `LAYERS` for one normalized RGB image (H, W, 3)."""
    x = np.pad(image, [(0, 1), (2, 1), (0, 0)])
    x = slide(
        x,
        (3, 3),
        2,
        "valid",
        lambda window: np.einsum("abc,abcd->d", window, weights["conv"]["kernel"]),
    )
    bn = weights["bn"]
    x = (x - bn["moving_mean"]) / np.sqrt(bn["moving_variance"] + 0.001) * bn["gamma"] + bn["beta"]
    x = x.clip(0, 6)
    deep = weights["deep"]
    x = slide(
        x,
        (3, 3),
        2,
        "same",
        lambda window: (window * deep["depthwise_kernel"][..., 0]).sum((0, 1)) + deep["bias"],
    ).clip(0)
    wide = weights["wide"]
    x = x + slide(
        x,
        (2, 2),
        1,
        "same",
        lambda window: np.einsum("abc,abcd->d", window, wide["kernel"]) + wide["bias"],
    ).clip(0)
    x = slide(x, (2, 2), 2, "valid", lambda window: window.mean((0, 1))).ravel()
    x = (x @ weights["dense"]["kernel"] + weights["dense"]["bias"]).clip(0)
    logits = x @ weights["dense_1"]["kernel"] + weights["dense_1"]["bias"]
    powers = np.exp(logits - logits.max())
    result: Array = powers / powers.sum()
    return result


@pytest.fixture(scope="module")
def images() -> ImageArray:
    """Four BGR images (17, 17) of noise."""
    return np.random.default_rng(1).integers(0, 256, (4, SIDE, SIDE, 3), np.uint8)


def answers(path: Path, images: ImageArray) -> npt.NDArray[np.float32]:
    classifier = Classifier(path)
    return np.concatenate(
        [classifier(image, np.array([[0, 0, SIDE, SIDE]], np.float32)) for image in images]
    )


@pytest.fixture(scope="module")
def expected(images: ImageArray, weights: dict[str, dict[str, Array]]) -> Array:
    return np.array([reference(image[..., ::-1] / 127.5 - 1, weights) for image in images])


def nested(layers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put the layers up to `add` into a model of their own inside a Sequential one."""
    base = {
        "name": "base",
        "layers": layers[:9],
        "input_layers": [["input_1", 0, 0]],
        "output_layers": [["add", 0, 0]],
    }
    return [
        {"class_name": "Functional", "config": base},
        *({"class_name": one["class_name"], "config": one["config"]} for one in layers[9:]),
    ]


@pytest.mark.parametrize("form", ["keras2", "keras3", "nested"])
def test_the_onnx_answers_as_the_layers_written_out(
    form: str,
    tmp_path: Path,
    images: ImageArray,
    weights: dict[str, dict[str, Array]],
    expected: Array,
) -> None:
    if form == "nested":
        path = write_h5(tmp_path / "x.h5", nested(LAYERS), weights, "Sequential")
    else:
        layers = LAYERS if form == "keras2" else list(map(as_keras_3, LAYERS))
        path = write_h5(
            tmp_path / "x.h5",
            layers,
            weights,
            input_layers=[["input_1", 0, 0]],
            output_layers=[["dense_1", 0, 0]],
        )
    assert convert_keras(path, tmp_path / "x.onnx") == CropSettings(arch="keras", size=SIDE)
    assert expected[:, 0].std() > 0.05
    assert np.abs(answers(tmp_path / "x.onnx", images) - expected).max() < 1e-5
    assert not list(tmp_path.glob("*.part"))


def test_the_other_pooling_layers(
    tmp_path: Path, images: ImageArray, weights: dict[str, dict[str, Array]]
) -> None:
    layers = [
        LAYERS[0],
        keras_layer("MaxPooling2D", "max", ["input_1"], padding="same", **POOL),
        keras_layer(
            "AveragePooling2D", "mean", ["max"], padding="same", **POOL | {"pool_size": [3, 3]}
        ),
        keras_layer("GlobalAveragePooling2D", "all", ["mean"], data_format="channels_last"),
        keras_layer("Dense", "dense", ["all"], activation="linear"),
        keras_layer("Softmax", "soft", ["dense"], axis=-1),
    ]
    kernel = np.array([[3, -2], [1, 4], [-5, 1]], np.float64)
    path = write_h5(tmp_path / "x.h5", layers, {"dense": {"kernel": kernel, "bias": np.zeros(2)}})
    convert_keras(path, tmp_path / "x.onnx", scaling="unit")
    logits = []
    for image in images:
        x = slide(image[..., ::-1] / 255, (2, 2), 2, "same", lambda window: window.max((0, 1)))
        ones = slide(np.ones_like(x), (3, 3), 2, "same", lambda window: window.sum((0, 1)))
        x = (
            slide(x, (3, 3), 2, "same", lambda window: window.sum((0, 1))) / ones
        )  # padding is not part of the mean
        logits.append(x.mean((0, 1)) @ kernel)
    powers = np.exp(np.array(logits))
    assert answers(tmp_path / "x.onnx", images) == pytest.approx(
        powers / powers.sum(1, keepdims=True), abs=1e-5
    )


def test_caffe_means_bgr_and_the_means_of_imagenet(
    tmp_path: Path, images: ImageArray, weights: dict[str, dict[str, Array]]
) -> None:
    path = write_h5(tmp_path / "x.h5", LAYERS, weights)
    convert_keras(path, tmp_path / "x.onnx", scaling="caffe", names=("without_mask", "with_mask"))
    expected = np.array(
        [reference(image - np.array([103.939, 116.779, 123.68]), weights) for image in images]
    )
    assert np.abs(answers(tmp_path / "x.onnx", images)[:, ::-1] - expected).max() < 1e-4


def test_margin_and_names_are_written_along(
    tmp_path: Path, weights: dict[str, dict[str, Array]]
) -> None:
    path = write_h5(tmp_path / "x.h5", LAYERS, weights)
    settings = convert_keras(path, tmp_path / "x.onnx", scaling="torch", margin=0.2)
    assert Classifier(tmp_path / "x.onnx").settings == settings
    assert settings.margin == 0.2
    assert normalize_crops(np.zeros((1, 1, 1, 3), np.uint8), settings)[0, 0, 0, 0] == pytest.approx(
        -0.485 / 0.229
    )


def replaced(number: int, layer: dict[str, Any]) -> list[dict[str, Any]]:
    return [*LAYERS[:number], layer, *LAYERS[number + 1 :]]


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (replaced(6, keras_layer("Lambda", "odd", ["deep"])), "'odd' is a Lambda"),
        (
            replaced(6, keras_layer("Activation", "active", ["deep"], activation="swish")),
            "'active'.*swish",
        ),
        (
            replaced(
                2, keras_layer("Conv2D", "none", ["pad"], strides=[1, 1], padding="valid", **CONV)
            ),
            "'none'.*kernel",
        ),
        (
            replaced(
                9, keras_layer("GlobalMaxPooling2D", "pool", ["add"], data_format="channels_first")
            ),
            "'pool'.*channels_first",
        ),
        (
            replaced(13, keras_layer("Dense", "dense_1", ["dropout"], activation="sigmoid")),
            "softmax over 2",
        ),
        (
            replaced(13, keras_layer("Activation", "soft", ["dropout"], activation="softmax")),
            "softmax over 2",
        ),
        (
            replaced(
                0, keras_layer("InputLayer", "input_1", [], batch_input_shape=[None, None, None, 3])
            ),
            "its input",
        ),
        (
            replaced(
                0, keras_layer("InputLayer", "input_1", [], batch_input_shape=[None, 24, 24, 3])
            ),
            "do not fit together",
        ),
        (replaced(7, keras_layer("Dense", "wide", ["active"], activation="relu")), "not flat"),
        (LAYERS[1:], "its input"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_converted_is_one_line(
    layers: list[dict[str, Any]], message: str, tmp_path: Path, weights: dict[str, dict[str, Array]]
) -> None:
    path = write_h5(tmp_path / "x.h5", layers, weights)
    with pytest.raises(WeightsError, match=message) as error:
        convert_keras(path, tmp_path / "x.onnx")
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "x.onnx").exists()


def test_files_that_are_no_models_are_one_line(
    tmp_path: Path, weights: dict[str, dict[str, Array]]
) -> None:
    (tmp_path / "text.h5").write_text("text")
    (tmp_path / "saved.model").mkdir()
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file.create_group("model_weights")
    wrong = {
        "gone.h5": "no such file",
        "text.h5": "not HDF5",
        "saved.model": "SavedModel.*load_model",
        "weights.h5": "only weights",
    }
    for name, message in wrong.items():
        with pytest.raises(WeightsError, match=message) as error:
            convert_keras(tmp_path / name, tmp_path / "x.onnx")
        assert "\n" not in str(error.value)
    path = write_h5(tmp_path / "x.h5", LAYERS, weights)
    with pytest.raises(MaskyoloError, match="scaling"):
        convert_keras(path, tmp_path / "x.onnx", scaling="none")
    with pytest.raises(MaskyoloError, match="mask, bare"):
        convert_keras(path, tmp_path / "x.onnx", names=("mask", "bare"))


@pytest.mark.parametrize("package", ["h5py", "onnx"])
def test_a_missing_package_is_reported_with_the_command_that_installs_it(
    package: str,
    tmp_path: Path,
    weights: dict[str, dict[str, Array]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = write_h5(tmp_path / "x.h5", LAYERS, weights)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(DependencyError, match=rf"{package}.*run: pip install .*\[keras\]"):
        convert_keras(path, tmp_path / "x.onnx")


def test_the_tool_converts_and_prints_the_file(
    tmp_path: Path, weights: dict[str, dict[str, Array]], capsys: pytest.CaptureFixture[str]
) -> None:
    spec = importlib.util.spec_from_file_location(
        "convert_keras", ROOT / "tools" / "convert_keras.py"
    )
    assert spec
    assert spec.loader
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    path = write_h5(tmp_path / "mask_detector.model", LAYERS, weights)
    tool.main([str(path)])
    assert (
        capsys.readouterr().out
        == f"{tmp_path / 'mask_detector.onnx'}: 17x17, with_mask, without_mask\n"
    )
    assert Classifier(tmp_path / "mask_detector.onnx").settings.size == SIDE
    with pytest.raises(SystemExit, match=r"convert_keras: cannot convert .*gone"):
        tool.main(["gone.model"])
