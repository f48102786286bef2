"""Options: each is declared once, as a field of a frozen dataclass, and used in four places.

The library validates it, the command line offers it (`maskyolo.cli.options`), `args.yaml` records
it, and the reference documents it. A public function accepts an options object, its fields as
keywords, or both, in which case the keywords take precedence:

    >>> @dataclass(frozen=True, kw_only=True)
    ... class GreetOptions(Options):
    ...     times: int = option(1, help="How often to greet.", minimum=1)
    >>> @takes_options(GreetOptions)
    ... def greet(name: str, options: GreetOptions | None = None, **settings: Any) -> str:
    ...     chosen = GreetOptions.merge(options, settings)
    ...     return " ".join(["hello"] * chosen.times + [name])
    >>> greet("you", times=2)
    'hello hello you'
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from numbers import Real
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin, get_type_hints

from maskyolo.core.repeating import args_file, load_args, typed_value
from maskyolo.errors import MaskyoloError

if TYPE_CHECKING:
    from typing import Self

__all__ = [
    "Choice",
    "OptionInfo",
    "Options",
    "Panel",
    "option",
    "option_info",
    "option_of",
    "takes_options",
]

_Function = TypeVar("_Function", bound=Callable[..., Any])
_Options = TypeVar("_Options", bound="Options")
_UNSET: Any = object()


class Choice(StrEnum):
    """Base class of enums of fixed choices, such as backends; each member equals its text.

    Examples:
        >>> class Color(Choice):
        ...     RED = "red"
        >>> str(Color.RED), Color.RED == "red"
        ('red', True)
    """

    @classmethod
    def advice(cls, value: str) -> MaskyoloError | None:  # noqa: ARG003  # for subclasses
        """Return a specific error for an unsupported value that users are likely to try, or None.

        Subclasses override this to suggest an alternative. For any other unknown value, the error
        lists the choices.
        """
        return None

    @classmethod
    def parse(cls, value: Any, name: str) -> Self:
        """Return the member for `value`.

        Args:
            value: the member, or its text.
            name: name of the option, for the message.

        Raises:
            MaskyoloError: `value` is not one of the choices.
        """
        try:
            return cls(value)
        except ValueError:
            known = ", ".join(str(member) for member in cls)
            unknown = MaskyoloError(f"unknown {name} '{value}'", f"choose one of {known}")
            raise cls.advice(str(value)) or unknown from None


class Panel(StrEnum):
    """A group of options in a command's help and reference, in the order of both."""

    INPUT = "Input"
    MODEL = "Model"
    DETECTION = "Detection"
    LABELING = "Labeling"
    SPLITS = "Splits and scenes"
    TRAINING = "Training"
    TWO_STAGE = "Two-stage pipeline"
    MEASURING = "Measuring"
    TRACKING = "Tracking and counting"
    ALERTS = "Alerts"
    DISPLAY = "Display"
    OUTPUT = "Output"
    SERVER = "Server"
    ADVANCED = "Advanced"


@dataclass(frozen=True)
class OptionInfo:
    """The metadata of an option, in addition to its type and default.

    Attributes:
        help: one or two sentences for the command's help and the reference.
        minimum: smallest value allowed, inclusive.
        maximum: largest value allowed, inclusive.
        flags: command-line flags, such as `("--conf", "--confidence")`; if empty, the field's name
            with hyphens.
        recorded: whether `args.yaml` records it; false for options that do not affect the results.
        repeated: whether `args` sets it from another run's `args.yaml`, which may come from anyone;
            false for what runs a program, or writes outside the run's folder.
        cli_type: the type that the command line parses, if it differs from the field's.
        cli_default: the command line's default, if it differs from the library's.
        cli_parse: converts the parsed value to the field's value; if it raises `ValueError`, that
            is reported as a usage error.
        panel: the `Panel` of the command's help that lists it; if empty, the last one.
    """

    help: str
    minimum: float | None = None
    maximum: float | None = None
    flags: tuple[str, ...] = ()
    recorded: bool = True
    repeated: bool = True
    cli_type: Any = None
    cli_default: Any = _UNSET
    cli_parse: Callable[[Any], Any] | None = None
    panel: str = ""

    @property
    def has_cli_default(self) -> bool:
        """Whether the command line has a default of its own."""
        return self.cli_default is not _UNSET


def option(
    default: Any,
    *,
    help: str,  # noqa: A002  # the usual name for it
    minimum: float | None = None,
    maximum: float | None = None,
    flags: tuple[str, ...] = (),
    recorded: bool = True,
    repeated: bool = True,
    cli_type: Any = None,
    cli_default: Any = _UNSET,
    cli_parse: Callable[[Any], Any] | None = None,
    panel: str = "",
) -> Any:
    """Declare a field of an `Options` class; see `OptionInfo` for the arguments."""
    info = OptionInfo(
        help, minimum, maximum, flags, recorded, repeated, cli_type, cli_default, cli_parse, panel
    )
    return dataclasses.field(default=default, metadata={"option": info})


def option_info(field: dataclasses.Field[Any]) -> OptionInfo:
    """Return the `OptionInfo` of a field that `option` declared."""
    info: OptionInfo = field.metadata["option"]
    return info


def option_of(kind: type[Options], name: str, **changes: Any) -> Any:
    """Redeclare a field of `kind`, for a class that shares only some of its fields.

    Args:
        kind: the class that declares the field.
        name: the field's name.
        changes: what differs: `default`, or attributes of `OptionInfo` such as `help`.
    """
    field = next(field for field in fields(kind) if field.name == name)
    default = changes.pop("default", field.default)
    info = replace(option_info(field), **changes)
    return dataclasses.field(default=default, metadata={"option": info})


@dataclass(frozen=True, kw_only=True)
class Options:
    """Base class of all options objects; checks ranges and choices on creation.

    `class SourceOptions(Options, panel=Panel.INPUT)` sets the panel of the fields that the class
    declares, unless a field has a panel of its own.

    Raises:
        MaskyoloError: a value is out of its range, text where a number is needed, or not one of a
            fixed set of choices.
    """

    def __init_subclass__(cls, *, panel: str = "", **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for field in vars(cls).values():  # still fields: the dataclass is made after this
            if isinstance(field, dataclasses.Field) and not option_info(field).panel:
                info = replace(option_info(field), panel=panel)
                field.metadata = MappingProxyType({"option": info})

    def __post_init__(self) -> None:
        choices = _choices(type(self))
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None:
                continue
            if choice := choices.get(field.name):
                object.__setattr__(self, field.name, choice.parse(value, field.name))
            else:
                _check_range(field.name, value, option_info(field))

    @classmethod
    def merge(cls, options: Options | None, settings: Mapping[str, Any]) -> Self:
        """Return `options`, or the defaults, overridden by the keywords in `settings`.

        `options` may be of a base class; fields that it lacks get their defaults. With the keyword
        `args`, the options of that run come between `options` and the other keywords.

        Raises:
            TypeError: a keyword is not an option.
            MaskyoloError: a value is out of its range.
        """
        known = {field.name for field in fields(cls)}
        for name in settings:
            if name not in known:
                raise TypeError(f"got an unexpected keyword argument '{name}'")
        if settings.get("args") is not None:
            settings = {**cls.saved(settings["args"]), **settings}
        if isinstance(options, cls):
            return replace(options, **settings) if settings else options
        given = fields(options) if options else ()
        return cls(**{**{field.name: getattr(options, field.name) for field in given}, **settings})

    @classmethod
    def saved(cls, run: Path | str) -> dict[str, Any]:
        """Return the options that an earlier run recorded, by field name, without those not set.

        Args:
            run: its `args.yaml`, or its folder.

        Raises:
            MaskyoloError: the file cannot be read, or a value has the wrong type.
        """
        content, hints = load_args(run), get_type_hints(cls)
        found = {}
        for field in fields(cls):
            info, value = option_info(field), content.get(field.name)
            if info.recorded and info.repeated and value is not None:
                where = f"{args_file(run)}: {field.name}"
                found[field.name] = typed_value(value, hints[field.name], where)
        return found

    def part(self, kind: type[_Options]) -> _Options:
        """Return the options that `kind` also has, as a `kind` object."""
        own = {field.name for field in fields(self)}
        shared = [field.name for field in fields(kind) if field.name in own]
        return kind(**{name: getattr(self, name) for name in shared})

    def recorded(self) -> dict[str, Any]:
        """Return the options to record in `args.yaml`, by field name, with choices as text."""
        return {
            field.name: _plain(getattr(self, field.name))
            for field in fields(self)
            if option_info(field).recorded
        }


def takes_options(kind: type[Options]) -> Callable[[_Function], _Function]:
    """Decorate a function so that its signature lists the fields of `kind` instead of `**settings`.

    `inspect.signature`, `help` and the reference then show every keyword with its default.
    """

    def decorate(function: _Function) -> _Function:
        signature = inspect.signature(function)
        given = [
            parameter
            for parameter in signature.parameters.values()
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD
        ]
        taken = {parameter.name for parameter in given}
        keywords = [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=field.default,
                annotation=field.type,
            )
            for field in fields(kind)
            if field.name not in taken
        ]
        shown = signature.replace(parameters=[*given, *keywords])
        function.__signature__ = shown  # type: ignore[attr-defined]
        return function

    return decorate


@dataclass(frozen=True)
class _ChoiceField:
    """A field whose type is a `Choice`, or, if `many`, a tuple of them."""

    choice: type[Choice]
    many: bool = False

    def parse(self, value: Any, name: str) -> Any:
        if self.many and isinstance(value, (tuple, list)):
            return tuple(self.choice.parse(item, name) for item in value)
        return self.choice.parse(value, name)


def _choices(kind: type[Options]) -> dict[str, _ChoiceField]:
    """Return the fields of `kind` whose type is a `Choice` or a tuple of them, possibly None."""
    cached: dict[str, _ChoiceField] | None = kind.__dict__.get("_cached_choices")
    if cached is None:
        found = ((name, _choice_field(hint)) for name, hint in get_type_hints(kind).items())
        cached = {name: field for name, field in found if field}
        kind._cached_choices = cached  # type: ignore[attr-defined]
    return cached


def _choice_field(hint: Any) -> _ChoiceField | None:
    if isinstance(hint, type) and issubclass(hint, Choice):
        return _ChoiceField(hint)
    fields_in = (_choice_field(part) for part in get_args(hint))
    found = next((field for field in fields_in if field), None)
    return replace(found, many=True) if found and get_origin(hint) is tuple else found


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_plain(item) for item in value)
    return str(value) if isinstance(value, Choice) else value


def _check_range(name: str, value: Any, info: OptionInfo) -> None:
    low, high = info.minimum, info.maximum
    if (low is None and high is None) or not isinstance(value, (Real, str)):  # Real: NumPy's too
        return
    if isinstance(value, str):
        raise MaskyoloError(f"{name.replace('_', '-')} must be a number, got '{value}'")
    number = float(value)
    if (low is None or number >= low) and (high is None or number <= high):  # also false for NaN
        return
    if low is not None and high is not None:
        wanted = f"between {low:g} and {high:g}"
    else:
        wanted = f"at least {low:g}" if low is not None else f"at most {high:g}"
    raise MaskyoloError(f"{name.replace('_', '-')} must be {wanted}, got {number:g}")
