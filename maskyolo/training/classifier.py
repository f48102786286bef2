"""Trains the two-stage pipeline's classifier: a frozen ImageNet backbone and a new head.

The projects of 2020 trained theirs in the same way. The output of the frozen layers is computed
only once per augmented crop; the other layers are trained on these features. Faces are cropped,
scaled and normalized by the same functions as in detection (`maskyolo.detectors.classifier`).
"""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from maskyolo.core.classes import CLASS_NAMES
from maskyolo.core.files import write_atomic
from maskyolo.core.images import read_image
from maskyolo.core.installation import install_command
from maskyolo.core.options import takes_options
from maskyolo.core.runs import clear_run, new_run, save_args
from maskyolo.dataset.layout import Dataset, load_dataset
from maskyolo.detectors.classifier import Classifier, CropSettings
from maskyolo.errors import DependencyError, ImageError, MaskyoloError, output_errors
from maskyolo.evaluation.class_scores import ClassificationReport
from maskyolo.models.weights import find_weights
from maskyolo.runtime.provenance import describe_model, made_with, report_differences
from maskyolo.training.checks import check_dataset, find_device
from maskyolo.training.classifier_settings import ClassifierSettings, load_settings
from maskyolo.training.crops import boxes_in_pixels, compute_split_features, list_faces
from maskyolo.training.options import ClassifierTrainOptions
from maskyolo.training.plots import plot_confusion, plot_curves
from maskyolo.training.progress import Progress
from maskyolo.training.provenance import describe_dataset, keep_hashes

if TYPE_CHECKING:
    import torch

__all__ = ["ClassifierResult", "train_classifier"]

#: Mean and standard deviation of R, G and B in 0..1 that torchvision's backbones were trained with.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
#: Options that override the recipe's setting of the same name.
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
    both original and augmented), `weights/best.photos.txt` (perceptual hashes of the training
    photos, for the warnings of `evaluate`), `report.txt`, `report.json`, `results.csv`,
    `curves.png`, `confusion_matrix.png` and `args.yaml`. The reports measure that file with the
    code that `maskyolo detect` uses.

    Args:
        data: the data set's `data.yaml` or its folder.
        options: options that are None come from the recipe. Weights given as `model` are not
            checked against the manifest; any file in torchvision's format works.
        on_progress: called after each batch and each epoch; epoch 0 is the pass of all crops
            through the frozen layers.
        on_warning: called with one line about images and boxes that cannot be used, or about a
            missing test split.
        settings: fields of `ClassifierTrainOptions`, which override `options`.

    Raises:
        DatasetError: no data set, missing or invalid labels, other classes, a class without boxes,
            or no readable image.
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
    torch, trainer = _import_trainer()
    device = _find_torch_device(chosen.device)
    dataset = check_dataset(load_dataset(data))
    weights = _find_backbone(training, chosen.model)
    torch.manual_seed(training.seed)
    frozen, trained = _split_backbone(training, weights)
    crop = _crop_settings(training)
    folder = new_run(chosen.project, chosen.name, chosen.exist_ok).absolute()
    clear_run(folder)

    def warn(line: str) -> None:
        if on_warning:
            on_warning(line)

    reporter = _Reporter(folder, training.epochs, on_progress)
    with output_errors(folder):
        made = _made_with(training, dataset, weights, device)
        report_differences(chosen.args, made, on_warning)
        place = {"data": dataset.yaml, "model": weights.absolute(), "device": str(device)}
        settings = place | training.recorded() | augmentation.recorded()
        save_args(folder, {"pipeline": "two-stage", **settings}, made)
        keep_hashes(dataset, weights, folder / "weights", ["best"])
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


def _made_with(
    training: ClassifierSettings, dataset: Dataset, weights: Path, device: torch.device
) -> dict[str, Any]:
    """Return what the training is made with."""
    import torch

    return made_with(
        torch.get_num_threads(),
        training.seed,
        model=describe_model(weights.absolute()),
        data=describe_dataset(dataset),
        device=str(device),
    )


def _crop_settings(training: ClassifierSettings) -> CropSettings:
    return CropSettings(
        str(training.arch),
        training.imgsz,
        IMAGENET_MEAN,
        IMAGENET_STD,
        training.margin,
        CLASS_NAMES,
    )


def _import_trainer() -> tuple[ModuleType, ModuleType]:
    """Return PyTorch and the trainer module, which need the `train` extra."""
    try:
        import torch

        from maskyolo.training import classifier_trainer
    except ImportError as error:
        raise DependencyError(
            f"training needs PyTorch and torchvision ({error})",
            f"run: {install_command('train')}",
        ) from error
    return torch, classifier_trainer


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
    """Return the frozen layers, and the trained ones including the new head."""
    from maskyolo.training import classifier_trainer as trainer

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
        """Report the number of crops whose features have been computed."""
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
        if split in dataset.splits:  # boxes outside the image in val have been reported already
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
