"""Makes a checkpoint that can be trained from an ONNX file of ours.

    python tools/restore_checkpoint.py maskyolo/weights/maskyolo-n-folders.onnx photos/ \
        --out maskyolo-n-folders.pt

Exporting merges batch normalization into the convolutions. This script puts it back: its mean and
variance are measured on photos, and its scale and shift are set so that the results stay the same.
Without the measurement, results would be the same in inference, but not in training. The precision
is the file's (16-bit floats in our weights). Architecture and settings come from `--like`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
import torch
from onnx import numpy_helper

from maskyolo.models.onnx_files import widen
from maskyolo.models.trust import record_own
from maskyolo.models.ultralytics import import_ultralytics

WEIGHTS = Path(__file__).parent.parent / "maskyolo" / "weights"


def restore(model: Any, network: Any, images: torch.Tensor) -> None:
    """Copy the weights of an ONNX network into a model, and give it batch normalization again.

    Args:
        model: an Ultralytics detection model of the same architecture; modified in place.
        network: an `onnx.ModelProto`.
        images: a batch (N, 3, height, width) in 0 to 1, on which mean and variance are measured.
    """
    widen(network)
    weights = {one.name: numpy_helper.to_array(one) for one in network.graph.initializer}
    state = model.state_dict()
    for name, value in weights.items():
        if name in state and name.endswith(("weight", "bias")):
            state[name] = torch.from_numpy(value.copy())
    norms = [name for name, part in model.named_modules() if isinstance(part, torch.nn.BatchNorm2d)]
    for name in norms:
        shift = torch.from_numpy(weights[f"{name.removesuffix('.bn')}.conv.bias"].copy())
        eps = model.get_submodule(name).eps
        state |= {
            f"{name}.weight": torch.ones_like(shift),
            f"{name}.bias": shift,
            f"{name}.running_mean": torch.zeros_like(shift),
            f"{name}.running_var": torch.full_like(shift, 1 - eps),
        }
    model.load_state_dict(state)
    for name in norms:
        model.get_submodule(name).register_forward_pre_hook(_measure)
    model.eval()
    with torch.no_grad():
        model(images)
    for name in norms:
        model.get_submodule(name)._forward_pre_hooks.clear()


def _measure(norm: Any, inputs: tuple[torch.Tensor]) -> None:
    """Set mean and variance to those of the inputs, and keep the outputs."""
    values = inputs[0].double()
    mean, variance = values.mean((0, 2, 3)), values.var((0, 2, 3))
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
    norm.weight.data.copy_((norm.running_var + norm.eps).sqrt())
    norm.bias.data.add_(norm.running_mean)


def load_images(folder: Path, number: int, size: int) -> torch.Tensor:
    """Return photos of a folder and its subfolders, spread evenly, as one batch."""
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in (".jpg", ".png"))
    batch = []
    for file in files[:: max(1, len(files) // number)][:number]:
        image = cv2.imread(str(file))
        if image is not None:
            batch.append(cv2.resize(image, (size, size))[:, :, ::-1].transpose(2, 0, 1))
    return torch.from_numpy(np.stack(batch)).float() / 255


def largest_difference(model: Any, file: Path, images: torch.Tensor) -> float:
    """Return the largest difference between the model's output and the ONNX file's."""
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    expected = session.run(None, {session.get_inputs()[0].name: images.numpy()})[0]
    with torch.no_grad():
        found = model.eval()(images)[0].numpy()
    return float(np.abs(found - expected).max())


def main() -> None:
    """Parse the arguments, write the checkpoint and check it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("onnx", type=Path)
    parser.add_argument("photos", type=Path, help="folder of photos like those of the training")
    parser.add_argument("--like", type=Path, default=WEIGHTS / "maskyolo-n.pt", help="a checkpoint")
    parser.add_argument("--number", type=int, default=32, help="how many photos to measure on")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint to write")
    given = parser.parse_args()
    import_ultralytics("restoring a checkpoint")
    checkpoint = torch.load(given.like, map_location="cpu", weights_only=False)
    model = checkpoint["model"].float()
    images = load_images(given.photos, given.number, 640)
    restore(model, onnx.load(given.onnx), images)
    difference = largest_difference(model, given.onnx, images[:4])
    given.out.parent.mkdir(parents=True, exist_ok=True)
    torch.save(checkpoint | {"model": model, "ema": None}, given.out)
    record_own(given.out)
    print(f"{given.out}: largest difference in pixels or confidence {difference:.2g}")


if __name__ == "__main__":
    main()
