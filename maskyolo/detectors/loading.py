"""Load a detector by its model's name or file. This is the only module that knows all detectors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskyolo.core.choices import BackendName, FaceDetectorName, Pipeline, Precision
from maskyolo.core.options import takes_options
from maskyolo.detectors.options import InferenceOptions
from maskyolo.detectors.yolo import YoloDetector, check_classes
from maskyolo.errors import MaskyoloError, WeightsError
from maskyolo.models.backends.loading import load_backend
from maskyolo.models.own import find_model

if TYPE_CHECKING:
    from maskyolo.detectors.two_stage import TwoStageDetector

__all__ = ["DEFAULT_MODELS", "FACE_CONF", "load_detector"]

#: The packaged model that each pipeline uses by default.
DEFAULT_MODELS: dict[str, str] = {
    Pipeline.YOLO: "maskyolo-n",
    Pipeline.TWO_STAGE: "mobilenet_v2",
}
#: Minimum face score with two-stage, as in the projects of 2020.
FACE_CONF = 0.5
#: File name suffixes of models saved by Keras.
KERAS_SUFFIXES = (".model", ".h5", ".hdf5", ".keras")
_DEFAULTS = InferenceOptions()


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
        model: name of a packaged model (default: that of `DEFAULT_MODELS` for the pipeline), or the
            path of a `.onnx`, `.xml` (OpenVINO) or `.pt` file, or of a folder with one `.xml`.
            `two-stage` takes a `.onnx` file.
        options: the options as one object.
        streams: number of threads that will call the detector at once, each using its share of the
            cores. More streams give more frames per second but a longer time per frame. No effect
            in PyTorch or with `two-stage`.
        settings: fields of `InferenceOptions`; they override `options`. `imgsz`, `iou`, `backend`
            and `precision` apply to `yolo`; `detector`, `face` and `face_conf` to `two-stage`.

    Raises:
        WeightsError: there is no such model, it is damaged, for the other pipeline, or has other
            classes, or it is a `.pt` file that is not trusted.
        DependencyError: a `.pt` file needs `maskyolo[train]`, which is not installed.
        MaskyoloError: the device is not available, or an option is out of its range or applies to
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
    from maskyolo.detectors.classifier import Classifier
    from maskyolo.detectors.faces.loading import load_face_detector
    from maskyolo.detectors.two_stage import TwoStageDetector

    faces = load_face_detector(
        options.detector or FaceDetectorName.SSD_PLAIN,
        options.face,
        FACE_CONF if options.face_conf is None else options.face_conf,
    )
    return TwoStageDetector(faces, Classifier(path, options.device), options.conf, options.max_det)


def _check_not_keras(model: Path | str | None) -> None:
    """Refuse a model saved by Keras.

    Raises:
        WeightsError: the model was saved by Keras.
    """
    if model is None:
        return
    if Path(model).suffix.lower() in KERAS_SUFFIXES and Path(model).exists():
        onnx = f"{Path(model).stem}.onnx"
        raise WeightsError(
            f"cannot load {model}: it was saved by Keras",
            f"convert it once: python tools/convert_keras.py {model} --out {onnx}, then run "
            f"maskyolo detect --pipeline two-stage --model {onnx}",
        )


def _check_pipeline(options: InferenceOptions) -> None:
    """Refuse options that have no effect with the chosen pipeline.

    Raises:
        MaskyoloError: such an option is set.
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
