"""A network of unknown origin: its memory is limited, and its errors are reported in one line."""

from __future__ import annotations

from pathlib import Path

from maskyolo.core.images import ImageArray
from maskyolo.errors import WeightsError
from maskyolo.models.backends.base import Backend, Tensor
from maskyolo.models.limits import model_errors

__all__ = ["LimitedBackend"]

#: Largest plausible number in an output: boxes are in pixels of the input.
_LARGEST = 1e6


class LimitedBackend:
    """Calls another backend, with limited memory, and checks its output; see `Backend`.

    Args:
        backend: the network.
        path: its file, for error messages.
    """

    def __init__(self, backend: Backend, path: Path) -> None:
        self._backend, self._path = backend, path
        self.names, self.shape, self.imgsz = backend.names, backend.shape, backend.imgsz
        self.precision, self.streams = backend.precision, backend.streams
        self.title, self.description = backend.title, backend.description

    def __call__(self, batch: ImageArray, mixed: bool = False) -> Tensor:
        """Run the network; see `Backend`.

        Raises:
            WeightsError: it needs too much memory, fails, or its output is not that of YOLOv8.
        """
        with model_errors(self._path):
            output = self._backend(batch, mixed)
        if output.ndim != 3 or output.shape[:2] != (len(batch), 4 + len(self.names)):
            raise WeightsError(
                f"wrong weights {self._path}: output of shape {list(output.shape)} instead of "
                f"{[len(batch), 4 + len(self.names), 'anchors']}",
                "export the model again",
            )
        if output.size and not (output.max() < _LARGEST and output.min() > -_LARGEST):
            raise WeightsError(
                f"wrong weights {self._path}: the network returned infinite numbers or NaN",
                "try --precision fp32, or export the model again",
            )
        return output
