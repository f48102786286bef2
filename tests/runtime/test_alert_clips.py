"""The clip of an alert begins before it, within limits, and is blurred like everything else."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import supervision as sv
from live import Mjpeg, until

from maskyolo.core.images import ImageArray, read_image
from maskyolo.errors import MaskyoloError
from maskyolo.runtime import alert_clips as module
from maskyolo.runtime.alert_clips import AlertClips
from maskyolo.runtime.detection import detect
from maskyolo.runtime.frames import Frame
from maskyolo.runtime.results import Result
from maskyolo.runtime.video_writer import VideoWriter

NOTHING = sv.Detections.empty()


def bare(image: ImageArray) -> sv.Detections:
    """Find a bare face where the image is white."""
    white = np.argwhere(image.min(axis=2) > 128)
    if not len(white):
        return sv.Detections.empty()
    (top, left), (bottom, right) = white.min(axis=0), white.max(axis=0) + 1
    return sv.Detections(
        xyxy=np.array([[left, top, right, bottom]], np.float32),
        confidence=np.array([0.9], np.float32),
        class_id=np.array([1]),
        data={"class_name": np.array(["without_mask"])},
    )


@pytest.fixture
def visit(tmp_path: Path) -> Path:
    """Eight seconds; a white square comes after three and moves to the right."""
    video = VideoWriter(tmp_path / "visit.mp4", Fraction(10))
    for index in range(80):
        image = np.zeros((96, 256, 3), np.uint8)
        if index >= 30:
            left = 2 * (index - 30)
            image[20:76, left : left + 56] = 255
        video.write(image)
    video.close()
    return tmp_path / "visit.mp4"


def read(path: Path) -> tuple[list[float], list[ImageArray]]:
    """Return the times and images of a clip."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    times = [float(frame.time or 0) for frame in frames]
    return times, [np.asarray(frame.to_ndarray(format="bgr24"), np.uint8) for frame in frames]


def alert_of(events: Path) -> dict[str, Any]:
    (alert,) = [
        event
        for event in map(json.loads, events.read_text().splitlines())
        if event["event"] == "alert"
    ]
    return dict(alert)


def watch(visit: Path, folder: Path, **settings: Any) -> dict[str, Any]:
    """Detect, and return the alert."""
    folder.mkdir()
    options = {"alert_after": 1, "alert_clip": 2, "events": folder / "events.jsonl"}
    for _ in detect(visit, bare, project=folder / "runs", **options, **settings):
        pass
    return alert_of(folder / "events.jsonl")


def test_a_clip_shows_the_seconds_before_and_after_the_alert(visit: Path, tmp_path: Path) -> None:
    alert = watch(visit, tmp_path / "out")
    image, clip = Path(alert["image"]), Path(alert["clip"])
    assert clip == image.with_suffix(".mp4")
    assert sorted(path.name for path in image.parent.iterdir()) == [image.name, clip.name]
    times, images = read(clip)
    assert np.allclose(times, np.arange(41) / 10, atol=0.002)  # all 10 frames per second
    at = 20  # two seconds from its beginning
    assert np.abs(images[at].astype(int) - read_image(image)).mean() < 3
    whites = [int((frame.min(axis=2) > 128).sum()) for frame in images]
    appears = round(10 * (3 - (alert["time"] - 2)))  # the frame in which the square appears
    assert max(whites[:appears]) == 0
    assert min(whites[appears:]) > 2000


def test_a_clip_is_blurred(visit: Path, tmp_path: Path) -> None:
    def grays(alert: dict[str, Any]) -> int:
        """Return the number of pixels between black and white at the alert, as in cells."""
        image = read(Path(alert["clip"]))[1][20].astype(int)
        gray = np.ptp(image, axis=2) < 20
        return int((gray & (image.max(axis=2) > 60) & (image.min(axis=2) < 200)).sum())

    sharp, blurred = (watch(visit, tmp_path / f"blur-{blur}", blur=blur) for blur in (False, True))
    assert grays(blurred) > 2 * grays(sharp) + 200


def test_a_clip_ends_with_the_source_or_the_run(visit: Path, tmp_path: Path) -> None:
    alert = watch(visit, tmp_path / "whole")
    options = {"alert_after": 1, "alert_clip": 30, "project": tmp_path / "runs"}
    assert len(list(detect(visit, bare, **options))) == 80
    (clip,) = (tmp_path / "runs" / "predict" / "alerts").glob("*.mp4")
    assert len(read(clip)[0]) == 80
    results = detect(visit, bare, name="early", **options)
    for _ in range(alert["frame"] + 4):
        next(results)
    results.close()
    (clip,) = (tmp_path / "runs" / "early" / "alerts").glob("*.mp4")
    assert len(read(clip)[0]) == alert["frame"] + 4


def test_each_camera_has_its_own_clips(samples: Path, tmp_path: Path) -> None:
    def find(image: ImageArray) -> sv.Detections:
        found = bare(np.full((40, 40, 3), 255, np.uint8))
        found.xyxy = found.xyxy + np.float32(10)
        return found

    photos = ("street", "office")
    cameras = [Mjpeg(samples / f"{name}.jpg") for name in photos]

    def frames() -> Iterator[None]:
        results = detect(
            [camera.url for camera in cameras],
            find,
            alert_after=0,
            alert_clip=1,
            events=tmp_path / "events.jsonl",
            project=tmp_path,
        )
        with closing(results):
            while True:
                for camera in cameras:
                    camera.send(1)
                next(results)
                yield

    running = frames()
    folder = tmp_path / "predict" / "alerts"
    until(lambda: next(running) is None and len(list(folder.glob("*.mp4"))) == 2, seconds=120)
    running.close()
    for camera in cameras:
        camera.die()
    shown = {}
    for line in (tmp_path / "events.jsonl").read_text().splitlines():
        if "clip" in (event := json.loads(line)):
            _, images = read(Path(event["clip"]))
            assert len(images) > 1
            shown[event["source"]] = np.array(images)[:, 120:].astype(int)  # below the numbers
    assert set(shown) == {camera.url for camera in cameras}
    own, other = shown.values()
    assert np.abs(own - own[0]).mean() < 5
    assert np.abs(other - other[0]).mean() < 5
    assert np.abs(own[0] - other[0]).mean() > 20


def result(number: int, kind: Any = "live") -> Result:
    """Return a frame of noise, of ten per second."""
    image = np.random.default_rng(number).integers(0, 255, (64, 64, 3), np.uint8)
    return Result(Frame(image, "camera", number, number / 10, kind), NOTHING)


def test_the_memory_of_a_camera_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 100_000)
    clips = AlertClips(30, lambda error: pytest.fail(str(error)))
    for number in range(300):
        if number == 200:
            clips.begin(tmp_path / "clip.mp4", result(number))
        clips.write(result(number))
        recent = clips._recent["camera"]
        held = sum(len(kept.jpeg) for kept in recent.frames)
        assert recent.size == held <= 100_000
    clips.close()
    times, _ = read(tmp_path / "clip.mp4")
    assert 10 < len(times) < 40  # the newest ones


def test_few_frames_per_second_are_kept_and_only_as_long_as_needed() -> None:
    clips = AlertClips(2, lambda error: pytest.fail(str(error)))
    for number in range(600):
        image = np.zeros((8, 8, 3), np.uint8)
        clips.write(Result(Frame(image, "camera", number, number / 60, "live"), NOTHING))
    frames = clips._recent["camera"].frames
    assert 28 <= len(frames) <= 31
    assert frames[0].time >= frames[-1].time - 2
    clips.close()


def test_a_large_frame_is_scaled_down(tmp_path: Path) -> None:
    clips = AlertClips(1, lambda error: pytest.fail(str(error)))
    large = Result(Frame(np.zeros((1200, 1600, 3), np.uint8), "camera", 0, 0.0, "live"), NOTHING)
    clips.begin(tmp_path / "clip.mp4", large)
    clips.write(large)
    clips.close()
    assert read(tmp_path / "clip.mp4")[1][0].shape == (960, 1280, 3)


def test_a_clip_that_cannot_be_written_is_reported_once(tmp_path: Path) -> None:
    errors: list[MaskyoloError] = []
    clips = AlertClips(1, errors.append)
    for number in range(3):
        clips.begin(tmp_path / "missing" / f"{number}.mp4", result(number))
        clips.write(result(number))
    clips.close()
    (error,) = errors
    assert "its folder was removed or renamed" in str(error)
    assert "missing" in str(error)


def test_a_camera_does_not_wait_for_clips_and_a_file_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, written = threading.Event(), list[str]()

    def slow(path: Path, frames: Any) -> None:
        assert go_on.wait(60)
        written.append(path.name)

    monkeypatch.setattr(module, "_write", slow)
    errors: list[MaskyoloError] = []
    clips = AlertClips(1, errors.append)
    for number in range(10):  # each clip is complete ten frames later
        clips.begin(tmp_path / f"{number}.mp4", result(number))
    for number in range(30):
        clips.write(result(number))
    assert len(errors) == 1
    assert "4 clips are being written" in str(errors[0])
    go_on.set()
    clips.close()
    assert written == [f"{number}.mp4" for number in range(4)]
    again = AlertClips(1, errors.append)
    for number in range(10):
        again.begin(tmp_path / f"again{number}.mp4", result(number, "video"))
    for number in range(30):
        again.write(result(number, "video"))
    again.close()
    assert len(written) == 14
    assert len(errors) == 1


def test_clips_need_alerts_and_pixels(visit: Path) -> None:
    with pytest.raises(MaskyoloError, match=r"--alert-clip\) need --alert-after"):
        list(detect(visit, bare, alert_clip=5))
    with pytest.raises(MaskyoloError, match="--stats-only, which saves none"):
        list(detect(visit, bare, alert_clip=5, alert_after=1, stats_only=True))
    with pytest.raises(MaskyoloError, match="alert-clip must be between 1 and 30, got 90"):
        list(detect(visit, bare, alert_clip=90, alert_after=1))
