"""Random annotated sets, written by others and by us: every command reads the same faces."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotated_sets import (
    Faces,
    Shot,
    by_convert,
    by_review,
    by_training,
    by_val,
    draw,
    rows,
    write,
    write_yolo,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maskyolo.dataset.formats.export import WRITTEN, export_dataset
from maskyolo.dataset.formats.reading import read_annotations
from maskyolo.dataset.layout import load_dataset

OURS = ("with_mask", "without_mask")
_FEW = settings(
    max_examples=8,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)


@st.composite
def annotated_sets(draw_value: Any) -> list[Shot]:
    """Two to five images in train and val, with boxes of both classes at even pixels."""
    shots = []
    for number in range(draw_value(st.integers(2, 5))):
        faces = []
        # one box per cell of a grid, so that no face is annotated twice
        for cell in draw_value(st.lists(st.integers(0, 3), unique=True, max_size=4)):
            left, top = 50 * (cell % 2), 40 * (cell // 2)
            x1 = left + 2 * draw_value(st.integers(0, 10))
            y1 = top + 2 * draw_value(st.integers(0, 8))
            x2 = x1 + 2 * draw_value(st.integers(2, (left + 50 - x1) // 2))
            y2 = y1 + 2 * draw_value(st.integers(2, (top + 40 - y1) // 2))
            faces.append((draw_value(st.sampled_from(OURS)), (x1, y1, x2, y2)))
        split = ("train", "val", "train", "val", "train")[number]
        shots.append(Shot(f"{'abcde'[number]}", split, tuple(faces)))
    first = (("with_mask", (2, 2, 20, 30)), ("without_mask", (60, 2, 80, 30)))
    return [*shots, Shot("x", "train", first), Shot("y", "val", first)]


Writer = Callable[[Path, list[Shot]], None]


def by_layout(images: str, labels: str, order: tuple[str, ...] = OURS) -> Writer:
    def make(root: Path, shots: list[Shot]) -> None:
        paths = "".join(f"{split}: {images.format(split=split)}\n" for split in ("train", "val"))
        files = {"data.yaml": f"{paths}names: [{', '.join(order)}]\n"}
        write_yolo(root, images, labels, files, shots, order=order)

    return make


def by_us(to: str) -> Writer:
    def make(root: Path, shots: list[Shot]) -> None:
        by_layout("images/{split}", "labels/{split}", OURS[::-1])(root / "source", shots)
        export_dataset(root / "source", root / "set", to=to)

    return make


def by_supervision(to: str) -> Writer:
    def make(root: Path, shots: list[Shot]) -> None:
        sv = pytest.importorskip("supervision")
        for split in ("train", "val"):
            chosen = [shot for shot in shots if shot.split == split]
            paths = [str(draw(root / "drawn" / f"{shot.name}.jpg")) for shot in chosen]
            found = {}
            for shot, path in zip(chosen, paths, strict=True):
                boxes = np.array([box for _, box in shot.faces], np.float32).reshape(-1, 4)
                ids = np.array([OURS.index(name) for name, _ in shot.faces], dtype=int)
                found[path] = sv.Detections(xyxy=boxes, class_id=ids)
            made = sv.DetectionDataset(classes=list(OURS), images=paths, annotations=found)
            place = root / "set" / split
            if to == "yolo":
                made.as_yolo(str(place / "images"), str(place / "labels"), str(root / "x.yaml"))
            elif to == "coco":
                made.as_coco(str(place), str(place / "_annotations.coco.json"))
            else:
                made.as_pascal_voc(str(place), str(place))
        if to == "yolo":
            names = "names: [with_mask, without_mask]\n"
            paths_text = "train: ../train/images\nval: ../val/images\n"
            write(root / "set" / "data.yaml", paths_text + names)

    return make


def by_cvat(root: Path, shots: list[Shot]) -> None:
    images = []
    for shot in shots:
        draw(root / "set" / "images" / f"{shot.name}.jpg")
        boxes = "".join(
            f'<box label="{kind}" xtl="{x1}" ytl="{y1}" xbr="{x2}" ybr="{y2}"/>'
            for kind, (x1, y1, x2, y2) in shot.faces
        )
        head = f'<image name="{shot.name}.jpg" subset="{shot.split}" width="100" height="80">'
        images.append(f"{head}{boxes}</image>")
    write(root / "set" / "annotations.xml", f"<annotations>{''.join(images)}</annotations>")


WRITERS: dict[str, Writer] = {
    "ultralytics": by_layout("images/{split}", "labels/{split}"),
    "roboflow": by_layout("{split}/images", "{split}/labels"),
    "beside": by_layout("cam/images/{split}", "cam/images/{split}"),
    "turned": by_layout("images/{split}", "labels/{split}", OURS[::-1]),
    "cvat": by_cvat,
    **{f"our-{to}": by_us(to) for to in WRITTEN},
    **{f"supervision-{to}": by_supervision(to) for to in ("yolo", "voc", "coco")},
}


@pytest.mark.parametrize("name", WRITERS)
@given(shots=annotated_sets())
@_FEW
def test_all_commands_read_the_same_faces_and_splits(name: str, shots: list[Shot]) -> None:
    truth: Faces = {shot.name: sorted(shot.faces) for shot in shots}
    splits = {shot.name: shot.split for shot in shots}
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        WRITERS[name](root, shots)
        source = root / "set" if (root / "set").is_dir() else root
        expected = truth
        if name == "supervision-voc":  # its left and top edges count from 1
            expected = {
                image: [(kind, (x1 + 1, y1 + 1, x2, y2)) for kind, (x1, y1, x2, y2) in faces]
                for image, faces in truth.items()
            }
        assert by_convert(source) == (expected, splits)
        for split in ("train", "val"):
            chosen = {image: faces for image, faces in expected.items() if splits[image] == split}
            assert by_val(source, split) == chosen
        if (source / "data.yaml").exists():
            names = load_dataset(source).names
            assert by_training(source, names) == (expected, splits)
            assert by_review(source, names) == (expected, splits)


@pytest.mark.parametrize("name", WRITERS)
def test_a_relative_path_reads_the_same(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with a file that belongs to no image, which is told with its place in the set."""
    shots = [
        Shot("a", "train", (("with_mask", (2, 2, 20, 30)), ("without_mask", (60, 2, 80, 30)))),
        Shot("b", "val", (("without_mask", (2, 2, 20, 30)), ("with_mask", (60, 2, 80, 30)))),
    ]
    WRITERS[name](tmp_path, shots)
    source = tmp_path / "set" if (tmp_path / "set").is_dir() else tmp_path
    write(source / "labels" / "gone.txt", rows(shots[0]))
    whole = read_annotations(source)
    assert not [note for note in whole.notes if "not used" in note]
    for place, given_path in ((source, "."), (source.parent, source.name)):
        monkeypatch.chdir(place)
        found = read_annotations(given_path)
        assert found.notes == whole.notes
        for one, other in zip(found.photos, whole.photos, strict=True):
            assert (one.source, one.names, one.status, one.reason) == (
                other.source,
                other.names,
                other.status,
                other.reason,
            )
            assert one.path.resolve() == other.path.resolve()


def test_sets_of_fiftyone_are_read(fiftyone: Any, tmp_path: Path) -> None:
    fo = fiftyone
    shots = [
        Shot("a", "train", (("with_mask", (10, 8, 30, 40)), ("without_mask", (50, 16, 70, 56)))),
        Shot("b", "train", (("without_mask", (20, 24, 60, 64)),)),
    ]
    dataset = fo.Dataset()
    for shot in shots:
        path = draw(tmp_path / "drawn" / f"{shot.name}.jpg")
        found = [
            fo.Detection(
                label=kind, bounding_box=[x1 / 100, y1 / 80, (x2 - x1) / 100, (y2 - y1) / 80]
            )
            for kind, (x1, y1, x2, y2) in shot.faces
        ]
        dataset.add_sample(fo.Sample(str(path), faces=fo.Detections(detections=found)))
    truth = {shot.name: sorted(shot.faces) for shot in shots}
    for kind in ("COCODetectionDataset", "YOLOv5Dataset", "VOCDetectionDataset"):
        place = tmp_path / kind
        dataset.export(
            export_dir=str(place),
            dataset_type=getattr(fo.types, kind),
            label_field="faces",
            progress=False,
        )
        assert by_convert(place, keep_splits=False)[0] == truth, kind
    dataset.delete()
