"""The figures of a comparison as a table, in CSV and LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maskyolo.evaluation.comparison_result import Comparison
    from maskyolo.evaluation.differences import Difference
    from maskyolo.evaluation.scores import Evaluation

__all__ = ["as_csv", "as_latex"]

#: The columns of scores: the metric, its title in LaTeX, and its number of decimals.
_METRICS = (
    ("map50", r"mAP$_{50}$", 3),
    ("map50_95", r"mAP$_{50\text{--}95}$", 3),
    ("precision", "Precision", 3),
    ("recall", "Recall", 3),
    ("f1", "F1", 3),
    ("false_alarms", "False alarms", 2),
)
_ESCAPES = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def as_csv(result: Comparison) -> str:
    """Return a row per detector: scores with the ends of their intervals, differences, p-values.

    Differences are from the first detector; what is not known is an empty cell.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    rows = [_csv_row(result, found) for found in result.evaluations.values()]
    writer.writerow(rows[0])
    writer.writerows(row.values() for row in rows)
    return file.getvalue()


def _csv_row(result: Comparison, found: Evaluation) -> dict[str, str]:
    row = {"model": _no_formula(found.name)}
    for metric, _, _ in _METRICS:
        row |= _spanned(metric, found.mean(metric), found.intervals["mean"][metric])
    for name, scores in found.report.classes.items():
        row |= _spanned(f"ap50_{name}", scores.map50, found.intervals[name]["map50"])
    differences = result.differences.get(found.name, {})
    for metric, _, _ in _METRICS:
        one = differences.get(metric)
        value, span, p = (one.difference, one.interval, one.p) if one else (None, None, None)
        row |= _spanned(f"{metric}_difference", value, span)
        row[f"{metric}_p"] = _cell(p)
    for count in next(iter(result.speed.values()), {}):
        row[f"ms_{count}_faces"] = _cell(result.speed[found.name][count].median)
    return row


def as_latex(result: Comparison) -> str:
    """Return a table for LaTeX's `booktabs`, without intervals of single classes and speed.

    The highest (of false alarms, the lowest) figure of a column is bold.
    """
    evaluations = list(result.evaluations.values())
    best = {metric: _best(metric, evaluations) for metric, _, _ in _METRICS}
    lines = [
        r"% needs \usepackage{booktabs} and \usepackage{amsmath}",
        r"\begin{tabular}{l" + "c" * (len(_METRICS) + 2) + "}",
        r"\toprule",
        _latex_row(["Model", *(title for _, title, _ in _METRICS), r"$\Delta$mAP$_{50}$", "$p$"]),
        r"\midrule",
    ]
    for one in evaluations:
        scores, spans = [], []
        for metric, _, digits in _METRICS:
            value, span = one.mean(metric), one.intervals["mean"][metric]
            text = "--" if value is None else f"{value:.{digits}f}"
            scores.append(rf"\textbf{{{text}}}" if value == best[metric] is not None else text)
            spans.append(_latex_span(span, digits))
        change = result.differences.get(one.name, {}).get("map50")
        lines.append(_latex_row([_escaped(one.name), *scores, *_latex_change(change)]))
        delta_span = _latex_span(change.interval if change else None, 3, "+")
        lines.append(_latex_row(["", *spans, delta_span, ""]))
    report, faces = evaluations[0].report, evaluations[0].face.support
    return "\n".join(
        [
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            f"% {report.images} images, {faces} labeled faces; small: 95 % intervals (bootstrap);",
            f"% confidence {report.confidence:g}: precision, recall, F1, false alarms (per image)",
            "% differences from the first model, with the p-value of a paired bootstrap",
            "",
        ]
    )


def _best(metric: str, evaluations: Sequence[Evaluation]) -> float | None:
    values = [value for one in evaluations if (value := one.mean(metric)) is not None]
    if not values:
        return None
    return min(values) if metric == "false_alarms" else max(values)


def _latex_change(change: Difference | None) -> tuple[str, str]:
    if change is None:
        return "--", "--"
    return f"${change.difference:+.3f}$", "--" if change.p is None else f"{change.p:.3f}"


def _latex_span(span: tuple[float, float] | None, digits: int, sign: str = "-") -> str:
    if not span:
        return ""
    return rf"{{\scriptsize $[{span[0]:{sign}.{digits}f}, {span[1]:{sign}.{digits}f}]$}}"


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _escaped(text: str) -> str:
    return "".join(_ESCAPES.get(character, character) for character in " ".join(text.split()))


def _spanned(name: str, value: float | None, span: tuple[float, float] | None) -> dict[str, str]:
    low, high = span or (None, None)
    return {name: _cell(value), f"{name}_low": _cell(low), f"{name}_high": _cell(high)}


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _no_formula(text: str) -> str:
    """Return a name that spreadsheets do not take for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
