from __future__ import annotations

from collections import Counter

import cv2
import imagehash
import numpy as np
from PIL import Image

from maskyolo.core.images import ImageArray
from maskyolo.dataset.splits import (
    assign_splits,
    group_near_copies,
    near_copies,
    perceptual_hashes,
    random_leaks,
)

FRACTIONS = {"train": 0.8, "val": 0.1, "test": 0.1}


def test_near_copies_are_grouped_by_way_of_others() -> None:
    # the first and third differ in 4 bits, but both are within 2 of the second
    assert group_near_copies(
        ["0000000000000000", "0000000000000003", "000000000000000f", "ffffffffffffffff"], distance=2
    ).tolist() == [
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


def noise(seed: int) -> ImageArray:
    small = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((120, 90), Image.Resampling.BICUBIC))


def test_mirrored_and_recompressed_copies_are_found_and_others_are_not() -> None:
    images = [
        noise(0),
        noise(1),
        noise(0)[:, ::-1],
        np.asarray(Image.fromarray(noise(1)).resize((61, 47))),
    ]
    hashes, mirrored = zip(*map(perceptual_hashes, images), strict=True)
    assert near_copies(hashes).tolist() == [[1, 3]]
    assert near_copies(hashes, mirrored).tolist() == [[0, 2], [1, 3]]
    assert group_near_copies(hashes, mirrored).tolist() == [0, 1, 0, 1]
    assert near_copies(hashes[:2], mirrored[:2], to=[hashes[2]]).tolist() == [[0, 0]]
    assert near_copies([], []).shape == near_copies(hashes, to=[]).shape == (0, 2)


def test_the_hash_is_that_of_imagehash() -> None:
    image = noise(3)
    assert perceptual_hashes(image)[0] == str(
        imagehash.phash(Image.fromarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)))
    )


def test_links_bring_images_together_that_look_different() -> None:
    hashes = ["0000000000000000", "ffffffffffffffff", "00000000ffffffff"]
    assert group_near_copies(hashes, links=[(0, 2)]).tolist() == [0, 1, 0]


def test_near_copies_are_pairs_within_a_distance() -> None:
    hashes = ["00ff", "00ff", "ff00", "ff01"]
    assert near_copies(hashes, distance=0).tolist() == [[0, 1]]
    assert near_copies(hashes, distance=1).tolist() == [[0, 1], [2, 3]]


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
