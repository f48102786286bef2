"""Checks of the machine: display, processor, cameras, output folder, environment variables."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from maskyolo.core.parallel import usable_cpus
from maskyolo.core.processor import describe_processor
from maskyolo.doctor.check import Check, load_module
from maskyolo.models.weights import offline

__all__ = ["check_cameras", "check_display", "check_output", "check_processor", "check_settings"]

#: Free disk space in GB below which there is a warning.
_FREE_GB = 2.0


def check_display() -> Iterator[Check]:
    """Check whether there is a display for windows."""
    if platform.system() != "Linux":
        yield Check("display", "ok", f"assumed to exist on {platform.system()}")
    elif display := os.environ.get("WAYLAND_DISPLAY") or os.environ.get("DISPLAY"):
        yield Check("display", "ok", display)
    else:
        yield Check(
            "display",
            "ok",
            "none (DISPLAY is not set): results go to files, and --show does not work",
        )


def check_processor() -> Iterator[Check]:
    """Report the processor, its cores, and its instruction sets for neural networks."""
    name, flags = describe_processor()
    cores = usable_cpus()
    fast = [
        flag
        for flag in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
        if flag in flags
    ]
    yield Check(
        "processor",
        "ok",
        f"{name}, {cores} core{'s' if cores > 1 else ''}{': ' if fast else ''}{' '.join(fast)}",
    )


def check_cameras() -> Iterator[Check]:
    """Open each camera for one frame."""
    if platform.system() != "Linux":
        yield Check(
            "cameras",
            "ok",
            f"not tested on {platform.system()}",
            "maskyolo detect --source 0 --show",
        )
        return
    places = [place for place in range(4) if Path(f"/dev/video{place}").exists()]
    opened = []
    if places:
        try:
            cv2 = load_module("cv2")
        except ImportError:
            return
        for place in places:
            camera = cv2.VideoCapture(place)
            if camera.isOpened() and camera.read()[0]:
                width = camera.get(cv2.CAP_PROP_FRAME_WIDTH)
                height = camera.get(cv2.CAP_PROP_FRAME_HEIGHT)
                opened.append(f"{place} ({width:.0f}x{height:.0f})")
            camera.release()
    silent = [
        str(place) for place in places if not any(text.startswith(f"{place} ") for text in opened)
    ]
    found = ", ".join(opened) or "none"
    yield Check(
        "cameras",
        "ok",
        found + (f"; /dev/video{', /dev/video'.join(silent)} gave no image" if silent else ""),
    )


def check_output(project: Path) -> Iterator[Check]:
    """Check that the folder for runs is writable and has free space."""
    folder = project.absolute()
    while not folder.exists():
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
        free = shutil.disk_usage(folder).free / 1e9
    except OSError as error:
        found = f"cannot write into {folder}: {(error.strerror or str(error)).lower()}"
        yield Check(
            "output folder",
            "fail",
            found,
            "change to a folder you can write to, or give one with --project",
        )
        return
    if free < _FREE_GB:
        yield Check(
            "output folder",
            "warn",
            f"{project}: only {free:.1f} GB free",
            "free some space, or give another folder with --project",
        )
    else:
        yield Check("output folder", "ok", f"{project}: writable, {free:.0f} GB free")


def check_settings() -> Iterator[Check]:
    """Report the environment variables that change what maskyolo does."""
    found = (
        "MASKYOLO_OFFLINE or YOLO_OFFLINE is set: nothing is downloaded"
        if offline()
        else "missing weights may be downloaded on request"
    )
    yield Check("offline", "ok", found)
    models = os.environ.get("MASKYOLO_MODELS")
    if models and not Path(models).is_dir():
        yield Check(
            "MASKYOLO_MODELS",
            "warn",
            f"is {models}, which is not a folder",
            "create the folder or unset the variable",
        )
    elif models:
        yield Check("MASKYOLO_MODELS", "ok", models)
