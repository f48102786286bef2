"""Read the settings of an earlier run back from its `args.yaml`, which may come from anyone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from maskyolo.core.parsing import load_yaml
from maskyolo.errors import MaskyoloError

__all__ = ["ARGS", "PROVENANCE", "args_file", "load_args", "typed_value"]

#: The file in a run's folder that records its settings.
ARGS = "args.yaml"
#: Its key for what the run was made with; it is not a setting.
PROVENANCE = "provenance"


def args_file(run: Path | str) -> Path:
    """Return the `args.yaml` of a run, given as the file or as the run's folder."""
    path = Path(run)
    return path / ARGS if path.is_dir() else path


def load_args(run: Path | str) -> dict[str, Any]:
    """Return the content of a run's `args.yaml`.

    Args:
        run: the file, or the run's folder.

    Raises:
        MaskyoloError: it cannot be read, or does not consist of `name: value` lines.
    """
    path = args_file(run)
    content = load_yaml(path, MaskyoloError, "give the args.yaml of an earlier run, or its folder")
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise MaskyoloError(
            f"{path} does not consist of 'name: value' lines",
            "give the args.yaml of an earlier run, or its folder",
        )
    return content


def typed_value(value: Any, hint: Any, where: str) -> Any:
    """Return a value from YAML as the type of an option.

    Args:
        value: the value.
        hint: the option's type, such as `int | None` or `Path | str`.
        where: what to call the value in an error.

    Raises:
        MaskyoloError: it has another type.
    """
    parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    for part in parts:
        kind = get_origin(part) or part
        if kind in (NoneType, bool, int) and type(value) is kind:
            return value
        if kind is float and type(value) in (int, float):
            return value
        if kind is Mapping and isinstance(value, dict) and _all_text(value, value.values()):
            return value
        if kind is tuple and isinstance(value, list):
            return tuple(value)
        if kind is Sequence and isinstance(value, list) and _all_text(value):
            return value
    texts = [part for part in parts if isinstance(part, type) and issubclass(part, (str, Path))]
    if texts and isinstance(value, str):
        return Path(value) if texts == [Path] else value
    raise MaskyoloError(f"{where} has a wrong value: {str(value)[:40]!r}", "correct the file")


def _all_text(*groups: Any) -> bool:
    return all(isinstance(item, str) for group in groups for item in group)
