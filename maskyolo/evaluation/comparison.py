"""Compare detectors on the same images, frames and video; used by `maskyolo compare`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from maskyolo.core.detector import Detector, class_names_of
from maskyolo.core.files import write_atomic
from maskyolo.core.images import ImageArray, read_image
from maskyolo.core.item_errors import ERROR_LOG, ItemErrors
from maskyolo.core.options import takes_options
from maskyolo.core.runs import new_run, save_args
from maskyolo.dataset.photo_hashes import HashingReader
from maskyolo.detectors.loading import describe_detector, model_file
from maskyolo.detectors.options import InferenceOptions
from maskyolo.errors import MaskyoloError, output_errors
from maskyolo.evaluation.comparison_page import comparison_sections
from maskyolo.evaluation.comparison_result import Comparison
from maskyolo.evaluation.comparison_table import as_csv, as_latex
from maskyolo.evaluation.comparison_video import SPEED_FACES, open_video, side_by_side
from maskyolo.evaluation.contestants import (
    DEFAULT_DETECTORS,
    Contestant,
    load_contestants,
    parse_contestants,
    settings_of,
    texts_of,
)
from maskyolo.evaluation.differences import differences_from_first
from maskyolo.evaluation.header import listed
from maskyolo.evaluation.html import page
from maskyolo.evaluation.labeled import LabeledImage, describe_images, find_images
from maskyolo.evaluation.measure import AP_FLOOR, FACE_FLOOR, measure, predict
from maskyolo.evaluation.metrics import Case, Floats
from maskyolo.evaluation.options import CompareOptions
from maskyolo.evaluation.overlap import report_overlap
from maskyolo.evaluation.plots import save_plots
from maskyolo.evaluation.scores import Evaluation
from maskyolo.evaluation.speed import (
    COUNTS,
    Laps,
    crowd_frame,
    cut_faces,
    measure_memory,
    measure_speed,
    verdicts,
)
from maskyolo.runtime.file_sources import VideoSource
from maskyolo.runtime.provenance import describe_model, made_with, report_differences

__all__ = ["compare"]


@takes_options(CompareOptions)
def compare(
    model: Sequence[str | Path | Detector] | Mapping[str, Detector] = DEFAULT_DETECTORS,
    source: Path | str | None = None,
    *,
    options: CompareOptions | None = None,
    on_error: Callable[[str, MaskyoloError], None] | None = None,
    on_progress: Callable[[str, int, int | None], None] | None = None,
    on_warning: Callable[[str], None] | None = None,
    **settings: Any,
) -> Comparison:
    """Compare detectors on labeled images, on frames with 1 to 40 faces for speed, and on a video.

    The run's folder gets `args.yaml`, `report.html`, `report.json`, `report.txt`, `table.csv`,
    `table.tex`, the video, and `predictions/NAME.jsonl` in the format of `detect --save-json`.

    Args:
        model: two or more detectors: `[PIPELINE:][MODEL][@DETECTOR]` as in `Contestant.parse`, or
            loaded detectors, which keep their own confidence. All are compared with the first.
        source: a video file for the side-by-side video. Without labeled images, only speed is
            measured.
        options: the options, see `CompareOptions`. `iou` and `imgsz` apply to `yolo` only.
        on_error: called with each image that cannot be read and the error; the image is left out.
            Default: log a warning.
        on_progress: called with what is counted ("images", "scores", "frames" or "rounds"), the
            number done, and the total.
        on_warning: as for `evaluate`. Default: log a warning.
        settings: fields of `CompareOptions` as keywords, such as `images`, `labels` and `rounds`.
            Average precision uses all detections with a confidence of at least 0.001, regardless of
            `conf`; with two stages, all faces with a score of at least 0.1.

    Raises:
        MaskyoloError: fewer than two detectors, one of them twice, or nothing to compare them on.
        DatasetError: no images, no labels, or labels that cannot be read.
        SourceError: the source is not a video, or cannot be read.
        WeightsError: a model cannot be loaded.
        OutputError: a result cannot be written.

    Examples:
        >>> compare(["two-stage", "yolo"], "street.mp4").table()  # doctest: +SKIP
    """
    chosen = CompareOptions.merge(options, settings)
    contestants = parse_contestants(model)
    images, where = _find_images(chosen, source)
    video = None if source is None else open_video(source)
    loadable = settings_of(contestants, chosen, chosen.conf)
    detectors = load_contestants(contestants, loadable)
    files = _model_files(loadable, detectors)
    made = _made_with(chosen, files, detectors, images)
    report_differences(chosen.args, made, on_warning)
    folder = _start_run(chosen, source, list(texts_of(contestants).values()), made)

    def progress(what: str) -> Callable[[int, int | None], None]:
        return lambda done, total: on_progress(what, done, total) if on_progress else None

    evaluations: dict[str, Evaluation] = {}
    if images:
        unsure, read = _load_unsure(contestants, chosen), HashingReader()
        predicted = _predict(images, unsure, folder, chosen, on_error, progress("images"), read)
        made |= {"near_copies": report_overlap(read.hashes, files, chosen, on_warning)}
        evaluations = _measure(predicted, chosen, where, _shared(unsure), progress("scores"))
    video_file = folder / f"{Path(video.name).stem}.mp4" if video else None
    shown, faces = _on_video(video, detectors, video_file, progress("frames"), on_error)
    faces = _labeled_faces(images) or faces
    speed, memory = _costs(detectors, loadable, faces, chosen.rounds, progress("rounds"))
    result = Comparison(
        names=tuple(detectors),
        where=" and ".join(str(place) for place in (where, source) if place),
        evaluations=evaluations,
        differences=differences_from_first(list(evaluations.values())),
        speed=speed,
        verdicts=tuple(verdicts(speed)),
        memory=memory,
        video=shown,
        folder=folder,
        video_file=video_file,
        models=texts_of(contestants),
        provenance=made,
    )
    _write_reports(result, images, folder, chosen.save_plots)
    return result


def _load_unsure(
    contestants: Mapping[str, Contestant | Detector], chosen: CompareOptions
) -> dict[str, Detector]:
    """Return the detectors with the low thresholds that average precision needs."""
    low = settings_of(contestants, chosen, AP_FLOOR, FACE_FLOOR)
    return load_contestants(contestants, low)


def _on_video(
    video: VideoSource | None,
    detectors: Mapping[str, Detector],
    file: Path | None,
    on_progress: Callable[[int, int | None], None],
    on_error: Callable[[str, MaskyoloError], None] | None,
) -> tuple[dict[str, dict[str, float]], list[ImageArray]]:
    """Write the side-by-side video, if there is one; return its figures and faces."""
    if video is None or file is None:
        return {}, []
    return side_by_side(video, detectors, file, on_progress, on_error)


def _find_images(
    chosen: CompareOptions, source: Path | str | None
) -> tuple[list[LabeledImage], str]:
    """Return the labeled images and their folder; none if there is only a video."""
    if any(place is not None for place in (chosen.data, chosen.images, chosen.labels)):
        return find_images(chosen)
    if source is None:
        raise MaskyoloError(
            "nothing to compare on",
            "give labeled images (--data, or --images and --labels), a video (--source), or both",
        )
    return [], ""


def _start_run(
    chosen: CompareOptions, source: Path | str | None, models: list[str], made: dict[str, Any]
) -> Path:
    """Return the run's folder, with its `args.yaml`."""
    folder = new_run(chosen.project, chosen.name, chosen.exist_ok)
    split = str(chosen.split) if chosen.data is not None else None
    own = {"model": models, "source": source, "split": split}
    save_args(folder, {**chosen.recorded(), **own}, made)
    return folder


def _model_files(
    loadable: Mapping[str, dict[str, Any]], detectors: Collection[str]
) -> dict[str, Path | None]:
    """Return the file of each detector's model by name; None if it was passed in loaded."""
    return {
        title: model_file(InferenceOptions(**loadable[title])) if title in loadable else None
        for title in detectors
    }


def _made_with(
    chosen: CompareOptions,
    files: Mapping[str, Path | None],
    detectors: Mapping[str, Detector],
    images: Sequence[LabeledImage],
) -> dict[str, Any]:
    """Return what the figures are made with; a detector that was passed in loaded has no file."""
    models = {
        title: describe_model(files[title], describe_detector(detector)[0])
        for title, detector in detectors.items()
    }
    data = describe_images(images) if images else None
    return made_with(chosen.threads, chosen.seed, models=models, data=data)


def _shared(detectors: Mapping[str, Detector]) -> tuple[str, ...]:
    """Return the classes that all detectors distinguish."""
    return min((class_names_of(detector) for detector in detectors.values()), key=len)


#: The cases of each detector, how sharp the faces of each image are, and the unreadable images.
_Predicted = tuple[dict[str, list[Case]], list[Floats], tuple[str, ...]]


def _predict(
    images: Sequence[LabeledImage],
    detectors: Mapping[str, Detector],
    folder: Path,
    chosen: CompareOptions,
    on_error: Callable[[str, MaskyoloError], None] | None,
    on_progress: Callable[[int, int | None], None],
    read: HashingReader,
) -> _Predicted:
    """Run the detectors and write their detections below the run's folder."""
    with output_errors(folder):
        (folder / "predictions").mkdir(exist_ok=True)
    files = {
        title: folder / "predictions" / f"{stem}.jsonl"
        for title, stem in zip(detectors, _file_names(list(detectors)), strict=True)
    }
    item_errors = ItemErrors(lambda: folder / ERROR_LOG)
    return predict(
        images,
        detectors,
        files,
        on_error,
        on_progress,
        read,
        item_errors=item_errors,
        classes=_shared(detectors),
        fold_incorrect=chosen.fold_incorrect,
    )


def _measure(
    predicted: _Predicted,
    chosen: CompareOptions,
    where: str,
    classes: Sequence[str],
    on_progress: Callable[[int, int | None], None],
) -> dict[str, Evaluation]:
    cases, sharpness, unreadable = predicted
    split = str(chosen.split) if chosen.data is not None else ""
    evaluations = {}
    for done, title in enumerate(cases, 1):
        found = measure(
            title, cases[title], sharpness, chosen.conf, chosen.seed, where, split, classes
        )
        evaluations[title] = replace(found, unreadable=unreadable)
        on_progress(done, len(cases))
    return evaluations


def _costs(
    detectors: Mapping[str, Detector],
    loadable: Mapping[str, dict[str, Any]],
    faces: Sequence[ImageArray],
    rounds: int,
    on_progress: Callable[[int, int | None], None],
) -> tuple[dict[str, dict[int, Laps]], dict[str, float | None]]:
    """Measure speed, by detector and number of faces, and memory, if there are rounds and faces.

    The memory of a detector that was passed in loaded is unknown, because it has no process of its
    own.
    """
    if not rounds or not faces:
        return {}, {}
    frames = {count: crowd_frame(faces, count) for count in COUNTS}
    speed = measure_speed(detectors, frames, rounds, on_progress)
    memory = {
        title: measure_memory(loadable[title], frames[10]) if title in loadable else None
        for title in detectors
    }
    return speed, memory


def _write_reports(
    result: Comparison, images: Sequence[LabeledImage], folder: Path, plots: bool
) -> None:
    title = f"Comparison of {', '.join(result.names)}"
    write_atomic(folder / "report.txt", result.table() + listed(result.provenance))
    write_atomic(folder / "report.html", page(title, comparison_sections(result, images)))
    write_atomic(folder / "report.json", json.dumps(result.json(), indent=2) + "\n")
    if result.evaluations:
        write_atomic(folder / "table.csv", as_csv(result))
        write_atomic(folder / "table.tex", as_latex(result))
    if plots and result.evaluations:
        save_plots(folder / "plots", list(result.evaluations.values()))


def _labeled_faces(images: Sequence[LabeledImage]) -> list[ImageArray]:
    """Return the largest labeled faces, cropped with some of their surroundings."""
    sized: list[tuple[float, LabeledImage]] = []
    for labeled in images:
        sides = labeled.labels.boxes[:, 2:] - labeled.labels.boxes[:, :2]
        if len(sides):
            sized.append((float(sides.prod(axis=1).max()), labeled))
    faces: list[ImageArray] = []
    for _, labeled in sorted(sized, key=lambda pair: -pair[0]):
        try:
            image = read_image(labeled.path)
        except MaskyoloError:  # reported by `predict`
            continue
        height, width = image.shape[:2]
        faces += cut_faces(image, labeled.in_pixels(width, height).labels.boxes.tolist())
        if len(faces) >= 4 * SPEED_FACES:
            break
    return sorted(faces, key=lambda face: -face.shape[0])[:SPEED_FACES]


def _file_names(titles: Sequence[str]) -> list[str]:
    """Return a file name for each detector, unique and legal on every file system."""
    names: list[str] = []
    for title in titles:
        stem = name = re.sub(r"[^\w.-]+", "_", title).strip("._") or "detector"
        number = 1
        while name.casefold() in map(str.casefold, names):
            number += 1
            name = f"{stem}_{number}"
        names.append(name)
    return names
