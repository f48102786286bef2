"""Class probabilities of labeled faces, from models that have not seen the face."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from maskyolo.review.finding.predictions import JudgedPhoto

__all__ = ["face_probabilities", "fit_classes", "fit_logistic", "linear_probabilities"]

Floats = npt.NDArray[np.float64]

#: Factor for unit-length features in logistic regression, whose regularization keeps weights small.
_FEATURE_SCALE = 10.0


def linear_probabilities(photos: Sequence[JudgedPhoto], classes: int = 2) -> list[Floats]:
    """Return the probability (n, `classes`) of each class for each label, from its features.

    A logistic regression is fitted to the labels of the other folds.
    """
    return _fit_other_folds(
        photos,
        [photo.features.label_features for photo in photos],
        [photo.labels.class_ids for photo in photos],
        [photo.labels.class_ids < classes for photo in photos],
        classes,
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
    return [likely[: len(photo.labels), 1] for likely, photo in zip(found, photos, strict=True)]


def _fit_other_folds(
    photos: Sequence[JudgedPhoto],
    features: Sequence[npt.NDArray[Any]],
    truth: Sequence[npt.NDArray[Any]],
    used: Sequence[npt.NDArray[Any]],
    classes: int = 2,
) -> list[Floats]:
    """Return the probability of each class for each row of a photo, fitted to the other folds.

    Args:
        photos: the photos.
        features: features of each photo (n, d).
        truth: the classes to predict (n,), from 0 or False.
        used: whether each row is used for fitting (n,).
        classes: number of classes.

    Returns:
        For each photo: (n, `classes`).
    """
    counts = [len(rows) for rows in features]
    folds = np.repeat([photo.fold for photo in photos], counts)
    rows = np.concatenate(features) * _FEATURE_SCALE
    true, use = np.concatenate(truth), np.concatenate(used)
    found = np.full((len(rows), classes), 1 / classes)
    for fold in np.unique(folds):
        own = folds == fold
        others = use & ~own
        if others.any():
            found[own] = fit_classes(rows[others], true[others], classes)(rows[own])
    return np.split(found, np.cumsum(counts)[:-1])


def fit_logistic(
    features: npt.NDArray[Any], truth: npt.NDArray[np.bool_]
) -> Callable[[npt.NDArray[Any]], Floats]:
    """Fit a logistic regression, and return a function that predicts the probability of `truth`.

    Args:
        features: (n, d).
        truth: (n,). If all values are the same, the function always returns that value.
    """
    predict = fit_classes(features, truth, 2)
    return lambda rows: predict(rows)[:, 1]


def fit_classes(
    features: npt.NDArray[Any], truth: npt.NDArray[Any], classes: int
) -> Callable[[npt.NDArray[Any]], Floats]:
    """Fit a logistic regression, and return a function that predicts the probability of classes.

    Args:
        features: (n, d).
        truth: class of each row (n,), from 0 or False.
        classes: number of classes. One without rows has the probability 0.

    Returns:
        A function of features (m, d) that returns (m, `classes`).
    """
    known = np.unique(truth).astype(int)
    share = np.zeros(classes)
    share[known] = 1
    if len(known) < 2:
        share = share if len(known) else np.full(classes, 1 / classes)
        return lambda rows: np.tile(share, (len(rows), 1))
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(max_iter=1000).fit(features, truth)

    def predict(rows: npt.NDArray[Any]) -> Floats:
        found = np.zeros((len(rows), classes))
        if len(rows):
            found[:, known] = model.predict_proba(rows)
        return found

    return predict
