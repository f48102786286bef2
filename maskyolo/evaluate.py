"""Measure one detector, end to end, on labelled pictures: the library of `maskyolo val`."""

from __future__ import annotations

import json
import logging
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from maskyolo._text import counted
from maskyolo.boxes import Boxes, as_boxes
from maskyolo.core.classes import CLASS_NAMES, class_of
from maskyolo.core.detector import Detector
from maskyolo.core.files import read_image_list, write_atomic
from maskyolo.dataset import list_images, load_dataset
from maskyolo.errors import DatasetError, ImageError, MaskyoloError
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

#: Least confidence of the detections that average precision is computed from; the whole curve needs the unsure ones too.
AP_FLOOR = 0.001

#: Least score of a face in the two-stage path for the same purpose: every face below makes it slower and few are real.
FACE_FLOOR = 0.1

#: Overlaps that mAP50-95 is the mean over.
IOUS = np.arange(0.5, 0.96, 0.05)

#: Sizes of faces: side in pixels after scaling the picture's longer side to 640.
SIZES = {
    "<16": (0.0, 16.0),
    "16-32": (16.0, 32.0),
    "32-96": (32.0, 96.0),
    ">96": (96.0, float("inf")),
}

#: Numbers of faces in a picture, ignored ones counted.
CROWDS = {
    "0": (0, 1),
    "1": (1, 2),
    "2-4": (2, 5),
    "5-9": (5, 10),
    "10-19": (10, 20),
    "20+": (20, 10**9),
}

#: Thirds of the faces by how much detail they show.
SHARPNESS = ("blurred", "medium", "sharp")


@dataclass(frozen=True)
class LabeledImage:
    """A picture and what people drew in it.

    Attributes:
        path: the picture's file.
        labels: the boxes of the two classes.
        ignored: boxes of other classes, neither right nor wrong to find.
        normalized: the boxes are shares of the picture's width and height, not pixels.
    """

    path: Path
    labels: Labels
    ignored: Boxes
    normalized: bool

    def in_pixels(self, width: int, height: int) -> LabeledImage:
        """Return the same with boxes in pixels of a picture of that size."""
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
    """A part of the faces, or of the pictures.

    Attributes:
        support: number of labelled boxes.
        found: share of them that was found, whatever class was told, at the evaluation's confidence.
        right: share of them that was found in its class.
        map50: mean of the classes' average precisions at IoU 0.5; None where it has no meaning or nothing is labelled.
        pictures: number of pictures, where the slice is one of pictures.
    """

    support: int
    found: float | None
    right: float | None
    map50: float | None = None
    pictures: int | None = None


@dataclass(frozen=True)
class Evaluation:
    """What a detector reaches on labelled pictures.

    Attributes:
        name: what the detector is called.
        report: the scores of each class at the confidence asked for.
        face: the scores of finding faces, whatever class is told.
        best: of each class and of "face" the best F1 over all confidences, and the confidence it is reached at.
        intervals: 95 % intervals over the pictures (bootstrap) by class name, "face" or "mean", and measure.
        confusion: counts: a row for each labelled class and "nothing there", a column for each class found and "not found".
        false_alarms: detections where nothing is, per picture.
        ignored: number of ignored boxes.
        slices: by "size", "faces" (in the picture) and "sharpness", each by name.
        unreadable: pictures that could not be read and are not counted.
        folder: the run's folder, if there is one.
        cases: the pictures with their detections.
        matches: of each class and of "face" the detections at IoU 0.5.
        resampled: mAP50 of each resample of the pictures, the same ones for every detector (1000,).
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
        """Return everything but the single detections as a mapping of plain values."""
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
        labelled, columns = [*CLASS_NAMES, "nothing there"], [*CLASS_NAMES, "not found"]
        lines = [*self.report.lines({"face (any class)": self.face}), ""]
        span = self.intervals["mean"]["map50"]
        if self.map50 is not None and self.map50_95 is not None and span:
            lines.append(
                f"mAP50 {self.map50:.3f} (95 % interval {span[0]:.3f} to {span[1]:.3f}), mAP50-95 {self.map50_95:.3f}"
            )
        best = ", ".join(f"{name} {f1:.3f} at {conf:.2f}" for name, (f1, conf) in self.best.items())
        lines += [f"best F1: {best}", "", f"at confidence {self.report.confidence:g}:", ""]
        lines.append(f"{'labelled / found':16}" + "".join(f"{name:>14}" for name in columns))
        for name, row in zip(labelled, self.confusion.tolist(), strict=True):
            cells = [f"{count:14d}" for count in row[: None if name in CLASS_NAMES else -1]]
            lines.append(f"{name:16}" + "".join(cells))
        lines += ["", f"false alarms per picture: {self.false_alarms:.2f}"]
        titles = {
            "size": "face size (px at 640)",
            "faces": "faces in the picture",
            "sharpness": "sharpness of the face",
        }
        for kind, parts in self.slices.items():
            lines += [
                "",
                f"{titles[kind]:24}{'labelled':>10}{'found':>10}{'right':>10}{'mAP50':>10}",
            ]
            for name, part in parts.items():
                cells = [
                    f"{part.support:10d}",
                    *(
                        "         -" if v is None else f"{v:10.3f}"
                        for v in (part.found, part.right, part.map50)
                    ),
                ]
                lines.append(f"{name:24}" + "".join(cells))
        split = f", split {self.report.split}" if self.report.split else ""
        lines += [
            "",
            f"{counted(self.report.images, 'picture')} of {self.report.data}{split}; not counted: "
            f"{counted(self.ignored, 'box', 'boxes')} of other classes"
            + (
                f", {counted(len(self.unreadable), 'picture')} that cannot be read."
                if self.unreadable
                else "."
            ),
            f"A detection is right when it overlaps a labelled box of its class by an IoU of {self.report.iou:g} or more.",
        ]
        return "\n".join(lines) + "\n"


def evaluate(
    data: Path | str | None = None,
    split: str = "val",
    images: Path | str | None = None,
    labels: Path | str | None = None,
    image_list: Path | str | None = None,
    model: Path | str | Detector | None = None,
    pipeline: str = "yolo",
    detector: str | None = None,
    face: Path | str | None = None,
    conf: float = 0.25,
    iou: float = 0.5,
    imgsz: int | None = None,
    device: str = "auto",
    max_det: int = 300,
    backend: str = "auto",
    precision: str = "auto",
    trust: bool = False,
    seed: int = 0,
    project: Path | str | None = "runs/val",
    name: str = "val",
    exist_ok: bool = False,
    on_error: Callable[[str, MaskyoloError], None] | None = None,
    on_progress: Callable[[int, int | None], None] | None = None,
) -> Evaluation:
    """Run a detector over labelled pictures and measure it end to end: a face that is not found is an error.

    The run's folder gets `args.yaml`, `report.json`, `report.txt`, `report.html` and `predictions.jsonl`, the detections that the
    figures come from, in the form of `detect --save-json`.

    Args:
        data: a data set's `data.yaml` or its folder; a picture without a label file has no faces.
        split: which of its splits.
        images: instead of `data`, a folder of pictures; what is directly in it.
        labels: the folder of their labels: YOLO `.txt` or Pascal VOC `.xml` of the same names. Boxes of other classes than the
            two (in any of their usual spellings, `dataset.class_of`) are ignored: a detection on one counts neither way.
        image_list: a file that names the pictures to take of these, one a line.
        model: a model's name or file, see `yolo.load_detector`, or a detector that is loaded, with a confidence of its own.
        pipeline: `yolo`, one forward pass; or `two-stage`, a face detector and a classifier of each face.
        detector: face detector of `two-stage`.
        face: its weights, or the folder that has them.
        conf: confidence from which detections count for precision, recall, F1 and the confusion matrix; average precision takes
            those from 0.001 on, in two stages of faces with a score from 0.1 on.
        iou: overlap above which the detector drops the less confident of two boxes.
        imgsz: longer side in pixels that pictures are scaled to, by default the one that the weights say.
        device: auto, cpu, 0 (first GPU, with a `.pt` file), mps.
        max_det: most detections in a picture.
        backend: what runs the network, one of `backends.BACKENDS`; `yolo` only.
        precision: what it computes in, one of `backends.PRECISIONS`; `yolo` only.
        trust: open a `.pt` file of unknown origin; see `yolo.load_detector`.
        seed: of the resampling that the intervals come from.
        project: folder the run's folder is made in; None writes nothing.
        name: name of the run's folder; a number is added if it exists.
        exist_ok: write into an existing folder of that name instead.
        on_error: told of each picture that cannot be read, which is then left out; without it they are logged as warnings.
        on_progress: told the number of pictures done, and of all.

    Raises:
        DatasetError: no pictures, no labels, or labels that cannot be read.
        WeightsError: the model cannot be loaded.
        OutputError: a result cannot be written.
    """
    from maskyolo.yolo import DEFAULT_MODELS, YoloDetector, load_detector

    check_conf(conf)
    pictures, where = find_images(data, split, images, labels, image_list)
    model = DEFAULT_MODELS.get(pipeline, "") if model is None else model
    settings = {
        "data": data,
        "split": split if data is not None else None,
        "images": images,
        "labels": labels,
        "list": image_list,
        "model": model if isinstance(model, (str, Path)) else type(model).__name__,
        "pipeline": pipeline,
        "detector": detector,
        "face": face,
        "conf": conf,
        "iou": iou,
        "imgsz": imgsz,
        "device": device,
        "max_det": max_det,
        "backend": backend,
        "precision": precision,
        "seed": seed,
    }
    face_conf = FACE_FLOOR if pipeline == "two-stage" else None
    loaded: Detector = (
        load_detector(
            model,
            device=device,
            imgsz=imgsz,
            conf=AP_FLOOR,
            iou=iou,
            max_det=max_det,
            pipeline=pipeline,
            detector=detector,
            face=face,
            face_conf=face_conf,
            backend=backend,
            precision=precision,
            trust=trust,
        )
        if isinstance(model, (str, Path))
        else model
    )
    if isinstance(loaded, YoloDetector):
        settings["imgsz"] = loaded.imgsz
    title = str(settings["model"])
    folder = None if project is None else new_run(project, name, exist_ok)
    if folder:
        save_args(folder, settings)
    save = {title: folder / "predictions.jsonl"} if folder else None
    cases, sharpness, unreadable = predict(pictures, {title: loaded}, save, on_error, on_progress)
    found = measure(
        title, cases[title], sharpness, conf, seed, where, split if data is not None else ""
    )
    found = replace(found, unreadable=unreadable, folder=folder)
    if folder:
        write_atomic(folder / "report.txt", found.table())
        write_atomic(folder / "report.html", page(f"{title} on {where}", scores_sections([found])))
        write_atomic(folder / "report.json", json.dumps(found.json(), indent=2) + "\n")
    return found


def check_conf(conf: float) -> None:
    """Raise a MaskyoloError if `conf` is not from 0 to 1."""
    if not 0 <= conf <= 1:
        raise MaskyoloError(
            f"cannot evaluate at conf {conf:g}: it is a share; give a number from 0 to 1"
        )


def find_images(
    data: Path | str | None = None,
    split: str = "val",
    images: Path | str | None = None,
    labels: Path | str | None = None,
    image_list: Path | str | None = None,
) -> tuple[list[LabeledImage], str]:
    """Return the labelled pictures of a data set's split or of two folders, in the order of the list or by path, and their place.

    Raises:
        DatasetError: neither or both are given, no pictures, no labels, labels that cannot be read, or a list that names
            pictures which are not there.
    """
    if (data is None) == (images is None) or (images is None) != (labels is None):
        raise DatasetError(
            "no labelled pictures: give a data set with --data, or pictures with --images and their boxes with --labels"
        )
    if data is not None:
        dataset = load_dataset(data)
        paths, names, where = dataset.images(split), dataset.names, str(data)
        root = dataset.splits[split]
        if not any(map(class_of, names)):
            raise DatasetError(
                f"{dataset.yaml} has the classes {', '.join(names[:6])}; {' and '.join(CLASS_NAMES)} are needed"
            )
    else:
        root, folder, names = Path(str(images)), Path(str(labels)), CLASS_NAMES
        for place in (root, folder):
            if not place.is_dir():
                raise DatasetError(f"no folder {place}; check the path")
        paths, where = [path for path in list_images(root) if path.parent == root], str(images)
    if not paths:
        raise DatasetError(f"no pictures in {root}; check the path")
    if image_list is not None:
        paths = _listed(Path(image_list), paths, root)
    if data is not None:
        files = [dataset.label_of(path) for path in paths]
        if not any(file.exists() for file in files):
            raise DatasetError(
                f"no labels for any of the {len(files)} pictures of {where}: the first would be {files[0]}; check the set"
            )
    else:
        files = [_label_file(path, folder) for path in paths]
        missing = [path for path, file in zip(paths, files, strict=True) if not file.exists()]
        if missing:
            raise DatasetError(
                f"no labels for {len(missing)} of {len(paths)} pictures in {folder}: the first is {missing[0].name}, with neither "
                f"{missing[0].stem}.xml nor {missing[0].stem}.txt; an empty .txt says that there is no face, --list leaves pictures out"
            )
    pictures = [_read_labels(path, file, names) for path, file in zip(paths, files, strict=True)]
    if not any(len(picture.labels) for picture in pictures):
        raise DatasetError(
            f"no box of {' or '.join(CLASS_NAMES)} in the labels of all {len(pictures)} pictures of {where}; check them, or bring a set of "
            "other classes into form with `maskyolo convert`"
        )
    return pictures, where


def predict(
    pictures: Sequence[LabeledImage],
    detectors: Mapping[str, Detector],
    save: Mapping[str, Path] | None = None,
    on_error: Callable[[str, MaskyoloError], None] | None = None,
    on_progress: Callable[[int, int | None], None] | None = None,
) -> tuple[dict[str, list[Case]], list[Floats], tuple[str, ...]]:
    """Run detectors over pictures, each picture through all of them in turn.

    Args:
        pictures: the pictures.
        detectors: by name.
        save: where the detections of each are written, as lines of JSON.
        on_error: told of each picture that cannot be read; without it they are logged as warnings.
        on_progress: told the number of pictures done, and of all.

    Returns:
        The cases of each detector; of each picture how much detail each labelled face shows; the pictures that could not be read.
    """
    cases: dict[str, list[Case]] = {name: [] for name in detectors}
    sharpness, unreadable = [], []
    with ExitStack() as closing:
        files = {name: JsonLines(path) for name, path in (save or {}).items()}
        for file in files.values():
            closing.callback(file.close)
        for number, picture in enumerate(pictures, 1):
            try:
                image = read_image(picture.path)
            except ImageError as error:
                unreadable.append(str(picture.path))
                for file in files.values():
                    file.fail(str(picture.path), 0, str(error))
                (on_error or _log)(str(picture.path), error)
                continue
            truth = picture.in_pixels(image.shape[1], image.shape[0])
            sharpness.append(_sharpness(image, truth.labels.boxes))
            for name, detector in detectors.items():
                result = Result(Frame(image, str(picture.path)), detector(image))
                cases[name].append(_case(truth, result))
                if name in files:
                    files[name].write(result)
            if on_progress:
                on_progress(number, len(pictures))
    if len(unreadable) == len(pictures):
        raise DatasetError(
            f"none of the {len(pictures)} pictures can be read; the first is {unreadable[0]}"
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
    """Compute every figure from a detector's cases.

    Args:
        name: what the detector is called.
        cases: one for each picture.
        sharpness: of each picture how much detail each labelled face shows.
        conf: confidence from which detections count for precision, recall, F1 and the confusion matrix.
        seed: of the resampling that the intervals come from.
        data: where the pictures are, for the report.
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
    table = np.sum(counts, axis=0)
    face = scores.pop("face")
    return Evaluation(
        name=name,
        report=Report(data, split, len(cases), conf, 0.5, scores),
        face=face,
        best={title: best_f1(found) for title, found in matches.items()},
        intervals=intervals,
        confusion=table,
        false_alarms=float(table[-1].sum() / len(cases)),
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
    """Return mAP50 of every resample, and the intervals of each measure."""
    averages = {
        title: [average_precision(found, row) for row in weights]
        for title, found in matches.items()
    }
    means = tuple(
        _mean(values) for values in zip(*(averages[name] for name in CLASS_NAMES), strict=True)
    )
    spans: dict[str, dict[str, tuple[float, float] | None]] = {"mean": {"map50": interval(means)}}
    for title, found in matches.items():
        at = [rates(found, conf, row) for row in weights]
        spans[title] = {"map50": interval(averages[title])}
        spans[title] |= {
            key: interval(getattr(row, key) for row in at) for key in ("precision", "recall", "f1")
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
    pictures: int | None = None,
) -> Slice:
    """Count the labelled boxes that `chosen`, bool (n,) for each picture, selects."""
    support = found = right = 0
    for case, told, mask in zip(cases, found_as, chosen, strict=True):
        support += int(mask.sum())
        found += int((told[mask] >= 0).sum())
        right += int((told[mask] == case.class_ids[mask]).sum())
    return Slice(
        support,
        found / support if support else None,
        right / support if support else None,
        map50,
        pictures,
    )


def _by_size(cases: Sequence[Case], found_as: Sequence[Ints]) -> dict[str, Slice]:
    return {
        name: _slice(
            cases,
            found_as,
            [(low <= case.sides) & (case.sides < high) for case in cases],
            _map50(cases, (low, high)),
        )
        for name, (low, high) in SIZES.items()
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
    """Return the variance of the Laplacian (Pech-Pacheco et al. 2000) of each face (n,), in grey and scaled to 64 x 64."""
    values = np.zeros(len(boxes))
    for place, (x1, y1, x2, y2) in enumerate(boxes.round().astype(int).clip(min=0)):
        crop = image[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)]
        if crop.size:
            grey = cv2.resize(
                cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY), (64, 64), interpolation=cv2.INTER_AREA
            )
            values[place] = cv2.Laplacian(grey, cv2.CV_64F).var()
    return values


def _case(truth: LabeledImage, result: Result) -> Case:
    """Take the detections as the line of JSON has them, so that anybody who reads it comes to the same figures."""
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
    """Return the pictures that a list names, by their path below the folder or by their name, in its order."""
    lines = read_image_list(file)
    if not lines:
        raise DatasetError(f"the list {file} is empty; write a picture's name on each line")
    known = {path.name: path for path in paths} | {
        path.relative_to(root).as_posix(): path for path in paths if path.is_relative_to(root)
    }
    missing = [line for line in lines if line not in known and Path(line).name not in known]
    if missing:
        raise DatasetError(
            f"{file} names {len(missing)} pictures that are not in {root}: the first is {missing[0]}; correct the list"
        )
    return list(dict.fromkeys(known.get(line) or known[Path(line).name] for line in lines))


def _label_file(picture: Path, folder: Path) -> Path:
    files = [folder / f"{picture.stem}{suffix}" for suffix in (".xml", ".txt")]
    return next((file for file in files if file.exists()), files[-1])


def _read_labels(picture: Path, file: Path, names: Sequence[str]) -> LabeledImage:
    if file.suffix == ".xml":
        rows, normalized = _read_voc(file), False
    else:
        try:
            text = file.read_text(encoding="utf-8") if file.exists() else ""
        except (OSError, UnicodeDecodeError) as error:
            raise DatasetError(f"cannot read labels {file}: {error}; check the file") from error
        found = parse_yolo(text, 1, 1, name=str(file), classes=len(names))
        rows, normalized = (
            [
                (names[number], *box)
                for number, box in zip(found.class_ids, found.boxes.tolist(), strict=True)
            ],
            True,
        )
    known = [(CLASS_NAMES.index(class_of(name)), box) for name, *box in rows if class_of(name)]
    return LabeledImage(
        path=picture,
        labels=Labels(
            as_boxes([box for _, box in known]),
            np.asarray([number for number, _ in known], dtype=np.int64),
        ),
        ignored=as_boxes([box for name, *box in rows if not class_of(name)]),
        normalized=normalized,
    )


def _read_voc(file: Path) -> list[tuple[Any, ...]]:
    """Read name, x1, y1, x2, y2 of each object of a Pascal VOC file, in pixels as they stand there."""
    try:
        objects = list(ET.parse(file).getroot().iter("object"))  # noqa: S314  expat refuses entities that unfold without end
        names = [item.findtext("name", "").strip() for item in objects]
        boxes = [
            [float(item.findtext(f"bndbox/{key}", "")) for key in ("xmin", "ymin", "xmax", "ymax")]
            for item in objects
        ]
    except (OSError, ET.ParseError, ValueError) as error:
        raise DatasetError(
            f"cannot read labels {file}: {' '.join(str(error).split())}; correct the file"
        ) from error
    for name, (x1, y1, x2, y2) in zip(names, boxes, strict=True):
        if not (np.isfinite([x1, y1, x2, y2]).all() and x1 < x2 and y1 < y2):
            raise DatasetError(
                f"cannot read labels {file}: {name} has the box {x1:g}, {y1:g}, {x2:g}, {y2:g}; correct the file"
            )
    return [(name, *box) for name, box in zip(names, boxes, strict=True)]


def _log(source: str, error: MaskyoloError) -> None:
    del source
    logging.getLogger("maskyolo").warning("%s", error)
