"""What several tests share: the samples of the repository, and pictures made on the spot."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from maskyolo.images import ImageArray

# A shell that runs pytest in the background has it ignore Ctrl-C, and so would every command that the tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def own_data_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the record of the weights that trainings make out of the user's own data folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        yield


SAMPLES = Path(__file__).parent.parent / "data" / "samples"


@pytest.fixture(scope="session")
def samples() -> Path:
    return SAMPLES


@pytest.fixture
def colours() -> ImageArray:
    """A 30 x 40 BGR picture whose every pixel is different, so that no swap or flip goes unseen."""
    y, x = np.mgrid[0:30, 0:40]
    return np.stack([x * 6, y * 8, 255 - x * 3 - y * 4], axis=2).astype(np.uint8)
