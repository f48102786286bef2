"""Models, recipes and unfinished runs from anyone: damaged, odd, huge, or with code inside."""

from __future__ import annotations

import functools
import json
import multiprocessing
import os
import pickle
import random
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import yaml
from harness import Size, Trial, maskyolo, untouched

sys.path.append(str(Path(__file__).parent.parent))
from hostile_models import HOSTILE, make_model, write_hostile

#: How many of each kind of trial: hostile detectors, damaged detectors, OpenVINO, Keras,
#: checkpoints, recipes, unfinished runs.
COUNTS = {
    Size.SMALL: (2, 3, 2, 3, 1, 1, 0),
    Size.LARGE: (len(HOSTILE), 60, 50, 80, 4, 6, 6),
}
#: Training and what it imports need more than detection.
TRAINING_MB = 2500

NUMBERS = (0, -1, 1, 2**31, 2**62, 10**40, 0.5, -0.0, 1e308, float("inf"), float("nan"))
TEXTS = ("", "a" * 5000, "../../x", "\x1b[2J", "\udc80", "a\0b", "true", "1e999", "[" * 3000, "é")


def trials(rng: random.Random, size: Size) -> Iterator[Trial]:
    hostile, damaged, openvino, keras, checkpoints, recipes, runs = COUNTS[size]
    for name in rng.sample(sorted(HOSTILE), hostile):
        for backend in ("openvino", "onnxruntime"):
            yield Trial(f"weights/{backend}: {name}", functools.partial(_hostile, name, backend))
    for kind, count, run in (
        ("damaged", damaged, _damaged),
        ("openvino", openvino, _openvino),
        ("keras", keras, _keras),
        ("checkpoint", checkpoints, _checkpoint),
        ("recipe", recipes, _recipe),
        ("run", runs, _run),
    ):
        for _ in range(count):
            seed = rng.getrandbits(32)
            yield Trial(f"weights/{kind}-{seed}", functools.partial(run, seed))


def _photo(folder: Path) -> Path:
    path = folder / "photo.png"
    cv2.imwrite(str(path), np.full((64, 64, 3), 200, np.uint8))
    return path


def _detect(folder: Path, model: Path, *more: str) -> None:
    """Detect with a model; nothing but the run's folder may be written, and nothing may run."""
    photo = _photo(folder)
    with untouched(model.parent):
        outcome = maskyolo(
            "detect", "--source", photo, "--model", model, *more, cwd=folder, seconds=60
        )
    outcome.check(codes=(0, 1))
    assert not list(folder.rglob("it-ran")), "code of a model ran"


def _hostile(name: str, backend: str, folder: Path) -> None:
    (folder / "models").mkdir()
    (folder / "outside.bin").write_bytes(bytes(72))
    path = write_hostile(name, folder / "models" / "x.onnx")
    _detect(folder, path, "--backend", backend)


def _damaged(seed: int, folder: Path) -> None:
    """A few bytes of a small detector changed, removed or repeated."""
    rng = random.Random(seed)
    path = folder / "models" / "x.onnx"
    path.parent.mkdir()
    path.write_bytes(_damage(rng, bytes(make_model(0.1).SerializeToString())))
    _detect(folder, path, "--backend", rng.choice(("openvino", "onnxruntime")))


def _damage(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(max(len(changed), 1))
        way = rng.randrange(4)
        if way == 0:
            changed[place : place + 1] = bytes([rng.getrandbits(8)])
        elif way == 1:
            del changed[place : place + rng.randint(1, 40)]
        elif way == 2:
            changed[place:place] = changed[place : place + rng.randint(1, 40)]
        else:
            changed[place : place + 4] = b"\xff\xff\xff\x7f"
    return bytes(changed[: rng.randrange(len(changed) + 1)] if rng.random() < 0.1 else changed)


def _openvino(seed: int, folder: Path) -> None:
    """Numbers, types and names in OpenVINO's XML changed, and its metadata.yaml."""
    rng = random.Random(seed)
    models = folder / "models"
    models.mkdir()
    xml, weights = _openvino_model()
    places = [found.span() for found in re.finditer(r'(?<=")[^"]*(?=")', xml)]
    for start, end in sorted(rng.sample(places, rng.randint(1, 3)), reverse=True):
        new = rng.choice((str(rng.choice(NUMBERS)), rng.choice(("", "f32", "i64", "../x", "-1,3"))))
        xml = xml[:start] + new + xml[end:]
    (models / "x.xml").write_text(xml)
    (models / "x.bin").write_bytes(weights if rng.random() < 0.8 else weights[:5])
    if rng.random() < 0.5:
        content = {"task": "detect", "names": ["with_mask", "without_mask"], "imgsz": [64, 64]}
        content[rng.choice(list(content))] = _anything(rng)
        text = yaml.safe_dump(content) if rng.random() < 0.8 else "a: !!python/name:os.system\n"
        (models / "metadata.yaml").write_text(text, errors="surrogatepass")
    _detect(folder, models / "x.xml")


@functools.cache
def _openvino_model() -> tuple[str, bytes]:
    """Return the XML and the weights of a small detector, written in a process of its own.

    OpenVINO starts threads, which the fork server must not have.
    """
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "x.onnx").write_bytes(make_model(0.1).SerializeToString())
        process = multiprocessing.get_context("spawn").Process(
            target=_write_openvino, args=(folder,)
        )
        process.start()
        process.join()
        return (Path(folder) / "x.xml").read_text(), (Path(folder) / "x.bin").read_bytes()


def _write_openvino(folder: str) -> None:
    import openvino

    model = openvino.Core().read_model(Path(folder) / "x.onnx")
    openvino.save_model(model, Path(folder) / "x.xml", compress_to_fp16=False)


def _keras(seed: int, folder: Path) -> None:
    """Settings of a small classifier replaced by anything, or its bytes damaged."""
    rng = random.Random(seed)
    path = folder / "x.h5"
    layers: list[Any] = [
        {"class_name": "InputLayer", "config": {"name": "in", "batch_shape": [None, 8, 8, 3]}},
        {
            "class_name": "MaxPooling2D",
            "config": {"name": "p", "pool_size": [2, 2], "strides": [2, 2], "padding": "valid"},
        },
        {"class_name": "Flatten", "config": {"name": "flat"}},
        {"class_name": "Dense", "config": {"name": "dense", "activation": "softmax"}},
    ]
    config: Any = {"class_name": "Sequential", "config": {"layers": layers}}
    for _ in range(rng.randint(0, 2)):
        config = _with_one_changed(rng, config)
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(config)
        group = file.create_group("model_weights/dense")
        group.attrs["weight_names"] = [b"dense/kernel:0"]
        group.create_dataset("dense/kernel:0", data=np.zeros((48, 2), np.float32))
    if rng.random() < 0.3:
        path.write_bytes(_damage(rng, path.read_bytes()))
    process = multiprocessing.get_context("forkserver").Process(target=_convert, args=(path,))
    process.start()
    process.join(90)
    if process.is_alive():
        process.kill()
        raise AssertionError("still converts after 90 s")
    assert process.exitcode == 0, f"conversion ended with {process.exitcode}"


def _convert(path: Path) -> None:
    """Convert a Keras file; errors other than one line end the process with another code than 0."""
    import resource

    from maskyolo.errors import WeightsError
    from maskyolo.export.keras_import import convert_keras

    resource.setrlimit(resource.RLIMIT_DATA, (3 << 30, 3 << 30))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    try:
        convert_keras(path, path.with_suffix(".onnx"))
    except WeightsError as error:
        if "\n" in str(error):
            raise AssertionError("an error of several lines") from error


def _with_one_changed(rng: random.Random, value: Any) -> Any:
    """Return JSON with one value, somewhere inside, replaced, removed or repeated."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(list(value))
        if rng.random() < 0.15:
            return {name: inner for name, inner in value.items() if name != key}
        return value | {key: _with_one_changed(rng, value[key])}
    if isinstance(value, list) and value and rng.random() < 0.85:
        place = rng.randrange(len(value))
        if rng.random() < 0.2:
            return value[:place] + value[place + 1 :] + value[: rng.randrange(2)]
        return [*value[:place], _with_one_changed(rng, value[place]), *value[place + 1 :]]
    return _anything(rng)


def _anything(rng: random.Random) -> Any:
    return rng.choice(
        (rng.choice(NUMBERS), rng.choice(TEXTS), None, True, [], {}, [[1]], {"a": [None]}, ["x"])
    )


class _Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.mark),)


def _checkpoint(seed: int, folder: Path) -> None:
    """A pickle with code, as a model of several commands, under several names."""
    rng = random.Random(seed)
    path = folder / rng.choice(("x.pt", "X.PT", " x.pt", "it's.pt", "yolov8n.pt", "best.onnx.pt"))
    path.write_bytes(pickle.dumps(_Bomb(folder / "it-ran")))
    command: list[str | Path] = rng.choice(
        (
            ["detect", "--source", _photo(folder), "--model", path],
            ["export", "--model", path, "--format", "onnx"],
            ["train", "--data", _set(folder), "--model", path, "--device", "cpu"],
        )
    )
    maskyolo(*command, cwd=folder, memory_mb=TRAINING_MB).check(codes=(1,))
    assert not (folder / "it-ran").exists(), "a checkpoint's code ran"


def _set(folder: Path) -> Path:
    """Write a data set of one photo, used for both splits."""
    (folder / "set" / "images").mkdir(parents=True)
    (folder / "set" / "labels").mkdir()
    cv2.imwrite(str(folder / "set" / "images" / "a.png"), np.zeros((64, 64, 3), np.uint8))
    (folder / "set" / "labels" / "a.txt").write_text("0 .5 .5 .4 .4\n1 .2 .2 .2 .2\n")
    (folder / "set" / "data.yaml").write_text(
        "train: images\nval: images\nnames: [with_mask, without_mask]\n"
    )
    return folder / "set" / "data.yaml"


def _settings(rng: random.Random) -> str:
    """Return a recipe, or the settings of a run, with a few values of any kind."""
    names = ("epochs", "imgsz", "batch", "lr0", "optimizer", "freeze", "cache", "scale", "seed")
    others = ("pretrained", "amp", "mosaic", "blend", "close_mosaic", "time", "fraction", "cfg")
    content = {name: _anything(rng) for name in rng.sample(names + others, rng.randint(1, 3))}
    text = yaml.dump(content, allow_unicode=rng.random() < 0.5)
    kind = rng.random()
    if kind < 0.1:
        return text + "lr0: !!python/object/apply:os.mkdir [it-ran]\n"
    if kind < 0.2:
        return "".join(f"a{n}: &a{n} [{f'*a{n - 1},' * 9 if n else 1}]\n" for n in range(12))
    return text if kind < 0.9 else text[: rng.randrange(len(text))]


def _recipe(seed: int, folder: Path) -> None:
    """A recipe of any values; the missing initial weights end the command before training."""
    rng = random.Random(seed)
    (folder / "r.yaml").write_text(_settings(rng), encoding="utf-8", errors="surrogatepass")
    data = _set(folder)
    with untouched(folder):
        outcome = maskyolo(
            *("train", "--data", data, "--recipe", "r.yaml", "--model", "none.pt"),
            cwd=folder,
            memory_mb=TRAINING_MB,
        )
    outcome.check(codes=(1,))


def _run(seed: int, folder: Path) -> None:
    """An unfinished run with settings of any values; it has no data set to train on."""
    rng = random.Random(seed)
    run = folder / "run"
    run.mkdir()
    (run / "args.yaml").write_text(_settings(rng), encoding="utf-8", errors="surrogatepass")
    with untouched(folder):
        outcome = maskyolo(
            "train", "--resume", run, "--device", "cpu", cwd=folder, memory_mb=TRAINING_MB
        )
    outcome.check(codes=(1,))
