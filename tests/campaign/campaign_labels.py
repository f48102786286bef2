"""Label files and annotations that are damaged, huge, nested or hostile, in all formats."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from annotated_sets import SHOTS, draw, rows, write
from harness import Size, Trial, maskyolo, untouched

_YAML = "path: .\ntrain: images\nval: images\nnames: [with_mask, without_mask]\n"
_TEXTS = ("", "\x00", "nan", "-inf", "1e999", "9" * 400, "\x1b[31m", "\u202e", "名", "../..", "~")
_NUMBERS = (0, -1, 2**63, 1e308, -1e308, 0.5, None, True, "1", [], {})
#: What a command may leave in its working folder.
_EXPECTED = {"set", "out", "out.part", "runs"}


def trials(rng: random.Random, size: Size) -> Iterator[Trial]:
    """Yield the trials; see `harness`."""
    rounds = 60 if size is Size.LARGE else 1
    makers = {"yolo": _yolo, "yaml": _data_yaml, "voc": _voc, "coco": _coco}
    makers |= {"cvat": _cvat, "label-studio": _label_studio}
    for name, make in makers.items():
        for number in range(rounds):
            yield Trial(f"labels/{name}-{number}", partial(_try, make, rng.random(), number))
    if size is Size.LARGE:
        for name, text in _GIANTS.items():
            yield Trial(f"labels/giant-{name}", partial(_giant, name, text))


def _try(
    make: Callable[[random.Random, Path], None], seed: float, number: int, folder: Path
) -> None:
    """Make a set in a format, and run a command on it."""
    rng = random.Random(seed)
    for shot in SHOTS:
        draw(folder / "set" / "images" / f"{shot.name}.jpg")
    make(rng, folder / "set")
    _run(folder, number + rng.randrange(5))


def _run(folder: Path, number: int) -> None:
    """Run a command on the set, and check that it changes nothing in it."""
    commands = (
        ("convert", "set", "--to", "coco", "--out", "out"),
        ("val", "--data", "set", "--project", "runs"),
        ("convert", "set", "--no-sheets", "--out", "out"),
        ("review", "find", "--data", "set", "--project", "runs", "--folds", "2"),
        ("train", "--data", "set", "--model", "gone.pt"),
    )
    with untouched(folder / "set"):
        maskyolo(*commands[number % len(commands)], cwd=folder).check()
    assert not [path.name for path in folder.iterdir() if path.name not in _EXPECTED]


def _damaged(rng: random.Random, text: str) -> str:
    """Return a text with some of its parts removed, repeated, swapped or replaced."""
    parts = re.split(r"(\s+|[<>=\"{}\[\],:])", text)
    for _ in range(rng.randint(1, 6)):
        place = rng.randrange(len(parts))
        kind = rng.randrange(4)
        if kind == 0:
            parts[place] = rng.choice(_TEXTS)
        elif kind == 1:
            parts[place] *= rng.randint(0, 3)
        elif kind == 2:
            other = rng.randrange(len(parts))
            parts[place], parts[other] = parts[other], parts[place]
        else:
            del parts[place + 1 : place + 1 + rng.randint(0, 5)]
    return "".join(parts)


def _spoiled(rng: random.Random, value: object) -> object:
    """Return JSON content with some values replaced by odd ones, or removed."""
    if rng.random() < 0.06:
        return rng.choice((*_TEXTS, *_NUMBERS))
    if isinstance(value, dict):
        kept = ((key, item) for key, item in value.items() if rng.random() > 0.03)
        return {key: _spoiled(rng, item) for key, item in kept}
    if isinstance(value, list):
        return [_spoiled(rng, item) for item in value]
    return value


def _yolo(rng: random.Random, folder: Path) -> None:
    write(folder / "data.yaml", _YAML)
    for shot in SHOTS:
        text = rows(shot, tail=rng.choice(("", " 0.9", " 0.9 {}", " 0.1 0.2 0.3")))
        spoil = rng.random() < 0.5
        write(folder / "labels" / f"{shot.name}.txt", _damaged(rng, text) if spoil else text)
    if rng.random() < 0.5:
        place = folder / "labels" / "a.txt"
        place.write_bytes(rng.randbytes(rng.randint(0, 3000)))


def _data_yaml(rng: random.Random, folder: Path) -> None:
    for shot in SHOTS:
        write(folder / "labels" / f"{shot.name}.txt", rows(shot))
    name = rng.choice(("data.yaml", "classes.txt", "obj.names", "obj.data", "notes.json"))
    text = {
        "data.yaml": _YAML,
        "obj.data": "classes = 2\ntrain = train.txt\nnames = obj.names\n",
        "notes.json": '{"categories": [{"id": 0, "name": "mask"}, {"id": 1, "name": "bare"}]}',
    }
    write(folder / name, _damaged(rng, text.get(name, "mask\nno mask\n")))
    write(folder / "train.txt", _damaged(rng, "images/a.jpg\n../../etc/passwd\n/dev/zero.jpg\n"))


def _voc(rng: random.Random, folder: Path) -> None:
    for shot in SHOTS:
        objects = "".join(
            f"<object><name>{kind}</name><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>"
            f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
            for kind, (x1, y1, x2, y2) in shot.faces
        )
        size = "<size><width>100</width><height>80</height></size>"
        text = f"<annotation><filename>{shot.name}.jpg</filename>{size}{objects}</annotation>"
        write(folder / "annotations" / f"{shot.name}.xml", _damaged(rng, text))


def _coco(rng: random.Random, folder: Path) -> None:
    numbered = list(enumerate(SHOTS))
    annotations = [
        {
            "image_id": number,
            "category_id": int(kind == "without_mask"),
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "segmentation": rng.choice(
                ([], [[x1, y1, x2, y1, x2, y2]], {"size": [80, 100], "counts": "oe1"})
            ),
            "iscrowd": rng.choice((0, 1)),
        }
        for number, shot in numbered
        for kind, (x1, y1, x2, y2) in shot.faces
    ]
    images = [
        {"id": number, "file_name": f"images/{shot.name}.jpg", "width": 100, "height": 80}
        for number, shot in numbered
    ]
    categories = [{"id": 0, "name": "mask"}, {"id": 1, "name": "no mask"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    _write_json(rng, folder, content)


def _label_studio(rng: random.Random, folder: Path) -> None:
    content = []
    for shot in SHOTS:
        result = [
            {
                "type": "rectanglelabels",
                "original_width": 100,
                "original_height": 80,
                "value": {
                    "x": x1,
                    "y": y1 / 0.8,
                    "width": x2 - x1,
                    "height": (y2 - y1) / 0.8,
                    "rotation": rng.choice((0, 30)),
                    "rectanglelabels": [kind],
                },
            }
            for kind, (x1, y1, x2, y2) in shot.faces
        ]
        data = {"image": f"/data/upload/1/{shot.name}.jpg"}
        content.append({"id": 1, "data": data, "annotations": [{"result": result}]})
    _write_json(rng, folder, content)


def _cvat(rng: random.Random, folder: Path) -> None:
    images = []
    for shot in SHOTS:
        shapes = "".join(
            f'<box label="{kind}" xtl="{x1}" ytl="{y1}" xbr="{x2}" ybr="{y2}" rotation="5"></box>'
            f'<polygon label="{kind}" points="{x1},{y1};{x2},{y2};{x1},{y2}"></polygon>'
            for kind, (x1, y1, x2, y2) in shot.faces
        )
        images.append(f'<image name="{shot.name}.jpg" width="100" height="80">{shapes}</image>')
    text = f"<annotations>{''.join(images)}</annotations>"
    write(folder / "annotations.xml", _damaged(rng, text))


def _write_json(rng: random.Random, folder: Path, content: object) -> None:
    text = json.dumps(_spoiled(rng, content))
    write(folder / "annotations.json", _damaged(rng, text) if rng.random() < 0.3 else text)


#: Files of many values, or that expand, by name.
_GIANTS = {
    "data.yaml": "a: &a [x,x,x,x,x,x,x,x,x]\n"
    + "".join(
        f"{c}: &{c} [*{p},*{p},*{p},*{p},*{p},*{p}]\n"
        for p, c in zip("abcdefgh", "bcdefghi", strict=True)
    )
    + "names: *i\ntrain: images\n",
    "annotations.json": "[" * 200_000,
    "annotations.xml": "<annotations>" + "<image>" * 200_000,
    "labels/a.txt": "0 0.5 0.5 0.1 0.1\n" * 500_000,
    "classes.txt": "mask\n" * 500_000,
}


def _giant(name: str, text: str, folder: Path) -> None:
    draw(folder / "set" / "images" / "a.jpg")
    write(folder / "set" / "data.yaml", _YAML)
    if name.startswith("annotations"):
        (folder / "set" / "data.yaml").unlink()
    write(folder / "set" / name, text)
    for number in range(2):
        _run(folder, number)
