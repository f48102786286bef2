"""Measure one detector, end to end, on labeled images: the library of `maskyolo val`."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from maskyolo._text import counted
from maskyolo.boxes import Boxes, as_boxes
from maskyolo.core.choices import Pipeline
from maskyolo.core.classes import CLASS_NAMES, class_of
from maskyolo.core.detector import Detector
from maskyolo.core.files import read_image_list, write_atomic
from maskyolo.core.options import takes_options
from maskyolo.dataset import list_images, load_dataset
from maskyolo.detectors.options import InferenceOptions
from maskyolo.errors import DatasetError, ImageError, MaskyoloError
from maskyolo.evaluation.options import EvaluateOptions, LabeledDataOptions
from maskyolo.formats.voc import parse_voc
from maskyolo.images import ImageArray, read_image
from maskyolo.labels import Labels, parse_yolo
from maskyolo.metrics import (
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
from maskyolo.page import page, scores_sections
from maskyolo.report import ClassScores, Report
from maskyolo.runs import new_run, save_args
from maskyolo.sinks import JsonLines, Result, json_record
from maskyolo.sources import Frame

__all__ = [
    "AP_FLOOR",
    "FACE_FLOOR",
    "Evaluation",
    "LabeledImage",
    "Slice",
    "evaluate",
    "find_images",
    "measure",
    "predict",
]

#: Minimum confidence of the detections that average precision is computed from: the curve needs
#: the ones of low confidence, too.
AP_FLOOR = 0.001

#: Minimum score of a face of the two-stage pipeline for the same purpose. Below it every face costs
#: time, and few are real.
FACE_FLOOR = 0.1

#: Overlaps that mAP50-95 averages over.
IOUS = np.arange(0.5, 0.96, 0.05)

#: Slices by size of the face: its side in pixels after the image's longer side is scaled to 640.
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


@dataclass(frozen=True)
class LabeledImage:
    """An image and its labels.

    Attributes:
        path: the image file.
        labels: the boxes of the two classes.
        ignored: boxes (n, 4) of other classes; finding them is neither right nor wrong.
        normalized: whether the boxes are fractions of the image's width and height, not pixels.
    """

    path: Path
    labels: Labels
    ignored: Boxes
    normalized: bool

    def in_pixels(self, width: int, height: int) -> LabeledImage:
        """Return the same labels with boxes in pixels of an image of that size."""
        if not self.normalized:
            return self
        scale = np.array([width, height, width, height], dtype=np.float32)
        return replace(
            self,
            labels=replace(self.labels, boxes=self.labels.boxes * scale),
            ignored=self.ignored * scale,
            normalized=False,
        )


@dataclass(frozen=True)
class Slice:
    """The scores of a part of the faces or of the images.

    Attributes:
        support: number of labeled boxes.
        found: share of them that was found, in whichever class, at the evaluation's confidence.
        right: share of them that was found in its class.
        map50: mean of the classes' average precisions at IoU 0.5; None if it is not defined for
            this kind of slice or nothing is labeled.
        pictures: number of images, if the slice is one of images.
    """

    support: int
    found: float | None
    right: float | None
    map50: float | None = None
    pictures: int | None = None


@dataclass(frozen=True)
class Evaluation:
    """The scores of a detector on labeled images.

    Attributes:
        name: the detector's name.
        report: the scores of each class at the chosen confidence.
        face: the scores of finding faces, in whichever class.
        best: best F1 over all confidences and the confidence it is reached at, for each class and
            for "face".
        intervals: 95 % intervals over the images (bootstrap), by class name, "face" or "mean",
            then by metric.
        confusion: counts (3, 3): a row per labeled class and one for "nothing there", a column per
            detected class and one for "not found".
        false_alarms: detections per image where nothing is labeled.
        ignored: number of ignored boxes.
        slices: by "size", "faces" (in the image) and "sharpness", then by name.
        unreadable: images that could not be read and are not counted.
        folder: the run's folder, if there is one.
        cases: the images with their detections.
        matches: the detections at IoU 0.5, for each class and for "face".
        resampled: mAP50 of each resample of the images (1000,); the resamples are the same for
            every detector.
    """

    name: str
    report: Report
    face: ClassScores
    best: dict[str, tuple[float, float]]
    intervals: dict[str, dict[str, tuple[float, float] | None]]
    confusion: Ints
    false_alarms: float
    ignored: int
    slices: dict[str, dict[str, Slice]]
    unreadable: tuple[str, ...] = ()
    folder: Path | None = None
    cases: tuple[Case, ...] = field(default=(), repr=False)
    matches: dict[str, Matches] = field(default_factory=dict, repr=False)
    resampled: tuple[float | None, ...] = field(default=(), repr=False)

    @property
    def map50(self) -> float | None:
        """Mean of the classes' average precisions at IoU 0.5."""
        return self.report.macro().map50

    @property
    def map50_95(self) -> float | None:
        """Mean of the classes' average precisions at IoU 0.5, 0.55, …, 0.95."""
        return self.report.macro().map50_95

    def json(self) -> dict[str, Any]:
        """Return everything except the single detections as plain values."""
        return {
            "model": self.name,
            **self.report.json(),
            "face": asdict(self.face),
            "map50": self.map50,
            "map50_95": self.map50_95,
            "best_f1": {
                name: {"f1": f1, "confidence": conf} for name, (f1, conf) in self.best.items()
            },
            "intervals": self.intervals,
            "confusion": {
                "labelled": [*CLASS_NAMES, "nothing there"],
                "found": [*CLASS_NAMES, "not found"],
                "counts": self.confusion.tolist(),
            },
            "false_alarms": self.false_alarms,
            "ignored": self.ignored,
            "slices": {
                kind: {name: asdict(part) for name, part in parts.items()}
                for kind, parts in self.slices.items()
            },
            "unreadable": list(self.unreadable),
        }

    def table(self) -> str:
        """Return the evaluation as text."""
        lines = [*self.report.lines({"face (any class)": self.face}), ""]
        span = self.intervals["mean"]["map50"]
        if self.map50 is not None and self.map50_95 is not None and span:
            lines.append(
                f"mAP50 {self.map50:.3f} (95 % interval {span[0]:.3f} to {span[1]:.3f}), "
                f"mAP50-95 {self.map50_95:.3f}"
            )
        best = ", ".join(f"{name} {f1:.3f} at {conf:.2f}" for name, (f1, conf) in self.best.items())
        lines += [f"best F1: {best}", "", *self._confusion_lines(), *self._slice_lines()]
        return "\n".join([*lines, "", *self._notes()]) + "\n"

    def _notes(self) -> tuple[str, str]:
        split = f", split {self.report.split}" if self.report.split else ""
        ignored = f"{counted(self.ignored, 'box', 'boxes')} of other classes"
        if self.unreadable:
            ignored += f", {counted(len(self.unreadable), 'unreadable image')}"
        images = counted(self.report.images, "image")
        right = f"overlaps a labeled box of its class by an IoU of {self.report.iou:g} or more"
        return (
            f"{images} of {self.report.data}{split}; not counted: {ignored}.",
            f"A detection is right if it {right}.",
        )

    def _confusion_lines(self) -> list[str]:
        labeled, columns = [*CLASS_NAMES, "nothing there"], [*CLASS_NAMES, "not found"]
        lines = [
            f"at confidence {self.report.confidence:g}:",
            "",
            f"{'labeled / found':16}" + "".join(f"{name:>14}" for name in columns),
        ]
        for name, row in zip(labeled, self.confusion.tolist(), strict=True):
            # "nothing there" that is "not found" has no meaning
            cells = [f"{count:14d}" for count in row[: None if name in CLASS_NAMES else -1]]
            lines.append(f"{name:16}" + "".join(cells))
        return [*lines, "", f"false alarms per image: {self.false_alarms:.2f}"]

    def _slice_lines(self) -> list[str]:
        titles = {
            "size": "face size (px at 640)",
            "faces": "faces in the image",
            "sharpness": "sharpness of the face",
        }
        lines = []
        for kind, parts in self.slices.items():
            head = f"{titles[kind]:24}{'labeled':>10}{'found':>10}{'right':>10}{'mAP50':>10}"
            lines += ["", head]
            for name, part in parts.items():
                shares = "".join(
                    f"{'-':>10}" if share is None else f"{share:10.3f}"
                    for share in (part.found, part.right, part.map50)
                )
                lines.append(f"{name:24}{part.support:10d}{shares}")
        return lines


@takes_options(EvaluateOptions)
def evaluate(
    *,
    model: str | Path | Detector | None = None,
    options: EvaluateOptions | None = None,
    on_error: Callable[[str, MaskyoloError], None] | None = None,
    on_progress: Callable[[int, int | None], None] | None = None,
    **settings: Any,
) -> Evaluation:
    """Measure a detector end to end on labeled images: a face that is not found is an error.

    The run's folder gets `args.yaml`, `report.json`, `report.txt`, `report.html` and
    `predictions.jsonl`: the detections that the figures come from, in the form of
    `detect --save-json`.

    Args:
        model: name or file of a model, or a loaded detector, which keeps its own confidence,
            overlap and size.
        options: the options, see `EvaluateOptions`; a data set's image without a label file has no
            faces. Boxes of other classes than the two (in any of their usual spellings,
            `class_of`) are ignored: a detection on one counts neither way.
        on_error: called with each image that cannot be read and the error; the image is left out.
            Default: log a warning.
        on_progress: called with the number of images done, and of all images.
        settings: fields of `EvaluateOptions` as keywords, such as `images`, `labels` and `conf`.
            Average precision takes detections from a confidence of 0.001, whatever `conf` is; with
            two stages, faces from a score of 0.1. `project=None` writes no files.

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
    from maskyolo.yolo import YoloDetector

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
    """Load the detector for average precision; return it and the name it is reported with."""
    from maskyolo.yolo import DEFAULT_MODELS, load_detector

    model = chosen.model or DEFAULT_MODELS[chosen.pipeline]
    settings: dict[str, Any] = {"conf": AP_FLOOR}
    if chosen.pipeline is Pipeline.TWO_STAGE and chosen.face_conf is None:
        settings["face_conf"] = FACE_FLOOR
    return load_detector(model, chosen.part(InferenceOptions), **settings), str(model)


@takes_options(LabeledDataOptions)
def find_images(
    options: LabeledDataOptions | None = None, **settings: Any
) -> tuple[list[LabeledImage], str]:
    """Return the labeled images, in the order of the list or by path, and the place they are in.

    Args:
        options: a data set and its split, or a folder of images and one of labels.
        settings: fields of `LabeledDataOptions` as keywords.

    Raises:
        DatasetError: neither or both are given, no images, no labels, labels that cannot be read,
            or a list that names images which do not exist.
    """
    chosen = LabeledDataOptions.merge(options, settings)
    data, images, labels = chosen.data, chosen.images, chosen.labels
    if data is not None and images is None and labels is None:
        found, where = _in_dataset(data, chosen.split, chosen.image_list), str(data)
    elif data is None and images is not None and labels is not None:
        found, where = _in_folders(Path(images), Path(labels), chosen.image_list), str(images)
    else:
        raise DatasetError(
            "no labeled images",
            "give either a data set with --data, or images with --images and their boxes with "
            "--labels",
        )
    if not any(len(image.labels) for image in found):
        raise DatasetError(
            f"no box of {' or '.join(CLASS_NAMES)} in the labels of all {len(found)} images of "
            f"{where}",
            "check the labels; `maskyolo convert` converts sets with other class names",
        )
    return found, where


def _in_dataset(data: Path | str, split: str, image_list: Path | str | None) -> list[LabeledImage]:
    dataset = load_dataset(data)
    paths = dataset.images(split)
    if not any(map(class_of, dataset.names)):
        raise DatasetError(
            f"{dataset.yaml} has the classes {', '.join(dataset.names[:6])}",
            f"give a data set with the classes {' and '.join(CLASS_NAMES)}",
        )
    paths = _choose_images(paths, dataset.splits[split], image_list)
    files = [dataset.label_of(path) for path in paths]
    if not any(file.exists() for file in files):
        raise DatasetError(
            f"no labels for any of the {len(files)} images of {data}: {files[0]} would be the "
            "first",
            "check the data set",
        )
    return [
        _read_labels(path, file, dataset.names) for path, file in zip(paths, files, strict=True)
    ]


def _in_folders(images: Path, labels: Path, image_list: Path | str | None) -> list[LabeledImage]:
    for folder in (images, labels):
        if not folder.is_dir():
            raise DatasetError(f"no folder {folder}", "check the path")
    paths = [path for path in list_images(images) if path.parent == images]
    paths = _choose_images(paths, images, image_list)
    files = [_label_file(path, labels) for path in paths]
    missing = [path for path, file in zip(paths, files, strict=True) if not file.exists()]
    if missing:
        name, stem = missing[0].name, missing[0].stem
        raise DatasetError(
            f"no labels for {len(missing)} of {len(paths)} images in {labels}: the first is "
            f"{name}, with neither {stem}.xml nor {stem}.txt",
            "add an empty .txt for an image without faces, or leave images out with --list",
        )
    return [_read_labels(path, file, CLASS_NAMES) for path, file in zip(paths, files, strict=True)]


def _choose_images(paths: list[Path], root: Path, image_list: Path | str | None) -> list[Path]:
    if not paths:
        raise DatasetError(f"no images in {root}", "check the path")
    return paths if image_list is None else _listed(Path(image_list), paths, root)


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
        on_progress: called with the number of images done, and of all images.
        read: reads an image file: BGR uint8 (H, W, 3).

    Returns:
        The cases of each detector; how much detail each labeled face shows, for each image; the
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
        sharpness: how much detail each labeled face shows, one array per image.
        conf: confidence from which detections count for precision, recall, F1 and confusion.
        seed: of the resampling that the intervals come from.
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
    """Return what is scored, by name: the class ids, and None for a face of any class."""
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
    """Count the labeled boxes that `chosen`, bool (n,) for each image, selects."""
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

    A usual measure of focus: Pech-Pacheco et al. 2000, "Diatom autofocusing in brightfield
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
    """Return the case, with the detections as `predictions.jsonl` has them.

    Coordinates and confidences are rounded there; anyone who computes scores from the file gets
    the same ones.
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


def _listed(file: Path, paths: Sequence[Path], root: Path) -> list[Path]:
    """Return the images that a list names, in its order.

    A line is the image's path below the folder, or its name with any folder in front.
    """
    lines = read_image_list(file)
    if not lines:
        raise DatasetError(f"the list {file} is empty", "write one image name per line")
    known = {path.name: path for path in paths} | {
        path.relative_to(root).as_posix(): path for path in paths if path.is_relative_to(root)
    }
    missing = [line for line in lines if line not in known and Path(line).name not in known]
    if missing:
        raise DatasetError(
            f"{file} lists {counted(len(missing), 'image')} missing from {root}: the first is "
            f"{missing[0]}",
            "correct the list",
        )
    return list(dict.fromkeys(known.get(line) or known[Path(line).name] for line in lines))


def _label_file(image: Path, folder: Path) -> Path:
    files = [folder / f"{image.stem}{suffix}" for suffix in (".xml", ".txt")]
    return next((file for file in files if file.exists()), files[-1])


def _read_labels(image: Path, file: Path, names: Sequence[str]) -> LabeledImage:
    """Read a label file; a YOLO file that does not exist has no boxes."""
    is_voc = file.suffix == ".xml"
    try:
        if is_voc:
            annotation = parse_voc(file.read_bytes(), str(file))
            classes, boxes = list(annotation.names), annotation.boxes.tolist()
        else:
            text = file.read_text(encoding="utf-8") if file.exists() else ""
            parsed = parse_yolo(text, 1, 1, name=str(file), classes=len(names))
            classes = [names[number] for number in parsed.class_ids]
            boxes = parsed.boxes.tolist()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"cannot read labels {file}: {error}", "check the file") from error
    if is_voc:
        _check_voc(file, classes, boxes)
    known = [
        (CLASS_NAMES.index(class_of(name)), box)
        for name, box in zip(classes, boxes, strict=True)
        if class_of(name)
    ]
    return LabeledImage(
        path=image,
        labels=Labels(
            as_boxes([box for _, box in known]),
            np.asarray([number for number, _ in known], dtype=np.int64),
        ),
        ignored=as_boxes(
            [box for name, box in zip(classes, boxes, strict=True) if not class_of(name)]
        ),
        normalized=not is_voc,
    )


def _check_voc(file: Path, classes: Sequence[str], boxes: Sequence[Sequence[float]]) -> None:
    """Raise a DatasetError at a box without area, which would count as a face nobody can find."""
    for name, (x1, y1, x2, y2) in zip(classes, boxes, strict=True):
        if not (np.isfinite([x1, y1, x2, y2]).all() and x1 < x2 and y1 < y2):
            raise DatasetError(
                f"cannot read labels {file}: {name} has the box {x1:g}, {y1:g}, {x2:g}, {y2:g}",
                "correct the file",
            )


def _log(source: str, error: MaskyoloError) -> None:
    del source
    logging.getLogger("maskyolo").warning("%s", error)
