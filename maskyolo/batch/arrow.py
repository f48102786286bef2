"""Imports PyArrow, which only this package needs."""

from __future__ import annotations

from typing import Any

from maskyolo.core.installation import install_command
from maskyolo.errors import DependencyError

__all__ = ["load_arrow"]


def load_arrow() -> Any:
    """Return the module `pyarrow`, with `pyarrow.parquet`.

    Raises:
        DependencyError: it is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet
    except ImportError as error:
        raise DependencyError(
            f"maskyolo batch needs PyArrow, which cannot be imported ({error})",
            f"run: {install_command('batch')}",
        ) from error
    return pa
