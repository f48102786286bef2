"""Headers and first bytes decide what is at an HTTP address: an image, a video or a stream."""

from __future__ import annotations

import io
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from clips import write_clip
from live import Web
from PIL import Image

from maskyolo.errors import SourceError
from maskyolo.runtime import downloads
from maskyolo.runtime.detection import detect
from maskyolo.runtime.frames import Frame
from maskyolo.runtime.live_sources import StreamSource


@pytest.fixture
def web() -> Iterator[Web]:
    server = Web()
    yield server
    server.close()


def encoded(kind: str, gray: int = 90) -> bytes:
    """Return an image of 32 x 24 in a format."""
    data = io.BytesIO()
    Image.new("RGB", (32, 24), (gray, gray, gray)).save(data, kind)
    return data.getvalue()


def motion_jpeg(count: int) -> bytes:
    return b"".join(encoded("JPEG", 20 * number) for number in range(1, count + 1))


def frames_of(address: str) -> list[Frame]:
    return list(StreamSource(address).frames())


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM"])
@pytest.mark.parametrize("kind", ["application/octet-stream", "application/force-download"])
def test_an_image_that_the_server_does_not_declare_is_one_image(
    web: Web, kind: str, format_name: str
) -> None:
    address = web.put("/dl?id=5&X-Amz-Signature=secret", encoded(format_name), kind)
    (frame,) = frames_of(address)
    assert (frame.kind, frame.total, frame.image.shape) == ("image", 1, (24, 32, 3))
    assert abs(int(frame.image.mean()) - 90) < 3
    assert len(web.asked) == 1


def test_an_undeclared_image_is_fetched_once_however_long_streams_are_reconnected(
    web: Web, tmp_path: Path
) -> None:
    from stubs import perfect

    address = web.put("/office.jpg?X-Amz-Signature=secret", encoded("JPEG"))
    found = list(detect(address, perfect(), reconnect=1e9, save_json=tmp_path / "a.jsonl"))
    assert len(found) == len(web.asked) == 1
    (line,) = (tmp_path / "a.jsonl").read_text().splitlines()
    assert json.loads(line)["source"] == f"{web.url}/office.jpg?X-Amz-Signature=***"


def test_an_image_without_its_length_is_one_image(web: Web) -> None:
    (frame,) = frames_of(web.put("/x", encoded("PNG"), length=False))
    assert frame.kind == "image"


def test_an_image_behind_digest_authentication_is_one_image(web: Web) -> None:
    """FFmpeg fetches it, which takes a single image for a stream without an end."""
    body = encoded("JPEG")

    def answer(client: socket.socket, _: threading.Event) -> None:
        if len(web.asked) < 3:
            client.sendall(
                b"HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: 0\r\n"
                b'WWW-Authenticate: Digest realm="x", nonce="1", qop="auth"\r\n\r\n'
            )
        else:
            head = "HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nConnection: close\r\n"
            client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    (frame,) = frames_of(web.put("/x", answer).replace("://", "://me:word@"))
    assert (frame.kind, frame.total, frame.image.shape) == ("image", 1, (24, 32, 3))


def test_a_text_that_claims_to_be_nothing_is_an_error(web: Web) -> None:
    with pytest.raises(SourceError, match="cannot read"):
        frames_of(web.put("/x", b"<html>log in first</html>", "text/html"))


def test_an_animation_is_read_as_a_video(web: Web) -> None:
    data = io.BytesIO()
    first, *rest = (Image.new("L", (32, 24), 40 * number) for number in range(1, 5))
    first.save(data, "GIF", save_all=True, append_images=rest, duration=50)
    frames = frames_of(web.put("/x.gif", data.getvalue(), "image/gif"))
    assert [round(frame.image.mean(), -1) for frame in frames] == [40, 80, 120, 160]
    assert {(frame.kind, frame.total, frame.rate) for frame in frames} == {("video", 4, 20)}


def test_raw_motion_jpeg_with_a_length_is_read_as_a_video(web: Web) -> None:
    frames = frames_of(web.put("/x", motion_jpeg(6)))
    assert [round(frame.image.mean(), -1) for frame in frames] == [20, 40, 60, 80, 100, 120]
    assert {frame.kind for frame in frames} == {"video"}


@pytest.mark.parametrize("kind", ["application/octet-stream", "video/x-motion-jpeg"])
def test_raw_motion_jpeg_without_an_end_is_a_live_stream(web: Web, kind: str) -> None:
    def answer(client: socket.socket, over: threading.Event) -> None:
        client.sendall(f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n\r\n".encode())
        while not over.wait(1e-4):
            client.sendall(encoded("JPEG"))

    frames = StreamSource(web.put("/x", answer)).frames()
    assert next(frames).kind == next(frames).kind == "live"
    frames.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize(("container", "codec"), [("h264", "libx264"), ("mpegts", "libx264")])
def test_a_video_without_a_duration_but_with_a_length_is_no_live_stream(
    web: Web, container: str, codec: str
) -> None:
    data = io.BytesIO()
    images = [np.full((24, 32, 3), gray, np.uint8) for gray in range(50, 90)]
    write_clip(data, images, codec=codec, container=container)
    frames = frames_of(web.put("/x", data.getvalue()))
    assert (len(frames), {frame.kind for frame in frames}) == (40, {"video"})


def test_a_file_address_is_that_file(tmp_path: Path) -> None:
    from maskyolo.runtime.sources import open_sources

    (tmp_path / "a b.png").write_bytes(encoded("PNG"))
    (source,) = open_sources((tmp_path / "a b.png").as_uri())
    (frame,) = source.frames()
    assert (frame.kind, frame.source) == ("image", str(tmp_path / "a b.png"))


def test_redirects_are_followed_to_web_addresses_only(web: Web, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded("PNG"))

    def redirect(place: str) -> str:
        head = f"HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n"
        return web.put("/gone", lambda client, _: client.sendall(head.encode()))

    (frame,) = frames_of(redirect(web.put("/here.png", encoded("PNG"))))
    assert frame.kind == "image"
    (frame,) = frames_of(redirect("/here.png"))
    for place in ((tmp_path / "a.png").as_uri(), "ftp://127.0.0.1/a.png", "data:,x"):
        with pytest.raises(SourceError, match="cannot read"):
            frames_of(redirect(place))
    web.asked.clear()
    with pytest.raises(SourceError, match="cannot read"):
        frames_of(redirect("/gone"))
    assert len(web.asked) < 12


def test_a_download_has_a_limit_of_size(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maskyolo.runtime.live_sources.MAX_DOWNLOAD", 1 << 20)

    def endless(client: socket.socket, over: threading.Event) -> None:
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n")
        while not over.is_set():
            client.sendall(encoded("PNG") + bytes(1 << 16))

    with pytest.raises(SourceError, match="larger than 1 MB"):
        frames_of(web.put("/x", endless))


def test_a_login_is_not_sent_to_where_an_address_redirects() -> None:
    request = downloads.http_request("http://me:word@127.0.0.1/x")
    handler = downloads._FewRedirects()
    headers: dict[str, str] = {}
    following = handler.redirect_request(request, None, 302, "", headers, "http://127.0.0.2/y")  # type: ignore[arg-type]
    assert following is not None
    assert request.has_header("Authorization")
    assert not following.has_header("Authorization")
