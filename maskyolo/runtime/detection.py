"""Detect in any source and write results as they come: the library of `maskyolo detect`."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from maskyolo.alerts import Alerts, display_command, display_host
from maskyolo.blur import BLUR_CONF, Blur
from maskyolo.core.choices import Pipeline
from maskyolo.core.detector import Detector
from maskyolo.core.options import takes_options
from maskyolo.core.parallel import usable_cpus
from maskyolo.counting import Counting, EventFile
from maskyolo.detectors.options import InferenceOptions
from maskyolo.errors import MaskyoloError, SourceError, output_errors
from maskyolo.images import ImageArray
from maskyolo.interrupts import uninterrupted
from maskyolo.pipeline import Detected, Ended, Failed, Interrupted, results
from maskyolo.runs import new_run, save_args
from maskyolo.runtime.options import DetectOptions
from maskyolo.sinks import Crops, Drawings, JsonLines, LabelFiles, Quit, Result, Sink, Sinks, Window
from maskyolo.slicing import SlicedDetector
from maskyolo.sources import Frame, ImageSource, Source, VideoSource, display_name, open_sources
from maskyolo.tracking import LOW_CONF, Tracking
from maskyolo.two_stage import TwoStageDetector
from maskyolo.yolo import DEFAULT_MODELS, FACE_CONF, YoloDetector, load_detector

if TYPE_CHECKING:
    import supervision as sv

__all__ = ["Summary", "detect"]

#: Maximum number of faces per image that are blurred, however few are reported.
HIDDEN = 10_000

#: Processes a frame and its detections before they are written.
Step = Callable[[Frame, "sv.Detections"], tuple[Frame, "sv.Detections"]]


@dataclass
class Summary:
    """What a run of `detect` has done so far.

    Attributes:
        folder: the run's folder, or None if nothing is written into one.
        frames: number of processed frames and images.
        dropped: frames of cameras and streams that were skipped because newer ones had arrived.
        interruptions: how often a camera or stream broke off and had to be reconnected.
        total: how many frames there will be, if known.
        counts: detections of each class name, over all frames.
        people: the counts of tracked people, if people are tracked.
        network: one line that names the runtime, device and precision of the network or of both
            stages; empty for a detector that was passed in loaded.
        errors: what could not be read, as (source, error).
    """

    folder: Path | None = None
    frames: int = 0
    dropped: int = 0
    interruptions: int = 0
    total: int | None = None
    counts: Counter[str] = field(default_factory=Counter)
    people: Counting | None = None
    network: str = ""
    errors: list[tuple[str, MaskyoloError]] = field(default_factory=list)


@takes_options(DetectOptions)
def detect(
    source: str | int | Path,
    model: str | Path | Detector | None = None,
    *,
    options: DetectOptions | None = None,
    on_error: Callable[[str, MaskyoloError], None] | None = None,
    summary: Summary | None = None,
    **settings: Any,
) -> Generator[tuple[ImageArray, sv.Detections], None, None]:
    """Detect in every frame of a source, with one forward pass each, and write results as it goes.

    All outputs are complete and closed when the iterator ends or is closed, or when an error or
    Ctrl-C ends it.

    Args:
        source: image, video, folder, glob, list (`.txt`), camera number or address; see
            `sources.open_sources`.
        model: name or file of a model, or a loaded detector. Default: the package's own model.
        options: all other settings; see `DetectOptions`.
        on_error: called with the source and the error for each bad file of a batch, and for a
            stream that broke off. Default: errors are logged as warnings.
        summary: is updated while the run goes on.
        settings: fields of `DetectOptions`; they override `options`.

    Yields:
        The frame as it was read (with `blur`, faces are hidden), BGR uint8 (H, W, 3), and its
        detections. Their `metadata` holds source, frame, time, width and height; their
        `tracker_id`, if people are tracked, is the track from 1 on, or -1.

    Raises:
        SourceError: there is nothing to read, no source can be read, or the only source broke
            off (everything read before has been yielded and written).
        ImageError: the only source is an image that cannot be decoded.
        WeightsError: the model cannot be loaded; see `yolo.load_detector`.
        OutputError: a result cannot be written or shown.
        MaskyoloError: options are out of range or contradict each other.

    Example:
        >>> for frame, detections in detect("street.mp4", conf=0.4, save_json="street.jsonl"):
        ...     print(len(detections))
    """
    chosen = DetectOptions.merge(options, settings)
    model = chosen.model if model is None else model
    model = DEFAULT_MODELS[chosen.pipeline] if model is None else model
    _check(chosen)
    report = on_error or _log
    counting = None
    if chosen.tracks or chosen.stats_only:
        counting = Counting(chosen.zone, chosen.line, chosen.alert_after)
    alerts = None
    if chosen.alert_after is not None:
        alerts = Alerts(chosen.alert_cmd, chosen.alert_url, partial(report, "alert"))
    sources = open_sources(source)
    if chosen.tracks and all(isinstance(source, ImageSource) for source in sources):
        raise MaskyoloError(
            f"cannot track in still images ({display_name(source)})",
            "use a video, camera or stream, or omit --track",
        )
    detector = _detector(model, chosen, sources)
    recorded = _recorded(chosen, source, model, detector)
    summary = Summary() if summary is None else summary
    summary.people = counting if chosen.tracks else None
    summary.network = (
        detector.description if isinstance(detector, (YoloDetector, TwoStageDetector)) else ""
    )
    if chosen.slice_size is not None:
        detector = SlicedDetector(detector, chosen.slice_size)
    run = _Run(
        sources,
        detector,
        _steps(chosen),
        Sinks(partial(_open_sinks, chosen, recorded, summary, counting, alerts)),
        Window() if chosen.show else None,
        counting.draw_overlay if counting else None,
        report,
        summary,
        record=chosen.save_json is not None,
    )
    return run.results(chosen.vid_stride, chosen.reconnect)


@dataclass
class _Run:
    """A run that is ready to start: its sources, its processing, and its outputs.

    Attributes:
        record: also let the sinks record that a source could not be read at all if it is the only
            one.
    """

    sources: list[Source]
    detector: Detector
    steps: list[Step]
    sinks: Sinks
    window: Window | None
    overlay: Callable[[ImageArray], None] | None
    report: Callable[[str, MaskyoloError], None]
    summary: Summary
    record: bool

    def results(
        self, vid_stride: int, reconnect: float
    ) -> Generator[tuple[ImageArray, sv.Detections], None, None]:
        """Yield each frame and its detections once they are written; close everything at the end.

        Everything is also closed if the generator is closed early or an error is raised.
        """
        if all(isinstance(source, ImageSource) for source in self.sources):
            self.summary.total = len(self.sources)
        idle = self.window.idle if self.window else lambda: None
        with ExitStack() as stack:
            stack.enter_context(suppress(Quit))
            stack.enter_context(closing(self.sinks))
            if self.window:
                stack.enter_context(closing(self.window))
            outcomes = stack.enter_context(
                closing(
                    results(self.sources, self.detector, vid_stride, reconnect, self._dropped, idle)
                )
            )
            for outcome in outcomes:
                if isinstance(outcome, Detected):
                    result = self._result(outcome)
                    self._write(result)
                    yield result.frame.image, result.detections
                elif isinstance(outcome, Interrupted):
                    self.summary.interruptions += 1
                    self.report(outcome.source.name, outcome.error)
                elif isinstance(outcome, Ended):
                    self.sinks.finish()
                else:
                    self._failed(outcome)
        if not self.summary.frames:
            first = self.summary.errors[0][1]
            raise SourceError(
                f"none of the {len(self.sources)} files can be read; the first: {first.problem}",
                first.remedy,
            )

    def _result(self, outcome: Detected) -> Result:
        frame, detections = outcome.frame, outcome.detections
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
        with uninterrupted():  # Ctrl-C must not leave a frame in some of the outputs only
            self.sinks.write(result)
            self.summary.frames += 1
            self.summary.counts.update(map(str, result.detections.data["class_name"]))
        if len(self.sources) == 1:
            self.summary.total = result.frame.total
        if self.window:
            self.window.write(result)

    def _failed(self, outcome: Failed) -> None:
        name, alone = outcome.source.name, len(self.sources) == 1
        self.summary.errors.append((name, outcome.error))
        # The only source, unreadable from the start, opens no sinks, so that no files are left.
        if outcome.index or self.record or not alone:
            self.sinks.fail(name, outcome.index, str(outcome.error))
        if alone:
            raise outcome.error
        self.report(name, outcome.error)
        self.sinks.finish()

    def _dropped(self, frames: int) -> None:
        self.summary.dropped += frames


def _check(options: DetectOptions) -> None:
    """Raise a MaskyoloError if options contradict each other."""
    if options.stats_only and (options.save or options.save_crop):
        raise MaskyoloError(
            "cannot save images with --stats-only, which saves none",
            "omit --save-crop or --stats-only",
        )
    if options.events is not None:
        events, save_json = Path(options.events), options.save_json
        EventFile.check(events)
        if save_json is not None and events.absolute() == Path(save_json).absolute():
            raise MaskyoloError(
                f"cannot write both --events and --save-json to {events}", "use two files"
            )


def _detector(
    model: str | Path | Detector, options: DetectOptions, sources: list[Source]
) -> Detector:
    """Return the detector that is given, or load it."""
    detector = _load(model, options, sources) if isinstance(model, (str, Path)) else model
    two_stage = options.pipeline is Pipeline.TWO_STAGE
    if options.blur and two_stage and isinstance(detector, TwoStageDetector):
        detector.report_scores = True  # for `_faces_from`
    return detector


def _load(model: str | Path, options: DetectOptions, sources: list[Source]) -> Detector:
    """Load a detector, with thresholds as low as the steps need; they drop the rest (`_steps`)."""
    conf, face_conf = options.conf, options.face_conf
    if options.tracks:
        conf = min(conf, LOW_CONF)
    if options.blur:
        conf = min(conf, BLUR_CONF)
        if options.pipeline is Pipeline.TWO_STAGE:
            face_conf = min(BLUR_CONF, _face_conf(options))
    inference = replace(
        options.part(InferenceOptions),
        conf=conf,
        face_conf=face_conf,
        max_det=HIDDEN if options.blur else options.max_det,
    )
    # One frame per core for files; one at a time where each result is waited for. Tiles of one
    # image are processed at the same time.
    slicing = options.slice_size is not None
    streams = usable_cpus() if slicing or _only_files(sources) else 1
    return load_detector(model, inference, streams=streams)


def _steps(options: DetectOptions) -> list[Step]:
    """Return what is done with each frame's detections, in order.

    Blurring and tracking need more detections than are reported; later steps drop those.
    """
    steps: list[Step] = []
    if options.blur:  # first, while detections of low confidence are still there
        steps += [Blur(), _faces_from(_face_conf(options))]
    if options.tracks:
        steps.append(Tracking(options.conf))
    elif options.blur:
        steps.append(_at_least(options.conf))
    if options.blur or options.slice_size is not None:
        steps.append(_at_most(options.max_det))
    return steps


def _open_sinks(
    options: DetectOptions,
    recorded: dict[str, Any],
    summary: Summary,
    counting: Counting | None,
    alerts: Alerts | None,
) -> Iterator[Sink]:
    """Make the run's folder, if anything is written into it, and open the outputs one by one."""
    folder = None
    if options.save or options.save_txt or options.save_crop or options.stats_only:
        folder = summary.folder = new_run(options.project, options.name, options.exist_ok)
        save_args(folder, recorded)
    if alerts:
        yield alerts
    event_file = None if options.events is None else EventFile(Path(options.events))
    if event_file:
        yield event_file
    if counting:  # after its listeners: sinks are closed in reverse, and closing it ends tracks
        counting.listeners = [listener for listener in (alerts, event_file) if listener]
        counting.path = folder / "counts.json" if folder else None
        yield counting
    if folder and options.save_txt:
        yield LabelFiles(_folder(folder / "labels"), options.save_conf)
    if folder and options.save_crop:
        yield Crops(_folder(folder / "crops"))
    if folder and options.save:
        yield Drawings(folder)
    if options.save_json is not None:
        yield JsonLines(Path(options.save_json))


def _recorded(
    options: DetectOptions,
    source: str | int | Path,
    model: str | Path | Detector,
    detector: Detector,
) -> dict[str, Any]:
    """Return what `args.yaml` records: the options in effect, without any passwords."""
    recorded: dict[str, Any] = {"source": display_name(source), **options.recorded()}
    recorded["slice"] = recorded.pop("slice_size")
    recorded["model"] = model if isinstance(model, (str, Path)) else type(model).__name__
    recorded["track"] = options.tracks
    if isinstance(detector, YoloDetector):
        recorded["imgsz"] = detector.imgsz
    if options.alert_cmd is not None:
        recorded["alert_cmd"] = display_command(options.alert_cmd)
    if options.alert_url is not None:
        recorded["alert_url"] = display_host(options.alert_url)
    return recorded


def _at_least(conf: float) -> Step:
    """Return a step that drops detections which only the steps before it need."""

    def drop(frame: Frame, detections: sv.Detections) -> tuple[Frame, sv.Detections]:
        found: Any = detections
        return frame, found[found.confidence > conf]

    return drop


def _faces_from(face_conf: float) -> Step:
    """Return a step that drops faces with a lower score, which only the steps before it need."""

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


def _face_conf(options: DetectOptions) -> float:
    return FACE_CONF if options.face_conf is None else options.face_conf


def _only_files(sources: list[Source]) -> bool:
    """Return whether all sources are files, and more than a single image."""
    many = len(sources) > 1 or isinstance(sources[0], VideoSource)
    return many and all(isinstance(source, (ImageSource, VideoSource)) for source in sources)


def _folder(path: Path) -> Path:
    with output_errors(path):
        path.mkdir(exist_ok=True)
    return path


def _log(source: str, error: MaskyoloError) -> None:
    del source
    logging.getLogger("maskyolo").warning("%s", error)
