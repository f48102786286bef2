"""The header of a report's page: what was measured, on what, when and with what."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskyolo.core.text import counted
from maskyolo.evaluation.html import facts, flat

if TYPE_CHECKING:
    from maskyolo.evaluation.scores import Evaluation

__all__ = ["header", "listed", "short_path"]

#: Facts that take a whole line.
_WIDE = ("Models", "model", "models", "command")


def header(
    evaluations: Sequence[Evaluation],
    settings: Mapping[str, str],
    provenance: Mapping[str, Any] | None = None,
) -> str:
    """Return the header of a page.

    Args:
        evaluations: of detectors on the same images; may be empty.
        settings: what was measured and how, by name.
        provenance: what the figures were made with, as in report.json; shown last.
    """
    made = flat(provenance or {})
    if provenance and "models" in provenance:
        lines = ((name, flat({"": of_model})) for name, of_model in provenance["models"].items())
        made["models"] = "\n".join(f"{name}: {line['']}" for name, line in lines if line)
    entries = {**settings}
    if evaluations:
        entries |= _counts(evaluations[0])
    if "date" not in made:
        entries["Date"] = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %z")
    if not any(name.startswith("maskyolo") for name in made):
        with suppress(importlib.metadata.PackageNotFoundError):  # run from a folder
            entries["Version"] = f"maskyolo {importlib.metadata.version('maskyolo')}"
    return facts({**entries, **made}, _WIDE)


def listed(provenance: Mapping[str, Any]) -> str:
    """Return what the figures were made with as lines of text, for report.txt.

    Examples:
        >>> print(listed({"maskyolo": "0.1.0", "packages": {"numpy": "2.4"}}), end="")
        <BLANKLINE>
        maskyolo: 0.1.0
        packages: numpy 2.4
    """
    return "".join(["\n", *(f"{name}: {text}\n" for name, text in flat(provenance).items())])


def _counts(first: Evaluation) -> dict[str, str]:
    report = first.report
    images = str(report.images)
    if first.unreadable:
        images += f", and {counted(len(first.unreadable), 'unreadable one')} left out"
    classes = ", ".join(f"{scores.support} {name}" for name, scores in report.classes.items())
    return {
        "Images": images,
        "Labeled faces": f"{first.face.support} ({classes})",
        "Ignored boxes": str(first.ignored),
        "Thresholds": f"confidence {report.confidence:g}, IoU with the label {report.iou:g}",
    }


def short_path(path: str) -> str:
    """Return the last two parts of a path, for a title.

    Examples:
        >>> short_path("/home/me/data/mask/data.yaml")
        'mask/data.yaml'
    """
    return "/".join(Path(path).parts[-2:])
