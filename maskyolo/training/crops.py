"""The face crops that a classifier is trained on."""

from __future__ import annotations

import functools
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from maskyolo.core.boxes import Boxes, box_area, clip_boxes
from maskyolo.core.classes import CLASS_NAMES, INCORRECT_MASK, WITHOUT_MASK_ID, class_of
from maskyolo.core.images import read_image
from maskyolo.core.parallel import map_ahead
from maskyolo.core.text import counted
from maskyolo.dataset.layout import Dataset
from maskyolo.detectors.classifier import CropSettings, cut_crops, normalize_crops
from maskyolo.errors import DatasetError, ImageError
from maskyolo.models.backends.base import Tensor
from maskyolo.training.augment import Augmentation, vary_face
from maskyolo.training.classifier_settings import ClassifierSettings

if TYPE_CHECKING:
    from maskyolo.training.classifier_trainer import Features, Runner

#: Number of crops per batch for the frozen layers.
FEATURE_BATCH = 64
#: Number of augmented crops per val face, in addition to the original, by which the best epoch is
#: chosen.
VAL_VARIED = 3


class LabeledFaces(NamedTuple):
    """An image with its labeled faces.

    Attributes:
        path: the image file.
        boxes: xyxy as fractions of the image's width and height, float32 (n, 4).
        class_ids: class id of each face (n).
    """

    path: Path
    boxes: Boxes
    class_ids: list[int]


class Draw(NamedTuple):
    """One crop to make.

    Attributes:
        face: index of the face in its image.
        seed: seed of its augmentation; None for the original.
    """

    face: int
    seed: tuple[int, ...] | None


def compute_split_features(
    dataset: Dataset,
    settings: ClassifierSettings,
    augmentation: Augmentation,
    crop: CropSettings,
    run: Runner,
    warn: Callable[[str], None],
    on_progress: Callable[[int, int], None],
) -> dict[str, Features]:
    """Sample crops of the train and val faces, and run them through the frozen layers.

    Args:
        dataset: a data set with both splits.
        settings: number of crops, seed, and number of threads.
        augmentation: how strongly the crops are augmented.
        crop: how faces are cropped.
        run: the frozen layers, see `load_runner`.
        warn: called with one line about images and boxes that cannot be used.
        on_progress: called with the number of crops done and their total.

    Returns:
        The features by split.

    Raises:
        DatasetError: no image of a split can be read.
        MaskyoloError: the features do not fit into memory.
    """
    from maskyolo.training import classifier_trainer as trainer

    plans = {
        "train": draw_crops(list_faces(dataset, "train", warn), settings.crops, settings.seed),
        "val": draw_all(list_faces(dataset, "val", warn), settings.seed),
    }
    totals = {split: sum(len(draws) for _, draws in plan) for split, plan in plans.items()}

    def report(before: int, done: int) -> None:
        on_progress(before + done, sum(totals.values()))

    features = {}
    for split, before in (("train", 0), ("val", totals["train"])):
        features[split] = trainer.compute_features(
            run,
            crop_batches(plans[split], crop, augmentation, settings.workers, warn),
            totals[split],
            functools.partial(report, before),
        )
        if not len(features[split].class_ids):
            raise DatasetError(
                f"{dataset.yaml}: no image of the {split} split can be read",
                "create the data set again with `maskyolo convert`",
            )
    return features


def list_faces(dataset: Dataset, split: str, warn: Callable[[str], None]) -> list[LabeledFaces]:
    """Return the images of a split that have faces of our classes.

    Boxes outside their image are skipped, with a warning. A classifier has two classes, so faces
    with a mask worn incorrectly count as without_mask.
    """
    found, outside, folded = [], [], 0
    kinds = [class_of(name) for name in dataset.names]
    incorrect = kinds.index(INCORRECT_MASK) if INCORRECT_MASK in kinds else -1
    for image in dataset.images(split):
        labels = dataset.read_labels(image)
        boxes = clip_boxes(labels.boxes, 1, 1)
        inside = box_area(boxes) > 0
        if not inside.all():
            outside.append(dataset.label_of(image))
        third = labels.class_ids == incorrect
        class_ids = np.where(third, WITHOUT_MASK_ID, labels.class_ids)
        ours = inside & (class_ids < len(CLASS_NAMES))
        folded += int((third & ours).sum())
        if ours.any():
            found.append(LabeledFaces(image, boxes[ours], class_ids[ours].tolist()))
    if outside:
        images = counted(len(outside), f"{split} image")
        warn(f"skipped: boxes outside the image in {images}, for example in {outside[0]}")
    if folded:
        faces = counted(folded, f"{split} face")
        warn(f"a classifier has two classes: without_mask includes {faces} of {INCORRECT_MASK}")
    return found


def draw_crops(
    images: Sequence[LabeledFaces], count: int, seed: int
) -> list[tuple[LabeledFaces, list[Draw]]]:
    """Sample `count` faces to augment, uniformly over classes, then images, then faces."""
    rng = np.random.default_rng(seed)
    draws: dict[int, list[Draw]] = defaultdict(list)
    for class_id in range(len(CLASS_NAMES)):
        having = [index for index, faces in enumerate(images) if class_id in faces.class_ids]
        rounds = (index for _ in itertools.count() for index in rng.permutation(having).tolist())
        for number in range(class_id, count, len(CLASS_NAMES)):
            index = next(rounds)
            faces = [
                face for face, found in enumerate(images[index].class_ids) if found == class_id
            ]
            draws[index].append(Draw(int(rng.choice(faces)), (seed, number)))
    return [(images[index], found) for index, found in sorted(draws.items())]


def draw_all(images: Sequence[LabeledFaces], seed: int) -> list[tuple[LabeledFaces, list[Draw]]]:
    """Return every original face, and `VAL_VARIED` augmented crops of each.

    The originals alone are too easy for choosing an epoch.
    """
    plan = []
    for index, faces in enumerate(images):
        originals = [Draw(face, None) for face in range(len(faces.boxes))]
        augmented = [
            Draw(number % len(originals), (seed + 1, index, number))
            for number in range(VAL_VARIED * len(originals))
        ]
        plan.append((faces, originals + augmented))
    return plan


def crop_batches(
    plan: Iterable[tuple[LabeledFaces, list[Draw]]],
    crop: CropSettings,
    augmentation: Augmentation,
    workers: int,
    warn: Callable[[str], None],
) -> Iterator[tuple[Tensor, list[int]]]:
    """Yield a plan's crops in order, in batches for the network, with their class ids.

    Images that cannot be read are skipped, with a warning.
    """
    waiting: list[npt.NDArray[np.uint8]] = []
    class_ids: list[int] = []
    unreadable: list[Path] = []

    def make(
        item: tuple[LabeledFaces, list[Draw]],
    ) -> tuple[tuple[LabeledFaces, list[Draw]], npt.NDArray[np.uint8] | None]:
        return item, _make_crops(*item, crop, augmentation)

    with ThreadPoolExecutor(workers) as pool:
        for (faces, draws), crops in map_ahead(pool, make, plan, ahead=8 * workers):
            if crops is None:
                unreadable.append(faces.path)
                continue
            waiting.extend(crops)
            class_ids += [faces.class_ids[draw.face] for draw in draws]
            while len(waiting) >= FEATURE_BATCH:
                yield (
                    normalize_crops(np.stack(waiting[:FEATURE_BATCH]), crop),
                    class_ids[:FEATURE_BATCH],
                )
                waiting, class_ids = waiting[FEATURE_BATCH:], class_ids[FEATURE_BATCH:]
    if waiting:
        yield normalize_crops(np.stack(waiting), crop), class_ids
    if unreadable:
        images = counted(len(unreadable), "image")
        warn(f"skipped: {images} that cannot be read, for example {unreadable[0]}")


def _make_crops(
    faces: LabeledFaces, draws: Sequence[Draw], crop: CropSettings, augmentation: Augmentation
) -> npt.NDArray[np.uint8] | None:
    """Return RGB crops (n, size, size, 3) of an image's faces, or None if it cannot be read."""
    try:
        image = read_image(faces.path)
    except ImageError:
        return None
    boxes = boxes_in_pixels(faces, image.shape)
    crops = []
    for draw in draws:
        source, box = image, boxes[draw.face : draw.face + 1]
        if draw.seed is not None:
            rng = np.random.default_rng(draw.seed)
            source, box = vary_face(image, box, rng, augmentation, crop.margin)
        crops.append(cut_crops(source, box, crop))
    return np.concatenate(crops)


def boxes_in_pixels(faces: LabeledFaces, shape: Sequence[int]) -> Boxes:
    """Return the boxes as xyxy pixels in an image of shape (height, width, ...)."""
    boxes: Boxes = faces.boxes * np.array([shape[1], shape[0]] * 2, np.float32)
    return boxes
