"""The result of one check, and functions that all checks share."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from dataclasses import dataclass
from types import ModuleType
from typing import Literal

__all__ = ["Check", "first_line", "installed_version", "load_module"]


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Attributes:
        name: what was checked.
        status: `ok`, `warn` (something optional does not work) or `fail` (something required does
            not work).
        found: what was found, in one line.
        fix: the command to run or what to do; empty if there is nothing to do.
    """

    name: str
    status: Literal["ok", "warn", "fail"]
    found: str
    fix: str = ""


def load_module(name: str) -> ModuleType:
    """Return an imported module; tests replace this function."""
    return importlib.import_module(name)


def installed_version(package: str) -> str | None:
    """Return the version of an installed package, or None if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def first_line(error: object) -> str:
    """Return the first non-empty line of an error's message, or the name of its type."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__
