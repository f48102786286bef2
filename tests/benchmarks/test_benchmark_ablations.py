"""Rows must differ only by what they are named for, and the table must say what was measured."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
from benchmarks_as_modules import load_benchmark

from maskyolo.dataset.layout import load_dataset


@pytest.fixture(scope="module")
def ablations() -> ModuleType:
    return load_benchmark("ablations")


def test_a_sample_is_the_seeds_choice_of_the_training_pictures_and_the_whole_val_split(
    ablations: ModuleType, tmp_path: Path
) -> None:
    for split, number in (("train", 30), ("val", 4)):
        (tmp_path / "set" / "images" / split).mkdir(parents=True)
        for place in range(number):
            (tmp_path / "set" / "images" / split / f"{place}.jpg").touch()
    (tmp_path / "set" / "data.yaml").write_text(
        "train: images/train\nval: images/val\nnames: [with_mask, without_mask]\n"
    )
    found = []
    for run, seed in enumerate((1, 1, 2)):
        folder = tmp_path / str(run)
        folder.mkdir()
        whole = load_dataset(ablations.sample(tmp_path / "set", folder, 10, seed))
        assert whole.names == ("with_mask", "without_mask")
        assert len(set(whole.images("train"))) == 10
        assert len(whole.images("val")) == 4
        assert all(path.is_file() for path in whole.images("train"))
        found.append(whole.images("train"))
    assert found[0] == found[1] != found[2]


def test_the_table_has_mean_and_span_of_each_name(ablations: ModuleType) -> None:
    line = dict.fromkeys(("mAP50", "with_mask", "without_mask", "face", *ablations.SIZES), 0.5)
    lines = [
        line | {"name": "one"},
        line | {"name": "two", "<16": None},
        line | {"name": "one", "mAP50": 0.7},
    ]
    text = ablations.table(lines).splitlines()
    assert text[2].startswith("| one | 2 | 0.600 (0.500 to 0.700) | 0.500 |")
    assert text[3] == "| two | 1 | 0.500 | 0.500 | 0.500 | 0.500 | - | 0.500 | 0.500 | 0.500 |"
