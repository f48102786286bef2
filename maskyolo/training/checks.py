"""Checks before training starts."""

from __future__ import annotations

import importlib.util
from collections import Counter
from pathlib import Path
from typing import Any

from maskyolo.core.classes import CLASS_NAMES
from maskyolo.core.labels import parse_yolo
from maskyolo.core.text import counted
from maskyolo.dataset.layout import Dataset
from maskyolo.errors import DatasetError, DependencyError, MaskyoloError, WeightsError
from maskyolo.models.own import own_weights
from maskyolo.models.trust import check_trust
from maskyolo.models.ultralytics import silenced
from maskyolo.models.weights import find_weights, load_manifest

__all__ = ["check_dataset", "find_device"]


def check_several_gpus() -> None:
    """Check for the package that Ultralytics needs to train on several GPUs.

    Raises:
        DependencyError: it is not installed.
    """
    if importlib.util.find_spec("cloudpickle") is None:
        raise DependencyError(
            "training on several GPUs needs cloudpickle",
            'run: pip install "cloudpickle>=3.1.1"',
        )


def find_start(model: str, trust: bool) -> str:
    """Return the checkpoint or the architecture's YAML that training starts from.

    Raises:
        WeightsError: there is none, it is not a YOLO detector, or it is not trusted.
    """
    if Path(model).suffix in (".yaml", ".yml"):
        return _find_architecture(model, trust)
    from ultralytics.nn.tasks import load_checkpoint

    found = _find_checkpoint(model)
    check_trust(found, trust)
    try:
        with silenced():
            task = load_checkpoint(found)[0].task
    except Exception as error:  # unpickling can raise anything
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise WeightsError(
            f"wrong weights {found}: not a checkpoint of Ultralytics ({reason})",
            "give a .pt of a YOLO detector",
        ) from error
    if task != "detect":
        raise WeightsError(
            f"wrong weights {found}: a model for the task '{task}'", "give a .pt of a YOLO detector"
        )
    return str(found.absolute())


def _find_architecture(model: str, trust: bool) -> str:
    from ultralytics.utils import ROOT

    path = Path(model)
    without_scale = path.name.replace("yolov8n", "yolov8")
    found = [file for file in (path, path.with_name(without_scale)) if file.is_file()]
    if not found and not list((ROOT / "cfg" / "models").rglob(without_scale)):
        raise WeightsError(
            f"no architecture '{model}': neither a file nor one of Ultralytics'",
            "give yolov8n.yaml",
        )
    if found and not trust:  # Ultralytics evaluates its activations and calls its layers by name
        raise WeightsError(
            f"did not open {found[0]}: an architecture's YAML can run any code",
            "add --trust if you trust its author, or use one of Ultralytics' own, such as "
            "yolov8n.yaml, from a folder without a file of that name",
        )
    return model


def _find_checkpoint(model: str) -> Path:
    path = Path(model)
    ours = {file.stem: file for file in own_weights() if file.suffix == ".pt"}
    if path.is_file():
        return path
    if path.name == model and path.stem in load_manifest():
        return find_weights(path.stem)
    if model in ours:
        return ours[model]
    names = ", ".join(["yolov8n", *sorted(ours)])
    raise WeightsError(
        f"no weights '{model}' to start from: neither a file nor a known name",
        f"give a .pt file or a name (names: {names}), or yolov8n.yaml for random weights",
    )


def check_start(start: str, dataset: Dataset) -> None:
    """Check that the initial weights have the data set's classes, so that they can be blended."""
    from ultralytics.nn.tasks import load_checkpoint

    names = (
        () if start.endswith((".yaml", ".yml")) else tuple(load_checkpoint(start)[0].names.values())
    )
    if names != dataset.names:
        raise WeightsError(
            "the recipe blends the trained weights with the initial weights, which must have the "
            f"classes {', '.join(dataset.names)}",
            "give --model maskyolo-n or a detector of yours, or remove `blend` from the recipe",
        )


def find_device(device: str) -> str:
    """Return Ultralytics' name for a device, after checking that it is available.

    Raises:
        MaskyoloError: it is not available.
    """
    import torch

    gpus = torch.cuda.device_count()
    has_mps = torch.backends.mps.is_available()
    if device == "auto":
        return "0" if gpus else "mps" if has_mps else "cpu"
    if device == "cpu" or (device == "mps" and has_mps):
        return device
    wanted = device.split(",")
    exist = all(part.isdigit() and int(part) < gpus for part in wanted)
    if exist and len(set(wanted)) == len(wanted):
        return device
    raise MaskyoloError(
        f"cannot train on device '{device}': PyTorch finds "
        f"{counted(gpus, 'CUDA GPU') if gpus else 'no CUDA GPU'}",
        "use --device auto or cpu",
    )


def check_weights(args: dict[str, Any], trust: bool) -> None:
    """Check that every checkpoint in settings is trusted; recipes may come from someone else."""
    for key, value in args.items():
        if isinstance(value, str) and (key == "pretrained" or value.endswith(".pt")):
            for path in {Path(value), Path(value.strip())}:  # Ultralytics strips the name
                if path.is_file():
                    check_trust(path, trust)


def check_settings(args: dict[str, Any]) -> None:
    """Check settings that Ultralytics would silently change, or reject only later.

    Raises:
        MaskyoloError: a setting is invalid.
    """
    from ultralytics.cfg import check_cfg

    imgsz = args.get("imgsz", 640)
    if not isinstance(imgsz, int) or imgsz < 32 or imgsz % 32:
        near = max(32, round(imgsz / 32) * 32) if isinstance(imgsz, (int, float)) else 640
        raise MaskyoloError(f"imgsz must be a multiple of 32, got {imgsz}", f"use {near}")
    for key, minimum in (("epochs", 1), ("batch", 1), ("workers", 0), ("patience", 0)):
        value = args.get(key, minimum)
        if not isinstance(value, int) or value < minimum:
            raise MaskyoloError(
                f"{key} must be a whole number of at least {minimum}, got {value}", "correct it"
            )
    try:
        check_cfg(dict(args))
    except (TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise MaskyoloError(f"invalid setting: {reason}", "correct the recipe") from error


def check_dataset(dataset: Dataset) -> Dataset:
    """Return a data set after checking that a model can be trained on it.

    It needs our classes, images in train and val, valid labels, and boxes of both classes in train.

    Raises:
        DatasetError: a model cannot be trained on it.
    """
    if dataset.names[: len(CLASS_NAMES)] != CLASS_NAMES:
        raise DatasetError(
            f"{dataset.yaml} has the classes {', '.join(dataset.names)}; the first two must be "
            f"{', '.join(CLASS_NAMES)}",
            "rename or reorder them",
        )
    if "val" not in dataset.splits:
        raise DatasetError(
            f"{dataset.yaml} has no `val` split, which training needs for validation",
            "add the line `val: images/val`",
        )
    for split in ("train", "val"):
        counts = _count_boxes(dataset, split)
        empty = [name for class_id, name in enumerate(dataset.names) if not counts[class_id]]
        if empty and split == "train":
            raise DatasetError(
                f"{dataset.yaml}: the train split has no box of {', '.join(empty)}, so the class "
                "cannot be learned",
                "add images with such boxes",
            )
    return dataset


def _count_boxes(dataset: Dataset, split: str) -> Counter[int]:
    """Return the number of boxes in a split by class id.

    Raises:
        DatasetError: it has no images, no labels or no boxes, or a label is invalid.
    """
    images = dataset.images(split)
    if not images:
        raise DatasetError(
            f"{dataset.yaml}: the {split} split has no images ({dataset.splits[split]})",
            "add images to it",
        )
    counts: Counter[int] = Counter()
    labels = [label for label in map(dataset.label_of, images) if label.is_file()]
    for label in labels:
        text = label.read_text(encoding="utf-8", errors="replace")
        found = parse_yolo(text, 1, 1, name=str(label), classes=len(dataset.names))
        counts.update(found.class_ids.tolist())
    if not labels:
        raise DatasetError(
            f"{dataset.yaml}: none of the {len(images)} {split} images has a label file; expected, "
            f"for example, {dataset.label_of(images[0])}",
            "create the data set with `maskyolo convert`",
        )
    if not counts:
        raise DatasetError(
            f"{dataset.yaml}: the labels of the {split} split are all empty",
            "label the faces in its images",
        )
    return counts
