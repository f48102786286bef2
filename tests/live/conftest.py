"""What the tests of `serve` share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from live import Mjpeg

import maskyolo
from maskyolo.core.detector import Detector


@pytest.fixture(scope="module")
def detector() -> Detector:
    return maskyolo.load_detector(conf=0.1)


@pytest.fixture
def camera(samples: Path) -> Iterator[Mjpeg]:
    mjpeg = Mjpeg(samples / "office.jpg")
    yield mjpeg
    mjpeg.die()
