"""Annotated sets: how real and odd files are read; writing and reading move no box."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from maskyolo.core.label_rows import parse_rows
from maskyolo.dataset.formats.base import (
    AnnotatedPhoto,
    AnnotatedSet,
    ImageIndex,
    check_boxes,
    find_repeated,
    image_size,
    map_classes,
)
from maskyolo.dataset.formats.export import WRITTEN, export_dataset
from maskyolo.dataset.formats.reading import find_format, read_annotations
from maskyolo.dataset.formats.voc import format_voc, parse_voc
from maskyolo.dataset.split_names import split_of
from maskyolo.errors import DatasetError, OutputError


def make_image(path: Path, size: tuple[int, int] = (100, 80), seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(noise).resize(size).save(path)
    return path


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def by_source(found: AnnotatedSet) -> dict[str, AnnotatedPhoto]:
    return {photo.source: photo for photo in found.photos}


def boxes_of(folder: Path) -> dict[str, list[tuple[str, list[float]]]]:
    """Return class and box as the XML files have them, by image."""
    found = {}
    for path in folder.rglob("*.xml"):
        read = parse_voc(path.read_bytes())
        found[path.stem] = list(zip(read.names, read.boxes.tolist(), strict=True))
    return found


@pytest.fixture
def third(samples: Path, tmp_path: Path) -> Path:
    """The sample images as a VOC set; a box has a third class, and one sticks out by a pixel."""
    for path in samples.glob("*.jpg"):
        shutil.copy(path, make_image(tmp_path / "source" / "images" / path.name))
        text = (samples / "annotations" / f"{path.stem}.xml").read_text()
        if path.stem == "street":
            text = text.replace("without_mask", "mask_weared_incorrect", 1).replace(
                "<xmax>395<", "<xmax>401<"
            )
        write(tmp_path / "source" / "annotations" / f"{path.stem}.xml", text)
    return tmp_path / "source"


# --- round trips


@pytest.mark.parametrize(
    "way", [("yolo", "coco", "voc"), ("coco", "yolo", "voc"), ("voc", "coco", "voc")]
)
def test_no_box_moves_and_no_class_changes_from_voc_through_the_others_to_voc(
    third: Path, tmp_path: Path, way: tuple[str, ...]
) -> None:
    before = boxes_of(third)
    source = third
    for number, to in enumerate(way):
        made = export_dataset(source, tmp_path / str(number), to=to)
        assert (made.skipped, made.changed) == ([], [])
        source = made.folder
    after = boxes_of(source)
    assert before.keys() == after.keys()
    assert sum(map(len, before.values())) == made.boxes.total() > 30
    for name, boxes in before.items():
        assert [found for found, _ in boxes] == [found for found, _ in after[name]]
        assert [box for _, box in boxes] == [box for _, box in after[name]], (
            "whole pixels come back as they were"
        )
        assert (source / "JPEGImages" / f"{name}.jpg").read_bytes() == (
            third / "images" / f"{name}.jpg"
        ).read_bytes()
    assert made.boxes["mask_weared_incorrect"] == 1


def test_a_image_that_is_cut_short_is_not_copied(third: Path, tmp_path: Path) -> None:
    whole = (third / "images" / "street.jpg").read_bytes()
    write(third / "images" / "street.jpg", whole[: len(whole) // 2])
    made = export_dataset(third, tmp_path / "set", to="coco")
    assert [name for name, _ in made.skipped] == ["images/street.jpg"]
    assert "truncated" in made.skipped[0][1]
    assert not list(made.folder.rglob("street.jpg"))


def test_splits_go_through_all_formats_and_what_is_in_none_stays_in_none(
    third: Path, tmp_path: Path
) -> None:
    write(third / "train.txt", "images/street.jpg\nimages/office.jpg\n")
    write(third / "val.txt", "queue\n")
    source = third
    for number, to in enumerate(("yolo", "coco", "voc", "yolo")):
        made = export_dataset(source, tmp_path / str(number), to=to)
        source = made.folder
        assert made.photos == {"train": 2, "val": 1, "": 5}
    assert sorted(path.stem for path in (source / "images" / "train").iterdir()) == [
        "office",
        "street",
    ]
    assert len(list((source / "images" / "rest").iterdir())) == 5
    assert (tmp_path / "2" / "ImageSets" / "Main" / "val.txt").read_text() == "queue\n"


def test_supervision_reads_what_was_written(third: Path, tmp_path: Path) -> None:
    sv = pytest.importorskip("supervision")
    for to in WRITTEN:
        export_dataset(third, tmp_path / to, to=to)
    sets = [
        sv.DetectionDataset.from_pascal_voc(
            str(tmp_path / "voc" / "JPEGImages"), str(tmp_path / "voc" / "Annotations")
        ),
        sv.DetectionDataset.from_coco(
            str(tmp_path / "coco" / "images" / "train"),
            str(tmp_path / "coco" / "annotations" / "instances_train.json"),
        ),
        sv.DetectionDataset.from_yolo(
            str(tmp_path / "yolo" / "images" / "train"),
            str(tmp_path / "yolo" / "labels" / "train"),
            str(tmp_path / "yolo" / "data.yaml"),
        ),
    ]
    ours = boxes_of(third)
    for found in sets:
        assert len(found) == 8
        for path, _, detections in found:
            shift = (
                [1, 1, 0, 0] if found is sets[0] else [0, 0, 0, 0]
            )  # supervision counts VOC's pixels from 1
            mine = sorted((name, *(np.array(box) - shift)) for name, box in ours[Path(path).stem])
            names = [found.classes[class_id] for class_id in detections.class_id]
            theirs = sorted(
                (name, *box) for name, box in zip(names, detections.xyxy.tolist(), strict=True)
            )
            assert [row[0] for row in theirs] == [row[0] for row in mine]
            assert np.array([row[1:] for row in theirs]) == pytest.approx(
                np.array([row[1:] for row in mine]), abs=0.01
            )


def test_two_images_of_one_name_get_two_names(tmp_path: Path) -> None:
    for number, folder in enumerate(("train", "val")):
        make_image(tmp_path / "set" / "images" / folder / "1.jpg", seed=number)
        write(tmp_path / "set" / "labels" / folder / "1.txt", f"{number} 0.5 0.5 0.2 0.2\n")
    write(
        tmp_path / "set" / "data.yaml",
        "train: images/train\nval: images/val\nnames: [with_mask, without_mask]\n",
    )
    made = export_dataset(tmp_path / "set", tmp_path / "voc", to="voc")
    assert {path.name for path in (made.folder / "Annotations").iterdir()} == {"1.xml", "1-2.xml"}
    photos = by_source(read_annotations(made.folder))
    assert (photos["JPEGImages/1.jpg"].names, photos["JPEGImages/1-2.jpg"].names) == (
        ("with_mask",),
        ("without_mask",),
    )
    assert (photos["JPEGImages/1.jpg"].split, photos["JPEGImages/1-2.jpg"].split) == (
        "train",
        "val",
    )


def test_a_turned_image_is_written_upright_with_its_boxes(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    (tmp_path / "set").mkdir()
    Image.new("RGB", (100, 80), "red").save(tmp_path / "set" / "a.jpg", exif=turned)
    write(tmp_path / "set" / "a.txt", "1 0.5 0.25 0.5 0.5\n")
    write(tmp_path / "set" / "classes.txt", "with_mask\nwithout_mask\n")
    made = export_dataset(tmp_path / "set", tmp_path / "voc", to="voc")
    with Image.open(made.folder / "JPEGImages" / "a.jpg") as image:
        assert image.size == (80, 100)
        assert image.getexif().get(0x0112, 1) == 1
    assert boxes_of(made.folder)["a"] == [("without_mask", [20, 0, 60, 50])]


@pytest.mark.parametrize(
    ("class_map", "boxes"),
    [
        ({}, {"with_mask": 29, "without_mask": 9, "mask_weared_incorrect": 1}),
        ({"mask_weared_incorrect": "drop"}, {"with_mask": 29, "without_mask": 9}),
        ({"Mask-Weared Incorrect": "without_mask"}, {"with_mask": 29, "without_mask": 10}),
    ],
)
def test_classes_are_renamed_and_dropped_only_on_request(
    third: Path, tmp_path: Path, class_map: dict[str, str], boxes: dict[str, int]
) -> None:
    made = export_dataset(third, tmp_path / "set", class_map=class_map)
    assert made.boxes == boxes
    assert sum(made.photos.values()) == 8


def test_what_cannot_be_exported_is_reported(third: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="unknown format 'tfrecord'"):
        export_dataset(third, tmp_path / "set", to="tfrecord")
    with pytest.raises(DatasetError, match="use drop"):
        export_dataset(third, tmp_path / "set", class_map={"mask_weared_incorrect": "ignore"})
    with pytest.raises(DatasetError, match="no annotations in a known format"):
        export_dataset(third / "images", tmp_path / "set")
    write(tmp_path / "set" / "precious.txt", "")
    with pytest.raises(OutputError, match="it exists"):
        export_dataset(third, tmp_path / "set")
    assert [path.name for path in (tmp_path / "set").iterdir()] == ["precious.txt"]
    assert not (tmp_path / "set.part").exists()


def test_only_what_an_export_left_is_removed_from_the_working_folder(
    third: Path, tmp_path: Path
) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    part = tmp_path / "set.part"
    write(part / "notes.txt", "mine")
    with pytest.raises(
        OutputError,
        match=r"notes\.txt in it is not from an interrupted convert --to; "
        "move it away or choose another --out",
    ):
        export_dataset(third, tmp_path / "set")
    assert [path.name for path in part.iterdir()] == ["notes.txt"]
    (part / "notes.txt").unlink()
    with pytest.raises(KeyboardInterrupt):
        export_dataset(third, tmp_path / "set", to="voc", on_progress=stop)
    made = export_dataset(third, tmp_path / "set", to="yolo")
    assert sorted(path.name for path in made.folder.iterdir()) == ["data.yaml", "images", "labels"]
    assert not part.exists()


# --- which format


def test_each_format_is_recognized(third: Path, samples: Path, tmp_path: Path) -> None:
    assert find_format(third) == "voc"
    assert find_format(samples) == "voc"
    assert find_format(samples / "folders") == "folders"
    for to in WRITTEN:
        assert find_format(export_dataset(third, tmp_path / to, to=to).folder) == to
    assert find_format(tmp_path / "yolo" / "data.yaml") == "yolo"
    assert find_format(tmp_path / "coco" / "annotations" / "instances_train.json") == "coco"
    with pytest.raises(DatasetError, match="is not a data set"):
        find_format(samples / "street.jpg")
    with pytest.raises(DatasetError, match="no folder"):
        find_format(tmp_path / "gone")


# --- Pascal VOC

OBJECT = (
    "<object><name>{name}</name><bndbox><xmin>{0}</xmin><ymin>{1}</ymin>"
    "<xmax>{2}</xmax><ymax>{3}</ymax></bndbox></object>"
)


def voc(
    *objects: tuple[object, ...], name: str = "with_mask", filename: str = "", size: str = ""
) -> str:
    parts = "".join(OBJECT.format(*sides, name=name) for sides in objects)
    return f"<annotation><filename>{filename}</filename>{size}{parts}</annotation>"


def test_boxes_of_voc_are_taken_and_written_as_they_stand() -> None:
    read = parse_voc(voc((1, 1, 400, 300), (5, 5, 6, 6), (50.5, 20, 10, 40)).encode())
    assert read.boxes.tolist() == [[1, 1, 400, 300], [5, 5, 6, 6], [50.5, 20, 10, 40]]
    again = parse_voc(
        format_voc(
            "a & b.jpg", 400, 300, ["a<b"] * 2, [[0, 0, 400, 300], [10.2, 10, 10.4, 20]]
        ).encode()
    )
    assert again.boxes.tolist() == [[0, 0, 400, 300], [10, 10, 11, 20]], (
        "a box is at least a pixel wide"
    )


def test_an_imported_set_has_the_boxes_that_val_reads_from_the_same_files(third: Path) -> None:
    from maskyolo.evaluation.labeled import find_images

    images, _ = find_images(images=third / "images", labels=third / "annotations")
    measured = {
        image.path: sorted([*image.labels.boxes.tolist(), *image.ignored.tolist()])
        for image in images
    }
    assert measured == {
        photo.path: sorted(photo.boxes.tolist()) for photo in read_annotations(third).photos
    }


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "damaged XML"),
        (b"<annotation><object>", "damaged XML"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>', "DOCTYPE"),
        (b'<!DOCTYPE annotation SYSTEM "voc.dtd"><annotation/>', "DOCTYPE"),
        (voc((1, 1, "x", 9)).encode(), "object 1 lacks"),
        (b"<annotation><object><name>a</name></object></annotation>", "object 1 lacks"),
        (
            '<?xml version="1.0" encoding="utf-8"?><annotation>é</annotation>'.encode("latin-1"),
            "damaged XML",
        ),
        (b'<?xml version="1.0" encoding="nonsense"?><annotation/>', "damaged XML"),
    ],
)
def test_annotations_that_are_none(data: bytes, found: str) -> None:
    with pytest.raises(DatasetError, match=found) as caught:
        parse_voc(data, "a.xml")
    assert "\n" not in str(caught.value)
    assert "a.xml" in str(caught.value)


def test_odd_voc_files_each_have_their_reason(tmp_path: Path) -> None:
    for name in (
        "own",
        "renamed-later",
        "маска é",
        "bad",
        "bomb",
        "empty",
        "bare",
        "utf-16",
        "cut-off",
        "xmp",
    ):
        make_image(tmp_path / "images" / f"{name}.jpg")
    notes = tmp_path / "annotations"
    write(notes / "own.xml", voc((10, 10, 20, 20), filename="empty.jpg"))
    write(notes / "0001.xml", voc((10, 10, 20, 20), filename="folder\\renamed-later.JPG"))
    write(
        notes / "маска é.xml",
        b"\xef\xbb\xbf\n" + voc((10.5, 10.5, 20.25, 20), filename="x").encode(),
    )
    write(notes / "bad.xml", "<annotation><object>")
    write(notes / "bomb.xml", '<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>')
    write(notes / "empty.xml", voc(size="<size><width>0</width><height>0</height></size>"))
    write(notes / "gone.xml", voc((1, 1, 2, 2), filename="gone.jpg"))
    write(notes / "utf-16.xml", voc((10, 10, 20, 20)).encode("utf-16"))
    write(notes / "cut-off.xml", "")
    write(notes / "xmp.xml", "<xmpmeta/>")
    write(tmp_path / "misc.xml", "<project/>")
    photos = by_source(read_annotations(tmp_path))
    assert {name: (photo.status, len(photo.names)) for name, photo in photos.items()} == {
        "images/own.jpg": ("", 1),
        "images/renamed-later.jpg": ("", 1),
        "images/маска é.jpg": ("", 1),
        "images/bad.jpg": ("unreadable", 0),
        "images/bomb.jpg": ("unreadable", 0),
        "images/empty.jpg": ("", 0),
        "images/bare.jpg": ("excluded", 0),
        "images/utf-16.jpg": ("", 1),
        "images/cut-off.jpg": ("unreadable", 0),
        "images/xmp.jpg": ("unreadable", 0),
        "annotations/gone.xml": ("unreadable", 0),
    }
    assert photos["images/маска é.jpg"].boxes.tolist() == [[10.5, 10.5, 20.25, 20]]
    assert photos["images/empty.jpg"].size is None
    assert "DOCTYPE" in photos["images/bomb.jpg"].reason
    assert "it has no <annotation>" in photos["images/xmp.jpg"].reason
    assert "gone.jpg is missing" in photos["annotations/gone.xml"].reason


def test_a_second_annotation_of_a_image_does_not_replace_the_first(tmp_path: Path) -> None:
    make_image(tmp_path / "a.jpg")
    write(tmp_path / "a.xml", voc((1, 1, 9, 9)))
    write(tmp_path / "b.xml", voc((2, 2, 9, 9), filename="a.jpg"))
    photos = by_source(read_annotations(tmp_path))
    assert photos["a.jpg"].boxes.tolist() == [[1, 1, 9, 9]]
    assert (photos["b.xml"].status, "second annotation of a.jpg" in photos["b.xml"].reason) == (
        "unreadable",
        True,
    )


# --- COCO


def coco(tmp_path: Path, **parts: Sequence[object]) -> Path:
    content: dict[str, Sequence[object]] = {
        "images": [{"id": 7, "file_name": "a.jpg", "width": 100, "height": 80}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 40, "bbox": [10, 20, 30, 40.5]}],
        "categories": [{"id": 40, "name": "with_mask"}, {"id": 3, "name": "without_mask"}],
    }
    return write(
        tmp_path / "annotations" / "instances_val.json", "\ufeff" + json.dumps(content | parts)
    )


def test_coco_with_any_ids_a_crowd_a_polygon_and_references_to_nothing(tmp_path: Path) -> None:
    make_image(tmp_path / "images" / "a.jpg")
    make_image(tmp_path / "images" / "b.jpg")
    path = coco(
        tmp_path,
        images=[{"id": 7, "file_name": "C:\\old\\a.jpg"}, {"id": "x", "file_name": "gone.jpg"}],
        annotations=[
            {"image_id": 7, "category_id": 40, "bbox": [10, 20, 30, 40.5]},
            {"image_id": 7, "category_id": 3, "bbox": [0, 0, 90, 10], "iscrowd": 1},
            {"image_id": 7, "category_id": 3, "segmentation": [[5, 6, 9, 6, 7, 12]]},
            {"image_id": 7, "category_id": 99, "bbox": [1, 1, 2, 2]},
            {"image_id": 7, "category_id": 3},
            {"image_id": 8, "category_id": 3, "bbox": [0, 0, 9, 9]},
        ],
    )
    photos = by_source(read_annotations(tmp_path))
    found = photos["images/a.jpg"]
    assert found.names == ("with_mask", "without_mask", "without_mask", "category 99")
    assert found.boxes.tolist() == [[10, 20, 40, 60.5], [0, 0, 90, 10], [5, 6, 9, 12], [1, 1, 3, 3]]
    assert found.ignored.tolist() == [False, True, False, False]
    assert found.split == "val"
    assert photos["images/b.jpg"].status == "excluded"
    assert "gone.jpg is missing" in photos["annotations/instances_val.json#x"].reason
    assert (found.status, found.reason) == ("ambiguous", "1 annotation without a box")
    problems = photos["annotations/instances_val.json"]
    assert problems.reason == "1 annotations of images that are not listed"
    assert "images/b.jpg" not in by_source(read_annotations(path)), "a single file is the whole set"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_coco_in_other_encodings(tmp_path: Path, encoding: str) -> None:
    path = coco(tmp_path)
    write(path, path.read_text("utf-8-sig").encode(encoding))
    assert find_format(tmp_path) == "coco"


def test_a_image_in_two_coco_files_has_the_boxes_of_both_once(tmp_path: Path) -> None:
    make_image(tmp_path / "a.jpg")
    coco(tmp_path)
    other = [
        {"image_id": 7, "category_id": 40, "bbox": [10, 20, 30, 40.5]},
        {"image_id": 7, "category_id": 3, "bbox": [1, 1, 5, 5]},
    ]
    shutil.move(coco(tmp_path, annotations=other), tmp_path / "annotations" / "more.json")
    coco(tmp_path)
    photos = by_source(read_annotations(tmp_path))
    assert Counter(photos["a.jpg"].names) == {"with_mask": 1, "without_mask": 1}


@pytest.mark.parametrize(
    "parts",
    [{"images": [{"id": 7}]}, {"annotations": [{"bbox": [1, 2, 3, 4]}]}, {"categories": ["face"]}],
)
def test_a_coco_file_that_is_none_is_one_line(
    tmp_path: Path, parts: dict[str, list[object]]
) -> None:
    make_image(tmp_path / "a.jpg")
    with pytest.raises(DatasetError, match="is not a COCO file") as caught:
        read_annotations(coco(tmp_path, **parts))
    assert "\n" not in str(caught.value)


# --- YOLO


@pytest.mark.parametrize(
    ("line", "box"),
    [
        ("1 0.5 0.5 0.2 0.4", [0.4, 0.3, 0.6, 0.7]),
        ("1 0.5 0.5 0.2 0.4 0.93", [0.4, 0.3, 0.6, 0.7]),
        ("1 0.1 0.2 0.5 0.2 0.3 0.9", [0.1, 0.2, 0.5, 0.9]),
    ],
)
def test_lines_of_labels(line: str, box: list[float]) -> None:
    rows = parse_rows(f"\ufeff{line}\n\n")
    assert rows.classes == (1,)
    assert rows.boxes == pytest.approx(np.array([box]))


def test_keypoints_after_a_box() -> None:
    line = "0 0.5 0.5 0.2 0.4 0.1 0.1 0.9 0.9 -1 -1\n"
    assert parse_rows(line, keypoints=True).boxes == pytest.approx(np.array([[0.4, 0.3, 0.6, 0.7]]))


@pytest.mark.parametrize(
    "line",
    [
        "0 0.5 0.5 0.2",
        "0.5 0.5 0.5 0.2 0.2",
        "0 50 60 10 10",
        "0 0 0 1 1 0 1 1 1 0",
    ],
)
def test_lines_that_are_no_labels(line: str) -> None:
    with pytest.raises(DatasetError, match=r"a\.txt, line 2"):
        parse_rows(f"0 0.5 0.5 0.2 0.2\n{line}\n", "a.txt")


@pytest.mark.parametrize(
    "yaml",
    [
        "path: .\ntrain: train/images\nval: valid/images\nnames: [bare, with_mask]",
        (
            "path: /home/somebody/set\ntrain: train/images\nval: /home/somebody/set/valid/images\n"
            "names: {0: bare, 1: with_mask}"
        ),
        "train: ../train/images\nval: ../valid/images\nnames: {1: with_mask, 0: bare}\nnc: 2",
        "train: [train/images]\nvalid: lists/val.txt\nnames:\n- bare\n- with_mask",
        (
            "path: C:\\somebody\\set\ntrain: C:\\somebody\\set\\train\\images\nval: valid/images\n"
            "names: [bare, with_mask]"
        ),
    ],
)
def test_data_yaml_of_other_makers(tmp_path: Path, yaml: str) -> None:
    for split in ("train", "valid"):
        make_image(tmp_path / split / "images" / "a.jpg")
        write(tmp_path / split / "labels" / "a.txt", "1 0.5 0.5 0.2 0.2\n")
    write(tmp_path / "lists" / "val.txt", "./valid/images/a.jpg\n./valid/images/gone.jpg\n")
    write(tmp_path / "data.yaml", yaml)
    photos = by_source(read_annotations(tmp_path))
    gone = [photo for name, photo in photos.items() if name.endswith("gone.jpg")]
    assert {name: photo.split for name, photo in photos.items() if photo not in gone} == {
        "train/images/a.jpg": "train",
        "valid/images/a.jpg": "val",
    }
    assert {photo.names for name, photo in photos.items() if photo not in gone} == {("with_mask",)}
    assert [photo.status for photo in gone] == ["unreadable"] * yaml.count("lists/")


def test_odd_labels_each_have_their_reason(tmp_path: Path) -> None:
    for name in ("none", "empty", "bad", "unknown", "latin", "link", "folder"):
        make_image(tmp_path / "images" / f"{name}.jpg")
    write(tmp_path / "labels" / "empty.txt", "\n")
    write(tmp_path / "labels" / "bad.txt", "0 0.5\n")
    write(tmp_path / "labels" / "unknown.txt", "5 0.5 0.5 0.2 0.2\n")
    write(tmp_path / "labels" / "latin.txt", b"\xe9")
    (tmp_path / "labels" / "link.txt").symlink_to(tmp_path / "nothing")
    (tmp_path / "labels" / "folder.txt").mkdir()
    write(tmp_path / "data.yaml", "train: images\nnames: [with_mask]\n")
    photos = by_source(read_annotations(tmp_path))
    assert {Path(name).stem: photo.status for name, photo in photos.items()} == {
        "none": "",
        "empty": "",
        "bad": "unreadable",
        "unknown": "",
        "latin": "unreadable",
        "link": "unreadable",
        "folder": "unreadable",
    }
    assert photos["images/unknown.jpg"].names == ("class 5",)
    assert (
        photos["images/link.jpg"].reason
        == "its label link.txt is not a file; fix it, or remove it if there are no faces"
    )
    assert photos["images/latin.jpg"].reason.startswith(
        "cannot read latin.txt: line 1: not UTF-8"
    ), "the folder it is in on this machine is nobody's"


@pytest.mark.parametrize(
    ("yaml", "found"),
    [
        ("train: images\n", "has no class names"),
        ("names: {a: b}\ntrain: images\n", "number its classes"),
        ("names: [a]\ntrain: elsewhere\n", "images were not found at elsewhere"),
        ("names: [a]\n", "no images"),
        ("names: [a\n", "cannot read"),
        ('names: [a]\ntrain: "C:\\Users\\me\\images"\n', "cannot read .* escape sequence"),
        ("names: [a]\ntrain: {a: images}\n", "`train` must be a path or a list of paths"),
        ("names: [a]\ntrain: [[images]]\n", "`train` must be a path or a list of paths"),
        (f"names: [a]\ntrain: {'n' * 300}\n", "images were not found at nnn"),
    ],
)
def test_data_yaml_that_is_none(tmp_path: Path, yaml: str, found: str) -> None:
    (tmp_path / "images").mkdir()
    path = write(tmp_path / "data.yaml", yaml)
    for source in (
        (path, tmp_path) if "names" in yaml else (path,)
    ):  # the folder is not taken for one of class folders
        with pytest.raises(DatasetError, match=found) as caught:
            read_annotations(source)
        assert "\n" not in str(caught.value)


# --- boxes


def photo(*boxes: list[float], **values: Any) -> AnnotatedPhoto:
    return AnnotatedPhoto(
        Path("a.jpg"),
        "a.jpg",
        ("a",) * len(boxes),
        np.array(boxes, dtype=float).reshape(-1, 4),
        **values,
    )


def test_boxes_are_put_in_order_clipped_and_dropped_with_a_word_about_each() -> None:
    nan = float("nan")
    found = check_boxes(
        photo(
            [30, 40, 10, 20],
            [-20, 0, 50, 50],
            [5, 5, 5, 9],
            [200, 0, 300, 9],
            [nan, 0, 9, 9],
            [90, 70, 101, 80],
        ),
        100,
        80,
    )
    assert found.boxes.tolist() == [[10, 20, 30, 40], [0, 0, 50, 50], [90, 70, 100, 80]]
    assert found.index.tolist() == [0, 1, 5]
    assert (
        found.reason == "1 box with swapped corners reordered; 1 box clipped to the image; "
        "3 boxes removed: no area in the image"
    )
    assert check_boxes(photo([90, 70, 101, 80]), 100, 80, overhang=1).boxes.tolist() == [
        [90, 70, 101, 80]
    ]
    assert len(check_boxes(photo(), 100, 80).boxes) == 0


@pytest.mark.parametrize(
    ("size", "boxes", "status", "reason"),
    [
        (None, [[10, 20, 30, 40]], "", ""),
        ((100, 80), [[10, 20, 30, 40]], "", ""),
        ((200, 160), [[5, 10, 15, 20]], "", "boxes scaled from 200 x 160"),
        (
            (80, 100),
            [],
            "ambiguous",
            "annotated as 80 x 100, but the upright image is 100 x 80: rotated",
        ),
        ((300, 80), [[10, 20, 30, 40]], "", "annotated with the wrong size 300 x 80"),
    ],
)
def test_sizes_that_the_image_does_not_have(
    size: tuple[int, int] | None, boxes: list[list[float]], status: str, reason: str
) -> None:
    found = check_boxes(photo([10, 20, 30, 40], size=size), 100, 80)
    assert (found.boxes.tolist(), found.status, found.reason) == (boxes, status, reason)


def test_a_turned_image_that_is_almost_square_is_not_taken_for_a_scaled_one() -> None:
    assert check_boxes(photo([10, 20, 30, 40], size=(1000, 1004)), 1004, 1000).status == "ambiguous"
    assert (
        check_boxes(photo([10, 20, 30, 40], size=(1000, 1000)), 500, 500).reason
        == "boxes scaled from 1000 x 1000"
    )


def test_a_size_of_hundreds_of_digits_is_a_wrong_size() -> None:
    found = check_boxes(photo([10, 20, 30, 40], size=(10**400, 10**400)), 100, 80)
    assert found.boxes.tolist() == [[10, 20, 30, 40]]
    assert found.reason.startswith("annotated with the wrong size 1000000")


def test_shares_become_pixels() -> None:
    assert check_boxes(photo([0.1, 0.5, 0.2, 1.0], shares=True), 100, 80).boxes.tolist() == [
        [10, 40, 20, 80]
    ]


def test_faces_boxed_twice() -> None:
    boxes = np.array([[0, 0, 100, 100], [1, 0, 100, 100], [50, 50, 90, 90]], dtype=float)
    assert find_repeated(["a", "a", "a"], boxes) == ([0, 2], False)
    assert find_repeated(["a", "b", "a"], boxes) == ([0, 2], True)
    assert find_repeated([], np.zeros((0, 4))) == ([], False)


@pytest.mark.parametrize(
    ("found", "said", "targets"),
    [
        (["No-Mask", "Face_Mask"], {}, ["without_mask", "with_mask"]),
        (["face", "mask"], {}, ["without_mask", "with_mask"]),
        (["odd", "mask"], {"ODD": "keep"}, ["odd", "with_mask"]),
        (["mask"], {"mask": "ignore", "unheard": "drop"}, ["ignore"]),
    ],
)
def test_what_classes_become(found: list[str], said: dict[str, str], targets: list[str]) -> None:
    assert list(map_classes(dict.fromkeys(found, 1), said, "set").values()) == targets


def test_a_class_that_nobody_knows_is_reported_with_all_others() -> None:
    with pytest.raises(
        DatasetError,
        match=r"'odd one' in set.* odd one \(3 boxes\), Mask \(2 boxes, with_mask\); "
        r".*--map \"odd one\"=CLASS",
    ):
        map_classes({"odd one": 3, "Mask": 2}, {}, "set")
    with pytest.raises(DatasetError, match="'face' in set"):
        map_classes({"face": 3}, {}, "set")
    with pytest.raises(DatasetError, match="unknown class 'helmet' in the class map"):
        map_classes({"face": 3}, {"face": "helmet"}, "set")


# --- finding things


def test_of_images_of_one_name_the_nearest_is_meant(tmp_path: Path) -> None:
    files = [
        make_image(tmp_path / folder / "1.jpg")
        for folder in ("images/train", "images/val", "more/b", "more/a")
    ]
    index = ImageIndex(tmp_path, files)
    assert (
        index.by_stem("1", tmp_path / "labels" / "val" / "1.xml")
        == tmp_path / "images" / "val" / "1.jpg"
    )
    assert (
        index.by_name("train\\1.JPG", tmp_path / "a.json")
        == tmp_path / "images" / "train" / "1.jpg"
    )
    assert index.by_name("2.jpg", tmp_path / "a.json") is None
    with pytest.raises(DatasetError, match=r"several images are named 1"):
        index.by_stem("1", tmp_path / "1.xml")


def test_splits_in_paths() -> None:
    assert [
        split_of(path)
        for path in (
            "a/valid/b/1.jpg",
            "TEST/1.jpg",
            "train.jpg",
            "train2017.json",
            "a/_annotations.coco.json",
        )
    ] == [
        "val",
        "test",
        "",
        "train",
        "",
    ]


def test_the_size_of_what_is_no_image(tmp_path: Path) -> None:
    assert image_size(write(tmp_path / "a.jpg", "no")) is None
    assert image_size(tmp_path / "gone.jpg") is None


def test_labels_beside_a_link_belong_to_it(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make_image(tmp_path / "store" / f"{name}.jpg")
        write(tmp_path / "set" / "labels" / "train" / f"{name}.txt", "0 0.5 0.5 0.2 0.2\n")
    (tmp_path / "set" / "images").mkdir()
    (tmp_path / "set" / "images" / "train").symlink_to(tmp_path / "store")
    for train in ("images/train", "list.txt"):
        write(tmp_path / "set" / "list.txt", "./images/train/a.jpg\n./images/train/b.jpg\n")
        write(tmp_path / "set" / "data.yaml", f"train: {train}\nnames: [with_mask, without_mask]\n")
        found = by_source(read_annotations(tmp_path / "set"))
        assert {name: photo.names for name, photo in found.items()} == dict.fromkeys(
            ("images/train/a.jpg", "images/train/b.jpg"), ("with_mask",)
        )


def test_numbers_that_are_none(tmp_path: Path) -> None:
    for line in ("nan 0.5 0.5 0.1 0.1", "inf 0.5 0.5 0.1 0.1"):
        with pytest.raises(DatasetError, match=r"line 1: (nan|inf) is not a class id"):
            parse_rows(line)
    for width in ("inf", "nan"):
        assert (
            parse_voc(
                f"<annotation><size><width>{width}</width><height>9</height></size></annotation>".encode()
            ).size
            is None
        )
    image = {"id": 0, "file_name": "a.jpg", "width": float("inf"), "height": 9}
    write(tmp_path / "a.json", json.dumps({"images": [image], "annotations": [], "categories": []}))
    make_image(tmp_path / "a.jpg")
    with pytest.raises(DatasetError, match="is not a COCO file"):
        read_annotations(tmp_path / "a.json")


@pytest.mark.parametrize("text", ["train: 5\nnames: [with_mask]\n", "names: 2020-99-99\n"])
def test_a_data_yaml_of_odd_values_is_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(DatasetError):
        read_annotations(write(tmp_path / "data.yaml", text))
