"""supervision as `sv`, imported in half the time: it imports SciPy for smoothed traces and for polygons, which few ever draw.

Import it from here where it is imported first; afterwards `import supervision` is the same.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import ModuleType
from typing import Any

__all__ = ["sv"]

#: What supervision imports of SciPy at its top.
_LATE = ("scipy.interpolate", "scipy.spatial")


def _call(module: str, name: str, *args: Any, **settings: Any) -> Any:
    return getattr(importlib.import_module(module), name)(*args, **settings)


def _function_of(module: str, name: str) -> Callable[..., Any]:
    if name.startswith("__"):
        raise AttributeError(name)
    return partial(_call, module, name)


@contextmanager
def _late(modules: tuple[str, ...]) -> Iterator[None]:
    """Let what is imported from `modules` meanwhile be functions that import their module when they are called."""
    standing_in = [name for name in modules if name not in sys.modules]
    for name in standing_in:
        module = ModuleType(name)
        module.__getattr__ = partial(_function_of, name)  # type: ignore[method-assign]
        sys.modules[name] = module
    try:
        yield
    finally:
        for name in standing_in:
            del sys.modules[name]


with _late(_LATE):
    import supervision as sv
