"""Settings of a classifier's training, merged from the options, the recipe and its defaults."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

from maskyolo.core.choices import Architecture, Optimizer
from maskyolo.core.options import Options, option
from maskyolo.errors import MaskyoloError
from maskyolo.training.augment import Augmentation
from maskyolo.training.recipes import read_recipe

__all__ = ["ClassifierSettings", "load_settings"]


@dataclass(frozen=True, kw_only=True)
class ClassifierSettings(Options):
    """A recipe's settings, as in `configs/classifier.yaml`, except those of `Augmentation`."""

    arch: Architecture = option(Architecture.MOBILENET_V2, help="Backbone.")
    imgsz: int = option(224, help="Sides of a crop in pixels.", minimum=32)
    margin: float = option(
        0,
        help="Margin added on each side of a face's box, as a fraction of its width and height.",
        minimum=0,
        maximum=1,
    )
    crops: int = option(
        20_000,
        help="Number of augmented crops drawn from the training faces, evenly from both classes.",
        minimum=2,
    )
    epochs: int = option(20, help="Number of passes over the crops.", minimum=1)
    batch: int = option(32, help="Crops per step.", minimum=1)
    optimizer: Optimizer = option(Optimizer.ADAM, help="Optimizer.")
    lr0: float = option(0.0001, help="Learning rate at the start.", minimum=0, maximum=10)
    decay: float = option(
        0.000005,
        help="Decay of the learning rate per step: lr0 / (1 + decay * steps).",
        minimum=0,
        maximum=1,
    )
    dropout: float = option(0.5, help="Dropout of the head.", minimum=0, maximum=1)
    unfreeze: int = option(
        0, help="Number of the backbone's last blocks to train as well.", minimum=0
    )
    seed: int = option(0, help="Seed of all random choices.", minimum=0)
    workers: int = option(2, help="Threads that read and augment images.", minimum=1)
    half: bool = option(True, help="Store the weights of the ONNX file as 16-bit floats.")


def load_settings(
    recipe: Path | str = "classifier", **given: Any
) -> tuple[ClassifierSettings, Augmentation]:
    """Return the settings for a training.

    Args:
        recipe: name or file; settings that it lacks come from `configs/classifier.yaml`.
        given: settings that override the recipe, unless they are None.

    Raises:
        MaskyoloError: no such recipe, or a setting that is unknown, out of its range or of the
            wrong type.
    """
    kinds: tuple[type[Options], ...] = (ClassifierSettings, Augmentation)
    hints = {
        field.name: get_type_hints(kind)[field.name] for kind in kinds for field in fields(kind)
    }
    values = read_recipe("classifier", hints) | read_recipe(recipe, hints)
    values |= {name: value for name, value in given.items() if value is not None}
    values = {name: _typed(name, value, hints[name]) for name, value in values.items()}

    def pick(kind: type[Options]) -> dict[str, Any]:
        return {field.name: values[field.name] for field in fields(kind)}

    return ClassifierSettings(**pick(ClassifierSettings)), Augmentation(**pick(Augmentation))


def _typed(name: str, value: Any, hint: Any) -> Any:
    """Return a value that has the type `hint`, pairs as tuples, or raise a `MaskyoloError`."""
    if hint is int:
        valid, wanted = type(value) is int, "a whole number"
    elif hint is float:
        valid, wanted = _is_number(value), "a number"
    elif hint is bool:
        valid, wanted = type(value) is bool, "true or false"
    elif getattr(hint, "__origin__", None) is tuple:
        valid = isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))
        value, wanted = tuple(value) if valid else value, "a list of two numbers"
    else:  # an enum, which validates itself
        return value
    if not valid:
        raise MaskyoloError(f"{name} must be {wanted}, got {value}", "correct the recipe")
    return value


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)
