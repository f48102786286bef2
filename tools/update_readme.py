"""Updates the tables of options in README.md from the commands' help.

`tests/test_docs.py` fails if they are out of date. A table is between `<!-- options: COMMAND -->`
and `<!-- end -->`. Run it with the environment's Python: `make docs`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import typer.main

from maskyolo.cli import app

README = Path(__file__).resolve().parent.parent / "README.md"


def commands() -> dict[str, Any]:
    """Return the commands by name, including those of groups, such as "review open"."""
    found: dict[str, Any] = {}
    for name, command in dict(typer.main.get_command(app).commands).items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        found |= (
            {name: command} if inner is None else {f"{name} {part}": inner[part] for part in inner}
        )
    return found


def table(command: Any) -> str:
    """Return a Markdown table of a command's arguments and options with their defaults and help."""
    rows = ["| option | default | what |", "| --- | --- | --- |"]
    for parameter in command.params:
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
        text = " ".join((parameter.help or "").split()).replace("|", "\\|")
        rows.append(f"| {name} | {shown} | {text} |")
    return "\n".join(rows)


def render(text: str) -> str:
    """Return the README's text with every table of options updated."""
    known = commands()
    return re.sub(
        r"(<!-- options: ([\w ]+) -->\n).*?(<!-- end -->)",
        lambda found: f"{found[1]}{table(known[found[2]])}\n{found[3]}",
        text,
        flags=re.DOTALL,
    )


if __name__ == "__main__":
    README.write_text(render(README.read_text(encoding="utf-8")), encoding="utf-8")
