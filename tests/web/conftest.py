"""Fixtures of the page's tests: servers, and a browser with a camera."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import Page, StaticServer, new_page

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
def browser(launch: Any) -> Any:
    """A browser with a camera that shows a street, and the name mask.test for this machine."""
    return launch()


@pytest.fixture
def page(browser: Any, server: str) -> Iterator[Page]:
    """The page, in a browser of its own; no error and no other address may occur in the test."""
    with new_page(browser, server) as opened:
        yield opened
