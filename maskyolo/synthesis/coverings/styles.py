"""The styles of masks, and how often each is chosen."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

__all__ = ["COLORS", "MASKS", "PATTERNS", "WORN", "MaskStyle", "choose_style", "choose_worn"]

#: Kinds of mask: pleated, sewn, folded along the nose (also KN95), three-panel, molded.
MASKS = ("surgical", "cloth", "ffp2", "kf94", "cup")


#: Patterns of cloth.
PATTERNS = ("plain", "stripes", "check", "dots", "flowers", "camouflage", "print")


#: Ways to wear a mask; all but the first are incorrect.
WORN = ("well", "under the nose", "on the chin", "hanging from an ear")


#: Colors of masks, RGB.
COLORS = {
    "white": (247, 247, 247),
    "blue": (134, 190, 232),
    "green": (140, 212, 192),
    "pink": (244, 176, 196),
    "lilac": (190, 176, 216),
    "gray": (139, 142, 146),
    "beige": (214, 192, 164),
    "black": (38, 38, 41),
    "navy": (36, 48, 92),
    "red": (176, 36, 44),
    "orange": (226, 124, 48),
    "yellow": (236, 204, 84),
    "olive": (96, 104, 66),
    "royal": (40, 92, 186),
    "brown": (112, 78, 58),
}


# How often each is chosen. People mostly wear white, blue and black; the other colors are included
# so that color does not reveal a mask.
_KINDS = {"surgical": 0.4, "cloth": 0.3, "ffp2": 0.15, "kf94": 0.09, "cup": 0.06}


_COLORS_OF = {
    "surgical": {
        "blue": 0.34,
        "white": 0.24,
        "black": 0.16,
        "green": 0.1,
        "pink": 0.06,
        "gray": 0.04,
        "lilac": 0.03,
        "navy": 0.03,
    },
    "cloth": {
        "black": 0.24,
        "white": 0.1,
        "gray": 0.1,
        "navy": 0.1,
        "red": 0.08,
        "pink": 0.06,
        "beige": 0.06,
        "olive": 0.05,
    }
    | dict.fromkeys(("royal", "orange", "yellow", "brown", "lilac", "green", "blue"), 0.03),
    "ffp2": {
        "white": 0.62,
        "black": 0.18,
        "gray": 0.06,
        "blue": 0.05,
        "pink": 0.03,
        "navy": 0.03,
        "beige": 0.03,
    },
    "kf94": {"white": 0.6, "black": 0.26, "gray": 0.07, "beige": 0.07},
    "cup": {"white": 0.8, "gray": 0.1, "blue": 0.1},
}


# Most people who wear a mask incorrectly have it under the nose or on the chin.
_INCORRECT = {"under the nose": 0.5, "on the chin": 0.35, "hanging from an ear": 0.15}


_PATTERNS = {
    "plain": 0.5,
    "stripes": 0.1,
    "check": 0.1,
    "dots": 0.08,
    "flowers": 0.08,
    "camouflage": 0.06,
    "print": 0.08,
}


@dataclass(frozen=True)
class MaskStyle:
    """A style of mask, and how it is worn.

    One each of `MASKS`, `COLORS`, `PATTERNS` (for cloth only) and `WORN`.
    """

    kind: str = "surgical"
    color: str = "blue"
    pattern: str = "plain"
    worn: str = "well"


def choose_style(rng: np.random.Generator) -> MaskStyle:
    """Choose a mask style; kinds, colors and patterns occur about as often as people wear them."""
    kind = _pick(_KINDS, rng)
    color = _pick(_COLORS_OF[kind], rng)
    return MaskStyle(kind, color, _pick(_PATTERNS, rng) if kind == "cloth" else "plain")


def choose_worn(style: MaskStyle, rng: np.random.Generator) -> MaskStyle:
    """Return the style worn incorrectly, in one of the ways of `WORN`."""
    worn = _pick(_INCORRECT, rng)
    if style.kind == "cup" and worn == "hanging from an ear":  # its straps go around the head
        worn = "on the chin"
    return replace(style, worn=worn)


def _pick(shares: dict[str, float], rng: np.random.Generator) -> str:
    names, weights = list(shares), np.array(list(shares.values()))
    return names[int(rng.choice(len(names), p=weights / weights.sum()))]
