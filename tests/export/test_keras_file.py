"""Keras files from anyone: they reach no other file, fill no memory, and fail in one line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from maskyolo.errors import WeightsError
from maskyolo.export import keras_file, keras_graph
from maskyolo.export.keras_import import convert_keras

INPUT = {
    "class_name": "InputLayer",
    "config": {"name": "in", "batch_input_shape": [None, 8, 8, 3]},
}
FLATTEN = {"class_name": "Flatten", "config": {"name": "flat"}}
DENSE = {"class_name": "Dense", "config": {"name": "dense", "activation": "softmax"}}


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read HDF5 here, because a process for each of the many files would take a second."""
    monkeypatch.setattr(keras_file, "_extract_elsewhere", keras_file._extract)


def layer(like: dict[str, Any], **config: Any) -> dict[str, Any]:
    return like | {"config": like["config"] | config}


def write_model(path: Path, layers: Any = (INPUT, FLATTEN, DENSE), kernel: Any = None) -> Path:
    """Write a sequential model of 8 x 8 pixels, flattened, with one dense layer."""
    with h5py.File(path, "w") as file:
        settings = {"class_name": "Sequential", "config": {"layers": layers}}
        file.attrs["model_config"] = json.dumps(settings)
        group = file.create_group("model_weights/dense")
        group.attrs["weight_names"] = [b"dense/kernel:0"]
        kernel = np.zeros((192, 2), np.float32) if kernel is None else kernel
        group.create_dataset("dense/kernel:0", data=kernel)
    return path


def refused(path: Path, message: str) -> None:
    with pytest.raises(WeightsError, match=message) as caught:
        convert_keras(path, path.with_suffix(".onnx"))
    assert "\n" not in str(caught.value)
    assert not path.with_suffix(".onnx").exists()


def test_the_model_of_these_tests_is_converted(tmp_path: Path) -> None:
    convert_keras(write_model(tmp_path / "x.h5"), tmp_path / "x.onnx")


def outside(tmp_path: Path) -> Path:
    """Write the array that the files of these tests try to reach; return its file."""
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["kernel"] = np.zeros((192, 2), np.float32)
    (tmp_path / "secret.bin").write_bytes(bytes(192 * 2 * 4))
    return tmp_path


def by_link(group: h5py.Group, folder: Path) -> None:
    group["dense/kernel:0"] = h5py.ExternalLink(str(folder / "other.h5"), "kernel")


def by_soft_link(group: h5py.Group, folder: Path) -> None:
    group.file["elsewhere"] = h5py.ExternalLink(str(folder / "other.h5"), "kernel")
    group["dense/kernel:0"] = h5py.SoftLink("/elsewhere")


def by_storage(group: h5py.Group, folder: Path) -> None:
    place = [(str(folder / "secret.bin"), 0, h5py.h5f.UNLIMITED)]
    group.create_dataset("dense/kernel:0", (192, 2), "f4", external=place)


def by_virtual_array(group: h5py.Group, folder: Path) -> None:
    layout = h5py.VirtualLayout((192, 2), "f4")
    layout[:] = h5py.VirtualSource(folder / "other.h5", "kernel", (192, 2))
    group.create_virtual_dataset("dense/kernel:0", layout)


@pytest.mark.parametrize("reach", [by_link, by_soft_link, by_storage, by_virtual_array])
def test_no_other_file_is_read(reach: Callable[[h5py.Group, Path], None], tmp_path: Path) -> None:
    path = write_model(tmp_path / "x.h5")
    with h5py.File(path, "a") as file:
        del file["model_weights/dense/dense"]
        reach(file["model_weights/dense"], outside(tmp_path))
    refused(path, "is a link|in another file")


def test_arrays_without_content_fill_no_memory(tmp_path: Path) -> None:
    path = write_model(tmp_path / "x.h5")
    with h5py.File(path, "a") as file:
        del file["model_weights/dense/dense"]
        group = file["model_weights/dense"]
        group.create_dataset("dense/kernel:0", (1 << 20, 1 << 20), "f4", chunks=(1024, 1024))
    assert path.stat().st_size < 20_000
    refused(path, "more than 1024 MB")


@pytest.mark.usefixtures("in_this_process")
def test_weights_that_many_layers_share_fill_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keras_graph, "MAX_WEIGHTS", 1 << 20)
    same = layer(DENSE, activation="linear")
    kernel = np.zeros((192, 192), np.float32)
    path = write_model(tmp_path / "x.h5", [INPUT, FLATTEN, *[same] * 100], kernel)
    refused(path, "too many weights together")


CYCLE = {
    "class_name": "Functional",
    "config": {
        "name": "model",
        "layers": [
            INPUT,
            layer(FLATTEN) | {"inbound_nodes": [[["dense", 0, 0, {}]]]},
            layer(DENSE) | {"inbound_nodes": [[["flat", 0, 0, {}]]]},
        ],
    },
}


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(
    "layers",
    [
        None,
        5,
        "layers",
        {},
        [],
        [None],
        [[]],
        [5],
        [{}],
        [{"class_name": "Dense"}],
        [{"class_name": "Dense", "config": None}],
        [{"class_name": ["Dense"], "config": {}}],
        [INPUT],
        [INPUT, INPUT],
        [layer(INPUT, batch_input_shape=5)],
        [layer(INPUT, batch_input_shape={"a": 1})],
        [layer(INPUT, batch_input_shape=[None, 10**9, 10**9, 3]), FLATTEN, DENSE],
        [layer(INPUT, batch_input_shape=[None, -8, -8, 3]), FLATTEN, DENSE],
        [layer(INPUT, batch_input_shape=[None, 1e300, 1e300, 3]), FLATTEN, DENSE],
        [layer(INPUT, batch_input_shape=[None, True, True, 3]), FLATTEN, DENSE],
        [INPUT, layer(FLATTEN, name=None), layer(DENSE, name={})],
        [INPUT, FLATTEN, layer(DENSE, activation=["softmax"])],
        [INPUT, FLATTEN, layer(DENSE, activation={"class_name": "softmax"})],
        [INPUT, FLATTEN, layer(DENSE, name="other")],
        [INPUT, FLATTEN, DENSE | {"inbound_nodes": 5}],
        [INPUT, FLATTEN, DENSE | {"inbound_nodes": [[["nobody", 0, 0, {}]]]}],
        [INPUT, FLATTEN, DENSE | {"inbound_nodes": [{"keras_history": []}]}],
        [INPUT, FLATTEN, DENSE | {"inbound_nodes": [{"keras_history": 7}]}],
        CYCLE["config"]["layers"],
        [INPUT, {"class_name": "Lambda", "config": {"name": "l", "function": ["code"]}}],
        [INPUT, {"class_name": "os>system", "config": {"name": "l"}}],
        [INPUT, {"class_name": "ZeroPadding2D", "config": {"name": "p", "padding": [[1], [1]]}}],
        [
            INPUT,
            {
                "class_name": "ZeroPadding2D",
                "config": {"name": "p", "padding": [[10**30, 1], [1, 1]]},
            },
            FLATTEN,
            DENSE,
        ],
        [
            INPUT,
            {
                "class_name": "MaxPooling2D",
                "config": {"name": "p", "pool_size": [0, 0], "strides": [0, 0], "padding": "valid"},
            },
            FLATTEN,
            DENSE,
        ],
        [INPUT, {"class_name": "ReLU", "config": {"name": "r", "max_value": "six"}}, FLATTEN],
        [INPUT, {"class_name": "Sequential", "config": {"name": "s", "layers": 5}}, FLATTEN, DENSE],
    ],
)
def test_odd_settings_are_one_line(layers: Any, tmp_path: Path) -> None:
    refused(write_model(tmp_path / "x.h5", layers), "cannot convert")


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "5", "null", "[" * 100_000, '{"a":' * 100_000, "NaN", '{"config": 5}', "{}"],
)
def test_settings_that_are_not_json_objects_are_one_line(text: str, tmp_path: Path) -> None:
    path = write_model(tmp_path / "x.h5")
    with h5py.File(path, "a") as file:
        file.attrs["model_config"] = text if len(text) < 60_000 else np.bytes_(text[:60_000])
    refused(path, "cannot convert")


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("value", [10**10, 3.5, np.zeros(5), h5py.Empty("f")])
def test_settings_of_another_type_are_one_line(value: Any, tmp_path: Path) -> None:
    path = write_model(tmp_path / "x.h5")
    with h5py.File(path, "a") as file:
        file.attrs["model_config"] = value
    refused(path, "cannot convert")


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(
    "kernel",
    [np.zeros((5, 5)), np.zeros(2), np.float32(1), np.zeros((192, 2), "S4"), np.zeros((0, 2))],
)
def test_weights_of_another_shape_or_type_are_one_line(kernel: Any, tmp_path: Path) -> None:
    refused(write_model(tmp_path / "x.h5", kernel=kernel), "cannot convert")


@pytest.mark.usefixtures("in_this_process")
def test_truncated_and_damaged_files_are_one_line_or_converted(tmp_path: Path) -> None:
    whole = write_model(tmp_path / "x.h5").read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(whole), 20):
        (tmp_path / "y.h5").write_bytes(whole[:place])
        refused(tmp_path / "y.h5", "cannot convert")
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        (tmp_path / "y.h5").write_bytes(damaged)
        with suppress(WeightsError):
            convert_keras(tmp_path / "y.h5", tmp_path / "y.onnx")
        (tmp_path / "y.onnx").unlink(missing_ok=True)


def test_a_file_that_is_never_read_to_its_end_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The HDF5 library never returns from some damaged files."""
    monkeypatch.setattr(keras_file, "_SECONDS", 0.001)
    refused(write_model(tmp_path / "x.h5"), "not read after")


def test_a_file_that_crashes_the_library_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crash = [sys.executable, "-c", "import os; os.abort()"]
    monkeypatch.setattr(keras_file, "python_command", lambda _: crash)
    refused(write_model(tmp_path / "x.h5"), "not HDF5, or damaged")
