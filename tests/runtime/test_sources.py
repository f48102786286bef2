"""Reading frames from files, folders, globs, lists, videos, cameras and addresses."""

from __future__ import annotations

import functools
import http.server
import os
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from clips import make_clip
from PIL import Image

from maskyolo.errors import ImageError, SourceError
from maskyolo.runtime import ffmpeg
from maskyolo.runtime.file_sources import ImageSource, VideoSource
from maskyolo.runtime.frames import Frame, Source
from maskyolo.runtime.live_sources import CameraSource, StreamSource
from maskyolo.runtime.sources import (
    open_sources,
)


def make_image(path: Path, size: tuple[int, int] = (8, 6)) -> Path:
    Image.new("RGB", size, "red").save(path, format="JPEG")
    return path


def names(source: str | int | Path) -> list[str]:
    return [Path(found.name).name for found in open_sources(source)]


def read_until_error(source: Source, match: str) -> list[Frame]:
    frames: list[Frame] = []
    with pytest.raises(SourceError, match=match):
        frames.extend(source.frames())
    return frames


def read(source: str | int | Path, vid_stride: int = 1) -> list[Frame]:
    (found,) = open_sources(source)
    return list(found.frames(vid_stride))


@pytest.mark.parametrize(
    "name",
    [
        "a b.jpg",
        "[ab].jpg",
        "Übung маска 口罩.jpg",
        "100%.jpg",
        "what?.jpg",
        "x*.jpg",
        "-o.jpg",
        "photo.jpg_640x480",
        "NOEND",
    ],
)
def test_any_name_that_exists_is_that_file(tmp_path: Path, name: str) -> None:
    make_image(tmp_path / name)
    (frame,) = read(tmp_path / name)
    assert frame.image.shape == (6, 8, 3)
    assert (frame.source, frame.index, frame.time, frame.kind) == (
        str(tmp_path / name),
        0,
        0.0,
        "image",
    )


def test_a_folder_with_brackets_is_that_folder(tmp_path: Path) -> None:
    (tmp_path / "a[1]").mkdir()
    make_image(tmp_path / "a[1]" / "x.jpg")
    assert names(tmp_path / "a[1]") == ["x.jpg"]


def test_a_folder_gives_its_images_and_videos_sorted_by_name(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.jpg", ".hidden.jpg", "c.jpg_1x1"):
        make_image(tmp_path / name)
    (tmp_path / "aa.mp4").touch()
    (tmp_path / "notes.md").write_text("none")
    (tmp_path / "deeper.jpg").mkdir()
    assert [type(found) for found in open_sources(tmp_path)] == [
        ImageSource,
        VideoSource,
        ImageSource,
        ImageSource,
    ]
    assert names(tmp_path) == ["a.jpg", "aa.mp4", "b.JPG", "c.jpg_1x1"]


def test_links_to_nothing_and_special_files_in_a_folder_are_told(tmp_path: Path) -> None:
    make_image(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").symlink_to("nowhere.jpg")
    (tmp_path / "c.mp4").symlink_to("c.mp4")
    os.mkfifo(tmp_path / "d.png")
    (tmp_path / "e.txt").symlink_to("nowhere.txt")
    (tmp_path / "f.jpg").mkdir()
    for text in (tmp_path, tmp_path / "*"):
        sources = open_sources(str(text))
        assert [Path(source.name).name for source in sources] == [
            "a.jpg",
            "b.jpg",
            "c.mp4",
            "d.png",
        ]
        for source, found in zip(sources[1:], ("a link to", "a link to", "a special"), strict=True):
            with pytest.raises(SourceError, match=f"it is {found}.*remove it"):
                next(iter(source.frames()))


def test_a_glob_with_two_stars_includes_subfolders(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for place in ("a.jpg", "in/b.jpg"):
        make_image(tmp_path / place)
    assert names(f"{tmp_path}/*.jpg") == ["a.jpg"]
    assert names(f"{tmp_path}/**/*") == ["a.jpg", "b.jpg"]


def test_a_list_names_files_next_to_it_and_missing_ones_fail_in_turn(tmp_path: Path) -> None:
    make_image(tmp_path / "a.jpg")
    (tmp_path / "list.txt").write_text(
        f"\ufeffa.jpg\n\n  gone.jpg \r\n{tmp_path}/*.jpg\nlist.txt\nhttp://host/x.jpg\n",
        encoding="utf-8",
    )
    found = open_sources(tmp_path / "list.txt")
    assert [Path(one.name).name for one in found] == [
        "a.jpg",
        "gone.jpg",
        "a.jpg",
        "list.txt",
        "x.jpg",
    ]
    with pytest.raises(ImageError, match=r"gone\.jpg"):
        list(found[1].frames())
    with pytest.raises(SourceError, match=r"list\.txt"):
        list(found[3].frames())


@pytest.mark.parametrize(("content", "match"), [(b"", "empty"), (b"\xff\xfe\x00", "UTF-8")])
def test_an_empty_or_binary_list_is_an_error(tmp_path: Path, content: bytes, match: str) -> None:
    (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(SourceError, match=match):
        open_sources(tmp_path / "list.txt")


def test_a_source_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no image or video in"):
        open_sources(tmp_path)
    (tmp_path / "in").mkdir()
    with pytest.raises(SourceError, match=r"\*\*"):
        open_sources(tmp_path)
    with pytest.raises(SourceError, match="no such file"):
        open_sources(tmp_path / "gone")
    with pytest.raises(SourceError, match="no source given"):
        open_sources("")
    with pytest.raises(SourceError, match="matches"):
        open_sources(f"{tmp_path}/*.jpg")


def test_numbers_are_cameras_and_schemes_are_addresses() -> None:
    assert open_sources(0) == open_sources("0") == [CameraSource(0)]
    assert open_sources("rtsp://host/x") == [StreamSource("rtsp://host/x")]


def test_a_video_gives_every_frame_with_its_time(tmp_path: Path) -> None:
    frames = read(make_clip(tmp_path / "a [b].mp4", frames=12, rate=Fraction(30000, 1001)))
    assert [frame.index for frame in frames] == list(range(12))
    assert [round(int(frame.image[:20].mean()), -1) for frame in frames] == [
        10 * index for index in range(12)
    ]
    assert frames[-1].time == pytest.approx(11 * 1001 / 30000, abs=1e-3)
    assert {(frame.rate, frame.total, frame.kind) for frame in frames} == {
        (Fraction(30000, 1001), 12, "video")
    }


@pytest.mark.parametrize("size", [(64, 48), (66, 50)], ids=["whole rows", "padded rows"])
def test_frames_are_correct_and_may_be_modified(size: tuple[int, int], tmp_path: Path) -> None:
    frames = read(make_clip(tmp_path / "a.mp4", size=size))
    for index, frame in enumerate(frames):
        assert frame.image.shape == (size[1], size[0], 3)
        assert frame.image.flags.c_contiguous
        assert (
            abs(int(frame.image[: size[1] // 2 - 4].mean()) - 10 * index) <= 5
        )  # neighboring frames differ by 10
        frame.image[:] = 255


def test_a_stride_keeps_indices_and_lowers_the_rate(tmp_path: Path) -> None:
    frames = read(make_clip(tmp_path / "a.mp4", frames=11), vid_stride=3)
    assert [frame.index for frame in frames] == [0, 3, 6, 9]
    assert {(frame.rate, frame.total) for frame in frames} == {(Fraction(25, 3), 4)}


@pytest.mark.parametrize("suffix", [".mkv", ".avi", ".mov", ".ts"])
def test_containers_that_do_not_count_their_frames(tmp_path: Path, suffix: str) -> None:
    assert len(read(make_clip(tmp_path / f"a{suffix}"))) == 12


def test_a_video_filmed_in_portrait_is_upright(tmp_path: Path) -> None:
    import av

    plain = make_clip(tmp_path / "plain.mp4", size=(64, 48))
    with av.open(str(plain)) as source, av.open(str(tmp_path / "turned.mp4"), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    data = (tmp_path / "turned.mp4").read_bytes()
    matrix = data.index(b"tkhd") + 4 + 40
    turn = b"".join(
        value.to_bytes(4, "big", signed=True)
        for value in (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    )
    (tmp_path / "turned.mp4").write_bytes(data[:matrix] + turn + data[matrix + 36 :])
    ours = read(tmp_path / "turned.mp4")[5].image
    theirs = cv2.VideoCapture(str(tmp_path / "turned.mp4"))
    for _ in range(6):
        _, image = theirs.read()
    assert ours.shape == image.shape == (64, 48, 3)
    assert np.abs(ours.astype(int) - image).mean() < 2


def test_a_title_that_is_not_utf8_is_no_error(tmp_path: Path) -> None:
    import av

    with av.open(str(tmp_path / "a.mp4"), "w") as target:
        target.metadata["title"] = "AAAABBBBCCCC"
        stream = target.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(3):
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="bgr24")
            target.mux(stream.encode(frame))
        target.mux(stream.encode())
    content = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "b.mp4").write_bytes(content.replace(b"AAAABBBB", b"\xff\xfeAABBB\xc3"))
    assert (tmp_path / "b.mp4").read_bytes() != content
    assert len(list(VideoSource(tmp_path / "b.mp4").frames())) == 3


def test_pyav_19_has_no_argument_for_that() -> None:
    assert ffmpeg._metadata("19.0.2") == {}
    assert ffmpeg._metadata("18.1.0") == {"metadata_errors": "replace"}


@pytest.mark.parametrize("share", [0.4, 0.9])
def test_a_video_that_breaks_off_gives_its_frames_then_an_error(
    tmp_path: Path, share: float
) -> None:
    whole = make_clip(
        tmp_path / "whole.mp4", frames=40, options={"movflags": "faststart"}
    ).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: int(len(whole) * share)])
    frames = read_until_error(
        VideoSource(tmp_path / "cut.mp4"), match=r"breaks off: only \d+ frames of 40"
    )
    assert 5 < len(frames) < 40


def test_a_hole_in_a_video_is_reported_after_its_other_frames(tmp_path: Path) -> None:
    data = bytearray(
        make_clip(tmp_path / "a.mp4", frames=40, options={"movflags": "faststart"}).read_bytes()
    )
    middle = len(data) // 2
    data[middle : middle + 1500] = b"\xff" * 1500
    (tmp_path / "a.mp4").write_bytes(data)
    frames = read_until_error(VideoSource(tmp_path / "a.mp4"), match="damaged")
    assert 20 < len(frames) < 40


@pytest.mark.parametrize("content", [b"", b"just text\n" * 50, b"\0" * 5000])
def test_a_file_that_is_not_a_video_is_an_error_of_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "list.mp4").write_bytes(content)
    with pytest.raises(SourceError, match=r"list\.mp4") as error:
        read(tmp_path / "list.mp4")
    assert "\n" not in str(error.value)


def test_a_video_without_its_index_is_an_error(tmp_path: Path) -> None:
    whole = make_clip(tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match=r"cut\.mp4"):
        read(tmp_path / "cut.mp4")


def test_audio_alone_is_an_error(tmp_path: Path) -> None:
    import wave

    with wave.open(str(tmp_path / "a.mp4"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(b"\0" * 8000)
    with pytest.raises(SourceError, match="only audio"):
        read(tmp_path / "a.mp4")


class FakeCamera:
    """A camera that is unplugged after three frames."""

    def __init__(self, index: int) -> None:
        self.left = 3 if index == 0 else 0
        self.there = index < 2
        self.released = False

    def isOpened(self) -> bool:  # noqa: N802  OpenCV's name
        return self.there

    def get(self, key: int) -> float:
        return 0.0

    def read(self) -> tuple[bool, Any]:
        self.left -= 1
        return (True, np.zeros((4, 6, 3), np.uint8)) if self.left >= 0 else (False, None)

    def release(self) -> None:
        self.released = True


def test_a_camera_that_is_unplugged_gives_its_frames_then_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", FakeCamera)
    frames = read_until_error(CameraSource(0), match="camera 0: it broke off after 3 frames")
    assert [(frame.index, frame.kind, frame.source, frame.rate) for frame in frames] == [
        (index, "live", "0", 30) for index in range(3)
    ]
    assert frames[0].time <= frames[2].time
    with pytest.raises(SourceError, match="delivers no images"):
        list(CameraSource(1).frames())


def test_a_missing_camera_is_an_error_and_opencv_is_silent(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SourceError, match="camera 97"):
        list(CameraSource(97).frames())
    assert capfd.readouterr().err == ""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    handler.log_message = lambda *_: None  # type: ignore[attr-defined]
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_addresses_of_images_and_videos(tmp_path: Path, server: str) -> None:
    make_image(tmp_path / "a b.jpg")
    make_clip(tmp_path / "c.mp4")
    (tmp_path / "bad.jpg").write_text("not an image")
    (frame,) = read(f"{server}/a%20b.jpg")
    assert frame.image.shape == (6, 8, 3)
    frames = read(f"{server}/c.mp4")
    assert (len(frames), frames[0].kind, frames[0].total) == (12, "video", 12)
    with pytest.raises(ImageError, match=r"bad\.jpg"):
        read(f"{server}/bad.jpg")
    with pytest.raises(SourceError, match="not found"):
        read(f"{server}/gone.jpg")


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:9/x.jpg",
        "https://127.0.0.1:9/x.mp4",
        "rtsp://me:secret@127.0.0.1:9/x",
        "bogus://x",
        "http://[/",
    ],
)
def test_addresses_that_do_not_answer_are_one_line_without_the_password(address: str) -> None:
    with pytest.raises(SourceError, match="cannot read") as error:
        read(address)
    assert "\n" not in str(error.value)
    assert "secret" not in str(error.value)


def test_a_password_that_makes_an_address_invalid_is_not_shown_either() -> None:
    with pytest.raises(SourceError, match=r"not a valid URL.*%2F") as error:
        read("http://me:sec/ret@127.0.0.1/x")
    assert "sec" not in str(error.value)
