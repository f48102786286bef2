"""Slicing finds faces too small in the whole image, and each face once, in its place."""

from __future__ import annotations

import numpy as np
import pytest
import supervision as sv
from paths import SAMPLES

import maskyolo
from maskyolo.core.boxes import box_iou
from maskyolo.core.images import ImageArray, read_image
from maskyolo.detectors.slicing import SlicedDetector
from maskyolo.errors import MaskyoloError


def bright_spots(image: ImageArray) -> sv.Detections:
    """Find the white rectangle, if any; the more of it is visible, the higher the confidence."""
    rows, columns = np.nonzero(image[..., 0] > 200)
    if not len(rows):
        return sv.Detections.empty()
    box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    return sv.Detections(
        xyxy=np.array([box], np.float32),
        confidence=np.array([len(rows) / 10_000], np.float32),
        class_id=np.array([1]),
        data={"class_name": np.array(["without_mask"])},
    )


def test_a_face_on_the_border_of_tiles_comes_once_and_whole() -> None:
    image = np.zeros((500, 900, 3), np.uint8)
    image[230:270, 240:300] = 255
    found = SlicedDetector(bright_spots, 256)(image)
    assert found.xyxy.tolist() == [[240, 230, 300, 270]]
    assert found.data["class_name"].tolist() == ["without_mask"]


def test_a_face_is_whole_in_some_tile_wherever_it_is() -> None:
    def only_in_tiles(image: ImageArray) -> sv.Detections:
        return bright_spots(image) if max(image.shape[:2]) <= 256 else sv.Detections.empty()

    side = 50  # a fifth of a tile
    detector = SlicedDetector(only_in_tiles, 256)
    for left in range(0, 1024 - side, 29):
        image = np.zeros((256, 1024, 3), np.uint8)
        image[100 : 100 + side, left : left + side] = 255
        assert detector(image).xyxy.tolist() == [[left, 100, left + side, 100 + side]]


def test_a_small_or_empty_image_is_not_sliced() -> None:
    seen = []

    def record(image: ImageArray) -> sv.Detections:
        seen.append(image.shape[:2])
        return bright_spots(image)

    assert len(SlicedDetector(record, 256)(np.zeros((200, 256, 3), np.uint8))) == 0
    assert seen == [(200, 256)]
    assert len(SlicedDetector(record, 256)(np.zeros((200, 300, 3), np.uint8))) == 0
    assert seen[1] == (200, 300)
    assert len(seen) > 2


def test_far_faces_in_a_large_image_are_found_in_tiles() -> None:
    photo = read_image(SAMPLES / "station.jpg")
    height, width = photo.shape[:2]
    large = np.full((4 * height, 4 * width, 3), 114, np.uint8)
    # its faces get a quarter of the pixels in the network's input
    large[height : 2 * height, 2 * width : 3 * width] = photo
    detector = maskyolo.load_detector()
    alone, whole, sliced = detector(photo), detector(large), SlicedDetector(detector, 640)(large)
    confident = alone.xyxy[alone.confidence > 0.6] + np.array([2 * width, height] * 2, np.float32)
    assert len(confident) > 1
    assert (box_iou(confident, sliced.xyxy).max(axis=1) > 0.5).all()
    assert len(whole) < len(sliced)
    assert (np.diff(sliced.confidence) <= 0).all()


def test_tiles_too_small_are_refused() -> None:
    with pytest.raises(MaskyoloError, match="tile size of 32 pixels"):
        SlicedDetector(bright_spots, 32)
