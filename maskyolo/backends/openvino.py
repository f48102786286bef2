"""OpenVINO on the CPU (or on another device it finds): reads ONNX as it is, and its own `.xml`."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import LifoQueue
from typing import Any, ClassVar

import platformdirs
import yaml

from maskyolo._late import late
from maskyolo._quiet import quiet
from maskyolo.backends import Tensor, check_yolo, parse_imgsz
from maskyolo.errors import MaskyoloError, WeightsError
from maskyolo.images import ImageArray

with late("openvino.tools.ovc"):  # its converter for other frameworks' models
    import openvino
    from openvino.preprocess import ColorFormat, PrePostProcessor

__all__ = ["CORE", "OpenVinoBackend", "OpenVinoNetwork", "unpinned"]

#: The process's one OpenVINO, kept to its end: on Linux its CPU plugin gives the thread that loads it a stack for signals, and
#: freed by another thread it takes the memory away and leaves the stack registered, so that the next Ctrl-C crashes (2026.4).
CORE = openvino.Core()

# What this needs of pybind11 and NumPy is made at its first use, and two threads that make it at once wait for each other for ever
# (seen in 2026.4).
openvino.Type.f32.to_dtype()

#: OpenVINO's names of `backends.PRECISIONS`, without `auto`.
_PRECISIONS = {"fp32": "f32", "bf16": "bf16"}

#: Compiled networks that are kept, one per input shape: pictures of one folder have a handful of shapes.
SHAPES_KEPT = 16

#: Compiled networks that are kept on disk, of about 13 MB each; the oldest go first.
FILES_KEPT = 8

#: OpenVINO sets the process's locale to C while it reads or compiles, and puts back what it found: two threads at once leave C.
_LOADING = threading.Lock()


@contextmanager
def unpinned() -> Iterator[None]:
    """Let the networks that are compiled meanwhile compute on whatever core is free.

    Otherwise OpenVINO binds a network's threads to cores, beginning with the first one, which is right where one network has the machine
    to itself; where several compute at once, some cores are left idle.
    """
    OpenVinoNetwork.pinned = False
    try:
        yield
    finally:
        OpenVinoNetwork.pinned = True


class OpenVinoNetwork:
    """A network as OpenVINO reads it from a file, not yet compiled for a device.

    Args:
        path: a `.onnx` or `.xml` file.
        device: auto or cpu, or a name of OpenVINO's such as GPU or NPU.

    Attributes:
        model: OpenVINO's model.
        pinned: whether OpenVINO may bind threads to cores, for all networks; see `unpinned`.

    Raises:
        WeightsError: damaged.
        MaskyoloError: OpenVINO does not find the device.
    """

    pinned: ClassVar[bool] = True

    def __init__(self, path: Path, device: str = "auto") -> None:
        self._path = path
        self._device = "CPU" if device in ("auto", "cpu") else device.upper()
        self._cached = False
        if self._device.split(".")[0] not in {
            name.split(".")[0] for name in CORE.available_devices
        }:
            found = ", ".join(CORE.available_devices)
            raise MaskyoloError(
                f"cannot compute on device '{device}': OpenVINO finds only {found}; use --device cpu, or a .pt model for a GPU"
            )
        try:
            with _LOADING, quiet(2):  # the ONNX parser's error is raised as well
                self.model = CORE.read_model(path)
        except RuntimeError as error:
            raise WeightsError(
                f"wrong weights {path}: not a network that OpenVINO can read; download or export it again"
            ) from error

    def metadata(self, *keys: str) -> dict[str, str]:
        """Return what the export says about the model under these keys: in the ONNX file, or in `metadata.yaml` beside an `.xml`.

        Raises:
            WeightsError: `metadata.yaml` cannot be read.
        """
        beside = self._path.with_name("metadata.yaml")
        if self._path.suffix.lower() == ".xml" and beside.is_file():
            try:
                found = {
                    str(key): str(value)
                    for key, value in yaml.safe_load(beside.read_text(encoding="utf-8")).items()
                }
            except (OSError, ValueError, AttributeError, yaml.YAMLError) as error:
                raise WeightsError(
                    f"wrong weights {self._path}: {beside.name} beside it cannot be read; export the model again"
                ) from error
            return {key: found[key] for key in keys if key in found}
        return {
            key: self.model.get_rt_info(["framework", key]).astype(str)
            for key in keys
            if self.model.has_rt_info(["framework", key])
        }

    @property
    def device(self) -> str:
        """Where it is computed, for people."""
        return "the CPU" if self._device == "CPU" else self._device

    def take_pixels(self, unit_rgb: bool = False) -> None:
        """Let the network, which is not compiled yet, take BGR pictures, uint8 (n, height, width, 3), itself.

        What that needs, OpenVINO merges into the first convolution.

        Args:
            unit_rgb: the network was made for RGB from 0 to 1, and not for BGR from 0 to 255.
        """
        steps = PrePostProcessor(self.model)
        steps.input().tensor().set_element_type(openvino.Type.u8).set_layout(
            openvino.Layout("NHWC")
        ).set_color_format(ColorFormat.BGR)
        pixels = steps.input().preprocess().convert_element_type(openvino.Type.f32)
        if unit_rgb:
            pixels.convert_color(ColorFormat.RGB).scale(255.0)
        steps.input().model().set_layout(openvino.Layout("NCHW"))
        steps.build()

    def native_precision(self) -> str:
        """Return the quickest of `backends.PRECISIONS` that the device computes in hardware with hardly any loss."""
        has_bf16 = self._device == "CPU" and "BF16" in CORE.get_property(
            "CPU", "OPTIMIZATION_CAPABILITIES"
        )
        return "bf16" if has_bf16 else "fp32"

    def compile(
        self,
        shape: tuple[int, ...] | None = None,
        precision: str = "fp32",
        streams: int = 1,
        threads: int | None = None,
    ) -> Any:
        """Compile for an input of `shape`, or for the model's own, with the cores, or so many threads, shared among `streams` inferences.

        The first one, which a start waits for, is kept in the user's cache for the next start.

        Raises:
            MaskyoloError: the device cannot compute it in this precision.
        """
        model = self.model
        if shape is not None:
            model = model.clone()
            model.reshape(shape)
        settings = {
            "INFERENCE_PRECISION_HINT": _PRECISIONS[precision],
            "PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT",
        }
        if streams > 1 and self._device == "CPU":
            settings["NUM_STREAMS"] = str(streams)
        if threads is not None and self._device == "CPU":
            settings["INFERENCE_NUM_THREADS"] = str(threads)
        if not self.pinned and self._device == "CPU":
            settings["ENABLE_CPU_PINNING"] = "NO"
        if not self._cached:
            self._cached = True
            if folder := _cache_folder():
                settings["CACHE_DIR"] = str(folder)
        try:
            with _LOADING:
                return CORE.compile_model(model, self._device, settings)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise MaskyoloError(
                f"cannot compile {self._path} for {self.device} in {precision}: {reason[:120]}; try --precision fp32 or another --backend"
            ) from error


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

    def __init__(
        self, path: Path, device: str = "auto", streams: int = 1, precision: str = "auto"
    ) -> None:
        self._network = OpenVinoNetwork(path, device)
        self.streams = streams
        model = self._network.model
        quantized = any(node.get_type_name() == "FakeQuantize" for node in model.get_ops())
        if precision == "auto":  # 2026.4 does not compile ONNX's int8 in bf16
            precision = (
                "fp32"
                if quantized and path.suffix.lower() == ".onnx"
                else self._network.native_precision()
            )
        self.precision = precision
        self.description = f"OpenVINO on {self._network.device}" + (", int8" if quantized else "")
        inputs, outputs = (
            [_static(port.partial_shape) for port in ports]
            for ports in (model.inputs, model.outputs)
        )
        metadata = self._network.metadata("task", "names", "maskyolo", "imgsz")
        self.names, self.imgsz = (
            check_yolo(metadata, inputs, outputs, path),
            parse_imgsz(metadata, path),
        )
        height, width = inputs[0][2:]
        self.shape = (height, width) if height and width else None
        self._network.take_pixels(unit_rgb=True)
        self._compiling = threading.Lock()
        self._requests = functools.lru_cache(SHAPES_KEPT)(self._compile)

    def __call__(self, batch: ImageArray) -> Tensor:
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
        compiled = self._network.compile(
            shape if self.shape is None else None, self.precision, self.streams
        )
        requests: LifoQueue[Any] = LifoQueue()
        for _ in range(self.streams):
            requests.put(compiled.create_infer_request())
        return requests


def _cache_folder() -> Path | None:
    """Return the folder of compiled networks in the user's cache, or None where nothing can be written there.

    OpenVINO names the files by the network, the device, the settings and its own version, and compiles again where one is damaged.
    """
    folder = platformdirs.user_cache_path("maskyolo", appauthor=False) / "compiled"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        files = sorted(folder.glob("*.blob"), key=lambda file: file.stat().st_mtime)
        for file in files[: 1 - FILES_KEPT]:
            file.unlink(missing_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


def _static(shape: openvino.PartialShape) -> list[int]:
    """Return the sides of a shape, 0 for those that are free."""
    return (
        [side.get_length() if side.is_static else 0 for side in shape]
        if shape.rank.is_static
        else []
    )
