"""Chooses frames that a detector can learn from: first unsure ones, then a variety of others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from maskyolo.core.labels import IGNORE, Labels
from maskyolo.dataset.near_copies import NEAR_COPY, group_near_copies

__all__ = ["Candidate", "choose"]

#: Maximum number of bits in which the hashes of near-copies of a recording's frames differ. Faces
#: move in front of a background that stays, so that frames of one camera are all more alike than
#: photos are.
_NEAR_FRAME = 2


@dataclass(frozen=True)
class Candidate:
    """A frame that could be taken.

    Attributes:
        source: number of its source.
        index: its index in the source.
        still: whether it is an image, and not a frame of a recording.
        hashes: its perceptual hash and that of its mirror image.
        labels: its faces; those of the class `IGNORE` are blanked out.
        unsure: whether the detector can learn from one of its faces.
    """

    source: int
    index: int
    still: bool
    hashes: tuple[str, str]
    labels: Labels
    unsure: bool


def choose(candidates: Sequence[Candidate], limit: int) -> tuple[list[Candidate], dict[str, int]]:
    """Return the frames to take, in their order, and how many are left out, by reason.

    Frames without a labeled face are left out, and so are those with more unclear faces than
    labeled ones. Near-copies are dropped, except frames of recordings of which the detector is
    unsure, which are up to half of what is taken. All are spread over the sources and their hours.

    Args:
        candidates: the frames of all sources, in order.
        limit: maximum number of frames.
    """
    left = dict.fromkeys(("no clear face", "more unclear faces than clear ones", "near-copy"), 0)
    usable = []
    for one in candidates:
        unclear = int((one.labels.class_ids == IGNORE).sum())
        clear = len(one.labels) - unclear
        if not clear:
            left["no clear face"] += 1
        elif unclear > clear:
            left["more unclear faces than clear ones"] += 1
        else:
            usable.append(one)
    unsure = [one for one in usable if one.unsure and not one.still]
    taken = _spread(unsure, max(limit // 2, 1))
    kept = {id(one) for one in taken}
    others = _without_copies([one for one in usable if id(one) not in kept])
    left["near-copy"] = len(usable) - len(taken) - len(others)
    more = _spread(others, limit - len(taken))
    left["above --frames"] = len(others) - len(more)
    kept |= {id(one) for one in more}
    return [one for one in usable if id(one) in kept], {
        reason: count for reason, count in left.items() if count
    }


def _without_copies(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates, only the first of each group of near-copies."""
    first: set[int] = set()
    for still, distance in ((True, NEAR_COPY), (False, _NEAR_FRAME)):
        some = [one for one in candidates if one.still is still]
        plain, mirrored = [one.hashes[0] for one in some], [one.hashes[1] for one in some]
        groups = group_near_copies(plain, mirrored if still else None, distance)
        first |= {id(some[int(place)]) for place in np.unique(groups, return_index=True)[1]}
    return [one for one in candidates if id(one) in first]


def _spread(candidates: Sequence[Candidate], limit: int) -> list[Candidate]:
    """Return at most `limit` of the candidates, evenly spread over their order."""
    if len(candidates) <= limit:
        return list(candidates)
    return [candidates[number * len(candidates) // limit] for number in range(limit)]
