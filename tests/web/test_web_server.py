"""`maskyolo web`: its files, its answers, and its errors. Needs no browser."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from browsing import constant_network
from paths import ROOT

from maskyolo import serve_web
from maskyolo.cli import main
from maskyolo.errors import MaskyoloError, OutputError, WeightsError
from maskyolo.web.site import POLICY, File, build_site, source_folder

Ask = Callable[..., http.client.HTTPResponse]


@pytest.fixture
def ask(server: str) -> Ask:
    """A function that sends a request as it is and returns the answer, read completely."""

    def ask(
        path: str, method: str = "GET", host: str | None = None, **headers: str
    ) -> http.client.HTTPResponse:
        place = urlsplit(server)
        connection = http.client.HTTPConnection("127.0.0.1", place.port or 0, timeout=30)
        connection.request(method, path, headers={"Host": host or place.netloc, **headers})
        answer = connection.getresponse()
        answer.body = answer.read()  # type: ignore[attr-defined]
        connection.close()
        return answer

    return ask


def test_the_page_isolates_itself_and_allows_nothing_else(ask: Ask) -> None:
    answer = ask("/")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert answer.headers["Content-Security-Policy"] == f"{POLICY}; frame-ancestors 'none'"
    assert "unsafe-inline" not in POLICY
    assert f'http-equiv="Content-Security-Policy" content="{POLICY}"' in answer.body.decode()  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", ["/sw.js", "/vendor/onnxruntime-web/ort-wasm-simd-threaded.wasm"])
def test_workers_get_the_headers_too(ask: Ask, path: str) -> None:
    answer = ask(path, "HEAD")
    assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert int(answer.headers["Content-Length"]) > 1000
    assert answer.body == b""  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "host", ["evil.test", "evil.test:8642", "localhost.evil.test", "[::2]:1", ""]
)
def test_another_name_for_this_machine_is_refused(ask: Ask, host: str) -> None:
    answer = ask("/", host=host or " ")
    assert (answer.status, answer.body) == (421, b"open this page as localhost\n")  # type: ignore[attr-defined]


@pytest.mark.parametrize("host", ["localhost", "localhost:9000", "127.0.0.1:8642", "[::1]:8642"])
def test_names_of_this_machine_are_answered(ask: Ask, host: str) -> None:
    assert ask("/model.json", host=host).status == 200


@pytest.mark.parametrize(
    "path", ["/../pyproject.toml", "/%2e%2e/pyproject.toml", "/jsconfig.json", "//etc/passwd", "/x"]
)
def test_only_the_pages_files_are_served(ask: Ask, path: str) -> None:
    assert ask(path).status == 404


def test_a_known_file_is_not_sent_again(ask: Ask) -> None:
    tag = ask("/app.js?again").headers["ETag"]
    again = ask("/app.js", **{"If-None-Match": tag})
    assert (again.status, again.body) == (304, b"")  # type: ignore[attr-defined]
    assert ask("/app.js", "POST").status == 501


def test_the_description_of_the_model(site: dict[str, File]) -> None:
    description = json.loads(site["model.json"].data)
    weights = (ROOT / "maskyolo" / "weights" / "maskyolo-n.onnx").read_bytes()
    assert site["model.onnx"].data == weights
    assert description["sha256"] == hashlib.sha256(weights).hexdigest()
    assert description["classes"] == ["with_mask", "without_mask"]
    assert (description["name"], description["imgsz"], description["shape"]) == (
        "maskyolo-n",
        640,
        None,
    )
    assert description["license"] == "AGPL-3.0"


def test_the_download_is_small(site: dict[str, File]) -> None:
    needed = [file.data for name, file in site.items() if not name.endswith(".txt")]
    assert sum(map(len, needed)) < 21e6
    assert sum(len(gzip.compress(data, 6)) for data in needed) < 10e6


def test_the_runtime_is_the_one_that_was_checked() -> None:
    folder = source_folder() / "vendor" / "onnxruntime-web"
    sums = dict(
        reversed(line.split("  "))
        for line in (folder / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    )
    found = {path.name for path in folder.iterdir()} - {"SHA256SUMS"}
    assert set(sums) == found
    assert {"LICENSE.txt", "ThirdPartyNotices.txt", "ort-wasm-simd-threaded.wasm"} <= found
    for name, expected in sums.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == expected, name


def test_a_model_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.onnx"
    path.write_bytes(constant_network([0.1, 0.9], ["without_mask", "with_mask"]))
    description = json.loads(build_site(path)["model.json"].data)
    assert description["name"] == "mine"
    assert description["classes"] == ["without_mask", "with_mask"]
    assert description["imgsz"] == 64
    assert (description["two"], description["three"]) == ([[1], [0]], None)


def test_classes_by_other_names(tmp_path: Path) -> None:
    path = tmp_path / "mine.onnx"
    path.write_bytes(constant_network([0.1, 0.9, 0.2], ["helmet", "nose out", "masked"]))
    said = {"helmet": "without_mask", "nose out": "incorrect_mask"}
    description = json.loads(build_site(path, said)["model.json"].data)
    assert (description["two"], description["three"]) == ([[2], [0, 1]], [[2], [0], [1]])


@pytest.mark.parametrize(
    ("name", "data", "problem", "remedy"),
    [
        ("text.onnx", b"no model", "not a network", "export it again"),
        ("empty.onnx", b"", "not a network", "export it again"),
        ("bare.onnx", constant_network([0.1, 0.9]), "unknown classes 0, 1", "--map 0=CLASS"),
        ("cars.onnx", constant_network([0.1, 0.9], ["car", "bus"]), "unknown classes car", "--map"),
        ("best.pt", b"x", "not an .onnx file", "maskyolo export --format onnx --model"),
    ],
)
def test_a_model_that_cannot_be_used_is_one_line(
    tmp_path: Path, name: str, data: bytes, problem: str, remedy: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(WeightsError) as caught:
        build_site(tmp_path / name)
    assert problem in caught.value.problem
    assert remedy in caught.value.remedy
    assert "\n" not in str(caught.value)


def test_a_folder_for_a_static_host(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "public"
    with pytest.raises(SystemExit) as caught:
        main(["web", "--out", str(out)])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert (out / "index.html").read_bytes() == (source_folder() / "index.html").read_bytes()
    assert "Cross-Origin-Opener-Policy: same-origin" in (out / "_headers").read_text("utf-8")
    listed = (out / "version.js").read_text(encoding="utf-8")
    assert "ort-wasm-simd-threaded.wasm" in listed
    assert "sw.js" not in listed
    assert not list(tmp_path.glob("*.part"))
    with pytest.raises(OutputError, match="already exists"):
        serve_web(out=out)


def test_a_port_in_use_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(MaskyoloError, match=f"port {port} is in use; choose another"):
            serve_web(port=port)


def test_the_command_serves_until_ctrl_c() -> None:
    command = [sys.executable, "-m", "maskyolo", "web", "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        line: Any = running.stdout.readline() if running.stdout else ""
        found = re.fullmatch(r"open (http://localhost:\d+/) in your browser; .*\n", line)
        assert found
        place = urlsplit(found[1])
        connection = http.client.HTTPConnection("127.0.0.1", place.port or 0, timeout=30)
        connection.request("GET", "/model.json", headers={"Host": place.netloc})
        assert connection.getresponse().status == 200
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "Traceback" not in errors
