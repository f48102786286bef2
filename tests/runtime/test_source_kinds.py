"""Animations, raw videos, numbered images, pipes, devices, and several sources at once."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from clips import make_clip, write_clip
from PIL import Image
from stubs import perfect

from maskyolo.core.images import ImageArray
from maskyolo.errors import ImageError, MaskyoloError, SourceError
from maskyolo.runtime.detection import detect
from maskyolo.runtime.file_sources import (
    AnimationSource,
    ImageSource,
    NumberedImages,
    PipeSource,
    UnreadableSource,
    VideoSource,
)
from maskyolo.runtime.frames import Frame, Source
from maskyolo.runtime.live_sources import CameraSource, StreamSource
from maskyolo.runtime.sources import as_video, numbered_pattern, open_sources

GRAYS = [30, 60, 90, 120, 150]


def grays(frames: list[Frame]) -> list[int]:
    return [round(int(frame.image.mean()), -1) for frame in frames]


def plain(gray: int, size: tuple[int, int] = (64, 48)) -> ImageArray:
    return np.full((size[1], size[0], 3), gray, np.uint8)


def save_animation(path: Path, duration: int = 40) -> Path:
    first, *rest = (Image.fromarray(plain(gray)) for gray in GRAYS)
    first.save(path, save_all=True, append_images=rest, duration=duration, lossless=True)
    return path


def read(source: str | Path) -> list[Frame]:
    (found,) = open_sources(source)
    return list(found.frames())


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.apng", "a.avif", "NOEND"])
def test_an_animation_is_read_as_a_video(tmp_path: Path, name: str) -> None:
    path = save_animation(tmp_path / ("a.gif" if name == "NOEND" else name))
    path = path.rename(tmp_path / name)
    frames = read(path)
    assert grays(frames) == GRAYS
    assert [frame.time for frame in frames] == pytest.approx([0, 0.04, 0.08, 0.12, 0.16])
    assert {(frame.kind, frame.total, frame.rate) for frame in frames} == {("video", 5, 25)}
    (source,) = open_sources(tmp_path)
    assert source == AnimationSource(path)
    assert [frame.index for frame in source.frames(vid_stride=2)] == [0, 2, 4]


def test_what_is_transparent_in_an_animation_is_white(tmp_path: Path) -> None:
    images = [Image.new("RGBA", (8, 8), (0, 0, 0, alpha)) for alpha in (255, 0)]
    images[0].save(tmp_path / "a.png", save_all=True, append_images=images[1:])
    assert [frame.image.mean() for frame in read(tmp_path / "a.png")] == [0, 255]


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.tif"])
def test_a_single_image_and_pages_are_a_still_image(tmp_path: Path, name: str) -> None:
    pages = [Image.fromarray(plain(90))] if name == "a.tif" else []
    Image.fromarray(plain(60)).save(tmp_path / name, save_all=True, append_images=pages)
    (frame,) = read(tmp_path / name)
    assert (frame.kind, round(frame.image.mean(), -1)) == ("image", 60)


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp"])
def test_an_animation_that_breaks_off_gives_its_frames_then_an_error(
    tmp_path: Path, name: str
) -> None:
    data = save_animation(tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) - 60])
    (source,) = open_sources(tmp_path / name)
    frames: list[Frame] = []
    with pytest.raises((SourceError, ImageError), match=rf"cannot (read all of|decode) .*{name}"):
        frames.extend(source.frames())
    assert len(frames) < 5
    assert grays(frames) == GRAYS[: len(frames)]


def test_a_frame_that_enlarges_a_gif_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    data = save_animation(tmp_path / "a.gif").read_bytes()
    descriptors = [at for at in range(len(data)) if data[at : at + 9] == b",\0\0\0\0\x40\0\x30\0"]
    assert len(descriptors) == len(GRAYS)
    size = descriptors[2] + 5  # of the third frame: little-endian width and height
    (tmp_path / "a.gif").write_bytes(data[:size] + b"\xe0\x2e\xe0\x2e" + data[size + 4 :])
    (source,) = open_sources(tmp_path / "a.gif")
    frames: list[Frame] = []
    with pytest.raises(SourceError, match=r"cannot read .*a\.gif: 144 megapixels as GIF"):
        frames.extend(source.frames())
    assert grays(frames) == GRAYS[:2]


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mjpeg", "mjpeg"),
        ("a.mjpg", "mjpeg"),
        ("a.h264", "libx264"),
        ("a.ivf", "libvpx"),
        ("a.m2v", "mpeg2video"),
    ],
)
def test_raw_video_is_read_as_a_video_also_in_a_folder(
    tmp_path: Path, name: str, codec: str
) -> None:
    container = {".mjpg": "mjpeg", ".m2v": "mpeg2video"}.get(Path(name).suffix)
    write_clip(tmp_path / name, map(plain, GRAYS), codec=codec, container=container)
    assert open_sources(tmp_path) == [VideoSource(tmp_path / name)]
    assert grays(read(tmp_path)) == GRAYS


def test_files_named_like_media_that_cannot_be_read_are_reported(tmp_path: Path) -> None:
    write_clip(tmp_path / "good.mp4", map(plain, GRAYS))
    for name in ("a.heic", "b.CR2", "c.h265", "d.dng", "e.jxl"):
        (tmp_path / name).write_bytes(b"II*\0nothing")
    for name in ("notes.md", "list.csv", "sound.mp3", ".hidden.mp4"):
        (tmp_path / name).write_bytes(b"nothing")
    failed: list[tuple[str, str]] = []
    for _ in detect(
        tmp_path,
        perfect(),
        save_json=tmp_path / "out.jsonl",
        on_error=lambda name, error: failed.append((Path(name).name, str(error))),
    ):
        pass
    names = ["a.heic", "b.CR2", "c.h265", "d.dng", "e.jxl"]
    assert [name for name, _ in failed] == names
    assert "raw photos are not supported; convert it to JPEG" in failed[1][1]
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [Path(line["source"]).name for line in lines if "error" in line] == names
    assert len(lines) == 5 + len(GRAYS)


@pytest.mark.parametrize("suffix", [".webm", ".mkv", ".mp4"])
@pytest.mark.parametrize("seconds", [1, 5, 60])
def test_a_slideshow_is_complete(tmp_path: Path, suffix: str, seconds: int) -> None:
    codec = "libvpx" if suffix == ".webm" else "libx264"
    write_clip(tmp_path / f"a{suffix}", map(plain, GRAYS), rate=Fraction(1, seconds), codec=codec)
    frames = read(tmp_path / f"a{suffix}")
    assert [round(frame.time / seconds) for frame in frames] == [0, 1, 2, 3, 4]
    write_clip(tmp_path / f"b{suffix}", [plain(60)], rate=Fraction(1, seconds), codec=codec)
    assert len(read(tmp_path / f"b{suffix}")) == 1


def test_a_slideshow_that_breaks_off_is_damaged(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (6, 48, 64, 3), np.uint8)
    write_clip(tmp_path / "a.mkv", noise, rate=Fraction(1, 5))
    data = (tmp_path / "a.mkv").read_bytes()
    (tmp_path / "a.mkv").write_bytes(data[: len(data) * 2 // 3])
    (source,) = open_sources(tmp_path / "a.mkv")
    with pytest.raises(SourceError, match="damaged or breaks off"):
        list(source.frames())


@pytest.fixture
def numbered(tmp_path: Path) -> Path:
    """A folder with frame_0008.png to frame_0012.png and others."""
    (tmp_path / "in").mkdir()
    for number, gray in enumerate(GRAYS, 8):
        Image.fromarray(plain(gray)).save(tmp_path / "in" / f"frame_{number:04}.png")
    return tmp_path / "in"


@pytest.mark.parametrize("pattern", ["frame_%04d.png", "frame_%d.png", "frame_%4d.png"])
def test_numbered_images_are_the_frames_of_a_video(numbered: Path, pattern: str) -> None:
    for name in ("frame_x.png", "frame_0009.jpg", "xframe_0009.png"):
        (numbered / name).write_bytes(b"no image")
    frames = read(numbered / pattern)
    assert grays(frames) == GRAYS
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4]
    assert frames[2].time == pytest.approx(0.08)
    assert {(frame.kind, frame.total, frame.rate) for frame in frames} == {("video", 5, 25)}
    assert {frame.source for frame in frames} == {str(numbered / pattern)}


def test_numbers_are_sorted_as_numbers(tmp_path: Path) -> None:
    for number, gray in zip((1, 2, 9, 10, 100), GRAYS, strict=True):
        Image.fromarray(plain(gray)).save(tmp_path / f"{number}.png")
    assert grays(read(tmp_path / "%d.png")) == GRAYS


def test_a_bad_numbered_image_is_left_out_and_reported(numbered: Path) -> None:
    (numbered / "frame_0010.png").write_bytes(b"no image")
    (source,) = open_sources(numbered / "frame_%04d.png")
    frames: list[Frame] = []
    with pytest.raises(SourceError, match=r"cannot read 1 image of 5 .*frame_0010\.png"):
        frames.extend(source.frames())
    assert [frame.index for frame in frames] == [0, 1, 3, 4]


def test_a_pattern_without_images_is_an_error_and_an_existing_file_is_itself(
    tmp_path: Path,
) -> None:
    with pytest.raises(SourceError, match="no image matches"):
        open_sources(tmp_path / "a_%d.png")
    Image.fromarray(plain(60)).save(tmp_path / "a_%d.png")
    assert open_sources(tmp_path / "a_%d.png") == [ImageSource(tmp_path / "a_%d.png")]


def test_a_folder_of_numbered_images_is_tracked_as_a_video(numbered: Path) -> None:
    found = [one.metadata for _, one in detect(numbered, perfect(), track=True)]
    assert {one["source"] for one in found} == {str(numbered / "frame_%04d.png")}
    assert [one["frame"] for one in found] == list(range(5))
    apart = [one.metadata["source"] for _, one in detect(numbered, perfect())]
    assert len(set(apart)) == 5


def test_images_without_numbers_in_common_are_not_tracked(numbered: Path) -> None:
    Image.fromarray(plain(60)).save(numbered / "other.png")
    with pytest.raises(MaskyoloError, match="cannot track in still images"):
        detect(numbered, perfect(), track=True)


def test_numbers_of_a_video_are_sorted_as_numbers() -> None:
    names = ["f/a_1.png", "f/a_10.png", "f/a_2.png"]
    (video,) = as_video([ImageSource(Path(name)) for name in names])
    assert isinstance(video, NumberedImages)
    assert [path.name for path in video.paths] == ["a_1.png", "a_2.png", "a_10.png"]


def test_the_pattern_of_numbered_images() -> None:
    def pattern(*names: str) -> str:
        return numbered_pattern([ImageSource(Path(name)) for name in names])

    assert pattern("f/a_01.png", "f/a_02.png") == "f/a_%02d.png"
    assert pattern("f/a_1.png", "f/a_2.png", "f/a_10.png") == "f/a_%d.png"
    assert pattern("a_01.png", "b_02.png") == pattern("a.png", "b.png") == pattern("a_01.png") == ""


@pytest.mark.parametrize("suffix", [".ts", ".mkv", ".h264"])
def test_a_named_pipe_is_read_as_a_video(tmp_path: Path, suffix: str) -> None:
    write_clip(tmp_path / f"a{suffix}", [plain(gray) for gray in GRAYS for _ in range(8)])
    os.mkfifo(tmp_path / "pipe")
    data = (tmp_path / f"a{suffix}").read_bytes()
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(data,))
    writer.start()
    frames = read(tmp_path / "pipe")
    writer.join()
    assert len(frames) == 40
    assert {(frame.kind, frame.source) for frame in frames} == {("video", str(tmp_path / "pipe"))}


@pytest.mark.parametrize("name", ["-", "/dev/stdin", "/dev/fd/0"])
def test_standard_input_is_read_as_a_video(tmp_path: Path, name: str) -> None:
    clip = make_clip(tmp_path / "a.ts")
    code = (
        "import sys; from maskyolo.runtime.sources import open_sources\n"
        "print([len(list(one.frames())) for one in open_sources(sys.argv[1])])"
    )
    command = [sys.executable, "-c", code, name]
    done = subprocess.run(command, input=clip.read_bytes(), capture_output=True, check=False)
    assert done.stdout.split() == [b"[12]"], done.stderr


def test_standard_input_that_is_closed_or_empty_is_a_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "maskyolo", "detect", "--source", "-", "--no-save"]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].startswith("maskyolo: cannot read stdin: ")
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" <&-', "sh", *command],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "cannot read standard input: it is a terminal or closed" in done.stderr


def test_devices_that_are_no_cameras_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="/dev/null: it is a device that is not a camera"):
        open_sources("/dev/null")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "sock"))
        with pytest.raises(SourceError, match="sock: it is a socket"):
            open_sources(tmp_path / "sock")


def test_a_camera_can_be_named_by_its_device(tmp_path: Path) -> None:
    assert open_sources("/dev/video7") == [CameraSource(7)]
    (tmp_path / "by-id").symlink_to("/dev/video3")
    if not Path("/dev/video3").exists():
        with pytest.raises(SourceError, match="no such file"):
            open_sources(tmp_path / "by-id")
    else:
        assert open_sources(tmp_path / "by-id") == [CameraSource(3)]
    try:
        os.mknod(tmp_path / "cam", 0o020600, os.makedev(81, 5))
    except OSError:
        return  # only root may
    assert open_sources(tmp_path / "cam") == [CameraSource(5)]


def test_several_sources_are_read_one_after_the_other(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        Image.fromarray(plain(60)).save(tmp_path / name)
    (tmp_path / "list.streams").write_text("b.png\n")
    given = [tmp_path / "a.png", str(tmp_path / "list.streams"), tmp_path / "gone", tmp_path]
    assert [Path(source.name).name for source in open_sources(given)] == [
        "a.png",
        "b.png",
        "gone",
        "a.png",
        "b.png",
    ]
    failed: list[str] = []
    found = list(detect(given, perfect(), on_error=lambda name, _: failed.append(Path(name).name)))
    assert (len(found), failed) == (4, ["gone"])
    with pytest.raises(SourceError, match="no source given"):
        open_sources([])


@pytest.mark.parametrize("others", [["a.jpg"], ["1", "a.jpg"], ["a.mp4", "rtsp://10.0.0.6/x"]])
def test_a_camera_or_stream_cannot_be_among_files(tmp_path: Path, others: list[str]) -> None:
    lines = ["rtsp://me:secret@10.0.0.5/x", *others]
    (tmp_path / "cams.txt").write_text("\n".join(lines))
    (tmp_path / "cams.streams").write_text("\n".join(lines))
    for source in (lines, tmp_path / "cams.txt", tmp_path / "cams.streams"):
        with pytest.raises(SourceError, match=r"never ends, and .* a file; start one"):
            open_sources(source)
    assert open_sources(lines[:1]) == [StreamSource(lines[0])]


def test_a_live_stream_among_several_ends_the_run_with_one_error(tmp_path: Path) -> None:
    class Live:
        name = "http://camera/x"

        def frames(self, vid_stride: int = 1) -> list[Frame]:
            return [Frame(plain(60), self.name, kind="live")] * 3

    from maskyolo.runtime import pipeline

    still = ImageSource(tmp_path / "a.png")
    Image.fromarray(plain(60)).save(still.path)
    sources: list[Source] = [still, Live(), Live()]  # type: ignore[list-item]
    first, ended, failed, *_ = pipeline.results(sources, perfect())
    assert isinstance(first, pipeline.Detected)
    assert isinstance(ended, pipeline.Ended)
    assert isinstance(failed, pipeline.Failed)
    assert "start one `maskyolo detect` for cameras and streams, and one for files" in str(
        failed.error
    )
    assert not isinstance(failed.error, SourceError)  # which would only end this source


def test_addresses_that_differ_in_what_is_hidden_keep_apart(tmp_path: Path) -> None:
    urls = [f"http://127.0.0.1:9/dl?token={token}" for token in ("a", "b", "a")]
    (tmp_path / "list.txt").write_text("\n".join(urls))
    names = [source.name for source in open_sources(tmp_path / "list.txt")]
    assert names == [
        "http://127.0.0.1:9/dl?token=***",
        "http://127.0.0.1:9/dl?token=***#2",
        "http://127.0.0.1:9/dl?token=***",
    ]


@pytest.mark.parametrize("name", ["me:secret@10.0.0.5/x", "rtsp:/me:secret@10.0.0.5/x?pw=secret"])
def test_an_address_with_a_mistake_does_not_show_its_password(name: str) -> None:
    with pytest.raises(SourceError, match=r"no such file|matches") as error:
        open_sources(name)
    assert "secret" not in str(error.value)


def test_an_unreadable_part_of_a_list_is_its_own_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "list.txt").write_text("empty\n/dev/null\n")
    found = open_sources(tmp_path / "list.txt")
    assert [type(source) for source in found] == [UnreadableSource, UnreadableSource]
    for source, match in zip(found, ("no image or video", "not a camera"), strict=True):
        with pytest.raises(SourceError, match=match):
            list(source.frames())
    assert PipeSource().name == "stdin"
