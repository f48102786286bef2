"""Detection over archives: a plan of shards, which any number of processes or machines work off."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maskyolo.batch.joining import join_batch
    from maskyolo.batch.planning import plan_batch
    from maskyolo.batch.progress import batch_status
    from maskyolo.batch.running import run_batch

__all__ = ["batch_status", "join_batch", "plan_batch", "run_batch"]

_MODULES = {
    "batch_status": "maskyolo.batch.progress",
    "join_batch": "maskyolo.batch.joining",
    "plan_batch": "maskyolo.batch.planning",
    "run_batch": "maskyolo.batch.running",
}


def __getattr__(name: str) -> Any:
    """Import a function when it is first used."""
    if name not in _MODULES:
        raise AttributeError(f"module 'maskyolo.batch' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    """List the public names too, before they are imported."""
    return sorted({*globals(), *__all__})
