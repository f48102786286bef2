"""Damaged, odd and huge images: each has its line and row, and nothing else is printed."""

from __future__ import annotations

import csv
import io
import json
import random
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from harness import Size, Trial, maskyolo
from paths import SAMPLES
from PIL import Image

#: Formats with the options they are written with.
_KINDS: dict[str, tuple[str, dict[str, object]]] = {
    "jpg": ("JPEG", {}),
    "progressive.jpg": ("JPEG", {"progressive": True}),
    "cmyk.jpg": ("JPEG", {}),
    "png": ("PNG", {}),
    "16.png": ("PNG", {}),
    "raw.tif": ("TIFF", {}),
    "lzw.tif": ("TIFF", {"compression": "tiff_lzw"}),
    "jpeg.tif": ("TIFF", {"compression": "jpeg"}),
    "zip.tif": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    "float.tif": ("TIFF", {}),
    "webp": ("WEBP", {}),
    "gif": ("GIF", {}),
    "bmp": ("BMP", {}),
    "ppm": ("PPM", {}),
    "avif": ("AVIF", {"speed": 10}),
    "jp2": ("JPEG2000", {}),
}


def trials(rng: random.Random, size: Size) -> Iterator[Trial]:
    """Yield folders of damaged images for `detect` and `convert`, and images that unpack far."""
    small = size is Size.SMALL
    if small:
        yield Trial("images/detect-damaged", _detecting(_damaged(rng, list(_KINDS), 3)))
        kinds = rng.sample(list(_KINDS), 5)
        yield Trial("images/convert-damaged", _converting(_damaged(rng, kinds, 1)))
    else:
        for kind in _KINDS:
            yield Trial(f"images/detect-damaged-{kind}", _detecting(_damaged(rng, [kind], 60)))
            yield Trial(f"images/convert-damaged-{kind}", _converting(_damaged(rng, [kind], 20)))
    yield Trial("images/detect-odd", _detecting(_odd(rng)))
    if not small:
        yield Trial("images/convert-odd", _converting(_odd(rng)))
        for name, data in _huge().items():
            yield Trial(f"images/detect-huge-{name}", _detecting({name: data}))
            yield Trial(f"images/convert-huge-{name}", _converting({name: data}, 2500))


def _photo(kind: str) -> bytes:
    image = Image.open(SAMPLES / "selfie.jpg").convert("RGB").resize((96, 96))
    if kind.startswith("cmyk"):
        image = image.convert("CMYK")
    elif kind.startswith("16"):
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    elif kind.startswith("float"):
        image = Image.fromarray(np.asarray(image.convert("L"), np.float32) / 255)
    elif kind == "gif":
        image = image.convert("P")
    out = io.BytesIO()
    name, options = _KINDS[kind]
    image.save(out, name, **options)
    return out.getvalue()


def _damaged(rng: random.Random, kinds: list[str], number: int) -> dict[str, bytes]:
    files = {}
    for kind in kinds:
        data = _photo(kind)
        for count in range(number):
            files[f"{count}.{kind}"] = _change(rng, bytearray(data))
    return files


def _change(rng: random.Random, data: bytearray) -> bytes:
    way = rng.randrange(5)
    if way == 0:
        return bytes(data[: rng.randrange(len(data))])
    if way == 1:  # in the header, where sizes and counts are
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(min(200, len(data)))] = rng.choice((0, 1, 127, 128, 255))
    elif way == 2:
        for _ in range(rng.randint(1, 40)):
            data[rng.randrange(len(data))] = rng.randrange(256)
    elif way == 3:
        place = rng.randrange(len(data))
        data[place:place] = rng.randbytes(rng.randint(1, 2000))
    else:
        place = rng.randrange(len(data))
        del data[place : place + rng.randint(1, 500)]
    return bytes(data)


def _odd(rng: random.Random) -> dict[str, bytes]:
    """Return what is no image, images of extreme shapes and samples, and odd names."""
    photo = _photo("jpg")
    tall, wide = (Image.new("RGB", size, "gray") for size in ((1, 4000), (4000, 1)))
    lines = "".join(f"{rng.random()}\n" for _ in range(99)).encode()
    nothing = np.full((9, 9), np.nan, np.float32)
    return {
        "empty.jpg": b"",
        "text.png": lines,
        "noise.webp": rng.randbytes(5000),
        "script.tif": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) print\n",
        "bomb.png": _png(100_000, 100_000, b""),
        "zero.png": _png(0, 5, b""),
        "tall.png": _saved(tall, "PNG"),
        "wide.jpg": _saved(wide, "JPEG"),
        "nan.tif": _saved(Image.fromarray(nothing), "TIFF"),
        "dot.bmp": _saved(Image.new("1", (1, 1)), "BMP"),
        "a\x1b[2J\u202eb.jpg": photo,
        "bad\x07\x9b.jpg": b"no image",
        "two\nlines.jpg": b"no image",
        "space .JPG": photo,
    }


def _huge() -> dict[str, bytes]:
    """Return small files that unpack to the largest images, which are read or refused."""
    files = {}
    for side in (12_300, 13_300):
        row = zlib.compress(bytes(side * side * 3 + side), 9)
        files[f"{side}.png"] = _png(side, side, row)
    for name, kind, options, side in (
        ("large.jpg", "JPEG", {"quality": 50}, 12_200),
        ("progressive.jpg", "JPEG", {"progressive": True, "subsampling": 0}, 8_900),
        ("large.webp", "WEBP", {"method": 0}, 7_900),
        ("large.tif", "TIFF", {"compression": "tiff_adobe_deflate"}, 10_000),
        ("large.gif", "GIF", {}, 13_000),
    ):
        files[name] = _saved(Image.new("RGB", (side, side), "gray"), kind, **options)
    return files


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def _png(width: int, height: int, pixels: bytes) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", pixels), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _detecting(files: dict[str, bytes]) -> Callable[[Path], None]:
    def run(folder: Path) -> None:
        photos = folder / "photos"
        photos.mkdir()
        _write(photos, files)
        outcome = maskyolo(
            *("detect", "--source", photos, "--save-json", "out.jsonl"), cwd=folder
        ).check()
        _check_lines(outcome.stderr)
        lines = (folder / "out.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
        found = {json.loads(line)["source"] for line in lines}
        assert len(found) == len(files), f"{len(found)} of {len(files)} files have a row"

    return run


def _converting(files: dict[str, bytes], memory_mb: float = 1500) -> Callable[[Path], None]:
    def run(folder: Path) -> None:
        photos = folder / "photos" / "with_mask"
        photos.mkdir(parents=True)
        _write(photos, files)
        bare = photos.with_name("without_mask")
        bare.mkdir()
        (bare / "selfie.jpg").write_bytes((SAMPLES / "selfie.jpg").read_bytes())
        outcome = maskyolo(
            *("convert", "photos", "--out", "set"), cwd=folder, memory_mb=memory_mb
        ).check()
        _check_lines(outcome.stderr)
        ledgers = [*folder.glob("set*/ledger.csv")]
        assert ledgers, outcome.stderr[-500:]
        with ledgers[0].open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == len(files) + 1, f"{len(rows)} of {len(files) + 1} photos have a row"

    return run


def _write(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (folder / name).write_bytes(data)


def _check_lines(stderr: str) -> None:
    """Assert that no library printed anything."""
    for line in stderr.split("\n"):
        ours = not line or line.startswith("maskyolo: ") or "images at" in line
        ours = ours or re.fullmatch(r"OpenVINO CPU (fp32|bf16|int8), \d+ px", line)
        assert ours, f"a line that is not ours: {line[:300]!r}"
