"""Run a detector on labeled images and compute its scores."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from maskyolo.core.classes import CLASS_NAMES, INCORRECT_MASK, INCORRECT_MASK_ID, WITHOUT_MASK_ID
from maskyolo.core.detector import Detector
from maskyolo.core.images import ImageArray, read_image
from maskyolo.core.item_errors import ItemErrors
from maskyolo.errors import DatasetError, MaskyoloError
from maskyolo.evaluation.class_scores import ClassScores, Report
from maskyolo.evaluation.labeled import LabeledImage
from maskyolo.evaluation.metrics import (
    Case,
    Floats,
    Ints,
    Matches,
    average_precision,
    best_f1,
    confusion,
    match,
    rates,
)
from maskyolo.evaluation.resampling import (
    boot_weights,
    interval,
    intervals_of,
    mean_over,
    resampled_f1,
    resampled_mean,
    resampled_precision,
    resampled_rates,
)
from maskyolo.evaluation.scores import Curves, Evaluation
from maskyolo.evaluation.slices import by_crowd, by_sharpness, by_size, sharpness_of
from maskyolo.runtime.frames import Frame
from maskyolo.runtime.json_lines import JsonLines, json_record
from maskyolo.runtime.results import Result

__all__ = ["AP_FLOOR", "CONFIDENCES", "FACE_FLOOR", "measure", "predict"]

#: Minimum confidence of detections for average precision. It is low because the curve also needs
#: detections of low confidence.
AP_FLOOR = 0.001
#: Minimum score of faces in the two-stage pipeline, for the same reason. Lower ones are seldom
#: faces, and classifying each takes time.
FACE_FLOOR = 0.1
#: IoU thresholds that mAP50-95 averages over.
IOUS = np.arange(0.5, 0.96, 0.05)
#: Confidences at which F1 is given.
CONFIDENCES = np.linspace(0, 1, 101)


def predict(
    images: Sequence[LabeledImage],
    detectors: Mapping[str, Detector],
    save: Mapping[str, Path] | None = None,
    on_error: Callable[[str, MaskyoloError], None] | None = None,
    on_progress: Callable[[int, int | None], None] | None = None,
    read: Callable[[Path], ImageArray] = read_image,
    item_errors: ItemErrors | None = None,
    classes: Sequence[str] = CLASS_NAMES,
    fold_incorrect: bool = False,
) -> tuple[dict[str, list[Case]], list[Floats], tuple[str, ...]]:
    """Run detectors over images; each image is decoded once and passed to all of them in turn.

    Args:
        images: the images.
        detectors: by name.
        save: files that the detections of each detector are written to, as lines of JSON.
        on_error: called with each image that cannot be read; default: log a warning.
        on_progress: called with the number of images done and their total.
        read: reads an image file: BGR uint8 (H, W, 3).
        item_errors: explains the errors of single images.
        classes: the classes to distinguish. Without incorrect_mask, detections of that class count
            as without_mask.
        fold_incorrect: whether, in two classes, labels of incorrect_mask count as without_mask.
            Otherwise they are ignored: a detection on one is neither right nor wrong.

    Returns:
        The cases of each detector; the sharpness of each labeled face, for each image; and the
        images that could not be read.

    Raises:
        DatasetError: none of the images can be read.
        OutputError: the detections cannot be written.
    """
    cases: dict[str, list[Case]] = {name: [] for name in detectors}
    sharpness, unreadable = [], []
    item_errors = item_errors or ItemErrors()
    with ExitStack() as closing:
        files = {name: JsonLines(path) for name, path in (save or {}).items()}
        for file in files.values():
            closing.callback(file.close)
        for number, labeled in enumerate(images, 1):
            try:
                image = read(labeled.path)
                truth = labeled.in_pixels(image.shape[1], image.shape[0])
                if INCORRECT_MASK not in classes:
                    truth = truth.in_two_classes(fold_incorrect)
                sharp = sharpness_of(image, truth.labels.boxes)
                found = {
                    name: Result(Frame(image, str(labeled.path)), detector(image))
                    for name, detector in detectors.items()
                }
                matched = {name: _case(truth, result, classes) for name, result in found.items()}
            except Exception as error:  # noqa: BLE001  any error of one image is that image's
                explained = item_errors.explain(str(labeled.path), error)
                unreadable.append(str(labeled.path))
                for file in files.values():
                    file.fail(str(labeled.path), 0, str(explained))
                (on_error or _log)(str(labeled.path), explained)
                continue
            sharpness.append(sharp)
            for name, result in found.items():
                cases[name].append(matched[name])
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
    classes: Sequence[str] = CLASS_NAMES,
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
        classes: the classes of the cases.
    """
    # None stands for a face of any class
    kinds = {**{name: number for number, name in enumerate(classes)}, "face": None}
    weights = boot_weights(len(cases), seed=seed)
    matches = {
        title: [match(cases, class_id, float(iou)) for iou in IOUS]
        for title, class_id in kinds.items()
    }
    at_50 = {title: found[0] for title, found in matches.items()}
    scores = {title: _scores(found, conf) for title, found in matches.items()}
    counts, found_as = zip(*(confusion(case, conf, len(classes)) for case in cases), strict=True)
    alarms = np.array([count[-1].sum() for count in counts], dtype=np.float64)
    total = np.sum(counts, axis=0)
    face = scores.pop("face")
    drawn = _Drawn({title: _draw(found, conf, weights) for title, found in matches.items()})
    resampled = {
        **drawn.means(),
        "false_alarms": resampled_mean(alarms, np.ones(len(cases)), weights),
    }
    return Evaluation(
        name=name,
        report=Report(data, split, len(cases), conf, 0.5, scores),
        face=face,
        best={title: best_f1(found) for title, found in at_50.items()},
        intervals={
            "mean": {metric: interval(values) for metric, values in resampled.items()},
            **drawn.intervals(),
        },
        confusion=total,
        false_alarms=float(total[-1].sum() / len(cases)),
        ignored=sum(len(case.ignored) for case in cases),
        slices={
            "size": by_size(cases, found_as, len(classes), weights),
            "faces": by_crowd(cases, found_as, len(classes), weights),
            "sharpness": by_sharpness(cases, found_as, sharpness, weights),
        },
        cases=tuple(cases),
        matches=at_50,
        curves={title: _curves(found, weights) for title, found in at_50.items()},
        resampled={metric: _plain(values) for metric, values in resampled.items()},
    )


def _scores(matches: Sequence[Matches], conf: float) -> ClassScores:
    """Return the scores of a class, from its detections matched at each of `IOUS`."""
    support = int(matches[0].positives.sum())
    if not support:
        return ClassScores(None, None, None, 0, None, None)
    precision, recall, f1 = rates(matches[0], conf)
    averages = [average_precision(found) or 0.0 for found in matches]
    return ClassScores(precision, recall, f1, support, averages[0], float(np.mean(averages)))


def _draw(matches: Sequence[Matches], conf: float, weights: Ints) -> dict[str, Floats]:
    """Return the scores of a class in each resample (times,); NaN where nothing is labeled."""
    averages = [resampled_precision(found, weights).mean(axis=1) for found in matches]
    drawn_rates = resampled_rates(matches[0], conf, weights)
    drawn_rates[np.isnan(averages[0])] = np.nan
    return {
        **dict(zip(("precision", "recall", "f1"), drawn_rates.T, strict=True)),
        "map50": averages[0],
        "map50_95": np.mean(averages, axis=0),
    }


@dataclass(frozen=True)
class _Drawn:
    """The scores in each resample (times,), by class name or "face", then by metric."""

    scores: dict[str, dict[str, Floats]]

    def means(self) -> dict[str, Floats]:
        """Return each metric's mean over the classes of which a resample has boxes."""
        of_classes = [rows for title, rows in self.scores.items() if title != "face"]
        return {
            metric: mean_over(np.stack([rows[metric] for rows in of_classes]))
            for metric in of_classes[0]
        }

    def intervals(self) -> dict[str, dict[str, tuple[float, float] | None]]:
        """Return the 95 % interval of each metric."""
        return {
            title: {metric: interval(values) for metric, values in rows.items()}
            for title, rows in self.scores.items()
        }


def _curves(matches: Matches, weights: Ints) -> Curves:
    """Return precision by recall and F1 by confidence, with intervals."""
    once = np.ones((1, len(matches.positives)), dtype=np.int64)
    return Curves(
        np.concatenate(
            [
                resampled_precision(matches, once),
                intervals_of(resampled_precision(matches, weights)),
            ]
        ),
        np.concatenate(
            [
                resampled_f1(matches, CONFIDENCES, once),
                intervals_of(resampled_f1(matches, CONFIDENCES, weights)),
            ]
        ),
    )


def _plain(values: Floats) -> tuple[float | None, ...]:
    return tuple(None if np.isnan(value) else float(value) for value in values)


def _case(truth: LabeledImage, result: Result, classes: Sequence[str]) -> Case:
    """Return the case in these classes, with detections rounded as in `predictions.jsonl`.

    Scores computed from that file are therefore the same.
    """
    record = json_record(result)
    found = sorted(record["detections"], key=lambda detection: -detection["confidence"])
    return Case(
        boxes=truth.labels.boxes.astype(np.float64),
        class_ids=truth.labels.class_ids.astype(np.int64),
        ignored=truth.ignored.astype(np.float64),
        found=np.asarray([detection["box"] for detection in found], dtype=np.float64).reshape(
            -1, 4
        ),
        found_ids=_in_classes([detection["class_id"] for detection in found], classes),
        confidence=np.asarray([detection["confidence"] for detection in found], dtype=np.float64),
        size=(record["width"], record["height"]),
    )


def _in_classes(class_ids: npt.ArrayLike, classes: Sequence[str]) -> Ints:
    """Return class ids (n,); incorrect_mask becomes without_mask unless `classes` has it."""
    ids = np.asarray(class_ids, dtype=np.int64)
    if INCORRECT_MASK in classes:
        return ids
    return np.where(ids == INCORRECT_MASK_ID, WITHOUT_MASK_ID, ids)


def _log(source: str, error: MaskyoloError) -> None:
    del source
    logging.getLogger("maskyolo").warning("%s", error)
