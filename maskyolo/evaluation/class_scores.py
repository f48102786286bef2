"""Reports of a detector and of a classifier on a data set's split, as text and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from maskyolo.core.text import counted

__all__ = ["ClassScores", "ClassificationReport", "Report"]


@dataclass(frozen=True)
class ClassScores:
    """The scores of a class, or their average over classes.

    All are from 0 to 1, or None if the split has no box of the class.

    Attributes:
        precision: fraction of the detections that are right.
        recall: fraction of the labeled boxes that are found.
        f1: harmonic mean of precision and recall.
        support: number of labeled boxes.
        map50: average precision at IoU 0.5.
        map50_95: average precision, averaged over IoU 0.5, 0.55, …, 0.95.
    """

    precision: float | None
    recall: float | None
    f1: float | None
    support: int
    map50: float | None = None
    map50_95: float | None = None


_COLUMNS = ("precision", "recall", "f1", "map50", "map50_95")


class _Averages:
    """Averages of the scores of classes."""

    classes: dict[str, ClassScores]

    def macro(self) -> ClassScores:
        """Return the unweighted mean over the classes that have boxes."""
        found = [scores for scores in self.classes.values() if scores.support]
        return _mean(found, [1.0] * len(found))

    def weighted(self) -> ClassScores:
        """Return the mean over the classes, weighted by their support."""
        found = [scores for scores in self.classes.values() if scores.support]
        return _mean(found, [scores.support for scores in found])


@dataclass(frozen=True)
class Report(_Averages):
    """The scores of a detector on a split.

    Attributes:
        data: the data set's folder.
        split: the split's name.
        images: number of its images.
        confidence: minimum confidence of detections for precision, recall and F1.
        iou: minimum IoU with a labeled box of its class for a detection to be right.
        classes: scores by class name, in the order of the class ids.
    """

    data: str
    split: str
    images: int
    confidence: float
    iou: float
    classes: dict[str, ClassScores]

    def json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return {
            "data": self.data,
            "split": self.split,
            "images": self.images,
            "confidence": self.confidence,
            "iou": self.iou,
            "classes": {name: asdict(scores) for name, scores in self.classes.items()},
            "macro avg": asdict(self.macro()),
            "weighted avg": asdict(self.weighted()),
        }

    def lines(self, more: Mapping[str, ClassScores] | None = None) -> list[str]:
        """Return the scores as rows of text, laid out like scikit-learn's `classification_report`.

        Args:
            more: further rows to append, by name.
        """
        rows = {
            **self.classes,
            "macro avg": self.macro(),
            "weighted avg": self.weighted(),
            **(more or {}),
        }
        width = max(len(name) for name in rows)
        lines = [f"{'':{width}}  precision    recall  f1-score   support     mAP50  mAP50-95", ""]
        for name, scores in rows.items():
            if name == "macro avg":
                lines.append("")
            cells = [
                _cell(scores.precision),
                _cell(scores.recall),
                _cell(scores.f1),
                f"{scores.support:10d}",
                _cell(scores.map50),
            ]
            lines.append(f"{name:>{width}} {''.join(cells)}{_cell(scores.map50_95)}")
        return lines

    def table(self) -> str:
        """Return the report of a training run as text."""
        images = counted(self.images, "image")
        confidence = f"confidence {self.confidence:.2f} (the best mean F1) and IoU {self.iou:g}"
        lines = [
            *self.lines(),
            "",
            f"{images} of the {self.split} split of {self.data}.",
            f"Precision, recall and F1 at {confidence}.",
            "Training used the same data set; expect other scores with other cameras and places.",
        ]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class ClassificationReport(_Averages):
    """The scores of a classifier of face crops on a split's labeled boxes.

    Attributes:
        data: the data set's folder.
        split: the split's name.
        images: number of its images.
        confusion: number of faces by labeled class, then by predicted class.
    """

    data: str
    split: str
    images: int
    confusion: dict[str, dict[str, int]]

    @property
    def classes(self) -> dict[str, ClassScores]:  # type: ignore[override]
        """Precision, recall, F1 and support by class name."""
        scores = {}
        for name, row in self.confusion.items():
            right, support = row[name], sum(row.values())
            predicted = sum(other[name] for other in self.confusion.values())
            if not support:
                scores[name] = ClassScores(None, None, None, 0)
                continue
            scores[name] = ClassScores(
                precision=right / predicted if predicted else 0.0,
                recall=right / support,
                f1=2 * right / (predicted + support),
                support=support,
            )
        return scores

    @property
    def accuracy(self) -> float:
        """Fraction of the faces whose class is right."""
        faces = sum(sum(row.values()) for row in self.confusion.values())
        return sum(row[name] for name, row in self.confusion.items()) / max(1, faces)

    def json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        rows = {"macro avg": self.macro(), "weighted avg": self.weighted()}
        return {
            "data": self.data,
            "split": self.split,
            "images": self.images,
            "accuracy": self.accuracy,
            "classes": {name: _plain(scores) for name, scores in self.classes.items()},
            **{name: _plain(scores) for name, scores in rows.items()},
            "confusion": self.confusion,
        }

    def table(self) -> str:
        """Return the report as text, laid out like scikit-learn's `classification_report`."""
        rows = {**self.classes, "macro avg": self.macro(), "weighted avg": self.weighted()}
        width = max(len(name) for name in rows)
        faces = self.macro().support
        lines = [f"{'':{width}}  precision    recall  f1-score   support", ""]
        for name, scores in rows.items():
            if name == "macro avg":
                lines += ["", f"{'accuracy':>{width}} {'':20}{_cell(self.accuracy)}{faces:10d}"]
            cells = "".join(map(_cell, (scores.precision, scores.recall, scores.f1)))
            lines.append(f"{name:>{width}} {cells}{scores.support:10d}")
        found = f"{counted(faces, 'face')} in {counted(self.images, 'image')}"
        lines += ["", f"{found} of the {self.split} split of {self.data}, by their labeled boxes."]
        return "\n".join(lines) + "\n"


def _plain(scores: ClassScores) -> dict[str, Any]:
    return {
        column: value for column, value in asdict(scores).items() if not column.startswith("map50")
    }


def _cell(value: float | None) -> str:
    return f"{'-':>10}" if value is None else f"{value:10.3f}"


def _mean(scores: Sequence[ClassScores], weights: Sequence[float]) -> ClassScores:
    total = sum(weights)
    means = {
        column: sum(
            weight * (getattr(row, column) or 0.0)
            for row, weight in zip(scores, weights, strict=True)
        )
        / total
        if total
        else None
        for column in _COLUMNS
    }
    return ClassScores(support=sum(row.support for row in scores), **means)
