import pytest

from maskyolo.evaluation.class_scores import ClassScores, Report

REPORT = Report(
    data="data/mask/data.yaml",
    split="val",
    images=40,
    confidence=0.412,
    iou=0.5,
    classes={
        "with_mask": ClassScores(
            precision=0.9, recall=0.8, f1=0.847059, support=30, map50=0.85, map50_95=0.6
        ),
        "without_mask": ClassScores(
            precision=0.5, recall=0.4, f1=0.444444, support=10, map50=0.45, map50_95=0.2
        ),
    },
)


def test_macro_average_counts_each_class_once() -> None:
    macro = REPORT.macro()
    assert (macro.precision, macro.recall, macro.map50, macro.map50_95) == pytest.approx(
        (0.7, 0.6, 0.65, 0.4)
    )
    assert macro.f1 == pytest.approx((0.847059 + 0.444444) / 2)
    assert macro.support == 40


def test_weighted_average_counts_each_box_once() -> None:
    weighted = REPORT.weighted()
    assert (weighted.precision, weighted.recall, weighted.map50) == pytest.approx((0.8, 0.7, 0.75))
    assert weighted.support == 40


def test_a_class_without_boxes_is_left_out_of_the_averages_and_shown_as_such() -> None:
    none = ClassScores(None, None, None, 0, None, None)
    report = Report(
        "d", "val", 1, 0.5, 0.5, {"with_mask": REPORT.classes["with_mask"], "without_mask": none}
    )
    assert report.macro() == report.weighted() == REPORT.classes["with_mask"]
    row = next(line for line in report.table().splitlines() if line.startswith("without_mask"))
    assert row.split() == ["without_mask", "-", "-", "-", "0", "-", "-"]


def test_a_split_without_any_box_has_no_averages() -> None:
    none = ClassScores(None, None, None, 0, None, None)
    report = Report("d", "val", 1, 0.5, 0.5, {"with_mask": none})
    assert report.macro() == none


def test_table_is_laid_out_like_scikit_learns() -> None:
    lines = REPORT.table().splitlines()
    assert lines[0].split() == ["precision", "recall", "f1-score", "support", "mAP50", "mAP50-95"]
    assert [line.split()[0] for line in lines[2:7] if line] == [
        "with_mask",
        "without_mask",
        "macro",
        "weighted",
    ]
    assert lines[2].split() == ["with_mask", "0.900", "0.800", "0.847", "30", "0.850", "0.600"]
    assert {len(line) for line in lines[2:7] if line} == {len(lines[0])}
    assert "confidence 0.41" in REPORT.table()


def test_json_has_the_same_figures() -> None:
    content = REPORT.json()
    assert content["classes"]["with_mask"] == {
        "precision": 0.9,
        "recall": 0.8,
        "f1": 0.847059,
        "support": 30,
        "map50": 0.85,
        "map50_95": 0.6,
    }
    assert content["macro avg"]["support"] == 40
    assert (content["split"], content["images"], content["confidence"], content["iou"]) == (
        "val",
        40,
        0.412,
        0.5,
    )
