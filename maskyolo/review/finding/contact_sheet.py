"""The contact sheet of a review: the most suspicious photos on one page, for those without the App."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from maskyolo.core.classes import CLASS_NAMES
from maskyolo.errors import ImageError
from maskyolo.images import read_image
from maskyolo.review.finding.predictions import Photo
from maskyolo.review.suspicions import Suspicion

__all__ = ["draw_suspicions"]

_COLUMNS = 10
_TILE = 160
_TEXT = 28
_COLOURS = ((0, 170, 60), (230, 30, 30))
_SUSPECT = (255, 210, 0)
#: What is shown around a suspicious box: its longer side, this often.
_AROUND = 4.0


def draw_suspicions(
    suspicions: Sequence[Suspicion],
    photos: Mapping[str, Photo],
    root: Path,
    most: int = 100,
    columns: int = _COLUMNS,
    tile: int = _TILE,
) -> Image.Image:
    """Draw the worst suspicion of each of the first photos: its surroundings with the labels, itself framed in yellow.

    Labels are green with a mask and red without; what is suspicious has a second, yellow frame. Below stand its rank, reason and
    score, and the photo's name.

    Args:
        suspicions: the ranked list.
        photos: the photos by their pictures' names.
        root: the set's folder.
        most: number of photos.
        columns: photos in a line.
        tile: sides of the square that each is fitted into, in pixels.
    """
    worst: dict[str, Suspicion] = {}
    for suspicion in suspicions:
        worst.setdefault(suspicion.image, suspicion)
    shown = list(worst.values())[:most]
    columns = max(1, min(columns, len(shown)))
    sheet = Image.new(
        "RGB", (columns * tile, max(1, -(-len(shown) // columns)) * (tile + _TEXT)), "white"
    )
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(10)
    room = tile // 6  # characters of a line
    for number, suspicion in enumerate(shown):
        left, top = number % columns * tile, number // columns * (tile + _TEXT)
        try:
            sheet.paste(
                _thumbnail(root / suspicion.image, suspicion, photos[suspicion.image], tile - 4),
                (left + 2, top + 2),
            )
        except ImageError:
            draw.rectangle((left + 2, top + 2, left + tile - 3, top + tile - 3), outline="grey")
        name = Path(suspicion.source or suspicion.image).name
        draw.text(
            (left + 2, top + tile),
            f"{suspicion.rank} {suspicion.reason} {suspicion.score:.2f}"[:room],
            fill="black",
            font=font,
        )
        draw.text(
            (left + 2, top + tile + 13),
            name if len(name) <= room else "…" + name[1 - room :],
            fill="black",
            font=font,
        )
    return sheet


def _thumbnail(path: Path, suspicion: Suspicion, photo: Photo, side: int) -> Image.Image:
    image = Image.fromarray(read_image(path)[:, :, ::-1])
    window = np.array([0, 0, image.width, image.height], dtype=float)
    suspect = np.array(suspicion.box or suspicion.suggested_box, dtype=float)
    if len(suspect):
        centre, half = (suspect[:2] + suspect[2:]) / 2, max(suspect[2:] - suspect[:2]) * _AROUND / 2
        window = np.concatenate(
            [np.maximum(centre - half, 0), np.minimum(centre + half, [image.width, image.height])]
        ).round()
    part = image.crop(tuple(window.astype(int)))
    scale = side / max(part.size)
    small = part.resize((max(1, round(part.width * scale)), max(1, round(part.height * scale))))
    draw = ImageDraw.Draw(small)
    offset = np.tile(window[:2], 2)
    if len(suspect):
        x1, y1, x2, y2 = ((suspect - offset) * scale).tolist()
        draw.rectangle(
            (x1 - 3, y1 - 3, max(x1, x2) + 3, max(y1, y2) + 3), outline=_SUSPECT, width=2
        )
    for box, class_id in zip(photo.labels.boxes, photo.labels.class_ids.tolist(), strict=True):
        x1, y1, x2, y2 = ((box - offset) * scale).tolist()
        draw.rectangle(
            (x1, y1, max(x1, x2), max(y1, y2)),
            outline=_COLOURS[class_id] if class_id < len(CLASS_NAMES) else "grey",
            width=2,
        )
    return small
