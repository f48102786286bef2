"""Charts of the HTML reports, as SVG that fills the width of its column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from maskyolo.evaluation.html import color_of

__all__ = ["Bar", "bar_chart", "line_chart"]

#: A bar's value, and the ends of its interval; None if the value is not defined.
Bar = tuple[float | None, tuple[float, float] | None]
Points = Sequence[tuple[float, float]]

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 430, 280, 44, 10, 10, 42


def line_chart(
    lines: Sequence[Points],
    title: str,
    x_title: str,
    y_title: str,
    x_max: float,
    y_max: float,
    dots: bool = False,
    bands: Sequence[Points] = (),
    marks: Mapping[int, tuple[float, float]] | None = None,
) -> str:
    """Return a plot of lines from 0 to `x_max` and `y_max`, one per detector.

    Args:
        lines: the points of each line.
        title: the caption.
        x_title: title of the horizontal axis.
        y_title: title of the vertical axis.
        x_max: its highest value.
        y_max: its highest value.
        dots: whether each point is marked.
        bands: the outline of each line's interval.
        marks: a point to mark with a ring, by the line's place.
    """
    shapes = []
    for place, points in enumerate(bands):
        outline = _path(points, x_max, y_max)
        shapes.append(f'<polygon points="{outline}" fill="{color_of(place)}" fill-opacity=".15"/>')
    for place, points in enumerate(lines):
        path, color = _path(points, x_max, y_max), color_of(place)
        shapes.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        if dots:
            shapes += [
                f'<circle cx="{_x(x / x_max):.1f}" cy="{_y(y / y_max):.1f}" r="3" fill="{color}"/>'
                for x, y in points
            ]
    for place, (x, y) in (marks or {}).items():
        shapes.append(
            f'<circle cx="{_x(x / x_max):.1f}" cy="{_y(y / y_max):.1f}" r="4.5" fill="none" '
            f'stroke="{color_of(place)}" stroke-width="2"/>'
        )
    ticks = "".join(
        _text(_x(value / x_max), _HEIGHT - _BOTTOM + 16, f"{value:g}") for value in _ticks(x_max)
    )
    return _figure(title, ticks + "".join(shapes), x_title, y_title, y_max)


def bar_chart(
    groups: Mapping[str, Sequence[Bar]],
    title: str,
    x_title: str,
    y_title: str,
    y_max: float = 1.0,
) -> str:
    """Return groups of bars with error bars, one bar per detector in each group."""
    shapes = []
    for place, (name, bars) in enumerate(groups.items()):
        middle = _x((place + 0.5) / len(groups))
        width = (_WIDTH - _LEFT - _RIGHT) / len(groups) * 0.78 / max(len(bars), 1)
        width = min(width, 64)
        shapes.append(_text(middle, _HEIGHT - _BOTTOM + 16, name))
        for order, (value, span) in enumerate(bars):
            if value is None:
                continue
            x, y = middle + (order - len(bars) / 2) * width, _y(value / y_max)
            size = f'width="{max(width - 2, 1):.1f}" height="{_y(0) - y:.1f}"'
            told = f"{value:.3f}" + (f" ({span[0]:.3f} to {span[1]:.3f})" if span else "")
            shapes.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" {size} fill="{color_of(order)}" '
                f'fill-opacity=".8"><title>{told}</title></rect>'
            )
            if span:
                shapes.append(_whisker(x + (width - 2) / 2, span, y_max, min(width / 4, 5)))
    return _figure(title, "".join(shapes), x_title, y_title, y_max)


def _whisker(x: float, span: tuple[float, float], y_max: float, cap: float) -> str:
    low, high = (_y(end / y_max) for end in span)
    return (
        f'<path class="whisker" fill="none" d="M{x:.1f} {low:.1f}V{high:.1f}'
        f'M{x - cap:.1f} {low:.1f}h{2 * cap:.1f}M{x - cap:.1f} {high:.1f}h{2 * cap:.1f}"/>'
    )


def _figure(title: str, shapes: str, x_title: str, y_title: str, y_max: float) -> str:
    grid = ""
    for value in _ticks(y_max):
        y = _y(value / y_max)
        grid += (
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#888" '
            'stroke-opacity=".25"/>'
        )
        grid += _text(_LEFT - 6, y + 4, f"{value:g}", "end")
    titles = _text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 6, x_title) if x_title else ""
    if y_title:
        titles += (
            f'<text transform="translate(12 {(_HEIGHT - _BOTTOM + _TOP) / 2}) rotate(-90)" '
            f'text-anchor="middle">{escape(y_title)}</text>'
        )
    caption = f"<figcaption>{escape(title)}</figcaption>" if title else ""
    return (
        f'<figure>{caption}<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(title or y_title)}">{grid}{shapes}{titles}</svg></figure>'
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


def _path(points: Points, x_max: float, y_max: float) -> str:
    return " ".join(f"{_x(x / x_max):.1f},{_y(y / y_max):.1f}" for x, y in points)


def _x(share: float) -> float:
    return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)


def _y(share: float) -> float:
    return _HEIGHT - _BOTTOM - share * (_HEIGHT - _BOTTOM - _TOP)
