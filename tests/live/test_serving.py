"""The live page's server: what cameras show, and what requests get."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from clips import probe
from live import Mjpeg, number_of, until
from PIL import Image
from serving import Running, running
from websockets.sync.client import ClientConnection, connect

import maskyolo
from maskyolo.core.detector import Detector
from maskyolo.core.images import decode_image
from maskyolo.errors import MaskyoloError
from maskyolo.live.options import ServeOptions
from maskyolo.live.serving import open_server, serve
from maskyolo.reports.reporting import report

FACES = ("with_mask", "without_mask")


@pytest.fixture
def server(camera: Mjpeg, detector: Detector) -> Iterator[Running]:
    with running(camera.url, detector) as found:
        until(lambda: found.camera()["status"] == "live")
        yield found


def frames_of(server: Running, **settings: Any) -> ClientConnection:
    return connect(f"ws://{server.netloc}/cameras/1/frames", max_size=None, **settings)


def receive(viewer: ClientConnection) -> tuple[dict[str, Any], Any]:
    """Return the next frame: its record and its image."""
    record = json.loads(viewer.recv(30))
    image = viewer.recv(30)
    assert isinstance(image, bytes)
    return record, decode_image(image)


def test_a_viewer_gets_the_newest_frame_when_it_asks(camera: Mjpeg, server: Running) -> None:
    with frames_of(server) as viewer:
        record, image = receive(viewer)
        assert image.shape == (240, 320, 3)
        assert record["frame"] == number_of(image)
        assert {"box", "class", "confidence", "track_id"} <= record["detections"][0].keys()
        camera.send(5)
        until(lambda: server.ask("/cameras/1/detections").json()["frame"] == camera.sent - 1)
        viewer.send("next")
        record, image = receive(viewer)
        assert record["frame"] == number_of(image) == camera.sent - 1  # none in between


def test_a_viewer_that_stops_reading_stalls_nobody(camera: Mjpeg, server: Running) -> None:
    stuck = socket.create_connection(server.netloc.split(":"))
    stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stuck.sendall(f"GET /cameras/1/mjpeg HTTP/1.1\r\nHost: {server.netloc}\r\n\r\n".encode())
    with stuck, frames_of(server) as silent, frames_of(server) as viewer:
        receive(silent)  # and never asks for the next
        receive(viewer)
        for _ in range(30):
            camera.send(1)
            viewer.send("next")
            record, _ = receive(viewer)
        while record["frame"] != camera.sent - 1:
            viewer.send("next")
            record, _ = receive(viewer)
        assert server.camera()["status"] == "live"


def test_mjpeg_is_a_stream_that_opencv_reads(camera: Mjpeg, server: Running) -> None:
    connection = server.connect()
    connection.request("GET", "/cameras/1/mjpeg")
    response = connection.getresponse()
    assert response.getheader("Content-Type") == "multipart/x-mixed-replace; boundary=frame"
    for _ in range(2):
        assert response.readline() == b"--frame\r\n"
        assert response.readline() == b"Content-Type: image/jpeg\r\n"
        size = int(response.readline().split()[1])
        assert response.readline() == b"\r\n"
        assert decode_image(response.read(size)).shape == (240, 320, 3)
        assert response.readline() == b"\r\n"
        camera.send(1)
    connection.close()
    assert decode_image(server.ask("/cameras/1/frame.jpg").body).shape == (240, 320, 3)


def test_the_counts_are_those_of_the_detections(camera: Mjpeg, server: Running) -> None:
    def now() -> dict[str, int]:
        camera.send(1)
        found: dict[str, int] = server.camera()["today"]
        return found

    until(lambda: now()["people"] == 4)  # after half a second
    about = server.camera()
    assert (about["today"]["with_mask"], about["today"]["without_mask"]) == (2, 2)
    assert sum(hour["people"] for hour in about["hours"]) == 4
    assert about["now"] == {"with_mask": 2, "without_mask": 2}
    metrics = server.ask("/metrics").body.decode()
    label = f'camera="1",class="with_mask",name="{camera.url}"'
    assert f"maskyolo_faces{{{label}}} 2.0" in metrics
    assert re.search(r'maskyolo_events_total{camera="1",event="appears",.*} 4.0', metrics)
    assert server.ask("/healthz").json() == {"cameras": 1, "live": 1}


def test_an_alert_has_an_image_and_events_are_streamed(camera: Mjpeg, detector: Detector) -> None:
    with running(camera.url, detector, alert_after=0.0) as server:
        connection = server.connect()
        connection.request("GET", "/events")
        response = connection.getresponse()
        assert response.getheader("Content-Type").startswith("text/event-stream")

        def alerts() -> Any:
            camera.send(1)
            return server.ask("/cameras").json()["alerts"]

        until(lambda: len(alerts()) == 2)
        alert = alerts()[0]
        assert (alert["event"], alert["class"]) == ("alert", "without_mask")
        image = server.ask(f"/alerts/{alert['number']}.jpg")
        assert decode_image(image.body).shape == (240, 320, 3)
        assert server.ask("/alerts/77.jpg").status == 404
        lines = [response.readline().decode() for _ in range(8)]
        connection.close()
        (data,) = [line for line in lines if line.startswith("data:")][:1]
        assert json.loads(data.removeprefix("data: "))["event"] == "appears"


def test_events_and_images_of_alerts_are_written_and_reported(
    camera: Mjpeg, detector: Detector, samples: Path, tmp_path: Path
) -> None:
    other = Mjpeg(samples / "office.jpg")
    settings = {"alert_after": 0.0, "alert_clip": 30, "project": tmp_path / "runs"}
    events = tmp_path / "events.csv"
    with running([camera.url, other.url], detector, events=events, **settings) as server:

        def alerts() -> int:
            camera.send(1)
            other.send(1)
            return len(server.ask("/cameras").json()["alerts"])

        until(lambda: alerts() == 4)
        today = [server.camera(number)["today"] for number in (1, 2)]
    other.die()
    figures = report(events, out=tmp_path / "report.html")
    assert figures.open_ended == 0  # everyone's visit has ended, because the server has
    for source, shown in zip((camera.url, other.url), today, strict=True):
        people = figures.by_place[source, ""].people
        assert {name: people[name] for name in FACES} == {name: shown[name] for name in FACES}
    assert len(figures.alerts) == 4
    images = list((tmp_path / "runs" / "serve" / "alerts").rglob("*.jpg"))
    assert len(images) == 4
    for image in images:
        count, _, size = probe(image.with_suffix(".mp4"))
        assert (count > 1, size) == (True, (320, 240))
    assert (tmp_path / "report.html").read_text().count("data:image/jpeg") == 4
    assert "alert_after: 0.0" in (tmp_path / "runs" / "serve" / "args.yaml").read_text()


def test_two_cameras_share_the_detector_and_one_may_be_away(
    camera: Mjpeg, detector: Detector, samples: Path
) -> None:
    other = Mjpeg(samples / "street.jpg")
    with running([camera.url, other.url], detector) as server:
        until(
            lambda: (
                [one["status"] for one in server.ask("/cameras").json()["cameras"]]
                == ["live", "live"]
            )
        )
        other.die()
        until(lambda: server.camera(2)["status"] == "interrupted")
        assert "trying to reconnect until it is back" in server.camera(2)["problem"]
        assert server.camera(2)["now"] is None
        with frames_of(server) as viewer:
            receive(viewer)
            camera.send(1)
            viewer.send("next")
            receive(viewer)
        assert server.ask("/healthz").json() == {"cameras": 2, "live": 1}
        other.start()
        until(lambda: server.camera(2)["status"] == "live")
    other.die()


def test_detect_returns_the_line_of_json(server: Running, samples: Path, tmp_path: Path) -> None:
    list(maskyolo.detect(samples / "office.jpg", save_json=tmp_path / "o.jsonl"))
    expected = json.loads((tmp_path / "o.jsonl").read_text())
    found = server.ask("/detect", "POST", (samples / "office.jpg").read_bytes()).json()
    assert found == {**expected, "source": "upload"}
    assert len(found["detections"]) == 4


@pytest.mark.parametrize(
    "data", [b"", b"no image", b"\xff\xd8\xff\xe0 cut off", b"%PDF-1.4"], ids=repr
)
def test_what_is_no_image_is_415(server: Running, data: bytes) -> None:
    assert server.ask("/detect", "POST", data).status == 415


def test_an_image_of_too_many_pixels_is_415(server: Running) -> None:
    data = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(data, "PNG")
    assert server.ask("/detect", "POST", data.getvalue()).status == 415


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_25_mb_is_413_and_not_read_to_its_end(server: Running, chunked: bool) -> None:
    block, sent = bytes(1 << 20), 0
    with socket.create_connection(server.netloc.split(":")) as client:
        client.settimeout(60)
        kind = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {25 << 20}"
        client.sendall(f"POST /detect HTTP/1.1\r\nHost: {server.netloc}\r\n{kind}\r\n\r\n".encode())
        try:
            for _ in range(25):
                client.sendall(b"100000\r\n" + block + b"\r\n" if chunked else block)
                sent += len(block)
        except OSError:  # it has closed the connection
            pass
        assert client.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_fifty_requests_at_once_are_answered_or_503(
    server: Running, camera: Mjpeg, samples: Path
) -> None:
    data = (samples / "street.jpg").read_bytes()
    start = threading.Barrier(50)

    def post(_: int) -> int:
        start.wait()
        return server.ask("/detect", "POST", data).status

    with ThreadPoolExecutor(50) as pool:
        statuses = list(pool.map(post, range(50)))
    assert set(statuses) == {200, 503}
    assert statuses.count(200) >= 4
    assert server.ask("/detect", "POST", data).status == 200
    camera.send(1)
    until(lambda: server.ask("/cameras/1/detections").json()["frame"] == camera.sent - 1)


@pytest.mark.parametrize(
    "path",
    ["/../pyproject.toml", "/%2e%2e/app.py", "/cameras/1/../../etc/passwd", "/app.py", "/page",
     "/live.js/", "/cameras/2/frame.jpg", "/docs", "//etc/passwd"],
)  # fmt: skip
def test_there_is_nothing_else_to_get(server: Running, path: str) -> None:
    assert server.ask(path).status == 404


def test_a_wrong_host_is_421(server: Running) -> None:
    for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost@evil", ""):
        assert server.ask("/cameras", headers={"Host": host}).status == 421
    port = server.netloc.split(":")[1]
    for host in (f"localhost:{port}", f"127.0.0.1:{port}", "[::1]:80", "LOCALHOST"):
        assert server.ask("/cameras", headers={"Host": host}).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},  # another port of this machine
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
    ],
    ids=str,
)
def test_another_site_is_403(server: Running, headers: dict[str, str]) -> None:
    for path, method in (("/cameras", "GET"), ("/detect", "POST"), ("/cameras/1/areas", "PUT")):
        assert server.ask(path, method, headers=headers).status == 403
    if "Origin" in headers:
        with pytest.raises(Exception, match="HTTP 403"):
            frames_of(server, origin=headers["Origin"])
    own = {"Origin": f"http://{server.netloc}", "Sec-Fetch-Site": "same-origin"}
    answer = server.ask("/cameras", headers=own)
    assert answer.status == 200
    assert "access-control-allow-origin" not in answer.headers


def test_another_address_needs_the_token(camera: Mjpeg, detector: Detector, tmp_path: Path) -> None:
    with running(camera.url, detector, host="0.0.0.0", token_file=tmp_path / "token.txt") as found:
        token = (tmp_path / "token.txt").read_text().strip()
        assert found.token == token
        assert len(token) >= 22
        assert (tmp_path / "token.txt").stat().st_mode & 0o077 == 0
        server = Running(f"http://127.0.0.1:{found.netloc.split(':')[1]}/", token)
        until(lambda: server.ask("/healthz").json()["live"] == 1)
        assert server.ask("/").status == 200  # the page asks for the token
        for path in ("/cameras", "/metrics", "/events", "/cameras/1/mjpeg", "/openapi.json",
                     "/cameras/1/frame.jpg", "/detect", "/docs"):  # fmt: skip
            assert server.ask(path).status == 401
        with pytest.raises(Exception, match="HTTP 401"):
            frames_of(server)
        for wrong in ("x", token[:-1], f"{token}x", "", "\xe9"):
            assert (
                server.ask("/cameras", headers={"Authorization": f"Bearer {wrong}"}).status == 401
            )
            assert server.ask("/cameras", headers={"Cookie": f"maskyolo={wrong}"}).status == 401
            assert server.ask("/login", "POST", wrong.encode()).status == 401
        assert server.ask("/cameras", headers={"Authorization": f"Bearer {token}"}).status == 200
        login = server.ask("/login", "POST", token)
        cookie = login.headers["set-cookie"]
        assert (login.status, token in cookie) == (204, False)
        assert {"HttpOnly", "SameSite=strict"} <= set(cookie.split("; "))
        headers = {"Cookie": cookie.split(";")[0]}
        assert server.ask("/cameras", headers=headers).status == 200
        with connect(
            f"ws://{server.netloc}/cameras/1/frames", additional_headers=headers
        ) as viewer:
            receive(viewer)
    with running(camera.url, detector, token_file=tmp_path / "token.txt") as again:
        assert again.token == ""  # printed only once
        assert again.ask("/cameras", headers={"Authorization": f"Bearer {token}"}).status == 200


def test_vlc_and_home_assistant_send_the_token_as_password(
    camera: Mjpeg, detector: Detector, tmp_path: Path
) -> None:
    with running(camera.url, detector, token_file=tmp_path / "token.txt") as server:
        answer = server.ask("/cameras/1/mjpeg")
        assert (answer.status, answer.headers["www-authenticate"][:5]) == (401, "Basic")
        capture = cv2.VideoCapture(f"http://me:{server.token}@{server.netloc}/cameras/1/mjpeg")
        camera.send(20)
        assert capture.read()[1].shape == (240, 320, 3)
        capture.release()


def test_with_stats_only_no_pixel_is_served(camera: Mjpeg, detector: Detector) -> None:
    with running(camera.url, detector, stats_only=True, alert_after=0.0) as server:

        def alerts() -> Any:
            camera.send(1)
            return server.ask("/cameras").json()["alerts"]

        until(alerts)
        assert alerts()[0]["image"] is False
        for path in ("/cameras/1/frame.jpg", "/cameras/1/mjpeg", "/alerts/1.jpg"):
            assert server.ask(path).status == 404
        with frames_of(server) as viewer:
            for _ in range(3):
                assert json.loads(viewer.recv(30))["detections"]
                camera.send(1)
                viewer.send("next")


def test_with_blur_no_face_is_served(camera: Mjpeg, detector: Detector) -> None:
    def cells(image: Any, box: Any) -> float:
        x1, y1, x2, y2 = (round(side) for side in box)
        face = image[y1 + 4 : y2 - 4, x1 + 4 : x2 - 4].astype(int)
        return float((np.abs(np.diff(face, axis=1)).max(-1) > 12).mean())

    sharpness = {}
    for blur in (False, True):
        with running(camera.url, maskyolo.load_detector(conf=0.1), blur=blur) as server:
            camera.send(1, (640, 448))
            with frames_of(server) as viewer:
                record, image = receive(viewer)
                while image.shape[0] != 448 or len(record["detections"]) < 4:
                    camera.send(1)
                    viewer.send("next")
                    record, image = receive(viewer)
                sharpness[blur] = max(cells(image, one["box"]) for one in record["detections"])
    assert sharpness[True] < 0.6 * sharpness[False]


def test_a_zone_is_checked_saved_and_loaded(
    camera: Mjpeg, detector: Detector, tmp_path: Path
) -> None:
    path, zone = tmp_path / "areas.json", [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]
    kind = {"Content-Type": "application/json"}
    with running(camera.url, detector, areas=path) as server:
        until(lambda: server.camera()["status"] == "live")
        for wrong in (
            {"zone": [[0, 0], [1, 1]]}, {"zone": [[0, 0], [2, 0], [1, 1]]}, {"zone": "x"},
            {"line": [[0.5, 0.5], [0.5, 0.5]]}, {"other": 1},
        ):  # fmt: skip
            answer = server.ask("/cameras/1/areas", "PUT", json.dumps(wrong), kind)
            assert answer.status == 422, wrong
        assert not path.exists()
        answer = server.ask("/cameras/1/areas", "PUT", json.dumps({"zone": zone}), kind)
        assert (answer.status, server.camera()["zone"]) == (204, zone)

        def people() -> int:
            camera.send(1)
            return int(server.camera()["today"]["people"])

        until(lambda: people() == 4 or people() == 2)
    with running(camera.url, detector, areas=path) as server:
        assert server.camera()["zone"] == zone

        def entered() -> str:
            camera.send(1)
            return server.ask("/metrics").body.decode()

        until(lambda: re.search(r'event="appears".*} 4.0', entered()))
        until(lambda: re.search(r'event="enters".*} 2.0', entered()))
        assert server.camera()["today"]["people"] == 2


def test_openapi_describes_the_api(server: Running) -> None:
    paths = server.ask("/openapi.json").json()["paths"]
    assert set(paths) == {
        "/detect", "/healthz", "/cameras", "/metrics", "/events", "/alerts/{number}.jpg",
        "/cameras/{number}/frame.jpg", "/cameras/{number}/detections", "/cameras/{number}/mjpeg",
        "/cameras/{number}/areas",
    }  # fmt: skip
    assert paths["/detect"]["post"]["requestBody"]["content"]


def test_nothing_is_encoded_without_a_viewer(
    camera: Mjpeg, server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = []
    monkeypatch.setattr("maskyolo.live.cameras.encode_jpeg", lambda *given: encoded.append(given))
    camera.send(20)
    until(lambda: server.ask("/cameras/1/detections").json()["frame"] == camera.sent - 1)
    assert encoded == []


def test_wrong_sources_and_ports_are_errors_of_one_line(
    samples: Path, tmp_path: Path, detector: Detector
) -> None:
    def problem(source: Any, **settings: Any) -> str:
        options = ServeOptions.merge(None, {"port": 0, **settings})
        with pytest.raises(MaskyoloError) as caught, open_server(source, options, detector):
            pass
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "no such file" in problem("none.mp4")
    assert "no source given" in problem([])
    assert "cannot watch the image" in problem(samples / "office.jpg")
    assert "stands for" in problem(samples)
    assert "not numbers" in problem("0", zone="a,b")
    with pytest.raises(MaskyoloError, match="need --alert-after"):
        ServeOptions(alert_cmd="true")
    with pytest.raises(MaskyoloError, match="need --alert-after"):
        ServeOptions(save_alerts=True)
    with pytest.raises(MaskyoloError, match="cannot save images with --stats-only"):
        ServeOptions(save_alerts=True, alert_after=1, stats_only=True)
    with pytest.raises(MaskyoloError, match="unknown suffix"):
        ServeOptions(events="e.txt")
    assert "cannot serve on 203.0.113.7" in problem("0", host="203.0.113.7")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"port {port} is in use" in problem("0", port=port)
    for text in ("[1]", '{"0": 1}', '{"0": {"zone": "1,2"}}', "{"):
        (tmp_path / "areas.json").write_text(text)
        assert "areas.json" in problem("0", areas=tmp_path / "areas.json")
    (tmp_path / "token.txt").write_text("short")
    assert "at least 22 characters" in problem("0", token_file=tmp_path / "token.txt")


def test_without_the_extra_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MaskyoloError, match=r"fastapi is not installed; run: pip install .*serve"):
        serve("0")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_the_command_ends_with_a_signal(camera: Mjpeg, how: signal.Signals) -> None:
    command = [sys.executable, "-m", "maskyolo", "serve", "--source", camera.url, "--port", "0"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stdout
    url = str(re.search(r"http://localhost:\d+/", process.stdout.readline())[0])  # type: ignore[index]
    server = Running(url, "")
    until(lambda: server.ask("/healthz").status in (200, 503))
    with frames_of(server):
        process.send_signal(how)
        _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130 if how == signal.SIGINT else 0, "")


def test_an_alert_that_is_not_delivered_is_logged_and_the_camera_goes_on(
    camera: Mjpeg, detector: Detector, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/secret"
        settings = {"alert_after": 0.0, "alert_url": url, "project": tmp_path / "runs"}
        with running(camera.url, detector, **settings) as server:
            until(lambda: camera.send(1) is None and "alert was not delivered" in caplog.text)
            assert server.camera()["status"] == "live"
            outbox = tmp_path / "runs" / "outbox"
            until(lambda: camera.send(1) is None and len(list(outbox.rglob("*.json"))) == 2)
    assert camera.url in caplog.text
    assert "secret" not in caplog.text
