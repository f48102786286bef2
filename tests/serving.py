"""A running `maskyolo serve` for tests, and requests to it."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from live import until

from maskyolo.core.detector import Detector
from maskyolo.live.options import ServeOptions
from maskyolo.live.serving import open_server
from maskyolo.runtime.activity import Activity

__all__ = ["Answer", "Running", "running"]


@dataclass(frozen=True)
class Answer:
    """A response: status, headers in lower case, and body."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Running:
    """A server.

    Attributes:
        url: the page's address.
        token: the token, or empty.
    """

    url: str
    token: str

    @property
    def netloc(self) -> str:
        return self.url.split("/")[2]

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.netloc, timeout=60)

    def ask(
        self,
        path: str,
        method: str = "GET",
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        connection = self.connect()
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            known = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, known, response.read())
        finally:
            connection.close()

    def camera(self, number: int = 1) -> dict[str, Any]:
        cameras: list[dict[str, Any]] = self.ask("/cameras").json()["cameras"]
        return cameras[number - 1]


@contextmanager
def running(
    source: Any,
    detector: Detector | None = None,
    on_tick: Callable[[Activity], None] = lambda _: None,
    **settings: Any,
) -> Iterator[Running]:
    """Serve on loopback in a thread."""
    options = ServeOptions.merge(None, {"port": 0, **settings})
    with open_server(source, options, detector, on_tick) as (server, listening, address):
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        until(lambda: server.started)
        yield Running(address.url, address.token)
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()
