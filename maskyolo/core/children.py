"""Start other programs safely from a working folder that may contain someone else's files.

`python -c` and `python -m` search the working folder for modules first, so a file `cv2.py` in it
would run instead of OpenCV.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["programs_environment", "protect_children", "python_command"]

#: Read by Python: leave the working folder out of `sys.path`.
_SAFE_PATH = "PYTHONSAFEPATH"

_was_set = _SAFE_PATH in os.environ


def python_command(code: str) -> list[str]:
    """Return the command that runs `code` in another Python, which ignores the working folder.

    It finds the same `maskyolo` as this one.
    """
    home = str(Path(__file__).parents[2])
    path = f"sys.path[:] = [*{{{home!r}}}.difference(sys.path), *filter(None, sys.path)]"
    return [sys.executable, "-c", f"import sys; {path}\n{code}"]


def protect_children() -> None:
    """Make every Python that this process starts, libraries included, ignore the working folder."""
    os.environ[_SAFE_PATH] = "1"


def programs_environment() -> dict[str, str]:
    """Return the environment for a program of the user's choice: without `protect_children`."""
    return {name: value for name, value in os.environ.items() if _was_set or name != _SAFE_PATH}
