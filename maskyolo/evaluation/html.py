"""Self-contained HTML reports: the page, its header, tables, embedded images."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import cv2
import numpy as np

from maskyolo.core.images import ImageArray

__all__ = [
    "Cell",
    "beside",
    "color_of",
    "dotted",
    "embedded",
    "facts",
    "flat",
    "grid",
    "legend",
    "number",
    "page",
    "spanned",
    "table",
]

#: Colors of the detectors, which color-blind people can also tell apart (Okabe and Ito 2008).
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#777777")
_STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1b; --dim: #595959; --line: #dcdcdc; --bg: #fff;
  --panel: #f5f6f7; --shade: 0, 114, 178 }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e8; --dim: #a8a8a8; --line: #3a3a3a;
  --bg: #161616; --panel: #212223; --shade: 86, 180, 233 } }
* { box-sizing: border-box }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--bg);
  max-width: 1360px; margin: 0 auto; padding: 1.5em clamp(.9em, 2.5vw, 2.5em) 4em }
h1 { font-size: 1.7em; line-height: 1.25; margin: .2em 0 .6em; overflow-wrap: anywhere }
h2 { font-size: 1.25em; margin: 2.2em 0 .7em; padding-bottom: .25em;
  border-bottom: 1px solid var(--line) }
h3 { font-size: 1em; margin: 0 0 .5em; overflow-wrap: anywhere }
dl.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 19em), 1fr));
  gap: .9em 1.6em; margin: 0; padding: 1em 1.2em; background: var(--panel); border-radius: 8px }
dl.facts div { min-width: 0 } dl.facts .wide { grid-column: 1 / -1 }
dt, .note, figcaption, small { color: var(--dim) } dt { font-size: .82em }
dd { margin: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums }
code { font: .92em ui-monospace, monospace }
.figures { display: flex; flex-wrap: wrap; gap: .8em; margin: 1.2em 0 }
.figures div { flex: 1 1 11em; padding: .7em 1em; border: 1px solid var(--line);
  border-radius: 8px }
.figures b { display: block; font-size: 1.75em; line-height: 1.3; font-weight: 650;
  font-variant-numeric: tabular-nums }
.grid { display: grid; gap: 1.6em 2em;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, var(--least, 21em)), 1fr)) }
.grid > * { min-width: 0 }
@media (min-width: 900px) { .grid.uneven { grid-template-columns: 2fr 3fr } }
table { border-collapse: collapse; width: 100%; font-size: .9em;
  font-variant-numeric: tabular-nums }
.scroll { overflow-x: auto }
th, td { padding: .3em .4em; border-bottom: 1px solid var(--line); text-align: right }
th { font-weight: 600; vertical-align: bottom } td { vertical-align: top; white-space: nowrap }
th:first-child, td:first-child { text-align: left; padding-left: 0 }
td.text, td.text:first-child { text-align: left; white-space: normal; padding-left: .4em;
  overflow-wrap: anywhere; min-width: 7.5em } td.best { font-weight: 700 }
td.group { font-weight: 600 }
small { display: block; font-size: .78em; font-weight: 400; line-height: 1.25 }
figure { margin: 0 } figcaption { font-size: .9em; margin-bottom: .3em }
figure.photo figcaption { margin: .3em 0 0 }
svg { display: block; width: 100%; height: auto }
svg text { font: 12px system-ui, sans-serif; fill: var(--ink) }
.whisker { stroke: var(--ink); stroke-width: 1.3 }
img { display: block; width: 100%; height: auto; border-radius: 4px }
.note { font-size: .9em; max-width: 90ch } p { margin: .5em 0; max-width: 100ch }
p.keys { max-width: none }
.key { display: inline-block; margin-right: 1.4em; overflow-wrap: anywhere }
i.dot { display: inline-block; width: .8em; height: .8em; margin-right: .45em; border-radius: 2px }
@media print { body { max-width: none; padding: 0 } h2 { break-after: avoid }
  figure, tr { break-inside: avoid } }
"""


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: what it shows.
        detail: a second line in small print, such as an interval.
        dot: a detector's place, whose color is shown before the text.
        shade: background, from 0 (none) to 1.
        rows: number of rows that the cell spans; 0 if a cell above spans this one.
        prose: whether the text is aligned left, and may be broken into lines.
    """

    text: str
    detail: str = ""
    dot: int | None = None
    shade: float = 0
    rows: int = 1
    prose: bool = False


def page(title: str, sections: Sequence[str]) -> str:
    """Return a complete HTML document."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>\n"
        f"<h1>{escape(title)}</h1>\n" + "\n".join(sections) + "\n</body></html>\n"
    )


def facts(entries: Mapping[str, str], wide: Sequence[str] = ()) -> str:
    """Return the header's list of facts.

    Args:
        entries: the facts by name.
        wide: names of those that take a whole line, such as a command.
    """
    shown = "".join(
        f"<div{' class=wide' if name in wide else ''}><dt>{escape(name)}</dt>"
        f"<dd>{escape(text).replace(chr(10), '<br>')}</dd></div>"
        for name, text in entries.items()
    )
    return f'<dl class="facts">{shown}</dl>'


def flat(values: Mapping[str, Any]) -> dict[str, str]:
    """Return values as text by name, those inside others by both names.

    Examples:
        >>> flat({"cpu_name": "EPYC", "packages": {"numpy": "2.3"}, "seed": None})
        {'cpu name': 'EPYC', 'packages': 'numpy 2.3'}
    """
    found = {}
    for name, value in values.items():
        text = _plain(value)
        if text:
            found[str(name).replace("_", " ")] = text
    return found


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        parts = [(str(name).replace("_", " "), _plain(part)) for name, part in value.items()]
        return ", ".join(f"{name} {part}" for name, part in parts if part)
    if isinstance(value, (list, tuple)):
        return ", ".join(filter(None, map(_plain, value)))
    return "" if value is None else str(value)


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str | Cell]],
    best: Mapping[int, int] | None = None,
) -> str:
    """Return a table.

    Args:
        head: titles of the columns.
        rows: the cells; the first cell of a row is its title.
        best: the row to highlight, by column.
    """
    shown = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    lines, highlighted = [], best or {}
    for place, row in enumerate(rows):
        cells = [
            _cell(
                cell if isinstance(cell, Cell) else Cell(cell),
                highlighted.get(column) == place,
            )
            for column, cell in enumerate(row)
        ]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    body = "".join(lines)
    return f'<div class="scroll"><table><tr>{shown}</tr>{body}</table></div>'


def _cell(cell: Cell, best: bool) -> str:
    if not cell.rows:
        return ""
    classes = [name for name, on in (("best", best), ("text", cell.prose)) if on]
    if cell.rows > 1:
        classes.append("group")
    marks = f' class="{" ".join(classes)}"' if classes else ""
    if cell.rows > 1:
        marks += f' rowspan="{cell.rows}"'
    if cell.shade:
        marks += f' style="background:rgba(var(--shade),{cell.shade:.2f})"'
    text = escape(cell.text) if cell.dot is None else dotted(cell.dot, cell.text)
    detail = f"<small>{escape(cell.detail)}</small>" if cell.detail else ""
    return f"<td{marks}>{text}{detail}</td>"


def number(value: float | None, digits: int = 3) -> str:
    """Return a number as text; a dash for None."""
    return "-" if value is None else f"{value:.{digits}f}"


def spanned(value: float | None, span: tuple[float, float] | None, digits: int = 3) -> Cell:
    """Return a cell with a number and its interval."""
    detail = f"{span[0]:.{digits}f}–{span[1]:.{digits}f}" if value is not None and span else ""  # noqa: RUF001
    return Cell(number(value, digits), detail)


def grid(parts: Sequence[str], least: int = 21) -> str:
    """Return parts side by side, as many as fit at a width of at least `least` em each."""
    return f'<div class="grid" style="--least:{least}em">{"".join(parts)}</div>'


def beside(chart: str, body: str) -> str:
    """Return a chart with its table beside it, or below it on a narrow screen."""
    return f'<div class="grid uneven"><div>{chart}</div><div>{body}</div></div>'


def legend(names: Sequence[str]) -> str:
    """Return the key to the detectors' colors."""
    keys = "".join(
        f'<span class="key">{dotted(place, name)}</span>' for place, name in enumerate(names)
    )
    return f'<p class="keys">{keys}</p>'


def color_of(place: int) -> str:
    """Return the color of the detector in that place."""
    return COLORS[place % len(COLORS)]


def embedded(image: ImageArray, caption: str, longest: int = 560, quality: int = 78) -> str:
    """Return an image as part of the page.

    Args:
        image: BGR uint8 (H, W, 3).
        caption: the text below.
        longest: maximum length of the longer side in pixels.
        quality: JPEG quality, 0 to 100.
    """
    scale = min(longest / max(image.shape[:2]), 1)
    if scale < 1:
        image = np.asarray(
            cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8
        )
    encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    data = base64.b64encode(encoded.tobytes()).decode()
    height, width = image.shape[:2]
    return (
        f'<figure class="photo"><img src="data:image/jpeg;base64,{data}" width="{width}" '
        f'height="{height}" alt="{escape(caption)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def dotted(place: int, name: str) -> str:
    """Return a detector's name after a dot of its color."""
    return f'<i class="dot" style="background:{color_of(place)}"></i>{escape(name)}'
