"""A conversion that is killed, or loses power, at any step and is run again gives the same set.

Nothing of an old set is lost on the way.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from cuts import DAMAGES, Disk, Killed, killed_at, tree

from maskyolo.conversion import convert
from maskyolo.conversion.convert import convert_dataset
from maskyolo.core.boxes import as_boxes
from maskyolo.core.files import sync_tree
from maskyolo.core.images import ImageArray
from maskyolo.dataset.ledger import read_ledger, write_ledger
from maskyolo.dataset.workfolder import locked_set, working_folder
from maskyolo.detectors.faces.base import Faces
from maskyolo.errors import MaskyoloError, OutputError

FACE = (20.0, 10.0, 70.0, 70.0)


class FakeFaces:
    name = "fake"
    seen = 0

    def detect(self, image: ImageArray) -> Faces:
        type(self).seen += 1
        return Faces(as_boxes([FACE]), np.float32([0.9]))


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(convert, "load_face_detector", lambda *_, **__: FakeFaces())
    rng = np.random.default_rng(5)
    for name in ("with_mask", "without_mask"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(3):
            noise = cv2.resize(rng.integers(1, 256, (8, 8, 3), dtype=np.uint8), (90, 80))
            cv2.imwrite(str(tmp_path / "photos" / name / f"{number}.jpg"), noise)
    return tmp_path / "photos"


def make(photos: Path, out: Path, update: bool, seed: int = 0) -> None:
    convert_dataset(
        photos, out, splits=(0.5, 0.5, 0), seed=seed, scenes=1, workers=1, update=update
    )


def steps(count: int) -> list[int]:
    """Every eleventh step, and all of the last: there the set is put in place."""
    return sorted({*range(5, count, 11), *range(count - 9, count)})


def test_a_new_set_is_the_same_after_a_kill_at_any_step(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "set"
    out.parent.mkdir()
    with killed_at(10**9) as happened:
        make(photos, out, update=False)
    whole = tree(out)
    assert any(name.startswith("images/train/scene_") for name in whole)
    for step in steps(len(happened)):
        shutil.rmtree(out.parent)
        out.parent.mkdir()
        with killed_at(step), pytest.raises(Killed):
            make(photos, out, update=False)
        FakeFaces.seen = 0
        make(
            photos, out, update=out.exists()
        )  # it exists when the kill came after the last step that matters
        assert tree(out) == whole, f"killed before: {happened[step]}"
        assert FakeFaces.seen == 0 or step < len(happened) - 9, "what was done is not done again"
        assert [path.name for path in out.parent.iterdir()] == ["set"]


def test_an_update_loses_nothing_by_a_kill_at_any_step(photos: Path, tmp_path: Path) -> None:
    out, before = tmp_path / "new" / "set", tmp_path / "before"
    out.parent.mkdir()
    make(photos, out, update=False, seed=1)
    split_again = {row.source: row.split for row in read_ledger(out / "ledger.csv")}
    shutil.rmtree(out)
    make(photos, out, update=False)
    moved = next(
        row for row in read_ledger(out / "ledger.csv") if row.split != split_again[row.source]
    )
    label = out / moved.image.replace("images", "labels").replace(".jpg", ".txt")
    label.write_text("1 0.5 0.5 0.25 0.25\n")
    (out / "notes.txt").write_text("mine")
    shutil.copytree(out, before)
    shutil.copy(photos / moved.source, photos / "with_mask" / "new.jpg")
    next(
        path
        for path in sorted((photos / "without_mask").iterdir())
        if path != photos / moved.source
    ).unlink()
    with killed_at(10**9) as happened:
        make(photos, out, update=True, seed=1)
    whole = tree(out)
    assert whole["notes.txt"] == b"mine"
    assert whole[label.relative_to(out).as_posix()] == b"1 0.500000 0.500000 0.250000 0.250000\n"
    for step in steps(len(happened)):
        shutil.rmtree(out.parent)
        out.parent.mkdir()
        shutil.copytree(before, out)
        with killed_at(step), pytest.raises(Killed):
            make(photos, out, update=True, seed=1)
        make(photos, out, update=True, seed=1)
        assert tree(out) == whole, f"killed before: {happened[step]}"
        assert [path.name for path in out.parent.iterdir()] == ["set"]


@pytest.mark.skipif(sys.platform != "linux", reason="reads what was synced from /proc")
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_power_cut_at_any_step_loses_nothing(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    out = tmp_path / "new" / "set"
    out.parent.mkdir()
    monkeypatch.setattr("maskyolo.dataset.journal._PAUSE", 0.0)  # every line is a batch of its own
    disk = Disk(monkeypatch)
    with killed_at(10**9) as happened:
        make(photos, out, update=False)
    whole = tree(out)
    assert disk.cut(out, damage) == []
    for step in {*range(7, len(happened), 31), *range(len(happened) - 4, len(happened))}:
        shutil.rmtree(out.parent)
        out.parent.mkdir()
        with killed_at(step), pytest.raises(Killed):
            make(photos, out, update=False)
        disk.cut(out.parent, damage)
        make(photos, out, update=out.exists())
        assert tree(out) == whole, f"cut before: {happened[step]}"
    for path in sorted((photos / "with_mask").iterdir())[1:]:
        path.unlink()
    with killed_at(10**9) as happened:
        make(photos, out, update=True)
    smaller = tree(out)
    for step in range(len(happened) - 12, len(happened), 5):
        shutil.rmtree(out)
        for name, data in whole.items():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (out / name).write_bytes(data)
        sync_tree(out)
        with killed_at(step), pytest.raises(Killed):
            make(photos, out, update=True)
        disk.cut(out.parent, damage)
        make(photos, out, update=True)
        assert tree(out) == smaller, f"cut before: {happened[step]}"


def test_a_photo_whose_files_were_damaged_is_done_again(photos: Path, tmp_path: Path) -> None:
    make(photos, tmp_path / "set", update=False)
    whole = tree(tmp_path / "set")
    shutil.rmtree(tmp_path / "set")
    with killed_at(10**9) as happened:
        make(photos, tmp_path / "set", update=False)
    shutil.rmtree(tmp_path / "set")
    with killed_at(len(happened) - 30), pytest.raises(Killed):
        make(photos, tmp_path / "set", update=False)
    part = tmp_path / "set.part"
    flat = [path for kind in ("images", "labels") for path in sorted((part / kind).rglob("with*"))]
    assert len(flat) == 12
    flat[0].write_bytes(b"")
    flat[1].write_bytes(flat[1].read_bytes()[:-9] + b"123456789")
    flat[-1].write_bytes(b"")
    flat[-2].unlink()
    FakeFaces.seen = 0
    make(photos, tmp_path / "set", update=False)
    assert tree(tmp_path / "set") == whole
    assert FakeFaces.seen == 4


@pytest.mark.parametrize(
    "link", ["images", "images/train", "labels/val", ".replaced", "sheets", "data.yaml.part", "."]
)
def test_a_working_folder_with_a_link_to_elsewhere_changes_nothing_there(
    photos: Path, tmp_path: Path, link: str
) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "a_01234567.jpg").write_bytes(b"mine")
    part = tmp_path / "set.part"
    (part / link).parent.mkdir(parents=True, exist_ok=True)
    if link == ".":
        part.symlink_to(precious)
    else:
        (part / ".maskyolo").write_text("convert")
        (part / link).symlink_to(precious)
    with pytest.raises(MaskyoloError, match=r"outside the data set|is not from an interrupted"):
        make(photos, tmp_path / "set", update=False)
    assert tree(precious) == {"a_01234567.jpg": b"mine"}


@pytest.mark.parametrize(
    "image", ["../precious/a.jpg", "/precious/a.jpg", "images/train/link.jpg", ".", "a\0b"]
)
def test_a_ledger_that_names_files_elsewhere_stops_an_update(
    photos: Path, tmp_path: Path, image: str
) -> None:
    make(photos, tmp_path / "set", update=False)
    precious = tmp_path / "precious" / "a.jpg"
    precious.parent.mkdir()
    precious.write_bytes(b"mine")
    ledger = tmp_path / "set" / "ledger.csv"
    first, *others = read_ledger(ledger)
    (tmp_path / "set" / first.image).unlink()
    if "link" in image:
        (tmp_path / "set" / image).symlink_to(precious)
    stolen = image.replace("/precious", str(precious.parent), image.startswith("/"))
    write_ledger(ledger, [replace(first, image=stolen, status="corrected"), *others])
    with pytest.raises(MaskyoloError):
        make(photos, tmp_path / "set", update=True)
    assert precious.read_bytes() == b"mine"


@pytest.mark.parametrize("name", ["mine.jpg", "scene_mine.jpg", "scene_00000.png"])
def test_a_image_that_was_put_into_the_set_by_hand_stops_an_update(
    photos: Path, tmp_path: Path, name: str
) -> None:
    make(photos, tmp_path / "set", update=True)
    shutil.copy(photos / "with_mask" / "0.jpg", tmp_path / "set" / "images" / "train" / name)
    before = tree(tmp_path / "set")
    with pytest.raises(OutputError, match=f"{name} is not in its ledger and would be lost"):
        make(photos, tmp_path / "set", update=True)
    assert tree(tmp_path / "set") == before


@pytest.mark.parametrize(
    ("command", "found"),
    [("", r"images"), ("synthesize", r"images"), ("convert", r"images/mine\.jpg")],
)
def test_what_others_left_in_the_working_folder_is_not_removed(
    photos: Path, tmp_path: Path, command: str, found: str
) -> None:
    part = tmp_path / "set.part"
    (part / "images").mkdir(parents=True)
    (part / "images" / "mine.jpg").touch()
    if command:
        (part / ".maskyolo").write_text(command)
    before = tree(part)
    with pytest.raises(
        OutputError,
        match=f"{found} in it is not from an interrupted convert; "
        "move it away or choose another --out",
    ):
        make(photos, tmp_path / "set", update=False)
    assert tree(part) == before


def test_a_folder_that_is_no_set_is_not_updated(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "journal.jsonl").write_text("mine")
    with pytest.raises(
        OutputError, match=r"no ledger\.csv, and only a set that convert made can be updated"
    ):
        make(photos, tmp_path / "set", update=True)
    assert (tmp_path / "set" / "journal.jsonl").read_text() == "mine"


def test_what_ultralytics_leaves_in_a_set_does_not_stop_an_update(
    photos: Path, tmp_path: Path
) -> None:
    make(photos, tmp_path / "set", update=True)
    (tmp_path / "set" / "labels" / "train.cache").write_bytes(b"cache")
    make(photos, tmp_path / "set", update=True)
    assert not (tmp_path / "set" / "labels" / "train.cache").exists()


def test_a_second_update_changes_nothing(photos: Path, tmp_path: Path) -> None:
    make(photos, tmp_path / "set", update=True)
    whole = tree(tmp_path / "set")
    rows = read_ledger(tmp_path / "set" / "ledger.csv")
    write_ledger(tmp_path / "set" / "ledger.csv", rows)
    make(photos, tmp_path / "set", update=True)
    assert tree(tmp_path / "set") == whole


def test_a_link_to_a_folder_stays_one(tmp_path: Path) -> None:
    (tmp_path / "disk" / "set").mkdir(parents=True)
    (tmp_path / "set").symlink_to(tmp_path / "disk" / "set")
    assert working_folder(tmp_path / "set") == (
        tmp_path / "disk" / "set",
        tmp_path / "disk" / "set.part",
    )
    assert working_folder(".")[0] == Path.cwd()
    with pytest.raises(OutputError, match="choose another folder"):
        working_folder("/")


def test_two_runs_at_once_do_not_share_a_working_folder(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Curious(FakeFaces):
        told: list[str] = []  # noqa: RUF012

        def detect(self, image: ImageArray) -> Faces:
            if not self.told:
                self.told.append("")
                with pytest.raises(OutputError) as caught:
                    convert_dataset(photos, tmp_path / "set")
                self.told[0] = str(caught.value)
            return super().detect(image)

    monkeypatch.setattr(convert, "load_face_detector", lambda *_, **__: Curious())
    made = convert_dataset(photos, tmp_path / "set", workers=1)
    assert Curious.told[0].startswith(
        f"cannot work in {tmp_path / 'set'}.part: another run is using it; wait"
    )
    assert sum(row.in_set for row in made.rows) == len(made.rows)
    with pytest.raises(OutputError, match="it exists"):
        convert_dataset(photos, tmp_path / "set")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("set")] == ["set"], (
        "no empty working folder is left"
    )


def test_a_set_in_a_folder_that_cannot_be_written_is_locked_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "data.yaml").touch()
    for writable, names in ((True, ["set", "set.part"]), (False, ["set"])):
        monkeypatch.setattr("os.access", lambda *_, writable=writable: writable)
        with locked_set(tmp_path / "set"):
            assert sorted(path.name for path in tmp_path.iterdir()) == names
            for _ in range(2):  # a run that is turned away leaves the lock as it is
                with (
                    pytest.raises(OutputError, match="another run is using it"),
                    locked_set(tmp_path / "set"),
                ):
                    pass
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
