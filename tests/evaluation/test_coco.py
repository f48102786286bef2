"""`val --save-coco`: pycocotools gives the report's figures for the files it writes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from stubs import Stub, flawed, make_voc

from maskyolo.core.detector import Detector
from maskyolo.evaluation.coco import DETECTIONS, GROUND_TRUTH
from maskyolo.evaluation.evaluation import evaluate
from maskyolo.evaluation.scores import Evaluation


def pycocotools_on(folder: Path) -> tuple[float, float]:
    """Return mAP50-95 and mAP50 of pycocotools, with its usual settings."""
    truth = COCO(str(folder / GROUND_TRUTH))
    judge = COCOeval(truth, truth.loadRes(str(folder / DETECTIONS)), "bbox")
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    return float(judge.stats[0]), float(judge.stats[1])


def run(images: Path, labels: Path, model: str | Detector, project: Path) -> Evaluation:
    return evaluate(
        images=images,
        labels=labels,
        model=model,
        save_coco=True,
        project=project,
        imgsz=320 if isinstance(model, str) else None,
    )


@pytest.mark.parametrize("model", ["maskyolo-n", "flawed"])
def test_pycocotools_gives_the_figures_of_the_report(
    model: str, samples: Path, tmp_path: Path
) -> None:
    if model == "flawed":  # on images with an ignored box
        found = run(*make_voc(tmp_path), flawed(), tmp_path / "runs")
        assert found.ignored == 1
    else:
        found = run(samples, samples / "annotations", model, tmp_path / "runs")
    assert found.folder
    report = json.loads((found.folder / "report.json").read_text())
    assert 0 < report["map50_95"] < 1
    assert pycocotools_on(found.folder) == pytest.approx(
        (report["map50_95"], report["map50"]), abs=1e-9
    )


def test_the_files_are_coco(tmp_path: Path) -> None:
    images, labels = make_voc(tmp_path)
    (images / "p40.png").write_text("unreadable")
    found = run(images, labels, flawed(), tmp_path / "runs")
    assert found.folder
    truth = json.loads((found.folder / GROUND_TRUTH).read_text())
    assert truth["categories"] == [
        {"id": 1, "name": "with_mask"},
        {"id": 2, "name": "without_mask"},
    ]
    assert [(one["id"], one["file_name"]) for one in truth["images"]] == [
        (1, "p10.png"),
        (2, "p20.png"),
        (3, "p30.png"),
    ]
    assert {(one["width"], one["height"]) for one in truth["images"]} == {(200, 100)}
    first = truth["annotations"][0]
    assert (first["bbox"], first["area"], first["iscrowd"]) == ([20, 20, 40, 50], 2000, 0)
    crowds = [one for one in truth["annotations"] if one["iscrowd"]]
    assert [(one["image_id"], one["category_id"]) for one in crowds] == [(3, 1), (3, 2)]
    assert len({one["id"] for one in truth["annotations"]}) == len(truth["annotations"]) == 6
    results = json.loads((found.folder / DETECTIONS).read_text())
    assert results[0] == {"image_id": 1, "category_id": 1, "bbox": [20, 20, 40, 50], "score": 0.8}


def test_nothing_found_is_an_empty_list(tmp_path: Path) -> None:
    found = run(*make_voc(tmp_path), Stub({}), tmp_path / "runs")
    assert found.folder
    assert json.loads((found.folder / DETECTIONS).read_text()) == []
    assert np.isclose(found.map50 or 0, 0)
