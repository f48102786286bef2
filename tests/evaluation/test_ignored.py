"""`--ignore-boxes`: regions that count neither as right nor as wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from stubs import flawed, make_voc, make_yolo

from maskyolo.errors import DatasetError
from maskyolo.evaluation.comparison import compare
from maskyolo.evaluation.evaluation import evaluate
from maskyolo.evaluation.ignored import read_regions

HEAD = "image,x1,y1,x2,y2,confidence,kind\n"
#: The false alarm of `flawed`.
ALARM = "p40.png,10,10,40,40,0.5,with_mask\n"


@pytest.mark.parametrize("form", ["voc", "yolo"])
def test_a_false_alarm_on_an_ignored_box_does_not_count(form: str, tmp_path: Path) -> None:
    if form == "voc":
        images, labels = make_voc(tmp_path)
        data = {"images": images, "labels": labels}
    else:  # boxes of YOLO labels are fractions, those of the table are pixels
        data = {"data": make_yolo(tmp_path)}
    table = tmp_path / "audit.csv"
    table.write_text(HEAD + ALARM + "elsewhere.png,1,1,9,9,0.5,part\n")
    without = evaluate(**data, model=flawed(), project=None)
    found = evaluate(**data, model=flawed(), ignore_boxes=table, project=tmp_path / "runs")
    assert (without.false_alarms, found.false_alarms) == (0.25, 0)
    assert found.ignored == without.ignored + 1
    assert found.report.classes["with_mask"].precision == 1
    assert found.folder
    assert str(table) in (found.folder / "args.yaml").read_text()
    assert f"<dt>Also ignored</dt><dd>{table}</dd>" in (found.folder / "report.html").read_text()


def test_rows_of_kind_not_face_are_left_out(tmp_path: Path) -> None:
    images, labels = make_voc(tmp_path)
    table = tmp_path / "audit.csv"
    table.write_text(HEAD + ALARM.replace("with_mask", "not_face"))
    found = evaluate(images=images, labels=labels, model=flawed(), ignore_boxes=table, project=None)
    assert found.false_alarms == 0.25


def test_compare_ignores_them_for_all(tmp_path: Path) -> None:
    images, labels = make_voc(tmp_path)
    table = tmp_path / "audit.csv"
    table.write_text("image,x1,y1,x2,y2\nimages/p40.png,10,10,40,40\n")  # no kind
    found = compare(
        {"a": flawed(), "b": flawed()},
        images=images,
        labels=labels,
        ignore_boxes=table,
        rounds=0,
        project=tmp_path / "runs",
    )
    assert [one.false_alarms for one in found.evaluations.values()] == [0, 0]


def test_boxes_by_image(tmp_path: Path) -> None:
    images = [Path("a/one.jpg"), Path("b/two.jpg"), Path("b/three.jpg")]
    (tmp_path / "boxes.csv").write_text(
        "image;x1;y1;x2;y2\nb\\two.jpg;1;2;3;4\none.jpg;5;6;7;8\ntwo.jpg;1.5;2;3;4\n"
    )
    first, second, third = read_regions(tmp_path / "boxes.csv", images)
    assert first.tolist() == [[5, 6, 7, 8]]
    assert second.tolist() == [[1, 2, 3, 4], [1.5, 2, 3, 4]]
    assert third.shape == (0, 4)
    assert third.dtype == np.float32


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("image,x1,y1,x2\na.jpg,1,2,3\n", r"missing columns y2"),
        (HEAD + "one.jpg,5,6,5,8,1,\n", r"line 2: the box 5, 6, 5, 8 has no area"),
        (HEAD + "one.jpg,5,6,nan,8,1,\n", r"line 2: the box 5, 6, nan, 8 has no area"),
        (HEAD + "one.jpg,x,6,5,8,1,\n", r"line 2: could not convert"),
        (HEAD + "same.jpg,1,2,3,4,1,\n", r"line 2: same.jpg is the name of several images"),
        (HEAD + "other.jpg,1,2,3,4,1,\n", r"no row of .* is about any of the 3 images: .*other"),
    ],
)
def test_a_table_that_cannot_be_used(text: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "boxes.csv").write_text(text)
    images = [Path("a/one.jpg"), Path("a/same.jpg"), Path("b/same.jpg")]
    with pytest.raises(DatasetError, match=problem):
        read_regions(tmp_path / "boxes.csv", images)
