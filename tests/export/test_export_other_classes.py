"""Exporting other people's models: the export has our class names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from foreign_models import foreign_model
from paths import SAMPLES

import maskyolo
from maskyolo.core.images import read_image
from maskyolo.errors import WeightsError
from maskyolo.models.backends.loading import load_backend

HEAD = [("gut", "with_mask"), ("hut", None), ("schlecht", "without_mask")]
MAP = {"gut": "with_mask", "schlecht": "without_mask", "hut": "ignore"}


@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_an_export_with_a_class_map_needs_none(
    format: str,  # noqa: A002
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("maskyolo.export.measuring.ROUNDS", 1)
    model = foreign_model(tmp_path / "other.onnx", HEAD)
    settings = {"format": format, "imgsz": 320, "project": tmp_path / "runs"}
    with pytest.raises(WeightsError, match="--map gut=CLASS --map hut=CLASS --map schlecht=CLASS"):
        maskyolo.export_model(model, **settings)
    assert not (tmp_path / "runs").exists()
    result = maskyolo.export_model(model, class_map=MAP, **settings)
    assert load_backend(result.path).names == ("with_mask", "ignore", "without_mask")
    image = read_image(SAMPLES / "street.jpg")
    ours = maskyolo.load_detector(imgsz=320, precision="fp32")(image)
    found = maskyolo.load_detector(result.path, precision="fp32")(image)
    assert found.class_id is not None
    assert ours.class_id is not None
    assert found.class_id.tolist() == ours.class_id.tolist()
    assert len({*ours.class_id}) == 2
    np.testing.assert_allclose(found.xyxy, ours.xyxy, atol=0.05)
