"""What a training is made with: its initial weights, data, device and precision."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from maskyolo.dataset.layout import Dataset
from maskyolo.dataset.photo_hashes import hash_photos, load_hashes, save_hashes
from maskyolo.errors import output_errors
from maskyolo.runtime.provenance import describe_data, describe_model, made_with

__all__ = ["describe_dataset", "describe_training", "keep_hashes"]


def describe_training(args: Mapping[str, Any], dataset: Dataset) -> dict[str, Any]:
    """Return what a detector's training is made with.

    Args:
        args: Ultralytics' settings, with the checkpoint or architecture as `model`, and `device`.
        dataset: the data set.
    """
    from maskyolo.training.torch_cpu import cpu_has_bf16

    precision = "fp32"
    if args.get("amp", True):
        on_cpu = args["device"] == "cpu"
        precision = ("bf16" if cpu_has_bf16() else "fp32") if on_cpu else "fp16"
    start = Path(args["model"])
    return made_with(
        seed=args.get("seed", 0),
        model=describe_model(start) if start.is_file() else {"file": str(start)},
        data=describe_dataset(dataset),
        device=args["device"],
        precision=precision,
    )


def describe_dataset(dataset: Dataset) -> dict[str, Any]:
    """Return a checksum of a data set's splits and counts, for a run's `args.yaml`."""
    splits: list[str] = [split for split in ("train", "val") if split in dataset.splits]
    images = [image for split in splits for image in dataset.images(split)]
    counts: Counter[int] = Counter()

    def labeled() -> Iterator[tuple[Path, bytes]]:
        for image in images:
            labels = dataset.read_labels(image)
            counts.update(labels.class_ids.tolist())
            yield image, labels.boxes.tobytes() + labels.class_ids.tobytes()

    found = describe_data(labeled())
    sizes: dict[str, int] = {split: len(dataset.images(split)) for split in splits}
    return {**found, **sizes, **{dataset.names[n]: counts[n] for n in sorted(counts)}}


def keep_hashes(
    dataset: Dataset, start: Path, weights: Path, names: Sequence[str] = ("best", "last")
) -> None:
    """Write which photos a model learns from beside its weights; see `photo_hashes`.

    Args:
        dataset: the data set; its train split is learned.
        start: the initial weights; what they have learned counts as learned, too.
        weights: the run's folder of weights.
        names: the names of the weights.

    Raises:
        WeightsError: the hashes of the initial weights cannot be read.
        OutputError: a file cannot be written.
    """
    hashes = [*load_hashes(start), *hash_photos(dataset.images("train"))]
    with output_errors(weights):
        weights.mkdir(exist_ok=True)
    for name in names:
        save_hashes(weights / f"{name}.onnx", hashes)
