from dataclasses import replace

import cv2
import numpy as np
import pytest

from maskyolo.core.images import ImageArray
from maskyolo.training.augment import Augmentation, recompress, vary_face

STILL = Augmentation(rotation=0, zoom=0, shift=0, shear=0, flip=0, small=0, blur=0, jpeg=0)
BOX = np.array([40, 30, 80, 70], np.float32)


@pytest.fixture
def marked() -> ImageArray:
    """A gray image with a white square as the face, and a red spot in its upper left corner."""
    image = np.full((120, 160, 3), 90, np.uint8)
    image[30:70, 40:80] = 255
    image[34:42, 44:52] = (0, 0, 255)
    return image


def inside(image: ImageArray, box: np.ndarray) -> ImageArray:
    x1, y1, x2, y2 = np.rint(box).astype(int)
    return image[y1:y2, x1:x2]


def test_without_augmentation_the_result_is_a_cutout_of_the_image(marked: ImageArray) -> None:
    image, boxes = vary_face(marked, BOX, np.random.default_rng(0), STILL)
    assert boxes.shape == (1, 4)
    assert boxes.dtype == np.float32
    np.testing.assert_array_equal(inside(image, boxes[0]), marked[30:70, 40:80])


def test_a_mirrored_face_has_its_spot_on_the_other_side(marked: ImageArray) -> None:
    image, boxes = vary_face(marked, BOX, np.random.default_rng(0), replace(STILL, flip=1))
    face = inside(image, boxes[0])
    assert face[8, 32].tolist() == [0, 0, 255]
    assert face[8, 8].tolist() == [255, 255, 255]


@pytest.mark.parametrize("seed", range(5))
def test_a_rotated_face_stays_in_the_center_of_its_box(marked: ImageArray, seed: int) -> None:
    image, boxes = vary_face(
        marked, BOX, np.random.default_rng(seed), replace(STILL, rotation=20, shear=0.15, flip=0.5)
    )
    rows, columns = np.nonzero(image[..., 0] > 200)
    assert (columns.mean() + 0.5, rows.mean() + 0.5) == pytest.approx(
        ((boxes[0, 0] + boxes[0, 2]) / 2, (boxes[0, 1] + boxes[0, 3]) / 2), abs=2
    )


@pytest.mark.parametrize("seed", range(5))
def test_zoom_and_shift_move_the_box_within_their_bounds(marked: ImageArray, seed: int) -> None:
    image, boxes = vary_face(
        marked, BOX, np.random.default_rng(seed), replace(STILL, zoom=0.15, shift=0.2)
    )
    sides = boxes[0, 2:] - boxes[0, :2]
    assert (np.abs(sides / 40 - 1) <= 0.151).all()
    assert np.abs(sides / 40 - 1).max() > 0.005
    assert (boxes[0] >= 0).all()
    assert (boxes[0] <= len(image)).all()


def test_small_faces_have_the_requested_sizes(marked: ImageArray) -> None:
    how = replace(STILL, small=1, face_size=(10, 30))
    sizes = [vary_face(marked, BOX, np.random.default_rng(seed), how)[1] for seed in range(40)]
    sides = [float((box[0, 2:] - box[0, :2]).max()) for box in sizes]
    assert 9 < min(sides) < 14
    assert 24 < max(sides) < 31


def test_a_face_is_never_scaled_up(marked: ImageArray) -> None:
    _, boxes = vary_face(
        marked, BOX, np.random.default_rng(0), replace(STILL, small=1, face_size=(500, 600))
    )
    assert (boxes[0, 2:] - boxes[0, :2]).tolist() == [40, 40]


@pytest.mark.parametrize("what", ["blur", "jpeg"])
def test_blur_and_compression_change_pixels_but_no_box(marked: ImageArray, what: str) -> None:
    plain, box = vary_face(marked, BOX, np.random.default_rng(0), STILL)
    degraded, same = vary_face(marked, BOX, np.random.default_rng(0), replace(STILL, **{what: 1}))
    assert degraded.shape == plain.shape
    assert (degraded != plain).any()
    np.testing.assert_array_equal(box, same)


def test_the_same_seed_gives_the_same_result(marked: ImageArray) -> None:
    first, second, other = (
        vary_face(marked, BOX, np.random.default_rng(seed), Augmentation()) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first[0], second[0])
    assert not np.array_equal(first[1], other[1])


@pytest.mark.parametrize(
    "box", [[0, 0, 1, 1], [150, 110, 160, 120], [0, 0, 160, 120], [10, 10, 10.2, 60]]
)
def test_faces_at_the_border_and_of_one_pixel_are_augmented_too(
    marked: ImageArray, box: list[float]
) -> None:
    for seed in range(5):
        image, boxes = vary_face(
            marked, box, np.random.default_rng(seed), Augmentation(), margin=0.3
        )
        assert min(image.shape[:2]) >= 2
        assert np.isfinite(boxes).all()
    assert cv2.mean(image)[0] > 0


def test_recompressing_keeps_the_size_and_loses_more_at_lower_quality_and_scale() -> None:
    image = np.random.default_rng(0).integers(0, 256, (61, 87, 3), dtype=np.uint8)
    losses = []
    for quality, scale in ((95, 1.0), (40, 1.0), (40, 0.5)):
        again = recompress(image, quality, scale)
        assert (again.shape, again.dtype) == (image.shape, image.dtype)
        losses.append(np.abs(again.astype(int) - image).mean())
    assert 0 < losses[0] < losses[1] < losses[2]


def test_a_single_pixel_is_recompressed() -> None:
    assert recompress(np.full((1, 1, 3), 90, np.uint8), 50, 0.5).shape == (1, 1, 3)
