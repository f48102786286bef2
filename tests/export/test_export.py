"""Exports find what the model finds, report what they cost, and leave nothing if they fail."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import supervision as sv
from paths import SAMPLES

import maskyolo
from maskyolo.core.boxes import box_iou
from maskyolo.core.images import ImageArray, read_image
from maskyolo.core.installation import install_command
from maskyolo.errors import (
    DatasetError,
    DependencyError,
    ImageError,
    MaskyoloError,
    WeightsError,
)
from maskyolo.export import calibration, measuring

PHOTOS = sorted(SAMPLES.glob("*.jpg"))[:8]


@pytest.fixture(autouse=True)
def one_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "ROUNDS", 1)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few of the samples, and a file that is not an image."""
    folder = tmp_path_factory.mktemp("photos")
    for path in PHOTOS:
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "broken.jpg").write_text("not an image")
    return folder


def faces(model: Path | str, **settings: Any) -> list[sv.Detections]:
    detector = maskyolo.load_detector(model, **settings)
    return [detector(read_image(path)) for path in PHOTOS]


def pairs(
    found: list[sv.Detections], expected: list[sv.Detections], above: float
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return the best overlap of each face above a confidence, and the error of its score."""
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
    assert steps[0] == f"exporting maskyolo-n.onnx to openvino, int8, on {len(PHOTOS) + 1} images"
    assert sorted(path.name for path in result.folder.iterdir()) == [
        "args.yaml",
        "maskyolo-n.bin",
        "maskyolo-n.photos.txt",
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
from maskyolo.core.images import read_image
detector = maskyolo.load_detector({str(result.folder)!r}, imgsz=640)
paths = {[str(path) for path in PHOTOS]}
print(sum(len(detector(read_image(path))) for path in paths), "torch" in sys.modules)
"""
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert int(printed[0]) > 10
    assert printed[1] == "False"
    assert maskyolo.load_detector(result.path).imgsz == 320  # type: ignore[union-attr]
    overlaps, off = pairs(faces(result.path, imgsz=640), faces("maskyolo-n"), above=0.5)
    assert np.median(overlaps) > 0.9
    assert np.median(off) < 0.1


@pytest.mark.parametrize("unsigned", [True, False], ids=["as exported", "signed, as others do"])
def test_onnx_in_int8_runs_in_both_runtimes(
    unsigned: bool, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not unsigned:
        monkeypatch.setattr(
            "maskyolo.models.onnx_files.make_activations_unsigned", lambda network: None
        )
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


NEITHER = (
    "no labeled images",
    "give either a data set with --data, or images with --images and their boxes with --labels",
)
NO_PT = "cannot export model.onnx to ncnn: ncnn is made from a .pt file, and there is no model.pt"


@pytest.mark.parametrize(
    ("settings", "error", "problem", "remedy"),
    [
        (
            {"format": "coreml"},
            MaskyoloError,
            "unknown format 'coreml'",
            "choose one of openvino, onnx, ncnn, tflite",
        ),
        (
            {"format": "ncnn", "precision": "int8"},
            MaskyoloError,
            "cannot export ncnn in int8",
            "choose one of fp32, fp16",
        ),
        (
            {"precision": "int8"},
            DatasetError,
            "cannot export in int8 without images to measure its ranges on",
            "give a folder of your own images with --images",
        ),
        (
            {"precision": "int8", "images": "nowhere"},
            DatasetError,
            "no folder nowhere",
            "check --images",
        ),
        (
            {"precision": "int8", "images": "empty"},
            DatasetError,
            "no images in empty",
            "give a folder of your own images with --images",
        ),
        (
            {"labels": "nowhere"},
            DatasetError,
            *NEITHER,
        ),
        (
            {"labels": "here", "images": "here", "data": "set"},
            DatasetError,
            "cannot measure accuracy on both --data and --labels",
            "use only one; --images without --labels is for int8",
        ),
        (
            {"model": "model.xml"},
            WeightsError,
            "cannot export model.xml: it is already an export, or not a model",
            "give a .onnx or .pt file",
        ),
        (
            {"model": "model.onnx", "format": "ncnn"},
            WeightsError,
            NO_PT,
            "give a .pt file",
        ),
    ],
)
def test_what_cannot_be_exported_is_named_with_a_remedy_and_leaves_nothing(
    settings: dict[str, Any],
    error: type[MaskyoloError],
    problem: str,
    remedy: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("model.xml").write_text("<net/>")
    Path("model.onnx").write_bytes(b"")
    with pytest.raises(error) as caught:
        maskyolo.export_model(**settings, project="runs")
    assert (caught.value.problem, caught.value.remedy) == (problem, remedy)
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"model": "nothing"}, "no model 'nothing'"),
        (
            {"model": "mobilenet_v2", "format": "onnx"},
            r"wrong weights .*mobilenet_v2\.onnx: a classifier of face crops",
        ),
    ],
)
def test_a_model_that_cannot_be_exported_leaves_nothing(
    settings: dict[str, Any], problem: str, tmp_path: Path
) -> None:
    with pytest.raises(WeightsError, match=problem):
        maskyolo.export_model(**settings, project=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_each_image_is_decoded_once(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calibration, speed and the accuracy of both models share the decoded images."""
    decoded: list[str] = []

    def read(path: Path) -> Any:
        decoded.append(path.name)
        return read_image(path)

    for place in ("export.calibration", "evaluation.measure"):
        monkeypatch.setattr(f"maskyolo.{place}.read_image", read)
    (photos / "broken.jpg").unlink()
    result = maskyolo.export_model(
        precision="int8",
        images=photos,
        labels=SAMPLES / "annotations",
        imgsz=320,
        project=tmp_path,
    )
    assert result.source.map50 is not None
    assert sorted(decoded) == [path.name for path in PHOTOS]


def test_images_beyond_the_memory_are_decoded_again(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = photos / PHOTOS[0].name
    size = read_image(path).nbytes
    for limit, same in ((size, True), (size - 1, False)):
        monkeypatch.setattr(calibration, "_KEPT_BYTES", limit)
        images = calibration.DecodedImages()
        assert (images.read(path) is images.read(path)) is same
        assert np.array_equal(images.read(path), read_image(path))


@pytest.mark.parametrize("kind", ["onnx", "openvino"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_damaged_model_leaves_nothing(kind: str, precision: str, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"\xff\xd8 no network")
    with pytest.raises(WeightsError, match=r"wrong weights .*model\.onnx: not a network"):
        maskyolo.export_model(
            tmp_path / "model.onnx", format=kind, precision=precision, project=tmp_path / "runs"
        )
    assert not (tmp_path / "runs").exists()


def test_what_a_killed_run_left_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "again" / "export.part").mkdir(parents=True)
    maskyolo.export_model(format="onnx", imgsz=320, project=tmp_path, name="again", exist_ok=True)
    assert sorted(path.name for path in (tmp_path / "again").iterdir()) == [
        "args.yaml",
        "maskyolo-n.onnx",
        "maskyolo-n.photos.txt",
        "report.json",
        "report.txt",
    ]


def test_images_of_which_none_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_text("not an image")
    with pytest.raises(
        DatasetError,
        match=r"^none of the 1 images can be read; .*a\.jpg; choose other images with --images$",
    ):
        maskyolo.export_model(
            precision="int8", images=tmp_path / "photos", project=tmp_path / "runs"
        )
    assert not any((tmp_path / "runs").iterdir())


def test_a_missing_tool_of_ultralytics_is_reported(
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
        "maskyolo.models.ultralytics.import_ultralytics", lambda what: SimpleNamespace(YOLO=Yolo)
    )
    monkeypatch.setattr("maskyolo.models.ultralytics.silenced", nullcontext)
    monkeypatch.setattr(
        "maskyolo.export.export.load_detector",
        lambda *_, **__: SimpleNamespace(imgsz=416, backend=SimpleNamespace(imgsz=416)),
    )
    with pytest.raises(
        DependencyError,
        match=r"^exporting to ncnn needs ncnn, which is not installed; run: pip install ncnn pnnx",
    ):
        maskyolo.export_model(format="ncnn", precision="fp16", imgsz=400, project=tmp_path / "runs")
    assert not any((tmp_path / "runs").iterdir())


def test_missing_nncf_is_reported(
    monkeypatch: pytest.MonkeyPatch, photos: Path, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(DependencyError, match=re.escape(install_command("export"))):
        maskyolo.export_model(precision="int8", images=photos, project=tmp_path)


def test_an_image_that_cannot_be_read_is_left_out_and_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    image = np.zeros((2, 2, 3), np.uint8)

    def read(path: Path) -> ImageArray:
        if path.name == "deep":
            raise RecursionError("deep")
        if path.name == "bad":
            raise ImageError("cannot decode bad: no image")
        return image

    images = calibration.ReadableImages(
        [tmp_path / name for name in ("a", "deep", "bad", "b")], read
    )
    for _ in range(3):
        assert len(list(images)) == 2
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert "unexpected RecursionError: deep" in told[0]
    assert told[1] == "cannot decode bad: no image"
