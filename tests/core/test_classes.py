"""Class names in the spellings that data sets and models use."""

from __future__ import annotations

import pytest

from maskyolo.core.classes import (
    ALL_CLASS_NAMES,
    CLASS_NAMES,
    INCORRECT_MASK,
    INCORRECT_MASK_ID,
    WITH_MASK_ID,
    WITHOUT_MASK_ID,
    class_of,
    find_class,
    order_names,
)


def test_ids_are_places_in_the_tuples() -> None:
    assert (*CLASS_NAMES, INCORRECT_MASK) == ALL_CLASS_NAMES
    assert [ALL_CLASS_NAMES[place] for place in (WITH_MASK_ID, WITHOUT_MASK_ID)] == [*CLASS_NAMES]
    assert ALL_CLASS_NAMES[INCORRECT_MASK_ID] == "incorrect_mask"


@pytest.mark.parametrize(
    "name",
    [
        "incorrect_mask",
        "mask_weared_incorrect",  # Kaggle
        "Mask worn incorrectly",
        "incorrect",
        "face_with_mask_incorrect",
        "Improper-Mask",
    ],
)
def test_a_mask_worn_incorrectly_in_any_spelling(name: str) -> None:
    assert class_of(name) == INCORRECT_MASK


@pytest.mark.parametrize(
    ("name", "expected"),
    [("No-Mask", "without_mask"), ("masked", "with_mask"), ("face", ""), ("person", "")],
)
def test_other_names(name: str, expected: str) -> None:
    assert class_of(name) == expected


def test_the_third_class_comes_before_other_kept_ones() -> None:
    assert order_names(["helmet", "incorrect_mask", "with_mask"]) == (*ALL_CLASS_NAMES, "helmet")
    assert order_names(["helmet"]) == (*CLASS_NAMES, "helmet")


def test_a_class_is_found_under_the_name_that_a_set_has_for_it() -> None:
    names = ["with_mask", "without_mask", "mask_weared_incorrect", "helmet"]
    for text, expected in (("incorrect", names[2]), ("helmet", "helmet"), ("glove", "")):
        assert find_class(text, names) == expected
