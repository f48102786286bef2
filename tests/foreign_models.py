"""Detectors of other people, made from ours: other names, another order, more or fewer classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from maskyolo.models.own import find_model

#: A class of a foreign model: its name, and our class whose scores it gets, or None for zero.
Head = Sequence[tuple[str, str | None]]

_OURS = ("with_mask", "without_mask")


def foreign_model(path: Path, head: Head) -> Path:
    """Write a model that finds what maskyolo-n finds, with other classes.

    Args:
        path: its file: `.onnx`, `.xml` or `.pt`.
        head: its classes.
    """
    return {".onnx": _onnx, ".xml": _openvino, ".pt": _checkpoint}[path.suffix](path, head)


def _names(head: Head) -> dict[int, str]:
    return {number: name for number, (name, _) in enumerate(head)}


def _onnx(path: Path, head: Head) -> Path:
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(find_model("maskyolo-n"))
    graph = model.graph
    output = graph.output[0]
    for node in graph.node:
        node.output[:] = ["raw" if name == output.name else name for name in node.output]
    constants = {"one": [1.0], "zero": [0.0], "sizes": [4, 1, 1]}
    if all(ours for _, ours in head):  # as most people would reorder classes
        constants["rows"] = [0, 1, 2, 3, *(4 + _OURS.index(str(ours)) for _, ours in head)]
        graph.node.append(helper.make_node("Gather", ["raw", "rows"], [output.name], axis=1))
    else:
        graph.node.append(helper.make_node("Split", ["raw", "sizes"], ["box", *_OURS], axis=1))
        for number, (_, ours) in enumerate(head):
            inputs = [ours, "one"] if ours else ["with_mask", "zero"]
            graph.node.append(helper.make_node("Mul", inputs, [f"score{number}"]))
        parts = ["box", *(f"score{number}" for number in range(len(head)))]
        graph.node.append(helper.make_node("Concat", parts, [output.name], axis=1))
    graph.initializer.extend(
        numpy_helper.from_array(
            np.array(values, np.float32 if isinstance(values[0], float) else np.int64), name
        )
        for name, values in constants.items()
    )
    output.type.tensor_type.shape.dim[1].dim_value = 4 + len(head)
    entries = {entry.key: entry.value for entry in model.metadata_props}
    helper.set_model_props(model, {**entries, "names": str(_names(head))})
    onnx.save(model, path)
    return path


def _openvino(path: Path, head: Head) -> Path:
    import openvino

    onnx_file = _onnx(path.with_suffix(".onnx"), head)
    openvino.save_model(openvino.Core().read_model(onnx_file), path, compress_to_fp16=False)
    onnx_file.unlink()
    return path


def _checkpoint(path: Path, head: Head) -> Path:
    import torch

    from maskyolo.models.ultralytics import import_ultralytics

    model: Any = import_ultralytics().YOLO(find_model("maskyolo-n", ".pt"))
    detect = model.model.model[-1]
    rows = [_OURS.index(ours or "with_mask") for _, ours in head]
    for branch in detect.cv3:
        old = branch[-1]
        new = torch.nn.Conv2d(old.in_channels, len(rows), 1)
        weight, bias = old.weight.detach()[rows], old.bias.detach()[rows]
        for number, (_, ours) in enumerate(head):
            if ours is None:
                weight[number], bias[number] = 0, -50
        new.weight, new.bias = torch.nn.Parameter(weight), torch.nn.Parameter(bias)
        branch[-1] = new
    detect.nc, detect.no = len(rows), len(rows) + 4 * detect.reg_max
    model.model.nc, model.model.names = len(rows), _names(head)
    model.save(path)
    return path
