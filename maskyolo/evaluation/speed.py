"""Measures the time of each stage of detectors, and their memory, on this machine.

The results are meant for comparison: all detectors process the same frames in turn, round after
round, so that other load on the machine affects all of them.
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

from maskyolo.core.children import python_command
from maskyolo.core.detector import Detector
from maskyolo.core.images import ImageArray

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

#: Numbers of faces in the frames for measuring speed.
COUNTS = (1, 2, 5, 10, 20, 40)

#: Width and height in pixels of these frames.
FRAME = (1280, 720)

#: Margin around a cropped face, as a fraction of its sides; without it, face detectors miss faces.
MARGIN = 0.4

#: Gray between the faces.
_GRAY = 114


@dataclass(frozen=True)
class Laps:
    """The times of one detector on one frame.

    Attributes:
        found: number of faces it found in the frame.
        whole: milliseconds of each round, from the image to its detections (rounds,).
        stages: milliseconds of each round by stage, if the detector's stages are known: preprocess,
            network and postprocess of one forward pass; face detector and classifier of two-stage.
    """

    found: int
    whole: list[float]
    stages: dict[str, list[float]]

    @property
    def median(self) -> float:
        """Median of the rounds, in milliseconds."""
        return float(np.median(self.whole))

    def json(self) -> dict[str, Any]:
        """Return medians, quartiles and every round, in milliseconds, as plain values."""
        low, high = np.percentile(self.whole, [25, 75])
        return {
            "median": self.median,
            "quartiles": [float(low), float(high)],
            "stages": {name: float(np.median(values)) for name, values in self.stages.items()},
            "found": self.found,
            "rounds": self.whole,
        }


class _Timed:
    """Replaces a part of a detector, and records when it begins and ends."""

    def __init__(self, part: Any, clock: Callable[[], float]) -> None:
        self._part = part
        self._clock = clock
        self.begin = self.end = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._part, name)

    def __call__(self, *args: Any) -> Any:
        return self._time(self._part, args)

    def detect(self, *args: Any) -> Any:
        return self._time(self._part.detect, args)

    def _time(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        self.begin = self._clock()
        result = function(*args)
        self.end = self._clock()
        return result


@contextmanager
def timed(
    detector: Detector, clock: Callable[[], float] = perf_counter
) -> Iterator[Callable[[ImageArray], tuple[sv.Detections, float, dict[str, float]]]]:
    """Instrument a detector's stages, and yield a function that runs and times it.

    Args:
        detector: restored afterwards.
        clock: returns the time in seconds.

    Yields:
        A function that takes an image and returns its detections, the milliseconds they took, and
        the milliseconds of each stage. Detectors other than ours have no stages.
    """
    from maskyolo.detectors.two_stage import TwoStageDetector
    from maskyolo.detectors.yolo import YoloDetector

    kept = dict(vars(detector)) if isinstance(detector, (YoloDetector, TwoStageDetector)) else {}
    if isinstance(detector, YoloDetector):
        network: Any = _Timed(detector.backend, clock)
        detector.backend = network
    elif isinstance(detector, TwoStageDetector):
        first: Any = _Timed(detector.face_detector, clock)
        second: Any = _Timed(detector.classifier, clock)
        detector.face_detector, detector.classifier = first, second

    def run(image: ImageArray) -> tuple[sv.Detections, float, dict[str, float]]:
        begin = clock()
        detections = detector(image)
        end = clock()
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
    """Time detectors on frames; decoding is not included.

    Args:
        detectors: by name.
        frames: images, by the number of faces in them.
        rounds: how often each detector processes each frame, after one warm-up.
        on_progress: called with the number of rounds done and their total.

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
    """Compare detectors in pairs: which one is faster for each number of faces.

    A detector counts as faster if it wins nine of ten rounds; otherwise both are about as fast.

    Args:
        speed: what `measure_speed` returns.

    Returns:
        One sentence per pair.
    """
    sentences = []
    for first, second in combinations(speed, 2):
        groups: dict[str, list[tuple[int, float]]] = {
            "faster than": [],
            "about as fast as": [],
            "slower than": [],
        }
        for count, laps in speed[first].items():
            ratios = np.divide(speed[second][count].whole, laps.whole)
            low, middle, high = np.percentile(ratios, [10, 50, 90])
            word = "faster than" if low > 1 else "slower than" if high < 1 else "about as fast as"
            groups[word].append((count, float(middle)))
        parts = [_verdict(word, second, cases) for word, cases in groups.items() if cases]
        sentences.append(f"{first} is {'; '.join(parts)}.")
    return sentences


def _verdict(word: str, other: str, cases: Sequence[tuple[int, float]]) -> str:
    """Describe the cases, (number of faces, ratio of times), that `word` is true of."""
    counts = ", ".join(str(count) for count, _ in cases)
    text = f"{word} {other} with {counts} {'face' if counts == '1' else 'faces'}"
    if word.startswith("about"):
        return text
    ratios = sorted(max(ratio, 1 / ratio) for _, ratio in cases)
    low, high = (f"{ratio:.1f}" for ratio in (ratios[0], ratios[-1]))
    return f"{text} ({low if low == high else f'{low} to {high}'} times)"


def cut_faces(image: ImageArray, boxes: Sequence[Sequence[float]]) -> list[ImageArray]:
    """Crop a square around each box (xyxy), with a margin, if it lies inside the image."""
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
    """Lay out faces on a gray frame of 1280 x 720 pixels, as large as possible.

    Args:
        faces: square BGR uint8 images; if there are too few, they are repeated.
        count: how many faces to show.
    """
    width, height = FRAME
    side, columns = max(
        (min(width // columns, height // -(-count // columns)), columns)
        for columns in range(1, count + 1)
    )
    frame = np.full((height, width, 3), _GRAY, np.uint8)
    for place in range(count):
        face = faces[place % len(faces)]
        x, y = place % columns * side, place // columns * side
        how = cv2.INTER_AREA if face.shape[0] > side else cv2.INTER_LINEAR
        cv2.resize(face, (side, side), dst=frame[y : y + side, x : x + side], interpolation=how)
    return frame


def measure_memory(settings: Mapping[str, Any], frame: ImageArray) -> float | None:
    """Measure the memory of a process that loads a detector and runs it on a frame three times.

    Args:
        settings: arguments of `load_detector`.
        frame: BGR uint8 (H, W, 3).

    Returns:
        The peak of its resident memory in MB, or None if the operating system does not report it.
    """
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "frame.npy"
        np.save(place, frame)
        words = [
            *python_command(
                "from maskyolo.evaluation.speed import _report_memory; _report_memory()"
            ),
            json.dumps(settings),
            str(place),
        ]
        measured = subprocess.run(words, capture_output=True, text=True, check=False)
    try:
        return float(measured.stdout.split()[-1])
    except (IndexError, ValueError):
        return None


def _report_memory() -> None:
    """Load and run a detector, and write the peak in MB to stdout; runs in its own process."""
    from maskyolo.detectors.loading import load_detector

    detector = load_detector(**json.loads(sys.argv[1]))
    frame = np.load(sys.argv[2])
    for _ in range(3):
        detector(frame)
    sys.stdout.write(f"{_peak_memory()}\n")


def _peak_memory() -> float | None:
    status = Path("/proc/self/status")
    # getrusage would report the parent process's peak if that is higher
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)  # bytes on macOS
