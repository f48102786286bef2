"""The second stage of the two-stage pipeline: face crops in, class probabilities out.

Training and detection cut, scale and normalize crops with the functions in this module, so both see
the same pixels.
"""

from __future__ import annotations

import json
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from maskyolo.core.boxes import Boxes, as_boxes
from maskyolo.core.classes import CLASS_NAMES
from maskyolo.core.images import ImageArray
from maskyolo.core.parsing import parse_json
from maskyolo.errors import WeightsError
from maskyolo.models.backends.base import Tensor
from maskyolo.models.limits import model_errors

__all__ = [
    "METADATA_KEY",
    "Classifier",
    "CropSettings",
    "cut_crops",
    "normalize_crops",
    "preprocess",
]

#: The key in an ONNX file's `metadata_props` whose value is its `CropSettings` as JSON.
METADATA_KEY = "maskyolo"

#: Maximum number of crops per batch; it keeps memory below 500 MB for any number of faces.
MAX_BATCH = 64

#: Maximum side of a crop in pixels; a larger value would fill the memory.
MAX_CROP = 2048

_REMEDY = (
    "use a classifier exported by `maskyolo train --pipeline two-stage` or tools/convert_keras.py"
)


@dataclass(frozen=True)
class CropSettings:
    """The crops that a classifier expects, and the meaning of its outputs.

    The defaults are those of the projects of 2020, that is, of Keras' `mobilenet_v2`, whose
    `preprocess_input` scales to -1..1.

    Attributes:
        arch: name of the architecture, such as `mobilenet_v2`.
        size: side of the crop in pixels.
        mean: subtracted from R, G and B, which range from 0 to 1.
        std: what R, G and B are divided by afterwards.
        margin: margin added on each side of a box, as a fraction of its width or height.
        names: class names in the order of the outputs.
    """

    arch: str = "mobilenet_v2"
    size: int = 224
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    margin: float = 0.0
    names: tuple[str, ...] = CLASS_NAMES

    def to_json(self) -> str:
        """Return the settings as the JSON that an ONNX file carries under `METADATA_KEY`."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> CropSettings:
        """Parse the output of `to_json`.

        Raises:
            ValueError: not JSON, classes other than with_mask and without_mask, or an entry that is
                missing, unknown or of the wrong type.
        """
        entries = parse_json(text)
        if not isinstance(entries, dict) or set(entries) != set(cls.__dataclass_fields__):
            raise ValueError(f"expected the entries {', '.join(cls.__dataclass_fields__)}")
        mean, std = (tuple(float(value) for value in entries[key]) for key in ("mean", "std"))
        size, margin, names = (
            int(entries["size"]),
            float(entries["margin"]),
            tuple(map(str, entries["names"])),
        )
        plausible = all(abs(value) < 1e3 for value in (*mean, *std))  # false for NaN
        if len(mean) != 3 or len(std) != 3 or not plausible or min(map(abs, std)) < 1e-6:
            raise ValueError("mean or std is out of range")
        if not 1 <= size <= MAX_CROP or not 0 <= margin <= 10:
            raise ValueError("size or margin is out of range")
        if sorted(names) != sorted(CLASS_NAMES):
            raise ValueError(f"classes {', '.join(names)} instead of {' and '.join(CLASS_NAMES)}")
        return cls(str(entries["arch"]), size, mean, std, margin, names)


def cut_crops(
    image: ImageArray, boxes: npt.ArrayLike, settings: CropSettings
) -> npt.NDArray[np.uint8]:
    """Cut faces out of an image and stretch each to a square, as in the projects of 2020.

    Args:
        image: BGR uint8 (H, W, 3).
        boxes: xyxy pixels (n, 4), clipped to the image; an empty box becomes one pixel.
        settings: supplies `size` and `margin`.

    Returns:
        RGB uint8 (n, size, size, 3).
    """
    height, width = image.shape[:2]
    grown = _grow(as_boxes(boxes), settings.margin)
    left, top = (
        np.rint(grown[:, axis]).clip(0, side - 1).astype(int)
        for axis, side in ((0, width), (1, height))
    )
    right, bottom = (
        np.rint(grown[:, axis + 2]).clip(0, side).astype(int)
        for axis, side in ((0, width), (1, height))
    )
    crops = np.empty((len(grown), settings.size, settings.size, 3), np.uint8)
    for crop, x1, y1, x2, y2 in zip(
        crops, left, top, np.maximum(right, left + 1), np.maximum(bottom, top + 1), strict=True
    ):
        cv2.resize(
            image[y1:y2, x1:x2],
            (settings.size, settings.size),
            dst=crop,
            interpolation=cv2.INTER_LINEAR,
        )
    return crops[..., ::-1]


def normalize_crops(crops: npt.NDArray[np.uint8], settings: CropSettings) -> Tensor:
    """Convert crops to the network's input: (x / 255 - mean) / std.

    Args:
        crops: RGB uint8 (n, size, size, 3).
        settings: supplies `mean` and `std`.

    Returns:
        float32 (n, 3, size, size).
    """
    batch = np.empty((len(crops), 3, *crops.shape[1:3]), np.float32)
    # One channel at a time is ten times as fast as all three at once.
    for channel, (mean, std) in enumerate(zip(settings.mean, settings.std, strict=True)):
        np.subtract(crops[..., channel], np.float32(mean * 255), out=batch[:, channel])
        batch[:, channel] /= np.float32(std * 255)
    return batch


def preprocess(image: ImageArray, boxes: npt.ArrayLike, settings: CropSettings) -> Tensor:
    """Convert faces (n, 4) in a BGR image to the network's input: cut, then normalize them."""
    return normalize_crops(cut_crops(image, boxes, settings), settings)


class Classifier:
    """A classifier of face crops in OpenVINO.

    Its ONNX file has one input `images`, one output `probabilities`, and its `CropSettings`.

    Args:
        path: a `.onnx` file.
        device: auto, cpu, or an OpenVINO name such as GPU.
        threads: maximum number of CPU threads that it computes with. Default: one per core.

    Attributes:
        settings: the crops it expects.
        description: architecture, runtime, device and precision.

    Raises:
        WeightsError: no such file, a damaged one, or not a crop classifier.
        MaskyoloError: the device is not available to OpenVINO.
    """

    def __init__(self, path: Path | str, device: str = "auto", threads: int | None = None) -> None:
        self._path = Path(path)
        with model_errors(self._path):
            self._load(self._path, device, threads)

    def _load(self, path: Path, device: str, threads: int | None) -> None:
        from maskyolo.models.backends.openvino import OpenVinoNetwork

        network = OpenVinoNetwork(path, device)
        metadata = network.metadata(METADATA_KEY, "task")
        if METADATA_KEY not in metadata:
            found = "a YOLO model" if "task" in metadata else "a network without crop settings"
            raise WeightsError(f"wrong weights {path}: {found}", _REMEDY)
        try:
            self.settings = CropSettings.from_json(metadata[METADATA_KEY])
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise WeightsError(
                f"wrong weights {path}: its crop settings are not valid: {error}", _REMEDY
            ) from error
        expected = [f"[?,3,{self.settings.size},{self.settings.size}]", f"[?,{len(CLASS_NAMES)}]"]
        shapes = [
            str(port.partial_shape) for port in (*network.model.inputs, *network.model.outputs)
        ]
        if shapes != expected:
            raise WeightsError(
                f"wrong weights {path}: shapes {' to '.join(shapes)} instead of "
                f"{' to '.join(expected)}",
                _REMEDY,
            )
        self.title = f"{self.settings.arch} (OpenVINO {network.device.removeprefix('the ')} fp32)"
        self.description = f"{self.settings.arch} in OpenVINO on {network.device}, fp32"
        self._order = [self.settings.names.index(name) for name in CLASS_NAMES]
        self._request: Any = network.compile(threads=threads).create_infer_request()
        self._running = threading.Lock()

    def __call__(self, image: ImageArray, boxes: Boxes) -> npt.NDArray[np.float32]:
        """Classify faces.

        Args:
            image: BGR uint8 (H, W, 3).
            boxes: the faces, xyxy pixels (n, 4).

        Returns:
            Probabilities float32 (n, 2), with_mask first.
        """
        found = np.empty((len(boxes), len(self._order)), np.float32)
        for start in range(0, len(boxes), MAX_BATCH):
            part = slice(start, start + MAX_BATCH)
            crops = preprocess(image, boxes[part], self.settings)
            with self._running, model_errors(self._path):  # a request computes one batch at a time
                probabilities = self._request.infer([crops], share_inputs=True)[0]
            found[part] = probabilities[:, self._order]
        if not np.isfinite(found).all():
            raise WeightsError(
                f"wrong weights {self._path}: the network returned invalid numbers (NaN)", _REMEDY
            )
        return found


def _grow(boxes: Boxes, margin: float) -> Boxes:
    sides = boxes[:, 2:] - boxes[:, :2]
    return np.concatenate([boxes[:, :2] - margin * sides, boxes[:, 2:] + margin * sides], axis=1)
