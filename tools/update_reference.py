"""Updates the tables of options in docs/reference/ from the commands' help.

`tests/test_docs.py` fails if they are out of date. A table is between `<!-- options: COMMAND -->`
and `<!-- end -->`. Run it with the environment's Python: `make docs`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import typer.main

from maskyolo.cli import app
from maskyolo.cli.help import panels

PAGES = Path(__file__).resolve().parent.parent / "docs" / "reference"


def commands() -> dict[str, Any]:
    """Return the commands by name, including those of groups, such as "review open"."""
    found: dict[str, Any] = {}
    for name, command in dict(typer.main.get_command(app).commands).items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        found |= (
            {name: command} if inner is None else {f"{name} {part}": inner[part] for part in inner}
        )
    return found


def tables(command: Any) -> str:
    """Return a Markdown table for the command's arguments, and one for each group of options.

    The groups are those of the help. A command with only one group gets no headings.
    """
    arguments = [
        parameter for parameter in command.params if parameter.param_type_name == "argument"
    ]
    groups = panels(command.params)
    if len(groups) == 1:
        return table([*arguments, *command.params[len(arguments) :]])
    named = {"Arguments": arguments} if arguments else {}
    return "\n\n".join(
        f"### {title}\n\n{table(group)}" for title, group in (named | groups).items()
    )


def table(parameters: list[Any]) -> str:
    """Return a Markdown table of arguments or options with their defaults and help."""
    rows = ["| option | default | description |", "| --- | --- | --- |"]
    for parameter in parameters:
        if parameter.param_type_name == "argument":
            name = f"`{parameter.name.upper()}`"
        else:
            name = ", ".join(
                f"`{option}`" for option in (*parameter.opts, *parameter.secondary_opts)
            )
        default = parameter.default
        shown = (
            "required"
            if parameter.required
            else ""
            if default is None or default is False or default == ""
            else f"`{default}`"
        )
        text = " ".join((parameter.help or "").split()).replace("|", "\\|").replace("][", "]\\[")
        rows.append(f"| {name} | {shown} | {text}{choices(parameter)} |")
    return "\n".join(rows)


def choices(parameter: Any) -> str:
    """Return a sentence with the choices of an option, unless its help names all of them."""
    values = (parameter.metavar or "").strip("<>").split("|")
    if len(values) < 2 or all(re.search(rf"\b{value}\b", parameter.help) for value in values):
        return ""
    return f" Choices: {', '.join(f'`{value}`' for value in values)}."


def render(text: str) -> str:
    """Return a page's text with every table of options updated."""
    known = commands()
    return re.sub(
        r"(<!-- options: ([\w ]+) -->\n).*?(<!-- end -->)",
        lambda found: f"{found[1]}{tables(known[found[2]])}\n{found[3]}",
        text,
        flags=re.DOTALL,
    )


if __name__ == "__main__":
    for page in sorted(PAGES.glob("*.md")):
        page.write_text(render(page.read_text(encoding="utf-8")), encoding="utf-8")
