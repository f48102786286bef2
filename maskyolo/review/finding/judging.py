"""Collects everything that the labels of a data set's photos are judged by."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from maskyolo.core.boxes import as_boxes
from maskyolo.core.classes import CLASS_NAMES, INCORRECT_MASK, class_of
from maskyolo.core.images import read_image
from maskyolo.core.item_errors import ERROR_LOG, ItemErrors
from maskyolo.dataset.near_copies import group_near_copies
from maskyolo.errors import DatasetError, ImageError, MaskyoloError
from maskyolo.review.finding.features import FaceFeatures, FeatureExtractor
from maskyolo.review.finding.folds import FoldDetector, assign_folds, train_fold
from maskyolo.review.finding.predictions import (
    JudgedPhoto,
    Predictions,
    read_predictions,
    write_predictions,
)
from maskyolo.review.options import FindOptions
from maskyolo.review.review_set import ReviewPhoto, ReviewSet

if TYPE_CHECKING:
    from maskyolo.training.progress import Progress

__all__ = ["OnError", "OnProgress", "judge_photos", "match_predictions"]

#: Called with a description of the current step, the amount done, and the total.
OnProgress = Callable[[str, int, "int | None"], None]

#: Called with the error for a photo that cannot be read.
OnError = Callable[[MaskyoloError], None]

_Photos = Sequence[tuple[ReviewPhoto, FaceFeatures]]


def judge_photos(
    review: ReviewSet,
    folder: Path,
    options: FindOptions,
    predictions: Mapping[str, Predictions] | None = None,
    *,
    on_progress: OnProgress | None = None,
    on_error: OnError | None = None,
) -> list[JudgedPhoto]:
    """Compute features of a data set's photos, and predict the faces of each out of fold.

    Args:
        review: the data set.
        folder: where the folds are trained, and `predictions.jsonl` is written.
        options: how many folds, and how their detectors are trained.
        predictions: predictions of all photos by image file; if given, nothing is trained.
        on_progress: see `find_errors`.
        on_error: see `find_errors`.

    Raises:
        DatasetError: no photo has labels, or there are fewer photos than folds.
        MaskyoloError: as `train_detector`.
    """
    report = on_progress or (lambda *_: None)
    classes = count_classes(review.names)
    item_errors = ItemErrors(lambda: folder / ERROR_LOG)
    photos = _extract_features(review, report, on_error, item_errors)
    folds = _assign_folds(photos, options)
    if predictions is None:
        predictions = _predict_out_of_fold(
            photos, folds, folder / "folds", options, review.names, report, on_error, item_errors
        )
        write_predictions(folder / "predictions.jsonl", predictions)
    return [
        JudgedPhoto(
            photo.image,
            photo.split,
            features,
            predictions.get(photo.image, Predictions.none()).with_classes(classes),
            fold,
            photo.source,
            by_folder=photo.row is not None and "folder" in photo.row.deciders,
            ignored=as_boxes(photo.ignored),
        )
        for (photo, features), fold in zip(photos, folds, strict=True)
    ]


def match_predictions(path: Path, review: ReviewSet) -> dict[str, Predictions]:
    """Read predictions from a file, and return them by name of the image in a data set.

    A line of the file belongs to the image whose name its path ends with or, if there is none, to
    the only image with the same file name.

    Args:
        path: a file of `write_predictions` or of `maskyolo detect --save-json`.
        review: the data set.

    Raises:
        DatasetError: the file does not contain predictions, or some readable photos have none.
    """
    names = Counter(Path(image).name for image in review.photos)
    by_name = {Path(image).name: image for image in review.photos if names[Path(image).name] == 1}
    found: dict[str, Predictions] = {}
    for source, predictions in read_predictions(path).items():
        parts = Path(source).parts
        ends = ("/".join(parts[start:]) for start in range(len(parts)))
        same_name = by_name.get(parts[-1] if parts else "")
        image = next((end for end in ends if end in review.photos), same_name)
        if image:
            found[image] = predictions
    missing = [image for image in review.photos if image not in found]
    if any(_is_readable(review.photos[image].path) for image in missing):
        raise DatasetError(
            f"{path} has no predictions for {len(missing)} of the {len(review.photos)} photos of "
            f"{review.root}, such as {missing[0]}",
            "create them with `maskyolo detect --conf 0.01 --save-json`, or leave out "
            "--predictions",
        )
    return found


def _is_readable(path: Path) -> bool:
    try:
        read_image(path)
    except ImageError:
        return False
    return True


def _extract_features(
    review: ReviewSet, report: OnProgress, on_error: OnError | None, item_errors: ItemErrors
) -> _Photos:
    """Return the photos that can be read, with their features.

    Raises:
        DatasetError: none of them has labels.
    """
    extract, found = FeatureExtractor(), []
    for done, photo in enumerate(review.photos.values(), 1):
        try:
            read_labels = functools.partial(photo.labels, review.names)
            found.append((photo, extract(photo.path, read_labels)))
        except Exception as error:  # noqa: BLE001  any error of one photo is that photo's
            explained = item_errors.explain(photo.image, error)
            if on_error:
                on_error(explained)
        report("photos analyzed", done, len(review.photos))
    if not any(len(features.labels) for _, features in found):
        raise DatasetError(
            f"{review.root} has no labels to judge",
            "label the faces, or create the set with `maskyolo convert`",
        )
    return found


def _assign_folds(photos: _Photos, options: FindOptions) -> list[int]:
    """Return the fold of each photo; near-copies and groups of the ledger share a fold."""
    first: dict[int, int] = {}
    links = [
        (first.setdefault(photo.row.group, place), place)
        for place, (photo, _) in enumerate(photos)
        if photo.row and photo.row.group >= 0
    ]
    hashes, mirrored = zip(*(features.hashes for _, features in photos), strict=True)
    groups = group_near_copies(hashes, mirrored, links=links)
    class_ids = [features.labels.class_ids for _, features in photos]
    rarest = [int(ids.max()) if len(ids) else -1 for ids in class_ids]
    names = [photo.image for photo, _ in photos]
    return assign_folds(groups.tolist(), rarest, options.folds, options.seed, names)


def _predict_out_of_fold(
    photos: _Photos,
    folds: Sequence[int],
    folder: Path,
    options: FindOptions,
    names: Sequence[str],
    report: OnProgress,
    on_error: OnError | None,
    item_errors: ItemErrors,
) -> dict[str, Predictions]:
    """For each fold, train a detector on all other folds and predict the photos of the fold.

    The predictions are saved in `folder/foldN.jsonl`. A fold that has them for the same photos is
    not trained again.
    """
    found: dict[str, Predictions] = {}
    count = len(set(folds))
    for number, fold in enumerate(sorted(set(folds)), 1):
        own = [photo for (photo, _), other in zip(photos, folds, strict=True) if other == fold]
        others = [pair for pair, other in zip(photos, folds, strict=True) if other != fold]
        kept = folder / f"fold{number}.jsonl"
        if not kept.is_file() or {*read_predictions(kept)} != {photo.image for photo in own}:
            weights = train_fold(
                [photo.path for photo, _ in others],
                folder / f"fold{number}",
                options,
                _learned(names, [features for _, features in others]),
                _count_batches(report, f"batches of fold {number} of {count}"),
            )
            detector = FoldDetector(weights, options.imgsz, options.device, count_classes(names))
            predictions = {}
            for photo in own:
                try:
                    predictions[photo.image] = detector(read_image(photo.path))
                except Exception as error:  # noqa: BLE001  any error of one photo is that photo's
                    explained = item_errors.explain(photo.image, error)
                    predictions[photo.image] = Predictions.none()
                    if on_error:
                        on_error(explained)
                report("photos predicted", len(found) + len(predictions), len(photos))
            folder.mkdir(exist_ok=True)
            write_predictions(kept, predictions)
        found |= read_predictions(kept)
    return {photo.image: found[photo.image] for photo, _ in photos}


def count_classes(names: Sequence[str]) -> int:
    """Return how many of a data set's classes are judged: 3 with incorrect_mask, else 2."""
    return 3 if len(names) > 2 and class_of(names[2]) == INCORRECT_MASK else 2


def _learned(names: Sequence[str], features: Sequence[FaceFeatures]) -> Sequence[str]:
    """Return the class names without the last ones if no photo has such a face."""
    largest = max((int(one.labels.class_ids.max(initial=0)) for one in features), default=0)
    return names[: max(largest + 1, len(CLASS_NAMES))]


def _count_batches(report: OnProgress, what: str) -> Callable[[Progress], None]:
    return lambda now: report(
        what, (now.epoch - 1) * now.batches + now.batch, now.epochs * now.batches
    )
