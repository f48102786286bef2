"""Frames are upright and have square pixels, as players show them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from clips import set_matrix, write_clip

from maskyolo.core.images import ImageArray
from maskyolo.runtime.file_sources import VideoSource


def corners(levels: str, size: tuple[int, int] = (64, 48)) -> ImageArray:
    """Return an image whose quadrants, read like a book, have gray levels 20, 40, … for 1, 2, …"""
    image = np.zeros((size[1], size[0], 3), np.uint8)
    for place, level in enumerate(levels):
        y, x = divmod(place, 2)
        rows = slice(y * size[1] // 2, (y + 1) * size[1] // 2)
        image[rows, x * size[0] // 2 : (x + 1) * size[0] // 2] = 50 * int(level)
    return image


def levels(image: ImageArray) -> str:
    """Return the inverse of `corners`."""
    height, width = image.shape[:2]
    places = [(y, x) for y in (height // 4, 3 * height // 4) for x in (width // 4, 3 * width // 4)]
    return "".join(str(round(int(image[place].mean()) / 50)) for place in places)


@pytest.mark.parametrize(
    ("matrix", "shown"),
    [
        ((1, 0, 0, 1), "1234"),
        ((-1, 0, 0, 1), "2143"),  # mirrored
        ((1, 0, 0, -1), "3412"),  # upside down and mirrored
        ((-1, 0, 0, -1), "4321"),  # turned by 180 degrees
        ((0, 1, -1, 0), "3142"),  # turned clockwise
        ((0, -1, 1, 0), "2413"),  # turned counterclockwise
        ((0, 1, 1, 0), "1324"),  # mirrored along a diagonal
        ((0, -1, -1, 0), "4231"),
    ],
)
def test_a_display_matrix_is_applied(tmp_path: Path, matrix: tuple[int, ...], shown: str) -> None:
    path = tmp_path / "a.mp4"
    write_clip(path, [corners("1234")] * 3)
    set_matrix(path, matrix)
    frames = list(VideoSource(path).frames())
    assert [levels(frame.image) for frame in frames] == [shown] * 3
    size = (48, 64, 3) if matrix[0] else (64, 48, 3)
    assert {frame.image.shape for frame in frames} == {size}
    assert all(frame.image.flags.c_contiguous and frame.image.flags.writeable for frame in frames)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.h264", "a.mov"])
@pytest.mark.parametrize(
    ("shape", "size"),
    [
        (Fraction(1, 2), (64, 96)),
        (Fraction(40, 33), (78, 48)),
        (Fraction(2), (128, 48)),
        (Fraction(100, 101), (64, 48)),  # rounded by a container
    ],
)
def test_pixels_that_are_not_square_are_scaled(
    tmp_path: Path, name: str, shape: Fraction, size: tuple[int, int]
) -> None:
    write_clip(tmp_path / name, [corners("1234")] * 40, shape=shape)
    frames = list(VideoSource(tmp_path / name).frames())
    assert [levels(frame.image) for frame in frames] == ["1234"] * 40
    assert {frame.image.shape for frame in frames} == {(size[1], size[0], 3)}


def test_a_shape_of_pixels_that_cannot_be_true_is_ignored(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", [corners("1234")], shape=Fraction(1, 200))
    (frame,) = VideoSource(tmp_path / "a.mp4").frames()
    assert frame.image.shape == (48, 64, 3)


def test_turned_frames_are_scaled_before_they_are_turned(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", [corners("1234")], shape=Fraction(1, 2))
    set_matrix(tmp_path / "a.mp4", (0, 1, -1, 0))
    (frame,) = VideoSource(tmp_path / "a.mp4").frames()
    assert (frame.image.shape, levels(frame.image)) == ((64, 96, 3), "3142")


def test_a_frame_is_shrunk_if_it_would_become_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("maskyolo.runtime.upright.MAX_PIXELS", 64 * 60)
    for shape, size in ((Fraction(1, 2), (32, 48)), (Fraction(2), (64, 24))):
        write_clip(tmp_path / "a.mp4", [corners("1234")], shape=shape)
        (frame,) = VideoSource(tmp_path / "a.mp4").frames()
        assert frame.image.shape == (size[1], size[0], 3)
