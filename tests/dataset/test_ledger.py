from __future__ import annotations

from pathlib import Path

import pytest

from maskyolo.dataset.ledger import LedgerRow, read_ledger, size_class, write_ledger
from maskyolo.errors import DatasetError


def test_rows_survive_the_file_with_commas_quotes_and_newlines_in_names(tmp_path: Path) -> None:
    rows = [
        LedgerRow(
            source='with_mask/a, "b"\nж.jpg',
            class_name="with_mask",
            status="kept",
            reason="2 faces",
            image="images/train/a.jpg",
            split="train",
            width=40,
            height=30,
            sha256="ab",
            phash="0f",
            group=3,
            detector="ssd",
            boxes=((1.5, 2.0, 3.0, 4.25), (0.0, 0.0, 1.0, 1.0)),
            scores=(0.9, 0.5),
            classes=("with_mask", "ignore"),
            origins=("ssd", "yunet"),
            deciders=("folder", "nobody"),
            agreed=(True, False),
            size="small",
            phash_mirrored="ff",
        ),
        LedgerRow("without_mask/x.jpg", "without_mask", "unreadable", "the file is empty"),
    ]
    write_ledger(tmp_path / "ledger.csv", rows)
    assert read_ledger(tmp_path / "ledger.csv") == rows
    assert (
        (tmp_path / "ledger.csv")
        .read_text()
        .startswith("source,class,status,reason,image,split,width,height,sha256,phash,group")
    )


def test_a_file_of_other_columns_and_a_broken_line_are_named(tmp_path: Path) -> None:
    path = tmp_path / "ledger.csv"
    path.write_text("source,class\na,b\n")
    with pytest.raises(DatasetError, match="missing columns status"):
        read_ledger(path)
    write_ledger(path, [LedgerRow("a", "with_mask", "kept")])
    path.write_text(path.read_text().replace(",0,0,", ",wide,0,"))
    with pytest.raises(DatasetError, match="line 2"):
        read_ledger(path)


def test_a_value_that_is_too_long_for_a_line_is_reported(tmp_path: Path) -> None:
    write_ledger(tmp_path / "ledger.csv", [LedgerRow("a", "with_mask", "kept", "long" * 300_000)])
    with pytest.raises(DatasetError, match=r"line 2: field larger than .*; correct the line"):
        read_ledger(tmp_path / "ledger.csv")
    (tmp_path / "ledger.csv").write_text("source" * 200_000)
    with pytest.raises(DatasetError, match="line 1: field larger than"):
        read_ledger(tmp_path / "ledger.csv")


ROW = LedgerRow(
    source="a.jpg",
    class_name="with_mask",
    status="kept",
    image="images/val/a.jpg",
    split="val",
    width=640,
    height=480,
    sha256="ab",
    phash="0f",
    group=3,
    detector="ssd",
    boxes=((10.0, 10.0, 110.0, 110.0), (200.0, 10.0, 220.0, 30.0)),
    scores=(0.9, 0.6),
    classes=("with_mask", "without_mask"),
    origins=("ssd", "yunet"),
    deciders=("folder", "maskyolo-n-folders"),
    agreed=(True, False),
    size="large",
    phash_mirrored="1f",
)


def test_a_correction_says_what_a_person_changed_and_keeps_what_they_did_not() -> None:
    row = ROW.corrected(
        [(200.2, 10, 220, 30), (300, 100, 320, 120), (10, 10, 110, 110)],
        ["with_mask", "with_mask", "with_mask"],
        "seen",
    )
    assert (row.status, row.reason, row.split, row.image) == (
        "corrected",
        "seen",
        "val",
        "images/val/a.jpg",
    )
    assert row.boxes == (
        (200.2, 10.0, 220.0, 30.0),
        (300.0, 100.0, 320.0, 120.0),
        (10.0, 10.0, 110.0, 110.0),
    )
    assert row.origins == ("yunet", "human", "ssd")
    assert row.deciders == ("human", "human", "folder")
    assert row.scores == (0.6, 1.0, 0.9)
    assert row.agreed == (False, True, True)
    assert row.corrected([(200, 10, 220, 30)], ["without_mask"]).size == "small"
    bare = row.corrected([], [])
    assert (bare.boxes, bare.classes, bare.size, bare.in_set) == ((), (), "", True)


def test_a_photo_taken_out_by_hand_has_no_image() -> None:
    row = ROW.removed()
    assert (row.status, row.image, row.split, row.in_set) == ("corrected", "", "", False)
    assert row.boxes == ROW.boxes


@pytest.mark.parametrize(
    ("side", "size"), [(31.9, "small"), (32, "medium"), (95.9, "medium"), (96, "large")]
)
def test_sizes_are_those_at_640(side: float, size: str) -> None:
    assert size_class([(0, 0, side, side), (0, 0, 3, 3)], 640, 400) == size
    assert size_class([(0, 0, 2 * side, 2 * side)], 700, 1280) == size
    assert size_class([], 640, 400) == ""
