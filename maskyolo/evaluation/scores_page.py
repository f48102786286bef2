"""The sections of an HTML page that show scores."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from maskyolo.evaluation.charts import Bar, bar_chart, line_chart
from maskyolo.evaluation.html import Cell, beside, dotted, grid, legend, number, spanned, table
from maskyolo.evaluation.measure import CONFIDENCES
from maskyolo.evaluation.metrics import RECALLS, Floats, precision_recall

if TYPE_CHECKING:
    from maskyolo.evaluation.scores import Evaluation, Slice

__all__ = ["main_figures", "scores_sections"]

#: The scores of a class, by their titles.
METRICS = {
    "AP50": "map50",
    "AP50-95": "map50_95",
    "precision": "precision",
    "recall": "recall",
    "F1": "f1",
}
SLICES = {
    "size": "By size of the face",
    "faces": "By number of faces in the image",
    "sharpness": "By sharpness of the face",
}
_X_TITLES = {
    "size": "side in pixels, in a 640-pixel image",
    "faces": "faces in the image",
    "sharpness": "thirds of the faces",
}


def main_figures(evaluation: Evaluation) -> str:
    """Return the most important figures of one detector, with their intervals."""
    mean, spans = evaluation.report.macro(), evaluation.intervals["mean"]
    parts = []
    for title, metric, value, digits in (
        ("mAP50", "map50", evaluation.map50, 3),
        ("mAP50-95", "map50_95", evaluation.map50_95, 3),
        ("mean precision", "precision", mean.precision, 3),
        ("mean recall", "recall", mean.recall, 3),
        ("mean F1", "f1", mean.f1, 3),
        ("false alarms per image", "false_alarms", evaluation.false_alarms, 2),
    ):
        cell = spanned(value, spans[metric], digits)
        parts.append(
            f"<div>{title}<b>{escape(cell.text)}</b><small>{escape(cell.detail)}</small></div>"
        )
    return f'<div class="figures">{"".join(parts)}</div>'


def scores_sections(evaluations: Sequence[Evaluation]) -> list[str]:
    """Return the sections on accuracy: by class, curves, confusion, slices."""
    names = [evaluation.name for evaluation in evaluations]
    conf = evaluations[0].report.confidence
    titles = (*evaluations[0].classes, "face")
    key = legend(names) if len(names) > 1 else ""
    return [
        f"<h2>By class, at confidence {conf:g}</h2>",
        _by_class(evaluations, titles),
        _note(
            "“face”: found, with any class. Small figures, error bars and bands: 95 % intervals "
            "from 1,000 resamples of the images."
        ),
        "<h2>Precision and recall</h2>",
        key,
        grid([_recall_chart(evaluations, title) for title in titles]),
        _note(f"Rings: at confidence {conf:g}."),
        "<h2>F1 by confidence</h2>",
        key,
        grid([_f1_chart(evaluations, title) for title in titles]),
        _note("Rings: the best F1."),
        f"<h2>Confusion, at confidence {conf:g}</h2>",
        _confusions(evaluations),
        "<h2>By size, number and sharpness of faces</h2>",
        key,
        grid([_slices(evaluations, kind) for kind in SLICES]),
        _note(
            "found: at this confidence, in any class. right: found in its class. mAP50 is not "
            "defined for sharpness, which is known of labeled faces only."
        ),
    ]


def _note(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>'


def _by_class(evaluations: Sequence[Evaluation], titles: Sequence[str]) -> str:
    head = ["labeled", *METRICS, "best F1"]
    if len(evaluations) == 1:
        one = evaluations[0]
        groups = {metric: [_bar(one, title, metric) for title in titles] for metric in METRICS}
        chart = legend(titles) + bar_chart(groups, "", "", "")
        rows = [
            [Cell(title, dot=place), *_class_row(one, title)] for place, title in enumerate(titles)
        ]
        return beside(chart, table(["", *head], rows))
    charts = [
        bar_chart(
            {metric: [_bar(one, title, metric) for one in evaluations] for metric in METRICS},
            title,
            "",
            "",
        )
        for title in titles
    ]
    rows = [
        [
            Cell(title, rows=0 if place else len(evaluations)),
            Cell(one.name, dot=place, prose=True),
            *_class_row(one, title),
        ]
        for title in titles
        for place, one in enumerate(evaluations)
    ]
    names = legend([one.name for one in evaluations])
    return names + grid(charts) + table(["", "", *head], rows)


def _class_row(evaluation: Evaluation, title: str) -> list[str | Cell]:
    """Return the scores of a class, or of "face", with their intervals."""
    scores = evaluation.face if title == "face" else evaluation.report.classes[title]
    best, confidence = evaluation.best[title]
    return [
        str(scores.support),
        *(spanned(*_bar(evaluation, title, metric)) for metric in METRICS),
        Cell(number(best), f"at {confidence:.2f}"),
    ]


def _bar(evaluation: Evaluation, title: str, metric: str) -> Bar:
    scores = evaluation.face if title == "face" else evaluation.report.classes[title]
    key = METRICS[metric]
    return getattr(scores, key), evaluation.intervals[title][key]


def _recall_chart(evaluations: Sequence[Evaluation], title: str) -> str:
    marks = {}
    for place, one in enumerate(evaluations):
        scores = one.face if title == "face" else one.report.classes[title]
        if scores.recall is not None and scores.precision is not None:
            marks[place] = (scores.recall, scores.precision)
    return line_chart(
        [_curve(evaluation, title) for evaluation in evaluations],
        title,
        "recall",
        "precision",
        1,
        1,
        bands=[_band(RECALLS, one.curves[title].precision) for one in evaluations],
        marks=marks,
    )


def _f1_chart(evaluations: Sequence[Evaluation], title: str) -> str:
    return line_chart(
        [
            list(zip(CONFIDENCES.tolist(), one.curves[title].f1[0].tolist(), strict=True))
            for one in evaluations
        ],
        title,
        "confidence",
        "F1",
        1,
        1,
        bands=[_band(CONFIDENCES, one.curves[title].f1) for one in evaluations],
        marks={place: one.best[title][::-1] for place, one in enumerate(evaluations)},
    )


def _band(places: Floats, curve: Floats) -> list[tuple[float, float]]:
    """Return the outline of an interval; empty if there is none."""
    _, low, high = curve
    if np.isnan(low).any():
        return []
    up = zip(places.tolist(), high.tolist(), strict=True)
    down = zip(places[::-1].tolist(), low[::-1].tolist(), strict=True)
    return [*up, *down]


def _slices(evaluations: Sequence[Evaluation], kind: str) -> str:
    parts = [evaluation.slices[kind] for evaluation in evaluations]
    measure = "right" if kind == "sharpness" else "map50"
    chart = bar_chart(
        {
            name: [(getattr(part[name], measure), part[name].intervals[measure]) for part in parts]
            for name in parts[0]
        },
        "",
        _X_TITLES[kind],
        "found in its class" if kind == "sharpness" else "mAP50",
    )
    columns = ["found", "right"] if kind == "sharpness" else ["right", "mAP50"]
    if len(evaluations) == 1 and kind != "sharpness":
        columns = ["found", *columns]
    if len(evaluations) == 1:
        rows: list[list[str | Cell]] = [
            [name, str(part.support), *_slice_cells(part, columns)]
            for name, part in parts[0].items()
        ]
        body = table(["", "labeled", *columns], rows)
    else:
        rows = [
            [
                Cell(name, f"{part.support} labeled", rows=0 if place else len(evaluations)),
                Cell(evaluations[place].name, dot=place, prose=True),
                *_slice_cells(other[name], columns),
            ]
            for name, part in parts[0].items()
            for place, other in enumerate(parts)
        ]
        body = table(["", "", *columns], rows)
    return f"<div><h3>{SLICES[kind]}</h3>{chart}{body}</div>"


def _slice_cells(part: Slice, columns: Sequence[str]) -> list[Cell]:
    keys = [column.lower() for column in columns]
    return [spanned(getattr(part, key), part.intervals[key]) for key in keys]


def _confusions(evaluations: Sequence[Evaluation]) -> str:
    if len(evaluations) == 1:
        words = "".join(f"<p>{escape(line)}</p>" for line in _in_words(evaluations[0]))
        parts = [_confusion(evaluations[0]), f"<div>{words}</div>"]
    else:
        parts = [
            f"<div><h3>{dotted(place, one.name)}</h3>{_confusion(one)}</div>"
            for place, one in enumerate(evaluations)
        ]
    return grid(parts, 27 if len(parts) == 2 else 24) + (
        _note(
            "Shares are of the labeled faces of a row; in the row “nothing there”, of the "
            "detections of a column."
        )
    )


def _confusion(evaluation: Evaluation) -> str:
    counts = evaluation.confusion
    found = counts[:, :-1].sum(axis=0)
    rows = []
    for row, name in enumerate((*evaluation.classes, "nothing there")):
        is_class = name in evaluation.classes
        labeled = f"{counts[row].sum()} labeled" if is_class else ""
        cells = [Cell(name, labeled)]
        for column, count in enumerate(counts[row] if is_class else counts[row, :-1]):
            total = counts[row].sum() if is_class else found[column]
            share = count / max(total, 1)
            cells.append(Cell(str(count), f"{share:.1%}", shade=float(share) * 0.45))
        # "nothing there" that is "not found" has no meaning
        rows.append(cells if is_class else [*cells, Cell("")])
    head = ["labeled / found", *evaluation.classes, "not found"]
    return table(head, rows)


def _in_words(evaluation: Evaluation) -> list[str]:
    """Return a sentence per class, and one on false alarms."""
    lines = []
    counts = evaluation.confusion
    for row, name in enumerate(evaluation.classes):
        total = int(counts[row].sum())
        if not total:
            continue
        right, missed = int(counts[row, row]), int(counts[row, -1])
        wrong = total - right - missed
        lines.append(
            f"Of {total} faces labeled {name}, {right} ({right / total:.1%}) are found in their "
            f"class, {wrong} ({wrong / total:.1%}) in another, and {missed} ({missed / total:.1%}) "
            "are not found."
        )
    found, false = int(counts[:, :-1].sum()), int(counts[-1].sum())
    span = evaluation.intervals["mean"]["false_alarms"]
    interval = f" (95 % interval {span[0]:.2f} to {span[1]:.2f})" if span else ""
    lines.append(
        f"Of {found} detections, {false} ({false / max(found, 1):.1%}) are where nothing is "
        f"labeled: {evaluation.false_alarms:.2f} per image{interval}."
    )
    return lines


def _curve(evaluation: Evaluation, title: str) -> list[tuple[float, float]]:
    """Return up to 200 points of the interpolated curve; it falls to 0 at the highest recall."""
    precision, recall = precision_recall(evaluation.matches[title])
    if not len(recall):
        return []
    places = np.unique(np.linspace(0, len(recall) - 1, 200).round().astype(int))
    points = [(float(recall[place]), float(precision[place])) for place in places]
    return [(0.0, points[0][1]), *points, (points[-1][0], 0.0)]
