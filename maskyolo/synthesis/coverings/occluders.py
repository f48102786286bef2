"""Occluders: things other than masks that hide the lower half of a face.

These are hands, objects held in front of the mouth, scarves, beards, and plain patches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import cv2
import numpy as np

from maskyolo.synthesis.coverings.camera import FloatArray, Surface
from maskyolo.synthesis.coverings.canvas import Canvas
from maskyolo.synthesis.coverings.styles import COLORS
from maskyolo.synthesis.coverings.textures import one_side, pattern_tile, turned

__all__ = ["OCCLUDERS", "paint_occluder"]

#: Kinds of occluder. A scarf counts as one, because even over mouth and nose it is not a mask.
OCCLUDERS = ("hand", "hands", "cup", "bottle", "phone", "microphone", "scarf", "patch", "beard")

#: x, y, radius of one end, then of the other, in units of the mean face.
Capsule = tuple[float, float, float, float, float, float]

# The back of a hand with the wrist at (0, 0) and the fingers up, in hand lengths: four metacarpals,
# four fingers of two segments each, and a thumb.
_PALM: tuple[Capsule, ...] = (
    (-0.06, 0.02, 0.085, -0.14, 0.5, 0.075),
    (-0.02, 0.02, 0.085, -0.05, 0.53, 0.075),
    (0.03, 0.02, 0.085, 0.05, 0.51, 0.072),
    (0.06, 0.03, 0.08, 0.14, 0.46, 0.065),
)
_FINGERS = (
    (-0.15, 0.5, 0.4, -6.0),
    (-0.05, 0.53, 0.45, -1.0),
    (0.05, 0.51, 0.41, 4.0),
    (0.145, 0.46, 0.32, 10.0),
)
_THUMB: tuple[Capsule, ...] = (
    (-0.09, 0.1, 0.075, -0.22, 0.3, 0.06),
    (-0.22, 0.3, 0.055, -0.25, 0.5, 0.045),
)


def paint_occluder(canvas: Canvas, kind: str, rng: np.random.Generator) -> None:
    """Paint one of `OCCLUDERS`, slightly different each time."""
    _PAINTERS[kind](canvas, rng)


def _hand(canvas: Canvas, rng: np.random.Generator) -> None:
    side = one_side(rng)
    _lay_hand(
        canvas,
        rng,
        side,
        rng.uniform(10, 80),
        (rng.normal(0, 0.1), rng.uniform(0.85, 1.1)),
        _skin(canvas, rng),
    )


def _hands(canvas: Canvas, rng: np.random.Generator) -> None:
    skin = _skin(canvas, rng)
    angle = rng.uniform(5, 50)
    for side in rng.permutation([-1.0, 1.0]):
        place = (side * rng.uniform(0.15, 0.4), rng.uniform(0.8, 1.1))
        _lay_hand(canvas, rng, float(side), angle + rng.normal(0, 6), place, skin)


def _cup(canvas: Canvas, rng: np.random.Generator) -> None:
    x, y = _tilted(canvas, rng, (rng.normal(0, 0.1), rng.uniform(0.62, 0.85)), 15)
    height, radius = rng.uniform(1.3, 1.8), rng.uniform(0.45, 0.62)
    taper = rng.uniform(0.1, 0.22)
    reach = radius - taper * (y / height)
    # the rim, seen slightly from below or above
    lip = 0.1 * np.sqrt(np.maximum(1 - (x / radius) ** 2, 0))
    edge = np.minimum(np.minimum(reach - np.abs(x), y + lip), height - y + lip)
    color = _paint(rng)
    dyed = np.broadcast_to(color, (*x.shape, 3))
    if rng.random() < 0.5:
        start, stop = np.sort(rng.uniform(0.1, height, 2))
        dyed = np.where(((y > start) & (y < stop))[..., None], _paint(rng), dyed)
    if rng.random() < 0.5:
        dyed = np.where((y < 0.14)[..., None], _paint(rng), dyed)
    canvas.lay(_round(dyed, x / np.maximum(reach, 0.1), rng), canvas.inside(edge))
    _lay_grip(canvas, rng, (0.0, rng.uniform(1.3, 1.7)), radius)


def _bottle(canvas: Canvas, rng: np.random.Generator) -> None:
    x, y = _tilted(canvas, rng, (rng.normal(0, 0.1), rng.uniform(0.1, 0.5)), 25)
    radius, neck, shoulder = rng.uniform(0.36, 0.5), rng.uniform(0.13, 0.18), rng.uniform(0.25, 0.5)
    grown = np.clip((y - shoulder) / 0.4, 0, 1)
    reach = neck + (radius - neck) * (grown * grown * (3 - 2 * grown))
    edge = np.minimum(np.minimum(reach - np.abs(x), y), 3.2 - y)
    color = _paint(rng)
    dyed = np.broadcast_to(color, (*x.shape, 3))
    dyed = np.where((y < 0.16)[..., None], _paint(rng), dyed)
    start = rng.uniform(shoulder + 0.4, shoulder + 0.7)
    dyed = np.where(
        ((y > start) & (y < start + rng.uniform(0.4, 0.9)))[..., None], _paint(rng), dyed
    )
    canvas.lay(_round(dyed, x / np.maximum(reach, 0.05), rng), canvas.inside(edge))
    if rng.random() < 0.7:
        _lay_grip(canvas, rng, (0.0, rng.uniform(1.6, 2.1)), radius)


def _phone(canvas: Canvas, rng: np.random.Generator) -> None:
    x, y = _tilted(canvas, rng, (rng.normal(0, 0.15), rng.uniform(1.3, 1.7)), 30)
    half_width, half_height = rng.uniform(0.55, 0.65), rng.uniform(1.15, 1.3)
    if rng.random() < 0.25:
        x, y = y, -x
    edge = _rounded(x, y, half_width, half_height, 0.12)
    color = (
        _paint(rng) if rng.random() < 0.5 else np.full(3, rng.uniform(0.04, 0.2), dtype=np.float32)
    )
    sheen = 0.9 + 0.12 * np.tanh((x + y * 0.6 + rng.normal(0, 0.4)) * 3)
    canvas.lay(color * sheen[..., None] + 0.03, canvas.inside(edge))
    canvas.lay(color * 0.6, canvas.inside(0.03 - np.abs(edge - 0.03)))
    left, top = -half_width + 0.28, -half_height + 0.32
    canvas.lay(color * 0.75, canvas.inside(_rounded(x - left, y - top, 0.2, 0.24, 0.07)))
    for dy in (-0.11, 0.11):
        lens = np.hypot(x - (left - 0.06), y - (top + dy))
        canvas.lay(np.full(3, 0.02, dtype=np.float32), canvas.inside(0.08 - lens))
    _lay_grip(canvas, rng, (0.0, rng.uniform(1.6, 2.0)), half_width)


def _microphone(canvas: Canvas, rng: np.random.Generator) -> None:
    x, y = _tilted(canvas, rng, (rng.normal(0, 0.1), rng.uniform(0.95, 1.2)), 50)
    radius = rng.uniform(0.3, 0.48)
    reach = (0.55 * radius) - 0.05 * y
    canvas.lay(
        _round(np.broadcast_to(_paint(rng, dark=True), (*x.shape, 3)), x / reach, rng),
        canvas.inside(np.minimum(reach - np.abs(x), y)),
    )
    away = np.hypot(x, y) / radius
    mesh = 0.8 + 0.2 * np.sign(np.sin((x + y) * 50) * np.sin((x - y) * 50))
    ball = 0.4 + 0.6 * np.sqrt(np.maximum(1 - away * away, 0)) - 0.3 * y
    canvas.lay(
        _paint(rng, dark=rng.random() < 0.7) * (ball * mesh)[..., None],
        canvas.inside((1 - away) * radius),
    )
    _lay_grip(canvas, rng, (0.0, rng.uniform(1.9, 2.3)), 0.3)


def _scarf(canvas: Canvas, rng: np.random.Generator) -> None:
    x, y = canvas.surface(
        Surface(rng.uniform(0.68, 0.8), rng.uniform(0.6, 0.75), rng.uniform(0.2, 0.3), 1.0)
    )
    cells = rng.normal(0, 1, (7, 4)).astype(np.float32)
    wave = cv2.resize(cells, (64, 64), interpolation=cv2.INTER_CUBIC)
    bent = cv2.remap(
        wave, (x + 1.6) * 20, (y + 0.3) * 20, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    top = rng.uniform(0.35, 0.7) + rng.uniform(0, 0.2) * x * x + rng.normal(0, 0.12) * x
    edge = np.minimum(np.minimum(y - top + 0.04 * bent, 1.3 - np.abs(x)), rng.uniform(2.5, 3.2) - y)
    color = _paint(rng)
    pattern = str(
        rng.choice(["plain", "stripes", "check", "dots", "flowers"], p=[0.5, 0.2, 0.2, 0.05, 0.05])
    )
    flow = y + 0.18 * bent
    dyed = canvas.sample(pattern_tile(pattern, color, rng), x, flow, rng.uniform(0.5, 1.2))
    shade = 0.85 + 0.2 * bent * 0.5
    for fold in np.sort(rng.uniform(0.8, 2.7, int(rng.integers(3, 7)))):
        away = (flow + rng.normal(0, 0.2) * x - fold) / rng.uniform(0.06, 0.14)
        shade -= rng.uniform(0.1, 0.35) * (1 - 0.8 * away) * np.exp(-np.minimum(away * away, 30))
    if rng.random() < 0.6:  # knitted
        count = rng.uniform(30, 60)
        shade *= 0.88 + 0.12 * np.sin(x * count + np.abs(np.sin(flow * count)) * 2)
    canvas.lay(dyed * shade[..., None], canvas.inside(edge, 2.5))


def _patch(canvas: Canvas, rng: np.random.Generator) -> None:
    x, y = _tilted(canvas, rng, (rng.normal(0, 0.12), rng.uniform(1.0, 1.25)), 20)
    half_width, half_height = rng.uniform(0.6, 1.1), rng.uniform(0.55, 0.8)
    edge = _rounded(x, y, half_width, half_height, rng.choice([0.0, 0.1, 0.5]))
    what = rng.integers(4)
    if what == 0:
        filling = np.broadcast_to(_paint(rng), (*x.shape, 3))
    elif what == 1:  # a sheet of paper
        lines = 1 - 0.5 * (np.mod(y, 0.12) < 0.035) * (
            np.sin(x * 23 + np.floor(y / 0.12) * 9) > -0.4
        )
        filling = 0.93 * np.repeat(lines[..., None], 3, axis=2)
    elif what == 2:  # pixelated or blurred
        cells = max(2, round(canvas.below.shape[1] / canvas.scale / rng.uniform(0.15, 0.4)))
        rows = max(2, round(cells * canvas.below.shape[0] / canvas.below.shape[1]))
        few = cv2.resize(canvas.below, (cells, rows), interpolation=cv2.INTER_AREA)
        method = cv2.INTER_NEAREST if rng.random() < 0.6 else cv2.INTER_CUBIC
        filling = np.asarray(cv2.resize(few, x.shape[::-1], interpolation=method), dtype=np.float32)
    else:
        filling = canvas.sample(
            pattern_tile(
                str(rng.choice(["stripes", "check", "dots", "flowers"])), _paint(rng), rng
            ),
            x,
            y,
            rng.uniform(0.4, 1.2),
        )
    canvas.lay(np.asarray(filling, dtype=np.float32), canvas.inside(edge))


def _beard(canvas: Canvas, rng: np.random.Generator) -> None:
    x, y = canvas.surface(Surface())
    across = np.abs(x)
    low = rng.uniform(1.8, 2.3)
    cheek = rng.uniform(0.75, 0.95) + 0.25 * np.cos(across * 4.2) * rng.uniform(-1, 0.2)
    outline = np.minimum(y - cheek, (1 - np.hypot(x / 0.95, (y - 1.0) / (low - 1.0))) * 0.9)
    mouth = np.hypot(x / 0.36, (y - 1.14) / rng.uniform(0.08, 0.16)) - 1
    edge = np.minimum(outline, mouth * 0.15)
    noise = np.tile(rng.integers(0, 256, (48, 48), dtype=np.uint8), (2, 2))
    down = y + 0.25 * across * across
    hair = canvas.sample(noise, x * 1, down * 0.16, 0.8) - 0.5
    curls = canvas.sample(noise, x, down, 3.0) - 0.5
    tone = np.asarray(
        ((0.09, 0.07, 0.06), (0.2, 0.13, 0.09), (0.4, 0.27, 0.15), (0.5, 0.49, 0.48))[
            int(rng.choice(4, p=[0.45, 0.3, 0.1, 0.15]))
        ]
    )
    color = (tone * rng.uniform(0.8, 1.3)).astype(np.float32)
    thick = np.clip((edge + 0.1 * hair + 0.08 * curls) / rng.uniform(0.08, 0.2), 0, 1)
    shade = 1 + 0.9 * hair + 0.35 * curls - 0.25 * (y - 1)
    canvas.lay(color * np.clip(shade, 0.3, 2)[..., None], thick * rng.uniform(0.75, 0.96))


_PAINTERS: dict[str, Callable[[Canvas, np.random.Generator], None]] = {
    "hand": _hand,
    "hands": _hands,
    "cup": _cup,
    "bottle": _bottle,
    "phone": _phone,
    "microphone": _microphone,
    "scarf": _scarf,
    "patch": _patch,
    "beard": _beard,
}


# --- parts ---


def _tilted(
    canvas: Canvas, rng: np.random.Generator, place: tuple[float, float], max_angle: float
) -> tuple[FloatArray, FloatArray]:
    """Return x and y relative to a place in front of the face, turned by up to `max_angle`."""
    x, y = canvas.plane()
    return turned(x - place[0], y - place[1], math.radians(rng.uniform(-max_angle, max_angle)))


def _rounded(
    x: FloatArray, y: FloatArray, half_width: float, half_height: float, radius: float
) -> FloatArray:
    """Return the distance to the edge of a rectangle with round corners, positive inside."""
    dx, dy = np.abs(x) - (half_width - radius), np.abs(y) - (half_height - radius)
    outside = np.hypot(np.maximum(dx, 0), np.maximum(dy, 0))
    return np.asarray(radius - outside - np.minimum(np.maximum(dx, dy), 0), dtype=np.float32)


def _paint(rng: np.random.Generator, dark: bool = False) -> FloatArray:
    """Choose a color, RGB from 0 to 1: often one typical of masks, so that it reveals nothing."""
    color = (
        np.asarray(list(COLORS.values())[int(rng.integers(len(COLORS)))]) / 255
        if rng.random() < 0.6
        else rng.random(3)
    )
    return np.clip(color * (0.25 if dark else 1), 0.03, 0.97).astype(np.float32)


def _round(color: FloatArray, across: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Shade a cylinder; `across` runs from -1 to 1 between its edges."""
    light = rng.uniform(-0.5, 0.5)
    height = np.sqrt(np.maximum(1 - across * across, 0))
    shade = 0.45 + 0.5 * height + 0.25 * light * across
    gloss = rng.uniform(0, 0.35) * np.exp(-(((across - light) / 0.12) ** 2))
    return np.asarray(color * shade[..., None] + gloss[..., None], dtype=np.float32)


def _skin(canvas: Canvas, rng: np.random.Generator) -> FloatArray:
    return np.clip(canvas.skin * rng.uniform(0.95, 1.08) + rng.normal(0, 0.012, 3), 0.03, 1).astype(
        np.float32
    )


def _lay_hand(
    canvas: Canvas,
    rng: np.random.Generator,
    side: float,
    angle: float,
    place: tuple[float, float],
    skin: FloatArray,
) -> None:
    """Draw a hand with its fingers at `place`.

    It reaches up from below, turned by `angle` degrees to `side` (-1 or 1).
    """
    length = rng.uniform(2.3, 2.9)
    thumb = one_side(rng)
    spread = rng.uniform(-0.2, 1.2)
    capsules = list(_PALM)
    tips = []
    for x, y, reach, lean in _FINGERS:
        first = math.radians(lean * spread + rng.normal(0, 1.5))
        second = first + math.radians(rng.normal(0, 5))
        joint = x + 0.5 * reach * math.sin(first), y + 0.5 * reach * math.cos(first)
        tip = joint[0] + 0.5 * reach * math.sin(second), joint[1] + 0.5 * reach * math.cos(second)
        capsules += [(x, y, 0.056, *joint, 0.05), (*joint, 0.05, *tip, 0.04)]
        tips.append(tip)
    capsules += _THUMB
    capsules += [(0.0, -0.7, 0.13, 0.0, 0.04, 0.115)]
    turn = math.radians(angle) * -side
    cos, sin = math.cos(turn), math.sin(turn)
    middle = rng.uniform(0.6, 0.75)

    def to_face(x: float, y: float) -> tuple[float, float]:
        x, y = thumb * x * length, (middle - y) * length  # y points up in the hand
        return place[0] + cos * x - sin * y, place[1] + sin * x + cos * y

    placed = [
        (*to_face(x0, y0), r0 * length, *to_face(x1, y1), r1 * length)
        for x0, y0, r0, x1, y1, r1 in capsules
    ]
    height, edge = _relief(canvas, placed, flat=len(_PALM))
    _lay_skin(canvas, height, edge, skin, rng)
    across, down = canvas.plane()
    if rng.random() < 0.7:  # nails
        for tip in tips:
            at_x, at_y = to_face(*tip)
            nail = (0.032 * length) - np.hypot(across - at_x, down - at_y)
            canvas.lay(
                np.clip(skin * [1.08, 1.0, 1.0] + 0.05, 0, 1).astype(np.float32),
                canvas.inside(nail, 2) * 0.45,
            )
    if rng.random() < 0.5:  # a sleeve
        start = to_face(0.0, rng.uniform(-0.25, 0.0))
        sleeve = [(*start, 0.15 * length, *to_face(0.0, -0.8), 0.18 * length)]
        height, edge = _relief(canvas, sleeve)
        shade = 0.5 + 0.4 * height / (0.16 * length)
        canvas.lay(_paint(rng) * shade[..., None], canvas.inside(edge))


def _lay_grip(
    canvas: Canvas, rng: np.random.Generator, place: tuple[float, float], half_width: float
) -> None:
    """Draw the fingers of a hand that holds something from one side."""
    side = one_side(rng)
    capsules: list[Capsule] = []
    for finger in range(4):
        y = place[1] + 0.25 * finger + rng.normal(0, 0.015)
        tip = place[0] - side * (half_width * rng.uniform(0.1, 0.6))
        outer = place[0] + side * (half_width + 0.25)
        capsules += [
            (tip, y, 0.1, 0.5 * (tip + outer), y - 0.03, 0.12),
            (0.5 * (tip + outer), y - 0.03, 0.12, outer, y + 0.08, 0.13),
        ]
    knuckles = place[0] + side * (half_width + 0.25)
    capsules += [(knuckles, place[1] + 0.1, 0.14, knuckles + side * 0.1, place[1] + 0.85, 0.2)]
    capsules += [(knuckles, place[1] + 0.6, 0.3, knuckles + side * 0.5, place[1] + 2.2, 0.32)]
    height, edge = _relief(canvas, capsules)
    _lay_skin(canvas, height, edge, _skin(canvas, rng), rng)


def _relief(
    canvas: Canvas, capsules: Sequence[Capsule], flat: int = 0
) -> tuple[FloatArray, FloatArray]:
    """Return the height of capsules in front of the face, and the distance from their outline.

    The distance is positive inside. The first `flat` capsules are flattened.
    """
    x, y = canvas.plane()
    height: FloatArray = np.zeros_like(x)
    edge: FloatArray = np.full_like(x, -9)
    for number, (x0, y0, r0, x1, y1, r1) in enumerate(capsules):
        pixels = canvas.camera.project([[x0, y0, 0.7], [x1, y1, 0.7]])
        reach = (max(r0, r1) + 0.05) * float(np.linalg.norm(canvas.camera.matrix[:, :2], 2))
        left, top = np.maximum(0, np.floor(pixels.min(0) - reach)).astype(int)
        right, bottom = np.maximum(0, np.ceil(pixels.max(0) + reach)).astype(int)
        there = np.s_[top:bottom, left:right]
        if not height[there].size:
            continue
        dx, dy = (x1 - x0), (y1 - y0)
        off_x, off_y = x[there] - x0, y[there] - y0
        along = np.clip((off_x * dx + off_y * dy) / max(dx * dx + dy * dy, 1e-6), 0, 1)
        radius = r0 + (r1 - r0) * along
        inside = radius - np.hypot(off_x - along * dx, off_y - along * dy)
        raised = np.sqrt(np.maximum(inside * (2 * radius - inside), 0))
        if number < flat:
            raised = 0.55 * raised + 0.02
        np.maximum(height[there], raised, out=height[there])
        np.maximum(edge[there], inside, out=edge[there])
    return height, edge


def _lay_skin(
    canvas: Canvas, height: FloatArray, edge: FloatArray, skin: FloatArray, rng: np.random.Generator
) -> None:
    sigma = max(0.5, 0.02 * canvas.scale)
    smooth = cv2.GaussianBlur(height, (0, 0), sigma) * canvas.scale
    slope_x, slope_y = (
        cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=0.125),
        cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=0.125),
    )
    light_x, light_y = rng.uniform(-0.35, 0.35), rng.uniform(0.2, 0.5)
    facing = (0.85 - light_x * slope_x + light_y * slope_y) / np.sqrt(1 + slope_x**2 + slope_y**2)
    facing = np.clip(facing, -0.2, 1)[..., None]
    warm = np.array([0.68, 0.56, 0.52], dtype=np.float32)  # light through skin turns red
    canvas.lay(skin * (warm + (1.06 - warm) * facing), canvas.inside(edge, 1.5))
