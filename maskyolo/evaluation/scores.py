"""The scores that an evaluation returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from maskyolo.core.text import counted
from maskyolo.evaluation.class_scores import ClassScores, Report
from maskyolo.evaluation.metrics import Case, Floats, Ints, Matches

__all__ = ["Curves", "Evaluation", "Slice"]


@dataclass(frozen=True)
class Slice:
    """The scores of a subset of the faces or images.

    Attributes:
        support: number of labeled boxes.
        found: fraction of them that was found, in either class, at the evaluation's confidence.
        right: fraction of them that was found with the right class.
        map50: mean of the classes' average precisions at IoU 0.5; None if it is not defined for
            this kind of slice or nothing is labeled.
        pictures: number of images, if this is a slice of images.
        intervals: 95 % intervals (bootstrap over the images) of "found", "right" and "map50".
    """

    support: int
    found: float | None
    right: float | None
    map50: float | None = None
    pictures: int | None = None
    intervals: dict[str, tuple[float, float] | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Curves:
    """The curves of a class, with 95 % intervals (bootstrap over the images).

    Attributes:
        precision: interpolated precision at the recall levels 0, 0.01, …, 1, and the ends of its
            interval (3, 101).
        f1: F1 at the confidences 0, 0.01, …, 1, and the ends of its interval (3, 101).
    """

    precision: Floats
    f1: Floats


@dataclass(frozen=True)
class Evaluation:
    """The scores of a detector on labeled images.

    Attributes:
        name: the detector's name.
        report: the scores of each class at the chosen confidence.
        face: the scores of finding faces, regardless of class.
        best: best F1 over all confidences, and its confidence, for each class and for "face".
        intervals: 95 % intervals over the images (bootstrap), by class name, "face" or "mean",
            then by metric: "precision", "recall", "f1", "map50", "map50_95"; of "mean" also
            "false_alarms".
        confusion: counts (classes + 1, classes + 1): a row per labeled class and one for "nothing
            there", a column per detected class and one for "not found".
        false_alarms: detections per image where nothing is labeled.
        ignored: number of ignored boxes.
        slices: by "size", "faces" (number in the image) and "sharpness", then by name.
        unreadable: images that could not be read and are not counted.
        folder: the run's folder, if there is one.
        cases: the images with their detections.
        matches: the detections at IoU 0.5, for each class and for "face".
        curves: precision by recall and F1 by confidence, for each class and for "face".
        resampled: "precision", "recall", "f1", "map50", "map50_95" (means over the classes) and
            "false_alarms" (per image) of each resample of the images (1000,); the resamples are
            the same for every detector.
        provenance: what the figures were made with, to show and to record.
    """

    name: str
    report: Report
    face: ClassScores
    best: dict[str, tuple[float, float]]
    intervals: dict[str, dict[str, tuple[float, float] | None]]
    confusion: Ints
    false_alarms: float
    ignored: int
    slices: dict[str, dict[str, Slice]]
    unreadable: tuple[str, ...] = ()
    folder: Path | None = None
    cases: tuple[Case, ...] = field(default=(), repr=False)
    matches: dict[str, Matches] = field(default_factory=dict, repr=False)
    curves: dict[str, Curves] = field(default_factory=dict, repr=False)
    resampled: dict[str, tuple[float | None, ...]] = field(default_factory=dict, repr=False)
    provenance: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes, by id."""
        return tuple(self.report.classes)

    @property
    def map50(self) -> float | None:
        """Mean of the classes' average precisions at IoU 0.5."""
        return self.report.macro().map50

    @property
    def map50_95(self) -> float | None:
        """Mean of the classes' average precisions at IoU 0.5, 0.55, …, 0.95."""
        return self.report.macro().map50_95

    def mean(self, metric: str) -> float | None:
        """Return a metric of `resampled`: its mean over the classes, or false alarms per image."""
        if metric == "false_alarms":
            return self.false_alarms
        value: float | None = getattr(self.report.macro(), metric)
        return value

    def json(self) -> dict[str, Any]:
        """Return everything except the individual detections as plain values."""
        return {
            "model": self.name,
            **({"provenance": dict(self.provenance)} if self.provenance else {}),
            **self.report.json(),
            "face": asdict(self.face),
            "map50": self.map50,
            "map50_95": self.map50_95,
            "best_f1": {
                name: {"f1": f1, "confidence": conf} for name, (f1, conf) in self.best.items()
            },
            "intervals": self.intervals,
            "confusion": {
                "labelled": [*self.classes, "nothing there"],
                "found": [*self.classes, "not found"],
                "counts": self.confusion.tolist(),
            },
            "false_alarms": self.false_alarms,
            "ignored": self.ignored,
            "slices": {
                kind: {name: asdict(part) for name, part in parts.items()}
                for kind, parts in self.slices.items()
            },
            "unreadable": list(self.unreadable),
        }

    def table(self) -> str:
        """Return the evaluation as text."""
        lines = [*self.report.lines({"face (any class)": self.face}), ""]
        spans = self.intervals["mean"]
        span, wide = spans["map50"], spans["map50_95"]
        if self.map50 is not None and self.map50_95 is not None and span and wide:
            lines.append(
                f"mAP50 {self.map50:.3f} (95 % interval {span[0]:.3f} to {span[1]:.3f}), "
                f"mAP50-95 {self.map50_95:.3f} ({wide[0]:.3f} to {wide[1]:.3f})"
            )
        best = ", ".join(f"{name} {f1:.3f} at {conf:.2f}" for name, (f1, conf) in self.best.items())
        lines += [f"best F1: {best}", "", *self._confusion_lines(), *self._slice_lines()]
        return "\n".join([*lines, "", *self._notes()]) + "\n"

    def _notes(self) -> tuple[str, str]:
        split = f", split {self.report.split}" if self.report.split else ""
        ignored = counted(self.ignored, "ignored box", "ignored boxes")
        if self.unreadable:
            ignored += f", {counted(len(self.unreadable), 'unreadable image')}"
        images = counted(self.report.images, "image")
        right = f"overlaps a labeled box of its class by an IoU of {self.report.iou:g} or more"
        return (
            f"{images} of {self.report.data}{split}; not counted: {ignored}.",
            f"A detection is right if it {right}.",
        )

    def _confusion_lines(self) -> list[str]:
        labeled, columns = [*self.classes, "nothing there"], [*self.classes, "not found"]
        width = max(14, *(len(name) + 2 for name in columns))
        lines = [
            f"at confidence {self.report.confidence:g}:",
            "",
            f"{'labeled / found':16}" + "".join(f"{name:>{width}}" for name in columns),
        ]
        for name, row in zip(labeled, self.confusion.tolist(), strict=True):
            # "nothing there" that is "not found" has no meaning
            cells = [f"{count:{width}d}" for count in row[: None if name in self.classes else -1]]
            lines.append(f"{name:16}" + "".join(cells))
        span = self.intervals["mean"]["false_alarms"]
        interval = f" ({span[0]:.2f} to {span[1]:.2f})" if span else ""
        return [*lines, "", f"false alarms per image: {self.false_alarms:.2f}{interval}"]

    def _slice_lines(self) -> list[str]:
        titles = {
            "size": "face size (px at 640)",
            "faces": "faces in the image",
            "sharpness": "sharpness of the face",
        }
        lines = []
        for kind, parts in self.slices.items():
            last = "" if kind == "sharpness" else f"{'mAP50':>10}  95 % interval"
            head = f"{titles[kind]:24}{'labeled':>10}{'found':>10}{'right':>10}{last}"
            lines += ["", head]
            for name, part in parts.items():
                columns = (part.found, part.right, *(() if kind == "sharpness" else (part.map50,)))
                shares = "".join(
                    f"{'-':>10}" if share is None else f"{share:10.3f}" for share in columns
                )
                span = part.intervals.get("map50")
                interval = f"  {span[0]:.3f} to {span[1]:.3f}" if span else ""
                lines.append(f"{name:24}{part.support:10d}{shares}{interval}")
        return lines
