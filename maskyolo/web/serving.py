"""Serve the browser page on this machine, or write it to a folder for a static web host."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from maskyolo.core.options import takes_options
from maskyolo.errors import OutputError, output_errors
from maskyolo.web.options import WebOptions
from maskyolo.web.server import PageServer
from maskyolo.web.site import HEADERS, File, build_site

__all__ = ["serve_web"]


@takes_options(WebOptions)
def serve_web(
    model: Path | str | None = None,
    options: WebOptions | None = None,
    *,
    on_start: Callable[[str], None] = lambda _: None,
    **settings: Any,
) -> Path | None:
    """Serve the page that runs a detector in the browser, until interrupted.

    The server only answers browsers on this machine. With `out`, the page is written to that folder
    instead, and nothing is served.

    Args:
        model: name of a packaged model (default: maskyolo-n), or the path of an `.onnx` file.
        options: the options as one object.
        on_start: called with the page's address as soon as it can be opened.
        settings: fields of `WebOptions`; they override `options`.

    Returns:
        The folder `out`; None if the page was served.

    Raises:
        WeightsError: there is no such model, or it cannot run in a browser.
        OutputError: `out` exists already, or cannot be written.
        MaskyoloError: the port is in use.

    Example:
        >>> serve_web("maskyolo-n", out="public")
        PosixPath('public')
    """
    if model is not None:
        settings["model"] = model
    chosen = WebOptions.merge(options, settings)
    if chosen.out is not None:
        folder = Path(chosen.out)
        _check_new(folder)
        return _write(build_site(chosen.model, chosen.class_map), folder)
    with PageServer(build_site(chosen.model, chosen.class_map), chosen.port) as server:
        on_start(server.url)
        server.serve_forever()
    return None


def _check_new(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"{folder} already exists", "choose a new folder, or delete it")


def _write(site: dict[str, File], folder: Path) -> Path:
    """Write the page to a folder, all of it or nothing."""
    part = folder.with_name(f"{folder.name}.part")
    with output_errors(folder):
        shutil.rmtree(part, ignore_errors=True)
        try:
            for name, file in site.items():
                path = part / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(file.data)
            (part / "_headers").write_text(_host_headers(), encoding="utf-8")
            if folder.is_dir():
                folder.rmdir()
            part.rename(folder)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
    return folder


def _host_headers() -> str:
    """Return the file by which Cloudflare Pages and Netlify set headers; other hosts ignore it."""
    lines = [f"  {name}: {value}\n" for name, value in HEADERS.items()]
    return "/*\n" + "".join(lines) + "  Cache-Control: no-cache\n"
