"""How long detectors take, stage by stage, and how much memory; every figure is of this machine at this time.

What counts is the comparison: all detectors look at the same frames in turn, round after round, so that whatever else the machine
does meets all of them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from maskyolo.core.detector import Detector
from maskyolo.images import ImageArray

if TYPE_CHECKING:
    import supervision as sv

__all__ = [
    "COUNTS",
    "FRAME",
    "Laps",
    "crowd_frame",
    "cut_faces",
    "measure_memory",
    "measure_speed",
    "timed",
    "verdicts",
]

#: Numbers of faces in the frames that speed is measured on.
COUNTS = (1, 2, 5, 10, 20, 40)

#: Width and height in pixels of these frames.
FRAME = (1280, 720)

#: Share of a face's sides that is cut out around it, so that face detectors find it again.
MARGIN = 0.4

#: Grey between the faces.
_GREY = 114


@dataclass(frozen=True)
class Laps:
    """The times of one detector on one frame.

    Attributes:
        found: faces that it found in the frame.
        whole: milliseconds of each round, from the picture to its detections (rounds,).
        stages: milliseconds of each round by stage, where the detector's stages are known: preprocess, network and postprocess
            of one forward pass; face detector and classifier of two stages.
    """

    found: int
    whole: list[float]
    stages: dict[str, list[float]]

    @property
    def median(self) -> float:
        """Median of the rounds in milliseconds."""
        return float(np.median(self.whole))

    def json(self) -> dict[str, Any]:
        """Return medians, the middle half, and every round in milliseconds, as plain values."""
        low, high = np.percentile(self.whole, [25, 75])
        return {
            "median": self.median,
            "quartiles": [float(low), float(high)],
            "stages": {name: float(np.median(values)) for name, values in self.stages.items()},
            "found": self.found,
            "rounds": self.whole,
        }


class _Timed:
    """Stands in for a part of a detector and notes when it begins and ends."""

    def __init__(self, part: Any) -> None:
        self._part = part
        self.begin = self.end = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._part, name)

    def __call__(self, *args: Any) -> Any:
        return self._time(self._part, args)

    def detect(self, *args: Any) -> Any:
        return self._time(self._part.detect, args)

    def _time(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        self.begin = perf_counter()
        result = function(*args)
        self.end = perf_counter()
        return result


@contextmanager
def timed(
    detector: Detector,
) -> Iterator[Callable[[ImageArray], tuple[sv.Detections, float, dict[str, float]]]]:
    """Give a function that runs a detector on a picture and returns its detections, and milliseconds: the whole's and each stage's."""
    from maskyolo.two_stage import TwoStageDetector
    from maskyolo.yolo import YoloDetector

    kept = dict(vars(detector)) if isinstance(detector, (YoloDetector, TwoStageDetector)) else {}
    if isinstance(detector, YoloDetector):
        network: Any = _Timed(detector.backend)
        detector.backend = network
    elif isinstance(detector, TwoStageDetector):
        first: Any = _Timed(detector.face_detector)
        second: Any = _Timed(detector.classifier)
        detector.face_detector, detector.classifier = first, second

    def run(image: ImageArray) -> tuple[sv.Detections, float, dict[str, float]]:
        begin = perf_counter()
        detections = detector(image)
        end = perf_counter()
        stages = {}
        if isinstance(detector, YoloDetector):
            stages = {
                "preprocess": network.begin - begin,
                "network": network.end - network.begin,
                "postprocess": end - network.end,
            }
        elif isinstance(detector, TwoStageDetector):
            stages = {
                "face detector": first.end - first.begin,
                "classifier": second.end - second.begin,
            }
        return (
            detections,
            (end - begin) * 1000,
            {name: seconds * 1000 for name, seconds in stages.items()},
        )

    try:
        yield run
    finally:
        vars(detector).update(kept)


def measure_speed(
    detectors: Mapping[str, Detector],
    frames: Mapping[int, ImageArray],
    rounds: int = 15,
    on_progress: Callable[[int, int | None], None] | None = None,
) -> dict[str, dict[int, Laps]]:
    """Time detectors on frames; decoding is not part of it.

    Args:
        detectors: by name.
        frames: pictures by the number of faces in them.
        rounds: times that each detector sees each frame, after one time that does not count.
        on_progress: told the number of rounds done, and of all.

    Returns:
        The laps by the detector's name and the number of faces.
    """
    found: dict[str, dict[int, int]] = defaultdict(dict)
    whole: dict[tuple[str, int], list[float]] = defaultdict(list)
    stages: dict[tuple[str, int], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    names = list(detectors)
    for number in range(rounds + 1):
        for count, frame in frames.items():
            for name in names[number % len(names) :] + names[: number % len(names)]:
                with timed(detectors[name]) as run:
                    detections, lap, parts = run(frame)
                found[name][count] = len(detections)
                if number:
                    whole[name, count].append(lap)
                    for part, value in parts.items():
                        stages[name, count][part].append(value)
        if on_progress:
            on_progress(number, rounds)
    return {
        name: {
            count: Laps(found[name][count], whole[name, count], dict(stages[name, count]))
            for count in frames
        }
        for name in detectors
    }


def verdicts(speed: Mapping[str, Mapping[int, Laps]]) -> list[str]:
    """Say of each two detectors which is faster with how many faces; about as fast where it is not in nine of ten rounds."""
    told = []
    for first, second in combinations(speed, 2):
        groups: dict[str, list[tuple[int, float]]] = {
            "faster than": [],
            "about as fast as": [],
            "slower than": [],
        }
        for count, laps in speed[first].items():
            low, middle, high = np.percentile(
                np.divide(speed[second][count].whole, laps.whole), [10, 50, 90]
            )
            groups[
                "faster than" if low > 1 else "slower than" if high < 1 else "about as fast as"
            ].append((count, float(middle)))
        parts = []
        for word, cases in groups.items():
            if cases:
                ratios = sorted(max(ratio, 1 / ratio) for _, ratio in cases)
                span = (
                    f"{ratios[0]:.1f}"
                    if f"{ratios[0]:.1f}" == f"{ratios[-1]:.1f}"
                    else f"{ratios[0]:.1f} to {ratios[-1]:.1f}"
                )
                counts = ", ".join(str(count) for count, _ in cases)
                faces = "face" if counts == "1" else "faces"
                parts.append(
                    f"{word} {second} with {counts} {faces}"
                    + ("" if word.startswith("about") else f" ({span} times)")
                )
        told.append(f"{first} is {'; '.join(parts)}.")
    return told


def cut_faces(image: ImageArray, boxes: Sequence[Sequence[float]]) -> list[ImageArray]:
    """Return a square around each box xyxy, with a margin, where the picture has it whole."""
    height, width = image.shape[:2]
    cut = []
    for x1, y1, x2, y2 in boxes:
        half = max(x2 - x1, y2 - y1) * (0.5 + MARGIN)
        x, y = (x1 + x2) / 2, (y1 + y2) / 2
        left, top, right, bottom = (
            round(x - half),
            round(y - half),
            round(x + half),
            round(y + half),
        )
        if 0 <= left < right <= width and 0 <= top < bottom <= height:
            cut.append(image[top:bottom, left:right].copy())
    return cut


def crowd_frame(faces: Sequence[ImageArray], count: int) -> ImageArray:
    """Lay out `count` faces on a grey frame of 1280 x 720, as large as fit; faces are taken again from the start when there are fewer."""
    width, height = FRAME
    side, columns = max(
        (min(width // columns, height // -(-count // columns)), columns)
        for columns in range(1, count + 1)
    )
    frame = np.full((height, width, 3), _GREY, np.uint8)
    for place in range(count):
        face = faces[place % len(faces)]
        x, y = place % columns * side, place // columns * side
        how = cv2.INTER_AREA if face.shape[0] > side else cv2.INTER_LINEAR
        cv2.resize(face, (side, side), dst=frame[y : y + side, x : x + side], interpolation=how)
    return frame


def measure_memory(settings: Mapping[str, Any], frame: ImageArray) -> float | None:
    """Return the most memory in MB that a process needs that does nothing but load a detector and look at a frame three times.

    Args:
        settings: arguments of `yolo.load_detector`.
        frame: BGR uint8 (H, W, 3).

    Returns:
        The peak of its resident memory, or None where the operating system does not tell.
    """
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "frame.npy"
        np.save(place, frame)
        words = [
            sys.executable,
            "-c",
            "from maskyolo.speed import _report_memory; _report_memory()",
            json.dumps(settings),
            str(place),
        ]
        told = subprocess.run(words, capture_output=True, text=True, check=False)
    try:
        return float(told.stdout.split()[-1])
    except (IndexError, ValueError):
        return None


def _report_memory() -> None:
    """Run in a process of its own: load, look, write the peak in MB to stdout."""
    from maskyolo.yolo import load_detector

    detector = load_detector(**json.loads(sys.argv[1]))
    frame = np.load(sys.argv[2])
    for _ in range(3):
        detector(frame)
    sys.stdout.write(f"{_peak_memory()}\n")


def _peak_memory() -> float | None:
    status = Path("/proc/self/status")
    if (
        status.exists()
    ):  # getrusage would tell the peak of the process that started this one, if that is higher
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)  # bytes on macOS
