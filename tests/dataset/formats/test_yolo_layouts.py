"""YOLO sets in the layouts of other tools: every command reads the same faces and splits."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from annotated_sets import (
    ORDER,
    SHOTS,
    SPLITS,
    TRUTH,
    by_convert,
    by_review,
    by_training,
    by_val,
    by_val_folders,
    draw,
    rows,
    write,
    write_yolo,
)

from maskyolo.conversion.inputs import list_photos
from maskyolo.core.label_rows import parse_rows
from maskyolo.dataset.formats.reading import read_annotations
from maskyolo.dataset.layout import load_dataset
from maskyolo.errors import DatasetError
from maskyolo.training.checks import check_dataset, check_detector_dataset

NAMES = "names: [no mask, mask]\n"
LIST = "no-mask\nmask\n"


def of_split(split: str) -> dict[str, object]:
    return {name: faces for name, faces in TRUTH.items() if SPLITS[name] == split}


# --- where images and labels are


@pytest.mark.parametrize(
    "paths",
    [
        "train: ../train/images\nval: ../valid/images",  # Roboflow
        "train: rf-1/train/images\nval: rf-1/valid/images",
        "train: /content/rf/train/images\nvalid: /content/rf/valid/images",
        "path: C:\\sets\\rf\ntrain: [train/images]\nvalidation: [valid/images]",
        "path: /content/rf\ntrain: train/images\nval: valid.txt",
    ],
)
def test_paths_of_a_data_yaml_are_resolved_alike_by_all_commands(
    tmp_path: Path, paths: str
) -> None:
    root = write_yolo(tmp_path / "set", "{split}/images", "{split}/labels")
    (root / "val").rename(root / "valid")
    write(root / "valid.txt", "valid/images/d.jpg\n/content/rf/valid/images/e.jpg\n")
    # images of that name in another set, which Ultralytics would take
    draw(tmp_path / "train" / "images" / "other.jpg")
    data = write(root / "data.yaml", f"{paths}\n{NAMES}")
    for source in (root, data):
        assert by_convert(source) == (TRUTH, SPLITS)
        assert by_training(source) == (TRUTH, SPLITS)
        assert by_review(source, ORDER) == (TRUTH, SPLITS)
        assert by_val(source, "val") == of_split("val")


def test_a_split_may_have_several_folders(tmp_path: Path) -> None:
    root = write_yolo(tmp_path)
    paths = "train: [images/train, images/more]\nval: images/val\n"
    draw(root / "images" / "more" / "f.jpg")
    write(root / "data.yaml", paths + NAMES)
    assert by_training(root)[1] == SPLITS | {"f": "train"}
    assert by_convert(root) == (TRUTH | {"f": []}, SPLITS | {"f": "train"})


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("cam/images/{split}", "cam/images/{split}"),  # beside, below a folder called images
        ("{split}/images", "{split}/images"),
        ("{split}", "{split}"),
        ("{split}", "{split}/labels"),
        ("photos/{split}", "label/{split}"),
        ("{split}/imgs", "{split}/Labels"),
        ("{split}_images", "{split}_labels"),
        ("JPEGImages/{split}", "labels/{split}"),
        ("images/{split}/frames", "labels/{split}/frames"),
    ],
)
def test_labels_are_found_in_all_layouts(tmp_path: Path, images: str, labels: str) -> None:
    paths = "".join(f"{split}: {images.format(split=split)}\n" for split in ("train", "val"))
    root = write_yolo(tmp_path, images, labels, {"data.yaml": paths + NAMES})
    assert by_convert(root) == (TRUTH, SPLITS)
    assert by_training(root)[0] == TRUTH
    assert by_review(root)[0] == TRUTH
    assert by_val(root, "val") == of_split("val")


def test_case_and_unicode_of_label_names_do_not_matter(tmp_path: Path) -> None:
    root = write_yolo(tmp_path, "images", "labels", {"data.yaml": "train: images\n" + NAMES})
    shutil.move(root / "images" / "a.jpg", root / "images" / "MÉ.JPG")
    shutil.move(root / "labels" / "a.txt", root / "labels" / "me\u0301.txt")
    assert by_convert(root)[0]["MÉ"] == TRUTH["a"]


def test_the_training_refuses_labels_that_ultralytics_would_read_otherwise(tmp_path: Path) -> None:
    names = "names: [without_mask, with_mask]\n"
    paths = "train: images/train\nval: images/val\n"
    ours = ("with_mask", "without_mask")
    usual = paths + "names: [with_mask, without_mask]\n"
    for folder, labels, tail, problem in (
        ("beside", "images/{split}", "", "where training does not find it"),
        ("tracked", "labels/{split}", " 0.9 {}2", "which training misreads"),
    ):
        root = write_yolo(
            tmp_path / folder, "images/{split}", labels, {"data.yaml": usual}, SHOTS, tail, ours
        )
        assert check_dataset(load_dataset(root)).names == ours
        with pytest.raises(DatasetError, match=f"{problem}.*maskyolo convert"):
            check_detector_dataset(load_dataset(root))
    root = write_yolo(tmp_path / "plain", files={"data.yaml": usual}, order=ours)
    check_detector_dataset(load_dataset(root))
    root = write_yolo(tmp_path / "other", files={"data.yaml": paths + names})
    with pytest.raises(DatasetError) as caught:
        check_dataset(load_dataset(root))
    assert "maskyolo convert" in caught.value.remedy
    assert "rename" not in str(caught.value)
    assert "reorder" not in str(caught.value)


def test_label_files_that_no_image_uses_are_told(tmp_path: Path) -> None:
    root = write_yolo(tmp_path, "images", "labels", {"data.yaml": "train: images\n" + NAMES})
    write(root / "labels" / "gone.txt", rows(SHOTS[0]))
    write(root / "labels" / "notes.txt", "taken on Monday\n")
    write(root / "labels-2" / "a.txt", rows(SHOTS[1]))
    found = read_annotations(root)
    odd = {photo.source: photo.reason for photo in found.photos if photo.status}
    assert odd == {"labels/gone.txt": "no image of this name; add it to the set"}
    assert len(found.notes) == 1
    assert "1 label file in" in found.notes[0]


def test_an_image_with_two_suffixes_is_used_once_or_not_at_all(tmp_path: Path) -> None:
    root = write_yolo(tmp_path, "images", "labels", {"data.yaml": "train: images\n" + NAMES})
    draw(root / "images" / "a.png")
    draw(root / "images" / "b.png", (60, 80))
    status = {photo.path.name: photo.status for photo in read_annotations(root).photos}
    assert (status["a.jpg"], status["a.png"]) == ("", "duplicate")
    assert (status["b.jpg"], status["b.png"]) == ("ambiguous", "ambiguous")


# --- class names


@pytest.mark.parametrize(
    "files",
    [
        {"classes.txt": LIST},
        {"obj.names": LIST},
        {"_darknet.labels": LIST},
        {"notes.json": '{"categories": [{"id": 1, "name": "mask"}, {"id": 0, "name": "bare"}]}'},
        {"data.yaml": "names: {1: mask, 0: no mask}\n"},
        {"labels/classes.txt": LIST},
    ],
)
def test_class_lists_count_beside_and_above_labels(tmp_path: Path, files: dict[str, str]) -> None:
    root = write_yolo(tmp_path / "set", "images", "labels", files)
    write(root / "labels" / "c.txt", "")
    write(tmp_path / "classes.txt", "mask\nno mask\n")  # of another set
    assert by_val_folders(root / "images", root / "labels") == TRUTH
    if "data.yaml" not in files:
        assert by_convert(root, keep_splits=False)[0] == TRUTH


def test_two_teams_with_their_own_order_of_classes(tmp_path: Path) -> None:
    first, other = SHOTS[:2], SHOTS[2:]
    write_yolo(tmp_path, "one", "one", {"one/classes.txt": LIST}, first)
    turned = ("with_mask", "without_mask")
    write_yolo(tmp_path, "two", "two", {"two/classes.txt": "mask\nbare\n"}, other, "", turned)
    assert by_convert(tmp_path, keep_splits=False)[0] == TRUTH


def test_a_class_list_that_contradicts_the_data_yaml_is_told(tmp_path: Path) -> None:
    files = {"data.yaml": "train: images/train\n" + NAMES, "classes.txt": "mask\nno mask\n"}
    root = write_yolo(tmp_path, files=files)
    assert "calls class 0 'mask'" in " ".join(read_annotations(root).notes)


def test_yaml_booleans_are_names(tmp_path: Path) -> None:
    files = {"data.yaml": "train: images/train\nval: images/val\nnames: [off, on]\n"}
    root = write_yolo(tmp_path, files=files)
    assert load_dataset(root).names == ("off", "on")
    with pytest.raises(DatasetError, match="--map off=CLASS"):
        list_photos([root])
    found = list_photos([root], class_map={"off": "without_mask", "on": "with_mask"})
    assert sum(len(photo.labels or ()) for photo in found.photos) == 5


def test_labels_without_names_of_classes_are_told(tmp_path: Path) -> None:
    root = write_yolo(tmp_path)
    with pytest.raises(DatasetError, match=r"'class 0'.*class 0 \(3 boxes\), class 1 \(2 boxes\)"):
        list_photos([root])
    assert "no class names" in read_annotations(root).notes[0]
    write(root / "data.yaml", "train: images/train\nval: images/val\nnc: 2\n")
    with pytest.raises(DatasetError, match=r"has no class names.*classes\.txt"):
        list_photos([root])
    write(root / "classes.txt", LIST)
    assert by_convert(root) == (TRUTH, SPLITS)


# --- splits


@pytest.mark.parametrize(
    ("images", "files"),
    [
        ("{split}", {"train/_darknet.labels": LIST, "val/_darknet.labels": LIST}),
        ("obj_{split}_data", {"obj.names": LIST}),
        (
            "obj_train_data",
            {"obj.names": LIST, "obj.data": "train=data/train.txt\nvalid=valid.txt"},
        ),
        (
            "data/img",
            {"data/mask.names": LIST, "mask.data": "valid = v/valid.txt\ntrain=train.txt"},
        ),
        ("img", {"classes.txt": LIST}),
    ],
)
def test_splits_of_darknet_and_cvat_are_kept(
    tmp_path: Path, images: str, files: dict[str, str]
) -> None:
    root = write_yolo(tmp_path, images, images, files)
    if "{split}" not in images:
        for split, name in (("train", "train.txt"), ("val", "valid.txt")):
            names = [shot.name for shot in SHOTS if shot.split == split]
            write(root / name, "".join(f"data/{images}/{name}.jpg\n" for name in names))
    assert by_convert(root) == (TRUTH, SPLITS)
    assert by_val(root, "val") == of_split("val")


def test_splits_of_class_folders_are_kept(tmp_path: Path) -> None:
    expected = {}
    for folder, split in (("Train", "train"), ("Validation", "val"), ("Test", "test")):
        for kind in ("WithMask", "WithoutMask"):
            path = draw(tmp_path / folder / kind / f"{folder}{kind}.jpg")
            expected[path.stem] = split
    found = list_photos([tmp_path], keep_splits=True)
    assert {photo.path.stem: photo.split for photo in found.photos} == expected
    loose = draw(tmp_path / "with_mask" / "loose.jpg")
    status = {p.path: p.status for p in list_photos([tmp_path], keep_splits=True).photos}
    assert status[loose] == "excluded"
    assert not any(photo.split for photo in list_photos([tmp_path]).photos)


# --- rows


@pytest.mark.parametrize("tail", [" 0.9", " 0.9 {}", " 0.9 {}1", " {}"])
def test_confidences_and_track_ids_are_left_out(tmp_path: Path, tail: str) -> None:
    root = write_yolo(
        tmp_path, files={"data.yaml": "train: images/train\nval: images/val\n" + NAMES}, tail=tail
    )
    assert by_convert(root) == (TRUTH, SPLITS)
    assert by_training(root)[0] == TRUTH
    assert by_review(root)[0] == TRUTH
    assert by_val(root, "val") == of_split("val")
    assert any("track id" in note for note in read_annotations(root).notes) == (len(tail) > 4)


@pytest.mark.parametrize(
    ("line", "box"),
    [
        ("1 0.1 0.2 0.5 0.2 0.3 0.9", (0.1, 0.2, 0.5, 0.9)),  # a triangle
        ("1 0.1 0.2 0.5 0.2 0.3 1.000000", (0.1, 0.2, 0.5, 1)),
        ("1 0.9 0.9 0.9 0.2 0.3 1", (0.3, 0.2, 0.9, 1)),  # as a box, it would stick out
        ("1 0.1 0.2 0.5 0.2 0.5 1 0.1 1", (0.1, 0.2, 0.5, 1)),  # a rectangle of four points
        ("1 0.1 0.2 0.5 0.2 0.5 0.6 0.1 0.6 0.97 12", (0.1, 0.2, 0.5, 0.6)),  # tracked
        ("1 0.5 0.5 0.2 0.4 0.93 12", (0.4, 0.3, 0.6, 0.7)),
        ("1 0.5 0.5 0.2 0.4 0.93 -1", (0.4, 0.3, 0.6, 0.7)),
        ("1,0.5,0.5,0.2,0.4", (0.4, 0.3, 0.6, 0.7)),
        ("1; 0.5; 0.5; 0.2; 0.4", (0.4, 0.3, 0.6, 0.7)),
        ("1 0,5 0,5 0,2 0,4", (0.4, 0.3, 0.6, 0.7)),
        ("no mask 0.5 0.5 0.2 0.4", (0.4, 0.3, 0.6, 0.7)),
    ],
)
def test_rows_of_many_tools(line: str, box: tuple[float, ...]) -> None:
    found = parse_rows(line + "\n")
    assert found.boxes[0] == pytest.approx(box)
    assert found.classes == (("no mask",) if line.startswith("no") else (1,))


def test_a_row_that_may_be_either_is_named(tmp_path: Path) -> None:
    row = "0 0.5 0.5 0.2 0.4 0.93 1\n"
    with pytest.raises(DatasetError, match=r"a\.txt, line 1.*triangle, or a box"):
        parse_rows(row, "a.txt")
    assert parse_rows(row, tails=[True]).boxes[0] == pytest.approx([0.4, 0.3, 0.6, 0.7])
    assert parse_rows(row, tails=[False]).boxes[0] == pytest.approx([0.2, 0.4, 0.93, 1])
    assert parse_rows(row + "0 0.5 0.5 0.2 0.4 0.93 2\n").tracked == 2
    files = {"data.yaml": "train: images/train\n" + NAMES, "labels/train/c.txt": row}
    root = write_yolo(tmp_path, files=files)
    photo = next(p for p in read_annotations(root).photos if p.path.stem == "c")
    assert (photo.status, "line 1" in photo.reason) == ("unreadable", True)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("0 50 60 10 10", "50 is not a fraction|60 is not a fraction"),
        ("0 10 20 30 20 30 40", "not a fraction"),
        ("mask 12 34 56 78", "78 is not a fraction"),
        ("0 0.5 0.5 0.2", "expected 'class cx cy w h'"),
        ("mask", "expected 'class cx cy w h'"),
    ],
)
def test_rows_that_are_not_understood_are_one_line(line: str, why: str) -> None:
    with pytest.raises(DatasetError, match=rf"a\.txt, line 1: .*({why})"):
        parse_rows(line, "a.txt")


def test_a_set_whose_labels_are_not_understood_says_why(tmp_path: Path) -> None:
    root = write_yolo(tmp_path, files={"data.yaml": "train: images/train\n" + NAMES})
    for path in (root / "labels" / "train").iterdir():
        path.write_text("0 50 40 20 20\n")
    with pytest.raises(DatasetError, match=r"format yolo.*not a fraction.*export") as caught:
        list_photos([root])
    assert "\n" not in str(caught.value)


# --- exports that are not quite what they say


def test_a_split_that_an_export_does_not_have_is_told_and_the_others_are_read(
    tmp_path: Path,
) -> None:
    root = write_yolo(tmp_path, "{split}/images", "{split}/labels")
    places = "train: ../train/images\nval: ../val/images\ntest: ../test/images\n"
    data = write(root / "data.yaml", places + NAMES)
    for source in (root, data):
        assert by_convert(source) == (TRUTH, SPLITS)
        assert by_val(source, "val") == of_split("val")
        assert by_training(source) == (TRUTH, SPLITS)
    notes = read_annotations(root).notes
    assert [note for note in notes if "test images were not found at ../test/images" in note]
    for read in (lambda: by_val(root, "test"), lambda: load_dataset(root).images("test")):
        with pytest.raises(DatasetError, match="test images were not found at"):
            read()
    shutil.rmtree(root / "val")
    with pytest.raises(DatasetError, match="val images were not found at"):
        check_dataset(load_dataset(write_order(data, "[with_mask, without_mask]")))
    data.write_text("train: [train/images, more]\n" + NAMES)
    with pytest.raises(DatasetError, match="train images were not found at more"):
        read_annotations(root)


def write_order(data: Path, names: str) -> Path:
    return write(data, data.read_text().replace("[no mask, mask]", names))


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("pics/{split}", "boxes/{split}"),
        ("{split}/pics", "yolo/{split}"),
        ("images/{split}", "yolo_labels"),
    ],
)
def test_labels_in_a_folder_of_any_name_are_found(tmp_path: Path, images: str, labels: str) -> None:
    paths = "".join(f"{split}: {images.format(split=split)}\n" for split in ("train", "val"))
    root = write_yolo(tmp_path, images, labels, {"data.yaml": paths + NAMES})
    assert by_convert(root) == (TRUTH, SPLITS)
    assert by_training(root)[0] == TRUTH
    assert by_val(root, "val") == of_split("val")


def test_labels_of_other_images_and_captions_are_not_taken(tmp_path: Path) -> None:
    root = write_yolo(tmp_path, files={"data.yaml": "train: images/train\n" + NAMES})
    write(root / "old" / "c.txt", rows(SHOTS[0]))  # the others have labels where they belong
    for name in ("v1", "v2"):
        write(root / name / "f.txt", rows(SHOTS[0]))
    write(root / "captions" / "g.txt", "a man with a mask\n")
    for image in ("cam1/h", "cam2/h", "cam3/f", "cam4/g"):
        draw(root / "images" / "train" / f"{image}.jpg")
    write(root / "labels" / "train" / "cam1" / "h.txt", rows(SHOTS[0]))
    found = {photo.source: len(photo.boxes) for photo in read_annotations(root).photos}
    assert found["images/train/cam1/h.jpg"] == 2
    for image in ("c", "cam2/h", "cam3/f", "cam4/g"):
        assert found[f"images/train/{image}.jpg"] == 0


@pytest.mark.parametrize("names", ["[[0, mask], [1, no mask]]", "[{0: mask}, {1: no mask}]"])
def test_names_that_are_no_texts_are_one_line(tmp_path: Path, names: str) -> None:
    root = write_yolo(tmp_path, files={"data.yaml": f"train: images/train\nnames: {names}\n"})
    with pytest.raises(DatasetError, match="`names` must be a list"):
        read_annotations(root)


def test_corners_are_no_centers(tmp_path: Path) -> None:
    root = write_yolo(tmp_path, files={"data.yaml": "train: images/train\n" + NAMES})
    assert read_annotations(root).photos
    for shot in SHOTS:
        corners = [(x1 / 100, y1 / 80, x2 / 100, y2 / 80) for _, (x1, y1, x2, y2) in shot.faces]
        text = "".join(f"0 {' '.join(map(str, box))}\n" for box in corners)
        write(root / "labels" / shot.split / f"{shot.name}.txt", text)
    with pytest.raises(DatasetError, match="look like corners"):
        read_annotations(root)
    with pytest.raises(DatasetError, match="look like corners"):
        by_val(root, "train")
