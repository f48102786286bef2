"""The help of a command: its options in groups, the panels of `maskyolo.core.options.Panel`.

The groups are plain text, not the boxes that Typer draws with Rich: those leave no room for the
longer choices and descriptions on 80 columns, and cannot be searched in a pager or a log.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from typer.core import TyperCommand

from maskyolo.core.options import Panel

__all__ = ["Command", "panels"]

#: Title of the last group: options without a panel, such as `--help`.
_OTHER = "Other"


def panels(parameters: Iterable[Any]) -> dict[str, list[Any]]:
    """Return a command's options by the title of their group, in the order of `Panel`.

    Options without a panel come last, as "Other"; if no option has a panel, as "Options".
    Arguments are left out.
    """
    options = [option for option in parameters if option.param_type_name == "option"]
    titles = [getattr(option, "rich_help_panel", None) for option in options]
    groups: dict[str, list[Any]] = {str(panel): [] for panel in Panel if panel in titles}
    rest = _OTHER if groups else "Options"
    for option, title in zip(options, titles, strict=True):
        groups.setdefault(title or rest, []).append(option)
    return groups


class Command(TyperCommand):
    """A command whose help lists its options in groups."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, then each group of options."""
        parameters = self.get_params(ctx)
        arguments = [
            parameter for parameter in parameters if parameter.param_type_name == "argument"
        ]
        for title, group in ({"Arguments": arguments} | panels(parameters)).items():
            records = [parameter.get_help_record(ctx) for parameter in group]
            if shown := [record for record in records if record]:
                with formatter.section(title):
                    formatter.write_dl(shown)
