"""Review of a data set: find its likely errors, show them in FiftyOne, and apply corrections."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maskyolo.review.app.opening import open_review
    from maskyolo.review.apply import apply_review
    from maskyolo.review.finding.find import find_errors
    from maskyolo.review.undo import undo_review

__all__ = ["apply_review", "find_errors", "open_review", "undo_review"]

_MODULES = {
    "apply_review": "maskyolo.review.apply",
    "find_errors": "maskyolo.review.finding.find",
    "open_review": "maskyolo.review.app.opening",
    "undo_review": "maskyolo.review.undo",
}


def __getattr__(name: str) -> Any:
    """Import a function when it is first used."""
    if name not in _MODULES:
        raise AttributeError(f"module 'maskyolo.review' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    """List the public names too, before they are imported."""
    return sorted({*globals(), *__all__})
