"""What several tests share: the samples of the repository, and pictures made on the spot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from maskyolo.images import ImageArray

SAMPLES = Path(__file__).parent.parent / "data" / "samples"


@pytest.fixture(scope="session")
def samples() -> Path:
    return SAMPLES


@pytest.fixture
def colours() -> ImageArray:
    """A 30 x 40 BGR picture whose every pixel is different, so that no swap or flip goes unseen."""
    y, x = np.mgrid[0:30, 0:40]
    return np.stack([x * 6, y * 8, 255 - x * 3 - y * 4], axis=2).astype(np.uint8)
