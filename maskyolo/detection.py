"""Detect on any source and write results as they come: the library of `maskyolo detect`."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from maskyolo.alerts import Alerts, display_command, display_host
from maskyolo.backends import usable_cpus
from maskyolo.blur import BLUR_CONF, Blur
from maskyolo.counting import Counting, EventFile
from maskyolo.errors import MaskyoloError, SourceError, output_errors
from maskyolo.images import ImageArray
from maskyolo.interrupts import uninterrupted
from maskyolo.pipeline import Ended, Found, Interrupted, results
from maskyolo.runs import new_run, save_args
from maskyolo.sinks import Crops, Drawings, JsonLines, LabelFiles, Quit, Result, Sink, Sinks, Window
from maskyolo.slicing import SlicedDetector
from maskyolo.sources import Frame, Picture, Source, Video, display_name, open_sources
from maskyolo.tracking import LOW_CONF, Tracking
from maskyolo.two_stage import TwoStageDetector
from maskyolo.yolo import DEFAULT_MODELS, FACE_CONF, YoloDetector, load_detector

if TYPE_CHECKING:
    import supervision as sv

__all__ = ["Detector", "Summary", "detect"]


class Detector(Protocol):
    """Finds faces in a picture, BGR uint8 (H, W, 3), and says of each whether it wears a mask."""

    def __call__(self, image: ImageArray) -> sv.Detections:
        """Return `xyxy` pixels, `confidence`, `class_id` and `data["class_name"]`."""
        ...


#: Most faces of a picture that are made unrecognisable, however few are reported.
HIDDEN = 10_000

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
        network: what computes the network where and in which precision, and why, in a line; empty with two stages.
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
    imgsz: int = 640,
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
        imgsz: longer side in pixels that pictures are scaled to.
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
    if vid_stride < 1:
        raise MaskyoloError(f"cannot take every {vid_stride}-th frame; give a --vid-stride of 1 or more")
    if stats_only and (save or save_crop):
        raise MaskyoloError("cannot save pictures with --stats-only, which writes none; leave out --save-crop, or --stats-only")
    if (alert_cmd is not None or alert_url is not None) and alert_after is None:
        raise MaskyoloError("cannot tell when to alert; give the seconds without a mask with --alert-after")
    if events is not None:
        EventFile.check(Path(events))
        if save_json is not None and Path(events).absolute() == Path(save_json).absolute():
            raise MaskyoloError(f"cannot write both --events and --save-json to {events}; give two files")
    track = track or any(value is not None for value in (zone, line, events, alert_after))
    counting = Counting(zone, line, alert_after) if track or stats_only else None
    alerts = (
        Alerts(alert_cmd, alert_url, lambda text: (on_error or _log)("alert", MaskyoloError(text))) if alert_after is not None else None
    )
    model = DEFAULT_MODELS.get(pipeline, "") if model is None else model
    settings: dict[str, Any] = {
        "source": display_name(source),
        "model": model if isinstance(model, (str, Path)) else type(model).__name__,
        "conf": conf,
        "iou": iou,
        "imgsz": imgsz,
        "device": device,
        "vid_stride": vid_stride,
        "reconnect": reconnect,
        "max_det": max_det,
        "slice": slice_size,
        "pipeline": pipeline,
        "detector": detector,
        "face": face,
        "face_conf": face_conf,
        "backend": backend,
        "precision": precision,
        "track": track,
        "zone": zone,
        "line": line,
        "events": events,
        "alert_after": alert_after,
        "alert_cmd": None if alert_cmd is None else display_command(alert_cmd),
        "alert_url": None if alert_url is None else display_host(alert_url),
        "blur": blur,
        "stats_only": stats_only,
        "save": save,
        "save_json": save_json,
        "save_txt": save_txt,
        "save_conf": save_conf,
        "save_crop": save_crop,
        "show": show,
    }
    sources = open_sources(source)
    if track and all(isinstance(source, Picture) for source in sources):
        raise MaskyoloError(
            f"cannot track in still pictures ({display_name(source)}); give a video, camera or stream, or leave out --track"
        )
    least = min([conf, *([LOW_CONF] if track else []), *([BLUR_CONF] if blur else [])])
    streams = _streams(sources) if slice_size is None else usable_cpus()
    most = HIDDEN if blur else max_det
    least_face = min(BLUR_CONF, FACE_CONF if face_conf is None else face_conf) if blur and pipeline == "two-stage" else face_conf
    loaded: Detector = (
        load_detector(model, device, imgsz, least, iou, most, pipeline, detector, face, least_face, streams, backend, precision, trust)
        if isinstance(model, (str, Path))
        else model
    )
    if blur and pipeline == "two-stage" and isinstance(loaded, TwoStageDetector):
        loaded.tell_scores = True
    network = loaded.backend.description if isinstance(loaded, YoloDetector) else ""
    if slice_size is not None:
        loaded = SlicedDetector(loaded, slice_size)
    window = Window() if show else None
    summary = Summary() if summary is None else summary
    summary.people = counting if track else None
    summary.network = network
    steps: list[Step] = [Blur(), _faces_from(FACE_CONF if face_conf is None else face_conf)] if blur else []
    if track or blur:
        steps.append(Tracking(conf) if track else _at_least(conf))
    if blur or slice_size is not None:
        steps.append(_at_most(max_det))

    def sinks() -> Iterator[Sink]:
        if save or save_txt or save_crop or stats_only:
            summary.folder = new_run(project, name, exist_ok)
            save_args(summary.folder, settings)
        if alerts:
            yield alerts
        if events is not None:
            file = EventFile(Path(events))
            yield file
        if counting:  # closed before those it tells
            counting.listeners = [*([alerts] if alerts else []), *([file] if events is not None else [])]
            counting.path = summary.folder / "counts.json" if summary.folder else None
            yield counting
        if summary.folder:
            if save_txt:
                yield LabelFiles(_folder(summary.folder / "labels"), save_conf)
            if save_crop:
                yield Crops(_folder(summary.folder / "crops"))
            if save:
                yield Drawings(summary.folder)
        if save_json is not None:
            yield JsonLines(Path(save_json))

    overlay = counting.draw if counting else None
    return _run(
        sources,
        loaded,
        vid_stride,
        reconnect,
        steps,
        Sinks(sinks),
        window,
        overlay,
        on_error or _log,
        summary,
        record=save_json is not None,
    )


def _run(
    sources: list[Source],
    detector: Detector,
    vid_stride: int,
    reconnect: float,
    steps: list[Step],
    sinks: Sinks,
    window: Window | None,
    overlay: Callable[[ImageArray], None] | None,
    on_error: Callable[[str, MaskyoloError], None],
    summary: Summary,
    record: bool,
) -> Generator[tuple[ImageArray, sv.Detections], None, None]:
    if all(isinstance(source, Picture) for source in sources):
        summary.total = len(sources)

    def drop(frames: int) -> None:
        summary.dropped += frames

    with ExitStack() as stack:
        stack.enter_context(suppress(Quit))
        stack.enter_context(closing(sinks))
        if window:
            stack.enter_context(closing(window))
        idle = window.idle if window else lambda: None
        for event in stack.enter_context(closing(results(sources, detector, vid_stride, reconnect, drop, idle))):
            source = event.source
            if isinstance(event, Found):
                frame, detections = event.frame, event.detections
                for step in steps:
                    frame, detections = step(frame, detections)
                if len(sources) == 1:
                    summary.total = frame.total
                height, width = frame.image.shape[:2]
                detections.metadata |= {
                    "source": frame.source,
                    "frame": frame.index,
                    "time": frame.time,
                    "width": width,
                    "height": height,
                }
                result = Result(frame, detections, overlay)
                with uninterrupted():
                    sinks.write(result)
                    summary.frames += 1
                    summary.counts.update(map(str, detections.data["class_name"]))
                if window:
                    window.write(result)
                yield frame.image, detections
            elif isinstance(event, Interrupted):
                summary.interruptions += 1
                on_error(source.name, event.error)
            elif isinstance(event, Ended):
                sinks.finish()
            else:
                summary.errors.append((source.name, str(event.error)))
                if len(sources) == 1 and not event.index and not record:  # nothing to read: leave nothing behind
                    raise event.error
                sinks.fail(source.name, event.index, str(event.error))
                if len(sources) == 1:
                    raise event.error
                on_error(source.name, event.error)
                sinks.finish()
    if not summary.frames:
        raise SourceError(f"none of the {len(sources)} files can be read; the first: {summary.errors[0][1]}")


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
    many = len(sources) > 1 or isinstance(sources[0], Video)
    return usable_cpus() if many and all(isinstance(source, (Picture, Video)) for source in sources) else 1


def _folder(path: Path) -> Path:
    with output_errors(path):
        path.mkdir(exist_ok=True)
    return path


def _log(source: str, error: MaskyoloError) -> None:
    del source
    logging.getLogger("maskyolo").warning("%s", error)
