"""Fit an affine camera to five landmarks, and map pixels to points on the surface of a covering."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "Camera",
    "FloatArray",
    "Landmarks",
    "Obstacle",
    "ObstacleKind",
    "Surface",
    "find_obstacle",
]

#: Actually float32: NumPy's types cannot express that a float32 array times a float stays float32.
FloatArray = npt.NDArray[np.floating[Any]]
Landmarks = npt.NDArray[np.float32]

# The mean face: right eye, left eye, nose tip, right and left corner of the mouth. The unit is the
# distance between the eyes (about 63 mm), the origin the midpoint between them; x points to the
# image's right, y down, z towards the viewer. The plane of eyes and mouth is that of ArcFace's
# alignment template (Deng et al. 2019, arXiv:1801.07698).
_FACE = np.array(
    [[-0.5, 0, 0], [0.5, 0, 0], [0, 0.57, 0.5], [-0.41, 1.14, 0.12], [0.41, 1.14, 0.12]]
)
#: Maximum turn in degrees: beyond it, too little of a mask is visible to place it by landmarks.
_MAX_TURN = 55.0
#: Minimum number of pixels between the eyes, and between eyes and mouth.
_MIN_FACE = 5.0


@dataclass(frozen=True)
class Surface:
    """The surface that a covering lies on: the paraboloid z = depth - wide x² - tall (y - middle)².

    All values are in units of the mean face.
    """

    depth: float = 0.58
    wide: float = 0.9
    tall: float = 0.34
    middle: float = 0.9

    def at(self, x: float, y: float) -> list[float]:
        """Return the point (x, y, z)."""
        return [x, y, self.depth - self.wide * x * x - self.tall * (y - self.middle) ** 2]


@dataclass(frozen=True)
class Camera:
    """Maps points of the mean face to pixels: matrix (2, 3) @ point (3,) + origin (2,)."""

    matrix: npt.NDArray[np.float64]
    origin: npt.NDArray[np.float64]

    @classmethod
    def fit(cls, landmarks: Landmarks) -> Camera:
        """Fit to five landmarks, float32 (5, 2), by least squares.

        Only the nose carries information about depth, so depth is regularized slightly.
        """
        points = np.column_stack([_FACE, np.ones(5)])
        ridge = np.diag([0.0, 0.0, 0.02, 0.0])
        solution = np.linalg.solve(
            points.T @ points + ridge, points.T @ landmarks.astype(np.float64)
        )
        return cls(solution[:3].T, solution[3])

    @property
    def area(self) -> float:
        """Square pixels per square unit in the plane of the face; negative if mirrored."""
        return float(np.linalg.det(self.matrix[:, :2]))

    @property
    def scale(self) -> float:
        """Pixels per unit in the plane of the face."""
        return float(np.sqrt(self.area))

    @property
    def lean(self) -> tuple[float, float]:
        """How much x and y change along a line of sight when z increases by one."""
        x, y = -np.linalg.solve(self.matrix[:, :2], self.matrix[:, 2])
        return float(x), float(y)

    @property
    def turn(self) -> float:
        """Angle in degrees by which the head is turned to a side."""
        return float(np.degrees(np.arctan(abs(self.lean[0]))))

    def project(self, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the pixels (n, 2) of points (n, 3)."""
        pixels: npt.NDArray[np.float64] = (
            np.asarray(points, dtype=np.float64) @ self.matrix.T + self.origin
        )
        return pixels

    def zoomed(self, zoom_x: float, zoom_y: float, left: float, top: float) -> Camera:
        """Return the camera of the region that starts at pixel (left, top), scaled."""
        zoom = np.array([zoom_x, zoom_y])
        return Camera(self.matrix * zoom[:, None], (self.origin - [left, top] + 0.5) * zoom - 0.5)

    def on_plane(
        self, xs: FloatArray, ys: FloatArray, depth: float
    ) -> tuple[FloatArray, FloatArray]:
        """Return the x and y of each pixel's point in the plane z = depth."""
        inverse = np.linalg.inv(self.matrix[:, :2]).astype(np.float32)
        origin = (self.origin + self.matrix[:, 2] * depth).astype(np.float32)
        dx, dy = xs - origin[0], ys - origin[1]
        return inverse[0, 0] * dx + inverse[0, 1] * dy, inverse[1, 0] * dx + inverse[1, 1] * dy

    def on_surface(
        self, xs: FloatArray, ys: FloatArray, surface: Surface
    ) -> tuple[FloatArray, FloatArray]:
        """Return x and y of the nearest point of a surface along each pixel's line of sight.

        Where the line misses the surface, both are 9.
        """
        x, y = self.on_plane(xs, ys, 0.0)
        lean_x, lean_y = (np.float32(value) for value in self.lean)
        wide, tall = np.float32(surface.wide), np.float32(surface.tall)
        off = y - np.float32(surface.middle)
        # z + wide (x + z lean_x)² + tall (off + z lean_y)² = depth, solved for the larger z
        square = max(wide * lean_x**2 + tall * lean_y**2, np.float32(1e-6))
        linear = 1 + 2 * wide * lean_x * x + 2 * tall * lean_y * off
        constant = wide * x * x + tall * off * off - np.float32(surface.depth)
        inner = linear * linear - 4 * square * constant
        root = np.sqrt(np.maximum(inner, 0))
        z = np.where(
            linear > 0,
            -2 * constant / np.maximum(linear + root, np.float32(1e-6)),
            (root - linear) / (2 * square),
        )
        seen = inner >= 0
        return np.where(seen, x + z * lean_x, np.float32(9)), np.where(
            seen, y + z * lean_y, np.float32(9)
        )


class ObstacleKind(Enum):
    """The kinds of reasons why nothing can be drawn on a face."""

    NO_LANDMARKS = "no landmarks"
    TOO_SMALL = "too small"
    TURNED = "turned too far"
    MIRRORED = "mirrored"


@dataclass(frozen=True)
class Obstacle:
    """Why nothing can be drawn on a face: the kind, and the reason in words."""

    kind: ObstacleKind
    reason: str


def find_obstacle(landmarks: Landmarks) -> Obstacle | None:
    """Return why nothing can be drawn on the face with these landmarks, float32 (5, 2), or None.

    Landmarks in an arrangement that no face has are treated as a detection error.
    """
    if not np.isfinite(landmarks).all():
        return Obstacle(ObstacleKind.NO_LANDMARKS, "landmarks missing")
    eyes = float(np.linalg.norm(landmarks[1] - landmarks[0]))
    height = float(np.linalg.norm(landmarks[3:].mean(0) - landmarks[:2].mean(0)))
    if max(eyes, height) < _MIN_FACE:
        reason = f"face too small: {eyes:.0f} pixels between the eyes"
        return Obstacle(ObstacleKind.TOO_SMALL, reason)
    if eyes < 0.4 * height or height < 0.4 * eyes:
        return Obstacle(ObstacleKind.TURNED, "head turned too far")
    camera = Camera.fit(landmarks)
    if camera.area <= 0:
        return Obstacle(ObstacleKind.MIRRORED, "landmarks mirrored")
    if camera.turn > _MAX_TURN:
        return Obstacle(ObstacleKind.TURNED, f"head turned too far: {camera.turn:.0f} degrees")
    return None
