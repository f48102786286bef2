"""Which class output of the initial weights each class of a data set starts from."""

from __future__ import annotations

from collections.abc import Sequence

from maskyolo.core.classes import CLASS_NAMES, INCORRECT_MASK, WITHOUT_MASK_ID, class_of

__all__ = ["find_rows", "match_outputs"]


def match_outputs(known: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """Return the class of the initial weights that each class of a data set starts from.

    Classes match in any spelling that `class_of` knows. A third class that the weights lack starts
    from the class that includes it in such weights: incorrect_mask from without_mask.

    Args:
        known: class names of the initial weights.
        names: class names of the data set.

    Returns:
        By name; empty if there is nothing to start from for one of them.

    Example:
        >>> match_outputs(["no-mask", "mask"], ["with_mask", "without_mask", "incorrect_mask"])
        {'with_mask': 'mask', 'without_mask': 'no-mask', 'incorrect_mask': 'no-mask'}
    """
    matches = {_plain(name): name for name in reversed(known)}
    without = matches.get(CLASS_NAMES[WITHOUT_MASK_ID])
    if without is not None:
        matches.setdefault(INCORRECT_MASK, without)
    plain = [_plain(name) for name in names]
    if not all(name in matches for name in plain):
        return {}
    return {name: matches[key] for name, key in zip(names, plain, strict=True)}


def find_rows(known: Sequence[str], names: Sequence[str]) -> list[int]:
    """Return `match_outputs` as indices into `known`, in the order of `names`."""
    return [known.index(name) for name in match_outputs(known, names).values()]


def _plain(name: str) -> str:
    return class_of(name) or name
