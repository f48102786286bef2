"""Converts a Keras mask classifier to ONNX, for `maskyolo detect --pipeline two-stage`.

Needs `pip install ".[keras]"` (h5py and onnx; neither Keras nor TensorFlow):
`python tools/convert_keras.py mask_detector.model --out mask_detector.onnx`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from maskyolo.errors import MaskyoloError
from maskyolo.export.keras_import import SCALINGS, convert_keras


def main(arguments: list[str] | None = None) -> None:
    """Convert, and print the file's name; a user's error prints one line and exits with 1."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="the HDF5 file that Keras saved")
    parser.add_argument(
        "--out", type=Path, help="the .onnx file to write (default: next to the model)"
    )
    parser.add_argument(
        "--scaling",
        choices=SCALINGS,
        default="tf",
        help="pixel scaling in training: tf (-1..1, MobileNetV2), caffe (ResNet50), ...",
    )
    parser.add_argument(
        "--names",
        default="with_mask,without_mask",
        help="classes in the order of the outputs (default: %(default)s)",
    )
    parser.add_argument(
        "--margin",
        type=float,
        default=0.0,
        help="margin added on each side of a face, as a fraction of its size (default: 0)",
    )
    words = parser.parse_args(arguments)
    out = words.out or words.model.with_suffix(".onnx")
    try:
        settings = convert_keras(
            words.model, out, words.scaling, tuple(words.names.split(",")), words.margin
        )
    except MaskyoloError as error:
        sys.exit(f"convert_keras: {error}")
    print(f"{out}: {settings.size}x{settings.size}, {', '.join(settings.names)}")


if __name__ == "__main__":
    main()
