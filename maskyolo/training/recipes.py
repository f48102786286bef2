"""Recipes: settings for training, by name or file."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from maskyolo.core.files import package_folder
from maskyolo.core.parsing import load_yaml
from maskyolo.core.repeating import ARGS
from maskyolo.errors import MaskyoloError

__all__ = ["SETTINGS", "find_recipe", "load_recipe", "read_recipe"]

#: What a detector's recipe may set: Ultralytics' settings of a training under its names, and
#: `blend`. A recipe may come from anyone, so nothing is among them that names a file to load
#: (except `model` and `pretrained`, which are checked), or a place to write to.
# fmt: off
SETTINGS = frozenset({
    "model", "pretrained", "blend", "epochs", "time", "patience", "batch", "imgsz", "workers",
    "cache", "seed", "deterministic", "amp", "compile", "channels_last", "fraction", "rect",
    "multi_scale", "freeze", "single_cls", "cls_remap", "optimizer", "lr0", "lrf", "cos_lr",
    "momentum", "weight_decay", "warmup_epochs", "warmup_momentum", "warmup_bias_lr", "nbs",
    "dropout", "box", "cls", "cls_pw", "dfl", "hsv_h", "hsv_s", "hsv_v", "degrees", "translate",
    "scale", "shear", "perspective", "flipud", "fliplr", "bgr", "mosaic", "close_mosaic", "mixup",
    "cutmix", "copy_paste", "copy_paste_mode", "iou", "max_det",
})
# fmt: on


def find_recipe(recipe: Path | str) -> Path:
    """Return the YAML file of a recipe: an existing file, or the one of that name in `configs/`.

    `configs/` is looked for in the installed package and in the repository.

    Raises:
        MaskyoloError: there is no such file or name; the message lists the known names.
    """
    path = Path(recipe)
    if path.is_file():
        return path
    package = package_folder()
    folders = [
        folder for folder in (package / "configs", package.parent / "configs") if folder.is_dir()
    ]
    for folder in folders:
        if path.name == str(recipe) and (folder / f"{recipe}.yaml").is_file():
            return folder / f"{recipe}.yaml"
    names = sorted({file.stem for folder in folders for file in folder.glob("*.yaml")})
    raise MaskyoloError(
        f"no recipe '{recipe}': neither a file nor a known name",
        f"give a YAML file or a name (names: {', '.join(names) or 'none'})",
    )


def load_recipe(recipe: Path | str) -> dict[str, Any]:
    """Return a detector recipe's settings, which are among `SETTINGS`; see `find_recipe`.

    Raises:
        MaskyoloError: no such recipe, not a YAML mapping, or a setting not in `SETTINGS`.
    """
    return read_recipe(recipe, SETTINGS)


def read_recipe(recipe: Path | str, settings: Collection[str]) -> dict[str, Any]:
    """Return a recipe's settings, of which only `settings` are allowed; see `find_recipe`.

    The `args.yaml` of a run is a recipe too: it also contains what is not a training setting.

    Raises:
        MaskyoloError: no such recipe, not a YAML mapping, or a setting not in `settings`.
    """
    path = find_recipe(recipe)
    content = load_yaml(path, MaskyoloError)
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise MaskyoloError(
            f"recipe {path} does not consist of 'name: value' lines",
            "see configs/detector.yaml for an example",
        )
    if path.name == ARGS:
        return {key: content[key] for key in content if key in settings}
    unknown = sorted(str(key) for key in content if key not in settings)
    if unknown:
        raise MaskyoloError(
            f"recipe {path}: {', '.join(unknown)} cannot be set in a recipe",
            "correct the name or remove the line",
        )
    return content


def take_blend(args: dict[str, Any]) -> float:
    """Remove and return a recipe's `blend`: the weight of the trained model in the average."""
    blend = args.pop("blend", 1.0)
    if not isinstance(blend, (int, float)) or not 0 < blend <= 1:
        raise MaskyoloError(
            f"blend must be above 0 and at most 1, got {blend}", "correct it in the recipe"
        )
    return float(blend)
