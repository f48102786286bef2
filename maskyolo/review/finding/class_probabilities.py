"""Class probabilities of labeled faces, from models that have not seen the face."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from maskyolo.review.finding.predictions import JudgedPhoto

__all__ = ["face_probabilities", "fit_logistic", "linear_probabilities"]

Floats = npt.NDArray[np.float64]

#: Factor for unit-length features in logistic regression, whose regularization keeps weights small.
_FEATURE_SCALE = 10.0


def linear_probabilities(photos: Sequence[JudgedPhoto]) -> list[Floats]:
    """Return the probability of without_mask for each label, from its features.

    A logistic regression is fitted to the labels of the other folds.
    """
    return _fit_other_folds(
        photos,
        [photo.features.label_features for photo in photos],
        [photo.labels.class_ids == 1 for photo in photos],
        [photo.labels.class_ids < 2 for photo in photos],
    )


def face_probabilities(photos: Sequence[JudgedPhoto]) -> list[Floats]:
    """Return the probability that each label's crop shows a face, from its features.

    A logistic regression is fitted to labels and background crops of the other folds.
    """
    features = [
        np.concatenate([photo.features.label_features, photo.features.background_features])
        for photo in photos
    ]
    truth = [
        np.arange(len(rows)) < len(photo.labels)
        for rows, photo in zip(features, photos, strict=True)
    ]
    used = [np.ones(len(rows), dtype=bool) for rows in features]
    found = _fit_other_folds(photos, features, truth, used)
    return [likely[: len(photo.labels)] for likely, photo in zip(found, photos, strict=True)]


def _fit_other_folds(
    photos: Sequence[JudgedPhoto],
    features: Sequence[npt.NDArray[Any]],
    truth: Sequence[npt.NDArray[Any]],
    used: Sequence[npt.NDArray[Any]],
) -> list[Floats]:
    """Return the probability of `truth` for each row of a photo, fitted to the other folds.

    Args:
        photos: the photos.
        features: features of each photo (n, d).
        truth: the values to predict (n,).
        used: whether each row is used for fitting (n,).
    """
    counts = [len(rows) for rows in features]
    folds = np.repeat([photo.fold for photo in photos], counts)
    rows = np.concatenate(features) * _FEATURE_SCALE
    true, use = np.concatenate(truth), np.concatenate(used)
    found = np.full(len(rows), 0.5)
    for fold in np.unique(folds):
        own = folds == fold
        others = use & ~own
        if others.any():
            found[own] = fit_logistic(rows[others], true[others])(rows[own])
    return np.split(found, np.cumsum(counts)[:-1])


def fit_logistic(
    features: npt.NDArray[Any], truth: npt.NDArray[np.bool_]
) -> Callable[[npt.NDArray[Any]], Floats]:
    """Fit a logistic regression, and return a function that predicts the probability of `truth`.

    Args:
        features: (n, d).
        truth: (n,). If all values are the same, the function always returns that value.
    """
    if len(np.unique(truth)) < 2:
        share = float(truth.mean()) if len(truth) else 0.5
        return lambda rows: np.full(len(rows), share)
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(max_iter=1000).fit(features, truth)
    return lambda rows: np.asarray(model.predict_proba(rows)[:, 1]) if len(rows) else np.zeros(0)
