"""The files of the page: its sources, the model, and what is generated for them."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskyolo.core.files import package_folder, sha256_of
from maskyolo.detectors.classes import find_classes
from maskyolo.detectors.loading import DEFAULT_MODELS, load_detector
from maskyolo.detectors.yolo import YoloDetector
from maskyolo.errors import MaskyoloError, WeightsError
from maskyolo.models.own import find_model

__all__ = ["HEADERS", "POLICY", "File", "build_site", "source_folder"]

#: What the page may do: nothing but load its own files and compile WebAssembly.
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; "
    "connect-src 'self'; img-src 'self' blob:; media-src 'self' blob:; style-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'"
)
#: Headers of every response. The first two isolate the page, without which it gets no threads.
HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": f"{POLICY}; frame-ancestors 'none'",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
#: Content types by suffix; files with other suffixes are not part of the page.
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".wasm": "application/wasm",
    ".onnx": "application/octet-stream",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".webp": "image/webp",
    ".txt": "text/plain; charset=utf-8",
}
#: Files that the browser does not store for offline use.
NOT_STORED = {"sw.js", "version.js"}
SOURCE_CODE = "https://github.com/maskyolo/maskyolo"
#: Of the page, and of every model that Ultralytics trained.
LICENSE = "AGPL-3.0"


@dataclass(frozen=True)
class File:
    """A file of the page.

    Attributes:
        data: its content.
        kind: its content type.
    """

    data: bytes
    kind: str

    @property
    def sha256(self) -> str:
        """The SHA-256 of the content, as lower-case hex."""
        return sha256_of(self.data)


def source_folder() -> Path:
    """Return the folder `web/`, in the installed package or in the repository."""
    package = package_folder()
    installed = package / "web" / "page"
    return installed if installed.is_dir() else package.parent / "web"


def build_site(
    model: Path | str | None = None, class_map: Mapping[str, str] | None = None
) -> dict[str, File]:
    """Return all files of the page by path, with the model as `model.onnx`.

    Args:
        model: name or `.onnx` file of a detector. Default: that of `load_detector`.
        class_map: what the model's classes stand for; see `find_classes`.

    Raises:
        WeightsError: there is no such model, it is not an `.onnx` file, or not a detector of masks.
        MaskyoloError: the page's sources are not installed.
    """
    path = find_model(DEFAULT_MODELS["yolo"] if model is None else model)
    if path.suffix.lower() != ".onnx":
        raise WeightsError(
            f"cannot use {path} in a browser: it is not an .onnx file",
            f"convert it: maskyolo export --format onnx --model {path}",
        )
    detector = load_detector(path, class_map=class_map)
    assert isinstance(detector, YoloDetector)  # noqa: S101  # the pipeline is the default one
    site = _sources()
    site["model.onnx"] = _file("model.onnx", _read(path))
    described = _describe(path, detector, site)
    site["model.json"] = _file(
        "model.json", _dumped(described | _groups(detector.backend.names, class_map, path))
    )
    site["version.js"] = _file("version.js", _version(site))
    return site


def _sources() -> dict[str, File]:
    folder = source_folder()
    files = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.suffix in TYPES and path.is_file() and path.name != "jsconfig.json"
    }
    if "index.html" not in files:
        raise MaskyoloError(f"the browser page is missing: no {folder}", "reinstall maskyolo")
    return {name: _file(name, path.read_bytes()) for name, path in files.items()}


def _file(name: str, data: bytes) -> File:
    return File(data, TYPES[Path(name).suffix])


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise WeightsError(f"cannot read weights {path}: {reason}", "check the file") from error


def _describe(path: Path, detector: YoloDetector, site: dict[str, File]) -> dict[str, Any]:
    """Return what the page has to know about the model; a browser cannot read its metadata."""
    runtime = sum(len(file.data) for name, file in site.items() if name.endswith(".wasm"))
    weights = site["model.onnx"]
    return {
        "name": path.stem,
        "imgsz": detector.imgsz,
        "shape": detector.backend.shape,
        "sha256": weights.sha256,
        "bytes": len(weights.data),
        "download": len(weights.data) + runtime,
        "license": LICENSE,
        "source": SOURCE_CODE,
        "version": _package_version(),
    }


def _package_version() -> str:
    try:
        return importlib.metadata.version("maskyolo")
    except importlib.metadata.PackageNotFoundError:  # run from a folder
        return "(not installed)"


def _groups(
    names: Sequence[str], class_map: Mapping[str, str] | None, path: Path
) -> dict[str, Any]:
    """Return which of the network's classes stand for two, and if it has them, three of ours."""
    try:
        three = find_classes(names, class_map, True, path).rows
    except WeightsError:  # the model has no class of masks worn incorrectly
        three = None
    two = find_classes(names, class_map, False, path).rows
    return {"classes": names, "two": two, "three": three}


def _version(site: dict[str, File]) -> bytes:
    """Return `version.js`, which tells the service worker what this version consists of."""
    stored = {
        name: file.sha256
        for name, file in sorted(site.items())
        if name not in NOT_STORED and not name.endswith(".txt")
    }
    version = sha256_of(_dumped([stored, HEADERS, site["sw.js"].sha256]))[:16]
    values = {"VERSION": version, "FILES": stored, "HEADERS": HEADERS}
    return "".join(
        f"self.{name} = {json.dumps(value, indent=2)};\n" for name, value in values.items()
    ).encode()


def _dumped(value: Any) -> bytes:
    return json.dumps(value, indent=2).encode()
