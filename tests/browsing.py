"""What the page's tests do in a browser."""

from __future__ import annotations

import functools
import json
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from paths import SAMPLES
from PIL import Image

if TYPE_CHECKING:
    from typing import Self

__all__ = [
    "CAMERA_ARGS",
    "Page",
    "StaticServer",
    "constant_network",
    "new_page",
    "write_camera_clip",
]

#: A camera that shows a clip, asks nobody, and a second name for this machine.
CAMERA_ARGS = (
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--host-resolver-rules=MAP mask.test 127.0.0.1",
)
#: Milliseconds to wait for anything; generous, because other tests may be running.
PATIENCE = 120_000


class Page:
    """The page in a browser, and what it did: errors, requests, and violations of its policy.

    Attributes:
        raw: Playwright's page.
        problems: errors on the console and exceptions.
        requests: the addresses that it requested.
    """

    def __init__(self, raw: Any) -> None:
        self.raw = raw
        self.problems: list[str] = []
        self.requests: list[str] = []
        raw.set_default_timeout(PATIENCE)
        raw.on("console", self._on_console)
        raw.on("pageerror", lambda error: self.problems.append(str(error)))
        raw.context.on("request", lambda request: self.requests.append(request.url))

    def _on_console(self, message: Any) -> None:
        is_icon = message.location["url"].endswith("/favicon.ico")  # of a page without HTML
        is_block = message.text == "Service Worker registration blocked by Playwright"
        if message.type in ("error", "warning") and not (is_icon or is_block):
            self.problems.append(message.text)

    def open(self, url: str, *, ready: bool = True) -> None:
        """Open the page and wait until the detector is loaded."""
        self.raw.goto(url)
        if ready:
            self.locate("#loading").wait_for(state="hidden")

    def locate(self, selector: str) -> Any:
        return self.raw.locator(selector)

    def text(self, selector: str) -> str:
        return str(self.locate(selector).inner_text())

    def wait_for_text(self, selector: str, pattern: Any) -> None:
        """Wait until an element contains a text, or matches a compiled pattern."""
        self.raw.locator(selector, has_text=pattern).first.wait_for(state="attached")

    def start_camera(self) -> None:
        """Start the camera, and wait until its first frames are finished."""
        self.locate("[data-do=camera]:visible").first.click()
        self.wait_for_text("#speed", re.compile(r"ms per image.* images"))

    def choose(self, *files: Path | str | dict[str, Any]) -> None:
        """Open files, and wait until the detector has finished with all photos."""
        payloads = [
            each
            if isinstance(each, dict)
            else {"name": Path(each).name, "mimeType": "", "buffer": Path(each).read_bytes()}
            for each in files
        ]
        self.locate("#files").set_input_files(payloads)
        for number in range(self.locate("#strip button").count()):
            entry = self.locate("#strip button").nth(number)
            entry.locator(".sum b, .sum.bad").first.wait_for()
        self.locate("#busy").wait_for(state="hidden")

    def records(self) -> list[dict[str, Any]]:
        """Return what "Save JSON" saves."""
        with self.raw.expect_download() as download:
            self.locate("#save-json").click()
        lines = Path(download.value.path()).read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def counts(self) -> tuple[int, int]:
        """Return the numbers of faces with and without a mask that the page shows."""
        return int(self.text("#count-0")), int(self.text("#count-1"))

    def call(self, module: str, code: str, argument: Any = None) -> Any:
        """Return the result of some code that uses one of the page's modules, as `module`."""
        return self.raw.evaluate(
            f"async (given) => {{ const module = await import('/{module}'); {code} }}", argument
        )


@contextmanager
def new_page(
    browser: Any,
    url: str | None = None,
    permissions: Sequence[str] = ("camera",),
    **settings: Any,
) -> Iterator[Page]:
    """Open the page in a new profile.

    Afterwards, there must have been no error on its console, which includes violations of the
    policy, and no request to another address.
    """
    with browser.new_context(permissions=list(permissions), **settings) as context:
        page = Page(context.new_page())
        if url:
            page.open(url)
        yield page
        assert page.problems == []
        own = urlsplit(page.raw.url).netloc
        foreign = [
            each
            for each in page.requests
            if not each.startswith(("blob:", "data:")) and urlsplit(each).netloc != own
        ]
        assert foreign == []
        assert page.requests


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


class StaticServer:
    """A plain web host for a folder.

    Attributes:
        folder: what it serves.
        port: its port on this machine.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> Self:
        handler = functools.partial(_Quiet, directory=self.folder)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the server; a second call does nothing."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}/"


def write_camera_clip(path: Path) -> Path:
    """Write a photo in the format of Chromium's fake camera, which shows it again and again."""
    with Image.open(SAMPLES / "office.jpg") as photo:
        photo.resize((640, 448)).save(path, "JPEG", quality=95)
    return path


def constant_network(scores: Sequence[float], names: Sequence[str] | None = None) -> bytes:
    """Return an ONNX file of a tiny network that finds one box, from 6 to 26 pixels, in any image.

    Args:
        scores: of each of its classes.
        names: the class names in its metadata; None for no metadata.
    """
    rows = 4 + len(scores)
    weights = {
        "kernel": np.zeros((rows, 3, 32, 32), np.float32),
        "bias": np.array([16, 16, 20, 20, *scores], np.float32),
        "flat": np.array([0, rows, -1]),
    }
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["images", "kernel", "bias"], ["grid"], strides=[32, 32]),
            helper.make_node("Reshape", ["grid", "flat"], ["output0"]),
        ],
        "constant",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, "height", "width"])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, rows, "anchors"])],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    network = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="test"
    )
    if names is not None:
        entries = {"task": "detect", "names": str(dict(enumerate(names))), "imgsz": "[64, 64]"}
        helper.set_model_props(network, entries)
    onnx.checker.check_model(network)
    return bytes(network.SerializeToString())
