from __future__ import annotations

from pathlib import Path

import pytest

from maskyolo.dataset import Dataset, format_data_yaml, load_dataset
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


def test_a_set_is_found_by_file_or_folder_with_sorted_pictures(folder: Path) -> None:
    for way in (folder, folder / "data.yaml"):
        found = load_dataset(way)
        assert found.names == ("with_mask", "without_mask")
        assert [path.name for path in found.images("train")] == ["a.png", "b.JPG"]
        assert set(found.splits) == {"train", "val"}


def test_a_moved_set_is_still_found(folder: Path, tmp_path: Path) -> None:
    moved = folder.rename(tmp_path / "elsewhere")
    assert load_dataset(moved).splits["train"] == moved / "images" / "train"


def test_the_label_of_a_picture_lies_in_the_twin_folder() -> None:
    assert Dataset.label_of(Path("images/x/images/train/a.b.jpg")) == Path("images/x/labels/train/a.b.txt")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("[1, 2", "cannot read data set"),
        ("train: images/train", "names no classes"),
        ("names: [with_mask, without_mask]\nval: images/val", "no `train`"),
        ("names: [with_mask, without_mask]\ntrain: images/gone", "not at"),
    ],
)
def test_what_is_wrong_with_a_data_yaml_is_said(folder: Path, content: str, found: str) -> None:
    (folder / "data.yaml").write_text(content)
    with pytest.raises(DatasetError, match=found) as caught:
        load_dataset(folder)
    assert "\n" not in str(caught.value)


def test_no_set_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="maskyolo convert"):
        load_dataset(tmp_path / "gone.yaml")
