"""A small data set with a ledger to review: seven images of 200 x 100 with up to two faces."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from maskyolo.core.classes import CLASS_NAMES
from maskyolo.core.files import write_atomic
from maskyolo.core.images import write_image
from maskyolo.core.labels import Labels, format_yolo, read_yolo
from maskyolo.dataset.layout import format_data_yaml
from maskyolo.dataset.ledger import LedgerRow, write_ledger

WIDTH, HEIGHT = 200, 100
LEFT, RIGHT = (20.0, 20.0, 60.0, 70.0), (120.0, 20.0, 160.0, 70.0)

#: The faces of each image: class id and box.
FACES = {
    "train/one": [(0, LEFT)],
    "train/two": [(0, LEFT), (1, RIGHT)],
    "train/bare": [(1, LEFT)],
    "train/none": [],
    "train/last": [(0, RIGHT)],
    "val/one": [(0, LEFT)],
    "val/two": [(1, LEFT), (1, RIGHT)],
}


def image_of(name: str) -> str:
    return f"images/{name.replace('/', '/a-')}.png"


def label_of(name: str) -> str:
    return f"labels/{name.replace('/', '/a-')}.txt"


def make_set(root: Path, ledger: bool = True) -> Path:
    rows = []
    for gray, (name, faces) in enumerate(FACES.items()):
        for folder in ("images", "labels"):
            (root / folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(root / image_of(name), np.full((HEIGHT, WIDTH, 3), 20 * gray, np.uint8))
        labels = Labels(
            np.array([box for _, box in faces], np.float32).reshape(-1, 4),
            np.array([face[0] for face in faces], np.int64),
        )
        write_atomic(root / label_of(name), format_yolo(labels, WIDTH, HEIGHT))
        classes = [CLASS_NAMES[face[0]] for face in faces]
        rows.append(
            LedgerRow(
                source=f"{name}.png",
                class_name=classes[0] if classes else "",
                status="kept",
                image=image_of(name),
                split=name.split("/")[0],
                width=WIDTH,
                height=HEIGHT,
                group=gray,
                detector="ssd",
                boxes=tuple(box for _, box in faces),
                scores=(0.9,) * len(faces),
                classes=tuple(classes),
                origins=("ssd",) * len(faces),
                deciders=("folder",) * len(faces),
            )
        )
    write_atomic(root / "data.yaml", format_data_yaml(root, ["train", "val"]))
    if ledger:
        write_ledger(root / "ledger.csv", rows)
    return root


def faces_of(root: Path, name: str) -> list[tuple[int, list[float]]]:
    """Return the faces of a label file: class id and box in whole pixels."""
    labels = read_yolo(root / label_of(name), WIDTH, HEIGHT)
    return [
        (int(class_id), box.round().tolist())
        for class_id, box in zip(labels.class_ids, labels.boxes, strict=True)
    ]


def content(root: Path) -> dict[str, bytes]:
    """Return the content of every file of the data set except the record of changes."""
    files = [
        path
        for path in sorted(root.rglob("*"))
        if path.is_file() and "review" not in path.relative_to(root).parts
    ]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}
