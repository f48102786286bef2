"""Options that more than one command has, declared once; a command's own options stand in its file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["Device", "ExistOk", "ImageSize", "Name", "Project", "Seed", "Strict", "examples"]

Project = Annotated[Path, typer.Option(help="Folder the run's folder is made in.")]
Name = Annotated[str, typer.Option(help="Name of the run's folder; a number is added if it exists.")]
ExistOk = Annotated[bool, typer.Option("--exist-ok", help="Write into an existing folder of that name instead of adding a number.")]
Device = Annotated[str, typer.Option(help="Where to compute: auto, cpu, 0 (first GPU), 0,1 (several GPUs), mps.")]
ImageSize = Annotated[int, typer.Option("--imgsz", min=32, help="Longer side in pixels that pictures are scaled to for the network.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random; the same seed gives the same result.")]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with 1 when any file was bad (they are reported and skipped either way).")]


def examples(*lines: str) -> str:
    r"""Return the epilog of a command's help: its examples, one a line and never wrapped (`\b`); a test reads and parses them."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
