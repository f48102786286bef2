"""The tools that complete a training set: what they add must be where the labels say."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import onnx
import pytest
import torch

from maskyolo.core.boxes import as_boxes
from maskyolo.core.images import list_images, read_image
from maskyolo.core.labels import Labels, format_yolo, read_yolo
from maskyolo.dataset.formats.voc import parse_voc

TOOLS = Path(__file__).parent.parent / "tools"
WEIGHTS = TOOLS.parent / "maskyolo" / "weights"


def _tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, TOOLS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _run(monkeypatch: pytest.MonkeyPatch, tool: ModuleType, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["tool", *map(str, arguments)])
    tool.main()


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A data set with one training photo: a bright ellipse, the face, on a dark ground."""
    images, labels = tmp_path / "data" / "images" / "train", tmp_path / "data" / "labels" / "train"
    images.mkdir(parents=True)
    labels.mkdir(parents=True)
    image = np.full((300, 400, 3), 20, np.uint8)
    cv2.ellipse(image, (120, 150), (40, 70), 0, 0, 360, (230, 230, 230), -1)
    cv2.imwrite(str(images / "face.png"), image)
    face = Labels(as_boxes([[80, 80, 160, 220]]), np.array([1]))
    (labels / "face.txt").write_text(format_yolo(face, 400, 300))
    return tmp_path / "data"


@pytest.mark.parametrize("angle", [30.0, 90.0, 135.0, 180.0, -60.0])
def test_the_box_of_a_turned_face_encloses_it_tightly(dataset: Path, angle: float) -> None:
    image = read_image(dataset / "images" / "train" / "face.png")
    turned, box = _tool("turn_photos").turn(image, as_boxes([[80, 80, 160, 220]])[0], angle)
    rows, columns = np.nonzero(turned.min(axis=2) > 150)
    seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert np.abs(box - np.array(seen)).max() < 2.5


def test_turned_copies_are_added_with_their_class(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _run(monkeypatch, _tool("turn_photos"), dataset, "--share", 1)
    copy = dataset / "images" / "train" / "face-turned.jpg"
    height, width = read_image(copy).shape[:2]
    found = read_yolo(dataset / "labels" / "train" / "face-turned.txt", width, height)
    assert found.class_ids.tolist() == [1]
    _run(monkeypatch, _tool("turn_photos"), dataset, "--share", 1)  # a copy is not turned again
    assert len(list_images(copy.parent)) == 2


def test_backgrounds_have_no_labels_and_no_faces(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _run(monkeypatch, _tool("add_backgrounds"), dataset, "--number", 2, "--seed", 3)
    images = dataset / "images" / "train"
    added = [path for path in list_images(images) if path.stem.startswith("background-")]
    assert len(added) == 2  # a plain one, and one cut from the only photo
    assert all(not (dataset / "labels" / "train" / f"{p.stem}.txt").read_text() for p in added)
    assert read_image(images / "background-1.jpg").max() < 60  # nothing of the bright face


def test_missing_faces_are_added_to_the_annotations(
    samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    shutil.copytree(samples / "annotations", source / "annotations")
    (source / "images").mkdir()
    names = [
        p.name for p in list_images(samples) if (samples / f"annotations/{p.stem}.xml").exists()
    ]
    for name in names:
        shutil.copyfile(samples / name, source / "images" / name)
    (tmp_path / "list.txt").write_text("\n".join(names[:2]))
    table = tmp_path / "added.csv"
    table.write_text(f"image,x1,y1,x2,y2,class\n{names[0]},3,4,20,30,unclear\n")
    arguments = (source, table, "--list", tmp_path / "list.txt", "--out")
    _run(monkeypatch, _tool("add_faces"), *arguments, tmp_path / "out")

    def boxes(folder: Path, name: str) -> list[tuple[str, list[float]]]:
        found = parse_voc((folder / "annotations" / name).with_suffix(".xml").read_bytes())
        return list(zip(found.names, found.boxes.tolist(), strict=True))

    before, after = boxes(source, names[0]), boxes(tmp_path / "out", names[0])
    assert after == [*before, ("unclear", [3.0, 4.0, 20.0, 30.0])]
    assert boxes(tmp_path / "out", names[1]) == boxes(source, names[1])
    assert len(list_images(tmp_path / "out" / "images")) == 2

    table.write_text(f"image,x1,y1,x2,y2,class\n{names[2]},3,4,20,30,unclear\n")
    with pytest.raises(SystemExit, match=r"not in .*list\.txt"):  # as if it were a test photo
        _run(monkeypatch, _tool("add_faces"), *arguments, tmp_path / "other")
    table.write_text(f"image,x1,y1,x2,y2,class\n{names[0]},3,4,20,30,mask\n")
    with pytest.raises(SystemExit, match="line 2"):
        _run(monkeypatch, _tool("add_faces"), *arguments, tmp_path / "third")


def test_a_checkpoint_made_of_an_onnx_file_computes_the_same(samples: Path, tmp_path: Path) -> None:
    tool = _tool("restore_checkpoint")
    model = torch.load(WEIGHTS / "maskyolo-n.pt", map_location="cpu", weights_only=False)["model"]
    model, images = model.float(), tool.load_images(samples, 4, 320)
    file = WEIGHTS / "maskyolo-n-folders.onnx"
    assert tool.largest_difference(model, file, images) > 10  # pixels: these are other weights
    tool.restore(model, onnx.load(file), images)
    assert tool.largest_difference(model, file, images) < 0.05
    with torch.no_grad():  # in training, results hardly change either: the statistics are measured
        still, moving = (model.train(mode)(images) for mode in (False, True))
    maps = still[1]["feats"] if isinstance(still[1], dict) else still[1]
    others = moving["feats"] if isinstance(moving, dict) else moving
    for one, other in zip(maps, others, strict=True):
        assert (one - other).abs().mean() < 0.1 * one.abs().mean()
