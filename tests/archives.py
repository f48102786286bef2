"""An archive for the tests of `batch`, and workers that die at given images."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from clips import make_clip
from paths import SAMPLES

import maskyolo
from maskyolo.batch import local

__all__ = ["SETTINGS", "detect_lines", "make_archive", "patch_workers"]

SETTINGS = {"imgsz": 160, "threads": 1}

#: Kills a worker process when it decodes an image that begins with DEADLY, and at the given images,
#: counted over all worker processes.
_DEADLY = """
import os, signal
from maskyolo.runtime import file_sources
decode = file_sources.decode_photo
def decode_photo(data, name, side=None):
    with open({log!r}, "ab") as log:
        log.write(b"x")
        count = log.tell()
    if count in {kills!r} or data.startswith(b"DEADLY"):
        os.kill(os.getpid(), signal.{signal})
    return decode(data, name, side)
file_sources.decode_photo = decode_photo
"""


def make_archive(folder: Path) -> Path:
    """Six images, a damaged file, and a video of six frames, in this order of names."""
    folder.mkdir()
    for name, image in zip("abdfgh", ("street", "queue", "office", "selfie") * 2, strict=False):
        shutil.copyfile(SAMPLES / f"{image}.jpg", folder / f"{name}.jpg")
    (folder / "c.jpg").write_bytes(b"not an image")
    make_clip(folder / "e.mp4", 6)
    return folder


def detect_lines(source: Path | str | list[str], out: Path) -> bytes:
    """Return the lines of `maskyolo detect` on the same source."""
    for _ in maskyolo.detect(
        source, save_json=out, on_error=lambda *_: None, reduced=True, **SETTINGS
    ):
        pass
    return out.read_bytes()


def patch_workers(
    patch: pytest.MonkeyPatch, log: Path, kills: tuple[int, ...] = (), signal: str = "SIGKILL"
) -> None:
    """Make worker processes die at the given images, counted over all of them."""
    code = _DEADLY.format(log=str(log), kills=kills, signal=signal)
    patch.setattr(local, "CODE", f"{code}\n{local.CODE}")
