"""The layers of a Keras model, turned into ONNX nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from maskyolo.core.classes import CLASS_NAMES
from maskyolo.detectors.classifier import MAX_CROP
from maskyolo.errors import WeightsError
from maskyolo.export.keras_file import MAX_WEIGHTS

__all__ = ["FloatArray", "KerasGraph"]

_OPSET = 17
FloatArray = npt.NDArray[np.float32]


def _to_onnx_model(graph: KerasGraph, size: int) -> Any:
    """Return an ONNX model of the nodes, for square images of `size` x `size` pixels."""
    from onnx import TensorProto, helper

    graph.nodes[-1].output[0] = "probabilities"
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, size, size])
    probabilities = helper.make_tensor_value_info(
        "probabilities", TensorProto.FLOAT, ["n", len(CLASS_NAMES)]
    )
    return helper.make_model(
        helper.make_graph(
            graph.nodes, "mask_classifier", [images], [probabilities], graph.initializers
        ),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=8,
        producer_name="maskyolo",
    )


class KerasGraph:
    """Collects ONNX nodes.

    Methods take and return names of tensors: (n, channels, height, width) or (n, features).
    """

    def __init__(self, path: Path, weights: dict[str, dict[str, FloatArray]]) -> None:
        self.path, self.weights = path, weights
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        #: Number of features of the tensors without height and width; 0 if unknown.
        self.units: dict[str, int] = {}
        self._left = MAX_WEIGHTS

    def convert(self, config: dict[str, Any], bgr: bool) -> tuple[int, Any]:
        """Return the side of a model's input in pixels, and its ONNX model.

        Args:
            config: the model's settings.
            bgr: whether the layers expect BGR; the ONNX model always expects RGB.

        Raises:
            WeightsError: it is not a classifier of two classes, or a layer is not supported.
        """
        size, output = self._build(config, bgr)
        model = _to_onnx_model(self, size)
        if self.nodes[-1].op_type != "Softmax" or self.units.get(output) != len(CLASS_NAMES):
            raise WeightsError(
                f"cannot convert {self.path}: it does not end in a softmax over "
                f"{len(CLASS_NAMES)} classes",
                "give a mask classifier",
            )
        return size, model

    def _build(self, config: dict[str, Any], bgr: bool) -> tuple[int, str]:
        """Add all layers of a model; return the side of its input in pixels and its output."""
        shape = next(_input_shapes(config), None)
        if (
            shape is None
            or len(shape) != 3
            or shape[0] != shape[1]
            or shape[2] != 3
            or not isinstance(shape[0], int)
            or not 1 <= shape[0] <= MAX_CROP
        ):
            raise WeightsError(
                f"cannot convert {self.path}: its input is {shape}",
                "give a classifier of square RGB images of a fixed size, at most "
                f"{MAX_CROP} pixels",
            )
        start = self.op("Gather", ["images"], [np.array([2, 1, 0])], axis=1) if bgr else "images"
        return shape[0], self.model(config, [start], "")

    def model(self, config: dict[str, Any], inputs: list[str], outer: str) -> str:
        """Add the layers of a model and return its output.

        Args:
            config: the model's settings.
            inputs: its input tensors.
            outer: for a nested model, the layer whose name its weights are stored under; else "".
        """
        tensors: dict[str, str] = {}
        last, unread = inputs[0], iter(inputs)
        for layer in _layers(config):
            kind, settings = layer["class_name"], layer["config"]
            name = settings.get("name", layer.get("name", ""))
            nodes = layer.get("inbound_nodes", [])
            if len(nodes) > 1:
                raise self._unsupported(f"its layer '{name}' is used more than once")
            if kind not in _LAYERS and kind != "InputLayer" and "layers" not in settings:
                raise self._unsupported(f"its layer '{name}' is a {kind}")
            try:
                given = [tensors[source] for source in _histories(nodes)] or [last]
                if kind == "InputLayer":
                    last = next(unread)
                elif "layers" in settings:
                    last = self.model(layer, given, outer or name)
                else:
                    last = _LAYERS[kind](
                        _Layer(self, settings, self.weights_of(name, outer), given)
                    )
            except (KeyError, NotImplementedError) as error:
                raise self._unsupported(f"its layer '{name}' ({kind}) with {error}") from error
            tensors[name] = last
        ends = list(
            _histories(config["config"].get("output_layers", []))
            if isinstance(config["config"], dict)
            else []
        )
        return tensors[ends[0]] if ends else last

    def _unsupported(self, what: str) -> WeightsError:
        return WeightsError(f"cannot convert {self.path}: {what}, which is not supported")

    def weights_of(self, name: str, outer: str) -> dict[str, FloatArray]:
        """Return a layer's weights by their own names, such as `kernel`."""
        found = self.weights.get(outer or name, {})
        parts = {key: key.split(":")[0].split("/") for key in found}
        return {
            words[-1]: found[key] for key, words in parts.items() if not outer or name in words[:-1]
        }

    def op(
        self,
        kind: str,
        inputs: list[str],
        weights: list[npt.NDArray[Any]] | None = None,
        **attributes: Any,
    ) -> str:
        """Add a node and return its output; `weights` become inputs after `inputs`."""
        import onnx

        output = f"{kind}_{len(self.nodes)}"
        self._left -= sum(array.nbytes for array in weights or [])
        if self._left < 0:  # layers may share weights, but an ONNX node has its own
            raise self._unsupported("its layers have too many weights together")
        stored = [
            onnx.numpy_helper.from_array(array, f"{output}_{place}")
            for place, array in enumerate(weights or [])
        ]
        self.initializers += stored
        self.nodes.append(
            onnx.helper.make_node(
                kind,
                [*inputs, *(tensor.name for tensor in stored)],
                [output],
                name=output,
                **attributes,
            )
        )
        if len(inputs) == 1 and inputs[0] in self.units:
            self.units[output] = self.units[inputs[0]]
        return output

    def activation(self, name: Any, tensor: str) -> str:
        """Add an activation, given by Keras' name for it."""
        if name in (None, "linear"):
            return tensor
        if name == "relu6":
            return self.op("Clip", [tensor], [np.array(0, np.float32), np.array(6, np.float32)])
        if name not in _ACTIVATIONS:
            raise NotImplementedError(f"activation {name}")
        attributes: dict[str, Any] = {"axis": 1} if name == "softmax" else {}
        return self.op(_ACTIVATIONS[name], [tensor], **attributes)

    def flatten(self, tensor: str) -> str:
        """Flatten (n, channels, height, width) to (n, features), in Keras' channels-last order."""
        if tensor in self.units:
            return tensor
        flat = self.op("Flatten", [self.op("Transpose", [tensor], perm=[0, 2, 3, 1])])
        self.units[flat] = 0
        return flat


_ACTIVATIONS = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "softmax": "Softmax"}


def _input_shapes(config: dict[str, Any]) -> Iterator[list[Any]]:
    """Yield the (height, width, channels) of all input layers, including nested models."""
    for layer in _layers(config):
        settings = layer["config"]
        shape = settings.get("batch_input_shape") or settings.get("batch_shape")
        if shape:
            yield shape[1:]
        if "layers" in settings:
            yield from _input_shapes(layer)


def _layers(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the layers of a model in the file's order: each layer comes after its inputs."""
    settings = config["config"]
    # a list: Sequential before Keras 2.2.3
    yield from settings["layers"] if isinstance(settings, dict) else settings


def _histories(value: Any) -> Iterator[str]:
    """Yield the names of the layers that a layer reads.

    They are given as `[name, 0, 0, {}]` in Keras 2, and under `keras_history` in Keras 3.
    """
    if isinstance(value, dict):
        if "keras_history" in value:
            yield value["keras_history"][0]
        else:
            for inner in value.values():
                yield from _histories(inner)
    elif isinstance(value, list):
        if len(value) >= 3 and isinstance(value[0], str) and isinstance(value[1], int):
            yield value[0]
        else:
            for inner in value:
                yield from _histories(inner)


@dataclass
class _Layer:
    """A layer to add: its settings and weights, and the names of the tensors it reads."""

    graph: KerasGraph
    config: dict[str, Any]
    weights: dict[str, FloatArray]
    inputs: list[str]

    def op(
        self, kind: str, weights: list[npt.NDArray[Any]] | None = None, **attributes: Any
    ) -> str:
        """Add an ONNX node that reads the layer's inputs."""
        return self.graph.op(kind, self.inputs, weights, **attributes)

    def window(self) -> dict[str, Any]:
        """Return ONNX's attributes of a sliding window.

        Keras' `same` pads more at the end, like ONNX's SAME_UPPER.
        """
        self.check_channels_last()
        return {
            "strides": self.config["strides"],
            "auto_pad": {"same": "SAME_UPPER", "valid": "VALID"}[self.config["padding"]],
        }

    def check_channels_last(self) -> None:
        if self.config.get("data_format") not in (None, "channels_last"):
            raise NotImplementedError(f"data_format {self.config['data_format']}")


def _convolve(layer: _Layer, kernel: FloatArray, group: int) -> str:
    weights = [np.ascontiguousarray(kernel)] + (
        [layer.weights["bias"]] if "bias" in layer.weights else []
    )
    window = layer.window() | {
        "dilations": layer.config.get("dilation_rate", [1, 1]),
        "kernel_shape": kernel.shape[2:],
    }
    return layer.graph.activation(
        layer.config.get("activation"), layer.op("Conv", weights, group=group, **window)
    )


def _conv(layer: _Layer) -> str:
    return _convolve(
        layer, layer.weights["kernel"].transpose(3, 2, 0, 1), layer.config.get("groups", 1)
    )


def _depthwise(layer: _Layer) -> str:
    weights = layer.weights
    kernel = weights["depthwise_kernel" if "depthwise_kernel" in weights else "kernel"]  # Keras 3
    height, width, channels, multiplier = kernel.shape
    return _convolve(
        layer,
        kernel.transpose(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width),
        channels,
    )


def _batch_norm(layer: _Layer) -> str:
    axis = layer.config["axis"]
    axis = axis[0] if isinstance(axis, list) else axis
    if axis not in ((1, -1) if layer.inputs[0] in layer.graph.units else (3, -1)):
        raise NotImplementedError(f"axis {axis}")
    mean, variance = layer.weights["moving_mean"], layer.weights["moving_variance"]
    gamma, beta = (
        layer.weights.get("gamma", np.ones_like(mean)),
        layer.weights.get("beta", np.zeros_like(mean)),
    )
    return layer.op(
        "BatchNormalization", [gamma, beta, mean, variance], epsilon=layer.config["epsilon"]
    )


def _relu(layer: _Layer) -> str:
    if layer.config.get("threshold") or layer.config.get("negative_slope"):
        raise NotImplementedError("a threshold or negative slope")
    if layer.config.get("max_value") is None:
        return layer.op("Relu")
    return layer.op(
        "Clip", [np.array(0, np.float32), np.array(layer.config["max_value"], np.float32)]
    )


def _zero_padding(layer: _Layer) -> str:
    layer.check_channels_last()
    (top, bottom), (left, right) = layer.config["padding"]
    return layer.op("Pad", [np.array([0, 0, top, left, 0, 0, bottom, right])])


def _dense(layer: _Layer) -> str:
    if layer.inputs[0] not in layer.graph.units:
        raise NotImplementedError("an input that is not flat")
    kernel = layer.weights["kernel"]
    tensor = layer.op(
        "Gemm", [kernel, layer.weights.get("bias", np.zeros(kernel.shape[1], np.float32))]
    )
    layer.graph.units[tensor] = kernel.shape[1]
    return layer.graph.activation(layer.config["activation"], tensor)


def _flatten(layer: _Layer) -> str:
    return layer.graph.flatten(layer.inputs[0])


def _pool(kind: str) -> Callable[[_Layer], str]:
    return lambda layer: layer.op(kind, kernel_shape=layer.config["pool_size"], **layer.window())


def _global_pool(kind: str) -> Callable[[_Layer], str]:
    def add(layer: _Layer) -> str:
        layer.check_channels_last()
        pooled = layer.op(kind)
        return pooled if layer.config.get("keepdims") else layer.graph.flatten(pooled)

    return add


_LAYERS: dict[str, Callable[[_Layer], str]] = {
    "Activation": lambda layer: layer.graph.activation(layer.config["activation"], layer.inputs[0]),
    "Add": lambda layer: layer.op("Sum"),
    "AveragePooling2D": _pool("AveragePool"),
    "BatchNormalization": _batch_norm,
    "Conv2D": _conv,
    "Dense": _dense,
    "DepthwiseConv2D": _depthwise,
    "Dropout": lambda layer: layer.inputs[0],
    "Flatten": _flatten,
    "GlobalAveragePooling2D": _global_pool("GlobalAveragePool"),
    "GlobalMaxPooling2D": _global_pool("GlobalMaxPool"),
    "MaxPooling2D": _pool("MaxPool"),
    "ReLU": _relu,
    "Softmax": lambda layer: layer.graph.activation("softmax", layer.inputs[0]),
    "ZeroPadding2D": _zero_padding,
}
