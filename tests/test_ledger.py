from __future__ import annotations

from pathlib import Path

import pytest

from maskyolo.errors import DatasetError
from maskyolo.ledger import LedgerRow, read_ledger, write_ledger


def test_rows_survive_the_file_with_commas_quotes_and_newlines_in_names(tmp_path: Path) -> None:
    rows = [
        LedgerRow('with_mask/a, "b"\nж.jpg', "with_mask", "kept", "2 faces", "images/train/a.jpg", "train", 40, 30, "ab", "0f", 3, "ssd",
                  ((1.5, 2.0, 3.0, 4.25), (0.0, 0.0, 1.0, 1.0)), (0.9, 0.5)),
        LedgerRow("without_mask/x.jpg", "without_mask", "unreadable", "the file is empty"),
    ]  # fmt: skip
    write_ledger(tmp_path / "ledger.csv", rows)
    assert read_ledger(tmp_path / "ledger.csv") == rows
    assert (tmp_path / "ledger.csv").read_text().startswith("source,class,status,reason,image,split,width,height,sha256,phash,group")


def test_a_file_of_other_columns_and_a_broken_line_are_named(tmp_path: Path) -> None:
    path = tmp_path / "ledger.csv"
    path.write_text("source,class\na,b\n")
    with pytest.raises(DatasetError, match="lacks the columns status"):
        read_ledger(path)
    write_ledger(path, [LedgerRow("a", "with_mask", "kept")])
    path.write_text(path.read_text().replace(",0,0,", ",wide,0,"))
    with pytest.raises(DatasetError, match="line 2"):
        read_ledger(path)
