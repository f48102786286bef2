"""How fast is detection, against `yolo predict`, the two-stage path and the bare network? Ratios of one run, medians of interleaved rounds.

    python benchmarks/runtime.py                                    # speed and memory, on clips made of data/samples
    python benchmarks/runtime.py accuracy --images D --labels D --list FILE

Parts: `cold` (a picture, from the shell to the exit), `call` (one frame in a loaded detector against the bare network), `files`
(frames a second of a 720p file, with and without drawing), `memory` (peak of a video run), `accuracy` (mAP50 of each backend and
precision). Needs maskyolo[train,onnxruntime].
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent
SAMPLES = ROOT / "data" / "samples"
WEIGHTS = ROOT / "maskyolo" / "weights"
BIN = Path(sys.executable).parent
FRAMES = 60


def interleaved(runs: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Time each of `runs` once a round, in an order that moves on, after a round that does not count; seconds."""
    seconds: dict[str, list[float]] = defaultdict(list)
    names = list(runs)
    for number in range(rounds + 1):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            begin = perf_counter()
            runs[name]()
            if number:
                seconds[name].append(perf_counter() - begin)
    return seconds


def show(title: str, seconds: dict[str, list[float]], base: str, frames: int = 0) -> None:
    print(f"\n{title} (medians of {len(seconds[base])} interleaved rounds)\n")
    for name, values in seconds.items():
        low, middle, high = np.percentile(values, [25, 50, 75])
        ratio = np.median(np.divide(seconds[base], values))
        rate = f"{frames / middle:8.1f} frames/s" if frames else ""
        span = f"{middle * 1000:9.1f} ms ({low * 1000:.1f} to {high * 1000:.1f})"
        print(f"{name:44}{span}{rate}   {ratio:6.2f} x as fast as {base}")


def cold(rounds: int, folder: Path) -> None:
    photo = SAMPLES / "office.jpg"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": True, "cwd": folder}
    weights = shutil.copy(WEIGHTS / "maskyolo-n.pt", folder / "model.pt")

    def ours() -> None:
        subprocess.run([BIN / "maskyolo", "detect", "--source", photo, "--name", "cold", "--exist-ok"], **quiet)

    def stock() -> None:
        subprocess.run([BIN / "yolo", "predict", f"model={weights}", f"source={photo}", "name=cold", "exist_ok=True"], **quiet)

    show(
        "From the shell to the exit, one picture drawn",
        interleaved({"yolo predict": stock, "maskyolo detect": ours}, rounds),
        "yolo predict",
    )


def call(rounds: int) -> None:
    import cv2
    import openvino

    import maskyolo
    from maskyolo.images import read_image
    from maskyolo.speed import FRAME
    from maskyolo.yolo import letterbox, network_shape

    frame = cv2.resize(read_image(SAMPLES / "station.jpg"), FRAME)
    batch, _, _ = letterbox(frame, network_shape(FRAME[1], FRAME[0], 640))
    detector = maskyolo.load_detector()
    core = openvino.Core()
    model = core.read_model(WEIGHTS / "maskyolo-n.onnx")
    model.reshape(batch.shape)
    bare = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}).create_infer_request()
    runs = {"bare network": lambda: bare.infer([batch], share_inputs=True), "load_detector()(frame)": lambda: detector(frame)}
    show("One 1280x720 frame, network at 640", interleaved(runs, rounds), "bare network")


def files(rounds: int, folder: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from ultralytics import YOLO

    import maskyolo
    from maskyolo.backends import load_backend, usable_cpus
    from maskyolo.images import read_image
    from maskyolo.sources import Video
    from maskyolo.speed import crowd_frame, cut_faces
    from maskyolo.yolo import letterbox, network_shape

    detector = maskyolo.load_detector()
    faces = []
    for path in sorted(SAMPLES.glob("*.jpg")):
        image = read_image(path)
        faces += cut_faces(image, detector(image).xyxy.tolist())
    clips = {count: _clip(folder / f"{count}.mp4", crowd_frame(faces, count)) for count in (1, 5, 20)}
    clip = clips[5]
    stock = YOLO(shutil.copy(WEIGHTS / "maskyolo-n.pt", folder / "model.pt"))
    streams = usable_cpus()
    backend = load_backend(WEIGHTS / "maskyolo-n.onnx", streams=streams)
    batch, _, _ = letterbox(next(Video(clip).frames()).image, network_shape(720, 1280, 640))

    def bare() -> None:
        with ThreadPoolExecutor(streams) as pool:
            list(pool.map(lambda _: backend(batch), range(FRAMES)))

    def ours(clip: Path = clip, **settings: Any) -> None:
        assert sum(1 for _ in maskyolo.detect(clip, project=folder, name="ours", exist_ok=True, **settings)) == FRAMES

    def theirs(save: bool) -> None:
        results = stock.predict(clip, stream=True, verbose=False, save=save, project=folder, name="theirs", exist_ok=True)
        assert sum(1 for _ in results) == FRAMES

    runs = {
        "bare network, a stream per core": bare,
        "decoding alone": lambda: [None for _ in Video(clip).frames()],
        "maskyolo detect": lambda: ours(),
        "maskyolo detect --precision bf16": lambda: ours(precision="bf16"),
        "yolo predict (PyTorch)": lambda: theirs(False),
        **{f"two stages, {count} faces": lambda path=path: ours(path, pipeline="two-stage") for count, path in clips.items()},
        "maskyolo detect, drawn and encoded": lambda: ours(save=True),
        "yolo predict, drawn and encoded": lambda: theirs(True),
    }
    show(f"{FRAMES} frames of a 1280x720 file, opening included", interleaved(runs, rounds), "yolo predict (PyTorch)", frames=FRAMES)


def memory(folder: Path) -> None:
    import cv2

    from maskyolo.images import read_image

    clip = _clip(folder / "memory.mp4", cv2.resize(read_image(SAMPLES / "station.jpg"), (1280, 720)), 300)
    weights = shutil.copy(WEIGHTS / "maskyolo-n.pt", folder / "model.pt")
    print("\nPeak memory of 300 frames of 1280x720\n")
    for name, words in {
        "maskyolo detect --no-save": [BIN / "maskyolo", "detect", "--source", clip, "--no-save", "--save-json", folder / "m.jsonl"],
        "maskyolo detect": [BIN / "maskyolo", "detect", "--source", clip, "--name", "memory"],
        "yolo predict": [BIN / "yolo", "predict", f"model={weights}", f"source={clip}", "save=False"],
    }.items():
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder)
        _, status, usage = os.wait4(process.pid, 0)
        assert status == 0
        print(f"{name:44}{usage.ru_maxrss / 1024:9.0f} MB")


def accuracy(images: Path, labels: Path, image_list: Path | None) -> None:
    import maskyolo
    from maskyolo.evaluate import AP_FLOOR, evaluate

    print("\nAccuracy of each backend and precision\n")
    onnx, checkpoint = str(WEIGHTS / "maskyolo-n.onnx"), str(WEIGHTS / "maskyolo-n.pt")
    for model, backend, precision in (
        (checkpoint, "torch", "fp32"),
        (onnx, "openvino", "fp32"),
        (onnx, "onnxruntime", "fp32"),
        (onnx, "openvino", "bf16"),
    ):
        detector = maskyolo.load_detector(model, conf=AP_FLOOR, backend=backend, precision=precision)
        found = evaluate(images=images, labels=labels, image_list=image_list, model=detector, project=None)
        print(f"{backend:14}{precision:6} mAP50 {found.map50:.4f}  mAP50-95 {found.map50_95:.4f}")


def _clip(path: Path, frame: np.ndarray[Any, Any], frames: int = FRAMES) -> Path:
    from fractions import Fraction

    from maskyolo.sinks import VideoWriter

    writer = VideoWriter(path, Fraction(25))
    for number in range(frames):
        writer.write(np.roll(frame, 4 * number, axis=1))
    writer.close()
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["cold", "call", "files", "memory"])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--list", type=Path)
    options = parser.parse_args()
    os.environ |= {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false"}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in options.parts:
            if part == "cold":
                cold(options.rounds, folder)
            elif part == "call":
                call(max(options.rounds, 100))
            elif part == "files":
                files(options.rounds, folder)
            elif part == "memory":
                memory(folder)
            elif part == "accuracy":
                accuracy(options.images, options.labels, options.list)
            else:
                parser.error(f"no part {part}")


if __name__ == "__main__":
    main()
