"""Measure one detector end to end on labeled images; used by `maskyolo val`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from maskyolo.core.choices import Pipeline
from maskyolo.core.detector import Detector
from maskyolo.core.files import write_atomic
from maskyolo.core.options import takes_options
from maskyolo.core.runs import new_run, save_args
from maskyolo.detectors.options import InferenceOptions
from maskyolo.errors import MaskyoloError
from maskyolo.evaluation.html import page
from maskyolo.evaluation.labeled import find_images
from maskyolo.evaluation.measure import AP_FLOOR, FACE_FLOOR, measure, predict
from maskyolo.evaluation.options import EvaluateOptions
from maskyolo.evaluation.scores import Evaluation
from maskyolo.evaluation.scores_page import scores_sections

__all__ = ["evaluate"]


@takes_options(EvaluateOptions)
def evaluate(
    *,
    model: str | Path | Detector | None = None,
    options: EvaluateOptions | None = None,
    on_error: Callable[[str, MaskyoloError], None] | None = None,
    on_progress: Callable[[int, int | None], None] | None = None,
    **settings: Any,
) -> Evaluation:
    """Measure a detector end to end on labeled images; a face that is not found is an error.

    The run's folder gets `args.yaml`, `report.json`, `report.txt`, `report.html` and
    `predictions.jsonl`: the detections that the scores are computed from, in the format of `detect
    --save-json`.

    Args:
        model: name or file of a model, or a loaded detector, which keeps its own confidence, IoU
            and size.
        options: see `EvaluateOptions`. An image of a data set without a label file has no faces.
            Boxes of classes other than ours (in any spelling that `class_of` knows) are ignored: a
            detection on one is neither right nor wrong.
        on_error: called with each image that cannot be read and the error; the image is left out.
            Default: log a warning.
        on_progress: called with the number of images done and their total.
        settings: fields of `EvaluateOptions` as keywords, such as `images`, `labels` and `conf`.
            Average precision uses all detections with a confidence of at least 0.001, regardless of
            `conf`; with two stages, all faces with a score of at least 0.1. `project=None` writes
            no files.

    Raises:
        DatasetError: no images, no labels, or labels that cannot be read.
        WeightsError: the model cannot be loaded.
        OutputError: a result cannot be written.

    Example:
        >>> samples = "data/samples"
        >>> result = evaluate(images=samples, labels=f"{samples}/annotations", project=None)
        >>> round(result.map50, 1)  # doctest: +SKIP
        0.9
    """
    from maskyolo.detectors.yolo import YoloDetector

    if isinstance(model, (str, Path)):
        settings["model"] = model
    chosen = EvaluateOptions.merge(options, settings)
    images, where = find_images(chosen)
    if model is None or isinstance(model, (str, Path)):
        detector, title = _load(chosen)
    else:
        detector, title = model, type(model).__name__
    split = str(chosen.split) if chosen.data is not None else None
    folder = None
    if chosen.project is not None:
        folder = new_run(chosen.project, chosen.name, chosen.exist_ok)
        imgsz = detector.imgsz if isinstance(detector, YoloDetector) else chosen.imgsz
        save_args(folder, {**chosen.recorded(), "split": split, "model": title, "imgsz": imgsz})
    save = {title: folder / "predictions.jsonl"} if folder else None
    cases, sharpness, unreadable = predict(images, {title: detector}, save, on_error, on_progress)
    result = measure(title, cases[title], sharpness, chosen.conf, chosen.seed, where, split or "")
    result = replace(result, unreadable=unreadable, folder=folder)
    if folder:
        sections = scores_sections([result])
        write_atomic(folder / "report.txt", result.table())
        write_atomic(folder / "report.html", page(f"{title} on {where}", sections))
        write_atomic(folder / "report.json", json.dumps(result.json(), indent=2) + "\n")
    return result


def _load(chosen: EvaluateOptions) -> tuple[Detector, str]:
    """Load the detector for average precision; return it and its name in the reports."""
    from maskyolo.detectors.loading import DEFAULT_MODELS, load_detector

    model = chosen.model or DEFAULT_MODELS[chosen.pipeline]
    settings: dict[str, Any] = {"conf": AP_FLOOR}
    if chosen.pipeline is Pipeline.TWO_STAGE and chosen.face_conf is None:
        settings["face_conf"] = FACE_FLOOR
    return load_detector(model, chosen.part(InferenceOptions), **settings), str(model)
