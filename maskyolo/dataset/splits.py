"""Split a data set so that near-copies of a photo stay in one split, and check that they do."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence

import cv2
import imagehash
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from maskyolo.core.images import ImageArray

__all__ = [
    "NEAR_COPY",
    "assign_splits",
    "group_near_copies",
    "near_copies",
    "perceptual_hashes",
    "random_leaks",
]

#: Maximum number of bits in which the 64-bit perceptual hashes of near-copies differ.
NEAR_COPY = 6


def perceptual_hashes(image: ImageArray) -> tuple[str, str]:
    """Return the perceptual hashes of a BGR image and of its mirror image.

    Both are imagehash's `phash`, 64 bits as 16 hex digits.
    """
    small = Image.fromarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)).resize(
        (32, 32), Image.Resampling.LANCZOS
    )
    return str(imagehash.phash(small)), str(imagehash.phash(ImageOps.mirror(small)))


def near_copies(
    hashes: Sequence[str],
    mirrored: Sequence[str] | None = None,
    distance: int = NEAR_COPY,
    to: Sequence[str] | None = None,
) -> npt.NDArray[np.int64]:
    """Find all pairs of images that are near-copies of each other.

    Args:
        hashes: perceptual hashes (n) as hex digits, all of the same length.
        mirrored: hashes of the mirrored images (n), to find mirrored copies too.
        distance: maximum number of bits in which near-copies differ.
        to: hashes (m) of other images, to compare with these instead of with each other.

    Returns:
        Pairs of indices, int64 (k, 2), in order; without `to`, the smaller index comes first.

    >>> near_copies(["ff00", "00ff", "ff01"], distance=1).tolist()
    [[0, 2]]
    """
    if not hashes or (to is not None and not to):
        return np.zeros((0, 2), dtype=np.int64)
    others = _bits(hashes if to is None else to)
    pairs = []
    # In blocks, because comparing all pairs of 50,000 images at once would take 10 GB.
    for start in range(0, len(hashes), 1024):
        near = _within(_bits(hashes[start : start + 1024]), others, distance)
        if mirrored is not None:
            near |= _within(_bits(mirrored[start : start + 1024]), others, distance)
        pairs.append(np.argwhere(near) + np.array([start, 0]))
    found = np.concatenate(pairs)
    if to is not None:
        return found
    return np.unique(np.sort(found[found[:, 0] != found[:, 1]], axis=1), axis=0)


def group_near_copies(
    hashes: Sequence[str],
    mirrored: Sequence[str] | None = None,
    distance: int = NEAR_COPY,
    links: Sequence[tuple[int, int]] = (),
) -> npt.NDArray[np.int64]:
    """Group images that are near-copies of each other, directly or through other images.

    Args:
        hashes: perceptual hashes (n) as hex digits, all of the same length.
        mirrored: hashes of the mirrored images (n).
        distance: maximum number of bits in which near-copies differ.
        links: pairs of indices of images that belong together regardless of their hashes.

    Returns:
        Group numbers, int64 (n,), starting with 0, in order of each group's first image.

    >>> group_near_copies(["ff00", "00ff", "ff01"], distance=1).tolist()
    [0, 1, 0]
    """
    if not hashes:
        return np.zeros(0, dtype=np.int64)
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    pairs = np.concatenate(
        [near_copies(hashes, mirrored, distance), np.asarray(links, dtype=np.int64).reshape(-1, 2)]
    )
    graph = coo_matrix((np.ones(len(pairs), dtype=bool), pairs.T), shape=(len(hashes), len(hashes)))
    _, groups = connected_components(graph, directed=False)
    _, first_seen, numbers = np.unique(groups, return_index=True, return_inverse=True)
    order = np.argsort(np.argsort(first_seen))
    return order[numbers].astype(np.int64)


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


def _bits(hashes: Sequence[str]) -> npt.NDArray[np.float32]:
    return np.unpackbits(
        np.array([list(bytes.fromhex(value)) for value in hashes], dtype=np.uint8), axis=1
    ).astype(np.float32)


def _within(
    one: npt.NDArray[np.float32], two: npt.NDArray[np.float32], distance: int
) -> npt.NDArray[np.bool_]:
    differing = one.sum(1)[:, None] + two.sum(1)[None] - 2 * one @ two.T
    near: npt.NDArray[np.bool_] = differing <= distance
    return near
