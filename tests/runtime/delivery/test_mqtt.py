"""A real broker gets Home Assistant's discovery, counts, alerts, and the last will."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import supervision as sv
import yaml
from brokers import Listener, Mosquitto
from live import Mjpeg, until
from serving import running

from maskyolo.core.images import ImageArray
from maskyolo.errors import MaskyoloError
from maskyolo.runtime.delivery.home_assistant import EXPIRES
from maskyolo.runtime.delivery.mqtt import PASSWORD, Broker, camera_id, mqtt_target
from maskyolo.runtime.delivery.targets import UndeliveredError
from maskyolo.runtime.detection import detect
from maskyolo.runtime.options import DetectOptions

needs_broker = pytest.mark.skipif(bool(Mosquitto.missing()), reason=Mosquitto.missing())

#: Finds the same three faces in every frame: one with a mask, two without.
SCRIPT = """
import sys
import numpy as np
import supervision as sv
from maskyolo import detect

def find(image):
    ids = np.array([0, 1, 1])
    return sv.Detections(
        xyxy=np.array([[10, 10, 50, 50], [110, 10, 150, 50], [210, 10, 250, 50]], np.float32),
        confidence=np.array([0.9, 0.9, 0.9], np.float32),
        class_id=ids,
        data={"class_name": np.array(["with_mask", "without_mask"])[ids]},
    )

report = lambda source, error: print(error, file=sys.stderr, flush=True)
*sources, broker = sys.argv[1:]
for _ in detect(sources, find, mqtt=broker, alert_after=0, on_error=report, stats_only=True):
    pass
"""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    (tmp_path / "broker").mkdir()
    broker = Mosquitto(tmp_path / "broker")
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def listener(broker: Mosquitto) -> Iterator[Listener]:
    listener = Listener(broker)
    yield listener
    listener.close()


class Watching:
    """A process that runs `SCRIPT`.

    Attributes:
        said: the lines that it has written to standard error.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process, self.said = process, list[str]()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stderr
        self.said.extend(iter(self.process.stderr.readline, ""))


@contextmanager
def watching(folder: Path, *arguments: str, **environment: str) -> Iterator[Watching]:
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *arguments],
        cwd=folder,
        env=os.environ | environment,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        found = Watching(process)
        try:
            yield found
        finally:
            process.kill()
            found.reader.join(60)


@needs_broker
def test_home_assistant_gets_sensors_alerts_and_the_last_will(
    tmp_path: Path, samples: Path, broker: Mosquitto, listener: Listener
) -> None:
    cameras = [Mjpeg(samples / "street.jpg"), Mjpeg(samples / "office.jpg")]
    urls = [camera.url for camera in cameras]
    counted = {"with_mask": 1, "without_mask": 2, "share_with_mask": 33.3}

    def frames() -> bool:
        for camera in cameras:
            camera.send(1)
        return True

    with watching(tmp_path, *urls, f"{broker.url}/home/doors") as run:
        ids = [camera_id(url) for url in urls]
        for name in ids:
            until(lambda name=name: frames() and len(listener.on(f"{name}/alert")) >= 2, 120)  # type: ignore[misc]
            until(lambda name=name: frames() and counted in listener.on(f"{name}/state"))  # type: ignore[misc]
        late = Listener(broker)  # as after Home Assistant's restart
        until(lambda: len(late.on("/config")) == 8)
        until(lambda: len(late.on("/availability")) == 2)
        assert late.on("/alert") == []  # an old alert would ring again
        assert late.on("/availability") == ["online"] * 2
        run.process.send_signal(signal.SIGKILL)
        until(lambda: len(late.on("/availability")) == 4)
        assert late.on("/availability")[2:] == ["offline"] * 2
        late.close()

    for url, name in zip(urls, ids, strict=True):
        configs = {
            topic: json.loads(text)
            for topic, text, _ in listener.messages
            if topic.startswith("homeassistant/") and name in topic
        }
        base = f"home/doors/{name}"
        own = f"maskyolo_{name}"
        assert set(configs) == {
            f"homeassistant/sensor/{own}/with_mask/config",
            f"homeassistant/sensor/{own}/without_mask/config",
            f"homeassistant/sensor/{own}/share_with_mask/config",
            f"homeassistant/event/{own}/alert/config",
        }
        alert = configs.pop(f"homeassistant/event/{own}/alert/config")
        assert alert["state_topic"] == f"{base}/alert"
        assert alert["event_types"] == ["alert"]
        for config in configs.values():
            assert config["state_topic"] == f"{base}/state"
            key = re.fullmatch(r"\{\{ value_json\.(\w+) \}\}", config["value_template"])
            assert key
            assert key[1] in counted
            assert config["unique_id"] == f"{own}_{key[1]}"
            assert config["expire_after"] == EXPIRES
        for config in (alert, *configs.values()):
            assert config["availability_topic"] == f"{base}/availability"
            assert config["device"]["identifiers"] == [own]
            assert config["device"]["name"] == f"maskyolo {url}"
        first, second = listener.on(f"{base}/alert")[:2]
        assert first["event_type"] == first["event"] == "alert"
        assert (first["source"], first["class"]) == (url, "without_mask")
        assert first["id"] != second["id"]
        assert {first["track_id"], second["track_id"]} == {2, 3}


@needs_broker
def test_a_camera_is_offline_after_a_normal_end(
    tmp_path: Path, samples: Path, broker: Mosquitto, listener: Listener
) -> None:
    camera = Mjpeg(samples / "street.jpg")
    with watching(tmp_path, camera.url, broker.url) as run:
        until(lambda: camera.send(1) is None and "online" in listener.on("/availability"), 120)
        run.process.send_signal(signal.SIGINT)
        run.process.wait(60)
    until(lambda: listener.on("/availability")[-1] == "offline")


@needs_broker
def test_a_broker_that_comes_back_gets_everything_again(
    tmp_path: Path, samples: Path, broker: Mosquitto
) -> None:
    broker.stop()
    camera = Mjpeg(samples / "street.jpg")
    with watching(tmp_path, camera.url, broker.url) as run:
        outbox = tmp_path / "runs" / "detect" / "outbox"
        until(lambda: camera.send(1) is None and len(list(outbox.glob("mqtt-*/*.json"))) == 2, 120)
        broker.start()
        listener = Listener(broker)
        until(lambda: camera.send(1) is None and len(listener.on("/alert")) == 2)
        until(lambda: camera.send(1) is None and listener.on("/state"))
        until(lambda: listener.on("/availability") == ["online"])
        assert len(listener.on("/config")) == 4
        listener.close()
    said = "".join(run.said)
    assert f"an alert was not delivered: --mqtt {broker.url}: connection refused" in said
    assert f"cannot reach --mqtt {broker.url}: no connection; it is tried again" in said


@needs_broker
def test_the_password_can_be_in_the_environment_and_is_never_shown(
    tmp_path: Path, samples: Path
) -> None:
    (tmp_path / "broker").mkdir()
    login = ("door", "s:cr@t/")
    broker = Mosquitto(tmp_path / "broker", login)
    broker.start()
    address = broker.url.replace("//", "//door@")
    camera = Mjpeg(samples / "street.jpg")
    listener = Listener(broker, login)
    try:
        with watching(tmp_path, camera.url, address, **{PASSWORD: "wr%ng"}) as run:

            def refused() -> int:
                camera.send(1)
                return sum("not authorized" in line for line in run.said)

            until(lambda: refused() == 2, 120)  # for the alerts, and for the counts
        said = "".join(run.said)
        assert "***@127.0.0.1" in said
        assert "wr%ng" not in said
        assert "door" not in said
        recorded = (tmp_path / "runs" / "detect" / "predict" / "args.yaml").read_text()
        assert yaml.safe_load(recorded)["mqtt"] == address.replace("door@", "***@")
        with watching(tmp_path, camera.url, address, **{PASSWORD: login[1]}):
            until(lambda: camera.send(1) is None and len(listener.on("/alert")) >= 2, 120)
        quoted = broker.url.replace("//", "//door:s%3Acr%40t%2F@")
        mqtt_target(Broker.parse(quoted)).send(b'{"source": "in the address"}')
        until(lambda: {"in the address"} & {alert["source"] for alert in listener.on("/alert")})
    finally:
        listener.close()
        broker.stop()


@needs_broker
def test_the_certificate_is_checked(tmp_path: Path) -> None:
    (tmp_path / "broker").mkdir()
    own = tmp_path / "own.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=127.0.0.1 "
        "-addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out own.pem"
    )
    subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    own.write_text(own.read_text() + (tmp_path / "key.pem").read_text())
    broker = Mosquitto(tmp_path / "broker", certificate=own)
    broker.start()
    address = broker.url.replace("mqtt:", "mqtts:")
    try:
        with pytest.raises(UndeliveredError, match="certificate verify failed"):
            mqtt_target(Broker.parse(address)).send(b"{}")
        code = (
            "import sys; from maskyolo.runtime.delivery.mqtt import *\n"
            "mqtt_target(Broker.parse(sys.argv[1])).send(b'{}'); print('confirmed')"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, address],
            env={"SSL_CERT_FILE": str(own), "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout == "confirmed\n", done.stderr
    finally:
        broker.stop()


@needs_broker
def test_cameras_of_the_live_page_are_published_too(
    samples: Path, tmp_path: Path, broker: Mosquitto, listener: Listener
) -> None:
    def find(image: ImageArray) -> sv.Detections:
        return sv.Detections(
            xyxy=np.array([[10, 10, 50, 50]], np.float32),
            confidence=np.array([0.9], np.float32),
            class_id=np.array([1]),
            data={"class_name": np.array(["without_mask"])},
        )

    cameras = [Mjpeg(samples / "street.jpg"), Mjpeg(samples / "office.jpg")]
    urls = [camera.url for camera in cameras]
    settings = {"mqtt": broker.url, "alert_after": 0.0, "project": tmp_path / "runs"}
    with running(urls, find, **settings):

        def published(ending: str) -> set[str]:
            for camera in cameras:
                camera.send(1)
            return {topic for topic, _, _ in listener.messages if topic.endswith(ending)}

        for ending in ("alert", "state"):
            expected = {f"maskyolo/{camera_id(url)}/{ending}" for url in urls}
            until(lambda ending=ending, expected=expected: published(ending) == expected)  # type: ignore[misc]
    until(lambda: listener.on("/availability").count("offline") == 2)


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("127.0.0.1:1883", "not the address of an MQTT broker"),
        ("http://me:secret@host", "not the address of an MQTT broker"),
        ("mqtt://me:secret@", "not the address of an MQTT broker"),
        ("mqtt://me:secret@host:x", "not the address of an MQTT broker"),
        ("mqtt://me:secret@host/a/#", "not the address of an MQTT broker"),
        ("mqtt://me:secret@host/a/%2B", "wildcard or an empty level"),
    ],
)
def test_an_address_that_is_not_a_broker_is_one_line_without_its_password(
    address: str, what: str
) -> None:
    with pytest.raises(MaskyoloError, match=what) as error:
        list(detect("0", lambda image: None, mqtt=address))  # type: ignore[arg-type,return-value]
    assert "secret" not in str(error.value)
    assert "\n" not in str(error.value)


def test_the_parts_of_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PASSWORD, raising=False)
    one = Broker.parse("mqtts://me:se%2Fcret@host/home/door/")
    assert (one.host, one.port, one.tls, one.topic) == ("host", 8883, True, "home/door")
    assert (one.user, one.password) == ("me", "se/cret")
    assert "cret" not in repr(one) + one.shown
    two = Broker.parse("mqtt://10.0.0.2")
    assert (two.port, two.tls, two.topic, two.user, two.password) == (
        1883,
        False,
        "maskyolo",
        "",
        "",
    )
    assert Broker.parse("mqtt://h:99").port == 99
    assert camera_id("door") != camera_id("Door")
    assert re.fullmatch(r"[a-z0-9_]+", camera_id("rtsp://***@10.0.0.5/live?x=1#ü"))
    assert DetectOptions(mqtt="mqtt://host").tracks
