"""Plots of a classifier's training."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from maskyolo.core.classes import CLASS_NAMES
from maskyolo.core.files import write_atomic
from maskyolo.core.plotting import import_matplotlib
from maskyolo.evaluation.class_scores import ClassificationReport


def plot_curves(rows: Sequence[Mapping[str, float]], path: Path) -> None:
    """Plot loss and accuracy by epoch."""
    import_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    epochs = [row["epoch"] for row in rows]
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for column, label in (
            (name, "train (augmented)"),
            (f"val_{name}", "val (original and augmented)"),
        ):
            axes.plot(epochs, [row[column] for row in rows], marker=".", label=label)
        axes.set(xlabel="epoch", title=name)
        axes.grid(alpha=0.3)
        axes.legend()
    _save(figure, path)


def plot_confusion(reports: Mapping[str, ClassificationReport], path: Path) -> None:
    """Plot a confusion matrix per split."""
    import_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5 * len(reports), 4), layout="constrained")
    plots = figure.subplots(1, len(reports), squeeze=False)[0]
    for axes, report in zip(plots, reports.values(), strict=True):
        table = np.array([[row[name] for name in CLASS_NAMES] for row in report.confusion.values()])
        axes.imshow(table, cmap="Blues", vmin=0)
        for cell, count in np.ndenumerate(table):
            axes.text(
                *cell[::-1],
                str(count),
                ha="center",
                va="center",
                color="white" if count > table.max() / 2 else "black",
            )
        axes.set(
            title=f"{report.split}: accuracy {report.accuracy:.3f}",
            xlabel="predicted",
            ylabel="labeled",
        )
        axes.set_xticks(range(len(CLASS_NAMES)), CLASS_NAMES)
        axes.set_yticks(range(len(CLASS_NAMES)), CLASS_NAMES, rotation=90, va="center")
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=120)
    write_atomic(path, file.getvalue())
