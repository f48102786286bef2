"""Networks and training loop of the classifier, in PyTorch.

This module imports PyTorch and torchvision, so it is itself imported only when needed.
"""

from __future__ import annotations

import copy
import pickle
import tempfile
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import psutil
import torch
import torchvision
from torch import nn

from maskyolo.core.choices import Optimizer
from maskyolo.core.classes import CLASS_NAMES
from maskyolo.detectors.classifier import METADATA_KEY, CropSettings
from maskyolo.errors import MaskyoloError, WeightsError
from maskyolo.models.backends.base import Tensor
from maskyolo.models.onnx_files import write_onnx
from maskyolo.training.classifier_settings import ClassifierSettings
from maskyolo.training.torch_cpu import cpu_has_bf16, use_all_cores

__all__ = [
    "Features",
    "Runner",
    "assemble",
    "compute_features",
    "export_onnx",
    "fit",
    "load_backbone",
    "load_runner",
]

_OPTIMIZERS: dict[Optimizer, Any] = {
    Optimizer.ADAM: torch.optim.Adam,
    Optimizer.RMSPROP: torch.optim.RMSprop,
}

#: Function from crops, float32 (n, 3, size, size), to the output of some layers (n, ...).
Runner = Callable[[Tensor], torch.Tensor]


class Features(NamedTuple):
    """The output of the frozen layers for some crops.

    Attributes:
        values: float16 (n, ...), on the CPU.
        class_ids: class ids of the crops, int64 (n,).
    """

    values: torch.Tensor
    class_ids: torch.Tensor


def load_backbone(arch: str, weights: Path) -> list[nn.Module]:
    """Return the blocks of a torchvision backbone, from image to last feature map, with weights.

    Raises:
        WeightsError: the file contains no weights, or weights of another architecture.
    """
    network = getattr(torchvision.models, arch)(weights=None)
    remedy = (
        f"give torchvision's ImageNet weights of {arch}, or run `maskyolo models --fetch {arch}`"
    )
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise WeightsError(
            f"wrong weights {weights}: not a file of PyTorch weights", remedy
        ) from error
    try:
        network.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise WeightsError(f"wrong weights {weights}: not those of {arch}", remedy) from error
    if arch == "mobilenet_v2":
        return list(network.features)
    stem = nn.Sequential(network.conv1, network.bn1, network.relu, network.maxpool)
    return [stem, *network.layer1, *network.layer2, *network.layer3, *network.layer4]


def assemble(
    blocks: list[nn.Module], size: int, unfreeze: int, dropout: float
) -> tuple[nn.Sequential, nn.Sequential]:
    """Return the frozen layers and the trained ones: the last `unfreeze` blocks and a new head.

    The head is that of the 2020 projects without its softmax: mean over the feature map, dense 128
    with ReLU, dropout, dense 2.
    """
    split = len(blocks) - unfreeze
    with torch.inference_mode():
        channels = nn.Sequential(*blocks).eval()(torch.zeros(1, 3, size, size)).shape[1]
    pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    head = [
        nn.Linear(channels, 128),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(128, len(CLASS_NAMES)),
    ]
    if not unfreeze:
        return nn.Sequential(*blocks, *pool), nn.Sequential(*head)
    return nn.Sequential(*blocks[:split]), nn.Sequential(*blocks[split:], *pool, *head)


def load_runner(frozen: nn.Module, size: int, device: torch.device) -> Runner:
    """Return a function that runs crops through the frozen layers.

    On a CPU, it runs in OpenVINO, which takes a fraction of PyTorch's time.
    """
    if device.type == "cpu" and len(list(frozen.parameters())):
        from maskyolo.models.backends.openvino import CORE

        model = CORE.read_model(_to_onnx(frozen, size, "features").SerializeToString())
        request = CORE.compile_model(
            model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
        ).create_infer_request()
        return lambda crops: torch.from_numpy(request.infer([crops], share_inputs=True)[0])
    network = frozen.eval().to(device)

    def run(crops: Tensor) -> torch.Tensor:
        with torch.inference_mode(), _autocast(device, network):
            return network(torch.from_numpy(crops).to(device))  # type: ignore[no-any-return]

    return run


def compute_features(
    run: Runner,
    batches: Iterable[tuple[Tensor, list[int]]],
    total: int,
    on_batch: Callable[[int], None],
) -> Features:
    """Run crops through the frozen layers.

    Args:
        run: the layers, see `load_runner`.
        batches: crops as float32 (n, 3, size, size), with their class ids.
        total: maximum number of crops.
        on_batch: called with the number of crops done.

    Raises:
        MaskyoloError: the features do not fit into memory.
    """
    values = torch.empty(0)
    class_ids: list[int] = []
    for crops, ids in batches:
        features = run(crops)
        if not class_ids:
            values = _allocate(total, features.shape[1:])
        values[len(class_ids) : len(class_ids) + len(ids)] = features
        class_ids += ids
        on_batch(len(class_ids))
    return Features(values[: len(class_ids)], torch.tensor(class_ids, dtype=torch.int64))


def fit(
    network: nn.Module,
    train: Features,
    val: Features,
    device: torch.device,
    settings: ClassifierSettings,
    *,
    on_batch: Callable[[int, int, float], None],
    on_epoch: Callable[[int, dict[str, float]], None],
) -> None:
    """Train layers on features; they end up with the weights of the epoch with the lowest val loss.

    Batch normalization keeps its ImageNet statistics, as Keras' guide to transfer learning
    recommends. The learning rate decays as lr0 / (1 + decay * steps), as in Keras' optimizers of
    2020.

    Args:
        network: the layers to train, changed in place.
        train: the features to train on.
        val: the features to validate on.
        device: where to compute.
        settings: epochs, batch, optimizer, lr0 and decay are used.
        on_batch: called with the epoch, the batch and the running mean of the loss.
        on_epoch: called with the epoch and loss, accuracy, val_loss and val_accuracy.
    """
    if _convolves(network):
        use_all_cores()
    else:
        torch.set_num_threads(1)  # synchronizing threads would take longer than a step of the head
    network = network.to(device).to(memory_format=torch.channels_last)
    kind = _OPTIMIZERS[settings.optimizer]
    optimizer = kind(network.parameters(), lr=settings.lr0)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: 1 / (1 + settings.decay * step)
    )
    best, best_loss = copy.deepcopy(network.state_dict()), float("inf")
    for epoch in range(1, settings.epochs + 1):
        network.train()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        total, right, seen = 0.0, 0, 0
        batches = torch.split(torch.randperm(len(train.class_ids)), settings.batch)
        for number, rows in enumerate(batches, 1):
            class_ids = train.class_ids[rows].to(device)
            with _autocast(device, network):
                logits = network(train.values[rows].to(device).float())
            loss = nn.functional.cross_entropy(logits.float(), class_ids)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
            total, seen = total + loss.item() * len(rows), seen + len(rows)
            right += int((logits.argmax(1) == class_ids).sum())
            on_batch(epoch, number, total / seen)
        val_loss, val_accuracy = _measure(network, val, device)
        on_epoch(
            epoch,
            {
                "loss": total / seen,
                "accuracy": right / seen,
                "val_loss": val_loss,
                "val_accuracy": val_accuracy,
            },
        )
        if val_loss < best_loss:
            best, best_loss = copy.deepcopy(network.state_dict()), val_loss
    network.load_state_dict(best)


def export_onnx(network: nn.Module, settings: CropSettings, path: Path, half: bool) -> None:
    """Write a classifier as ONNX: `images` float32 (n, 3, size, size) to `probabilities` (n, 2).

    Args:
        network: maps crops to logits.
        settings: stored in the file.
        path: the file to write.
        half: store the weights as float16; they are cast to float32 when the file is loaded.

    Raises:
        OutputError: the file cannot be written.
    """
    model = _to_onnx(nn.Sequential(network, nn.Softmax(dim=1)), settings.size, "probabilities")
    write_onnx(model, path, half=half, metadata={METADATA_KEY: settings.to_json()})


def _to_onnx(network: nn.Module, size: int, output: str) -> Any:
    """Return a network as an ONNX model with the input `images`, for any number of crops."""
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")  # PyTorch's newer exporter would need another package
        torch.onnx.export(
            network.eval().float().cpu(),
            (torch.zeros(1, 3, size, size),),
            f"{folder}/network.onnx",
            input_names=["images"],
            output_names=[output],
            dynamic_axes={"images": {0: "n"}, output: {0: "n"}},
            dynamo=False,
        )
        return onnx.load(f"{folder}/network.onnx")


def _measure(network: nn.Module, features: Features, device: torch.device) -> tuple[float, float]:
    """Return mean loss and accuracy."""
    network.eval()
    loss, right = 0.0, 0
    with torch.inference_mode(), _autocast(device, network):
        for values, class_ids in zip(
            torch.split(features.values, 64), torch.split(features.class_ids, 64), strict=True
        ):
            logits = network(values.to(device).float()).float().cpu()
            loss += float(nn.functional.cross_entropy(logits, class_ids, reduction="sum"))
            right += int((logits.argmax(1) == class_ids).sum())
    return loss / len(features.class_ids), right / len(features.class_ids)


def _autocast(device: torch.device, network: nn.Module) -> Any:
    """Compute convolutions in bfloat16 on CPUs and GPUs that multiply it in hardware.

    A network without convolutions stays in float32.
    """
    hardware = {"cpu": cpu_has_bf16, "cuda": torch.cuda.is_bf16_supported}
    return torch.autocast(
        device.type,
        torch.bfloat16,
        enabled=_convolves(network) and hardware.get(device.type, bool)(),
    )


def _convolves(network: nn.Module) -> bool:
    return any(isinstance(module, nn.Conv2d) for module in network.modules())


def _allocate(number: int, shape: Iterable[int]) -> torch.Tensor:
    size = 2 * number * int(np.prod(list(shape)))
    free = psutil.virtual_memory().available
    if size > free:
        raise MaskyoloError(
            f"the frozen layers' features of {number} crops need {size / 1e9:.1f} GB of memory, "
            f"but only {free / 1e9:.1f} GB are free",
            "reduce `crops` in the recipe, or unfreeze fewer blocks",
        )
    return torch.empty((number, *shape), dtype=torch.float16)
