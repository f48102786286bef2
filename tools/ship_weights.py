"""Adds a trained detector to the package.

    python tools/ship_weights.py runs/train/boxes maskyolo-n

Everything that identifies the training machine is removed from the checkpoint. The ONNX file stores
its weights as 16-bit floats, which halves its size; they are cast to 32 bits on loading. `--onnx`
omits the checkpoint. Afterwards, run benchmarks/wild.py with `--card` and the model card.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import onnx
import torch

from maskyolo.core.classes import CLASS_NAMES
from maskyolo.core.files import sha256_of
from maskyolo.models.onnx_files import write_onnx
from maskyolo.models.ultralytics import import_ultralytics

WEIGHTS = Path(__file__).parent.parent / "maskyolo" / "weights"


def ship_checkpoint(run: Path, name: str, imgsz: int) -> Path:
    """Write a run's checkpoint to the package as `name.pt`, with the inference size `imgsz`."""
    import_ultralytics("shipping weights")
    from ultralytics.utils.patches import torch_load

    place = WEIGHTS / f"{name}.pt"
    checkpoint = torch_load(run / "weights" / "best.pt", map_location="cpu", weights_only=False)
    settings = checkpoint["train_args"]
    start = Path(settings["model"]).name
    settings.update(
        {
            "data": "data.yaml",
            "project": "runs/train",
            "name": name,
            "model": start,
            "save_dir": f"runs/train/{name}",
        }
    )
    settings["imgsz"] = imgsz
    checkpoint.pop("git", None)
    model = checkpoint["model"]
    if isinstance(getattr(model, "args", None), dict):
        model.args.update({key: settings[key] for key in settings if key in model.args})
    if hasattr(model, "pt_path"):
        model.pt_path = f"{name}.pt"
    torch.save(checkpoint, place)
    return place


def ship_network(run: Path, name: str, imgsz: int) -> Path:
    """Write a run's network to the package as `name.onnx`, with the inference size `imgsz`."""
    place = WEIGHTS / f"{name}.onnx"
    network = onnx.load(run / "weights" / "best.onnx")
    network.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 4 + len(
        CLASS_NAMES
    )  # PyTorch's exporter does not always set it
    metadata = {
        "description": f"{name}: YOLOv8n for faces with and without a mask",
        "imgsz": str([imgsz, imgsz]),
    }
    write_onnx(network, place, half=True, metadata=metadata)
    return place


def main() -> None:
    """Ship the weights named on the command line."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("run", type=Path, help="folder of the run")
    options.add_argument("name", help="name of the weights")
    options.add_argument(
        "--imgsz",
        type=int,
        default=640,
        help="inference size in pixels (longer side), as in the model card",
    )
    options.add_argument("--onnx", action="store_true", help="write only the ONNX file")
    args = options.parse_args()
    run = args.run
    for ship in (ship_network,) if args.onnx else (ship_network, ship_checkpoint):
        file = ship(run, args.name, args.imgsz)
        data = file.read_bytes()
        found = [
            place
            for place in (str(run.resolve()), str(Path.home()), str(Path.cwd()))
            if place.encode() in data
        ]
        if found:
            raise SystemExit(f"{file} still names {', '.join(found)}")
        print(file, len(data))
    sums = [f"{sha256_of(file)}  {file.name}\n" for file in sorted(WEIGHTS.glob("*.pt"))]
    (WEIGHTS / "SHA256SUMS").write_text("".join(sums))


if __name__ == "__main__":
    main()
