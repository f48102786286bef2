"""Detects faces in any source and writes results as they come; used by `maskyolo detect`."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskyolo.core.choices import Pipeline
from maskyolo.core.classes import find_class
from maskyolo.core.detector import Detector, class_names_of
from maskyolo.core.files import part_of
from maskyolo.core.images import ImageArray
from maskyolo.core.item_errors import ERROR_LOG, ItemErrors
from maskyolo.core.options import takes_options
from maskyolo.core.parallel import usable_cpus
from maskyolo.core.repeating import PROVENANCE
from maskyolo.detectors.loading import (
    DEFAULT_MODELS,
    FACE_CONF,
    describe_detector,
    load_detector,
    model_file,
)
from maskyolo.detectors.options import InferenceOptions
from maskyolo.detectors.slicing import SlicedDetector
from maskyolo.detectors.two_stage import TwoStageDetector
from maskyolo.detectors.yolo import YoloDetector
from maskyolo.errors import MaskyoloError
from maskyolo.runtime.addresses import display_name, hide_addresses
from maskyolo.runtime.alerts import Alerts, display_command
from maskyolo.runtime.blur import BLUR_CONF, Blur
from maskyolo.runtime.counting import Counting
from maskyolo.runtime.delivery.choosing import recorded_targets, targets_of
from maskyolo.runtime.events import EventFile
from maskyolo.runtime.file_sources import ImageSource, VideoSource, reduced_photos
from maskyolo.runtime.filters import Step, drop_below, drop_weak_faces, keep_most_confident
from maskyolo.runtime.frames import Source
from maskyolo.runtime.json_lines import JsonLines
from maskyolo.runtime.named_cameras import GivenSource, NamedCamera, named_cameras, record_of
from maskyolo.runtime.options import DetectOptions
from maskyolo.runtime.provenance import describe_model, made_with, report_differences
from maskyolo.runtime.results import Sinks
from maskyolo.runtime.resuming import Progress, check_resumable, find_progress, settings_of
from maskyolo.runtime.run import Run, Summary, open_sinks, run_folder
from maskyolo.runtime.sources import are_cameras, are_live, as_video, open_sources
from maskyolo.runtime.time_of_day import Clock, parse_start
from maskyolo.runtime.tracking import LOW_CONF, Tracking
from maskyolo.runtime.window import Window

if TYPE_CHECKING:
    import supervision as sv

__all__ = ["detect", "prepare_detector"]

#: Maximum number of faces per image that are blurred, regardless of `max_det`.
HIDDEN = 10_000


@takes_options(DetectOptions)
def detect(
    source: GivenSource | Sequence[GivenSource],
    model: str | Path | Detector | None = None,
    *,
    options: DetectOptions | None = None,
    on_error: Callable[[str, MaskyoloError], None] | None = None,
    summary: Summary | None = None,
    stop: threading.Event | None = None,
    reduced: bool = False,
    **settings: Any,
) -> Generator[tuple[ImageArray, sv.Detections], None, None]:
    """Detect faces in each frame of a source in one forward pass, and write results as they come.

    All outputs are complete and closed when the iterator ends, is closed, or fails, and on Ctrl-C.

    Args:
        source: file, folder, glob, camera, URL, `NamedCamera`, or several; see `open_sources`.
        model: name or file of a model, or a loaded detector. Default: the package's own model.
        options: all other settings; see `DetectOptions`.
        on_error: called with the source and the error for each unreadable file of a batch, and for
            a stream that broke off. Default: errors are logged as warnings.
        summary: updated during the run.
        stop: ends the run within a second when it is set, also while a camera delivers no frame.
        reduced: whether large JPEG photos may be decoded, and yielded, at a reduced size if nothing
            else needs all their pixels, as `maskyolo detect` does. Detections are in pixels of the
            file nevertheless.
        settings: fields of `DetectOptions`, which override `options`.

    Yields:
        The frame as it was read (with `blur`, faces are hidden; see also `reduced`), BGR uint8 (H,
        W, 3), and its detections. Their `metadata` holds source, frame, time, width, height and, if
        the time of day is known, datetime; their `tracker_id`, if people are tracked, is the track
        from 1 on, or -1.

    Raises:
        SourceError: there is nothing to read, no source can be read, or the only source broke
            off (everything read before has been yielded and written).
        ImageError: the only source is an image that cannot be decoded.
        WeightsError: the model cannot be loaded; see `loading.load_detector`.
        OutputError: a result cannot be written or shown.
        MaskyoloError: options are out of range or contradict each other.

    Examples:
        >>> for frame, detections in detect("street.mp4", conf=0.4, save_json="street.jsonl"):
        ...     print(len(detections))
    """
    chosen = DetectOptions.merge(options, settings)
    model = _first_given(model, chosen.model, DEFAULT_MODELS[chosen.pipeline])
    _check(chosen)
    report = on_error or _log
    counting, alerts = _counting(chosen, source), _alerts(chosen, report)
    clock = Clock(None if chosen.start is None else parse_start(chosen.start))
    sources = _open(chosen, source)
    progress = _progress(chosen, sources)
    if progress and not progress.remaining:
        return _complete(progress, summary)
    detector = prepare_detector(model, chosen, sources)
    recorded = cache(partial(_recorded, chosen, source, model, detector))
    summary = Summary() if summary is None else summary
    _describe(summary, detector, counting, chosen, sources)
    summary.resumed = progress.check(settings_of(recorded())) if progress else 0
    remaining = progress.remaining if progress else sources
    kept = progress.kept if progress else 0 if len(sources) > 1 else None
    run = Run(
        _reduced(remaining, detector, chosen) if reduced else remaining,
        detector if chosen.slice_size is None else SlicedDetector(detector, chosen.slice_size),
        partial(_steps, chosen),
        Sinks(partial(open_sinks, chosen, recorded, summary, counting, alerts, report, kept=kept)),
        _class_ids(chosen, summary.class_names),
        clock,
        Window() if chosen.show else None,
        counting.draw_overlay if counting else None,
        report,
        summary,
        record=chosen.save_json is not None,
        item_errors=ItemErrors(partial(_log_file, chosen, recorded, summary), hide=hide_addresses),
        stop=stop or threading.Event(),
        cameras=are_cameras(sources),
    )
    return run.results(chosen.vid_stride, chosen.reconnect)


def _open(options: DetectOptions, given: GivenSource | Sequence[GivenSource]) -> list[Source]:
    sources = open_sources(given)
    if options.tracks:
        sources = as_video(sources)
    _check_sources(options, sources, given)
    return sources


def _describe(
    summary: Summary,
    detector: Detector,
    counting: Counting | None,
    options: DetectOptions,
    sources: list[Source],
) -> None:
    """Record what is read, what detects, and what counts people."""
    summary.live = are_live(sources)
    summary.class_names = class_names_of(detector)
    if counting:
        counting.names = summary.class_names
    summary.people = counting if options.tracks else None
    summary.network, summary.network_details = describe_detector(detector)


def _reduced(sources: list[Source], detector: Detector, options: DetectOptions) -> list[Source]:
    """Let photos be decoded at a reduced size, if nothing draws on them, saves or compares them."""
    saves = options.save or options.save_crop or options.blur or options.show
    relates = options.tracks or options.slice_size is not None
    if saves or relates or not isinstance(detector, YoloDetector):
        return sources
    return reduced_photos(sources, detector.imgsz)


def _check(options: DetectOptions) -> None:
    """Raise a MaskyoloError if options contradict each other."""
    if options.stats_only and (options.save or options.save_crop or options.saves_images):
        raise MaskyoloError(
            "cannot save images with --stats-only, which saves none",
            "omit --save-crop, --save-alerts and --alert-clip, or --stats-only",
        )
    if options.events is not None:
        events, save_json = Path(options.events), options.save_json
        EventFile.check(events)
        if save_json is not None and events.absolute() == Path(save_json).absolute():
            raise MaskyoloError(
                f"cannot write both --events and --save-json to {events}", "use two files"
            )


def _first_given(*models: str | Path | Detector | None) -> str | Path | Detector:
    return next(model for model in models if model is not None)


def _class_ids(options: DetectOptions, names: Sequence[str]) -> list[int] | None:
    """Return the ids of the classes to report, or None for all."""
    if options.classes is None:
        return None
    found = [find_class(name, names) for name in options.classes]
    if "" in found:
        raise MaskyoloError(
            f"the model reports no class '{options.classes[found.index('')]}'",
            f"use --classes with one of {', '.join(names)}",
        )
    return [names.index(name) for name in found]


def _counting(
    options: DetectOptions, given: GivenSource | Sequence[GivenSource]
) -> Counting | None:
    if options.tracks or options.stats_only:
        cameras = named_cameras(given)
        return Counting(options.zone, options.line, options.alert_after, cameras)
    return None


def _alerts(options: DetectOptions, report: Callable[[str, MaskyoloError], None]) -> Alerts | None:
    targets = targets_of(options)
    if options.alert_after is None:
        return None
    return Alerts(options.alert_cmd, targets, options.outbox, partial(report, "alert"))


def _progress(options: DetectOptions, sources: list[Source]) -> Progress | None:
    """Return what an interrupted run has written, if it is to be resumed."""
    if not options.resume:
        return None
    check_resumable(options, sources)
    return find_progress(Path(str(options.save_json)), sources)


def _complete(
    progress: Progress, summary: Summary | None
) -> Generator[tuple[ImageArray, sv.Detections], None, None]:
    """Move the lines of an interrupted run that had finished all sources into place."""
    if summary is not None:
        summary.resumed = progress.done
    if part_of(progress.file).is_file():
        JsonLines(progress.file, progress.kept, {}).close()
    yield from ()


def _check_sources(
    options: DetectOptions, sources: list[Source], given: GivenSource | Sequence[GivenSource]
) -> None:
    """Raise a MaskyoloError if options do not fit the sources.

    The start of one recording may be given for several, or people tracked in still images.
    """
    if options.start is not None and len(sources) > 1:
        raise MaskyoloError(
            f"--start is the start of one recording, and there are {len(sources)} sources",
            "run `maskyolo detect` once for each recording",
        )
    if not options.tracks or not all(isinstance(source, ImageSource) for source in sources):
        return
    raise MaskyoloError(
        f"cannot track in still images ({_source_name(given)})",
        "use a video, camera, stream or numbered images, or omit --track",
    )


def prepare_detector(
    model: str | Path | Detector, options: DetectOptions, sources: list[Source]
) -> Detector:
    """Return the given detector, or load it as `detect` does for these options and sources."""
    detector = _load(model, options, sources) if isinstance(model, (str, Path)) else model
    two_stage = options.pipeline is Pipeline.TWO_STAGE
    if options.blur and two_stage and isinstance(detector, TwoStageDetector):
        detector.report_scores = True  # for `drop_weak_faces`
    return detector


def _load(model: str | Path, options: DetectOptions, sources: list[Source]) -> Detector:
    """Load a detector with the low thresholds that some steps need; see `_steps`."""
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
    # Files are processed with one frame per core. A camera, a stream or a single image gets one
    # frame at a time, for the lowest latency, unless its tiles can be processed in parallel.
    slicing = options.slice_size is not None
    streams = usable_cpus() if slicing or _only_files(sources) else 1
    return load_detector(model, inference, streams=streams)


def _steps(options: DetectOptions) -> list[Step]:
    """Return what is done with each frame's detections, in order.

    Blurring and tracking need more detections than are reported; later steps drop those.
    """
    steps: list[Step] = []
    if options.blur:  # first, while detections of low confidence are still there
        steps += [Blur(), drop_weak_faces(_face_conf(options))]
    if options.tracks:
        steps.append(Tracking(options.conf))
    elif options.blur:
        steps.append(drop_below(options.conf))
    if options.blur or options.slice_size is not None:
        steps.append(keep_most_confident(options.max_det))
    return steps


def _recorded(
    options: DetectOptions,
    source: GivenSource | Sequence[GivenSource],
    model: str | Path | Detector,
    detector: Detector,
) -> dict[str, Any]:
    """Return what `args.yaml` records: the options in effect, without any passwords."""
    recorded: dict[str, Any] = {**record_of(source), **options.recorded()}
    recorded["model"] = model if isinstance(model, (str, Path)) else type(model).__name__
    recorded["track"] = options.tracks
    if isinstance(detector, YoloDetector):
        recorded["imgsz"] = detector.imgsz
    if options.alert_cmd is not None:
        recorded["alert_cmd"] = display_command(options.alert_cmd)
    recorded |= recorded_targets(options)
    file = model_file(replace(options, model=model)) if isinstance(model, (str, Path)) else None
    made = made_with(options.threads, model=describe_model(file, describe_detector(detector)[0]))
    report_differences(options.args, made)
    return {**recorded, PROVENANCE: made}


def _log_file(
    options: DetectOptions, recorded: Callable[[], dict[str, Any]], summary: Summary
) -> Path:
    return run_folder(options, recorded, summary) / ERROR_LOG


def _source_name(source: GivenSource | Sequence[GivenSource]) -> str:
    """Return what was given as source, without any passwords."""
    several = [source] if isinstance(source, GivenSource) else source
    return ", ".join(
        one.name if isinstance(one, NamedCamera) else display_name(one) for one in several
    )


def _face_conf(options: DetectOptions) -> float:
    return FACE_CONF if options.face_conf is None else options.face_conf


def _only_files(sources: list[Source]) -> bool:
    """Return whether all sources are files, and more than a single image."""
    many = len(sources) > 1 or isinstance(sources[0], VideoSource)
    return many and all(isinstance(source, (ImageSource, VideoSource)) for source in sources)


def _log(source: str, error: MaskyoloError) -> None:
    del source
    logging.getLogger("maskyolo").warning("%s", error)
