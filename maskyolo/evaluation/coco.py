"""Labels and detections as COCO JSON, so that pycocotools and other evaluators can read them."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maskyolo.core.files import write_atomic
from maskyolo.evaluation.metrics import Case, Floats

__all__ = ["DETECTIONS", "GROUND_TRUTH", "save_coco"]

#: Names of the files in a run's folder.
GROUND_TRUTH, DETECTIONS = "coco_ground_truth.json", "coco_detections.json"


def save_coco(
    folder: Path, images: Sequence[Path], cases: Sequence[Case], classes: Sequence[str]
) -> None:
    """Write the ground truth and the detections of a run as COCO JSON.

    Ids of images and categories start at 1: the category of a class is its id plus 1. Boxes are
    `[x, y, width, height]` in pixels. An ignored box is a crowd (`iscrowd`) of each category,
    because pycocotools knows no other way to ignore a box.

    Args:
        folder: the run's folder.
        images: the image files; `file_name` is relative to the folder that contains all of them.
        cases: one per image, in the same order.
        classes: the classes, by id.

    Raises:
        OutputError: a file cannot be written.
    """
    root = os.path.commonpath([image.parent for image in images])
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image_id, case in enumerate(cases, 1):
        for box, class_id in zip(case.boxes, case.class_ids.tolist(), strict=True):
            annotations.append(_annotation(len(annotations) + 1, image_id, class_id + 1, box, 0))
        for box in case.ignored:
            for category in range(1, len(classes) + 1):
                annotations.append(_annotation(len(annotations) + 1, image_id, category, box, 1))
        for box, class_id, score in zip(
            case.found, case.found_ids.tolist(), case.confidence.tolist(), strict=True
        ):
            results.append(
                {
                    "image_id": image_id,
                    "category_id": class_id + 1,
                    "bbox": _xywh(box),
                    "score": score,
                }
            )
    truth = {
        "info": {"description": "Ground truth of a maskyolo evaluation"},
        "images": [
            {
                "id": number,
                "file_name": image.relative_to(root).as_posix(),
                "width": case.size[0],
                "height": case.size[1],
            }
            for number, (image, case) in enumerate(zip(images, cases, strict=True), 1)
        ],
        "categories": [{"id": number, "name": name} for number, name in enumerate(classes, 1)],
        "annotations": annotations,
    }
    write_atomic(folder / GROUND_TRUTH, json.dumps(truth) + "\n")
    write_atomic(folder / DETECTIONS, json.dumps(results) + "\n")


def _annotation(
    number: int, image_id: int, category: int, box: Floats, crowd: int
) -> dict[str, Any]:
    x, y, width, height = _xywh(box)
    return {
        "id": number,
        "image_id": image_id,
        "category_id": category,
        "bbox": [x, y, width, height],
        "area": width * height,
        "iscrowd": crowd,
    }


def _xywh(box: Floats) -> list[float]:
    x1, y1, x2, y2 = box.tolist()
    return [x1, y1, x2 - x1, y2 - y1]
