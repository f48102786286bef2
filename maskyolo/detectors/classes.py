"""Map a network's classes to ours, by their names or by the user's class map."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maskyolo.core.classes import (
    ALL_CLASS_NAMES,
    CLASS_NAMES,
    INCORRECT_MASK,
    class_of,
    plain_name,
)
from maskyolo.errors import MaskyoloError, WeightsError
from maskyolo.models.backends.base import Tensor

__all__ = ["NetworkClasses", "find_classes"]

#: Values of a class map, apart from the names of our classes, that leave out the detections of a
#: network's class.
_LEFT_OUT = ("ignore", "drop")
_CHOICES = (*ALL_CLASS_NAMES, *_LEFT_OUT)

#: Names of a class that may be any face. Next to a class with masks only, it means a bare face.
_FACES = ("face", "faces")

#: Maximum number of class names to list in a message.
_LISTED = 6


@dataclass(frozen=True)
class NetworkClasses:
    """Which of a network's classes stand for each class that a detector reports.

    Attributes:
        names: the reported classes: `CLASS_NAMES`, or `ALL_CLASS_NAMES`.
        rows: for each of them, the numbers of the network's classes that stand for it.
        own_names: the network's class names.
        meanings: what each of them stands for: one of `ALL_CLASS_NAMES`, `ignore` or `drop`.
    """

    names: tuple[str, ...]
    rows: tuple[tuple[int, ...], ...]
    own_names: tuple[str, ...]
    meanings: tuple[str, ...]

    @property
    def is_usual(self) -> bool:
        """Whether the network has exactly the reported classes, in order."""
        return self.rows == tuple((number,) for number in range(len(self.own_names)))

    def select(self, output: Tensor) -> Tensor:
        """Return a network's output with the scores of the reported classes only, in order.

        If several classes of the network stand for one, their scores are joined before NMS, so that
        a face gets one box: 1 - (1 - a)(1 - b), the probability that at least one applies if they
        are independent, as the network's sigmoids are trained. The maximum would lose faces whose
        score is split between the classes. The difference is small: for a detector of three classes
        on the 170 photos of kaggle853's val.txt, mAP50 is 0.8293, with the maximum 0.8289, with the
        sum 0.8292.

        Args:
            output: float32 (4 + own classes, anchors); see `Backend`.

        Returns:
            float32 (4 + classes, anchors); `output` itself, not a copy, if nothing changes.
        """
        if self.is_usual:
            return output
        scores = [
            output[4 + rows[0]]
            if len(rows) == 1
            else 1 - np.prod(1 - output[[4 + row for row in rows]], axis=0)
            for rows in self.rows
        ]
        return np.concatenate([output[:4], np.stack(scores)])

    def in_words(self) -> str:
        """Return what each of the network's classes stands for; empty if the names are ours."""
        if self.is_usual and self.own_names == self.names:
            return ""
        reported = {
            own: self.names[number] for number, rows in enumerate(self.rows) for own in rows
        }
        return ", ".join(
            name if reported.get(own) == name else f"{name} as {reported.get(own, 'nothing')}"
            for own, name in enumerate(self.own_names)
        )


def find_classes(
    own_names: Sequence[str],
    class_map: Mapping[str, str] | None = None,
    incorrect: bool = False,
    weights: Path | str = "",
) -> NetworkClasses:
    """Map a network's classes to ours.

    Names are recognized in any common spelling, see `class_of`. `face` stands for without_mask if
    the only other class is with_mask; next to both, it may be any face, and is left out. A class
    called `ignore` or `drop`, as in an export with a class map, is left out.

    Args:
        own_names: the network's class names, by its own ids.
        class_map: the meaning of its classes, by name (case, spaces and punctuation do not
            matter): one of our classes, or `ignore` or `drop` to leave out its detections.
        incorrect: whether to report the third class, incorrect_mask. Otherwise it counts as
            without_mask.
        weights: the network's file, for error messages.

    Raises:
        WeightsError: a class cannot be mapped, or one of ours is missing.
        MaskyoloError: the class map has an unknown value.

    Example:
        >>> find_classes(["no-mask", "Mask", "helmet"], {"helmet": "ignore"}).rows
        ((1,), (0,))
    """
    meanings = _meanings(own_names, class_map or {})
    _check_known(own_names, meanings, weights)
    reported = ALL_CLASS_NAMES if incorrect else CLASS_NAMES
    folds = {} if incorrect else {INCORRECT_MASK: "without_mask"}
    rows = tuple(
        tuple(
            number for number, meaning in enumerate(meanings) if folds.get(meaning, meaning) == name
        )
        for name in reported
    )
    missing = [name for name, found in zip(reported, rows, strict=True) if not found]
    if missing:
        raise WeightsError(
            f"wrong weights{_of(weights)}: none of its classes ({_listed(own_names)}) is "
            f"{missing[0]}",
            "leave out --incorrect, or use a model with this class"
            if missing[0] == INCORRECT_MASK
            else f"use a model that finds faces with and without a mask, or map one of its classes "
            f"with --map NAME={missing[0]}",
        )
    return NetworkClasses(reported, rows, tuple(own_names), tuple(meanings))


def _meanings(own_names: Sequence[str], class_map: Mapping[str, str]) -> list[str]:
    """Return what each of a network's classes stands for; empty if that is unknown."""
    mapped = {plain_name(name): choice for name, choice in class_map.items()}
    wrong = next((choice for choice in mapped.values() if choice not in _CHOICES), None)
    if wrong is not None:
        raise MaskyoloError(
            f"unknown class '{wrong}' in the class map", f"choose one of {', '.join(_CHOICES)}"
        )
    known = {name: name for name in _LEFT_OUT} | mapped
    meanings = [known.get(plain_name(name)) or class_of(name) for name in own_names]
    if "with_mask" not in meanings:
        return meanings
    face = "ignore" if "without_mask" in meanings else "without_mask"
    return [
        meaning or (face if plain_name(name) in _FACES else "")
        for name, meaning in zip(own_names, meanings, strict=True)
    ]


def _check_known(names: Sequence[str], meanings: Sequence[str], weights: Path | str) -> None:
    """Raise a WeightsError if a class of a network cannot be mapped."""
    unknown = [name for name, target in zip(names, meanings, strict=True) if not target]
    if not unknown:
        return
    if len(names) == 1:
        raise WeightsError(
            f"wrong weights{_of(weights)}: its only class is {names[0]}, so it cannot tell faces "
            "with a mask from faces without",
            "use a model with both classes; if it finds faces, let a classifier decide: "
            f"--pipeline two-stage --detector yolo --face {weights or 'FILE'}, without --model",
        )
    problem = f"wrong weights{_of(weights)}: unknown classes {_listed(unknown)}"
    if {*CLASS_NAMES} <= {*meanings}:
        raise WeightsError(
            problem,
            f"leave out their detections with {' '.join(_option(name) for name in unknown)}, "
            f"or give another class instead of ignore: {', '.join(ALL_CLASS_NAMES)}",
        )
    if len(unknown) > _LISTED:
        raise WeightsError(
            f"wrong weights{_of(weights)}: {len(names)} classes ({_listed(names)}), but not "
            f"{' and '.join(name for name in CLASS_NAMES if name not in meanings)}",
            "use a model that finds faces with and without a mask, such as maskyolo-n, or map "
            f"each class with {_option(unknown[0], 'CLASS')} and so on, where CLASS is "
            f"{', '.join(_CHOICES[:-1])}",
        )
    raise WeightsError(
        problem,
        f"map them with {' '.join(_option(name, 'CLASS') for name in unknown)}, where "
        f"CLASS is {', '.join(_CHOICES[:-2])} or {_CHOICES[-2]} (leave out)",
    )


def _option(name: str, choice: str = "ignore") -> str:
    return f"--map {shlex.quote(f'{name}={choice}')}"


def _of(weights: Path | str) -> str:
    return f" {weights}" if weights else ""


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
