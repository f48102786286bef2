"""Fixtures of the page's tests: servers, and a real browser, Debian's Chromium."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from browsing import CAMERA_ARGS, Page, StaticServer, new_page, write_camera_clip

from maskyolo.web.server import PageServer
from maskyolo.web.site import File, build_site


@pytest.fixture(scope="session")
def site() -> dict[str, File]:
    return build_site()


@pytest.fixture(scope="session")
def server(site: dict[str, File]) -> Iterator[str]:
    """The address of `maskyolo web`."""
    with PageServer(site, 0) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield running.url
        running.shutdown()
        thread.join()


@pytest.fixture
def static(tmp_path: Path) -> Iterator[StaticServer]:
    """A plain web host that serves a folder and adds no headers."""
    with StaticServer(tmp_path / "host") as running:
        yield running


@pytest.fixture(scope="session")
def launch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A function that starts a browser; it is closed at the end of the session."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="Playwright is not installed; `make test` installs it"
    )
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    if found is None:
        pytest.skip("no Chromium; tools/install_system_packages.sh installs it on Debian, Ubuntu")
    clip = write_camera_clip(tmp_path_factory.mktemp("camera") / "camera.mjpeg")
    with playwright.sync_playwright() as started, ExitStack() as browsers:

        def launch(*args: str) -> Any:
            browser = started.chromium.launch(
                executable_path=found,
                args=[
                    "--no-sandbox",
                    "--disable-dev-shm-usage",  # a container may have little shared memory
                    *(args or (*CAMERA_ARGS, f"--use-file-for-fake-video-capture={clip}")),
                ],
            )
            browsers.callback(browser.close)
            return browser

        yield launch


@pytest.fixture(scope="session")
def browser(launch: Any) -> Any:
    """A browser with a camera that shows a street, and the name mask.test for this machine."""
    return launch()


@pytest.fixture
def page(browser: Any, server: str) -> Iterator[Page]:
    """The page, in a browser of its own; no error and no other address may occur in the test."""
    with new_page(browser, server) as opened:
        yield opened
