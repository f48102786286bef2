"""The single-stage detector: a picture in, `supervision.Detections` out, in one forward pass."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from maskyolo.backends import Backend, Tensor, load_backend
from maskyolo.boxes import Boxes, clip_boxes
from maskyolo.core.classes import CLASS_NAMES
from maskyolo.errors import MaskyoloError, WeightsError
from maskyolo.images import ImageArray, check_picture

if TYPE_CHECKING:
    import supervision as sv

    from maskyolo.two_stage import TwoStageDetector

__all__ = [
    "DEFAULT_MODELS",
    "FACE_CONF",
    "STRIDE",
    "YoloDetector",
    "find_model",
    "letterbox",
    "load_detector",
    "network_shape",
    "postprocess",
]

#: Pixels between the anchors of YOLOv8's coarsest layer: the sides of its input are multiples of it.
STRIDE = 32

#: The pipelines, and the weights of the package that each takes by default.
DEFAULT_MODELS = {"yolo": "maskyolo-n", "two-stage": "mobilenet_v2"}

#: The longer side in pixels that pictures are scaled to where the weights say none, and the overlap that NMS lets be by default.
IMGSZ, IOU = 640, 0.5

#: Most pixels of that side: a larger input fills any memory, and the system ends the process without a word.
MOST_PIXELS = 8192

#: Least score of a face in two stages, as in the projects of 2020.
FACE_CONF = 0.5

#: Endings of models that Keras saves.
KERAS_SUFFIXES = (".model", ".h5", ".hdf5", ".keras")

#: Grey of the letterbox's border, as in Ultralytics' training.
BORDER = 114


def network_shape(height: int, width: int, imgsz: int) -> tuple[int, int]:
    """Return the (height, width) of the network's input for a picture: its longer side `imgsz`, both multiples of 32.

    >>> network_shape(720, 1280, 640)
    (384, 640)
    """
    scale = _ceil(imgsz) / max(height, width)
    return _ceil(round(height * scale)), _ceil(round(width * scale))


def letterbox(
    image: ImageArray, shape: tuple[int, int]
) -> tuple[ImageArray, tuple[float, float], tuple[int, int]]:
    """Scale a picture into `shape` (height, width) with its aspect kept, centred on grey, as Ultralytics' `LetterBox` does.

    Args:
        image: BGR uint8 (H, W, 3).
        shape: sides of the network's input in pixels.

    Returns:
        The network's input, BGR uint8 (height, width, 3); the scales of x and y, which differ as sides are whole
        pixels; the (left, top) border in pixels.
    """
    height, width = image.shape[:2]
    scale = min(shape[0] / height, shape[1] / width)
    inner = (max(round(width * scale), 1), max(round(height * scale), 1))
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
    """Turn one picture's output of a YOLOv8 head into boxes after class-agnostic NMS: a face has one state.

    Args:
        output: float32 (4 + classes, anchors): cx, cy, w, h in pixels of the input, then the score of each class.
        conf: least score; a box is of the class that scores highest.
        iou: boxes that overlap a better one by more are dropped.
        max_det: most boxes that are kept.

    Returns:
        Boxes xyxy float32 (n, 4) in pixels of the input, confidences float32 (n,) in falling order, the network's class ids (n,).
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
    """Finds faces and says of each whether it wears a mask.

    Args:
        backend: the network.
        imgsz: longer side in pixels that pictures are scaled to, rounded up to a multiple of 32; by default the one that the weights
            say, as with Ultralytics, and 640 if they say none.
        conf: least confidence of a detection.
        iou: overlap above which the less confident of two boxes is dropped.
        max_det: most detections in a picture.

    Raises:
        WeightsError: the network has other classes than with_mask and without_mask.
        MaskyoloError: `imgsz` is out of its range, or the network takes pictures of one other size only.
    """

    def __init__(
        self,
        backend: Backend,
        imgsz: int | None = None,
        conf: float = 0.25,
        iou: float = 0.5,
        max_det: int = 300,
    ) -> None:
        if sorted(backend.names) != sorted(CLASS_NAMES):
            found = ", ".join(backend.names[:4]) + (
                f" and {len(backend.names) - 4} more" if len(backend.names) > 4 else ""
            )
            raise WeightsError(
                f"wrong weights: classes {found}; a model with {' and '.join(CLASS_NAMES)} is needed"
            )
        self.backend = backend
        own = max(backend.shape) if backend.shape else backend.imgsz
        imgsz = imgsz if imgsz is not None else own if own is not None else IMGSZ
        if not STRIDE <= imgsz <= MOST_PIXELS:
            raise MaskyoloError(
                f"cannot detect with imgsz {imgsz}: the network takes {STRIDE} to {MOST_PIXELS} pixels; give 320 to 1280"
            )
        self.imgsz, self.conf, self.iou, self.max_det = _ceil(imgsz), conf, iou, max_det
        if backend.shape and self.imgsz != _ceil(max(backend.shape)):
            raise MaskyoloError(
                f"cannot detect with imgsz {imgsz}: the network was exported for {own} pixels only; leave it out"
            )
        self._class_ids = np.array([CLASS_NAMES.index(name) for name in backend.names])

    @property
    def description(self) -> str:
        """What computes it where and in which precision, why, and in which size, in a line."""
        return f"{self.backend.description}; pictures at {self.imgsz} pixels"

    @property
    def workers(self) -> int:
        """How many threads may call the detector at once, and should, to keep every core busy."""
        return self.backend.streams

    def __call__(self, image: ImageArray) -> sv.Detections:
        """Detect in one picture.

        Args:
            image: BGR uint8 (H, W, 3).

        Returns:
            `supervision.Detections`: `xyxy` float32 (n, 4) in pixels, clipped to the picture; `confidence` float32 (n,);
            `class_id` (n,), 0 = with_mask, 1 = without_mask; `data["class_name"]` (n,).
        """
        from maskyolo._supervision import sv

        check_picture(image)
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


def load_detector(
    model: Path | str | None = None,
    device: str = "auto",
    imgsz: int | None = None,
    conf: float = 0.25,
    iou: float = 0.5,
    max_det: int = 300,
    pipeline: str = "yolo",
    detector: str | None = None,
    face: Path | str | None = None,
    face_conf: float | None = None,
    streams: int = 1,
    backend: str = "auto",
    precision: str = "auto",
    trust: bool = False,
) -> YoloDetector | TwoStageDetector:
    """Load a detector, which turns a BGR picture into `supervision.Detections`.

    Args:
        model: the name of weights that come with the package (by default those of `DEFAULT_MODELS`), or the path of a `.onnx`,
            `.xml` (OpenVINO) or `.pt` file, or of a folder with one `.xml`; `two-stage` takes a `.onnx` file.
        device: auto, cpu, 0 (first GPU, with a `.pt` file), mps.
        imgsz: longer side in pixels that pictures are scaled to, by default the one that the weights say; `yolo` only.
        conf: least confidence of a detection.
        iou: overlap above which the less confident of two boxes is dropped; `yolo` only.
        max_det: most detections in a picture.
        pipeline: `yolo`, one forward pass; or `two-stage`, a face detector and a classifier of each face.
        detector: face detector of `two-stage`, one of `FaceDetectorName`; by default `ssd-plain`, as in the projects of 2020.
        face: its weights, or the folder that has them; by default looked for as `manifest.find_weights` says.
        face_conf: least score of a face in `two-stage`; by default 0.5, as in the projects of 2020.
        streams: frames inferred at once by threads of the caller, each on its share of the cores: more frames a second, and each
            takes longer; `yolo` only, and not in PyTorch.
        backend: what runs the network, one of `backends.BACKENDS`; `yolo` only.
        precision: what it computes in, one of `backends.PRECISIONS`; `yolo` only.
        trust: open a `.pt` file of unknown origin, which can run any code when it is loaded; see `trust.check_trust`.

    Raises:
        WeightsError: no such model, damaged, none for this pipeline, one with other classes, or a `.pt` file that is not trusted.
        DependencyError: a `.pt` file without `maskyolo[train]`.
        MaskyoloError: the device is not there, a setting is out of its range, or it belongs to the other pipeline.
    """
    for name, value in (("conf", conf), ("iou", iou), ("face_conf", face_conf or 0)):
        if not 0 <= value <= 1:
            raise MaskyoloError(
                f"cannot detect with {name} {value:g}: it is a share; give a number from 0 to 1"
            )
    if pipeline not in DEFAULT_MODELS:
        raise MaskyoloError(
            f"unknown pipeline '{pipeline}'; choose from {', '.join(DEFAULT_MODELS)}"
        )
    if model is not None and Path(model).suffix.lower() in KERAS_SUFFIXES and Path(model).exists():
        onnx = f"{Path(model).stem}.onnx"
        raise WeightsError(
            f"cannot load {model}: a model of Keras; convert it once: python tools/convert_keras.py {model} --out {onnx}, "
            f"then detect with --pipeline two-stage --model {onnx}"
        )
    other = "yolo" if pipeline == "two-stage" else "two-stage"
    given = {
        "yolo": (
            ("imgsz", imgsz is not None),
            ("iou", iou != IOU),
            ("backend", backend != "auto"),
            ("precision", precision not in ("auto", "fp32")),
        ),
        "two-stage": (
            ("detector", detector is not None),
            ("face", face is not None),
            ("face-conf", face_conf is not None),
        ),
    }
    for name in (name for name, is_given in given[other] if is_given):
        raise MaskyoloError(
            f"cannot use --{name} with the pipeline {pipeline}: it belongs to --pipeline {other}; choose that or leave it out"
        )
    path = find_model(
        DEFAULT_MODELS[pipeline] if model is None else model,
        ".pt" if backend == "torch" else ".onnx",
    )
    if pipeline == "two-stage":
        from maskyolo.classifier import Classifier
        from maskyolo.faces import load_face_detector
        from maskyolo.two_stage import TwoStageDetector

        faces = load_face_detector(
            detector or "ssd-plain", face, FACE_CONF if face_conf is None else face_conf
        )
        return TwoStageDetector(faces, Classifier(path, device), conf, max_det)
    try:
        network = load_backend(path, device, streams, backend, precision, trust)
        return YoloDetector(network, imgsz=imgsz, conf=conf, iou=iou, max_det=max_det)
    except WeightsError as error:
        raise WeightsError(
            str(error).replace("wrong weights:", f"wrong weights {path}:")
        ) from error


def find_model(model: Path | str, suffix: str = ".onnx") -> Path:
    """Return the file of a model: a path that is there, a folder's only `.xml`, or the weights of that name in the package.

    Args:
        model: a file, a folder that OpenVINO's model lies in, or a name.
        suffix: which of the package's files a name stands for, `.onnx` or `.pt`.

    Raises:
        WeightsError: none of these; the message lists the names there are.
    """
    path = Path(model)
    if path.is_file():
        return path
    if path.is_dir():
        found = sorted(path.glob("*.xml"))
        if len(found) == 1:
            return found[0]
        raise WeightsError(
            f"no model in the folder {path}: {len(found)} .xml files, and OpenVINO's model is one; give a model's file"
        )
    folder = Path(__file__).parent / "weights"
    named = folder / f"{model}{suffix}"
    if path.name == str(model) and named.is_file():
        return named
    names = ", ".join(sorted(file.stem for file in folder.glob(f"*{suffix}"))) or "none"
    raise WeightsError(
        f"no model '{model}': neither a file nor a name (names: {names}); give a .onnx, .xml or .pt file, or a name"
    )


def _ceil(pixels: int) -> int:
    return max(-(-pixels // STRIDE), 1) * STRIDE
