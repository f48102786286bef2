"""The detector's trainer: Ultralytics' trainer, faster on a CPU and with crash-safe checkpoints.

This module imports Ultralytics, so it is itself imported only when needed. It is separate because
the worker processes of multi-GPU training import it by name.
"""

from __future__ import annotations

import functools
import logging
import random
import tempfile
from pathlib import Path
from typing import Any

import torch
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.utils.patches import torch_load
from ultralytics.utils.torch_utils import strip_optimizer

from maskyolo.core.files import move_into_place
from maskyolo.errors import OutputError
from maskyolo.models.trust import record_own
from maskyolo.models.ultralytics import no_downloads
from maskyolo.training.augment import recompress
from maskyolo.training.detector_dataset import own_dataset
from maskyolo.training.initial_outputs import find_rows
from maskyolo.training.torch_cpu import cpu_has_bf16, keep_memory, use_all_cores

__all__ = ["DetectorTraining", "blend_checkpoint", "strip_checkpoints"]

#: Fraction of the training images that are compressed as JPEG, and the range of JPEG quality.
_COMPRESSED_SHARE = 0.5
_QUALITIES = (40, 95)

#: Range of scales at which they are compressed: images from cameras are often smaller than the
#: network's input.
_SCALES = (0.5, 1.0)


def strip_checkpoints(weights: Path) -> None:
    """Reduce the checkpoints of a finished training to their averaged weights, in fp16.

    Doing so again changes nothing. Each file is replaced atomically, `best.pt` before `last.pt`.
    """
    for place in (weights / "best.pt", weights / "last.pt"):
        if place.is_file():
            strip_optimizer(place, s=_part(place))
            _record(_part(place))
            move_into_place(_part(place), place)


def blend_checkpoint(trained: Path, start: Path, share: float) -> None:
    """Average a trained model's weights with its initial weights, in place.

    The result keeps what was learned, and restores most of what the model forgot during a short
    training on other images (Wortsman et al. 2022, Robust fine-tuning of zero-shot models,
    arXiv:2109.01903).
    Blending again changes nothing.

    Args:
        trained: a stripped checkpoint.
        start: the checkpoint that its training started from; see `check_start`.
        share: weight of the trained model in the average, in (0, 1].
    """
    checkpoint = torch_load(trained, map_location="cpu")
    if "blend" in checkpoint:
        return
    started = torch_load(start, map_location="cpu")
    initial = (started.get("ema") or started["model"]).float()
    before = initial.state_dict()
    model = checkpoint["model"].float()
    after = model.state_dict()
    rows = find_rows(list(initial.names.values()), list(model.names.values()))
    for key in _class_outputs(model):
        before[key] = before[key][rows]
    model.load_state_dict(
        {
            key: before[key].lerp(value, share) if value.is_floating_point() else value
            for key, value in after.items()
        }
    )
    torch.save(checkpoint | {"model": model.half(), "blend": share}, _part(trained))
    _record(_part(trained))
    move_into_place(_part(trained), trained)


class DetectorTraining(DetectionTrainer):  # type: ignore[misc]
    """Ultralytics' trainer, with bfloat16 and loader processes on a CPU and crash-safe checkpoints.

    Its name avoids "Trainer", because Ultralytics adds its upload and logging integrations to
    classes with that in their name. Training ends with the last epoch; `train_detector` then makes
    the models, report and plots from the checkpoints, in the same way for all devices and resumed
    runs.
    """

    save_dir: Path
    best: Path
    last: Path
    model: Any

    def check_resume(self, overrides: dict[str, Any]) -> None:
        """Remember the requested number of loader processes, which Ultralytics resets on a CPU."""
        super().check_resume(overrides)
        self.requested_workers = self.args.workers

    def train(self) -> None:
        """Train.

        With several GPUs, Ultralytics deletes everything in `save_dir` before it starts its
        processes, so it is given a temporary folder.
        """
        if not self.ddp:
            super().train()
            return
        folder, self.save_dir = self.save_dir, Path(tempfile.mkdtemp())
        try:
            super().train()
        finally:
            self.save_dir = folder

    def _setup_train(self) -> None:
        self.args.workers = self.requested_workers
        on_cpu = self.device.type == "cpu"
        if on_cpu:
            use_all_cores()  # Ultralytics leaves one core idle
            keep_memory()
        with no_downloads():
            super()._setup_train()
        if on_cpu and self.args.amp and cpu_has_bf16():
            # On a CPU, autocast means bfloat16; validation and the averaged weights stay float32.
            self.amp = True
            self.model = self.model.to(memory_format=torch.channels_last)
            self.model.criterion = _Float32Loss(self.model.init_criterion())

    def get_model(self, cfg: Any = None, weights: Any = None, verbose: bool = True) -> Any:
        """Start the outputs of all classes from the initial weights; see `match_outputs`.

        Ultralytics does so for classes of the same name, and initializes the others at random.
        """
        model = super().get_model(cfg, weights, verbose)
        if weights:
            known, names = (list(one.names.values()) for one in (weights, model))
            if rows := find_rows(known, names):
                initial = _class_outputs(weights)
                with torch.no_grad():
                    for name, parameter in _class_outputs(model).items():
                        if name in initial and parameter.shape[1:] == initial[name].shape[1:]:
                            parameter.copy_(initial[name][rows])
        return model

    def build_dataset(self, img_path: str, mode: str = "train", batch: int | None = None) -> Any:
        """Recompress half of the training images, as the last step of augmentation."""
        with own_dataset(self.save_dir):
            dataset = super().build_dataset(img_path, mode, batch)
        if mode == "train":
            dataset.transforms.insert(-1, _compress_some)  # before the image becomes a tensor
        return dataset

    def _close_dataloader_mosaic(self) -> None:
        super()._close_dataloader_mosaic()  # this rebuilds the transforms
        self.train_loader.dataset.transforms.insert(-1, _compress_some)

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Give the images the memory layout of the network's weights."""
        batch = super().preprocess_batch(batch)
        if self.device.type == "cpu" and self.amp:
            batch["img"] = batch["img"].contiguous(memory_format=torch.channels_last)
        return batch

    def save_model(self) -> bool:
        """Write each checkpoint to a temporary name and move it into place, the best one first.

        They are synced, so that a power cut loses at most the current epoch.
        """
        places = self.best, self.last
        self.best, self.last = _part(self.best), _part(self.last)
        try:
            saved = bool(super().save_model())
        finally:
            self.best, self.last = places
        for place in places:
            if _part(place).exists():
                _record(_part(place))
                move_into_place(_part(place), place)
        return saved

    def final_eval(self) -> None:
        """Leave the checkpoints as they are; see the class."""

    def plot_metrics(self) -> None:
        """Leave the curves to `train_detector`; see the class."""


def _compress_some(labels: dict[str, Any]) -> dict[str, Any]:
    """Recompress an image (`img`, BGR uint8) or leave it unchanged, at random.

    Draws from the global `random`, which Ultralytics seeds in each loader process.
    """
    if random.random() < _COMPRESSED_SHARE:  # noqa: S311  # not cryptography
        quality, scale = random.randint(*_QUALITIES), random.uniform(*_SCALES)  # noqa: S311
        labels["img"] = recompress(labels["img"], quality, scale)
    return labels


def _class_outputs(model: Any) -> dict[str, Any]:
    """Return the parameters of a detector's class outputs, with a row per class, by name."""
    last = {id(p) for branch in model.model[-1].cv3 for p in branch[-1].parameters()}
    return {name: p for name, p in model.named_parameters() if id(p) in last}


class _Float32Loss:
    """Computes the loss of a bfloat16 network in float32.

    bfloat16 would round boxes to whole pixels.
    """

    def __init__(self, criterion: Any) -> None:
        self.criterion = criterion

    def __call__(self, preds: Any, batch: dict[str, Any]) -> Any:
        with torch.autocast("cpu", enabled=False):
            return self.criterion(_to_float32(preds), batch)


@functools.cache
def _warn_once(message: str) -> None:
    logging.getLogger("maskyolo").warning(
        "%s; --resume and --model will need --trust for the weights of this run", message
    )


def _record(path: Path) -> None:
    """Record a checkpoint as this user's own; if that fails, warn and continue training."""
    try:
        record_own(path)
    except OutputError as error:
        _warn_once(str(error))


def _to_float32(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.float()
    if isinstance(value, dict):
        return {key: _to_float32(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_to_float32(item) for item in value)
    return value


def _part(path: Path) -> Path:
    return path.with_name(path.name + ".part")
