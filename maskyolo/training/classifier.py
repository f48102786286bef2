"""Train the two-stage pipeline's classifier: a frozen ImageNet backbone and a new head.

The projects of 2020 trained theirs in the same way. What the frozen layers compute is computed only
once per augmented crop; the other layers are trained on these features. The crops are cut, scaled
and normalized by the functions of `maskyolo.classifier`, which detection uses too.
"""

from __future__ import annotations

import csv
import functools
import io
import itertools
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from maskyolo._text import counted
from maskyolo.augment import Augmentation, vary_face
from maskyolo.backends import Tensor
from maskyolo.boxes import Boxes, box_area, clip_boxes
from maskyolo.classifier import Classifier, CropSettings, cut_crops, normalize_crops
from maskyolo.core.classes import CLASS_NAMES
from maskyolo.core.files import write_atomic
from maskyolo.core.options import takes_options
from maskyolo.core.parallel import map_ahead
from maskyolo.dataset import Dataset, load_dataset
from maskyolo.detector_training import Progress, check_dataset, clear_run, find_device
from maskyolo.errors import DatasetError, DependencyError, ImageError, MaskyoloError, output_errors
from maskyolo.images import read_image
from maskyolo.labels import parse_yolo
from maskyolo.manifest import find_weights
from maskyolo.report import ClassificationReport
from maskyolo.runs import new_run, save_args
from maskyolo.training.classifier_settings import ClassifierSettings, load_settings
from maskyolo.training.options import ClassifierTrainOptions

if TYPE_CHECKING:
    import torch

    from maskyolo._classifier_trainer import Features, Runner

__all__ = ["ClassifierResult", "train_classifier"]

#: Mean and standard deviation of R, G and B in 0..1 that torchvision's backbones were trained with.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

#: Number of crops per batch for the frozen layers.
FEATURE_BATCH = 64

#: Number of augmented crops per val face, in addition to the original, for choosing the epoch.
VAL_VARIED = 3

#: Options that override the same setting of a recipe.
_RECIPE_OPTIONS = (
    "arch",
    "imgsz",
    "epochs",
    "batch",
    "optimizer",
    "unfreeze",
    "workers",
    "seed",
)

_METRICS = ("loss", "accuracy", "val_loss", "val_accuracy")


@dataclass(frozen=True)
class ClassifierResult:
    """A finished run.

    Attributes:
        folder: the run's folder.
        best: the classifier as `.onnx`.
        reports: scores by split: test, if the data set has it, then val.
    """

    folder: Path
    best: Path
    reports: dict[str, ClassificationReport]


class LabeledFaces(NamedTuple):
    """An image with its labeled faces.

    Attributes:
        path: the image file.
        boxes: xyxy as shares of the image's width and height, float32 (n, 4).
        class_ids: n class ids.
    """

    path: Path
    boxes: Boxes
    class_ids: list[int]


class Draw(NamedTuple):
    """One crop to make.

    Attributes:
        face: number of the face in its image.
        seed: seed of its augmentation; None for the original.
    """

    face: int
    seed: tuple[int, ...] | None


@takes_options(ClassifierTrainOptions)
def train_classifier(
    data: Path | str,
    options: ClassifierTrainOptions | None = None,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    on_warning: Callable[[str], None] | None = None,
    **settings: Any,
) -> ClassifierResult:
    """Train a classifier of face crops on the boxes of a YOLO data set.

    The run's folder gets `weights/best.onnx` (of the epoch with the lowest loss on the val faces,
    both original and augmented), `report.txt`, `report.json`, `results.csv`, `curves.png`,
    `confusion_matrix.png` and `args.yaml`. The reports are made from that file by the code that
    detects.

    Args:
        data: the data set's `data.yaml` or its folder.
        options: the training's options; options that are None come from the recipe. Weights given
            as `model` are not checked against the manifest: any file in torchvision's format works.
        on_progress: called after each batch and each epoch; epoch 0 is the pass of all crops
            through the frozen layers.
        on_warning: called with one line about images and boxes that cannot be used, or about a
            missing test split.
        settings: fields of `ClassifierTrainOptions`, which override `options`.

    Raises:
        DatasetError: no data set, missing or invalid labels, other classes, no box of a class, or
            no readable image.
        WeightsError: the backbone's weights are missing, damaged or of another architecture.
        DependencyError: PyTorch or torchvision is not installed.
        OutputError: the run's folder cannot be written, or no space is left.
        MaskyoloError: an invalid setting, an unavailable device, or too little memory.
    """
    chosen = ClassifierTrainOptions.merge(options, settings)
    training, augmentation = load_settings(
        chosen.recipe or "classifier",
        **{name: getattr(chosen, name) for name in _RECIPE_OPTIONS},
    )
    try:
        import torch

        from maskyolo import _classifier_trainer as trainer
    except ImportError as error:
        raise DependencyError(
            f"training needs PyTorch and torchvision ({error})",
            'run: pip install "maskyolo[train]"',
        ) from error
    device = _find_torch_device(chosen.device)
    dataset = check_dataset(load_dataset(data))
    weights = _find_backbone(training, chosen.model)
    torch.manual_seed(training.seed)
    frozen, trained = _split_backbone(training, weights)
    crop = CropSettings(
        str(training.arch),
        training.imgsz,
        IMAGENET_MEAN,
        IMAGENET_STD,
        training.margin,
        CLASS_NAMES,
    )
    folder = new_run(chosen.project, chosen.name, chosen.exist_ok).absolute()
    clear_run(folder)

    def warn(line: str) -> None:
        if on_warning:
            on_warning(line)

    reporter = _Reporter(folder, training.epochs, on_progress)
    with output_errors(folder):
        (folder / "weights").mkdir(exist_ok=True)
        place = {"data": dataset.yaml, "model": weights.absolute(), "device": str(device)}
        save_args(
            folder,
            {"pipeline": "two-stage"} | place | training.recorded() | augmentation.recorded(),
        )
        run = trainer.load_runner(frozen, training.imgsz, device)
        features = compute_split_features(
            dataset, training, augmentation, crop, run, warn, reporter.report_crops
        )
        reporter.start_epochs(batches=-(-len(features["train"].class_ids) // training.batch))
        trainer.fit(
            trained,
            features["train"],
            features["val"],
            device,
            training,
            on_batch=reporter.report_batch,
            on_epoch=reporter.report_epoch,
        )
        best = folder / "weights" / "best.onnx"
        trainer.export_onnx(torch.nn.Sequential(frozen, trained), crop, best, training.half)
        reports = _evaluate(best, dataset, warn)
        _write_reports(folder, reports, reporter.results.rows)
    return ClassifierResult(folder, best, reports)


def _find_torch_device(device: str) -> torch.device:
    import torch

    found = find_device(device)
    if "," in found:
        raise MaskyoloError(
            f"cannot train a classifier on several devices ({device})",
            f"use one, such as --device {device.split(',')[0]}",
        )
    return torch.device(f"cuda:{found}" if found.isdigit() else found)


def _find_backbone(settings: ClassifierSettings, model: Path | str | None) -> Path:
    """Return the file of ImageNet weights: `model`, or the one that `find_weights` finds."""
    if model is not None and not Path(model).is_dir():
        return Path(model)
    return find_weights(str(settings.arch), model)


def _split_backbone(
    settings: ClassifierSettings, weights: Path
) -> tuple[torch.nn.Module, torch.nn.Module]:
    """Return the layers that stay frozen, and those that are trained, with the new head."""
    from maskyolo import _classifier_trainer as trainer

    blocks = trainer.load_backbone(str(settings.arch), weights)
    if settings.unfreeze > len(blocks):
        raise MaskyoloError(
            f"cannot unfreeze {settings.unfreeze} blocks: {settings.arch} has {len(blocks)}",
            f"use --unfreeze {len(blocks)}",
        )
    return trainer.assemble(blocks, settings.imgsz, settings.unfreeze, settings.dropout)


class _Reporter:
    """Reports progress, and writes `results.csv` after each epoch."""

    def __init__(
        self, folder: Path, epochs: int, on_progress: Callable[[Progress], None] | None
    ) -> None:
        self.folder, self.epochs, self.on_progress = folder, epochs, on_progress
        self.results = _Results(folder / "results.csv")
        self.started = time.monotonic()
        self.batches = 0

    def report_crops(self, done: int, total: int) -> None:
        """Report the number of crops that have passed the frozen layers."""
        self._report(0, done, total, {}, {})

    def start_epochs(self, batches: int) -> None:
        """Start the clock of the first epoch."""
        self.batches = batches
        self.started = time.monotonic()

    def report_batch(self, epoch: int, batch: int, loss: float) -> None:
        """Report a batch."""
        self._report(epoch, batch, self.batches, {"loss": loss}, {})

    def report_epoch(self, epoch: int, metrics: dict[str, float]) -> None:
        """Record and report an epoch, and start the clock of the next one."""
        self.results.add(epoch, time.monotonic() - self.started, metrics)
        self._report(epoch, self.batches, self.batches, {}, metrics)
        self.started = time.monotonic()

    def _report(
        self,
        epoch: int,
        batch: int,
        batches: int,
        losses: dict[str, float],
        metrics: dict[str, float],
    ) -> None:
        if self.on_progress:
            seconds = time.monotonic() - self.started
            counts = (epoch, self.epochs, batch, batches)
            self.on_progress(Progress(self.folder, *counts, losses, metrics, seconds))


def compute_split_features(
    dataset: Dataset,
    settings: ClassifierSettings,
    augmentation: Augmentation,
    crop: CropSettings,
    run: Runner,
    warn: Callable[[str], None],
    on_progress: Callable[[int, int], None],
) -> dict[str, Features]:
    """Draw crops of the train and val faces, and run them through the frozen layers.

    Args:
        dataset: has both splits.
        settings: number of crops, seed, and number of threads.
        augmentation: how strongly the crops are augmented.
        crop: how crops are cut.
        run: the frozen layers, see `load_runner`.
        warn: called with one line about images and boxes that cannot be used.
        on_progress: called with the number of crops done and their total.

    Returns:
        The features by split.

    Raises:
        DatasetError: no image of a split can be read.
        MaskyoloError: the features do not fit into memory.
    """
    from maskyolo import _classifier_trainer as trainer

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
    """List the images of a split that have faces of our classes.

    Boxes outside their image are skipped, with a warning.
    """
    found, outside = [], []
    for image in dataset.images(split):
        label = dataset.label_of(image)
        text = label.read_text(encoding="utf-8", errors="replace") if label.is_file() else ""
        labels = parse_yolo(text, 1, 1, name=str(label), classes=len(dataset.names))
        boxes = clip_boxes(labels.boxes, 1, 1)
        inside = box_area(boxes) > 0
        if not inside.all():
            outside.append(label)
        ours = inside & (labels.class_ids < len(CLASS_NAMES))
        if ours.any():
            found.append(LabeledFaces(image, boxes[ours], labels.class_ids[ours].tolist()))
    if outside:
        images = counted(len(outside), f"{split} image")
        warn(f"skipped: boxes outside the image in {images}, for example in {outside[0]}")
    return found


def draw_crops(
    images: Sequence[LabeledFaces], count: int, seed: int
) -> list[tuple[LabeledFaces, list[Draw]]]:
    """Draw `count` faces to augment: evenly by class, by image of a class, by face of an image."""
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
    """Draw every original face, and `VAL_VARIED` augmented ones of each.

    The originals alone are too easy to choose an epoch by.
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
    """Yield the crops of a plan, in its order, in batches for the network, with their class ids.

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
    """Return the boxes as xyxy pixels of an image of that shape (height, width, ...)."""
    boxes: Boxes = faces.boxes * np.array([shape[1], shape[0]] * 2, np.float32)
    return boxes


def _evaluate(
    model: Path, dataset: Dataset, warn: Callable[[str], None]
) -> dict[str, ClassificationReport]:
    """Return reports of the test split, if it has faces, and of the val split.

    The model runs in the code that `maskyolo detect` uses.
    """
    classifier = Classifier(model, "cpu")
    reports = {}
    for split in ("test", "val"):
        images = []
        if split in dataset.splits:  # boxes of val outside their image have been reported already
            images = list_faces(dataset, split, warn if split == "test" else lambda _: None)
        if not images:
            warn(
                f"{dataset.yaml} has no {split} split with faces, so the report is of the val "
                "split, by which the epoch was chosen"
            )
            continue
        confusion = np.zeros((len(CLASS_NAMES), len(CLASS_NAMES)), int)
        seen = 0
        for faces in images:
            try:
                image = read_image(faces.path)
            except ImageError as error:
                warn(f"skipped in the {split} split: {error}")
                continue
            seen += 1
            predicted = classifier(image, boxes_in_pixels(faces, image.shape)).argmax(axis=1)
            np.add.at(confusion, (faces.class_ids, predicted), 1)
        table = {
            name: dict(zip(CLASS_NAMES, row, strict=True))
            for name, row in zip(CLASS_NAMES, confusion.tolist(), strict=True)
        }
        reports[split] = ClassificationReport(str(dataset.root), split, seen, table)
    return reports


def _write_reports(
    folder: Path,
    reports: Mapping[str, ClassificationReport],
    epochs: Sequence[Mapping[str, float]],
) -> None:
    plot_curves(epochs, folder / "curves.png")
    plot_confusion(reports, folder / "confusion_matrix.png")
    write_atomic(folder / "report.txt", "\n".join(report.table() for report in reports.values()))
    content = {split: report.json() for split, report in reports.items()}
    write_atomic(folder / "report.json", json.dumps(content, indent=2) + "\n")


class _Results:
    """The rows of `results.csv`, which is complete after each epoch."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, float]] = []

    def add(self, epoch: int, seconds: float, metrics: Mapping[str, float]) -> None:
        """Add a row, and write the file."""
        self.rows.append(
            {"epoch": epoch, "time": round(seconds, 3)}
            | {key: round(metrics[key], 6) for key in _METRICS}
        )
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(self.rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_atomic(self.path, text.getvalue())


def plot_curves(rows: Sequence[Mapping[str, float]], path: Path) -> None:
    """Plot loss and accuracy by epoch."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    epochs = [row["epoch"] for row in rows]
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for column, label in (
            (name, "train (augmented)"),
            (f"val_{name}", "val (original and augmented)"),
        ):
            axes.plot(epochs, [row[column] for row in rows], marker=".", label=label)
        axes.set(xlabel="epoch", title=name)
        axes.grid(alpha=0.3)
        axes.legend()
    _save(figure, path)


def plot_confusion(reports: Mapping[str, ClassificationReport], path: Path) -> None:
    """Plot a confusion matrix per split."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5 * len(reports), 4), layout="constrained")
    plots = figure.subplots(1, len(reports), squeeze=False)[0]
    for axes, report in zip(plots, reports.values(), strict=True):
        table = np.array([[row[name] for name in CLASS_NAMES] for row in report.confusion.values()])
        axes.imshow(table, cmap="Blues", vmin=0)
        for cell, count in np.ndenumerate(table):
            axes.text(
                *cell[::-1],
                str(count),
                ha="center",
                va="center",
                color="white" if count > table.max() / 2 else "black",
            )
        axes.set(
            title=f"{report.split}: accuracy {report.accuracy:.3f}",
            xlabel="predicted",
            ylabel="labeled",
        )
        axes.set_xticks(range(len(CLASS_NAMES)), CLASS_NAMES)
        axes.set_yticks(range(len(CLASS_NAMES)), CLASS_NAMES, rotation=90, va="center")
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=120)
    write_atomic(path, file.getvalue())
