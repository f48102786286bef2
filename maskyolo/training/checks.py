"""Checks before training starts."""

from __future__ import annotations

import importlib.util
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from maskyolo.core.text import counted
from maskyolo.dataset.label_files import canonical_label
from maskyolo.dataset.layout import Dataset, check_class_order
from maskyolo.detectors.yolo import MAX_IMGSZ
from maskyolo.errors import DatasetError, DependencyError, MaskyoloError, WeightsError
from maskyolo.models.own import own_weights
from maskyolo.models.trust import check_trust
from maskyolo.models.ultralytics import only_trusted, silenced
from maskyolo.models.weights import cache_folder, find_weights, load_manifest, locate_weights
from maskyolo.training.initial_outputs import match_outputs

__all__ = ["check_dataset", "find_device"]

#: Largest absolute value of a setting; seeds of NumPy have 32 bits.
_LARGEST = 2**32 - 1

#: Settings with a fixed set of values, and switches, which Ultralytics checks only later.
_CHOICES = {
    "optimizer": "auto SGD MuSGD Adam Adamax AdamW NAdam RAdam RMSprop".split(),  # noqa: SIM905
    "cache": ["ram", "disk", "true", "false"],
    "copy_paste_mode": ["flip", "mixup"],
}
_SWITCHES = ("amp", "compile", "channels_last", "rect", "single_cls", "cls_remap", "cos_lr")


def check_several_gpus(logger: str | None = None) -> None:
    """Check what training on several GPUs needs: a package of Ultralytics', and no logger.

    Raises:
        DependencyError: the package is not installed.
        MaskyoloError: there is a logger.
    """
    if logger is not None:
        raise MaskyoloError(
            "cannot log a training on several GPUs", "leave out --logger, or give one --device"
        )
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

    found = find_checkpoint(model)
    check_trust(found, trust)
    try:
        with silenced(), only_trusted(trust):
            task = load_checkpoint(found)[0].task
    except WeightsError:
        raise
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


def is_third_party(model: str) -> bool:
    """Return whether initial weights are a name in the manifest, such as yolov8n or yolov8n.pt."""
    path = Path(model)
    named = path.name == model and path.suffix in ("", ".pt") and path.stem in load_manifest()
    return named and not path.is_file()


def find_third_party(model: str, report: Callable[[str], None] | None = None) -> Path:
    """Find or download initial weights for which `is_third_party` holds.

    Args:
        model: their name, with or without `.pt`.
        report: called with a message before a download starts.

    Raises:
        WeightsError: there is no file and it cannot be downloaded, or it has the wrong checksum.
    """
    name = Path(model).stem
    try:
        return find_weights(name, report=report)
    except WeightsError as error:
        if locate_weights(name).status != "missing":
            raise
        weights = load_manifest()[name]
        raise WeightsError(
            error.problem,
            f"put {weights.file} from {weights.url} into {cache_folder()}, or start from "
            "--model maskyolo-n, which is included",
        ) from error


def find_checkpoint(model: str) -> Path:
    """Return the checkpoint that a file or name stands for; third-party ones may be downloaded.

    Raises:
        WeightsError: there is none.
    """
    path = Path(model)
    ours = {file.stem: file for file in own_weights() if file.suffix == ".pt"}
    if path.is_file():
        return path
    if is_third_party(model):
        return find_third_party(model)
    if model in ours:
        return ours[model]
    names = ", ".join(["yolov8n", *sorted(ours)])
    raise WeightsError(
        f"no weights '{model}' to start from: neither a file nor a known name",
        f"give a .pt file or a name (names: {names}), or yolov8n.yaml for random weights",
    )


def class_names(start: str) -> list[str]:
    """Return the class names of initial weights; none if they are random."""
    from ultralytics.nn.tasks import load_checkpoint

    if start.endswith((".yaml", ".yml")):
        return []
    return list(load_checkpoint(start)[0].names.values())


def check_start(start: str, dataset: Dataset) -> None:
    """Check that the initial weights have the data set's classes, so that they can be blended.

    They may lack incorrect_mask; see `match_outputs`.
    """
    if not match_outputs(class_names(start), dataset.names):
        raise WeightsError(
            "the recipe blends the trained weights with the initial weights, which must have the "
            f"classes {', '.join(dataset.names)}",
            "give --model maskyolo-n or a detector of yours, or remove `blend` from the recipe",
        )


def find_device(device: str) -> str:
    """Return Ultralytics' name for a device, after checking that it is available.

    Raises:
        MaskyoloError: it is not available, or `torchrun` started several hosts.
    """
    import torch

    hosts = os.environ.get("GROUP_WORLD_SIZE", "1")  # set by torchrun
    if hosts != "1":  # each process would make a run folder of its own
        raise MaskyoloError(
            f"cannot train on several hosts: torchrun started {hosts}",
            "run maskyolo train on one host without torchrun; --device 0,1 uses several GPUs",
        )
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

    for key, value in args.items():
        _check_setting(key, value)
    imgsz = args.get("imgsz", 640)
    if not _is_whole(imgsz) or not 32 <= imgsz <= MAX_IMGSZ or imgsz % 32:
        near = (
            min(max(32, round(imgsz / 32) * 32), MAX_IMGSZ)
            if isinstance(imgsz, (int, float))
            else 640
        )
        raise MaskyoloError(f"imgsz must be a multiple of 32, got {imgsz}", f"use {near}")
    for key, minimum in (("epochs", 1), ("batch", 1), ("workers", 0), ("patience", 0)):
        value = args.get(key, minimum)
        if not _is_whole(value) or value < minimum:
            raise MaskyoloError(
                f"{key} must be a whole number of at least {minimum}, got {value}", "correct it"
            )
    try:
        check_cfg(dict(args))
    except (TypeError, ValueError, AssertionError) as error:
        reason = " ".join(str(error).split())
        raise MaskyoloError(f"invalid setting: {reason}", "correct the recipe") from error


def _check_setting(key: str, value: Any) -> None:
    """Check one setting, as far as Ultralytics does not."""
    if value is None:  # the default
        return
    if isinstance(value, (int, float)) and not abs(value) <= _LARGEST:  # NaN, too
        raise MaskyoloError(f"{key} is out of range: {value}", "correct the recipe")
    choices = _CHOICES.get(key, ())
    if choices and str(value).lower() not in map(str.lower, choices):
        raise MaskyoloError(f"unknown {key} '{value}'", f"choose one of {', '.join(choices)}")
    if key in _SWITCHES and not isinstance(value, (bool, int)):
        raise MaskyoloError(f"{key} must be true or false, got {value}", "correct the recipe")
    if key == "freeze":
        layers = value if isinstance(value, list) else [value]
        if not all(_is_whole(layer) and layer >= 0 for layer in layers):
            raise MaskyoloError(
                f"freeze must be a number of layers or a list of their numbers, got {value}",
                "correct the recipe",
            )
    if key == "pretrained" and not isinstance(value, (bool, str)):
        raise MaskyoloError(
            f"pretrained must be true, false or a .pt file, got {value}", "correct the recipe"
        )


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def check_dataset(dataset: Dataset) -> Dataset:
    """Return a data set after checking that a model can be trained on it.

    It needs our two classes first, images in train and val, valid labels, and boxes of all its
    classes in train.

    Raises:
        DatasetError: a model cannot be trained on it.
    """
    check_class_order(dataset)
    if "val" in dataset.files.missing:
        raise dataset.files.missing["val"]
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


def check_detector_dataset(dataset: Dataset) -> Dataset:
    """Return a data set after checking that Ultralytics reads the labels that we read.

    Ultralytics looks for labels in one place only, and reads longer rows as polygons.

    Raises:
        DatasetError: it would read other labels, or a model cannot be trained on it.
    """
    check_dataset(dataset)
    for split in dataset.splits:
        for image in dataset.images(split):
            label = dataset.files.finder.find(image)
            if label is None:
                continue
            problem = ""
            if label != canonical_label(image):
                problem = f"the label of {image} is {label}, where training does not find it"
            elif not dataset.files.read_rows(image).plain:
                problem = f"{label} has more than 'class cx cy w h', which training misreads"
            if problem:
                raise DatasetError(
                    f"{dataset.yaml}: {problem}",
                    f"write the labels again with `maskyolo convert {dataset.yaml} --splits keep "
                    "--out DIR`",
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
            f"{dataset.yaml}: the {split} split has no images "
            f"({', '.join(map(str, dataset.splits[split]))})",
            "add images to it",
        )
    counts: Counter[int] = Counter()
    for image in images:
        counts.update(dataset.read_labels(image).class_ids.tolist())
    if not any(dataset.label_of(image).is_file() for image in images):
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
