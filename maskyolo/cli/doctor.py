"""`maskyolo doctor`: check the installation and suggest fixes."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from maskyolo.cli.options import examples

__all__ = ["EXAMPLES", "doctor"]

EXAMPLES = examples("maskyolo doctor", "maskyolo doctor --json")


def doctor(
    project: Annotated[
        Path, typer.Option(help="Folder for runs, checked for free space and permission to write.")
    ] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the checks as JSON.")] = False,
) -> None:
    """Check the installation and suggest fixes.

    Checks versions, OpenCV, weights, devices and cameras. Exits with 1 if anything required does
    not work.
    """
    from maskyolo.doctor.diagnosis import diagnose
    from maskyolo.errors import MaskyoloError

    checks = diagnose(project)
    if as_json:
        print(json.dumps([asdict(check) for check in checks], indent=2))
    else:
        width = max(len(check.name) for check in checks)
        for check in checks:
            print(f"{check.status:<4}  {check.name:<{width}}  {check.found}")
            if check.fix:
                print(f"{'':<4}  {'':<{width}}  -> {check.fix}")
    failed = [check.name for check in checks if check.status == "fail"]
    if failed:
        raise MaskyoloError(
            f"{len(failed)} of {len(checks)} checks failed ({', '.join(failed)})",
            "apply the fixes after the arrows above",
        )
