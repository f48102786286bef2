"""Several cameras at once: each has its turn, its own tracks, counts, video and reconnecting."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import supervision as sv
from clips import probe
from live import Mjpeg, number_of, until

from maskyolo.core.classes import CLASS_NAMES
from maskyolo.core.images import ImageArray
from maskyolo.errors import SourceError
from maskyolo.runtime import pipeline
from maskyolo.runtime.cameras import camera_results
from maskyolo.runtime.counting import Counting
from maskyolo.runtime.detection import detect
from maskyolo.runtime.events import Event
from maskyolo.runtime.file_sources import ImageSource
from maskyolo.runtime.frames import Frame
from maskyolo.runtime.results import Result
from maskyolo.runtime.run import Rate, Summary
from maskyolo.runtime.sinks import Drawings
from maskyolo.runtime.sources import are_cameras, open_sources


class Fast:
    """A camera that always has a new frame, or only a few."""

    def __init__(self, name: str, count: int = 10**9) -> None:
        self.name, self._count = name, count
        self.pause = threading.Event()

    def frames(self, vid_stride: int = 1) -> Iterator[Frame]:
        del vid_stride
        for index in range(self._count):
            self.pause.wait(0.0005)  # its frame rate
            yield Frame(np.zeros((8, 8, 3), np.uint8), self.name, index, index / 100, "live")


def one_face(image: ImageArray) -> sv.Detections:
    """Find the same face in every image."""
    height, width = image.shape[:2]
    return sv.Detections(
        np.array([[0.3 * width, 0.3 * height, 0.6 * width, 0.6 * height]], np.float32),
        confidence=np.array([0.9], np.float32),
        class_id=np.array([1]),
        data={"class_name": np.array([CLASS_NAMES[1]])},
    )


@pytest.fixture
def cameras(samples: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Mjpeg]]:
    monkeypatch.setattr(pipeline, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(pipeline, "LONGEST_WAIT", 0.02)
    found = [Mjpeg(samples / name) for name in ("street.jpg", "office.jpg", "queue.jpg")]
    yield found
    for camera in found:
        if camera._broken is None:
            camera.die()


def test_cameras_faster_than_the_detector_get_equal_shares() -> None:
    outcomes = camera_results([Fast("a"), Fast("b"), Fast("c")], one_face)
    seen: Counter[str] = Counter()
    newest: dict[str, int] = {}
    while sum(seen.values()) < 300:
        outcome = next(outcomes)
        assert isinstance(outcome, pipeline.Detected)
        assert outcome.frame.index > newest.get(outcome.source.name, -1)
        newest[outcome.source.name] = outcome.frame.index
        seen[outcome.source.name] += 1
    outcomes.close()
    assert all(80 <= count <= 120 for count in seen.values()), seen


def test_a_camera_that_ends_or_breaks_the_detector_does_not_end_the_others() -> None:
    def detector(image: ImageArray) -> sv.Detections:
        calls.append(1)
        if len(calls) == 5:
            raise ValueError("odd image")
        return one_face(image)

    calls: list[int] = []
    found = list(camera_results([Fast("a", 3), Fast("b", 40), Fast("c", 40)], detector))
    kinds = Counter(type(one).__name__ for one in found)
    assert kinds["Failed"] == 1
    (failed,) = [one for one in found if isinstance(one, pipeline.Failed)]
    after = found[found.index(failed) + 1 :]
    names = {one.source.name for one in after if isinstance(one, pipeline.Detected)}
    assert failed.source.name not in names
    assert names  # the others go on


def test_one_camera_dies_and_returns_and_one_is_frozen(
    cameras: list[Mjpeg], tmp_path: Path
) -> None:
    steady, dying, frozen = cameras
    summary, reported = Summary(), []
    frames = detect(
        [camera.url for camera in cameras],
        one_face,
        save_json=tmp_path / "seen.jsonl",
        reconnect=60,
        on_error=lambda name, error: reported.append((name, str(error))),
        summary=summary,
    )

    def see(camera: Mjpeg, number: int) -> None:
        """Go on, with new frames of those that are not frozen, until this one is seen."""

        def is_seen() -> bool:
            steady.send(1)
            if camera is dying:
                dying.send(1)
            image, found = next(frames)
            return found.metadata["source"] == camera.url and number_of(image) >= number

        until(is_seen)

    for camera in cameras:
        see(camera, 0)
    dying.die()
    see(steady, steady.sent + 20)
    dying.start()
    see(dying, dying.sent)
    see(steady, steady.sent)
    frames.close()
    assert dying.url in dict(reported)
    assert steady.url not in dict(reported)
    assert all("trying to reconnect for 60 s" in text for _, text in reported)
    assert summary.interruptions == len(reported)
    lines = [json.loads(line) for line in (tmp_path / "seen.jsonl").read_text().splitlines()]
    assert {line["source"] for line in lines} == {camera.url for camera in cameras}
    for camera in cameras:  # numbers and times continue after the interruption
        own = [(line["frame"], line["time"]) for line in lines if line["source"] == camera.url]
        assert own == sorted(own)
        assert len({frame for frame, _ in own}) == len(own)
        assert summary.rates[camera.url].frames == len(own)
    assert 0 < summary.rates[frozen.url].frames < summary.rates[steady.url].frames


def test_each_camera_has_its_own_tracks_and_video(cameras: list[Mjpeg], tmp_path: Path) -> None:
    first, second, _ = cameras
    frames = detect(
        [first.url, second.url],
        one_face,
        track=True,
        blur=True,
        save=True,
        project=tmp_path / "runs",
    )
    tracks: dict[str, list[int]] = {first.url: [], second.url: []}
    while any(track.count(1) < 3 for track in tracks.values()):
        first.send(1)
        second.send(1)
        _, found = next(frames)
        assert found.tracker_id is not None
        tracks[found.metadata["source"]] += found.tracker_id.tolist()
        assert max(map(len, tracks.values())) < 500
    frames.close()
    assert {*tracks[first.url], *tracks[second.url]} == {1, -1}
    folder = tmp_path / "runs" / "predict"
    videos = sorted(folder.glob("*.mp4"))
    assert [video.name for video in videos] == ["live.mp4", "live_2.mp4"]
    assert all(probe(video)[0] > 3 for video in videos)


def _result(source: str, index: int) -> Result:
    image = np.zeros((100, 200, 3), np.uint8)
    found = one_face(image)
    found.tracker_id = np.array([1])
    return Result(Frame(image, source, index, index / 10, "live", Fraction(10)), found)


def test_people_of_several_cameras_are_counted_apart() -> None:
    counting, events = Counting(line="0.5,0,0.5,1"), []
    counting.listeners = [events.append]
    for index in range(20):
        for source in ("door", "gate"):
            counting.write(_result(source, index))
    counting.finish("door")
    for index in range(20, 30):
        counting.write(_result("gate", index))
    counting.close()

    def of(source: str) -> list[tuple[str, float]]:
        found: list[Event] = [event for event in events if event.source == source]
        return [(event.event, event.time) for event in found]

    assert of("door") == [("appears", 0.5), ("ends", 1.9)]
    assert of("gate") == [("appears", 0.5), ("ends", 2.9)]
    record: dict[str, Any] = counting.record()
    assert (record["frames"], record["people"], record["without_mask"]) == (50, 2, 2)
    sources = [(one["source"], one["frames"], one["people"]) for one in record["sources"]]
    assert sources == [("door", 20, 1), ("gate", 30, 1)]


def test_videos_of_several_cameras_are_written_at_once(tmp_path: Path) -> None:
    sink = Drawings(tmp_path)
    for index in range(6):
        for source in ("0", "1"):
            if source == "0" or index < 4:
                sink.write(_result(source, index))
        if index == 3:
            sink.finish("1")
    sink.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["camera0.mp4", "camera1.mp4"]
    assert probe(tmp_path / "camera0.mp4")[0] > probe(tmp_path / "camera1.mp4")[0]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["0", "1"], True),
        (["rtsp://10.0.0.5/x", "http://10.0.0.6/live"], True),
        (["http://10.0.0.5/a.mjpg", "http://10.0.0.6/b.mjpg"], True),
        (["http://10.0.0.5/a.jpg", "http://10.0.0.6/b.mp4"], False),
        (["0"], False),
    ],
)
def test_what_counts_as_several_cameras(given: list[str], expected: bool) -> None:
    assert are_cameras(open_sources(given)) is expected


def test_cameras_among_files_are_one_clear_error(samples: Path) -> None:
    with pytest.raises(SourceError, match=r"and .*street\.jpg a file; start one") as caught:
        open_sources(["rtsp://me:secret@10.0.0.5/x", str(samples / "street.jpg")])
    assert "secret" not in str(caught.value)
    assert not are_cameras([ImageSource(samples / "street.jpg"), ImageSource(samples / "a.jpg")])


def test_a_rate_is_that_of_the_frames_processed() -> None:
    rate = Rate()
    assert rate.per_second == 0
    for taken in (100.0, 100.5, 101.0):
        rate.add(taken)
    assert (rate.frames, rate.per_second) == (3, 2.0)
