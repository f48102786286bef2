"""The help of every command: options in groups, with their choices."""

from __future__ import annotations

import re
from typing import Any

import pytest
import typer.main

from maskyolo.cli import app, main
from maskyolo.cli.help import panels
from maskyolo.core.options import Panel


def _commands() -> dict[str, Any]:
    found: dict[str, Any] = {}
    group: Any = typer.main.get_command(app)
    for name, command in dict(group.commands).items():
        inner = getattr(command, "commands", None)
        found |= {f"{name} {part}": inner[part] for part in inner} if inner else {name: command}
    return found


COMMANDS = _commands()


def help_of(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as end:
        main([*name.split(), "--help"])
    assert end.value.code == 0
    return capsys.readouterr().out


def sections(text: str) -> dict[str, str]:
    """Return the text of each section by its title."""
    parts = re.split(r"^(\S.*):$", text.partition("\n  Examples:")[0], flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_in_the_section_of_its_panel(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = sections(help_of(name, capsys))
    groups = panels(COMMANDS[name].params)
    shown.pop("Arguments", None)
    rest = ["Other" if groups else "Options"]  # for --help
    last = [] if {"Options", "Other"} & groups.keys() else rest
    assert list(shown) == [*groups, *last]
    for title, options in groups.items():
        for option in options:
            line = rf"^  (-\w, )?(--[\w-]+,? (/ )?)*{max(option.opts, key=len)}[ ,\n]"
            found = [where for where in shown if re.search(line, shown[where], re.MULTILINE)]
            assert found == [title], option.opts


@pytest.mark.parametrize("name", COMMANDS)
def test_an_option_with_choices_shows_all_of_them(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = help_of(name, capsys)
    for option in COMMANDS[name].params:
        if "|" in (option.metavar or ""):
            assert f"{max(option.opts, key=len)} {option.metavar}" in text


def test_the_sections_of_detect_are_in_the_order_of_the_panels(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown = sections(help_of("detect", capsys))
    order = [str(panel) for panel in Panel]
    given = [title for title in shown if title in order]
    assert given == sorted(given, key=order.index)
    assert {"Input", "Model", "Detection", "Output", "Display", "Advanced"} <= set(given)
    assert next(iter(shown)) == "Arguments"
    assert list(shown)[-1] == "Other"
    assert "--backend <auto|openvino|onnxruntime|torch>" in shown["Advanced"]
    assert "--detector <ssd|ssd-plain|yunet|haar|yolo>" in shown["Two-stage pipeline"]


def test_only_what_every_command_may_have_is_without_a_panel() -> None:
    """An option that its author forgot to place would come last."""
    for name, command in COMMANDS.items():
        other = panels(command.params).get("Other", [])
        assert {option.name for option in other} <= {"strict", "name", "dry_run", "undo"}, name
