"""The single-stage detector, which finds and classifies faces in one forward pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from maskyolo.core.boxes import Boxes, clip_boxes
from maskyolo.core.images import ImageArray, check_image
from maskyolo.detectors.classes import NetworkClasses, find_classes
from maskyolo.errors import MaskyoloError
from maskyolo.models.backends.base import Backend, Tensor

if TYPE_CHECKING:
    import supervision as sv

__all__ = ["STRIDE", "YoloDetector", "letterbox", "network_shape", "photo_shape", "postprocess"]

#: Stride in pixels of YOLOv8's coarsest layer; the input's sides are multiples of it.
STRIDE = 32
#: Inference size in pixels (longer side) for weights that do not specify one.
IMGSZ = 640
#: Maximum inference size in pixels. With a larger input, memory runs out, and the system kills the
#: process without a message.
MAX_IMGSZ = 8192
#: Shorter sides of the network's input for photos, as parts of the longer side: a 16:9 and a 4:3
#: photo fill it.
_LANDSCAPE, _PORTRAIT = (0.6, 0.75), (0.75,)
#: Gray level of the letterbox's border, the same as in Ultralytics' training.
BORDER = 114


def network_shape(height: int, width: int, imgsz: int) -> tuple[int, int]:
    """Return the (height, width) of the network's input for an image; both are multiples of 32.

    Args:
        height: height of the image in pixels.
        width: width of the image in pixels.
        imgsz: longer side of the input in pixels.

    Examples:
        >>> network_shape(720, 1280, 640)
        (384, 640)
    """
    scale = _ceil(imgsz) / max(height, width)
    return _ceil(round(height * scale)), _ceil(round(width * scale))


def photo_shape(height: int, width: int, imgsz: int) -> tuple[int, int]:
    """Return the (height, width) of the network's input for a photo, one of only four shapes.

    A runtime prepares its computations for each shape of the input, which takes time and memory.
    Photos have dozens of aspect ratios; each gets the smallest of the four shapes that it fits
    into.

    Args:
        height: height of the photo in pixels.
        width: width of the photo in pixels.
        imgsz: longer side of the input in pixels.

    Examples:
        >>> photo_shape(720, 1280, 640), photo_shape(1000, 1500, 640), photo_shape(900, 1000, 640)
        ((384, 640), (480, 640), (640, 640))
    """
    exact, longer = network_shape(height, width, imgsz), _ceil(imgsz)
    parts = _PORTRAIT if height > width else _LANDSCAPE
    shorter = next(
        (side for part in parts if (side := _ceil(round(part * longer))) >= min(exact)), longer
    )
    return (longer, shorter) if height > width else (shorter, longer)


def letterbox(
    image: ImageArray, shape: tuple[int, int]
) -> tuple[ImageArray, tuple[float, float], tuple[int, int]]:
    """Scale an image to fit into `shape`, keeping its aspect ratio, and center it on gray.

    The result is identical to that of Ultralytics' `LetterBox`.

    Args:
        image: BGR uint8 (H, W, 3).
        shape: (height, width) of the network's input in pixels.

    Returns:
        The network's input, BGR uint8 (height, width, 3); the scales of x and y, which differ
        slightly because sides are whole pixels; and the (left, top) border in pixels.
    """
    height, width = image.shape[:2]
    scale = min(shape[0] / height, shape[1] / width)
    inner = (max(round(width * scale), 1), max(round(height * scale), 1))
    # Subtract 0.1 as Ultralytics does: if the border is odd, the smaller part comes first.
    left, top = round((shape[1] - inner[0]) / 2 - 0.1), round((shape[0] - inner[1]) / 2 - 0.1)
    canvas = np.full((*shape, 3), BORDER, np.uint8)
    place = canvas[top : top + inner[1], left : left + inner[0]]
    if inner == (width, height):
        place[:] = image
    else:
        cv2.resize(image, inner, dst=place, interpolation=cv2.INTER_LINEAR)
    return canvas, (inner[0] / width, inner[1] / height), (left, top)


def postprocess(
    output: Tensor, conf: float = 0.25, iou: float = 0.5, max_det: int = 300
) -> tuple[Boxes, npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Convert a YOLOv8 head's output for one image to boxes, with class-agnostic NMS.

    NMS ignores the class because a face is either masked or not, never both.

    Args:
        output: float32 (4 + classes, anchors): cx, cy, w, h in pixels of the input, then the score
            of each class.
        conf: minimum score; a box gets the class with the highest score.
        iou: overlap (IoU) above which the less confident of two boxes is dropped.
        max_det: maximum number of boxes.

    Returns:
        Boxes xyxy float32 (n, 4) in pixels of the input; confidences float32 (n,), descending;
        class ids (n,), by the order of the scores.
    """
    scores = output[4:].max(axis=0)
    likely = np.flatnonzero(scores > conf)
    columns, scores = output[:, likely], scores[likely]
    corner, size = columns[:2] - columns[2:4] / 2, columns[2:4]
    rectangles = np.concatenate([corner, size]).T
    kept = np.asarray(
        cv2.dnn.NMSBoxes(rectangles.tolist(), scores.tolist(), conf, iou), dtype=np.int64
    )[:max_det]
    boxes = np.concatenate([corner, corner + size]).T[kept]
    return boxes.astype(np.float32), scores[kept], columns[4:, kept].argmax(axis=0)


class YoloDetector:
    """Finds faces and decides for each whether it wears a mask.

    Args:
        backend: the network.
        imgsz: inference size in pixels (longer side), rounded up to a multiple of 32. Default: as
            with Ultralytics, the size that the weights specify, or else 640.
        conf: minimum confidence of a detection.
        iou: overlap (IoU) above which the less confident of two boxes is dropped.
        max_det: maximum number of detections per image.
        classes: which of the network's classes stand for ours. Default: by their names.

    Attributes:
        classes: which of the network's classes stand for ours.
        class_names: the classes that it reports, by class id.

    Raises:
        WeightsError: the network has other classes; see `find_classes`.
        MaskyoloError: `imgsz` is out of range, or the network only takes images of a different
            size.
    """

    def __init__(
        self,
        backend: Backend,
        imgsz: int | None = None,
        conf: float = 0.25,
        iou: float = 0.5,
        max_det: int = 300,
        classes: NetworkClasses | None = None,
    ) -> None:
        self.classes = classes or find_classes(backend.names)
        self.class_names = self.classes.names
        self.backend = backend
        own = max(backend.shape) if backend.shape else backend.imgsz
        imgsz = imgsz if imgsz is not None else own if own is not None else IMGSZ
        if not STRIDE <= imgsz <= MAX_IMGSZ:
            raise MaskyoloError(
                f"imgsz must be between {STRIDE} and {MAX_IMGSZ}, got {imgsz}",
                "use 320 to 1280",
            )
        self.imgsz, self.conf, self.iou, self.max_det = _ceil(imgsz), conf, iou, max_det
        if backend.shape and self.imgsz != _ceil(max(backend.shape)):
            raise MaskyoloError(
                f"cannot detect with imgsz {imgsz}: the network was exported for {own} pixels only",
                "leave out imgsz",
            )
        self._name_array = np.array(self.class_names)

    @property
    def title(self) -> str:
        """Runtime, device, precision and inference size, such as "OpenVINO CPU bf16, 640 px".

        If the network's classes are not ours, also what they stand for.
        """
        return f"{self.backend.title}, {self.imgsz} px{self._meanings()}"

    @property
    def description(self) -> str:
        """Runtime, device, precision with the reason for it, and inference size, in one line.

        If the network's classes are not ours, also what they stand for.
        """
        return f"{self.backend.description}; images at {self.imgsz} pixels{self._meanings()}"

    def _meanings(self) -> str:
        meanings = self.classes.in_words()
        return f"; classes: {meanings}" if meanings else ""

    @property
    def workers(self) -> int:
        """Number of threads that may, and should, call the detector to keep every core busy."""
        return self.backend.streams

    def __call__(self, image: ImageArray) -> sv.Detections:
        """Detect in one image.

        Args:
            image: BGR uint8 (H, W, 3).

        Returns:
            `supervision.Detections`: `xyxy` float32 (n, 4) in pixels, clipped to the image;
            `confidence` float32 (n,); `class_id` (n,), 0 = with_mask, 1 = without_mask, and if it
            reports three classes, 2 = incorrect_mask; `data["class_name"]` (n,).
        """
        return self._detect(image, network_shape, mixed=False)

    def detect_photo(self, image: ImageArray) -> sv.Detections:
        """Detect in one of many photos of different shapes; see `photo_shape`.

        The result is the same as for a call, but for the wider gray border.

        Args:
            image: BGR uint8 (H, W, 3).

        Returns:
            `supervision.Detections`, as for a call.
        """
        return self._detect(image, photo_shape, mixed=True)

    def _detect(
        self,
        image: ImageArray,
        shape_of: Callable[[int, int, int], tuple[int, int]],
        mixed: bool,
    ) -> sv.Detections:
        from maskyolo.core.lazy_supervision import sv

        check_image(image)
        height, width = image.shape[:2]
        canvas, scales, border = letterbox(
            image, self.backend.shape or shape_of(height, width, self.imgsz)
        )
        output = self.classes.select(self.backend(canvas[None], mixed)[0])
        boxes, confidence, class_ids = postprocess(output, self.conf, self.iou, self.max_det)
        return sv.Detections(
            xyxy=clip_boxes(
                (boxes - np.array([*border, *border], np.float32))
                / np.array([*scales, *scales], np.float32),
                width,
                height,
            ),
            confidence=confidence,
            class_id=class_ids,
            data={"class_name": self._name_array[class_ids]},
        )


def _ceil(pixels: int) -> int:
    return max(-(-pixels // STRIDE), 1) * STRIDE
