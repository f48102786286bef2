"""`python -m maskyolo` runs the command."""

# No pathlib yet: it could be in the working folder, too.
# ruff: noqa: PTH109, PTH120, PTH121
import os
import sys

# Python searches the working folder first, where someone else's `yaml.py` may be. Keep it if this
# package itself is there, as in a checkout of the repository.
if sys.path[0] in ("", os.getcwd()) and not os.path.samefile(
    os.path.dirname(os.path.dirname(__file__)), "."
):
    del sys.path[0]

from maskyolo.cli import main

main()
