"""`val` and `compare` warn if they evaluate on what a model has learned."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from paths import ROOT

from maskyolo import compare, evaluate
from maskyolo.core.images import read_image
from maskyolo.dataset.near_copies import perceptual_hashes
from maskyolo.dataset.photo_hashes import hash_photos, save_hashes

WEIGHTS = ROOT / "maskyolo" / "weights" / "maskyolo-n-folders.onnx"


@pytest.fixture
def model(samples: Path, tmp_path: Path) -> Path:
    """A model that was trained on two of the samples."""
    path = tmp_path / "mine.onnx"
    shutil.copy(WEIGHTS, path)
    save_hashes(path, hash_photos([samples / "office.jpg", samples / "plaza.jpg"]))
    return path


def listed(tmp_path: Path, *names: str) -> Path:
    (tmp_path / "list.txt").write_text("".join(f"{name}.jpg\n" for name in names))
    return tmp_path / "list.txt"


def test_images_that_the_model_was_trained_on_are_counted(
    samples: Path, tmp_path: Path, model: Path
) -> None:
    lines: list[str] = []
    where = {"images": samples, "labels": samples / "annotations", "imgsz": 64}
    three = listed(tmp_path, "office", "plaza", "street")
    found = evaluate(
        model=model, image_list=three, project=tmp_path, on_warning=lines.append, **where
    )
    (line,) = lines
    assert line == (
        "2 of 3 images are near-copies of photos that mine.onnx was trained on; expect lower "
        "figures on new photos"
    )
    assert found.provenance["near_copies"] == {"mine.onnx": 2}
    assert "near copies: mine.onnx 2\n" in (tmp_path / "val" / "report.txt").read_text()
    lines.clear()
    one = listed(tmp_path, "street")
    silent = evaluate(model=model, image_list=one, project=None, on_warning=lines.append, **where)
    assert (lines, silent.provenance["near_copies"]) == ([], {"mine.onnx": 0})


def test_compare_warns_per_model(samples: Path, tmp_path: Path, model: Path) -> None:
    lines: list[str] = []
    found = compare(
        [str(model), "two-stage@haar"],
        images=samples,
        labels=samples / "annotations",
        image_list=listed(tmp_path, "office", "street"),
        imgsz=64,
        rounds=0,
        project=tmp_path,
        on_warning=lines.append,
    )
    assert [line.partition(" was trained on")[0] for line in lines] == [
        "1 of 2 images are near-copies of photos that mine.onnx"
    ]
    assert found.provenance["near_copies"]["mine.onnx"] == 1


@pytest.mark.parametrize("ledger", [False, True])
def test_near_copies_of_the_train_split_are_counted(
    samples: Path, tmp_path: Path, ledger: bool
) -> None:
    data = tmp_path / "set"
    for split, names in {"train": ("office", "street"), "val": ("plaza", "again")}.items():
        for kind in ("images", "labels"):
            (data / kind / split).mkdir(parents=True)
        for name in names:
            source = samples / f"{'office' if name == 'again' else name}.jpg"
            shutil.copy(source, data / "images" / split / f"{name}.jpg")
            (data / "labels" / split / f"{name}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    names = ["with_mask", "without_mask"]
    content = {"train": "images/train", "val": "images/val", "names": names}
    (data / "data.yaml").write_text(yaml.safe_dump(content))
    if ledger:  # its hashes are used: here, that of plaza for office
        value = perceptual_hashes(read_image(samples / "plaza.jpg"))[0]
        other = perceptual_hashes(read_image(samples / "station.jpg"))[0]
        write_rows(data, {"images/train/office.jpg": value, "images/train/street.jpg": other})
    lines: list[str] = []
    found = evaluate(model=WEIGHTS, data=data, imgsz=64, project=None, on_warning=lines.append)
    (line,) = lines
    assert line.startswith(f"1 of 2 images are near-copies of images in the train split of {data};")
    assert found.provenance["near_copies"]["train split"] == 1
    evaluate(model=WEIGHTS, data=data, split="train", imgsz=64, project=None)
    assert len(lines) == 1


def write_rows(data: Path, hashes: dict[str, str]) -> None:
    from maskyolo.dataset.ledger import LedgerRow, write_ledger

    rows = [
        LedgerRow(image, "with_mask", "kept", image=image, split="train", phash=value)
        for image, value in hashes.items()
    ]
    write_ledger(data / "ledger.csv", rows)
