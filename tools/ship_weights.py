"""Make a trained detector one of the package's own: `python tools/ship_weights.py runs/train/folders maskyolo-n`.

The checkpoint loses what tells of the machine it was trained on; the ONNX file keeps its weights as 16-bit floats, which are cast to 32
bits when it is loaded: half the size. After that run benchmarks/wild.py with `--card maskyolo/weights/README.md`.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import onnx
import torch

from maskyolo._onnx import halve
from maskyolo._ultralytics import import_ultralytics
from maskyolo.dataset import CLASS_NAMES

WEIGHTS = Path(__file__).parent.parent / "maskyolo" / "weights"


def main(run: Path, name: str) -> None:
    """Write `name.pt` and `name.onnx` of a run into the package."""
    import_ultralytics("shipping weights")
    from ultralytics.utils.patches import torch_load

    checkpoint = torch_load(run / "weights" / "best.pt", map_location="cpu", weights_only=False)
    places = {"data": "data.yaml", "project": "runs/train", "name": name, "model": "yolov8n.pt", "save_dir": f"runs/train/{name}"}
    settings = checkpoint["train_args"]
    settings.update(places)
    checkpoint.pop("git", None)
    model = checkpoint["model"]
    if isinstance(getattr(model, "args", None), dict):
        model.args.update({key: settings[key] for key in settings if key in model.args})
    if hasattr(model, "pt_path"):
        model.pt_path = f"{name}.pt"
    torch.save(checkpoint, WEIGHTS / f"{name}.pt")

    network = onnx.load(run / "weights" / "best.onnx")
    network.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 4 + len(CLASS_NAMES)  # PyTorch's exporter does not always know it
    halve(network)
    for entry in network.metadata_props:
        if entry.key == "description":
            entry.value = f"{name}: YOLOv8n for faces with and without a mask"
    onnx.save(network, WEIGHTS / f"{name}.onnx")

    for file in (WEIGHTS / f"{name}.pt", WEIGHTS / f"{name}.onnx"):
        data = file.read_bytes()
        found = [place for place in (str(run.resolve()), str(Path.home()), str(Path.cwd())) if place.encode() in data]
        if found:
            raise SystemExit(f"{file} still names {', '.join(found)}")
        print(file, len(data))
    sums = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in sorted(WEIGHTS.glob("*.pt"))]
    (WEIGHTS / "SHA256SUMS").write_text("".join(sums))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
