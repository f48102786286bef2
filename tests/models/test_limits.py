"""Models of unknown origin fail in one line, fill no memory, and reach no other file."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from hostile_models import HOSTILE, loop, make_model, refer_to, write_hostile

from maskyolo.core.files import package_folder
from maskyolo.detectors.loading import load_detector
from maskyolo.errors import MaskyoloError, WeightsError
from maskyolo.models.backends.limited import LimitedBackend
from maskyolo.models.backends.loading import load_backend
from maskyolo.models.limits import limited_memory, model_errors

IMAGE = np.full((64, 64, 3), 200, np.uint8)


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_wrong_model_is_one_line(
    name: str, backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if backend == "onnxruntime":
        pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outside.bin").write_bytes(bytes(72))
    (tmp_path / "models").mkdir()
    path = write_hostile(name, tmp_path / "models" / "x.onnx")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(MaskyoloError) as caught:
        load_detector(path, backend=backend)(IMAGE)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    assert not (tmp_path / "it-ran").exists()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kB


def test_the_model_that_they_are_made_from_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(make_model().SerializeToString())
    detector = load_detector(tmp_path / "x.onnx")
    assert len(detector(IMAGE)) == 0
    assert isinstance(detector.backend, LimitedBackend)  # type: ignore[union-attr]
    assert not isinstance(
        load_backend(package_folder() / "weights" / "maskyolo-n.onnx"), LimitedBackend
    )


def test_a_model_with_a_loop_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(loop().SerializeToString())
    with pytest.raises(WeightsError, match="has a loop, which may never end"):
        load_detector(tmp_path / "x.onnx", backend="openvino")


@pytest.mark.parametrize("location", ["../outside.bin", "link.bin"])
def test_exporting_a_model_takes_no_other_file_into_the_export(
    location: str, tmp_path: Path
) -> None:
    (tmp_path / "outside.bin").write_bytes(bytes(72))
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "link.bin").symlink_to(tmp_path / "outside.bin")
    path = folder / "x.onnx"
    path.write_bytes(refer_to(location).SerializeToString())
    for backend in ("openvino", "onnxruntime"):
        with pytest.raises(WeightsError):
            load_backend(path, backend=backend)
    with pytest.raises(Exception, match=r"x\.onnx|outside|link|external|w"):
        onnx.load(path)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="works on Linux only")
def test_memory_is_limited_until_the_last_context_ends() -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with limited_memory():
        limit = resource.getrlimit(resource.RLIMIT_DATA)
        assert limit != before
        with limited_memory():
            pass
        assert resource.getrlimit(resource.RLIMIT_DATA) == limit
        with pytest.raises(MemoryError):
            bytearray((4 << 30) + (64 << 20) * (os.cpu_count() or 1))  # untouched, so not in use
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


def test_any_error_of_a_runtime_is_one_line_with_the_file() -> None:
    for error, says in (
        (RuntimeError("a\nb"), "a b"),
        (MemoryError(), "more than 3 GB"),
        (ValueError(), "ValueError"),
        (RuntimeError("std::bad_alloc"), "more than 3 GB"),
    ):
        with pytest.raises(WeightsError) as caught, model_errors(Path("x.onnx")):
            raise error
        assert str(caught.value).startswith("wrong weights x.onnx: ")
        assert says in str(caught.value)
    with pytest.raises(KeyboardInterrupt), model_errors(Path("x.onnx")):
        raise KeyboardInterrupt
