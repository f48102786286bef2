"""Charts of people over time, as SVG for an HTML report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

__all__ = ["COLORS", "heat_table", "share_chart", "stacked_bars"]

#: Colors of the groups, which color-blind people can also tell apart (Okabe and Ito 2008).
COLORS = {
    "with mask": "#009e73",
    "without mask": "#d55e00",
    "worn incorrectly": "#e69f00",
    "changed": "#56b4e9",
}
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 10, 26
#: Width of a character of a label in pixels; labels are left out if they would overlap.
_CHARACTER = 7


def stacked_bars(
    labels: Sequence[str],
    series: Mapping[str, Sequence[int]],
    title: str,
    width: int = 1100,
    height: int = 220,
) -> str:
    """Return a chart of stacked bars, one per label.

    Args:
        labels: the names of the bars, shown below as far as there is room.
        series: the numbers of each group, a key of `COLORS`, per label.
        title: the caption.
        width: in pixels; narrower windows scroll.
        height: in pixels.
    """
    totals = [sum(numbers) for numbers in zip(*series.values(), strict=True)]
    top = nice_top(max(totals, default=0))
    shapes = []
    step = (width - _LEFT - _RIGHT) / max(len(labels), 1)
    bar = max(step * 0.8, min(step, 1))
    for place, label in enumerate(labels):
        x, below = _LEFT + place * step + (step - bar) / 2, 0
        parts = ", ".join(f"{numbers[place]} {name}" for name, numbers in series.items())
        shapes.append(f"<g><title>{escape(label)}: {escape(parts)}</title>")
        for name, numbers in series.items():
            number = numbers[place]
            if number:
                y, base = _y(below + number, top, height), _y(below, top, height)
                shapes.append(
                    f'<rect x="{x:.1f}" y="{y:.1f}" width="{bar:.1f}" height="{base - y:.1f}" '
                    f'fill="{COLORS[name]}"/>'
                )
            below += number
        shapes.append("</g>")
    ticks = {float(value): f"{value:g}" for value in _ticks(top)}
    return _figure(title, "".join(shapes), labels, ticks, top, width, height)


def share_chart(
    labels: Sequence[str],
    shares: Sequence[float | None],
    title: str,
    width: int = 1100,
    height: int = 180,
) -> str:
    """Return a chart of fractions over time as points, joined where there is no gap.

    Args:
        labels: the names of the points.
        shares: the fractions, from 0 to 1; None where there is none.
        title: the caption.
        width: in pixels; narrower windows scroll.
        height: in pixels.
    """
    step = (width - _LEFT - _RIGHT) / max(len(labels), 1)
    lines: list[list[str]] = [[]]
    dots = []
    for place, share in enumerate(shares):
        if share is None:
            lines.append([])
            continue
        x, y = _LEFT + (place + 0.5) * step, _y(share, 1, height)
        lines[-1].append(f"{x:.1f},{y:.1f}")
        dots.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{COLORS["with mask"]}">'
            f"<title>{escape(labels[place])}: {share:.0%}</title></circle>"
        )
    shapes = "".join(
        f'<polyline points="{" ".join(line)}" fill="none" stroke="{COLORS["with mask"]}" '
        'stroke-width="2"/>'
        for line in lines
        if len(line) > 1
    )
    ticks = {0.0: "0%", 0.5: "50%", 1.0: "100%"}
    return _figure(title, shapes + "".join(dots), labels, ticks, 1, width, height)


def heat_table(
    rows: Sequence[str],
    columns: Sequence[str],
    cells: Mapping[tuple[int, int], tuple[float | None, int]],
    title: str,
) -> str:
    """Return a table whose cells are shaded by a fraction.

    Args:
        rows: titles of the rows.
        columns: titles of the columns.
        cells: the fraction and the number of people, by row and column.
        title: the caption.
    """
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = []
    for row, name in enumerate(rows):
        shown = [f"<th>{escape(name)}</th>"]
        for column in range(len(columns)):
            share, people = cells.get((row, column), (None, 0))
            if share is None:
                shown.append("<td></td>")
                continue
            told = f"{name} {columns[column]}: {share:.0%} of the time with a mask, {people} people"
            shown.append(
                f'<td style="background:{_heat(share)}" title="{escape(told)}">{share:.0%}</td>'
            )
        body.append(f"<tr>{''.join(shown)}</tr>")
    return (
        f"<figure><figcaption>{escape(title)}</figcaption>"
        f'<div class="scroll"><table class="heat"><tr><th></th>{head}</tr>{"".join(body)}</table>'
        "</div></figure>"
    )


def _heat(share: float) -> str:
    """Return the color of a fraction, from vermilion over white to green."""
    low, middle, high = (230, 140, 90), (250, 244, 225), (90, 190, 150)
    begin, end, place = (low, middle, share * 2) if share < 0.5 else (middle, high, share * 2 - 1)
    red, green, blue = (round(a + (b - a) * place) for a, b in zip(begin, end, strict=True))
    return f"rgb({red},{green},{blue});color:#1b1b1b"


def _figure(
    title: str,
    shapes: str,
    labels: Sequence[str],
    ticks: Mapping[float, str],
    top: float,
    width: int,
    height: int,
) -> str:
    grid = ""
    for value, text in ticks.items():
        y = _y(value, top, height)
        grid += (
            f'<line x1="{_LEFT}" x2="{width - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#888" '
            f'stroke-opacity=".25"/><text x="{_LEFT - 6}" y="{y + 4:.1f}" '
            f'text-anchor="end">{text}</text>'
        )
    step = (width - _LEFT - _RIGHT) / max(len(labels), 1)
    every = max(math.ceil(_CHARACTER * (max(map(len, labels), default=0) + 1) / step), 1)
    for place in range(0, len(labels), every):
        grid += (
            f'<text x="{_LEFT + (place + 0.5) * step:.1f}" y="{height - 8}" '
            f'text-anchor="middle">{escape(labels[place])}</text>'
        )
    sizes = f"min-width:{min(round(width * 0.85), 760)}px;max-width:{round(width * 1.25)}px"
    return (
        f'<figure><figcaption>{escape(title)}</figcaption><div class="scroll">'
        f'<svg viewBox="0 0 {width} {height}" style="{sizes}" role="img" '
        f'aria-label="{escape(title)}">{grid}{shapes}</svg></div></figure>'
    )


def _y(value: float, top: float, height: int) -> float:
    return height - _BOTTOM - value / top * (height - _TOP - _BOTTOM)


def nice_top(value: float) -> int:
    """Return a round number that is at least `value`, and at least 4.

    >>> nice_top(0), nice_top(37), nice_top(1234)
    (4, 40, 1500)
    """
    size: int = 10 ** math.floor(math.log10(max(value, 1)))
    steps = (1, 1.5, 2, 3, 4, 5, 6, 8, 10)
    return max(4, math.ceil(next(step * size for step in steps if step * size >= value)))


def _ticks(top: int) -> list[float]:
    return [top * part / 4 for part in range(5) if not top * part % 4] or [0, top]
