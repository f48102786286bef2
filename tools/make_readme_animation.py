"""Makes `docs/images/street.webp`: the sample clip with its detections, as an animation.

Run it in the repository's root: `python tools/make_readme_animation.py`.
"""

from __future__ import annotations

from pathlib import Path

import cv2
from PIL import Image

import maskyolo
from maskyolo.runtime.drawing import draw_detections

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "data" / "samples" / "street.mp4"
TARGET = ROOT / "docs" / "images" / "street.webp"
EVERY = 2  #: every second of 25 frames per second
WIDTH = 560  #: pixels


def main() -> None:
    """Detect in the clip, draw, and save every second frame."""
    frames = []
    for image, detections in maskyolo.detect(SOURCE, track=True, save=False, vid_stride=EVERY):
        drawn = draw_detections(image, detections)
        height = round(drawn.shape[0] * WIDTH / drawn.shape[1])
        small = cv2.resize(drawn, (WIDTH, height), interpolation=cv2.INTER_AREA)
        frames.append(Image.fromarray(cv2.cvtColor(small, cv2.COLOR_BGR2RGB)))
    forth_and_back = [*frames, *frames[-2:0:-1]]
    forth_and_back[0].save(
        TARGET,
        save_all=True,
        append_images=forth_and_back[1:],
        duration=40 * EVERY,
        loop=0,
        quality=60,
        method=6,
    )
    print(f"{TARGET}: {len(forth_and_back)} frames, {TARGET.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
