"""The hashes of a model's training photos: written, read with limits, and compared."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import pytest

from maskyolo.core.images import read_image
from maskyolo.dataset.near_copies import perceptual_hashes
from maskyolo.dataset.photo_hashes import (
    HashingReader,
    count_seen,
    hash_photos,
    hashes_file,
    load_hashes,
    save_hashes,
)
from maskyolo.errors import WeightsError
from maskyolo.models.own import own_weights


def test_near_copies_of_training_photos_are_counted(samples: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    photos = [samples / "office.jpg", samples / "plaza.jpg", samples / "plaza.jpg"]
    learned = hash_photos([*photos, tmp_path / "broken.jpg"])
    assert len(learned) == 2
    mirrored = cv2.flip(read_image(samples / "office.jpg"), 1)
    small = cv2.resize(read_image(samples / "plaza.jpg"), None, fx=0.5, fy=0.5)
    cv2.imwrite(str(tmp_path / "mirrored.jpg"), mirrored, [cv2.IMWRITE_JPEG_QUALITY, 60])
    cv2.imwrite(str(tmp_path / "small.png"), small)
    shutil.copy(samples / "street.jpg", tmp_path / "new.jpg")
    read = HashingReader()
    for name in ("mirrored.jpg", "small.png", "new.jpg"):
        assert read(tmp_path / name).ndim == 3
    assert count_seen(list(read.hashes.values()), learned) == 2
    assert count_seen([read.hashes[tmp_path / "new.jpg"]], learned) == 0
    assert count_seen([], learned) == count_seen(list(read.hashes.values()), []) == 0


def test_hashes_are_kept_beside_the_weights(samples: Path, tmp_path: Path) -> None:
    value = perceptual_hashes(read_image(samples / "office.jpg"))[0]
    assert load_hashes(tmp_path / "best.onnx") == []
    path = save_hashes(tmp_path / "best.onnx", [value, "0" * 16, value])
    assert path == hashes_file(tmp_path / "best.pt") == tmp_path / "best.photos.txt"
    assert load_hashes(tmp_path / "best.pt") == ["0" * 16, value]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"f" * 15, "is not a hash of 16 hex digits"),
        (b"g" * 16, "is not a hash"),
        (b"\xff\xfe", "UTF-8"),
        (b"a" * 100_000, "'aaaaaaaaaaaaaaaaaaaa' is not"),
    ],
)
def test_a_strangers_file_is_one_line(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "best.photos.txt").write_bytes(content)
    with pytest.raises(WeightsError, match=told) as raised:
        load_hashes(tmp_path / "best.onnx")
    assert len(str(raised.value)) < 300 + len(str(tmp_path))


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "best.photos.txt").open("wb") as file:
        file.truncate((64 << 20) + 1)
    with pytest.raises(WeightsError, match="larger than 64 MB"):
        load_hashes(tmp_path / "best.onnx")


@pytest.mark.parametrize("weights", own_weights(), ids=lambda path: path.name)
def test_our_weights_say_what_they_were_trained_on(weights: Path) -> None:
    assert len(load_hashes(weights)) > 3000
