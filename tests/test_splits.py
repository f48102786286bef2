from __future__ import annotations

from collections import Counter

import numpy as np

from maskyolo.splits import assign_splits, group_near_copies

FRACTIONS = {"train": 0.8, "val": 0.1, "test": 0.1}


def test_near_copies_are_grouped_by_way_of_others() -> None:
    # the first and third differ in 4 bits, but both are within 2 of the second
    assert group_near_copies(["0000000000000000", "0000000000000003", "000000000000000f", "ffffffffffffffff"], distance=2).tolist() == [
        0,
        0,
        0,
        1,
    ]
    assert group_near_copies([]).tolist() == []


def test_grouping_works_across_blocks() -> None:
    rng = np.random.default_rng(0)
    hashes = [rng.bytes(8).hex() for _ in range(2500)]
    hashes[2400] = hashes[3]
    groups = group_near_copies(hashes, distance=0)
    assert groups[2400] == groups[3]
    assert len(set(groups.tolist())) == 2499


def test_groups_stay_whole_and_shares_are_kept_in_each_class() -> None:
    groups = [number // 3 for number in range(900)]
    classes = ["with_mask" if number < 600 else "without_mask" for number in range(900)]
    splits = assign_splits(groups, classes, FRACTIONS, seed=1)
    assert all(len(set(splits[start : start + 3])) == 1 for start in range(0, 900, 3))
    for name, total in (("with_mask", 600), ("without_mask", 300)):
        counts = Counter(split for split, own in zip(splits, classes, strict=True) if own == name)
        assert counts == {"train": 0.8 * total, "val": 0.1 * total, "test": 0.1 * total}


def test_the_seed_decides_and_nothing_else() -> None:
    groups, classes, keys = list(range(200)), ["a"] * 200, [f"{number}.jpg" for number in range(200)]
    one = assign_splits(groups, classes, FRACTIONS, seed=1, keys=keys)
    assert one == assign_splits(groups, classes, FRACTIONS, seed=1, keys=keys)
    assert one != assign_splits(groups, classes, FRACTIONS, seed=2, keys=keys)


def test_few_photos_still_reach_every_split() -> None:
    assert sorted(assign_splits([0, 1, 2], ["a"] * 3, FRACTIONS)) == ["test", "train", "val"]
    assert set(assign_splits([0, 1], ["a"] * 2, {"train": 0.5, "val": 0.5, "test": 0.0})) == {"train", "val"}
