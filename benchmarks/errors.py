"""Measures what limits a detector: its mAP50 with one kind of error corrected at a time.

    python benchmarks/errors.py kaggle853 --list kaggle853/val.txt --model maskyolo-n \\
        --imgsz 640 960 --sheet alarms.jpg

The kinds of errors are those of TIDE (D. Bolya et al. 2020, arXiv:2008.08115), distinguished by IoU
with the labels of an image, including ignored ones: a false alarm with an IoU below 0.1, a face
with the wrong class, and a badly located face with an IoU of 0.3 to 0.5. The sheet shows the most
confident false alarms with their surroundings, so that you can count how many are unlabeled faces.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from maskyolo.core.images import ImageArray, read_image, write_image
from maskyolo.detectors.loading import load_detector
from maskyolo.evaluation.labeled import LabeledImage, find_images
from maskyolo.evaluation.measure import AP_FLOOR, predict
from maskyolo.evaluation.metrics import Case, average_precision, match

#: IoU with a label below which a detection is a false alarm, from which it is the same face, and
#: from which it is a badly located face.
AWAY, SAME, ASKEW = 0.1, 0.5, 0.3
COLUMNS, TILE = 10, 160


def map50(cases: Sequence[Case], iou: float = SAME) -> float:
    """Return the mean of both classes' average precision."""
    return float(
        np.mean([average_precision(match(cases, class_id, iou)) or 0.0 for class_id in (0, 1)])
    )


def away(case: Case) -> npt.NDArray[np.bool_]:
    """Return which detections (m,) of an image overlap no label."""
    return np.asarray(
        np.maximum(case.overlaps.max(1, initial=0), case.excuses.max(1, initial=0)) < AWAY
    )


def without(case: Case, dropped: npt.NDArray[np.bool_]) -> Case:
    """Return the image without some of its detections (m,)."""
    return replace(
        case,
        found=case.found[~dropped],
        found_ids=case.found_ids[~dropped],
        confidence=case.confidence[~dropped],
    )


def classes_right(case: Case) -> Case:
    """Return the image with the class of every detected face corrected."""
    if not len(case.boxes) or not len(case.found):
        return case
    labeled = case.class_ids[case.overlaps.argmax(1)]
    return replace(case, found_ids=np.where(case.overlaps.max(1) >= SAME, labeled, case.found_ids))


def corrected(cases: Sequence[Case]) -> dict[str, float]:
    """Return mAP50 unchanged, and with each kind of error corrected."""
    return {
        "as it is": map50(cases),
        "no alarm away from every label": map50([without(case, away(case)) for case in cases]),
        "class of each face found right": map50([classes_right(case) for case in cases]),
        f"overlap of {ASKEW:g} enough": map50(cases, ASKEW),
    }


def alarms(
    images: Sequence[LabeledImage], cases: Sequence[Case], most: int
) -> list[tuple[float, Path, list[float]]]:
    """Return the most confident false alarms: confidence, image, box xyxy in pixels."""
    found = [
        (float(confidence), image.path, box.tolist())
        for image, case in zip(images, cases, strict=True)
        for confidence, box in zip(case.confidence[away(case)], case.found[away(case)], strict=True)
    ]
    return sorted(found, key=lambda alarm: -alarm[0])[:most]


def draw(found: Sequence[tuple[float, Path, list[float]]]) -> ImageArray:
    """Draw alarms side by side, each with a margin of its own width."""
    tiles = [_tile(*alarm) for alarm in found]
    tiles += [np.full((TILE, TILE, 3), 255, np.uint8)] * (-len(tiles) % COLUMNS)
    return np.vstack(
        [np.hstack(tiles[place : place + COLUMNS]) for place in range(0, len(tiles), COLUMNS)]
    )


def _tile(confidence: float, path: Path, box: list[float]) -> ImageArray:
    x1, y1, x2, y2 = box
    scale = TILE / (3 * max(x2 - x1, y2 - y1, 4))
    shift = np.array(
        [[scale, 0, TILE / 2 - scale * (x1 + x2) / 2], [0, scale, TILE / 2 - scale * (y1 + y2) / 2]]
    )
    tile = cv2.warpAffine(
        read_image(path), shift, (TILE, TILE), flags=cv2.INTER_CUBIC, borderValue=(255, 255, 255)
    )
    corners = (np.array(box).reshape(2, 2) * scale + shift[:, 2]).round().astype(int).tolist()
    cv2.rectangle(tile, corners[0], corners[1], (0, 220, 255), 1)
    cv2.putText(tile, f"{confidence:.2f}", (3, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 3)
    cv2.putText(
        tile, f"{confidence:.2f}", (3, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255), 1
    )
    return np.asarray(tile, dtype=np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path, help="folder with images and annotations (Pascal VOC)")
    parser.add_argument(
        "--list", type=Path, help="file with the photos to use, one per line; default: all"
    )
    parser.add_argument("--model", default="maskyolo-n", help="as for maskyolo detect")
    parser.add_argument(
        "--imgsz", type=int, nargs="+", default=[640], help="inference sizes, one column each"
    )
    parser.add_argument(
        "--sheet",
        type=Path,
        help="write an image of the most confident false alarms at the first size",
    )
    parser.add_argument("--alarms", type=int, default=50, help="number of false alarms to draw")
    parser.add_argument("--trust", action="store_true", help="open a .pt file of unknown origin")
    args = parser.parse_args()
    images, _ = find_images(
        images=args.folder / "images", labels=args.folder / "annotations", image_list=args.list
    )
    detectors = {
        str(size): load_detector(args.model, imgsz=size, conf=AP_FLOOR, trust=args.trust)
        for size in args.imgsz
    }
    cases, _, unreadable = predict(images, detectors)
    images = [image for image in images if str(image.path) not in unreadable]
    columns = {size: corrected(found) for size, found in cases.items()}
    print(f"| mAP50 | {' | '.join(columns)} |")
    print("| --- " * (len(columns) + 1) + "|")
    for kind in next(iter(columns.values())):
        print(f"| {kind} | {' | '.join(f'{column[kind]:.3f}' for column in columns.values())} |")
    if args.sheet:
        found = alarms(images, next(iter(cases.values())), args.alarms)
        if not found:
            print("no alarm away from every label")
            return
        write_image(args.sheet, draw(found))
        print(
            f"the {len(found)} most confident false alarms, from confidence {found[-1][0]:.2f}: "
            f"{args.sheet}"
        )


if __name__ == "__main__":
    main()
