"""Imports Ultralytics offline and silently, without touching the user's Ultralytics settings."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from maskyolo.errors import DependencyError
from maskyolo.models.weights import cache_folder

__all__ = ["import_ultralytics", "no_downloads", "silenced"]

#: Read by Ultralytics on import; the processes it starts (for several GPUs) inherit these values.
_ENVIRONMENT = {
    "YOLO_OFFLINE": "True",  # no DNS lookup, version check, analytics or download
    "YOLO_AUTOINSTALL": "False",  # never runs pip on its own
    "YOLO_VERBOSE": "False",
    "ULTRALYTICS_API_KEY": "",  # no upload to the Ultralytics Platform
}

_INTEGRATIONS = (
    "sync",
    "clearml",
    "comet",
    "dvc",
    "mlflow",
    "neptune",
    "raytune",
    "tensorboard",
    "wandb",
    "hub",
)


def import_ultralytics(what: str = "training") -> ModuleType:
    """Return the package `ultralytics`, imported offline, with its settings in our cache folder.

    If the program has already imported Ultralytics, its analytics and integrations are disabled for
    this process only; the user's settings file is not changed.

    Args:
        what: the feature that needs it, for the error message.

    Raises:
        DependencyError: Ultralytics is not installed.
    """
    os.environ.update(_ENVIRONMENT)
    os.environ.setdefault("YOLO_CONFIG_DIR", str(cache_folder()))
    try:
        import ultralytics
        from ultralytics import utils
        from ultralytics.utils import checks, events
    except ImportError as error:
        raise DependencyError(
            f"{what} needs Ultralytics, which is not installed ({error})",
            'run: pip install "maskyolo[train]"',
        ) from error
    utils.ONLINE = checks.ONLINE = events.ONLINE = False
    events.events.enabled = False
    for key in _INTEGRATIONS:
        if key in utils.SETTINGS:
            # SettingsManager's own __setitem__ would write the settings file
            dict.__setitem__(utils.SETTINGS, key, False)
    _place_fonts(Path(utils.USER_CONFIG_DIR))
    module: ModuleType = ultralytics
    return module


@contextmanager
def silenced() -> Iterator[None]:
    """Disable Ultralytics' logging and progress bars."""
    from ultralytics.utils import LOGGER, TQDM

    level, begin = LOGGER.level, TQDM.__init__

    def disabled(self: Any, *args: Any, **kwargs: Any) -> None:
        begin(self, *args, **{**kwargs, "disable": True})

    LOGGER.setLevel("CRITICAL")
    TQDM.__init__ = disabled
    try:
        yield
    finally:
        LOGGER.setLevel(level)
        TQDM.__init__ = begin


@contextmanager
def no_downloads() -> Iterator[None]:
    """Make Ultralytics' downloads fail.

    Before training on a GPU, it would otherwise download a model to test mixed precision.
    """
    from ultralytics.utils import downloads

    def refused(url: Any, *_: Any, **__: Any) -> None:
        raise ConnectionError(f"refused to download {url}: maskyolo trains offline")

    original = downloads.safe_download, downloads.get_github_assets
    downloads.safe_download = downloads.get_github_assets = refused
    try:
        yield
    finally:
        downloads.safe_download, downloads.get_github_assets = original


def _place_fonts(folder: Path) -> None:
    """Provide a font for Ultralytics' plots, which would otherwise download Arial."""
    import matplotlib as mpl

    font = Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    for name in ("Arial.ttf", "Arial.Unicode.ttf"):
        if not (folder / name).exists():
            part = folder / f"{name}.{os.getpid()}.part"
            shutil.copyfile(font, part)
            part.replace(folder / name)
