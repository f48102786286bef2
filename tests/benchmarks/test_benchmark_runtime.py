"""The speed benchmark: what it compares works, and the README has its figures."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest
from benchmarks_as_modules import load_benchmark
from paths import ROOT, SAMPLES


def test_the_readme_has_the_figures_of_the_last_run() -> None:
    load_benchmark("peers")
    runtime = load_benchmark("runtime")
    figures = (ROOT / "benchmarks" / "runtime.md").read_text(encoding="utf-8")
    assert runtime.readme_sentence(figures) in (ROOT / "README.md").read_text(encoding="utf-8")


def test_targets_that_are_missed_are_marked() -> None:
    load_benchmark("peers")
    runtime = load_benchmark("runtime")
    seconds = {
        "maskyolo, auto": [1.0],
        "yolo predict, PyTorch": [4.5],
        "yolo predict, its OpenVINO export in int8": [1.2],
    }
    first, second = runtime._targets("files", seconds)
    assert first.endswith("**4.50** (target: 4 or more)")
    assert second.endswith("**1.20** (target: 1.3 or more; **missed**)")


@pytest.mark.parametrize("name", ["maskyolo, fp32", "OpenCV and ONNX Runtime, as in tutorials"])
def test_a_peer_detects_in_its_own_process(name: str, tmp_path: Path) -> None:
    if importlib.util.find_spec("onnxruntime") is None:
        pytest.skip("ONNX Runtime is not installed (extra onnxruntime)")
    peers = load_benchmark("peers")
    process = peers.Process(name, tmp_path)
    photos = tmp_path / "photos"
    photos.mkdir()
    assert process.do("call", SAMPLES / "office.jpg") > 0
    assert process.number == 4
    for photo in ("office.jpg", "portrait.jpg"):
        shutil.copy(SAMPLES / photo, photos)
    assert process.do("files", photos) > 0
    assert process.number == 2
    assert process.memory > 50
    process.close()


def test_an_installed_package_counts_with_what_it_requires() -> None:
    peers = load_benchmark("peers")
    assert 0 < peers.installed_size("numpy") < peers.installed_size("supervision")
