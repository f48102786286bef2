"""Out-of-fold predictions: each photo gets predictions from a detector not trained on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt
import yaml

from maskyolo.core.boxes import box_iou, clip_boxes
from maskyolo.core.classes import ALL_CLASS_NAMES, CLASS_NAMES, class_of
from maskyolo.core.files import write_atomic
from maskyolo.core.images import ImageArray, check_image
from maskyolo.dataset.splits import assign_splits
from maskyolo.detectors.yolo import letterbox, network_shape
from maskyolo.errors import DatasetError
from maskyolo.models.backends.base import Backend
from maskyolo.models.backends.loading import load_backend
from maskyolo.review.finding.predictions import Predictions
from maskyolo.review.options import FindOptions

if TYPE_CHECKING:
    from maskyolo.training.progress import Progress

__all__ = ["FoldDetector", "assign_folds", "fuse_boxes", "train_fold"]

#: Minimum score of a prediction to keep; even a weak one can confirm a class or a face.
_MIN_SCORE = 0.01

#: Number of photos that a fold's training is validated on; the result is not used.
_VAL_PHOTOS = 16


def assign_folds(
    groups: Sequence[int],
    classes: Sequence[int],
    folds: int,
    seed: int = 0,
    keys: Sequence[str] | None = None,
) -> list[int]:
    """Split photos into folds of equal size and class balance, keeping near-copies together.

    Args:
        groups: number shared by near-copies (n).
        classes: a class for each photo (n), such as that of its rarest box.
        folds: number of folds.
        seed: random seed.
        keys: stable names of the photos (n).

    Returns:
        The fold of each photo (n), from 0.

    Raises:
        DatasetError: there are fewer groups than folds.
    """
    if len(set(groups)) < folds:
        raise DatasetError(
            f"cannot split {len(set(groups))} different photos into {folds} folds",
            "give fewer --folds, or more photos",
        )
    names = [str(fold) for fold in range(folds)]
    fractions = dict.fromkeys(names, 1 / folds)
    return [int(name) for name in assign_splits(groups, classes, fractions, seed, keys)]


def train_fold(
    photos: Sequence[Path],
    folder: Path,
    options: FindOptions,
    names: Sequence[str] = CLASS_NAMES,
    on_progress: Callable[[Progress], None] | None = None,
) -> Path:
    """Train a detector on some photos of a data set, and return its last weights as `.pt`.

    The recipe is `finetune`. The last weights are used instead of the best, because the only photos
    left to choose the best by are the ones to judge. An interrupted training on the same photos is
    continued, and a finished one is not repeated.

    Args:
        photos: the photos; their labels must be where a YOLO data set has them.
        folder: the run's folder, which is created; two lists of photos and a `data.yaml` are
            written next to it.
        options: model, epochs, imgsz, device, seed and trust.
        names: the class names of the labels; there must be boxes of all of them.
        on_progress: see `train_detector`.

    Raises:
        MaskyoloError: as `train_detector`.
    """
    from maskyolo.training.detector import train_detector  # needs PyTorch

    folder.parent.mkdir(parents=True, exist_ok=True)
    lists = {split: folder.with_name(f"{folder.name}-{split}.txt") for split in ("train", "val")}
    train = "".join(f"{image}\n" for image in photos)
    if lists["train"].is_file() and lists["train"].read_text(encoding="utf-8") == train:
        if (folder / "report.json").is_file():
            return folder / "weights" / "last.pt"
        if all((folder / name).is_file() for name in ("args.yaml", "data.yaml")):
            result = train_detector(
                resume=folder,
                device=options.device,
                trust=options.trust,
                on_progress=on_progress,
            )
            return result.best.with_name("last.pt")
    write_atomic(lists["train"], train)
    val = photos[:: max(len(photos) // _VAL_PHOTOS, 1)]
    write_atomic(lists["val"], "".join(f"{image}\n" for image in val))
    data = folder.with_name(f"{folder.name}.yaml")
    content = {
        "path": str(folder.parent.absolute()),
        **{split: path.name for split, path in lists.items()},
        "names": dict(enumerate(names)),
    }
    write_atomic(data, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    result = train_detector(
        data=data,
        model=options.model,
        recipe="finetune",
        imgsz=options.imgsz,
        epochs=options.epochs,
        device=options.device,
        seed=options.seed,
        trust=options.trust,
        project=folder.parent,
        name=folder.name,
        on_progress=on_progress,
    )
    return result.best.with_name("last.pt")


class FoldDetector:
    """A detector that returns all classes' scores for each face, including unlikely faces.

    It runs on each image and its mirror image, and fuses the results.

    Args:
        path: weights as `.pt` or `.onnx`.
        imgsz: inference size in pixels (longer side).
        device: as for `load_backend`.
        classes: number of classes of the data set, 2 or 3; the third scores 0 if the detector was
            trained without it.
    """

    def __init__(
        self, path: Path, imgsz: int = 416, device: str = "auto", classes: int = 2
    ) -> None:
        self.backend: Backend = load_backend(path, device)
        self.imgsz = imgsz
        self.classes = classes
        own = [class_of(name) for name in self.backend.names]
        self._order = [4 + own.index(name) for name in ALL_CLASS_NAMES[:classes] if name in own]

    def __call__(self, image: ImageArray) -> Predictions:
        """Return the faces of a BGR uint8 image (H, W, 3), clipped to it."""
        check_image(image)
        height, width = image.shape[:2]
        canvas, scales, border = letterbox(
            image, self.backend.shape or network_shape(height, width, self.imgsz)
        )
        plain = self.backend(canvas[None])[0]
        mirrored = self.backend(np.ascontiguousarray(canvas[None, :, ::-1]))[0]
        mirrored[0] = canvas.shape[1] - mirrored[0]
        columns = np.concatenate([plain, mirrored], axis=1)
        columns = columns[:, columns[4:].max(axis=0) > _MIN_SCORE]
        center, half = columns[:2].T, columns[2:4].T / 2
        corners = np.concatenate([center - half, center + half], axis=1)
        found = fuse_boxes(corners, columns[self._order].T)
        offset = np.array([*border, *border], np.float32)
        boxes = (found.boxes - offset) / np.array([*scales, *scales], np.float32)
        clipped = Predictions(clip_boxes(boxes, width, height), found.scores)
        return clipped.with_classes(self.classes)


def fuse_boxes(
    boxes: npt.NDArray[np.float32], scores: npt.NDArray[np.float32], iou: float = 0.5
) -> Predictions:
    """Fuse overlapping candidates into one face; boxes and scores are weighted means.

    The weight of a candidate is its best score. This is weighted boxes fusion (Solovyev, Wang and
    Gabruseva 2021, arXiv:1910.13302) around the boxes that class-agnostic NMS keeps. All candidates
    together estimate the class better than the most confident one alone.

    Args:
        boxes: candidates, xyxy pixels (n, 4).
        scores: score of each class (n, c).
        iou: minimum IoU for candidates to be the same face.
    """
    best = scores.max(axis=1, initial=0)
    xywh = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    kept = np.asarray(
        cv2.dnn.NMSBoxes(xywh.tolist(), best.tolist(), 0.0, iou), dtype=np.intp
    ).reshape(-1)
    if not len(kept):
        return Predictions.none(scores.shape[1])
    overlap = box_iou(boxes[kept], boxes)
    weights = np.where((overlap >= iou) & (overlap == overlap.max(axis=0)), best, 0.0)
    weights /= weights.sum(axis=1, keepdims=True)
    return Predictions((weights @ boxes).astype(np.float32), (weights @ scores).astype(np.float32))
