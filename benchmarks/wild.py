"""Measures a detector on street photos, bare faces, occluders, and recompressed photos.

    python benchmarks/wild.py --kaggle kaggle853 --bare photos/without_mask --model maskyolo-n

prints the tables of benchmarks/wild.md. With `--card FILE`, they replace the part of a model card
between `<!-- figures of maskyolo-n -->` and `<!-- end of figures -->`. The first table has all
models; the other tables have details of the first model. `--model` accepts the same names as
`maskyolo compare`, such as `two-stage:mobilenet_v2@yunet` or `best.onnx`.

Parts:

- *street*: the 846 photos of kaggle853 that are listed in its `benchmark.txt` (or `--list`), which
  have no photo in common with the two folders;
- *compressed*: these photos saved again as JPEG of quality 70 with 4:2:0 color;
- *bare*: a folder of photos without masks; in what fraction of them a mask is found, by confidence;
- *occluders*: the same faces with hands, phones, cups or scarves drawn on them
  (`maskyolo.synthesize_masks`);
- *video*: frames without masks, given as `--video FILE:FIRST-LAST`;
- *close-ups*: a folder with `with_mask` and `without_mask`; in what fraction of the photos the most
  confident detection has the folder's class, by the photo's size;
- *kinds*: labeled faces of the street photos by kind, such as profiles, from a table (`--kinds`).

`--ignore-boxes` names a table of faces that the annotators left out: a detection on one is neither
right nor wrong. `--photos` restricts the close-ups and bare faces to a list, such as photos that no
model was trained on.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from maskyolo.core.boxes import Boxes, as_boxes, box_iou
from maskyolo.core.classes import CLASS_NAMES, WITHOUT_MASK_ID
from maskyolo.core.detector import Detector
from maskyolo.core.images import ImageArray, list_images, read_image
from maskyolo.detectors.loading import load_detector
from maskyolo.evaluation.contestants import Contestant
from maskyolo.evaluation.labeled import LabeledImage, find_images
from maskyolo.evaluation.measure import AP_FLOOR, FACE_FLOOR, measure, predict
from maskyolo.evaluation.metrics import confusion
from maskyolo.evaluation.scores import Evaluation
from maskyolo.runtime.sources import VideoSource
from maskyolo.synthesis.synthesize import synthesize_masks

MASK = 0  # class id of with_mask
CONFIDENCES = (0.1, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6)
PHOTO_LIMIT = 300  # longer side in pixels of a small close-up
PHOTO_SIZES = (f"<{PHOTO_LIMIT} px", f">={PHOTO_LIMIT} px")
SIZES = ("<16", "16-32", "32-96", ">96")
#: Figures of other projects. The first was measured by our scorer on the 846 photos; the last three
#: are of models that were trained on such photos.
PUBLISHED = (
    ("AIZOO FaceMaskDetection (2020), on the 846 photos", 0.449),
    ("YOLOv8n trained on this set, 3 classes, as published", 0.78),
    ("YOLOv5s trained on this set, as published", 0.849),
    ("YOLOv8m trained on this set, as published", 0.890),
)


def load(
    model: str, conf: float | None = None, trust: bool = False, precision: str = "auto"
) -> Detector:
    """Load a contestant for average precision or, if given, for detection at `conf`."""
    one = Contestant.parse(model)
    chosen = {} if precision == "auto" else {"precision": precision}
    return load_detector(
        **one.settings(
            AP_FLOOR if conf is None else conf,
            FACE_FLOOR if conf is None else None,
            {"trust": trust} | chosen,
        )
    )


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return (
        "\n".join(
            "| " + " | ".join("-" if cell is None else str(cell) for cell in line) + " |"
            for line in lines
        )
        + "\n"
    )


def number(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f}"


def leaderboard(found: Sequence[Evaluation]) -> str:
    """Return the table of all models on the street photos."""
    rows: list[list[object]] = []
    for one in found:
        span = one.intervals["mean"]["map50"] or (0.0, 0.0)
        classes = [number(scores.map50) for scores in one.report.classes.values()]
        sizes = [number(one.slices["size"][size].map50) for size in SIZES]
        overall = f"**{one.map50:.3f}** ({span[0]:.3f} to {span[1]:.3f})"
        rows.append(
            [
                one.name,
                overall,
                number(one.map50_95),
                *classes,
                number(one.face.map50),
                *sizes,
                f"{one.false_alarms:.2f}",
            ]
        )
    rows += [[name, f"{value:.3f}", *[None] * 9] for name, value in PUBLISHED]
    head = [
        "",
        "mAP50 (95 % interval)",
        "mAP50-95",
        "with_mask",
        "without_mask",
        "face",
        *(f"{size} px" for size in SIZES),
        "false alarms",
    ]
    return table(head, rows)


def closer(one: Evaluation, colors: dict[str, tuple[int, int, int]]) -> str:
    """Return the tables of one model: precision, recall and F1 of each class, and slices."""
    classes = [
        [
            name,
            scores.support,
            *(
                number(value)
                for value in (scores.map50, scores.precision, scores.recall, scores.f1)
            ),
        ]
        for name, scores in (*one.report.classes.items(), ("face", one.face))
    ]
    parts: list[list[object]] = []
    for kind, title in (("faces", "faces in the photo"), ("sharpness", "sharpness")):
        for name, part in one.slices[kind].items():
            parts.append(
                [
                    title,
                    name,
                    part.support,
                    number(part.found),
                    number(part.right),
                    number(part.map50),
                ]
            )
    for name, (support, found, right) in colors.items():
        parts.append(
            [
                "color of the mask",
                name,
                support,
                number(found / support),
                number(right / support),
                None,
            ]
        )
    return (
        table(["", "boxes", "AP50", "precision", "recall", "F1"], classes)
        + f"\nat confidence {one.report.confidence:g}.\n\n"
        + table(["", "", "faces", "found", "found with the right class", "mAP50"], parts)
    )


def mask_color(image: ImageArray, box: Boxes) -> str:
    """Return a mask's color from the median over mouth and chin; empty below 24 pixels."""
    x1, y1, x2, y2 = box
    side = np.sqrt((x2 - x1) * (y2 - y1))
    width, height = x2 - x1, y2 - y1
    crop = image[
        max(0, round(y1 + 0.6 * height)) : round(y1 + 0.9 * height),
        max(0, round(x1 + 0.3 * width)) : round(x1 + 0.7 * width),
    ]
    if side < 24 or not crop.size:
        return ""
    hue, saturation, value = np.median(cv2.cvtColor(crop, cv2.COLOR_BGR2HSV).reshape(-1, 3), axis=0)
    if value < 80:
        return "black or dark"
    if saturation < 60:
        return "white or gray"
    return "blue or green" if 35 <= hue <= 130 else "other"


def by_color(one: Evaluation, pictures: Sequence[LabeledImage]) -> dict[str, tuple[int, int, int]]:
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for case, picture in zip(one.cases, pictures, strict=True):
        image = read_image(picture.path)
        _, found_as = confusion(case, one.report.confidence, 2)
        for box, class_id, told in zip(case.boxes, case.class_ids, found_as, strict=True):
            if class_id == MASK and (name := mask_color(image, box)):
                counts[name] = [
                    a + b for a, b in zip(counts[name], (1, told >= 0, told == MASK), strict=True)
                ]
    return {name: (a, b, c) for name, (a, b, c) in sorted(counts.items())}


def compressed(pictures: Sequence[LabeledImage], folder: Path) -> list[LabeledImage]:
    """Save the photos again as JPEG, quality 70, with chroma at half the resolution (4:2:0)."""
    saved = []
    options = [
        cv2.IMWRITE_JPEG_QUALITY,
        70,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    ]
    for picture in pictures:
        path = folder / f"{picture.path.stem}.jpg"
        path.write_bytes(cv2.imencode(".jpg", read_image(picture.path), options)[1].tobytes())
        saved.append(replace(picture, path=path))
    return saved


def best_mask(detector: Detector, images: Iterable[ImageArray]) -> list[float]:
    """Return the confidence of the most confident `with_mask` in each image, or 0."""
    best = []
    for image in images:
        found = detector(image)
        confidence = found.confidence if found.confidence is not None else np.zeros(0)
        best.append(float(confidence[found.class_id == MASK].max(initial=0)))
    return best


def by_size(
    detector: Detector, folder: Path, only: set[str] | None
) -> list[tuple[str, str, int, float]]:
    """Return class, size, number and right share of a folder's close-ups.

    A photo is right if its most confident detection has the class of its folder.
    """
    rows = []
    for class_id, name in enumerate(CLASS_NAMES):
        right: dict[str, list[bool]] = {size: [] for size in PHOTO_SIZES}
        for path in list_images(folder / name):
            if only is not None and f"{name}/{path.name}" not in only:
                continue
            image = read_image(path)
            found = detector(image)
            size = PHOTO_SIZES[max(image.shape[:2]) >= PHOTO_LIMIT]
            best = int(np.argmax(found.confidence)) if len(found) else -1
            right[size].append(best >= 0 and int(found.class_id[best]) == class_id)
        rows += [
            (name, size, len(hits), float(np.mean(hits))) for size, hits in right.items() if hits
        ]
    return rows


def by_kind(
    detector: Detector, table: Path, pictures: Sequence[LabeledImage]
) -> list[tuple[str, str, int, int, int]]:
    """Return kind, class, faces, found faces, and found ones with the right class.

    Faces in other photos are left out. A mask that is worn incorrectly counts as `without_mask`.
    """
    counts: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    paths = {picture.path.name: picture.path for picture in pictures}
    images: dict[str, list[dict[str, str]]] = defaultdict(list)
    with table.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["image"] in paths:
                images[row["image"]].append(row)
    for image, rows in images.items():
        found = detector(read_image(paths[image]))
        boxes = as_boxes([[float(row[key]) for key in ("x1", "y1", "x2", "y2")] for row in rows])
        overlaps = box_iou(boxes, as_boxes(found.xyxy))
        for row, overlap in zip(rows, overlaps, strict=True):
            hit = int(np.argmax(overlap)) if overlap.size and overlap.max() >= 0.5 else -1
            wanted = MASK if row["class"] == CLASS_NAMES[MASK] else WITHOUT_MASK_ID
            right = hit >= 0 and int(found.class_id[hit]) == wanted
            now = counts[row["kind"], row["class"]]
            counts[row["kind"], row["class"]] = [now[0] + 1, now[1] + (hit >= 0), now[2] + right]
    return [(*key, *value) for key, value in sorted(counts.items())]


def read_all(paths: Iterable[Path]) -> Iterator[ImageArray]:
    return (read_image(path) for path in paths)


def frames(text: str) -> Iterator[ImageArray]:
    file, _, span = text.rpartition(":")
    first, last = map(int, span.split("-"))
    return (
        frame.image for frame in VideoSource(Path(file)).frames() if first <= frame.index <= last
    )


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument(
        "--kaggle",
        type=Path,
        required=True,
        help="folder with images/, annotations/ and benchmark.txt",
    )
    options.add_argument(
        "--list",
        type=Path,
        help="names of the photos to use (default: benchmark.txt in --kaggle)",
    )
    options.add_argument("--bare", type=Path, help="folder of photos in which nobody wears a mask")
    options.add_argument(
        "--video",
        action="append",
        default=[],
        metavar="FILE:FIRST-LAST",
        help="frames in which nobody wears a mask",
    )
    options.add_argument(
        "--model",
        action="append",
        metavar="MODEL",
        help="as for maskyolo compare; can be repeated",
    )
    options.add_argument(
        "--conf", type=float, default=0.25, help="minimum confidence of detections"
    )
    options.add_argument(
        "--ignore-boxes", type=Path, help="table of faces without a label, as for maskyolo val"
    )
    options.add_argument(
        "--closeups", type=Path, help="folder with with_mask and without_mask, a face per photo"
    )
    options.add_argument(
        "--photos", type=Path, help="list of the photos in --closeups to use, as CLASS/NAME"
    )
    options.add_argument("--kinds", type=Path, help="table of labeled faces with their kind")
    options.add_argument("--card", type=Path, help="model card to write the tables to")
    options.add_argument("--precision", default="auto", help="as for maskyolo detect")
    options.add_argument("--trust", action="store_true", help="open .pt files of unknown origin")
    args = options.parse_args()
    models = args.model or ["maskyolo-n"]

    names = args.list or args.kaggle / "benchmark.txt"
    pictures, _ = find_images(
        images=args.kaggle / "images",
        labels=args.kaggle / "annotations",
        image_list=names,
        ignore_boxes=args.ignore_boxes,
    )
    only = set(args.photos.read_text(encoding="utf-8").splitlines()) if args.photos else None
    cases, sharpness, _ = predict(
        pictures, {model: load(model, None, args.trust, args.precision) for model in models}
    )
    found = [measure(model, cases[model], sharpness, args.conf) for model in models]
    first = found[0]
    text = [f"On {len(pictures)} street photos:\n", leaderboard(found)]
    text += [f"{first.name} in detail:\n", closer(first, by_color(first, pictures))]

    with tempfile.TemporaryDirectory() as folder:
        again, blur, _ = predict(
            compressed(pictures, Path(folder)),
            {first.name: load(first.name, None, args.trust, args.precision)},
        )
    worse = measure(first.name, again[first.name], blur, args.conf)
    both = (first.map50 or 0.0, worse.map50 or 0.0)
    text.append(
        f"Saved again as JPEG (quality 70, 4:2:0): mAP50 {both[1]:.3f}, {both[1] - both[0]:+.3f}.\n"
    )

    sure = load(first.name, min(CONFIDENCES), args.trust, args.precision)
    rows: dict[str, list[float]] = {}
    if args.bare:
        bare = [
            path
            for path in list_images(args.bare)
            if only is None or f"{args.bare.name}/{path.name}" in only
        ]
        rows["bare faces"] = best_mask(sure, read_all(bare))
        with tempfile.TemporaryDirectory() as folder:
            made = synthesize_masks(args.bare, Path(folder) / "made", masks=0, occluders=1, seed=1)
            drawn: dict[str, list[Path]] = defaultdict(list)
            for photo in made.photos:
                if photo.status == "occluder" and len(kinds := set(photo.drawn.split(";"))) == 1:
                    drawn[kinds.pop().split()[0]].append(made.folder / photo.file)
            for kind, paths in sorted(drawn.items()):
                rows[f"with {kind} drawn before them"] = best_mask(sure, read_all(paths))
    for video in args.video:
        rows[f"frames {video.rpartition(':')[2]} of {Path(video.rpartition(':')[0]).name}"] = (
            best_mask(sure, frames(video))
        )
    if rows:
        counted = [
            [
                name,
                len(best),
                *(f"{np.mean(np.asarray(best) >= conf):.4f}" for conf in CONFIDENCES),
            ]
            for name, best in rows.items()
        ]
        text.append("Share of images without a mask in which one is found, by confidence:\n")
        text.append(table(["", "images", *(f"{conf:g}" for conf in CONFIDENCES)], counted))
    if args.closeups or args.kinds:
        usual = load(first.name, args.conf, args.trust, args.precision)
    if args.closeups:
        text.append("Close-ups, right if the most confident detection has the photo's class:\n")
        shares = by_size(usual, args.closeups, only)
        text.append(
            table(["", "size", "photos", "right"], [(*r[:3], number(r[3])) for r in shares])
        )
    if args.kinds:
        text.append(
            f"Labeled faces by kind, found at an IoU of 0.5 and a confidence of {args.conf:g}:\n"
        )
        head = ["kind", "class", "faces", "found", "with the right class"]
        text.append(table(head, by_kind(usual, args.kinds, pictures)))
    report = "\n".join(text)
    print(report)
    if args.card:
        begin, end = f"<!-- figures of {first.name} -->", "<!-- end of figures -->"
        before, _, rest = args.card.read_text(encoding="utf-8").partition(begin)
        after = rest.partition(end)[2]
        args.card.write_text(f"{before}{begin}\n{report}{end}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
