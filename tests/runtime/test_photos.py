"""Folders of photos: few compiled networks, large JPEGs decoded at a reduced size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from paths import SAMPLES

from maskyolo.core.boxes import box_iou
from maskyolo.core.images import read_image, write_image
from maskyolo.models.backends.openvino import OpenVinoNetwork
from maskyolo.runtime.detection import detect


def lines(source: Path | list[Path], file: Path, **settings: Any) -> list[dict[str, Any]]:
    for frame in detect(source, save=False, save_json=file, reduced=True, **settings):
        del frame
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_photos_of_many_shapes_share_one_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    street = cv2.resize(read_image(SAMPLES / "street.jpg"), (320, 320))
    for number, side in enumerate(range(90, 320, 9)):
        write_image(folder / f"{number:02}_wide.jpg", street[:side])
        write_image(folder / f"{number:02}_tall.jpg", np.ascontiguousarray(street[:, :side]))
    compiled = []
    compile_ = OpenVinoNetwork.compile

    def counted(network: OpenVinoNetwork, shape: tuple[int, ...], *args: Any) -> Any:
        compiled.append(shape)
        return compile_(network, shape, *args)

    monkeypatch.setattr(OpenVinoNetwork, "compile", counted)
    found = lines(folder, tmp_path / "a.jsonl", imgsz=320)
    assert len(found) == 52
    assert [line["source"] for line in found] == sorted(line["source"] for line in found)
    assert compiled == [(1, -1, -1, 3)]


def test_a_photo_is_detected_alike_alone_and_among_others(tmp_path: Path) -> None:
    paths = sorted(SAMPLES.glob("*.jpg"))
    together = lines(paths, tmp_path / "a.jsonl")
    alone = [line for path in paths for line in lines(path, tmp_path / "b.jsonl")]
    assert together == alone
    assert sum(len(line["detections"]) for line in together) > len(paths)


def test_boxes_in_a_reduced_photo_are_in_pixels_of_the_file(tmp_path: Path) -> None:
    photo = read_image(SAMPLES / "office.jpg")
    height, width = photo.shape[:2]
    large = cv2.resize(photo, (4 * width, 4 * height), interpolation=cv2.INTER_CUBIC)
    write_image(tmp_path / "large.jpg", large)
    sizes = []
    for image, _ in detect(tmp_path / "large.jpg", save=False, reduced=True, imgsz=320):
        sizes.append(image.shape[:2])
    assert max(sizes[0]) < 4 * max(height, width)
    (line,) = lines(tmp_path / "large.jpg", tmp_path / "a.jsonl", imgsz=320)
    assert (line["width"], line["height"]) == (4 * width, 4 * height)
    boxes = np.array([one["box"] for one in line["detections"]], np.float32)
    ((image, full),) = detect(tmp_path / "large.jpg", save=False, imgsz=320)
    assert image.shape[:2] == (4 * height, 4 * width)
    assert len(boxes) == len(full) > 0
    assert box_iou(boxes, full.xyxy).max(axis=0).min() > 0.85
    for _ in detect(
        tmp_path / "large.jpg", project=tmp_path, save=False, save_txt=True, reduced=True, imgsz=320
    ):
        pass
    (labels,) = tmp_path.rglob("large.txt")
    assert len(labels.read_text().splitlines()) == len(boxes)
    assert all(0 < float(word) < 1 for word in labels.read_text().split() if "." in word)


def test_drawn_photos_keep_all_their_pixels(tmp_path: Path) -> None:
    write_image(tmp_path / "large.jpg", np.full((800, 1600, 3), 90, np.uint8))
    settings = {"project": tmp_path, "save": True, "reduced": True, "imgsz": 320}
    for image, _ in detect(tmp_path / "large.jpg", **settings):
        assert image.shape == (800, 1600, 3)
    (drawn,) = tmp_path.glob("*/large.jpg")
    assert read_image(drawn).shape == (800, 1600, 3)
