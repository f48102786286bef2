"""Videos that are damaged or lie, playlists that name other files, and servers that misbehave."""

from __future__ import annotations

import io
import json
import random
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np
from harness import Size, Trial, maskyolo
from live import Web
from PIL import Image

#: Container and codec of each suffix that is damaged.
_VIDEOS = {
    ".mp4": ("mp4", "libx264"),
    ".mov": ("mov", "mpeg4"),
    ".mkv": ("matroska", "libx264"),
    ".webm": ("webm", "libvpx"),
    ".avi": ("avi", "mjpeg"),
    ".ts": ("mpegts", "mpeg2video"),
    ".flv": ("flv", "flv"),
    ".mjpeg": ("mjpeg", "mjpeg"),
    ".h264": ("h264", "libx264"),
    ".ivf": ("ivf", "libvpx"),
    ".nut": ("nut", "ffv1"),
}
_ANIMATIONS = (".gif", ".webp", ".png")
#: Numbers that a header may claim.
_LIES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)
#: `detect` opens each address twice, and waits for each for 10 s.
_SECONDS = 60.0


def trials(rng: random.Random, size: Size) -> Iterator[Trial]:
    """Yield the trials; see `harness`."""
    large = size is Size.LARGE
    for number in range(12 if large else 1):
        yield Trial(
            f"streams/damaged-{number}", partial(_damaged, rng.random(), 30 if large else 14)
        )
    yield Trial("streams/playlists", _playlists)
    kinds = list(_SERVERS)
    if not large:
        kinds = rng.sample(["flood", "huge part", "garbage", "redirect", "ends at once"], 2)
    for kind in kinds:
        yield Trial(f"streams/server-{kind}", partial(_served, kind, rng.random()))


def _detect(folder: Path, source: str, expected: set[str]) -> None:
    """Run `detect` and check that each source has a line, be it a result or an error."""
    outcome = maskyolo(
        *("detect", "--source", source, "--save-json", "out.jsonl", "--no-save"),
        *("--imgsz", "64", "--reconnect", "0"),
        cwd=folder,
        seconds=_SECONDS,
    )
    outcome.check()
    path = folder / "out.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    found = {Path(json.loads(line)["source"]).name for line in lines}
    assert expected <= found, f"no line for {sorted(expected - found)}"


def _damaged(seed: float, count: int, folder: Path) -> None:
    rng = random.Random(seed)
    inside = folder / "in"
    inside.mkdir()
    names = set()
    for number in range(count):
        suffix = rng.choice([*_VIDEOS, *_ANIMATIONS])
        data = _mutated(_animation(suffix) if suffix in _ANIMATIONS else _video(suffix), rng)
        names.add(f"{number:03}{suffix}")
        (inside / f"{number:03}{suffix}").write_bytes(data)
    _detect(folder, "in", names)


def _frames() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (48, 64, 3), np.uint8) for _ in range(6)]


def _video(suffix: str) -> bytes:
    container, codec = _VIDEOS[suffix]
    data = io.BytesIO()
    with av.open(data, "w", format=container) as file:
        stream = file.add_stream(codec, rate=25)
        stream.width, stream.height = 64, 48
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for frame in _frames():
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="bgr24")))
        file.mux(stream.encode(None))
    return data.getvalue()


def _animation(suffix: str) -> bytes:
    data = io.BytesIO()
    first, *rest = map(Image.fromarray, _frames())
    first.save(data, suffix[1:], save_all=True, append_images=rest, duration=40)
    return data.getvalue()


def _mutated(data: bytes, rng: random.Random) -> bytes:
    """Damage a file: cut it, change or repeat bytes, or write a lie over a number."""
    for _ in range(rng.randint(1, 4)):
        place, length = rng.randrange(len(data) or 1), rng.choice((1, 4, 64, 1000))
        kind = rng.choice(("cut", "zero", "noise", "lie", "repeat", "remove"))
        if kind == "cut":
            data = data[:place]
        elif kind == "zero":
            data = data[:place] + bytes(length) + data[place + length :]
        elif kind == "noise":
            data = data[:place] + rng.randbytes(length) + data[place + length :]
        elif kind == "lie":
            lie = struct.pack(rng.choice(("<I", ">I")), rng.choice(_LIES))
            place = rng.randrange(min(len(data), 600) or 1)
            data = data[:place] + lie + data[place + 4 :]
        elif kind == "repeat":
            data = data[: place + length] + data[place:]
        else:
            data = data[:place] + data[place + length :]
    return data


def _playlists(folder: Path) -> None:
    """Local playlists must not read their neighbor, nor ask a server."""
    web = Web()
    inside = folder / "in"
    inside.mkdir()
    (folder / "neighbor.ts").write_bytes(_video(".ts"))
    url = web.put("/a.ts", _video(".ts"))
    texts = {
        "a.mp4": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:0.2,\n{path}\n#EXT-X-ENDLIST\n",
        "b.ts": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:0.2,\n{url}\n#EXT-X-ENDLIST\n",
        "c.mkv": "ffconcat version 1.0\nfile ../neighbor.ts\n",
        "d.avi": "ffconcat version 1.0\nfile {url}\n",
        "e.mov": "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
        "f.mp4": '<?xml version="1.0"?><MPD><BaseURL>{url}</BaseURL></MPD>',
        "g.avi": "[playlist]\nFile1={path}\n",
        "h.mp4": "# FFmpeg\n{path}\n{url}\n",
    }
    for name, text in texts.items():
        (inside / name).write_text(text.format(path=folder / "neighbor.ts", url=url))
    Image.fromarray(_frames()[0]).save(inside / "x.png")
    try:
        _detect(folder, "in", {*texts, "x.png"})
        lines = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
        read = {Path(line["source"]).name for line in lines if "error" not in line}
        assert read == {"x.png"}, f"read what they name: {read}"
        assert web.asked == [], f"asked for {web.asked}"
    finally:
        web.close()


_OK = b"HTTP/1.1 200 OK\r\n"
_MULTIPART = _OK + b"Content-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"
_PART = b"--frame\r\nContent-Type: image/jpeg\r\n"
_JPEG = cv2.imencode(".jpg", np.full((48, 64, 3), 90, np.uint8))[1].tobytes()
_Answer = Callable[[socket.socket, threading.Event], None]


def _drip(start: bytes, drop: bytes) -> _Answer:
    def answer(client: socket.socket, over: threading.Event) -> None:
        client.sendall(start)
        while not over.wait(0.1):
            client.sendall(drop)

    return answer


def _flood(start: bytes, block: bytes) -> _Answer:
    def answer(client: socket.socket, over: threading.Event) -> None:
        client.sendall(start)
        while not over.is_set():
            client.sendall(block)

    return answer


def _once(data: bytes) -> _Answer:
    return lambda client, _: client.sendall(data)


def _garbage(rng: random.Random) -> _Answer:
    whole = _MULTIPART + 8 * (_PART + b"\r\n" + _JPEG + b"\r\n")
    return _once(_mutated(whole, rng))


#: What a server sends, by name; each gets the trial's random numbers.
_SERVERS: dict[str, Callable[[random.Random], _Answer]] = {
    "flood": lambda rng: _flood(_MULTIPART + _PART + b"\r\n", rng.randbytes(1 << 16)),
    "huge part": lambda rng: _flood(
        _MULTIPART + _PART + b"Content-Length: 2000000000\r\n\r\n", rng.randbytes(1 << 16)
    ),
    "endless headers": lambda rng: _flood(_OK, b"X: a\r\n" * 1000),
    "endless header": lambda rng: _flood(_OK + b"X: ", b"a" * (1 << 16)),
    "endless image": lambda rng: _flood(
        _OK + b"Content-Type: image/png\r\n\r\n\x89PNG\r\n\x1a\n", rng.randbytes(1 << 16)
    ),
    "dripping headers": lambda rng: _drip(_OK + b"X: ", b"a"),
    "dripping part": lambda rng: _drip(_MULTIPART + _PART + b"\r\n" + _JPEG[:99], b"\0"),
    "dripping video": lambda rng: _drip(_OK + b"Content-Type: video/mp4\r\n\r\n", b"\0"),
    "garbage": _garbage,
    "more garbage": _garbage,
    "noise": lambda rng: _once(rng.randbytes(5000)),
    "video of noise": lambda rng: _once(_OK + b"\r\n" + rng.randbytes(99_999)),
    "negative length": lambda rng: _once(_OK + b"Content-Length: -1\r\n\r\n" + _JPEG),
    "bad chunks": lambda rng: _once(
        _OK + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n" + _JPEG
    ),
    "redirect": lambda rng: _once(
        b"HTTP/1.1 302 Found\r\nLocation: "
        + rng.choice([b"file:///etc/passwd", b"/x", b"ftp://127.0.0.1/x", b"gopher://x", b""])
        + b"\r\nContent-Length: 0\r\n\r\n"
    ),
    "ends at once": lambda rng: _once(_MULTIPART[: rng.randrange(len(_MULTIPART))]),
    "playlist": lambda rng: _once(
        _OK + b"\r\n#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:0.2,\n"
        b"file:///etc/passwd\n#EXT-X-ENDLIST\n"
    ),
    "playlist of itself": lambda rng: _once(
        _OK + b"\r\n#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n/x?channel=1\n"
    ),
}


def _served(kind: str, seed: float, folder: Path) -> None:
    web = Web()
    address = web.put("/x?channel=1", _SERVERS[kind](random.Random(seed)))
    try:
        _detect(folder, address.replace("://", "://me:se-cret@"), {"x?channel=1"})
        text = (folder / "out.jsonl").read_text()
        assert "se-cret" not in text, "shows the password"
    finally:
        web.close()
