"""Corrections from `review.csv` go into labels and ledger: all together, logged, and undoable.

FiftyOne is not needed for this.
"""

import contextlib
import csv
import io
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cuts import DAMAGES, Disk, Killed, killed_at
from reviewed import LEFT, RIGHT, content, faces_of, image_of, label_of, make_set

from maskyolo.cli import main
from maskyolo.core.files import sync_tree
from maskyolo.dataset.ledger import LedgerRow, read_ledger, write_ledger
from maskyolo.dataset.workfolder import locked_set
from maskyolo.errors import DatasetError, OutputError
from maskyolo.review import transaction
from maskyolo.review.apply import apply_review
from maskyolo.review.suspicions import (
    Reason,
    Suspicion,
    format_suspicions,
    read_suspicions,
    write_suspicions,
)
from maskyolo.review.transaction import Transaction
from maskyolo.review.undo import undo_review


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_set(tmp_path / "set")


def suspicion(name: str, reason: str = "wrong_class", **known: Any) -> Suspicion:
    return Suspicion(1, image_of(name), name.split("/")[0], Reason(reason), 0.5, **known)


def apply_csv(root: Path, *lines: Suspicion, **settings: Any) -> Any:
    write_suspicions(root / "review.csv", lines)
    return apply_review(root, csv=root / "review.csv", **settings)


def row(root: Path, name: str) -> LedgerRow:
    return next(row for row in read_ledger(root / "ledger.csv") if row.source == f"{name}.png")


def test_a_mask_worn_incorrectly_can_be_named_in_any_spelling(root: Path) -> None:
    data = (root / "data.yaml").read_text()
    (root / "data.yaml").write_text(data.rstrip() + "\n  2: mask_weared_incorrect\n")
    apply_csv(
        root,
        suspicion("train/one", label=0, new_class="incorrect"),
        suspicion("train/two", label=0, suggested_class="incorrect_mask", tags=("wrong_class",)),
    )
    for name in ("train/one", "train/two"):
        assert (root / label_of(name)).read_text().startswith("2 ")
        assert row(root, name).classes[0] == "mask_weared_incorrect"
    again = apply_review(root, csv=root / "review.csv")
    assert not again.changes


def test_every_tag_does_what_it_says(root: Path) -> None:
    done = apply_csv(
        root,
        suspicion("train/one", label=0, box=LEFT, tags=("wrong_class",)),
        suspicion(
            "train/two",
            "bad_box",
            label=1,
            box=RIGHT,
            suggested_box=(118, 18, 165, 75),
            tags=("bad_box",),
        ),
        suspicion(
            "train/none",
            "missing",
            suggested_box=LEFT,
            suggested_class="without_mask",
            tags=("missing",),
        ),
        suspicion("val/two", "spurious", label=0, box=LEFT, tags=("delete",)),
        suspicion("train/last", "unusual", tags=("delete",)),
        suspicion("train/bare", tags=("ok",)),
        suspicion("val/one", label=0, box=LEFT, tags=("occluder",)),
    )
    assert faces_of(root, "train/one") == [(1, [*LEFT])]
    assert faces_of(root, "train/two") == [(0, [*LEFT]), (1, [118, 18, 165, 75])]
    assert faces_of(root, "train/none") == [(1, [*LEFT])]
    assert faces_of(root, "val/two") == [(1, [*RIGHT])]
    assert not (root / image_of("train/last")).exists()
    assert not (root / label_of("train/last")).exists()
    assert faces_of(root, "train/bare") == [(1, [*LEFT])]
    assert faces_of(root, "val/one") == [(1, [*LEFT])]
    assert {row.status for row in read_ledger(root / "ledger.csv")} == {"corrected"}
    assert row(root, "train/last").image == ""
    assert row(root, "train/two").origins == ("ssd", "human")
    assert row(root, "train/one").deciders == ("human",)
    assert done.counts() == {
        "class": 2,
        "box": 1,
        "added": 1,
        "removed": 1,
        "photo_removed": 1,
        "checked": 1,
    }
    log = [json.loads(line) for line in (done.folder / "changes.jsonl").read_text().splitlines()]
    assert len(log) == 7
    assert log[0] | {"time": ""} == {
        "time": "",
        "by": str(root / "review.csv"),
        "image": image_of("train/one"),
        "source": "train/one.png",
        "what": "class",
        "before": {"class": "with_mask", "box": [*LEFT]},
        "after": {"class": "without_mask", "box": [*LEFT]},
        "tags": ["wrong_class"],
    }


def test_what_a_person_writes_counts_more_than_what_was_suggested(root: Path) -> None:
    apply_csv(
        root,
        suspicion(
            "train/one",
            label=0,
            box=LEFT,
            new_class="no mask",
            new_box=(10, 10, 50, 60),
            suggested_box=RIGHT,
            tags=("bad_box",),
        ),
        suspicion(
            "train/none", "missing", suggested_box=LEFT, new_box=RIGHT, new_class="with_mask"
        ),
    )
    assert faces_of(root, "train/one") == [(1, [10, 10, 50, 60])]
    assert faces_of(root, "train/none") == [(0, [*RIGHT])]


def test_lines_that_are_not_filled_in_change_nothing(root: Path) -> None:
    before = content(root)
    done = apply_csv(
        root, suspicion("train/one", label=0, box=LEFT, suggested_class="without_mask")
    )
    assert (done.changes, done.folder) == ([], None)
    assert content(root) == before | {"review.csv": (root / "review.csv").read_bytes()}


def test_undo_restores_every_byte_and_redoes_nothing(root: Path) -> None:
    (root / label_of("train/bare")).write_bytes(b"1 0.2 0.45 0.2 0.5\r\n")  # written by hand
    (root / label_of("train/none")).unlink()
    before = content(root)
    first = suspicion("train/bare", label=0, tags=("wrong_class",))
    lines = [
        first,
        suspicion("train/none", "missing", new_box=LEFT),
        suspicion("train/last", tags=("delete",)),
    ]
    apply_csv(root, *lines)
    between = content(root)
    apply_csv(root, suspicion("train/one", label=0, tags=("wrong_class",)))
    assert undo_review(root) == sorted(["ledger.csv", label_of("train/one")])
    assert {name: data for name, data in content(root).items() if name != "review.csv"} == {
        name: data for name, data in between.items() if name != "review.csv"
    }
    undo_review(root)
    (root / "review.csv").unlink()
    assert content(root) == before
    with pytest.raises(DatasetError, match="nothing to undo"):
        undo_review(root)


def test_undo_is_refused_where_it_would_lose_a_later_change(root: Path) -> None:
    apply_csv(root, suspicion("train/one", label=0, tags=("wrong_class",)))
    (root / label_of("train/one")).write_text("0 0.5 0.5 0.1 0.1\n")
    with pytest.raises(
        DatasetError,
        match=r"labels/train/a-one.txt was changed after it; the earlier versions are in .*0001",
    ):
        undo_review(root)
    assert (root / label_of("train/one")).read_text() == "0 0.5 0.5 0.1 0.1\n"


def test_undo_after_an_update_restores_the_rows_of_the_changed_photos(root: Path) -> None:
    old = row(root, "train/one")
    apply_csv(root, suspicion("train/one", label=0, tags=("wrong_class",)))
    rows = read_ledger(root / "ledger.csv")
    new = LedgerRow("new.png", "with_mask", "no_face")
    write_ledger(root / "ledger.csv", [*(replace(row, group=row.group + 1) for row in rows), new])
    undo_review(root)
    assert row(root, "train/one") == replace(old, group=old.group + 1)
    assert read_ledger(root / "ledger.csv")[-1] == new
    assert faces_of(root, "train/one") == [(0, [*LEFT])]


def test_a_dry_run_changes_nothing(root: Path) -> None:
    line = suspicion("train/one", label=0, tags=("wrong_class",))
    write_suspicions(root / "review.csv", [line])
    before = content(root)
    done = apply_csv(root, line, dry_run=True)
    assert [str(change) for change in done.changes] == [
        "class with_mask [20, 20, 60, 70] -> without_mask [20, 20, 60, 70] (wrong_class)"
    ]
    assert content(root) == before
    assert not (root / "review").exists()


def test_boxes_beyond_the_image_are_clipped_and_reported(root: Path) -> None:
    done = apply_csv(
        root,
        suspicion("train/one", label=0, new_box=(-30, 20, 60, 170)),
        suspicion("train/two", label=0, new_box=(300, 20, 360, 70)),
    )
    assert faces_of(root, "train/one") == [(0, [0, 20, 60, 100])]
    assert faces_of(root, "train/two") == [(0, [*LEFT]), (1, [*RIGHT])]
    one, two, image = image_of("train/one"), image_of("train/two"), "the image (200 x 100)"
    assert [str(problem) for problem in done.problems] == [
        f"{one}: the box [-30, 20, 60, 170] extended beyond {image} and was clipped to it",
        f"{two}: the box [300, 20, 360, 70] is outside {image} and was ignored",
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            suspicion("train/one", label=0, tags=("wrong-class",)),
            "line 3: unknown tag 'wrong-class'; choose from wrong_class, bad_box",
        ),
        (
            suspicion("train/one", label=0, new_class="helmet"),
            "line 3: unknown class 'helmet'; choose from with_mask, without_mask",
        ),
        (
            suspicion("train/lost", tags=("delete",)),
            "line 3: images/train/a-lost.png is not an image of",
        ),
        (
            suspicion("train/one", label=3, tags=("delete",)),
            "line 3: box 3 of images/train/a-one.png is no longer in its labels",
        ),
        (
            suspicion("train/one", label=0, box=RIGHT, tags=("delete",)),
            "line 3: box 0 of images/train/a-one.png is no longer in its",
        ),
        (
            suspicion("train/one", label=0, box=LEFT, tags=("bad_box",)),
            "line 3: tagged bad_box, but no better box is suggested",
        ),
        (
            suspicion("train/one", "missing", tags=("missing",)),
            "line 3: there is no box to add; fill in new_box",
        ),
        (
            suspicion("train/two", tags=("occluder",)),
            "line 3: tagged occluder, but the photo has 2 boxes",
        ),
    ],
)
def test_a_wrong_line_is_reported_and_nothing_is_changed(
    line: Suspicion, message: str, root: Path
) -> None:
    before = content(root)
    with pytest.raises(DatasetError) as caught:
        apply_csv(root, suspicion("train/bare", label=0, tags=("wrong_class",)), line)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    (root / "review.csv").unlink()
    assert content(root) == before


def test_a_box_is_found_again_where_its_line_has_moved(root: Path) -> None:
    apply_csv(root, suspicion("train/two", label=0, box=LEFT, tags=("delete",)))
    apply_csv(root, suspicion("train/two", label=1, box=RIGHT, tags=("wrong_class",)))
    assert faces_of(root, "train/two") == [(0, [*RIGHT])]


@pytest.mark.parametrize("ledger", [True, False])
def test_applying_a_list_again_only_applies_newly_filled_in_lines(
    ledger: bool, tmp_path: Path
) -> None:
    root = make_set(tmp_path / "set", ledger)
    lines = [
        suspicion(
            "train/one", "bad_box", label=0, box=LEFT, tags=("wrong_class",)
        ),  # the other class of two
        suspicion("val/one", label=0, tags=("wrong_class",)),
        suspicion(
            "train/two",
            "bad_box",
            label=1,
            box=RIGHT,
            suggested_box=(118, 18, 165, 75),
            tags=("bad_box",),
        ),
        suspicion(
            "train/none",
            "missing",
            suggested_box=LEFT,
            suggested_class="without_mask",
            tags=("missing",),
        ),
        suspicion("val/two", "spurious", label=0, box=LEFT, tags=("delete",)),
        suspicion("train/last", "unusual", tags=("delete",)),
    ]
    apply_csv(root, *lines)
    between = content(root)
    done = apply_csv(root, *lines)
    assert (done.changes, content(root)) == ([], between)
    advice = "to change a box again, fill in new_class or new_box"
    assert [str(problem) for problem in done.problems] == [
        f"skipped 5 lines of {root / 'review.csv'} applied before; {advice}"
    ]
    done = apply_csv(
        root, *lines, suspicion("train/bare", label=0, box=LEFT, tags=("wrong_class",))
    )
    assert done.counts() == {"class": 1}
    again = [
        replace(lines[0], new_class="with_mask"),
        replace(lines[2], label=1, box=(118, 18, 165, 75), new_box=RIGHT),
    ]
    assert apply_csv(root, *again, *lines[3:]).counts() == {"class": 1, "box": 1}
    assert (faces_of(root, "train/one"), faces_of(root, "train/two")) == (
        [(0, [*LEFT])],
        [(0, [*LEFT]), (1, [*RIGHT])],
    )


def test_what_was_undone_or_changed_back_by_hand_is_applied_again(root: Path) -> None:
    lines = [suspicion("train/one", "bad_box", label=0, box=LEFT, tags=("wrong_class",))]
    apply_csv(root, *lines)
    undo_review(root)
    assert apply_csv(root, *lines).counts() == {"class": 1}
    (root / label_of("train/one")).write_text("0 0.2 0.45 0.2 0.5\n")
    assert apply_csv(root, *lines).counts() == {"class": 1}
    assert faces_of(root, "train/one") == [(1, [*LEFT])]


def test_images_outside_the_folder_are_refused(root: Path) -> None:
    inner = root / "inner"
    inner.mkdir()
    (inner / "data.yaml").write_text("train: ../images/train\nnames: [with_mask, without_mask]\n")
    line = Suspicion(
        1, "../images/train/a-one.png", "train", Reason.WRONG_CLASS, 0.5, 0, tags=("wrong_class",)
    )
    with pytest.raises(
        DatasetError, match=r"is outside .*review needs all images and labels below one folder"
    ):
        apply_csv(inner, line)


def test_images_that_share_a_label_file_are_reported(root: Path) -> None:
    (root / image_of("train/one")).with_suffix(".jpg").write_bytes(
        (root / image_of("train/one")).read_bytes()
    )
    with pytest.raises(
        DatasetError,
        match=r"a-one\.jpg and images/train/a-one\.png share the label file .*a-one\.txt; rename",
    ):
        apply_csv(root, suspicion("train/one", tags=("delete",)))


def test_a_set_without_a_ledger_is_corrected_too(tmp_path: Path) -> None:
    root = make_set(tmp_path / "set", ledger=False)
    apply_csv(
        root,
        suspicion("val/one", label=0, tags=("wrong_class",)),
        suspicion("train/last", tags=("delete",)),
    )
    assert faces_of(root, "val/one") == [(1, [*LEFT])]
    assert not (root / "ledger.csv").exists()


def test_a_kill_at_any_moment_leaves_all_or_nothing_and_is_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kill before each file that is written, renamed or removed; the next command continues."""
    lines = [
        suspicion("train/one", label=0, tags=("wrong_class",)),
        suspicion("train/last", tags=("delete",)),
    ]

    def labels_after(root: Path) -> dict[str, bytes]:
        return {
            name: data
            for name, data in content(root).items()
            if name not in ("data.yaml", "review.csv")
        }

    twin = make_set(tmp_path / "twin")
    nothing = labels_after(twin)
    apply_csv(twin, *lines)
    everything = labels_after(twin)
    outcomes = []
    for step in range(50):
        root = make_set(tmp_path / str(step))
        killer = Killer(step)
        with monkeypatch.context() as patch:
            patch.setattr(transaction, "_copy", killer.before(transaction._copy))
            patch.setattr(Path, "unlink", killer.before(Path.unlink))
            patch.setattr(Path, "replace", killer.before(Path.replace))
            with contextlib.suppress(Killed):
                apply_csv(root, *lines)
        if killer.calls <= step:
            break
        Transaction.finish_pending(root)
        outcomes.append(labels_after(root))
    assert all(outcome in (nothing, everything) for outcome in outcomes)
    assert outcomes[0] == nothing
    assert outcomes[-1] == everything
    assert 10 < len(outcomes) < 49


class Killer:
    """Lets `steps` calls pass and stops before the next one."""

    def __init__(self, steps: int) -> None:
        self.steps, self.calls = steps, 0

    def before(self, function: Any) -> Any:
        def called(*args: Any, **settings: Any) -> Any:
            self.calls += 1
            if self.calls == self.steps + 1:
                raise Killed
            return function(*args, **settings)

        return called


def test_a_list_is_read_as_a_spreadsheet_saves_it(root: Path) -> None:
    write_suspicions(
        root / "review.csv", [suspicion("train/one", label=0, box=LEFT, tags=("wrong_class", "ok"))]
    )
    text = (root / "review.csv").read_text()
    out = io.StringIO()
    csv.writer(out, delimiter=";", lineterminator="\r\n").writerows(csv.reader(io.StringIO(text)))
    (root / "excel.csv").write_bytes(b"\xef\xbb\xbf" + out.getvalue().encode())
    assert read_suspicions(root / "excel.csv") == read_suspicions(root / "review.csv")


def test_a_file_that_is_not_a_list_is_reported(root: Path) -> None:
    with pytest.raises(
        DatasetError,
        match=r"cannot read .*ledger.csv: missing columns rank, label, box",
    ):
        read_suspicions(root / "ledger.csv")
    with pytest.raises(DatasetError, match=r"cannot read .*none.csv"):
        read_suspicions(root / "none.csv")


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("suggestion", "[]"),
        ("suggestion", "5"),
        ("label", "inf"),
        ("new_box", "5"),
        ("new_box", "[[1], 2, 3, 4]"),
        ("box", "[1, 2]"),
    ],
)
def test_a_value_that_does_not_parse_is_reported_with_its_line(
    column: str, value: str, root: Path
) -> None:
    write_suspicions(root / "review.csv", [suspicion("train/one", label=0, box=LEFT)])
    header, line = csv.reader(io.StringIO((root / "review.csv").read_text()))
    out = io.StringIO()
    csv.writer(out).writerows(
        [header, [value if name == column else old for name, old in zip(header, line, strict=True)]]
    )
    (root / "review.csv").write_text(out.getvalue())
    with pytest.raises(DatasetError, match=r"review\.csv, line 2: .*correct the line"):
        read_suspicions(root / "review.csv")


def test_a_line_that_a_person_added_may_have_any_reason(root: Path) -> None:
    lines = [suspicion("train/one", label=0, tags=("wrong_class",)), suspicion("val/one")]
    text = format_suspicions(lines).replace("wrong_class,0.5", "blurred,0.5", 1)
    (root / "review.csv").write_text(text)
    reasons = [line.reason for line in read_suspicions(root / "review.csv")]
    assert reasons == [None, Reason.WRONG_CLASS]
    assert apply_review(root, csv=root / "review.csv").counts() == {"class": 1}


def test_the_command_reports_what_it_did(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_suspicions(root / "review.csv", [suspicion("train/one", label=0, tags=("wrong_class",))])
    with pytest.raises(SystemExit) as caught:
        main(["review", "apply", "--data", str(root), "--csv", str(root / "review.csv")])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"changed: 1 class, in 1 photo\n{root / 'review' / '0001'}\n"
    with pytest.raises(SystemExit):
        main(["review", "apply", "--data", str(root), "--undo"])
    assert capsys.readouterr().out.startswith("restored: 2 files\n")


@pytest.mark.parametrize(
    "words",
    [["--undo", "--dry-run"], ["--undo", "--name", "x"], ["--csv", "review.csv", "--name", "x"]],
)
def test_options_that_exclude_each_other_are_refused(
    words: list[str], root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["review", "apply", "--data", str(root), *words])
    assert caught.value.code == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_two_commands_do_not_change_a_set_at_once(root: Path) -> None:
    lines = [suspicion("train/one", label=0, tags=("wrong_class",))]
    before = content(root)
    with locked_set(root):
        for change in (lambda: apply_csv(root, *lines), lambda: undo_review(root)):
            with pytest.raises(OutputError, match="another run is using it"):
                change()
        assert apply_csv(root, *lines, dry_run=True).counts() == {"class": 1}
    (root / "review.csv").unlink()
    assert content(root) == before
    assert apply_csv(root, *lines).counts() == {"class": 1}
    assert [path.name for path in root.parent.iterdir()] == ["set"]


def test_a_list_is_applied_without_fiftyone(root: Path) -> None:
    write_suspicions(root / "review.csv", [suspicion("train/one", label=0, tags=("wrong_class",))])
    code = (
        "import sys; sys.modules['fiftyone'] = None; from maskyolo.review import apply_review; "
        "apply_review(sys.argv[1], csv=sys.argv[2])"
    )
    subprocess.run([sys.executable, "-c", code, str(root), str(root / "review.csv")], check=True)
    assert faces_of(root, "train/one") == [(1, [*LEFT])]


def _pending(root: Path, files: dict[str, bytes | None], state: str = "doing") -> Path:
    """Leave a change of somebody else's pending in a set."""
    folder = root / "review" / f"0001.{state}"
    for name, data in files.items():
        for which in ("before", "after") if data is not None else ("before",):
            path = folder / which / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data or b"")
    (folder / "changes.jsonl").write_text("")
    return folder


@pytest.mark.parametrize("state", ["doing", "undoing"])
@pytest.mark.parametrize("data", [b"theirs", None])
def test_a_pending_change_of_a_strangers_set_changes_nothing_outside(
    root: Path, tmp_path: Path, state: str, data: bytes | None
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "authorized_keys").write_bytes(b"mine")
    (root / "labels" / "link").symlink_to(home)
    folder = _pending(root, {"labels/link/authorized_keys": data}, state)
    if state == "undoing":
        (folder / "before").rename(folder / "old")
        if (folder / "after").exists():
            (folder / "after").rename(folder / "before")
        (folder / "old").rename(folder / "after")
    with pytest.raises(DatasetError, match="'labels/link/authorized_keys' is outside the data set"):
        apply_csv(root, suspicion("train/one", label=0, box=LEFT, tags=("wrong_class",)))
    assert {path.name: path.read_bytes() for path in home.iterdir()} == {"authorized_keys": b"mine"}


@pytest.mark.parametrize("link", ["review", "labels", "labels/train", "review/0001.doing/after"])
def test_a_link_in_a_strangers_set_leads_no_writing_outside(
    root: Path, tmp_path: Path, link: str
) -> None:
    home = tmp_path / "home"
    for name in ("train", "val"):
        (home / name).mkdir(parents=True)
    if "doing" in link:
        _pending(root, {"labels/x.txt": None})
    if (root / link).exists():
        for path in [*(root / link).rglob("*.txt")]:
            (home / path.relative_to(root / link)).write_bytes(path.read_bytes())
        (root / link).rename(root / "moved")
    (home / "train.cache").write_bytes(b"mine")
    (home / "0001.part").mkdir()
    (home / "0001.part" / "precious").write_bytes(b"mine")
    (root / link).symlink_to(home)
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    with pytest.raises(DatasetError, match="is outside the data set"):
        apply_csv(root, suspicion("train/one", label=0, box=LEFT, tags=("wrong_class",)))
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    "line",
    [
        b"\0\0\0",
        b"[" * 100_000,
        b"{}",
        b"[]",
        b"null",
        b'{"image": 1, "what": "class", "before": null, "after": null}',
        b'{"image": "a", "what": "class", "before": {"class": "x", "box": [1]}, "after": null}',
        b'{"image": "a", "what": "class", "before": {"box": [1, 2, 3, 4]}, "after": null}',
        b"\xff\xfe",
    ],
)
def test_a_damaged_change_log_is_a_line(root: Path, line: bytes) -> None:
    done = apply_csv(root, suspicion("train/one", label=0, box=LEFT, tags=("wrong_class",)))
    log = done.folder / "changes.jsonl"
    log.write_bytes(log.read_bytes() + line + b"\n")
    with pytest.raises(DatasetError, match=r"cannot read the change log .*changes\.jsonl, line"):
        apply_csv(root, suspicion("train/two", label=0, box=LEFT, tags=("wrong_class",)))


@pytest.mark.skipif(sys.platform != "linux", reason="reads what was synced from /proc")
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_power_cut_at_any_step_of_a_change_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    disk = Disk(monkeypatch)
    change = suspicion("train/one", label=0, box=LEFT, tags=("wrong_class",))
    other = suspicion("train/none", tags=("delete",))
    first = make_set(tmp_path / "first")
    write_suspicions(first / "review.csv", [change, other])
    with killed_at(10**9) as happened:
        apply_review(first, csv=first / "review.csv")
    whole = content(first)
    for step in range(0, len(happened), 4):
        root = make_set(tmp_path / f"set{step}")
        write_suspicions(root / "review.csv", [change, other])
        sync_tree(root)
        with killed_at(step), pytest.raises(Killed):
            apply_review(root, csv=root / "review.csv")
        disk.cut(root, damage)
        apply_review(root, csv=root / "review.csv")
        expected = whole | {"data.yaml": whole["data.yaml"].replace(b"first", root.name.encode())}
        assert content(root) == expected, f"cut before: {happened[step]}"
        with killed_at(step), contextlib.suppress(Killed):
            undo_review(root)
        disk.cut(root, damage)
        Transaction.finish_pending(root)
        if content(root) == expected:
            undo_review(root)
        assert faces_of(root, "train/one") == [(0, [*LEFT])]


def test_a_copied_set_that_names_another_one_changes_neither(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "copy")
    before = content(root)
    for change in (apply_csv, lambda place: undo_review(place)):
        with pytest.raises(DatasetError, match=r"is for the data set in .*/set, not for the one"):
            change(tmp_path / "copy")
    assert content(root) == before
