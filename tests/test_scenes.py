from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from maskyolo import scenes
from maskyolo.boxes import as_boxes, box_area
from maskyolo.images import ImageArray, read_image, write_image
from maskyolo.labels import Labels, read_yolo
from maskyolo.scenes import SceneStyle, write_scenes

RED, GREEN = (0, 0, 255), (0, 255, 0)


@pytest.fixture
def photos(tmp_path: Path) -> list[tuple[Path, Labels]]:
    """Grey photos with one coloured "face" each: green ones masked and small, red ones bare and large, as in real folders."""
    found = []
    for number in range(12):
        class_id = number % 2
        side = 300 if class_id else 100
        image = np.full((side + 40, side + 20, 3), 90, np.uint8)
        image[20 : 20 + side, 10 : 10 + side] = RED if class_id else GREEN
        path = tmp_path / f"{number}.png"
        write_image(path, image)
        found.append(
            (path, Labels(as_boxes([[10, 20, 10 + side, 20 + side]]), np.array([class_id])))
        )
    return found


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    return tmp_path / "images", tmp_path / "labels"


def test_boxes_lie_on_faces_of_their_class_and_sizes_do_not_tell_the_class(
    photos: list[tuple[Path, Labels]], folders: tuple[Path, Path]
) -> None:
    style = SceneStyle(width=320, faces=(4, 8), face_size=(10, 60))
    paths = write_scenes(photos, *folders, 60, style=style)
    sizes: dict[int, list[float]] = {0: [], 1: []}
    right = 0
    for path in paths:
        image = read_image(path)
        height, width = image.shape[:2]
        labels = read_yolo(folders[1] / f"{path.stem}.txt", width, height)
        for box, class_id in zip(labels.boxes, labels.class_ids, strict=True):
            sizes[int(class_id)].append(float(np.sqrt(box_area([box])[0])))
            x, y = np.clip((box[:2] + box[2:]) / 2, 0, [width - 1, height - 1]).astype(int)
            _, green, red = image[y, x].astype(int)
            right += red > green if class_id else green > red
    total = sum(len(found) for found in sizes.values())
    assert total > 200
    assert right / total > 0.95  # a later face may stand before the middle of an earlier one
    assert 0.4 < len(sizes[0]) / total < 0.6
    assert np.median(sizes[0]) == pytest.approx(np.median(sizes[1]), rel=0.25)
    assert max(sizes[0]) <= 61


def test_no_face_is_enlarged_beyond_the_limit(
    photos: list[tuple[Path, Labels]], folders: tuple[Path, Path]
) -> None:
    small_masked = [(path, labels) for path, labels in photos if labels.class_ids[0] == 0]
    paths = write_scenes(small_masked, *folders, 20, style=SceneStyle(face_size=(200, 300)))
    assert [path.stat().st_size > 0 for path in paths] == [True] * 20
    assert all((folders[1] / f"{path.stem}.txt").read_text() == "" for path in paths), (
        "100 px faces cannot become 200 px ones"
    )


def test_a_scene_depends_on_its_number_and_seed_alone(
    photos: list[tuple[Path, Labels]], folders: tuple[Path, Path]
) -> None:
    style = SceneStyle(width=160)
    first = [
        path.read_bytes()
        for path in write_scenes(photos, *folders, 4, seed=1, style=style, workers=4)
    ]
    assert [
        path.read_bytes()
        for path in write_scenes(photos, *folders, 3, seed=1, style=style, workers=1)
    ] == first[:3]
    assert [
        path.read_bytes() for path in write_scenes(photos, *folders, 3, seed=2, style=style)
    ] != first[:3]
    assert len(set(first)) == 4


def test_of_many_photos_some_are_drawn_and_the_rare_kinds_are_kept(
    photos: list[tuple[Path, Labels]], folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    masked, bare = (
        [(path, labels) for path, labels in photos if labels.class_ids[0] == class_id]
        for class_id in (0, 1)
    )
    read: list[Path] = []

    def read_and_note(path: Path) -> ImageArray:
        read.append(path)
        return read_image(path)

    monkeypatch.setattr(scenes, "_MOST_PHOTOS", 5)
    monkeypatch.setattr(scenes, "read_image", read_and_note)
    style = SceneStyle(width=160)
    first, second = (
        [path.read_bytes() for path in write_scenes([*masked, *bare[:1]], *folders, 3, style=style)]
        for _ in range(2)
    )
    assert first == second
    assert len(read) == 10
    assert len(set(read)) == 5
    assert bare[0][0] in read
    read.clear()
    write_scenes(photos[:5], *folders, 1, style=style, workers=1)
    assert read == [path for path, _ in photos[:5]]
