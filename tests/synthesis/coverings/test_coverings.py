from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from maskyolo.core.images import ImageArray
from maskyolo.errors import MaskyoloError
from maskyolo.synthesis.coverings import draw_mask, draw_occluder
from maskyolo.synthesis.coverings.camera import Camera, ObstacleKind, Surface, find_obstacle
from maskyolo.synthesis.coverings.light import Light
from maskyolo.synthesis.coverings.occluders import OCCLUDERS
from maskyolo.synthesis.coverings.styles import (
    COLORS,
    MASKS,
    PATTERNS,
    WORN,
    MaskStyle,
    choose_style,
    choose_worn,
)

FRONTAL = np.array(
    [[-0.5, 0, 0], [0.5, 0, 0], [0, 0.57, 0.5], [-0.41, 1.14, 0.12], [0.41, 1.14, 0.12]]
)
STYLES = [MaskStyle(kind, "red") for kind in MASKS] + [
    MaskStyle("cloth", "red", pattern) for pattern in PATTERNS
]


def landmarks(
    eyes: float = 60, at: tuple[float, float] = (150, 110), turn: float = 0, roll: float = 0
) -> np.ndarray:
    """Return the landmarks of a face whose head is turned to a side and leans, both in degrees."""
    yaw, lean = math.radians(turn), math.radians(roll)
    x = FRONTAL[:, 0] * math.cos(yaw) + FRONTAL[:, 2] * math.sin(yaw)
    y = FRONTAL[:, 1]
    turned = np.stack(
        [x * math.cos(lean) - y * math.sin(lean), x * math.sin(lean) + y * math.cos(lean)], axis=1
    )
    return np.asarray(turned * eyes + at, dtype=np.float32)


def photo(height: int = 300, width: int = 300) -> ImageArray:
    """Return a image in the color of skin, with a little noise."""
    skin = np.array([120, 150, 190]) + np.random.default_rng(5).normal(0, 2, (height, width, 1))
    return np.asarray(skin.clip(0, 255), dtype=np.uint8)


def rng(number: int = 0) -> np.random.Generator:
    return np.random.default_rng(number)


def changed(before: ImageArray, after: ImageArray) -> np.ndarray:
    """Return (H, W): the greatest change of a channel."""
    return np.asarray(np.abs(before.astype(int) - after.astype(int)).max(-1))


def at(picture: np.ndarray, points: np.ndarray) -> list[float]:
    """Return the values at pixels (n, 2); those outside the image are left out."""
    height, width = picture.shape
    places = [(round(float(y)), round(float(x))) for x, y in points]
    return [picture[y, x] for y, x in places if 0 <= y < height and 0 <= x < width]


@pytest.mark.parametrize("style", STYLES, ids=lambda style: f"{style.kind}-{style.pattern}")
@pytest.mark.parametrize(("turn", "roll"), [(0, 0), (35, 0), (-50, 0), (20, 40), (0, 180)])
def test_a_mask_covers_nose_and_mouth_and_not_the_eyes(
    style: MaskStyle, turn: float, roll: float
) -> None:
    points = landmarks(turn=turn, roll=roll, at=(150, 190) if roll == 180 else (150, 110))
    dotted = photo()
    for x, y in points.round().astype(int):
        dotted[y - 1 : y + 2, x - 1 : x + 2] = (0, 255, 0)
    for seed in range(2):
        plain, on_dots = (draw_mask(image, points, rng(seed), style) for image in (photo(), dotted))
        seen = at(changed(plain, on_dots), points)
        assert len(seen) == 5
        assert max(seen[2:]) < 12, "nose and mouth are seen"
        assert min(seen[:2]) > 150, "an eye is hidden"


def test_a_mask_ends_at_the_chin_and_the_sides() -> None:
    points = landmarks()
    change = changed(photo(), draw_mask(photo(), points, rng(), MaskStyle("surgical", "white")))
    assert change[110 - 20 :: -1].max() == 0, "nothing above the eyes"
    rows, columns = np.nonzero(change > 25)
    assert 110 + 0.2 * 60 < rows.min() < 110 + 0.5 * 60
    assert 110 + 1.6 * 60 < rows.max() < 110 + 2.3 * 60
    assert 1.6 * 60 < columns.max() - columns.min() < 2.6 * 60


@pytest.mark.parametrize("style", STYLES[: len(MASKS)], ids=lambda style: style.kind)
@pytest.mark.parametrize(("turn", "roll"), [(0, 0), (35, 0), (-45, 15)])
def test_a_mask_worn_incorrectly_leaves_the_nose_free(
    style: MaskStyle, turn: float, roll: float
) -> None:
    points = landmarks(turn=turn, roll=roll, eyes=45)
    for worn in WORN[1:]:
        for seed in range(4):
            drawn = draw_mask(photo(), points, rng(seed), replace(style, worn=worn))
            change = changed(photo(), drawn)
            seen = at(change, points)
            assert max(seen[:3]) < 12, "eyes and nose are free"
            if worn == "under the nose":
                assert min(at(change, points[3:].mean(0, keepdims=True))) > 25, "mouth covered"
            else:
                assert max(at(change, points[3:].mean(0, keepdims=True))) < 25, "mouth free"
            assert (change > 25).sum() > 0.3 * 45**2, "the mask is in the photo"


def test_a_hanging_mask_hangs_down_from_the_visible_ear() -> None:
    for roll in (0, 30):
        points = landmarks(turn=40, roll=roll, eyes=40, at=(150, 90))
        drawn = draw_mask(photo(), points, rng(1), MaskStyle("cloth", "red", "plain", WORN[3]))
        rows, columns = np.nonzero(changed(photo(), drawn) > 25)
        assert columns.max() < points[2, 0], "the head is turned to the right, and shows its left"
        assert np.ptp(rows) > 1.4 * np.ptp(columns)


def test_ways_to_wear_a_mask_are_all_chosen_and_straps_do_not_hang_from_an_ear() -> None:
    chosen = [choose_worn(choose_style(rng(number)), rng(number + 1)) for number in range(500)]
    assert {style.worn for style in chosen} == set(WORN[1:])
    assert {style.worn for style in chosen if style.kind == "cup"} == set(WORN[1:3])


def test_a_turned_head_shows_more_of_the_near_side() -> None:
    points = landmarks(turn=40)
    change = changed(photo(), draw_mask(photo(), points, rng(), MaskStyle("kf94", "black"))) > 25
    nose = round(float(points[2, 0]))
    mouth = change[round(float(points[3, 1]))]
    assert mouth[:nose].sum() > 1.5 * mouth[nose:].sum()


@pytest.mark.parametrize("kind", OCCLUDERS)
def test_a_occluder_hides_some_of_the_lower_face(kind: str) -> None:
    points = landmarks()
    hidden = [
        changed(photo(), draw_occluder(photo(), points, rng(seed), kind))[130:230, 110:190] > 12
        for seed in range(4)
    ]
    assert np.mean(hidden) > 0.15
    assert len({mask.tobytes() for mask in hidden}) == 4, "each time a little different"


def test_the_same_seed_draws_the_same_and_the_photo_is_not_changed() -> None:
    before = photo()
    kept = before.copy()
    for draw in (draw_mask, draw_occluder):
        for number in range(4):
            one, two = (draw(before, landmarks(), rng(number)) for _ in range(2))
            assert (one == two).all()
            assert (one != draw(before, landmarks(), rng(number + 100))).any()
    assert (before == kept).all()


def test_styles_are_all_drawn_and_all_chosen() -> None:
    chosen = [choose_style(rng(number)) for number in range(3000)]
    assert {style.kind for style in chosen} == set(MASKS)
    assert {style.color for style in chosen} == set(COLORS)
    assert {style.pattern for style in chosen} == set(PATTERNS)
    drawn = {
        draw_mask(photo(), landmarks(), rng(), MaskStyle("cloth", "white", pattern)).tobytes()
        for pattern in PATTERNS
    }
    assert len(drawn) == len(PATTERNS)


def test_colors_are_those_asked_for() -> None:
    for color, (red, green, blue) in {
        name: COLORS[name] for name in ("red", "royal", "green", "black", "white")
    }.items():
        drawn = draw_mask(photo(), landmarks(), rng(3), MaskStyle("cup", color))[
            175:185, 140:160
        ].mean((0, 1))
        if color == "black":
            assert (drawn < 80).all()
        elif color == "white":
            assert (drawn > 175).all()
        else:
            assert np.corrcoef(drawn, [blue, green, red])[0, 1] > 0.9


def test_a_photo_without_colors_stays_so() -> None:
    gray = np.repeat(photo()[..., :1], 3, axis=2)
    drawn = draw_mask(gray, landmarks(), rng(), MaskStyle("cloth", "red")).astype(int)
    assert np.ptp(drawn, axis=2).max() <= 3


def test_light_from_a_side_falls_on_the_mask_too() -> None:
    slope = np.linspace(2, 0, 300)[None, :, None]
    sides = []
    for light in (slope, slope[:, ::-1]):
        drawn = draw_mask(
            (photo() * light).clip(0, 255).astype(np.uint8),
            landmarks(),
            rng(),
            MaskStyle("cup", "gray"),
        )
        sides.append(drawn[180, 120:130].mean() / drawn[180, 170:180].mean())
    assert sides[0] > 1.25 * sides[1]


def test_a_dark_photo_has_a_dark_mask() -> None:
    dark = (photo() * 0.3).astype(np.uint8)
    drawn = draw_mask(dark, landmarks(), rng(), MaskStyle("cup", "white"))[175:185, 140:160].mean()
    assert 60 < drawn < 140


def test_blur_and_noise_are_measured() -> None:
    import cv2

    noise = np.random.default_rng(0).normal(128, 10, (300, 300, 1)).clip(0, 255).astype(np.uint8)
    sharp = np.repeat(
        cv2.resize(noise[::4, ::4], (300, 300), interpolation=cv2.INTER_NEAREST)[..., None],
        3,
        axis=2,
    )
    sharp += np.random.default_rng(1).integers(0, 24, sharp.shape[:2], dtype=np.uint8)[..., None]
    blurred = np.asarray(cv2.GaussianBlur(sharp, (0, 0), 3), dtype=np.uint8)
    region = (0, 0, 300, 300)
    crisp, soft = (
        Light.of(image, Camera.fit(landmarks()), landmarks(), region) for image in (sharp, blurred)
    )
    assert soft.blur > crisp.blur + 0.5
    assert crisp.noise > soft.noise + 1


@pytest.mark.parametrize("eyes", [5.5, 9, 20, 220])
def test_faces_of_any_size(eyes: float) -> None:
    side = round(5 * eyes)
    points = landmarks(eyes, at=(side / 2, side / 3))
    for draw in (draw_mask, draw_occluder):
        assert (draw(photo(side, side), points, rng(1)) != photo(side, side)).any()


def test_faces_cut_by_the_edge_or_outside() -> None:
    for place in ((0, 0), (299, 299), (150, -60), (-200, 100), (5000, 5000)):
        points = landmarks(at=place)
        for number in range(4):
            assert draw_mask(photo(), points, rng(number)).shape == (300, 300, 3)
            assert draw_occluder(photo(), points, rng(number)).shape == (300, 300, 3)
    assert draw_mask(photo(1, 1), landmarks(), rng()).shape == (1, 1, 3)


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        (landmarks(turn=75), "turned too far"),
        (landmarks(turn=-90), "turned too far"),
        (landmarks(eyes=3), "too small"),
        (landmarks()[[1, 0, 2, 4, 3]], "mirrored"),
        (np.full((5, 2), np.nan, dtype=np.float32), "missing"),
        (np.full((5, 2), 7, dtype=np.float32), "too small"),
        (np.array([[0, 0], [60, 0], [30, 5], [5, 8], [55, 8]], dtype=np.float32), "turned too far"),
    ],
)
def test_what_cannot_be_drawn_on_is_told(points: np.ndarray, reason: str) -> None:
    found = find_obstacle(points)
    assert found is not None
    assert reason in found.reason
    assert (found.kind is ObstacleKind.TOO_SMALL) == ("small" in reason)
    with pytest.raises(MaskyoloError, match=reason):
        draw_mask(photo(), points, rng())


@pytest.mark.parametrize("turn", range(-50, 51, 10))
def test_an_upright_face_is_no_obstacle_and_its_turn_is_told(turn: int) -> None:
    assert find_obstacle(landmarks(turn=turn)) is None
    assert Camera.fit(landmarks(turn=turn)).turn == pytest.approx(abs(turn), abs=6)


def test_unknown_styles_are_told() -> None:
    with pytest.raises(MaskyoloError, match="surgical"):
        draw_mask(photo(), landmarks(), rng(), MaskStyle("scarf"))
    with pytest.raises(MaskyoloError, match="microphone"):
        draw_occluder(photo(), landmarks(), rng(), "mask")


def test_the_surface_is_where_the_camera_projects_it() -> None:
    camera, surface = Camera.fit(landmarks(turn=30, roll=10)), Surface()
    for x, y in ((0, 0.6), (-0.3, 1.2), (0.4, 1.7)):
        pixel = camera.project([surface.at(x, y)])[0].astype(np.float32)
        found = camera.on_surface(pixel[:1], pixel[1:], surface)
        assert [float(value[0]) for value in found] == pytest.approx([x, y], abs=1e-3)
    assert camera.on_surface(np.float32([9999]), np.float32([0]), surface)[0] == 9
