"""Each kind of error put right must mend what it names, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from benchmarks_as_modules import load_benchmark

from maskyolo.core.images import read_image, write_image
from maskyolo.core.labels import Labels
from maskyolo.evaluation.labeled import LabeledImage
from maskyolo.evaluation.metrics import Case

FACES = np.array([[0, 0, 10, 10], [50, 0, 60, 10]], dtype=np.float64)
IGNORED = np.array([[80, 0, 90, 10]], dtype=np.float64)


@pytest.fixture(scope="module")
def errors() -> ModuleType:
    return load_benchmark("errors")


def case(found: Sequence[tuple[float, float, float, float]], class_ids: list[int]) -> Case:
    """A masked and a bare face, an ignored one beside them, and some detections."""
    return Case(
        boxes=FACES,
        class_ids=np.array([0, 1]),
        ignored=IGNORED,
        found=np.array(found, dtype=np.float64).reshape(-1, 4),
        found_ids=np.array(class_ids, dtype=np.int64),
        confidence=np.linspace(0.9, 0.5, len(found)),
        size=(100, 20),
    )


def test_each_kind_mends_its_own_errors_alone(errors: ModuleType) -> None:
    masked, bare = (0, 0, 10, 10), (50, 0, 60, 10)
    for found, class_ids, kind in (
        ([(30, 0, 40, 10), masked, bare], [0, 0, 1], "no alarm away from every label"),
        ([masked, bare], [1, 1], "class of each face found right"),
        ([masked, (50, 0, 54, 10)], [0, 1], "overlap of 0.3 enough"),
    ):
        figures = errors.corrected([case(found, class_ids)])
        assert figures.pop(kind) == 1, kind
        assert max(figures.values()) < 1, kind
    assert errors.corrected([case([], [])])["as it is"] == 0


def test_the_surest_alarms_are_drawn_but_none_on_an_ignored_face(
    errors: ModuleType, tmp_path: Path
) -> None:
    picture = tmp_path / "a photo.png"
    write_image(picture, np.full((20, 100, 3), 90, np.uint8))
    labelled = LabeledImage(
        picture,
        Labels(FACES.astype(np.float32), np.array([0, 1])),
        IGNORED.astype(np.float32),
        normalized=False,
    )
    one = case([(80, 0, 90, 10), (30, 0, 40, 10), (0, 0, 10, 10), (20, 5, 24, 9)], [0, 0, 0, 1])
    found = errors.alarms([labelled], [one], 50)
    assert [box for _, _, box in found] == [[30, 0, 40, 10], [20, 5, 24, 9]]
    assert [box for _, _, box in errors.alarms([labelled], [one], 1)] == [[30, 0, 40, 10]]
    sheet = tmp_path / "sheet.png"
    write_image(sheet, errors.draw(found))
    assert read_image(sheet).shape == (errors.TILE, errors.COLUMNS * errors.TILE, 3)
