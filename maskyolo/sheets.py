"""Contact sheets: the photos of each status of the ledger on one page, with their boxes, for the eye."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from maskyolo.core.files import write_atomic
from maskyolo.errors import ImageError
from maskyolo.images import read_image
from maskyolo.labels import IGNORE_CLASS
from maskyolo.ledger import STATUSES, LedgerRow

__all__ = ["PAGE", "draw_sheet", "write_sheets"]

#: Most photos on a page, and most pages of a status; of more photos, every n-th is shown.
PAGE = 100
_PAGES = 5
#: Name of the sheets of photos in which something is painted over.
PAINTED = "painted"
_COLUMNS = 10
_TILE = 160
_TEXT = 28
_COLOURS = {"with_mask": (0, 170, 60), "without_mask": (230, 30, 30)}


def write_sheets(
    rows: Sequence[LedgerRow], picture: Callable[[LedgerRow], Path], folder: Path, workers: int = 2
) -> list[Path]:
    """Draw the photos of each status into `folder`, as `STATUS.png`, `STATUS-2.png` and so on; `kept` on one page only.

    Photos of the set in which something is painted over are in `painted.png` and so on, too.

    Args:
        rows: the ledger.
        picture: tells where a row's picture is.
        folder: to write to; it is made.
        workers: pages drawn at once.

    Raises:
        OutputError: a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pages: dict[Path, Sequence[LedgerRow]] = {}
    for name in (*STATUSES, PAINTED):
        found = [
            row
            for row in rows
            if (
                row.in_set and IGNORE_CLASS in row.classes
                if name == PAINTED
                else row.status == name
            )
        ]
        most = PAGE if name == "kept" else PAGE * _PAGES
        shown = (
            [found[number * len(found) // most] for number in range(most)]
            if len(found) > most
            else found
        )
        for page in range(0, len(shown), PAGE):
            pages[folder / (f"{name}-{page // PAGE + 1}.png" if page else f"{name}.png")] = shown[
                page : page + PAGE
            ]

    def write(path: Path) -> None:
        sheet = io.BytesIO()
        draw_sheet([(picture(row), row) for row in pages[path]]).save(sheet, "PNG")
        write_atomic(path, sheet.getvalue())

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(write, pages))
    return list(pages)


def draw_sheet(
    photos: Sequence[tuple[Path, LedgerRow]], columns: int = _COLUMNS, tile: int = _TILE
) -> Image.Image:
    """Draw photos side by side, each with its boxes (green with a mask, red without, grey painted over), its source and the reason.

    Args:
        photos: where each picture is, and its row.
        columns: photos in a line.
        tile: sides of the square that each photo is fitted into, in pixels.
    """
    columns = min(columns, len(photos))
    sheet = Image.new("RGB", (columns * tile, -(-len(photos) // columns) * (tile + _TEXT)), "white")
    draw = ImageDraw.Draw(sheet)
    room = tile // 6  # characters of a line
    font = ImageFont.load_default(10)
    for number, (path, row) in enumerate(photos):
        left, top = number % columns * tile, number // columns * (tile + _TEXT)
        try:
            sheet.paste(_thumbnail(path, row, tile - 4), (left + 2, top + 2))
        except ImageError:
            draw.rectangle((left + 2, top + 2, left + tile - 3, top + tile - 3), outline="grey")
        for line, text in enumerate((row.source, row.reason)):
            if len(text) > room:
                text = text[: room - 1] + "…" if line else "…" + text[1 - room :]
            draw.text((left + 2, top + tile + 13 * line), text, fill="black", font=font)
    return sheet


def _thumbnail(path: Path, row: LedgerRow, side: int) -> Image.Image:
    if not path.is_file():  # a named pipe would wait for its writer for ever
        raise ImageError(f"cannot draw {path}: it is not a file; remove it")
    image = Image.fromarray(read_image(path)[:, :, ::-1])
    scale = side / max(image.size)
    small = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    draw = ImageDraw.Draw(small)
    for box, name in zip(row.boxes, row.classes or [""] * len(row.boxes), strict=True):
        x1, y1, x2, y2 = (value * scale for value in box)
        draw.rectangle(
            (x1, y1, max(x1, x2), max(y1, y2)), outline=_COLOURS.get(name, (150, 150, 150)), width=2
        )
    return small
