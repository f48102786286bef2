"""Run a detector on labeled images and compute its scores."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from maskyolo.core.boxes import Boxes
from maskyolo.core.classes import CLASS_NAMES
from maskyolo.core.detector import Detector
from maskyolo.core.images import ImageArray, read_image
from maskyolo.errors import DatasetError, ImageError, MaskyoloError
from maskyolo.evaluation.labeled import LabeledImage
from maskyolo.evaluation.metrics import (
    Case,
    Floats,
    Ints,
    Matches,
    average_precision,
    best_f1,
    boot_weights,
    confusion,
    interval,
    match,
    rates,
)
from maskyolo.evaluation.report import ClassScores, Report
from maskyolo.evaluation.scores import Evaluation, Slice
from maskyolo.runtime.frames import Frame
from maskyolo.runtime.json_lines import JsonLines, json_record
from maskyolo.runtime.results import Result

__all__ = ["AP_FLOOR", "FACE_FLOOR", "measure", "predict"]

#: Minimum confidence of detections for average precision. It is low because the curve also needs
#: detections of low confidence.
AP_FLOOR = 0.001
#: Minimum score of faces in the two-stage pipeline, for the same reason. Lower ones are seldom
#: faces, and classifying each takes time.
FACE_FLOOR = 0.1
#: IoU thresholds that mAP50-95 averages over.
IOUS = np.arange(0.5, 0.96, 0.05)
#: Slices by size of the face: its side in pixels after scaling the image's longer side to 640.
SIZE_SLICES = {
    "<16": (0.0, 16.0),
    "16-32": (16.0, 32.0),
    "32-96": (32.0, 96.0),
    ">96": (96.0, float("inf")),
}
#: Slices by number of faces in the image, ignored ones included.
CROWDS = {
    "0": (0, 1),
    "1": (1, 2),
    "2-4": (2, 5),
    "5-9": (5, 10),
    "10-19": (10, 20),
    "20+": (20, 10**9),
}
#: Slices by sharpness: the thirds of the faces by how much detail they show.
SHARPNESS = ("blurred", "medium", "sharp")


def predict(
    images: Sequence[LabeledImage],
    detectors: Mapping[str, Detector],
    save: Mapping[str, Path] | None = None,
    on_error: Callable[[str, MaskyoloError], None] | None = None,
    on_progress: Callable[[int, int | None], None] | None = None,
    read: Callable[[Path], ImageArray] = read_image,
) -> tuple[dict[str, list[Case]], list[Floats], tuple[str, ...]]:
    """Run detectors over images; each image is decoded once and passed to all of them in turn.

    Args:
        images: the images.
        detectors: by name.
        save: files that the detections of each detector are written to, as lines of JSON.
        on_error: called with each image that cannot be read; default: log a warning.
        on_progress: called with the number of images done and their total.
        read: reads an image file: BGR uint8 (H, W, 3).

    Returns:
        The cases of each detector; the sharpness of each labeled face, for each image; and the
        images that could not be read.

    Raises:
        DatasetError: none of the images can be read.
        OutputError: the detections cannot be written.
    """
    cases: dict[str, list[Case]] = {name: [] for name in detectors}
    sharpness, unreadable = [], []
    with ExitStack() as closing:
        files = {name: JsonLines(path) for name, path in (save or {}).items()}
        for file in files.values():
            closing.callback(file.close)
        for number, labeled in enumerate(images, 1):
            try:
                image = read(labeled.path)
            except ImageError as error:
                unreadable.append(str(labeled.path))
                for file in files.values():
                    file.fail(str(labeled.path), 0, str(error))
                (on_error or _log)(str(labeled.path), error)
                continue
            truth = labeled.in_pixels(image.shape[1], image.shape[0])
            sharpness.append(_sharpness(image, truth.labels.boxes))
            for name, detector in detectors.items():
                result = Result(Frame(image, str(labeled.path)), detector(image))
                cases[name].append(_case(truth, result))
                if name in files:
                    files[name].write(result)
            if on_progress:
                on_progress(number, len(images))
    if len(unreadable) == len(images):
        raise DatasetError(
            f"none of the {len(images)} images can be read; the first is {unreadable[0]}",
            "check the files",
        )
    return cases, sharpness, tuple(unreadable)


def measure(
    name: str,
    cases: Sequence[Case],
    sharpness: Sequence[Floats],
    conf: float = 0.25,
    seed: int = 0,
    data: str = "",
    split: str = "",
) -> Evaluation:
    """Compute all scores from a detector's cases.

    Args:
        name: the detector's name.
        cases: one per image.
        sharpness: the sharpness of each labeled face, one array per image.
        conf: minimum confidence of detections for precision, recall, F1 and confusion.
        seed: random seed of the bootstrap that gives the intervals.
        data: where the images are, for the report.
        split: which split they are, for the report.
    """
    matches = {title: match(cases, class_id) for title, class_id in _kinds().items()}
    scores = {
        title: _scores(cases, class_id, matches[title], conf)
        for title, class_id in _kinds().items()
    }
    resampled, intervals = _intervals(matches, conf, boot_weights(len(cases), seed=seed))
    counts, found_as = zip(
        *(confusion(case, conf, len(CLASS_NAMES)) for case in cases), strict=True
    )
    total = np.sum(counts, axis=0)
    face = scores.pop("face")
    return Evaluation(
        name=name,
        report=Report(data, split, len(cases), conf, 0.5, scores),
        face=face,
        best={title: best_f1(found) for title, found in matches.items()},
        intervals=intervals,
        confusion=total,
        false_alarms=float(total[-1].sum() / len(cases)),
        ignored=sum(len(case.ignored) for case in cases),
        slices={
            "size": _by_size(cases, found_as),
            "faces": _by_crowd(cases, found_as),
            "sharpness": _by_sharpness(cases, found_as, sharpness),
        },
        cases=tuple(cases),
        matches=matches,
        resampled=resampled,
    )


def _kinds() -> dict[str, int | None]:
    """Return the class ids to score, by name; None stands for a face of any class."""
    return {**{name: number for number, name in enumerate(CLASS_NAMES)}, "face": None}


def _scores(
    cases: Sequence[Case], class_id: int | None, matches: Matches, conf: float
) -> ClassScores:
    support = int(matches.positives.sum())
    if not support:
        return ClassScores(None, None, None, 0, None, None)
    precision, recall, f1 = rates(matches, conf)
    averages = [average_precision(match(cases, class_id, float(iou))) or 0.0 for iou in IOUS]
    return ClassScores(precision, recall, f1, support, averages[0], float(np.mean(averages)))


def _intervals(
    matches: Mapping[str, Matches], conf: float, weights: Ints
) -> tuple[tuple[float | None, ...], dict[str, dict[str, tuple[float, float] | None]]]:
    """Return mAP50 of every resample, and the intervals of each metric."""
    averages = {
        title: [average_precision(found, row) for row in weights]
        for title, found in matches.items()
    }
    means = tuple(
        _mean(values) for values in zip(*(averages[name] for name in CLASS_NAMES), strict=True)
    )
    spans: dict[str, dict[str, tuple[float, float] | None]] = {"mean": {"map50": interval(means)}}
    for title, found in matches.items():
        resampled = [rates(found, conf, row) for row in weights]
        spans[title] = {"map50": interval(averages[title])}
        spans[title] |= {
            key: interval(getattr(row, key) for row in resampled)
            for key in ("precision", "recall", "f1")
        }
    return means, spans


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _map50(cases: Sequence[Case], sides: tuple[float, float] = (0, float("inf"))) -> float | None:
    return _mean(
        [
            average_precision(match(cases, class_id, sides=sides))
            for class_id in range(len(CLASS_NAMES))
        ]
    )


def _slice(
    cases: Sequence[Case],
    found_as: Sequence[Ints],
    chosen: Sequence[Any],
    map50: float | None = None,
    images: int | None = None,
) -> Slice:
    """Return the scores of the labeled boxes selected by `chosen`, bool (n,) for each image."""
    support = found = right = 0
    for case, classes, mask in zip(cases, found_as, chosen, strict=True):
        support += int(mask.sum())
        found += int((classes[mask] >= 0).sum())
        right += int((classes[mask] == case.class_ids[mask]).sum())
    return Slice(
        support,
        found / support if support else None,
        right / support if support else None,
        map50,
        images,
    )


def _by_size(cases: Sequence[Case], found_as: Sequence[Ints]) -> dict[str, Slice]:
    return {
        name: _slice(
            cases,
            found_as,
            [(low <= case.sides) & (case.sides < high) for case in cases],
            _map50(cases, (low, high)),
        )
        for name, (low, high) in SIZE_SLICES.items()
    }


def _by_crowd(cases: Sequence[Case], found_as: Sequence[Ints]) -> dict[str, Slice]:
    parts = {}
    for name, (low, high) in CROWDS.items():
        numbers = [
            number
            for number, case in enumerate(cases)
            if low <= len(case.boxes) + len(case.ignored) < high
        ]
        chosen = [cases[number] for number in numbers]
        if chosen:
            every = [np.full(len(case.boxes), True) for case in chosen]
            parts[name] = _slice(
                chosen, [found_as[number] for number in numbers], every, _map50(chosen), len(chosen)
            )
    return parts


def _by_sharpness(
    cases: Sequence[Case], found_as: Sequence[Ints], sharpness: Sequence[Floats]
) -> dict[str, Slice]:
    if not sum(map(len, sharpness)):
        return {}
    edges = [-np.inf, *np.quantile(np.concatenate(sharpness), [1 / 3, 2 / 3]), np.inf]
    return {
        name: _slice(cases, found_as, [(low <= values) & (values < high) for values in sharpness])
        for name, low, high in zip(SHARPNESS, edges[:-1], edges[1:], strict=True)
    }


def _sharpness(image: ImageArray, boxes: Boxes) -> Floats:
    """Return the variance of the Laplacian of each face (n,), in gray and scaled to 64 x 64.

    This is a common measure of focus: Pech-Pacheco et al. 2000, "Diatom autofocusing in brightfield
    microscopy".
    """
    values = np.zeros(len(boxes))
    for place, (x1, y1, x2, y2) in enumerate(boxes.round().astype(int).clip(min=0)):
        crop = image[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)]
        if crop.size:
            gray = cv2.resize(
                cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY), (64, 64), interpolation=cv2.INTER_AREA
            )
            values[place] = cv2.Laplacian(gray, cv2.CV_64F).var()
    return values


def _case(truth: LabeledImage, result: Result) -> Case:
    """Return the case, with detections rounded as in `predictions.jsonl`.

    Scores computed from that file are therefore the same.
    """
    record = json_record(result)
    found = sorted(record["detections"], key=lambda detection: -detection["confidence"])
    return Case(
        boxes=truth.labels.boxes.astype(np.float64),
        class_ids=truth.labels.class_ids,
        ignored=truth.ignored.astype(np.float64),
        found=np.asarray([detection["box"] for detection in found], dtype=np.float64).reshape(
            -1, 4
        ),
        found_ids=np.asarray([detection["class_id"] for detection in found], dtype=np.int64),
        confidence=np.asarray([detection["confidence"] for detection in found], dtype=np.float64),
        size=(record["width"], record["height"]),
    )


def _log(source: str, error: MaskyoloError) -> None:
    del source
    logging.getLogger("maskyolo").warning("%s", error)
