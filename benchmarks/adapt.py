"""What each part of `maskyolo adapt` contributes: benchmarks/adapt.md has the figures.

    python benchmarks/adapt.py halve khanh_khanh.mp4 --out halves
    python benchmarks/adapt.py run halves/first.avi --model maskyolo-n --base SET --out runs

`halve` writes the first half of a video and, as a data set, the labeled frames of its second half
(data/video-labels.csv). `run` runs `adapt` once per arm, with one part left out and one blend, and
keeps the weights whether they are better or not. Compare them with `maskyolo compare`; the commands
are in adapt.md.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np

from maskyolo.adaptation import adapting, judging, learning, voting
from maskyolo.adaptation.adapting import adapt
from maskyolo.adaptation.views import Sighting, Teacher
from maskyolo.conversion.face_classes import blank_out
from maskyolo.core.boxes import as_boxes
from maskyolo.core.classes import CLASS_NAMES
from maskyolo.core.images import ImageArray
from maskyolo.core.labels import Labels, format_yolo
from maskyolo.dataset.layout import format_data_yaml

LABELS = Path(__file__).parent.parent / "data" / "video-labels.csv"
BOX = ("x1", "y1", "x2", "y2")
#: Validation photos of the base set, of which each blend sees all: fewer than the product's.
BASE_VAL = 60


class OneView(Teacher):
    """Finds faces as the detector alone does at 0.25, without other sizes, mirror and YuNet."""

    def __call__(self, image: ImageArray) -> list[Sighting]:
        found = self._detectors[1](image)
        return [
            Sighting(box, float(conf if kind == 0 else -conf), 1.0, float(conf), True)
            for box, conf, kind in zip(
                found.xyxy.astype(np.float32), found.confidence, found.class_id, strict=True
            )
            if conf >= 0.25
        ]


def without_votes(moments: Any, _: float) -> Any:
    """Label each frame of a recording as if it were an image."""
    return [voting.label_still(one.sightings) for one in moments]


def without_blanking(image: ImageArray, *_: Any) -> ImageArray:
    """Leave unclear faces in the image, without a label."""
    return image


#: What each arm replaces in the product, by module and name, and its options.
ARMS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "full": ({}, {}),
    "no-votes": ({"label_recording": without_votes}, {}),
    "no-agreement": ({"Teacher": OneView}, {}),
    "no-blanking": ({"blank_out": without_blanking}, {}),
    "no-mixing": ({}, {"base_images": 0}),
}


@contextmanager
def patched(arm: str) -> Iterator[None]:
    """Leave out a part of the product, and keep the weights whatever they are."""
    with (
        mock.patch.multiple(adapting, **ARMS[arm][0]) if ARMS[arm][0] else mock.MagicMock(),
        mock.patch.object(judging, "ALLOWED_LOSS", 1.0),
        mock.patch.object(learning, "_BASE_VAL", BASE_VAL),
    ):
        yield


def halve(video: Path, out: Path) -> None:
    """Write the first half of a video, and its second half's labeled frames as a data set."""
    rows: dict[int, list[dict[str, str]]] = defaultdict(list)
    with LABELS.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["video"] == video.stem:
                rows[int(row["frame"])].append(row)
    for kind in ("images", "labels"):
        (out / "second" / kind / "val").mkdir(parents=True)
    frames = cv2.VideoCapture(str(video))
    half, size = int(frames.get(7)) // 2, (int(frames.get(3)), int(frames.get(4)))
    clip = cv2.VideoWriter(
        str(out / "first.avi"), cv2.VideoWriter.fourcc(*"MJPG"), frames.get(5), size
    )
    clip.set(cv2.VIDEOWRITER_PROP_QUALITY, 95)
    for number in range(max(rows) + 1):
        image = frames.read()[1]
        if number < half:
            clip.write(image)
        elif number in rows:
            _write(image, rows[number], out / "second", f"{number:06d}")
    clip.release()
    text = format_data_yaml(out / "second", ["val"])
    (out / "second" / "data.yaml").write_text(text + "train: images/val\n", encoding="utf-8")


def _write(image: ImageArray, rows: list[dict[str, str]], out: Path, name: str) -> None:
    height, width = image.shape[:2]
    boxes = {kind: as_boxes([]) for kind in (*CLASS_NAMES, "ignore")}
    for kind in boxes:
        some = [[float(row[key]) for key in BOX] for row in rows if row["kind"] == kind]
        boxes[kind] = as_boxes(some)
    labels = Labels(
        np.concatenate([boxes[kind] for kind in CLASS_NAMES]),
        np.repeat(np.arange(len(CLASS_NAMES)), [len(boxes[kind]) for kind in CLASS_NAMES]),
    )
    image = blank_out(image, boxes["ignore"], labels.boxes)
    cv2.imwrite(str(out / "images" / "val" / f"{name}.png"), image)
    text = format_yolo(labels, width, height)
    (out / "labels" / "val" / f"{name}.txt").write_text(text, encoding="utf-8")


def run(given: argparse.Namespace) -> None:
    """Run the arms, each into a folder of its name, and print their verdicts."""
    for arm in given.arms:
        out = given.out / arm
        if (out / "report.json").is_file():
            continue
        options = {"base_images": given.base_images, **ARMS[arm][1]}
        began = time.monotonic()
        with patched(arm):
            made = adapt(
                given.source,
                out,
                model=given.model,
                data=given.base,
                blend=(given.blend,),
                frames=given.frames,
                vid_stride=given.vid_stride,
                imgsz=given.imgsz,
                seed=given.seed,
                **options,
            )
        verdict = made.learned.verdict if made.learned else ""
        minutes = (time.monotonic() - began) / 60
        print(arm, len(made.rows), dict(made.counts()), verdict, f"{minutes:.1f} min", flush=True)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    commands = parser.add_subparsers(dest="command", required=True)
    halving = commands.add_parser("halve")
    halving.add_argument("video", type=Path)
    halving.add_argument("--out", type=Path, required=True)
    running = commands.add_parser("run")
    running.add_argument("source")
    running.add_argument("--model", required=True)
    running.add_argument("--base", type=Path, required=True)
    running.add_argument("--out", type=Path, required=True)
    running.add_argument("--arms", nargs="+", choices=sorted(ARMS), default=list(ARMS))
    for name, value in (("frames", 300), ("base-images", 200), ("vid-stride", 5), ("seed", 0)):
        running.add_argument(f"--{name}", type=int, default=value)
    running.add_argument("--imgsz", type=int)
    running.add_argument("--blend", type=float, default=0.5)
    given = parser.parse_args()
    if given.command == "halve":
        halve(given.video, given.out)
    else:
        run(given)


if __name__ == "__main__":
    main()
