"""The contact sheet of a review: the most suspicious images on one page, without the App."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from maskyolo.images import read_image
from maskyolo.review.finding.predictions import Photo
from maskyolo.review.suspicions import Suspicion
from maskyolo.sheets import (
    COLUMNS,
    TILE,
    Tile,
    class_color,
    draw_frame,
    draw_tiles,
    fit_into,
    shorten,
)

__all__ = ["draw_suspicions"]

_SUSPECT = (255, 210, 0)
#: Side of the area shown around a suspicious box, as a multiple of the box's longer side.
_AROUND = 4.0


def draw_suspicions(
    suspicions: Sequence[Suspicion],
    photos: Mapping[str, Photo],
    root: Path,
    most: int = 100,
    columns: int = COLUMNS,
    tile: int = TILE,
) -> Image.Image:
    """Draw the worst suspicion of each of the first images: its surroundings with the labels.

    Labels are green with a mask and red without; what is suspicious has a second, yellow frame.
    Rank, reason and score of the suspicion and the image's name are below.

    Args:
        suspicions: the ranked list.
        photos: the judged images, by the name of the image.
        root: the set's folder.
        most: maximum number of images.
        columns: images per line.
        tile: side of the square that each image is fitted into, in pixels.
    """
    worst: dict[str, Suspicion] = {}
    for suspicion in suspicions:
        worst.setdefault(suspicion.image, suspicion)
    tiles = []
    for suspicion in list(worst.values())[:most]:

        def draw(side: int, one: Suspicion = suspicion) -> Image.Image:
            return _draw_suspicion(root / one.image, one, photos[one.image], side)

        report = f"{suspicion.rank} {suspicion.reason} {suspicion.score:.2f}"
        name = Path(suspicion.source or suspicion.image).name
        tiles.append(Tile(draw, (shorten(report, tile), shorten(name, tile, keep_end=True))))
    return draw_tiles(tiles, columns, tile)


def _draw_suspicion(path: Path, suspicion: Suspicion, photo: Photo, side: int) -> Image.Image:
    image = Image.fromarray(read_image(path)[:, :, ::-1])
    window = np.array([0, 0, image.width, image.height], dtype=float)
    suspect = np.array(suspicion.box or suspicion.suggested_box, dtype=float)
    if len(suspect):
        center, half = (suspect[:2] + suspect[2:]) / 2, max(suspect[2:] - suspect[:2]) * _AROUND / 2
        window = np.concatenate(
            [np.maximum(center - half, 0), np.minimum(center + half, [image.width, image.height])]
        ).round()
    small, scale = fit_into(image.crop(tuple(window.astype(int))), side)
    draw = ImageDraw.Draw(small)
    offset = np.tile(window[:2], 2)
    if len(suspect):
        draw_frame(draw, ((suspect - offset) * scale).tolist(), _SUSPECT, margin=3)
    for box, class_id in zip(photo.labels.boxes, photo.labels.class_ids.tolist(), strict=True):
        draw_frame(draw, ((box - offset) * scale).tolist(), class_color(class_id))
    return small
