"""Crop classifiers small enough to make in a test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from maskyolo.detectors.classifier import METADATA_KEY, CropSettings


def make_classifier(
    path: Path, settings: CropSettings | None = None, metadata: str | None = None, outputs: int = 2
) -> Path:
    """Write a classifier whose first class gets more likely the redder a crop is.

    Its probabilities are the softmax of the means of red and of green.
    """
    settings = settings or CropSettings(arch="means", size=8)
    weights = np.zeros((3, outputs), np.float32)
    weights[0, 0] = weights[1, 1] = 1
    nodes = [
        helper.make_node("GlobalAveragePool", ["images"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["means"]),
        helper.make_node("MatMul", ["means", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "means",
        [
            helper.make_tensor_value_info(
                "images", onnx.TensorProto.FLOAT, ["n", 3, settings.size, settings.size]
            )
        ],
        [helper.make_tensor_value_info("probabilities", onnx.TensorProto.FLOAT, ["n", outputs])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    text = settings.to_json() if metadata is None else metadata
    if text:
        helper.set_model_props(model, {METADATA_KEY: text})
    path.write_bytes(model.SerializeToString())
    return path
