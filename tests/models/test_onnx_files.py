"""ONNX files: int8 activations mean the same in every runtime, and writing is atomic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from maskyolo.models.backends.openvino import OpenVinoNetwork

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from maskyolo.models import onnx_files  # noqa: E402  # needs the package `onnx`

CHANNELS, SIDE = 32, 16


@pytest.fixture
def quantized() -> Any:
    """Two convolutions as NNCF quantizes them: int8 activations with a zero point, int8 weights."""
    helper, make = onnx.helper, onnx.numpy_helper.from_array
    rng = np.random.default_rng(0)
    nodes, tensors, value = [], [], "images"
    for name, zero in (("a", -128), ("b", -110)):
        weights = rng.integers(-60, 60, (CHANNELS, CHANNELS, 3, 3)).astype(np.int8)
        tensors += [
            make(np.array(0.02, np.float32), f"{name}_scale"),
            make(np.array(zero, np.int8), f"{name}_zero"),
            make(weights, f"{name}_weights"),
            make(np.full(CHANNELS, 3e-3, np.float32), f"{name}_weights_scale"),
            make(np.zeros(CHANNELS, np.int8), f"{name}_weights_zero"),
        ]
        of_activations, of_weights = (
            [f"{name}{part}_scale", f"{name}{part}_zero"] for part in ("", "_weights")
        )
        nodes += [
            helper.make_node("QuantizeLinear", [value, *of_activations], [f"{name}_int8"]),
            helper.make_node(
                "DequantizeLinear", [f"{name}_int8", *of_activations], [f"{name}_float"]
            ),
            helper.make_node(
                "DequantizeLinear", [f"{name}_weights", *of_weights], [f"{name}_kernel"], axis=0
            ),
            helper.make_node(
                "Conv", [f"{name}_float", f"{name}_kernel"], [f"{name}_sum"], pads=[1, 1, 1, 1]
            ),
            helper.make_node("Sigmoid", [f"{name}_sum"], [f"{name}_share"]),
            helper.make_node("Mul", [f"{name}_sum", f"{name}_share"], [f"{name}_out"]),
        ]
        value = f"{name}_out"
    shape = [1, CHANNELS, SIDE, SIDE]
    image, out = (
        helper.make_tensor_value_info(port, onnx.TensorProto.FLOAT, shape)
        for port in ("images", value)
    )
    graph = helper.make_graph(nodes, "quantized", [image], [out], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


@pytest.fixture
def pixels() -> npt.NDArray[np.float32]:
    return np.random.default_rng(1).random((1, CHANNELS, SIDE, SIDE)).astype(np.float32) * 4


def by_onnxruntime(model: Any, pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    result: npt.NDArray[np.float32] = session.run(None, {"images": pixels})[0]
    return result


def test_openvino_gives_what_onnx_runtime_gives_for_signed_activations(
    quantized: Any, pixels: npt.NDArray[np.float32], tmp_path: Path
) -> None:
    onnx_files.write_onnx(quantized, tmp_path / "signed.onnx")
    found = OpenVinoNetwork(tmp_path / "signed.onnx").compile()([pixels])[0]
    expected = by_onnxruntime(quantized, pixels)
    assert np.ptp(expected) > 5
    assert np.abs(found - expected).max() < 0.02 * np.ptp(expected)


def test_unsigned_activations_give_the_same_numbers(
    quantized: Any, pixels: npt.NDArray[np.float32]
) -> None:
    expected = by_onnxruntime(quantized, pixels)
    onnx_files.make_activations_unsigned(quantized)
    onnx.checker.check_model(quantized, full_check=True)
    types = {tensor.name: tensor.data_type for tensor in quantized.graph.initializer}
    assert {
        types[node.input[2]] for node in quantized.graph.node if node.op_type == "QuantizeLinear"
    } == {onnx.TensorProto.UINT8}
    assert types["a_weights"] == types["a_weights_zero"] == onnx.TensorProto.INT8
    assert "a_zero" not in types
    assert np.array_equal(by_onnxruntime(quantized, pixels), expected)


def test_quantized_values_that_are_used_as_they_are_stay_signed(quantized: Any) -> None:
    quantized.graph.node.append(
        onnx.helper.make_node("Cast", ["a_int8"], ["a_seen"], to=onnx.TensorProto.INT32)
    )
    onnx_files.make_activations_unsigned(quantized)
    zeros = {node.output[0]: node.input[2] for node in quantized.graph.node if len(node.input) > 2}
    assert zeros["a_int8"] == "a_zero"
    assert zeros["b_int8"] == "b_zero.unsigned"


def test_metadata_and_half_weights_are_written(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    weights = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    helper = onnx.helper
    ports = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, side])
        for name, side in (("images", 3), ("out", 4))
    ]
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("MatMul", ["images", "weights"], ["out"])],
            "product",
            ports[:1],
            ports[1:],
            [onnx.numpy_helper.from_array(weights, "weights")],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    helper.set_model_props(model, {"kept": "yes"})
    onnx_files.write_onnx(model, path, half=True, metadata={"imgsz": "[64, 64]"})
    written = onnx.load(path)
    assert {entry.key: entry.value for entry in written.metadata_props} == {
        "kept": "yes",
        "imgsz": "[64, 64]",
    }
    assert written.graph.initializer[0].data_type == onnx.TensorProto.FLOAT16
    found = by_onnxruntime(written, np.eye(3, dtype=np.float32)[:1])
    assert found == pytest.approx(weights[:1], abs=1e-3)
    onnx_files.widen(written)
    assert written.graph.initializer[0].data_type == onnx.TensorProto.FLOAT
    assert list(tmp_path.iterdir()) == [path]
