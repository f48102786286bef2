"""Which split a path belongs to, by the names of its folders."""

from __future__ import annotations

import functools
import re

__all__ = ["REST", "split_of", "split_of_name"]

#: Name of the folder or file for images without a split, in a set that has splits.
REST = "rest"

_WORDS = {
    "train": "train",
    "training": "train",
    "trainset": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "valset": "val",
    "validset": "val",
    "dev": "val",
    "devset": "val",
    "test": "test",
    "testing": "test",
    "testset": "test",
    REST: "",
}
#: Words that may stand next to one of these, as in `obj_train_data` or `images_val`.
_NEUTRAL = re.compile(
    "images?|imgs?|photos?|pictures?|labels?|annotations|data|dataset|sets?|obj|objects|split|"
    "folder|files|subset|yolo|voc|coco"
)


def split_of(path: str) -> str:
    """Return the split named by the folders or the file name in a path; empty if there is none.

    The innermost name takes precedence.

    >>> split_of("images/train/1.jpg"), split_of("instances_val2017.json"), split_of("images/1.jpg")
    ('train', 'val', '')
    >>> split_of("obj_valid_data/1.jpg"), split_of("Test/WithMask/1.jpg"), split_of("test me/1.jpg")
    ('val', 'test', '')
    """
    folder, _, name = path.rpartition("/")
    if name.lower().endswith(".json"):
        for word in reversed(_words_of(name)[:-1]):
            if word in _WORDS:
                return _WORDS[word]
    return _split_of_folder(folder)


def split_of_name(name: str) -> str | None:
    """Return the split that the name of a folder or list stands for; None if it stands for none.

    Empty for `rest`, the images that are in no split.
    """
    words = _words_of(name)
    found = [word for word in words if word in _WORDS]
    fits = len(found) == 1 and all(_NEUTRAL.fullmatch(word) for word in words if word not in _WORDS)
    return _WORDS[found[0]] if fits else None


@functools.lru_cache(maxsize=4096)
def _split_of_folder(path: str) -> str:
    found = (split_of_name(folder) for folder in reversed(path.split("/")))
    return next((split for split in found if split is not None), "")


def _words_of(name: str) -> list[str]:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return [word for word in re.split(r"[\W_\d]+", spaced.lower()) if word]
