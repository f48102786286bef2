"""One run of `detect`: read, detect, write, and close everything at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskyolo.core.detector import Detector
from maskyolo.core.images import ImageArray
from maskyolo.core.interrupts import uninterrupted
from maskyolo.core.runs import new_run, save_args
from maskyolo.errors import MaskyoloError, SourceError, output_errors
from maskyolo.runtime.alerts import Alerts
from maskyolo.runtime.counting import Counting
from maskyolo.runtime.events import EventFile
from maskyolo.runtime.filters import Step
from maskyolo.runtime.frames import Source
from maskyolo.runtime.json_lines import JsonLines
from maskyolo.runtime.options import DetectOptions
from maskyolo.runtime.pipeline import Detected, Ended, Failed, Interrupted, results
from maskyolo.runtime.results import Quit, Result, Sink, Sinks
from maskyolo.runtime.sinks import Crops, Drawings, LabelFiles
from maskyolo.runtime.sources import ImageSource
from maskyolo.runtime.window import Window

if TYPE_CHECKING:
    import supervision as sv

__all__ = ["Run", "Summary", "open_sinks"]


@dataclass
class Summary:
    """What a run of `detect` has done so far.

    Attributes:
        folder: the run's folder, or None if nothing is written into one.
        frames: number of processed frames and images.
        dropped: frames of cameras and streams that were skipped because newer ones had arrived.
        interruptions: how often a camera or stream broke off and had to be reconnected.
        total: expected number of frames, if known.
        counts: detections of each class name, over all frames.
        people: the counts of tracked people, if people are tracked.
        network: one line that names the runtime, device and precision of the network or of both
            stages; empty if a loaded detector was passed in.
        errors: the sources that could not be read, as (source, error).
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


@dataclass
class Run:
    """A run that is ready to start: its sources, its processing, and its outputs.

    Attributes:
        record: whether outputs are also written when the only source cannot be read at all, to
            record the error.
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
        with uninterrupted():  # Ctrl-C must not leave a frame in only some of the outputs
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
        # If the only source cannot be read at all, no sink is opened, so that no files are left.
        if outcome.index or self.record or not alone:
            self.sinks.fail(name, outcome.index, str(outcome.error))
        if alone:
            raise outcome.error
        self.report(name, outcome.error)
        self.sinks.finish()

    def _dropped(self, frames: int) -> None:
        self.summary.dropped += frames


def open_sinks(
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
    if counting:  # after its listeners: sinks close in reverse order, and it still sends events
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


def _folder(path: Path) -> Path:
    with output_errors(path):
        path.mkdir(exist_ok=True)
    return path
