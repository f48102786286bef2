"""Fixtures that several tests share: samples, images, a browser, and FiftyOne."""

from __future__ import annotations

import importlib.util
import json
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paths import SAMPLES

from maskyolo.core.images import ImageArray

# A shell that runs pytest in the background makes it ignore Ctrl-C, and the commands that the tests
# interrupt would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def own_data_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the record of weights trained by the tests out of the user's data folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture(scope="session")
def samples() -> Path:
    return SAMPLES


@pytest.fixture
def colors() -> ImageArray:
    """A 30 x 40 BGR image whose pixels all differ, so that any swap or flip is noticed."""
    y, x = np.mgrid[0:30, 0:40]
    return np.stack([x * 6, y * 8, 255 - x * 3 - y * 4], axis=2).astype(np.uint8)


@pytest.fixture(scope="session")
def launch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A function that starts a browser; it is closed at the end of the session."""
    from browsing import CAMERA_ARGS, write_camera_clip

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
def fiftyone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """FiftyOne with a real database for the tests only: mongod on a free port, in its own folder.

    FiftyOne itself would connect to any database that the user is running.
    """
    found = importlib.util.find_spec("fiftyone")
    places = [
        Path(place) / "db" / "bin" / "mongod"
        for place in (found.submodule_search_locations or [] if found else [])
    ]
    mongod = next((place for place in places if place.is_file()), None)
    if mongod is None:
        pytest.skip(
            "FiftyOne or its database is not installed; `make test` installs both on Linux x86-64"
        )
    folder = tmp_path_factory.mktemp("mongo")
    command = [
        mongod,
        "--dbpath",
        folder,
        "--port",
        "0",
        "--bind_ip",
        "127.0.0.1",
        "--nounixsocket",
        "--wiredTigerCacheSizeGB",
        "0.25",
    ]
    with (
        pytest.MonkeyPatch.context() as patch,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server,
    ):
        try:
            assert server.stdout
            lines = (json.loads(line) for line in server.stdout)
            port = next(
                line["attr"]["port"] for line in lines if line["msg"] == "Waiting for connections"
            )
            # The server would block if its output were not read.
            threading.Thread(target=server.stdout.read, daemon=True).start()
            patch.setenv("FIFTYONE_DATABASE_URI", f"mongodb://127.0.0.1:{port}")
            patch.setenv("FIFTYONE_DO_NOT_TRACK", "true")
            home = pytest.MonkeyPatch()  # FiftyOne creates its settings there when it is imported
            home.setenv("HOME", str(tmp_path_factory.mktemp("home")))
            from maskyolo.review.app.database import connect

            fo = connect()
            home.undo()
            yield fo
        finally:
            server.terminate()
