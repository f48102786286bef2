"""Plots of a report for papers, as PNG and SVG."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from maskyolo.core.files import write_atomic
from maskyolo.core.plotting import import_matplotlib
from maskyolo.errors import output_errors
from maskyolo.evaluation.html import color_of
from maskyolo.evaluation.measure import CONFIDENCES
from maskyolo.evaluation.metrics import RECALLS

if TYPE_CHECKING:
    from maskyolo.evaluation.scores import Evaluation

__all__ = ["PLOTS", "save_plots"]

#: Plots as PNG have this many dots per inch.
DPI = 200
_SETTINGS = {
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 9,
    "legend.frameon": False,
    "svg.hashsalt": "maskyolo",  # the same figures give the same file
}
_SLICES = {
    "size": ("face size (px at 640)", "map50", "mAP50"),
    "faces": ("faces in the image", "map50", "mAP50"),
    "sharpness": ("sharpness of the face", "right", "found in its class"),
}


def save_plots(folder: Path, evaluations: Sequence[Evaluation]) -> list[Path]:
    """Write each of `PLOTS` as PNG and SVG; bands and error bars are 95 % intervals.

    Args:
        folder: where to write; it is created.
        evaluations: one or more detectors, measured on the same images.

    Returns:
        The files.

    Raises:
        ImportError: Matplotlib is not installed.
        OutputError: a file cannot be written.
    """
    mpl = import_matplotlib()
    with output_errors(folder):
        folder.mkdir(exist_ok=True)
    files = []
    with mpl.rc_context(_SETTINGS):
        for name, draw in PLOTS.items():
            figure = draw(evaluations)
            for suffix, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
                file = io.BytesIO()
                figure.savefig(file, format=suffix, dpi=DPI, metadata=metadata)
                files.append(folder / f"{name}.{suffix}")
                write_atomic(files[-1], file.getvalue())
    return files


def _precision_recall(evaluations: Sequence[Evaluation]) -> Any:
    titles = (*evaluations[0].classes, "face")
    figure, row = _row(len(titles), height=3.4 + 0.36 * len(evaluations))
    for axes, title in zip(row, titles, strict=True):
        for place, one in enumerate(evaluations):
            value, low, high = one.curves[title].precision
            scores = one.face if title == "face" else one.report.classes[title]
            label = _label(one.name, "AP50", scores.map50, one.intervals[title]["map50"])
            color = color_of(place)
            axes.step(RECALLS, value, where="pre", color=color, label=label, linewidth=1.5)
            axes.fill_between(RECALLS, low, high, step="pre", color=color, alpha=0.15, linewidth=0)
            if scores.recall is not None:
                axes.plot(scores.recall, scores.precision, "o", color=color, fillstyle="none")
        _unit(axes, title, "recall", "precision")
        _legend_below(axes)
    return figure


def _f1(evaluations: Sequence[Evaluation]) -> Any:
    titles = (*evaluations[0].classes, "face")
    figure, row = _row(len(titles), height=3.4 + 0.2 * len(evaluations))
    for axes, title in zip(row, titles, strict=True):
        for place, one in enumerate(evaluations):
            value, low, high = one.curves[title].f1
            best, confidence = one.best[title]
            color = color_of(place)
            label = f"{one.name}: {best:.3f} at {confidence:.2f}"
            axes.plot(CONFIDENCES, value, color=color, label=label, linewidth=1.5)
            axes.fill_between(CONFIDENCES, low, high, color=color, alpha=0.15, linewidth=0)
            axes.plot(confidence, best, "o", color=color, fillstyle="none")
        _unit(axes, title, "confidence", "F1")
        _legend_below(axes)
    return figure


def _confusion(evaluations: Sequence[Evaluation]) -> Any:
    figure, row = _row(len(evaluations), 3.7)
    for axes, one in zip(row, evaluations, strict=True):
        counts = one.confusion
        found = counts[:, :-1].sum(axis=0)
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        shares[-1] = [*(counts[-1, :-1] / np.maximum(found, 1)), 0]
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for (line, column), count in np.ndenumerate(counts):
            if line == column == len(one.classes):  # "nothing there" that is "not found"
                continue
            share = shares[line, column]
            axes.text(
                column,
                line,
                f"{count}\n{share:.1%}",
                ha="center",
                va="center",
                color="white" if share > 0.55 else "black",
            )
        axes.set(title=one.name, xlabel="found", ylabel="labeled")
        names = [name.replace("_", "\n") for name in one.classes]
        axes.set_xticks(range(len(counts)), [*names, "not\nfound"])
        axes.set_yticks(range(len(counts)), [*names, "nothing\nthere"])
        axes.spines[:].set_visible(False)
    return figure


def _slices(kind: str) -> Callable[[Sequence[Evaluation]], Any]:
    x_title, metric, y_title = _SLICES[kind]

    def draw(evaluations: Sequence[Evaluation]) -> Any:
        figure, (axes,) = _row(1, 4.8)
        names = list(evaluations[0].slices[kind])
        width = 0.8 / len(evaluations)
        for place, one in enumerate(evaluations):
            parts = one.slices[kind]
            where, values, errors = [], [], []
            for column, name in enumerate(names):
                value, span = getattr(parts[name], metric), parts[name].intervals[metric]
                if value is not None:
                    where.append(column + (place - (len(evaluations) - 1) / 2) * width)
                    values.append(value)
                    low, high = span or (value, value)
                    errors.append((max(value - low, 0), max(high - value, 0)))
            axes.bar(
                where,
                values,
                width * 0.92,
                yerr=np.array(errors).reshape(-1, 2).T,
                color=color_of(place),
                alpha=0.85,
                label=one.name,
                capsize=2.5,
                error_kw={"linewidth": 1},
            )
        parts = evaluations[0].slices[kind]
        labels = [f"{name}\nn = {parts[name].support}" for name in names]
        axes.set_xticks(range(len(names)), labels)
        axes.set(xlabel=x_title, ylabel=y_title, ylim=(0, 1.02))
        axes.grid(axis="y", alpha=0.3)
        axes.set_axisbelow(True)
        if len(evaluations) > 1:
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.18), ncols=len(evaluations))
        return figure

    return draw


#: The plots, by the names of their files.
PLOTS: dict[str, Callable[[Sequence[Evaluation]], Any]] = {
    "precision_recall": _precision_recall,
    "f1": _f1,
    "confusion": _confusion,
    **{f"by_{kind}": _slices(kind) for kind in _SLICES},
}


def _row(columns: int, width: float = 3.6, height: float = 3.4) -> tuple[Any, Any]:
    """Return a figure and its plots side by side."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height), layout="constrained")
    return figure, figure.subplots(1, columns, squeeze=False)[0]


def _legend_below(axes: Any) -> None:
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), fontsize=8)


def _unit(axes: Any, title: str, x_title: str, y_title: str) -> None:
    axes.set(title=title, xlabel=x_title, ylabel=y_title, xlim=(0, 1.01), ylim=(0, 1.02))
    axes.grid(alpha=0.3)


def _label(name: str, metric: str, value: float | None, span: tuple[float, float] | None) -> str:
    if value is None:
        return name
    interval = f" ({span[0]:.3f} to {span[1]:.3f})" if span else ""
    return f"{name}\n{metric} {value:.3f}{interval}"
