"""Training logs: off by default, one clear line if the package is missing, offline respected."""

from __future__ import annotations

import importlib.util
import os
import sys
import types
from pathlib import Path

import pytest

from maskyolo.core.choices import Logger
from maskyolo.errors import DependencyError, MaskyoloError
from maskyolo.training.checks import check_several_gpus
from maskyolo.training.detector import train_detector
from maskyolo.training.loggers import check_logger, logger_callbacks


@pytest.mark.parametrize("logger", list(Logger))
def test_a_missing_package_is_one_line_before_anything_is_created(
    logger: Logger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *_: None)
    with pytest.raises(DependencyError, match=f"run: pip install {logger}$"):
        check_logger(logger)
    check_logger(None)
    monkeypatch.undo()
    if importlib.util.find_spec(str(logger)) is None:
        with pytest.raises(DependencyError, match=f"--logger {logger} needs the package {logger}"):
            train_detector(tmp_path, model="yolov8n.yaml", logger=logger, project=tmp_path / "runs")
        assert not (tmp_path / "runs").exists()


def test_without_a_logger_none_of_their_modules_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("tensorboard", "mlflow", "wb"):
        monkeypatch.delitem(sys.modules, f"ultralytics.utils.callbacks.{name}", raising=False)
    callbacks = logger_callbacks(None, tmp_path)
    assert not any(
        f"ultralytics.utils.callbacks.{name}" in sys.modules for name in ("mlflow", "wb")
    )
    assert all(len(functions) == 1 for functions in callbacks.values())


def test_the_loggers_callbacks_are_added_and_offline_is_respected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("wb")
    module.callbacks = {"on_train_end": print}  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ultralytics.utils.callbacks.wb", module)
    for name in [name for name in os.environ if name.startswith(("WANDB_", "MLFLOW_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(os, "environ", {**os.environ, "MASKYOLO_OFFLINE": "1"})
    callbacks = logger_callbacks(Logger.WANDB, tmp_path)
    assert callbacks["on_train_end"][-1] is print
    assert len(callbacks["on_train_start"]) == 1
    assert os.environ["WANDB_MODE"] == "offline"
    assert os.environ["WANDB_DIR"] == str(tmp_path)


def test_a_logger_that_does_not_load_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("mlflow")
    module.callbacks = {}  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ultralytics.utils.callbacks.mlflow", module)
    with pytest.raises(DependencyError, match="--logger mlflow does not work"):
        logger_callbacks(Logger.MLFLOW, tmp_path)


def test_several_gpus_cannot_be_logged() -> None:
    with pytest.raises(MaskyoloError, match="leave out --logger"):
        check_several_gpus(Logger.MLFLOW)
