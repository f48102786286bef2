"""Ten threads share one detector, and a detector keeps to a number of threads."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from classifiers import make_classifier
from paths import SAMPLES

from maskyolo.core.images import ImageArray, read_image
from maskyolo.detectors.classifier import CropSettings
from maskyolo.detectors.loading import load_detector
from maskyolo.models.backends.openvino import OpenVinoNetwork

THREADS = 10

DETECTORS: dict[str, dict[str, Any]] = {
    "OpenVINO": {"imgsz": 320},
    "OpenVINO, two streams": {"imgsz": 320, "streams": 2},
    "ONNX Runtime": {"imgsz": 320, "backend": "onnxruntime"},
    "PyTorch": {"imgsz": 320, "backend": "torch", "device": "cpu"},
    "YuNet, then a classifier": {"pipeline": "two-stage", "detector": "yunet", "face_conf": 0.1},
    "SSD, then a classifier": {"pipeline": "two-stage", "detector": "ssd-plain", "face_conf": 0.1},
    "Haar, then a classifier": {"pipeline": "two-stage", "detector": "haar"},
}
#: Runs in a process of its own, because OpenCV may abort it.
PROGRAM = """
import json, sys
sys.path[:0] = json.loads(sys.argv[1])
from test_threads import check
check(json.loads(sys.argv[2]))
"""


def images() -> list[ImageArray]:
    """Return images of several shapes, with none to many faces."""
    street, portrait = (read_image(SAMPLES / name) for name in ("street.jpg", "portrait.jpg"))
    halves = [street[:, : street.shape[1] // 2], street[: street.shape[0] // 2]]
    mirrored = [np.ascontiguousarray(image[:, ::-1]) for image in (street, portrait)]
    return [street, portrait, *map(np.ascontiguousarray, halves), *mirrored]


def check(settings: dict[str, Any]) -> None:
    """Assert that threads get what one thread gets, each for its own image."""
    detector = load_detector(conf=0.05, **settings)
    given = images() * 5
    expected = [detector(image) for image in images()] * 5
    assert len({len(found) for found in expected}) > 1
    with ThreadPoolExecutor(THREADS) as pool:
        results = list(pool.map(detector, given))
    for found, alone in zip(results, expected, strict=True):
        np.testing.assert_array_equal(found.xyxy, alone.xyxy)
        np.testing.assert_array_equal(found.confidence, alone.confidence)
        np.testing.assert_array_equal(found.class_id, alone.class_id)


@pytest.mark.parametrize("title", DETECTORS)
def test_ten_threads_get_what_one_gets(title: str, tmp_path: Path) -> None:
    settings = dict(DETECTORS[title])
    if settings.get("pipeline") == "two-stage":
        crops = CropSettings(arch="means", size=160)  # large enough for threads to meet in it
        settings["model"] = str(make_classifier(tmp_path / "classifier.onnx", crops))
    paths = json.dumps([str(Path(__file__).parent), str(Path(__file__).parents[1])])
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, paths, json.dumps(settings)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]


@pytest.fixture
def opencv_threads() -> Iterator[None]:
    before = cv2.getNumThreads()
    yield
    cv2.setNumThreads(before)


@pytest.mark.usefixtures("opencv_threads")
def test_a_limit_of_threads_reaches_every_runtime(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    compiled: list[Any] = []
    original = OpenVinoNetwork.compile

    def compile_(self: OpenVinoNetwork, *args: Any, **kwargs: Any) -> Any:
        compiled.append(original(self, *args, **kwargs))
        return compiled[-1]

    monkeypatch.setattr(OpenVinoNetwork, "compile", compile_)
    detector: Any = load_detector(imgsz=64, threads=1, streams=4)
    assert (cv2.getNumThreads(), detector.workers) == (1, 1)
    detector(np.zeros((64, 64, 3), np.uint8))
    model = make_classifier(tmp_path / "classifier.onnx")
    load_detector(model, pipeline="two-stage", detector="haar", threads=1)
    assert len(compiled) == 2
    for network in compiled:
        assert int(network.get_property("INFERENCE_NUM_THREADS")) == 1
        # or several processes would share the first core
        assert not network.get_property("ENABLE_CPU_PINNING")
    detector = load_detector(backend="onnxruntime", threads=1)
    assert detector.backend._session.get_session_options().intra_op_num_threads == 1


@pytest.mark.usefixtures("opencv_threads")
def test_a_limit_of_threads_reaches_pytorch() -> None:
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    try:
        load_detector(backend="torch", device="cpu", threads=1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
