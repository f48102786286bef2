"""PyTorch through Ultralytics, for `.pt` files on the CPU, CUDA or MPS; needs the `train` extra."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np

from maskyolo.core.images import ImageArray
from maskyolo.errors import MaskyoloError, WeightsError
from maskyolo.models.backends.base import Tensor, parse_imgsz, to_tensor
from maskyolo.models.ultralytics import import_ultralytics, only_trusted, silenced

__all__ = ["TorchBackend"]


class TorchBackend:
    """An Ultralytics checkpoint in PyTorch.

    A `.pt` file is a Python pickle, which can run any code when loaded; see `check_trust`.

    Args:
        path: a `.pt` file.
        device: auto (the first GPU if there is one), cpu, 0, 1, … (a CUDA GPU), mps.
        trust: whether the user trusts the file's author.
        threads: maximum number of CPU threads that PyTorch computes with, in the whole process.
            Default: PyTorch's.

    Raises:
        DependencyError: PyTorch or Ultralytics is not installed.
        WeightsError: the file is damaged, or not a YOLO detector.
        MaskyoloError: the device is not available to PyTorch.
    """

    precision = "fp32"
    streams = 1
    shape: tuple[int, int] | None = None

    def __init__(
        self, path: Path, device: str = "auto", trust: bool = False, threads: int | None = None
    ) -> None:
        ultralytics = import_ultralytics(f"the model {path}")
        import torch

        if threads is not None:
            torch.set_num_threads(threads)
        if device == "auto":
            device = "0" if torch.cuda.is_available() else "cpu"
        try:
            self._device = torch.device(f"cuda:{device}" if device.isdigit() else device)
            torch.zeros(1, device=self._device)
        except (RuntimeError, AssertionError) as error:
            raise MaskyoloError(
                f"device '{device}' is not available to PyTorch",
                "use --device cpu",
            ) from error
        try:
            with silenced(), only_trusted(trust):
                model: Any = ultralytics.YOLO(path)
                task, names, network = (
                    model.task,
                    model.names,
                    model.model.float().eval().fuse(verbose=False),
                )
        except WeightsError:
            raise
        except Exception as error:  # unpickling runs code from the file, which can raise anything
            reason = " ".join(str(error).split())[:120] or type(error).__name__
            raise WeightsError(
                f"wrong weights {path}: not an Ultralytics checkpoint ({reason})",
                "download or train it again",
            ) from error
        if task != "detect" or getattr(network, "end2end", False):
            raise WeightsError(
                f"wrong weights {path}: a model for the task '{task}', or without anchors",
                "use a YOLOv8 detector",
            )
        self.names = tuple(str(names[place]) for place in range(len(names)))
        self.imgsz = parse_imgsz({key: str(value) for key, value in model.overrides.items()}, path)
        self._network = network.to(self._device)
        self._running = threading.Lock()
        self.title = f"PyTorch {'CPU' if self._device.type == 'cpu' else self._device}"
        self.description = f"PyTorch on {'the CPU' if self._device.type == 'cpu' else self._device}"

    def __call__(self, batch: ImageArray, mixed: bool = False) -> Tensor:  # noqa: ARG002
        """Run the network; see `Backend`."""
        import torch

        # one at a time: the head keeps the anchors of the last input's shape
        with self._running, torch.inference_mode():
            output = self._network(torch.from_numpy(to_tensor(batch)).to(self._device))
        output = output[0] if isinstance(output, (list, tuple)) else output
        return np.asarray(output.float().cpu().numpy(), dtype=np.float32)
