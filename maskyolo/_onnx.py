"""ONNX files as they are shipped; imported only where the package `onnx` is."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

__all__ = ["halve", "set_metadata", "widen"]


def halve(network: Any) -> None:
    """Keep the weights of a network (an `onnx.ModelProto`) as float16, each cast to float32 where it is used, which runs everywhere."""
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
    """Undo `halve`: the weights are float32 again, as tools that look for weights expect them."""
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


def set_metadata(network: Any, **entries: str) -> None:
    """Set entries of a network's `metadata_props`, and keep the others."""
    onnx.helper.set_model_props(
        network, {entry.key: entry.value for entry in network.metadata_props} | entries
    )
