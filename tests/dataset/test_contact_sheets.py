from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from maskyolo.dataset.contact_sheets import PAGE, draw_sheet, write_sheets
from maskyolo.dataset.ledger import LedgerRow


def make_image(folder: Path, name: str, color: str = "blue") -> Path:
    path = folder / name
    Image.new("RGB", (80, 40), color).save(path)
    return path


def test_a_page_shows_photos_side_by_side_with_their_boxes_and_names(tmp_path: Path) -> None:
    boxes, classes = (
        ((10.0, 10.0, 30.0, 30.0), (40.0, 10.0, 60.0, 30.0), (65.0, 5.0, 75.0, 15.0)),
        ("with_mask", "without_mask", "ignore"),
    )
    row = LedgerRow("with_mask/a.jpg", "with_mask", "kept", boxes=boxes, classes=classes)
    path = make_image(tmp_path, "a.png")
    sheet = np.asarray(draw_sheet([(path, row), (path, row), (path, row)], columns=2, tile=164))
    assert sheet.shape == (2 * (164 + 28), 2 * 164, 3)
    assert sheet[2 + 20, 2 + 40].tolist() == [0, 170, 60], (
        "80 pixels wide, drawn 160 wide: the left side of the first box"
    )
    assert sheet[2 + 20, 164 + 2 + 80].tolist() == [230, 30, 30]
    assert sheet[2 + 20, 164 + 2 + 130].tolist() == [150, 150, 150]
    assert sheet[2 + 50, 2 + 70].tolist() == [0, 0, 255]
    assert (sheet[164 : 164 + 28, :160] < 100).any(), "its name is below"
    assert (sheet[164 + 28 :, 164:] == 255).all(), "there is no fourth photo"


def test_one_file_a_status_and_further_pages(tmp_path: Path) -> None:
    path = make_image(tmp_path, "a.png")
    rows = [LedgerRow(f"{number}.jpg", "with_mask", "kept") for number in range(PAGE + 30)]
    rows += [
        LedgerRow(f"n{number}.jpg", "with_mask", "no_face", "no face found")
        for number in range(PAGE + 1)
    ]
    rows += [LedgerRow("bad.jpg", "with_mask", "unreadable", "the file is empty")]
    places = {
        row.source: tmp_path / "gone.png" if row.status == "unreadable" else path for row in rows
    }
    written = write_sheets(rows, lambda row: places[row.source], tmp_path / "sheets")
    assert [path.name for path in written] == [
        "kept.png",
        "no_face.png",
        "no_face-2.png",
        "unreadable.png",
    ]
    assert sorted(path.name for path in (tmp_path / "sheets").iterdir()) == sorted(
        path.name for path in written
    )
    assert Image.open(written[0]).size == (1600, 1880)
    assert Image.open(written[2]).size == (160, 188)


def test_names_in_any_script_and_reasons_of_any_length_fit(tmp_path: Path) -> None:
    row = LedgerRow("with_mask/маска [x] " + "y" * 200, "with_mask", "kept", "reason " * 50)
    assert draw_sheet([(make_image(tmp_path, "a.png"), row)]).size == (160, 188)
