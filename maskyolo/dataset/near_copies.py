"""Find near-copies of photos by their perceptual hashes, among up to millions of photos."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise

import cv2
import imagehash
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from maskyolo.core.images import ImageArray

__all__ = [
    "NEAR_COPY",
    "count_near_copies",
    "group_near_copies",
    "near_copies",
    "perceptual_hashes",
]

#: Maximum number of bits in which the 64-bit perceptual hashes of near-copies differ.
NEAR_COPY = 6

#: Number of parts that a hash is split into: 16 bits each, so that a part has few equals in a
#: million hashes, and for `NEAR_COPY`, one part of two near-copies differs in at most one bit.
_PARTS = 4

#: Number of pairs of hashes to compare at once: about 100 MB.
_BLOCK = 1 << 20

#: Number of found pairs to keep before images that they connect are merged.
_KEPT = 1 << 21

Hashes = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.int64]


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
) -> Indices:
    """Find all pairs of images that are near-copies of each other.

    Many equal images have very many pairs: to group or count them, use `group_near_copies` and
    `count_near_copies`, which do not list the pairs.

    Args:
        hashes: perceptual hashes (n) as hex digits, at most 16, all of the same length.
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
    plain, turned, bits = _parse(hashes, mirrored)
    others = plain if to is None else _parse(to, None)[0]
    found = [_both(*_near(plain, others, distance, bits))]
    if turned is not None:
        found.append(_both(*_near(turned, others, distance, bits)))
    pairs = np.concatenate(found)
    if to is None:
        pairs = np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1)
    return np.unique(pairs, axis=0)


def group_near_copies(
    hashes: Sequence[str],
    mirrored: Sequence[str] | None = None,
    distance: int = NEAR_COPY,
    links: Sequence[tuple[int, int]] = (),
) -> Indices:
    """Group images that are near-copies of each other, directly or through other images.

    Args:
        hashes: perceptual hashes (n) as hex digits, at most 16, all of the same length.
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
    plain, turned, bits = _parse(hashes, mirrored)
    alike, (kinds, kinds_turned) = _equal_ones(plain, turned)
    one, two = np.asarray(links, dtype=np.int64).reshape(-1, 2).T
    groups = _merge(np.arange(len(kinds)), [(alike[one], alike[two])])
    waiting: list[tuple[Indices, Indices]] = []
    for pairs in _near_kinds(kinds, kinds_turned, distance, bits):
        waiting.append(pairs)
        if sum(len(ones) for ones, _ in waiting) > _KEPT:
            groups, waiting = _merge(groups, waiting), []
    numbers = _merge(groups, waiting)[alike]
    _, first_seen, inverse = np.unique(numbers, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first_seen))[inverse].astype(np.int64)


def count_near_copies(
    hashes: Sequence[str],
    mirrored: Sequence[str] | None = None,
    splits: Sequence[str] | None = None,
    distance: int = NEAR_COPY,
) -> tuple[int, int]:
    """Count the pairs of near-copies, and how many of them are in different splits.

    Args:
        hashes: perceptual hashes (n) as hex digits, at most 16, all of the same length.
        mirrored: hashes of the mirrored images (n).
        splits: the split of each image (n). Default: one split.
        distance: maximum number of bits in which near-copies differ.

    >>> count_near_copies(["ff00", "00ff", "ff01"], None, ["train", "val", "val"], distance=1)
    (1, 1)
    """
    if not hashes:
        return 0, 0
    plain, turned, bits = _parse(hashes, mirrored)
    alike, (kinds, kinds_turned) = _equal_ones(plain, turned)
    names, of_split = np.unique(splits or [""] * len(hashes), return_inverse=True)
    counts = np.zeros((len(kinds), len(names)), dtype=np.int64)
    np.add.at(counts, (alike, of_split), 1)
    totals = counts.sum(axis=1)
    pairs = int((totals * (totals - 1) // 2).sum())
    together = int((counts * (counts - 1) // 2).sum())
    for one, two in _near_kinds(kinds, kinds_turned, distance, bits):
        pairs += int((totals[one] * totals[two]).sum())
        together += int((counts[one] * counts[two]).sum())
    return pairs, pairs - together


def _parse(
    hashes: Sequence[str], mirrored: Sequence[str] | None
) -> tuple[Hashes, Hashes | None, int]:
    """Return hashes and those of mirrored images as numbers, and their number of bits."""
    plain = np.array([int(value, 16) for value in hashes], dtype=np.uint64)
    if mirrored is None:
        return plain, None, 4 * len(hashes[0])
    return plain, np.array([int(value, 16) for value in mirrored], np.uint64), 4 * len(hashes[0])


def _equal_ones(
    plain: Hashes, turned: Hashes | None
) -> tuple[Indices, tuple[Hashes, Hashes | None]]:
    """Return which different kind of image each one is, and the hashes of the kinds."""
    both = plain[:, None] if turned is None else np.stack([plain, turned], axis=1)
    kinds, alike = np.unique(both, axis=0, return_inverse=True)
    return alike.reshape(-1), (kinds[:, 0].copy(), None if turned is None else kinds[:, 1].copy())


def _near_kinds(
    plain: Hashes, turned: Hashes | None, distance: int, bits: int
) -> Iterator[tuple[Indices, Indices]]:
    """Yield the pairs of near-copies among different images, each once, in blocks."""
    for one, two in _near(plain, plain, distance, bits):
        once = one < two
        yield one[once], two[once]
    if turned is None:
        return
    for one, two in _near(turned, plain, distance, bits):
        new = (one != two) & (_differing(plain[one], plain[two]) > distance)
        # the same pair may be found from either side
        new &= (one < two) | (_differing(turned[two], plain[one]) > distance)
        yield one[new], two[new]


def _near(
    ones: Hashes, others: Hashes, distance: int, bits: int
) -> Iterator[tuple[Indices, Indices]]:
    """Yield all pairs within a distance, each once, in blocks.

    If two hashes are split into parts, at least one part differs in no more bits than the distance
    divided by the number of parts: multi-index hashing (Norouzi, Punjani, Fleet: "Fast Search in
    Hamming Space with Multi-Index Hashing", CVPR 2012).
    """
    spread = distance // _PARTS
    edges = np.linspace(0, bits, _PARTS + 1).astype(int)
    parts = [(int(low), int(high - low)) for low, high in pairwise(edges)]
    for number, (low, width) in enumerate(parts):
        key = _part(others, low, width)
        order = np.argsort(key, kind="stable")
        ordered = others[order]
        starts = np.searchsorted(key[order], np.arange((1 << width) + 1))
        own = _part(ones, low, width)
        for flips in _flips(width, spread):
            for one, place in _candidates(own ^ flips, starts):
                near = _differing(ones[one], ordered[place]) <= distance
                one, two = one[near], order[place[near]]
                earlier = np.zeros(len(one), dtype=bool)  # found by an earlier part
                for before, size in parts[:number]:
                    at = _part(ones[one] ^ others[two], before, size)
                    earlier |= np.bitwise_count(at) <= spread
                yield one[~earlier], two[~earlier]


def _candidates(keys: Indices, starts: Indices) -> Iterator[tuple[Indices, Indices]]:
    """Yield the indices of keys and the places of all that have the same key, in blocks."""
    first = starts[keys]
    ends = np.cumsum(starts[keys + 1] - first)
    total = int(ends[-1])
    for begin in range(0, total, _BLOCK):
        at = np.arange(begin, min(begin + _BLOCK, total))
        low, high = np.searchsorted(ends, [at[0], at[-1]], side="right")
        own = np.arange(low, high + 1)
        previous = np.concatenate([ends[low - 1 : low] if low else [0], ends[low:high]])
        counts = np.minimum(ends[own], at[-1] + 1) - np.maximum(previous, at[0])
        one = np.repeat(own, counts)
        yield one, first[one] + at - np.repeat(previous, counts)


def _part(hashes: Hashes, low: int, width: int) -> Indices:
    """Return the bits from `low` to `low + width` of each hash."""
    return (hashes >> np.uint64(low) & np.uint64((1 << width) - 1)).astype(np.int64)


def _flips(width: int, most: int) -> Iterator[int]:
    """Yield all numbers of `width` bits with at most `most` ones."""
    for ones in range(min(most, width) + 1):
        for places in combinations(range(width), ones):
            yield sum(1 << place for place in places)


def _differing(one: Hashes, two: Hashes) -> npt.NDArray[np.uint8]:
    counts: npt.NDArray[np.uint8] = np.bitwise_count(one ^ two)
    return counts


def _both(*blocks: tuple[Indices, Indices]) -> Indices:
    """Return blocks of pairs as one array (k, 2)."""
    empty = np.zeros((0, 2), dtype=np.int64)
    return np.concatenate([empty, *(np.stack(block, axis=1) for block in blocks)])


def _merge(groups: Indices, pairs: Sequence[tuple[Indices, Indices]]) -> Indices:
    """Return group numbers after groups that a pair of members connects are merged."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    if not pairs:
        return groups
    one, two = (groups[np.concatenate(side)] for side in zip(*pairs, strict=True))
    size = len(groups)
    graph = coo_matrix((np.ones(len(one), dtype=bool), (one, two)), shape=(size, size))
    merged: Indices = connected_components(graph, directed=False)[1].astype(np.int64)
    return merged[groups]
