"""Train the second stage of the two-stage path as the projects of 2020 did: an ImageNet backbone, frozen, and a new head.

What the frozen layers make of a crop is computed once for each of a number of varied crops; the rest learns from that. The crops are
cut, scaled and normalised by the functions of `maskyolo.classifier`, which detection uses as well.
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
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from maskyolo._text import counted
from maskyolo.augment import Augmentation, vary_face
from maskyolo.backends import Tensor
from maskyolo.boxes import Boxes, box_area, clip_boxes
from maskyolo.classifier import Classifier, CropSettings, cut_crops, normalize_crops
from maskyolo.core.classes import CLASS_NAMES
from maskyolo.core.files import write_atomic
from maskyolo.core.parallel import map_ahead
from maskyolo.dataset import Dataset, load_dataset
from maskyolo.detector_training import Progress, check_dataset, clear_run, find_device, read_recipe
from maskyolo.errors import DatasetError, DependencyError, ImageError, MaskyoloError, output_errors
from maskyolo.images import read_image
from maskyolo.labels import parse_yolo
from maskyolo.manifest import find_weights
from maskyolo.report import ClassificationReport
from maskyolo.runs import new_run, save_args

__all__ = [
    "ARCHITECTURES",
    "OPTIMIZERS",
    "ClassifierResult",
    "ClassifierSettings",
    "load_settings",
    "train_classifier",
]

#: The backbones of the 2020 projects, as torchvision has them; the manifest knows their weights by the same names.
ARCHITECTURES = ("mobilenet_v2", "resnet50")

OPTIMIZERS = ("adam", "rmsprop")

#: Of R, G and B in 0..1, with which torchvision's backbones learnt ImageNet.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

#: Crops that go through the frozen layers at once.
FEATURE_BATCH = 64

#: Varied crops of each val face, beside the one as it is, by which the epoch is chosen.
VAL_VARIED = 3

_METRICS = ("loss", "accuracy", "val_loss", "val_accuracy")


@dataclass(frozen=True)
class ClassifierSettings:
    """The settings of a recipe, but for those of `Augmentation`; `configs/classifier.yaml` has the defaults and says what each is."""

    arch: str
    imgsz: int
    margin: float
    crops: int
    epochs: int
    batch: int
    optimizer: str
    lr0: float
    decay: float
    dropout: float
    unfreeze: int
    seed: int
    workers: int
    half: bool


@dataclass(frozen=True)
class ClassifierResult:
    """A finished run: its folder, the classifier as `.onnx`, and the reports by split: test, if the set has it, then val."""

    folder: Path
    best: Path
    reports: dict[str, ClassificationReport]


class _Faces(NamedTuple):
    """A picture with its labelled faces: boxes as shares of its sides, xyxy (n, 4), and class ids."""

    picture: Path
    boxes: Boxes
    class_ids: list[int]


class _Draw(NamedTuple):
    """One crop to be made: the number of the face in its picture, and the seed of its variation (None: as it is)."""

    face: int
    seed: tuple[int, ...] | None


def train_classifier(
    data: Path | str,
    arch: str | None = None,
    model: Path | str | None = None,
    recipe: Path | str | None = None,
    imgsz: int | None = None,
    epochs: int | None = None,
    batch: int | None = None,
    optimizer: str | None = None,
    unfreeze: int | None = None,
    device: str = "auto",
    workers: int | None = None,
    seed: int | None = None,
    project: Path | str = "runs/train",
    name: str = "train",
    exist_ok: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    on_warning: Callable[[str], None] | None = None,
) -> ClassifierResult:
    """Train a classifier of face crops on the boxes of a YOLO data set; settings that are None come from the recipe.

    The run's folder gets `weights/best.onnx` (of the epoch with the least loss on the val faces, as they are and varied),
    `report.txt`, `report.json`, `results.csv`, `curves.png`, `confusion_matrix.png` and `args.yaml`. The reports are made with that
    file, by the code that detects.

    Args:
        data: the set's `data.yaml` or its folder.
        arch: one of `ARCHITECTURES`.
        model: file of ImageNet weights in torchvision's format, or the folder that has it, if it is not where
            `manifest.find_weights` looks. Any file of that format will do: it is not checked against the manifest.
        recipe: name of a recipe in `configs/`, or a YAML file with settings as in `configs/classifier.yaml`, the default.
        imgsz: sides of a crop in pixels.
        epochs: passes over the varied crops.
        batch: crops in a step.
        optimizer: one of `OPTIMIZERS`.
        unfreeze: number of the backbone's last blocks that learn as well; their batch normalisation stays as it is.
        device: auto, cpu, 0 (first GPU), mps.
        workers: threads that read and vary pictures.
        seed: of everything random.
        project: folder the run's folder is made in.
        name: of the run's folder; numbered if it exists.
        exist_ok: use an existing folder of that name; an earlier run's results in it are removed.
        on_progress: called after each batch and each epoch; epoch 0 is the frozen layers' pass over all crops.
        on_warning: called with a line about pictures and boxes that cannot be used, and about a test split that is missing.

    Raises:
        DatasetError: no set, no or wrong labels, other classes, no box of a class, or no picture that can be read.
        WeightsError: the backbone's weights are missing, damaged or of another architecture.
        DependencyError: PyTorch or torchvision is not installed.
        OutputError: the run's folder cannot be written, or no space left.
        MaskyoloError: a wrong setting, a device that is not there, or too little memory.
    """
    given = {
        "arch": arch,
        "imgsz": imgsz,
        "epochs": epochs,
        "batch": batch,
        "optimizer": optimizer,
        "unfreeze": unfreeze,
    }
    settings, augmentation = load_settings(
        recipe or "classifier", **given, workers=workers, seed=seed
    )
    try:
        import torch

        from maskyolo import _classifier_trainer as trainer
    except ImportError as error:
        raise DependencyError(
            f'training needs PyTorch and torchvision ({error}); run: pip install "maskyolo[train]"'
        ) from error
    found = find_device(device)
    if "," in found:
        raise MaskyoloError(
            f"cannot train a classifier on the devices {device}: one is enough; use --device {device.split(',')[0]}"
        )
    where = torch.device(f"cuda:{found}" if found.isdigit() else found)
    dataset = check_dataset(load_dataset(data))
    weights = (
        Path(model)
        if model is not None and not Path(model).is_dir()
        else find_weights(settings.arch, model)
    )
    torch.manual_seed(settings.seed)
    blocks = trainer.load_backbone(settings.arch, weights)
    if settings.unfreeze > len(blocks):
        raise MaskyoloError(
            f"cannot unfreeze {settings.unfreeze} blocks: {settings.arch} has {len(blocks)}; use --unfreeze {len(blocks)}"
        )
    frozen, learning = trainer.assemble(blocks, settings.imgsz, settings.unfreeze, settings.dropout)
    crop = CropSettings(
        settings.arch, settings.imgsz, IMAGENET_MEAN, IMAGENET_STD, settings.margin, CLASS_NAMES
    )
    folder = new_run(project, name, exist_ok).absolute()
    clear_run(folder)

    def warn(line: str) -> None:
        if on_warning:
            on_warning(line)

    begun = time.monotonic()

    def tell(
        epoch: int, batch: int, batches: int, losses: dict[str, float], metrics: dict[str, float]
    ) -> None:
        if on_progress:
            on_progress(
                Progress(
                    folder,
                    epoch,
                    settings.epochs,
                    batch,
                    batches,
                    losses,
                    metrics,
                    time.monotonic() - begun,
                )
            )

    with output_errors(folder):
        (folder / "weights").mkdir(exist_ok=True)
        place = {"data": dataset.yaml, "model": weights.absolute(), "device": str(where)}
        save_args(
            folder, {"pipeline": "two-stage"} | place | asdict(settings) | asdict(augmentation)
        )
        plans = {
            "train": _draw_crops(
                _list_faces(dataset, "train", warn), settings.crops, settings.seed
            ),
            "val": _draw_all(_list_faces(dataset, "val", warn), settings.seed),
        }
        totals = {split: sum(len(draws) for _, draws in plan) for split, plan in plans.items()}

        def passed(before: int, done: int) -> None:
            tell(0, before + done, sum(totals.values()), {}, {})

        run = trainer.load_runner(frozen, settings.imgsz, where)
        features = {}
        for split, before in (("train", 0), ("val", totals["train"])):
            features[split] = trainer.compute_features(
                run,
                _crop_batches(plans[split], crop, augmentation, settings.workers, warn),
                totals[split],
                functools.partial(passed, before),
            )
            if not len(features[split].class_ids):
                raise DatasetError(
                    f"{dataset.yaml}: no picture of the {split} split can be read; make the set again with `maskyolo convert`"
                )
        batches = -(-len(features["train"].class_ids) // settings.batch)
        results = _Results(folder / "results.csv")
        begun = time.monotonic()

        def epoch_ends(epoch: int, metrics: dict[str, float]) -> None:
            nonlocal begun
            results.add(epoch, time.monotonic() - begun, metrics)
            tell(epoch, batches, batches, {}, metrics)
            begun = time.monotonic()

        trainer.fit(
            learning,
            features["train"],
            features["val"],
            where,
            epochs=settings.epochs,
            batch=settings.batch,
            optimizer=settings.optimizer,
            lr0=settings.lr0,
            decay=settings.decay,
            on_batch=lambda epoch, batch, loss: tell(epoch, batch, batches, {"loss": loss}, {}),
            on_epoch=epoch_ends,
        )
        best = folder / "weights" / "best.onnx"
        trainer.export_onnx(torch.nn.Sequential(frozen, learning), crop, best, settings.half)
        reports = _evaluate(best, dataset, warn)
        _plot_curves(results.rows, folder / "curves.png")
        _plot_confusion(reports, folder / "confusion_matrix.png")
        write_atomic(
            folder / "report.txt", "\n".join(report.table() for report in reports.values())
        )
        write_atomic(
            folder / "report.json",
            json.dumps({split: report.json() for split, report in reports.items()}, indent=2)
            + "\n",
        )
    return ClassifierResult(folder, best, reports)


def load_settings(
    recipe: Path | str = "classifier", **given: Any
) -> tuple[ClassifierSettings, Augmentation]:
    """Return the settings of a recipe, what it does not say being that of `configs/classifier.yaml`; those given go before, if not None.

    Raises:
        MaskyoloError: no such recipe, or a setting that is unknown or out of its range.
    """
    names = [field.name for kind in (ClassifierSettings, Augmentation) for field in fields(kind)]
    values = read_recipe("classifier", names) | read_recipe(recipe, names)
    values |= {key: value for key, value in given.items() if value is not None}
    for key, choices in (("arch", ARCHITECTURES), ("optimizer", OPTIMIZERS)):
        if values[key] not in choices:
            raise MaskyoloError(f"unknown {key} '{values[key]}'; choose from {', '.join(choices)}")
    for key in ("imgsz", "crops", "epochs", "batch", "unfreeze", "seed", "workers"):
        least = {"imgsz": 32, "crops": 2, "unfreeze": 0, "seed": 0}.get(key, 1)
        if type(values[key]) is not int or values[key] < least:
            raise MaskyoloError(
                f"{key} {values[key]} is not a whole number of at least {least}; correct it"
            )
    shares = ("margin", "dropout", "zoom", "shift", "shear", "flip", "small", "blur", "jpeg")
    for key, most in {
        **dict.fromkeys(shares, 1.0),
        "lr0": 10.0,
        "decay": 1.0,
        "rotation": 180.0,
    }.items():
        if type(values[key]) not in (int, float) or not 0 <= values[key] <= most:
            raise MaskyoloError(
                f"{key} {values[key]} is not a number from 0 to {most:g}; correct it"
            )
    for key, least, most in (("face_size", 1, 10_000), ("quality", 1, 100)):
        pair = values[key]
        if (
            not isinstance(pair, list)
            or len(pair) != 2
            or not all(type(value) in (int, float) for value in pair)
        ):
            raise MaskyoloError(f"{key} {pair} is not a list of two numbers; correct it")
        if not least <= pair[0] <= pair[1] <= most:
            raise MaskyoloError(
                f"{key} {pair} are not two rising numbers from {least} to {most}; correct it"
            )
        values[key] = tuple(pair)
    if type(values["half"]) is not bool:
        raise MaskyoloError(f"half {values['half']} is neither true nor false; correct it")

    def pick(kind: type) -> dict[str, Any]:
        return {field.name: values[field.name] for field in fields(kind)}

    return ClassifierSettings(**pick(ClassifierSettings)), Augmentation(**pick(Augmentation))


def _list_faces(dataset: Dataset, split: str, warn: Callable[[str], None]) -> list[_Faces]:
    """List the pictures of a split that have faces of our classes, and warn of boxes that lie outside their picture."""
    found, outside = [], []
    for picture in dataset.images(split):
        label = dataset.label_of(picture)
        text = label.read_text(encoding="utf-8", errors="replace") if label.is_file() else ""
        labels = parse_yolo(text, 1, 1, name=str(label), classes=len(dataset.names))
        boxes = clip_boxes(labels.boxes, 1, 1)
        inside = box_area(boxes) > 0
        if not inside.all():
            outside.append(label)
        ours = inside & (labels.class_ids < len(CLASS_NAMES))
        if ours.any():
            found.append(_Faces(picture, boxes[ours], labels.class_ids[ours].tolist()))
    if outside:
        pictures = counted(len(outside), f"{split} picture")
        warn(
            f"boxes that lie outside their picture are left out, of {pictures}, for instance in {outside[0]}"
        )
    return found


def _draw_crops(
    pictures: Sequence[_Faces], count: int, seed: int
) -> list[tuple[_Faces, list[_Draw]]]:
    """Draw faces to be varied, `count` in all: both classes evenly, of a class its pictures evenly, of a picture its faces."""
    rng = np.random.default_rng(seed)
    draws: dict[int, list[_Draw]] = defaultdict(list)
    for class_id in range(len(CLASS_NAMES)):
        having = [place for place, faces in enumerate(pictures) if class_id in faces.class_ids]
        rounds = (place for _ in itertools.count() for place in rng.permutation(having).tolist())
        for number in range(class_id, count, len(CLASS_NAMES)):
            place = next(rounds)
            faces = [
                face for face, found in enumerate(pictures[place].class_ids) if found == class_id
            ]
            draws[place].append(_Draw(int(rng.choice(faces)), (seed, number)))
    return [(pictures[place], found) for place, found in sorted(draws.items())]


def _draw_all(pictures: Sequence[_Faces], seed: int) -> list[tuple[_Faces, list[_Draw]]]:
    """Draw every face as it is and `VAL_VARIED` times varied: clean photos alone are too easy to choose an epoch by."""
    plan = []
    for place, faces in enumerate(pictures):
        draws = [_Draw(face, None) for face in range(len(faces.boxes))]
        seeds = [(seed + 1, place, number) for number in range(VAL_VARIED * len(draws))]
        plan.append(
            (
                faces,
                draws + [_Draw(number % len(draws), found) for number, found in enumerate(seeds)],
            )
        )
    return plan


def _crop_batches(
    plan: Iterable[tuple[_Faces, list[_Draw]]],
    crop: CropSettings,
    how: Augmentation,
    workers: int,
    warn: Callable[[str], None],
) -> Iterator[tuple[Tensor, list[int]]]:
    """Make the crops of a plan, in its order, in batches for the network, with their class ids; unreadable pictures are left out."""
    waiting: list[npt.NDArray[np.uint8]] = []
    class_ids: list[int] = []
    unreadable: list[Path] = []

    def make(
        item: tuple[_Faces, list[_Draw]],
    ) -> tuple[tuple[_Faces, list[_Draw]], npt.NDArray[np.uint8] | None]:
        return item, _make_crops(*item, crop, how)

    with ThreadPoolExecutor(workers) as pool:
        for (faces, draws), crops in map_ahead(pool, make, plan, ahead=8 * workers):
            if crops is None:
                unreadable.append(faces.picture)
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
        warn(
            f"left out: {counted(len(unreadable), 'picture')} that cannot be read, for instance {unreadable[0]}"
        )


def _make_crops(
    faces: _Faces, draws: Sequence[_Draw], crop: CropSettings, how: Augmentation
) -> npt.NDArray[np.uint8] | None:
    """Return RGB crops (n, size, size, 3) of a picture's faces, or None if it cannot be read."""
    try:
        image = read_image(faces.picture)
    except ImageError:
        return None
    boxes = _in_pixels(faces, image.shape)
    made = []
    for draw in draws:
        box = boxes[draw.face : draw.face + 1]
        varied, box = (
            (image, box)
            if draw.seed is None
            else vary_face(image, box, np.random.default_rng(draw.seed), how, crop.margin)
        )
        made.append(cut_crops(varied, box, crop))
    return np.concatenate(made)


def _in_pixels(faces: _Faces, shape: Sequence[int]) -> Boxes:
    boxes: Boxes = faces.boxes * np.array([shape[1], shape[0]] * 2, np.float32)
    return boxes


def _evaluate(
    model: Path, dataset: Dataset, warn: Callable[[str], None]
) -> dict[str, ClassificationReport]:
    """Report on the test split, if there is one with faces, and on the val split: the file as `maskyolo detect` runs it."""
    classifier = Classifier(model, "cpu")
    reports = {}
    for split in ("test", "val"):
        pictures = (
            _list_faces(dataset, split, warn if split == "test" else lambda _: None)
            if split in dataset.splits
            else []
        )
        if not pictures:
            warn(
                f"{dataset.yaml} has no {split} split with faces; the report is of the val split, by which the epoch was chosen"
            )
            continue
        confusion = np.zeros((len(CLASS_NAMES), len(CLASS_NAMES)), int)
        seen = 0
        for faces in pictures:
            try:
                image = read_image(faces.picture)
            except ImageError as error:
                warn(f"left out of the {split} split: {error}")
                continue
            seen += 1
            taken = classifier(image, _in_pixels(faces, image.shape)).argmax(axis=1)
            np.add.at(confusion, (faces.class_ids, taken), 1)
        table = {
            name: dict(zip(CLASS_NAMES, row, strict=True))
            for name, row in zip(CLASS_NAMES, confusion.tolist(), strict=True)
        }
        reports[split] = ClassificationReport(str(dataset.root), split, seen, table)
    return reports


class _Results:
    """The rows of `results.csv`, which is whole after every epoch."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, float]] = []

    def add(self, epoch: int, seconds: float, metrics: Mapping[str, float]) -> None:
        """Add a row and write them all."""
        self.rows.append(
            {"epoch": epoch, "time": round(seconds, 3)}
            | {key: round(metrics[key], 6) for key in _METRICS}
        )
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(self.rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_atomic(self.path, text.getvalue())


def _plot_curves(rows: Sequence[Mapping[str, float]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    epochs = [row["epoch"] for row in rows]
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for column, label in ((name, "train (varied)"), (f"val_{name}", "val (also varied)")):
            axes.plot(epochs, [row[column] for row in rows], marker=".", label=label)
        axes.set(xlabel="epoch", title=name)
        axes.grid(alpha=0.3)
        axes.legend()
    _save(figure, path)


def _plot_confusion(reports: Mapping[str, ClassificationReport], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5 * len(reports), 4), layout="constrained")
    for axes, report in zip(
        figure.subplots(1, len(reports), squeeze=False)[0], reports.values(), strict=True
    ):
        table = np.array([[row[name] for name in CLASS_NAMES] for row in report.confusion.values()])
        axes.imshow(table, cmap="Blues", vmin=0)
        for place, count in np.ndenumerate(table):
            axes.text(
                *place[::-1],
                str(count),
                ha="center",
                va="center",
                color="white" if count > table.max() / 2 else "black",
            )
        axes.set(
            title=f"{report.split}: accuracy {report.accuracy:.3f}",
            xlabel="taken for",
            ylabel="labelled",
        )
        axes.set_xticks(range(len(CLASS_NAMES)), CLASS_NAMES)
        axes.set_yticks(range(len(CLASS_NAMES)), CLASS_NAMES, rotation=90, va="center")
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=120)
    write_atomic(path, file.getvalue())
