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
from pathlib import Path
from typing import Annotated, Any

import typer

from maskyolo.core.options import Choice, OptionInfo, Options, Panel, option_info
from maskyolo.core.repeating import load_args

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


#: Typer passes its context here; the name is no option of any command.
_CONTEXT = inspect.Parameter("_context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)


def examples(*lines: str) -> str:
    r"""Return the epilog of a command's help: its examples, one per line.

    `\b` keeps Typer from wrapping the lines. A test reads and parses the examples.
    """
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def with_options(
    kind: type[Options], configure: Callable[[Path], Any] | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorate a command that takes `options: kind` so that it offers each field as an option.

    They are listed where `options` stands in the command's own signature.

    Args:
        kind: the class of options.
        configure: reads the file of the command's own parameter `config`, if it has one; the
            command gets the `Configuration`, and its settings are defaults of the options.

    Examples:
        >>> @with_options(GreetOptions)
        ... def greet(name: Annotated[str, typer.Argument()], options: GreetOptions) -> None:
        ...     print("hello " * options.times + name)
    """
    hints, repeat = typing.get_type_hints(kind), _repeat(kind)

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command, eval_str=True)
        parameters: list[inspect.Parameter] = []
        for parameter in signature.parameters.values():
            if parameter.name == "options":
                parameters += [
                    _parameter(
                        field.name, hints[field.name], field.default, option_info(field), repeat
                    )
                    for field in fields(kind)
                ]
                if "args" in hints or configure:
                    parameters.append(_CONTEXT)
            else:
                parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

        @functools.wraps(command)
        def run(_context: typer.Context | None = None, **given: Any) -> None:
            values = {}
            for field in fields(kind):
                info = option_info(field)
                values[field.name] = _parsed(field.name, info, given.pop(field.name))
            explicit = {name: values[name] for name in values if _is_given(_context, name)}
            if configure and given.get("config") is not None:
                given["config"] = config = configure(given["config"]).without(explicit)
                values |= config.settings(kind)
            if values.get("args") is not None:
                values |= kind.saved(values["args"])
            values |= explicit
            command(**given, options=kind(**values))

        del run.__wrapped__  # or Typer would read the wrapped function's signature
        run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorate


def _is_given(context: typer.Context | None, name: str) -> bool:
    source = context.get_parameter_source(name) if context else None
    return source is not None and source.name == "COMMANDLINE"


def _repeat(kind: type[Options]) -> Callable[..., Path | None]:
    """Return a callback that takes defaults of a command's own parameters from an earlier run.

    They are those outside `kind`, such as `--source`, and may only be text. Addresses with hidden
    passwords are left out.
    """
    others = {field.name for field in fields(kind)}

    def repeat(context: typer.Context, run: Path | None) -> Path | None:
        saved = {} if run is None else load_args(run)
        defaults: dict[str, Any] = {}
        for parameter in context.command.params:
            name, many = parameter.name or "", bool(getattr(parameter, "multiple", False))
            value = None if name in others else saved.get(name)
            texts = value if isinstance(value, list) and many else [value]
            if all(isinstance(text, str) and "***" not in text for text in texts):
                defaults[name] = texts if many else value
        context.default_map = {**(context.default_map or {}), **defaults}
        return run

    return repeat


def _parsed(name: str, info: OptionInfo, value: Any) -> Any:
    if info.cli_parse is None or value is None:
        return value
    try:
        return info.cli_parse(value)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=_flags(name, info)[0]) from error


def _flags(name: str, info: OptionInfo) -> tuple[str, ...]:
    return info.flags or (f"--{name.replace('_', '-')}",)


def _parameter(
    name: str, hint: Any, default: Any, info: OptionInfo, repeat: Callable[..., Path | None]
) -> inspect.Parameter:
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
    if name == "args":
        parsing |= {"is_eager": True, "callback": repeat}
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
