"""A network that is computed wrong is noticed at its first use, and replaced with a warning."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openvino
import pytest
from openvino import opset13
from paths import ROOT

from maskyolo.models.backends.base import Backend
from maskyolo.models.backends.known_image import (
    agrees,
    expected_faces,
    expected_of,
    known_input,
)
from maskyolo.models.backends.loading import load_backend
from maskyolo.models.backends.openvino import CORE, OpenVinoBackend

WEIGHTS = ROOT / "maskyolo" / "weights"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "maskyolo" / "checked"


def answers(cache: Path) -> list[str]:
    return sorted(file.read_text() for file in cache.glob("*"))


def damage(xml: Path, place: Path) -> Path:
    """Save a network that finds nothing: its scores are a tenth of what they should be."""
    model = CORE.read_model(xml)
    result = model.get_results()[0]
    factors = np.ones((1, result.input_value(0).get_partial_shape()[1].get_length(), 1), np.float32)
    factors[0, 4:] = 0.1
    wrong = opset13.multiply(result.input_value(0), opset13.constant(factors))
    result.input(0).replace_source_output(wrong.output(0))
    openvino.save_model(model, place, compress_to_fp16=False)
    return place


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of the package's weights, with a wrong int8 form."""
    folder = tmp_path / "package" / "weights"
    folder.mkdir(parents=True)
    shutil.copy(WEIGHTS / "maskyolo-n.onnx", folder)
    damage(WEIGHTS / "maskyolo-n-int8.xml", folder / "maskyolo-n-int8.xml")
    monkeypatch.setattr("maskyolo.models.trust.package_folder", lambda: folder.parent)
    return folder


@pytest.mark.parametrize("name", ["maskyolo-n", "maskyolo-n-folders"])
@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_our_networks_find_the_known_faces(
    name: str, backend: str, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    network = load_backend(WEIGHTS / f"{name}.onnx", backend=backend)
    assert agrees(network(known_input(None)[0])[0], expected_faces(network))
    assert answers(cache) == ["right"]
    assert not caplog.records


def test_a_wrong_network_is_replaced_with_one_warning(
    package: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def load() -> Backend:
        return load_backend(package / "maskyolo-n.onnx", backend="openvino", precision="int8")

    network = load()
    assert network.title == "OpenVINO CPU fp32"
    assert "the usual one gives wrong results on this machine" in network.description
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert caplog.messages == [
        (
            "maskyolo-n-int8.xml gives wrong results in OpenVINO CPU int8 on this machine; "
            "using OpenVINO CPU fp32 instead"
        )
    ]
    assert agrees(network(known_input(None)[0])[0], expected_faces(network))
    assert answers(cache) == ["right", "wrong"]
    assert load().title == "OpenVINO CPU fp32"
    assert len(caplog.messages) == 2  # it is said at each start


def test_the_answer_is_kept_for_this_file_and_processor_only(
    package: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    infer = OpenVinoBackend.__call__

    def counted(network: OpenVinoBackend, batch: np.ndarray) -> np.ndarray:
        calls.append(network.title)
        return infer(network, batch)

    monkeypatch.setattr(OpenVinoBackend, "__call__", counted)
    model = package / "maskyolo-n.onnx"
    for _ in range(2):
        load_backend(model, backend="openvino", precision="fp32")
    assert calls == ["OpenVINO CPU fp32"]
    monkeypatch.setattr(
        "maskyolo.models.backends.known_image.describe_processor", lambda: ("another", set())
    )
    load_backend(model, backend="openvino", precision="fp32")
    assert len(calls) == 2
    shutil.copy(WEIGHTS / "maskyolo-n-folders.onnx", model)
    load_backend(model, backend="openvino", precision="fp32")
    assert len(calls) == 3
    assert answers(cache) == ["right"] * 3


def quantized(place: Path) -> Path:
    """Write a network whose pixels are quantized, so that it counts as int8."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed (extra export)")
    network = onnx.load(WEIGHTS / "maskyolo-n.onnx")
    pixels = network.graph.input[0].name
    for node in network.graph.node:
        for number, name in enumerate(node.input):
            if name == pixels:
                node.input[number] = "pixels_again"
    for name, value in (("step", np.float32(1 / 255)), ("zero", np.uint8(0))):
        network.graph.initializer.append(onnx.numpy_helper.from_array(np.array(value), name))
    for kind, source, made in (
        ("DequantizeLinear", "levels", "pixels_again"),
        ("QuantizeLinear", pixels, "levels"),
    ):
        node = onnx.helper.make_node(kind, [source, "step", "zero"], [made])
        network.graph.node.insert(0, node)
    onnx.save(network, place)
    return place


def test_another_int8_network_is_compared_with_another_runtime(
    tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = quantized(tmp_path / "mine.onnx")
    assert load_backend(model, backend="openvino").title == "OpenVINO CPU int8 fp32"
    assert answers(cache) == ["right"]
    assert not caplog.records
    infer = OpenVinoBackend.__call__
    monkeypatch.setattr(OpenVinoBackend, "__call__", lambda *of: infer(*of) * np.float32(0.2))
    shutil.rmtree(cache)
    network = load_backend(model, backend="openvino")
    assert network.title == "ONNX Runtime CPU fp32"
    assert caplog.messages == [
        (
            "mine.onnx gives wrong results in OpenVINO CPU int8 fp32 on this machine; "
            "using ONNX Runtime CPU fp32 instead"
        )
    ]
    assert answers(cache) == ["wrong"]


def test_without_another_runtime_the_warning_says_what_to_install(
    package: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = damage(WEIGHTS / "maskyolo-n.onnx", package / "maskyolo-n.xml")
    assert load_backend(model).title.startswith("OpenVINO CPU ")
    assert len(caplog.messages) == 1
    assert "nothing else that is installed is right; run: " in caplog.messages[0]
    assert "onnxruntime" in caplog.messages[0]


def test_missing_extra_and_misplaced_faces_are_not_as_expected() -> None:
    network = load_backend(WEIGHTS / "maskyolo-n.onnx", backend="openvino", precision="fp32")
    output = np.array(network(known_input(None)[0])[0])
    expected = expected_of(output)
    assert len(expected.boxes) > 4
    assert agrees(output, expected)
    nothing, moved, swapped, noise = (output.copy() for _ in range(4))
    nothing[4:] = 0
    moved[0] += 40
    swapped[4:] = swapped[[5, 4]]
    noise[4, ::5] = 0.9
    for wrong in (nothing, moved, swapped, noise):
        assert not agrees(wrong, expected)
    assert agrees(nothing, expected_of(nothing))  # an untrained network finds nothing


def test_a_cache_that_cannot_be_written_and_a_damaged_answer_do_no_harm(
    cache: Path, tmp_path: Path
) -> None:
    model = WEIGHTS / "maskyolo-n.onnx"
    load_backend(model, precision="fp32")
    next(cache.iterdir()).write_bytes(b"\xff\0")
    load_backend(model, precision="fp32")
    assert answers(cache) == ["right"]
    shutil.rmtree(cache)
    cache.write_text("a file, not a folder")
    assert load_backend(model, precision="fp32").title == "OpenVINO CPU fp32"
