"""Measures how steady a detector is on video: class changes and lost frames per face-minute.

    python benchmarks/flicker.py --video diazonic.mp4 --video khanh_khanh.mp4 --model maskyolo-n

Detections of consecutive frames are linked by overlap (IoU of at least 0.3, the largest first) to
the same face, without `--track`: what is measured is the detector alone. A face may be lost for up
to half a second; these frames count as lost. A face that was detected fewer than ten times is left
out. Class changes also include those of people who put a mask on or take it off; they are the same
for all detectors.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import supervision as sv

from maskyolo.core.boxes import Boxes, as_boxes, box_iou
from maskyolo.detectors.loading import load_detector
from maskyolo.runtime.sources import VideoSource

LINK = 0.3  # IoU of the same face in neighboring frames
PATIENCE = 0.5  # seconds for which a face may be lost
FEWEST = 10  # detections of a face that is counted


@dataclass
class Face:
    """One face over the frames in which it was detected.

    Attributes:
        box: its last box (4,), xyxy pixels.
        frames: indices of these frames, ascending.
        classes: its class id in each of them.
    """

    box: Boxes
    frames: list[int]
    classes: list[int]


def link(found: Iterable[sv.Detections], patience: int) -> list[Face]:
    """Return the faces in the detections of consecutive frames.

    Args:
        found: detections with class ids, one entry per frame.
        patience: number of frames for which a face may be lost.
    """
    faces: list[Face] = []
    for index, one in enumerate(found):
        alive = [face for face in faces if index - face.frames[-1] <= patience + 1]
        free = set(range(len(one)))
        class_ids = np.zeros(0, int) if one.class_id is None else one.class_id
        overlaps = box_iou(as_boxes([face.box for face in alive]), as_boxes(one.xyxy))
        for position in np.argsort(-overlaps, axis=None, kind="stable"):
            row, column = divmod(int(position), max(1, len(one)))
            if overlaps[row, column] < LINK:
                break
            if column in free and alive[row].frames[-1] != index:
                free.remove(column)
                face = alive[row]
                face.box = one.xyxy[column]
                face.frames.append(index)
                face.classes.append(int(class_ids[column]))
        faces += [Face(one.xyxy[n], [index], [int(class_ids[n])]) for n in sorted(free)]
    return faces


def count(faces: Sequence[Face]) -> tuple[int, int, int]:
    """Return frames, class changes and lost frames of all faces that are counted."""
    kept = [face for face in faces if len(face.frames) >= FEWEST]
    spans = [face.frames[-1] - face.frames[0] + 1 for face in kept]
    changes = [sum(a != b for a, b in zip(f.classes, f.classes[1:], strict=False)) for f in kept]
    lost = [span - len(face.frames) for span, face in zip(spans, kept, strict=True)]
    return sum(spans), sum(changes), sum(lost)


def main() -> None:
    """Parse the arguments and print a row per model and video."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--video", type=Path, action="append", required=True)
    options.add_argument("--model", action="append", help="name or file; can be repeated")
    options.add_argument("--conf", type=float, default=0.25, help="minimum confidence")
    options.add_argument("--trust", action="store_true", help="open .pt files of unknown origin")
    args = options.parse_args()
    print("| model | video | face-minutes | class changes | lost frames | of these per minute |")
    print("| --- | --- | --- | --- | --- | --- |")
    for model in args.model or ["maskyolo-n"]:
        detector = load_detector(model, conf=args.conf, trust=args.trust)
        for video in args.video:
            times, found = [], []
            for frame in VideoSource(video).frames():
                times.append(frame.time)
                found.append(detector(frame.image))
            rate = (len(times) - 1) / (times[-1] - times[0])
            frames, changes, lost = count(link(found, round(PATIENCE * rate)))
            minutes = frames / rate / 60
            shares = f"{changes / minutes:.1f} and {lost / minutes:.1f}" if minutes else "-"
            cells = (model, video.name, f"{minutes:.2f}", changes, lost, shares)
            print("| " + " | ".join(map(str, cells)) + " |")


if __name__ == "__main__":
    main()
