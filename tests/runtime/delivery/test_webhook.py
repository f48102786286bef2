"""A webhook gets the alert as it is, and says whether it arrived, without revealing its address."""

from __future__ import annotations

import json
import socket
import threading
from base64 import b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from live import Web

from maskyolo.errors import MaskyoloError
from maskyolo.runtime.delivery.targets import RefusedError, UndeliveredError
from maskyolo.runtime.delivery.webhook import display_host, webhook

ALERT = {"id": "7", "event": "alert"}
DATA = json.dumps(ALERT).encode()


class Hook(BaseHTTPRequestHandler):
    seen: list[Any]
    logins: list[str | None]
    answer = 204

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append((self.path, self.headers["Content-Type"], json.loads(body)))
        self.logins.append(self.headers["Authorization"])
        self.send_response(self.answer)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[tuple[type[Hook], str]]:
    handler = type("OwnHook", (Hook,), {"seen": [], "logins": []})
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield handler, f"http://127.0.0.1:{server.server_port}/hook/secret"
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_event_is_posted(hook: tuple[type[Hook], str]) -> None:
    handler, url = hook
    webhook(url).send(DATA)
    assert handler.seen == [("/hook/secret", "application/json", ALERT)]
    assert handler.logins == [None]


def test_a_name_and_password_in_the_address_are_sent_as_login(hook: tuple[type[Hook], str]) -> None:
    handler, url = hook
    webhook(url.replace("//", "//me:s%40cret@")).send(DATA)
    assert handler.seen == [("/hook/secret", "application/json", ALERT)]
    assert handler.logins == ["Basic " + b64encode(b"me:s@cret").decode()]


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/hook/sec ret", "http://127.0.0.1:secret/hook"])
def test_an_invalid_address_is_an_error_without_its_secret(url: str) -> None:
    with pytest.raises(RefusedError) as error:
        webhook(url).send(DATA)
    assert str(error.value) == "not a valid URL"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (400, RefusedError),
        (413, RefusedError),
        (401, UndeliveredError),
        (404, UndeliveredError),
        (429, UndeliveredError),
        (500, UndeliveredError),
    ],
)
def test_an_error_is_final_only_if_it_is_about_the_alert(
    answer: int, kind: type[Exception], hook: tuple[type[Hook], str]
) -> None:
    handler, url = hook
    handler.answer = answer
    with pytest.raises(kind, match=f"http error {answer}") as error:
        webhook(url).send(DATA)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(code: int, hook: tuple[type[Hook], str]) -> None:
    handler, url = hook
    gone: list[str] = []

    def answer(self: BaseHTTPRequestHandler) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(code)
        self.send_header("Location", url + "/elsewhere")
        self.end_headers()

    handler.do_POST = answer  # type: ignore[method-assign]
    handler.do_GET = lambda self: gone.append(self.path)  # type: ignore[attr-defined]
    with pytest.raises(UndeliveredError) as error:
        webhook(url).send(DATA)
    assert gone == handler.seen == []
    assert str(error.value) == f"it redirects ({code}); use the URL it redirects to"


def test_an_address_without_a_server_is_an_error() -> None:
    with HTTPServer(("127.0.0.1", 0), Hook) as server:
        port = server.server_port
    with pytest.raises(UndeliveredError, match="refused"):
        webhook(f"http://127.0.0.1:{port}/").send(DATA)


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "hooks.example.org", "ftp://example.org/x", "http://"]
)
def test_only_web_addresses_are_posted_to(url: str) -> None:
    with pytest.raises(MaskyoloError, match="--alert-url"):
        webhook(url)


def test_only_the_host_of_an_address_is_shown() -> None:
    url = "https://user:word@hooks.example.org:8443/T00/secret?x=1"
    assert display_host(url) == "hooks.example.org"
    target = webhook(url)
    assert target.label == "--alert-url hooks.example.org"
    assert "secret" not in repr(target)


def test_a_server_that_drips_its_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maskyolo.runtime.delivery.webhook.TIMEOUT", 0.3)
    web = Web()

    def drip(client: socket.socket, over: threading.Event) -> None:
        client.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        while not over.wait(0.05):
            client.sendall(b"a")

    with pytest.raises(UndeliveredError, match="timed out"):
        webhook(web.put("/x", drip)).send(DATA)
    web.close()


def test_an_endless_answer_is_not_read() -> None:
    web, sent = Web(), [0]

    def flood(client: socket.socket, over: threading.Event) -> None:
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while not over.is_set():
            sent[0] += client.send(bytes(1 << 16))

    webhook(web.put("/x", flood)).send(DATA)
    web.close()
    assert sent[0] < 64 << 20
