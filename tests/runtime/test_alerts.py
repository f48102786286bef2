"""An alert reaches its command or URL once, and never delays or ends a run."""

from __future__ import annotations

import json
import os
import shlex
import socket
import sys
import threading
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest
from live import Web, until

from maskyolo.errors import MaskyoloError
from maskyolo.runtime.alerts import Alerts, display_command, display_host
from maskyolo.runtime.events import Event

ALERT = Event("alert", "0", 7, 1.5, 3, "without_mask", 0.9)


def python(code: str, *arguments: str) -> str:
    return shlex.join([sys.executable, "-c", code, *arguments])


def keep(path: Path) -> str:
    """Return a command that appends its input to a file."""
    return python("import sys; open(sys.argv[1], 'a').write(sys.stdin.read())", str(path))


@pytest.fixture
def failures() -> list[MaskyoloError]:
    return []


def test_the_command_gets_the_event_on_its_input(
    tmp_path: Path, failures: list[MaskyoloError]
) -> None:
    alerts = Alerts(keep(tmp_path / "it; $HOME 'is' no shell"), None, failures.append)
    alerts(ALERT)
    alerts(Event("changes", "0", 8, 1.6, 3, "with_mask", 0.9))
    alerts.finish()
    text = (tmp_path / "it; $HOME 'is' no shell").read_text()
    line = text.removesuffix("\n")
    assert text == f"{line}\n"
    expected = {
        "event": "alert",
        "source": "0",
        "frame": 7,
        "time": 1.5,
        "track_id": 3,
        "class": "without_mask",
        "confidence": 0.9,
    }
    assert json.loads(line) == expected
    assert failures == []


def test_frames_continue_while_a_command_runs(
    tmp_path: Path, failures: list[MaskyoloError]
) -> None:
    """The command reads a pipe that this test only writes to after the alert was forwarded."""
    os.mkfifo(tmp_path / "pipe")
    copy = python(
        "import sys; open(sys.argv[2], 'w').write(open(sys.argv[1]).read())",
        str(tmp_path / "pipe"),
        str(tmp_path / "done"),
    )
    alerts = Alerts(copy, None, failures.append)
    alerts(ALERT)
    (tmp_path / "pipe").write_text("go on")
    alerts.finish()
    assert (tmp_path / "done").read_text() == "go on"


def test_a_failing_command_is_reported_once(failures: list[MaskyoloError]) -> None:
    alerts = Alerts(python("import sys; sys.exit('the alarm is broken')"), None, failures.append)
    for _ in range(3):
        alerts(ALERT)
        alerts.finish()
    assert len(failures) == 1
    assert "exited with 1 (the alarm is broken)" in str(failures[0])
    assert "\n" not in str(failures[0])


def test_the_number_of_alerts_in_progress_is_limited(
    tmp_path: Path, failures: list[MaskyoloError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("maskyolo.runtime.alerts.MAX_ALERTS", 1)
    os.mkfifo(tmp_path / "pipe")
    alerts = Alerts(
        python("import sys; open(sys.argv[1]).read()", str(tmp_path / "pipe")),
        None,
        failures.append,
    )
    for _ in range(3):
        alerts(ALERT)
    (tmp_path / "pipe").write_text("go on")  # would block if nothing were running
    alerts.finish()
    assert len(failures) == 1
    assert "still in progress" in str(failures[0])


@pytest.mark.parametrize("command", ["", "no-such-program-here --x", "'unclosed"])
def test_a_command_that_cannot_run_is_an_error_before_the_run(
    command: str, failures: list[MaskyoloError]
) -> None:
    with pytest.raises(MaskyoloError, match="--alert-cmd"):
        Alerts(command, None, failures.append)


def test_only_the_program_of_a_command_is_stored_and_shown(failures: list[MaskyoloError]) -> None:
    assert (
        display_command(f"{sys.executable} -H 'Authorization: secret'") == f"{sys.executable} ***"
    )
    assert display_command(sys.executable) == sys.executable
    with pytest.raises(MaskyoloError, match="no such program 'no-such-program-here'") as error:
        Alerts("no-such-program-here secret", None, failures.append)
    assert "secret" not in str(error.value)


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
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield handler, f"http://127.0.0.1:{server.server_port}/hook/secret"
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_event_is_posted(hook: tuple[type[Hook], str], failures: list[MaskyoloError]) -> None:
    handler, url = hook
    alerts = Alerts(None, url, failures.append)
    alerts(ALERT)
    alerts.finish()
    assert handler.seen == [("/hook/secret", "application/json", ALERT.record())]
    assert failures == []


def test_a_name_and_password_in_the_address_are_sent_as_login(
    hook: tuple[type[Hook], str], failures: list[MaskyoloError]
) -> None:
    handler, url = hook
    alerts = Alerts(None, url.replace("//", "//me:s%40cret@"), failures.append)
    alerts(ALERT)
    alerts.finish()
    assert handler.seen == [("/hook/secret", "application/json", ALERT.record())]
    assert handler.logins == ["Basic " + b64encode(b"me:s@cret").decode()]
    assert failures == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/hook/sec ret", "http://127.0.0.1:secret/hook"])
def test_an_invalid_address_is_reported_without_its_secret(
    url: str, failures: list[MaskyoloError]
) -> None:
    alerts = Alerts(None, url, failures.append)
    alerts(ALERT)
    alerts.finish()
    assert [str(failure) for failure in failures] == [
        (
            "an alert was not delivered: --alert-url 127.0.0.1: not a valid URL; "
            "further failures are not reported"
        )
    ]


def test_an_address_that_refuses_is_reported_once_without_its_secret(
    hook: tuple[type[Hook], str], failures: list[MaskyoloError]
) -> None:
    handler, url = hook
    handler.answer = 500
    alerts = Alerts(None, url, failures.append)
    for _ in range(3):
        alerts(ALERT)
        alerts.finish()
    assert len(handler.seen) == 3
    assert len(failures) == 1
    assert "--alert-url 127.0.0.1" in str(failures[0])
    assert "secret" not in str(failures[0])


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_reported_and_not_followed(
    code: int, hook: tuple[type[Hook], str], failures: list[MaskyoloError]
) -> None:
    handler, url = hook
    gone: list[str] = []

    def answer(self: BaseHTTPRequestHandler) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(code)
        self.send_header("Location", url + "/elsewhere")
        self.end_headers()

    handler.do_POST = answer  # type: ignore[method-assign]
    handler.do_GET = lambda self: gone.append(self.path)  # type: ignore[attr-defined]
    alerts = Alerts(None, url, failures.append)
    alerts(ALERT)
    alerts.finish()
    assert gone == handler.seen == []
    reason = f"it redirects ({code}); use the URL it redirects to"
    assert [str(failure) for failure in failures] == [
        (
            f"an alert was not delivered: --alert-url 127.0.0.1: {reason}; "
            "further failures are not reported"
        )
    ]


def test_an_address_without_a_server_is_reported(failures: list[MaskyoloError]) -> None:
    with HTTPServer(("127.0.0.1", 0), Hook) as server:
        port = server.server_port
    alerts = Alerts(None, f"http://127.0.0.1:{port}/", failures.append)
    alerts(ALERT)
    alerts.finish()
    assert "refused" in str(failures[0])


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "hooks.example.org", "ftp://example.org/x", "http://"]
)
def test_only_web_addresses_are_posted_to(url: str, failures: list[MaskyoloError]) -> None:
    with pytest.raises(MaskyoloError, match="--alert-url"):
        Alerts(None, url, failures.append)


def test_only_the_host_of_an_address_is_shown() -> None:
    assert (
        display_host("https://user:word@hooks.example.org:8443/T00/secret?x=1")
        == "hooks.example.org"
    )


def test_a_command_that_writes_without_end_is_killed_and_fills_no_memory(
    failures: list[MaskyoloError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("maskyolo.runtime.alerts.COMMAND_TIMEOUT", 1.0)
    flood = "import os\nwhile True: os.write(1, b'o' * 65536); os.write(2, b'e' * 65536)"
    before, grown = psutil.Process().memory_info().rss, 0
    alerts = Alerts(python(flood), None, failures.append)
    alerts(ALERT)
    while any(thread.is_alive() for thread in alerts._threads):
        grown = max(grown, psutil.Process().memory_info().rss - before)
        alerts._threads[0].join(0.01)
    alerts.finish()
    assert "ran for 1 s and was killed" in str(failures[0])
    assert grown < 50 << 20  # without a limit, it grows by everything that is written in a second


@pytest.mark.skipif(sys.platform == "win32", reason="kills a process group")
def test_children_of_a_command_that_takes_too_long_are_killed_with_it(
    tmp_path: Path, failures: list[MaskyoloError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("maskyolo.runtime.alerts.COMMAND_TIMEOUT", 1.0)
    os.mkfifo(tmp_path / "pipe")
    code = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(30)"
    child = shlex.split(python(code, str(tmp_path / "pipe")))
    alerts = Alerts(python(f"import subprocess; subprocess.run({child!r})"), None, failures.append)
    alerts(ALERT)
    number = int((tmp_path / "pipe").read_text())
    alerts.finish()
    assert "was killed" in str(failures[0])

    def is_over() -> bool:
        try:
            return psutil.Process(number).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    until(is_over, seconds=15)


def test_a_child_that_keeps_standard_error_open_is_not_waited_for(
    tmp_path: Path, failures: list[MaskyoloError]
) -> None:
    os.mkfifo(tmp_path / "pipe")
    child = python("import sys; open(sys.argv[1]).read()", str(tmp_path / "pipe"))
    alerts = Alerts(
        python(f"import subprocess, sys; subprocess.Popen({shlex.split(child)!r}); sys.exit('no')"),
        None,
        failures.append,
    )
    alerts(ALERT)
    alerts.finish()
    assert "exited with 1 (no)" in str(failures[0])
    (tmp_path / "pipe").write_text("go on")


def test_a_password_in_what_a_command_says_is_not_shown(failures: list[MaskyoloError]) -> None:
    said = "cannot reach https://me:secret@example.org/x?token=secret"
    alerts = Alerts(python(f"import sys; sys.exit({said!r})"), None, failures.append)
    alerts(ALERT)
    alerts.finish()
    assert "https://***@example.org/x?token=***" in str(failures[0])


def test_a_server_that_drips_its_answer_is_given_up(
    failures: list[MaskyoloError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("maskyolo.runtime.alerts.URL_TIMEOUT", 0.3)
    web = Web()

    def drip(client: socket.socket, over: threading.Event) -> None:
        client.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        while not over.wait(0.05):
            client.sendall(b"a")

    alerts = Alerts(None, web.put("/x", drip), failures.append)
    alerts(ALERT)
    alerts.finish()
    web.close()
    assert "timed out" in str(failures[0])


def test_an_endless_answer_is_not_read(failures: list[MaskyoloError]) -> None:
    web, sent = Web(), [0]

    def flood(client: socket.socket, over: threading.Event) -> None:
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while not over.is_set():
            sent[0] += client.send(bytes(1 << 16))

    alerts = Alerts(None, web.put("/x", flood), failures.append)
    alerts(ALERT)
    alerts.finish()
    web.close()
    assert failures == []
    assert sent[0] < 64 << 20


def test_an_alert_about_a_source_whose_name_is_no_utf8_is_sent(
    tmp_path: Path, failures: list[MaskyoloError]
) -> None:
    alerts = Alerts(keep(tmp_path / "out"), None, failures.append)
    name = os.fsdecode(b"a\xff\n.mp4")
    alerts(replace(ALERT, source=name))
    alerts.finish()
    assert json.loads((tmp_path / "out").read_text())["source"] == name
