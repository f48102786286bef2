"""Every alert arrives, in order, although the server is down and the process is killed."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import paho.mqtt.client as paho
import pytest
from brokers import Listener, Mosquitto
from clips import write_clip
from live import until
from paho.mqtt.enums import CallbackAPIVersion

from maskyolo.errors import MaskyoloError
from maskyolo.runtime.alerts import Alerts
from maskyolo.runtime.delivery import courier as module
from maskyolo.runtime.delivery.courier import Courier
from maskyolo.runtime.delivery.targets import RefusedError, Target, UndeliveredError
from maskyolo.runtime.delivery.webhook import webhook
from maskyolo.runtime.events import Event
from maskyolo.runtime.frames import Frame
from maskyolo.runtime.results import Result

ALERT = Event("alert", "0", 7, 1.5, 3, "without_mask", 0.9)


class Port:
    """A webhook whose server is down until `open`; nobody else can take the port meanwhile."""

    option = "alert_url"

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        seen = self.seen

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                seen.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
        self._server.server_bind()
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"

    def open(self) -> None:
        self._server.server_activate()
        self._thread.start()

    def close(self) -> None:
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


class Queue:
    """An MQTT broker that is down until `open`; its subscriber gets what was published before."""

    option = "mqtt"

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._broker = Mosquitto(folder)
        self._broker.start()
        Listener(self._broker, name="door").close()
        self._broker.stop()
        self.url = self._broker.url

    def open(self) -> None:
        self._broker.start()

    @property
    def seen(self) -> list[dict[str, Any]]:
        """The alerts, in order; waits until all messages so far have arrived."""
        listener = Listener(self._broker, name="door")
        client = paho.Client(CallbackAPIVersion.VERSION2)
        client.connect("127.0.0.1", self._broker.port)
        client.loop_start()
        client.publish("last", "message", qos=1)
        until(lambda: listener.on("last"))
        listener.close()
        client.disconnect()
        client.loop_stop()
        alerts = listener.on("/alert")
        assert {alert.pop("event_type") for alert in alerts} == {"alert"}
        return alerts

    def close(self) -> None:
        self._broker.stop()


@pytest.fixture
def port() -> Iterator[Port]:
    port = Port()
    yield port
    port.close()


@pytest.fixture(params=["webhook", "broker"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Port | Queue]:
    if request.param == "broker" and Mosquitto.missing():
        pytest.skip(Mosquitto.missing())
    server = Port() if request.param == "webhook" else Queue(tmp_path / "broker")
    yield server
    server.close()


#: Detects a bare face wherever the image is white, and prints problems.
SCRIPT = """
import sys
import numpy as np
import supervision as sv
from maskyolo import detect

def find(image):
    white = np.argwhere(image.min(axis=2) > 128)
    if not len(white):
        return sv.Detections.empty()
    (top, left), (bottom, right) = white.min(axis=0), white.max(axis=0) + 1
    return sv.Detections(
        xyxy=np.array([[left, top, right, bottom]], np.float32),
        confidence=np.array([0.9], np.float32),
        class_id=np.array([1]),
        data={"class_name": np.array(["without_mask"])},
    )

option, address, events, hold = sys.argv[1:]
report = lambda source, error: print(error, file=sys.stderr)
frames = detect("people.mp4", find, alert_after=0.2, save_alerts=True, events=events,
                on_error=report, **{option: address})
for number, _ in enumerate(frames):
    if number == int(hold):  # the test now kills this process, or lets it go on
        print("waits", flush=True)
        sys.stdin.readline()
"""

#: A bare face appears for two seconds every six, in frames of a tenth of a second.
PEOPLE, APART = 6, 60


def make_video(path: Path) -> None:
    images = []
    for frame in range(APART * PEOPLE):
        image = np.zeros((96, 128, 3), np.uint8)
        if frame % APART < 20:
            image[30:70, 40:80] = 255
        images.append(image)
    write_clip(path, images, Fraction(10))


def alerts_in(events: Path) -> list[dict[str, Any]]:
    lines = events.read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == "alert"]


def test_alerts_survive_an_outage_and_a_kill(tmp_path: Path, server: Port | Queue) -> None:
    make_video(tmp_path / "people.mp4")
    outbox = tmp_path / "runs" / "detect" / "outbox"

    def on_disk() -> list[dict[str, Any]]:
        paths = sorted(outbox.glob("*/*.json"), key=lambda path: path.name)
        return [json.loads(path.read_bytes()) for path in paths]

    @contextmanager
    def running(events: str, hold: int) -> Iterator[subprocess.Popen[str]]:
        """Run until the process waits after so many frames."""
        with subprocess.Popen(
            [sys.executable, "-c", SCRIPT, server.option, server.url, events, str(hold)],
            cwd=tmp_path,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                assert process.stdout
                assert process.stdout.readline() == "waits\n"
                yield process
            finally:
                process.kill()

    with running("first.jsonl", hold=3 * APART) as process:
        process.send_signal(signal.SIGKILL)
    first = on_disk()
    assert len(first) == 3
    with running("second.jsonl", hold=4 * APART) as process:
        assert len(on_disk()) == 3 + 4  # the server is still down
        server.open()
        _, errors = process.communicate("go on\n", timeout=120)
        assert process.returncode == 0
    assert on_disk() == []
    assert list(outbox.iterdir()) == []

    received = list({alert["id"]: alert for alert in server.seen}.values())
    assert received[:3] == first  # in order, those of the killed process first
    second = [{key: alert[key] for key in alert if key != "id"} for alert in received[3:]]
    assert second == alerts_in(tmp_path / "second.jsonl")
    assert len(second) == PEOPLE
    images = [tmp_path / alert["image"] for alert in received]
    assert len(set(images)) == len(received)
    assert all(image.is_file() for image in images)
    (outage,) = errors.splitlines()
    assert re.search(r"127\.0\.0\.1.*: .*connection refused; it is tried again", outage)
    assert "/hook" not in outage


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(module, "LONGEST_PAUSE", 0.001)


def target(send: Callable[[bytes], None]) -> Target:
    return Target("--alert-url", "host", "http://host/secret", send)


@pytest.mark.usefixtures("quick")
def test_alerts_wait_for_those_before_them(tmp_path: Path) -> None:
    sent: list[bytes] = []

    def send(data: bytes) -> None:
        sent.append(data)
        if sent.count(data) < 4:
            raise UndeliveredError("busy")

    courier = Courier(target(send), tmp_path)
    courier.start()
    for data in (b"a", b"b"):
        courier.put(data)
    until(lambda: len(sent) == 8)
    courier.close(30)
    assert sent == [b"a"] * 4 + [b"b"] * 4
    problems = [str(problem) for problem in courier.problems()]
    assert len(problems) == 2  # one for each outage
    assert (
        problems[0]
        == problems[1]
        == (
            "an alert was not delivered: --alert-url host: busy; "
            "it is tried again until it can be delivered"
        )
    )


@pytest.mark.usefixtures("quick")
def test_an_alert_that_is_refused_does_not_block_the_next_ones(tmp_path: Path) -> None:
    sent: list[bytes] = []

    def send(data: bytes) -> None:
        sent.append(data)
        if data == b"a":
            raise RefusedError("too long")

    courier = Courier(target(send), tmp_path)
    courier.start()
    for data in (b"a", b"a", b"b"):
        courier.put(data)
    courier.close(30)
    assert sent == [b"a", b"a", b"b"]
    (problem,) = courier.problems()
    assert str(problem) == "an alert was refused: --alert-url host: too long; it is dropped"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("quick")
def test_an_unexpected_error_is_an_outage_and_shows_no_secret(tmp_path: Path) -> None:
    sent: list[bytes] = []

    def send(data: bytes) -> None:
        sent.append(data)
        if len(sent) == 1:
            raise ZeroDivisionError("secret")

    courier = Courier(target(send), tmp_path)
    courier.start()
    courier.put(b"a")
    until(lambda: len(sent) == 2)
    courier.close(30)
    (problem,) = courier.problems()
    assert "host: unexpected error: ZeroDivisionError" in str(problem)


def test_what_is_left_at_the_end_is_reported_and_kept(tmp_path: Path, port: Port) -> None:
    failures: list[MaskyoloError] = []
    alerts = Alerts(None, [webhook(port.url)], tmp_path / "outbox", failures.append)
    for number in range(3):
        alerts(replace(ALERT, frame=number))
    alerts.finish()
    alerts.close()
    assert len(failures) == 2
    (folder,) = (tmp_path / "outbox").iterdir()
    assert str(failures[1]) == (
        "3 alerts for --alert-url 127.0.0.1 not delivered; "
        f"the next run with the same --alert-url delivers what is in {folder}"
    )
    port.open()
    again = Alerts(None, [webhook(port.url)], tmp_path / "outbox", failures.append)
    again.write(Result(Frame(np.zeros((1, 1, 3), np.uint8), "0"), None))  # type: ignore[arg-type]
    again.finish()
    again.close()
    assert [alert["frame"] for alert in port.seen] == [0, 1, 2]
    assert len(failures) == 2


def test_a_server_that_does_not_answer_delays_no_alert_and_no_end(tmp_path: Path) -> None:
    answer, begun = threading.Event(), threading.Event()

    def send(data: bytes) -> None:
        begun.set()
        assert answer.wait(60)

    alerts = Alerts(None, [target(send)], tmp_path, lambda error: None)
    for number in range(40):  # would never return if it waited for the answer
        alerts(replace(ALERT, frame=number))
    assert begun.wait(30)
    alerts.close()
    (folder,) = tmp_path.iterdir()
    assert len(list(folder.glob("*.json"))) == 40
    answer.set()
    until(lambda: len(list(folder.glob("*.json"))) == 39)
    for thread in threading.enumerate():
        if thread.name == "maskyolo--alert-url":
            with suppress(RuntimeError):
                thread.join(30)


def test_alerts_for_one_address_are_not_sent_to_another(tmp_path: Path) -> None:
    def down(data: bytes) -> None:
        raise UndeliveredError("down")

    sent: list[bytes] = []
    first = Courier(replace(target(down), address="http://host/one"), tmp_path)
    first.start()
    first.put(b"secret of one")
    first.close(0)
    other = Courier(replace(target(sent.append), address="http://host/two"), tmp_path)
    other.start()
    other.close(0.2)
    assert sent == []
    again = Courier(replace(target(sent.append), address="http://host/one"), tmp_path)
    again.start()
    again.close(30)
    assert sent == [b"secret of one"]
    assert "one" not in target(down).key
