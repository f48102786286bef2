"""Detect on any source and write results as they come: the library of `maskyolo detect`."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from maskyolo.alerts import Alerts, display_command, display_host
from maskyolo.blur import BLUR_CONF, Blur
from maskyolo.core.detector import Detector
from maskyolo.core.parallel import usable_cpus
from maskyolo.counting import Counting, EventFile
from maskyolo.errors import MaskyoloError, SourceError, output_errors
from maskyolo.images import ImageArray
from maskyolo.interrupts import uninterrupted
from maskyolo.pipeline import Detected, Ended, Failed, Interrupted, results
from maskyolo.runs import new_run, save_args
from maskyolo.sinks import Crops, Drawings, JsonLines, LabelFiles, Quit, Result, Sink, Sinks, Window
from maskyolo.slicing import SlicedDetector
from maskyolo.sources import Frame, ImageSource, Source, VideoSource, display_name, open_sources
from maskyolo.tracking import LOW_CONF, Tracking
from maskyolo.two_stage import TwoStageDetector
from maskyolo.yolo import DEFAULT_MODELS, FACE_CONF, YoloDetector, load_detector

if TYPE_CHECKING:
    import supervision as sv

__all__ = ["Summary", "detect"]


#: Most faces of a picture that are made unrecognisable, however few are reported.
HIDDEN = 10_000

#: Arguments of `detect` that `args.yaml` does not have.
UNRECORDED = frozenset({"trust", "project", "name", "exist_ok", "on_error", "summary"})

#: What is done with a frame and its detections before they are written.
Step = Callable[[Frame, "sv.Detections"], tuple[Frame, "sv.Detections"]]


@dataclass
class Summary:
    """What a run of `detect` has done so far.

    Attributes:
        folder: the run's folder, or None if nothing is written into one.
        frames: frames and pictures looked at.
        dropped: frames of cameras and streams passed over, as newer ones were there.
        interruptions: how often a camera or stream broke off and was tried again.
        total: how many there will be, where that is known.
        counts: detections of each class name, over all frames.
        people: the people who were tracked, if any were to be.
        network: what computes the network, or the two stages, where and in which precision, in a line; empty with one that was loaded.
        errors: what could not be read, as (source, message).
    """

    folder: Path | None = None
    frames: int = 0
    dropped: int = 0
    interruptions: int = 0
    total: int | None = None
    counts: Counter[str] = field(default_factory=Counter)
    people: Counting | None = None
    network: str = ""
    errors: list[tuple[str, str]] = field(default_factory=list)


def detect(
    source: str | int | Path,
    model: str | Path | Detector | None = None,
    conf: float = 0.25,
    iou: float = 0.5,
    imgsz: int | None = None,
    device: str = "auto",
    vid_stride: int = 1,
    reconnect: float = 60.0,
    max_det: int = 300,
    slice_size: int | None = None,
    pipeline: str = "yolo",
    detector: str | None = None,
    face: Path | str | None = None,
    face_conf: float | None = None,
    backend: str = "auto",
    precision: str = "auto",
    trust: bool = False,
    track: bool = False,
    zone: str | None = None,
    line: str | None = None,
    events: Path | str | None = None,
    alert_after: float | None = None,
    alert_cmd: str | None = None,
    alert_url: str | None = None,
    blur: bool = False,
    stats_only: bool = False,
    save: bool = False,
    save_json: Path | str | None = None,
    save_txt: bool = False,
    save_conf: bool = False,
    save_crop: bool = False,
    show: bool = False,
    project: Path | str = "runs/detect",
    name: str = "predict",
    exist_ok: bool = False,
    on_error: Callable[[str, MaskyoloError], None] | None = None,
    summary: Summary | None = None,
) -> Generator[tuple[ImageArray, sv.Detections], None, None]:
    """Detect on every frame of a source, one forward pass each, and write what is asked for as it goes.

    The results are complete and closed when the iterator ends, is closed, or is left by an error or Ctrl-C.

    Args:
        source: picture, video, folder, glob, list (`.txt`), camera number or address; see `sources.open_sources`.
        model: a model's name or file, by default the package's own, see `yolo.load_detector`; or a detector that is loaded.
        conf: least confidence of a detection.
        iou: overlap above which the less confident of two boxes is dropped.
        imgsz: longer side in pixels that pictures are scaled to, by default the one that the weights say.
        device: auto, cpu, 0 (first GPU, with a `.pt` file), mps.
        vid_stride: look at every n-th frame of a video or stream.
        reconnect: seconds for which a camera or stream that breaks off is tried again; 0 ends the run there, infinity never.
        max_det: most detections in a picture.
        slice_size: look besides at overlapping tiles of this many pixels, for far faces in very large pictures.
        pipeline: `yolo`, one forward pass; or `two-stage`, a face detector and a classifier of each face.
        detector: face detector of `two-stage`; see `yolo.load_detector`.
        face: its weights, or the folder that has them.
        face_conf: least score of a face in `two-stage`.
        backend: what runs the network: auto, openvino, onnxruntime or torch.
        precision: what it computes in: fp32, bf16, or auto, which is bf16 where the CPU has it in hardware.
        trust: open a `.pt` file of unknown origin; see `trust.check_trust`.
        track: follow the faces of videos and streams, and count people; any of the next six arguments asks for it as well.
        zone: count only the people in this polygon, `x1,y1,x2,y2,x3,y3,…`; see `counting.Counting`.
        line: count who crosses it, `x1,y1,x2,y2`.
        events: write what happens to people to this `.csv` or `.jsonl` file; see `counting.Event`.
        alert_after: seconds that a person is seen without a mask before there is an alert.
        alert_cmd: program that is run at each alert, with the event as JSON on its standard input; see `alerts.Alerts`.
        alert_url: address that the event is posted to at each alert.
        blur: make every face unrecognisable in all that is written, shown and yielded; see `blur.Blur`.
        stats_only: write no pictures at all, but `counts.json` into the run's folder.
        save: write drawn pictures and videos into the run's folder.
        save_json: write one line of JSON per frame to this file; see `sinks.JsonLines`.
        save_txt: write YOLO label files into `labels/` of the run's folder.
        save_conf: add the confidence to these.
        save_crop: write each detection as a picture into `crops/` of the run's folder.
        show: show the frames in a window; `q` quits.
        project: folder the run's folder is made in, when the first frame has been read and something is to be written there.
        name: name of the run's folder; a number is added if it exists.
        exist_ok: write into an existing folder of that name instead.
        on_error: told of each bad file of a batch, and of a video that broke off; without it they are logged as warnings.
        summary: counts along.

    Yields:
        The frame, BGR uint8 (H, W, 3), as read (with `blur` its faces are hidden); its detections, whose `metadata` holds
        source, frame, time, width, height, and whose `tracker_id` is the track, or -1, in what is tracked.

    Raises:
        SourceError: there is nothing to read, or of all there is nothing can be read, or the only source broke off (what was
            read before has been yielded and written).
        ImageError: the only source is a picture that cannot be decoded.
        WeightsError: the model cannot be loaded; see `yolo.load_detector`.
        OutputError: a result cannot be written or shown.
        MaskyoloError: settings that are out of their range or contradict each other.
    """
    track = track or any(value is not None for value in (zone, line, events, alert_after))
    model = DEFAULT_MODELS.get(pipeline, "") if model is None else model
    settings = _settings(locals())
    _check(settings)
    tell = on_error or _log
    counting = Counting(zone, line, alert_after) if track or stats_only else None
    alerts = (
        None
        if alert_after is None
        else Alerts(alert_cmd, alert_url, lambda text: tell("alert", MaskyoloError(text)))
    )
    sources = open_sources(source)
    if track and all(isinstance(source, ImageSource) for source in sources):
        raise MaskyoloError(
            f"cannot track in still pictures ({display_name(source)}); give a video, camera or stream, or leave out --track"
        )

    # What tracks and what hides faces is to see more than is reported; the steps drop the rest.
    wanted_face = FACE_CONF if face_conf is None else face_conf
    least = min([conf, *([LOW_CONF] if track else []), *([BLUR_CONF] if blur else [])])
    least_face = min(BLUR_CONF, wanted_face) if blur and pipeline == "two-stage" else face_conf
    most = HIDDEN if blur else max_det
    streams = _streams(sources) if slice_size is None else usable_cpus()
    loaded: Detector = (
        load_detector(
            model,
            device=device,
            imgsz=imgsz,
            conf=least,
            iou=iou,
            max_det=most,
            pipeline=pipeline,
            detector=detector,
            face=face,
            face_conf=least_face,
            streams=streams,
            backend=backend,
            precision=precision,
            trust=trust,
        )
        if isinstance(model, (str, Path))
        else model
    )
    if blur and pipeline == "two-stage" and isinstance(loaded, TwoStageDetector):
        loaded.tell_scores = True
    network = loaded.description if isinstance(loaded, (YoloDetector, TwoStageDetector)) else ""
    if isinstance(loaded, YoloDetector):
        settings["imgsz"] = loaded.imgsz
    if slice_size is not None:
        loaded = SlicedDetector(loaded, slice_size)
    steps: list[Step] = [Blur(), _faces_from(wanted_face)] if blur else []
    if track or blur:
        steps.append(Tracking(conf) if track else _at_least(conf))
    if blur or slice_size is not None:
        steps.append(_at_most(max_det))

    window = Window() if show else None
    summary = Summary() if summary is None else summary
    summary.people, summary.network = counting if track else None, network

    def sinks() -> Iterator[Sink]:
        folder = None
        if save or save_txt or save_crop or stats_only:
            folder = summary.folder = new_run(project, name, exist_ok)
            save_args(folder, settings)
        if alerts:
            yield alerts
        event_file = None if events is None else EventFile(Path(events))
        if event_file:
            yield event_file
        if counting:  # closed before those it tells
            counting.listeners = [listener for listener in (alerts, event_file) if listener]
            counting.path = folder / "counts.json" if folder else None
            yield counting
        if folder and save_txt:
            yield LabelFiles(_folder(folder / "labels"), save_conf)
        if folder and save_crop:
            yield Crops(_folder(folder / "crops"))
        if folder and save:
            yield Drawings(folder)
        if save_json is not None:
            yield JsonLines(Path(save_json))

    overlay = counting.draw_overlay if counting else None
    run = _Run(
        sources,
        loaded,
        steps,
        Sinks(sinks),
        window,
        overlay,
        tell,
        summary,
        record=save_json is not None,
    )
    return run.results(vid_stride, reconnect)


@dataclass
class _Run:
    """A run that is put together: what is read, what is done with it, and where it goes.

    Attributes:
        record: a source of which nothing can be read is to be noted by the sinks, also if it is the only one.
    """

    sources: list[Source]
    detector: Detector
    steps: list[Step]
    sinks: Sinks
    window: Window | None
    overlay: Callable[[ImageArray], None] | None
    tell: Callable[[str, MaskyoloError], None]
    summary: Summary
    record: bool

    def results(
        self, vid_stride: int, reconnect: float
    ) -> Generator[tuple[ImageArray, sv.Detections], None, None]:
        """Yield each frame and what is in it, once it is written; everything is closed when this ends, however it does."""
        if all(isinstance(source, ImageSource) for source in self.sources):
            self.summary.total = len(self.sources)
        idle = self.window.idle if self.window else lambda: None
        with ExitStack() as stack:
            stack.enter_context(suppress(Quit))
            stack.enter_context(closing(self.sinks))
            if self.window:
                stack.enter_context(closing(self.window))
            events = stack.enter_context(
                closing(
                    results(self.sources, self.detector, vid_stride, reconnect, self._dropped, idle)
                )
            )
            for event in events:
                if isinstance(event, Detected):
                    result = self._result(event)
                    self._write(result)
                    yield result.frame.image, result.detections
                elif isinstance(event, Interrupted):
                    self.summary.interruptions += 1
                    self.tell(event.source.name, event.error)
                elif isinstance(event, Ended):
                    self.sinks.finish()
                else:
                    self._failed(event)
        if not self.summary.frames:
            raise SourceError(
                f"none of the {len(self.sources)} files can be read; the first: {self.summary.errors[0][1]}"
            )

    def _result(self, event: Detected) -> Result:
        frame, detections = event.frame, event.detections
        for step in self.steps:
            frame, detections = step(frame, detections)
        height, width = frame.image.shape[:2]
        detections.metadata |= {
            "source": frame.source,
            "frame": frame.index,
            "time": frame.time,
            "width": width,
            "height": height,
        }
        return Result(frame, detections, self.overlay)

    def _write(self, result: Result) -> None:
        with uninterrupted():
            self.sinks.write(result)
            self.summary.frames += 1
            self.summary.counts.update(map(str, result.detections.data["class_name"]))
        if len(self.sources) == 1:
            self.summary.total = result.frame.total
        if self.window:
            self.window.write(result)

    def _failed(self, event: Failed) -> None:
        name, alone = event.source.name, len(self.sources) == 1
        self.summary.errors.append((name, str(event.error)))
        if (
            event.index or self.record or not alone
        ):  # else there is nothing to write, and nothing is left behind
            self.sinks.fail(name, event.index, str(event.error))
        if alone:
            raise event.error
        self.tell(name, event.error)
        self.sinks.finish()

    def _dropped(self, frames: int) -> None:
        self.summary.dropped += frames


def _settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `detect` as `args.yaml` has them: without what changes no result, and without passwords."""
    settings = {
        "slice" if key == "slice_size" else key: value
        for key, value in given.items()
        if key not in UNRECORDED
    }
    settings["source"] = display_name(settings["source"])
    if not isinstance(settings["model"], (str, Path)):
        settings["model"] = type(settings["model"]).__name__
    for key, display in {"alert_cmd": display_command, "alert_url": display_host}.items():
        settings[key] = None if settings[key] is None else display(settings[key])
    return settings


def _check(settings: Mapping[str, Any]) -> None:
    """Raise a MaskyoloError if settings are out of their range or contradict each other."""
    if settings["vid_stride"] < 1:
        raise MaskyoloError(
            f"cannot take every {settings['vid_stride']}-th frame; give a --vid-stride of 1 or more"
        )
    if settings["stats_only"] and (settings["save"] or settings["save_crop"]):
        raise MaskyoloError(
            "cannot save pictures with --stats-only, which writes none; leave out --save-crop, or --stats-only"
        )
    if settings["alert_after"] is None and (
        settings["alert_cmd"] is not None or settings["alert_url"] is not None
    ):
        raise MaskyoloError(
            "cannot tell when to alert; give the seconds without a mask with --alert-after"
        )
    events, save_json = settings["events"], settings["save_json"]
    if events is not None:
        EventFile.check(Path(events))
        if save_json is not None and Path(events).absolute() == Path(save_json).absolute():
            raise MaskyoloError(
                f"cannot write both --events and --save-json to {events}; give two files"
            )


def _at_least(conf: float) -> Step:
    """Return a step that drops the detections which only the steps before it were to see."""

    def drop(frame: Frame, detections: sv.Detections) -> tuple[Frame, sv.Detections]:
        found: Any = detections
        return frame, found[found.confidence > conf]

    return drop


def _faces_from(face_conf: float) -> Step:
    """Return a step that drops what two stages found on faces of a lower score, which only the steps before it were to see."""

    def drop(frame: Frame, detections: sv.Detections) -> tuple[Frame, sv.Detections]:
        found: Any = detections
        if "face_score" in found.data:
            found = found[found.data["face_score"] >= face_conf]
            del found.data["face_score"]
        return frame, found

    return drop


def _at_most(max_det: int) -> Step:
    """Return a step that drops all but the most confident detections."""

    def drop(frame: Frame, detections: sv.Detections) -> tuple[Frame, sv.Detections]:
        found: Any = detections
        return frame, found[np.sort(np.argsort(-found.confidence, kind="stable")[:max_det])]

    return drop


def _streams(sources: list[Source]) -> int:
    """Return how many frames to infer at once: one a core for files, one alone where the answer to each is waited for."""
    many = len(sources) > 1 or isinstance(sources[0], VideoSource)
    return (
        usable_cpus()
        if many and all(isinstance(source, (ImageSource, VideoSource)) for source in sources)
        else 1
    )


def _folder(path: Path) -> Path:
    with output_errors(path):
        path.mkdir(exist_ok=True)
    return path


def _log(source: str, error: MaskyoloError) -> None:
    del source
    logging.getLogger("maskyolo").warning("%s", error)
