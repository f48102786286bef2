"""Third-party weights by name: find a copy on this machine or fetch it, and check its SHA-256 before anyone uses it."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from maskyolo.core.files import sha256_of
from maskyolo.errors import WeightsError, output_errors

__all__ = [
    "Weights",
    "WeightsFile",
    "cache_folder",
    "check_own_weights",
    "fetch_weights",
    "find_weights",
    "load_manifest",
    "locate_weights",
    "offline",
    "own_weights",
]


@dataclass(frozen=True)
class Weights:
    """One entry of `manifest.yaml`.

    Attributes:
        name: what commands and messages call it.
        file: its usual file name, looked for in each folder.
        used_by: the command that needs it, or empty when none does yet.
        sha256: the accepted checksums, as lower-case hex.
        wheel: path inside an installed package that carries it (maskyolo itself, or a wheel), or empty.
    """

    name: str
    description: str
    file: str
    used_by: str
    license: str
    sha256: tuple[str, ...]
    url: str
    wheel: str = ""


@dataclass(frozen=True)
class WeightsFile:
    """The first file with the name of a weights entry among the places that `find_weights` looks in.

    Attributes:
        place: the kind of place it is in, such as `the cache`; empty when it is missing.
        path: the file, or None when it is missing.
        status: `ok`, `wrong` (another SHA-256, or not readable) or `missing`.
    """

    weights: Weights
    place: str
    path: Path | None
    status: Literal["ok", "wrong", "missing"]


@functools.cache
def load_manifest() -> dict[str, Weights]:
    """Return every third-party weights file this version knows, by name."""
    entries = yaml.safe_load((Path(__file__).parent / "manifest.yaml").read_text(encoding="utf-8"))
    return {
        name: Weights(name=name, **{**entry, "sha256": tuple(entry["sha256"])})
        for name, entry in entries.items()
    }


def find_weights(name: str, path: Path | str | None = None, download: bool = True) -> Path:
    """Return a checked file of the weights `name`.

    Looked for, in this order: `path` (the file, or a folder that has it), `face_detector/` in the working folder, the folder
    in `MASKYOLO_MODELS`, the user's cache, an installed package that carries it, and last, with `download`, the official address.

    Raises:
        WeightsError: an unknown name; a file whose checksum is wrong; not found (the message lists every place tried).
    """
    weights = _entry(name)
    tried = []
    for place, candidate in _places(weights, path):
        tried.append(f"{place} ({candidate})" if candidate else place)
        if candidate and candidate.is_file():
            return _verified(weights, candidate)
        if place == "the path given":
            raise WeightsError(
                f"cannot find weights '{name}': no {weights.file} at {path}; give the file or the folder that has it"
            )
    if download and not offline():
        return fetch_weights(name)
    tried.append("no download: offline" if download else "no download: not asked for")
    raise WeightsError(
        f"cannot find weights '{name}' ({weights.file}); tried {', '.join(tried)}; run `maskyolo models --fetch {name}` "
        "where there is a network, or put the file into one of these folders"
    )


def locate_weights(name: str, path: Path | str | None = None) -> WeightsFile:
    """Tell where `find_weights` would find the weights `name` without a download, and whether the checksum is right.

    Raises:
        WeightsError: an unknown name.
    """
    weights = _entry(name)
    for place, candidate in _places(weights, path):
        if candidate and candidate.is_file():
            try:
                _verified(weights, candidate)
            except WeightsError:
                return WeightsFile(weights, place, candidate, "wrong")
            return WeightsFile(weights, place, candidate, "ok")
    return WeightsFile(weights, "", None, "missing")


def own_weights() -> list[Path]:
    """Return the model files that come with the package (`maskyolo/weights/`), sorted by name."""
    folder = Path(__file__).parent / "weights"
    return sorted(path for path in folder.glob("*") if path.suffix in (".onnx", ".pt"))


def check_own_weights(path: Path) -> None:
    """Check that a model file of `own_weights` loads: ONNX in OpenVINO, a PyTorch checkpoint as the zip archive that it is.

    Raises:
        WeightsError: it does not.
    """
    mend = "git checkout maskyolo/weights, or reinstall: pip install --force-reinstall --no-deps ."
    if path.suffix == ".onnx":
        from maskyolo.backends.openvino import CORE

        try:
            CORE.read_model(path)
        except RuntimeError as error:
            reason = next(
                (line.strip() for line in str(error).splitlines() if line.strip()),
                "OpenVINO refuses it",
            )
            raise WeightsError(f"cannot load {path}: {reason[:120]}; {mend}") from error
    else:
        try:
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()
        except (OSError, zipfile.BadZipFile) as error:
            raise WeightsError(f"cannot load {path}: {str(error).lower()}; {mend}") from error
        if damaged:
            raise WeightsError(f"cannot load {path}: {damaged} in it is damaged; {mend}")


def fetch_weights(
    name: str, folder: Path | None = None, report: Callable[[str], None] | None = None
) -> Path:
    """Download the weights `name` from their official address into `folder` (default: the user's cache), checked.

    A right copy that is there already is kept; `report` is told the address before a download starts.

    Raises:
        WeightsError: an unknown name, no network, the server refuses, or what came has the wrong checksum (nothing is kept then).
        OutputError: the folder cannot be written.
    """
    import pooch
    import requests

    weights = _entry(name)
    folder = folder or cache_folder()
    target, part = folder / weights.file, folder / f"{weights.file}.part"
    if target.is_file() and sha256_of(target) in weights.sha256:
        return target
    if report:
        report(f"downloading {weights.file} from {weights.url}")
    pooch.get_logger().setLevel("ERROR")
    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        part.unlink(missing_ok=True)
        try:
            pooch.retrieve(weights.url, known_hash=None, fname=part.name, path=folder)
            found = sha256_of(part)
            if found not in weights.sha256:
                raise WeightsError(
                    f"cannot download weights '{name}': what came from {weights.url} has SHA-256 {found[:12]}…, expected "
                    f"{weights.sha256[0][:12]}…; nothing was kept; fetch it elsewhere and put it into {folder}"
                )
            part.replace(target)
        except requests.RequestException as error:
            answer = getattr(error, "response", None)
            reason = (
                "no connection, or it broke off"
                if answer is None
                else f"the server answered {answer.status_code} {answer.reason}"
            )
            raise WeightsError(
                f"cannot download weights '{name}' from {weights.url}: {reason}; try again, or fetch it elsewhere and put it into {folder}"
            ) from error
        finally:
            part.unlink(missing_ok=True)
    return target


def cache_folder() -> Path:
    """Return the user's folder for downloaded weights, such as `~/.cache/maskyolo` on Linux; it may not exist yet."""
    import pooch

    return Path(pooch.os_cache("maskyolo"))


def offline() -> bool:
    """Tell whether the user forbids downloads: `MASKYOLO_OFFLINE` or Ultralytics' `YOLO_OFFLINE` is set to something true."""
    return any(
        os.environ.get(name, "").lower() in ("1", "true", "yes", "on")
        for name in ("MASKYOLO_OFFLINE", "YOLO_OFFLINE")
    )


def _entry(name: str) -> Weights:
    try:
        return load_manifest()[name]
    except KeyError:
        raise WeightsError(
            f"unknown weights '{name}'; the known ones are {', '.join(load_manifest())}"
        ) from None


def _places(weights: Weights, path: Path | str | None) -> Iterator[tuple[str, Path | None]]:
    if path is not None:
        given = Path(path)
        yield "the path given", given / weights.file if given.is_dir() else given
    yield "face_detector/", Path("face_detector").absolute() / weights.file
    models = os.environ.get("MASKYOLO_MODELS")
    yield (
        ("MASKYOLO_MODELS", Path(models) / weights.file)
        if models
        else ("MASKYOLO_MODELS (not set)", None)
    )
    yield "the cache", cache_folder() / weights.file
    if weights.wheel:
        yield f"the package {weights.wheel.split('/')[0]}", _in_wheel(weights.wheel)


def _in_wheel(wheel: str) -> Path | None:
    if wheel.startswith("maskyolo/"):
        return Path(__file__).parent.parent / wheel
    try:
        return Path(str(importlib.metadata.distribution(wheel.split("/")[0]).locate_file(wheel)))
    except importlib.metadata.PackageNotFoundError:
        return None


def _verified(weights: Weights, path: Path) -> Path:
    try:
        found = sha256_of(path)
    except OSError as error:
        raise WeightsError(
            f"cannot read weights '{weights.name}' at {path}: {(error.strerror or str(error)).lower()}; check the file"
        ) from error
    if found not in weights.sha256:
        raise WeightsError(
            f"wrong weights '{weights.name}' at {path}: SHA-256 {found[:12]}…, expected {weights.sha256[0][:12]}…; "
            f"delete the file and run `maskyolo models --fetch {weights.name}`"
        )
    return path
