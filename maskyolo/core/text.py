"""Helpers for the wording of messages and reports."""

from __future__ import annotations

__all__ = ["counted"]


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun; the plural gets an s unless `many` is given.

    >>> counted(1, "frame"), counted(2, "frame"), counted(0, "box", "boxes")
    ('1 frame', '2 frames', '0 boxes')
    """
    return f"{number} {one if number == 1 else many or one + 's'}"
