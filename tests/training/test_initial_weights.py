"""The initial weights of a training: found or downloaded before PyTorch is imported."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from maskyolo.cli import main
from maskyolo.core.files import package_folder
from maskyolo.models import weights
from maskyolo.training import checks, detector

#: Served as yolov8n.pt: a checkpoint that can be trained from, and is trusted.
CONTENT = (package_folder() / "weights" / "maskyolo-n.pt").read_bytes()
VARIABLES = ("MASKYOLO_MODELS", "MASKYOLO_OFFLINE", "YOLO_OFFLINE")


class Server(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        content = b"something else" if self.path == "/wrong" else CONTENT
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Any]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as running:
        running.asked = []  # type: ignore[attr-defined]
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


@pytest.fixture(autouse=True)
def own_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No weights from this machine: an empty working folder and cache, no variable set."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in VARIABLES:
        monkeypatch.setenv(name, "")  # recorded, so that it is restored even if it was not set
        monkeypatch.delenv(name)
    return tmp_path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data set of six images, with two classes."""
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            (tmp_path / "set" / kind / split).mkdir(parents=True)
        for place in range(4):
            image = np.full((64, 64, 3), 60 * place, np.uint8)
            cv2.imwrite(str(tmp_path / "set" / "images" / split / f"{place}.jpg"), image)
            label = tmp_path / "set" / "labels" / split / f"{place}.txt"
            label.write_text(f"{place % 2} 0.5 0.5 0.5 0.5\n")
    content = {
        "path": str(tmp_path / "set"),
        "train": "images/train",
        "val": "images/val",
        "names": {0: "with_mask", 1: "without_mask"},
    }
    (tmp_path / "set" / "data.yaml").write_text(yaml.safe_dump(content))
    return tmp_path / "set"


@pytest.fixture
def without_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The training must end before it imports PyTorch."""

    def imported(what: str) -> None:
        raise AssertionError(f"{what} got to the import")

    monkeypatch.setattr(detector, "import_ultralytics", imported)


def serve(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Let the manifest name `address` for yolov8n."""
    entries = dict(weights.load_manifest())
    digest = hashlib.sha256(CONTENT).hexdigest()
    entries["yolov8n"] = replace(entries["yolov8n"], url=address, sha256=(digest,))
    for module in (weights, checks):
        monkeypatch.setattr(module, "load_manifest", lambda: entries)


def train(*words: object, capsys: pytest.CaptureFixture[str]) -> str:
    """Run `maskyolo train`, which must fail, and return its only line."""
    with pytest.raises(SystemExit) as end:
        main(["train", *map(str, words)])
    assert end.value.code == 1
    out, err = capsys.readouterr()
    assert out == ""
    return err


@pytest.mark.usefixtures("without_pytorch")
@pytest.mark.parametrize("variable", ["MASKYOLO_OFFLINE", "YOLO_OFFLINE"])
def test_offline_one_line_says_what_to_do(
    variable: str,
    data: Path,
    own_machine: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(variable, "1")
    line = train("--data", data, capsys=capsys)
    assert line.startswith("maskyolo: cannot find weights 'yolov8n' (yolov8n.pt), tried ")
    assert line.endswith(
        "no download: offline; put yolov8n.pt from "
        "https://github.com/ultralytics/assets/releases/download/v8.3.0/yolov8n.pt into "
        f"{own_machine / 'cache' / 'maskyolo'}, or start from --model maskyolo-n, which is "
        "included\n"
    )
    assert line.count("\n") == 1


@pytest.mark.usefixtures("without_pytorch")
def test_without_a_connection_too(
    data: Path, server: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"http://127.0.0.1:{server.server_port}/yolov8n.pt"
    server.shutdown()
    server.server_close()
    serve(monkeypatch, address)
    told, line = train("--data", data, "--model", "yolov8n", capsys=capsys).splitlines()
    assert told == f"maskyolo: downloading yolov8n.pt from {address}"
    assert line.startswith(f"maskyolo: cannot download weights 'yolov8n' from {address}: no conn")
    assert line.endswith(", or start from --model maskyolo-n, which is included")


@pytest.mark.usefixtures("without_pytorch")
def test_another_file_is_not_kept(
    data: Path,
    own_machine: Path,
    server: Any,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    serve(monkeypatch, f"http://127.0.0.1:{server.server_port}/wrong")
    line = train("--data", data, capsys=capsys).splitlines()[-1]
    assert "has SHA-256 " in line
    assert server.asked == ["/wrong"]
    assert list((own_machine / "cache" / "maskyolo").iterdir()) == []


@pytest.mark.usefixtures("without_pytorch")
def test_nothing_is_downloaded_for_a_data_set_that_is_not_there(
    server: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(monkeypatch, f"http://127.0.0.1:{server.server_port}/yolov8n.pt")
    assert "no data set at nowhere" in train("--data", "nowhere", capsys=capsys)
    assert server.asked == []


@pytest.mark.parametrize(
    ("model", "is_one"),
    [
        ("yolov8n", True),
        ("yolov8n.pt", True),
        ("yolov8n.yaml", False),
        ("./yolov8n.pt", False),
        ("maskyolo-n", False),
    ],
)
def test_which_initial_weights_are_downloaded(model: str, is_one: bool) -> None:
    assert checks.is_third_party(model) == is_one


def test_a_file_in_the_working_folder_is_used_instead(own_machine: Path) -> None:
    (own_machine / "yolov8n.pt").write_bytes(CONTENT)
    assert not checks.is_third_party("yolov8n.pt")


TRAIN = """
import sys
from dataclasses import replace
from maskyolo.models import weights
address, digest, *words = sys.argv[1:]
entries = dict(weights.load_manifest())
entries["yolov8n"] = replace(entries["yolov8n"], url=address, sha256=(digest,))
weights.load_manifest = lambda: entries
fetch = weights.fetch_weights
def fetched(*arguments, **keywords):
    print("imported", "torch" in sys.modules, file=sys.stderr)
    return fetch(*arguments, **keywords)
weights.fetch_weights = fetched
from maskyolo.cli import main
main(words)
"""


def test_a_training_downloads_them_before_it_imports_pytorch(
    data: Path, own_machine: Path, server: Any
) -> None:
    address = f"http://127.0.0.1:{server.server_port}/yolov8n.pt"
    settings = {"epochs": 1, "imgsz": 64, "batch": 4, "workers": 0, "device": "cpu", "data": data}
    words = ["train", *(f"--{name}={value}" for name, value in settings.items())]
    digest = hashlib.sha256(CONTENT).hexdigest()
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, address, digest, *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[:3] == [
        "imported False",
        f"maskyolo: downloading yolov8n.pt from {address}",
        "training in runs/train/train, 1 epoch of 1 batch",
    ]
    assert server.asked == ["/yolov8n.pt"]
    assert (own_machine / "cache" / "maskyolo" / "yolov8n.pt").read_bytes() == CONTENT
    assert (own_machine / "runs" / "train" / "train" / "weights" / "best.onnx").is_file()


@pytest.mark.parametrize("chosen", ["", "1"])
def test_importing_ultralytics_does_not_forbid_later_downloads(
    chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ultralytics itself is offline, with the variable that also forbids ours if users set it."""
    from maskyolo.models.ultralytics import import_ultralytics

    monkeypatch.setenv("YOLO_OFFLINE", chosen)
    import_ultralytics()
    assert weights.offline() == bool(chosen)
    import_ultralytics()
    assert weights.offline() == bool(chosen)
