"""Makes the int8 form of a detector that comes with the package, for OpenVINO.

    python tools/quantize_weights.py maskyolo-n --images data/kaggle853/images --list train.txt

Run it whenever the weights change: it writes `maskyolo/weights/NAME-int8.xml` and `.bin` from
`NAME.onnx`. The images must be free, because the ranges that are measured on them are published;
those of the Kaggle set andrewmvd/face-mask-detection are CC0.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from maskyolo.core.choices import ExportFormat, ExportPrecision
from maskyolo.core.images import read_image
from maskyolo.export.calibration import ReadableImages, find_calibration_images
from maskyolo.export.writing import ExportJob, write_model

WEIGHTS = Path(__file__).parent.parent / "maskyolo" / "weights"


def main() -> None:
    """Quantize the weights named on the command line."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("name", help="name of the weights")
    options.add_argument("--images", type=Path, required=True, help="folder of images")
    options.add_argument("--list", type=Path, help="use only the images whose names are listed")
    options.add_argument("--imgsz", type=int, default=640, help="inference size in pixels")
    args = options.parse_args()
    images = find_calibration_images(args.images, None)
    if args.list:
        listed = {Path(name).name for name in args.list.read_text().split()}
        found = [path for path in sorted(args.images.iterdir()) if path.name in listed]
        images = found[:: max(len(found) // 150, 1)]
    with tempfile.TemporaryDirectory() as folder:
        job = ExportJob(
            WEIGHTS / f"{args.name}.onnx",
            ExportFormat.OPENVINO,
            ExportPrecision.INT8,
            ReadableImages(images, read_image),
            args.imgsz,
            {},
            Path(folder) / "scratch",
        )
        made = write_model(job, Path(folder))
        for suffix in (".bin", ".xml"):
            place = WEIGHTS / f"{args.name}-int8{suffix}"
            place.write_bytes(made.with_suffix(suffix).read_bytes())
            print(place, place.stat().st_size)


if __name__ == "__main__":
    main()
