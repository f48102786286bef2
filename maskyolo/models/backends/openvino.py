"""OpenVINO on the CPU or another device that it finds; reads ONNX files and its own `.xml`."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from queue import LifoQueue
from typing import Any, ClassVar

import numpy as np

from maskyolo.core.choices import Precision
from maskyolo.core.images import ImageArray
from maskyolo.core.lazy_imports import late
from maskyolo.core.parsing import load_yaml
from maskyolo.core.processor import instruction_sets
from maskyolo.core.silence import quiet
from maskyolo.errors import MaskyoloError, WeightsError
from maskyolo.models.backends.base import Tensor, check_yolo, parse_imgsz
from maskyolo.models.backends.compile_cache import compile_cache

with late("openvino.tools.ovc"):  # a model converter that is slow to import and not needed
    import openvino
    from openvino import opset13
    from openvino.passes import ConstantFolding, Manager
    from openvino.preprocess import ColorFormat, PrePostProcessor

__all__ = ["CORE", "OpenVinoBackend", "OpenVinoNetwork", "native_precision", "unpinned"]

#: The process's only OpenVINO core, kept until the process ends. On Linux, OpenVINO's CPU plugin
#: gives the loading thread a signal stack. If another thread frees the core, the stack's memory is
#: freed but stays registered, so that the next Ctrl-C crashes (seen in 2026.4).
CORE = openvino.Core()

# Initialize what OpenVINO uses of pybind11 and NumPy on first use: two threads doing so at once
# deadlock (seen in 2026.4).
openvino.Type.f32.to_dtype()

#: OpenVINO's names for the precisions.
_HINTS = {Precision.FP32: "f32", Precision.BF16: "bf16", Precision.INT8: "f32"}

#: OpenVINO's names for loops, which no YOLOv8 detector has.
_LOOPS = {"Loop", "TensorIterator"}

#: Number of compiled networks to keep, one per input shape.
SHAPES_KEPT = 16

#: Held while OpenVINO reads or compiles. It sets the process's locale to C and then restores the
#: previous one, which would stay C if two threads did so at once.
_LOADING = threading.Lock()


@contextmanager
def unpinned() -> Iterator[None]:
    """Let networks compiled in this context compute on any core that is free.

    By default, OpenVINO binds a network's threads to cores, starting with the first one. That is
    best for one network that has the machine to itself. If several compute at once, it leaves cores
    idle.
    """
    OpenVinoNetwork.pinned = False
    try:
        yield
    finally:
        OpenVinoNetwork.pinned = True


class OpenVinoNetwork:
    """A network that OpenVINO has read from a file but not yet compiled for a device.

    Args:
        path: a `.onnx` or `.xml` file.
        device: auto, cpu, or an OpenVINO name such as GPU or NPU.

    Attributes:
        model: OpenVINO's model.
        pinned: whether OpenVINO may bind threads to cores; applies to all networks, see `unpinned`.

    Raises:
        WeightsError: the file is damaged.
        MaskyoloError: the device is not available to OpenVINO.
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
                f"device '{device}' is not available to OpenVINO, which finds only {found}",
                "use --device cpu, or a .pt model for a GPU",
            )
        try:
            with _LOADING, quiet(2):  # the ONNX parser's error is raised anyway
                self.model = CORE.read_model(path)
        except RuntimeError as error:
            raise WeightsError(
                f"wrong weights {path}: not a network that OpenVINO can read",
                "download or export it again",
            ) from error
        _merge_signed_activations(self.model)

    def metadata(self, *keys: str) -> dict[str, str]:
        """Return the given metadata entries of an export, as far as they exist.

        They are read from the ONNX file or the `.xml`, or from Ultralytics' `metadata.yaml` next to
        an `.xml`.

        Raises:
            WeightsError: `metadata.yaml` cannot be read.
        """
        beside = self._path.with_name("metadata.yaml")
        if self._path.suffix.lower() == ".xml" and beside.is_file():
            try:
                content = load_yaml(beside, WeightsError)
                found = {str(key): str(value) for key, value in content.items()}
            except (WeightsError, AttributeError) as error:
                raise WeightsError(
                    f"wrong weights {self._path}: {beside.name} next to it cannot be read",
                    "export the model again",
                ) from error
            return {key: found[key] for key in keys if key in found}
        return {
            key: self.model.get_rt_info(["framework", key]).astype(str)
            for key in keys
            if self.model.has_rt_info(["framework", key])
        }

    @property
    def device(self) -> str:
        """The device, as messages name it."""
        return "the CPU" if self._device == "CPU" else self._device

    def take_pixels(self, unit_rgb: bool = False) -> None:
        """Make the network accept BGR images, uint8 (n, height, width, 3), as its input.

        OpenVINO merges the conversion into the first convolution. Must be called before `compile`.

        Args:
            unit_rgb: whether the network expects RGB from 0 to 1 instead of BGR from 0 to 255.
        """
        steps = PrePostProcessor(self.model)
        steps.input().tensor().set_element_type(openvino.Type.u8).set_layout(
            openvino.Layout("NHWC")
        ).set_color_format(ColorFormat.BGR)
        pixels = steps.input().preprocess().convert_element_type(openvino.Type.f32)
        if unit_rgb and _has_reversing_gather(self.model):
            pixels.custom(_reverse_channels).scale(255.0)
        elif unit_rgb:
            pixels.convert_color(ColorFormat.RGB).scale(255.0)
        steps.input().model().set_layout(openvino.Layout("NCHW"))
        steps.build()

    def fold(self) -> None:
        """Compute what is constant, such as half-precision weights in full precision.

        Otherwise, each compiled network would have a copy of its own, 14 MB for a YOLOv8n.
        """
        steps = Manager()
        steps.register_pass(ConstantFolding())
        steps.run_passes(self.model)

    def native_precision(self) -> Precision:
        """Return the fastest precision with little loss that the device supports in hardware."""
        return native_precision() if self._device == "CPU" else Precision.FP32

    def _hint(self, precision: Precision) -> str:
        """Return what OpenVINO calls the precision; of int8, that of the layers in float."""
        if precision is Precision.INT8 and self._device == "CPU":
            # OpenVINO 2026.4 cannot compile int8 ONNX files in bf16
            return "bf16" if self._path.suffix.lower() == ".xml" and _has_bf16() else "f32"
        return _HINTS[precision]

    def compile(
        self,
        shape: tuple[int, ...] | None = None,
        precision: Precision = Precision.FP32,
        streams: int = 1,
        threads: int | None = None,
    ) -> Any:
        """Compile the network for an input shape.

        The first compiled network, whose compilation delays the start, is cached on disk.

        Args:
            shape: shape of the input, -1 for any. Default: the model's own.
            precision: the precision to compute in.
            streams: number of inferences that run at once and share the threads.
            threads: number of threads to use, on any core that is free. Default: one per core.

        Raises:
            MaskyoloError: the device cannot run the network in this precision.
        """
        model = self.model
        if shape is not None:
            model = model.clone()
            model.reshape(shape)
        settings = {
            "INFERENCE_PRECISION_HINT": self._hint(precision),
            "PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT",
        }
        if streams > 1 and self._device == "CPU":
            settings["NUM_STREAMS"] = str(streams)
        if threads is not None and self._device == "CPU":
            settings["INFERENCE_NUM_THREADS"] = str(threads)
        if self._device == "CPU" and (threads is not None or not self.pinned):
            # a limit is for several processes, which would all be bound to the first cores
            settings["ENABLE_CPU_PINNING"] = "NO"
        first, self._cached = not self._cached, True
        try:
            with _LOADING, compile_cache() if first else nullcontext() as folder:
                if folder is not None:
                    settings["CACHE_DIR"] = str(folder)
                return CORE.compile_model(model, self._device, settings)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise MaskyoloError(
                f"cannot compile {self._path} for {self.device} in {precision}: {reason[:120]}",
                "try --precision fp32 or another --backend",
            ) from error


def native_precision(has_int8: bool = False) -> Precision:
    """Return the fastest precision with little loss that the CPU supports in hardware.

    Measured in benchmarks/runtime.md: bf16 is the fastest with AMX; int8 is with VNNI, also beside
    AVX512-BF16, and with AVX2 alone.

    Args:
        has_int8: whether the network also exists in int8.
    """
    sets = instruction_sets()
    int8_is_fast = has_int8 and bool(sets & {"avx512_vnni", "avx_vnni", "avx2"})
    if _has_bf16() and not (int8_is_fast and "amx_bf16" not in sets):
        return Precision.BF16
    return Precision.INT8 if int8_is_fast else Precision.FP32


def _has_bf16() -> bool:
    """Return whether the CPU computes in bf16 in hardware.

    OpenVINO also claims it where it imitates it with AVX-512, several times slower than fp32.
    """
    sets = instruction_sets()
    imitated = bool(sets) and not sets & {"avx512_bf16", "amx_bf16"}
    return "BF16" in CORE.get_property("CPU", "OPTIMIZATION_CAPABILITIES") and not imitated


class OpenVinoBackend:
    """A YOLO detection network in OpenVINO, compiled for each input shape on first use.

    Args:
        path: a `.onnx` or `.xml` file.
        device: auto, cpu, or an OpenVINO name such as GPU or NPU.
        streams: number of threads that should call it at once, each using its share of the cores;
            more of them wait for one another.
        precision: the precision to compute in.
        threads: maximum number of CPU threads that it computes with. Default: one per core.

    Raises:
        WeightsError: the file is damaged, or not a YOLO detection network with class names.
        MaskyoloError: the device is not available to OpenVINO.
    """

    def __init__(
        self,
        path: Path,
        device: str = "auto",
        streams: int = 1,
        precision: Precision = Precision.AUTO,
        threads: int | None = None,
    ) -> None:
        self._network = OpenVinoNetwork(path, device)
        self.streams = streams
        model = self._network.model
        kinds = {node.get_type_name() for node in model.get_ops()}
        if kinds & _LOOPS:
            raise WeightsError(
                f"wrong weights {path}: it has a loop, which may never end",
                "export the model again",
            )
        quantized = "FakeQuantize" in kinds
        if not quantized:  # folding would also turn int8 weights to float
            self._network.fold()
        if precision is Precision.AUTO:  # OpenVINO 2026.4 cannot compile int8 ONNX files in bf16
            precision = (
                Precision.FP32
                if quantized and path.suffix.lower() == ".onnx"
                else self._network.native_precision()
            )
        if precision is Precision.INT8 and not quantized:
            raise MaskyoloError(
                f"{path} is not in int8, which needs calibration images",
                "run `maskyolo export --format openvino --precision int8 --images FOLDER` and use "
                "the result as --model",
            )
        self.precision = str(precision)
        quantized = quantized and precision is not Precision.INT8  # which says so already
        self.description = f"OpenVINO on {self._network.device}" + (", int8" if quantized else "")
        device_name = self._network.device.removeprefix("the ")
        self.title = f"OpenVINO {device_name}" + (" int8" if quantized else "")
        inputs, outputs = (
            [_static(port.partial_shape) for port in ports]
            for ports in (model.inputs, model.outputs)
        )
        metadata = self._network.metadata("task", "names", "maskyolo", "imgsz")
        self.names, self.imgsz = (
            check_yolo(
                metadata, inputs, outputs, path, model.inputs[0].element_type.get_type_name()
            ),
            parse_imgsz(metadata, path),
        )
        height, width = inputs[0][2:]
        self.shape = (height, width) if height and width else None
        self._network.take_pixels(unit_rgb=True)
        self._compiling = threading.Lock()
        self._hint, self._threads = precision, threads
        self._requests = functools.lru_cache(SHAPES_KEPT)(self._compile)

    def __call__(self, batch: ImageArray, mixed: bool = False) -> Tensor:
        """Run the network; see `Backend`.

        A network for one shape takes 30 to 70 MB and up to two seconds to compile, so mixed shapes
        share one for any shape, which is 4 to 15 % slower. Its numbers differ slightly in int8.
        """
        with self._compiling:
            number, height, width, channels = batch.shape
            size = (-1, -1) if mixed else (height, width)
            requests = self._requests((number, *size, channels))
        request = requests.get()
        try:
            output: Tensor = request.infer([batch], share_inputs=True)[0]
        finally:
            requests.put(request)
        return output

    def _compile(self, shape: tuple[int, ...]) -> LifoQueue[Any]:
        compiled = self._network.compile(
            shape if self.shape is None else None, self._hint, self.streams, self._threads
        )
        requests: LifoQueue[Any] = LifoQueue()
        for _ in range(self.streams):
            requests.put(compiled.create_infer_request())
        return requests


def _has_reversing_gather(model: openvino.Model) -> bool:
    """Return whether a network reorders something by indices, such as the classes in its output.

    OpenVINO (2026.4) mistakes this for the counterpart of its own conversion from BGR to RGB, and
    drops the conversion.
    """
    for node in model.get_ops():
        if node.get_type_name() == "Gather":
            indices = node.input_value(1).get_node()
            if indices.get_type_name() == "Constant":
                order = indices.get_data().ravel()
                if (order[1:] < order[:-1]).any():
                    return True
    return False


def _reverse_channels(pixels: openvino.Output) -> openvino.Output:
    """Convert BGR to RGB, float32 (n, height, width, 3), in a way that OpenVINO does not drop."""
    swap = opset13.constant(np.eye(3, dtype=np.float32)[::-1].copy())
    return opset13.matmul(pixels, swap, False, False).output(0)


def _merge_signed_activations(model: openvino.Model) -> None:
    """Let OpenVINO choose how to store activations that an ONNX file quantizes to int8.

    Left unchanged, OpenVINO (2026.4) computes them wrong on x86 CPUs without VNNI; see
    `maskyolo.models.onnx_files.make_activations_unsigned`. Quantizing and dequantizing are merged
    into one operation with the same result, as in an `.xml` exported in int8. OpenVINO then chooses
    uint8.
    """
    merged = False
    for quantize in model.get_ordered_ops():
        if quantize.get_type_name() != "FakeQuantize":
            continue
        stored = _only_user(quantize)
        if stored is None or stored.get_output_element_type(0) != openvino.Type.i8:
            continue
        dequantize = _only_user(stored)
        while dequantize is not None and dequantize.get_type_name() in ("Convert", "Subtract"):
            dequantize = _only_user(dequantize)
        if dequantize is None or dequantize.get_type_name() != "Multiply":
            continue
        low, high = quantize.input_value(1), quantize.input_value(2)
        both = opset13.fake_quantize(quantize.input_value(0), low, high, low, high, 256)
        both.set_friendly_name(quantize.get_friendly_name())
        for user in list(dequantize.output(0).get_target_inputs()):
            user.replace_source_output(both.output(0))
        merged = True
    if merged:
        model.validate_nodes_and_infer_types()


def _only_user(node: openvino.Node) -> openvino.Node | None:
    """Return the only operation that uses an operation's result; None if there are several."""
    users = [user.get_node() for user in node.output(0).get_target_inputs()]
    return users[0] if len(users) == 1 else None


def _static(shape: openvino.PartialShape) -> list[int]:
    """Return the sides of a shape, 0 for dynamic ones."""
    return (
        [side.get_length() if side.is_static else 0 for side in shape]
        if shape.rank.is_static
        else []
    )
