"""Measures the speed of detection against `yolo predict`, two-stage and the bare network.

    python benchmarks/runtime.py  # speed and memory, on clips made of data/samples
    python benchmarks/runtime.py accuracy --images D --labels D --list FILE

Figures are ratios within one run: medians of interleaved rounds. Parts: `cold` (one image, from
starting the command to its exit), `peers` (a call, a video, a folder of photos, memory and
installed size of everything in peers.py), `call` (one frame in a loaded detector compared with the
bare network), `files` (frames per second of a 720p file, with and without drawing), `memory` (peak
while processing a video), `cpus` (int8 on older CPUs), `training` (seconds per image), `accuracy`
(mAP50 of each backend and precision). Each part replaces its section of `--out` (runtime.md);
README.md follows. Needs maskyolo[train,onnxruntime,export] and an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import atexit
import functools
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import peers

ROOT = Path(__file__).parent.parent
SAMPLES = ROOT / "data" / "samples"
WEIGHTS = ROOT / "maskyolo" / "weights"
BIN = Path(sys.executable).parent
FRAMES = 40
PHOTOS = 500
PYTORCH = "yolo predict, PyTorch"
HEAD = """# Speed of `maskyolo detect`

Written by `python benchmarks/runtime.py`. Times hold for one machine and one run; the ratios are of
interleaved rounds, so that other load affects both sides. Both sides use the same weights
(maskyolo-n) and an inference size of 640 pixels, 640x384 for these frames; *default* is what
`maskyolo detect` chooses by itself.
"""

Seconds = dict[str, list[float]]


def interleaved(runs: dict[str, Callable[[], Any]], rounds: int, warm_up: bool = True) -> Seconds:
    """Time each of `runs` once per round, in rotating order, after a warm-up round; seconds."""
    seconds: Seconds = defaultdict(list)
    names = list(runs)
    for number in range(0 if warm_up else 1, rounds + 1):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            begin = perf_counter()
            runs[name]()
            if number:
                seconds[name].append(perf_counter() - begin)
        print(f"\rround {number} of {rounds}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return seconds


def ratio(seconds: Seconds, first: str, second: str) -> float:
    """Return the speed of `first` relative to `second`: the median ratio of the rounds."""
    return float(np.median(np.divide(seconds[second], seconds[first])))


def table(seconds: Seconds, base: str, frames: int = 0) -> list[str]:
    rate = " frames/s |" if frames else ""
    head = f"| medians of {len(seconds[base])} rounds | ms | middle half |{rate}"
    lines = [f"{head} times as fast as {base} |"]
    lines.append("| --- | ---: | ---: |" + (" ---: |" if frames else "") + " ---: |")
    for name, values in seconds.items():
        low, middle, high = np.percentile(values, [25, 50, 75]) * 1000 / (frames or 1)
        rate = f" {1000 / middle:.1f} |" if frames else ""
        lines.append(
            f"| {name} | {middle:.1f} | {low:.1f} to {high:.1f} |{rate} "
            f"{ratio(seconds, name, base):.2f} |"
        )
    return lines


def wanted(what: str, found: float, minimum: float) -> str:
    missed = "" if found >= minimum else "; **missed**"
    return f"- {what}: **{found:.2f}** (target: {minimum:g} or more{missed})"


def cold(rounds: int, folder: Path) -> list[str]:
    photo = SAMPLES / "office.jpg"
    quiet = {
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
        "check": True,
        "cwd": folder,
    }
    weights = shutil.copy(WEIGHTS / "maskyolo-n.pt", folder / "model.pt")
    ours, theirs, first = "maskyolo detect", "yolo predict", "maskyolo detect, first start of all"
    words = [BIN / "maskyolo", "detect", "--source", photo, "--name", "cold", "--exist-ok"]

    def fresh() -> None:
        with tempfile.TemporaryDirectory() as cache:
            subprocess.run(words, env=os.environ | {"XDG_CACHE_HOME": cache}, **quiet)

    seconds = interleaved(
        {
            theirs: lambda: subprocess.run(
                [
                    BIN / "yolo",
                    "predict",
                    f"model={weights}",
                    f"source={photo}",
                    "name=cold",
                    "exist_ok=True",
                ],
                **quiet,
            ),
            **{name: _stock_start(name, photo, quiet) for name in list(peers.STOCK)[1:]},
            ours: lambda: subprocess.run(words, **quiet),
            first: fresh,
        },
        rounds,
    )
    return [
        (
            "One image, from starting the command to its exit, drawn and written. *First start of "
            "all*: no compiled network in the user's cache."
        ),
        "",
        *table(seconds, theirs),
        "",
        wanted(f"{ours} against {theirs}, times as fast", ratio(seconds, ours, theirs), 4),
        (
            f"- {ours}: **{np.median(seconds[ours]):.2f} s** (target on an idle machine with two "
            "cores: under 1.2 s)"
        ),
    ]


def _stock_start(name: str, photo: Path, quiet: dict[str, Any]) -> Callable[[], Any]:
    model = peers.stock_model(name, _exports(), "photos")
    words = [BIN / "yolo", "predict", f"model={model}", f"source={photo}", "name=cold"]
    return lambda: subprocess.run([*words, "exist_ok=True"], **quiet)


@functools.cache
def _exports() -> Path:
    """Return a folder with Ultralytics' exports, which is deleted when this process ends."""
    folder = Path(tempfile.mkdtemp(prefix="maskyolo-exports-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    print("exporting", file=sys.stderr)
    peers.export_stock(folder, _labeled(folder / "set", 8))
    return folder


def call(rounds: int, folder: Path) -> list[str]:
    del folder
    import cv2

    import maskyolo
    from maskyolo.core.images import read_image
    from maskyolo.detectors.yolo import letterbox, network_shape
    from maskyolo.evaluation.speed import FRAME
    from maskyolo.models.backends.base import to_tensor

    frame = cv2.resize(read_image(SAMPLES / "station.jpg"), FRAME)
    batch = to_tensor(letterbox(frame, network_shape(FRAME[1], FRAME[0], 640))[0][None])
    runs: dict[str, Callable[[], Any]] = {}
    pairs = []
    for title, precision in (("default", "auto"), ("fp32", "fp32")):
        detector = maskyolo.load_detector(precision=precision)
        bare = _compiled(batch.shape, detector.backend.precision).create_infer_request()
        pairs.append(
            (
                f"load_detector()(frame), {title}",
                f"bare network, {title}",
                detector.backend.description.split(":")[0],
            )
        )
        runs[pairs[-1][1]] = lambda bare=bare: bare.infer([batch], share_inputs=True)
        runs[pairs[-1][0]] = lambda detector=detector: detector(frame)
    seconds = interleaved(runs, max(rounds, 100))
    return [
        (
            "One frame of 1280x720, from pixels to detections, against the same network called "
            "from Python with a prepared input."
        ),
        "",
        *table(seconds, pairs[-1][1]),
        "",
        *(
            f"- {described}: the call takes **{1 / ratio(seconds, ours, bare):.2f}** times the "
            "bare network's time (target: 1.15 or less)"
            for ours, bare, described in pairs
        ),
    ]


def files(rounds: int, folder: Path) -> list[str]:
    from concurrent.futures import ThreadPoolExecutor
    from queue import LifoQueue
    from threading import Thread

    import torch
    from ultralytics import YOLO
    from ultralytics.utils import NUM_THREADS  # PyTorch threads on a CPU: all cores but one

    import maskyolo
    from maskyolo.core.images import read_image
    from maskyolo.core.parallel import usable_cpus
    from maskyolo.detectors.yolo import letterbox, network_shape
    from maskyolo.evaluation.speed import crowd_frame, cut_faces
    from maskyolo.models.backends.base import to_tensor
    from maskyolo.runtime.sources import VideoSource

    streams = usable_cpus()
    default, exact = (
        maskyolo.load_detector(streams=streams),
        maskyolo.load_detector(streams=streams, precision="fp32"),
    )
    legacy = maskyolo.load_detector(pipeline="two-stage")
    faces = []
    for path in sorted(SAMPLES.glob("*.jpg")):
        image = read_image(path)
        faces += cut_faces(image, default(image).xyxy.tolist())
    clips = {
        count: _clip(folder / f"{count}.mp4", crowd_frame(faces, count)) for count in (1, 5, 20)
    }
    clip = clips[5]
    stock = YOLO(shutil.copy(WEIGHTS / "maskyolo-n.pt", folder / "model.pt"))
    batch = to_tensor(
        letterbox(next(VideoSource(clip).frames()).image, network_shape(720, 1280, 640))[0][None]
    )
    compiled = _compiled(batch.shape, default.backend.precision, streams)
    requests: LifoQueue[Any] = LifoQueue()
    for _ in range(streams):
        requests.put(compiled.create_infer_request())

    def infer(_: int) -> None:
        request = requests.get()
        request.infer([batch], share_inputs=True)
        requests.put(request)

    def bare() -> None:
        with ThreadPoolExecutor(streams) as pool:
            list(pool.map(infer, range(FRAMES)))

    def decode() -> None:
        assert sum(1 for _ in VideoSource(clip).frames()) == FRAMES

    def bare_and_decode() -> None:
        decoder = Thread(target=decode)
        decoder.start()
        bare()
        decoder.join()

    def ours(detector: Any, clip: Path = clip, save: bool = False) -> None:
        assert (
            sum(
                1
                for _ in maskyolo.detect(
                    clip, model=detector, save=save, project=folder, name="ours", exist_ok=True
                )
            )
            == FRAMES
        )

    def theirs(save: bool = False, threads: int = NUM_THREADS) -> None:
        torch.set_num_threads(threads)
        results = stock.predict(
            clip,
            stream=True,
            verbose=False,
            save=save,
            project=folder,
            name="theirs",
            exist_ok=True,
        )
        assert sum(1 for _ in results) == FRAMES

    network, limit, mine = (
        "bare network",
        "bare network while another thread decodes",
        "maskyolo detect, default",
    )
    yolo, yolo_all = "yolo predict (PyTorch)", "yolo predict, PyTorch on all cores"
    mine_drawn, yolo_drawn, five = (
        "maskyolo detect, drawn and encoded",
        "yolo predict, drawn and encoded",
        "two stages, 5 faces",
    )
    runs = {
        network: bare,
        "decoding alone": decode,
        limit: bare_and_decode,
        mine: lambda: ours(default),
        "maskyolo detect --precision fp32": lambda: ours(exact),
        yolo: theirs,
        yolo_all: lambda: theirs(threads=streams),
        "two stages, 1 face": lambda: ours(legacy, clips[1]),
        five: lambda: ours(legacy, clips[5]),
        "two stages, 20 faces": lambda: ours(legacy, clips[20]),
        mine_drawn: lambda: ours(default, save=True),
        yolo_drawn: lambda: theirs(save=True),
    }
    seconds = interleaved(runs, rounds)
    decoding = float(np.median(seconds["decoding alone"])) / FRAMES
    setting = (
        f"{FRAMES} frames of a 1280x720 H.264 file with 5 faces; loading the models is not "
        "included. *bare network* only runs the network on as many frames, in the default "
        f"precision ({default.backend.precision}) on {streams} streams. By default, `yolo predict` "
        f"leaves one core idle (PyTorch uses {NUM_THREADS} of {streams})."
    )
    cost = (
        f"- {mine} against the {network} alone: **{ratio(seconds, mine, network):.2f}**. Decoding "
        f"takes {decoding * 1000:.1f} ms of one core per frame, which the network cannot use: "
        "the processor is the limit."
    )
    return [
        setting,
        "",
        *table(seconds, yolo, FRAMES),
        "",
        wanted(f"{mine} against {yolo}", ratio(seconds, mine, yolo), 4),
        f"- {mine} against {yolo_all}: **{ratio(seconds, mine, yolo_all):.2f}**",
        wanted(f"{mine} against {five}", ratio(seconds, mine, five), 3),
        wanted(f"{mine_drawn} against {yolo_drawn}", ratio(seconds, mine_drawn, yolo_drawn), 2.5),
        wanted(f"{mine} against the {limit}", ratio(seconds, mine, limit), 0.9),
        cost,
    ]


def memory(rounds: int, folder: Path) -> list[str]:
    del rounds
    import cv2

    from maskyolo.core.images import read_image

    clip = _clip(
        folder / "memory.mp4", cv2.resize(read_image(SAMPLES / "station.jpg"), (1280, 720)), 300
    )
    photos = _photos(folder / "photos", 100)
    weights = shutil.copy(WEIGHTS / "maskyolo-n.pt", folder / "model.pt")
    lines = [
        "Peak resident memory over 300 frames of 1280x720.",
        "",
        "| | MB |",
        "| --- | ---: |",
    ]
    for name, words in {
        "maskyolo detect --no-save --save-json": ["--no-save", "--save-json", folder / "m.jsonl"],
        "maskyolo detect --no-save, fp32": ["--no-save", "--precision", "fp32"],
        "maskyolo detect, drawn and encoded": ["--name", "memory"],
        "maskyolo detect --track --no-save": ["--no-save", "--track"],
        "maskyolo detect --no-save, 100 photos of five shapes": ["--no-save"],
    }.items():
        source = photos if "photos" in name else clip
        peak = _peak([BIN / "maskyolo", "detect", "--source", source, *words], folder)
        lines.append(f"| {name} | {peak:.0f} |")
    words = [f"model={weights}", f"source={clip}", "save=False"]
    lines.append(f"| yolo predict | {_peak([BIN / 'yolo', 'predict', *words], folder):.0f} |")
    return [*lines, "", "Target for `maskyolo detect`: under 400."]


def compared(rounds: int, folder: Path) -> list[str]:
    """Compare all of peers.py, each in a process of its own."""
    exports = _exports()
    images, clips = _crowds(folder)
    photos, few = _photos(folder / "photos", PHOTOS), _photos(folder / "few", 20)
    names = peers.names()
    running = {name: peers.Process(name, exports) for name in names}
    lines: list[str] = []
    for task, places, rounds_here in (
        ("call", images, rounds),
        ("files", clips, max(rounds // 6, 1)),
    ):
        measured = {
            count: interleaved(
                {name: running[name].runner(task, place) for name in names}, rounds_here
            )
            for count, place in places.items()
        }
        frames = FRAMES if task == "files" else 1
        lines += [*_by_count(measured, names, frames), "", *_targets(task, measured[5]), ""]
    for process in running.values():
        process.do("files", few)
    on_photos = interleaved(
        {name: running[name].runner("files", photos) for name in names},
        max(rounds // 15, 1),
        warm_up=False,
    )
    for process in running.values():
        process.close()
    lines += [f"A folder of {PHOTOS} photos of five shapes, per photo:", ""]
    lines += [*table(on_photos, PYTORCH, PHOTOS), "", *_targets("photos", on_photos), ""]
    return [
        (
            "All with maskyolo-n at 640 pixels, each in a process of its own, without loading. "
            "Ultralytics' exports for calls and video have the frames' exact shape, those for "
            "photos any shape. Roboflow `inference` is not among them: it requires older versions "
            "of NumPy, OpenCV, PyAV, supervision and ONNX Runtime than these packages do, and gets "
            "its models from a server."
        ),
        "",
        *lines,
        *_memory_and_size(names, clips[5], few),
    ]


def _by_count(measured: dict[int, Seconds], names: Sequence[str], frames: int) -> list[str]:
    what = f"A 1280x720 H.264 file of {frames} frames" if frames > 1 else "One call, 1280x720"
    counts = list(measured)
    lines = [f"{what}, ms per frame by number of faces, medians:", ""]
    lines.append("| |" + "".join(f" {count} |" for count in counts) + " times as fast (5 faces) |")
    lines.append("| --- |" + " ---: |" * (len(counts) + 1))
    for name in names:
        times = (np.median(measured[count][name]) * 1000 / frames for count in counts)
        cells = "".join(f" {time:.1f} |" for time in times)
        lines.append(f"| {name} |{cells} {ratio(measured[5], name, PYTORCH):.2f} |")
    return lines


def _targets(task: str, seconds: Seconds) -> list[str]:
    """Say for each target of issue 20 whether it is reached."""
    auto, export = f"{peers.OURS}auto", "yolo predict, its OpenVINO export"
    has_bf16 = f"{peers.OURS}bf16" in seconds
    targets: list[tuple[str, float]] = []
    if task == "call" and not has_bf16:
        targets = [(f"{peers.OURS}fp32", 1.8)]
    elif task == "files":
        targets = [(PYTORCH, 4), (export, 1.8) if has_bf16 else (f"{export} in int8", 1.3)]
    elif task == "photos":
        targets = [(PYTORCH, 6), (export, 2)]
    return [
        wanted(f"{auto} against {other}", ratio(seconds, auto, other), goal)
        for other, goal in targets
    ]


def _memory_and_size(names: Sequence[str], clip: Path, photos: Path) -> list[str]:
    sizes = {
        "maskyolo": peers.installed_size("maskyolo", "openvino"),
        "yolo predict, PyTorch": peers.installed_size("ultralytics"),
        "yolo predict, its OpenVINO": peers.installed_size("ultralytics", "openvino"),
        "yolo predict, its ONNX": peers.installed_size("ultralytics", "onnxruntime"),
        peers.LOOP: peers.installed_size("opencv-python", "onnxruntime"),
    }
    lines = ["Peak of resident memory, and size of the installed packages without CUDA's:", ""]
    lines += ["| | a video, MB | photos of five shapes, MB | installed, MB |"]
    lines += ["| --- | ---: | ---: | ---: |"]
    for name in names:
        cells = []
        for place in (clip, photos):
            process = peers.Process(name, _exports())
            process.do("files", place)
            cells.append(f"{process.memory:.0f}")
            process.close()
        prefix = "maskyolo" if name == peers.LEGACY else name
        size = next(size for key, size in sizes.items() if prefix.startswith(key))
        lines.append(f"| {name} | {' | '.join(cells)} | {size:.0f} |")
    return lines


def _crowds(folder: Path) -> tuple[dict[int, Path], dict[int, Path]]:
    """Return an image and a video for each number of faces."""
    import maskyolo
    from maskyolo.core.images import read_image, write_image
    from maskyolo.evaluation.speed import crowd_frame, cut_faces

    detector = maskyolo.load_detector()
    faces = []
    for path in sorted(SAMPLES.glob("*.jpg")):
        image = read_image(path)
        faces += cut_faces(image, detector(image).xyxy.tolist())
    images, clips = {}, {}
    for count in (1, 5, 50):
        frame = crowd_frame(faces, count)
        images[count] = folder / f"{count}.png"
        write_image(images[count], frame)
        clips[count] = _clip(folder / f"{count}.mp4", frame)
    return images, clips


def _photos(folder: Path, number: int) -> Path:
    """Make a folder of JPEG photos in five shapes from the samples."""
    import cv2

    from maskyolo.core.images import read_image, write_image

    folder.mkdir()
    samples = [read_image(path) for path in sorted(SAMPLES.glob("*.jpg"))]
    shapes = ((1280, 720), (1200, 900), (1000, 1000), (900, 1200), (1200, 800))
    for place in range(number):
        photo = cv2.resize(samples[place % len(samples)], shapes[place % len(shapes)])
        write_image(folder / f"{place:04}.jpg", np.roll(photo, 3 * place, axis=1), 90)
    return folder


def _labeled(folder: Path, number: int) -> Path:
    """Make a YOLO data set of sample photos, labeled by the detector; return its data.yaml."""
    import maskyolo
    from maskyolo.core.boxes import to_normalized
    from maskyolo.core.images import read_image, write_image

    detector = maskyolo.load_detector()
    samples = [read_image(path) for path in sorted(SAMPLES.glob("*.jpg"))]
    for kind in ("images", "labels"):
        (folder / kind / "train").mkdir(parents=True)
    for place in range(number):
        image = np.ascontiguousarray(samples[place % len(samples)][:, :: 1 - place // 8 % 2 * 2])
        found = detector(image)
        rows = to_normalized(found.xyxy, image.shape[1], image.shape[0])
        text = [
            " ".join(map(str, (int(class_id), *row)))
            for class_id, row in zip(found.class_id, rows.tolist(), strict=True)
        ]
        write_image(folder / "images" / "train" / f"{place}.jpg", image)
        (folder / "labels" / "train" / f"{place}.txt").write_text("\n".join(text))
    data = folder / "data.yaml"
    names = "{0: with_mask, 1: without_mask}"
    data.write_text(f"path: {folder}\ntrain: images/train\nval: images/train\nnames: {names}\n")
    return data


def training(rounds: int, folder: Path) -> list[str]:
    """Compare an epoch of `maskyolo train` with one of `yolo train`."""
    del rounds
    number = 64
    data = _labeled(folder / "set", number)
    weights = shutil.copy(WEIGHTS / "maskyolo-n.pt", folder / "model.pt")
    lines = [
        f"Second epoch on {number} photos with a batch size of 16, validation included, one after",
        "the other.",
        "",
        "| | 416 pixels, s/image | 640 pixels, s/image |",
        "| --- | ---: | ---: |",
    ]
    cells: dict[str, list[float]] = {"maskyolo train": [], "yolo train": []}
    for imgsz in (416, 640):
        for name in cells:
            run = f"{name.split()[0]}{imgsz}"
            values = {"data": data, "model": weights, "imgsz": imgsz, "epochs": 2, "batch": 16}
            values |= {"project": folder / "runs", "name": run}
            if name == "maskyolo train":
                options = [word for key, value in values.items() for word in (f"--{key}", value)]
                words = [BIN / "maskyolo", "train", *options, "--trust"]
            else:
                words = [
                    BIN / "yolo",
                    "train",
                    *(f"{key}={value}" for key, value in values.items()),
                ]
            subprocess.run(list(map(str, words)), check=True, cwd=folder, stdout=sys.stderr)
            rows = next((folder / "runs").glob(f"{run}*/results.csv")).read_text().splitlines()
            place = [title.strip() for title in rows[0].split(",")].index("time")
            first, second = (float(row.split(",")[place]) for row in rows[1:3])
            cells[name].append((second - first) / number)
    lines += [f"| {name} | {low:.3f} | {high:.3f} |" for name, (low, high) in cells.items()]
    ours, theirs = cells.values()
    quicker = ", ".join(f"{other / one:.2f}" for one, other in zip(ours, theirs, strict=True))
    return [*lines, "", f"maskyolo train is {quicker} times as fast."]


def accuracy(images: Path, labels: Path, image_list: Path | None) -> list[str]:
    import maskyolo
    from maskyolo.evaluation.evaluation import evaluate
    from maskyolo.evaluation.measure import AP_FLOOR

    onnx, checkpoint = str(WEIGHTS / "maskyolo-n.onnx"), str(WEIGHTS / "maskyolo-n.pt")
    where = (
        f"the {len(image_list.read_text().split())} images of {image_list.name}"
        if image_list
        else images.name
    )
    lines = [
        (
            f"On {where}, some of which the model was trained on. Target: no more than 0.005 mAP50 "
            "below PyTorch in fp32."
        ),
        "",
        "| computed by | mAP50 | mAP50-95 |",
        "| --- | ---: | ---: |",
    ]
    for model, backend, precision in (
        (checkpoint, "torch", "fp32"),
        (onnx, "openvino", "fp32"),
        (onnx, "onnxruntime", "fp32"),
        (onnx, "openvino", "bf16"),
    ):
        detector = maskyolo.load_detector(
            model, conf=AP_FLOOR, backend=backend, precision=precision
        )
        found = evaluate(
            images=images, labels=labels, image_list=image_list, model=detector, project=None
        )
        lines.append(
            f"| {detector.backend.description} | {found.map50:.4f} | {found.map50_95:.4f} |"
        )
        print(lines[-1], file=sys.stderr, flush=True)
    return lines


#: Times a network on one thread in CPU seconds, so that other load hardly matters.
CPU_PROBE = """
import sys, time, numpy as np
from pathlib import Path
from maskyolo.models.backends.openvino import CORE, OpenVinoNetwork, native_precision
requests, seconds = [], []
for file in sys.argv[2:]:
    network = OpenVinoNetwork(Path(file))
    network.take_pixels(unit_rgb=True)
    requests.append(network.compile((1, 384, 640, 3), threads=1).create_infer_request())
    seconds.append([])
image = np.random.default_rng(0).integers(0, 255, (1, 384, 640, 3), dtype=np.uint8)
for turn in range(int(sys.argv[1]) + 2):
    for request, spent in zip(requests, seconds):
        start = time.process_time()
        request.infer([image], share_inputs=True)
        spent.append(time.process_time() - start)
fp32, int8 = (np.array(spent[2:]) * 1000 for spent in seconds)
print(np.median(fp32), np.median(int8), np.median(fp32 / int8), native_precision(True))
"""


def cpus(rounds: int, folder: Path) -> list[str]:
    """Compare int8 with fp32 on this CPU and on older ones that oneDNN imitates."""
    del folder
    lines = [
        "The network alone at 640x384 on one thread, in CPU time; `ONEDNN_MAX_CPU_ISA` hides newer",
        "instructions. Ratios are of calls in turn, in one process.",
        "",
        "| ONEDNN_MAX_CPU_ISA | fp32, ms | int8, ms | int8 is times as fast | auto chooses |",
        "| --- | ---: | ---: | ---: | --- |",
    ]
    files = [WEIGHTS / "maskyolo-n.onnx", WEIGHTS / "maskyolo-n-int8.xml"]
    for isa in ("", "AVX512_CORE_VNNI", "AVX512_CORE", "AVX2_VNNI", "AVX2"):
        done = subprocess.run(
            [sys.executable, "-c", CPU_PROBE, str(rounds), *files],
            env=os.environ | {"ONEDNN_MAX_CPU_ISA": isa or "ALL"},
            capture_output=True,
            text=True,
            check=True,
        )
        fp32, int8, ratio, choice = done.stdout.split()
        figures = f"{float(fp32):.1f} | {float(int8):.1f} | {float(ratio):.2f}"
        lines.append(f"| {isa or 'none'} | {figures} | {choice} |")
    return lines


def _compiled(shape: Sequence[int], precision: str, streams: int = 1) -> Any:
    """Compile the network as OpenVINO's own examples do."""
    from maskyolo.models.backends.openvino import CORE

    model = CORE.read_model(WEIGHTS / "maskyolo-n.onnx")
    model.reshape(list(shape))
    hint = {"fp32": "f32"}.get(precision, precision)
    settings = {
        "INFERENCE_PRECISION_HINT": hint,
        "PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT",
    }
    return CORE.compile_model(
        model, "CPU", settings | ({"NUM_STREAMS": str(streams)} if streams > 1 else {})
    )


def _clip(path: Path, frame: np.ndarray[Any, Any], frames: int = FRAMES) -> Path:
    from fractions import Fraction

    from maskyolo.runtime.video_writer import VideoWriter

    writer = VideoWriter(path, Fraction(25))
    for number in range(frames):
        writer.write(np.roll(frame, 4 * number, axis=1))
    writer.close()
    return path


def _peak(words: list[Any], folder: Path) -> float:
    """Return the peak of the command's resident memory in MB.

    `wait4` is not used, because its figure includes this process's memory before exec.
    """
    process = subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder
    )
    peak = 0
    while process.poll() is None:
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        peak = max([peak, *(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))])
        time.sleep(0.02)
    assert process.returncode == 0, words
    return peak / 1024


def _machine() -> str:
    from importlib.metadata import version

    from maskyolo.core.parallel import usable_cpus

    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.+)", info.read_text()) if info.exists() else None
    packages = ", ".join(f"{name} {version(name)}" for name in ("openvino", "ultralytics", "torch"))
    processor = found[1] if found else platform.processor()
    return f"{date.today():%d %B %Y}; {processor}, {usable_cpus()} cores; {packages}"


def readme_sentence(figures: str) -> str:
    """Return the README's sentence on speed, from the text of runtime.md."""
    start = _figure(figures, r"maskyolo detect against yolo predict, times as fast: \*\*(.+?)\*\*")
    file = _figure(
        figures, r"maskyolo detect, default against yolo predict \(PyTorch\): \*\*(.+?)\*"
    )
    return (
        "Compared with `yolo predict` and the same weights on two cores, `maskyolo detect` starts "
        f"{start:.1f} times as fast and processes a 720p file {file:.1f}\ntimes as fast "
        "([benchmarks](benchmarks/runtime.md))."
    )


def _figure(text: str, pattern: str) -> float:
    found = re.search(pattern, text)
    assert found, pattern
    return float(found[1])


def update_readme(figures: Path, readme: Path) -> None:
    """Write the figures of runtime.md into the README."""
    text = readme.read_text(encoding="utf-8")
    sentence = readme_sentence(figures.read_text(encoding="utf-8"))
    new, number = re.subn(
        r"Compared with `yolo predict`.*?\(benchmarks/runtime\.md\)\)\.",
        lambda _: sentence,
        text,
        flags=re.DOTALL,
    )
    assert number == 1, readme
    readme.write_text(new, encoding="utf-8")


def write(out: Path, title: str, lines: list[str]) -> None:
    """Replace the section of that title, or add it."""
    old = (
        re.split(r"^## ", out.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
        if out.exists()
        else []
    )
    sections = {text.split("\n", 1)[0]: text.split("\n", 1)[1].strip() for text in old}
    sections[title] = "\n".join([*lines, "", f"({_machine()})"])
    out.write_text(
        HEAD + "".join(f"\n## {name}\n\n{text}\n" for name, text in sections.items()),
        encoding="utf-8",
    )


PARTS: dict[str, tuple[str, Callable[[int, Path], list[str]]]] = {
    "cold": ("Cold start", cold),
    "peers": ("Compared with other ways to run it", compared),
    "call": ("One call", call),
    "files": ("Files", files),
    "memory": ("Memory", memory),
    "cpus": ("Other CPUs", cpus),
    "training": ("Training", training),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "parts",
        nargs="*",
        metavar="PART",
        help=f"{', '.join(PARTS)} (all of these by default), accuracy",
    )
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--images", type=Path, help="labeled images of the part accuracy")
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--list", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    options = parser.parse_args()
    if unknown := set(options.parts) - {*PARTS, "accuracy"}:
        parser.error(f"no part {', '.join(sorted(unknown))}")
    os.environ |= {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false"}
    for part in options.parts or PARTS:
        print(part, file=sys.stderr)
        with tempfile.TemporaryDirectory() as folder:
            if part == "accuracy":
                title, lines = "Accuracy", accuracy(options.images, options.labels, options.list)
            else:
                title, lines = PARTS[part][0], PARTS[part][1](options.rounds, Path(folder))
        print("\n".join(lines))
        write(options.out, title, lines)
    if options.out == Path(__file__).with_suffix(".md"):
        update_readme(options.out, ROOT / "README.md")


if __name__ == "__main__":
    main()
