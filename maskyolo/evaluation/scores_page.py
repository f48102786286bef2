"""The sections of an HTML page that show scores."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from maskyolo.core.classes import CLASS_NAMES
from maskyolo.evaluation.html import bar_chart, legend, line_chart, number, table
from maskyolo.evaluation.metrics import precision_recall

if TYPE_CHECKING:
    from maskyolo.evaluation.scores import Evaluation

__all__ = ["scores_sections"]


def scores_sections(evaluations: Sequence[Evaluation]) -> list[str]:
    """Return the sections on accuracy: by class, curves, confusion, slices."""
    names = [evaluation.name for evaluation in evaluations]
    conf = evaluations[0].report.confidence
    titles = (*CLASS_NAMES, "face")
    head = ["", "labeled", "AP50", "AP50-95", "precision", "recall", "F1", "best F1 (at)"]
    rows = [_class_row(evaluation, title) for title in titles for evaluation in evaluations]
    if len(names) == 1:
        for row, title in zip(rows, titles, strict=True):
            row[0] = title
    note = (
        '<p class="note">“face”: found, with any class. In parentheses: 95 % intervals over the '
        "images.</p>"
    )
    curves = [
        line_chart(
            [_curve(evaluation, title) for evaluation in evaluations],
            title,
            "recall",
            "precision",
            1,
            1,
        )
        for title in titles
    ]
    sections = [
        *([legend(names)] if len(names) > 1 else []),
        f"<h2>By class, at confidence {conf:g}</h2>",
        table(head, rows),
        note,
        f'<h2>Precision and recall</h2><div class="row">{"".join(curves)}</div>',
        f"<h2>Confusion, at confidence {conf:g}</h2>",
        f'<div class="row">{"".join(map(_confusion, evaluations))}</div>',
    ]
    for kind, title in (
        ("size", "By size of the face (side in pixels in a 640-pixel image)"),
        ("faces", "By number of faces in the image"),
        ("sharpness", "By sharpness of the face (thirds)"),
    ):
        sections.append(f"<h2>{title}</h2>" + _slices(evaluations, kind))
    return sections


def _class_row(evaluation: Evaluation, title: str) -> list[str]:
    """Return the scores of a class, or of "face", with their intervals."""
    scores = evaluation.face if title == "face" else evaluation.report.classes[title]
    spans = evaluation.intervals[title]
    best, confidence = evaluation.best[title]
    return [
        f"{title}: {evaluation.name}",
        str(scores.support),
        _spanned(scores.map50, spans["map50"]),
        number(scores.map50_95),
        _spanned(scores.precision, spans["precision"]),
        _spanned(scores.recall, spans["recall"]),
        _spanned(scores.f1, spans["f1"]),
        f"{best:.3f}\n({confidence:.2f})",
    ]


def _slices(evaluations: Sequence[Evaluation], kind: str) -> str:
    parts = [evaluation.slices[kind] for evaluation in evaluations]
    measure = "right" if kind == "sharpness" else "map50"
    title = "found in its class" if kind == "sharpness" else "mAP50"
    chart = bar_chart(
        {name: [getattr(part[name], measure) for part in parts] for name in parts[0]}, title, "", ""
    )
    head = ["", "labeled"]
    for evaluation in evaluations:
        head += [
            f"{evaluation.name}: {word}" if len(evaluations) > 1 else word
            for word in ("found", "right", "mAP50")
        ]
    rows = []
    for name, part in parts[0].items():
        cells = [
            number(value)
            for other in parts
            for value in (other[name].found, other[name].right, other[name].map50)
        ]
        rows.append([name, str(part.support), *cells])
    return f'<div class="row">{chart}<div>{table(head, rows)}</div></div>'


def _confusion(evaluation: Evaluation) -> str:
    rows = []
    labeled = (*CLASS_NAMES, "nothing there")
    for name, counts in zip(labeled, evaluation.confusion.tolist(), strict=True):
        shown = counts if name in CLASS_NAMES else counts[:-1]
        rows.append([name, *map(str, shown), *[""] * (len(counts) - len(shown))])
    cells = table(["labeled / found", *CLASS_NAMES, "not found"], rows)
    return f"<div><h3>{escape(evaluation.name)}</h3>{cells}</div>"


def _spanned(value: float | None, span: tuple[float, float] | None) -> str:
    return number(value) + (
        f"\n({span[0]:.3f} to {span[1]:.3f})" if value is not None and span else ""
    )


def _curve(evaluation: Evaluation, title: str) -> list[tuple[float, float]]:
    """Return up to 200 points of the interpolated curve; it falls to 0 at the highest recall."""
    precision, recall = precision_recall(evaluation.matches[title])
    if not len(recall):
        return []
    places = np.unique(np.linspace(0, len(recall) - 1, 200).round().astype(int))
    points = [(float(recall[place]), float(precision[place])) for place in places]
    return [(0.0, points[0][1]), *points, (points[-1][0], 0.0)]
