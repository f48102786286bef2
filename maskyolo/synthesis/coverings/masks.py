"""Masks: each one is a shape with folds and seams on a surface in front of the face."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from maskyolo.synthesis.coverings.camera import FloatArray, Surface
from maskyolo.synthesis.coverings.canvas import Canvas
from maskyolo.synthesis.coverings.fits import Fit, put_on
from maskyolo.synthesis.coverings.styles import COLORS, MaskStyle
from maskyolo.synthesis.coverings.textures import one_side, pattern_tile, print_on, turned

__all__ = ["paint_mask"]


def paint_mask(canvas: Canvas, style: MaskStyle, rng: np.random.Generator) -> None:
    """Paint a mask in this style; cut and fit vary slightly."""
    _PAINTERS[style.kind](canvas, style, put_on(canvas, style.worn, rng), rng)


# --- kinds ---


def _surgical(canvas: Canvas, style: MaskStyle, fit: Fit, rng: np.random.Generator) -> None:
    surface = fit.bend(Surface(0.6, rng.uniform(0.8, 1.0), rng.uniform(0.3, 0.4)))
    x, y = fit.coordinates(canvas, surface, rng)
    across = np.abs(x)
    side, high, low = rng.uniform(0.86, 1.04), rng.uniform(0.2, 0.36), rng.uniform(1.78, 2.15)
    top = _peak(x, high, rng.uniform(0.2, 0.36), 1.5)
    bottom = low - rng.uniform(0.35, 0.65) * x * x
    down = (y - top) / np.maximum(bottom - top, 0.2)
    edge = np.minimum(np.minimum(y - top, bottom - y), side - across - 0.05 * np.sin(down * np.pi))
    color = _dye(style.color, rng)
    fit.ear_loops(
        canvas,
        surface,
        (side - 0.03, high + 0.27),
        (side - 0.03, low - 0.55),
        rng.uniform(0.03, 0.055),
        _loop_color(style, rng),
    )
    shade = _lit(x, y, surface, rng)
    depth = rng.uniform(0.08, 0.2)
    for pleat in np.linspace(0.3, 0.68, int(rng.integers(2, 5))) + rng.normal(0, 0.015):
        shade += _pleat(down, pleat + rng.normal(0, 0.01), rng.uniform(0.016, 0.03), depth)
    shade += _creases(x, y, rng, int(rng.integers(2, 6)), side, 0.14) + _rumpled(
        canvas, x, y, rng, 0.09
    )
    shade -= 0.12 * (_ridge(edge, 0.07, 0.012) + _ridge(y - top, 0.14, 0.015) * rng.uniform(0, 0.6))
    cloth = _shaded(color, shade)
    if rng.random() < 0.3 and style.color != "white":  # a white border
        cloth += ((edge < 0.055) * 0.6)[..., None] * (0.92 - cloth)
    canvas.lay(cloth, canvas.inside(edge, 1.3))


def _cloth(canvas: Canvas, style: MaskStyle, fit: Fit, rng: np.random.Generator) -> None:
    surface = fit.bend(
        Surface(rng.uniform(0.62, 0.72), rng.uniform(0.9, 1.1), rng.uniform(0.36, 0.46), 0.95)
    )
    x, y = fit.coordinates(canvas, surface, rng)
    across = np.abs(x)
    one_piece = rng.random() < 0.25  # the ear loops are cut from the same cloth
    side, high, low = (
        rng.uniform(0.9, 1.06) + 0.12 * one_piece,
        rng.uniform(0.22, 0.4),
        rng.uniform(1.72, 2.1),
    )
    top_end, bottom_end = rng.uniform(0.55, 0.72), rng.uniform(1.05, 1.4)
    reach = np.minimum(across / side, 1.1)
    top = _peak(x, high, (top_end - high) / side, 1.0)
    bottom = low - (low - bottom_end) * reach ** rng.uniform(1.6, 2.4)
    edge = np.minimum(np.minimum(y - top, bottom - y), side - across)
    color = _dye(style.color, rng)
    loop = color if rng.random() < 0.6 else _loop_color(style, rng)
    if one_piece:
        edge = np.minimum(
            edge, np.hypot(across - side, y - 0.5 * (top_end + bottom_end)) - rng.uniform(0.1, 0.2)
        )
    else:
        fit.ear_loops(
            canvas,
            surface,
            (side - 0.04, top_end + 0.07),
            (side - 0.04, bottom_end - 0.08),
            rng.uniform(0.035, 0.07),
            loop,
        )
    shade = _lit(x, y, surface, rng)
    if rng.random() < 0.7:  # a seam along the middle
        shade += rng.uniform(0.02, 0.07) * np.tanh(x / 0.15) - 0.14 * _ridge(x, 0, 0.012)
    shade += _creases(x, y, rng, int(rng.integers(2, 7)), side, 0.15) + _rumpled(
        canvas, x, y, rng, 0.08
    )
    shade -= rng.uniform(0.03, 0.15) * _ridge(edge, rng.uniform(0.05, 0.09), 0.01)
    dyed = color
    if style.pattern not in ("plain", "print"):
        angle = (
            rng.integers(2) * np.pi / 2 + rng.normal(0, 0.1)
            if style.pattern in ("stripes", "check")
            else rng.uniform(0, np.pi)
        )
        dyed = canvas.sample(
            pattern_tile(style.pattern, color, rng), *turned(x, y, angle), rng.uniform(0.3, 0.9)
        )
    elif style.pattern == "print":
        dyed = print_on(x, y, color, rng)
    canvas.lay(_shaded(dyed, shade), canvas.inside(edge, 1.3))


def _ffp2(canvas: Canvas, style: MaskStyle, fit: Fit, rng: np.random.Generator) -> None:
    surface = fit.bend(
        Surface(rng.uniform(0.72, 0.86), rng.uniform(1.1, 1.35), rng.uniform(0.45, 0.6), 1.0)
    )
    x, y = fit.coordinates(canvas, surface, rng)
    across = np.abs(x)
    side, high, low = rng.uniform(0.86, 1.0), rng.uniform(0.2, 0.32), rng.uniform(1.85, 2.1)
    top = _peak(x, high, rng.uniform(0.38, 0.5) / side, 1.1)
    bottom = low - (low - rng.uniform(1.15, 1.35)) * np.minimum(across / side, 1) ** 1.3
    edge = np.minimum(np.minimum(y - top, bottom - y), side - across)
    color = _dye(style.color, rng)
    fit.ear_loops(
        canvas,
        surface,
        (side - 0.05, high + 0.5),
        (side - 0.05, 1.15),
        rng.uniform(0.03, 0.06),
        _loop_color(style, rng),
    )
    shade = _lit(x, y, surface, rng)
    shade += one_side(rng) * rng.uniform(0.05, 0.12) * np.tanh(x / 0.05) * np.exp(-across)
    shade += 0.1 * _ridge(x, -0.02, 0.015) - 0.16 * _ridge(x, 0.012, 0.012)
    stitches = 0.6 + 0.4 * np.sign(np.sin((x + y) * 60))
    shade -= 0.13 * stitches * _ridge(edge, rng.uniform(0.05, 0.08), 0.012)
    shade += _creases(x, y, rng, int(rng.integers(1, 4)), side, 0.08) + _rumpled(
        canvas, x, y, rng, 0.05
    )
    clip = np.maximum(np.abs(y - top - 0.13) - 0.04, across - 0.32)
    shade += 0.05 * np.clip(-clip * 20, -1, 1) * (clip < 0.05)
    canvas.lay(_shaded(color, shade), canvas.inside(edge, 1.3))
    if rng.random() < 0.18:
        _valve(canvas, x, y, rng)


def _kf94(canvas: Canvas, style: MaskStyle, fit: Fit, rng: np.random.Generator) -> None:
    surface = fit.bend(
        Surface(rng.uniform(0.7, 0.8), rng.uniform(1.0, 1.2), rng.uniform(0.4, 0.5), 1.0)
    )
    x, y = fit.coordinates(canvas, surface, rng)
    across = np.abs(x)
    side, high, low = rng.uniform(0.94, 1.06), rng.uniform(0.2, 0.32), rng.uniform(1.85, 2.1)
    reach = np.minimum(across / side, 1)
    top = _peak(x, high, rng.uniform(0.3, 0.42), 1.3)
    bottom = low - (low - rng.uniform(1.2, 1.35)) * reach**1.4
    edge = np.minimum(np.minimum(y - top, bottom - y), side - across)
    upper = rng.uniform(0.62, 0.72) + 0.25 * reach**2
    lower = rng.uniform(1.42, 1.55) - 0.35 * reach**2
    color = _dye(style.color, rng)
    fit.ear_loops(
        canvas,
        surface,
        (side - 0.04, high + 0.47),
        (side - 0.04, 1.18),
        rng.uniform(0.03, 0.06),
        _loop_color(style, rng),
    )
    shade = _lit(x, y, surface, rng)
    shade -= rng.uniform(0.04, 0.1) * canvas.inside(upper - y, 3) + rng.uniform(
        0.08, 0.18
    ) * canvas.inside(y - lower, 3)
    shade -= 0.12 * (
        _ridge(y - upper, 0, 0.014) + _ridge(y - lower, 0, 0.014) + _ridge(edge, 0.06, 0.012)
    )
    shade += _creases(x, y, rng, int(rng.integers(1, 4)), side, 0.08) + _rumpled(
        canvas, x, y, rng, 0.05
    )
    canvas.lay(_shaded(color, shade), canvas.inside(edge, 1.3))


def _cup(canvas: Canvas, style: MaskStyle, fit: Fit, rng: np.random.Generator) -> None:
    surface = fit.bend(
        Surface(rng.uniform(0.8, 0.92), rng.uniform(1.2, 1.5), rng.uniform(0.6, 0.75), 1.0)
    )
    x, y = fit.coordinates(canvas, surface, rng)
    wide, tall, middle = rng.uniform(0.72, 0.84), rng.uniform(0.8, 0.9), rng.uniform(1.05, 1.12)
    narrow = 1 + 0.35 * np.clip((middle - y) / tall, 0, 1)  # narrower towards the nose
    edge = (1 - np.hypot(x * narrow / wide, (y - middle) / tall)) * wide
    strap = _dye(str(rng.choice(["yellow", "white", "gray", "black"])), rng)
    for end, start in ((0.0, middle - 0.3), (1.05, middle + 0.25)):
        fit.strap(
            canvas, surface, (wide - 0.12, start), [1.2, end, -1.0], rng.uniform(0.06, 0.1), strap
        )
    shade = _lit(x, y, surface, rng) - 0.15 * _ridge(edge, 0.06, 0.015)
    for line in rng.uniform(0.6, 1.6, int(rng.integers(0, 3))):
        shade -= 0.08 * _ridge(y, line, 0.02)
    metal = np.maximum(np.abs(y - (middle - tall + 0.13) - 0.2 * x * x) - 0.03, np.abs(x) - 0.28)
    canvas.lay(_shaded(_dye(style.color, rng), shade), canvas.inside(edge, 1.3))
    canvas.lay(np.full(3, 0.6, dtype=np.float32), canvas.inside(np.minimum(-metal, edge)) * 0.8)
    if rng.random() < 0.3:
        _valve(canvas, x, y, rng)


_PAINTERS: dict[str, Callable[[Canvas, MaskStyle, Fit, np.random.Generator], None]] = {
    "surgical": _surgical,
    "cloth": _cloth,
    "ffp2": _ffp2,
    "kf94": _kf94,
    "cup": _cup,
}


# --- parts ---


def _peak(x: FloatArray, high: float, drop: float, power: float) -> FloatArray:
    """Return the y of an upper edge that is highest, and rounded, at the nose."""
    edge: FloatArray = high + drop * ((x * x + 0.012) ** (power / 2) - 0.012 ** (power / 2))
    return edge


def _dye(name: str, rng: np.random.Generator) -> FloatArray:
    color = np.asarray(COLORS[name]) * rng.uniform(0.92, 1.04) + rng.normal(0, 5, 3)
    return np.clip(color / 255, 0.05, 0.97).astype(np.float32)


def _loop_color(style: MaskStyle, rng: np.random.Generator) -> FloatArray:
    return _dye(style.color if style.color == "black" else "white", rng) * 0.95


def _lit(x: FloatArray, y: FloatArray, surface: Surface, rng: np.random.Generator) -> FloatArray:
    """Return the brightness, about 1, of a surface lit from above and slightly from a side."""
    slope_x = (2 * surface.wide) * x
    slope_y = (2 * surface.tall) * (y - surface.middle)
    light_x, light_y, light_z = rng.uniform(-0.3, 0.3), rng.uniform(-0.6, -0.25), 0.8
    facing = (light_z + light_x * slope_x + light_y * slope_y) / np.sqrt(
        1 + slope_x**2 + slope_y**2
    )
    return np.asarray(0.72 + 0.36 * np.clip(facing, -0.4, 1), dtype=np.float32)


def _shaded(color: FloatArray, shade: FloatArray) -> FloatArray:
    """Return a color at this brightness; in dark cloth, folds are made visible by reflections."""
    shaded: FloatArray = color * shade[..., None] + 0.07 * np.maximum(shade - 0.65, 0)[..., None]
    return shaded


def _ridge(distance: FloatArray, at: float, width: float) -> FloatArray:
    away = (distance - at) / width
    return np.exp(-np.minimum(away * away, 30))


def _pleat(down: FloatArray, at: float, width: float, depth: float) -> FloatArray:
    """Return the change in brightness at a fold: dark below, light above."""
    return depth * (0.45 * _ridge(down, at - 2.2 * width, 1.8 * width) - _ridge(down, at, width))


def _creases(
    x: FloatArray, y: FloatArray, rng: np.random.Generator, count: int, side: float, depth: float
) -> FloatArray:
    """Return the change in brightness at soft folds that run from the sides to the middle."""
    shade: FloatArray = np.zeros_like(x)
    for _ in range(count):
        sign = one_side(rng)
        start, slope, width = rng.uniform(0.6, 1.5), rng.normal(0, 0.25), rng.uniform(0.03, 0.09)
        inwards = side - sign * x
        away = (y - start - slope * inwards) / width
        shade += (
            (rng.uniform(0.3, 1) * depth)
            * away
            * np.exp(-np.minimum(away * away, 30) - 2.5 * np.clip(inwards, 0, 4))
        )
    return shade


def _rumpled(
    canvas: Canvas, x: FloatArray, y: FloatArray, rng: np.random.Generator, depth: float
) -> FloatArray:
    """Return the change in brightness at irregular dents."""
    cells = np.tile(rng.integers(0, 256, (6, 9), dtype=np.uint8), (2, 2))
    dents = np.asarray(cv2.resize(cells, (128, 128), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
    return (canvas.sample(dents, x, y, 3.2) - 0.5) * (2 * rng.uniform(0.2, 1) * depth)


def _valve(canvas: Canvas, x: FloatArray, y: FloatArray, rng: np.random.Generator) -> None:
    at_x, at_y, radius = (
        0.36 * float(rng.integers(-1, 2)),
        rng.uniform(1.05, 1.3),
        rng.uniform(0.15, 0.22),
    )
    away = np.hypot(x - at_x, y - at_y)
    slots = np.float32(0.12) * (np.sin((y - at_y) * 70) > 0) * (away < 0.6 * radius)
    shade = 0.95 - 0.3 * _ridge(away, 0.75 * radius, 0.02) - slots + (at_y - y) * 0.5
    color = _dye(str(rng.choice(["white", "gray", "black", "blue"])), rng)
    canvas.lay(color * 0, canvas.inside(radius * 1.12 - away, 3) * 0.2)
    canvas.lay(_shaded(color, shade), canvas.inside(radius - away))
