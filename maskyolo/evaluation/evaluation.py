"""Measure one detector end to end on labeled images; used by `maskyolo val`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from maskyolo.core.choices import Pipeline
from maskyolo.core.detector import Detector, class_names_of
from maskyolo.core.files import write_atomic
from maskyolo.core.item_errors import ERROR_LOG, ItemErrors
from maskyolo.core.options import takes_options
from maskyolo.core.runs import new_run, save_args
from maskyolo.dataset.photo_hashes import HashingReader
from maskyolo.detectors.loading import (
    DEFAULT_MODELS,
    describe_detector,
    load_detector,
    model_file,
)
from maskyolo.detectors.options import InferenceOptions
from maskyolo.detectors.yolo import YoloDetector
from maskyolo.errors import MaskyoloError
from maskyolo.evaluation.coco import save_coco
from maskyolo.evaluation.contestants import model_title
from maskyolo.evaluation.header import header, listed, short_path
from maskyolo.evaluation.html import page
from maskyolo.evaluation.labeled import LabeledImage, describe_images, find_images
from maskyolo.evaluation.measure import AP_FLOOR, FACE_FLOOR, measure, predict
from maskyolo.evaluation.options import EvaluateOptions
from maskyolo.evaluation.overlap import report_overlap
from maskyolo.evaluation.plots import save_plots
from maskyolo.evaluation.scores import Evaluation
from maskyolo.evaluation.scores_page import main_figures, scores_sections
from maskyolo.runtime.provenance import describe_model, made_with, report_differences

__all__ = ["evaluate"]


@takes_options(EvaluateOptions)
def evaluate(
    *,
    model: str | Path | Detector | None = None,
    options: EvaluateOptions | None = None,
    on_error: Callable[[str, MaskyoloError], None] | None = None,
    on_progress: Callable[[int, int | None], None] | None = None,
    on_detector: Callable[[Detector], None] | None = None,
    on_warning: Callable[[str], None] | None = None,
    **settings: Any,
) -> Evaluation:
    """Measure a detector end to end on labeled images; a face that is not found is an error.

    The run's folder gets `args.yaml`, `report.json`, `report.txt`, `report.html` and
    `predictions.jsonl`: the detections that the scores are computed from, in the format of `detect
    --save-json`; with `save_coco`, labels and detections as COCO JSON.

    Args:
        model: name or file of a model, or a loaded detector, which keeps its own confidence, IoU
            and size.
        options: see `EvaluateOptions`. An image of a data set without a label file has no faces.
            Boxes of classes other than ours (in any spelling that `class_of` knows) are ignored: a
            detection on one is neither right nor wrong. So are boxes of incorrect_mask, unless
            the detector reports that class (`incorrect`), or `fold_incorrect` is set.
        on_error: called with each image that cannot be read and the error; the image is left out.
            Default: log a warning.
        on_progress: called with the number of images done and their total.
        on_detector: called once with the detector, before the first image.
        on_warning: called with one line if images are near-copies of training photos, or if the
            run that `args` repeats differs. Default: log a warning.
        settings: fields of `EvaluateOptions` as keywords, such as `images`, `labels` and `conf`.
            Average precision uses all detections with a confidence of at least 0.001, regardless of
            `conf`; with two stages, all faces with a score of at least 0.1. `project=None` writes
            no files.

    Raises:
        DatasetError: no images, no labels, or labels that cannot be read.
        WeightsError: the model cannot be loaded.
        OutputError: a result cannot be written.

    Examples:
        >>> samples = "data/samples"
        >>> result = evaluate(images=samples, labels=f"{samples}/annotations", project=None)
        >>> round(result.map50, 1)  # doctest: +SKIP
        0.9
    """
    if isinstance(model, (str, Path)):
        settings["model"] = model
    chosen = EvaluateOptions.merge(options, settings)
    images, where = find_images(chosen)
    detector, given = _load(model, chosen)
    if on_detector:
        on_detector(detector)
    title = model_title(given)
    split = str(chosen.split) if chosen.data is not None else None
    imgsz = detector.imgsz if isinstance(detector, YoloDetector) else chosen.imgsz
    file = model_file(chosen) if model is None or isinstance(model, (str, Path)) else None
    made = _made_with(chosen, file, detector, images)
    report_differences(chosen.args, made, on_warning)
    folder = _start_run(chosen, {"split": split, "model": given, "imgsz": imgsz}, made)
    classes, read = class_names_of(detector), HashingReader()
    cases, sharpness, unreadable = predict(
        images,
        {title: detector},
        {title: folder / "predictions.jsonl"} if folder else None,
        on_error,
        on_progress,
        read,
        item_errors=ItemErrors((lambda: folder / ERROR_LOG) if folder else None),
        classes=classes,
        fold_incorrect=chosen.fold_incorrect,
    )
    made |= {"near_copies": report_overlap(read.hashes, {title: file}, chosen, on_warning)}
    result = measure(
        title, cases[title], sharpness, chosen.conf, chosen.seed, where, split or "", classes
    )
    result = replace(result, unreadable=unreadable, folder=folder, provenance=made)
    if folder:
        _write_reports(result, folder, {"Model": given, **_shown(imgsz, chosen)})
        _save_more(result, folder, chosen, images)
    return result


def _start_run(chosen: EvaluateOptions, own: dict[str, Any], made: dict[str, Any]) -> Path | None:
    """Return the run's folder, with its `args.yaml`; None if nothing is to be written."""
    if chosen.project is None:
        return None
    folder = new_run(chosen.project, chosen.name, chosen.exist_ok)
    save_args(folder, {**chosen.recorded(), **own}, made)
    return folder


def _made_with(
    chosen: EvaluateOptions,
    file: Path | None,
    detector: Detector,
    images: Sequence[LabeledImage],
) -> dict[str, Any]:
    """Return what the figures are made with; a detector that was passed in has no file."""
    return made_with(
        chosen.threads,
        chosen.seed,
        model=describe_model(file, describe_detector(detector)[0]),
        data=describe_images(images),
    )


def _write_reports(result: Evaluation, folder: Path, settings: dict[str, str]) -> None:
    report = result.report
    split = f", split {report.split}" if report.split else ""
    sections = [
        header([result], {**settings, "Data": report.data + split}, result.provenance),
        main_figures(result),
        *scores_sections([result]),
    ]
    title = f"{result.name} on {short_path(report.data)}"
    write_atomic(folder / "report.txt", result.table() + listed(result.provenance))
    write_atomic(folder / "report.html", page(title, sections))
    write_atomic(folder / "report.json", json.dumps(result.json(), indent=2) + "\n")


def _shown(imgsz: int | None, chosen: EvaluateOptions) -> dict[str, str]:
    ignored = {"Also ignored": str(chosen.ignore_boxes)} if chosen.ignore_boxes else {}
    return {"Inference size": f"{imgsz or '-'} px", **ignored}


def _save_more(
    result: Evaluation, folder: Path, chosen: EvaluateOptions, images: Sequence[LabeledImage]
) -> None:
    """Write what is saved on request."""
    if chosen.save_coco:
        readable = [image.path for image in images if str(image.path) not in result.unreadable]
        save_coco(folder, readable, result.cases, result.classes)
    if chosen.save_plots:
        save_plots(folder / "plots", [result])


def _load(loaded: str | Path | Detector | None, chosen: EvaluateOptions) -> tuple[Detector, str]:
    """Load the detector for average precision, if it is not yet; return it and its name."""
    if loaded is not None and not isinstance(loaded, (str, Path)):
        return loaded, type(loaded).__name__
    model = chosen.model or DEFAULT_MODELS[chosen.pipeline]
    settings: dict[str, Any] = {"conf": AP_FLOOR}
    if chosen.pipeline is Pipeline.TWO_STAGE and chosen.face_conf is None:
        settings["face_conf"] = FACE_FLOOR
    return load_detector(model, chosen.part(InferenceOptions), **settings), str(model)
