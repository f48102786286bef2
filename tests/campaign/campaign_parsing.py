"""Hostile YAML, JSON and CSV wherever a command reads them: a line, and an end in time."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

from harness import Size, Trial, maskyolo
from paths import SAMPLES

_DATA_YAML = "path: .\ntrain: images\nval: images\nnames: {0: with_mask, 1: without_mask}\n"
_REVIEW_CSV = (
    "rank,image,split,reason,score,label,box,suggestion,source,tags,new_class,new_box\n"
    '1,images/a.jpg,train,other_class,0.9,0,"[1, 2, 30, 40]","{""class"": ""without_mask""}",'
    "a.jpg,,without_mask,\n"
)
_PREDICTIONS = (
    '{"source": "images/a.jpg", "frame": 0, "detections": [{"box": [1, 2, 30, 40], '
    '"class": "with_mask", "class_id": 0, "confidence": 0.9}]}\n'
)

#: Seconds for one command; each is to end at once.
_SECONDS = 60.0


def trials(rng: random.Random, size: Size) -> Iterator[Trial]:
    """Yield a command with a hostile file, for each kind of file that it reads."""
    small = size is Size.SMALL
    doors: dict[str, tuple[Callable[..., None], list[bytes]]] = {
        "yaml": (_data_yaml, _yamls(rng, 1 if small else 40)),
        "coco": (_coco_set, _cocos(rng, 1 if small else 60)),
        "csv": (_review_csv, _changed(rng, _REVIEW_CSV, 2 if small else 40)),
        "predictions": (_predictions, [] if small else _jsons(rng, _PREDICTIONS, 20)),
    }
    for name, (door, contents) in doors.items():
        chosen = rng.sample(contents, min(len(contents), 2)) if small else contents
        for number, content in enumerate(chosen):
            yield Trial(f"parsing/{name}-{number}", _trying(door, content))


def _trying(door: Callable[..., None], content: bytes) -> Callable[[Path], None]:
    return lambda folder: door(folder, content)


def _yamls(rng: random.Random, number: int) -> list[bytes]:
    aliases = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
    )
    merges = "a0: &a0 {k: v}\n" + "".join(
        f"a{n}: &a{n} {{'<<': [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 12)
    )
    chain = "- &a0 [x]\n" + "".join(f"- &a{n} [*a{n - 1}]\n" for n in range(1, 900))
    return [
        *(
            (prefix + text).encode()
            for prefix in ("", _DATA_YAML)
            for text in (
                aliases,
                aliases.replace("a11:", "names:").replace("a10:", "train:"),
                merges,
                chain,
                "x: &x [*x]\n",
                "x: " + "[" * 50_000,
                "x: " + "{a: " * 900,
                "- " * 50_000,
                "x: !!python/object/apply:os.system ['touch ran']\n",
                "x: !!python/name:os.system\n",
                "x: " + "59:" * 100_000 + "1\n",
                "x: " + "9" * 100_000 + "\n",
                "x: 2020-13-45\n",
                "names: [on, off, ~, 1.5, {}, []]\n",
                'names: ["a\\x1b[2J", "\\u202eb"]\n',
                "names: {0: a, 0: b, -1: c, 1e999: d}\n",
                "train: [[[images]]]\nnames: 5\n",
                "x: \x01\n",
                "\t- a\n",
                "? " * 500,
                "--- a\n--- b\n",
            )
        ),
        b"\xff\xfe" + _DATA_YAML.encode("utf-16-le"),
        _DATA_YAML.encode() + b"\xff\n",
        b"",
        b"\0" * 1000,
        b"x: " + b"y" * (11 << 20),
        *_changed(rng, _DATA_YAML, number),
    ]


def _coco(**entry: object) -> str:
    """Return a COCO file of one image and one annotation, with some of its entries replaced."""
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 30, 40]} | entry
    return json.dumps(
        {
            "images": [{"id": 1, "file_name": "images/a.jpg", "width": 96, "height": 96}],
            "annotations": [annotation],
            "categories": [{"id": 1, "name": "with_mask"}],
        }
    )


def _cocos(rng: random.Random, number: int) -> list[bytes]:
    plain = _coco()
    return [
        *(
            _coco(**{key: value}).encode()
            for key in ("bbox", "category_id", "image_id", "segmentation", "iscrowd")
            for value in (
                [1e308, 1, 1e308, 1],
                [[[]]],
                "1",
                None,
                {},
                [float("nan")] * 4,
                -(10**30),
            )
        ),
        *(
            plain.replace("with_mask", name).replace("images/a.jpg", file).encode()
            for name, file in (
                (r"\u001b[2J", "images/a.jpg"),
                (r"\ud800", r"images/\ud800.jpg"),
                (r"a\u202eb\n", r"..\u0000/a.jpg"),
                ("with_mask", "../" * 50 + "etc/passwd"),
                ("x" * 100_000, "y" * 5000),
            )
        ),
        plain.replace("[1, 2, 30, 40]", "[" * 50_000).encode(),
        plain.replace('"id": 1', '"id": ' + "9" * 9000).encode(),
        plain.replace("{", '{"x": ' + "[" * 900 + "]" * 900 + ", ", 1).encode(),
        json.dumps(
            json.loads(plain) | {"annotations": [json.loads(plain)["annotations"][0]] * 20_000}
        ).encode(),
        plain.encode("utf-16"),
        *_jsons(rng, plain, number),
    ]


def _jsons(rng: random.Random, plain: str, number: int) -> list[bytes]:
    return [
        *(
            plain.replace(value, other).encode()
            for value in ("1", "[1, 2, 30, 40]", '"with_mask"', "0.9")
            for other in ("NaN", "-Infinity", "1e999", "null", r'"\ud800\u001b"', "[" * 3000, "{}")
        ),
        *_changed(rng, plain, number),
    ]


def _changed(rng: random.Random, plain: str, number: int) -> list[bytes]:
    """Return the text with random changes, and with what breaks parsers of any kind."""
    found = []
    for _ in range(number):
        data = bytearray(plain.encode())
        for _ in range(rng.randint(1, 6)):
            place = rng.randrange(len(data))
            piece = rng.choice(
                (
                    b"\0",
                    b"\xff",
                    b"[",
                    b"{",
                    b'"',
                    b"\n",
                    b"\x1b[2J",
                    b"1e999",
                    b"nan",
                    b"&a *a",
                    b",,",
                )
            )
            data[place : place + rng.randint(0, 3)] = piece
        found.append(bytes(data))
    first, _, rest = plain.partition("\n")
    return [
        *found,
        plain.encode() + b"\xff",
        (first + "\n" + rest.replace("1", "[" * 3000)).encode(),
        (first + "\n" + rest.replace("1", "x" * 2_000_000, 1)).encode(),
        plain.replace("a.jpg", "a\x1b]0;t\x07\u202e.jpg").encode(),
    ]


def _data_set(folder: Path) -> Path:
    root = folder / "set"
    for split in ("", "train", "val"):
        for kind in ("images", "labels"):
            (root / kind / split).mkdir(parents=True, exist_ok=True)
        (root / "images" / split / "a.jpg").write_bytes((SAMPLES / "selfie.jpg").read_bytes())
        (root / "labels" / split / "a.txt").write_text("0 0.5 0.5 0.4 0.4\n")
    (root / "data.yaml").write_text(_DATA_YAML)
    return root


def _run(folder: Path, *words: str, codes: tuple[int, ...] = (0, 1)) -> None:
    maskyolo(*words, cwd=folder, seconds=_SECONDS).check(codes=codes)
    assert not (folder / "ran").exists(), "a stranger's code ran"


def _data_yaml(folder: Path, content: bytes) -> None:
    (_data_set(folder) / "data.yaml").write_bytes(content)
    _run(folder, "val", "--data", "set/data.yaml", "--imgsz", "64")
    _run(folder, "convert", "set", "--out", "out")


def _coco_set(folder: Path, content: bytes) -> None:
    images = folder / "coco" / "images"
    images.mkdir(parents=True)
    (images / "a.jpg").write_bytes((SAMPLES / "selfie.jpg").read_bytes())
    (folder / "coco" / "annotations.json").write_bytes(content)
    _run(folder, "convert", "coco", "--out", "out")


def _review_csv(folder: Path, content: bytes) -> None:
    _data_set(folder)
    (folder / "review.csv").write_bytes(content)
    _run(folder, "review", "apply", "--data", "set/data.yaml", "--csv", "review.csv")


def _predictions(folder: Path, content: bytes) -> None:
    _data_set(folder)
    (folder / "found.jsonl").write_bytes(content)
    _run(folder, "review", "find", "--data", "set/data.yaml", "--predictions", "found.jsonl")
