"""The sections of an HTML page that compare detectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from maskyolo.core.images import read_image
from maskyolo.core.text import counted
from maskyolo.evaluation.charts import line_chart
from maskyolo.evaluation.comparison_result import Comparison
from maskyolo.evaluation.header import header
from maskyolo.evaluation.html import Cell, beside, embedded, grid, legend, number, spanned, table
from maskyolo.evaluation.labeled import LabeledImage
from maskyolo.evaluation.measure import AP_FLOOR, FACE_FLOOR
from maskyolo.evaluation.metrics import Case, Floats, confusion
from maskyolo.evaluation.scores import Evaluation
from maskyolo.evaluation.scores_page import scores_sections
from maskyolo.evaluation.speed import COUNTS, FRAME
from maskyolo.runtime.drawing import draw_detections

__all__ = ["comparison_sections"]

#: Number of images shown for each detector: those in which it beats the others most.
SHOWN = 4


def _errors(case: Case, conf: float, classes: int) -> int:
    """Return a detector's number of errors in an image: missed, wrong class, or false alarm."""
    counts, _ = confusion(case, conf, classes)
    return int(counts.sum() - np.trace(counts))


def _worst(evaluations: Sequence[Evaluation]) -> list[tuple[int, list[int]]]:
    """Return the images in which the detectors differ most, with each one's number of errors.

    For each detector in turn, these are the images in which it does best against the others.
    """
    conf = evaluations[0].report.confidence
    errors: Floats = np.array(
        [
            [_errors(case, conf, len(found.classes)) for case in found.cases]
            for found in evaluations
        ],
        dtype=np.float64,
    )
    chosen: list[int] = []
    for row in errors:
        others = errors.sum(axis=0) - row
        gain = others / (len(errors) - 1) - row
        best = [
            int(place)
            for place in np.argsort(-gain, kind="stable")
            if gain[place] > 0 and place not in chosen
        ]
        chosen += best[:SHOWN]
    return [(place, errors[:, place].astype(int).tolist()) for place in chosen]


def comparison_sections(result: Comparison, images: Sequence[LabeledImage]) -> list[str]:
    """Return the sections of the report's page."""
    evaluations = list(result.evaluations.values())
    given = [
        f"{name}: {text}" if text != name else name for name, text in result.models.items()
    ] or list(result.names)
    settings = {"Models": "\n".join(given), "Data": result.where}
    sections = [
        header(evaluations, settings, result.provenance),
        "<h2>Summary</h2>",
        "".join(f"<p>{escape(line)}</p>" for line in (*result.in_words(), *result.verdicts)),
        _overview(result),
    ]
    if evaluations:
        sections += [
            _scores_note(evaluations[0]),
            f"<h2>Differences from {escape(result.names[0])}</h2>",
            _differences(result),
            *scores_sections(evaluations),
        ]
    if result.speed:
        sections += _speed_sections(result)
    if result.video:
        rows = [
            [name, f"{row['ms']:.1f}", f"{row['faces']:.1f}"] for name, row in result.video.items()
        ]
        head = ["", "median ms per frame", "faces per frame"]
        sections.append("<h2>On the video</h2>" + table(head, rows))
        if result.video_file:
            file = escape(result.video_file.name)
            sections.append(f'<p class="note">Side by side: {file}, in the same folder.</p>')
    if evaluations:
        sections.append(_disagreements(evaluations, images))
    return sections


def _differences(result: Comparison) -> str:
    titles = {
        "map50": "mAP50",
        "map50_95": "mAP50-95",
        "precision": "mean precision",
        "recall": "mean recall",
        "f1": "mean F1",
        "false_alarms": "false alarms per image",
    }
    head = [""]
    for title in titles.values():
        head += [title, "p"]
    rows: list[list[str | Cell]] = []
    for place, (name, found) in enumerate(result.differences.items(), 1):
        row: list[str | Cell] = [Cell(name, dot=place, prose=True)]
        for metric in titles:
            one = found[metric]
            span = "{:+.3f} to {:+.3f}".format(*one.interval) if one.interval else ""
            row += [Cell(f"{one.difference:+.3f}", span), number(one.p)]
        rows.append(row)
    return table(head, rows) + (
        '<p class="note">Both detectors are measured on the same 1,000 resamples of the images. p: '
        "two-sided p-value of a paired bootstrap, at least 0.002 with 1,000 resamples, not "
        "corrected for the number of comparisons.</p>"
    )


def _scores_note(first: Evaluation) -> str:
    """Return a note on the number of images and on how the scores are defined."""
    report = first.report
    images = counted(report.images, "image")
    faces = counted(first.face.support, "labeled face")
    ignored = counted(first.ignored, "ignored box", "ignored boxes")
    unreadable = counted(len(first.unreadable), "unreadable image")
    return (
        f'<p class="note">{images}, {faces}; not counted: {ignored}, '
        f"{unreadable}. A detection is right if it overlaps a labeled box of its class by an IoU "
        f"of {report.iou:g} or more; a face that is not found is an error, whichever stage missed "
        "it. Average precision is COCO's (101 points), from detections with a confidence of "
        f"{AP_FLOOR:g} and above; with two stages, from faces with a score of {FACE_FLOOR:g} and "
        "above. Small figures: 95 % intervals over the images (1,000 resamples, the same for all)."
        "</p>"
    )


@dataclass(frozen=True)
class _Column:
    """A column of the overview: a cell and a rank per detector; the highest rank is best."""

    title: str
    cells: Sequence[str | Cell]
    ranks: Sequence[float | None]

    @property
    def best(self) -> int:
        """The row of the best cell."""
        return int(np.argmax([-np.inf if rank is None else rank for rank in self.ranks]))


def _overview(result: Comparison) -> str:
    columns = [*_score_columns(list(result.evaluations.values())), *_cost_columns(result)]
    rows = [
        [Cell(name, dot=place, prose=True), *(column.cells[place] for column in columns)]
        for place, name in enumerate(result.names)
    ]
    best = {place: column.best for place, column in enumerate(columns, 1)}
    return table(["", *(column.title for column in columns)], rows, best)


def _score_columns(evaluations: Sequence[Evaluation]) -> list[_Column]:
    if not evaluations:
        return []

    def column(title: str, values: Sequence[float | None]) -> _Column:
        return _Column(title, [number(value) for value in values], values)

    def of_means(title: str, metric: str) -> _Column:
        values = [getattr(one.report.macro(), metric) for one in evaluations]
        spans = [one.intervals["mean"][metric] for one in evaluations]
        return _Column(title, list(map(spanned, values, spans)), values)

    alarms = [one.false_alarms for one in evaluations]
    return [
        of_means("mAP50", "map50"),
        of_means("mAP50-95", "map50_95"),
        *(
            column(f"AP50 {name}", [one.report.classes[name].map50 for one in evaluations])
            for name in evaluations[0].classes
        ),
        of_means("mean F1", "f1"),
        _Column(
            "false alarms per image",
            [
                spanned(one.false_alarms, one.intervals["mean"]["false_alarms"], 2)
                for one in evaluations
            ],
            [-value for value in alarms],
        ),
    ]


def _cost_columns(result: Comparison) -> list[_Column]:
    columns = []
    for count in (1, 10, 40) if result.speed else ():
        laps = [result.speed[name][count].median for name in result.names]
        cells = [f"{lap:.1f}" for lap in laps]
        columns.append(_Column(f"ms, {counted(count, 'face')}", cells, [-lap for lap in laps]))
    if any(result.memory.values()):
        peaks = [result.memory.get(name) for name in result.names]
        cells = [number(peak, 0) for peak in peaks]
        ranks = [None if peak is None else -peak for peak in peaks]
        columns.append(_Column("peak MB", cells, ranks))
    return columns


def _speed_sections(result: Comparison) -> list[str]:
    top = max(laps.median for rows in result.speed.values() for laps in rows.values())
    lines = [
        [(count, laps.median) for count, laps in rows.items()] for rows in result.speed.values()
    ]
    rows: list[list[str | Cell]] = []
    for count in COUNTS:
        for place, name in enumerate(result.names):
            laps = result.speed[name][count].json()
            stages = ", ".join(f"{stage} {value:.1f}" for stage, value in laps["stages"].items())
            half = f"{laps['quartiles'][0]:.1f} to {laps['quartiles'][1]:.1f}"
            rows.append(
                [
                    Cell(str(count), rows=0 if place else len(result.names)),
                    Cell(name, dot=place, prose=True),
                    f"{laps['median']:.1f}",
                    half,
                    Cell(stages, prose=True),
                    str(laps["found"]),
                ]
            )
    head = ["faces", "", "median ms", "middle half", "stages (medians)", "found"]
    title, x_title = "milliseconds per frame", "faces in the frame"
    rounds = len(next(iter(next(iter(result.speed.values())).values())).whole)
    note = (
        f"Frames of {FRAME[0]}x{FRAME[1]} pixels, composed of faces from these images, at the "
        f"chosen confidence, without decoding. Medians of {counted(rounds, 'round')}; in each, all "
        "detectors take turns. Only faces that the first stage finds reach the second. The times "
        "are of this machine; ratios carry over to others better than milliseconds. Memory is the "
        "peak of a separate process that only loads the detector and runs it on the frame with 10 "
        "faces."
    )
    return [
        "<h2>Speed</h2>",
        "".join(f"<p>{escape(line)}</p>" for line in result.verdicts),
        legend(result.names),
        beside(
            line_chart(lines, title, x_title, "", max(COUNTS), top * 1.05, dots=True),
            table(head, rows),
        ),
        f'<p class="note">{note}</p>',
    ]


def _disagreements(evaluations: Sequence[Evaluation], images: Sequence[LabeledImage]) -> str:
    """Return the images in which the detectors differ most, with the detections of each drawn."""
    import supervision as sv

    readable = [image for image in images if str(image.path) not in evaluations[0].unreadable]
    conf = evaluations[0].report.confidence
    parts = []
    for place, errors in _worst(evaluations):
        image = read_image(readable[place].path)
        figures = []
        for found, count in zip(evaluations, errors, strict=True):
            case = found.cases[place]
            confident = case.confidence >= conf
            class_ids = case.found_ids[confident]
            detections = sv.Detections(
                xyxy=case.found[confident].astype(np.float32),
                confidence=case.confidence[confident].astype(np.float32),
                class_id=class_ids,
                data={"class_name": np.array(found.classes)[class_ids]},
            )
            caption = f"{found.name}: {counted(count, 'error')}"
            figures.append(embedded(draw_detections(image, detections), caption))
        faces = counted(len(evaluations[0].cases[place].boxes), "labeled face")
        parts.append(f"<h3>{escape(readable[place].path.name)}, {faces}</h3>{grid(figures)}")
    note = (
        '<p class="note">The images in which each detector does best against the others, by '
        "number of errors.</p>"
    )
    title = "<h2>Where they differ most</h2>"
    return title + (note + "".join(parts) if parts else "<p>Nowhere.</p>")
