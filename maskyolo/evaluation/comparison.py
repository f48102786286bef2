"""Compare detectors on the same images, frames and video: the library of `maskyolo compare`."""

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
from maskyolo.core.options import takes_options
from maskyolo.errors import MaskyoloError, SourceError, output_errors
from maskyolo.evaluate import (
    AP_FLOOR,
    FACE_FLOOR,
    Evaluation,
    LabeledImage,
    find_images,
    measure,
    predict,
)
from maskyolo.evaluation.options import CompareOptions
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

__all__ = ["DEFAULT_DETECTORS", "Comparison", "Contestant", "compare"]

#: The detectors that are compared by default.
DEFAULT_DETECTORS = ("two-stage", "yolo")

#: Number of images shown for each detector, in which it does best against the others.
SHOWN = 4

#: Maximum width of the side-by-side video in pixels.
VIDEO_WIDTH = 1920

#: Number of faces that the frames for measuring speed are composed of.
_FACES = 40


@dataclass(frozen=True)
class Contestant:
    """One detector of a comparison, given as `[PIPELINE:][MODEL][@DETECTOR]`.

    Attributes:
        text: as it was given.
        pipeline: `yolo` or `two-stage`.
        model: name or file of a model.
        detector: face detector of `two-stage`, None for the default.
    """

    text: str
    pipeline: str
    model: str
    detector: str | None = None

    @classmethod
    def parse(cls, text: str) -> Contestant:
        """Parse a model such as `maskyolo-n`, a pipeline for its default model, or both.

        Raises:
            MaskyoloError: no model is named, or a face detector with `yolo`.

        Example:
            >>> one = Contestant.parse("two-stage:seed.onnx@yunet")
            >>> one.pipeline, one.model, one.detector
            ('two-stage', 'seed.onnx', 'yunet')
        """
        pipeline, separator, rest = text.partition(":")
        if text.partition("@")[0] in DEFAULT_MODELS:  # a pipeline with its default model
            pipeline, at, detector = text.partition("@")
            rest = at + detector
        elif not separator or pipeline not in DEFAULT_MODELS:
            pipeline, rest = "yolo", text
        model, _, detector = rest.rpartition("@")
        if detector not in tuple(FaceDetectorName):
            model, detector = rest, ""
        if detector and pipeline != "two-stage":
            raise MaskyoloError(
                f"cannot compare '{text}': yolo has no face detector", f"write two-stage:{rest}"
            )
        if not text:
            raise MaskyoloError(
                "cannot compare '': no model is named",
                "write for example maskyolo-n or two-stage:mobilenet_v2",
            )
        return cls(text, pipeline, model or DEFAULT_MODELS[pipeline], detector or None)

    def settings(
        self, conf: float, face_conf: float | None, shared: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the arguments of `load_detector`; `shared` are those common to all detectors."""
        face_conf = face_conf if self.pipeline == "two-stage" else None
        own = {"model": self.model, "pipeline": self.pipeline, "detector": self.detector}
        return {**own, "conf": conf, "face_conf": face_conf, **shared}


@dataclass(frozen=True)
class Comparison:
    """The results of a comparison; the others are compared with the first detector.

    Attributes:
        names: of the detectors.
        where: the place of the images and the video.
        evaluations: by name; empty without labeled images.
        differences: mAP50 minus the first detector's and its 95 % interval (paired bootstrap over
            the images), for each detector but the first.
        speed: times by name and number of faces in the frame.
        verdicts: the speed in words.
        memory: peak memory in MB of a process that runs the detector, by name; None if unknown.
        video: median milliseconds ("ms") and mean number of faces ("faces") per frame of the
            video, by name.
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
        """Images that could not be read and are not counted."""
        return next(iter(self.evaluations.values())).unreadable if self.evaluations else ()

    def json(self) -> dict[str, Any]:
        """Return everything except the single detections as plain values."""
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
        """Return the most important figures as text."""
        lines = []
        if self.evaluations:
            lines += [*self._score_lines(), "", *self.in_words(), ""]
        if self.speed:
            lines += [*self._speed_lines(), "", *self.verdicts, ""]
        if self.video:
            lines += ["on the video:", ""]
            for name, row in self.video.items():
                figures = f"{row['ms']:7.1f} ms per frame, {row['faces']:.1f} faces per frame"
                lines.append(f"{name:{self._width}}  {figures}")
        return "\n".join(lines).rstrip() + "\n"

    @property
    def _width(self) -> int:
        return max(len(name) for name in self.names)

    def _score_lines(self) -> list[str]:
        head = "     mAP50  95 % interval   mAP50-95  precision  recall    F1  false alarms"
        lines = [" " * self._width + head, ""]
        for name, found in self.evaluations.items():
            mean, span = found.report.macro(), found.intervals["mean"]["map50"] or (0.0, 0.0)
            lines.append(
                f"{name:{self._width}}  {number(mean.map50):>8}  {span[0]:.3f} to {span[1]:.3f}  "
                f"{number(mean.map50_95):>8}  {number(mean.precision):>9}  "
                f"{number(mean.recall):>6}  {number(mean.f1)}  {found.false_alarms:12.2f}"
            )
        return lines

    def _speed_lines(self) -> list[str]:
        counts = "".join(f"{count:>9}" for count in next(iter(self.speed.values())))
        lines = [
            f"median ms per frame ({FRAME[0]}x{FRAME[1]}), by number of faces in it:",
            "",
            f"{'':{self._width}}{counts}   peak MB",
        ]
        for name, rows in self.speed.items():
            cells = "".join(f"{laps.median:9.1f}" for laps in rows.values())
            lines.append(f"{name:{self._width}}{cells}{number(self.memory.get(name), 0):>10}")
        return lines

    def in_words(self) -> list[str]:
        """Return a sentence per detector but the first: how its mAP50 differs from the first's."""
        sentences = []
        for name, (value, span) in self.differences.items():
            if span is None or span[0] <= 0 <= span[1]:
                sentences.append(
                    f"{name} and {self.names[0]} cannot be told apart by mAP50 on these images "
                    f"({value:+.3f})."
                )
            else:
                word = "better" if value > 0 else "worse"
                sentences.append(
                    f"{name} is {word} than {self.names[0]}: mAP50 {value:+.3f} "
                    f"(95 % interval {span[0]:+.3f} to {span[1]:+.3f})."
                )
        return sentences


@takes_options(CompareOptions)
def compare(
    model: Sequence[str | Path | Detector] | Mapping[str, Detector] = DEFAULT_DETECTORS,
    source: Path | str | None = None,
    *,
    options: CompareOptions | None = None,
    on_error: Callable[[str, MaskyoloError], None] | None = None,
    on_progress: Callable[[str, int, int | None], None] | None = None,
    **settings: Any,
) -> Comparison:
    """Compare detectors on labeled images, on frames with 1 to 40 faces for speed, and on a video.

    The run's folder gets `args.yaml`, `report.html` (self-contained), `report.json`, `report.txt`,
    `predictions/NAME.jsonl` in the form of `detect --save-json`, and the side-by-side video.

    Args:
        model: two or more detectors: `[PIPELINE:][MODEL][@DETECTOR]` as in `Contestant.parse`, or
            loaded ones, which keep their own confidence. The others are compared with the first.
        source: a video file for the side-by-side video. Without labeled images, only speed is
            measured.
        options: the options, see `CompareOptions`. `iou` and `imgsz` apply to `yolo` only.
        on_error: called with each image that cannot be read and the error; the image is left out.
            Default: log a warning.
        on_progress: called with what is counted ("images", "scores", "frames" or "rounds"), the
            number done, and the total.
        settings: fields of `CompareOptions` as keywords, such as `images`, `labels` and `rounds`.
            Average precision takes detections from a confidence of 0.001, whatever `conf` is; with
            two stages, faces from a score of 0.1.

    Raises:
        MaskyoloError: fewer than two detectors, one of them twice, or nothing to compare them on.
        DatasetError: no images, no labels, or labels that cannot be read.
        SourceError: the source is not a video, or cannot be read.
        WeightsError: a model cannot be loaded.
        OutputError: a result cannot be written.

    Example:
        >>> compare(["two-stage", "yolo"], "street.mp4").table()  # doctest: +SKIP
    """
    chosen = CompareOptions.merge(options, settings)
    contestants = _contestants(model)
    images, where = _find_images(chosen, source)
    video = None if source is None else _open_video(source)
    loadable = _settings_of(contestants, chosen, chosen.conf)
    detectors = _load(contestants, loadable)
    folder = new_run(chosen.project, chosen.name, chosen.exist_ok)
    _save_args(folder, chosen, source, detectors)

    def progress(what: str) -> Callable[[int, int | None], None]:
        return lambda done, total: on_progress(what, done, total) if on_progress else None

    evaluations: dict[str, Evaluation] = {}
    if images:
        unsure = _load(contestants, _settings_of(contestants, chosen, AP_FLOOR, FACE_FLOOR))
        predicted = _predict(images, unsure, folder, on_error, progress("images"))
        evaluations = _measure(predicted, chosen, where, progress("scores"))
    shown: dict[str, dict[str, float]] = {}
    faces: list[ImageArray] = []
    video_file = None
    if video:
        video_file = folder / f"{Path(video.name).stem}.mp4"
        shown, faces = _side_by_side(video, detectors, video_file, progress("frames"), on_error)
    if images:
        faces = _labeled_faces(images) or faces
    speed, memory = _costs(detectors, loadable, faces, chosen.rounds, progress("rounds"))
    result = Comparison(
        names=tuple(detectors),
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
    _write_reports(result, images, folder)
    return result


def _find_images(
    chosen: CompareOptions, source: Path | str | None
) -> tuple[list[LabeledImage], str]:
    """Return the labeled images and their place; none if there is only a video to compare on."""
    if any(place is not None for place in (chosen.data, chosen.images, chosen.labels)):
        return find_images(chosen)
    if source is None:
        raise MaskyoloError(
            "nothing to compare on",
            "give labeled images (--data, or --images and --labels), a video (--source), or both",
        )
    return [], ""


def _contestants(
    model: Sequence[str | Path | Detector] | Mapping[str, Detector],
) -> dict[str, Contestant | Detector]:
    """Return the detectors, loaded or to be loaded, by the name they are shown with."""
    named: dict[str, Contestant | Detector] = (
        {**model} if isinstance(model, Mapping) else _name(model)
    )
    if len(named) < 2:
        raise MaskyoloError(
            f"cannot compare {len(named)} model",
            "give two or more, for example --model two-stage --model maskyolo-n",
        )
    return named


def _name(models: Sequence[str | Path | Detector]) -> dict[str, Contestant | Detector]:
    """Name detectors: a model as it was given, without folders if that is unambiguous."""
    parsed = [Contestant.parse(str(one)) if isinstance(one, (str, Path)) else one for one in models]
    keys = [
        (one.pipeline, one.model, one.detector) if isinstance(one, Contestant) else id(one)
        for one in parsed
    ]
    titles = [
        re.sub(r"[^:@]*[/\\]", "", one.text) if isinstance(one, Contestant) else type(one).__name__
        for one in parsed
    ]
    named: dict[str, Contestant | Detector] = {}
    for place, one in enumerate(parsed):
        if keys.index(keys[place]) < place:
            raise MaskyoloError(
                f"cannot compare '{titles[place]}' with itself: it is given twice",
                "give two different models",
            )
        title = titles[place]
        if titles.count(title) > 1:
            title = one.text if isinstance(one, Contestant) else f"{title} {place + 1}"
        named[title] = one
    return named


def _settings_of(
    contestants: Mapping[str, Contestant | Detector],
    chosen: CompareOptions,
    conf: float,
    face_conf: float | None = None,
) -> dict[str, dict[str, Any]]:
    """Return the arguments of `load_detector` by name, for the detectors that are to be loaded."""
    to_load = {title: one for title, one in contestants.items() if isinstance(one, Contestant)}
    shared = {"device": chosen.device, "max_det": chosen.max_det, "trust": chosen.trust}
    one_pass = {**shared, "imgsz": chosen.imgsz, "iou": chosen.iou}
    mixed = any(one.pipeline == "yolo" for one in to_load.values())
    settings = {}
    for title, one in to_load.items():
        # only yolo uses size and overlap; if no detector does, `load_detector` rejects them
        own = shared if mixed and one.pipeline == "two-stage" else one_pass
        settings[title] = one.settings(conf, face_conf, own)
    return settings


def _load(
    contestants: Mapping[str, Contestant | Detector], settings: Mapping[str, dict[str, Any]]
) -> dict[str, Detector]:
    return {
        title: load_detector(**settings[title]) if isinstance(one, Contestant) else one
        for title, one in contestants.items()
    }


def _save_args(
    folder: Path,
    chosen: CompareOptions,
    source: Path | str | None,
    detectors: Mapping[str, Detector],
) -> None:
    own = {
        "model": list(detectors),
        "source": source,
        "split": str(chosen.split) if chosen.data is not None else None,
        "imgsz": {
            title: detector.imgsz
            for title, detector in detectors.items()
            if isinstance(detector, YoloDetector)
        },
    }
    save_args(folder, {**chosen.recorded(), **own})


#: The cases of each detector, how sharp the faces of each image are, and the unreadable images.
_Predicted = tuple[dict[str, list[Case]], list[Floats], tuple[str, ...]]


def _predict(
    images: Sequence[LabeledImage],
    detectors: Mapping[str, Detector],
    folder: Path,
    on_error: Callable[[str, MaskyoloError], None] | None,
    on_progress: Callable[[int, int | None], None],
) -> _Predicted:
    """Run the detectors and write their detections below the run's folder."""
    with output_errors(folder):
        (folder / "predictions").mkdir(exist_ok=True)
    files = {
        title: folder / "predictions" / f"{stem}.jsonl"
        for title, stem in zip(detectors, _file_names(list(detectors)), strict=True)
    }
    return predict(images, detectors, files, on_error, on_progress)


def _measure(
    predicted: _Predicted,
    chosen: CompareOptions,
    where: str,
    on_progress: Callable[[int, int | None], None],
) -> dict[str, Evaluation]:
    cases, sharpness, unreadable = predicted
    split = str(chosen.split) if chosen.data is not None else ""
    evaluations = {}
    for done, title in enumerate(cases, 1):
        found = measure(title, cases[title], sharpness, chosen.conf, chosen.seed, where, split)
        evaluations[title] = replace(found, unreadable=unreadable)
        on_progress(done, len(cases))
    return evaluations


def _costs(
    detectors: Mapping[str, Detector],
    loadable: Mapping[str, dict[str, Any]],
    faces: Sequence[ImageArray],
    rounds: int,
    on_progress: Callable[[int, int | None], None],
) -> tuple[dict[str, dict[int, Laps]], dict[str, float | None]]:
    """Measure speed, by detector and number of faces, and memory; nothing without rounds or faces.

    Memory is unknown for a detector that was given loaded, as it has no process of its own.
    """
    if not rounds or not faces:
        return {}, {}
    frames = {count: crowd_frame(faces, count) for count in COUNTS}
    speed = measure_speed(detectors, frames, rounds, on_progress)
    memory = {
        title: measure_memory(loadable[title], frames[10]) if title in loadable else None
        for title in detectors
    }
    return speed, memory


def _write_reports(result: Comparison, images: Sequence[LabeledImage], folder: Path) -> None:
    title = f"Comparison on {result.where}"
    write_atomic(folder / "report.txt", result.table())
    write_atomic(folder / "report.html", page(title, _sections(result, images)))
    write_atomic(folder / "report.json", json.dumps(result.json(), indent=2) + "\n")


def _open_video(source: Path | str) -> Any:
    sources = open_sources(source)
    if len(sources) > 1 or not isinstance(sources[0], VideoSource):
        raise SourceError(
            f"cannot compare on {display_name(source)}: not a video file",
            "for images give --images and --labels",
        )
    return sources[0]


def _differences(
    evaluations: Sequence[Evaluation],
) -> dict[str, tuple[float, tuple[float, float] | None]]:
    """Return each mAP50 minus the first's; both are of the same resamples of the images."""
    found = {}
    for other in evaluations[1:]:
        first = evaluations[0]
        pairs = zip(other.resampled, first.resampled, strict=True)
        span = interval(None if a is None or b is None else a - b for a, b in pairs)
        found[other.name] = ((other.map50 or 0.0) - (first.map50 or 0.0), span)
    return found


def _labeled_faces(images: Sequence[LabeledImage]) -> list[ImageArray]:
    """Return the largest labeled faces, cropped with some of their surroundings."""
    sized: list[tuple[float, LabeledImage]] = []
    for labeled in images:
        sides = labeled.labels.boxes[:, 2:] - labeled.labels.boxes[:, :2]
        if len(sides):
            sized.append((float(sides.prod(axis=1).max()), labeled))
    faces: list[ImageArray] = []
    for _, labeled in sorted(sized, key=lambda pair: -pair[0]):
        try:
            image = read_image(labeled.path)
        except MaskyoloError:
            continue
        height, width = image.shape[:2]
        faces += cut_faces(image, labeled.in_pixels(width, height).labels.boxes.tolist())
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
    """Write what each detector finds, side by side.

    Returns:
        Median milliseconds ("ms") and mean number of faces ("faces") per frame, by detector; the
        largest faces, cropped from the frames.
    """
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
                        run(frame.image)  # the first run compiles the network
                panels = []
                for name, run in runs.items():
                    detections, lap, _ = run(frame.image)
                    times[name].append(lap)
                    counts[name] += len(detections)
                    drawn = draw_detections(frame.image, detections)
                    panels.append(_panel(drawn, f"{name}  {lap:.0f} ms", len(detectors)))
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
    """Return a frame, scaled down to its share of the video's width, under a bar with its title."""
    scale = min(VIDEO_WIDTH / panels / image.shape[1], 1)
    width, height = max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1)
    panel = np.full((height + 28, width, 3), 32, np.uint8)
    cv2.resize(image, (width, height), dst=panel[28:], interpolation=cv2.INTER_AREA)
    (text_width, _), _ = cv2.getTextSize(title, cv2.FONT_HERSHEY_SIMPLEX, 0.55, 1)
    size = min(0.55, 0.55 * (width - 12) / max(text_width, 1))
    cv2.putText(
        panel, title, (6, 19), cv2.FONT_HERSHEY_SIMPLEX, size, (255, 255, 255), 1, cv2.LINE_AA
    )
    return panel


def _file_names(titles: Sequence[str]) -> list[str]:
    """Return a file name for each detector, unique and legal on every file system."""
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
    """Return a detector's number of errors in an image: missed, wrong class, or nothing there."""
    counts, _ = confusion(case, conf, len(CLASS_NAMES))
    return int(counts.sum() - np.trace(counts))


def _worst(evaluations: Sequence[Evaluation]) -> list[tuple[int, list[int]]]:
    """Return the images in which the detectors differ most, with the number of errors of each.

    For each detector in turn, these are the images in which it does best against the others.
    """
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


def _sections(result: Comparison, images: Sequence[LabeledImage]) -> list[str]:
    """Return the sections of the report's page."""
    sections = [
        "<h2>Summary</h2>",
        "".join(f"<p>{escape(line)}</p>" for line in (*result.in_words(), *result.verdicts)),
        _overview(result),
    ]
    evaluations = list(result.evaluations.values())
    if evaluations:
        sections += [_scores_note(evaluations[0]), *scores_sections(evaluations)]
    if result.speed:
        sections += _speed_sections(result)
    if result.video:
        rows = [
            [name, f"{row['ms']:.1f}", f"{row['faces']:.1f}"] for name, row in result.video.items()
        ]
        head = ["", "median ms per frame", "faces per frame"]
        sections.append("<h2>On the video</h2>" + table(head, rows))
        if result.video_file:
            file = escape(result.video_file.name)
            sections.append(f'<p class="note">Side by side: {file}, in the same folder.</p>')
    if evaluations:
        sections.append(_disagreements(evaluations, images))
    return sections


def _scores_note(first: Evaluation) -> str:
    """Return how many images the scores are of, and how they are defined."""
    report = first.report
    images = counted(report.images, "image")
    faces = counted(first.face.support, "labeled face")
    ignored = counted(first.ignored, "box", "boxes")
    unreadable = counted(len(first.unreadable), "unreadable image")
    return (
        f'<p class="note">{images}, {faces}; not counted: {ignored} of other classes, '
        f"{unreadable}. A detection is right if it overlaps a labeled box of its class by an IoU "
        f"of {report.iou:g} or more; a face that is not found is an error, whichever stage missed "
        "it. Average precision is COCO's (101 points), from detections with a confidence of "
        f"{AP_FLOOR:g} and above; with two stages, from faces with a score of {FACE_FLOOR:g} and "
        "above. In brackets: 95 % intervals over the images (1,000 resamples, the same for all)."
        "</p>"
    )


@dataclass(frozen=True)
class _Column:
    """A column of the overview: a cell per detector, and its rank, which is best if highest."""

    title: str
    cells: Sequence[str]
    ranks: Sequence[float | None]

    @property
    def best(self) -> int:
        """The row of the best cell."""
        return int(np.argmax([-np.inf if rank is None else rank for rank in self.ranks]))


def _overview(result: Comparison) -> str:
    columns = [*_score_columns(list(result.evaluations.values())), *_cost_columns(result)]
    rows = [
        [name, *(column.cells[place] for column in columns)]
        for place, name in enumerate(result.names)
    ]
    best = {place: column.best for place, column in enumerate(columns, 1)}
    return table(["", *(column.title for column in columns)], rows, best)


def _score_columns(evaluations: Sequence[Evaluation]) -> list[_Column]:
    if not evaluations:
        return []

    def column(title: str, values: Sequence[float | None]) -> _Column:
        return _Column(title, [number(value) for value in values], values)

    spans = [one.intervals["mean"]["map50"] for one in evaluations]
    with_spans = [
        number(one.map50) + (f"\n({span[0]:.3f} to {span[1]:.3f})" if span else "")
        for one, span in zip(evaluations, spans, strict=True)
    ]
    alarms = [one.false_alarms for one in evaluations]
    return [
        _Column("mAP50", with_spans, [one.map50 for one in evaluations]),
        column("mAP50-95", [one.map50_95 for one in evaluations]),
        *(
            column(f"AP50 {name}", [one.report.classes[name].map50 for one in evaluations])
            for name in CLASS_NAMES
        ),
        column("mean F1", [one.report.macro().f1 for one in evaluations]),
        _Column(
            "false alarms per image",
            [f"{value:.2f}" for value in alarms],
            [-value for value in alarms],
        ),
    ]


def _cost_columns(result: Comparison) -> list[_Column]:
    columns = []
    for count in (1, 10, 40) if result.speed else ():
        laps = [result.speed[name][count].median for name in result.names]
        cells = [f"{lap:.1f}" for lap in laps]
        columns.append(_Column(f"ms, {counted(count, 'face')}", cells, [-lap for lap in laps]))
    if any(result.memory.values()):
        peaks = [result.memory.get(name) for name in result.names]
        cells = [number(peak, 0) for peak in peaks]
        ranks = [None if peak is None else -peak for peak in peaks]
        columns.append(_Column("peak MB", cells, ranks))
    return columns


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
    head = ["faces: detector", "median ms", "middle half", "stages (medians)", "faces found"]
    title, x_title = "milliseconds per frame", "faces in the frame"
    rounds = len(next(iter(next(iter(result.speed.values())).values())).whole)
    note = (
        f"Frames of {FRAME[0]}x{FRAME[1]} pixels, composed of faces from these images, at the "
        f"chosen confidence, without decoding. Medians of {counted(rounds, 'round')}; in each, all "
        "detectors take turns. Only faces that the first stage finds reach the second. The times "
        "are of this machine; ratios carry over to others better than milliseconds. Memory is the "
        "peak of a separate process that only loads the detector and runs it on the frame with 10 "
        "faces."
    )
    return [
        "<h2>Speed</h2>",
        "".join(f"<p>{escape(line)}</p>" for line in result.verdicts),
        legend(result.names),
        line_chart(lines, title, x_title, "", max(COUNTS), top * 1.05, dots=True),
        table(head, rows),
        f'<p class="note">{note}</p>',
    ]


def _disagreements(evaluations: Sequence[Evaluation], images: Sequence[LabeledImage]) -> str:
    """Return the images in which the detectors differ most, with the detections of each drawn."""
    import supervision as sv

    readable = [image for image in images if str(image.path) not in evaluations[0].unreadable]
    conf = evaluations[0].report.confidence
    parts = []
    for place, errors in _worst(evaluations):
        image = read_image(readable[place].path)
        figures = []
        for found, count in zip(evaluations, errors, strict=True):
            case = found.cases[place]
            confident = case.confidence >= conf
            class_ids = case.found_ids[confident]
            detections = sv.Detections(
                xyxy=case.found[confident].astype(np.float32),
                confidence=case.confidence[confident].astype(np.float32),
                class_id=class_ids,
                data={"class_name": np.array(CLASS_NAMES)[class_ids]},
            )
            caption = f"{found.name}: {counted(count, 'error')}"
            figures.append(embedded(draw_detections(image, detections), caption))
        faces = counted(len(evaluations[0].cases[place].boxes), "labeled face")
        parts.append(
            f"<h3>{escape(readable[place].path.name)}, {faces}</h3>"
            f'<div class="row">{"".join(figures)}</div>'
        )
    note = (
        '<p class="note">The images in which each detector does best against the others, by '
        "number of errors.</p>"
    )
    title = "<h2>Where they differ most</h2>"
    return title + (note + "".join(parts) if parts else "<p>Nowhere.</p>")
