from __future__ import annotations

from pathlib import Path

import pytest

from maskyolo.dataset.label_files import canonical_label
from maskyolo.dataset.layout import format_data_yaml, load_dataset
from maskyolo.errors import DatasetError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "set with space"
    for split in ("train", "val"):
        (root / "images" / split).mkdir(parents=True)
    (root / "images" / "train" / "b.JPG").touch()
    (root / "images" / "train" / "a.png").touch()
    (root / "images" / "train" / "notes.txt").touch()
    (root / "data.yaml").write_text(format_data_yaml(root, ["train", "val"]))
    return root


def test_a_set_is_found_by_file_or_folder_with_sorted_images(folder: Path) -> None:
    for way in (folder, folder / "data.yaml"):
        found = load_dataset(way)
        assert found.names == ("with_mask", "without_mask")
        assert [path.name for path in found.images("train")] == ["a.png", "b.JPG"]
        assert set(found.splits) == {"train", "val"}


def test_a_moved_set_is_still_found(folder: Path, tmp_path: Path) -> None:
    moved = folder.rename(tmp_path / "elsewhere")
    assert load_dataset(moved).splits["train"] == (moved / "images" / "train",)


def test_the_label_of_a_image_lies_in_the_twin_folder() -> None:
    assert canonical_label(Path("images/x/images/train/a.b.jpg")) == Path(
        "images/x/labels/train/a.b.txt"
    )


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("[1, 2", "cannot read"),
        ("train: images/train", "has no class names"),
        ("names: [with_mask, without_mask]\nval: images/val", "no `train`"),
        ("names: [with_mask, without_mask]\ntrain: images/gone", "not found at"),
        ("names: 5\ntrain: images/train", "number its classes from 0"),
        ("names: with_mask\ntrain: images/train", "number its classes from 0"),
        (
            "names: {1: with_mask, 2: without_mask}\ntrain: images/train",
            "number its classes from 0",
        ),
        ("names: {first: with_mask}\ntrain: images/train", "number its classes from 0"),
        ("names: [with_mask]\ntrain: {images/train: 1}", "a path or a list of paths"),
    ],
)
def test_what_is_wrong_with_a_data_yaml_is_reported(folder: Path, content: str, found: str) -> None:
    (folder / "data.yaml").write_text(content)
    with pytest.raises(DatasetError, match=found) as caught:
        load_dataset(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "names",
    [
        "{1: without_mask, 0: with_mask}",
        "{'1': without_mask, '0': with_mask}",
        "[with_mask, without_mask]",
    ],
)
def test_classes_stand_in_the_order_of_their_numbers(folder: Path, names: str) -> None:
    (folder / "data.yaml").write_text(f"train: images/train\nnames: {names}")
    assert load_dataset(folder).names == ("with_mask", "without_mask")


def test_a_split_beside_the_folder_lies_outside_of_it(folder: Path) -> None:
    inner = folder / "inner"
    inner.mkdir()
    (inner / "data.yaml").write_text("train: ../images/train\nnames: [with_mask, without_mask]")
    assert load_dataset(inner).images("train") == [
        folder / "images/train/a.png",
        folder / "images/train/b.JPG",
    ]


def test_a_list_of_images_is_read_by_its_lines_or_its_fault_is_reported(folder: Path) -> None:
    (folder / "data.yaml").write_text("train: train.txt\nnames: [with_mask, without_mask]")
    (folder / "train.txt").write_text(f"./images/train/a.png\n\n{folder}/images/train/b.JPG\n")
    assert load_dataset(folder).images("train") == [
        folder / "images/train/a.png",
        folder / "images/train/b.JPG",
    ]
    (folder / "train.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(DatasetError, match=r"cannot read list .*train\.txt"):
        load_dataset(folder).images("train")


def test_no_set_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="maskyolo convert"):
        load_dataset(tmp_path / "gone.yaml")
