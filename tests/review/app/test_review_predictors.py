"""Which detector `review open` loads for its predictions."""

from __future__ import annotations

from pathlib import Path

from foreign_models import foreign_model

from maskyolo.core.choices import Pipeline
from maskyolo.core.classes import ALL_CLASS_NAMES
from maskyolo.core.detector import class_names_of
from maskyolo.review.app.opening import _predictors
from maskyolo.review.options import OpenOptions


def test_a_model_of_others_is_mapped_and_may_have_three_classes(tmp_path: Path) -> None:
    head = [("gut", "with_mask"), ("nase", "without_mask"), ("ohne", None)]
    model = foreign_model(tmp_path / "other.onnx", head)
    class_map = {"gut": "with_mask", "nase": "incorrect_mask", "ohne": "without_mask"}
    settings = {"model": model, "class_map": class_map, "pipeline": Pipeline.TWO_STAGE}
    yolo, two_stage = _predictors(OpenOptions(**settings, incorrect=True))
    assert class_names_of(yolo.load()) == ALL_CLASS_NAMES
    # other settings mean other predictions, which are made again
    assert yolo.settings != _predictors(OpenOptions(**settings))[0].settings
    assert "incorrect" not in two_stage.settings
