"""A contact sheet of the most suspicious photos, for reviewing without the App."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from maskyolo.core.images import read_image
from maskyolo.dataset.contact_sheets import (
    COLUMNS,
    TILE,
    Tile,
    class_color,
    draw_frame,
    draw_tiles,
    fit_into,
    shorten,
)
from maskyolo.review.finding.predictions import JudgedPhoto
from maskyolo.review.suspicions import Suspicion

__all__ = ["draw_suspicions"]

_SUSPECT_COLOR = (255, 210, 0)
#: Side of the area shown around a suspicious box, as a multiple of the box's longer side.
_AROUND = 4.0


def draw_suspicions(
    suspicions: Sequence[Suspicion],
    photos: Mapping[str, JudgedPhoto],
    root: Path,
    maximum: int = 100,
    columns: int = COLUMNS,
    tile: int = TILE,
) -> Image.Image:
    """Draw the worst suspicion of each of the first photos, with its surroundings.

    Labels are green (with_mask) or red (without_mask), and the suspicious box has a yellow frame.
    The text below is its rank, reason and score, and the photo's name.

    Args:
        suspicions: the ranked list.
        photos: the photos by image file.
        root: the set's folder.
        maximum: maximum number of photos.
        columns: number of photos per row.
        tile: side of the square that each photo is fitted into, in pixels.
    """
    worst: dict[str, Suspicion] = {}
    for suspicion in suspicions:
        worst.setdefault(suspicion.image, suspicion)
    tiles = []
    for suspicion in list(worst.values())[:maximum]:

        def draw(side: int, one: Suspicion = suspicion) -> Image.Image:
            return _draw_suspicion(root / one.image, one, photos[one.image], side)

        summary = f"{suspicion.rank} {suspicion.reason} {suspicion.score:.2f}"
        name = Path(suspicion.source or suspicion.image).name
        tiles.append(Tile(draw, (shorten(summary, tile), shorten(name, tile, keep_end=True))))
    return draw_tiles(tiles, columns, tile)


def _draw_suspicion(path: Path, suspicion: Suspicion, photo: JudgedPhoto, side: int) -> Image.Image:
    """Return the suspicious part of a photo, at most `side` pixels wide and high, with boxes."""
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
        draw_frame(draw, ((suspect - offset) * scale).tolist(), _SUSPECT_COLOR, margin=3)
    for box, class_id in zip(photo.labels.boxes, photo.labels.class_ids.tolist(), strict=True):
        draw_frame(draw, ((box - offset) * scale).tolist(), class_color(class_id))
    return small
