"""Outputs: annotated images, videos, JSONL, label files and crops, complete or not at all."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import supervision as sv
from clips import probe

from maskyolo.core.files import open_alone
from maskyolo.core.images import read_image
from maskyolo.errors import OutputError
from maskyolo.runtime.drawing import COLORS, draw_detections
from maskyolo.runtime.frames import Frame
from maskyolo.runtime.json_lines import JsonLines
from maskyolo.runtime.results import Quit, Result, Sinks
from maskyolo.runtime.sinks import Crops, Drawings, LabelFiles
from maskyolo.runtime.video_writer import VideoWriter
from maskyolo.runtime.window import Window

GRAY = 128


def found(*boxes: tuple[float, float, float, float]) -> sv.Detections:
    """Return detections of alternating classes, with confidence 0.9, 0.8, …"""
    ids = np.arange(len(boxes)) % 2
    return sv.Detections(
        xyxy=np.array(boxes, np.float32).reshape(-1, 4),
        confidence=0.9 - np.arange(len(boxes), dtype=np.float32) / 10,
        class_id=ids,
        data={"class_name": np.array(["with_mask", "without_mask"])[ids]},
    )


def result(
    source: str = "a.jpg",
    *boxes: tuple[float, float, float, float],
    size: tuple[int, int] = (100, 80),
    **more: Any,
) -> Result:
    return Result(
        Frame(np.full((size[1], size[0], 3), GRAY, np.uint8), source, **more), found(*boxes)
    )


def video(
    index: int,
    source: str = "v.avi",
    size: tuple[int, int] = (64, 48),
    rate: Fraction = Fraction(25),
) -> Result:
    return result(
        source, (5, 5, 20, 20), size=size, index=index, time=index / 25, kind="video", rate=rate
    )


def bgr(hexadecimal: str) -> np.ndarray:
    return np.array(sv.Color.from_hex(hexadecimal).as_bgr())


def test_masked_is_green_and_bare_is_red_and_the_frame_is_unchanged() -> None:
    image = np.full((400, 600, 3), GRAY, np.uint8)
    drawn = draw_detections(image, found((100, 100, 200, 200), (300, 100, 400, 200)))
    assert (image == GRAY).all()
    assert (drawn[150, 100] == bgr(COLORS[0])).all()
    assert (drawn[150, 300] == bgr(COLORS[1])).all()
    assert bgr(COLORS[0]).argmax() == 1
    assert bgr(COLORS[1]).argmax() == 2


def test_nothing_found_draws_nothing() -> None:
    image = np.full((40, 60, 3), GRAY, np.uint8)
    assert (draw_detections(image, found()) == image).all()


@pytest.mark.parametrize("size", [(1, 1), (30, 20), (100, 3000), (640, 480), (5000, 4000)])
def test_every_size_can_be_drawn_on(size: tuple[int, int]) -> None:
    width, height = size
    drawn = draw_detections(
        np.full((height, width, 3), GRAY, np.uint8), found((0, 0, width, height), (0, 0, 1, 1))
    )
    assert drawn.shape == (height, width, 3)
    assert (drawn != GRAY).any()


def test_a_label_at_the_border_is_inside_the_image() -> None:
    size = (600, 400)
    inside = draw_detections(np.full((400, 600, 3), GRAY, np.uint8), found((300, 200, 400, 300)))
    corner = draw_detections(np.full((400, 600, 3), GRAY, np.uint8), found((499, 0, 599, 100)))
    white = [(drawn.min(axis=2) > 200).sum() for drawn in (inside, corner)]
    assert white[0] > 50
    assert white[1] == pytest.approx(white[0], rel=0.2), size


def test_large_images_get_thick_lines() -> None:
    def inked(width: int, height: int) -> int:
        drawn = draw_detections(
            np.full((height, width, 3), GRAY, np.uint8),
            found((width // 4, height // 4, width // 2, height * 3 // 4)),
        )
        return int((drawn[height * 5 // 8, : width * 3 // 8] != GRAY).any(axis=1).sum())

    assert 1 <= inked(640, 480) <= 4
    assert 10 <= inked(6000, 4000) <= 40


def test_images_keep_their_name_and_never_overwrite_each_other(tmp_path: Path) -> None:
    sink = Drawings(tmp_path)
    for source in (
        "a/x.jpg",
        "b/x.jpg",
        "b/X.png",
        "c/x.tiff",
        "x_2.jpg",
        "a b [c] ü.webp",
        "x.jpg_640x480",
    ):
        sink.write(result(source))
    sink.close()
    written = sorted(path.name for path in tmp_path.iterdir())
    assert len({name.casefold() for name in written}) == 7
    assert {"x.jpg", "x_2.jpg", "a b [c] ü.webp"} <= set(written)
    assert all(read_image(path).shape == (80, 100, 3) for path in tmp_path.iterdir())


def test_a_large_webp_is_written_as_jpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maskyolo.runtime.sinks._MAX_WEBP", 64 * 48)
    sink = Drawings(tmp_path)
    for source, width in (("a.webp", 64), ("b.webp", 65)):
        sink.write(result(source, size=(width, 48)))
    sink.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.webp", "b.jpg"]


def test_the_source_is_never_overwritten(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "x.png"), np.zeros((5, 5, 3), np.uint8))
    before = (tmp_path / "x.png").read_bytes()
    with pytest.raises(OutputError, match="source itself"):
        Drawings(tmp_path).write(result(str(tmp_path / "x.png")))
    assert (tmp_path / "x.png").read_bytes() == before


@pytest.mark.parametrize(
    "rate", [Fraction(25), Fraction(30000, 1001), Fraction(25, 3), Fraction(7)]
)
def test_a_video_has_its_frames_its_rate_and_even_sides(tmp_path: Path, rate: Fraction) -> None:
    sink = Drawings(tmp_path)
    for index in range(10):
        sink.write(video(index, size=(63, 47), rate=rate))
    assert [path.name for path in tmp_path.iterdir()] == ["v.mp4.part"]
    sink.finish()
    assert [path.name for path in tmp_path.iterdir()] == ["v.mp4"]
    assert probe(tmp_path / "v.mp4") == (10, rate, (64, 48))
    with av.open(str(tmp_path / "v.mp4")) as container:
        assert container.streams.video[0].frames == 10, "the finished file must have an index"


def test_two_videos_with_the_same_name_are_two_files(tmp_path: Path) -> None:
    sink = Drawings(tmp_path)
    for source in ("a/v.avi", "b/v.avi"):
        sink.write(video(0, source))
        sink.write(video(1, source))
        sink.finish()
    sink.write(result("v.jpg"))
    sink.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["v.jpg", "v.mp4", "v_2.mp4"]


def test_a_video_of_a_camera_keeps_its_timing(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "v.mp4", Fraction(30), timed=True)
    for moment in (0.0, 0.5, 0.5, 2.0):
        writer.write(np.zeros((48, 64, 3), np.uint8), moment)
    writer.close()
    with av.open(str(tmp_path / "v.mp4")) as container:
        assert [round(float(frame.time or 0), 3) for frame in container.decode(video=0)] == [
            0,
            0.5,
            0.501,
            2.0,
        ]


def test_a_stream_that_changes_its_size_is_one_video(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "v.mp4", Fraction(25))
    for size in ((48, 64, 3), (96, 128, 3), (48, 64, 3)):
        writer.write(np.zeros(size, np.uint8))
    writer.close()
    assert probe(tmp_path / "v.mp4") == (3, 25, (64, 48))


@pytest.mark.parametrize("frames", [0, 100])
def test_a_video_that_cannot_be_completed_stays_a_playable_part_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frames: int
) -> None:
    class Container:
        """A container on a disk that is full once `full` is set."""

        full = False

        def __init__(self, container: Any) -> None:
            self.container = container

        def mux(self, packets: Any) -> None:
            if self.full:
                raise OSError(errno.ENOSPC, "No space left on device")
            self.container.mux(packets)

        def close(self) -> None:
            if self.full:
                raise OSError(errno.ENOSPC, "No space left on device")
            self.container.close()

        def __getattr__(self, name: str) -> Any:
            return getattr(self.container, name)

    opened: list[Container] = []

    def av_open(*args: Any, _open: Callable[..., Any] = av.open, **more: Any) -> Container:
        opened.append(Container(_open(*args, **more)))
        return opened[-1]

    monkeypatch.setattr(av, "open", av_open)
    writer = VideoWriter(tmp_path / "v.mp4", Fraction(25))
    for _ in range(frames):
        writer.write(np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8))
    monkeypatch.setattr(Container, "full", True)
    with pytest.raises(OutputError, match="free some space"):
        writer.close()
    assert [path.name for path in tmp_path.iterdir()] == (["v.mp4.part"] if frames else [])
    if frames:
        (tmp_path / "rescued.mp4").write_bytes((tmp_path / "v.mp4.part").read_bytes())
        assert cv2.VideoCapture(str(tmp_path / "rescued.mp4")).read()[0]
    opened[0].container.close()


def test_jsonl_follows_the_contract(tmp_path: Path) -> None:
    sink = JsonLines(tmp_path / "new" / "out.jsonl")
    sink.write(result("Ünï/a.jpg", (1, 2, 33.333333, 4)))
    sink.write(video(3))
    sink.write(result("empty.jpg"))
    sink.fail("bad.jpg", 0, "cannot decode")
    sink.close()
    lines = [
        json.loads(line)
        for line in (tmp_path / "new" / "out.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert lines[0] == {
        "source": "Ünï/a.jpg",
        "frame": 0,
        "time": 0.0,
        "width": 100,
        "height": 80,
        "detections": [
            {
                "box": [1.0, 2.0, 33.33, 4.0],
                "class": "with_mask",
                "class_id": 0,
                "confidence": 0.9,
                "track_id": None,
            }
        ],
    }
    assert (lines[1]["frame"], lines[1]["time"]) == (3, 0.12)
    assert lines[2]["detections"] == []
    assert lines[3] == {"source": "bad.jpg", "frame": 0, "error": "cannot decode"}


def test_jsonl_has_whole_lines_at_any_moment_and_its_name_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").write_text("older\n")
    sink = JsonLines(tmp_path / "out.jsonl")
    for count in range(1, 4):
        sink.write(result("\udcff.jpg"))  # a name that is not valid Unicode
        assert [
            json.loads(line)["source"]
            for line in (tmp_path / "out.jsonl.part").read_bytes().splitlines()
        ] == ["\udcff.jpg"] * count
        assert (tmp_path / "out.jsonl").read_text() == "older\n"
    sink.close()
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]
    assert len((tmp_path / "out.jsonl").read_bytes().splitlines()) == 3


def test_jsonl_on_a_full_disk_keeps_whole_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FullDisk:
        """A file on a disk with room for one line and ten bytes."""

        def __init__(self, file: Any) -> None:
            self.file, self.writes = file, 0

        def write(self, data: bytes) -> int:
            self.writes += 1
            if self.writes == 3:
                raise OSError(errno.ENOSPC, "No space left on device")
            return int(self.file.write(data if self.writes == 1 else data[:10]))

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

    with monkeypatch.context() as patch:
        patch.setattr(
            "maskyolo.runtime.json_lines.open_alone",
            lambda path, keep: FullDisk(open_alone(path, keep)),
        )
        sink = JsonLines(tmp_path / "out.jsonl")
    sink.write(result())
    with pytest.raises(OutputError, match="free some space"):
        sink.write(result())
    sink.close()
    (line,) = (tmp_path / "out.jsonl").read_text().splitlines()
    assert json.loads(line)["source"] == "a.jpg"


def test_jsonl_into_a_folder_or_below_a_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="folder"):
        JsonLines(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file"):
        JsonLines(tmp_path / "file" / "out.jsonl")


@pytest.mark.skipif(sys.platform == "win32", reason="no named pipes in the file system")
def test_jsonl_is_written_directly_into_a_pipe(tmp_path: Path) -> None:
    import os
    import threading

    os.mkfifo(tmp_path / "pipe")
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend((tmp_path / "pipe").open().readlines()))
    reader.start()
    sink = JsonLines(tmp_path / "pipe")
    sink.write(result())
    sink.close()
    reader.join()
    assert json.loads(lines[0])["source"] == "a.jpg"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_jsonl_into_a_full_device_is_an_error() -> None:
    with pytest.raises(OutputError, match="cannot write /dev/full: no space left"):
        JsonLines(Path("/dev/full")).write(result())


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="no files for descriptors")
@pytest.mark.parametrize("name", ["/dev/fd/1", "/dev/stdout"])
def test_jsonl_to_standard_output_mixes_with_printed_lines(name: str, tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from maskyolo.runtime.json_lines import JsonLines
print("first", flush=True)
sink = JsonLines(Path(sys.argv[1]))
sink.line("second")
sink.close()
print("third")
"""
    with (tmp_path / "out").open("w") as out:
        subprocess.run([sys.executable, "-c", code, name], stdout=out, check=True)
    assert (tmp_path / "out").read_text().split() == ["first", "second", "third"]


def test_label_files_are_in_yolo_format(tmp_path: Path) -> None:
    sink = LabelFiles(tmp_path)
    sink.write(result("d/a.jpg", (0, 0, 50, 40), (50, 40, 100, 80)))
    sink.write(result("e/a.jpg"))
    sink.write(video(7))
    assert (
        (tmp_path / "a.txt").read_text()
        == "0 0.250000 0.250000 0.500000 0.500000\n1 0.750000 0.750000 0.500000 0.500000\n"
    )
    assert (tmp_path / "a_2.txt").read_text() == ""
    assert (tmp_path / "v_7.txt").read_text().startswith("0 ")


@pytest.mark.parametrize("video_first", [True, False])
def test_an_image_named_like_a_video_frame_has_its_own_files(
    video_first: bool, tmp_path: Path
) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "crops").mkdir()
    both = [video(0, "a/Clip.mp4"), result("b/clip_0.jpg", (5, 5, 20, 20))]
    for sink in (LabelFiles(tmp_path / "labels"), Crops(tmp_path / "crops")):
        for one in both if video_first else both[::-1]:
            sink.write(one)
    names = ["Clip_0", "clip_0_2"] if video_first else ["Clip_2_0", "clip_0"]
    assert sorted(path.stem for path in (tmp_path / "labels").iterdir()) == names
    assert sorted(path.stem for path in (tmp_path / "crops" / "with_mask").iterdir()) == [
        f"{name}_1" for name in names
    ]


def test_label_files_with_confidence_have_six_numbers(tmp_path: Path) -> None:
    LabelFiles(tmp_path, conf=True).write(result("a.jpg", (0, 0, 50, 40)))
    assert (tmp_path / "a.txt").read_text() == "0 0.250000 0.250000 0.500000 0.500000 0.900000\n"


def test_crops_are_sorted_by_class_and_have_the_size_of_the_box(tmp_path: Path) -> None:
    sink = Crops(tmp_path)
    sink.write(result("a.jpg", (10.4, 10, 30, 40.2), (90, 70, 100, 80), (5, 5, 5, 5)))
    sink.write(video(2))
    assert read_image(tmp_path / "with_mask" / "a_1.jpg").shape == (31, 20, 3)
    assert read_image(tmp_path / "without_mask" / "a_2.jpg").shape == (10, 10, 3)
    assert sorted(path.name for path in (tmp_path / "with_mask").iterdir()) == [
        "a_1.jpg",
        "v_2_1.jpg",
    ]


def test_sinks_open_late_and_all_are_closed_even_if_one_fails() -> None:
    log: list[str] = []

    class Recorder:
        def __init__(self, name: str, bad: bool = False) -> None:
            self.name, self.bad = name, bad
            log.append(f"open {name}")

        def write(self, one: Result) -> None:
            log.append(f"write {self.name}")

        def fail(self, source: str, index: int, error: str) -> None:
            log.append(f"fail {self.name}")

        def finish(self, source: str = "") -> None:
            log.append(f"finish {self.name}")

        def close(self) -> None:
            log.append(f"close {self.name}")
            if self.bad:
                raise OutputError("no space")

    def make() -> Any:
        yield Recorder("a")
        yield Recorder("b", bad=True)

    sinks = Sinks(make)
    sinks.finish()
    assert log == []
    sinks.write(result())
    sinks.finish()
    with pytest.raises(OutputError):
        sinks.close()
    assert log == [
        "open a",
        "open b",
        "write a",
        "write b",
        "finish a",
        "finish b",
        "close b",
        "close a",
    ]


def test_no_display_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(OutputError, match=r"no display.*--show"):
        Window()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="X11 displays are Linux's")
def test_a_display_that_does_not_respond_does_not_end_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DISPLAY", ":987")
    with pytest.raises(OutputError, match="--show"):
        Window()


def pretend_display(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the attempt to open a window in a child process succeed."""
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(
        subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 0)
    )


def test_the_window_shows_annotated_frames_until_q(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[np.ndarray] = []
    keys = iter([-1, ord("n"), -1, ord("q")])
    pretend_display(monkeypatch)
    for name, stand_in in {
        "namedWindow": lambda *_: None,
        "resizeWindow": lambda *_: None,
        "imshow": lambda _, image: shown.append(image),
        "waitKey": lambda _: next(keys),
        "getWindowProperty": lambda *_: 1.0,
        "destroyAllWindows": lambda: None,
    }.items():
        monkeypatch.setattr(cv2, name, stand_in)
    window = Window()
    window.write(result("a.jpg", (10, 10, 50, 50)))  # waits for a key
    window.write(video(0))  # does not
    with pytest.raises(Quit):
        window.write(video(1))
    window.close()
    assert len(shown) == 3
    assert (shown[0] != GRAY).any()


def test_the_window_responds_while_there_is_no_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_display(monkeypatch)
    keys = iter([-1, -1, ord("q")])
    for name, value in {
        "waitKey": lambda _: next(keys),
        "getWindowProperty": lambda *_: 1.0,
    }.items():
        monkeypatch.setattr(cv2, name, value)
    for name in ("namedWindow", "resizeWindow", "imshow", "destroyAllWindows"):
        monkeypatch.setattr(cv2, name, lambda *_: None)
    window = Window()
    window.idle()  # nothing is shown yet
    window.write(video(0))
    window.idle()
    with pytest.raises(Quit):
        window.idle()


def test_two_runs_do_not_write_the_same_lines_file(tmp_path: Path) -> None:
    first = JsonLines(tmp_path / "out.jsonl")
    first.write(result("a.jpg"))
    with pytest.raises(OutputError, match=r"out\.jsonl\.part: another run is writing it"):
        JsonLines(tmp_path / "out.jsonl")
    first.close()
    second = JsonLines(tmp_path / "out.jsonl")
    second.write(result("b.jpg"))
    second.close()
    (line,) = (tmp_path / "out.jsonl").read_text().splitlines()
    assert json.loads(line)["source"] == "b.jpg"


@pytest.mark.parametrize("path", ["/", ".", "..", ""])
def test_a_folder_is_no_lines_file(path: str) -> None:
    with pytest.raises(OutputError, match="it is a folder; use the name of a file"):
        JsonLines(Path(path))


def test_a_video_of_huge_frames_is_written_in_a_size_that_players_support(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("maskyolo.runtime.video_writer.MAX_PIXELS", 64 * 48)
    writer = VideoWriter(tmp_path / "a.mp4", Fraction(25))
    for gray in (40, 80):
        writer.write(np.full((96, 128, 3), gray, np.uint8))
    writer.close()
    assert probe(tmp_path / "a.mp4") == (2, 25, (64, 48))
