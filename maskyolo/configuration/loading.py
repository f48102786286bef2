"""Reads a configuration file, and says on which line it is wrong."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

from maskyolo.configuration.marks import duplicate_key, line_of, nodes_of
from maskyolo.core.options import Options
from maskyolo.core.parsing import ParseError, parse_yaml, read_text
from maskyolo.core.repeating import typed_value
from maskyolo.errors import MaskyoloError
from maskyolo.runtime.named_cameras import GivenSource, NamedCamera

__all__ = ["Configuration", "load_config"]

#: Largest configuration file, in bytes.
MAX_CONFIG = 1 << 20
#: What differs between cameras.
_OWN = ("zone", "line", "alert_after")


@dataclass(frozen=True)
class Configuration:
    """The content of a configuration file.

    Attributes:
        path: the file.
        cameras: the cameras, or sources without a name.
    """

    path: Path
    cameras: Sequence[GivenSource]
    _values: Mapping[str, Any]

    def settings(self, kind: type[Options]) -> dict[str, Any]:
        """Return the options of a command that the file sets, by field name.

        Nothing is tracked, counted or saved that the file does not mention.

        Args:
            kind: `DetectOptions` or `ServeOptions`.
        """
        hints = get_type_hints(kind)
        known = {field.name for field in fields(kind)}
        found = {
            name: typed_value(value, hints[name], f"{self.path}: {name}")
            for name, value in self._values.items()
            if name in known
        }
        defaults: dict[str, Any] = {"save": False}
        named = [camera for camera in self.cameras if isinstance(camera, NamedCamera)]
        if any(getattr(camera, name) is not None for camera in named for name in _OWN):
            defaults["track"] = True
        if any(camera.alert_after is not None for camera in named):
            defaults["alert_after"] = float("inf")
        return {name: value for name, value in defaults.items() if name in known} | found

    def without(self, names: Collection[str]) -> Configuration:
        """Return the configuration without cameras' own values of these options.

        They are given on the command line, which takes precedence.
        """
        unset: dict[str, Any] = dict.fromkeys(name for name in _OWN if name in names)
        cameras = [
            replace(camera, **unset) if isinstance(camera, NamedCamera) else camera
            for camera in self.cameras
        ]
        return replace(self, cameras=cameras)


def load_config(path: Path | str) -> Configuration:
    """Read a configuration file of `detect` and `serve`.

    Args:
        path: a YAML file; or the `args.yaml` of a run, or its folder.

    Raises:
        MaskyoloError: the file cannot be read, or has a wrong key or value; the message says on
            which line.

    Example:
        >>> config = load_config("cameras.yaml")
        >>> for frame, detections in detect(config.cameras, **config.settings(DetectOptions)):
        ...     print(detections.metadata["source"], len(detections))
    """
    from pydantic import ValidationError

    from maskyolo.configuration.schema import ConfigFile

    path = Path(path)
    path = path / "args.yaml" if path.is_dir() else path
    try:
        text = read_text(path, MAX_CONFIG)
        content = parse_yaml(text)
        root = nodes_of(text)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise MaskyoloError(f"cannot read {path}: {reason}", "check the path") from error
    except ParseError as error:
        separator = ", " if str(error).startswith("line ") else ": "
        raise MaskyoloError(f"cannot read {path}{separator}{error}", "correct the file") from error
    if twice := duplicate_key(root):
        raise _wrong(path, twice[1], twice[0], "occurs twice")
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise _wrong(path, 1, "", "does not consist of 'key: value' lines")
    try:
        read = ConfigFile.model_validate(_with_files(content, path.parent))
    except ValidationError as error:
        found = [_explain(one) for one in error.errors(include_url=False)]
        placed = sorted((line_of(root, place), _shown(place), what) for place, what in found)
        line, key, what = placed[0]
        more = f" (and {len(placed) - 1} more)" if len(placed) > 1 else ""
        raise _wrong(path, line, key, what + more) from None
    values = {name: value for name, value in read if value is not None}
    for name in ("alert_cmd", "alert_url", "mqtt", "notify"):
        if "***" in str(values.get(name, "")):
            what = "a part of it is hidden (***), as in args.yaml; write all of it"
            raise _wrong(path, line_of(root, [name]), name, what)
    cameras = _cameras(path, root, values)
    return Configuration(path, cameras, values)


def _with_files(content: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the content with the files of addresses that are next to the configuration."""
    cameras = content.get("cameras")
    if not isinstance(cameras, list):
        return content

    def near(camera: Any) -> Any:
        source = camera.get("source") if isinstance(camera, dict) else None
        name = source.get("file") if isinstance(source, dict) and len(source) == 1 else None
        is_near = isinstance(name, str) and "$" not in name and not Path(name).exists()
        return {**camera, "source": {"file": str(folder / str(name))}} if is_near else camera

    return {**content, "cameras": [near(camera) for camera in cameras]}


def _cameras(path: Path, root: Any, values: dict[str, Any]) -> list[GivenSource]:
    """Take the cameras, or sources without a name, out of the values."""
    entries, sources = values.pop("cameras", []), values.pop("source", [])
    values.pop("provenance", None)
    if entries and sources:
        line = line_of(root, ["source"])
        raise _wrong(path, line, "source", "cannot be used with cameras; use one of the two")
    names: set[str] = set()
    for index, entry in enumerate(entries):
        if entry.name in names:
            place = ("cameras", index, "name")
            what = f"two cameras are called '{entry.name}'"
            raise _wrong(path, line_of(root, place), _shown(place), what)
        names.add(entry.name)
    named = [
        NamedCamera(entry.name, entry.source, entry.zone, entry.line, entry.alert_after)
        for entry in entries
    ]
    return [*named, *sources]


def _explain(error: Any) -> tuple[tuple[str | int, ...], str]:
    """Return the place of an error of pydantic, and what is wrong, without passwords."""
    kind, place, context = error["type"], error["loc"], error.get("ctx", {})
    shown = repr(error["input"])[:40]
    if kind == "extra_forbidden":
        known = _keys(place)
        close = difflib.get_close_matches(str(place[-1]), known, 1)
        advice = f"; did you mean {close[0]}?" if close else f"; known: {', '.join(known)}"
        return place, "is not a known key" + (advice if close or len(known) < 10 else "")
    if kind == "missing":
        return place, "is missing"
    if kind == "value_error":
        return place, str(context["error"])
    wanted = {
        "bool_type": "must be true or false",
        "int_type": "must be a whole number",
        "float_type": "must be a number",
        "string_type": "must be text",
        "list_type": "must be a list",
        "dict_type": "must be 'key: value' lines",
        "model_type": "must be 'key: value' lines",
        "model_attributes_type": "must be 'key: value' lines",
        "greater_than_equal": f"must be at least {context.get('ge')}",
        "less_than_equal": f"must be at most {context.get('le')}",
        "literal_error": f"must be one of {context.get('expected', '')}".replace("'", ""),
        "too_short": "must not be empty",
    }
    if kind in ("dict_type", "model_type", "model_attributes_type"):
        shown = f"a {type(error['input']).__name__}"  # an address, perhaps
    return place, f"{wanted.get(kind, error['msg'][:1].lower() + error['msg'][1:])}, got {shown}"


def _keys(place: Sequence[str | int]) -> list[str]:
    from maskyolo.configuration.schema import CameraEntry, ConfigFile

    model = CameraEntry if place[0] == "cameras" and len(place) > 1 else ConfigFile
    return list(model.model_fields)


def _shown(place: Sequence[str | int]) -> str:
    """Return a place as text, such as `cameras[0].zone`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)
    return text.removeprefix(".")


def _wrong(path: Path, line: int, key: str, what: str) -> MaskyoloError:
    return MaskyoloError(f"{path}, line {line}: {key}{': ' if key else ''}{what}")
