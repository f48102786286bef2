"""One run of `detect`: read, detect, write, and close everything at the end."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskyolo.core.classes import CLASS_NAMES
from maskyolo.core.detector import Detector
from maskyolo.core.images import ImageArray
from maskyolo.core.interrupts import uninterrupted
from maskyolo.core.item_errors import ItemErrors
from maskyolo.core.runs import new_run, save_args
from maskyolo.errors import MaskyoloError, SourceError, output_errors
from maskyolo.runtime.activity import Activity
from maskyolo.runtime.alert_clips import AlertClips
from maskyolo.runtime.alert_images import AlertImages
from maskyolo.runtime.alerts import Alerts
from maskyolo.runtime.cameras import camera_results
from maskyolo.runtime.counting import Counting
from maskyolo.runtime.delivery.mqtt import Broker
from maskyolo.runtime.events import EventFile
from maskyolo.runtime.file_sources import ImageSource
from maskyolo.runtime.filters import Step
from maskyolo.runtime.frames import Source
from maskyolo.runtime.json_lines import JsonLines
from maskyolo.runtime.mqtt_states import MqttStates
from maskyolo.runtime.options import DetectOptions
from maskyolo.runtime.pipeline import Detected, Ended, Failed, Interrupted, results
from maskyolo.runtime.results import Quit, Result, Sink, Sinks
from maskyolo.runtime.resuming import settings_of
from maskyolo.runtime.retention import Kept, Retention, keep_earlier
from maskyolo.runtime.sinks import Crops, Drawings, LabelFiles
from maskyolo.runtime.time_of_day import Clock
from maskyolo.runtime.window import Window

if TYPE_CHECKING:
    import supervision as sv

__all__ = ["Rate", "Run", "Summary", "open_sinks", "run_folder"]


@dataclass
class Rate:
    """How many frames of a camera were processed, and when.

    Attributes:
        frames: their number.
        first: when the first was taken, in the seconds of `Frame.taken`.
        last: when the last was taken.
    """

    frames: int = 0
    first: float = 0.0
    last: float = 0.0

    def add(self, taken: float) -> None:
        """Count a frame."""
        self.first = self.first if self.frames else taken
        self.frames, self.last = self.frames + 1, taken

    @property
    def per_second(self) -> float:
        """The mean number of frames per second; 0 for a single frame."""
        seconds = self.last - self.first
        return (self.frames - 1) / seconds if seconds > 0 else 0.0


@dataclass
class Summary:
    """What a run of `detect` has done so far.

    Attributes:
        folder: the run's folder, or None if nothing is written into one.
        frames: number of processed frames and images.
        dropped: frames of cameras and streams that were skipped because newer ones had arrived.
        interruptions: how often a camera or stream broke off and had to be reconnected.
        resumed: number of sources that an interrupted run had finished, if it is resumed.
        total: expected number of frames, if known.
        class_names: the classes that the detector reports.
        counts: detections of each class name, over all frames.
        people: the counts of tracked people, if people are tracked.
        network: runtime, device, precision and inference size, such as "OpenVINO CPU bf16, 640
            px"; empty if the detector is not one of ours.
        network_details: the same in a longer line, with the reason for the choice.
        live: whether the sources are cameras and streams.
        active: when the run last did something, also if it only waited for a frame, in the seconds
            of `time.monotonic`; 0 before it starts.
        rates: the frames processed of each camera, if there are several.
        errors: the sources that could not be read, as (source, error).
    """

    folder: Path | None = None
    frames: int = 0
    dropped: int = 0
    interruptions: int = 0
    resumed: int = 0
    total: int | None = None
    class_names: tuple[str, ...] = CLASS_NAMES
    counts: Counter[str] = field(default_factory=Counter)
    people: Counting | None = None
    network: str = ""
    network_details: str = ""
    live: bool = False
    active: float = field(default=0.0, compare=False)
    rates: dict[str, Rate] = field(default_factory=dict)
    errors: list[tuple[str, MaskyoloError]] = field(default_factory=list)

    def activity(self) -> Activity:
        """Return what was done so far, also from another thread.

        Raises:
            RuntimeError: the numbers are changing; try again.
        """
        people = sum(self.people.people().values()) if self.people else None
        frames = {name: rate.frames for name, rate in self.rates.items()} or {"": self.frames}
        return Activity(self.active, frames, people, self.dropped, self.interruptions)


@dataclass
class Run:
    """A run that is ready to start: its sources, its processing, and its outputs.

    Attributes:
        classes: class ids to report; None for all.
        clock: gives the time of day of each frame.
        record: whether outputs are also written when the only source cannot be read at all, to
            record the error.
        item_errors: explains the errors of single sources.
        stop: ends the run when it is set.
        cameras: whether the sources are cameras and streams that are read at the same time.
        steps: makes what is done with the detections of a source's frames, in order.
        overlay: draws what is added to an annotated frame, given it and its `source`.
    """

    sources: list[Source]
    detector: Detector
    steps: Callable[[], list[Step]]
    sinks: Sinks
    classes: Collection[int] | None
    clock: Clock
    window: Window | None
    overlay: Callable[..., None] | None
    report: Callable[[str, MaskyoloError], None]
    summary: Summary
    record: bool
    item_errors: ItemErrors
    stop: threading.Event
    cameras: bool = False
    _steps: dict[str, list[Step]] = field(default_factory=dict)

    def results(
        self, vid_stride: int, reconnect: float
    ) -> Generator[tuple[ImageArray, sv.Detections], None, None]:
        """Yield each frame and its detections once they are written; close everything at the end.

        Everything is also closed if the generator is closed early or an error is raised.
        """
        if all(isinstance(source, ImageSource) for source in self.sources):
            self.summary.total = len(self.sources)
        given_up: set[int] = set()
        with ExitStack() as stack:
            stack.enter_context(suppress(Quit))
            stack.enter_context(closing(self.sinks))
            if self.window:
                stack.enter_context(closing(self.window))
            outcomes = stack.enter_context(
                closing(
                    (camera_results if self.cameras else results)(
                        self.sources,
                        self.detector,
                        vid_stride,
                        reconnect,
                        self._dropped,
                        self._idle,
                        given_up,
                    )
                )
            )
            for outcome in outcomes:
                self._check_stop()
                if isinstance(outcome, Detected):
                    try:
                        result = self._write(outcome)
                    except Exception as error:  # noqa: BLE001  any error of one source is that source's
                        given_up.add(id(outcome.source))
                        self._failed(Failed(outcome.source, outcome.frame.index, error))
                        continue
                    if self.window:
                        self.window.write(result)
                    yield result.frame.image, result.reported
                    del result  # and below, the outcome: a large frame, before the next is read
                elif isinstance(outcome, Interrupted):
                    self.summary.interruptions += 1
                    self.report(outcome.source.name, outcome.error)
                elif isinstance(outcome, Ended):
                    self.sinks.finish(outcome.source.name)
                else:
                    self._failed(outcome)
                del outcome
        if self.summary.errors and not self.summary.frames and not self.summary.resumed:
            first = self.summary.errors[0][1]
            raise SourceError(
                f"none of the {len(self.sources)} sources can be read; the first: {first.problem}",
                first.remedy,
            )

    def _idle(self) -> None:
        self._check_stop()
        if self.window:
            self.window.idle()

    def _check_stop(self) -> None:
        self.summary.active = time.monotonic()
        if self.stop.is_set():
            raise Quit

    def _result(self, outcome: Detected) -> Result:
        frame, detections = outcome.frame, outcome.detections
        moment = self.clock.moment(frame)
        frame = replace(frame, moment=moment) if moment else frame
        of = frame.source if self.cameras else ""  # each camera has its own tracks
        if of not in self._steps:
            self._steps[of] = self.steps()
        for step in self._steps[of]:
            frame, detections = step(frame, detections)
        detections.metadata |= {
            "source": frame.source,
            "frame": frame.index,
            "time": frame.time,
            "width": frame.width,
            "height": frame.height,
        } | ({"datetime": moment} if moment else {})
        overlay = partial(self.overlay, source=frame.source) if self.overlay else None
        return Result(frame, detections, overlay, self.classes)

    def _write(self, outcome: Detected) -> Result:
        result = self._result(outcome)
        with uninterrupted():  # Ctrl-C must not leave a frame in only some of the outputs
            self.sinks.write(result)
            self.summary.frames += 1
            self.summary.counts.update(map(str, result.reported.data["class_name"]))
            if self.cameras:
                self.summary.rates.setdefault(result.frame.source, Rate()).add(result.frame.taken)
        if len(self.sources) == 1:
            self.summary.total = result.frame.total
        return result

    def _failed(self, outcome: Failed) -> None:
        name = outcome.source.name
        alone = len(self.sources) == 1 and not self.summary.resumed
        error = self.item_errors.explain(name, outcome.error)
        self.summary.errors.append((name, error))
        # If the only source cannot be read at all, no sink is opened, so that no files are left.
        if outcome.index or self.record or not alone:
            self.sinks.fail(name, outcome.index, str(error))
        if alone:
            raise error
        self.report(name, error)
        self.sinks.finish(name)

    def _dropped(self, frames: int) -> None:
        self.summary.dropped += frames


def run_folder(
    options: DetectOptions, recorded: Callable[[], dict[str, Any]], summary: Summary
) -> Path:
    """Return the run's folder; create it with its `args.yaml` if there is none yet."""
    if summary.folder is None:
        summary.folder = new_run(options.project, options.name, options.exist_ok)
        save_args(summary.folder, recorded())
    return summary.folder


def open_sinks(
    options: DetectOptions,
    recorded: Callable[[], dict[str, Any]],
    summary: Summary,
    counting: Counting | None,
    alerts: Alerts | None,
    report: Callable[[str, MaskyoloError], None],
    *,
    kept: int | None = None,
) -> Iterator[Sink]:
    """Make the run's folder, if anything is written into it, and open the outputs one by one.

    Args:
        options: what to write.
        recorded: returns what `args.yaml` records.
        summary: gets the run's folder.
        counting: counts people, if they are tracked.
        alerts: forwards alerts, if there are any.
        report: called with the option and the error if counts cannot be published, or an old file
            cannot be deleted.
        kept: bytes of lines of an interrupted run to keep; None if this run cannot be resumed.
    """
    folder = None
    if options.needs_folder:
        folder = run_folder(options, recorded, summary)
    if alerts:
        yield alerts
    event_file = None if options.events is None else EventFile(Path(options.events), summary.live)
    if event_file:
        yield event_file
    if counting:  # after its listeners: sinks close in reverse order, and it still sends events
        counting.listeners = [listener for listener in (alerts, event_file) if listener]
        counting.path = folder / "counts.json" if folder else None
        if counting.path and summary.live:
            keep_earlier(counting.path)
        clips = None
        if options.alert_clip is not None:
            clips = AlertClips(options.alert_clip, partial(report, "alert"))
        if folder and options.saves_images:
            counting.images = AlertImages(folder / "alerts", clips)
        yield counting
        if clips:
            yield clips
        if options.mqtt is not None:
            broker = Broker.parse(options.mqtt)
            yield MqttStates(broker, counting, alerts is not None, partial(report, "mqtt"))
    if folder and options.save_txt:
        yield LabelFiles(_folder(folder / "labels"), options.save_conf)
    if folder and options.save_crop:
        yield Crops(_folder(folder / "crops"), summary.class_names)
    if folder and options.save:
        yield Drawings(folder)
    if options.save_json is not None:
        settings = None if kept is None else settings_of(recorded())
        yield JsonLines(Path(options.save_json), kept or 0, settings, dated=summary.live)
    limits = Kept(options.keep_days, options.keep_gb)
    if summary.live and limits.is_limited:
        files = [Path(path) for path in (options.events, options.save_json) if path is not None]
        runs = folder or Path(options.project) / options.name
        yield Retention(limits, files, runs.with_name(options.name), partial(report, "retention"))


def _folder(path: Path) -> Path:
    with output_errors(path):
        path.mkdir(exist_ok=True)
    return path
