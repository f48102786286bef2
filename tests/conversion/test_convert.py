from __future__ import annotations

import errno
import io
import os
import shutil
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import supervision as sv
import yaml
from PIL import Image, ImageOps

from maskyolo.conversion import convert
from maskyolo.conversion.convert import Conversion, convert_dataset, convert_photos
from maskyolo.conversion.options import ConvertOptions
from maskyolo.conversion.photos import Photo, find_photos
from maskyolo.core.boxes import as_boxes, box_iou
from maskyolo.core.choices import Bystanders
from maskyolo.core.images import ImageArray, list_images, read_image
from maskyolo.core.item_errors import ItemErrors
from maskyolo.core.labels import IGNORE, Labels, read_yolo
from maskyolo.dataset.journal import Entry
from maskyolo.dataset.layout import load_dataset
from maskyolo.dataset.ledger import LedgerRow, read_ledger, write_ledger
from maskyolo.detectors.faces.base import Faces
from maskyolo.detectors.faces.convention import SHIFTS
from maskyolo.errors import DatasetError, ImageError, MaskyoloError, OutputError

FACE = (10.0, 10.0, 50.0, 60.0)


class FakeFaces:
    """A face detector that sees one face at a fixed place in every image that is not black."""

    name = "fake"
    seen = 0

    def detect(self, image: ImageArray) -> Faces:
        type(self).seen += 1
        return Faces(as_boxes([FACE]), np.float32([0.9])) if image.any() else Faces.none()


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeFaces]:
    FakeFaces.seen = 0
    monkeypatch.setattr(convert, "load_face_detector", lambda *_, **__: FakeFaces())
    monkeypatch.setattr(
        convert.MaskJudge, "__call__", lambda *_: sv.Detections.empty()
    )  # it would see faces in large noise
    return FakeFaces


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Ten different noise photos per class."""
    rng = np.random.default_rng(0)
    for name in ("with_mask", "without_mask"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(10):
            noise = Image.fromarray(rng.integers(1, 256, (8, 8, 3), dtype=np.uint8)).resize(
                (80, 90)
            )
            noise.save(tmp_path / "photos" / name / f"{number}.jpg")
    return tmp_path / "photos"


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def by_source(made: Conversion) -> dict[str, LedgerRow]:
    return {row.source: row for row in made.rows}


def test_sample_folders_become_a_data_set_with_the_real_ssd(samples: Path, tmp_path: Path) -> None:
    made = convert_dataset(samples / "folders", tmp_path / "set", splits=(0.5, 0.25, 0.25))
    assert len(made.rows) == 16
    assert sum(row.status == "kept" for row in made.rows) >= 15
    assert read_ledger(tmp_path / "set" / "ledger.csv") == made.rows
    found = load_dataset(made.data)
    pictures = [path for split in ("train", "val", "test") for path in found.images(split)]
    assert (
        len(pictures) == made.counts()["with_mask"]["kept"] + made.counts()["without_mask"]["kept"]
    )
    for row in made.rows:
        if row.status == "kept":
            labels = read_yolo(found.label_of(made.folder / row.image), row.width, row.height)
            assert labels.boxes == pytest.approx(as_boxes(row.boxes), abs=0.02)
            assert set(labels.class_ids) == {0 if row.class_name == "with_mask" else 1}
            assert (made.folder / row.image).read_bytes() == (
                samples / "folders" / row.source
            ).read_bytes()
    assert not list(tmp_path.glob("*.part"))


def test_two_runs_give_the_same_bytes(photos: Path, tmp_path: Path, fake: type[FakeFaces]) -> None:
    one = convert_dataset(photos, tmp_path / "one", seed=3, scenes=4, workers=1)
    two = convert_dataset(photos, tmp_path / "two", seed=3, scenes=4, workers=4)
    first, second = tree(one.folder), tree(two.folder)
    assert "sheets/kept.png" in first
    assert first.pop("data.yaml") != second.pop("data.yaml"), "they name their own folders"
    assert first == second
    assert sum(name.startswith("images/train/scene_") for name in first) == 4


def test_a_folder_of_masks_worn_incorrectly_becomes_a_third_class(
    photos: Path, tmp_path: Path, fake: type[FakeFaces]
) -> None:
    rng = np.random.default_rng(1)
    (photos / "mask_weared_incorrect").mkdir()
    for number in range(5):
        noise = Image.fromarray(rng.integers(1, 256, (8, 8, 3), dtype=np.uint8)).resize((80, 90))
        noise.save(photos / "mask_weared_incorrect" / f"{number}.jpg")
    made = convert_dataset(photos, tmp_path / "set", splits=(0.6, 0.4, 0), scenes=12)
    found = load_dataset(made.data)
    assert found.names == made.names == ("with_mask", "without_mask", "incorrect_mask")
    assert made.counts()["incorrect_mask"] == {"kept": 5}
    for row in made.rows:
        class_id = made.names.index(row.class_name)
        labels = read_yolo(
            found.label_of(made.folder / row.image), row.width, row.height, classes=3
        )
        assert set(labels.class_ids) == {class_id}
        assert set(row.classes) == {row.class_name}
        assert Path(row.image).name.startswith(f"{row.class_name}_")
    assert Counter(row.split for row in made.rows if row.class_name == "incorrect_mask") == {
        "train": 3,
        "val": 2,
    }
    scenes = [path for path in found.images("train") if path.name.startswith("scene_")]
    in_scenes = Counter(
        line.split()[0] for path in scenes for line in found.label_of(path).read_text().splitlines()
    )
    assert set(in_scenes) == {"0", "1", "2"}
    amber = (np.array(Image.open(made.folder / "sheets" / "kept.png")) == (230, 150, 0)).all(-1)
    assert amber.sum() > 5 * 50, "the third class has a color of its own in the contact sheet"

    for target, counts in (("without_mask", 15), ("ignore", 10)):
        folded = convert_dataset(
            photos, tmp_path / target, class_map={"mask_weared_incorrect": target}, sheets=False
        )
        assert folded.names == ("with_mask", "without_mask")
        assert folded.counts()["without_mask"]["kept"] == counts


def test_every_odd_file_is_in_the_ledger_with_a_reason(
    photos: Path, tmp_path: Path, fake: type[FakeFaces]
) -> None:
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
    noise = Image.fromarray(
        np.random.default_rng(9).integers(1, 255, (9, 9, 3), dtype=np.uint8)
    ).resize((120, 80))
    noise.save(folder / "turned.jpg_1088Wx1632H", "JPEG", exif=turned)
    noise.rotate(180).convert("RGBA").save(folder / "2.png")
    made = convert_dataset(photos, tmp_path / "set")
    rows = by_source(made)
    assert len(rows) == 20 + 9
    statuses = {
        name: rows[f"with_mask/{name}"].status
        for name in ("empty.jpg", "notes.txt", "cut.jpg", "pixel.png", "black.png")
    }
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
    assert read_image(made.folder / odd.image).shape == (120, 80, 3), (
        "written upright, so that every reader agrees with the boxes"
    )
    assert rows["with_mask/2.jpg"].image != rows["with_mask/2.png"].image
    names = [row.image for row in made.rows if row.image]
    assert len(names) == len(set(names))
    assert all(name.isascii() and " " not in name for name in names)


def test_the_same_file_in_both_classes_is_in_neither(
    photos: Path, tmp_path: Path, fake: type[FakeFaces]
) -> None:
    shutil.copy(photos / "with_mask" / "0.jpg", photos / "without_mask" / "x.jpg")
    rows = by_source(convert_dataset(photos, tmp_path / "set"))
    assert {rows["with_mask/0.jpg"].status, rows["without_mask/x.jpg"].status} == {"ambiguous"}


def test_the_same_file_in_both_classes_is_told_by_a_person(
    photos: Path, tmp_path: Path, fake: type[FakeFaces]
) -> None:
    convert_dataset(photos, tmp_path / "set")
    rows = read_ledger(tmp_path / "set" / "ledger.csv")
    rows = [
        row.corrected(row.boxes, row.classes) if row.source == "with_mask/0.jpg" else row
        for row in rows
    ]
    write_ledger(tmp_path / "set" / "ledger.csv", rows)
    shutil.copy(photos / "with_mask" / "0.jpg", photos / "without_mask" / "x.jpg")
    found = by_source(convert_dataset(photos, tmp_path / "set", update=True))
    assert (found["with_mask/0.jpg"].status, found["without_mask/x.jpg"].status) == (
        "corrected",
        "duplicate",
    )


def test_a_copy_of_a_photo_without_a_face_has_none_either(
    photos: Path, tmp_path: Path, fake: type[FakeFaces]
) -> None:
    for name in ("black.png", "black too.png"):
        Image.new("RGB", (60, 60)).save(photos / "with_mask" / name)
    rows = by_source(convert_dataset(photos, tmp_path / "set"))
    assert {rows[f"with_mask/{name}"].status for name in ("black.png", "black too.png")} == {
        "no_face"
    }
    assert (
        rows["with_mask/black.png"].reason
        == "the same file as with_mask/black too.png: no face found"
    )
    assert fake.seen == 21


def test_near_copies_share_a_split(photos: Path, tmp_path: Path, fake: type[FakeFaces]) -> None:
    for number in range(10):
        original = Image.open(photos / "with_mask" / f"{number}.jpg")
        original.resize((70, 80)).save(photos / "with_mask" / f"{number}-small.jpg", quality=60)
        ImageOps.mirror(original).save(photos / "with_mask" / f"{number}-mirrored.jpg", quality=90)
    made = convert_dataset(photos, tmp_path / "set", splits=(0.5, 0.5, 0))
    rows = by_source(made)
    assert made.leaks == 0
    assert made.pairs >= 20
    assert made.random_leaks == pytest.approx(made.pairs / 2, rel=0.1)
    for number in range(10):
        copies = [rows[f"with_mask/{number}{kind}.jpg"] for kind in ("", "-small", "-mirrored")]
        assert len({(row.group, row.split) for row in copies}) == 1
    assert {row.split for row in rows.values()} == {"train", "val"}


def test_an_interrupted_run_goes_on_and_gives_the_same_set(
    photos: Path, tmp_path: Path, fake: type[FakeFaces]
) -> None:
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


def test_other_settings_do_not_take_over_an_interrupted_run(
    photos: Path, tmp_path: Path, fake: type[FakeFaces]
) -> None:
    def stop(done: int, total: int) -> None:
        if done == 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert_dataset(photos, tmp_path / "set", on_progress=stop)
    fake.seen = 0
    convert_dataset(photos, tmp_path / "set", conf=0.7)
    assert fake.seen == 20


@pytest.mark.parametrize(
    ("name", "kept"), [("ssd+yunet", False), ("ssd+yunet+maskyolo-n-folders", True)]
)
def test_the_weights_that_moved_the_boxes_are_among_the_settings(
    photos: Path,
    tmp_path: Path,
    fake: type[FakeFaces],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    kept: bool,
) -> None:
    monkeypatch.setattr(fake, "name", name)
    convert_dataset(photos, tmp_path / "set", bystanders="folder")
    settings = yaml.safe_load((tmp_path / "set" / "convert.yaml").read_text())["settings"]
    assert (settings["detector"], len(settings["judge"])) == (name, 64 * kept)


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


def test_an_existing_data_set_is_never_mixed_into(
    photos: Path, tmp_path: Path, fake: type[FakeFaces]
) -> None:
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
    (photos / "half_a_mask").mkdir()
    shutil.copy(photos / "with_mask" / "0.jpg", photos / "half_a_mask")
    return photos


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (spoil_no_folder, "no folder"),
        (spoil_no_photos, "no class folders in .*: found files in nothing"),
        (spoil_one_class_empty, "class 'without_mask' has no photos"),
        (
            spoil_unknown_folder,
            "unknown class folder 'half_a_mask' .*--map half_a_mask=CLASS",
        ),
    ],
)
def test_folders_that_do_not_fit_are_told(
    photos: Path, tmp_path: Path, fake: type[FakeFaces], spoil: Callable[[Path], Path], found: str
) -> None:
    with pytest.raises(DatasetError, match=found) as caught:
        convert_dataset(spoil(photos), tmp_path / "set")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "set").exists()


def test_a_class_without_any_face_is_told_and_the_ledger_is_left_to_read(
    photos: Path, tmp_path: Path, fake: type[FakeFaces]
) -> None:
    for path in (photos / "with_mask").iterdir():
        Image.new("RGB", (20, 20)).save(path)
    with pytest.raises(
        DatasetError, match=r"no face found in any 'with_mask' photo; .*set\.part/ledger\.csv"
    ):
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


@pytest.mark.parametrize(
    "splits",
    [(0.5, 0.5), (0.9, 0.2, 0.1), (1.0, 0.0, 0.0), (1.2, -0.1, -0.1), (float("nan"), 0.5, 0.5)],
)
def test_splits_that_are_no_shares(photos: Path, tmp_path: Path, splits: tuple[float, ...]) -> None:
    with pytest.raises(DatasetError, match="must be three fractions"):
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


def test_a_benchmark_stays_out_mirrored_and_saved_again_as_it_may_be(
    photos: Path, tmp_path: Path, fake: type[FakeFaces]
) -> None:
    benchmark = tmp_path / "benchmark" / "deep"
    benchmark.mkdir(parents=True)
    Image.open(photos / "with_mask" / "3.jpg").resize((160, 180)).save(benchmark / "three.png")
    ImageOps.mirror(Image.open(photos / "without_mask" / "4.jpg")).save(
        benchmark / "four.jpg", quality=85
    )
    made = convert_dataset(photos, tmp_path / "set", exclude=[tmp_path / "benchmark"])
    assert {row.source: (row.status, row.reason) for row in made.rows if row.status != "kept"} == {
        "with_mask/3.jpg": ("excluded", "near-copy of benchmark/deep/three.png"),
        "without_mask/4.jpg": ("excluded", "near-copy of benchmark/deep/four.jpg"),
    }
    assert sum(name.startswith("images/") for name in tree(made.folder)) == 18
    again = convert_dataset(photos, tmp_path / "set", update=True)
    assert again.counts()["with_mask"] == {"kept": 10}, (
        "it comes back when the benchmark is no longer named"
    )


def test_a_benchmark_that_cannot_be_read_is_told(
    photos: Path, tmp_path: Path, fake: type[FakeFaces]
) -> None:
    with pytest.raises(DatasetError, match="no images to exclude"):
        convert_dataset(photos, tmp_path / "set", exclude=[tmp_path / "gone"])
    (tmp_path / "benchmark").mkdir()
    (tmp_path / "benchmark" / "cut.jpg").write_bytes(
        (photos / "with_mask" / "0.jpg").read_bytes()[:300]
    )
    with pytest.raises(ImageError, match="cut"):
        convert_dataset(photos, tmp_path / "set", exclude=[tmp_path / "benchmark"])
    assert fake.seen == 0


def test_options_are_an_object_or_keywords_and_keywords_win(
    photos: Path, tmp_path: Path, fake: type[FakeFaces]
) -> None:
    options = ConvertOptions(splits=(0.5, 0.5, 0), seed=5, sheets=False)
    one = convert_dataset(photos, tmp_path / "one", options, seed=7)
    two = convert_dataset(photos, tmp_path / "two", splits=(0.5, 0.5, 0), seed=7, sheets=False)
    three = convert_dataset(photos, tmp_path / "three", options)
    assert one.rows == two.rows
    assert not (one.folder / "sheets").exists()
    assert [row.split for row in three.rows] != [row.split for row in one.rows]
    assert {row.split for row in one.rows} == {"train", "val"}
    with pytest.raises(TypeError, match="others"):
        convert_dataset(photos, tmp_path / "four", others="folder")


def test_an_update_redoes_what_changed_and_nothing_else(
    photos: Path, tmp_path: Path, fake: type[FakeFaces]
) -> None:
    convert_dataset(photos, tmp_path / "set", seed=3)
    shutil.copy(photos / "with_mask" / "0.jpg", photos / "with_mask" / "copy.jpg")
    Image.open(photos / "with_mask" / "1.jpg").rotate(180).save(photos / "with_mask" / "1.jpg")
    Image.open(photos / "with_mask" / "2.jpg").rotate(180).save(photos / "without_mask" / "new.jpg")
    (photos / "without_mask" / "5.jpg").unlink()
    fake.seen = 0
    made = convert_dataset(photos, tmp_path / "set", seed=3, update=True)
    assert fake.seen == 2
    assert [row.source for row in made.gone] == ["without_mask/5.jpg"]
    assert by_source(made)["with_mask/copy.jpg"].status == "duplicate"
    fresh = convert_dataset(photos, tmp_path / "fresh", seed=3)
    assert fresh.rows == made.rows
    first, second = tree(made.folder), tree(fresh.folder)
    first.pop("data.yaml")
    second.pop("data.yaml")
    assert first == second, "an updated set is the set that would be made from scratch"
    fake.seen = 0
    convert_dataset(photos, tmp_path / "set", seed=3, conf=0.7, update=True)
    assert fake.seen == 20, "with other settings all are done again (and the copy is not)"
    settings = tmp_path / "set" / "convert.yaml"
    earlier = yaml.safe_load(settings.read_text())
    earlier["settings"]["version"] = 5  # its boxes included the forehead
    settings.write_text(yaml.safe_dump(earlier))
    fake.seen = 0
    convert_dataset(photos, tmp_path / "set", seed=3, conf=0.7, update=True)
    assert fake.seen == 20, "and so are those of an earlier version"


def test_an_update_keeps_what_people_corrected(
    photos: Path, tmp_path: Path, fake: type[FakeFaces]
) -> None:
    made = convert_dataset(photos, tmp_path / "set")
    rows = {row.source: row for row in made.rows}
    one, two, three = (rows[f"with_mask/{number}.jpg"] for number in (1, 2, 3))
    other_box, other_class = (
        one.corrected([(5, 5, 40, 40)], ["without_mask"], "seen"),
        two.corrected(two.boxes, ["without_mask"]),
    )
    corrections = {
        one.source: other_box,
        two.source: other_class,
        three.source: three.removed("blurred"),
    }
    write_ledger(
        tmp_path / "set" / "ledger.csv", [corrections.get(row.source, row) for row in made.rows]
    )
    label = tmp_path / "set" / one.image.replace("images", "labels").replace(".jpg", ".txt")
    label.write_text("1 0.28125 0.25 0.4375 0.388889\n")
    for row in (
        two,
        three,
    ):  # as `review apply` leaves them: the label rewritten, the removed image deleted
        (tmp_path / "set" / row.image.replace("images", "labels").replace(".jpg", ".txt")).unlink()
    (tmp_path / "set" / three.image).unlink()
    (tmp_path / "set" / two.image.replace("images", "labels").replace(".jpg", ".txt")).write_text(
        "1 0.375000 0.388889 0.500000 0.555556\n"
    )
    four = rows["without_mask/4.jpg"]
    by_hand = tmp_path / "set" / four.image.replace("images", "labels").replace(".jpg", ".txt")
    by_hand.write_text("")
    again = by_source(convert_dataset(photos, tmp_path / "set", conf=0.6, seed=9, update=True))
    assert (again[one.source].status, again[one.source].split) == ("corrected", one.split)
    assert again[one.source].boxes[0] == pytest.approx((5, 5, 40, 40), abs=0.01)
    assert again[one.source].deciders == again[one.source].origins == ("human",)
    assert again[two.source] == replace(other_class, group=again[two.source].group)
    assert (again[three.source].status, again[three.source].reason, again[three.source].image) == (
        "corrected",
        "blurred",
        "",
    )
    assert (again[four.source].status, again[four.source].boxes, again[four.source].split) == (
        "corrected",
        (),
        four.split,
    )
    assert "by hand" in again[four.source].reason
    assert by_hand.read_text() == ""
    assert label.read_text().startswith("1 0.28")
    assert again["with_mask/5.jpg"].status == "kept"


def test_splits_hold_the_same_share_of_each_class_and_face_size(
    tmp_path: Path, fake: type[FakeFaces]
) -> None:
    rng = np.random.default_rng(0)
    for name, sides in (("with_mask", (60, 900)), ("without_mask", (60, 300))):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(60):
            side = sides[number % 2]
            noise = Image.fromarray(rng.integers(1, 256, (8, 8, 3), dtype=np.uint8)).resize(
                (side, side)
            )
            noise.save(tmp_path / "photos" / name / f"{number}.jpg")
    made = convert_dataset(
        tmp_path / "photos", tmp_path / "set", splits=(0.8, 0.1, 0.1), sheets=False
    )
    assert not (made.folder / "sheets").exists()
    found = Counter(((row.class_name, row.size), row.split) for row in made.rows)
    for stratum in (
        ("with_mask", "small"),
        ("with_mask", "large"),
        ("without_mask", "medium"),
        ("without_mask", "large"),
    ):
        assert {split: found[stratum, split] for split in ("train", "val", "test")} == {
            "train": 24,
            "val": 3,
            "test": 3,
        }


class SeesBoth(FakeFaces):
    """Sees the subject, and a second face beside it in photos wider than high."""

    def detect(self, image: ImageArray) -> Faces:
        count = 2 if image.shape[1] > image.shape[0] else 1
        boxes, scores = as_boxes([FACE, (60.0, 20.0, 85.0, 50.0)]), np.float32([0.9, 0.8])
        return Faces(
            boxes[:count], scores[:count], ("ssd", "yunet")[:count], np.array([True, False])[:count]
        )


@pytest.fixture
def wide(photos: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A wide photo with two faces; the mask detector is unsure about the second one."""
    photo = Image.new("RGB", (100, 70), "blue")
    photo.paste("yellow", (66, 28, 79, 42))
    photo.save(photos / "with_mask" / "wide.jpg")
    monkeypatch.setattr(convert, "load_face_detector", lambda *_, **__: SeesBoth())
    monkeypatch.setattr(
        convert.MaskJudge,
        "__call__",
        lambda *_: sv.Detections(as_boxes([FACE]), None, np.float32([0.8]), np.array([0])),
    )
    return "with_mask/wide.jpg"


def test_a_face_whose_class_is_not_known_is_blanked_out(
    photos: Path, tmp_path: Path, wide: str
) -> None:
    made = convert_dataset(photos, tmp_path / "set")
    row = by_source(made)[wide]
    assert (row.status, row.classes, row.deciders) == (
        "kept",
        ("with_mask", "ignore"),
        ("folder", "nobody"),
    )
    assert (row.origins, row.agreed, row.size) == (("ssd", "yunet"), (True, False), "large")
    assert row.reason == "2 faces: the subject, 1 blanked out"
    image = read_image(made.folder / row.image)
    assert image[15:55, 55:90, 0].min() > 120, "no yellow is left of the face"
    assert image[10, 5].tolist() == pytest.approx([254, 0, 0], abs=4)
    labels = read_yolo(load_dataset(made.data).label_of(made.folder / row.image), 100, 70)
    assert labels.boxes.tolist() == [pytest.approx(FACE, abs=0.01)]


def test_set_aside_photos_and_the_sheet_of_them(photos: Path, tmp_path: Path, wide: str) -> None:
    made = convert_dataset(photos, tmp_path / "set", bystanders="set-aside")
    row = by_source(made)[wide]
    assert (row.status, row.image, len(row.boxes)) == ("ambiguous", "", 2)
    assert (made.folder / "sheets" / "ambiguous.png").is_file()
    with pytest.raises(MaskyoloError, match="unknown bystanders 'guess'"):
        convert_dataset(photos, tmp_path / "other", bystanders="guess")


def test_our_detector_is_shown_few_shapes_and_two_photos_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shapes, both = set(), threading.Barrier(2, timeout=20)

    def white(canvas: ImageArray) -> sv.Detections:
        both.wait()
        shapes.add(canvas.shape)
        rows, columns = np.nonzero(canvas[..., 0] == 255)
        return sv.Detections(
            np.float32([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]])
        )

    monkeypatch.setattr("maskyolo.detectors.loading.load_detector", lambda *_, **__: white)
    judge = convert.MaskJudge(convention=False)
    sizes = [(90, 80), (333, 500), (335, 500), (500, 333), (720, 100), (6, 640)]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda size: judge(np.full((*size, 3), 255, np.uint8)).xyxy, sizes))
    for (height, width), box in zip(sizes, found, strict=True):
        assert box == pytest.approx(np.array([[0, 0, width, height]]), abs=1)
    assert shapes == {(640, 640, 3), (512, 640, 3), (640, 512, 3), (640, 128, 3), (128, 640, 3)}


def test_boxes_of_our_detector_are_moved_to_the_convention(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn = sv.Detections(np.float32([[100, 100, 200, 225]]))
    monkeypatch.setattr(
        "maskyolo.detectors.loading.load_detector", lambda *_, **__: lambda _: drawn
    )
    monkeypatch.setitem(SHIFTS, convert.MaskJudge.name, ((0, 0), (0, 0.2), (0.1, 0), (0, 0)))
    box = convert.MaskJudge()(np.zeros((640, 640, 3), np.uint8)).xyxy
    assert box == pytest.approx(np.array([[100, 125, 210, 225]]), abs=0.1)


def test_given_labels_are_used_as_they_are(
    photos: Path, tmp_path: Path, fake: type[FakeFaces]
) -> None:
    found = find_photos(photos)
    given = Labels(
        as_boxes([(5, 5, 20, 20), (30, 30, 60, 60), (0, 70, 10, 80)]), np.array([1, 0, IGNORE])
    )
    wanted = [
        replace(found[0], labels=given, split="test"),
        replace(found[1], labels=Labels(as_boxes([]), np.array([], dtype=int))),
    ]
    unusable = Photo(
        found[2].path, found[2].source, "with_mask", status="ambiguous", reason="turned since"
    )
    made = convert_photos([*wanted, unusable, *found[3:]], tmp_path / "set")
    assert fake.seen == 17
    row = made.rows[0]
    assert (row.status, row.split, row.detector, row.classes) == (
        "kept",
        "test",
        "given",
        ("without_mask", "with_mask", "ignore"),
    )
    assert row.origins == row.deciders == ("given",) * 3
    assert len(read_yolo(load_dataset(made.data).label_of(made.folder / row.image), 80, 90)) == 2
    assert (made.rows[1].status, made.rows[1].boxes, made.rows[1].size) == ("kept", (), "")
    assert (made.rows[2].status, made.rows[2].reason, made.rows[2].image) == (
        "ambiguous",
        "turned since",
        "",
    )


@pytest.mark.parametrize(("lost", "told"), [(0, False), (2, False), (7, True)])
def test_a_class_that_loses_more_photos_is_told(
    photos: Path, tmp_path: Path, fake: type[FakeFaces], lost: int, told: bool
) -> None:
    for number in range(lost):
        Image.new("RGB", (50 + number, 50)).save(photos / "with_mask" / f"{number}.jpg")
    warning = convert_dataset(photos, tmp_path / "set").uneven_loss()
    assert bool(warning) == told
    if told:
        assert warning.startswith(
            "with_mask lost 7 of 10 photos (70.0%), without_mask 0 of 10 (0.0%)"
        )


def test_what_another_map_says_is_not_taken_over(
    photos: Path, tmp_path: Path, fake: type[FakeFaces]
) -> None:
    (photos / "covered").mkdir()
    for number in range(2):
        (photos / "with_mask" / f"{number}.jpg").rename(photos / "covered" / f"{number}.jpg")
    convert_dataset(photos, tmp_path / "set", class_map={"covered": "with_mask"})
    made = convert_dataset(
        photos, tmp_path / "set", class_map={"covered": "without_mask"}, update=True
    )
    assert {row.classes for row in made.rows if row.source.startswith("covered")} == {
        ("without_mask",)
    }
    work = convert.Labeler(
        tmp_path,
        {},
        convert.PreviousSet(),
        Bystanders.FOLDER,
        ("with_mask", "without_mask"),
        ItemErrors(),
    )
    work._done = {
        row.source: (replace(row, class_name="with_mask", image=""), Entry({})) for row in made.rows
    }
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    row = work.process(
        Photo(photos / "covered" / "0.jpg", "covered/0.jpg", "without_mask"), FakeFaces()
    )
    assert row.classes == ("without_mask",), "nor from an interrupted run"


def test_a_picture_that_was_deleted_from_the_set(
    photos: Path, tmp_path: Path, fake: type[FakeFaces]
) -> None:
    made = convert_dataset(photos, tmp_path / "set")
    before = tree(made.folder)
    row = made.rows[3]
    (made.folder / row.image).unlink()
    assert tree(convert_dataset(photos, tmp_path / "set", update=True).folder) == before
    write_ledger(
        made.folder / "ledger.csv",
        [row.corrected([FACE], ["with_mask"]) if row is made.rows[3] else row for row in made.rows],
    )
    (made.folder / row.image).unlink()
    with pytest.raises(DatasetError, match="whose labels were corrected, is missing"):
        convert_dataset(photos, tmp_path / "set", update=True)


def test_classes_that_an_update_adds_and_takes_away(
    photos: Path, tmp_path: Path, fake: type[FakeFaces]
) -> None:
    given = [
        replace(
            photo, labels=Labels(as_boxes([FACE]), np.array([2 if photo.path.stem == "0" else 0]))
        )
        for photo in find_photos(photos)
        if photo.class_name == "with_mask"
    ]
    bare = [photo for photo in find_photos(photos) if photo.class_name == "without_mask"]
    odd = ("with_mask", "without_mask", "odd/../x")
    first = [
        replace(photo, class_name=odd[2] if photo.path.stem == "0" else "with_mask")
        for photo in given
        if photo.path.stem != "1"
    ]
    made = convert_photos([*first, *bare], tmp_path / "set", names=odd)
    assert [row.status for row in made.rows] == ["kept"] * 19
    assert "odd-x_0_" in next(row.image for row in made.rows if row.source == "with_mask/0.jpg")
    more = ("with_mask", "without_mask", "another", "odd/../x")
    second = [
        replace(
            photo, labels=Labels(as_boxes([FACE]), np.array([3 if photo.path.stem == "0" else 0]))
        )
        for photo in first
    ]
    made = convert_photos([*second, *bare], tmp_path / "set", names=more, update=True)
    assert {row.status for row in made.rows} == {"kept"}, (
        "nobody corrected anything: the class has another number"
    )
    assert by_source(made)["with_mask/0.jpg"].classes == (odd[2],)
    fewer = convert_photos([*first[1:], *bare], tmp_path / "set", update=True)
    assert fewer.counts()["with_mask"] == {"kept": 8}


def test_names_that_are_no_utf8_or_have_control_characters(
    photos: Path, tmp_path: Path, fake: type[FakeFaces]
) -> None:
    (photos / "with_mask" / "0.jpg").rename(
        os.fsdecode(os.fsencode(photos / "with_mask") + b"/caf\xe9.jpg")
    )
    (photos / "with_mask" / "new\nline \x1b[31m.jpg").write_bytes(b"no picture")
    made = convert_dataset(photos, tmp_path / "set")
    rows = by_source(made)
    assert rows["with_mask/caf\\xe9.jpg"].status == "kept"
    bad = rows["with_mask/new\\x0aline \\x1b[31m.jpg"]
    assert bad.reason.startswith(
        f"cannot decode {bad.source}: not an image"
    )  # one line, and no command to the terminal
    assert read_ledger(made.folder / "ledger.csv") == made.rows


def test_linked_folders_are_converted_and_what_cannot_be_read_has_a_row(
    photos: Path, tmp_path: Path, fake: type[FakeFaces], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.move(photos / "with_mask", tmp_path / "elsewhere")
    (photos / "with_mask").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "again").symlink_to(
        tmp_path / "photos"
    )  # back to where it comes from
    (photos / "without_mask" / "gone.jpg").symlink_to(tmp_path / "nothing.jpg")
    closed = photos / "without_mask" / "closed"
    closed.mkdir()
    listed = Path.iterdir

    def iterdir(folder: Path) -> object:
        if folder == closed:
            raise PermissionError(errno.EACCES, "Permission denied")
        return listed(folder)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    made = convert_dataset(photos, tmp_path / "set")
    rows = by_source(made)
    assert len(rows) == 22
    assert rows["with_mask/0.jpg"].status == "kept"
    assert (rows["without_mask/gone.jpg"].status, rows["without_mask/gone.jpg"].reason) == (
        "unreadable",
        "broken link",
    )
    assert rows["without_mask/closed"].status == "unreadable"
    assert rows["without_mask/closed"].reason == "folder not read: permission denied"
    with pytest.raises(DatasetError, match=r"cannot read folder .*closed: permission denied"):
        list_images(photos)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_named_pipe_is_unreadable_and_never_waited_for(
    photos: Path, tmp_path: Path, fake: type[FakeFaces], monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(photos / "with_mask" / "pipe.jpg")
    read = Path.read_bytes

    def read_bytes(path: Path) -> bytes:
        assert path.is_file(), f"{path} would be waited for"
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    row = by_source(convert_dataset(photos, tmp_path / "set"))["with_mask/pipe.jpg"]
    assert (row.status, row.reason) == ("unreadable", "not a file")
