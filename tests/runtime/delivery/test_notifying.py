"""Messages of apprise: a JSON server on loopback gets them; no address or token is shown."""

from __future__ import annotations

import json
import threading
from base64 import b64decode
from collections.abc import Iterator
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import supervision as sv
import yaml

from maskyolo.core.images import ImageArray, decode_image, read_image
from maskyolo.errors import MaskyoloError
from maskyolo.live.options import ServeOptions
from maskyolo.runtime.delivery.notifying import display_service, notify_targets
from maskyolo.runtime.delivery.targets import UndeliveredError
from maskyolo.runtime.detection import detect
from maskyolo.runtime.options import DetectOptions
from maskyolo.runtime.video_writer import VideoWriter

ALERT = {
    "id": "7", "event": "alert", "source": "door", "track_id": 3, "class": "without_mask",
    "time": 1.5, "datetime": "2026-11-27T08:00:00.250+01:00", "image": "alerts/a.jpg",
}  # fmt: skip


class Service:
    """A web server that takes apprise's JSON messages."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.answer = 200
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                service.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(service.answer)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.address = f"json://me:secret@127.0.0.1:{self._server.server_port}/token"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    yield service
    service.close()


def test_a_message_says_where_when_and_who(service: Service) -> None:
    (target,) = notify_targets([service.address], images=True)
    target.send(json.dumps(ALERT).encode())
    (got,) = service.got
    assert got["title"] == "No mask"
    assert got["message"].splitlines() == [
        "door: person 3 without a mask",
        "2026-11-27T08:00:00.250+01:00",
        "alerts/a.jpg",
    ]
    assert got["type"] == "warning"
    assert got["attachments"] == []  # there is no such file
    assert target.label == "--notify json://***"
    assert "secret" not in repr(target)


def test_a_failure_is_tried_again_and_shows_no_token(
    service: Service, capfd: pytest.CaptureFixture[str]
) -> None:
    service.answer = 503
    (target,) = notify_targets([service.address], images=False)
    with pytest.raises(UndeliveredError, match="did not accept it") as error:
        target.send(json.dumps(ALERT).encode())
    assert len(service.got) == 1
    said = capfd.readouterr()
    assert said.out + said.err == ""
    assert "secret" not in str(error.value)


def test_addresses_can_be_in_a_file(tmp_path: Path, service: Service) -> None:
    (tmp_path / "people.txt").write_text(f"# the guard\n\n{service.address}\njson://127.0.0.1:1\n")
    targets = notify_targets([str(tmp_path / "people.txt")], images=False)
    assert [target.address for target in targets] == [service.address, "json://127.0.0.1:1"]
    assert len({target.key for target in targets}) == 2
    assert display_service(str(tmp_path / "people.txt")) == str(tmp_path / "people.txt")


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("nothing://secret/token", r"cannot notify nothing://\*\*\*: it is not a complete address"),
        ("tgram://secret", r"cannot notify tgram://\*\*\*"),
        ("missing.txt", "cannot read --notify missing.txt: no such file"),
    ],
)
def test_a_wrong_address_is_one_line_without_its_token(
    address: str, what: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(MaskyoloError, match=what) as error:
        list(detect("0", lambda image: None, notify=[address], alert_after=1))  # type: ignore[arg-type,return-value]
    assert "secret" not in str(error.value)
    assert "secret" not in capfd.readouterr().err


def test_images_are_only_sent_if_that_was_asked_for(tmp_path: Path, service: Service) -> None:
    video = VideoWriter(tmp_path / "still.mp4", Fraction(10))
    for _ in range(20):
        video.write(np.full((64, 64, 3), 90, np.uint8))
    video.close()

    def find(image: ImageArray) -> sv.Detections:
        return sv.Detections(
            xyxy=np.array([[10, 10, 50, 50]], np.float32),
            confidence=np.array([0.9], np.float32),
            class_id=np.array([1]),
            data={"class_name": np.array(["without_mask"])},
        )

    for images in (False, True):
        settings = {"alert_after": 0.0, "save_alerts": True, "project": tmp_path / "runs"}
        list(
            detect(
                tmp_path / "still.mp4",
                find,
                notify=[service.address],
                notify_images=images,
                **settings,
            )
        )
    first, second = service.got
    assert first["attachments"] == []
    (attached,) = second["attachments"]
    saved = read_image(second["message"].splitlines()[-1])
    assert np.array_equal(decode_image(b64decode(attached["base64"])), saved)
    recorded = (tmp_path / "runs" / "predict" / "args.yaml").read_text()
    assert yaml.safe_load(recorded)["notify"] == ["json://***"]


def test_images_need_messages_and_saved_images() -> None:
    for options in (DetectOptions, ServeOptions):
        for given in ({"notify": ["json://h"]}, {"save_alerts": True}):
            with pytest.raises(MaskyoloError, match="--notify-images needs"):
                options(alert_after=1, notify_images=True, **given)
    given = {"alert_after": 1, "notify": ["json://h"], "save_alerts": True, "notify_images": True}
    camera = ServeOptions(**given).for_detection(None, None)  # type: ignore[arg-type]
    assert (camera.notify_images, camera.notify, camera.needs_folder) == (True, ["json://h"], False)
    with pytest.raises(MaskyoloError, match=r"--notify, .* need --alert-after"):
        DetectOptions(notify=["json://h"])
