"""Offers a library's options as a command's, and declares what only commands have.

`with_options` turns the fields of an `Options` class (`maskyolo.core.options`) into Typer options:
type, default, range and help are written once, in the library.
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

from maskyolo.core.options import Choice, OptionInfo, Options, option_info

__all__ = [
    "Backend",
    "Device",
    "ExistOk",
    "FaceDetectorName",
    "FaceWeights",
    "ImageList",
    "ImageSize",
    "Images",
    "LabelledData",
    "LabelsFolder",
    "MaxDetections",
    "Model",
    "Name",
    "NmsIou",
    "Pipeline",
    "Precision",
    "Project",
    "ReportConfidence",
    "Seed",
    "Split",
    "Strict",
    "Trust",
    "examples",
    "with_options",
]

Project = Annotated[Path, typer.Option(help="Folder the run's folder is made in.")]
Name = Annotated[
    str, typer.Option(help="Name of the run's folder; a number is added if it exists.")
]
ExistOk = Annotated[
    bool,
    typer.Option(
        "--exist-ok", help="Write into an existing folder of that name instead of adding a number."
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        help="Name of a model (maskyolo-n, or mobilenet_v2 with two stages), or its file: .onnx, .xml (OpenVINO) or .pt."
    ),
]
Device = Annotated[
    str, typer.Option(help="Where to compute: auto, cpu, 0 (first GPU), 0,1 (several GPUs), mps.")
]
Backend = Annotated[
    str,
    typer.Option(
        help="What runs the network: auto (by file and machine), openvino, onnxruntime or torch."
    ),
]
Precision = Annotated[
    str,
    typer.Option(
        help="What the network computes in: fp32, bf16 (OpenVINO), or auto: bf16 where the CPU has it in hardware."
    ),
]
ImageSize = Annotated[
    int | None,
    typer.Option(
        "--imgsz",
        min=32,
        help="Longer side in pixels that pictures are scaled to for the network (else the weights' own).",
    ),
]
Pipeline = Annotated[
    str,
    typer.Option(
        help="yolo (one forward pass) or two-stage (a face detector, then a classifier of each face)."
    ),
]
Seed = Annotated[
    int, typer.Option(min=0, help="Seed of everything random; the same seed gives the same result.")
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust", help="Open a .pt file of unknown origin, which can run any code on this machine."
    ),
]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict",
        help="Exit with 1 when any file was bad (they are reported and skipped either way).",
    ),
]

LabelledData = Annotated[
    Path | None, typer.Option("--data", help="A data set's data.yaml, or its folder.")
]
Split = Annotated[str, typer.Option(help="Which split of the data set: train, val or test.")]
Images = Annotated[Path | None, typer.Option(help="Instead of --data: a folder of pictures.")]
LabelsFolder = Annotated[
    Path | None,
    typer.Option(
        "--labels",
        help="The folder of their labels: YOLO .txt or Pascal VOC .xml of the same names.",
    ),
]
ImageList = Annotated[
    Path | None,
    typer.Option("--list", help="A file that names the pictures to take of these, one a line."),
]
ReportConfidence = Annotated[
    float,
    typer.Option(
        "--conf",
        min=0,
        max=1,
        help="Confidence from which detections count for precision, recall and confusion.",
    ),
]
NmsIou = Annotated[
    float,
    typer.Option(
        "--iou",
        min=0,
        max=1,
        help="Overlap above which the less confident of two boxes is dropped.",
    ),
]
MaxDetections = Annotated[
    int, typer.Option("--max-det", min=1, help="Most detections in a picture.")
]
FaceDetectorName = Annotated[
    str | None,
    typer.Option(
        "--detector",
        help="Face detector of two-stage: ssd-plain (the default), ssd (several looks), yunet or haar.",
    ),
]
FaceWeights = Annotated[
    Path | None,
    typer.Option("--face", help="Weights of that face detector, or the folder that has them."),
]


def examples(*lines: str) -> str:
    r"""Return the epilog of a command's help: its examples, one a line and never wrapped (`\b`); a test reads and parses them."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def with_options(kind: type[Options]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorate a command that takes `options: kind`, so that it offers each field as an option.

    The options stand where `options` does in the command's own signature.

    Example:
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

        del run.__wrapped__  # Typer would look at the signature behind it
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
    parsing: dict[str, Any] = {"min": info.minimum, "max": info.maximum}
    if isinstance(kind, type) and issubclass(kind, Choice) and kind.gives_advice():
        parsing = _parse_with_advice(kind)
    declared = typer.Option(*flags, help=info.help, **parsing)
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, declared]
    )


def _parse_with_advice(kind: type[Choice]) -> dict[str, Any]:
    """Return the arguments of a Typer option whose unknown values get the advice of `kind`."""
    values = [str(member) for member in kind]

    def parse(value: str) -> Choice:
        if value not in values and (error := kind.advice(value)):
            raise error
        if value not in values:
            known = ", ".join(f"'{known}'" for known in values)
            raise typer.BadParameter(f"'{value}' is not one of {known}.")
        return kind(value)

    return {"parser": parse, "metavar": f"<{'|'.join(values)}>", "autocompletion": lambda: values}
