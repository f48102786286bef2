"""The canvas for a covering (layers, edges, lines, patterns), and its blending into the photo."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from maskyolo.core.images import ImageArray
from maskyolo.errors import MaskyoloError
from maskyolo.synthesis.coverings.camera import (
    Camera,
    FloatArray,
    Landmarks,
    Surface,
    find_obstacle,
)
from maskyolo.synthesis.coverings.light import Light

__all__ = ["Canvas", "draw_on_face"]

# Resolution in pixels per unit of the mean face. Below the first value, a covering is drawn larger
# and then shrunk, for smooth edges; above the second, it is drawn smaller and enlarged, for speed.
_FINE, _FINEST = 44.0, 150.0

Extent = tuple[float, float, float, float]


class Canvas:
    """A drawing over one face, at a resolution suited to its size.

    Attributes:
        camera: maps points of the mean face to pixels of the canvas.
        skin: RGB from 0 to 1 of the face's skin in full light.
        below: the photo's pixels under the canvas, RGB from 0 (black) to 1 (full light).
        color: the drawing as in full light, RGB from 0 to 1, premultiplied by alpha.
        alpha: the drawing's opacity.
    """

    def __init__(self, below: FloatArray, camera: Camera, skin: FloatArray) -> None:
        self.below = below
        self.camera = camera
        self.skin = skin
        self.scale = camera.scale
        height, width = below.shape[:2]
        self.xs = np.broadcast_to(np.arange(width, dtype=np.float32), (height, width))
        self.ys = np.broadcast_to(np.arange(height, dtype=np.float32)[:, None], (height, width))
        self.color: FloatArray = np.zeros((height, width, 3), dtype=np.float32)
        self.alpha: FloatArray = np.zeros((height, width), dtype=np.float32)

    def surface(self, surface: Surface) -> tuple[FloatArray, FloatArray]:
        """Return x and y on a surface for every pixel; see `Camera.on_surface`."""
        return self.camera.on_surface(self.xs, self.ys, surface)

    def plane(self, depth: float = 0.7) -> tuple[FloatArray, FloatArray]:
        """Return x and y on a plane in front of the face for every pixel."""
        return self.camera.on_plane(self.xs, self.ys, depth)

    def inside(self, distance: FloatArray, soft: float = 1.0) -> FloatArray:
        """Convert distances from an edge (in units, positive inside) to alpha.

        The edge is `soft` pixels wide.
        """
        alpha = distance * (self.scale / soft) + 0.5
        return np.asarray(np.clip(alpha, 0, 1, out=alpha), dtype=np.float32)

    def lay(self, color: FloatArray, alpha: FloatArray) -> None:
        """Add a layer, RGB (H, W, 3) or (3,), on top of the drawing."""
        rows, columns = np.flatnonzero(alpha.any(1)), np.flatnonzero(alpha.any(0))
        if not len(rows):
            return
        there = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        above = alpha[there][..., None]
        self.color[there] *= 1 - above
        self.color[there] += above * (color if color.ndim == 1 else color[there])
        self.alpha[there] += above[..., 0] * (1 - self.alpha[there])

    def line(self, points: npt.ArrayLike, width: float, color: FloatArray) -> None:
        """Draw a parabola through three points (3, 3), `width` units wide, that fades out."""
        first, middle, last = self.camera.project(points)
        along = np.linspace(0, 1, 16)[:, None]
        curve = (
            first * (1 - along) * (1 - 2 * along)
            + middle * 4 * along * (1 - along)
            + last * along * (2 * along - 1)
        )
        thick = max(1, round(width * self.scale))
        drawn = np.zeros(self.alpha.shape, dtype=np.uint8)
        cv2.polylines(
            drawn, [np.round(curve * 16).astype(np.int32)], False, (255,), thick, cv2.LINE_AA, 4
        )
        way = (last - first) / max(float(np.sum((last - first) ** 2)), 1e-6)
        # the remaining fraction of the way to the last point
        left = 1 - (self.xs * float(way[0]) + self.ys * float(way[1]) - float(first @ way))
        self.lay(
            color, drawn * np.clip(left * 4, 0, 1) * (min(1.0, width * self.scale / thick) / 255)
        )

    def sample(self, tile: ImageArray, x: FloatArray, y: FloatArray, period: float) -> FloatArray:
        """Repeat a square tile every `period` units over x and y; return RGB or gray, 0 to 1."""
        side = int(np.clip(period * self.scale, 2, tile.shape[0]))
        shrunk = cv2.resize(tile, (side, side), interpolation=cv2.INTER_AREA)
        wrapped = cv2.copyMakeBorder(shrunk, 0, 1, 0, 1, cv2.BORDER_WRAP)
        repeat = side / period
        at_x, at_y = np.mod(x * repeat, side), np.mod(y * repeat, side)
        return np.asarray(cv2.remap(wrapped, at_x, at_y, cv2.INTER_LINEAR), dtype=np.float32) / 255


def draw_on_face(
    image: ImageArray,
    landmarks: Landmarks,
    rng: np.random.Generator,
    extent: Extent,
    paint: Callable[[Canvas], None],
) -> ImageArray:
    """Draw on a canvas over a face, and blend the drawing into a copy of the photo, in its light.

    Args:
        image: BGR uint8 (H, W, 3).
        landmarks: five landmarks, float32 (5, 2).
        rng: decides the strength of the light, the shadow and the noise.
        extent: minimum x, maximum x, minimum y, maximum y of the canvas, in units of the mean face.
        paint: draws on the canvas.

    Returns:
        BGR uint8 (H, W, 3).

    Raises:
        MaskyoloError: nothing can be drawn on this face.
    """
    landmarks = np.asarray(landmarks, dtype=np.float32).reshape(5, 2)
    if obstacle := find_obstacle(landmarks):
        raise MaskyoloError(f"cannot draw on this face: {obstacle.reason}", "choose another face")
    camera = Camera.fit(landmarks)
    left, top, right, bottom = _region(camera, extent, image)
    if right - left < 2 or bottom - top < 2:
        return np.array(image)
    part = image[top:bottom, left:right]
    zoom = (
        min(max(_FINE / camera.scale, 1.0), 8.0)
        if camera.scale < _FINEST
        else _FINEST / camera.scale
    )
    zoom = np.ceil(zoom) if zoom > 1 else zoom
    size = max(1, round(part.shape[1] * zoom)), max(1, round(part.shape[0] * zoom))
    light = Light.of(image, camera, landmarks, _region(camera, (-1.6, 1.6, -1.0, 2.6), image))
    below = (
        np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_LINEAR), dtype=np.float32)[
            ..., ::-1
        ]
        / 255
    )
    canvas = Canvas(
        (below / light.white[::-1]).astype(np.float32),
        camera.zoomed(size[0] / part.shape[1], size[1] / part.shape[0], left, top),
        light.skin,
    )
    paint(canvas)
    layer = np.dstack([canvas.color, canvas.alpha])
    if zoom != 1:
        method = cv2.INTER_AREA if zoom > 1 else cv2.INTER_LINEAR
        layer = np.asarray(
            cv2.resize(layer, (part.shape[1], part.shape[0]), interpolation=method),
            dtype=np.float32,
        )
    if light.blur > 0.3:
        layer = np.asarray(cv2.GaussianBlur(layer, (0, 0), light.blur), dtype=np.float32)
    return _blend(image, layer, (left, top), light, 0.04 * camera.scale, rng)


def _blend(
    image: ImageArray,
    layer: FloatArray,
    place: tuple[int, int],
    light: Light,
    fall: float,
    rng: np.random.Generator,
) -> ImageArray:
    """Return a copy of the image with a layer blended in, with its shadow and the photo's noise.

    Args:
        image: BGR uint8 (H, W, 3).
        layer: RGB from 0 to 1, premultiplied by alpha, and alpha: float32 (h, w, 4).
        place: pixel (left, top) of the image where the layer starts.
        light: the light that falls on the layer.
        fall: length of the shadow in pixels.
        rng: decides the strength of the light, the shadow and the noise.
    """
    reach = round(4 * fall) + 2
    rows, columns = np.flatnonzero(layer[..., 3].any(1)), np.flatnonzero(layer[..., 3].any(0))
    if not len(rows):
        return np.array(image)
    there = np.s_[
        max(0, rows[0] - reach) : rows[-1] + 1 + reach,
        max(0, columns[0] - reach) : columns[-1] + 1 + reach,
    ]
    color, alpha = layer[there][..., :3], layer[there][..., 3]
    left, top = place[0] + there[1].start, place[1] + there[0].start
    here = np.s_[top : top + alpha.shape[0], left : left + alpha.shape[1]]
    lit = light.shine(color, left, top, rng.uniform(0.9, 1.06))
    fallen = cv2.GaussianBlur(alpha, (0, 0), max(0.6, 1.25 * fall))
    fallen = cv2.warpAffine(
        fallen,
        np.array([[1, 0, 0], [0, 1, fall]]),
        fallen.shape[1::-1],
        borderMode=cv2.BORDER_REPLICATE,
    )
    shadow = 1 - np.float32(rng.uniform(0.1, 0.35)) * fallen
    noise = cv2.GaussianBlur(rng.standard_normal(alpha.shape, dtype=np.float32), (0, 0), 0.6) * (
        2 * light.noise
    )
    done = image[here] * (shadow * (1 - alpha))[..., None] + lit + (noise * alpha)[..., None]
    result: ImageArray = image.copy()
    result[here] = np.clip(done + np.float32(0.5), 0, 255).astype(np.uint8)
    return result


def _region(camera: Camera, extent: Extent, image: ImageArray) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom of the region of an image that an extent may cover."""
    pixels = camera.project(
        [[x, y, z] for x in extent[:2] for y in extent[2:] for z in (0.8, -0.3)]
    )
    left, top = np.maximum(0, np.floor(pixels.min(0))).astype(int)
    right, bottom = np.minimum((image.shape[1], image.shape[0]), np.ceil(pixels.max(0)) + 1).astype(
        int
    )
    return int(left), int(top), int(right), int(bottom)
