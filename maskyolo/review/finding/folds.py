"""Out-of-fold predictions: each photo is judged by a detector that has not learnt from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from maskyolo.backends import Backend, load_backend
from maskyolo.boxes import box_iou, clip_boxes
from maskyolo.core.classes import CLASS_NAMES
from maskyolo.core.files import write_atomic
from maskyolo.errors import DatasetError
from maskyolo.images import ImageArray, check_image
from maskyolo.review.finding.predictions import Predicted
from maskyolo.splits import assign_splits
from maskyolo.yolo import letterbox, network_shape

if TYPE_CHECKING:
    from maskyolo.detector_training import Progress

__all__ = ["LOWEST", "FoldDetector", "assign_folds", "fuse", "train_fold"]

#: Least score of a prediction that is kept: even a weak one can speak for a class or a face.
LOWEST = 0.01


def assign_folds(
    groups: Sequence[int],
    classes: Sequence[int],
    folds: int,
    seed: int = 0,
    keys: Sequence[str] | None = None,
) -> list[int]:
    """Deal photos out to `folds` folds of one size, near-copies into the same one, each class evenly.

    Args:
        groups: number shared by near-copies (n).
        classes: a class for each photo (n), such as its rarest box's.
        folds: number of folds.
        seed: another seed gives other folds.
        keys: stable names of the photos (n).

    Returns:
        The fold of each photo (n), from 0.

    Raises:
        DatasetError: fewer groups than folds.
    """
    if len(set(groups)) < folds:
        raise DatasetError(
            f"cannot make {folds} folds of {len(set(groups))} different photos; give fewer --folds, or more photos"
        )
    names = [str(fold) for fold in range(folds)]
    return [
        int(name)
        for name in assign_splits(groups, classes, dict.fromkeys(names, 1 / folds), seed, keys)
    ]


def train_fold(
    learnt: Sequence[Path],
    folder: Path,
    *,
    model: str,
    epochs: int,
    imgsz: int,
    device: str = "auto",
    seed: int = 0,
    trust: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> Path:
    """Train a detector on some photos of a data set with the recipe `finetune`, and return its last weights as `.pt`.

    The last and not the best are taken, as the photos that could tell which is best are those to be judged.

    Args:
        learnt: the photos, whose labels are where a YOLO data set has them.
        folder: the run's folder, which is made; two lists of photos and a `data.yaml` stand beside it. A run on the same photos that was
            interrupted there is continued.
        model: start weights, as for `train_detector`.
        epochs: passes over the photos.
        imgsz: longer side in pixels.
        device: as for `train_detector`.
        seed: of everything random.
        trust: open a `.pt` file of unknown origin.
        on_progress: see `train_detector`.

    Raises:
        MaskyoloError: as `train_detector`.
    """
    import yaml

    from maskyolo.detector_training import train_detector

    folder.parent.mkdir(parents=True, exist_ok=True)
    lists = {split: folder.with_name(f"{folder.name}-{split}.txt") for split in ("train", "val")}
    photos = "".join(f"{image}\n" for image in learnt)
    if lists["train"].is_file() and lists["train"].read_text(encoding="utf-8") == photos:
        if (folder / "report.json").is_file():
            return folder / "weights" / "last.pt"
        if all((folder / name).is_file() for name in ("args.yaml", "data.yaml")):
            return train_detector(
                resume=folder, device=device, trust=trust, on_progress=on_progress
            ).best.with_name("last.pt")
    write_atomic(lists["train"], photos)
    write_atomic(
        lists["val"], "".join(f"{image}\n" for image in learnt[:: max(len(learnt) // 16, 1)])
    )  # measured on, but not chosen by
    data = folder.with_name(f"{folder.name}.yaml")
    content = {"path": str(folder.parent.absolute())} | {
        split: path.name for split, path in lists.items()
    }
    write_atomic(
        data,
        yaml.safe_dump(
            content | {"names": dict(enumerate(CLASS_NAMES))}, sort_keys=False, allow_unicode=True
        ),
    )
    result = train_detector(
        data=data,
        model=model,
        recipe="finetune",
        imgsz=imgsz,
        epochs=epochs,
        device=device,
        seed=seed,
        trust=trust,
        project=folder.parent,
        name=folder.name,
        on_progress=on_progress,
    )
    return result.best.with_name("last.pt")


class FoldDetector:
    """A detector that tells the scores of both classes of each face, down to `LOWEST`; it sees a picture and its mirror image.

    Args:
        path: weights as `.pt` or `.onnx`.
        imgsz: longer side in pixels that pictures are scaled to.
        device: as for `load_backend`.
    """

    def __init__(self, path: Path, imgsz: int = 416, device: str = "auto") -> None:
        self.backend: Backend = load_backend(path, device)
        self.imgsz = imgsz
        self._order = [4 + self.backend.names.index(name) for name in CLASS_NAMES]

    def __call__(self, image: ImageArray) -> Predicted:
        """Return the faces of a BGR uint8 picture (H, W, 3), clipped to it."""
        check_image(image)
        height, width = image.shape[:2]
        canvas, scales, border = letterbox(
            image, self.backend.shape or network_shape(height, width, self.imgsz)
        )
        plain, mirrored = (
            self.backend(canvas[None])[0],
            self.backend(np.ascontiguousarray(canvas[None, :, ::-1]))[0],
        )
        mirrored[0] = canvas.shape[1] - mirrored[0]
        columns = np.concatenate([plain, mirrored], axis=1)
        columns = columns[:, columns[4:].max(axis=0) > LOWEST]
        centre, half = columns[:2].T, columns[2:4].T / 2
        found = fuse(np.concatenate([centre - half, centre + half], axis=1), columns[self._order].T)
        boxes = (found.boxes - np.array([*border, *border], np.float32)) / np.array(
            [*scales, *scales], np.float32
        )
        return Predicted(clip_boxes(boxes, width, height), found.scores)


def fuse(
    boxes: npt.NDArray[np.float32], scores: npt.NDArray[np.float32], iou: float = 0.5
) -> Predicted:
    """Make one face of all candidates that overlap: boxes and scores are means, in which a candidate weighs as much as its best score.

    Weighted boxes fusion (Solovyev, Wang and Gabruseva 2021, arXiv:1910.13302) around the boxes that class-agnostic NMS keeps: a
    detector's likeliest anchor alone says less of the class than all of them.

    Args:
        boxes: candidates, xyxy pixels (n, 4).
        scores: of each class (n, 2).
        iou: least overlap of candidates of one face.
    """
    best = scores.max(axis=1, initial=0)
    xywh = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    kept = np.asarray(
        cv2.dnn.NMSBoxes(xywh.tolist(), best.tolist(), 0.0, iou), dtype=np.intp
    ).reshape(-1)
    if not len(kept):
        return Predicted.none()
    overlap = box_iou(boxes[kept], boxes)
    weights = np.where((overlap >= iou) & (overlap == overlap.max(axis=0)), best, 0.0)
    weights /= weights.sum(axis=1, keepdims=True)
    return Predicted((weights @ boxes).astype(np.float32), (weights @ scores).astype(np.float32))
