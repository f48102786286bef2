"""COCO, CVAT and Label Studio as they and other tools write them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from annotated_sets import SHOTS, SPLITS, TRUTH, Shot, by_convert, by_val, draw, write

from maskyolo.conversion.inputs import list_photos
from maskyolo.dataset.formats.export import export_dataset
from maskyolo.dataset.formats.reading import find_format, read_annotations
from maskyolo.dataset.formats.shapes import box_of_rle
from maskyolo.errors import DatasetError

CATEGORIES = {"with_mask": 7, "without_mask": 90}


def rle(box: tuple[int, ...]) -> dict[str, Any]:
    """Return the mask of a box in an image of 100 x 80, column by column."""
    x1, y1, x2, y2 = box
    counts, before = [], 0
    for x in range(x1, x2):
        counts += [x * 80 + y1 - before, y2 - y1]
        before = x * 80 + y2
    return {"size": [80, 100], "counts": [*counts, 8000 - before]}


def coco(root: Path, file_name: str = "images/{}.jpg", **values: Any) -> Path:
    """Write the images, and a COCO file with these values in each annotation."""
    images, annotations = [], []
    for number, shot in enumerate(SHOTS, 1):
        draw(root / "images" / f"{shot.name}.jpg")
        name = file_name.format(shot.name)
        images.append({"id": number, "file_name": name, "width": 100, "height": 80})
        for kind, (x1, y1, x2, y2) in shot.faces:
            entry = {"image_id": number, "category_id": CATEGORIES[kind]}
            entry |= {"bbox": [x1, y1, x2 - x1, y2 - y1], "id": len(annotations), "iscrowd": 0}
            changes = {k: v((x1, y1, x2, y2)) if callable(v) else v for k, v in values.items()}
            annotations.append(entry | changes)
    categories = [{"id": 7, "name": "Mask"}, {"id": 90, "name": "No Mask"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    return write(root / "result.json", json.dumps(content))


def edit(path: Path, change: Any) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


# --- COCO


@pytest.mark.parametrize(
    "values",
    [
        {"bbox": None, "segmentation": rle},
        {"bbox": [], "segmentation": rle},
        {"bbox": [0, 0, 0, 0], "segmentation": rle, "iscrowd": 1},
        {"iscrowd": 1},
        {"iscrowd": True, "segmentation": rle},
        {"bbox": None, "segmentation": lambda b: [[b[0], b[1], b[2], b[1], b[2], b[3]]]},
        {"bbox": None, "segmentation": lambda b: [b[0], b[1], b[2], b[1], b[2], b[3]]},
    ],
    ids=str,
)
def test_masks_and_crowds_of_coco_are_faces(tmp_path: Path, values: dict[str, Any]) -> None:
    coco(tmp_path, **values)
    assert by_convert(tmp_path, keep_splits=False)[0] == TRUTH
    assert by_val(tmp_path, "val") == TRUTH
    notes = read_annotations(tmp_path).notes
    assert [note for note in notes if "iscrowd 1" in note] == list(notes)
    assert bool(notes) == bool(values.get("iscrowd"))
    made = export_dataset(tmp_path, tmp_path / "yolo")
    assert (made.boxes.total(), made.skipped) == (5, [])


def test_compressed_masks_are_those_of_pycocotools() -> None:
    mask = pytest.importorskip("pycocotools.mask")
    for shot in SHOTS:
        for _, box in shot.faces:
            packed = mask.frPyObjects(rle(box), 80, 100)
            text = packed["counts"].decode()
            assert box_of_rle({"size": [80, 100], "counts": text}) == list(map(float, box))
            x, y, w, h = mask.toBbox(packed).tolist()
            assert (x, y, x + w, y + h) == box


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"size": [80, 100], "counts": [9000, 9]},
        {"size": [80, 100], "counts": [-5, 9]},
        {"size": [80, 100], "counts": "~~~"},
        {"size": [80, 100], "counts": "o"},
        {"size": [1e12, 1e12], "counts": [5, 9]},
        {"size": "ab", "counts": [5]},
        {"size": [80, 100], "counts": ["a"]},
    ],
    ids=str,
)
def test_masks_that_are_none(value: object) -> None:
    with pytest.raises(ValueError, match=r"run-length|pixels|invalid literal"):
        box_of_rle(value)


@pytest.mark.parametrize(
    "broken",
    [
        {"bbox": None},
        {"bbox": None, "segmentation": []},
        {"bbox": None, "segmentation": {"size": [80, 100], "counts": [8000]}},
        {"bbox": None, "segmentation": {"size": [40, 50], "counts": [9, 9]}},
    ],
    ids=str,
)
def test_an_image_with_a_face_without_box_is_no_background(
    tmp_path: Path, broken: dict[str, Any]
) -> None:
    edit(coco(tmp_path), lambda content: content["annotations"][2].update(broken))
    photos = {photo.path.stem: photo for photo in read_annotations(tmp_path).photos}
    assert (photos["b"].status, photos["a"].status) == ("ambiguous", "")
    assert "1 annotation with" in photos["b"].reason
    with pytest.raises(DatasetError, match=r"b\.jpg"):
        by_val(tmp_path, "val")


@pytest.mark.parametrize("kind", [str, float, lambda number: f" {number}"])
def test_ids_of_coco_may_differ_in_type(tmp_path: Path, kind: Any) -> None:
    def change(content: dict[str, Any]) -> None:
        for entry in content["annotations"]:
            entry["image_id"] = kind(entry["image_id"])
            entry["category_id"] = kind(entry["category_id"])

    edit(coco(tmp_path), change)
    assert by_convert(tmp_path, keep_splits=False)[0] == TRUTH


def test_annotations_of_no_image_and_crowds_only_are_told(tmp_path: Path) -> None:
    path = coco(tmp_path / "set")
    edit(path, lambda content: content["annotations"][2].update(iscrowd=1))
    made = export_dataset(tmp_path / "set", tmp_path / "yolo")
    assert made.skipped == [("images/b.jpg", "all its boxes are crowds (iscrowd 1)")]
    edit(path, lambda content: [e.update(image_id=99) for e in content["annotations"]])
    with pytest.raises(DatasetError, match=r"5 annotations of images that are not listed"):
        list_photos([tmp_path / "set"])


@pytest.mark.parametrize(
    "reference",
    [
        "images/{}%20%281%29.jpg",
        "https://bucket.s3.amazonaws.com/p/{}%20(1).jpg?X-Amz-Expires=36&X-Amz-Signature=ab%2F",
        "https://host/p/{}+(1).jpg?sv=2020&sig=a%2Fb#top",
        "/data/local-files/?d=photos/{} (1).jpg",
        "/data/local-files/?d=photos%2F{}%20%281%29.jpg",
        "/data/upload/4/1a2b3c4d-{} (1).jpg",
        "..\\media\\{} (1).jpg",
        "images/{}%2520%25281%2529.jpg",
        "{} (1)",
    ],
)
def test_addresses_and_encoded_names_find_their_images(tmp_path: Path, reference: str) -> None:
    coco(tmp_path, reference)
    for path in (tmp_path / "images").iterdir():
        path.rename(path.with_name(f"{path.stem} (1).jpg"))
    found, _ = by_convert(tmp_path, keep_splits=False)
    assert found == {f"{name} (1)": faces for name, faces in TRUTH.items()}


def test_a_reference_leads_to_no_image_outside_the_set(tmp_path: Path) -> None:
    draw(tmp_path / "outside.jpg")
    coco(tmp_path / "set", "../outside.jpg")
    with pytest.raises(DatasetError, match=r"outside\.jpg is missing"):
        list_photos([tmp_path / "set"])


# --- Pascal VOC


def test_voc_with_two_suffixes_and_lists_of_other_names(tmp_path: Path) -> None:
    coco(tmp_path / "coco")
    made = export_dataset(tmp_path / "coco", tmp_path / "voc", to="voc").folder
    draw(made / "JPEGImages" / "a.png")
    write(made / "ImageSets" / "Main" / "train.txt", "a\nb\nc\n")
    write(made / "ImageSets" / "Main" / "Valid.txt", "d\ne\n")
    faces, splits = by_convert(made)
    assert (faces, splits) == (TRUTH, SPLITS)


# --- CVAT


def cvat_image(shot: Shot, number: int) -> str:
    boxes = "".join(
        f'<box label="{kind}" xtl="{x1}" ytl="{y1}" xbr="{x2}.0" ybr="{y2}" occluded="0"></box>'
        for kind, (x1, y1, x2, y2) in shot.faces
    )
    head = f'<image id="{number}" name="{shot.name}.jpg" subset="{shot.split.title()}" '
    return head + f'width="100" height="80">{boxes}</image>'


def test_cvat_for_images_is_read(tmp_path: Path) -> None:
    text = "".join(cvat_image(shot, number) for number, shot in enumerate(SHOTS))
    for shot in SHOTS:
        draw(tmp_path / "images" / f"{shot.name}.jpg")
    draw(tmp_path / "images" / "later.jpg")
    write(tmp_path / "annotations.xml", f"<annotations><version>1.1</version>{text}</annotations>")
    for source in (tmp_path, tmp_path / "annotations.xml"):
        assert find_format(source) == "cvat"
        assert by_convert(source) == (TRUTH, SPLITS)
    assert by_val(tmp_path, "val") == {name: TRUTH[name] for name in "de"}
    assert [p.status for p in read_annotations(tmp_path).photos if p.path.stem == "later"] == [
        "excluded"
    ]


@pytest.mark.parametrize(
    ("shape", "box"),
    [
        ('<polygon points="10,20;30,25.5;12,40"/>', [10, 20, 30, 40]),
        ('<mask rle="4, 2" left="10" top="20" width="20" height="30"/>', [10, 20, 30, 50]),
        ('<ellipse cx="30" cy="30" rx="10" ry="5"/>', [20, 25, 40, 35]),
        ('<box xtl="10" ytl="30" xbr="30" ybr="40" rotation="90"/>', [15, 25, 25, 45]),
        ('<points points="1,2"/>', None),
        ('<box xtl="10" ytl="30" xbr="x" ybr="40"/>', None),
    ],
)
def test_shapes_of_cvat(tmp_path: Path, shape: str, box: list[float] | None) -> None:
    draw(tmp_path / "a.jpg")
    labeled = shape.replace("/>", ' label="mask"/>')
    image = f'<image name="a.jpg">{labeled}</image>'
    write(tmp_path / "a.xml", f"<annotations>{image}</annotations>")
    photo = read_annotations(tmp_path).photos[0]
    assert photo.boxes.tolist() == ([pytest.approx(box)] if box else [])
    assert photo.status == ("" if box else "ambiguous")


def test_tracks_of_cvat_are_boxes_of_frames(tmp_path: Path) -> None:
    for number in range(3):
        draw(tmp_path / "images" / f"frame_{number:06}.png")
    box = '<box frame="{}" outside="{}" xtl="1" ytl="2" xbr="{}" ybr="9"/>'
    track = "".join(box.format(number, number // 2, 5 + number) for number in range(3))
    text = f'<annotations><track label="mask">{track}</track></annotations>'
    write(tmp_path / "annotations.xml", text)
    found = {
        p.path.stem: p.boxes.tolist() for p in read_annotations(tmp_path).photos if p.annotated
    }
    assert found == {"frame_000000": [[1, 2, 5, 9]], "frame_000001": [[1, 2, 6, 9]]}


def test_a_damaged_xml_of_cvat_is_one_line(tmp_path: Path) -> None:
    draw(tmp_path / "a.jpg")
    for text in ("<annotations><image", '<!DOCTYPE a [<!ENTITY b "c">]><annotations>&b;'):
        write(tmp_path / "annotations.xml", text)
        with pytest.raises(DatasetError, match=r"format cvat.*(damaged XML|DOCTYPE)") as caught:
            list_photos([tmp_path])
        assert "\n" not in str(caught.value)


# --- Label Studio


def region(box: tuple[int, ...], kind: str) -> dict[str, Any]:
    x1, y1, x2, y2 = box
    value = {"x": x1, "y": y1 / 0.8, "width": x2 - x1, "height": (y2 - y1) / 0.8, "rotation": 0}
    value |= {"rectanglelabels": [{"with_mask": "Mask", "without_mask": "No Mask"}[kind]]}
    sizes = {"original_width": 100, "original_height": 80}
    return {"id": str(box), "type": "rectanglelabels", "value": value} | sizes


def tasks() -> list[dict[str, Any]]:
    return [
        {
            "id": number,
            "data": {"image": f"/data/upload/1/{number:08x}-{shot.name}.jpg", "camera": "x.jpg"},
            "annotations": [{"result": [region(box, kind) for kind, box in shot.faces]}],
        }
        for number, shot in enumerate(SHOTS)
    ]


def json_min() -> list[dict[str, Any]]:
    found = []
    for task in tasks():
        rows = task["annotations"][0]["result"]
        if rows:
            label = [row["value"] | {"original_width": 100, "original_height": 80} for row in rows]
            found.append({"image": task["data"]["image"], "id": task["id"], "label": label})
    return found


def separate_labels() -> list[dict[str, Any]]:
    """Regions whose label is an entry of its own, as with <Rectangle> and <Labels>."""
    made = tasks()
    for task in made:
        rows = []
        for row in task["annotations"][0]["result"]:
            bare = {k: v for k, v in row["value"].items() if k != "rectanglelabels"}
            rows.append(row | {"type": "rectangle", "value": bare})
            labels = {"labels": row["value"]["rectanglelabels"]}
            rows.append(row | {"type": "labels", "value": bare | labels})
        task["annotations"] = [{"was_cancelled": True, "result": []}, {"result": rows}]
    return made


@pytest.mark.parametrize("content", [tasks, json_min, separate_labels])
def test_label_studio_is_read(tmp_path: Path, content: Any) -> None:
    for shot in SHOTS:
        draw(tmp_path / "images" / f"{shot.name}.jpg")
    path = write(tmp_path / "project-1.json", json.dumps(content()))
    expected = {name: faces for name, faces in TRUTH.items() if faces or content is not json_min}
    for source in (tmp_path, path):
        assert find_format(source) == "label-studio"
        assert by_convert(source, keep_splits=False)[0] == expected
    assert by_val(tmp_path, "val") == expected


@pytest.mark.parametrize(
    ("value", "box"),
    [
        ({"points": [[10, 25], [30, 50], [20, 30]], "polygonlabels": ["Mask"]}, [10, 20, 30, 40]),
        (
            {"x": 50, "y": 50, "radiusX": 10, "radiusY": 25, "ellipselabels": ["Mask"]},
            [40, 20, 60, 60],
        ),
        (
            {
                "x": 50,
                "y": 50,
                "width": 10,
                "height": 25,
                "rotation": 90,
                "rectanglelabels": ["Mask"],
            },
            [30, 40, 50, 50],
        ),
        ({"rle": [1, 2], "format": "rle", "brushlabels": ["Mask"]}, None),
        ({"x": 1, "y": 2, "width": 0.5, "keypointlabels": ["Mask"]}, None),
        ({"x": "a", "y": 2, "width": 5, "height": 5, "rectanglelabels": ["Mask"]}, None),
    ],
)
def test_shapes_of_label_studio(
    tmp_path: Path, value: dict[str, Any], box: list[float] | None
) -> None:
    draw(tmp_path / "a.jpg")
    row = {"value": value, "original_width": 100, "original_height": 80}
    task = {"data": {"image": "a.jpg"}, "annotations": [{"result": [row]}]}
    write(tmp_path / "a.json", json.dumps([task]))
    photos = read_annotations(tmp_path).photos
    used = [photo.boxes.tolist() for photo in photos if not photo.status]
    assert used == ([[pytest.approx(box)]] if box else [])
    assert bool(box) or {photo.status for photo in photos} <= {
        "ambiguous",
        "unreadable",
        "excluded",
    }


def test_a_task_without_annotations_is_no_background(tmp_path: Path) -> None:
    made = tasks()
    made[1]["annotations"] = []
    for shot in SHOTS:
        draw(tmp_path / f"{shot.name}.jpg")
    write(tmp_path / "a.json", json.dumps(made))
    photos = {photo.source: photo for photo in read_annotations(tmp_path).photos}
    assert photos["b.jpg"].status == "excluded"
    assert photos["a.json"].reason == "1 tasks without annotations"


# --- formats that are not read


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.json", {"shapes": [], "imagePath": "a.jpg"}, "LabelMe's JSON"),
        ("via.json", {"a.jpg1": {"filename": "a.jpg", "regions": []}}, "VGG Image Annotator"),
        ("x.json", [{"image": "a.jpg", "annotations": []}], "Create ML"),
        ("faces.tfrecord", {}, "TFRecord"),
        ("_annotations.csv", {}, "a CSV table"),
    ],
)
def test_annotations_that_are_not_read_are_named(
    tmp_path: Path, name: str, content: object, told: str
) -> None:
    draw(tmp_path / "a.jpg")
    write(tmp_path / name, json.dumps(content))
    with pytest.raises(DatasetError, match=rf"{told}.*export the set as COCO, YOLO") as caught:
        list_photos([tmp_path])
    assert "\n" not in str(caught.value)
    shutil.rmtree(tmp_path)


def test_boxes_of_coco_in_fractions_and_as_corners(tmp_path: Path) -> None:
    size = (100, 80, 100, 80)
    coco(
        tmp_path / "a",
        bbox=lambda b: [
            v / s for v, s in zip((b[0], b[1], b[2] - b[0], b[3] - b[1]), size, strict=True)
        ],
    )
    assert by_convert(tmp_path / "a", keep_splits=False)[0] == TRUTH
    assert "fractions" in read_annotations(tmp_path / "a").notes[0]
    coco(tmp_path / "b", bbox=list)
    with pytest.raises(DatasetError, match="look like corners"):
        read_annotations(tmp_path / "b")


def test_references_of_coco_by_name(tmp_path: Path) -> None:
    def rename(content: Any) -> None:
        names = {image["id"]: image["file_name"] for image in content["images"]}
        classes = {one["id"]: one["name"] for one in content["categories"]}
        for one in content["annotations"]:
            one["image_id"] = names[one["image_id"]]
            one["category_id"] = classes[one["category_id"]]

    edit(coco(tmp_path), rename)
    assert by_convert(tmp_path, keep_splits=False)[0] == TRUTH


def test_an_export_of_which_no_box_is_understood_is_an_error(tmp_path: Path) -> None:
    coco(tmp_path / "a", bbox="10 20 30 40")
    with pytest.raises(DatasetError, match=r"format coco.*without a box"):
        export_dataset(tmp_path / "a", tmp_path / "out", to="yolo")
    write(tmp_path / "b" / "_annotations.csv", "filename,class\n")
    with pytest.raises(DatasetError, match="a CSV table"):
        export_dataset(tmp_path / "b", tmp_path / "out", to="yolo")
