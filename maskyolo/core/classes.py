"""The classes, the three splits, and common spellings of the class names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

__all__ = [
    "ALL_CLASS_NAMES",
    "CLASS_NAMES",
    "INCORRECT_MASK",
    "INCORRECT_MASK_ID",
    "SPLITS",
    "WITHOUT_MASK_ID",
    "WITH_MASK_ID",
    "class_of",
    "find_class",
    "order_names",
    "parse_class_map",
    "plain_name",
]

#: The two classes; a name's index is its class id everywhere: labels, `Detections.class_id`, JSONL,
#: models.
CLASS_NAMES = ("with_mask", "without_mask")

#: The third class, which a data set or a model may have: a mask below the nose, on the chin, ...
#: Where only two classes are reported, it counts as without_mask.
INCORRECT_MASK = "incorrect_mask"

#: The classes of a data set or a model that has the third one; again, the index is the class id.
ALL_CLASS_NAMES = (*CLASS_NAMES, INCORRECT_MASK)

WITH_MASK_ID, WITHOUT_MASK_ID, INCORRECT_MASK_ID = range(len(ALL_CLASS_NAMES))

#: The splits of a data set, in the order of `--splits`.
SPLITS = ("train", "val", "test")

_SPELLINGS = {
    "with_mask": "withmask mask masked with masks facemask facewithmask maskon maskedface "
    "wearingmask goodmask",
    "without_mask": "withoutmask nomask unmasked without nonmask notmasked bare bareface "
    "facenomask nofacemask maskoff facewithoutmask unmaskedface notwearingmask nomaskface",
    INCORRECT_MASK: "incorrectmask incorrect incorrectly incorrectfacemask incorrectlymasked "
    "incorrectlymaskedface incorrectlyworn incorrectlywornmask wornincorrect wornincorrectly "
    "maskincorrect maskincorrectly maskwornincorrect maskwornincorrectly maskwearedincorrect "
    "maskwearedincorrectly wearedincorrect wearmaskincorrect wearmaskincorrectly "
    "wearingmaskincorrectly wearingincorrectly facewithmaskincorrect facewithincorrectmask "
    "withincorrectmask improper impropermask improperly improperlyworn maskwornimproperly "
    "badmask wrongmask maskwrong wronglyworn notproperlyworn",
}
_CLASS_OF = {
    spelling: name for name, spellings in _SPELLINGS.items() for spelling in spellings.split()
}


def class_of(name: str) -> str:
    """Return which of `ALL_CLASS_NAMES` a name stands for, in any common spelling, or "".

    >>> class_of("No Mask"), class_of("mask_weared_incorrect"), class_of("helmet")
    ('without_mask', 'incorrect_mask', '')
    """
    return _CLASS_OF.get(plain_name(name), "")


def find_class(text: str, names: Sequence[str]) -> str:
    """Return the one of a data set's class names that a text stands for, or "".

    >>> find_class("mask_weared_incorrect", ["with_mask", "without_mask", "incorrect_mask"])
    'incorrect_mask'
    """
    if text in names:
        return text
    known = class_of(text)
    return next((name for name in names if known and class_of(name) == known), "")


def order_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return the class names of a data set by id: our two, the third if it is in `names`, others.

    >>> order_names(["helmet", "incorrect_mask"])
    ('with_mask', 'without_mask', 'incorrect_mask', 'helmet')
    """
    names = list(dict.fromkeys(names))
    third = [INCORRECT_MASK] if INCORRECT_MASK in names else []
    return (*CLASS_NAMES, *third, *(name for name in names if name not in ALL_CLASS_NAMES))


def plain_name(name: str) -> str:
    """Return a class or folder name in lower case, letters and digits only, for comparison."""
    return re.sub(r"[\W_]", "", name).lower()


def parse_class_map(texts: Sequence[str]) -> dict[str, str]:
    """Parse the values of `--map`, each NAME=CLASS.

    Raises:
        ValueError: a value has another form.
    """
    class_map = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not (name and separator and value):
            raise ValueError(f"expected NAME=CLASS, got '{text}'")
        class_map[name] = value
    return class_map
