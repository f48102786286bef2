from __future__ import annotations

from collections import Counter

import numpy as np

from maskyolo.dataset.splits import (
    assign_splits,
    random_leaks,
)

FRACTIONS = {"train": 0.8, "val": 0.1, "test": 0.1}


def test_groups_stay_whole_and_shares_are_kept_in_each_class() -> None:
    groups = [number // 3 for number in range(900)]
    classes = ["with_mask" if number < 600 else "without_mask" for number in range(900)]
    splits = assign_splits(groups, classes, FRACTIONS, seed=1)
    assert all(len(set(splits[start : start + 3])) == 1 for start in range(0, 900, 3))
    for name, total in (("with_mask", 600), ("without_mask", 300)):
        counts = Counter(split for split, own in zip(splits, classes, strict=True) if own == name)
        assert counts == {"train": 0.8 * total, "val": 0.1 * total, "test": 0.1 * total}


def test_the_seed_decides_and_nothing_else() -> None:
    groups, classes, keys = (
        list(range(200)),
        ["a"] * 200,
        [f"{number}.jpg" for number in range(200)],
    )
    one = assign_splits(groups, classes, FRACTIONS, seed=1, keys=keys)
    assert one == assign_splits(groups, classes, FRACTIONS, seed=1, keys=keys)
    assert one != assign_splits(groups, classes, FRACTIONS, seed=2, keys=keys)


def test_few_photos_still_reach_every_split() -> None:
    assert sorted(assign_splits([0, 1, 2], ["a"] * 3, FRACTIONS)) == ["test", "train", "val"]
    assert set(assign_splits([0, 1], ["a"] * 2, {"train": 0.5, "val": 0.5, "test": 0.0})) == {
        "train",
        "val",
    }


def test_a_random_split_parts_as_many_pairs_as_many_random_splits_do_on_average() -> None:
    rng = np.random.default_rng(0)
    splits = np.repeat(["train", "val", "test"], [80, 15, 5])
    parted = [
        np.sum((shuffled := rng.permutation(splits))[:50] != shuffled[50:]) for _ in range(2000)
    ]
    assert abs(np.mean(parted) - random_leaks(50, [80, 15, 5])) < 0.3


def test_a_settled_group_keeps_its_split_and_counts_towards_the_shares() -> None:
    groups = list(range(100))
    splits = assign_splits(groups, ["a"] * 100, FRACTIONS, fixed=dict.fromkeys(range(8), "val"))
    assert splits[:8] == ["val"] * 8
    assert Counter(splits) == {"train": 80, "val": 10, "test": 10}
    assert (
        Counter(
            assign_splits(groups, ["a"] * 100, FRACTIONS, fixed=dict.fromkeys(range(30), "val"))
        )["val"]
        == 30
    )
