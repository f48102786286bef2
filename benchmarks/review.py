"""Measures how many errors planted in correct labels `maskyolo review find` ranks first.

A YOLO data set, such as `maskyolo convert` creates from photos with boxes, is copied. In the copy,
some boxes, chosen by a seed, are

- *swapped*: given the other class (5 % of the boxes);
- *moved* by half of their width or height (5 %);
- *deleted* (5 %);
- *spurious*: added where there is no face, in the size of another box of the photo (3 %).

`review find` then searches for them. The result is the fraction of each kind that is among its
first n suspicions, where n is 18 % of the number of boxes.

    maskyolo convert kaggle853 --format voc --list clean.txt --out clean
    python benchmarks/review.py clean --out planted --seed 2

prints the tables of benchmarks/review.md.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import shutil
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from label_quality import QualityScores, cleanlab_scores, mistakenness

from maskyolo.core.boxes import Boxes, as_boxes, box_iou, clip_boxes
from maskyolo.core.images import read_image
from maskyolo.core.labels import Labels, format_yolo, read_yolo
from maskyolo.core.runs import new_run
from maskyolo.dataset.layout import format_data_yaml, load_dataset
from maskyolo.errors import MaskyoloError
from maskyolo.review.finding.judging import judge_photos, match_predictions
from maskyolo.review.finding.predictions import JudgedPhoto
from maskyolo.review.finding.ranking import rank
from maskyolo.review.finding.scores import (
    face_probabilities,
    linear_probabilities,
    pair_boxes,
    score_photos,
)
from maskyolo.review.options import FindOptions
from maskyolo.review.review_set import read_review_set

SHARES = {"swapped": 0.05, "moved": 0.05, "deleted": 0.05, "spurious": 0.03}


@dataclass(frozen=True)
class Planted:
    """A planted error.

    Attributes:
        image: the image file.
        kind: one of `SHARES`.
        box: of the label, or of the face whose label was deleted.
    """

    image: str
    kind: str
    box: tuple[float, ...]


def plant(data: Path, out: Path, seed: int) -> list[Planted]:
    """Copy a data set, plant errors into its labels, and write them to `planted.csv`."""
    dataset = load_dataset(data)
    shutil.copytree(dataset.root, out, ignore=shutil.ignore_patterns("*.cache", "sheets"))
    (out / "data.yaml").write_text(format_data_yaml(out, list(dataset.splits)), encoding="utf-8")
    rng = random.Random(seed)
    images = [path for split in dataset.splits for path in dataset.images(split)]
    sizes = {path: read_image(path).shape[1::-1] for path in images}
    labels = {path: read_yolo(dataset.label_of(path), *sizes[path]) for path in images}
    every = [(path, place) for path in images for place in range(len(labels[path]))]
    rng.shuffle(every)
    kinds: dict[tuple[Path, int], str] = {}
    for kind in ("swapped", "moved", "deleted"):
        kinds |= dict.fromkeys(
            every[len(kinds) : len(kinds) + round(SHARES[kind] * len(every))], kind
        )
    spurious = rng.sample(every, round(SHARES["spurious"] * len(every)))
    planted = []
    for path in images:
        width, height = sizes[path]
        name = path.relative_to(dataset.root).as_posix()
        boxes, class_ids = [], []
        for place, (box, class_id) in enumerate(
            zip(labels[path].boxes, labels[path].class_ids.tolist(), strict=True)
        ):
            kind = kinds.get((path, place), "")
            new = move(box, width, height, rng) if kind == "moved" else box
            if kind:
                planted.append(Planted(name, kind, tuple(new.tolist())))
            if kind != "deleted":
                boxes.append(new)
                class_ids.append(1 - class_id if kind == "swapped" else class_id)
        for _, place in (entry for entry in spurious if entry[0] == path):
            new = elsewhere(labels[path].boxes, place, width, height, rng)
            if new is not None:
                planted.append(Planted(name, "spurious", tuple(new.tolist())))
                boxes.append(new)
                class_ids.append(rng.randrange(2))
        order = rng.sample(range(len(boxes)), len(boxes))
        made = Labels(
            as_boxes([boxes[place] for place in order]),
            np.array([class_ids[place] for place in order], dtype=np.int64),
        )
        (out / dataset.label_of(path).relative_to(dataset.root)).write_text(
            format_yolo(made, width, height), encoding="utf-8"
        )
    with (out / "planted.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("image", "kind", "box"))
        writer.writerows((error.image, error.kind, json.dumps(error.box)) for error in planted)
    return planted


def move(box: np.ndarray, width: int, height: int, rng: random.Random) -> np.ndarray:
    """Move a box by half its width or height, in a direction that keeps most of it in the image."""
    across, down = (box[2:] - box[:2]) / 2
    ways = [
        np.array(way * 2, np.float32) + box
        for way in ((across, 0), (-across, 0), (0, down), (0, -down))
    ]
    inside = [
        way
        for way in (clip_boxes(way, width, height)[0] for way in ways)
        if box_iou(way, box)[0, 0] > 0.3
    ]
    return rng.choice(inside or [clip_boxes(ways[0], width, height)[0]])


def elsewhere(
    boxes: Boxes, place: int, width: int, height: int, rng: random.Random
) -> np.ndarray | None:
    """Return a box that has the size of one of the boxes and touches none of them, or None."""
    across, down = boxes[place, 2:] - boxes[place, :2]
    for _ in range(200):
        left, top = rng.uniform(0, width - across), rng.uniform(0, height - down)
        box = np.array([left, top, left + across, top + down], np.float32)
        if box_iou(box, boxes).max() == 0:
            return box
    return None


def hits(
    suspicions: list[tuple[float, str, bool, np.ndarray]], planted: list[Planted], first: int
) -> dict[str, float]:
    """Return the fraction of planted errors of each kind that is among the first suspicions.

    A suspicion is (score, image, whether it is about a label, box). Their order does not matter.
    """
    by_image: dict[str, list[Planted]] = {}
    for error in planted:
        by_image.setdefault(error.image, []).append(error)
    found = set()
    for _, image, of_label, box in sorted(suspicions, key=lambda suspicion: -suspicion[0])[:first]:
        for error in by_image.get(image, []):
            same = np.abs(np.array(error.box) - box).max() < 1
            if (of_label and error.kind != "deleted" and same) or (
                not of_label and error.kind == "deleted" and box_iou(box, error.box)[0, 0] >= 0.4
            ):
                found.add(error)
    kinds = {kind: [error for error in planted if error.kind == kind] for kind in SHARES}
    return {
        kind: sum(error in found for error in errors) / max(len(errors), 1)
        for kind, errors in kinds.items()
    }


def alone(photos: list[JudgedPhoto]) -> dict[str, list[QualityScores]]:
    """Return the scores of each individual method for every photo."""
    crops, linear = face_probabilities(photos), linear_probabilities(photos)
    scores = {
        "out-of-fold detector": [
            detector_scores(photo.labels, photo.predictions.boxes, photo.predictions.scores)
            for photo in photos
        ],
        "second detector (YuNet)": [
            detector_scores(
                photo.labels, photo.features.faces.boxes, photo.features.faces.scores[:, None]
            )
            for photo in photos
        ],
        "two-stage classifier": [
            _of_class(photo, photo.features.probabilities[:, 1]) for photo in photos
        ],
        "features: class, other folds' labels": [
            _of_class(photo, bare) for photo, bare in zip(photos, linear, strict=True)
        ],
        "features: face or background": [
            QualityScores(*np.zeros((2, len(face))), 1 - face, np.zeros(len(photo.predictions)))
            for photo, face in zip(photos, crops, strict=True)
        ],
        "cleanlab (ObjectLab)": cleanlab_scores(photos),
    }
    try:
        scores["FiftyOne Brain (mistakenness)"] = mistakenness(photos)
    except MaskyoloError as error:
        print(f"FiftyOne's mistakenness is left out: {error}")
    return scores


def detector_scores(labels: Labels, boxes: Boxes, scores: np.ndarray) -> QualityScores:
    """Return scores for labels from a single detector.

    `scores` is (m, classes), with one column for a face detector.
    """
    overlap, confidence = box_iou(labels.boxes, boxes), scores.max(axis=1, initial=0)
    wrong, bad, spurious = np.zeros((3, len(labels)))
    for place, partner in enumerate(pair_boxes(labels.boxes, boxes)):
        if partner < 0:
            spurious[place] = 1
            continue
        spurious[place], bad[place] = (
            1 - confidence[partner],
            confidence[partner] * (1 - overlap[place, partner]),
        )
        if scores.shape[1] > 1:
            wrong[place] = scores[partner, 1 - labels.class_ids[place]]
    return QualityScores(
        wrong, bad, spurious, np.where(overlap.max(axis=0, initial=0) < 0.3, confidence, 0.0)
    )


def _of_class(photo: JudgedPhoto, bare: np.ndarray) -> QualityScores:
    nothing = np.zeros(len(photo.labels))
    return QualityScores(
        np.where(photo.labels.class_ids == 1, 1 - bare, bare),
        nothing,
        nothing,
        np.zeros(len(photo.predictions)),
    )


def listed(
    photos: list[JudgedPhoto], scores: list[QualityScores], second: bool = False
) -> list[tuple[float, str, bool, np.ndarray]]:
    """Return a method's suspicions: each label with its worst score, and each missing face."""
    found = []
    for photo, given in zip(photos, scores, strict=True):
        worst = np.max([given.wrong_class, given.bad_box, given.spurious], axis=0)
        faces = photo.features.faces.boxes if second else photo.predictions.boxes
        found += [
            (score, photo.image, True, box)
            for score, box in zip(worst, photo.labels.boxes, strict=True)
        ]
        found += [
            (score, photo.image, False, box)
            for score, box in zip(given.missing, faces, strict=True)
            if score > 0
        ]
    return found


def combined(photos: list[JudgedPhoto]) -> list[tuple[float, str, bool, np.ndarray]]:
    """Return the suspicions of `review find` itself; only the first one for each label."""
    found: dict[tuple[str, object], tuple[float, str, bool, np.ndarray]] = {}
    for suspicion in rank(photos, score_photos(photos)):
        box = np.array(suspicion.box or suspicion.suggested_box)
        if len(box):
            key = (
                suspicion.image,
                suspicion.suggested_box if suspicion.label is None else suspicion.label,
            )
            if key not in found or found[key][0] < suspicion.score:
                found[key] = (suspicion.score, suspicion.image, suspicion.label is not None, box)
    return list(found.values())


def row(name: str, shares: dict[str, float]) -> str:
    """Return a row of the table."""
    return f"| {name} | " + " | ".join(f"{shares[kind]:.2f}" for kind in SHARES) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Measure how many planted errors `maskyolo review find` ranks first."
    )
    parser.add_argument("data", type=Path, help="YOLO data set with correct labels")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for the copy with errors, and for the run"
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of the errors")
    parser.add_argument(
        "--first",
        type=float,
        default=0.18,
        help="number of suspicions to check, as a fraction of the boxes",
    )
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--model", default="maskyolo-n")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--imgsz", type=int, default=416)
    parser.add_argument(
        "--predictions",
        type=Path,
        help="predictions.jsonl of an earlier run with the same seed; skips training",
    )
    args = parser.parse_args()
    planted = (
        plant(args.data, args.out / "set", args.seed)
        if not (args.out / "set").exists()
        else read_planted(args.out / "set")
    )
    review = read_review_set(args.out / "set")
    given = match_predictions(args.predictions, review) if args.predictions else None
    begin, cpu = time.monotonic(), time.process_time()
    options = FindOptions(
        folds=args.folds, model=args.model, epochs=args.epochs, imgsz=args.imgsz, device="cpu"
    )
    photos = judge_photos(review, new_run(args.out, "run").absolute(), options, given)
    total = sum(len(photo.labels) for photo in photos)
    first = round(args.first * total)
    kinds = dict(Counter(error.kind for error in planted))
    print(f"{len(photos)} photos, {total} labels; planted: {kinds}")
    minutes, core_minutes = (time.monotonic() - begin) / 60, (time.process_time() - cpu) / 60
    print(f"{minutes:.1f} minutes, {core_minutes:.1f} of a core's time in this process")
    print(
        f"\nShare of each kind among the first {first} suspicions ({args.first:.0%} of labels):\n"
    )
    print("| method | " + " | ".join(SHARES) + " |\n|---|" + "---|" * len(SHARES))
    for name, scores in alone(photos).items():
        print(row(name, hits(listed(photos, scores, "YuNet" in name), planted, first)))
    print(row("**all together: `review find`**", hits(combined(photos), planted, first)))


def read_planted(data: Path) -> list[Planted]:
    """Read the errors that an earlier run planted."""
    with (data / "planted.csv").open(encoding="utf-8", newline="") as file:
        return [
            Planted(line["image"], line["kind"], tuple(json.loads(line["box"])))
            for line in csv.DictReader(file)
        ]


if __name__ == "__main__":
    main()
