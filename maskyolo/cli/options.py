"""Turns the library's options into command-line options, and defines those only commands have.

`with_options` converts the fields of an `Options` class (`maskyolo.core.options`) to Typer
options, so that type, default, range and help are written only once, in the library.
"""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable
from dataclasses import fields
from typing import Annotated, Any

import typer

from maskyolo.core.options import Choice, OptionInfo, Options, Panel, option_info

__all__ = ["Strict", "Verbose", "examples", "with_options"]

Strict = Annotated[
    bool,
    typer.Option(
        "--strict",
        help="Exit with 1 if any file was bad. Bad files are reported and skipped in any case.",
    ),
]

Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose",
        help="Also print why this runtime and precision were chosen.",
        rich_help_panel=Panel.DISPLAY,
    ),
]


def examples(*lines: str) -> str:
    r"""Return the epilog of a command's help: its examples, one per line.

    `\b` keeps Typer from wrapping the lines. A test reads and parses the examples.
    """
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def with_options(kind: type[Options]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorate a command that takes `options: kind` so that it offers each field as an option.

    They are listed where `options` stands in the command's own signature.

    Examples:
        >>> @with_options(GreetOptions)
        ... def greet(name: Annotated[str, typer.Argument()], options: GreetOptions) -> None:
        ...     print("hello " * options.times + name)
    """
    hints = typing.get_type_hints(kind)

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command, eval_str=True)
        parameters: list[inspect.Parameter] = []
        for parameter in signature.parameters.values():
            if parameter.name == "options":
                parameters += [
                    _parameter(field.name, hints[field.name], field.default, option_info(field))
                    for field in fields(kind)
                ]
            else:
                parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

        @functools.wraps(command)
        def run(**given: Any) -> None:
            values = {}
            for field in fields(kind):
                info = option_info(field)
                values[field.name] = _parsed(field.name, info, given.pop(field.name))
            command(**given, options=kind(**values))

        del run.__wrapped__  # or Typer would read the wrapped function's signature
        run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorate


def _parsed(name: str, info: OptionInfo, value: Any) -> Any:
    if info.cli_parse is None or value is None:
        return value
    try:
        return info.cli_parse(value)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=_flags(name, info)[0]) from error


def _flags(name: str, info: OptionInfo) -> tuple[str, ...]:
    return info.flags or (f"--{name.replace('_', '-')}",)


def _parameter(name: str, hint: Any, default: Any, info: OptionInfo) -> inspect.Parameter:
    kind = info.cli_type or hint
    default = info.cli_default if info.has_cli_default else default
    flags = _flags(name, info)
    if kind is bool and default and not any("/" in flag for flag in flags):
        flags = (f"{flags[0]}/--no-{flags[0].removeprefix('--')}", *flags[1:])
    kinds = [part for part in (kind, *typing.get_args(kind)) if isinstance(part, type)]
    choice = next((part for part in kinds if issubclass(part, Choice)), None)
    parsing: dict[str, Any] = {"min": info.minimum, "max": info.maximum}
    if choice:
        parsing = _parse_choice(choice)
    elif info.minimum is not None or info.maximum is not None:
        parsing["metavar"] = "<int>" if int in kinds else "<float>"
    declared = typer.Option(*flags, help=info.help, rich_help_panel=info.panel or None, **parsing)
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, declared]
    )


def _parse_choice(kind: type[Choice]) -> dict[str, Any]:
    """Return the arguments of a Typer option whose values are the members of `kind`.

    Unlike Typer's own, the option reports the advice of `kind` for bad values.
    """
    values = [str(member) for member in kind]

    def parse(value: str) -> Choice:
        if value not in values:
            if error := kind.advice(value):
                raise error
            known = ", ".join(f"'{known}'" for known in values)
            raise typer.BadParameter(f"'{value}' is not one of {known}.")
        return kind(value)

    return {"parser": parse, "metavar": f"<{'|'.join(values)}>", "autocompletion": lambda: values}
