"""Load a detector by its model's name or file. This is the only module that knows all detectors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2

from maskyolo.core.choices import BackendName, FaceDetectorName, Pipeline, Precision
from maskyolo.core.detector import Detector
from maskyolo.core.options import takes_options
from maskyolo.detectors.classes import find_classes
from maskyolo.detectors.options import InferenceOptions, ModelOptions
from maskyolo.detectors.yolo import YoloDetector
from maskyolo.errors import MaskyoloError, WeightsError
from maskyolo.models.backends.loading import load_backend
from maskyolo.models.own import find_model

if TYPE_CHECKING:
    from maskyolo.detectors.two_stage import TwoStageDetector

__all__ = ["DEFAULT_MODELS", "FACE_CONF", "describe_detector", "load_detector", "model_file"]

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
        settings: fields of `InferenceOptions`; they override `options`. `imgsz`, `iou`, `backend`,
            `precision`, `class_map` and `incorrect` apply to `yolo`; `detector`, `face` and
            `face_conf` to `two-stage`. `class_map` maps a model's class names to ours, see
            `classes.find_classes`. `threads` limits the CPU threads of this
            detector; for OpenCV and PyTorch, those of the whole process.

    Returns:
        A detector that any number of threads may call at once, each with its own image. The results
        are the same as for sequential calls, and do not depend on `streams`. Networks that cannot
        run in several threads (OpenCV's, PyTorch's) run in turn.

    Raises:
        WeightsError: there is no such model, it is damaged, for the other pipeline, or has classes
            that cannot be mapped to ours, or it is a `.pt` file that is not trusted.
        DependencyError: a `.pt` file needs the `train` extra, which is not installed.
        MaskyoloError: the device is not available, or an option is out of its range or applies to
            the other pipeline.

    Examples:
        >>> detector = load_detector("maskyolo-n", conf=0.4)
        >>> detections = detector(cv2.imread("photo.jpg"))
    """
    if model is not None:
        settings["model"] = model
    chosen = InferenceOptions.merge(options, settings)
    _check_not_keras(chosen.model)
    _check_pipeline(chosen)
    path = model_file(chosen)
    if chosen.threads is not None:
        cv2.setNumThreads(chosen.threads)
    if chosen.pipeline is Pipeline.TWO_STAGE:
        return _load_two_stage(path, chosen)
    threads = chosen.threads
    network = load_backend(
        path,
        chosen.device,
        streams if threads is None else min(streams, threads),
        chosen.backend,
        chosen.precision,
        chosen.trust,
        threads,
    )
    classes = find_classes(network.names, chosen.class_map, chosen.incorrect, path)
    return YoloDetector(network, chosen.imgsz, chosen.conf, chosen.iou, chosen.max_det, classes)


def model_file(options: ModelOptions) -> Path:
    """Return the file of the model that `load_detector` loads with these options.

    Raises:
        WeightsError: there is no such model.
    """
    return find_model(
        DEFAULT_MODELS[options.pipeline] if options.model is None else options.model,
        ".pt" if options.backend is BackendName.TORCH else ".onnx",
    )


def describe_detector(detector: Detector) -> tuple[str, str]:
    """Return what a detector runs on: in a few words, and in a line that says why.

    Both are empty if the detector is not one of ours.

    Examples:
        >>> describe_detector(load_detector(precision="fp32"))[0]
        'OpenVINO CPU fp32, 640 px'
    """
    from maskyolo.detectors.two_stage import TwoStageDetector

    if isinstance(detector, (YoloDetector, TwoStageDetector)):
        return detector.title, detector.description
    return "", ""


def _load_two_stage(path: Path, options: InferenceOptions) -> TwoStageDetector:
    from maskyolo.detectors.classifier import Classifier
    from maskyolo.detectors.faces.loading import load_face_detector
    from maskyolo.detectors.two_stage import TwoStageDetector

    faces = load_face_detector(
        options.detector or FaceDetectorName.SSD_PLAIN,
        options.face,
        FACE_CONF if options.face_conf is None else options.face_conf,
        trust=options.trust,
        threads=options.threads,
    )
    classifier = Classifier(path, options.device, options.threads)
    return TwoStageDetector(faces, classifier, options.conf, options.max_det)


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
            "map": options.class_map is not None,
            "incorrect": options.incorrect,
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
