"""Fixed choices: what is not offered is refused, with advice where users expect it."""

from __future__ import annotations

import pytest
import typer
from typer.testing import CliRunner

from maskyolo.cli.options import with_options
from maskyolo.core.choices import BackendName, Precision
from maskyolo.detectors.options import InferenceOptions
from maskyolo.errors import MaskyoloError


def test_an_unknown_choice_lists_the_known_ones() -> None:
    with pytest.raises(MaskyoloError) as failed:
        BackendName.parse("tensorrt", "backend")
    assert failed.value.problem == "unknown backend 'tensorrt'"
    assert failed.value.remedy == "choose one of auto, openvino, onnxruntime, torch"


def test_an_unknown_precision_lists_the_known_ones() -> None:
    with pytest.raises(MaskyoloError, match="choose one of auto, fp32, bf16, int8"):
        InferenceOptions(precision="fp64")  # type: ignore[arg-type]


def test_the_command_takes_only_known_choices() -> None:
    app = typer.Typer()

    @app.command()
    @with_options(InferenceOptions)
    def show(options: InferenceOptions) -> None:
        typer.echo(options.precision)

    run = CliRunner().invoke
    assert run(app, ["--precision", "fp64"]).exit_code == 2
    assert run(app, ["--precision", "bf16"]).output == f"{Precision.BF16}\n"
    assert run(app, []).output == "auto\n"
