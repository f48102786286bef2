"""Import Ultralytics so that it stays off the network, silent, and away from the user's own Ultralytics settings."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from maskyolo.errors import DependencyError
from maskyolo.manifest import cache_folder

__all__ = ["import_ultralytics", "no_downloads", "silenced"]

#: Read by Ultralytics when it is first imported; processes it starts itself (several GPUs) inherit them.
_ENVIRONMENT = {
    "YOLO_OFFLINE": "True",  # no look-up of a host, no version check, no analytics, no download
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
    """Return the package `ultralytics`, imported offline and with settings in a folder of our own in the user's cache.

    Where a program has imported Ultralytics before, its analytics and integrations are switched off in this process only;
    nothing of the user's settings is written.

    Raises:
        DependencyError: Ultralytics is not installed; `what` says what needs it.
    """
    os.environ.update(_ENVIRONMENT)
    os.environ.setdefault("YOLO_CONFIG_DIR", str(cache_folder()))
    try:
        import ultralytics
        from ultralytics import utils
        from ultralytics.utils import checks, events
    except ImportError as error:
        raise DependencyError(
            f'{what} needs Ultralytics, which is not here ({error}); run: pip install "maskyolo[train]"'
        ) from error
    utils.ONLINE = checks.ONLINE = events.ONLINE = False
    events.events.enabled = False
    for key in _INTEGRATIONS:
        if key in utils.SETTINGS:
            dict.__setitem__(
                utils.SETTINGS, key, False
            )  # its own method would write the settings file
    _place_fonts(Path(utils.USER_CONFIG_DIR))
    module: ModuleType = ultralytics
    return module


@contextmanager
def silenced() -> Iterator[None]:
    """Keep Ultralytics from printing: its log and its progress bars."""
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
    """Let Ultralytics' downloads fail at once: before it trains on a GPU it would fetch a model to try 16-bit floats with."""
    from ultralytics.utils import downloads

    def refused(url: Any, *_: Any, **__: Any) -> None:
        raise ConnectionError(f"no download of {url}: maskyolo trains offline")

    original = downloads.safe_download, downloads.get_github_assets
    downloads.safe_download = downloads.get_github_assets = refused
    try:
        yield
    finally:
        downloads.safe_download, downloads.get_github_assets = original


def _place_fonts(folder: Path) -> None:
    """Give Ultralytics' plots a font that is here, where it would download Arial."""
    import matplotlib as mpl

    font = Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    for name in ("Arial.ttf", "Arial.Unicode.ttf"):
        if not (folder / name).exists():
            part = folder / f"{name}.{os.getpid()}.part"
            shutil.copyfile(font, part)
            part.replace(folder / name)
