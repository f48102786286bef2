"""Averages the weights of checkpoints of one training, such as its best and its last epoch.

    python tools/average_weights.py runs/train/train/weights/best.pt \
        runs/train/train/weights/last.pt --out runs/train/average/weights/best.pt

The checkpoints must be of a finished training, and your own: loading one runs the code in it. The
average is stored like the first one. Its ONNX file is made by `maskyolo export`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from maskyolo.models.ultralytics import import_ultralytics


def main() -> None:
    """Parse the arguments and write the average."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoints", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="checkpoint to write")
    given = parser.parse_args()
    import_ultralytics("averaging weights")
    loaded = [
        torch.load(path, map_location="cpu", weights_only=False) for path in given.checkpoints
    ]
    states = [checkpoint["model"].float().state_dict() for checkpoint in loaded]
    average = {
        key: torch.stack([state[key] for state in states]).mean(0)
        if value.is_floating_point()
        else value
        for key, value in states[0].items()
    }
    model = loaded[0]["model"]
    model.load_state_dict(average)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    torch.save(loaded[0] | {"model": model.half()}, given.out)
    print(given.out)


if __name__ == "__main__":
    main()
