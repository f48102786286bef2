from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from maskyolo.conversion import scenes
from maskyolo.conversion.patches import Portrait, exchange_face
from maskyolo.conversion.scenes import SceneStyle, write_scenes
from maskyolo.core.boxes import as_boxes, box_area
from maskyolo.core.images import ImageArray, read_image, write_image
from maskyolo.core.labels import Labels, read_yolo

RED, GREEN = (0, 0, 255), (0, 255, 0)
#: What is around the faces of `people`: blue if masked, yellow if bare.
BLUE, YELLOW = (200, 60, 60), (60, 200, 200)


@pytest.fixture
def photos(tmp_path: Path) -> list[tuple[Path, Labels]]:
    """Gray photos with one colored "face" each, as in real folders.

    The green ones are masked and small, the red ones bare and large.
    """
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


def test_the_third_class_is_drawn_as_often_as_it_has_faces(
    photos: list[tuple[Path, Labels]], folders: tuple[Path, Path]
) -> None:
    """Of 12 faces, 2 are of the third class, as often as would be 2 of 5 of another class."""
    three = [
        (path, Labels(labels.boxes, np.array([2])) if number < 2 else labels)
        for number, (path, labels) in enumerate(photos)
    ]
    style = SceneStyle(width=320, faces=(4, 8), face_size=(10, 60))
    for class_ids, low, high in (((0, 1, 2), 0.1, 0.25), ((0, 1), 0, 0)):
        counts = np.zeros(3, int)
        for path in write_scenes(three, *folders, 60, style=style, class_ids=class_ids):
            rows = (folders[1] / f"{path.stem}.txt").read_text().split("\n")[:-1]
            np.add.at(counts, [int(row[0]) for row in rows], 1)
        assert counts.sum() > 200
        assert low <= counts[2] / counts.sum() <= high
        assert counts[0] == pytest.approx(counts[1], rel=0.35)


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

    monkeypatch.setattr(scenes, "_MAX_PHOTOS", 5)
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


def person(
    class_id: int, side: int, photo: int, skin: tuple[int, ...] = (120, 150, 190)
) -> Portrait:
    """A face in its head: skin above, green (masked) or red (bare) below, blue or yellow around."""
    image = np.full((photo, photo, 3), YELLOW if class_id else BLUE, np.uint8)
    left, top = (photo - side) // 2, (photo - side) // 2
    image[top : top + side, left : left + side] = skin
    image[top + side // 2 : top + side, left : left + side] = RED if class_id else GREEN
    box = as_boxes([[left, top, left + side, top + side]])
    return Portrait(image, Labels(box, np.array([class_id])))


def write_people(folder: Path, side: int, photo: int) -> list[tuple[Path, Labels]]:
    found = []
    for number in range(8):
        portrait = person(number % 2, side, photo)
        write_image(folder / f"person{number}.png", portrait.image)
        found.append((folder / f"person{number}.png", portrait.labels))
    return found


def look_at(
    image: ImageArray, labels: Labels
) -> tuple[list[int], list[int | None], list[int | None]]:
    """Return of each face the class of its label, of its own color, and of what is around it."""
    height, width = image.shape[:2]
    faces: list[int | None] = []
    heads: list[int | None] = []
    for x1, y1, x2, y2 in labels.boxes:
        x, y = int((x1 + x2) / 2), min(int(y1 + 0.75 * (y2 - y1)), height - 1)
        _, green, red = image[y, min(x, width - 1)].astype(int)
        faces.append(None if abs(green - red) < 40 else int(red > green))
        # just outside the upper corners, where the oval of an exchanged face has ended
        votes = []
        for at_x in (x1 - 0.05 * (x2 - x1), x2 + 0.05 * (x2 - x1)):
            at_y = y1 - 0.05 * (y2 - y1)
            if 0 <= at_x < width and 0 <= at_y < height:
                blue, _, red = image[int(at_y), int(at_x)].astype(int)
                votes.append(None if abs(blue - red) < 40 else int(red > blue))
        heads.append(votes[0] if votes and len(set(votes)) == 1 else None)
    return labels.class_ids.tolist(), faces, heads


def strange_heads(paths: list[Path], labels: Path) -> float:
    """Return the share of faces whose class is not that of the head they are in."""
    strange = total = 0
    for path in paths:
        image = read_image(path)
        found = read_yolo(labels / f"{path.stem}.txt", image.shape[1], image.shape[0])
        for class_id, face, head in zip(*look_at(image, found), strict=True):
            if face == class_id and head is not None:
                strange += class_id != head
                total += 1
    assert total > 60
    return strange / total


@pytest.mark.parametrize(
    ("natural", "minimum", "maximum"), [(1.0, 0.0, 0.15), (0.0, 0.35, 0.65), (0.5, 0.16, 0.34)]
)
def test_faces_are_in_heads_of_either_class_but_for_the_natural_ones(
    tmp_path: Path, folders: tuple[Path, Path], natural: float, minimum: float, maximum: float
) -> None:
    style = SceneStyle(faces=(3, 6), face_size=(24, 60), natural=natural, coarse=0, real=0)
    paths = write_scenes(write_people(tmp_path, 120, 320), *folders, 60, style=style)
    assert minimum <= strange_heads(paths, folders[1]) <= maximum


def test_in_a_real_photo_every_face_is_exchanged_for_one_of_either_class(
    tmp_path: Path, folders: tuple[Path, Path]
) -> None:
    style = SceneStyle(coarse=0, real=1)
    paths = write_scenes(write_people(tmp_path, 80, 320), *folders, 80, style=style)
    assert 0.35 < strange_heads(paths, folders[1]) < 0.65
    for path in paths:
        image = read_image(path)
        assert image.shape == (320, 320, 3)
        labels = read_yolo(folders[1] / f"{path.stem}.txt", 320, 320)
        assert labels.boxes == pytest.approx(as_boxes([[120, 120, 200, 200]]), abs=0.1)
        (class_id,), (face,), _ = look_at(image, labels)
        assert class_id == face, "the label is that of the new face"


def test_a_face_gets_the_light_of_the_head_it_is_set_into() -> None:
    donor = person(0, 120, 320)
    # a dark and bluish face
    body = person(1, 120, 320, skin=(80, 70, 60))
    lower = np.s_[190:200, 150:170]
    gains = []
    for seed in range(40):
        made = exchange_face(body, 0, donor, 0, np.random.default_rng(seed))
        gains.append(made.image[110:120, 150:170].mean((0, 1)) / (120, 150, 190))
        assert made.image[lower][..., 1].mean() == pytest.approx(255 * gains[-1][1], rel=0.03), (
            "all of the face gets it, and the forehead alone determines it"
        )
    assert np.max(gains) < 1.02, "nothing becomes brighter"
    assert np.mean(gains) < 0.8
    assert np.min(gains) < 0.55
    blue, _, red = np.mean(gains, axis=0)
    assert blue > red + 0.1, "the tint is matched, too"
    assert (body.image == person(1, 120, 320, skin=(80, 70, 60)).image).all()


def test_a_camera_takes_the_whole_scene(tmp_path: Path, folders: tuple[Path, Path]) -> None:
    write_image(tmp_path / "wall.png", np.full((200, 300, 3), 90, np.uint8))
    none = Labels(as_boxes([]), np.zeros(0, dtype=np.int64))
    style = SceneStyle(width=320, quality=(96, 96))
    scenes_made = [
        read_image(path)
        for path in write_scenes([(tmp_path / "wall.png", none)], *folders, 100, style=style)
    ]
    widths = np.array([image.shape[1] for image in scenes_made])
    assert 0.2 < (widths < 320).mean() < 0.6, "low resolution"
    assert widths.min() >= 160
    assert 0.2 < np.mean([image.std() > 1 for image in scenes_made]) < 0.6, "noise"
    assert 0.2 < np.mean([abs(image.mean() - 90) > 2 for image in scenes_made]) < 0.6, "exposure"
    stripes = np.zeros((60, 60, 3), np.uint8)
    stripes[:, ::2] = 200
    contrast = []
    for seed in range(100):
        taken, _ = scenes._as_a_camera(
            stripes, none, SceneStyle(coarse=0), np.random.default_rng(seed)
        )
        contrast.append(np.abs(np.diff(taken[..., 0].astype(int), axis=1)).mean())
    assert 0.1 < np.mean(np.array(contrast) < 100) < 0.5, "blur"


def test_boxes_are_scaled_with_the_scene(tmp_path: Path, folders: tuple[Path, Path]) -> None:
    style = SceneStyle(coarse=1, real=1)
    for path in write_scenes(write_people(tmp_path, 80, 320), *folders, 10, style=style):
        side = read_image(path).shape[0]
        labels = read_yolo(folders[1] / f"{path.stem}.txt", side, side)
        assert labels.boxes == pytest.approx(as_boxes([[120, 120, 200, 200]]) * side / 320, abs=1)
