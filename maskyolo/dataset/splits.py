"""Split a data set so that near-copies of a photo stay in one split."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence

__all__ = ["assign_splits", "random_leaks"]


def random_leaks(pairs: int, counts: Iterable[int]) -> float:
    """Return how many pairs of near-copies a random split would separate on average.

    Args:
        pairs: number of pairs of near-copies.
        counts: number of images in each split.

    >>> random_leaks(10, [80, 10, 10])
    3.4343434343434343
    """
    sizes = list(counts)
    total = sum(sizes)
    return (
        pairs * (1 - sum(size * (size - 1) for size in sizes) / (total * (total - 1)))
        if total > 1
        else 0.0
    )


def assign_splits(
    groups: Sequence[int],
    strata: Sequence[Hashable],
    fractions: dict[str, float],
    seed: int = 0,
    keys: Sequence[str] | None = None,
    fixed: Mapping[int, str] | None = None,
) -> list[str]:
    """Assign every photo to a split, keeping groups whole and each stratum in proportion.

    Groups are assigned in the order of a hash of the seed and the group's first key, so that adding
    or removing a photo hardly affects the others.

    Args:
        groups: group number of each photo (n).
        strata: what to spread evenly, such as the class (n); a group has its first photo's.
        fractions: fraction of each split, such as `{"train": 0.8, "val": 0.1, "test": 0.1}`, with a
            sum of 1.
        seed: random seed.
        keys: stable names of the photos (n). Default: their indices.
        fixed: splits of groups that are already decided.

    Returns:
        The split of each photo (n). Every split with a fraction above 0 gets at least one group of
        each stratum, as long as there are enough.
    """
    fixed = fixed or {}
    names = [str(place) for place in range(len(groups))] if keys is None else keys
    members: dict[int, list[int]] = defaultdict(list)
    for place, group in enumerate(groups):
        members[int(group)].append(place)
    by_stratum: dict[Hashable, list[list[int]]] = defaultdict(list)
    for places in members.values():
        by_stratum[strata[places[0]]].append(places)
    splits = [""] * len(groups)
    wanted = {split: share for split, share in fractions.items() if share > 0}
    for stratum in by_stratum.values():
        total = sum(len(places) for places in stratum)
        given = dict.fromkeys((*wanted, *fixed.values()), 0)
        settled = [places for places in stratum if groups[places[0]] in fixed]
        open_ones = [places for places in stratum if groups[places[0]] not in fixed]
        open_ones.sort(
            key=lambda places: hashlib.sha256(f"{seed}/{names[places[0]]}".encode()).digest()
        )
        for places in settled + open_ones:
            empty = [split for split in wanted if not given[split]]
            # First give each split one group, then always the split furthest below its fraction.
            choice = empty or list(wanted)
            split = fixed.get(groups[places[0]]) or max(
                choice, key=lambda name: wanted[name] * total - given[name]
            )
            given[split] += len(places)
            for place in places:
                splits[place] = split
    return splits
