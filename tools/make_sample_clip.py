"""Makes `data/samples/street.mp4` from `data/samples/street.jpg`: a slow pan and zoom.

3 s, 640x360, 25 frames per second, H.264.

Needs PyAV (`pip install av`). Run it in the repository's root: `python tools/make_sample_clip.py`.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
from PIL import Image

SAMPLES = Path(__file__).resolve().parent.parent / "data" / "samples"
WIDTH, HEIGHT, FPS, SECONDS = 640, 360, 25, 3
START = (
    0.0,
    40.0,
    400.0,
)  # left, top, width of the view in the photo's pixels; the height follows from 16:9
END = (110.0, 48.0, 240.0)


def view(share: float) -> tuple[float, float, float, float]:
    """Return the view (xyxy, in pixels of the photo) at `share` (0 to 1) of the clip, eased."""
    eased = share * share * (3 - 2 * share)
    left, top, width = (
        first + (last - first) * eased for first, last in zip(START, END, strict=True)
    )
    return left, top, left + width, top + width * HEIGHT / WIDTH


def main() -> None:
    """Write the clip to a temporary name and move it into place."""
    photo = Image.open(SAMPLES / "street.jpg").convert("RGB")
    target, part = SAMPLES / "street.mp4", SAMPLES / "street.part.mp4"
    frames = FPS * SECONDS
    with av.open(str(part), "w", options={"movflags": "faststart"}) as container:
        container.flags |= (
            av.container.Flags.bitexact.value
        )  # no date and version, so that the bytes are reproducible
        stream = container.add_stream(
            "libx264", rate=FPS, options={"crf": "23", "preset": "slow", "threads": "1"}
        )
        stream.width, stream.height, stream.pix_fmt, stream.time_base = (
            WIDTH,
            HEIGHT,
            "yuv420p",
            Fraction(1, FPS),
        )
        for number in range(frames):
            image = photo.resize(
                (WIDTH, HEIGHT), Image.Resampling.BICUBIC, box=view(number / (frames - 1))
            )
            container.mux(stream.encode(av.VideoFrame.from_image(image)))
        container.mux(stream.encode())
    part.replace(target)
    print(f"{target.name}: {frames} frames, {target.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
