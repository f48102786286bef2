from __future__ import annotations

import errno
import io
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskyolo import convert
from maskyolo.boxes import as_boxes, box_iou
from maskyolo.convert import Conversion, convert_dataset, find_photos
from maskyolo.dataset import load_dataset
from maskyolo.errors import DatasetError, OutputError
from maskyolo.faces import Faces
from maskyolo.images import ImageArray, read_image
from maskyolo.labels import read_yolo
from maskyolo.ledger import read_ledger

FACE = (10.0, 10.0, 50.0, 60.0)


class FakeFaces:
    """A face detector that sees one face at a fixed place in every picture that is not black."""

    name = "fake"
    seen = 0

    def detect(self, image: ImageArray) -> Faces:
        type(self).seen += 1
        return Faces(as_boxes([FACE]), np.float32([0.9])) if image.any() else Faces.none()


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeFaces]:
    FakeFaces.seen = 0
    monkeypatch.setattr(convert, "load_face_detector", lambda *_: FakeFaces())
    return FakeFaces


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Ten different noise photos per class."""
    rng = np.random.default_rng(0)
    for name in ("with_mask", "without_mask"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(10):
            noise = Image.fromarray(rng.integers(1, 256, (8, 8, 3), dtype=np.uint8)).resize((80, 90))
            noise.save(tmp_path / "photos" / name / f"{number}.jpg")
    return tmp_path / "photos"


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def by_source(made: Conversion) -> dict[str, object]:
    return {row.source: row for row in made.rows}


def test_sample_folders_become_a_data_set_with_the_real_ssd(samples: Path, tmp_path: Path) -> None:
    made = convert_dataset(samples / "folders", tmp_path / "set", splits=(0.5, 0.25, 0.25))
    assert len(made.rows) == 16
    assert sum(row.status == "kept" for row in made.rows) >= 15
    assert read_ledger(tmp_path / "set" / "ledger.csv") == made.rows
    found = load_dataset(made.data)
    pictures = [path for split in ("train", "val", "test") for path in found.images(split)]
    assert len(pictures) == made.counts()["with_mask"]["kept"] + made.counts()["without_mask"]["kept"]
    for row in made.rows:
        if row.status == "kept":
            labels = read_yolo(found.label_of(made.folder / row.image), row.width, row.height)
            assert labels.boxes == pytest.approx(as_boxes(row.boxes), abs=0.02)
            assert set(labels.class_ids) == {0 if row.class_name == "with_mask" else 1}
            assert (made.folder / row.image).read_bytes() == (samples / "folders" / row.source).read_bytes()
    assert not list(tmp_path.glob("*.part"))


def test_two_runs_give_the_same_bytes(photos: Path, tmp_path: Path, fake: type[FakeFaces]) -> None:
    one = convert_dataset(photos, tmp_path / "one", seed=3, scenes=4, workers=1)
    two = convert_dataset(photos, tmp_path / "two", seed=3, scenes=4, workers=4)
    first, second = tree(one.folder), tree(two.folder)
    assert first.pop("data.yaml") != second.pop("data.yaml"), "they name their own folders"
    assert first == second
    assert sum(name.startswith("images/train/scene_") for name in first) == 4


def test_every_odd_file_is_in_the_ledger_with_a_reason(photos: Path, tmp_path: Path, fake: type[FakeFaces]) -> None:
    folder = photos / "with_mask"
    (folder / "empty.jpg").touch()
    (folder / "notes.txt").write_text("not a photo")
    (folder / "cut.jpg").write_bytes((folder / "0.jpg").read_bytes()[:500])
    shutil.copy(folder / "1.jpg", folder / "1 copy (2).jpg")
    Image.new("RGB", (1, 1)).save(folder / "pixel.png")
    Image.new("RGB", (60, 60)).save(folder / "black.png")
    Image.open(folder / "2.jpg").rotate(90).save(folder / "alpha [x] маска.png")
    turned = Image.Exif()
    turned[0x0112] = 8
    noise = Image.fromarray(np.random.default_rng(9).integers(1, 255, (9, 9, 3), dtype=np.uint8)).resize((120, 80))
    noise.save(folder / "turned.jpg_1088Wx1632H", "JPEG", exif=turned)
    noise.rotate(180).convert("RGBA").save(folder / "2.png")
    made = convert_dataset(photos, tmp_path / "set")
    rows = by_source(made)
    assert len(rows) == 20 + 9
    statuses = {name: rows[f"with_mask/{name}"].status for name in ("empty.jpg", "notes.txt", "cut.jpg", "pixel.png", "black.png")}
    assert statuses == {
        "empty.jpg": "unreadable",
        "notes.txt": "unreadable",
        "cut.jpg": "unreadable",
        "pixel.png": "no_face",
        "black.png": "no_face",
    }
    assert "empty" in rows["with_mask/empty.jpg"].reason
    copies = {rows["with_mask/1.jpg"].status, rows["with_mask/1 copy (2).jpg"].status}
    assert copies == {"kept", "duplicate"}
    odd = rows["with_mask/turned.jpg_1088Wx1632H"]
    assert (odd.status, odd.width, odd.height) == ("kept", 80, 120)
    assert read_image(made.folder / odd.image).shape == (120, 80, 3), "written upright, so that every reader agrees with the boxes"
    assert rows["with_mask/2.jpg"].image != rows["with_mask/2.png"].image
    names = [row.image for row in made.rows if row.image]
    assert len(names) == len(set(names))
    assert all(name.isascii() and " " not in name for name in names)


def test_the_same_file_in_both_classes_is_in_neither(photos: Path, tmp_path: Path, fake: type[FakeFaces]) -> None:
    shutil.copy(photos / "with_mask" / "0.jpg", photos / "without_mask" / "x.jpg")
    rows = by_source(convert_dataset(photos, tmp_path / "set"))
    assert {rows["with_mask/0.jpg"].status, rows["without_mask/x.jpg"].status} == {"ambiguous"}


def test_near_copies_share_a_split(photos: Path, tmp_path: Path, fake: type[FakeFaces]) -> None:
    for number in range(10):
        original = Image.open(photos / "with_mask" / f"{number}.jpg")
        original.resize((70, 80)).save(photos / "with_mask" / f"{number}-small.jpg", quality=60)
    rows = by_source(convert_dataset(photos, tmp_path / "set", splits=(0.5, 0.5, 0)))
    for number in range(10):
        one, two = rows[f"with_mask/{number}.jpg"], rows[f"with_mask/{number}-small.jpg"]
        assert (one.group, one.split) == (two.group, two.split)
    assert {row.split for row in rows.values()} == {"train", "val"}


def test_an_interrupted_run_goes_on_and_gives_the_same_set(photos: Path, tmp_path: Path, fake: type[FakeFaces]) -> None:
    whole = convert_dataset(photos, tmp_path / "whole")

    def stop(done: int, total: int) -> None:
        if done == 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert_dataset(photos, tmp_path / "set", on_progress=stop)
    assert not (tmp_path / "set").exists()
    fake.seen = 0
    resumed = convert_dataset(photos, tmp_path / "set")
    assert fake.seen <= 8
    assert resumed.rows == whole.rows
    assert {name: data for name, data in tree(resumed.folder).items() if name != "data.yaml"} == {
        name: data for name, data in tree(whole.folder).items() if name != "data.yaml"
    }


def test_other_settings_do_not_take_over_an_interrupted_run(photos: Path, tmp_path: Path, fake: type[FakeFaces]) -> None:
    def stop(done: int, total: int) -> None:
        if done == 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert_dataset(photos, tmp_path / "set", on_progress=stop)
    fake.seen = 0
    convert_dataset(photos, tmp_path / "set", conf=0.7)
    assert fake.seen == 20


def test_a_full_disk_is_one_line_and_no_data_set(
    photos: Path, tmp_path: Path, fake: type[FakeFaces], monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_bytes
    written = []

    def full(path: Path, data: bytes) -> int:
        if len(written) > 10:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(path)
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match="no space left"):
        convert_dataset(photos, tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_an_existing_data_set_is_never_mixed_into(photos: Path, tmp_path: Path, fake: type[FakeFaces]) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "precious.txt").touch()
    with pytest.raises(OutputError, match="it exists"):
        convert_dataset(photos, tmp_path / "set")
    assert fake.seen == 0


def spoil_no_folder(photos: Path) -> Path:
    return photos / "gone"


def spoil_no_photos(photos: Path) -> Path:
    shutil.rmtree(photos)
    photos.mkdir()
    return photos


def spoil_one_class_empty(photos: Path) -> Path:
    shutil.rmtree(photos / "without_mask")
    (photos / "without_mask").mkdir()
    return photos


def spoil_unknown_folder(photos: Path) -> Path:
    (photos / "mask_weared_incorrect").mkdir()
    shutil.copy(photos / "with_mask" / "0.jpg", photos / "mask_weared_incorrect")
    return photos


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (spoil_no_folder, "no folder"),
        (spoil_no_photos, "no class folders in .*: found files in nothing"),
        (spoil_one_class_empty, "class 'without_mask' has no photos"),
        (spoil_unknown_folder, "unknown class folder 'mask_weared_incorrect' .*--map mask_weared_incorrect=CLASS"),
    ],
)
def test_folders_that_do_not_fit_are_told(
    photos: Path, tmp_path: Path, fake: type[FakeFaces], spoil: Callable[[Path], Path], found: str
) -> None:
    with pytest.raises(DatasetError, match=found) as caught:
        convert_dataset(spoil(photos), tmp_path / "set")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "set").exists()


def test_a_class_without_any_face_is_told_and_the_ledger_is_left_to_read(photos: Path, tmp_path: Path, fake: type[FakeFaces]) -> None:
    for path in (photos / "with_mask").iterdir():
        Image.new("RGB", (20, 20)).save(path)
    with pytest.raises(DatasetError, match=r"no face found in any 'with_mask' photo .*set\.part/ledger\.csv"):
        convert_dataset(photos, tmp_path / "set")
    assert len(read_ledger(tmp_path / "set.part" / "ledger.csv")) == 20


def test_folder_names_in_other_spellings_and_the_map(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "PNG")
    for name in ("Train/WithMask", "Train/WithoutMask", "Test/covered", "Test/odd", ".cache"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "a.png").write_bytes(buffer.getvalue())
    (tmp_path / "Train" / "WithMask" / "Thumbs.db").touch()
    found = find_photos(tmp_path, {"covered": "with_mask", "odd": "ignore"})
    assert [(photo.source, photo.class_name) for photo in found] == [
        ("Test/covered/a.png", "with_mask"),
        ("Train/WithMask/a.png", "with_mask"),
        ("Train/WithoutMask/a.png", "without_mask"),
    ]


@pytest.mark.parametrize("splits", [(0.5, 0.5), (0.9, 0.2, 0.1), (1.0, 0.0, 0.0), (1.2, -0.1, -0.1)])
def test_splits_that_are_no_shares(photos: Path, tmp_path: Path, splits: tuple[float, ...]) -> None:
    with pytest.raises(DatasetError, match="give the shares"):
        convert_dataset(photos, tmp_path / "set", splits=splits)


def test_every_box_lies_in_its_picture_and_on_the_face(samples: Path, tmp_path: Path) -> None:
    import csv

    made = by_source(convert_dataset(samples / "folders", tmp_path / "set"))
    on_the_face = 0
    for row in csv.DictReader((samples / "folders.csv").open()):
        converted = made[row["file"]]
        boxes = as_boxes(converted.boxes)
        assert (boxes >= 0).all()
        assert (boxes <= [converted.width, converted.height] * 2).all()
        truth = [float(row[name]) for name in ("face_x1", "face_y1", "face_x2", "face_y2")]
        on_the_face += bool(len(boxes)) and box_iou([truth], boxes).max() > 0.5
    assert on_the_face >= 15
