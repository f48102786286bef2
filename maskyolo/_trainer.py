"""The trainer: Ultralytics' own, with what it lacks on a CPU and after a kill; imported only where Ultralytics is.

It stands in a module of its own because the processes for several GPUs import it by name.
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

from maskyolo._torch import cpu_has_bf16, keep_memory, use_all_cores
from maskyolo._ultralytics import no_downloads
from maskyolo.augment import recompress
from maskyolo.errors import OutputError
from maskyolo.trust import record_own

__all__ = ["DetectorTraining", "blend_checkpoint", "strip_checkpoints"]

_COMPRESSED_SHARE = 0.5
_QUALITIES = (40, 95)  # of JPEG
_SCALES = (
    0.5,
    1.0,
)  # of the sides while compressed: the network's input is often larger than the picture that a camera sent


def strip_checkpoints(weights: Path) -> None:
    """Turn the checkpoints of a training that is over into models: averaged weights in fp16, no optimizer; once more does no harm.

    `last.pt` is moved into place after `best.pt`, so that at every moment there is a whole file of each.
    """
    for place in (weights / "best.pt", weights / "last.pt"):
        if place.is_file():
            strip_optimizer(place, s=_part(place))
            _record(_part(place))
            _part(place).replace(place)


def blend_checkpoint(trained: Path, start: Path, share: float) -> None:
    """Average a trained model's weights with those it started from, in place; once more does no harm.

    What was learnt is kept, and so is most of what a short training on other pictures made it forget (Wortsman et al. 2022, Robust
    fine-tuning of zero-shot models, arXiv:2109.01903).

    Args:
        trained: a stripped checkpoint.
        start: the checkpoint that its training began with, of the same classes.
        share: of the trained weights in the result, in (0, 1].
    """
    checkpoint = torch_load(trained, map_location="cpu")
    if "blend" in checkpoint:
        return
    begun = torch_load(start, map_location="cpu")
    before = (begun.get("ema") or begun["model"]).float().state_dict()
    model = checkpoint["model"].float()
    after = model.state_dict()
    model.load_state_dict(
        {
            key: before[key].lerp(value, share) if value.is_floating_point() else value
            for key, value in after.items()
        }
    )
    torch.save(checkpoint | {"model": model.half(), "blend": share}, _part(trained))
    _record(_part(trained))
    _part(trained).replace(trained)


class DetectorTraining(DetectionTrainer):  # type: ignore[misc]
    """Ultralytics' trainer with bfloat16 on CPUs that have it, loader processes there too, and checkpoints no kill can spoil.

    Its name avoids the word by which Ultralytics adds its upload and logging integrations. It ends with the last epoch:
    `maskyolo.detector_training` makes models, report and plots of the checkpoints, in one way for all devices and resumed runs.
    """

    save_dir: Path
    best: Path
    last: Path
    model: Any

    def check_resume(self, overrides: dict[str, Any]) -> None:
        """Note the number of loader processes asked for, which Ultralytics sets to 0 on a CPU."""
        super().check_resume(overrides)
        self.asked_workers = self.args.workers

    def train(self) -> None:
        """Train; with several GPUs Ultralytics empties `save_dir` before it starts its processes, so it is given another to empty."""
        if not self.ddp:
            super().train()
            return
        folder, self.save_dir = self.save_dir, Path(tempfile.mkdtemp())
        try:
            super().train()
        finally:
            self.save_dir = folder

    def _setup_train(self) -> None:
        self.args.workers = self.asked_workers
        on_cpu = self.device.type == "cpu"
        if on_cpu:
            use_all_cores()  # Ultralytics leaves one idle
            keep_memory()
        with no_downloads():
            super()._setup_train()
        if on_cpu and self.args.amp and cpu_has_bf16():
            self.amp = True  # on a CPU autocast means bfloat16; validation and the averaged weights stay float32
            self.model = self.model.to(memory_format=torch.channels_last)
            self.model.criterion = _Float32Loss(self.model.init_criterion())

    def build_dataset(self, img_path: str, mode: str = "train", batch: int | None = None) -> Any:
        """Compress half of the training pictures again, as the last thing that happens to them."""
        dataset = super().build_dataset(img_path, mode, batch)
        if mode == "train":
            dataset.transforms.insert(-1, _compress_some)  # before they become a tensor
        return dataset

    def _close_dataloader_mosaic(self) -> None:
        super()._close_dataloader_mosaic()  # makes the transforms anew
        self.train_loader.dataset.transforms.insert(-1, _compress_some)

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Lay the pictures out as the network has its weights."""
        batch = super().preprocess_batch(batch)
        if self.device.type == "cpu" and self.amp:
            batch["img"] = batch["img"].contiguous(memory_format=torch.channels_last)
        return batch

    def save_model(self) -> bool:
        """Write the checkpoints beside their places and move them there, the best one first, so that a kill leaves whole files."""
        places = self.best, self.last
        self.best, self.last = _part(self.best), _part(self.last)
        try:
            saved = bool(super().save_model())
        finally:
            self.best, self.last = places
        for place in places:
            if _part(place).exists():
                _record(_part(place))
                _part(place).replace(place)
        return saved

    def final_eval(self) -> None:
        """Leave the checkpoints as they are; see the class."""

    def plot_metrics(self) -> None:
        """Leave the curves to `maskyolo.detector_training`; see the class."""


def _compress_some(labels: dict[str, Any]) -> dict[str, Any]:
    """Compress a picture (`img`, BGR uint8), or leave it; by the global `random`, which Ultralytics seeds in each loader process."""
    if random.random() < _COMPRESSED_SHARE:  # noqa: S311
        labels["img"] = recompress(
            labels["img"], random.randint(*_QUALITIES), random.uniform(*_SCALES)
        )  # noqa: S311
    return labels


class _Float32Loss:
    """The loss of a network that ran in bfloat16, reckoned in float32: bfloat16 would round boxes to pixels."""

    def __init__(self, criterion: Any) -> None:
        self.criterion = criterion

    def __call__(self, preds: Any, batch: dict[str, Any]) -> Any:
        with torch.autocast("cpu", enabled=False):
            return self.criterion(_to_float32(preds), batch)


@functools.cache
def _warn_once(message: str) -> None:
    logging.getLogger("maskyolo").warning(
        "%s; --resume and --model will need --trust for what is trained here", message
    )


def _record(path: Path) -> None:
    """Note a checkpoint as this user's own; where there is no place for the note, the training goes on."""
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
