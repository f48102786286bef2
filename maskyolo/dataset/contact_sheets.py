"""Contact sheets: pages of many small photos with their boxes, for quick inspection."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from maskyolo.core.classes import ALL_CLASS_NAMES
from maskyolo.core.files import write_atomic
from maskyolo.core.images import read_image
from maskyolo.core.labels import IGNORE_CLASS
from maskyolo.dataset.ledger import STATUSES, LedgerRow
from maskyolo.errors import ImageError

__all__ = [
    "COLUMNS",
    "PAGE",
    "TILE",
    "Tile",
    "class_color",
    "draw_frame",
    "draw_sheet",
    "draw_tiles",
    "fit_into",
    "shorten",
    "write_sheets",
]

#: Maximum number of photos per page, and of pages per status; if there are more, they are sampled.
PAGE = 100
_PAGES = 5
#: Name of the sheets of photos with blanked-out parts.
_BLANKED = "blanked"
#: Photos per row, and the side in pixels of the square that each is fitted into.
COLUMNS, TILE = 10, 160
_TEXT = 28
_COLORS = ((0, 170, 60), (230, 30, 30), (230, 150, 0))
_OTHER_COLOR = (150, 150, 150)


class Tile(NamedTuple):
    """A photo on a contact sheet.

    Attributes:
        draw: returns the photo scaled to a longer side of the given number of pixels, or raises
            `ImageError`, in which case the tile stays empty.
        lines: the two lines of text below the photo.
    """

    draw: Callable[[int], Image.Image]
    lines: tuple[str, str]


def write_sheets(
    rows: Sequence[LedgerRow],
    image_of: Callable[[LedgerRow], Path],
    folder: Path,
    workers: int = 2,
) -> list[Path]:
    """Draw the photos of each status to `folder`, as `STATUS.png`, `STATUS-2.png` and so on.

    Photos with the status `kept` get one page only. Photos in the set with blanked-out parts are
    also drawn to `blanked.png` and so on.

    Args:
        rows: the ledger.
        image_of: returns the image file of a row.
        folder: output folder; it is created if needed.
        workers: number of pages to draw in parallel.

    Returns:
        The image files.

    Raises:
        OutputError: a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pages: dict[Path, Sequence[LedgerRow]] = {}
    for name in (*STATUSES, _BLANKED):
        found = [
            row
            for row in rows
            if (
                row.in_set and IGNORE_CLASS in row.classes
                if name == _BLANKED
                else row.status == name
            )
        ]
        limit = PAGE if name == "kept" else PAGE * _PAGES
        if len(found) > limit:
            found = [found[number * len(found) // limit] for number in range(limit)]
        for start in range(0, len(found), PAGE):
            suffix = f"-{start // PAGE + 1}" if start else ""
            pages[folder / f"{name}{suffix}.png"] = found[start : start + PAGE]

    def write(path: Path) -> None:
        sheet = io.BytesIO()
        draw_sheet([(image_of(row), row) for row in pages[path]]).save(sheet, "PNG")
        write_atomic(path, sheet.getvalue())

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(write, pages))
    return list(pages)


def draw_sheet(
    photos: Sequence[tuple[Path, LedgerRow]], columns: int = COLUMNS, tile: int = TILE
) -> Image.Image:
    """Draw photos side by side, each with its boxes, and its source and reason below.

    Boxes are green with a mask, red without, and gray if blanked out.

    Args:
        photos: the image file of each photo, and its row.
        columns: photos per row.
        tile: side of the square that each photo is fitted into, in pixels.
    """
    tiles = []
    for path, row in photos:

        def draw(side: int, path: Path = path, row: LedgerRow = row) -> Image.Image:
            return _draw_photo(path, row, side)

        lines = shorten(row.source, tile, keep_end=True), shorten(row.reason, tile)
        tiles.append(Tile(draw, lines))
    return draw_tiles(tiles, columns, tile)


def draw_tiles(tiles: Sequence[Tile], columns: int = COLUMNS, tile: int = TILE) -> Image.Image:
    """Draw tiles side by side on a white page, each with its two lines of text.

    Args:
        tiles: the photos.
        columns: photos per row.
        tile: side of the square that each photo is fitted into, in pixels.
    """
    columns = max(1, min(columns, len(tiles)))
    lines = max(1, -(-len(tiles) // columns))
    sheet = Image.new("RGB", (columns * tile, lines * (tile + _TEXT)), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(10)
    for number, one in enumerate(tiles):
        left, top = number % columns * tile, number // columns * (tile + _TEXT)
        try:
            sheet.paste(one.draw(tile - 4), (left + 2, top + 2))
        except ImageError:
            draw.rectangle((left + 2, top + 2, left + tile - 3, top + tile - 3), outline="gray")
        for line, text in enumerate(one.lines):
            draw.text((left + 2, top + tile + 13 * line), text, fill="black", font=font)
    return sheet


def shorten(text: str, tile: int, keep_end: bool = False) -> str:
    """Return the text, shortened with an ellipsis to fit below a tile `tile` pixels wide."""
    room = tile // 6
    if len(text) <= room:
        return text
    return "…" + text[1 - room :] if keep_end else text[: room - 1] + "…"


def fit_into(image: Image.Image, side: int) -> tuple[Image.Image, float]:
    """Return the image scaled to a longer side of `side` pixels, and the scale."""
    scale = side / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size), scale


def draw_frame(
    draw: ImageDraw.ImageDraw,
    box: Sequence[float],
    color: tuple[int, int, int],
    margin: float = 0,
) -> None:
    """Draw the frame of an xyxy box, `margin` pixels outside it; the box may have no area."""
    x1, y1, x2, y2 = box
    draw.rectangle(
        (x1 - margin, y1 - margin, max(x1, x2) + margin, max(y1, y2) + margin),
        outline=color,
        width=2,
    )


def class_color(class_id: int) -> tuple[int, int, int]:
    """Return the RGB color of a class's boxes: green, red, amber, otherwise gray."""
    return _COLORS[class_id] if 0 <= class_id < len(_COLORS) else _OTHER_COLOR


def _draw_photo(path: Path, row: LedgerRow, side: int) -> Image.Image:
    if not path.is_file():  # reading a named pipe would wait forever for its writer
        raise ImageError(f"cannot draw {path}: it is not a file", "remove it")
    small, scale = fit_into(Image.fromarray(read_image(path)[:, :, ::-1]), side)
    draw = ImageDraw.Draw(small)
    for box, name in zip(row.boxes, row.classes or [""] * len(row.boxes), strict=True):
        class_id = ALL_CLASS_NAMES.index(name) if name in ALL_CLASS_NAMES else -1
        draw_frame(draw, [value * scale for value in box], class_color(class_id))
    return small
