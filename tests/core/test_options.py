"""Options: one declaration serves the library's checks, the command, `args.yaml` and the help."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
import typer
import yaml
from typer.testing import CliRunner, Result

from maskyolo.cli.options import with_options
from maskyolo.core.options import Choice, Options, option, option_info, option_of, takes_options
from maskyolo.core.runs import save_args
from maskyolo.errors import MaskyoloError


class Color(Choice):
    RED = "red"
    DARK_BLUE = "dark-blue"


@dataclass(frozen=True, kw_only=True)
class PaintOptions(Options):
    color: Color = option(Color.RED, help="Color of the paint.")
    second: Color | None = option(None, help="Color of the second coat.")
    coats: int = option(2, help="Number of coats.", minimum=1)
    share: float = option(0.5, help="Share of the wall.", minimum=0, maximum=1)
    debug: bool = option(False, help="Show the strokes.", recorded=False)


@dataclass(frozen=True, kw_only=True)
class WallOptions(PaintOptions):
    coats: int = option(3, help="Number of coats on a wall.", minimum=2)
    wait: float = option(0.0, help="Drying time in seconds.", minimum=0)
    depth: float = option(-1.0, help="Depth in meters.", maximum=0)
    primer: bool = option(True, help="Apply primer first.")
    sizes: tuple[int, ...] = option(
        (1, 2),
        help="Brush sizes.",
        cli_type=str,
        cli_default="1,2",
        cli_parse=lambda text: tuple(int(part) for part in text.split(",")),
    )
    brush: Path | None = option(None, help="The brush.", flags=("--brush", "-b"))
    quick: bool = option(False, help="Skip the inspection.", cli_default=True)


@dataclass(frozen=True, kw_only=True)
class Switches(Options):
    light: bool = option(True, help="Light.", flags=("--light/--dark",))
    fan: bool = option(True, help="Fan.", flags=("--fan", "-f"))


def test_without_arguments_every_option_has_its_default() -> None:
    chosen = WallOptions()
    assert (chosen.color, chosen.second, chosen.coats, chosen.share) == (Color.RED, None, 3, 0.5)
    assert (chosen.sizes, chosen.quick, chosen.brush) == ((1, 2), False, None)


@pytest.mark.parametrize("value", ["dark-blue", Color.DARK_BLUE])
@pytest.mark.parametrize("name", ["color", "second"])
def test_a_choice_is_given_as_text_or_as_a_member(name: str, value: str) -> None:
    assert getattr(PaintOptions.merge(None, {name: value}), name) is Color.DARK_BLUE


@pytest.mark.parametrize("name", ["color", "second"])
def test_an_unknown_choice_is_refused_and_the_known_ones_are_listed(name: str) -> None:
    with pytest.raises(MaskyoloError) as caught:
        PaintOptions.merge(None, {name: "DARK_BLUE"})
    assert caught.value.problem == f"unknown {name} 'DARK_BLUE'"
    assert caught.value.remedy == "choose one of red, dark-blue"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"share": 1.5}, "share must be between 0 and 1, got 1.5"),
        ({"share": -0.1}, "share must be between 0 and 1, got -0.1"),
        ({"share": float("nan")}, "share must be between 0 and 1, got nan"),
        ({"share": float("inf")}, "share must be between 0 and 1, got inf"),
        ({"share": np.float32(1.5)}, "share must be between 0 and 1, got 1.5"),
        ({"share": "high"}, "share must be a number, got 'high'"),
        ({"coats": 1}, "coats must be at least 2, got 1"),
        ({"coats": np.int64(1)}, "coats must be at least 2, got 1"),
        ({"wait": float("nan")}, "wait must be at least 0, got nan"),
        ({"wait": float("-inf")}, "wait must be at least 0, got -inf"),
        ({"depth": 0.5}, "depth must be at most 0, got 0.5"),
    ],
)
def test_a_value_out_of_range_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(MaskyoloError) as caught:
        WallOptions(**given)
    assert str(caught.value) == message


def test_the_ends_of_a_range_belong_to_it_and_infinity_to_an_open_one() -> None:
    assert WallOptions(share=0).share == 0
    assert WallOptions(share=1).share == 1
    assert WallOptions(coats=2).coats == 2
    assert WallOptions(wait=float("inf")).wait == float("inf")
    assert WallOptions(depth=float("-inf")).depth == float("-inf")


def test_options_with_an_underscore_are_named_with_a_hyphen_in_messages() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Limits(Options):
        max_det: int = option(300, help="Maximum.", minimum=1)

    with pytest.raises(MaskyoloError, match=r"^max-det must be at least 1, got 0$"):
        Limits(max_det=0)


def test_keywords_win_over_the_options_object_and_leave_it_as_it_was() -> None:
    given = WallOptions(coats=5, share=0.25)
    merged = WallOptions.merge(given, {"coats": 7})
    assert (merged.coats, merged.share) == (7, 0.25)
    assert given.coats == 5
    assert WallOptions.merge(given, {}) is given
    assert WallOptions.merge(None, {"color": "dark-blue"}) == WallOptions(color=Color.DARK_BLUE)


def test_options_of_a_base_class_are_taken_over() -> None:
    merged = WallOptions.merge(PaintOptions(coats=4, share=0.75), {"share": 1.0})
    assert type(merged) is WallOptions
    assert (merged.coats, merged.share, merged.primer) == (4, 1.0, True)


def test_options_of_a_base_class_are_checked_against_the_ranges_of_the_class() -> None:
    with pytest.raises(MaskyoloError, match="coats must be at least 2, got 1"):
        WallOptions.merge(PaintOptions(coats=1), {})


@pytest.mark.parametrize("options", [None, PaintOptions()])
def test_merged_keywords_are_checked(options: PaintOptions | None) -> None:
    with pytest.raises(MaskyoloError, match="coats must be at least 1, got 0"):
        PaintOptions.merge(options, {"coats": 0})
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        PaintOptions.merge(options, {"colour": "red"})


def test_part_returns_the_options_that_another_class_shares() -> None:
    part = WallOptions(coats=6, color=Color.DARK_BLUE).part(PaintOptions)
    assert type(part) is PaintOptions
    assert part == PaintOptions(coats=6, color=Color.DARK_BLUE)


def test_option_of_declares_the_same_option_with_its_changes() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Some(Options):
        share: float = option_of(PaintOptions, "share", default=0.1, help="Share of the door.")

    assert Some().share == 0.1
    info = option_info(Some.__dataclass_fields__["share"])
    assert (info.help, info.minimum, info.maximum) == ("Share of the door.", 0, 1)
    with pytest.raises(MaskyoloError, match="share must be between 0 and 1, got 2"):
        Some(share=2)


def test_args_yaml_gets_choices_as_text_and_not_what_has_no_effect(tmp_path: Path) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Many(PaintOptions):
        colors: tuple[Color, ...] = option((Color.RED, Color.DARK_BLUE), help="Colors.")

    with pytest.raises(MaskyoloError, match="unknown colors 'green'"):
        Many(colors=("red", "green"))  # type: ignore[arg-type]
    recorded = Many(second=Color.DARK_BLUE, debug=True).recorded()
    assert recorded == {
        "color": "red",
        "second": "dark-blue",
        "coats": 2,
        "share": 0.5,
        "colors": ("red", "dark-blue"),
    }
    assert type(recorded["color"]) is str
    save_args(tmp_path, {**recorded, "chosen": Color.RED})
    read = yaml.safe_load((tmp_path / "args.yaml").read_text())
    assert read == {**recorded, "colors": ["red", "dark-blue"], "chosen": "red"}


def test_the_signature_shows_every_option_as_a_keyword_with_its_default() -> None:
    @takes_options(PaintOptions)
    def paint(
        wall: str,
        options: PaintOptions | None = None,
        *,
        coats: int = 9,
        on_progress: Any = None,
        **settings: Any,
    ) -> str:
        return wall

    shown = inspect.signature(paint).parameters
    assert list(shown) == [
        "wall", "options", "coats", "on_progress", "color", "second", "share", "debug",
    ]  # fmt: skip
    assert shown["color"].default is Color.RED
    assert shown["share"].default == 0.5
    assert shown["coats"].default == 9  # the function's own parameter stays
    assert shown["share"].kind is inspect.Parameter.KEYWORD_ONLY
    assert paint("north") == "north"


def invoke(*arguments: str) -> tuple[Result, dict[str, Any]]:
    """Run a command that takes `WallOptions`; return the outcome and what the command received."""
    received: dict[str, Any] = {}
    app = typer.Typer(rich_markup_mode=None)

    @app.command()
    @with_options(WallOptions)
    def build(
        wall: Annotated[str, typer.Argument()],
        options: WallOptions,
        height: Annotated[int, typer.Option()] = 3,
    ) -> None:
        """Build a wall."""
        received.update(wall=wall, options=options, height=height)

    outcome = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200", "NO_COLOR": "1"})
    return outcome, received


def test_the_command_has_the_defaults_of_the_library_but_for_its_own() -> None:
    outcome, received = invoke("north")
    assert outcome.exit_code == 0, outcome.output
    assert received == {"wall": "north", "options": WallOptions(quick=True), "height": 3}


def test_the_command_passes_every_option_on() -> None:
    outcome, received = invoke(
        "north", "--color", "dark-blue", "--second", "red", "--coats", "4", "--share", "0.25",
        "--debug", "--wait", "inf", "--depth", "-2", "--no-primer", "--sizes", "3,5,7",
        "-b", "flat", "--no-quick", "--height", "8",
    )  # fmt: skip
    assert outcome.exit_code == 0, outcome.output
    assert received["height"] == 8
    assert received["options"] == WallOptions(
        color=Color.DARK_BLUE,
        second=Color.RED,
        coats=4,
        share=0.25,
        debug=True,
        wait=float("inf"),
        depth=-2.0,
        primer=False,
        sizes=(3, 5, 7),
        brush=Path("flat"),
        quick=False,
    )


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["--color", "green"], r"'green' is not one of '?red'?, '?dark-blue'?"),
        (["--share", "1.5"], r"'--share'.* 1\b"),
        (["--coats", "1"], r"'--coats'.* 2\b"),
        (["--depth", "1"], r"'--depth'.* 0\b"),
        (["--no-debug"], r"(?i)no such option.*--no-debug"),
    ],
)
def test_a_wrong_option_is_a_usage_error(arguments: list[str], found: str) -> None:
    outcome, received = invoke("north", *arguments)
    assert outcome.exit_code == 2
    assert re.search(found, outcome.output)
    assert not received


def test_the_help_shows_flags_choices_ranges_defaults_and_text() -> None:
    text = " ".join(invoke("--help")[0].output.split())
    choices = r"[\[<]red\|dark-blue[\]>]"  # brackets and metavars depend on Typer's version
    assert re.search(rf"--color {choices} Color of the paint\. \[default: red\]", text)
    assert re.search(rf"--second {choices} Color of the second coat\. --coats", text)
    assert re.search(r"--coats <int> Number of coats on a wall\. \[default: 3; x>=2\]", text)
    assert re.search(r"--share <float> Share of the wall\. \[default: 0\.5; 0<=x<=1\]", text)
    assert "--primer / --no-primer Apply primer first. [default: primer]" in text
    assert re.search(r"-b, --brush \S+ The brush\.", text)
    assert "--debug Show the strokes." in text
    assert re.search(r"--sizes \S+ Brush sizes\. \[default: 1,2\]", text)
    assert "--options" not in text


def test_flags_of_a_switch_that_is_on_are_kept() -> None:
    received: list[Switches] = []
    app = typer.Typer(rich_markup_mode=None)

    @app.command()
    @with_options(Switches)
    def switch(options: Switches) -> None:
        received.append(options)

    outcome = CliRunner().invoke(app, ["--dark", "--no-fan"])
    assert outcome.exit_code == 0, outcome.output
    assert received == [Switches(light=False, fan=False)]
    assert CliRunner().invoke(app, ["-f"]).exit_code == 0
    assert received[-1] == Switches()
