"""What a run is made with is recorded without secrets, and what differs is said in one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from paths import ROOT

from maskyolo.core.files import sha256_of
from maskyolo.core.processor import describe_processor
from maskyolo.runtime.provenance import (
    describe_data,
    describe_model,
    made_with,
    report_differences,
    shown_command,
)


def test_versions_machine_and_command_are_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/maskyolo", "val", "--data", "a set"])
    monkeypatch.setitem(sys.modules, "nncf", type("Module", (), {"__version__": "2.99"}))
    monkeypatch.delitem(sys.modules, "sklearn", raising=False)
    made = made_with(3, 7, model={"file": "a.onnx"}, data=None)
    assert (made["threads"], made["seed"], made["model"]) == (3, 7, {"file": "a.onnx"})
    assert made["command"] == "maskyolo val --data 'a set'"
    assert made["packages"]["nncf"] == "2.99"
    assert "scikit-learn" not in made["packages"]
    assert "data" not in made
    assert made["cpu"] == describe_processor()[0] != ""
    assert made["date"][-5] in "+-"
    assert yaml.safe_load(yaml.safe_dump(made)) == made


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a checkout")
def test_the_commit_of_a_checkout_is_recorded() -> None:
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    assert made_with()["commit"].removesuffix(" with changes") == head


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["--source", "rtsp://me:secret@cam/live"], "--source 'rtsp://***@cam/live'"),
        (["--source=rtsp://me:se cret@cam/live"], "'--source=rtsp://***@cam/live'"),
        (["rtsp://me:se'cret@cam/a"], "'rtsp://***@cam/a'"),
        (["--alert-cmd", "notify --token secret", "x"], "--alert-cmd *** x"),
        (["--alert-url=https://hooks.example/secret"], "'--alert-url=***'"),
        (["--api-key", "secret", "--password=secret"], "--api-key *** '--password=***'"),
        (["--conf", "0.4", "a b.jpg"], "--conf 0.4 'a b.jpg'"),
    ],
)
def test_the_command_line_shows_no_secrets(words: list[str], shown: str) -> None:
    assert shown_command(["/opt/bin/maskyolo", "detect", *words]) == f"maskyolo detect {shown}"


def test_the_weights_of_openvinos_xml_are_in_another_file(tmp_path: Path) -> None:
    model, weights = tmp_path / "best.xml", tmp_path / "best.bin"
    model.write_bytes(b"graph")
    weights.write_bytes(b"weights")
    assert describe_model(model, "here") == {
        "file": str(model),
        "sha256": sha256_of(b"graph"),
        "bin_sha256": sha256_of(b"weights"),
        "backend": "here",
    }
    assert describe_model(None, "here") == {"backend": "here"}


def test_the_checksum_of_data_depends_on_images_labels_and_order_only(tmp_path: Path) -> None:
    def checksum(*images: tuple[str, bytes, bytes]) -> Any:
        files = []
        for name, content, labels in images:
            (tmp_path / name).write_bytes(content)
            files.append((tmp_path / name, labels))
        return describe_data(files)["sha256"]

    one = checksum(("a.jpg", b"A", b"1"), ("b.jpg", b"B", b"2"))
    assert checksum(("c.jpg", b"A", b"1"), ("d.jpg", b"B", b"2")) == one
    for other in (
        [("a.jpg", b"A", b"2"), ("b.jpg", b"B", b"1")],
        [("a.jpg", b"B", b"2"), ("b.jpg", b"A", b"1")],
        [("a.jpg", b"A", b"1"), ("b.jpg", b"C", b"2")],
        [("a.jpg", b"A", b"1")],
    ):
        assert checksum(*other) != one


def differences(tmp_path: Path, before: Any, now: dict[str, Any]) -> list[str]:
    (tmp_path / "args.yaml").write_text(yaml.safe_dump({"conf": 0.5, "provenance": before}))
    lines: list[str] = []
    report_differences(tmp_path, now, lines.append)
    return [line.replace(str(tmp_path / "args.yaml"), "FILE") for line in lines]


def test_what_differs_is_one_line(tmp_path: Path) -> None:
    before = {
        "packages": {"numpy": "2.1", "torch": "2.9"},
        "model": {"file": "a.onnx", "sha256": "0123456789ab" + "c" * 52},
        "date": "2020-01-02",
        "command": "maskyolo val",
    }
    now = {
        "packages": {"numpy": "2.2"},
        "model": {"file": "a.onnx", "sha256": "ba9876543210" + "c" * 52},
        "date": "2026-01-02",
        "command": "maskyolo val --args a",
    }
    (line,) = differences(tmp_path, before, now)
    assert line == (
        "figures may differ from those of FILE: numpy 2.2 instead of 2.1, "
        "model sha256 ba9876543210… instead of 0123456789ab…"
    )
    assert differences(tmp_path, before, before) == []


def test_a_strangers_record_cannot_flood_the_terminal(tmp_path: Path) -> None:
    before = {f"n{number}": "x\n" * 999 for number in range(500)}
    (line,) = differences(tmp_path, before, dict.fromkeys(before, "1"))
    assert len(line) < 1000
    assert "\n" not in line
    assert line.endswith(", 492 more differences")
    assert differences(tmp_path, ["a"], {"a": 1}) == [
        "FILE does not say what its run was made with, so figures may differ"
    ]
