"""Small ONNX detectors that are wrong in one way each, as somebody else might send them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

NAMES = "{0: 'with_mask', 1: 'without_mask'}"
METADATA = {"task": "detect", "names": NAMES, "imgsz": "[64, 64]"}
Sides = Sequence[int | str]


def make_model(
    value: float = 0.0,
    *,
    images: Sides = ("n", 3, "h", "w"),
    output: Sides = ("n", 6, "anchors"),
    metadata: dict[str, str] | None = None,
    more: Sequence[onnx.NodeProto] = (),
    constants: dict[str, Any] | None = None,
    domain: str = "",
) -> onnx.ModelProto:
    """Return a detector that is one convolution with stride 8, all its weights `value`.

    Args:
        value: the weights.
        images: shape of the input.
        output: shape of the output.
        metadata: entries that replace those of `METADATA`.
        more: nodes from `found` to `output0`; else `output0` is what the convolution finds.
        constants: arrays that `more` needs, by name.
        domain: a domain of operators that the file says it uses.
    """
    nodes = [
        helper.make_node("Conv", ["images", "w"], ["map"], kernel_shape=[1, 1], strides=[8, 8]),
        helper.make_node("Reshape", ["map", "shape"], ["found" if more else "output0"]),
        *more,
    ]
    arrays = {
        "w": np.full((6, 3, 1, 1), value, np.float32),
        "shape": np.array([0, 6, -1]),
    } | (constants or {})
    graph = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, list(images))],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, list(output))],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    opsets = [helper.make_opsetid("", 17)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    helper.set_model_props(model, METADATA | (metadata or {}))
    return model


def refer_to(location: str) -> onnx.ModelProto:
    """Return a detector whose weights are in another file."""
    model = make_model()
    weights = model.graph.initializer[0]
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", "72")):
        entry = weights.external_data.add()
        entry.key, entry.value = key, value
    return model


def fill(*sides: int) -> onnx.ModelProto:
    """Return a detector that adds up an array of zeros with these sides; it does not store them."""
    zero = numpy_helper.from_array(np.zeros(1, np.float32))
    nodes = [
        helper.make_node("ConstantOfShape", ["sides"], ["zeros"], value=zero),
        helper.make_node("ReduceSum", ["zeros"], ["sum"], keepdims=0),
        helper.make_node("Add", ["found", "sum"], ["output0"]),
    ]
    return make_model(more=nodes, constants={"sides": np.array(sides, np.int64)})


def loop() -> onnx.ModelProto:
    """Return a detector that counts to 2**62."""
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Add", ["x", "x"], ["y"]),
        ],
        "body",
        [
            info("step", TensorProto.INT64, []),
            info("go", TensorProto.BOOL, []),
            info("x", TensorProto.FLOAT, None),
        ],
        [info("go_on", TensorProto.BOOL, []), info("y", TensorProto.FLOAT, None)],
    )
    nodes = [helper.make_node("Loop", ["steps", "on", "found"], ["output0"], body=body)]
    return make_model(more=nodes, constants={"steps": np.array(2**62), "on": np.array(True)})


def not_utf8() -> bytes:
    """Return a detector whose metadata is not UTF-8."""
    return bytes(make_model().SerializeToString()).replace(b"[64, 64]", b"[64,\xff\xfe4]")


#: Every wrong detector, by what is wrong with it.
HOSTILE: dict[str, Callable[[], onnx.ModelProto | bytes]] = {
    "6 GB of zeros": lambda: fill(40_000, 40_000),
    "an exabyte of zeros": lambda: fill(1 << 30, 1 << 30),
    "sides that are negative": lambda: fill(-1, -5),
    "an operator that nobody knows": lambda: make_model(
        more=[helper.make_node("Foo", ["found"], ["output0"], domain="evil")], domain="evil"
    ),
    "metadata that is not UTF-8": not_utf8,
    "imgsz 1e999": lambda: make_model(metadata={"imgsz": "1e999"}),
    "imgsz of deep brackets": lambda: make_model(metadata={"imgsz": "[" * 5000}),
    "imgsz of code": lambda: make_model(metadata={"imgsz": "__import__('os').getpid()"}),
    "imgsz below 0": lambda: make_model(metadata={"imgsz": "-64"}),
    "imgsz huge": lambda: make_model(metadata={"imgsz": "9" * 4000}),
    "imgsz of nothing": lambda: make_model(metadata={"imgsz": "[]"}),
    "names of code": lambda: make_model(metadata={"names": "{0: open('it-ran', 'w')}"}),
    "names of deep brackets": lambda: make_model(metadata={"names": "{" * 5000}),
    "names that are numbers": lambda: make_model(metadata={"names": "5"}),
    "no names": lambda: make_model(metadata={"names": "{}"}),
    "a batch of 16": lambda: make_model(images=(16, 3, 64, 64), output=(16, 6, 64)),
    "sides of 0": lambda: make_model(images=(1, 3, 0, 0)),
    "sides of 10**9": lambda: make_model(images=(1, 3, 10**9, 10**9)),
    "a flat input": lambda: make_model(images=("n",)),
    "a name of 100,000 letters": lambda: make_model(metadata={"names": repr(["a" * 10**5, "b"])}),
    "an output of infinity": lambda: make_model(np.inf),
    "an output of NaN": lambda: make_model(np.nan),
    "an output of 3e38": lambda: make_model(3e38),
    "a file above it": lambda: refer_to("../outside.bin"),
    "a file by its absolute path": lambda: refer_to("/etc/passwd"),
    "a file that does not exist": lambda: refer_to("nothing.bin"),
    "nothing": lambda: b"",
    "text": lambda: b"not a model",
    "half a model": lambda: bytes(make_model().SerializeToString())[:150],
}


def write_hostile(name: str, path: Path) -> Path:
    """Write one of `HOSTILE`."""
    model = HOSTILE[name]()
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return path
