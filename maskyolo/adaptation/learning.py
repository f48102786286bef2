"""Trains on a camera's frames without forgetting, and keeps the weights only if they are better.

A training on the frames of one camera forgets other faces. Three things prevent that: only the
network's last layers are trained, photos of the base set are mixed in, and the trained weights are
averaged with the present ones.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from maskyolo.adaptation.judging import Trial, choose_trial, explain, table
from maskyolo.adaptation.options import AdaptOptions
from maskyolo.core.files import write_atomic
from maskyolo.dataset.layout import Dataset, check_class_order, load_dataset
from maskyolo.dataset.photo_hashes import load_hashes, save_hashes
from maskyolo.detectors.loading import DEFAULT_MODELS, load_detector
from maskyolo.detectors.yolo import IMGSZ
from maskyolo.errors import DatasetError, WeightsError, output_errors
from maskyolo.evaluation.differences import differences_from_first
from maskyolo.evaluation.evaluation import evaluate
from maskyolo.evaluation.scores import Evaluation
from maskyolo.models.ultralytics import import_ultralytics, only_trusted
from maskyolo.training.checks import find_checkpoint
from maskyolo.training.detector import export_onnx, train_detector
from maskyolo.training.progress import Progress

__all__ = ["Learned", "check_learning", "learn"]

#: Maximum number of the base set's validation photos on which the weights are compared.
_BASE_VAL = 300

OnProgress = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class Learned:
    """The result of a training on a camera's frames.

    Attributes:
        weights: the new weights as `.pt`; the same as `.onnx` are beside them. None if the present
            weights stay.
        trials: the comparisons with the present weights, one per blend.
        verdict: in one line, which weights are kept and why.
        table: the trials as text.
    """

    weights: Path | None
    trials: tuple[Trial, ...]
    verdict: str
    table: str


def check_learning(options: AdaptOptions) -> None:
    """Check everything a training needs, before the recordings are looked at.

    Raises:
        DatasetError: a data set cannot be used.
        WeightsError: there is no checkpoint of the present weights.
        DependencyError: Ultralytics is not installed.
    """
    import_ultralytics("maskyolo adapt --data")
    _start_of(options)
    base = _base_of(options)
    for split in ("train", "val"):
        if not base.images(split):
            raise DatasetError(
                f"{base.yaml}: the {split} split has no images", "add images, or give another set"
            )
    if options.val_data is not None:
        _labeled_split(load_dataset(options.val_data))


def learn(folder: Path, options: AdaptOptions, on_progress: OnProgress | None = None) -> Learned:
    """Train on the frames in `folder`, compare, and write the weights if they are better.

    Args:
        folder: a data set that `adapt` made.
        options: the base set, and how to train.
        on_progress: called with "batches" or "photos", the number done, and their total.
    """
    start, scratch = _start_of(options), folder / "training"
    if options.imgsz is None:
        present = load_detector(start, device=options.device, trust=options.trust)
        options = replace(options, imgsz=getattr(present, "imgsz", IMGSZ))
    with output_errors(folder):
        data = _mix(folder, options, scratch)
    try:
        trained = _train(data, start, options, scratch, on_progress)
        trials, places = _compare(start, trained, data, options, scratch, on_progress)
        chosen = choose_trial(trials)
        weights = _keep(places[chosen.blend], trained, folder) if chosen else None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    learned = Learned(weights, tuple(trials), explain(trials, chosen), table(trials, chosen))
    with output_errors(folder):
        write_atomic(folder / "report.txt", f"{learned.table}\n\n{learned.verdict}\n")
        content = {
            "kept": chosen.blend if chosen else None,
            "verdict": learned.verdict,
            "trials": [one.json() for one in trials],
        }
        write_atomic(folder / "report.json", json.dumps(content, indent=2) + "\n")
    return learned


def _start_of(options: AdaptOptions) -> Path:
    """Return the checkpoint of the present weights; of an `.onnx`, the one beside it."""
    model = str(options.model or DEFAULT_MODELS[options.pipeline])
    path = Path(model)
    if path.suffix == ".onnx" and path.is_file():
        beside = path.with_suffix(".pt")
        if not beside.is_file():
            raise WeightsError(
                f"cannot train {model}: there is no {beside.name} beside it",
                "give the .pt that it was exported from",
            )
        return beside
    return find_checkpoint(model)


def _base_of(options: AdaptOptions) -> Dataset:
    base = load_dataset(options.data or "")
    check_class_order(base)
    return base


def _labeled_split(dataset: Dataset) -> str:
    """Return the split of a camera's labeled frames: val, or else the first that has images."""
    for split in ("val", "test", "train"):
        if split in dataset.splits and dataset.images(split):
            return split
    raise DatasetError(f"{dataset.yaml} has no images", "label frames with `maskyolo review open`")


def _mix(folder: Path, options: AdaptOptions, scratch: Path) -> Path:
    """Write a `data.yaml` of the camera's frames and some photos of the base set."""
    base, draw = _base_of(options), np.random.default_rng(options.seed)

    def some(split: str, limit: int) -> list[Path]:
        images = base.images(split)
        drawn = draw.permutation(len(images))[:limit]
        return [images[place] for place in sorted(drawn.tolist())]

    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    frames = load_dataset(folder).images("train")
    lists = {
        "train": [*frames, *some("train", options.base_images)],
        "val": some("val", _BASE_VAL),
    }
    for split, images in lists.items():
        text = "".join(f"{image.absolute()}\n" for image in images)
        write_atomic(scratch / f"{split}.txt", text)
    content = {
        "path": str(scratch.absolute()),
        **{split: f"{split}.txt" for split in lists},
        "names": dict(enumerate(base.names)),
    }
    write_atomic(scratch / "data.yaml", yaml.safe_dump(content, sort_keys=False))
    return scratch / "data.yaml"


def _train(
    data: Path,
    start: Path,
    options: AdaptOptions,
    scratch: Path,
    on_progress: OnProgress | None,
) -> Path:
    """Return the checkpoint of the last epoch, not yet averaged with the present weights."""

    def report(now: Progress) -> None:
        if on_progress and now.epoch:
            done = (now.epoch - 1) * now.batches + now.batch
            on_progress("batches", done, now.epochs * now.batches)

    result = train_detector(
        data,
        model=start,
        recipe=options.recipe or "adapt",
        epochs=options.epochs,
        imgsz=options.imgsz,
        batch=options.batch,
        seed=options.seed,
        device=options.device,
        trust=options.trust,
        project=scratch,
        name="run",
        on_progress=report,
    )
    return result.best.with_name("last.pt")


def _compare(
    start: Path,
    trained: Path,
    data: Path,
    options: AdaptOptions,
    scratch: Path,
    on_progress: OnProgress | None,
) -> tuple[list[Trial], dict[float, Path]]:
    """Compare the trained weights with the present ones, at each blend."""
    from maskyolo.training.detector_trainer import blend_checkpoint

    places = {}
    with only_trusted(options.trust):
        for share in options.blend:
            places[share] = scratch / f"blend-{share:g}.pt"
            shutil.copyfile(trained, places[share])
            blend_checkpoint(places[share], start, share)
    sets: list[tuple[Path | str, str]] = [(data, "val")]
    if options.val_data is not None:
        sets.append((options.val_data, _labeled_split(load_dataset(options.val_data))))
    found = [
        _differences([start, *places.values()], place, split, options, on_progress)
        for place, split in sets
    ]
    trials = [
        Trial(share, *(differences[number] for differences in found))
        for number, share in enumerate(places)
    ]
    return trials, places


def _differences(
    models: Sequence[Path],
    data: Path | str,
    split: str,
    options: AdaptOptions,
    on_progress: OnProgress | None,
) -> list[Any]:
    """Return the difference of mAP50 of each model but the first from the first."""
    evaluations: list[Evaluation] = []
    for number, model in enumerate(models):

        def report(done: int, total: int | None, number: int = number) -> None:
            if on_progress and total:
                on_progress("photos", number * total + done, len(models) * total)

        found = evaluate(
            model=model,
            data=data,
            split=split,
            imgsz=options.imgsz,
            device=options.device,
            threads=options.threads,
            trust=options.trust,
            seed=options.seed,
            project=None,
            on_progress=report,
            on_warning=lambda _: None,  # the present weights have learned from the base set
        )
        evaluations.append(replace(found, name=str(number)))
    differences = differences_from_first(evaluations)
    return [differences[str(number)]["map50"] for number in range(1, len(models))]


def _keep(place: Path, trained: Path, folder: Path) -> Path:
    """Write the chosen weights to the folder, as `.pt` and `.onnx`, and how they were made."""
    weights = folder / "weights"
    with output_errors(weights):
        weights.mkdir(exist_ok=True)
        shutil.copyfile(place, weights / "best.pt")
        save_hashes(weights / "best.onnx", load_hashes(trained))
        export_onnx(weights)
        for name in ("args.yaml", "results.csv"):
            shutil.copyfile(trained.parent.parent / name, weights / name)
    return weights / "best.pt"
