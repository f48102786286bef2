"""ONNX Runtime: for machines without OpenVINO, and for a CUDA GPU with `onnxruntime-gpu`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from maskyolo.core.images import ImageArray
from maskyolo.core.installation import install_command
from maskyolo.core.parallel import usable_cpus
from maskyolo.errors import DependencyError, MaskyoloError, WeightsError
from maskyolo.models.backends.base import Tensor, check_yolo, parse_imgsz, to_tensor

__all__ = ["OnnxRuntimeBackend"]


class OnnxRuntimeBackend:
    """A YOLO detection network in ONNX Runtime.

    Args:
        path: a `.onnx` file.
        device: auto, cpu, or the number of a CUDA GPU.
        streams: number of threads that should call it at once, each using its share of the cores.
        threads: maximum number of threads that it computes with. Default: one per core.

    Raises:
        DependencyError: ONNX Runtime is not installed.
        WeightsError: the file is damaged, or not a YOLO detection network with class names.
        MaskyoloError: the device is not available to ONNX Runtime.
    """

    precision = "fp32"

    def __init__(
        self, path: Path, device: str = "auto", streams: int = 1, threads: int | None = None
    ) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise DependencyError(
                "ONNX Runtime is not installed", f"run: {install_command('onnxruntime')}"
            ) from error
        onnxruntime.disable_telemetry_events()
        self.streams = streams
        provider = _provider(device, onnxruntime)
        self.description = (
            f"ONNX Runtime on {'the CPU' if isinstance(provider, str) else f'GPU {device}'}"
        )
        self.title = f"ONNX Runtime {'CPU' if isinstance(provider, str) else f'GPU {device}'}"
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # fatal only; errors are raised anyway
        options.intra_op_num_threads = max((threads or usable_cpus()) // streams, 1)
        try:
            self._session: Any = onnxruntime.InferenceSession(path, options, providers=[provider])
        except Exception as error:  # its exceptions have no common base class
            reason = " ".join(str(error).split())[:120]
            raise WeightsError(
                f"wrong weights {path}: ONNX Runtime cannot read it ({reason})",
                "download or export it again",
            ) from error
        inputs, outputs = (
            [_static(port.shape) for port in ports]
            for ports in (self._session.get_inputs(), self._session.get_outputs())
        )
        metadata = self._session.get_modelmeta().custom_metadata_map
        first = self._session.get_inputs()[0]
        self.names, self.imgsz = (
            check_yolo(metadata, inputs, outputs, path, first.type),
            parse_imgsz(metadata, path),
        )
        height, width = inputs[0][2:]
        self.shape = (height, width) if height and width else None
        self._input = first.name
        self._type = np.float16 if first.type == "tensor(float16)" else np.float32

    def __call__(self, batch: ImageArray, mixed: bool = False) -> Tensor:  # noqa: ARG002
        """Run the network; see `Backend`."""
        tensor = to_tensor(batch).astype(self._type, copy=False)
        return np.asarray(self._session.run(None, {self._input: tensor})[0], dtype=np.float32)


def _provider(device: str, onnxruntime: Any) -> Any:
    if device in ("auto", "cpu"):
        return "CPUExecutionProvider"
    found = onnxruntime.get_available_providers()
    if device.isdigit() and "CUDAExecutionProvider" in found:
        return "CUDAExecutionProvider", {"device_id": device}
    offered = ", ".join(name.removesuffix("ExecutionProvider") for name in found)
    raise MaskyoloError(
        f"device '{device}' is not available to ONNX Runtime, which offers {offered}",
        "use --device cpu, or install onnxruntime-gpu for CUDA",
    )


def _static(shape: list[Any]) -> list[int]:
    """Return the sides of a shape, 0 for dynamic ones."""
    return [side if isinstance(side, int) else 0 for side in shape]
