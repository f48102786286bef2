"""One photo never ends a conversion, whatever it is or does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from maskyolo.conversion import convert
from maskyolo.conversion.convert import Conversion, convert_dataset
from maskyolo.core.boxes import as_boxes
from maskyolo.core.images import ImageArray
from maskyolo.dataset.ledger import LedgerRow
from maskyolo.detectors.faces.base import Faces
from maskyolo.synthesis import synthesize
from maskyolo.synthesis.synthesize import synthesize_masks

#: Widths and heights of photos that no network takes as they are.
STRIPS = ((728, 1), (1, 728), (1, 1), (4000, 3))


class Faulty:
    """Finds a face, but raises an error on an image of the width 91."""

    name = "fake"
    error: Exception = ValueError("odd")

    def detect(self, image: ImageArray) -> Faces:
        if image.shape[1] == 91:
            raise self.error
        return Faces(as_boxes([(20.0, 10.0, 70.0, 70.0)]), np.float32([0.9]))


def write_photo(path: Path, width: int = 90, height: int = 80, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(1, 256, (8, 8, 3), dtype=np.uint8)
    path.write_bytes(cv2.imencode(".png", cv2.resize(noise, (width, height)))[1].tobytes())


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for number in range(6):
        folder = ("with_mask", "without_mask")[number % 2]
        write_photo(tmp_path / "photos" / folder / f"{number}.png", seed=number)
    return tmp_path / "photos"


def by_source(made: Conversion) -> dict[str, LedgerRow]:
    return {row.source: row for row in made.rows}


@pytest.mark.parametrize(
    "error", [ValueError("odd"), RecursionError(), MemoryError(), cv2.error("(-215)"), KeyError(1)]
)
def test_any_error_of_a_photo_is_its_row_and_is_tried_again(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(Faulty, "error", error)
    monkeypatch.setattr(convert, "load_face_detector", lambda *_, **__: Faulty())
    write_photo(photos / "with_mask" / "bad.png", width=91, seed=9)
    made = convert_dataset(photos, tmp_path / "set", workers=2)
    row = by_source(made)["with_mask/bad.png"]
    assert row.status == "unreadable"
    assert sum(row.in_set for row in made.rows) == 6
    log = tmp_path / "set" / "errors.log"
    if isinstance(error, MemoryError):
        assert "not enough memory" in row.reason
    else:
        assert f"unexpected {type(error).__name__}" in row.reason
        assert str(log) in row.reason
        assert "Traceback" in log.read_text()
    monkeypatch.setattr(
        Faulty,
        "detect",
        lambda self, image: Faces(as_boxes([(20.0, 10.0, 70.0, 70.0)]), np.float32([0.9])),
    )
    again = convert_dataset(photos, tmp_path / "set", workers=2, update=True)
    assert by_source(again)["with_mask/bad.png"].status == "kept"
    assert not log.exists()


def test_strips_and_dots_end_nothing_with_the_real_detectors(photos: Path, tmp_path: Path) -> None:
    strips = [f"with_mask/{width}x{height}.png" for width, height in STRIPS]
    for seed, (name, size) in enumerate(zip(strips, STRIPS, strict=True)):
        write_photo(photos / name, *size, seed=20 + seed)
    monkey = pytest.MonkeyPatch()
    real = convert.load_face_detector

    class Both(Faulty):
        def __init__(self, *settings: Any, **options: Any) -> None:
            self.real = real(*settings, **options)

        def detect(self, image: ImageArray) -> Faces:
            return self.real.detect(image) if min(image.shape[:2]) < 8 else super().detect(image)

    with monkey.context() as patch:
        patch.setattr(convert, "load_face_detector", Both)
        made = convert_dataset(photos, tmp_path / "set", workers=1, scenes=1)
    rows = by_source(made)
    assert set(strips) <= set(rows)
    assert sum(row.in_set for name, row in rows.items() if name not in strips) == 6


def test_any_error_of_a_photo_is_its_line_of_the_synthesis_log(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def odd(*_: object) -> None:
        raise RecursionError("deep")

    monkeypatch.setattr(synthesize, "_make", odd)
    made = synthesize_masks(photos / "without_mask", tmp_path / "made")
    assert [photo.status for photo in made.photos] == ["unreadable"] * 3
    assert str(tmp_path / "made" / "errors.log") in made.photos[0].reason
    assert (tmp_path / "made" / "errors.log").read_text().count("RecursionError: deep") == 3
