"""Streams and videos that lie, never end, or name what nobody asked for."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest
from clips import make_clip, write_clip
from live import Web

from maskyolo.errors import ImageError, SourceError
from maskyolo.runtime import ffmpeg, live_sources
from maskyolo.runtime.detection import detect
from maskyolo.runtime.file_sources import VideoSource
from maskyolo.runtime.frames import Frame
from maskyolo.runtime.live_sources import StreamSource
from maskyolo.runtime.sources import open_sources

OK = b"HTTP/1.1 200 OK\r\n"
MULTIPART = OK + b"Content-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"
PART = b"--frame\r\nContent-Type: image/jpeg\r\n"


@pytest.fixture
def web() -> Iterator[Web]:
    server = Web()
    yield server
    server.close()


@pytest.fixture
def small_allocations(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Lower the limit of FFmpeg's allocations to 8 MB."""
    with monkeypatch.context() as patch:
        patch.setattr(ffmpeg, "MAX_ALLOCATION", 8 << 20)
        ffmpeg._limit_allocations.cache_clear()
        yield
    ffmpeg._limit_allocations.cache_clear()
    ffmpeg._limit_allocations()


def jpeg(size: tuple[int, int] = (32, 24)) -> bytes:
    return cv2.imencode(".jpg", np.full((size[1], size[0], 3), 90, np.uint8))[1].tobytes()


def resident() -> int:
    """Return the resident memory of this process in bytes."""
    return psutil.Process().memory_info().rss


def drip(client: socket.socket, over: threading.Event, start: bytes, drop: bytes) -> None:
    """Send a drop every 50 ms, which resets every timeout of a single read.

    It ends after 15 s, so that the test fails without a limit.
    """
    client.sendall(start)
    for _ in range(300):
        if over.wait(0.05):
            break
        client.sendall(drop)


DRIPS = {
    "status": (b"HTTP/1.1 2", b"0"),
    "header": (OK + b"X: ", b"a"),
    "headers": (OK, b"X: a\r\n"),
    "image": (OK + b"Content-Type: image/jpeg\r\n\r\n" + jpeg()[:100], b"\0"),
    "undeclared image": (OK + b"Content-Type: x/y\r\n\r\n" + jpeg()[:100], b"\0"),
    "video": (OK + b"Content-Type: video/mp4\r\nContent-Length: 99999\r\n\r\n", b"\0"),
    "part": (MULTIPART + PART + b"\r\n" + jpeg()[:100], b"\0"),
    "part's header": (MULTIPART + PART + b"X: ", b"a"),
}


@pytest.mark.parametrize("kind", DRIPS)
def test_a_server_that_drips_is_given_up(
    web: Web, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ffmpeg, "TIMEOUT", 0.3)
    monkeypatch.setattr(live_sources, "DOWNLOAD_TIME", 0.3)
    address = web.put("/x", lambda client, over: drip(client, over, *DRIPS[kind]))
    with pytest.raises(SourceError, match=r"timed out|no answer within"):
        list(StreamSource(address).frames())


def test_a_camera_that_drips_after_its_first_frames_is_given_up(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ffmpeg, "TIMEOUT", 0.5)
    whole = PART + b"\r\n" + jpeg() + b"\r\n"
    address = web.put(
        "/x", lambda client, over: drip(client, over, MULTIPART + 5 * whole + PART + b"\r\n", b"\0")
    )
    frames: list[Frame] = []
    with pytest.raises(SourceError, match=r"broke off after \d+ frames \(no answer within"):
        frames.extend(StreamSource(address).frames())
    assert frames


@pytest.mark.parametrize(
    "start",
    [
        MULTIPART + PART + b"Content-Length: 2000000000\r\n\r\n",
        MULTIPART + PART + b"\r\n",  # no boundary ever
        MULTIPART + PART + b"X: ",
        MULTIPART,
        OK + b"Content-Type: video/x-motion-jpeg\r\n\r\n" + jpeg()[:-2],
    ],
    ids=["length", "no boundary", "no end of header", "no part", "no end of image"],
)
def test_a_part_without_end_is_given_up_before_it_fills_the_memory(
    web: Web, start: bytes, small_allocations: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ffmpeg, "TIMEOUT", 1.0)
    before, grown = resident(), [0]

    def flood(client: socket.socket, over: threading.Event) -> None:
        client.sendall(start)
        while not over.is_set():
            client.sendall(b"a" * (1 << 20))
            grown[0] = max(grown[0], resident() - before)

    with pytest.raises(SourceError, match="cannot read"):
        list(StreamSource(web.put("/x", flood)).frames())
    assert grown[0] < 100 << 20  # without a limit, it grows by everything that is sent in a second


def test_packets_that_wait_are_limited_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    from test_live import Packet, Packets, until

    from maskyolo.runtime import live_stream

    monkeypatch.setattr(live_stream, "MAX_WAITING", 450)
    container = Packets({0}, 20)
    container.packets = [Packet(number == 0, number) for number in range(20)]
    packets = live_stream._Packets(container, None)
    until(lambda: container.exhausted)
    assert list(packets) == []  # after the fourth, it waits for a keyframe
    packets.close()


def playlist(*names: str) -> bytes:
    lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:2"]
    lines += [line for name in names for line in ("#EXTINF:0.48,", name)]
    return "\n".join([*lines, "#EXT-X-ENDLIST\n"]).encode()


@pytest.fixture
def segment(tmp_path: Path) -> bytes:
    return make_clip(tmp_path / "segment.ts").read_bytes()


@pytest.mark.parametrize("name", ["a.ts", "../in/a.ts", "/in/a.ts", "{url}/in/a.ts"])
def test_a_playlist_of_its_own_host_is_read(web: Web, segment: bytes, name: str) -> None:
    web.put("/in/a.ts", segment)
    address = web.put("/in/x.m3u8", playlist(name.format(url=web.url)), "text/plain")
    assert len(list(StreamSource(address).frames())) == 12
    assert set(web.asked) == {"/in/x.m3u8", "/in/a.ts"}


def test_a_playlist_of_byte_ranges_is_read(web: Web, segment: bytes) -> None:
    def answer(client: socket.socket, _: threading.Event) -> None:
        body = segment  # a server may ignore the range; FFmpeg then reads from the start
        client.sendall(OK + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)

    web.put("/a.ts", answer)
    text = playlist("a.ts").replace(b"a.ts", f"#EXT-X-BYTERANGE:{len(segment)}@0\na.ts".encode())
    assert len(list(StreamSource(web.put("/x.m3u8", text)).frames())) == 12


@pytest.mark.parametrize("place", ["host", "path", "address", "master", "redirect"])
def test_a_playlist_opens_no_other_host_and_no_file(
    web: Web, segment: bytes, tmp_path: Path, place: str
) -> None:
    other = Web()
    other.put("/a.ts", segment)
    named = {
        "host": f"{other.url}/a.ts",
        "path": str(tmp_path / "segment.ts"),
        "address": (tmp_path / "segment.ts").as_uri(),
        "master": f"{other.url}/b.m3u8",
        "redirect": "gone.ts",
    }[place]
    head = f"HTTP/1.1 302 Found\r\nLocation: {other.url}/a.ts\r\nContent-Length: 0\r\n\r\n"
    web.put("/gone.ts", lambda client, _: client.sendall(head.encode()))
    text = playlist(named)
    if place == "master":
        text = f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{named}\n".encode()
    with pytest.raises(SourceError):
        list(StreamSource(web.put("/x.m3u8", text)).frames())
    assert other.asked == []
    other.close()


@pytest.mark.parametrize("suffix", [".m3u8", ".mp4", ".ts"])
@pytest.mark.parametrize(
    "content",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:0.48,\n{path}\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:0.48,\n{url}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile segment.ts\n",
        "ffconcat version 1.0\nfile {url}\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
        '<?xml version="1.0"?><MPD><BaseURL>{url}</BaseURL></MPD>',
        "[playlist]\nFile1={url}\n",
    ],
    ids=["hls file", "hls url", "concat", "concat url", "sdp", "dash", "pls"],
)
def test_a_file_opens_no_other_file_and_no_address(
    web: Web, segment: bytes, tmp_path: Path, content: str, suffix: str
) -> None:
    url = web.put("/a.ts", segment)
    path = tmp_path / f"x{suffix}"
    path.write_text(content.format(path=tmp_path / "segment.ts", url=url))
    (source,) = open_sources(path)
    with pytest.raises(SourceError, match="playlist"):
        list(source.frames())
    assert web.asked == []


def test_what_is_no_playlist_for_us_is_none_for_ffmpeg(
    web: Web, segment: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FFmpeg's own limits hold, too, if a playlist were not recognized."""
    monkeypatch.setattr("maskyolo.runtime.file_sources.is_playlist", lambda start: False)
    url = web.put("/a.ts", segment)
    for content in (playlist(url), playlist(str(tmp_path / "segment.ts"))):
        (tmp_path / "x.m3u8").write_bytes(content)
        with pytest.raises(SourceError, match="not in a supported video format"):
            list(VideoSource(tmp_path / "x.m3u8").frames())
    (tmp_path / "x.mp4").write_bytes(b"ffconcat version 1.0\nfile segment.ts\n")
    with pytest.raises(SourceError, match="not in a supported video format"):
        list(VideoSource(tmp_path / "x.mp4").frames())
    assert web.asked == []


def test_a_file_with_a_pattern_as_its_name_is_only_that_file(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"a{number}.jls").write_bytes(jpeg())
    (tmp_path / "a%d.jls").write_bytes(jpeg())
    for name in ("a%d.mp4", "a%d.jls"):
        (tmp_path / name).write_bytes(b"nothing")
        with pytest.raises(SourceError):
            list(VideoSource(tmp_path / name).frames())


def refer(path: Path, target: Path) -> None:
    """Make a QuickTime movie take its frames from another file in the same folder (`alis`)."""
    data = path.read_bytes()
    name = str(target).encode()
    alias = bytes(10) + b"\x04" + b"disk".ljust(27, b"\0") + bytes(12)
    alias += bytes([len(target.name)]) + target.name.encode().ljust(63, b"\0") + bytes(16)
    alias += struct.pack(">HH", 1, 1) + bytes(16)
    alias += struct.pack(">HH", 2, len(name)) + name + bytes(len(name) % 2)
    alias += struct.pack(">HH", 0xFFFF, 0) + bytes(20)
    entry = struct.pack(">I4sI", 12 + len(alias), b"alis", 0) + alias
    start = data.index(b"dref") + 12
    old = struct.unpack(">I", data[start : start + 4])[0]
    for box in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
        place = data.index(box) - 4
        size = struct.unpack(">I", data[place : place + 4])[0] + len(entry) - old
        data = data[:place] + struct.pack(">I", size) + data[place + 4 :]
    path.write_bytes(data[:start] + entry + data[start + old :])


def test_references_of_a_movie_to_another_file_are_not_followed(tmp_path: Path) -> None:
    import av

    make_clip(tmp_path / "other.mov")
    refer(make_clip(tmp_path / "x.mov"), tmp_path / "other.mov")
    with av.open(f"file:{tmp_path}/x.mov", options={"enable_drefs": "1"}) as movie:
        assert len(list(movie.decode(video=0))) == 12, "FFmpeg could follow it"
    with pytest.raises(SourceError, match=r"x\.mov"):
        list(VideoSource(tmp_path / "x.mov").frames())


@pytest.mark.parametrize(
    "scheme", ["concat", "subfile", "data", "cache", "crypto", "pipe", "bogus"]
)
def test_only_addresses_of_streams_are_opened(scheme: str, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4")
    (source,) = open_sources(f"{scheme}://{clip}")
    with pytest.raises(SourceError, match="addresses of this kind are not supported"):
        list(source.frames())


def test_frames_of_a_video_have_a_limit_of_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_clip(tmp_path / "a.mp4", size=(64, 48))
    monkeypatch.setattr(ffmpeg, "MAX_PIXELS", 64 * 48)
    assert len(list(VideoSource(path).frames())) == 12
    monkeypatch.setattr(ffmpeg, "MAX_PIXELS", 64 * 48 - 1)
    with pytest.raises(SourceError, match="megapixels"):
        list(VideoSource(path).frames())


def test_frames_that_grow_beyond_the_limit_are_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ffmpeg, "MAX_PIXELS", 64 * 48)
    (tmp_path / "a.mjpeg").write_bytes(3 * jpeg((64, 48)) + jpeg((640, 480)) + jpeg((64, 48)))
    frames: list[Frame] = []
    with pytest.raises(SourceError, match="damaged"):
        frames.extend(VideoSource(tmp_path / "a.mjpeg").frames())
    assert {frame.image.shape for frame in frames} == {(48, 64, 3)}


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.mjpeg", "a.gif"])
def test_a_header_that_claims_a_huge_size_is_an_error(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    codec = {".mjpeg": "mjpeg", ".avi": "mjpeg", ".gif": "gif"}.get(path.suffix, "libx264")
    size = (0x5A0, 0x4D0)
    images = [np.zeros((size[1], size[0], 3), np.uint8)] * 2
    if codec == "gif":
        from PIL import Image

        Image.fromarray(images[0]).save(path, save_all=True, append_images=[Image.new("L", size)])
    else:
        write_clip(path, images, codec=codec, rate=Fraction(5))
    data = path.read_bytes()
    for order in (">H", "<H", ">I", "<I"):
        data = data.replace(struct.pack(order, size[0]), struct.pack(order, 0xFFFF))
        data = data.replace(struct.pack(order, size[1]), struct.pack(order, 0xFFFF))
    path.write_bytes(data)
    (source,) = open_sources(path)
    frames: list[Frame] = []
    with contextlib.suppress(SourceError, ImageError):
        frames.extend(source.frames())
    # if the codec's own header says the true size, the frames are decoded
    assert {frame.image.shape for frame in frames} <= {(size[1], size[0], 3)}


def test_a_hostile_source_is_one_line_and_the_rest_is_read(
    web: Web, tmp_path: Path, segment: bytes
) -> None:
    from stubs import perfect

    (tmp_path / "b.m3u8").write_bytes(playlist("/etc/passwd"))
    names = ["segment.ts", "b.m3u8", web.put("/x", b"", "video/mp4"), "gone.mp4", "segment.ts"]
    (tmp_path / "list.txt").write_text("\n".join(names))
    failed: list[str] = []
    found = list(
        detect(tmp_path / "list.txt", perfect(), on_error=lambda name, _: failed.append(name))
    )
    assert len(found) == 24
    assert failed == [str(tmp_path / "b.m3u8"), f"{web.url}/x", "gone.mp4"]
