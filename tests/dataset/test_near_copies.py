from __future__ import annotations

import itertools

import cv2
import imagehash
import numpy as np
import pytest
from PIL import Image

from maskyolo.core.images import ImageArray
from maskyolo.dataset import near_copies as module
from maskyolo.dataset.near_copies import (
    count_near_copies,
    group_near_copies,
    near_copies,
    perceptual_hashes,
)


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


def test_an_equal_pair_is_found_among_many() -> None:
    rng = np.random.default_rng(0)
    hashes = [rng.bytes(8).hex() for _ in range(2500)]
    hashes[2400] = hashes[3]
    groups = group_near_copies(hashes, distance=0)
    assert groups[2400] == groups[3]
    assert len(set(groups.tolist())) == 2499


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


def clusters(seed: int, digits: int) -> list[str]:
    """120 hashes, most of them a few bits from another, some equal."""
    rng = np.random.default_rng(seed)
    bits = 4 * digits
    centers = [int.from_bytes(rng.bytes(digits // 2), "big") for _ in range(30)]
    made = []
    for _ in range(120):
        value = centers[rng.integers(len(centers))]
        for place in rng.choice(bits, rng.integers(0, 6), replace=False):
            value ^= 1 << int(place)
        made.append(f"{value:0{digits}x}")
    return made


def differing(one: str, two: str) -> int:
    return (int(one, 16) ^ int(two, 16)).bit_count()


@pytest.mark.parametrize("distance", [0, 2, 3, 6, 9])
@pytest.mark.parametrize("digits", [4, 16])
@pytest.mark.parametrize("block", [1 << 20, 7])
def test_the_same_pairs_as_by_comparing_all(
    distance: int, digits: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BLOCK", block)
    monkeypatch.setattr(module, "_KEPT", block)
    hashes, mirrored = clusters(1, digits), clusters(1, digits)[::-1]
    splits = ["train", "val", "test"] * 40
    pairs = [
        [one, two]
        for one, two in itertools.combinations(range(120), 2)
        if differing(hashes[one], hashes[two]) <= distance
        or differing(mirrored[one], hashes[two]) <= distance
        or differing(mirrored[two], hashes[one]) <= distance
    ]
    assert near_copies(hashes, mirrored, distance).tolist() == pairs
    leaks = sum(splits[one] != splits[two] for one, two in pairs)
    assert count_near_copies(hashes, mirrored, splits, distance) == (len(pairs), leaks)
    assert leaks
    groups = group_near_copies(hashes, mirrored, distance).tolist()
    expected = list(range(120))  # the first image that is reached through any number of others
    for _ in range(120):
        for one, two in pairs:
            expected[one] = expected[two] = min(expected[one], expected[two])
    first = {group: number for number, group in enumerate(dict.fromkeys(expected))}
    assert groups == [first[group] for group in expected]
    only = near_copies(hashes[:60], mirrored[:60], distance, to=hashes[60:]).tolist()
    assert only == [
        [one, two]
        for one in range(60)
        for two in range(60)
        if differing(hashes[one], hashes[60 + two]) <= distance
        or differing(mirrored[one], hashes[60 + two]) <= distance
    ]


def test_many_equal_images_are_no_list_of_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    differing = module._differing
    monkeypatch.setattr(
        module, "_differing", lambda one, two: compared.append(len(one)) or differing(one, two)
    )
    hashes = ["00ff00ff00ff00ff"] * 20_000 + ["ff00ff00ff00ff00"] * 20_000
    groups = group_near_copies(hashes, hashes)
    assert groups.tolist() == [0] * 20_000 + [1] * 20_000
    pairs = 2 * 20_000 * 19_999 // 2
    assert count_near_copies(hashes, hashes, ["train", "val"] * 20_000) == (pairs, 2 * 10_000**2)
    assert sum(compared) < 100


def test_most_hashes_are_never_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    differing = module._differing
    monkeypatch.setattr(
        module, "_differing", lambda one, two: compared.append(len(one)) or differing(one, two)
    )
    rng = np.random.default_rng(2)
    hashes = [rng.bytes(8).hex() for _ in range(30_000)]
    hashes[20_000] = f"{int(hashes[7], 16) ^ 0b1010101:016x}"
    groups = group_near_copies(hashes)
    assert groups[20_000] == groups[7]
    assert len(set(groups.tolist())) == 29_999
    assert sum(compared) < 30_000**2 / 10
