"""The files in `data/samples`: images with ground truth, a clip, and folders for `convert`."""

import csv
import xml.etree.ElementTree as ET
from pathlib import Path

import cv2
import pytest
from paths import SAMPLES

from maskyolo.core.images import read_image

IMAGES = sorted(SAMPLES.glob("*.jpg"))


def test_every_image_has_an_annotation_and_a_line_in_the_readme() -> None:
    assert len(IMAGES) >= 6
    assert {path.stem for path in IMAGES} == {
        path.stem for path in (SAMPLES / "annotations").glob("*.xml")
    }
    readme = (SAMPLES / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in IMAGES if f"`{path.name}`" not in readme] == []
    assert "CC0" in readme


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.stem)
def test_the_annotated_boxes_are_in_the_image(path: Path) -> None:
    height, width = read_image(path).shape[:2]
    root = ET.parse(SAMPLES / "annotations" / f"{path.stem}.xml").getroot()
    assert root.findtext("filename") == path.name
    assert (root.findtext("size/width"), root.findtext("size/height")) == (str(width), str(height))
    boxes = [
        [int(box.findtext(side) or -1) for side in ("xmin", "ymin", "xmax", "ymax")]
        for box in root.iter("bndbox")
    ]
    assert boxes
    assert all(0 <= x1 < x2 <= width + 1 and 0 <= y1 < y2 <= height + 1 for x1, y1, x2, y2 in boxes)
    assert {name.text for name in root.iter("name")} <= {"with_mask", "without_mask"}


def test_the_folders_contain_what_their_table_lists() -> None:
    with SAMPLES.joinpath("folders.csv").open(encoding="utf-8", newline="") as file:
        longest = {row["file"]: int(row["longest"]) for row in csv.DictReader(file)}
    found = {
        path.relative_to(SAMPLES / "folders").as_posix(): max(read_image(path).shape)
        for path in (SAMPLES / "folders").rglob("*.*")
    }
    assert found == longest


def test_the_clip_is_as_described() -> None:
    clip = cv2.VideoCapture(str(SAMPLES / "street.mp4"))
    frames = 0
    while clip.grab():
        frames += 1
    assert (frames, clip.get(cv2.CAP_PROP_FPS)) == (75, 25.0)
    assert (clip.get(cv2.CAP_PROP_FRAME_WIDTH), clip.get(cv2.CAP_PROP_FRAME_HEIGHT)) == (640, 360)
    clip.release()


def test_the_samples_stay_small() -> None:
    assert sum(path.stat().st_size for path in SAMPLES.rglob("*") if path.is_file()) < 1_000_000
