"""ONNX Runtime: for machines without OpenVINO, and for a CUDA GPU with `onnxruntime-gpu`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from maskyolo.core.images import ImageArray
from maskyolo.core.parallel import usable_cpus
from maskyolo.errors import DependencyError, MaskyoloError, WeightsError
from maskyolo.models.backends.base import Tensor, check_yolo, parse_imgsz, to_tensor

__all__ = ["OnnxRuntimeBackend"]


class OnnxRuntimeBackend:
    """A YOLO detection network in ONNX Runtime.

    Args:
        path: a `.onnx` file.
        device: auto, cpu, or the number of a CUDA GPU.
        streams: number of threads that may call it at once, each using its share of the cores.

    Raises:
        DependencyError: ONNX Runtime is not installed.
        WeightsError: the file is damaged, or not a YOLO detection network with class names.
        MaskyoloError: the device is not available to ONNX Runtime.
    """

    precision = "fp32"

    def __init__(self, path: Path, device: str = "auto", streams: int = 1) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise DependencyError(
                "ONNX Runtime is not installed", 'run: pip install "maskyolo[onnxruntime]"'
            ) from error
        onnxruntime.disable_telemetry_events()
        self.streams = streams
        provider = _provider(device, onnxruntime)
        self.description = (
            f"ONNX Runtime on {'the CPU' if isinstance(provider, str) else f'GPU {device}'}"
        )
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # fatal only; errors are raised anyway
        options.intra_op_num_threads = max(usable_cpus() // streams, 1)
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
        self.names, self.imgsz = (
            check_yolo(metadata, inputs, outputs, path),
            parse_imgsz(metadata, path),
        )
        height, width = inputs[0][2:]
        self.shape = (height, width) if height and width else None
        self._input = self._session.get_inputs()[0].name

    def __call__(self, batch: ImageArray) -> Tensor:
        """Run the network; see `Backend`."""
        return np.asarray(
            self._session.run(None, {self._input: to_tensor(batch)})[0], dtype=np.float32
        )


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
