"""Split a data set so that no photo of one split has a near-copy in another."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["NEAR_COPY", "assign_splits", "group_near_copies"]

#: Two pictures whose 64-bit perceptual hashes differ in at most this many bits are taken for copies of each other.
NEAR_COPY = 6


def group_near_copies(hashes: Sequence[str], distance: int = NEAR_COPY) -> npt.NDArray[np.int64]:
    """Group pictures that are near-copies, directly or by way of others.

    Args:
        hashes: perceptual hashes as hex digits, all of one length.
        distance: most bits that near-copies differ in.

    Returns:
        Group numbers int64 (n,), counted from 0 in the order of each group's first picture.

    >>> group_near_copies(["ff00", "00ff", "ff01"], distance=1).tolist()
    [0, 1, 0]
    """
    if not hashes:
        return np.zeros(0, dtype=np.int64)
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    bits = np.unpackbits(np.array([list(bytes.fromhex(value)) for value in hashes], dtype=np.uint8), axis=1).astype(np.float32)
    firsts, seconds = [], []
    for start in range(0, len(bits), 1024):  # in blocks: all pairs of 50,000 pictures at once would be 10 GB
        block = bits[start : start + 1024]
        differing = block.sum(1)[:, None] + bits.sum(1)[None] - 2 * block @ bits.T
        first, second = np.nonzero(differing <= distance)
        firsts.append(first + start)
        seconds.append(second)
    pairs = np.concatenate(firsts), np.concatenate(seconds)
    _, groups = connected_components(coo_matrix((np.ones(len(pairs[0]), dtype=bool), pairs), shape=(len(bits), len(bits))), directed=False)
    _, first_seen, numbers = np.unique(groups, return_index=True, return_inverse=True)
    order = np.argsort(np.argsort(first_seen))
    return order[numbers].astype(np.int64)


def assign_splits(
    groups: Sequence[int], strata: Sequence[Hashable], fractions: dict[str, float], seed: int = 0, keys: Sequence[str] | None = None
) -> list[str]:
    """Give every photo a split: whole groups only, each stratum divided in the given proportions.

    The order in which groups are dealt out is that of a hash of the seed and the group's first key, so a photo that is added
    or removed hardly moves the others.

    Args:
        groups: group number of each photo (n).
        strata: what must be spread evenly, such as the class (n); a group counts for its first photo's.
        fractions: share of each split, such as `{"train": 0.8, "val": 0.1, "test": 0.1}`; they sum to 1.
        seed: another seed gives another division.
        keys: stable names of the photos (n); by default their places.

    Returns:
        The split of each photo (n). Every split with a share gets a group of each stratum, as long as there are enough.
    """
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
        stratum.sort(key=lambda places: hashlib.sha256(f"{seed}/{names[places[0]]}".encode()).digest())
        total = sum(len(places) for places in stratum)
        given = dict.fromkeys(wanted, 0)
        for places in stratum:
            empty = [split for split in wanted if not given[split]]
            choice = empty or list(wanted)  # first one group to each, then to whoever lacks most
            split = max(choice, key=lambda name: wanted[name] * total - given[name])
            given[split] += len(places)
            for place in places:
                splits[place] = split
    return splits
