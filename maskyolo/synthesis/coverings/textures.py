"""Textures of cloth (patterns and prints), and geometry shared by masks and occluders."""

from __future__ import annotations

import math

import cv2
import numpy as np

from maskyolo.core.images import ImageArray
from maskyolo.synthesis.coverings.camera import FloatArray
from maskyolo.synthesis.coverings.styles import COLORS

__all__ = ["one_side", "pattern_tile", "print_on", "turned"]


def pattern_tile(pattern: str, color: FloatArray, rng: np.random.Generator) -> ImageArray:
    """Return a square tile that repeats seamlessly, RGB uint8 (96, 96, 3).

    It combines `color` (RGB from 0 to 1) with other colors chosen to go with it.
    """
    side = 96
    base = color * 255
    other = _other(base, rng)
    tile: ImageArray = np.full((side, side, 3), base, dtype=np.uint8)
    if pattern in ("stripes", "check"):
        for _ in range(int(rng.integers(1, 4))):
            start, width = int(rng.integers(side)), int(rng.integers(6, side // 2))
            band = (np.arange(start, start + width)) % side
            if pattern == "check":
                tile[band] = 0.5 * tile[band] + 0.5 * other
                tile[:, band] = 0.5 * tile[:, band] + 0.5 * other
            else:
                tile[band] = other
            other = _other(base, rng)
    elif pattern in ("dots", "flowers"):
        for _ in range(2 if pattern == "dots" else int(rng.integers(3, 8))):
            x, y, radius = (
                int(rng.integers(side)),
                int(rng.integers(side)),
                int(rng.integers(8, 20)),
            )
            for dx in (-side, 0, side):
                for dy in (-side, 0, side):
                    if pattern == "dots":
                        cv2.circle(tile, (x + dx, y + dy), radius, other.tolist(), -1, cv2.LINE_AA)
                    else:
                        _flower(tile, x + dx, y + dy, radius, other)
            other = other if pattern == "dots" else _other(base, rng)
    elif pattern == "camouflage":
        for _ in range(3):
            cells = np.tile(rng.random((5, 5), dtype=np.float32), (3, 3))
            blobs = cv2.resize(cells, (3 * side, 3 * side), interpolation=cv2.INTER_CUBIC)[
                side : 2 * side, side : 2 * side
            ]
            tile[blobs > 0.58] = other
            other = _other(base, rng)
    return tile


def _flower(tile: ImageArray, x: int, y: int, radius: int, color: FloatArray) -> None:
    for angle in np.arange(5) * 2 * np.pi / 5:
        petal = round(x + 0.6 * radius * np.cos(angle)), round(y + 0.6 * radius * np.sin(angle))
        cv2.circle(tile, petal, max(2, radius // 2), color.tolist(), -1, cv2.LINE_AA)
    cv2.circle(tile, (x, y), max(1, radius // 4), (230, 200, 80), -1, cv2.LINE_AA)


def _other(base: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Choose a color, 0 to 255, that differs visibly from the base."""
    if rng.random() < 0.5:
        return np.asarray(
            np.clip(base + one_side(rng) * rng.uniform(40, 90), 0, 255), dtype=np.float32
        )
    return np.asarray(list(COLORS.values())[int(rng.integers(len(COLORS)))], dtype=np.float32)


def print_on(
    x: FloatArray, y: FloatArray, color: FloatArray, rng: np.random.Generator
) -> FloatArray:
    """Print letters, a logo or a smile on plain cloth."""
    side = 96
    sheet = np.zeros((side, side), dtype=np.uint8)
    what = rng.integers(3)
    if what == 0:
        text = "".join(rng.choice(list("ABCDEFGHIKLMNOPRSTUVXYZ"), int(rng.integers(2, 5))))
        cv2.putText(
            sheet,
            text,
            (4, 60),
            int(rng.choice([0, 2, 3, 4])),
            88 / (22 * len(text)),
            (255,),
            3,
            cv2.LINE_AA,
        )
    elif what == 1:
        cv2.circle(sheet, (48, 48), 36, (255,), int(rng.choice([-1, 8])), cv2.LINE_AA)
        cv2.circle(sheet, (48, 48), 14, (int(rng.choice([0, 255])),), -1, cv2.LINE_AA)
    else:
        cv2.ellipse(
            sheet, (48, 30), (40, 30), 0, 15, 165, (255,), int(rng.choice([-1, 5])), cv2.LINE_AA
        )
    size = rng.uniform(0.35, 0.9)
    left, top = (-size / 2 if what == 2 else rng.uniform(-0.6, 0.1)), rng.uniform(0.7, 1.1)
    zoom = side / size
    ink = cv2.remap(sheet, (x - left) * zoom, (y - top) * zoom, cv2.INTER_LINEAR)[..., None] / 255
    return np.asarray(color + ink * (_other(color * 255, rng) / 255 - color), dtype=np.float32)


def turned(x: FloatArray, y: FloatArray, angle: float) -> tuple[FloatArray, FloatArray]:
    """Return coordinates rotated by an angle in radians."""
    cos, sin = math.cos(angle), math.sin(angle)
    return cos * x + sin * y, cos * y - sin * x


def one_side(rng: np.random.Generator) -> float:
    """Return -1 or 1."""
    return -1.0 if rng.random() < 0.5 else 1.0
