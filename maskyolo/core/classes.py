"""The two classes, the three splits, and common spellings of the class names."""

from __future__ import annotations

import re

__all__ = ["CLASS_NAMES", "SPLITS", "class_of", "plain_name"]

#: The two classes; a name's index is its class id everywhere: labels, `Detections.class_id`, JSONL,
#: models.
CLASS_NAMES = ("with_mask", "without_mask")

#: The splits of a data set, in the order of `--splits`.
SPLITS = ("train", "val", "test")

_SPELLINGS = {
    "with_mask": "withmask mask masked with masks facemask facewithmask maskon maskedface "
    "wearingmask goodmask",
    "without_mask": "withoutmask nomask unmasked without nonmask notmasked bare bareface "
    "facenomask nofacemask maskoff facewithoutmask unmaskedface notwearingmask nomaskface",
}
_CLASS_OF = {
    spelling: name for name, spellings in _SPELLINGS.items() for spelling in spellings.split()
}


def class_of(name: str) -> str:
    """Return the class that a name stands for in any common spelling, or an empty string.

    >>> class_of("No Mask"), class_of("face_mask"), class_of("helmet")
    ('without_mask', 'with_mask', '')
    """
    return _CLASS_OF.get(plain_name(name), "")


def plain_name(name: str) -> str:
    """Return a class or folder name in lower case, letters and digits only, for comparison."""
    return re.sub(r"[\W_]", "", name).lower()
