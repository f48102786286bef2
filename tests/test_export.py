"""Exports find what the model finds, say what they cost, and leave nothing behind when they fail."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import supervision as sv

import maskyolo
from maskyolo import export
from maskyolo.boxes import box_iou
from maskyolo.errors import DatasetError, DependencyError, MaskyoloError, WeightsError
from maskyolo.images import read_image

SAMPLES = Path(__file__).parent.parent / "data" / "samples"
PHOTOS = sorted(SAMPLES.glob("*.jpg"))[:8]


@pytest.fixture(autouse=True)
def one_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "ROUNDS", 1)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few of the samples, and a file that is no picture."""
    folder = tmp_path_factory.mktemp("photos")
    for path in PHOTOS:
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "broken.jpg").write_text("no picture")
    return folder


def faces(model: Path | str, **settings: Any) -> list[sv.Detections]:
    detector = maskyolo.load_detector(model, **settings)
    return [detector(read_image(path)) for path in PHOTOS]


def pairs(
    found: list[sv.Detections], expected: list[sv.Detections], above: float
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return the best overlap of each expected face above a confidence, and how far its score is off."""
    overlaps, off = [], []
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.confidence is not None
        assert theirs.confidence is not None
        for box, confidence in zip(theirs.xyxy, theirs.confidence, strict=True):
            if confidence > above:
                iou = box_iou(box[None], ours.xyxy)[0] if len(ours) else np.zeros(1)
                overlaps.append(iou.max())
                off.append(abs(ours.confidence[iou.argmax()] - confidence) if len(ours) else 1)
    return np.array(overlaps), np.array(off)


@pytest.mark.parametrize(
    ("format", "precision"),
    [("onnx", "fp32"), ("onnx", "fp16"), ("openvino", "fp32"), ("openvino", "fp16")],
)
def test_an_export_in_floats_finds_the_same(format: str, precision: str, tmp_path: Path) -> None:  # noqa: A002
    result = maskyolo.export_model(format=format, precision=precision, imgsz=320, project=tmp_path)
    overlaps, off = pairs(
        faces(result.path, precision="fp32", imgsz=640),
        faces("maskyolo-n", precision="fp32"),
        above=0.28,
    )
    assert len(overlaps) > 10
    assert overlaps.min() > 0.95
    assert off.max() < 0.02
    assert maskyolo.load_detector(result.path).imgsz == 320  # type: ignore[union-attr]
    assert result.source.map50 is None
    assert "accuracy not measured" in result.table()


def test_int8_is_calibrated_measured_and_loaded_without_pytorch(
    photos: Path, tmp_path: Path
) -> None:
    steps: list[str] = []
    result = maskyolo.export_model(
        precision="int8", images=photos, imgsz=320, project=tmp_path, on_step=steps.append
    )
    assert steps[0] == f"exporting maskyolo-n.onnx to openvino, int8, on {len(PHOTOS) + 1} pictures"
    assert sorted(path.name for path in result.folder.iterdir()) == [
        "args.yaml",
        "maskyolo-n.bin",
        "maskyolo-n.xml",
        "report.json",
        "report.txt",
    ]
    assert b"FakeQuantize" in result.path.read_bytes()
    assert result.exported.megabytes < 5.5
    assert result.exported.runs_in.startswith("OpenVINO on the CPU, int8, ")
    assert "int8" not in result.source.runs_in
    code = f"""
import sys, maskyolo
from maskyolo.images import read_image
detector = maskyolo.load_detector({str(result.folder)!r}, imgsz=640)
print(sum(len(detector(read_image(path))) for path in {[str(path) for path in PHOTOS]}), "torch" in sys.modules)
"""
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert int(told[0]) > 10
    assert told[1] == "False"
    assert maskyolo.load_detector(result.path).imgsz == 320  # type: ignore[union-attr]
    overlaps, off = pairs(faces(result.path, imgsz=640), faces("maskyolo-n"), above=0.5)
    assert np.median(overlaps) > 0.9
    assert np.median(off) < 0.1


def test_onnx_in_int8_runs_in_both_runtimes(photos: Path, tmp_path: Path) -> None:
    result = maskyolo.export_model(
        format="onnx", precision="int8", images=photos, imgsz=320, project=tmp_path
    )
    assert result.exported.runs_in == "OpenVINO on the CPU, int8, fp32"
    for backend in ("openvino", "onnxruntime"):
        overlaps, off = pairs(
            faces(result.path, backend=backend, imgsz=640), faces("maskyolo-n"), above=0.5
        )
        assert np.median(overlaps) > 0.9
        assert np.median(off) < 0.1


def test_accuracy_and_speed_of_both_are_measured(tmp_path: Path) -> None:
    result = maskyolo.export_model(
        precision="fp16",
        images=SAMPLES,
        labels=SAMPLES / "annotations",
        imgsz=320,
        project=tmp_path,
    )
    assert result.source.map50 is not None
    assert result.exported.map50 == pytest.approx(result.source.map50, abs=0.02)
    assert result.exported.megabytes == pytest.approx(6.5, abs=1)
    assert (
        json.loads((result.folder / "report.json").read_text())["exported"]["map50"]
        == result.exported.map50
    )
    assert "times as fast; mAP50" in (result.folder / "report.txt").read_text()


@pytest.mark.parametrize(
    ("settings", "error", "told"),
    [
        (
            {"format": "coreml"},
            MaskyoloError,
            "unknown format 'coreml'; choose from openvino, onnx, ncnn, tflite",
        ),
        (
            {"format": "ncnn", "precision": "int8"},
            MaskyoloError,
            "cannot export ncnn in 'int8'; choose from fp32, fp16",
        ),
        (
            {"precision": "int8"},
            DatasetError,
            "without pictures to measure its ranges on; give a folder of your own with --images",
        ),
        ({"precision": "int8", "images": "nowhere"}, DatasetError, "no folder nowhere of pictures"),
        ({"model": "nothing"}, WeightsError, "no model 'nothing'"),
        ({"labels": "nowhere"}, DatasetError, "no labelled pictures"),
        (
            {"labels": "here", "images": "here", "data": "set"},
            DatasetError,
            "cannot measure on both --data and --labels",
        ),
        (
            {"model": "mobilenet_v2", "format": "onnx"},
            WeightsError,
            r"wrong weights .*mobilenet_v2\.onnx: a classifier of face crops",
        ),
    ],
)
def test_what_cannot_be_exported_is_told_and_leaves_nothing(
    settings: dict[str, Any], error: type[MaskyoloError], told: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=told):
        maskyolo.export_model(**settings, project=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_an_export_is_not_exported_again(tmp_path: Path) -> None:
    (tmp_path / "model.xml").write_text("<net/>")
    with pytest.raises(WeightsError, match="an export already, or no model"):
        maskyolo.export_model(tmp_path / "model.xml", project=tmp_path / "runs")
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(WeightsError, match=r"made from a \.pt file, and there is no .*model\.pt"):
        maskyolo.export_model(tmp_path / "model.onnx", format="ncnn", project=tmp_path / "runs")


@pytest.mark.parametrize("kind", ["onnx", "openvino"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_damaged_model_leaves_nothing(kind: str, precision: str, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"\xff\xd8 no network")
    with pytest.raises(WeightsError, match=r"wrong weights .*model\.onnx: not a network"):
        maskyolo.export_model(
            tmp_path / "model.onnx", format=kind, precision=precision, project=tmp_path / "runs"
        )
    assert not (tmp_path / "runs").exists()


def test_what_a_kill_left_is_not_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "again" / "export.part").mkdir(parents=True)
    maskyolo.export_model(format="onnx", imgsz=320, project=tmp_path, name="again", exist_ok=True)
    assert sorted(path.name for path in (tmp_path / "again").iterdir()) == [
        "args.yaml",
        "maskyolo-n.onnx",
        "report.json",
        "report.txt",
    ]


def test_pictures_of_which_none_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_text("no picture")
    with pytest.raises(DatasetError, match="none of the 1 pictures can be read"):
        maskyolo.export_model(
            precision="int8", images=tmp_path / "photos", project=tmp_path / "runs"
        )
    assert not any((tmp_path / "runs").iterdir())


def test_a_missing_tool_of_ultralytics_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Yolo:
        def __init__(self, path: Path) -> None:
            assert path.is_file()

        def export(self, **settings: Any) -> str:
            assert settings["format"] == "ncnn"
            assert settings["quantize"] == 16
            assert settings["imgsz"] == 416
            raise ModuleNotFoundError("No module named 'ncnn'", name="ncnn")

    monkeypatch.setattr(
        "maskyolo._ultralytics.import_ultralytics", lambda what: SimpleNamespace(YOLO=Yolo)
    )
    monkeypatch.setattr("maskyolo._ultralytics.silenced", nullcontext)
    monkeypatch.setattr(
        "maskyolo.export.load_detector",
        lambda *_, **__: SimpleNamespace(imgsz=416, backend=SimpleNamespace(imgsz=416)),
    )
    with pytest.raises(
        DependencyError,
        match="exporting to ncnn needs ncnn, which is not here; run: pip install ncnn pnnx",
    ):
        maskyolo.export_model(format="ncnn", precision="fp16", imgsz=400, project=tmp_path / "runs")
    assert not any((tmp_path / "runs").iterdir())


def test_nncf_missing_is_told(
    monkeypatch: pytest.MonkeyPatch, photos: Path, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(DependencyError, match=r'pip install "maskyolo\[export\]"'):
        maskyolo.export_model(precision="int8", images=photos, project=tmp_path)
