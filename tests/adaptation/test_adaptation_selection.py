from __future__ import annotations

import numpy as np

from maskyolo.adaptation.selection import Candidate, choose
from maskyolo.core.boxes import as_boxes
from maskyolo.core.labels import IGNORE, Labels


def candidate(
    index: int, classes: tuple[int, ...] = (0,), *, unsure: bool = False, phash: int | None = None
) -> Candidate:
    # multiples of a large odd number: hashes that differ in many bits
    value = index * 0x9E3779B97F4A7C15 % 2**64 if phash is None else phash
    hashes = f"{value:016x}", f"{value ^ (2**64 - 1):016x}"
    labels = Labels(as_boxes([[0, 0, 9, 9]] * len(classes)), np.array(classes, np.int64))
    return Candidate(0, index, False, hashes, labels, unsure)


def indices(chosen: list[Candidate]) -> list[int]:
    return [one.index for one in chosen]


def test_frames_without_a_clear_face_or_with_more_unclear_ones_are_left_out() -> None:
    frames = [candidate(1, ()), candidate(2, (IGNORE,)), candidate(3, (0, IGNORE, IGNORE))]

    taken, left_out = choose([*frames, candidate(4, (0, IGNORE))], 10)

    assert indices(taken) == [4]
    assert left_out == {"no clear face": 2, "more unclear faces than clear ones": 1}


def test_near_copies_are_dropped_but_not_unsure_frames() -> None:
    frames = [candidate(number, phash=7) for number in range(5)]
    frames += [candidate(number, phash=7, unsure=True) for number in range(5, 8)]

    taken, left_out = choose(frames, 10)

    assert indices(taken) == [0, 5, 6, 7]
    assert left_out == {"near-copy": 4}


def test_unsure_frames_are_half_of_what_is_taken_and_all_are_spread() -> None:
    frames = [candidate(number, unsure=number % 2 == 0) for number in range(1, 101)]

    taken, left_out = choose(frames, 20)

    assert len(taken) == 20
    assert sum(one.unsure for one in taken) >= 10
    assert indices(taken)[0] <= 4
    assert indices(taken)[-1] >= 90
    assert left_out["above --frames"] == 80


def test_a_limit_of_one_takes_one_frame() -> None:
    taken, _ = choose([candidate(1), candidate(2, unsure=True), candidate(3)], 1)

    assert indices(taken) == [2]
