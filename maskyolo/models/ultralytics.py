"""Imports Ultralytics offline and silently, without touching the user's Ultralytics settings."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

from maskyolo.core.installation import install_command
from maskyolo.core.plotting import import_matplotlib
from maskyolo.errors import DependencyError
from maskyolo.models.trust import check_trust
from maskyolo.models.weights import cache_folder, offline

__all__ = ["import_ultralytics", "no_downloads", "only_trusted", "replaced", "silenced"]

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
    # `offline` must not take our own YOLO_OFFLINE, set next, for the user's
    os.environ.setdefault("MASKYOLO_OFFLINE", "1" if offline() else "0")
    os.environ.update(_ENVIRONMENT)
    os.environ.setdefault("YOLO_CONFIG_DIR", str(cache_folder()))
    try:
        import_matplotlib()
        import ultralytics
        from ultralytics import utils
        from ultralytics.utils import checks, events
    except ImportError as error:
        raise DependencyError(
            f"{what} needs Ultralytics, which is not installed ({error})",
            f"run: {install_command('train')}",
        ) from error
    utils.ONLINE = checks.ONLINE = events.ONLINE = False
    checks.AUTOINSTALL = False
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
def replaced(module: ModuleType, **functions: Any) -> Iterator[None]:
    """Replace functions or other values of a module in this context.

    Raises:
        DependencyError: the module has no such name, so this Ultralytics works differently.
    """
    missing = [name for name in functions if not hasattr(module, name)]
    if missing:
        raise DependencyError(
            f"this version of Ultralytics is not supported: {module.__name__} lacks {missing[0]}",
            f"run: {install_command('train')}",
        )
    originals = {name: getattr(module, name) for name in functions}
    vars(module).update(functions)
    try:
        yield
    finally:
        vars(module).update(originals)


@contextmanager
def only_trusted(trust: bool = False) -> Iterator[None]:
    """Let PyTorch unpickle only trusted checkpoints in this context.

    This checks the bytes that are unpickled. A check of the path beforehand is not enough, because
    Ultralytics may open another file: it strips spaces and quotes from a path, and turns
    `yolov5n.pt` into `yolov5nu.pt`.

    Args:
        trust: whether the user trusts the authors of all of them.
    """
    import torch

    load = torch.load

    def checked(file: Any, *args: Any, **kwargs: Any) -> Any:
        if not trust and not kwargs.get("weights_only") and isinstance(file, (str, os.PathLike)):
            path = Path(file)
            content = path.read_bytes()
            check_trust(path, content=content)
            file = BytesIO(content)
        return load(file, *args, **kwargs)

    with replaced(torch, load=checked):
        yield


@contextmanager
def no_downloads() -> Iterator[None]:
    """Make Ultralytics' downloads fail, and let it find no weights of its own.

    Before training on a GPU, it would otherwise download a model to test mixed precision, or
    unpickle a file of that name in its folder for weights, which may be in the working folder.
    """
    from ultralytics import utils
    from ultralytics.utils import downloads

    def refused(url: Any, *_: Any, **__: Any) -> None:
        raise ConnectionError(f"refused to download {url}: maskyolo trains offline")

    with (
        TemporaryDirectory() as empty,
        replaced(downloads, safe_download=refused, get_github_assets=refused),
        replaced(utils, WEIGHTS_DIR=Path(empty)),
    ):
        yield


def _place_fonts(folder: Path) -> None:
    """Provide a font for Ultralytics' plots, which would otherwise download Arial."""
    font = Path(import_matplotlib().get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    for name in ("Arial.ttf", "Arial.Unicode.ttf"):
        if not (folder / name).exists():
            part = folder / f"{name}.{os.getpid()}.part"
            shutil.copyfile(font, part)
            part.replace(folder / name)
