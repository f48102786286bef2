"""The street benchmark must count rightly, or a model card says what is not so."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
import supervision as sv
from benchmarks_as_modules import load_benchmark

from maskyolo.core.images import ImageArray, read_image
from maskyolo.evaluation.labeled import find_images
from maskyolo.evaluation.measure import measure, predict


@pytest.fixture(scope="module")
def wild() -> ModuleType:
    return load_benchmark("wild")


@pytest.mark.parametrize(
    ("bgr", "name"),
    [
        ((250, 250, 250), "white or gray"),
        ((20, 20, 20), "black or dark"),
        ((220, 170, 90), "blue or green"),
        ((60, 60, 200), "other"),
    ],
)
def test_a_mask_has_the_color_of_what_lies_over_the_mouth(
    wild: ModuleType, bgr: tuple[int, int, int], name: str
) -> None:
    image = np.full((100, 100, 3), 128, np.uint8)
    image[60:90, 20:80] = bgr
    assert wild.mask_color(image, np.array([10, 10, 90, 95])) == name
    assert wild.mask_color(image, np.array([40, 70, 60, 90])) == ""  # too small to tell


def test_pictures_saved_once_more_are_the_same_but_worse(
    wild: ModuleType, samples: Path, tmp_path: Path
) -> None:
    pictures, _ = find_images(images=samples, labels=samples / "annotations")
    again = wild.compressed(pictures, tmp_path)
    assert [len(picture.labels) for picture in again] == [
        len(picture.labels) for picture in pictures
    ]
    before, after = read_image(pictures[0].path), read_image(again[0].path)
    assert before.shape == after.shape
    assert (
        again[0].path.stat().st_size
        < cv2.imencode(".jpg", before, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].size
    )
    assert 0 < np.abs(before.astype(int) - after).mean() < 10


def test_colors_count_what_is_found_with_the_right_class(wild: ModuleType, samples: Path) -> None:
    pictures, _ = find_images(images=samples, labels=samples / "annotations")

    def told(class_id: int) -> dict[str, tuple[int, int, int]]:
        queue = [picture for picture in pictures if picture.path.name == "queue.jpg"]
        boxes = queue[0].labels.boxes

        def detector(image: ImageArray) -> sv.Detections:
            del image
            return sv.Detections(
                boxes, confidence=np.full(len(boxes), 0.9), class_id=np.full(len(boxes), class_id)
            )

        cases, sharpness, _ = predict(queue, {"all": detector})
        colors: dict[str, tuple[int, int, int]] = wild.by_color(
            measure("all", cases["all"], sharpness), queue
        )
        return colors

    masked, bare = told(0), told(1)
    assert sum(count for count, _, _ in masked.values()) > 0
    assert all(count == found == right for count, found, right in masked.values())
    assert all(count == found and right == 0 for count, found, right in bare.values())


def test_only_masks_count_as_found_on_bare_faces(wild: ModuleType) -> None:
    def detector(image: ImageArray) -> sv.Detections:
        count = int(image[0, 0, 0])
        ids = np.arange(count) % 2
        return sv.Detections(
            np.zeros((count, 4)), confidence=np.linspace(0.9, 0.5, count), class_id=1 - ids
        )

    images = [np.full((4, 4, 3), count, np.uint8) for count in (0, 1, 3)]
    assert wild.best_mask(detector, images) == pytest.approx([0, 0, 0.7])


def test_the_command_fills_a_model_card(
    wild: ModuleType,
    samples: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    kaggle = tmp_path / "kaggle"
    (kaggle / "images").mkdir(parents=True)
    for name in ("portrait.jpg", "queue.jpg"):
        shutil.copy(samples / name, kaggle / "images" / name)
    shutil.copytree(samples / "annotations", kaggle / "annotations")
    (kaggle / "benchmark.txt").write_text("portrait.jpg\nqueue.jpg\n")
    card = tmp_path / "README.md"
    card.write_text(
        "before\n<!-- figures of maskyolo-n -->\nformer figures\n<!-- end of figures -->\nafter\n"
    )
    video = f"{samples / 'street.mp4'}:0-3"
    monkeypatch.setattr(
        sys, "argv", ["wild.py", "--kaggle", str(kaggle), "--video", video, "--card", str(card)]
    )
    wild.main()
    text = card.read_text()
    assert "former" not in text
    assert text.startswith("before\n<!-- figures of maskyolo-n -->\nOn 2 street photos")
    assert text.endswith("<!-- end of figures -->\nafter\n")
    assert "| frames 0-3 of street.mp4 | 4 |" in text
    assert "mAP50" in capsys.readouterr().out


class _ByBrightness:
    """Finds a face in the middle of each bright image, with a mask if the image is not red."""

    def __call__(self, image: ImageArray) -> sv.Detections:
        height, width = image.shape[:2]
        if image.max() < 100:
            return sv.Detections.empty()
        box = np.array([[width / 4, height / 4, width * 3 / 4, height * 3 / 4]], np.float32)
        red = image[..., 2].mean() > image[..., 0].mean() + 50
        return sv.Detections(
            xyxy=box, confidence=np.ones(1, np.float32), class_id=np.array([int(red)])
        )


def _plain(path: Path, color: tuple[int, int, int], size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((size, size, 3), color, np.uint8))


def test_closeups_are_counted_by_class_and_size(wild: ModuleType, tmp_path: Path) -> None:
    _plain(tmp_path / "with_mask" / "a.png", (200, 200, 200), 100)
    _plain(tmp_path / "with_mask" / "b.png", (0, 0, 0), 100)  # nothing is found
    _plain(tmp_path / "with_mask" / "c.png", (0, 0, 200), 400)  # the other class
    _plain(tmp_path / "without_mask" / "d.png", (0, 0, 200), 300)
    _plain(tmp_path / "without_mask" / "e.png", (200, 200, 200), 300)  # not listed
    only = {"with_mask/a.png", "with_mask/b.png", "with_mask/c.png", "without_mask/d.png"}
    assert wild.by_size(_ByBrightness(), tmp_path, only) == [
        ("with_mask", "<300 px", 2, 0.5),
        ("with_mask", ">=300 px", 1, 0.0),
        ("without_mask", ">=300 px", 1, 1.0),
    ]
    assert wild.by_size(_ByBrightness(), tmp_path, None)[-1] == (
        "without_mask",
        ">=300 px",
        2,
        0.5,
    )


def test_faces_are_counted_by_kind(wild: ModuleType, samples: Path, tmp_path: Path) -> None:
    pictures, _ = find_images(images=samples, labels=samples / "annotations")
    first = pictures[0].path
    height, width = read_image(first).shape[:2]
    middle = [width / 4, height / 4, width * 3 / 4, height * 3 / 4]
    rows = [
        [first.name, *middle, "with_mask", "profile"],
        [first.name, *middle, "mask_weared_incorrect", "worn incorrectly"],
        [first.name, 0, 0, 5, 5, "with_mask", "profile"],  # not found
        ["elsewhere.jpg", *middle, "with_mask", "profile"],  # not measured
    ]
    table = tmp_path / "kinds.csv"
    lines = ["image,x1,y1,x2,y2,class,kind", *(",".join(map(str, row)) for row in rows)]
    table.write_text("\n".join(lines))
    found = wild.by_kind(_ByBrightness(), table, pictures)
    assert [row[:4] for row in found] == [
        ("profile", "with_mask", 2, 1),
        ("worn incorrectly", "mask_weared_incorrect", 1, 1),
    ]
    assert sorted(row[4] for row in found) == [0, 1]  # one class for both, so one of them is right
