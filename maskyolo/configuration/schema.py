"""What a configuration file may contain, as pydantic models made of the options."""

from __future__ import annotations

import os
import re
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model
from pydantic.json_schema import WithJsonSchema

from maskyolo.core.options import Choice, OptionInfo, option_info
from maskyolo.core.parsing import ParseError, read_text
from maskyolo.errors import MaskyoloError
from maskyolo.live.options import ServeOptions
from maskyolo.runtime.areas import Areas
from maskyolo.runtime.live_sources import PROTOCOLS
from maskyolo.runtime.options import DetectOptions

__all__ = ["LEFT_OUT", "CameraEntry", "ConfigFile", "json_schema"]

#: Options that are only given on the command line: they name other settings, or what to trust.
LEFT_OUT = frozenset({"args", "trust"})
#: Largest file with an address, in bytes.
_MAX_ADDRESS = 64 << 10
_VARIABLE = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)\}?")

_POINTS = {
    "anyOf": [
        {"type": "string"},
        {
            "type": "array",
            "items": {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2},
        },
        {"type": "null"},
    ]
}
_SOURCE = {
    "anyOf": [
        {"type": "string"},
        {"type": "integer", "minimum": 0},
        *(
            {
                "type": "object",
                "properties": {key: {"type": "string", "description": text}},
                "required": [key],
                "additionalProperties": False,
            }
            for key, text in (
                ("env", "Name of the environment variable that contains the address."),
                ("file", "File that contains the address; it may begin with ${VARIABLE}."),
            )
        ),
    ]
}


def _points(kind: str) -> BeforeValidator:
    """Return what reads a zone or line: text as on the command line, or a list of points."""

    def parse(value: Any) -> str | None:
        if isinstance(value, list):
            numbers = [number for point in value for number in _pair(point)]
            value = ",".join(f"{number:.10g}" for number in numbers)
        if value is None:
            return None
        if not isinstance(value, str):
            raise ValueError(  # noqa: TRY004  pydantic reports only a ValueError
                f"must be points, such as 0,0,1,0,1,1, got {value!r:.40}"
            )
        try:
            Areas(**{kind: value})
        except MaskyoloError as error:
            problem = error.problem.replace(f"cannot read --{kind} ", "cannot read ")
            raise ValueError(f"{problem}; {error.remedy}") from error
        return value

    return BeforeValidator(parse)


_Zone = Annotated[str | None, _points("zone"), WithJsonSchema(_POINTS)]
_Line = Annotated[str | None, _points("line"), WithJsonSchema(_POINTS)]


def _pair(point: Any) -> tuple[float, float]:
    if not isinstance(point, list) or len(point) != 2 or not all(map(_is_number, point)):
        raise ValueError(f"each point must be [x, y], got {point!r:.40}")
    return point[0], point[1]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _source(given: Any) -> str:
    """Return the address of a camera: literal, from a variable or from a file."""
    value = given
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, dict) and len(value) == 1 and isinstance(next(iter(value.values())), str):
        ((key, name),) = value.items()
        if key == "env":
            value = _from_variable(name)
        elif key == "file":
            value = _from_file(name)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(
            "must be a camera number, an address, {env: VARIABLE} or {file: NAME}, "
            f"got {_kind_of(value)}"
        )
    value = value.strip()
    if "***" in value:
        raise ValueError("the password is hidden (***), as in args.yaml; write the whole address")
    scheme = value.partition("://")[0].lower()
    if "://" in value and scheme not in {*PROTOCOLS, "file"}:
        raise ValueError(
            f"addresses that begin with '{scheme[:20]}://' are not supported; "
            f"use one of {', '.join(sorted(PROTOCOLS))}"
        )
    if "://" in value and scheme != "file":
        _check_address(value)
    return value


def _check_address(value: str) -> None:
    try:
        urllib.parse.urlsplit(value).port  # noqa: B018  raises
    except ValueError:  # its text may contain part of a password
        raise ValueError(
            "is not a valid address; write / and @ in a password as %2F and %40"
        ) from None


def _kind_of(value: Any) -> str:
    """Describe a value that may contain a password."""
    if isinstance(value, dict):
        return f"the keys {', '.join(map(str, value))}"[:60] if value else "nothing"
    return "nothing" if value is None or value == "" else f"a {type(value).__name__}"


def _from_variable(name: str) -> str:
    value = os.environ.get(name, "")
    if not value.strip():
        raise ValueError(f"the environment variable {name} is not set")
    return value


def _from_file(name: str) -> str:
    """Return the address in a file, its only line; `${VARIABLE}` in its name is replaced."""
    for variable in _VARIABLE.findall(name):
        _from_variable(variable)
    path = Path(_VARIABLE.sub(lambda found: os.environ[found[1]], name))
    try:
        lines = [line.strip() for line in read_text(path, _MAX_ADDRESS).splitlines()]
    except OSError as error:
        raise ValueError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from error
    except ParseError as error:
        raise ValueError(f"cannot read {path}: {error}") from error
    found = [line for line in lines if line and not line.startswith("#")]
    if len(found) != 1:
        raise ValueError(f"{path} must contain one line, the address; it has {len(found)}")
    return found[0]


def _name(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[^\x00-\x1f\x7f/\\]{1,64}", value):
        raise ValueError(f"must be text of up to 64 characters without slashes, got {value!r:.40}")
    return value


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class CameraEntry(_Model):
    """A camera: its name, its address, and what differs from the other cameras."""

    name: Annotated[
        str,
        BeforeValidator(_name),
        Field(description="Its name in everything that is written and shown."),
    ]
    source: Annotated[
        str,
        BeforeValidator(_source),
        WithJsonSchema(_SOURCE),
        Field(
            description="Its number or address; {env: VARIABLE} or {file: NAME} if the address "
            "contains a password."
        ),
    ]
    zone: Annotated[_Zone, Field(description="Its own zone.")] = None
    line: Annotated[_Line, Field(description="Its own line.")] = None
    alert_after: Annotated[
        float | None,
        Field(ge=0, description="Its own time until an alert, in seconds; .inf: no alerts."),
    ] = None


def _fields() -> dict[str, Any]:
    """Return the options of both commands as fields, with those of `detect` first."""
    found: dict[str, Any] = {}
    for kind in (DetectOptions, ServeOptions):
        hints = get_type_hints(kind)
        for field in fields(kind):
            if field.name not in LEFT_OUT | found.keys():
                info = option_info(field)
                found[field.name] = _field(field.name, hints[field.name], info)
    return found


def _field(name: str, hint: Any, info: OptionInfo) -> tuple[Any, Any]:
    kind = {"zone": _Zone, "line": _Line}.get(name) or _in_yaml(hint) | None
    return kind, Field(default=None, description=info.help, ge=info.minimum, le=info.maximum)


def _in_yaml(hint: Any) -> Any:
    """Return the type that a value of an option has in YAML."""
    parts = [part for part in get_args(hint) if part is not NoneType]
    origin = get_origin(hint)
    if origin is Mapping or (isinstance(origin, type) and issubclass(origin, Mapping)):
        return dict[str, str]
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return list[_in_yaml(parts[0])]  # type: ignore[misc]
    if parts:
        kinds = list(dict.fromkeys(map(_in_yaml, parts)))
        return Union[tuple(kinds)]  # noqa: UP007  made at run time
    if isinstance(hint, type) and issubclass(hint, Choice):
        return Literal[tuple(map(str, hint))]
    return str if hint is Path else hint


#: Sources as `args.yaml` records them.
_Sources = Annotated[
    list[str] | None,
    BeforeValidator(
        lambda value: [_source(one) for one in (value if isinstance(value, list) else [value])]
    ),
    WithJsonSchema({"anyOf": [_SOURCE, {"type": "array", "items": _SOURCE}]}),
]

ConfigFile: type[BaseModel] = create_model(
    "ConfigFile",
    __base__=_Model,
    __doc__="Configuration of `maskyolo detect` and `maskyolo serve`.",
    cameras=(
        list[CameraEntry] | None,
        Field(default=None, min_length=1, max_length=64, description="The cameras."),
    ),
    source=(
        _Sources,
        Field(default=None, description="What to read, as in the args.yaml of a run."),
    ),
    provenance=(
        dict[str, Any] | None,
        Field(default=None, description="Ignored; args.yaml of a run has it."),
    ),
    **_fields(),
)


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of a configuration file, for editors."""
    schema = ConfigFile.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
