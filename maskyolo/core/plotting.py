"""Import Matplotlib without the settings in the working folder."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

from maskyolo.core.installation import install_command
from maskyolo.errors import DependencyError

__all__ = ["check_matplotlib", "import_matplotlib"]


def import_matplotlib() -> ModuleType:
    """Return Matplotlib, without the settings of a file `matplotlibrc` in the working folder.

    Such a file takes precedence over the user's own. It may come from someone else, name a module
    to import, and enable LaTeX, which runs commands in the settings. If the program has already
    imported Matplotlib, its settings are kept.
    """
    imported = "matplotlib" in sys.modules
    import matplotlib as mpl

    if not imported and Path(mpl.matplotlib_fname()) == Path("matplotlibrc"):
        mpl.rcdefaults()
        mpl.use("agg")
    return mpl


def check_matplotlib(what: str) -> None:
    """Check that Matplotlib is installed, before something that takes long.

    Args:
        what: the feature that needs it, for the error message.

    Raises:
        DependencyError: it is not installed.
    """
    try:
        import_matplotlib()
    except ImportError as error:
        raise DependencyError(
            f"{what} needs Matplotlib, which is not installed ({error})",
            f"run: {install_command('train')}",
        ) from error
