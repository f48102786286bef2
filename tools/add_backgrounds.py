"""Adds images without faces to a data set: plain areas, and parts of photos away from all faces.

    python tools/add_backgrounds.py data/all --number 400 --seed 1

Half of the images are plain: one color, often nearly white or black, with or without a gradient and
noise, in the shapes of photos and screens. After a training on close-ups without them, a detector
takes a white wall for a face that fills the image. The other half are cut from the data set's own
training photos, so that no labeled face is in them; a face without a label may be. They go into the
data set itself, as `background-NUMBER.jpg`, with empty labels.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from maskyolo.core.boxes import Boxes
from maskyolo.core.files import write_atomic
from maskyolo.core.images import ImageArray, list_images, read_image, write_image
from maskyolo.core.labels import read_yolo

SHAPES = ((480, 640), (640, 480), (360, 640), (640, 360), (640, 640), (400, 600))
MINIMUM = 96  # smallest side of a cut, in pixels
ATTEMPTS = 20  # positions to try for each cut


def plain(random: np.random.Generator) -> ImageArray:
    """Return an image of one color, with a gradient in every second and noise in every second."""
    height, width = SHAPES[random.integers(len(SHAPES))]
    kind = random.random()
    if kind < 0.3:
        color = np.full(3, random.uniform(215, 256))
    elif kind < 0.5:
        color = np.full(3, random.uniform(0, 40))
    elif kind < 0.75:
        color = np.full(3, random.uniform(0, 256))
    else:
        color = random.uniform(0, 256, 3)
    image = np.broadcast_to(color, (height, width, 3)).copy()
    if random.random() < 0.5:
        x, y = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
        angle = random.uniform(0, 2 * np.pi)
        slope = np.cos(angle) * x + np.sin(angle) * y
        image += random.uniform(5, 80) * slope[..., None]
    if random.random() < 0.5:
        image += random.normal(0, random.uniform(1, 12), (height, width, 1))
    return np.clip(image, 0, 255).astype(np.uint8)


def cut(image: ImageArray, faces: Boxes, random: np.random.Generator) -> ImageArray | None:
    """Return a random part of an image that no face's box touches; None if none was found."""
    height, width = image.shape[:2]
    if min(height, width) < MINIMUM:
        return None
    for _ in range(ATTEMPTS):
        wide, high = (random.integers(MINIMUM, side + 1) for side in (width, height))
        x, y = random.integers(width - wide + 1), random.integers(height - high + 1)
        apart = (
            (faces[:, 2] <= x)
            | (faces[:, 0] >= x + wide)
            | (faces[:, 3] <= y)
            | (faces[:, 1] >= y + high)
        )
        if apart.all():
            part = image[y : y + high, x : x + wide]
            scale = 640 / max(part.shape[:2])
            resized = cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
            return np.asarray(resized, dtype=np.uint8)
    return None


def main() -> None:
    """Parse the arguments and add the images."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the data set")
    parser.add_argument("--number", type=int, default=400, help="number of images to add")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    random = np.random.default_rng(given.seed)
    images, labels = given.data / "images" / "train", given.data / "labels" / "train"
    photos = [path for path in list_images(images) if not path.stem.startswith("background-")]
    made = [plain(random) for _ in range(given.number // 2)]
    for index in random.permutation(len(photos)):
        if len(made) == given.number:
            break
        image = read_image(photos[index])
        found = read_yolo(labels / f"{photos[index].stem}.txt", image.shape[1], image.shape[0])
        part = cut(image, found.boxes, random)
        if part is not None:
            made.append(part)
    for number, image in enumerate(made):
        write_image(images / f"background-{number}.jpg", image)
        write_atomic(labels / f"background-{number}.txt", "")
    print(f"{images}: {len(made)} images without faces")


if __name__ == "__main__":
    main()
