"""Evaluation with and without the third class, incorrect_mask."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from stubs import TRUTH, Stub, make_voc, make_yolo, perfect

from maskyolo.core.classes import ALL_CLASS_NAMES
from maskyolo.evaluation.comparison import compare
from maskyolo.evaluation.evaluation import evaluate

OTHER = "mask_weared_incorrect"


class ThreeClasses(Stub):
    """A detector that finds every labeled face, and also reports incorrect_mask."""

    class_names = ALL_CLASS_NAMES

    def __init__(self) -> None:
        names = {"face_on_a_poster": "incorrect_mask"}
        super().__init__(
            {
                gray: [(names.get(row[0], row[0]), *row[1:], 0.9) for row in rows]
                for gray, rows in TRUTH.items()
            }
        )


class Folding(Stub):
    """A detector that reports masks worn incorrectly as without_mask."""

    def __init__(self) -> None:
        names = {"face_on_a_poster": "without_mask"}
        super().__init__(
            {
                gray: [(names.get(row[0], row[0]), *row[1:], 0.9) for row in rows]
                for gray, rows in TRUTH.items()
            }
        )


@pytest.fixture
def voc(tmp_path: Path) -> tuple[Path, Path]:
    images, labels = make_voc(tmp_path)
    for path in labels.iterdir():
        path.write_text(path.read_text().replace("face_on_a_poster", OTHER))
    return images, labels


def test_in_two_classes_a_mask_worn_incorrectly_is_ignored(voc: tuple[Path, Path]) -> None:
    found = evaluate(images=voc[0], labels=voc[1], model=perfect(), project=None)
    assert [scores.support for scores in found.report.classes.values()] == [2, 2]
    assert found.confusion.tolist() == [[2, 0, 0], [0, 2, 0], [0, 0, 0]]
    assert found.ignored == 1
    folded = evaluate(images=voc[0], labels=voc[1], model=Folding(), project=None)
    assert folded.confusion.tolist() == [[2, 0, 0], [0, 2, 0], [0, 0, 0]]


def test_in_two_classes_it_can_count_as_none(voc: tuple[Path, Path]) -> None:
    found = evaluate(
        images=voc[0], labels=voc[1], model=perfect(), project=None, fold_incorrect=True
    )
    assert found.classes == ("with_mask", "without_mask")
    assert [scores.support for scores in found.report.classes.values()] == [2, 3]
    assert found.confusion.tolist() == [[2, 0, 0], [0, 2, 1], [0, 0, 0]]
    assert found.ignored == 0


def test_three_classes_have_three_rows(voc: tuple[Path, Path], tmp_path: Path) -> None:
    found = evaluate(images=voc[0], labels=voc[1], model=ThreeClasses(), project=tmp_path / "runs")
    assert [scores.support for scores in found.report.classes.values()] == [2, 2, 1]
    assert found.confusion.tolist() == [[2, 0, 0, 0], [0, 2, 0, 0], [0, 0, 1, 0], [0] * 4]
    assert found.map50 == 1
    assert found.folder
    report = json.loads((found.folder / "report.json").read_text())
    assert [*report["classes"]] == [*ALL_CLASS_NAMES]
    assert report["confusion"]["found"] == [*ALL_CLASS_NAMES, "not found"]
    for name in ("report.txt", "report.html"):
        assert "incorrect_mask" in (found.folder / name).read_text()


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_a_yolo_set_has_three_classes_in_any_order(
    order: tuple[int, ...], voc: tuple[Path, Path], tmp_path: Path
) -> None:
    names = ("with_mask", "without_mask", "face_on_a_poster")
    data = make_yolo(tmp_path / "set", [names[place] for place in order])
    data.write_text(data.read_text().replace("face_on_a_poster", OTHER))
    found = evaluate(data=data, model=ThreeClasses(), project=None)
    assert found.confusion.tolist() == [[2, 0, 0, 0], [0, 2, 0, 0], [0, 0, 1, 0], [0] * 4]


def test_detectors_of_two_and_of_three_classes_are_compared_on_two(
    voc: tuple[Path, Path], tmp_path: Path
) -> None:
    images, labels = voc
    models = {"two": perfect(), "three": ThreeClasses()}
    found = compare(
        models,
        images=images,
        labels=labels,
        rounds=0,
        project=tmp_path / "a",
        fold_incorrect=True,
    )
    assert {one.classes for one in found.evaluations.values()} == {("with_mask", "without_mask")}
    assert found.evaluations["three"].confusion.tolist() == [[2, 0, 0], [0, 3, 0], [0, 0, 0]]
    both = {"a": ThreeClasses(), "b": ThreeClasses()}
    found = compare(both, images=images, labels=labels, rounds=0, project=tmp_path / "b")
    assert {one.classes for one in found.evaluations.values()} == {ALL_CLASS_NAMES}
    assert found.folder
    assert "AP50 incorrect_mask" in (found.folder / "report.html").read_text()
