"""Files yield each frame once, in order; live sources only the newest, at any speed."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np
import pytest
import supervision as sv

from maskyolo.core.images import ImageArray
from maskyolo.errors import SourceError
from maskyolo.runtime import pipeline
from maskyolo.runtime.frames import Frame, Kind
from maskyolo.runtime.pipeline import Detected, Ended, Failed, Interrupted, results


@dataclass
class Made:
    """A source of synthetic frames; `then` is called after each one and may wait or raise."""

    count: int
    kind: Kind = "video"
    then: Callable[[int], None] = lambda index: None
    name: str = "made"
    opened: int = 0
    made: list[int] = field(default_factory=list)

    def frames(self, vid_stride: int = 1) -> Iterator[Frame]:
        self.opened += 1
        for index in range(self.count):
            self.made.append(index)
            yield Frame(
                np.full((4, 4, 3), index, np.uint8), self.name, index, float(index), self.kind
            )
            self.then(index)


class Detector:
    """A detector for several threads; `on_frame` is called with each frame's gray level."""

    def __init__(
        self, on_frame: Callable[[int], None] = lambda gray: None, workers: int = 2
    ) -> None:
        self.on_frame, self.workers = on_frame, workers

    def __call__(self, image: ImageArray) -> sv.Detections:
        self.on_frame(int(image[0, 0, 0]))
        return sv.Detections(
            xyxy=np.zeros((1, 4), np.float32), confidence=np.array([image[0, 0, 0]], np.float32)
        )


def grays(events: list[pipeline.Outcome]) -> list[int]:
    assert all(
        event.detections.confidence[0] == event.frame.image[0, 0, 0]
        for event in events
        if isinstance(event, Detected)
    )
    return [int(event.frame.image[0, 0, 0]) for event in events if isinstance(event, Detected)]


def test_frames_keep_their_order_when_later_ones_finish_first() -> None:
    second_done = threading.Event()

    def on_frame(gray: int) -> None:
        if gray == 0:
            assert second_done.wait(10), "two frames are processed at the same time"
        if gray == 1:
            second_done.set()

    events = list(results([Made(20), Made(3, name="other")], Detector(on_frame)))
    assert grays(events) == [*range(20), *range(3)]
    assert [place for place, event in enumerate(events) if isinstance(event, Ended)] == [20, 24]


def test_a_detector_without_workers_is_only_called_in_the_callers_thread() -> None:
    threads = set()

    def on_frame(image: ImageArray) -> sv.Detections:
        threads.add(threading.current_thread())
        return Detector()(image)

    assert grays(list(results([Made(5)], on_frame))) == [*range(5)]
    assert threads == {threading.current_thread()}


def test_few_frames_are_read_ahead_of_a_slow_detector() -> None:
    source = Made(1000)
    events = results([source], Detector())
    for _ in range(3):
        next(events)
    events.close()
    assert 3 <= len(source.made) <= 3 + 2 + pipeline.AHEAD + 2


@pytest.mark.parametrize("workers", [1, 2])
def test_a_large_frame_is_gone_before_the_next_one_is_read(
    workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "MAX_BYTES", 40)
    earlier: list[weakref.ref[ImageArray]] = []
    alive: list[int] = []

    class Large:
        name = "large"

        def frames(self, vid_stride: int = 1) -> Iterator[Frame]:
            for index in range(5):
                alive.append(sum(image() is not None for image in earlier))
                image = np.full((4, 4, 3), index, np.uint8)
                earlier.append(weakref.ref(image))
                yield Frame(image, self.name, index, 0.0, "video")
                del image

    seen = 0
    for outcome in results([Large()], Detector(workers=workers)):
        seen += isinstance(outcome, Detected)
        del outcome
    assert seen == 5
    assert alive == [0] * 5


def test_closing_ends_the_reading_thread() -> None:
    events = results([Made(10**9)], Detector())
    next(events)
    assert "maskyolo-reader" in {thread.name for thread in threading.enumerate()}
    events.close()
    assert "maskyolo-reader" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize("workers", [1, 2])
def test_of_a_live_source_the_newest_frame_is_used_and_skipped_ones_are_counted(
    workers: int,
) -> None:
    first_seen, nine_made = threading.Event(), threading.Event()

    def then(index: int) -> None:
        if index == 0:
            assert first_seen.wait(10)
        if index == 9:
            nine_made.set()

    def on_frame(gray: int) -> None:
        first_seen.set()
        assert gray or nine_made.wait(10)

    dropped: list[int] = []
    source = Made(11, "live", then)
    events = list(results([source], Detector(on_frame, workers), on_dropped=dropped.append))
    seen = grays(events)
    assert seen[0] == 0
    assert seen[-1] == 10
    assert len(seen) <= 3, "frames that arrived meanwhile are skipped"
    assert len(seen) + sum(dropped) == 11


def test_frame_numbers_continue_when_a_camera_is_reconnected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pipeline, "FIRST_WAIT", 0.0)
    seen = threading.Semaphore(0)

    def then(index: int) -> None:
        seen.acquire(timeout=10)  # each frame is processed before the next one is made
        if index == 2 and source.opened <= 2:
            raise SourceError("camera made broke off", "check its cable")

    source = Made(3, "live", then)
    events = []
    stream = results([source], Detector(lambda gray: seen.release()), reconnect=60)
    for event in stream:
        events.append(event)
        if sum(isinstance(event, Interrupted) for event in events) == 3:
            break
    stream.close()
    found = [event.frame for event in events if isinstance(event, Detected)]
    assert [frame.index for frame in found] == [*range(9)]
    assert [frame.time for frame in found[3:]] == sorted(frame.time for frame in found[3:])
    reported = [str(event.error) for event in events if isinstance(event, Interrupted)]
    assert reported == [
        "camera made broke off; check its cable; trying to reconnect for 60 s"
    ] * 2 + ["made ended; trying to reconnect for 60 s"]


def test_a_camera_that_cannot_be_reconnected_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "FIRST_WAIT", 0.001)

    def then(index: int) -> None:
        if index == 1:
            raise SourceError("camera made broke off")

    class Unplugged(Made):
        def frames(self, vid_stride: int = 1) -> Iterator[Frame]:
            if self.opened:
                self.opened += 1
                raise SourceError("cannot open camera made")
            yield from super().frames(vid_stride)

    source = Unplugged(5, "live", then)
    events = list(results([source], Detector(), reconnect=0.05))
    assert source.opened >= 3
    assert isinstance(events[-1], Failed)
    assert (events[-1].index, str(events[-1].error)) == (2, "cannot open camera made")


@pytest.mark.parametrize("kind", ["live", "video"])
def test_files_and_sources_that_never_opened_are_not_retried(kind: Kind) -> None:
    def then(index: int) -> None:
        raise SourceError("it broke")

    source = Made(0 if kind == "live" else 3, kind, then)
    *_, last = results([source], Detector(), reconnect=60)
    assert source.opened == 1
    assert isinstance(last, Ended if kind == "live" else Failed)


def test_any_other_error_of_a_source_is_how_it_ends_and_the_next_is_read() -> None:
    def then(index: int) -> None:
        raise ZeroDivisionError

    broken, whole = Made(3, then=then), Made(2)
    _, failed, *others, last = results([broken, whole], Detector())
    assert isinstance(failed, Failed)
    assert (failed.source, failed.index, type(failed.error)) == (broken, 1, ZeroDivisionError)
    assert [outcome.source for outcome in others] == [whole] * 2
    assert last == Ended(whole)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_the_detector_ends_its_source_and_no_thread_is_left(workers: int) -> None:
    def on_frame(gray: int) -> None:
        if gray == 3:
            raise ZeroDivisionError

    endless, next_one = Made(10**9), Made(2)
    found = list(results([endless, next_one], Detector(on_frame, workers)))
    assert [outcome.source for outcome in found] == [endless] * 4 + [next_one] * 3
    assert isinstance(found[3], Failed)
    assert (found[3].index, type(found[3].error)) == (3, ZeroDivisionError)
    assert "maskyolo-reader" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize(("workers", "within"), [(1, 3), (2, 1)])
def test_opencv_uses_one_thread_while_frames_are_processed_in_parallel(
    workers: int, within: int
) -> None:
    before, seen = cv2.getNumThreads(), []
    cv2.setNumThreads(3)
    try:
        events = results([Made(4)], Detector(lambda _: seen.append(cv2.getNumThreads()), workers))
        assert grays(list(events)) == [0, 1, 2, 3]
        assert seen == [within] * 4
        assert cv2.getNumThreads() == 3
    finally:
        cv2.setNumThreads(before)
