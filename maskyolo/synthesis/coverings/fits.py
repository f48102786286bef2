"""Fits: where on the face a mask sits, and what holds it there.

Each mask is a shape in mask coordinates: x from -1 to 1 between its sides, y from about 0.28 at its
upper edge to about 1.95 at its lower edge. Worn well, these are the coordinates of the mean face.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from maskyolo.synthesis.coverings.camera import FloatArray, Surface
from maskyolo.synthesis.coverings.canvas import Canvas

__all__ = ["Fit", "put_on"]

Point = tuple[float, float]

#: y of a mask's upper edge, and of its middle, in mask coordinates.
_TOP, _MIDDLE = 0.28, 1.1
#: Height of a mask worn well.
_HEIGHT = 1.67
#: z of the plane in which a mask hangs from an ear.
_EAR_DEPTH = -0.75


def put_on(canvas: Canvas, worn: str, rng: np.random.Generator) -> Fit:
    """Return the fit of a mask that is worn in one of the ways of `styles.WORN`."""
    if worn == "under the nose":
        return _Slipped.under_nose(rng)
    if worn == "on the chin":
        return _Slipped.on_chin(rng)
    return _Hanging(canvas, rng) if worn == "hanging from an ear" else Fit()


class Fit:
    """A mask that is worn well: over nose, mouth and chin."""

    def bend(self, surface: Surface) -> Surface:
        """Return the surface of the mask itself, given that of a mask worn well."""
        return surface

    def coordinates(
        self, canvas: Canvas, surface: Surface, rng: np.random.Generator
    ) -> tuple[FloatArray, FloatArray]:
        """Return the mask coordinates of each pixel, for a mask that sits slightly askew."""
        x, y = canvas.surface(self._placed(surface))
        tilt, right, down = rng.normal(0, (0.03, 0.025, 0.03)).clip(-0.06, 0.06).tolist()
        return x - right + tilt * (y - 1), y - down - tilt * x

    def ear_loops(
        self,
        canvas: Canvas,
        surface: Surface,
        upper: Point,
        lower: Point,
        width: float,
        color: FloatArray,
    ) -> None:
        """Draw the loops from two points of each side to the ears."""
        self.strap(canvas, surface, upper, [1.16, 0.25, -0.95], width, color)
        self.strap(canvas, surface, lower, [1.14, 0.8, -0.95], width, color)

    def strap(
        self,
        canvas: Canvas,
        surface: Surface,
        start: Point,
        end: list[float],
        width: float,
        color: FloatArray,
    ) -> None:
        """Draw a band from each visible side of a mask to behind the ear."""
        lean_x, lean_y = canvas.camera.lean
        surface = self._placed(surface)
        for sign in (-1, 1):
            x, y = self._on_face(sign * start[0], start[1])
            facing = (
                1 + 2 * surface.wide * x * lean_x + 2 * surface.tall * (y - surface.middle) * lean_y
            )
            if facing > 0.15:
                first, last = np.array(surface.at(x, y)), np.array([sign * end[0], end[1], end[2]])
                between = 0.5 * (first + last) + [sign * 0.05, 0, 0.06]
                canvas.line([first, between, last], width, color * 0.93)

    def _placed(self, surface: Surface) -> Surface:
        """Return the surface as it lies on the face."""
        return surface

    def _on_face(self, x: float, y: float) -> Point:
        """Return the point of the face where a point of the mask is."""
        return x, y


@dataclass(frozen=True)
class _Slipped(Fit):
    """A mask that has slipped down and is bunched up.

    Attributes:
        top: y on the face of the upper edge's middle.
        bunched: height of the mask, compared to a mask worn well.
        sag: how much higher than the middle the mask sits at its sides.
        down: how much lower on the face its surface is.
        back: how much farther back.
    """

    top: float
    bunched: float
    sag: float
    down: float
    back: float

    @classmethod
    def under_nose(cls, rng: np.random.Generator) -> _Slipped:
        """Return the fit of a mask that covers mouth and chin only."""
        top = rng.uniform(0.74, 0.98)
        return cls(
            top=top,
            bunched=(rng.uniform(1.95, 2.3) - top) / _HEIGHT,
            sag=rng.uniform(0.15, 0.4),
            down=0.35,
            back=rng.uniform(0.1, 0.2),
        )

    @classmethod
    def on_chin(cls, rng: np.random.Generator) -> _Slipped:
        """Return the fit of a mask that was pulled down below the mouth."""
        return cls(
            top=rng.uniform(1.38, 1.75),
            bunched=rng.uniform(0.6, 0.9) / _HEIGHT,
            sag=rng.uniform(0.3, 0.55),
            down=0.8,
            back=rng.uniform(0.2, 0.35),
        )

    def coordinates(
        self, canvas: Canvas, surface: Surface, rng: np.random.Generator
    ) -> tuple[FloatArray, FloatArray]:
        x, y = super().coordinates(canvas, surface, rng)
        return x, _TOP + (y + self.sag * x * x - self.top) / self.bunched

    def _placed(self, surface: Surface) -> Surface:
        return replace(surface, middle=surface.middle + self.down, depth=surface.depth - self.back)

    def _on_face(self, x: float, y: float) -> Point:
        return x, (y - _TOP) * self.bunched + self.top - self.sag * x * x


class _Hanging(Fit):
    """A mask that hangs down from one ear by a loop, seen obliquely: its x axis points down."""

    def __init__(self, canvas: Canvas, rng: np.random.Generator) -> None:
        # a turned head shows one ear only
        side = 1 if rng.random() < 0.5 + 2 * canvas.camera.lean[0] else -1
        self._ear = np.array([side * rng.uniform(1.1, 1.22), rng.uniform(0.45, 0.8)])
        swing = rng.normal(0, 0.12)
        down = np.linalg.solve(canvas.camera.matrix[:, :2], [np.sin(swing), np.cos(swing)])
        self._down = down / np.linalg.norm(down)
        self._across = np.array([self._down[1], -self._down[0]]) * (1 if rng.random() < 0.5 else -1)
        self._loop = rng.uniform(0.25, 0.5)  # its length
        self._slim = rng.uniform(0.3, 0.6)  # visible fraction of the mask's height

    def bend(self, surface: Surface) -> Surface:
        return replace(surface, wide=0.2, tall=0.3)

    def coordinates(
        self,
        canvas: Canvas,
        surface: Surface,  # noqa: ARG002  # a mask worn well needs both
        rng: np.random.Generator,  # noqa: ARG002
    ) -> tuple[FloatArray, FloatArray]:
        x, y = canvas.plane(_EAR_DEPTH)
        x, y = x - np.float32(self._ear[0]), y - np.float32(self._ear[1])
        along, across = (
            x * np.float32(axis[0]) + y * np.float32(axis[1]) for axis in (self._down, self._across)
        )
        return along - np.float32(self._loop + 1), across / np.float32(self._slim) + _MIDDLE

    def ear_loops(
        self,
        canvas: Canvas,
        surface: Surface,  # noqa: ARG002  # see above
        upper: Point,
        lower: Point,
        width: float,
        color: FloatArray,
    ) -> None:
        held = self._loop + 1
        for side, middle, end in ((-1, 1 + 0.5 * self._loop, held), (1, 1.5, 1.6)):
            for start in (upper, lower):
                points = [
                    self._at(side * start[0], start[1]),
                    self._at(side * middle, start[1]),
                    self._at(side * end, _MIDDLE),
                ]
                canvas.line(points, width, color * 0.93)

    def _at(self, x: float, y: float) -> list[float]:
        """Return the point in the mean face's space where a point of the mask is."""
        along, across = x + 1 + self._loop, (y - _MIDDLE) * self._slim
        return [*(self._ear + along * self._down + across * self._across), _EAR_DEPTH]
