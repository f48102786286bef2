"""The result of a comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from maskyolo.evaluation.differences import Difference
from maskyolo.evaluation.html import number
from maskyolo.evaluation.scores import Evaluation
from maskyolo.evaluation.speed import FRAME, Laps

__all__ = ["Comparison"]


@dataclass(frozen=True)
class Comparison:
    """The results of a comparison, in which all detectors are compared with the first one.

    Attributes:
        names: names of the detectors.
        where: the place of the images and the video.
        evaluations: by name; empty without labeled images.
        differences: for each detector but the first, its mean scores minus the first one's, by
            metric, with 95 % intervals and p-values (paired bootstrap over the images).
        speed: times by name and number of faces in the frame.
        verdicts: the differences in speed, in words.
        memory: peak memory in MB of a process that runs the detector, by name; None if unknown.
        video: median milliseconds ("ms") and mean number of faces ("faces") per frame of the
            video, by name.
        folder: the run's folder.
        video_file: the side-by-side video, if there is one.
        models: how each detector was given, by name.
        provenance: what the figures were made with, to show and to record.
    """

    names: tuple[str, ...]
    where: str
    evaluations: dict[str, Evaluation]
    differences: dict[str, dict[str, Difference]]
    speed: dict[str, dict[int, Laps]]
    verdicts: tuple[str, ...]
    memory: dict[str, float | None]
    video: dict[str, dict[str, float]] = field(default_factory=dict)
    folder: Path | None = None
    video_file: Path | None = None
    models: dict[str, str] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def unreadable(self) -> tuple[str, ...]:
        """Images that could not be read and are not counted."""
        return next(iter(self.evaluations.values())).unreadable if self.evaluations else ()

    def json(self) -> dict[str, Any]:
        """Return everything except the individual detections as plain values."""
        return {
            "detectors": list(self.names),
            "models": self.models,
            **({"provenance": dict(self.provenance)} if self.provenance else {}),
            "on": self.where,
            "evaluations": {name: found.json() for name, found in self.evaluations.items()},
            "differences": {
                name: {metric: asdict(one) for metric, one in rows.items()}
                for name, rows in self.differences.items()
            },
            "speed": {
                name: {str(count): laps.json() for count, laps in rows.items()}
                for name, rows in self.speed.items()
            },
            "verdicts": list(self.verdicts),
            "memory": self.memory,
            "video": self.video,
        }

    def table(self) -> str:
        """Return the most important figures as text."""
        lines = []
        if self.evaluations:
            lines += [*self._score_lines(), "", *self.in_words(), ""]
        if self.speed:
            lines += [*self._speed_lines(), "", *self.verdicts, ""]
        if self.video:
            lines += ["on the video:", ""]
            for name, row in self.video.items():
                figures = f"{row['ms']:7.1f} ms per frame, {row['faces']:.1f} faces per frame"
                lines.append(f"{name:{self._width}}  {figures}")
        return "\n".join(lines).rstrip() + "\n"

    @property
    def _width(self) -> int:
        return max(len(name) for name in self.names)

    def _score_lines(self) -> list[str]:
        head = "     mAP50  95 % interval   mAP50-95  precision  recall    F1  false alarms"
        lines = [" " * self._width + head, ""]
        for name, found in self.evaluations.items():
            mean, span = found.report.macro(), found.intervals["mean"]["map50"] or (0.0, 0.0)
            lines.append(
                f"{name:{self._width}}  {number(mean.map50):>8}  {span[0]:.3f} to {span[1]:.3f}  "
                f"{number(mean.map50_95):>8}  {number(mean.precision):>9}  "
                f"{number(mean.recall):>6}  {number(mean.f1)}  {found.false_alarms:12.2f}"
            )
        return lines

    def _speed_lines(self) -> list[str]:
        counts = "".join(f"{count:>9}" for count in next(iter(self.speed.values())))
        lines = [
            f"median ms per frame ({FRAME[0]}x{FRAME[1]}), by number of faces in it:",
            "",
            f"{'':{self._width}}{counts}   peak MB",
        ]
        for name, rows in self.speed.items():
            cells = "".join(f"{laps.median:9.1f}" for laps in rows.values())
            lines.append(f"{name:{self._width}}{cells}{number(self.memory.get(name), 0):>10}")
        return lines

    def in_words(self) -> list[str]:
        """Return a sentence per detector but the first: how its mAP50 differs from the first's."""
        sentences = []
        for name, rows in self.differences.items():
            one = rows["map50"]
            p = "" if one.p is None else f", p = {one.p:.2g}"
            if one.interval is None or not one.is_clear:
                sentences.append(
                    f"{name} and {self.names[0]} cannot be told apart by mAP50 on these images "
                    f"({one.difference:+.3f}{p})."
                )
            else:
                word = "better" if one.difference > 0 else "worse"
                low, high = one.interval
                sentences.append(
                    f"{name} is {word} than {self.names[0]}: mAP50 {one.difference:+.3f} "
                    f"(95 % interval {low:+.3f} to {high:+.3f}{p})."
                )
        return sentences
