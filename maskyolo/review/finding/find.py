"""`maskyolo review find`: rank a data set's likely errors."""

from __future__ import annotations

import importlib.util
import io
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskyolo.core.files import write_atomic
from maskyolo.core.installation import install_command
from maskyolo.core.options import takes_options
from maskyolo.core.parsing import load_yaml
from maskyolo.core.runs import check_no_links, new_run, save_args
from maskyolo.dataset.layout import check_class_order
from maskyolo.errors import DatasetError, DependencyError, MaskyoloError, OutputError
from maskyolo.review.finding.contact_sheet import draw_suspicions
from maskyolo.review.finding.judging import OnError, OnProgress, judge_photos, match_predictions
from maskyolo.review.finding.ranking import rank
from maskyolo.review.finding.scores import score_photos
from maskyolo.review.options import FindOptions
from maskyolo.review.review_set import ReviewSet, read_review_set
from maskyolo.review.suspicions import REVIEW_CSV, Suspicion, read_suspicions, write_suspicions
from maskyolo.runtime.provenance import (
    describe_data,
    describe_model,
    made_with,
    report_differences,
)
from maskyolo.training.checks import find_checkpoint

__all__ = ["FindResult", "find_errors"]


@dataclass(frozen=True)
class FindResult:
    """The result of a search for errors.

    Attributes:
        folder: the run's folder, with `predictions.jsonl`, `sheet.png`, `args.yaml`, and the folds'
            training runs.
        csv: the list, `review.csv` in the data set's folder.
        suspicions: the lines of the list.
        photos: number of photos that were judged.
        labels: number of their labels.
    """

    folder: Path
    csv: Path
    suspicions: list[Suspicion]
    photos: int
    labels: int

    def counts(self) -> dict[str, int]:
        """Return the number of suspicions of each reason, the most frequent first."""
        return dict(Counter(str(found.reason) for found in self.suspicions).most_common())


@takes_options(FindOptions)
def find_errors(
    data: Path | str,
    *,
    options: FindOptions | None = None,
    on_progress: OnProgress | None = None,
    on_error: OnError | None = None,
    on_start: Callable[[Path], None] | None = None,
    **settings: Any,
) -> FindResult:
    """Find a data set's likely errors and write them to its `review.csv`, the worst photo first.

    The photos are split into folds, with near-copies in the same one. For each fold, a detector is
    trained on all other folds and predicts the faces of this one. The labels are compared with the
    predictions, a second face detector and a classifier. Photos that a person has corrected or
    checked (`corrected` in the ledger) are used for training but not listed; composed scenes are
    not used at all.

    Args:
        data: the set's `data.yaml`, or its folder.
        options: see `FindOptions`.
        on_progress: called with a description of the current step, the amount done, and the total.
        on_error: called with the error for each photo that cannot be read and is left out.
        on_start: called with the run's folder.
        **settings: fields of `FindOptions`, which override those of `options`.

    Raises:
        DatasetError: there is no data set, its labels do not parse, it has other classes or too
            few photos, or the predictions are of other photos.
        DependencyError: scikit-learn, or what training needs, is not installed.
        OutputError: `review.csv` has been filled in and would be lost, or an output cannot be
            written.
        MaskyoloError: an option is wrong (see also `train_detector`), or differs from those of the
            search to resume.
    """
    chosen = FindOptions.merge(options, settings)
    if importlib.util.find_spec("sklearn") is None:
        raise DependencyError(
            "maskyolo review find needs scikit-learn, which is not installed",
            f"install it with: {install_command('review')}",
        )
    review = read_review_set(data)
    _check_classes(review)
    csv = review.root / REVIEW_CSV
    _check_not_filled_in(csv)
    predictions = None
    if chosen.predictions is not None:
        predictions = match_predictions(Path(chosen.predictions), review)
    args = {"data": data, **chosen.recorded()}
    if chosen.resume is None:
        folder = new_run(chosen.project, chosen.name, chosen.exist_ok).absolute()
        made = _made_with(review, chosen)
        report_differences(chosen.args, made)
        save_args(folder, args, made)
    else:
        folder = _folder_to_resume(Path(chosen.resume), args)
    if on_start:
        on_start(folder)
    photos = judge_photos(
        review, folder, chosen, predictions, on_progress=on_progress, on_error=on_error
    )
    corrected = {photo.image for photo in review.photos.values() if photo.is_corrected}
    suspicions = rank(photos, score_photos(photos), leave_out=corrected)
    write_suspicions(csv, suspicions)
    image = io.BytesIO()
    by_image = {photo.image: photo for photo in photos}
    draw_suspicions(suspicions, by_image, review.root).save(image, "PNG")
    write_atomic(folder / "sheet.png", image.getvalue())
    labels = sum(len(photo.labels) for photo in photos)
    return FindResult(folder, csv, suspicions, len(photos), labels)


def _made_with(review: ReviewSet, chosen: FindOptions) -> dict[str, Any]:
    """Return what a search is made with: its data, and the initial weights or predictions."""
    images = ((photo.path, photo.text.encode()) for photo in review.photos.values())
    start: dict[str, Any]
    if chosen.predictions is not None:
        start = {"predictions": describe_model(Path(chosen.predictions))}
    else:
        start = {"model": describe_model(find_checkpoint(str(chosen.model)))}
    return made_with(seed=chosen.seed, **start, data=describe_data(images), device=chosen.device)


def _folder_to_resume(folder: Path, args: Mapping[str, Any]) -> Path:
    """Return the folder of an interrupted search.

    Args:
        folder: the run's folder.
        args: the options, which must equal those that it was started with.

    Raises:
        MaskyoloError: no search was started there, or it was started with other options.
    """
    try:
        known = dict(load_yaml(folder / "args.yaml"))
        changed = [
            key
            for key in args
            if key not in ("data", "device") and str(known[key]) != str(args[key])
        ]
    except (DatasetError, ValueError, TypeError, KeyError):
        raise MaskyoloError(
            f"cannot resume {folder}: no search was started there",
            "give the folder of a run of review find",
        ) from None
    if changed:
        before = ", ".join(f"--{key} {known[key]}" for key in changed)
        raise MaskyoloError(
            f"cannot resume {folder}: it was started with {before}",
            "give the same options, or leave out --resume",
        )
    check_no_links(folder)
    return folder.absolute()


def _check_classes(review: ReviewSet) -> None:
    check_class_order(review.dataset)


def _check_not_filled_in(csv: Path) -> None:
    """Check that nobody has filled in an earlier list, which would be overwritten.

    Raises:
        OutputError: somebody has.
    """
    if not csv.is_file():
        return
    count = sum(line.is_filled_in for line in read_suspicions(csv))
    if count:
        raise OutputError(
            f"{csv} has {count} lines that were filled in and would be lost",
            f"apply them with `maskyolo review apply --csv {csv}`, then move the file away",
        )
