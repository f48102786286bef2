"""Import a package without loading slow modules that it imports but rarely needs."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import ModuleType
from typing import Any

__all__ = ["late"]


@contextmanager
def late(*modules: str) -> Iterator[None]:
    """While the block runs, replace `modules` with placeholders that import them on first call.

    With `from module import function`, each such function imports its module when it is called.
    With `import module`, the module is imported when it is first used after the block. Modules that
    are already imported are left alone.
    """
    standing_in = {name: ModuleType(name) for name in modules if name not in sys.modules}
    for name, module in standing_in.items():
        module.__getattr__ = partial(_function_of, name)  # type: ignore[method-assign]
        sys.modules[name] = module
    try:
        yield
    finally:
        for name, module in standing_in.items():
            del sys.modules[name]
            module.__getattr__ = partial(_attribute_of, name)  # type: ignore[method-assign]


def _function_of(module: str, name: str) -> Callable[..., Any]:
    if name.startswith("__"):
        raise AttributeError(name)
    return partial(_call, module, name)


def _attribute_of(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


def _call(module: str, name: str, *args: Any, **settings: Any) -> Any:
    return getattr(importlib.import_module(module), name)(*args, **settings)
