from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from maskyolo.core.labels import Labels, format_yolo, parse_yolo, read_yolo
from maskyolo.errors import DatasetError


def test_labels_are_written_normalized_and_clipped_and_read_back() -> None:
    labels = Labels(np.float32([[10, 20, 50, 60], [-10, 0, 40, 30]]), np.array([1, 0]))
    text = format_yolo(labels, 100, 200)
    assert text == "1 0.300000 0.200000 0.400000 0.200000\n0 0.200000 0.075000 0.400000 0.150000\n"
    back = parse_yolo(text, 100, 200)
    assert back.class_ids.tolist() == [1, 0]
    assert back.boxes == pytest.approx(np.array([[10, 20, 50, 60], [0, 0, 40, 30]]), abs=1e-3)


def test_no_labels_are_an_empty_file_and_a_missing_file_is_no_labels(tmp_path: Path) -> None:
    assert format_yolo(Labels(np.zeros((0, 4), np.float32), np.zeros(0, np.int64)), 10, 10) == ""
    assert read_yolo(tmp_path / "none.txt", 10, 10).boxes.shape == (0, 4)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("0 0.5 0.5 0.1", "expected 'class cx cy w h'"),
        ("0 0.5 0.5 0.1 abc", "expected 'class cx cy w h'"),
        ("2 0.5 0.5 0.1 0.1", "class 2"),
        ("0 0.5 0.5 0 0.1", "without width"),
        ("0 0.5 nan 0.1 0.1", "not finite"),
    ],
)
def test_a_bad_line_is_named(line: str, found: str) -> None:
    with pytest.raises(DatasetError, match=rf"a\.txt, line 2: .*{found}"):
        parse_yolo(f"0 0.5 0.5 0.1 0.1\n{line}\n", 10, 10, name="a.txt")


def test_boxes_and_classes_must_pair() -> None:
    with pytest.raises(ValueError, match="differ in length: 1 and 2"):
        Labels(np.zeros((1, 4), np.float32), np.zeros(2, np.int64))


def test_a_label_of_too_many_boxes_is_refused() -> None:
    row = "0 0.5 0.5 0.1 0.1\n"
    assert len(parse_yolo(row * 10_000, 10, 10)) == 10_000
    with pytest.raises(DatasetError, match=r"a\.txt: more than 10,000 boxes"):
        parse_yolo(row * 10_001, 10, 10, name="a.txt")


@pytest.mark.parametrize("number", ["1e308", "-1e308", "nan", "inf", "1e39"])
def test_a_box_that_is_huge_or_no_number_is_refused(number: str) -> None:
    for row in (f"0 {number} 0.5 0.1 0.1", f"0 0.5 0.5 {number} 0.1"):
        with pytest.raises(DatasetError, match=r"a\.txt, line 2"):
            parse_yolo(f"0 0.5 0.5 0.1 0.1\n{row}\n", 10, 10, name="a.txt")
