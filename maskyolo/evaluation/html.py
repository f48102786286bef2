"""Self-contained HTML reports: tables, plots as SVG, embedded images."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape

import cv2
import numpy as np

from maskyolo.core.images import ImageArray

__all__ = ["bar_chart", "embedded", "legend", "line_chart", "number", "page", "table"]

#: Colors of the detectors, which color-blind people can also tell apart (Okabe and Ito 2008).
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#555555")
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1b1b1b; max-width: 1180px; margin: 2em auto;
  padding: 0 1em }
h1 { font-size: 1.6em } h2 { font-size: 1.2em; margin: 2em 0 .4em; border-bottom: 1px solid #ccc }
h3 { font-size: 1em; margin: 1em 0 .3em }
table { border-collapse: collapse; margin: .6em 0; font-size: .92em } td { white-space: nowrap }
th, td { padding: .15em .6em; border-bottom: 1px solid #ddd; text-align: right;
  vertical-align: bottom }
td { vertical-align: top } td.best { font-weight: 700 } .scroll { overflow-x: auto }
th { font-weight: 600 } th:first-child, td:first-child { text-align: left }
.row { display: flex; flex-wrap: wrap; gap: 1.2em }
figure { margin: .6em 0 } figcaption, .note { color: #555; font-size: .88em }
svg text { font: 12px system-ui, sans-serif; fill: #333 } img { max-width: 100%; height: auto }
.key { margin-right: 1.4em; white-space: nowrap }
.key i { display: inline-block; width: .9em; height: .9em; margin-right: .4em; border-radius: 2px;
  vertical-align: -.05em }
@media (prefers-color-scheme: dark) { body { background: #161616; color: #e6e6e6 }
h2 { border-color: #444 } th, td { border-color: #333 } svg text { fill: #ccc }
figcaption, .note { color: #aaa } }
"""
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 500, 300, 48, 12, 44


def page(title: str, sections: Sequence[str]) -> str:
    """Return a complete HTML document."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>\n"
        f"<h1>{escape(title)}</h1>\n" + "\n".join(sections) + "\n</body></html>\n"
    )


def table(
    head: Sequence[str], rows: Sequence[Sequence[str]], best: Mapping[int, int] | None = None
) -> str:
    """Return a table.

    Args:
        head: titles of the columns.
        rows: the cells, text of one or more lines; the first cell of a row is its title.
        best: the row to highlight, by column.
    """
    shown = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    lines = []
    for place, row in enumerate(rows):
        cells = []
        for column, cell in enumerate(row):
            mark = " class=best" if best and best.get(column) == place else ""
            cells.append(f"<td{mark}>{escape(cell).replace(chr(10), '<br>')}</td>")
        lines.append(f"<tr>{''.join(cells)}</tr>")
    body = "".join(lines)
    return f'<div class="scroll"><table><tr>{shown}</tr>{body}</table></div>'


def number(value: float | None, digits: int = 3) -> str:
    """Return a number as text; a dash for None."""
    return "-" if value is None else f"{value:.{digits}f}"


def legend(names: Sequence[str]) -> str:
    """Return the key to the detectors' colors."""
    keys = "".join(
        f'<span class="key"><i style="background:{_color(place)}"></i>{escape(name)}</span>'
        for place, name in enumerate(names)
    )
    return f"<p>{keys}</p>"


def line_chart(
    lines: Sequence[Sequence[tuple[float, float]]],
    title: str,
    x_title: str,
    y_title: str,
    x_max: float,
    y_max: float,
    dots: bool = False,
) -> str:
    """Return a plot of lines from 0 to `x_max` and `y_max`, one per detector, as SVG."""
    marks = []
    for place, points in enumerate(lines):
        spots = [(_x(x / x_max), _y(y / y_max)) for x, y in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
        marks.append(
            f'<polyline points="{path}" fill="none" stroke="{_color(place)}" stroke-width="2"/>'
        )
        if dots:
            marks += [
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{_color(place)}"/>'
                for x, y in spots
            ]
    ticks = "".join(
        _text(_x(value / x_max), _HEIGHT - _BOTTOM + 16, f"{value:g}") for value in _ticks(x_max)
    )
    return _figure(title, ticks + "".join(marks), x_title, y_title, y_max)


def bar_chart(
    groups: Mapping[str, Sequence[float | None]],
    title: str,
    x_title: str,
    y_title: str,
    y_max: float = 1.0,
) -> str:
    """Return groups of bars, one bar per detector in each group, as SVG."""
    marks = []
    for place, (name, values) in enumerate(groups.items()):
        middle = _x((place + 0.5) / len(groups))
        width = (_WIDTH - _LEFT) / len(groups) * 0.8 / max(len(values), 1)
        marks.append(_text(middle, _HEIGHT - _BOTTOM + 16, name))
        for order, value in enumerate(values):
            if value is not None:
                x, y = middle + (order - len(values) / 2) * width, _y(value / y_max)
                size = f'width="{width - 1:.1f}" height="{_y(0) - y:.1f}"'
                marks.append(
                    f'<rect x="{x:.1f}" y="{y:.1f}" {size} fill="{_color(order)}">'
                    f"<title>{value:.3f}</title></rect>"
                )
    return _figure(title, "".join(marks), x_title, y_title, y_max)


def embedded(image: ImageArray, caption: str, longest: int = 460, quality: int = 78) -> str:
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
        f'<figure><img src="data:image/jpeg;base64,{data}" width="{width}" height="{height}" '
        f'alt="{escape(caption)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _figure(title: str, marks: str, x_title: str, y_title: str, y_max: float) -> str:
    grid = ""
    for value in _ticks(y_max):
        y = _y(value / y_max)
        grid += (
            f'<line x1="{_LEFT}" x2="{_WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="#888" '
            'stroke-opacity=".25"/>'
        )
        grid += _text(_LEFT - 6, y + 4, f"{value:g}", "end")
    titles = _text((_LEFT + _WIDTH) / 2, _HEIGHT - 6, x_title)
    if y_title:
        titles += (
            f'<text transform="translate(12 {_HEIGHT / 2 - 20}) rotate(-90)" text-anchor="middle">'
            f"{escape(y_title)}</text>"
        )
    box = f'viewBox="0 0 {_WIDTH + 12} {_HEIGHT}" width="{_WIDTH}"'
    return (
        f"<figure><figcaption>{escape(title)}</figcaption>"
        f'<svg {box} role="img" aria-label="{escape(title)}">{grid}{marks}{titles}</svg></figure>'
    )


def _ticks(top: float) -> list[float]:
    step = next(
        step
        for scale in (0.01, 0.1, 1, 10, 100, 1000, 10_000)
        for step in (scale, 2 * scale, 5 * scale)
        if top / step <= 6
    )
    return [round(place * step, 6) for place in range(int(top / step + 1e-9) + 1)]


def _text(x: float, y: float, text: str, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _x(share: float) -> float:
    return _LEFT + share * (_WIDTH - _LEFT)


def _y(share: float) -> float:
    return _HEIGHT - _BOTTOM - share * (_HEIGHT - _BOTTOM - _TOP)


def _color(place: int) -> str:
    return COLORS[place % len(COLORS)]
