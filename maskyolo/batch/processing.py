"""Processes the items of a shard: reads each one as `detect` does, and returns its records."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from maskyolo.batch.parts import PartWriter
from maskyolo.batch.plans import Item, Plan
from maskyolo.batch.stores import Fetcher
from maskyolo.batch.tracks import exact_record
from maskyolo.core.decoding import open_image
from maskyolo.core.detector import Detector
from maskyolo.core.item_errors import ERROR_LOG, ItemErrors
from maskyolo.core.parallel import usable_cpus
from maskyolo.detectors.loading import load_detector, model_file
from maskyolo.detectors.options import InferenceOptions
from maskyolo.detectors.slicing import SlicedDetector
from maskyolo.detectors.yolo import YoloDetector
from maskyolo.errors import MaskyoloError, SourceError, WeightsError
from maskyolo.runtime.addresses import hide_addresses
from maskyolo.runtime.file_sources import (
    AnimationSource,
    ImageSource,
    UnreadableSource,
    VideoSource,
    decode_animation,
    decode_photo,
    is_animation,
)
from maskyolo.runtime.filters import Step, keep_most_confident
from maskyolo.runtime.frames import Frame, Source
from maskyolo.runtime.json_lines import json_record
from maskyolo.runtime.pipeline import Detected, Ended, Failed, results
from maskyolo.runtime.provenance import describe_model, made_with
from maskyolo.runtime.results import Result
from maskyolo.runtime.tracking import LOW_CONF

__all__ = ["ItemDone", "Processor", "Record"]

_SOURCES: dict[str, Callable[[Path], Source]] = {
    "animation": AnimationSource,
    "video": VideoSource,
}


@dataclass(frozen=True)
class Record:
    """A record about an item, as in the lines of `detect`: a frame, or an error."""

    item: Item
    content: dict[str, Any]


@dataclass(frozen=True)
class ItemDone:
    """All records of an item have been returned."""

    item: Item


class Processor:
    """Processes shards of a plan in this process, with one detector.

    The working folder becomes that of the plan, because the names of items are relative to it.

    Args:
        plan: the plan.
        threads: maximum number of CPU threads. Default: one per core.
        trust: load a `.pt` file of unknown origin.

    Raises:
        WeightsError: the model is not the one that was planned, or cannot be loaded.
        MaskyoloError: the plan's working folder does not exist on this machine.
    """

    def __init__(self, plan: Plan, threads: int | None = None, trust: bool = False) -> None:
        self.plan = plan
        try:
            os.chdir(plan.base)
        except OSError as error:
            raise MaskyoloError(
                f"cannot enter {plan.base}, the working folder of the plan in {plan.out}: "
                f"{(error.strerror or str(error)).lower()}",
                "make it available under the same path, or plan again here",
            ) from error
        threads = plan.options.threads if threads is None else threads
        conf = plan.options.conf
        options = replace(
            plan.options.part(InferenceOptions),
            conf=min(conf, LOW_CONF) if plan.options.track else conf,
            threads=threads,
            trust=trust,
        )
        _check_model(plan, options)
        self._detector: Detector = load_detector(options=options, streams=threads or usable_cpus())
        self._side = None  # with tracking, images are decoded at full size, as in `detect`
        if isinstance(self._detector, YoloDetector) and not plan.options.track:
            self._side = self._detector.imgsz
        self._steps: list[Step] = []
        if plan.options.slice_size is not None:
            self._detector = SlicedDetector(self._detector, plan.options.slice_size)
            self._side = None
            if not plan.options.track:  # it is done after tracking, as in `detect`
                self._steps.append(keep_most_confident(plan.options.max_det))
        self._errors = ItemErrors(lambda: plan.out / ERROR_LOG, hide=hide_addresses)
        made = made_with(threads)
        self.made = {name: made[name] for name in _MADE if name in made}

    def process(self, items: Sequence[Item]) -> Iterator[Record | ItemDone]:
        """Yield the records of items in order, and the end of each item.

        Raises:
            MaskyoloError: an error that concerns more than one item, such as a full disk.
        """
        with closing(Fetcher(items)) as fetcher:
            sources = [_PlannedSource(item, fetcher, self._side) for item in items]
            known = {id(source): source.item for source in sources}
            for outcome in results(sources, self._detector, self.plan.options.vid_stride):
                item = known[id(outcome.source)]
                if isinstance(outcome, Detected):
                    yield Record(item, self._record(outcome))
                elif isinstance(outcome, Failed):
                    error = self._errors.explain(item.name, outcome.error)
                    yield Record(item, {"frame": outcome.index, "error": str(error)})
                if isinstance(outcome, (Failed, Ended)):
                    yield ItemDone(item)

    def write_part(self, shard: int, on_event: Callable[[Record | ItemDone], None]) -> None:
        """Process a shard, and write its part.

        Args:
            shard: its number.
            on_event: called with each record that is an error, and the end of each item.

        Raises:
            OutputError: no space left, or no permission.
            MaskyoloError: an error that concerns more than one item.
        """
        with PartWriter(self.plan, shard, self.made) as writer:
            for event in self.process(self.plan.items(shard)):
                if isinstance(event, Record):
                    writer.add(event.item, event.content)
                if isinstance(event, ItemDone) or "error" in event.content:
                    on_event(event)
            writer.finish()

    def _record(self, outcome: Detected) -> dict[str, Any]:
        frame, detections = outcome.frame, outcome.detections
        for step in self._steps:
            frame, detections = step(frame, detections)
        result = Result(frame, detections)
        return exact_record(result) if self.plan.options.track else json_record(result)


#: What a part records of `made_with`.
_MADE = ("maskyolo", "commit", "python", "packages", "cpu")


@dataclass(frozen=True, eq=False)
class _PlannedSource:
    """The source of an item, which must be as it was when it was planned."""

    item: Item
    fetcher: Fetcher
    side: int | None = None  # see `ImageSource`

    @property
    def name(self) -> str:
        """The item's name; see `Source`."""
        return self.item.name

    def frames(self, vid_stride: int = 1) -> Iterator[Frame]:
        """Yield its frames; see `Source`."""
        item = self.item
        if item.kind == "unreadable":
            error = SourceError(item.problem, item.remedy)
            return UnreadableSource(item.name, error).frames(vid_stride)
        if item.place:
            return self._stored(vid_stride)
        self._check(item)
        if item.kind == "image":
            return ImageSource(Path(item.name), self.side).frames(vid_stride)
        return _SOURCES[item.kind](Path(item.name)).frames(vid_stride)

    def _stored(self, vid_stride: int) -> Iterator[Frame]:
        """Yield the frames of an object, or of a part of a tar or Parquet file."""
        item = self.item
        if item.kind == "video":
            self._check(item)
            with self.fetcher.copy(item) as path:
                for frame in VideoSource(path, item.name).frames(vid_stride):
                    yield frame
                    del frame
            return
        data = self.fetcher.read(item, self._check)
        if _is_animated(data):
            yield from decode_animation(data, item.name, vid_stride)
        else:
            yield decode_photo(data, item.name, self.side)

    def _check(self, item: Item) -> None:
        """Raise a SourceError if a file has changed since it was planned."""
        try:
            size, mtime = self.fetcher.stat(item)
        except OSError:
            return  # reading it fails with the error that `detect` reports
        if (size, mtime) == (item.size, item.mtime):
            return
        change = (
            "it did not exist then"
            if item.size < 0
            else f"{item.size} bytes then, {size} now"
            if size != item.size
            else "it was written again"
        )
        name = item.place if item.is_inside else item.name
        raise SourceError(
            f"{name} has changed since it was planned: {change}", "plan again in another folder"
        )


def _is_animated(data: bytes) -> bool:
    try:
        with open_image(io.BytesIO(data)) as image:
            return is_animation(image)
    except Exception:  # noqa: BLE001  Pillow's plugins can raise any error; decoding reports it
        return False


def _check_model(plan: Plan, options: InferenceOptions) -> None:
    """Raise a WeightsError if the model's file is not the planned one."""
    path = model_file(options)
    found, planned = describe_model(path), dict(plan.model)
    for name in ("sha256", "bin_sha256"):
        if found.get(name, "") != planned.get(name, ""):
            raise WeightsError(
                f"{path} is not the model of the plan in {plan.out}: its SHA-256 is "
                f"{found.get(name, '')[:12]}…, and that of the plan {planned.get(name, '')[:12]}…",
                "use the same weights, or plan again in another folder",
            )
