"""Measure an exported model against the original: accuracy and speed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maskyolo.core.detector import Detector
from maskyolo.core.images import ImageArray
from maskyolo.detectors.classes import find_classes
from maskyolo.detectors.yolo import YoloDetector
from maskyolo.evaluation.labeled import LabeledImage
from maskyolo.evaluation.measure import AP_FLOOR, measure, predict
from maskyolo.evaluation.scores import Evaluation
from maskyolo.evaluation.speed import measure_speed
from maskyolo.export.calibration import ReadableImages
from maskyolo.models.backends.base import Backend

__all__ = ["Measured", "measure_models"]

#: Rounds of the speed measurement, after one warm-up round.
ROUNDS = 15


@dataclass(frozen=True)
class Measured:
    """Size, speed and accuracy of a model.

    Attributes:
        name: name of its file.
        runs_in: the runtime and precision it was measured with.
        megabytes: size on disk.
        milliseconds: median time per image, from pixels to detections.
        map50: mean average precision at IoU 0.5; None without labeled images.
        map50_95: the same, averaged over IoU 0.5, 0.55, …, 0.95.
    """

    name: str
    runs_in: str
    megabytes: float
    milliseconds: float
    map50: float | None = None
    map50_95: float | None = None


def measure_models(
    models: Mapping[str, tuple[Path, Backend]],
    imgsz: int,
    images: ReadableImages,
    labeled: Sequence[LabeledImage],
    step: Callable[[str], None],
    class_map: Mapping[str, str] | None = None,
) -> dict[str, Measured]:
    """Measure models on the same images and in the same way; return the results by name.

    Args:
        models: file and network of each, by name.
        imgsz: longer side of the networks' input in pixels.
        images: speed is measured on the first one, or on a gray image if there are none.
        labeled: images to measure accuracy on; if empty, accuracy is not measured.
        step: called with a description of the next measurement.
        class_map: what the networks' classes stand for; see `find_classes`.
    """
    backends = {key: backend for key, (_, backend) in models.items()}
    frame = next(iter(images), np.full((imgsz, imgsz, 3), 114, np.uint8))
    step("measuring the speed of both")
    classes = {key: find_classes(one.names, class_map) for key, one in backends.items()}

    def detectors(conf: float = 0.25) -> dict[str, Detector]:
        return {
            key: YoloDetector(backend, imgsz, conf, classes=classes[key])
            for key, backend in backends.items()
        }

    times = _times(detectors(), frame)
    scores: dict[str, Evaluation] = {}
    if labeled:
        step("measuring the accuracy of both")
        scores = _scores(detectors(AP_FLOOR), labeled, images.read)
    return {
        key: Measured(
            name=file.name,
            runs_in=backend.description.split(":")[0],
            megabytes=_size(file) / 1e6,
            milliseconds=times[key],
            map50=scores[key].map50 if scores else None,
            map50_95=scores[key].map50_95 if scores else None,
        )
        for key, (file, backend) in models.items()
    }


def _times(detectors: Mapping[str, Detector], frame: ImageArray) -> dict[str, float]:
    """Return each model's median milliseconds on an image, over interleaved rounds."""
    laps = measure_speed(detectors, {0: frame}, ROUNDS)
    return {key: laps[key][0].median for key in detectors}


def _scores(
    detectors: Mapping[str, Detector],
    labeled: Sequence[LabeledImage],
    read: Callable[[Path], ImageArray],
) -> dict[str, Evaluation]:
    """Measure the accuracy of all in one pass over the images."""
    cases, sharpness, _ = predict(labeled, detectors, read=read)
    return {key: measure(key, cases[key], sharpness) for key in detectors}


def _size(path: Path) -> int:
    """Return the bytes of a file or of all files in a folder; an `.xml` includes its `.bin`."""
    if path.is_dir():
        files = list(path.rglob("*"))
    else:
        files = [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]
    return sum(file.stat().st_size for file in files)
