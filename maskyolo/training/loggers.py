"""Training logs for TensorBoard, MLflow and Weights & Biases, through Ultralytics' callbacks."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from maskyolo.core.choices import Logger
from maskyolo.errors import DependencyError
from maskyolo.models.weights import offline

__all__ = ["check_logger", "logger_callbacks"]

#: Ultralytics' modules of callbacks.
_MODULES = {Logger.TENSORBOARD: "tensorboard", Logger.MLFLOW: "mlflow", Logger.WANDB: "wb"}


def check_logger(logger: Logger | None) -> None:
    """Check that the package of a logger is installed.

    Raises:
        DependencyError: it is not.
    """
    if logger is not None and importlib.util.find_spec(str(logger)) is None:
        raise DependencyError(
            f"--logger {logger} needs the package {logger}, which is not installed",
            f"run: pip install {logger}",
        )


def logger_callbacks(logger: Logger | None, folder: Path) -> dict[str, list[Callable[..., None]]]:
    """Return the callbacks for a trainer: Ultralytics' default ones, and those of the logger.

    Where the logs go is set by the logger's own environment variables, such as
    `MLFLOW_TRACKING_URI`. `MASKYOLO_OFFLINE` keeps Weights & Biases offline, too.

    Args:
        logger: the logger; None for no log.
        folder: the run's folder, where Weights & Biases keeps its files.

    Raises:
        DependencyError: the logger is installed, but does not work, so that Ultralytics would
            train without it.
    """
    from ultralytics.utils.callbacks import get_default_callbacks

    found: dict[str, list[Any]] = get_default_callbacks()
    if logger is None:
        return found
    defaults = {
        "MLFLOW_EXPERIMENT_NAME": "maskyolo",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "WANDB_DIR": str(folder),
        "WANDB_PROJECT": "maskyolo",
    }
    if offline():
        defaults["WANDB_MODE"] = "offline"
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    module = importlib.import_module(f"ultralytics.utils.callbacks.{_MODULES[logger]}")
    if not module.callbacks:
        raise DependencyError(
            f"--logger {logger} does not work: Ultralytics cannot load or may not use it",
            f"try: python -c 'import {logger}'",
        )
    for event, callback in module.callbacks.items():
        found[event].append(callback)
    return found
