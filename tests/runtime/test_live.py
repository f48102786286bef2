"""Cameras that are fast, fail and return, or change their size: MJPEG, RTSP and a webcam."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import supervision as sv
from clips import probe
from live import Mjpeg, Rtsp, Webcam, number_of, until

from maskyolo.core.classes import CLASS_NAMES
from maskyolo.core.images import ImageArray
from maskyolo.errors import SourceError
from maskyolo.runtime import ffmpeg, live_stream, pipeline
from maskyolo.runtime.detection import detect
from maskyolo.runtime.live_sources import StreamSource
from maskyolo.runtime.results import Quit
from maskyolo.runtime.run import Summary

LiveCamera = Mjpeg | Rtsp | Webcam


@pytest.fixture
def mjpeg(samples: Path) -> Iterator[Mjpeg]:
    camera = Mjpeg(samples / "street.jpg")
    yield camera
    camera.die()


@pytest.fixture(params=["mjpeg", "rtsp", "webcam"])
def camera(
    request: pytest.FixtureRequest, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[LiveCamera]:
    monkeypatch.setattr(pipeline, "FIRST_WAIT", 0.01)
    if request.param == "rtsp" and (reason := Rtsp.missing()):
        pytest.skip(reason)
    found: LiveCamera = (
        Mjpeg(samples / "street.jpg")
        if request.param == "mjpeg"
        else Rtsp()
        if request.param == "rtsp"
        else Webcam()
    )
    if isinstance(found, Webcam):
        monkeypatch.setattr(cv2, "VideoCapture", found)
    yield found
    found.die()


class NumberReader:
    """A detector that reads each frame's number and calls `then` with it."""

    def __init__(self, then: Callable[[int], None] = lambda number: None) -> None:
        self.then = then
        self.seen: list[int] = []

    def __call__(self, image: ImageArray) -> sv.Detections:
        self.seen.append(number_of(image))
        self.then(self.seen[-1])
        return sv.Detections(
            np.array([[10, 10, 50, 50]], np.float32),
            confidence=np.array([0.9], np.float32),
            class_id=np.array([0]),
            data={"class_name": np.array(CLASS_NAMES[:1])},
        )


def newest(camera: LiveCamera) -> int:
    """Return the number of the last frame that was sent and can have been decoded."""
    return camera.sent - 1 - camera.delay


def records(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_of_a_camera_faster_than_the_detector_the_newest_frame_is_used(camera: LiveCamera) -> None:
    summary, marks = Summary(), []

    def slow(number: int) -> None:
        until(
            lambda: (
                summary.dropped + len(detector.seen) + 1 + camera.delay >= camera.sent
                or number >= newest(camera)
            )
        )
        if len(marks) < 5:
            camera.send(20)
            # all but one are skipped
            until(lambda: summary.dropped + len(detector.seen) + 1 + camera.delay >= camera.sent)
            marks.append(newest(camera))

    detector = NumberReader(slow)
    for _ in detect(camera.url, model=detector, summary=summary):
        if len(detector.seen) == 6:
            break
    assert all(number >= mark for number, mark in zip(detector.seen[1:], marks, strict=True)), (
        detector.seen,
        marks,
    )
    assert summary.frames == 6
    assert summary.dropped >= 5 * 19
    assert summary.frames + summary.dropped + camera.delay == camera.sent


def test_a_camera_that_fails_and_returns_is_continued(camera: LiveCamera, tmp_path: Path) -> None:
    summary, reported, mark = Summary(), [], 0

    def die(number: int) -> None:
        if number >= newest(camera) and not reported:
            camera.die()

    def back(source: str, error: Exception) -> None:
        nonlocal mark
        reported.append(str(error))
        mark = camera.sent
        camera.start()

    detector = NumberReader(die)
    outputs = {"save_json": tmp_path / "out.jsonl", "events": tmp_path / "events.csv"}
    for image, _ in detect(
        camera.url, detector, reconnect=float("inf"), on_error=back, summary=summary, **outputs
    ):
        if reported and number_of(image) >= newest(camera):
            break
    lines = records(tmp_path / "out.jsonl")
    assert [line["source"] for line in lines] == [camera.url] * len(detector.seen)
    assert detector.seen == sorted(set(detector.seen))
    assert detector.seen[0] < mark <= detector.seen[-1]
    frames, times = [line["frame"] for line in lines], [line["time"] for line in lines]
    assert frames == sorted(set(frames))  # type: ignore[type-var]
    assert times == sorted(times)  # type: ignore[type-var]
    assert (summary.interruptions, len(reported)) == (1, 1)
    assert "trying to reconnect until it is back" in reported[0]
    assert "\n" not in reported[0]


def test_a_camera_that_does_not_return_is_an_error_and_its_results_are_kept(
    camera: LiveCamera, tmp_path: Path
) -> None:
    def die(number: int) -> None:
        if number >= newest(camera):
            camera.die()

    detector = NumberReader(die)
    with pytest.raises(SourceError, match="cannot"):
        list(
            detect(
                camera.url,
                detector,
                reconnect=0.05,
                save_json=tmp_path / "out.jsonl",
                on_error=lambda *_: None,
            )
        )
    *lines, last = records(tmp_path / "out.jsonl")
    assert len(lines) == len(detector.seen) > 0
    assert set(last) == {"source", "frame", "error"}


def test_a_change_of_size_within_a_stream_is_handled(camera: LiveCamera, tmp_path: Path) -> None:
    grown = False

    def grow(number: int) -> None:
        nonlocal grown
        if number >= newest(camera) and not grown:
            grown = True
            camera.send(5, size=(640, 480))

    results = detect(
        camera.url,
        NumberReader(grow),
        save=True,
        save_json=tmp_path / "out.jsonl",
        project=tmp_path,
    )
    for image, _ in results:
        if image.shape[0] == 480 and number_of(image) >= newest(camera):
            break
    results.close()
    lines = records(tmp_path / "out.jsonl")
    sizes = [(line["width"], line["height"]) for line in lines]
    assert sizes == sorted(sizes)  # type: ignore[type-var]
    assert set(sizes) == {(320, 240), (640, 480)}
    (video,) = (tmp_path / "predict").glob("*.mp4")
    count, _, size = probe(video)
    assert (count, size) == (len(lines), (320, 240))


def test_every_nth_frame_of_a_stream_keeps_its_index(mjpeg: Mjpeg) -> None:
    frames = StreamSource(mjpeg.url).frames(vid_stride=3)
    first = next(frames)
    mjpeg.send(6)
    second = next(frames)
    frames.close()  # type: ignore[attr-defined]
    assert [number_of(frame.image) for frame in (first, second)] == [first.index, second.index]
    assert second.index - first.index >= 3
    assert first.rate == second.rate == Fraction(25, 3)
    assert second.time == second.taken - first.taken > 0, (
        "FFmpeg itself would say a multiple of 0.04 s"
    )


@dataclass
class Packet:
    is_keyframe: bool
    number: int
    size: int = 100


class Packets:
    """A stand-in for a container, whose packets are all available immediately."""

    def __init__(self, keyframes: set[int], count: int) -> None:
        self.packets = [Packet(number in keyframes, number) for number in range(count)]
        self.closed = self.exhausted = False

    def demux(self, stream: object) -> Iterator[Packet]:
        yield from self.packets
        self.exhausted = True

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("keyframes", "count", "taken", "left_out"),
    [
        ({0}, 5, [0, 1, 2, 3, 4], 0),
        ({0, 2, 5}, 8, [5, 6, 7], 5),  # a keyframe makes those before it unnecessary
        (set(range(8)), 8, [7], 7),  # MJPEG: every frame is a keyframe
        ({0}, 150, [], None),  # too many without a keyframe: wait for one
        ({0, 140}, 150, list(range(140, 150)), 140),
    ],
)
def test_packets_that_a_slow_decoder_cannot_use_are_left_out_up_to_a_keyframe(
    keyframes: set[int], count: int, taken: list[int], left_out: int | None
) -> None:
    container = Packets(keyframes, count)
    packets = live_stream._Packets(container, None)
    until(lambda: container.exhausted)
    found = list(packets)
    assert not container.closed, "the decoder may still be using it"
    packets.close()
    assert container.closed
    assert [packet.number for packet, _, _ in found] == taken
    assert [skipped for _, _, skipped in found] == (
        [left_out] + [0] * (len(taken) - 1) if taken else []
    )


def test_the_window_can_be_closed_during_an_outage(
    mjpeg: Mjpeg, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported: list[str] = []

    class Shown:
        def write(self, result: object) -> None:
            if number_of(result.frame.image) >= newest(mjpeg):  # type: ignore[attr-defined]
                mjpeg.die()

        def idle(self) -> None:
            if reported:
                raise Quit

        def close(self) -> None:
            reported.append("closed")

    monkeypatch.setattr("maskyolo.runtime.detection.Window", Shown)
    for _ in detect(
        mjpeg.url,
        NumberReader(),
        reconnect=20,
        show=True,
        on_error=lambda _, error: reported.append(str(error)),
    ):
        pass
    mjpeg.start()
    assert reported[1:] == ["closed"]


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_a_server_that_accepts_and_stays_silent_is_an_error(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ffmpeg, "TIMEOUT", 0.2)
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(SourceError, match=r"timed out|no answer within 0\.2 s"),
    ):
        list(StreamSource(f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/x").frames())


def test_a_stream_that_falls_silent_is_reconnected(
    mjpeg: Mjpeg, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ffmpeg, "TIMEOUT", 0.5)
    monkeypatch.setattr(pipeline, "FIRST_WAIT", 0.01)
    reported: list[str] = []
    for _ in detect(
        mjpeg.url, NumberReader(), on_error=lambda _, error: reported.append(str(error))
    ):
        if reported:
            break
    assert "it broke off after 10 frames (no answer within 0.5 s)" in reported[0]


def test_stopping_does_not_wait_for_a_silent_server(
    mjpeg: Mjpeg, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ffmpeg, "TIMEOUT", 60)
    results = detect(mjpeg.url, NumberReader())
    next(results)
    results.close()
    assert "maskyolo-stream" in {thread.name for thread in threading.enumerate()}, (
        "closing waited for the silent server"
    )


def test_an_http_cameras_password_is_sent_and_never_stored(mjpeg: Mjpeg, tmp_path: Path) -> None:
    reported: list[str] = []
    address = mjpeg.url.replace("://", "://me:s%40cret@") + "?user=me&pwd=s%40cret"
    results = detect(
        address,
        NumberReader(lambda number: mjpeg.die() if number >= newest(mjpeg) else None),
        reconnect=0.01,
        save=True,
        stats_only=False,
        track=True,
        save_json=tmp_path / "out.jsonl",
        events=tmp_path / "events.csv",
        project=tmp_path,
        on_error=lambda _, error: reported.append(str(error)),
    )
    with pytest.raises(SourceError) as error:
        list(results)
    mjpeg.start()
    assert "Basic " + b64encode(b"me:s@cret").decode() in mjpeg.logins
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 5
    assert all(b"cret" not in path.read_bytes() and "cret" not in path.name for path in files)
    assert "cret" not in "".join([*reported, str(error.value)])
    assert "://***@127.0.0.1" in reported[0]


@pytest.mark.skipif(sys.platform == "win32", reason="sends signals as POSIX does")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_the_command_on_a_stream_closes_its_files_when_it_is_stopped(
    mjpeg: Mjpeg, tmp_path: Path, number: signal.Signals
) -> None:
    json_file = tmp_path / "out.jsonl"
    words = [
        "--source",
        mjpeg.url,
        "--imgsz",
        "160",
        "--track",
        "--project",
        tmp_path,
        "--save-json",
        json_file,
    ]
    command = [sys.executable, "-m", "maskyolo", "detect", *map(str, words)]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    part = tmp_path / "out.jsonl.part"

    def some() -> bool:
        mjpeg.send(1)
        return running.poll() is not None or (part.is_file() and part.read_bytes().count(b"\n") > 5)

    until(some, seconds=120)
    running.send_signal(number)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    assert "Traceback" not in err
    lines = records(json_file)
    assert len(lines) > 5
    assert probe(tmp_path / "predict" / "live.mp4")[0] == len(lines)
    assert out.splitlines()[0].startswith(f"{len(lines)} frames, ")
    assert out.splitlines()[-1] == str(tmp_path / "predict")
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX does")
def test_a_killed_run_leaves_no_incomplete_file_and_usable_parts(
    mjpeg: Mjpeg, tmp_path: Path
) -> None:
    words = ["--source", mjpeg.url, "--imgsz", "160", "--project", tmp_path]
    words += ["--save-json", tmp_path / "out.jsonl", "--events", tmp_path / "events.jsonl"]
    command = [sys.executable, "-m", "maskyolo", "detect", *map(str, words)]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    video = tmp_path / "predict" / "live.mp4.part"

    def much() -> bool:
        mjpeg.send(1)
        return running.poll() is not None or (video.is_file() and b"moof" in video.read_bytes())

    until(much, seconds=120)
    running.kill()
    running.wait()
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {
        "out.jsonl.part",
        "events.jsonl.part",
        "live.mp4.part",
        "args.yaml",
    }
    assert len(records(tmp_path / "out.jsonl.part")) > 1
    assert all(
        set(line) >= {"event", "track_id"} for line in records(tmp_path / "events.jsonl.part")
    )
    (tmp_path / "saved.mp4").write_bytes(video.read_bytes())
    capture = cv2.VideoCapture(str(tmp_path / "saved.mp4"))
    assert capture.read()[0]
    capture.release()


def test_a_run_is_stopped_while_no_frame_arrives(mjpeg: Mjpeg) -> None:
    reader, stop = NumberReader(), threading.Event()
    frames = detect(mjpeg.url, reader, stop=stop, reconnect=float("inf"))
    next(frames)
    while reader.seen[-1] != mjpeg.sent - 1:
        next(frames)
    threading.Timer(0.05, stop.set).start()  # there is no further frame, and no end
    assert list(frames) == []


def test_a_run_is_stopped_before_the_first_frame() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        stop = threading.Event()
        stop.set()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/live"
        assert list(detect(url, NumberReader(), stop=stop)) == []
