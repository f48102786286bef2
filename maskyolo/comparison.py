"""Set detectors side by side: on the same labelled pictures, frames and video; the library of `maskyolo compare`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from maskyolo._text import counted
from maskyolo.core.choices import FaceDetectorName
from maskyolo.core.classes import CLASS_NAMES
from maskyolo.core.detector import Detector
from maskyolo.core.files import write_atomic
from maskyolo.errors import MaskyoloError, SourceError, output_errors
from maskyolo.evaluate import (
    AP_FLOOR,
    FACE_FLOOR,
    Evaluation,
    LabeledImage,
    check_conf,
    find_images,
    measure,
    predict,
)
from maskyolo.images import ImageArray, read_image
from maskyolo.metrics import Case, Floats, confusion, interval
from maskyolo.page import embedded, legend, line_chart, number, page, scores_sections, table
from maskyolo.runs import new_run, save_args
from maskyolo.sinks import VideoWriter, draw_detections
from maskyolo.sources import VideoSource, display_name, open_sources
from maskyolo.speed import (
    COUNTS,
    FRAME,
    Laps,
    crowd_frame,
    cut_faces,
    measure_memory,
    measure_speed,
    timed,
    verdicts,
)
from maskyolo.yolo import DEFAULT_MODELS, YoloDetector, load_detector

__all__ = ["Comparison", "Contestant", "compare"]

#: Times that each detector sees each frame when speed is measured.
ROUNDS = 15

#: Pictures shown in which each detector does best against the others.
SHOWN = 4

#: Width in pixels of the side-by-side video, at most.
VIDEO_WIDTH = 1920

#: Faces that the frames for measuring speed are composed of.
_FACES = 40


@dataclass(frozen=True)
class Contestant:
    """One detector of a comparison, as `[PIPELINE:][MODEL][@DETECTOR]` says it.

    Attributes:
        text: as it was given.
        pipeline: `yolo` or `two-stage`.
        model: a model's name or file.
        detector: face detector of `two-stage`, None for the usual one.
    """

    text: str
    pipeline: str
    model: str
    detector: str | None = None

    @classmethod
    def parse(cls, text: str) -> Contestant:
        """Parse `maskyolo-n`, `two-stage:mobilenet_v2`, `two-stage:seed.onnx@yunet`, or a pipeline alone for its usual model.

        Raises:
            MaskyoloError: nothing is named, or a face detector with `yolo`.
        """
        pipeline, separator, rest = text.partition(":")
        if text.partition("@")[0] in DEFAULT_MODELS:  # a pipeline with its usual model
            pipeline, at, detector = text.partition("@")
            rest = at + detector
        elif not separator or pipeline not in DEFAULT_MODELS:
            pipeline, rest = "yolo", text
        model, _, detector = rest.rpartition("@")
        if detector not in tuple(FaceDetectorName):
            model, detector = rest, ""
        if detector and pipeline != "two-stage":
            raise MaskyoloError(
                f"cannot compare '{text}': a face detector belongs to two stages; write two-stage:{rest}"
            )
        if not text:
            raise MaskyoloError(
                "cannot compare '': it names no model; write for instance maskyolo-n or two-stage:mobilenet_v2"
            )
        return cls(text, pipeline, model or DEFAULT_MODELS[pipeline], detector or None)

    def settings(
        self, conf: float, face_conf: float | None, shared: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the arguments of `yolo.load_detector`: these two, and what all detectors share."""
        face_conf = face_conf if self.pipeline == "two-stage" else None
        own = {"model": self.model, "pipeline": self.pipeline, "detector": self.detector}
        return {**own, "conf": conf, "face_conf": face_conf, **shared}


@dataclass(frozen=True)
class Comparison:
    """What a comparison found; the first detector is the one that the others are measured against.

    Attributes:
        names: of the detectors.
        where: the pictures and the video.
        evaluations: by name, empty without labelled pictures.
        differences: of each but the first: its mAP50 less the first's, and the 95 % interval (paired bootstrap over the pictures).
        speed: laps by name and number of faces in the frame.
        verdicts: what the speed means, in words.
        memory: peak of a process of its own in MB, by name; None where it is not known.
        video: what the video showed by name: median milliseconds a frame, faces a frame.
        folder: the run's folder.
        video_file: the side-by-side video, if there is one.
    """

    names: tuple[str, ...]
    where: str
    evaluations: dict[str, Evaluation]
    differences: dict[str, tuple[float, tuple[float, float] | None]]
    speed: dict[str, dict[int, Laps]]
    verdicts: tuple[str, ...]
    memory: dict[str, float | None]
    video: dict[str, dict[str, float]] = field(default_factory=dict)
    folder: Path | None = None
    video_file: Path | None = None

    @property
    def unreadable(self) -> tuple[str, ...]:
        """Pictures that could not be read and are not counted."""
        return next(iter(self.evaluations.values())).unreadable if self.evaluations else ()

    def json(self) -> dict[str, Any]:
        """Return everything but the single detections as a mapping of plain values."""
        return {
            "detectors": list(self.names),
            "on": self.where,
            "evaluations": {name: found.json() for name, found in self.evaluations.items()},
            "map50_differences": {
                name: {"difference": value, "interval": span}
                for name, (value, span) in self.differences.items()
            },
            "speed": {
                name: {str(count): laps.json() for count, laps in rows.items()}
                for name, rows in self.speed.items()
            },
            "verdicts": list(self.verdicts),
            "memory": self.memory,
            "video": self.video,
        }

    def table(self) -> str:
        """Return the figures that matter most as text."""
        width = max(len(name) for name in self.names)
        lines = []
        if self.evaluations:
            lines += [
                " " * width
                + "     mAP50  95 % interval   mAP50-95  precision  recall    F1  false alarms",
                "",
            ]
            for name, found in self.evaluations.items():
                mean, span = found.report.macro(), found.intervals["mean"]["map50"] or (0.0, 0.0)
                lines.append(
                    f"{name:{width}}  {number(mean.map50):>8}  {span[0]:.3f} to {span[1]:.3f}  {number(mean.map50_95):>8}  "
                    f"{number(mean.precision):>9}  {number(mean.recall):>6}  {number(mean.f1)}  {found.false_alarms:12.2f}"
                )
            lines += ["", *self.in_words(), ""]
        if self.speed:
            counts = list(next(iter(self.speed.values())))
            lines += [f"ms a frame ({FRAME[0]}x{FRAME[1]}), median, with so many faces in it:", ""]
            lines.append(" " * width + "".join(f"{count:>9}" for count in counts) + "   peak MB")
            for name, rows in self.speed.items():
                cells = "".join(f"{laps.median:9.1f}" for laps in rows.values())
                lines.append(f"{name:{width}}{cells}{number(self.memory.get(name), 0):>10}")
            lines += ["", *self.verdicts, ""]
        if self.video:
            lines += ["on the video:", ""]
            for name, row in self.video.items():
                lines.append(
                    f"{name:{width}}  {row['ms']:7.1f} ms a frame, {row['faces']:.1f} faces a frame"
                )
        return "\n".join(lines).rstrip() + "\n"

    def in_words(self) -> list[str]:
        """Say of each detector but the first how its mAP50 differs from the first's."""
        told = []
        for name, (value, span) in self.differences.items():
            sure = span is not None and (span[0] > 0 or span[1] < 0)
            if not sure or span is None:
                told.append(
                    f"{name} and {self.names[0]} cannot be told apart by mAP50 on these pictures ({value:+.3f})."
                )
            else:
                word = "better" if value > 0 else "worse"
                told.append(
                    f"{name} is {word} than {self.names[0]}: mAP50 {value:+.3f} (95 % interval {span[0]:+.3f} to {span[1]:+.3f})."
                )
        return told


def compare(
    model: Sequence[str | Path | Detector] | Mapping[str, Detector] = ("two-stage", "yolo"),
    data: Path | str | None = None,
    split: str = "val",
    images: Path | str | None = None,
    labels: Path | str | None = None,
    image_list: Path | str | None = None,
    source: Path | str | None = None,
    conf: float = 0.25,
    iou: float = 0.5,
    imgsz: int | None = None,
    device: str = "auto",
    max_det: int = 300,
    trust: bool = False,
    seed: int = 0,
    rounds: int = ROUNDS,
    project: Path | str = "runs/compare",
    name: str = "compare",
    exist_ok: bool = False,
    on_error: Callable[[str, MaskyoloError], None] | None = None,
    on_progress: Callable[[str, int, int | None], None] | None = None,
) -> Comparison:
    """Compare detectors on the same labelled pictures, on frames with 1 to 40 faces for speed, and on a video.

    The run's folder gets `args.yaml`, `report.html` (self-contained), `report.json`, `report.txt`, `predictions/NAME.jsonl` in the
    form of `detect --save-json`, and the video side by side.

    Args:
        model: two or more: `[PIPELINE:][MODEL][@DETECTOR]`, see `Contestant.parse`, or detectors that are loaded. The others are
            measured against the first.
        data: a data set's `data.yaml` or its folder.
        split: which of its splits.
        images: instead of `data`, a folder of pictures.
        labels: the folder of their labels, YOLO `.txt` or Pascal VOC `.xml`; see `evaluate.evaluate`.
        image_list: a file that names the pictures to take of these, one a line.
        source: a video for the side-by-side video; alone, without labelled pictures, there are no figures but of speed.
        conf: confidence of precision, recall, F1, confusion, speed, and everything drawn. Average precision takes detections from
            0.001 on, in two stages of faces with a score from 0.1 on; a detector that is loaded keeps its own.
        iou: overlap above which the less confident of two boxes is dropped; one forward pass only.
        imgsz: longer side in pixels that pictures are scaled to, by default the one that each one's weights say; one forward pass only.
        device: auto, cpu, 0 (first GPU, with a `.pt` file), mps.
        max_det: most detections in a picture.
        trust: open a `.pt` file of unknown origin; see `yolo.load_detector`.
        seed: of the resampling that the intervals come from.
        rounds: times that each detector sees each frame when speed is measured; 0 measures neither speed nor memory.
        project: folder the run's folder is made in.
        name: name of the run's folder; a number is added if it exists.
        exist_ok: write into an existing folder of that name instead.
        on_error: told of each picture that cannot be read, which is then left out; without it they are logged as warnings.
        on_progress: told what is being counted, the number done, and of all.

    Raises:
        MaskyoloError: fewer than two detectors, or one twice.
        DatasetError: no pictures, no labels, or labels that cannot be read.
        SourceError: the source is no video, or cannot be read.
        WeightsError: a model cannot be loaded.
        OutputError: a result cannot be written.
    """
    check_conf(conf)
    contestants = _contestants(model)
    names = tuple(contestants)
    if data is None and images is None and labels is None and source is None:
        raise MaskyoloError(
            "nothing to compare on: give labelled pictures (--data, or --images and --labels), a video (--source), or both"
        )
    labelled = data is not None or images is not None or labels is not None
    pictures, where = find_images(data, split, images, labels, image_list) if labelled else ([], "")
    video = None if source is None else _open_video(source)
    shared = {"device": device, "max_det": max_det, "trust": trust}
    one_pass = {"imgsz": imgsz, "iou": iou}
    chosen = {title: one for title, one in contestants.items() if isinstance(one, Contestant)}
    mixed = any(one.pipeline == "yolo" for one in chosen.values())
    of = {
        "yolo": shared | one_pass,
        "two-stage": shared if mixed else shared | one_pass,
    }  # two stages alone say that they use neither
    usual = {title: one.settings(conf, None, of[one.pipeline]) for title, one in chosen.items()}
    detectors = {
        title: load_detector(**usual[title]) if isinstance(one, Contestant) else one
        for title, one in contestants.items()
    }
    folder = new_run(project, name, exist_ok)
    save_args(
        folder,
        {
            "model": list(names),
            "data": data,
            "split": split if data is not None else None,
            "images": images,
            "labels": labels,
        }
        | {
            "list": image_list,
            "source": source,
            "conf": conf,
            "seed": seed,
            "rounds": rounds,
            **shared,
            **one_pass,
        }
        | {
            "imgsz": {
                title: one.imgsz
                for title, one in detectors.items()
                if isinstance(one, YoloDetector)
            }
        },
    )

    def progress(what: str) -> Callable[[int, int | None], None]:
        return lambda done, total: on_progress(what, done, total) if on_progress else None

    evaluations: dict[str, Evaluation] = {}
    if pictures:
        unsure = {
            title: load_detector(**one.settings(AP_FLOOR, FACE_FLOOR, of[one.pipeline]))
            if isinstance(one, Contestant)
            else one
            for title, one in contestants.items()
        }
        with output_errors(folder):
            (folder / "predictions").mkdir(exist_ok=True)
        files = {
            title: folder / "predictions" / f"{stem}.jsonl"
            for title, stem in zip(names, _file_names(names), strict=True)
        }
        cases, sharpness, unreadable = predict(
            pictures, unsure, files, on_error, progress("pictures")
        )
        for done, title in enumerate(names):
            found = measure(
                title, cases[title], sharpness, conf, seed, where, split if data is not None else ""
            )
            evaluations[title] = replace(found, unreadable=unreadable)
            progress("measures")(done + 1, len(names))
    shown: dict[str, dict[str, float]] = {}
    faces: list[ImageArray] = []
    video_file = None
    if video:
        video_file = folder / f"{Path(video.name).stem}.mp4"
        shown, faces = _side_by_side(video, detectors, video_file, progress("frames"), on_error)
    if pictures:
        faces = _labelled_faces(pictures) or faces
    speed: dict[str, dict[int, Laps]] = {}
    memory: dict[str, float | None] = {}
    if rounds and faces:
        frames = {count: crowd_frame(faces, count) for count in COUNTS}
        speed = measure_speed(detectors, frames, rounds, progress("rounds"))
        memory = {
            title: measure_memory(usual[title], frames[10]) if title in usual else None
            for title in names
        }
    result = Comparison(
        names=names,
        where=" and ".join(str(place) for place in (where, source) if place),
        evaluations=evaluations,
        differences=_differences(list(evaluations.values())),
        speed=speed,
        verdicts=tuple(verdicts(speed)),
        memory=memory,
        video=shown,
        folder=folder,
        video_file=video_file,
    )
    write_atomic(folder / "report.txt", result.table())
    write_atomic(
        folder / "report.html", page(f"Comparison on {result.where}", _sections(result, pictures))
    )
    write_atomic(folder / "report.json", json.dumps(result.json(), indent=2) + "\n")
    return result


def _contestants(
    model: Sequence[str | Path | Detector] | Mapping[str, Detector],
) -> dict[str, Contestant | Detector]:
    """Return what is to be loaded, or is, by the name it is shown with: without its folders where that is clear."""
    named: dict[str, Contestant | Detector] = dict(model) if isinstance(model, Mapping) else {}
    if not isinstance(model, Mapping):
        parsed = [
            Contestant.parse(str(one)) if isinstance(one, (str, Path)) else one for one in model
        ]
        keys = [
            (one.pipeline, one.model, one.detector) if isinstance(one, Contestant) else id(one)
            for one in parsed
        ]
        titles = [
            re.sub(r"[^:@]*[/\\]", "", one.text)
            if isinstance(one, Contestant)
            else type(one).__name__
            for one in parsed
        ]
        for place, one in enumerate(parsed):
            if keys.index(keys[place]) < place:
                raise MaskyoloError(
                    f"cannot compare '{titles[place]}' with itself: it is given twice; give two different models"
                )
            title = titles[place]
            if titles.count(title) > 1:
                title = one.text if isinstance(one, Contestant) else f"{title} {place + 1}"
            named[title] = one
    if len(named) < 2:
        raise MaskyoloError(
            f"cannot compare {len(named)} model: give two or more, for instance --model two-stage --model maskyolo-n"
        )
    return named


def _open_video(source: Path | str) -> Any:
    sources = open_sources(source)
    if len(sources) > 1 or not isinstance(sources[0], VideoSource):
        raise SourceError(
            f"cannot compare on {display_name(source)}: not a video file; for pictures give --images and --labels"
        )
    return sources[0]


def _differences(
    evaluations: Sequence[Evaluation],
) -> dict[str, tuple[float, tuple[float, float] | None]]:
    """Return each mAP50 less the first's; both are taken from the same resamples of the pictures."""
    found = {}
    for other in evaluations[1:]:
        first = evaluations[0]
        pairs = zip(other.resampled, first.resampled, strict=True)
        span = interval(None if a is None or b is None else a - b for a, b in pairs)
        found[other.name] = ((other.map50 or 0.0) - (first.map50 or 0.0), span)
    return found


def _labelled_faces(pictures: Sequence[LabeledImage]) -> list[ImageArray]:
    """Return the largest labelled faces, cut out with some of what is around them."""
    sized: list[tuple[float, LabeledImage]] = []
    for picture in pictures:
        sides = picture.labels.boxes[:, 2:] - picture.labels.boxes[:, :2]
        if len(sides):
            sized.append((float(sides.prod(axis=1).max()), picture))
    faces: list[ImageArray] = []
    for _, picture in sorted(sized, key=lambda pair: -pair[0]):
        try:
            image = read_image(picture.path)
        except MaskyoloError:
            continue
        faces += cut_faces(
            image, picture.in_pixels(image.shape[1], image.shape[0]).labels.boxes.tolist()
        )
        if len(faces) >= 4 * _FACES:
            break
    return sorted(faces, key=lambda face: -face.shape[0])[:_FACES]


def _side_by_side(
    video: Any,
    detectors: Mapping[str, Detector],
    path: Path,
    on_progress: Callable[[int, int | None], None],
    on_error: Callable[[str, MaskyoloError], None] | None,
) -> tuple[dict[str, dict[str, float]], list[ImageArray]]:
    """Write what each detector sees next to each other; return the figures of each, and faces cut out of the frames."""
    times: dict[str, list[float]] = {name: [] for name in detectors}
    counts = dict.fromkeys(detectors, 0)
    faces: list[ImageArray] = []
    frames = 0
    with ExitStack() as stack:
        runs = {name: stack.enter_context(timed(detector)) for name, detector in detectors.items()}
        writer: VideoWriter | None = None
        try:
            for frame in video.frames():
                if writer is None:
                    writer = VideoWriter(path, frame.rate)
                    stack.callback(writer.close)
                    for run in runs.values():
                        run(frame.image)  # the first time compiles
                panels = []
                for name, run in runs.items():
                    detections, lap, _ = run(frame.image)
                    times[name].append(lap)
                    counts[name] += len(detections)
                    panels.append(
                        _panel(
                            draw_detections(frame.image, detections),
                            f"{name}  {lap:.0f} ms",
                            len(detectors),
                        )
                    )
                    if len(faces) < 4 * _FACES and name == next(iter(runs)):
                        faces += cut_faces(frame.image, detections.xyxy.tolist())
                writer.write(np.concatenate(panels, axis=1))
                frames += 1
                on_progress(frames, frame.total)
        except SourceError as error:
            if not frames or on_error is None:
                raise
            on_error(str(video.name), error)
    largest = sorted(faces, key=lambda face: -face.shape[0])[:_FACES]
    return {
        name: {"ms": float(np.median(times[name])), "faces": counts[name] / max(frames, 1)}
        for name in detectors
    }, largest


def _panel(image: ImageArray, title: str, panels: int) -> ImageArray:
    """Return a frame, made narrow enough for the video, below a bar with its title."""
    scale = min(VIDEO_WIDTH / panels / image.shape[1], 1)
    width, height = max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1)
    panel = np.full((height + 28, width, 3), 32, np.uint8)
    cv2.resize(image, (width, height), dst=panel[28:], interpolation=cv2.INTER_AREA)
    size = min(
        0.55,
        0.55
        * (width - 12)
        / max(cv2.getTextSize(title, cv2.FONT_HERSHEY_SIMPLEX, 0.55, 1)[0][0], 1),
    )
    cv2.putText(
        panel, title, (6, 19), cv2.FONT_HERSHEY_SIMPLEX, size, (255, 255, 255), 1, cv2.LINE_AA
    )
    return panel


def _file_names(titles: Sequence[str]) -> list[str]:
    """Return a name for the file of each detector that every file system takes and no other has."""
    names: list[str] = []
    for title in titles:
        stem = name = re.sub(r"[^\w.-]+", "_", title).strip("._") or "detector"
        number = 1
        while name.casefold() in map(str.casefold, names):
            number += 1
            name = f"{stem}_{number}"
        names.append(name)
    return names


def _errors(case: Case, conf: float) -> int:
    """Return how often a detector is wrong in a picture: not found, of the wrong class, or nothing there."""
    counts, _ = confusion(case, conf, len(CLASS_NAMES))
    return int(counts.sum() - np.trace(counts))


def _worst(evaluations: Sequence[Evaluation]) -> list[tuple[int, list[int]]]:
    """Return the pictures in which the detectors differ most, those where each is best by turns, with the errors of each."""
    conf = evaluations[0].report.confidence
    errors: Floats = np.array(
        [[_errors(case, conf) for case in found.cases] for found in evaluations], dtype=np.float64
    )
    chosen: list[int] = []
    for row in errors:
        others = errors.sum(axis=0) - row
        gain = others / (len(errors) - 1) - row
        best = [
            int(place)
            for place in np.argsort(-gain, kind="stable")
            if gain[place] > 0 and place not in chosen
        ]
        chosen += best[:SHOWN]
    return [(place, errors[:, place].astype(int).tolist()) for place in chosen]


def _sections(result: Comparison, pictures: Sequence[LabeledImage]) -> list[str]:
    """Return the sections of the report's page."""
    sections = [
        "<h2>In short</h2>",
        "".join(f"<p>{escape(line)}</p>" for line in (*result.in_words(), *result.verdicts)),
        _overview(result),
    ]
    evaluations = list(result.evaluations.values())
    if evaluations:
        report = evaluations[0].report
        sections.append(
            f'<p class="note">{counted(report.images, "picture")}, {counted(evaluations[0].face.support, "labelled face")}; not counted: '
            f"{counted(evaluations[0].ignored, 'box', 'boxes')} of other classes, {counted(len(result.unreadable), 'picture')} that cannot "
            f"be read. A detection is right when it overlaps a "
            f"labelled box of its class by an IoU of {report.iou:g} or more; a face that is not found is an error, whichever stage missed "
            f"it. Average precision is COCO's (101 points), from detections at confidence {AP_FLOOR:g} and above, in two stages from faces "
            f"of score {FACE_FLOOR:g} and above. In brackets: 95 % intervals over the pictures (1,000 resamples, the same for all).</p>"
        )
        sections += scores_sections(evaluations)
    if result.speed:
        sections += _speed_sections(result)
    if result.video:
        rows = [
            [name, f"{row['ms']:.1f}", f"{row['faces']:.1f}"] for name, row in result.video.items()
        ]
        sections.append(
            "<h2>On the video</h2>" + table(["", "median ms a frame", "faces a frame"], rows)
        )
        if result.video_file:
            sections.append(
                f'<p class="note">Side by side: {escape(result.video_file.name)}, in the same folder.</p>'
            )
    if evaluations:
        sections.append(_disagreements(evaluations, pictures))
    return sections


def _overview(result: Comparison) -> str:
    head, rows = [""], [[name] for name in result.names]
    values: list[list[float]] = []

    def column(title: str, cells: Sequence[str], ranks: Sequence[float | None]) -> None:
        head.append(title)
        for row, cell in zip(rows, cells, strict=True):
            row.append(cell)
        values.append([-np.inf if rank is None else rank for rank in ranks])

    found = list(result.evaluations.values())
    if found:
        spans = [one.intervals["mean"]["map50"] for one in found]
        cells = [
            number(one.map50) + (f"\n({span[0]:.3f} to {span[1]:.3f})" if span else "")
            for one, span in zip(found, spans, strict=True)
        ]
        column("mAP50", cells, [one.map50 for one in found])
        column("mAP50-95", [number(one.map50_95) for one in found], [one.map50_95 for one in found])
        for name in CLASS_NAMES:
            scores = [one.report.classes[name].map50 for one in found]
            column(f"AP50 {name}", [number(value) for value in scores], scores)
        column(
            "mean F1",
            [number(one.report.macro().f1) for one in found],
            [one.report.macro().f1 for one in found],
        )
        column(
            "false alarms a picture",
            [f"{one.false_alarms:.2f}" for one in found],
            [-one.false_alarms for one in found],
        )
    for count in (1, 10, 40) if result.speed else ():
        laps = [result.speed[name][count].median for name in result.names]
        column(
            f"ms, {count} face{'s' if count > 1 else ''}",
            [f"{lap:.1f}" for lap in laps],
            [-lap for lap in laps],
        )
    if any(result.memory.values()):
        peaks = [result.memory.get(name) for name in result.names]
        column(
            "peak MB",
            [number(peak, 0) for peak in peaks],
            [None if peak is None else -peak for peak in peaks],
        )
    return table(
        head, rows, {place + 1: int(np.argmax(ranks)) for place, ranks in enumerate(values)}
    )


def _speed_sections(result: Comparison) -> list[str]:
    top = max(laps.median for rows in result.speed.values() for laps in rows.values())
    lines = [
        [(count, laps.median) for count, laps in rows.items()] for rows in result.speed.values()
    ]
    rows = []
    for count in COUNTS:
        for name in result.names:
            laps = result.speed[name][count].json()
            stages = ", ".join(f"{stage} {value:.1f}" for stage, value in laps["stages"].items())
            half = f"{laps['quartiles'][0]:.1f} to {laps['quartiles'][1]:.1f}"
            rows.append(
                [f"{count}: {name}", f"{laps['median']:.1f}", half, stages, str(laps["found"])]
            )
    sections = [
        "<h2>Speed</h2>",
        "".join(f"<p>{escape(line)}</p>" for line in result.verdicts),
        legend(result.names),
    ]
    sections.append(
        line_chart(
            lines,
            "milliseconds a frame",
            "faces in the frame",
            "",
            max(COUNTS),
            top * 1.05,
            dots=True,
        )
    )
    sections.append(
        table(
            ["faces: detector", "median ms", "middle half", "stages (medians)", "faces found"], rows
        )
    )
    rounds = len(next(iter(next(iter(result.speed.values())).values())).whole)
    sections.append(
        f'<p class="note">Frames of {FRAME[0]}x{FRAME[1]}, composed of faces of these pictures, at the usual confidence; decoding is not '
        f"counted. Medians of {counted(rounds, 'round')} in which all detectors took turns. Only faces that the first stage finds "
        "reach the second. The figures are of this machine; the relations carry over better than the milliseconds. Memory is the peak of a "
        "process of its own that does nothing but load the detector and look at the frame with 10 faces.</p>"
    )
    return sections


def _disagreements(evaluations: Sequence[Evaluation], pictures: Sequence[LabeledImage]) -> str:
    """Return the pictures in which the detectors differ most, drawn with what each found."""
    import supervision as sv

    readable = [
        picture for picture in pictures if str(picture.path) not in evaluations[0].unreadable
    ]
    conf = evaluations[0].report.confidence
    parts = []
    for place, errors in _worst(evaluations):
        image = read_image(readable[place].path)
        figures = []
        for found, count in zip(evaluations, errors, strict=True):
            case = found.cases[place]
            sure = case.confidence >= conf
            detections = sv.Detections(
                xyxy=case.found[sure].astype(np.float32),
                confidence=case.confidence[sure].astype(np.float32),
                class_id=case.found_ids[sure],
                data={"class_name": np.array(CLASS_NAMES)[case.found_ids[sure]]},
            )
            figures.append(
                embedded(
                    draw_detections(image, detections),
                    f"{found.name}: {count} error{'' if count == 1 else 's'}",
                )
            )
        faces = len(evaluations[0].cases[place].boxes)
        title = f"<h3>{escape(readable[place].path.name)}, {faces} labelled face{'' if faces == 1 else 's'}</h3>"
        parts.append(f'{title}<div class="row">{"".join(figures)}</div>')
    note = '<p class="note">The pictures in which each detector does best against the others, by the number of errors.</p>'
    return "<h2>Where they differ most</h2>" + (
        note + "".join(parts) if parts else "<p>Nowhere.</p>"
    )
