"""Sets with boxes, several sources and class folders become one data set."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskyolo.conversion import convert
from maskyolo.conversion.convert import convert_dataset
from maskyolo.conversion.inputs import list_photos
from maskyolo.core.boxes import as_boxes, clip_boxes
from maskyolo.core.images import ImageArray, read_image
from maskyolo.core.labels import IGNORE, read_yolo
from maskyolo.dataset.formats.export import export_dataset
from maskyolo.dataset.layout import load_dataset
from maskyolo.dataset.ledger import LedgerRow
from maskyolo.detectors.faces.base import Faces
from maskyolo.errors import DatasetError


class FakeFaces:
    """A face detector that counts the images it is shown."""

    name = "fake"
    seen = 0

    def detect(self, image: ImageArray) -> Faces:
        type(self).seen += 1
        return Faces(as_boxes([(1, 1, 9, 9)]), np.float32([0.9]))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeFaces]:
    FakeFaces.seen = 0
    monkeypatch.setattr(convert, "load_face_detector", lambda *_, **__: FakeFaces())
    return FakeFaces


@pytest.fixture
def street(samples: Path, tmp_path: Path) -> Path:
    """The sample images as a VOC set, with one box of a third class."""
    for path in samples.glob("*.jpg"):
        for folder, file in (
            ("images", path),
            ("annotations", samples / "annotations" / f"{path.stem}.xml"),
        ):
            (tmp_path / "street" / folder).mkdir(parents=True, exist_ok=True)
            shutil.copy(file, tmp_path / "street" / folder)
    odd = tmp_path / "street" / "annotations" / "street.xml"
    odd.write_text(odd.read_text().replace("without_mask", "mask_weared_incorrect", 1))
    return tmp_path / "street"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Four noise photos per class in class folders."""
    rng = np.random.default_rng(0)
    for name in ("with_mask", "without_mask"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(4):
            noise = Image.fromarray(rng.integers(1, 256, (8, 8, 3), dtype=np.uint8))
            noise.resize((80, 90)).save(tmp_path / "photos" / name / f"{number}.jpg")
    return tmp_path / "photos"


def rows_of(made: convert.Conversion) -> dict[str, LedgerRow]:
    return {row.source: row for row in made.rows}


def test_an_annotated_set_keeps_its_boxes_and_nobody_looks_for_faces(
    street: Path, tmp_path: Path, fake: type[FakeFaces]
) -> None:
    made = convert_dataset(
        street,
        tmp_path / "set",
        class_map={"mask_weared_incorrect": "keep"},
        splits=(0.5, 0.25, 0.25),
        sheets=False,
    )
    assert fake.seen == 0
    assert made.names == ("with_mask", "without_mask", "incorrect_mask")
    assert load_dataset(made.data).names == made.names
    export_dataset(street, tmp_path / "same")
    for row in made.rows:
        assert row.status == "kept"
        label = made.folder / row.image.replace("images", "labels").replace(".jpg", ".txt")
        ours = read_yolo(label, row.width, row.height, classes=3)
        theirs = read_yolo(
            tmp_path / "same" / "labels" / "train" / f"{Path(row.source).stem}.txt",
            row.width,
            row.height,
            classes=3,
        )
        assert ours.class_ids.tolist() == theirs.class_ids.tolist()
        assert ours.boxes == pytest.approx(
            clip_boxes(theirs.boxes, row.width, row.height), abs=0.02
        )
        assert (made.folder / row.image).read_bytes() == (street / row.source).read_bytes()
        assert set(row.deciders) == {"given"}


def test_kept_masks_worn_incorrectly_are_the_third_class_before_other_kept_ones(
    street: Path, tmp_path: Path, fake: type[FakeFaces]
) -> None:
    odd = street / "annotations" / "street.xml"
    odd.write_text(odd.read_text().replace(">with_mask", ">helmet", 1))
    for choice in ("keep", "incorrect_mask"):
        made = convert_dataset(
            street,
            tmp_path / choice,
            class_map={"mask_weared_incorrect": choice, "helmet": "keep"},
            splits=(0.5, 0.5, 0),
            sheets=False,
        )
        assert made.names == ("with_mask", "without_mask", "incorrect_mask", "helmet")
    again = convert_dataset(
        made.folder, tmp_path / "again", class_map={"helmet": "drop"}, splits="keep", sheets=False
    )
    assert again.names == ("with_mask", "without_mask", "incorrect_mask")
    labels = [path.read_text() for path in (again.folder / "labels").rglob("*.txt")]
    assert sum(row.startswith("2 ") for text in labels for row in text.splitlines()) == 1


def test_an_ignored_class_is_blanked_out_and_not_labelled(
    street: Path, tmp_path: Path, fake: type[FakeFaces]
) -> None:
    made = convert_dataset(
        street, tmp_path / "set", class_map={"mask_weared_incorrect": "ignore"}, sheets=False
    )
    row = rows_of(made)["images/street.jpg"]
    assert Counter(row.classes) == {"with_mask": 2, "ignore": 1, "without_mask": 1}
    x1, y1, x2, y2 = (round(side) for side in row.boxes[row.classes.index("ignore")])
    before, after = read_image(street / row.source), read_image(made.folder / row.image)
    edges = [
        np.abs(np.diff(image[y1:y2, x1:x2].astype(int), axis=1)).mean() for image in (before, after)
    ]
    assert edges[1] < edges[0] / 4, "nothing of the face is left"
    assert np.abs(after[:60].astype(int) - before[:60]).mean() < 3, (
        "elsewhere it is the same picture"
    )
    label = made.folder / row.image.replace("images", "labels").replace(".jpg", ".txt")
    assert len(label.read_text().splitlines()) == 3


def test_dropped_boxes_are_gone_and_a_photo_of_these_only_is_left_out(
    street: Path, tmp_path: Path, fake: type[FakeFaces]
) -> None:
    selfie = street / "annotations" / "selfie.xml"
    selfie.write_text(selfie.read_text().replace("without_mask", "mask_weared_incorrect"))
    rows = rows_of(
        convert_dataset(
            street, tmp_path / "set", class_map={"mask_weared_incorrect": "drop"}, sheets=False
        )
    )
    assert Counter(rows["images/street.jpg"].classes) == {"with_mask": 2, "without_mask": 1}
    assert (rows["images/selfie.jpg"].status, rows["images/selfie.jpg"].reason) == (
        "excluded",
        "all its boxes are of dropped classes",
    )


def test_an_unknown_class_is_one_line_before_any_work(street: Path, tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError,
        match=r"mask_weared_incorrect \(1 box\), with_mask \(29 boxes\).*--map mask_weared",
    ) as told:
        convert_dataset(street, tmp_path / "set")
    assert "\n" not in str(told.value)
    assert list(tmp_path.glob("set*")) == []


def test_several_sources_become_one_set_whose_names_never_clash(
    street: Path, photos: Path, tmp_path: Path, fake: type[FakeFaces]
) -> None:
    export_dataset(
        street,
        tmp_path / "again" / "street",
        to="coco",
        class_map={"mask_weared_incorrect": "drop"},
    )
    one = {
        "with_mask": Image.open(street / "images" / "office.jpg"),
        "without_mask": Image.open(street / "images" / "selfie.jpg"),
    }
    for name, image in one.items():
        image.resize((image.width // 2, image.height // 2)).save(photos / name / "near.jpg")
    sources = [street, photos, tmp_path / "again" / "street"]
    made = convert_dataset(
        sources,
        tmp_path / "set",
        class_map={"mask_weared_incorrect": "drop"},
        splits=(0.5, 0.5, 0),
        bystanders="folder",
        sheets=False,
    )
    rows = rows_of(made)
    assert len(rows) == len(made.rows) == 8 + 10 + 8
    assert fake.seen == 10
    assert rows["images/office.jpg"].status == "kept"
    assert rows["street/images/train/office.jpg"].status == "duplicate"
    assert rows["images/office.jpg"].group == rows["photos/with_mask/near.jpg"].group
    assert rows["images/office.jpg"].split == rows["photos/with_mask/near.jpg"].split
    kept = [row.image for row in made.rows if row.in_set]
    assert len(kept) == len(set(kept)) == 18


def test_sources_of_one_name_are_numbered_and_a_further_one_renames_no_photo(
    street: Path, tmp_path: Path
) -> None:
    copies = [
        Path(shutil.copytree(street, tmp_path / folder / "images")) for folder in ("one", "two")
    ]
    class_map = {"mask_weared_incorrect": "drop"}
    alone = list_photos([street], class_map=class_map).photos
    found = list_photos([street, *copies], class_map=class_map).photos
    assert [photo.source for photo in found[:8]] == [photo.source for photo in alone]
    assert [photo.source.split("/")[0] for photo in found[8:]] == ["images~2"] * 8 + [
        "images~3"
    ] * 8


def test_two_sources_with_a_class_each(photos: Path, tmp_path: Path, fake: type[FakeFaces]) -> None:
    for name in ("with_mask", "without_mask"):
        shutil.move(photos / name, tmp_path / f"only-{name}" / name)
    found = list_photos([tmp_path / "only-with_mask", tmp_path / "only-without_mask"]).photos
    assert Counter(photo.class_name for photo in found) == {"with_mask": 4, "without_mask": 4}
    with pytest.raises(DatasetError, match="no photos"):
        list_photos([tmp_path / "only-with_mask"])


def test_own_splits_are_kept_and_photos_in_none_are_left_out(
    street: Path, photos: Path, tmp_path: Path, fake: type[FakeFaces]
) -> None:
    (street / "train.txt").write_text("images/street.jpg\nimages/office.jpg\nimages/queue.jpg\n")
    (street / "val.txt").write_text("images/selfie.jpg\nimages/portrait.jpg\n")
    class_map = {"mask_weared_incorrect": "ignore"}
    made = convert_dataset(
        [street, photos],
        tmp_path / "set",
        splits="keep",
        class_map=class_map,
        bystanders="folder",
        sheets=False,
    )
    splits = {
        Path(row.source).stem: row.split for row in made.rows if row.source.startswith("images/")
    }
    assert splits == {
        **dict.fromkeys(("street", "office", "queue"), "train"),
        **dict.fromkeys(("selfie", "portrait"), "val"),
        **dict.fromkeys(("station", "indoors", "plaza"), ""),
    }
    assert rows_of(made)["images/station.jpg"].reason == "in no split of its set"
    assert {row.split for row in made.rows if row.source.startswith("photos/")} == {
        "train",
        "val",
    }, "photos of class folders are split by shares"
    with pytest.raises(DatasetError, match="cannot keep the splits"):
        convert_dataset(photos, tmp_path / "other", splits="keep")
    with pytest.raises(DatasetError, match="unknown splits 'same'"):
        convert_dataset(photos, tmp_path / "other", splits="same")


def test_a_list_chooses_photos_and_must_fit(street: Path, photos: Path, tmp_path: Path) -> None:
    class_map = {"mask_weared_incorrect": "drop"}
    (street / "few.txt").write_text(
        "\ufeffimages/street.jpg\r\n/home/somebody/office.png\n\nqueue\n"
    )
    found = list_photos([street], class_map=class_map, image_list="few.txt").photos
    assert [photo.path.name for photo in found] == ["office.jpg", "queue.jpg", "street.jpg"]
    (tmp_path / "list.txt").write_text("with_mask/1.jpg\nwithout_mask/2.jpg\n")
    found = list_photos([photos], image_list=tmp_path / "list.txt").photos
    assert [photo.source for photo in found] == ["with_mask/1.jpg", "without_mask/2.jpg"]
    (tmp_path / "list.txt").write_text("street\nnobody.jpg\n")
    with pytest.raises(
        DatasetError, match=r"1 of 2 listed photos are in no source, such as nobody\.jpg"
    ):
        list_photos([street], class_map=class_map, image_list=tmp_path / "list.txt")
    with pytest.raises(DatasetError, match=r"no list gone\.txt"):
        list_photos([street], class_map=class_map, image_list="gone.txt")


def test_what_is_odd_in_an_annotation_is_in_the_ledger(
    street: Path, tmp_path: Path, fake: type[FakeFaces]
) -> None:
    notes = street / "annotations"
    text = (notes / "selfie.xml").read_text()
    box = text[text.index("<object>") : text.index("</object>") + len("</object>")]
    (notes / "selfie.xml").write_text(
        text.replace(
            box, box + box + box.replace("<xmin>", "<xmin>9999").replace("<xmax>", "<xmax>9999")
        )
    )
    text = (notes / "portrait.xml").read_text()
    box = text[text.index("<object>") : text.index("</object>") + len("</object>")]
    (notes / "portrait.xml").write_text(
        text.replace(box, box + box.replace("with_mask", "without_mask"))
    )
    (street / "images" / "office.jpg").write_bytes(b"no picture")
    (notes / "queue.xml").unlink()
    rows = rows_of(
        convert_dataset(
            street,
            tmp_path / "set",
            class_map={"mask_weared_incorrect": "drop"},
            splits=(0.5, 0.5, 0),
            sheets=False,
        )
    )
    assert rows["images/selfie.jpg"].status == "kept"
    assert (
        rows["images/selfie.jpg"].reason
        == "1 box removed: no area in the image; 1 repeated box removed"
    )
    assert rows["images/portrait.jpg"].status == "ambiguous"
    assert rows["images/office.jpg"].status == "unreadable"
    assert (rows["images/queue.jpg"].status, rows["images/queue.jpg"].reason) == (
        "excluded",
        "no annotation",
    )


def test_images_without_an_annotation_are_known_whatever_the_reasons_say(
    street: Path, tmp_path: Path, fake: type[FakeFaces]
) -> None:
    (street / "annotations" / "queue.xml").unlink()
    odd = street / "annotations" / "selfie.xml"
    odd.write_text(odd.read_text().replace("without_mask", "mask_weared_incorrect"))
    made = convert_dataset(
        street, tmp_path / "set", class_map={"mask_weared_incorrect": "drop"}, sheets=False
    )
    excluded = {row.source for row in made.rows if row.status == "excluded"}
    assert excluded == {"images/queue.jpg", "images/selfie.jpg"}
    assert made.unannotated == {"images/queue.jpg"}


def test_a_crowd_is_ignored_whatever_its_class(street: Path, tmp_path: Path) -> None:
    made = export_dataset(
        street, tmp_path / "coco", to="coco", class_map={"mask_weared_incorrect": "drop"}
    )
    path = made.folder / "annotations" / "instances_train.json"
    path.write_text(path.read_text().replace('"iscrowd": 0', '"iscrowd": 1', 1))
    found = list_photos([made.folder]).photos
    assert sum((photo.labels.class_ids == IGNORE).sum() for photo in found if photo.labels) == 1


def test_an_annotated_set_is_the_same_after_an_interruption(
    street: Path, tmp_path: Path, fake: type[FakeFaces]
) -> None:
    class_map = {"mask_weared_incorrect": "ignore"}
    whole = convert_dataset(street, tmp_path / "whole", class_map=class_map)

    def stop(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert_dataset(street, tmp_path / "set", class_map=class_map, on_progress=stop)
    made = convert_dataset(street, tmp_path / "set", class_map=class_map)
    assert made.rows == whole.rows
    files = [
        {
            path.relative_to(folder): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file() and path.name != "data.yaml"
        }
        for folder in (made.folder, whole.folder)
    ]
    assert files[0] == files[1]
