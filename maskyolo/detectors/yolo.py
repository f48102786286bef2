"""The single-stage detector: an image in, `supervision.Detections` out, in one forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from maskyolo.backends import Backend, Tensor, load_backend
from maskyolo.boxes import Boxes, clip_boxes
from maskyolo.core.choices import BackendName, FaceDetectorName, Pipeline, Precision
from maskyolo.core.classes import CLASS_NAMES
from maskyolo.core.options import takes_options
from maskyolo.detectors.options import InferenceOptions
from maskyolo.errors import MaskyoloError, WeightsError
from maskyolo.images import ImageArray, check_image

if TYPE_CHECKING:
    import supervision as sv

    from maskyolo.two_stage import TwoStageDetector

__all__ = [
    "DEFAULT_MODELS",
    "FACE_CONF",
    "STRIDE",
    "YoloDetector",
    "check_classes",
    "find_model",
    "letterbox",
    "load_detector",
    "network_shape",
    "postprocess",
]

#: Pixels between the anchors of YOLOv8's coarsest layer; the input's sides are multiples of it.
STRIDE = 32

#: The model of the package that each pipeline uses by default.
DEFAULT_MODELS: dict[str, str] = {
    Pipeline.YOLO: "maskyolo-n",
    Pipeline.TWO_STAGE: "mobilenet_v2",
}

#: Inference size in pixels (longer side) for weights that do not name one.
IMGSZ = 640

#: Largest inference size in pixels. A larger input exhausts memory, and the system kills the
#: process without a message.
MAX_IMGSZ = 8192

#: Minimum score of a face in two-stage, as in the projects of 2020.
FACE_CONF = 0.5

#: File endings of models saved by Keras.
KERAS_SUFFIXES = (".model", ".h5", ".hdf5", ".keras")

#: Gray level of the letterbox's border, as in Ultralytics' training.
BORDER = 114

_DEFAULTS = InferenceOptions()


def network_shape(height: int, width: int, imgsz: int) -> tuple[int, int]:
    """Return the (height, width) of the network's input for an image, both multiples of 32.

    Args:
        height: of the image, in pixels.
        width: of the image, in pixels.
        imgsz: longer side of the input, in pixels.

    Example:
        >>> network_shape(720, 1280, 640)
        (384, 640)
    """
    scale = _ceil(imgsz) / max(height, width)
    return _ceil(round(height * scale)), _ceil(round(width * scale))


def letterbox(
    image: ImageArray, shape: tuple[int, int]
) -> tuple[ImageArray, tuple[float, float], tuple[int, int]]:
    """Scale an image into `shape`, keeping its aspect ratio, and center it on gray.

    The result is the same as that of Ultralytics' `LetterBox`.

    Args:
        image: BGR uint8 (H, W, 3).
        shape: (height, width) of the network's input in pixels.

    Returns:
        The network's input, BGR uint8 (height, width, 3); the scales of x and y, which differ
        because sides are whole pixels; the (left, top) border in pixels.
    """
    height, width = image.shape[:2]
    scale = min(shape[0] / height, shape[1] / width)
    inner = (max(round(width * scale), 1), max(round(height * scale), 1))
    # 0.1 less, as in Ultralytics: of an odd number of border pixels the smaller part comes first
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
    """Turn a YOLOv8 head's output for one image into boxes, after class-agnostic NMS.

    NMS ignores the class because a face has one state: masked or not.

    Args:
        output: float32 (4 + classes, anchors): cx, cy, w, h in pixels of the input, then the score
            of each class.
        conf: minimum score; a box gets the class with the highest score.
        iou: overlap (IoU) above which the less confident of two boxes is dropped.
        max_det: maximum number of boxes.

    Returns:
        Boxes xyxy float32 (n, 4) in pixels of the input; confidences float32 (n,), descending; the
        network's class ids (n,).
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


def check_classes(names: Sequence[str], weights: Path | str = "") -> None:
    """Check that a network has the two classes of this package, in any order.

    Args:
        names: the network's class names.
        weights: its file, for the message.

    Raises:
        WeightsError: it has other classes.
    """
    if sorted(names) != sorted(CLASS_NAMES):
        found = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        raise WeightsError(
            f"wrong weights{f' {weights}' if weights else ''}: classes {found}",
            f"use a model with the classes {' and '.join(CLASS_NAMES)}",
        )


class YoloDetector:
    """Finds faces and decides for each whether it wears a mask.

    Args:
        backend: the network.
        imgsz: inference size in pixels (longer side), rounded up to a multiple of 32. Default: the
            size that the weights name, as with Ultralytics, or 640 if they name none.
        conf: minimum confidence of a detection.
        iou: overlap (IoU) above which the less confident of two boxes is dropped.
        max_det: maximum number of detections per image.

    Raises:
        WeightsError: the network has other classes than with_mask and without_mask.
        MaskyoloError: `imgsz` is out of its range, or the network takes images of one other size
            only.
    """

    def __init__(
        self,
        backend: Backend,
        imgsz: int | None = None,
        conf: float = 0.25,
        iou: float = 0.5,
        max_det: int = 300,
    ) -> None:
        check_classes(backend.names)
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
        self._class_ids = np.array([CLASS_NAMES.index(name) for name in backend.names])

    @property
    def description(self) -> str:
        """Runtime, device, precision with the reason for it, and inference size, in one line."""
        return f"{self.backend.description}; images at {self.imgsz} pixels"

    @property
    def workers(self) -> int:
        """How many threads may, and should, call the detector at once to keep every core busy."""
        return self.backend.streams

    def __call__(self, image: ImageArray) -> sv.Detections:
        """Detect in one image.

        Args:
            image: BGR uint8 (H, W, 3).

        Returns:
            `supervision.Detections`: `xyxy` float32 (n, 4) in pixels, clipped to the image;
            `confidence` float32 (n,); `class_id` (n,), 0 = with_mask, 1 = without_mask;
            `data["class_name"]` (n,).
        """
        from maskyolo._supervision import sv

        check_image(image)
        height, width = image.shape[:2]
        canvas, scales, border = letterbox(
            image, self.backend.shape or network_shape(height, width, self.imgsz)
        )
        boxes, confidence, own_ids = postprocess(
            self.backend(canvas[None])[0], self.conf, self.iou, self.max_det
        )
        class_ids = self._class_ids[own_ids]
        return sv.Detections(
            xyxy=clip_boxes(
                (boxes - np.array([*border, *border], np.float32))
                / np.array([*scales, *scales], np.float32),
                width,
                height,
            ),
            confidence=confidence,
            class_id=class_ids,
            data={"class_name": np.array(CLASS_NAMES)[class_ids]},
        )


@takes_options(InferenceOptions)
def load_detector(
    model: Path | str | None = None,
    options: InferenceOptions | None = None,
    *,
    streams: int = 1,
    **settings: Any,
) -> YoloDetector | TwoStageDetector:
    """Load a detector, which turns a BGR image into `supervision.Detections`.

    Args:
        model: name of a model of the package (default: that of `DEFAULT_MODELS` for the pipeline),
            the path of a `.onnx`, `.xml` (OpenVINO) or `.pt` file, or of a folder with one `.xml`.
            `two-stage` takes a `.onnx` file.
        options: the options as one object.
        streams: how many threads call the detector at once, each on its share of the cores: more
            frames per second, and longer per frame. Not in PyTorch, nor with `two-stage`.
        settings: fields of `InferenceOptions`; they override `options`. `imgsz`, `iou`, `backend`
            and `precision` belong to `yolo`; `detector`, `face` and `face_conf` to `two-stage`.

    Raises:
        WeightsError: no such model, a damaged one, one for the other pipeline or with other
            classes, or a `.pt` file that is not trusted.
        DependencyError: a `.pt` file without `maskyolo[train]`.
        MaskyoloError: the device is not available, an option is out of its range, or it belongs to
            the other pipeline.

    Example:
        >>> detector = load_detector("maskyolo-n", conf=0.4)
        >>> detections = detector(cv2.imread("photo.jpg"))
    """
    if model is not None:
        settings["model"] = model
    chosen = InferenceOptions.merge(options, settings)
    _check_not_keras(chosen.model)
    _check_pipeline(chosen)
    path = find_model(
        DEFAULT_MODELS[chosen.pipeline] if chosen.model is None else chosen.model,
        ".pt" if chosen.backend is BackendName.TORCH else ".onnx",
    )
    if chosen.pipeline is Pipeline.TWO_STAGE:
        return _load_two_stage(path, chosen)
    network = load_backend(
        path, chosen.device, streams, chosen.backend, chosen.precision, chosen.trust
    )
    check_classes(network.names, path)
    return YoloDetector(network, chosen.imgsz, chosen.conf, chosen.iou, chosen.max_det)


def _load_two_stage(path: Path, options: InferenceOptions) -> TwoStageDetector:
    from maskyolo.classifier import Classifier
    from maskyolo.faces import load_face_detector
    from maskyolo.two_stage import TwoStageDetector

    faces = load_face_detector(
        options.detector or FaceDetectorName.SSD_PLAIN,
        options.face,
        FACE_CONF if options.face_conf is None else options.face_conf,
    )
    return TwoStageDetector(faces, Classifier(path, options.device), options.conf, options.max_det)


def _check_not_keras(model: Path | str | None) -> None:
    """Refuse a model saved by Keras.

    Raises:
        WeightsError: it is one.
    """
    if model is None:
        return
    if Path(model).suffix.lower() in KERAS_SUFFIXES and Path(model).exists():
        onnx = f"{Path(model).stem}.onnx"
        raise WeightsError(
            f"cannot load {model}: it was saved by Keras",
            f"convert it once: python tools/convert_keras.py {model} --out {onnx}, then detect "
            f"with --pipeline two-stage --model {onnx}",
        )


def _check_pipeline(options: InferenceOptions) -> None:
    """Refuse options that have no effect with the chosen pipeline.

    Raises:
        MaskyoloError: one is set.
    """
    if options.pipeline is Pipeline.TWO_STAGE:
        other = Pipeline.YOLO
        given = {
            "imgsz": options.imgsz is not None,
            "iou": options.iou != _DEFAULTS.iou,
            "backend": options.backend is not BackendName.AUTO,
            "precision": options.precision is Precision.BF16,
        }
    else:
        other = Pipeline.TWO_STAGE
        given = {
            "detector": options.detector is not None,
            "face": options.face is not None,
            "face-conf": options.face_conf is not None,
        }
    for name in (name for name, is_given in given.items() if is_given):
        raise MaskyoloError(
            f"--{name} has no effect with --pipeline {options.pipeline}",
            f"leave it out, or use --pipeline {other}",
        )


def find_model(model: Path | str, suffix: str = ".onnx") -> Path:
    """Return the file of a model: an existing file, a folder's only `.xml`, or a packaged model.

    Args:
        model: a file, a folder that contains OpenVINO's model, or a name.
        suffix: which of the package's files a name stands for, `.onnx` or `.pt`.

    Raises:
        WeightsError: none of these; the message lists the known names.
    """
    path = Path(model)
    if path.is_file():
        return path
    if path.is_dir():
        found = sorted(path.glob("*.xml"))
        if len(found) == 1:
            return found[0]
        raise WeightsError(
            f"no model in the folder {path}: it contains {len(found)} .xml files instead of one",
            "give the model's file",
        )
    folder = Path(__file__).parent / "weights"
    named = folder / f"{model}{suffix}"
    if path.name == str(model) and named.is_file():
        return named
    names = ", ".join(sorted(file.stem for file in folder.glob(f"*{suffix}"))) or "none"
    raise WeightsError(
        f"no model '{model}': neither a file nor a known name (names: {names})",
        "give a .onnx, .xml or .pt file, or a name",
    )


def _ceil(pixels: int) -> int:
    return max(-(-pixels // STRIDE), 1) * STRIDE
