"""Progress of a training, as reported by Ultralytics' callbacks."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maskyolo.core.text import counted
from maskyolo.dataset.layout import load_dataset

__all__ = ["Progress"]


@dataclass(frozen=True)
class Progress:
    """Progress of a training: reported after each batch, and with `metrics` after each epoch.

    Attributes:
        folder: the run's folder.
        epoch: from 1 to `epochs`; 0 while the features of a classifier's frozen layers are
            computed.
        epochs: number of epochs.
        batch: from 1 to `batches` of this epoch.
        batches: number of batches per epoch; in epoch 0, number of crops.
        losses: running means of this epoch by name (box_loss, cls_loss, dfl_loss).
        metrics: scores on the val split after the epoch (precision, recall, mAP50, mAP50-95); empty
            after a batch.
        seconds: time since the start of this epoch.
    """

    folder: Path
    epoch: int
    epochs: int
    batch: int
    batches: int
    losses: dict[str, float]
    metrics: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0


class TrainerListener:
    """Turns the callbacks of Ultralytics' trainer into `on_progress` and `on_warning`."""

    def __init__(
        self,
        folder: Path,
        on_progress: Callable[[Progress], None] | None,
        on_warning: Callable[[str], None] | None,
    ) -> None:
        self.folder, self.on_progress, self.on_warning = folder, on_progress, on_warning
        self.started, self.batch = 0.0, 0

    def callbacks(self) -> dict[str, Callable[[Any], None]]:
        """Return a callback for each event of the trainer."""
        return {
            "on_pretrain_routine_end": self._check_images,
            "on_train_epoch_start": self._start_epoch,
            "on_train_batch_end": self._end_batch,
            "on_fit_epoch_end": self._end_epoch,
        }

    def _check_images(self, trainer: Any) -> None:
        dataset = load_dataset(self.folder / "data.yaml")
        for split, loader in (("train", trainer.train_loader), ("val", trainer.test_loader)):
            used = {Path(file).name for file in loader.dataset.im_files}
            skipped = [image for image in dataset.images(split) if image.name not in used]
            if skipped and self.on_warning:
                images = counted(len(skipped), f"{split} image")
                self.on_warning(f"skipped: {images} that cannot be read, for example {skipped[0]}")

    def _start_epoch(self, _: Any) -> None:
        self.started, self.batch = time.monotonic(), 0

    def _end_batch(self, trainer: Any) -> None:
        self.batch += 1
        self._report_progress(trainer, {})

    def _end_epoch(self, trainer: Any) -> None:
        metrics = {
            key.removeprefix("metrics/").removesuffix("(B)"): value
            for key, value in trainer.metrics.items()
            if "metrics/" in key
        }
        self._report_progress(trainer, metrics)

    def _report_progress(self, trainer: Any, metrics: dict[str, float]) -> None:
        if self.on_progress:
            losses = {key: float(value) for key, value in trainer.tloss.items()}
            counts = (trainer.epoch + 1, trainer.epochs, self.batch, len(trainer.train_loader))
            self.on_progress(
                Progress(self.folder, *counts, losses, metrics, time.monotonic() - self.started)
            )
