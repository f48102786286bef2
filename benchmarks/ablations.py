"""Measures the effect of one choice in the recipe with a short training.

    python benchmarks/ablations.py "with scenes" --data data/scenes --kaggle kaggle853 --seed 1 \\
        --out ablations.jsonl
    python benchmarks/ablations.py --table ablations.jsonl

The first command trains for one epoch with the recipe `folders`, on `--pictures` training images of
the set, sampled with the seed, measures the result on street photos, and appends a line of figures
to the file. Rows differ only in the set and the given options. The second command prints the table:
mean, minimum and maximum over the seeds for each name. benchmarks/ablations.md names the sets and
contains the table.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import yaml

from maskyolo.dataset.layout import load_dataset
from maskyolo.evaluation.evaluation import evaluate
from maskyolo.training.detector import train_detector

SIZES = ("<16", "16-32", "32-96", ">96")


def sample(data: Path, folder: Path, images: int, seed: int) -> Path:
    """Write a data.yaml with a sample of the training images and the whole val split; return it."""
    whole = load_dataset(data)
    for split in ("train", "val"):
        paths = whole.images(split)
        chosen = (
            random.Random(seed).sample(paths, min(images, len(paths)))
            if split == "train"
            else paths
        )
        (folder / f"{split}.txt").write_text(
            "".join(f"{path.resolve()}\n" for path in chosen), encoding="utf-8"
        )
    place = folder / "data.yaml"
    content = {
        "path": str(folder),
        "train": "train.txt",
        "val": "val.txt",
        "names": dict(enumerate(whole.names)),
    }
    place.write_text(yaml.safe_dump(content), encoding="utf-8")
    return place


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Train and measure one row."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        trained = train_detector(
            sample(args.data, folder, args.pictures, args.seed),
            model=args.model,
            recipe="folders",
            epochs=1,
            imgsz=args.imgsz,
            seed=args.seed,
            project=folder,
        )
        minutes = (time.monotonic() - begun) / 60
        kaggle = args.kaggle
        names = args.list or kaggle / "benchmark.txt"
        found = evaluate(
            images=kaggle / "images",
            labels=kaggle / "annotations",
            image_list=names,
            model=trained.onnx,
            imgsz=640,
            precision="fp32",
            project=None,
        )
    classes = {name: scores.map50 for name, scores in found.report.classes.items()}
    sizes = {size: found.slices["size"][size].map50 for size in SIZES}
    return {
        "name": args.name,
        "seed": args.seed,
        "mAP50": found.map50,
        **classes,
        "face": found.face.map50,
        **sizes,
        "minutes": minutes,
    }


def table(lines: list[dict[str, Any]]) -> str:
    """Return the rows of each name, in the order of their first lines, as a Markdown table."""
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in lines:
        rows[line["name"]].append(line)
    columns = ["mAP50", "with_mask", "without_mask", "face", *SIZES]
    text = ["| | seeds | " + " | ".join(columns) + " |", "| --- " * (len(columns) + 2) + "|"]
    for name, runs in rows.items():
        values = {
            column: [run[column] for run in runs if run[column] is not None] for column in columns
        }
        means = {
            column: f"{sum(found) / len(found):.3f}" if found else "-"
            for column, found in values.items()
        }
        if len(runs) > 1:
            means["mAP50"] += f" ({min(values['mAP50']):.3f} to {max(values['mAP50']):.3f})"
        text.append(f"| {name} | {len(runs)} | " + " | ".join(means.values()) + " |")
    return "\n".join(text) + "\n"


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("name", nargs="?", help="name of the row")
    options.add_argument("--data", type=Path, help="data set to train on")
    options.add_argument(
        "--kaggle", type=Path, help="folder with images/, annotations/ and benchmark.txt"
    )
    options.add_argument(
        "--list",
        type=Path,
        help="names of the photos to measure on (default: benchmark.txt in --kaggle)",
    )
    options.add_argument("--model", default="yolov8n", help="initial weights")
    options.add_argument(
        "--imgsz", type=int, default=416, help="training size in pixels; measured at 640"
    )
    options.add_argument("--pictures", type=int, default=2400, help="number of training images")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--out", type=Path, help="file to append the line of figures to")
    options.add_argument(
        "--table", type=Path, metavar="FILE", help="print the table of a file written with --out"
    )
    args = options.parse_args()
    if args.table:
        print(
            table(
                [json.loads(line) for line in args.table.read_text(encoding="utf-8").splitlines()]
            ),
            end="",
        )
        return
    if not (args.name and args.data and args.kaggle):
        options.error("a row needs a name, --data and --kaggle")
    line = json.dumps(measure(args))
    print(line)
    if args.out:
        with args.out.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


if __name__ == "__main__":
    main()
