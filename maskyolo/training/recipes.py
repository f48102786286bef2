"""Recipes: settings for training, by name or file."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml

from maskyolo.core.files import package_folder
from maskyolo.errors import MaskyoloError
from maskyolo.models.ultralytics import import_ultralytics

__all__ = ["find_recipe", "load_recipe", "read_recipe"]


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
    """Return a detector recipe's settings under Ultralytics' names, and `blend`.

    See `find_recipe`, and `blend_checkpoint` of the trainer for `blend`.

    Raises:
        MaskyoloError: no such recipe, not a YAML mapping, or a setting that Ultralytics does not
            have or that comes from the run's options.
    """
    import_ultralytics("reading a recipe")
    from ultralytics.utils import DEFAULT_CFG_DICT

    owned = {
        "task",
        "mode",
        "data",
        "project",
        "name",
        "exist_ok",
        "resume",
        "save_dir",
        "save",
        "val",
        "plots",
    }
    return read_recipe(recipe, set(DEFAULT_CFG_DICT) - owned | {"blend"})


def read_recipe(recipe: Path | str, settings: Collection[str]) -> dict[str, Any]:
    """Return a recipe's settings, of which only `settings` are allowed; see `find_recipe`.

    Raises:
        MaskyoloError: no such recipe, not a YAML mapping, or a setting not in `settings`.
    """
    path = find_recipe(recipe)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise MaskyoloError(f"cannot read recipe {path}: {reason}", "correct the file") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise MaskyoloError(
            f"recipe {path} does not consist of 'name: value' lines",
            "see configs/detector.yaml for an example",
        )
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
