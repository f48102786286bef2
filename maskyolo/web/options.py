"""Options of `web`: the model, and where the page is served or written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from maskyolo.core.options import Options, Panel, option, option_of
from maskyolo.detectors.options import InferenceOptions

__all__ = ["PORT", "WebOptions"]

#: An unusual port, because browsers store the page, its cache and its service worker by address. On
#: port 8000, they would conflict with other projects of the same user.
PORT = 8642


@dataclass(frozen=True, kw_only=True)
class WebOptions(Options, panel=Panel.OUTPUT):
    """Options of `serve_web` and `maskyolo web`."""

    model: Path | str | None = option_of(
        InferenceOptions, "model", help="Name of a model (maskyolo-n), or its .onnx file."
    )
    class_map: Mapping[str, str] | None = option_of(InferenceOptions, "class_map")
    port: int = option(
        PORT,
        help="Port to serve the page on. 0: any free port.",
        minimum=0,
        maximum=65535,
    )
    out: Path | None = option(
        None,
        help="Write the page to this folder for a static web host, instead of serving it. Must not "
        "exist yet.",
    )
