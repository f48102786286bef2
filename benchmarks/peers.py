"""The other ways to run the same weights that runtime.py compares `maskyolo detect` with.

Each runs in a process of its own, so that one's threads and memory do not affect another:
`python benchmarks/peers.py NAME FOLDER` loads a model and does what its standard input says.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from time import perf_counter
from typing import Any

ROOT = Path(__file__).parent.parent
WEIGHTS = ROOT / "maskyolo" / "weights"
SIDE, VIDEO_SIZE = 640, [384, 640]
OURS = "maskyolo, "
#: Each peer's name, and what it needs from `export_stock`.
STOCK = {
    "yolo predict, PyTorch": None,
    "yolo predict, its OpenVINO export": ("openvino", False),
    "yolo predict, its OpenVINO export in int8": ("openvino", True),
    "yolo predict, its ONNX export": ("onnx", False),
}
LOOP, LEGACY = "OpenCV and ONNX Runtime, as in tutorials", "two stages"


def names() -> list[str]:
    """Return the names of all that are compared on this machine."""
    from maskyolo.models.backends.openvino import native_precision

    precisions = ["auto", "int8", "fp32"]
    if native_precision() == "bf16":
        precisions.insert(1, "bf16")
    return [*(OURS + precision for precision in precisions), *STOCK, LOOP, LEGACY]


def export_stock(folder: Path, data: Path) -> None:
    """Export the weights with Ultralytics, for video (its exact shape) and for photos (any shape).

    Args:
        folder: gets the exports.
        data: a `data.yaml` whose photos int8 is calibrated on.
    """
    from ultralytics import YOLO

    for use, shape in (("video", {"imgsz": VIDEO_SIZE}), ("photos", {"dynamic": True})):
        for name, wanted in STOCK.items():
            place = folder / use / "".join(filter(str.isalnum, name))
            place.mkdir(parents=True)
            weights = Path(shutil.copy(WEIGHTS / "maskyolo-n.pt", place / "model.pt"))
            if wanted:
                kind, int8 = wanted
                more: dict[str, Any] = {"int8": True, "data": str(data)} if int8 else {}
                made = YOLO(weights).export(format=kind, verbose=False, **shape, **more)
                weights = Path(made)
            (place / "model.txt").write_text(str(weights))


def stock_model(name: str, folder: Path, use: str) -> Path:
    """Return the file or folder that a peer of `STOCK` loads."""
    place = folder / use / "".join(filter(str.isalnum, name))
    return Path((place / "model.txt").read_text())


class Ours:
    """`maskyolo` itself, or its two-stage pipeline."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.detectors: dict[int, Any] = {}

    def _detector(self, streams: int) -> Any:
        import maskyolo

        if streams not in self.detectors:
            self.detectors = {streams: maskyolo.load_detector(streams=streams, **self.settings)}
        return self.detectors[streams]

    def call(self, image: Any) -> int:
        return len(self._detector(1)(image))

    def files(self, source: Path) -> int:
        import maskyolo
        from maskyolo.core.parallel import usable_cpus

        detector = self._detector(usable_cpus())
        found = maskyolo.detect(source, model=detector, save=False, reduced=True)
        return sum(1 for _ in found)


class Stock:
    """`yolo predict` with PyTorch or an export."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.models: dict[str, Any] = {}

    def _model(self, use: str) -> Any:
        from ultralytics import YOLO

        if use not in self.models:
            self.models = {use: YOLO(stock_model(self.name, self.folder, use), task="detect")}
        return self.models[use]

    def _settings(self, use: str) -> dict[str, Any]:
        fixed = use == "video" and STOCK[self.name] is not None
        return {"verbose": False, "save": False, "imgsz": VIDEO_SIZE if fixed else SIDE}

    def call(self, image: Any) -> int:
        return len(self._model("video").predict(image, **self._settings("video"))[0])

    def files(self, source: Path) -> int:
        use = "photos" if source.is_dir() else "video"
        found = self._model(use).predict(source, stream=True, **self._settings(use))
        return sum(1 for _ in found)


class Loop:
    """OpenCV and ONNX Runtime, as tutorials do it: a square input, one frame after the other."""

    def __init__(self) -> None:
        import onnxruntime

        self.session = onnxruntime.InferenceSession(
            WEIGHTS / "maskyolo-n.onnx", providers=["CPUExecutionProvider"]
        )

    def call(self, image: Any) -> int:
        import cv2
        import numpy as np

        height, width = image.shape[:2]
        square = np.zeros((max(height, width),) * 2 + (3,), np.uint8)
        square[:height, :width] = image
        scale = max(height, width) / SIDE
        blob = cv2.dnn.blobFromImage(square, 1 / 255, (SIDE, SIDE), swapRB=True)
        rows = self.session.run(None, {self.session.get_inputs()[0].name: blob})[0][0].T
        boxes, scores, classes = [], [], []
        for row in rows[rows[:, 4:].max(axis=1) > 0.25]:
            x, y, w, h = row[:4] * scale
            boxes.append([x - w / 2, y - h / 2, w, h])
            scores.append(float(row[4:].max()))
            classes.append(int(row[4:].argmax()))
        return len(cv2.dnn.NMSBoxes(boxes, scores, 0.25, 0.5))

    def files(self, source: Path) -> int:
        import cv2

        if source.is_dir():
            photos = sorted(source.iterdir())
            for photo in photos:
                self.call(cv2.imread(str(photo)))
            return len(photos)
        capture, frames = cv2.VideoCapture(str(source)), 0
        while True:
            read, frame = capture.read()
            if not read:
                return frames
            self.call(frame)
            frames += 1


def make(name: str, folder: Path) -> Any:
    """Return a peer by its name."""
    if name.startswith(OURS):
        return Ours({"precision": name.removeprefix(OURS)})
    if name == LEGACY:
        return Ours({"pipeline": "two-stage"})
    return Loop() if name == LOOP else Stock(name, folder)


def serve(name: str, folder: Path) -> None:
    """Do what the lines of standard input say, and answer with seconds, a number, and memory."""
    import cv2

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print
    peer, images = make(name, folder), {}
    for line in sys.stdin:
        task, path = json.loads(line)
        if task == "call" and path not in images:
            images[path] = cv2.imread(path)
        begin = perf_counter()
        number = peer.call(images[path]) if task == "call" else peer.files(Path(path))
        answer = [perf_counter() - begin, number, _peak_memory()]
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _peak_memory() -> float:
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


class Process:
    """A peer's process.

    Attributes:
        number: detections or frames of the last task.
        memory: its peak of resident memory so far, in MB.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, name, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=folder,
        )
        self.name, self.number, self.memory = name, 0, 0.0

    def do(self, task: str, path: Path) -> float:
        """Do a task, "call" with an image or "files" with a video or folder; return the seconds."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps([task, str(path)]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"{self.name} ended while doing {task}"
        seconds, self.number, self.memory = json.loads(line)
        return float(seconds)

    def runner(self, task: str, path: Path) -> Callable[[], float]:
        """Return a function that does a task."""
        return lambda: self.do(task, path)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


def installed_size(*packages: str) -> float:
    """Return the size in MB of packages and all that they require, without files for CUDA.

    Args:
        packages: names of installed packages.
    """
    from packaging.requirements import Requirement

    seen: set[str] = set()
    size, waiting = 0, list(packages)
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name in seen or name.startswith(("nvidia-", "triton", "cuda-")):
            continue
        seen.add(name)
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue
        for file in found.files or []:
            place = Path(str(found.locate_file(file)))
            if "cuda" not in place.name and place.is_file():
                size += place.stat().st_size
        for text in found.requires or []:
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                waiting.append(needed.name)
    return size / 1e6


if __name__ == "__main__":
    serve(sys.argv[1], Path(sys.argv[2]))
