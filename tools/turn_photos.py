"""Adds turned copies of close-ups to a data set: heads that bend, lie or hang upside down.

    python tools/turn_photos.py data/closeups --share 0.2 --seed 1

Each copy shows a training photo with one face, rotated by 30 to 180 degrees to either side. Its box
is the bounding box of the rotated ellipse that the face's box encloses. It is therefore tighter
than the bounding box of the rotated box, which augmentation during training would use. The copies
go into the data set itself, as `NAME-turned.jpg`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from maskyolo.core.boxes import Boxes, as_boxes
from maskyolo.core.files import write_atomic
from maskyolo.core.images import ImageArray, list_images, read_image, write_image
from maskyolo.core.labels import Labels, format_yolo, read_yolo

ANGLES = (30.0, 180.0)  # degrees; `degrees` of the recipe covers smaller angles


def turn(image: ImageArray, box: Boxes, angle: float) -> tuple[ImageArray, Boxes]:
    """Rotate an image with one face counterclockwise by `angle` degrees.

    The canvas grows to contain the whole image, and the corners are filled with its mean color.

    Returns:
        the rotated image, and the face's box (4,), xyxy pixels.
    """
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1.0)
    cosine, sine = abs(matrix[0, 0]), abs(matrix[0, 1])
    size = round(width * cosine + height * sine), round(width * sine + height * cosine)
    matrix[:, 2] += (size[0] - width) / 2, (size[1] - height) / 2
    turned = cv2.warpAffine(
        image, matrix, size, flags=cv2.INTER_AREA, borderValue=image.mean(axis=(0, 1)).tolist()
    )
    x1, y1, x2, y2 = map(float, box)
    center = matrix @ np.array([(x1 + x2) / 2, (y1 + y2) / 2, 1.0])
    half = np.sqrt((matrix[:, :2] ** 2) @ np.array([(x2 - x1) / 2, (y2 - y1) / 2]) ** 2)
    return np.asarray(turned, dtype=np.uint8), as_boxes([[*(center - half), *(center + half)]])[0]


def main() -> None:
    """Parse the arguments and add the turned copies."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the data set")
    parser.add_argument("--share", type=float, default=0.2, help="share of the photos to turn")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    random = np.random.default_rng(given.seed)
    images, labels = given.data / "images" / "train", given.data / "labels" / "train"
    count = 0
    for path in list_images(images):
        if random.random() >= given.share or path.stem.endswith("-turned"):
            continue
        image = read_image(path)
        found = read_yolo(labels / f"{path.stem}.txt", image.shape[1], image.shape[0])
        if len(found) != 1:
            continue
        angle = random.uniform(*ANGLES) * random.choice((-1, 1))
        turned, box = turn(image, found.boxes[0], angle)
        write_image(images / f"{path.stem}-turned.jpg", turned)
        text = format_yolo(
            Labels(as_boxes([box]), found.class_ids), turned.shape[1], turned.shape[0]
        )
        write_atomic(labels / f"{path.stem}-turned.txt", text)
        count += 1
    print(f"{images}: {count} turned copies")


if __name__ == "__main__":
    main()
