"""OpenVINO on the CPU (or on another device it finds): reads ONNX as it is, and its own `.xml`."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import LifoQueue
from typing import Any

import openvino
import yaml

from maskyolo.backends import Tensor, check_yolo
from maskyolo.errors import MaskyoloError, WeightsError

__all__ = ["OpenVinoBackend", "OpenVinoNetwork"]

# The table that this reads is made at its first use, and two threads that make it at once wait for each other for ever (seen in 2026.4).
openvino.Type.f32.to_dtype()

#: OpenVINO's names of `backends.PRECISIONS`.
_PRECISIONS = {"fp32": "f32", "bf16": "bf16"}

#: Compiled networks that are kept, one per input shape: pictures of one folder have a handful of shapes.
SHAPES_KEPT = 16


class OpenVinoNetwork:
    """A network as OpenVINO reads it from a file, not yet compiled for a device.

    Args:
        path: a `.onnx` or `.xml` file.
        device: auto or cpu, or a name of OpenVINO's such as GPU or NPU.

    Attributes:
        model: OpenVINO's model.

    Raises:
        WeightsError: damaged.
        MaskyoloError: OpenVINO does not find the device.
    """

    def __init__(self, path: Path, device: str = "auto") -> None:
        self._path = path
        openvino.Type.f32.to_dtype()  # loads pybind11's NumPy API: threads that do so at the same time wait for each other for ever
        self._core = openvino.Core()
        self._device = "CPU" if device in ("auto", "cpu") else device.upper()
        if self._device.split(".")[0] not in {name.split(".")[0] for name in self._core.available_devices}:
            found = ", ".join(self._core.available_devices)
            raise MaskyoloError(
                f"cannot compute on device '{device}': OpenVINO finds only {found}; use --device cpu, or a .pt model for a GPU"
            )
        try:
            with _quiet_stderr():
                self.model = self._core.read_model(path)
        except RuntimeError as error:
            raise WeightsError(f"wrong weights {path}: not a network that OpenVINO can read; download or export it again") from error

    def metadata(self, *keys: str) -> dict[str, str]:
        """Return what the export says about the model under these keys: in the ONNX file, or in `metadata.yaml` beside an `.xml`.

        Raises:
            WeightsError: `metadata.yaml` cannot be read.
        """
        beside = self._path.with_name("metadata.yaml")
        if self._path.suffix.lower() == ".xml" and beside.is_file():
            try:
                found = {str(key): str(value) for key, value in yaml.safe_load(beside.read_text(encoding="utf-8")).items()}
            except (OSError, ValueError, AttributeError, yaml.YAMLError) as error:
                raise WeightsError(f"wrong weights {self._path}: {beside.name} beside it cannot be read; export the model again") from error
            return {key: found[key] for key in keys if key in found}
        return {key: self.model.get_rt_info(["framework", key]).astype(str) for key in keys if self.model.has_rt_info(["framework", key])}

    def compile(self, shape: tuple[int, ...] | None = None, precision: str = "f32", streams: int = 1) -> Any:
        """Compile for an input of `shape`, or for the model's own, with the cores shared among `streams` inferences at once."""
        model = self.model
        if shape is not None:
            model = model.clone()
            model.reshape(shape)
        settings = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT"}
        if streams > 1 and self._device == "CPU":
            settings["NUM_STREAMS"] = str(streams)
        return self._core.compile_model(model, self._device, settings)


class OpenVinoBackend:
    """A YOLO detection network in OpenVINO, compiled for each input shape at its first use.

    Args:
        path: a `.onnx` or `.xml` file.
        device: auto or cpu, or a name of OpenVINO's such as GPU or NPU.
        streams: how many threads may call it at once, each on its share of the cores.
        precision: what it computes in, one of `backends.PRECISIONS`.

    Raises:
        WeightsError: damaged, or no YOLO detection network with class names.
        MaskyoloError: OpenVINO does not find the device.
    """

    def __init__(self, path: Path, device: str = "auto", streams: int = 1, precision: str = "fp32") -> None:
        self.streams, self.precision = streams, _PRECISIONS[precision]
        self._network = OpenVinoNetwork(path, device)
        model = self._network.model
        inputs, outputs = ([_static(port.partial_shape) for port in ports] for ports in (model.inputs, model.outputs))
        self.names = check_yolo(self._network.metadata("task", "names", "maskyolo"), inputs, outputs, path)
        height, width = inputs[0][2:]
        self.shape = (height, width) if height and width else None
        self._compiling = threading.Lock()
        self._requests = functools.lru_cache(SHAPES_KEPT)(self._compile)

    def __call__(self, batch: Tensor) -> Tensor:
        """Run the network; see `Backend`."""
        with self._compiling:
            requests = self._requests(batch.shape)
        request = requests.get()
        try:
            output: Tensor = request.infer([batch], share_inputs=True)[0]
        finally:
            requests.put(request)
        return output

    def _compile(self, shape: tuple[int, ...]) -> LifoQueue[Any]:
        compiled = self._network.compile(shape if self.shape is None else None, self.precision, self.streams)
        requests: LifoQueue[Any] = LifoQueue()
        for _ in range(self.streams):
            requests.put(compiled.create_infer_request())
        return requests


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Keep OpenVINO's ONNX parser, which is not Python, from writing to stderr; its error is raised all the same."""
    try:
        kept = os.dup(2)
    except OSError:  # there is no stderr
        yield
        return
    try:
        with Path(os.devnull).open("wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _static(shape: openvino.PartialShape) -> list[int]:
    """Return the sides of a shape, 0 for those that are free."""
    return [side.get_length() if side.is_static else 0 for side in shape] if shape.rank.is_static else []
