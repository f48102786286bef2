"""Edits and writes ONNX files; imported only if the package `onnx` is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from maskyolo.core.files import write_atomic

__all__ = ["halve", "make_activations_unsigned", "set_metadata", "widen", "write_onnx"]


def write_onnx(
    network: Any, path: Path | str, *, half: bool = False, metadata: dict[str, str] | None = None
) -> None:
    """Write a network to an ONNX file, atomically.

    Args:
        network: an `onnx.ModelProto`; modified if `half` or `metadata` is given.
        path: the file.
        half: whether to store the weights as float16; see `halve`.
        metadata: entries to set; see `set_metadata`.

    Raises:
        OutputError: the file cannot be written.
    """
    if half:
        halve(network)
    if metadata:
        set_metadata(network, **metadata)
    write_atomic(path, network.SerializeToString())


def halve(network: Any) -> None:
    """Store a network's weights as float16, with a cast to float32 where they are used.

    Such a file runs everywhere, because no operator computes in float16.

    Args:
        network: an `onnx.ModelProto`; modified in place.
    """
    casts = []
    for weights in network.graph.initializer:
        if weights.data_type == onnx.TensorProto.FLOAT and len(weights.dims) > 1:
            name, values = weights.name, numpy_helper.to_array(weights)
            weights.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
            casts.append(
                onnx.helper.make_node("Cast", [f"{name}.half"], [name], to=onnx.TensorProto.FLOAT)
            )
    nodes = [*casts, *network.graph.node]
    del network.graph.node[:]
    network.graph.node.extend(nodes)


def widen(network: Any) -> None:
    """Undo `halve`: make the weights float32 again, as tools that search for weights expect.

    Args:
        network: an `onnx.ModelProto`; modified in place.
    """
    halves = {
        weights.name: weights
        for weights in network.graph.initializer
        if weights.data_type == onnx.TensorProto.FLOAT16
    }
    casts = [
        node for node in network.graph.node if node.op_type == "Cast" and node.input[0] in halves
    ]
    for node in casts:
        weights = halves[node.input[0]]
        weights.CopyFrom(
            numpy_helper.from_array(
                numpy_helper.to_array(weights).astype(np.float32), node.output[0]
            )
        )
        network.graph.node.remove(node)


def make_activations_unsigned(network: Any) -> None:
    """Quantize a network's activations to uint8 instead of int8, with the same results.

    Every quantized value and its zero point are increased by 128, so results are the same in every
    runtime; weights stay int8. This works around OpenVINO (2026.4), which computes int8 activations
    wrong on x86 CPUs without VNNI, such as AMD's before Zen 4. There, maskyolo-n with int8
    activations finds no face in the sample photos; with uint8, it finds the same as ONNX Runtime.

    Args:
        network: an `onnx.ModelProto` with QuantizeLinear and DequantizeLinear; modified in place.
    """
    constants = {tensor.name: tensor for tensor in network.graph.initializer}
    changed = {
        node.output[0]
        for node in network.graph.node
        if node.op_type == "QuantizeLinear"
        and len(node.input) > 2
        and node.input[2] in constants
        and constants[node.input[2]].data_type == onnx.TensorProto.INT8
    }
    for node in network.graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            changed -= set(node.input)  # other operators compute with the quantized values
    for node in network.graph.node:
        if changed & {*node.input[:1], *node.output}:
            # Add a new constant, because weights may share the old one.
            name = f"{node.input[2]}.unsigned"
            if name not in constants:
                zero = numpy_helper.to_array(constants[node.input[2]]).astype(np.int16) + 128
                constants[name] = numpy_helper.from_array(zero.astype(np.uint8), name)
                network.graph.initializer.append(constants[name])
            node.input[2] = name
    used = {name for node in network.graph.node for name in node.input}
    for tensor in [tensor for tensor in network.graph.initializer if tensor.name not in used]:
        network.graph.initializer.remove(tensor)
    for value in network.graph.value_info:
        if value.name in changed:
            value.type.tensor_type.elem_type = onnx.TensorProto.UINT8


def set_metadata(network: Any, **entries: str) -> None:
    """Set entries in a network's `metadata_props`, and keep all others.

    Args:
        network: an `onnx.ModelProto`; modified in place.
        entries: the entries by key.
    """
    onnx.helper.set_model_props(
        network, {entry.key: entry.value for entry in network.metadata_props} | entries
    )
