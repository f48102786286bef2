"""Choose a backend by file and machine, and load a network with it."""

from __future__ import annotations

import importlib.util
import logging
import platform
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from maskyolo.core.choices import BackendName, Precision
from maskyolo.core.installation import install_command
from maskyolo.errors import MaskyoloError, WeightsError
from maskyolo.models.backends.base import Backend
from maskyolo.models.backends.known_image import answers_right
from maskyolo.models.backends.limited import LimitedBackend
from maskyolo.models.limits import model_errors
from maskyolo.models.trust import check_trust, is_own

__all__ = ["choose_backend", "load_backend", "precision_of_file"]

_log = logging.getLogger("maskyolo")
#: The backends that can read each kind of file, the default one first.
_READ_BY = {
    ".onnx": (BackendName.OPENVINO, BackendName.ONNXRUNTIME),
    ".xml": (BackendName.OPENVINO,),
    ".pt": (BackendName.TORCH,),
}


def load_backend(
    path: Path | str,
    device: str = "auto",
    streams: int = 1,
    backend: BackendName | str = BackendName.AUTO,
    precision: Precision | str = Precision.AUTO,
    trust: bool = False,
    threads: int | None = None,
) -> Backend:
    """Load a network from its file: `.onnx`, `.xml` (OpenVINO) or `.pt`.

    Args:
        path: a `.onnx`, `.xml` or `.pt` file.
        device: auto, cpu, 0 (first GPU), mps.
        streams: number of threads that will call it at once, each using its share of the cores.
        backend: a `BackendName`, or its text; `auto` means the result of `choose_backend`.
        precision: a `Precision`, or its text. `bf16` (OpenVINO only) is faster on CPUs that support
            it in hardware, and slightly less exact. `int8` (OpenVINO only) needs a network that was
            exported in int8, or one of ours that comes with such a form. `auto` is the fastest of
            these, see `openvino.native_precision`.
        trust: whether to load a `.pt` file of unknown origin; see `check_trust`.
        threads: maximum number of CPU threads that it computes with. Default: one per core. With
            PyTorch, this applies to the whole process.

    Raises:
        WeightsError: there is no such file, it is damaged, of an unknown type, not for this backend
            or not a YOLO detection network with class names, or it is a `.pt` file that is not
            trusted.
        DependencyError: the backend is not installed.
        MaskyoloError: the backend or precision is unknown, or the device is not available.
    """
    path = Path(path)
    backend = BackendName.parse(backend, "backend")
    precision = Precision.parse(precision, "precision")
    if not path.is_file():
        raise WeightsError(
            f"cannot load weights {path}: no such file",
            "give a .onnx, .xml or .pt file, or a model's name",
        )
    suffix = path.suffix.lower()
    if suffix not in _READ_BY:
        raise WeightsError(
            f"cannot load weights {path}: unknown file type '{suffix}'",
            "give a .onnx, .xml (OpenVINO) or .pt file",
        )
    reasons = []
    if backend is BackendName.AUTO:
        backend, reason = choose_backend(suffix, device)
        reasons.append(reason)
    elif backend not in _READ_BY[suffix]:
        readers = " or ".join(_READ_BY[suffix])
        raise WeightsError(
            f"{backend} cannot read {path}: '{suffix}' files are read by {readers}",
            f"use --backend {_READ_BY[suffix][0]}",
        )
    if precision in (Precision.BF16, Precision.INT8) and backend is not BackendName.OPENVINO:
        raise MaskyoloError(
            f"{backend} does not support {precision}",
            "use --backend openvino, or leave out --precision",
        )
    load = partial(_load, device, streams, trust, threads)
    given, requested = path, precision
    if backend is BackendName.OPENVINO and device in ("auto", "cpu") and is_own(path):
        path, precision = _in_int8(path, precision)
    network = load(path, backend, precision)
    if requested is Precision.AUTO and network.precision != Precision.FP32:
        reasons.append(
            f"this CPU supports {network.precision} in hardware (--precision fp32 is slower and "
            "slightly more exact)"
        )
    if backend is not BackendName.TORCH and device in ("auto", "cpu"):
        others = [partial(load, *other) for other in _alternatives(given, backend, network)]
        right = _right_one(network, path, others)
        if right is not network:
            network, reasons = right, ["the usual one gives wrong results on this machine"]
    network.description += f": {'; '.join(reasons)}" if reasons else ""
    return network


def _load(
    device: str,
    streams: int,
    trust: bool,
    threads: int | None,
    path: Path,
    backend: BackendName,
    precision: Precision,
) -> Backend:
    # A .pt file must be trusted anyway, and a GPU's driver reserves memory without using it.
    unlimited = backend is BackendName.TORCH or device not in ("auto", "cpu")
    with nullcontext() if unlimited else model_errors(path):
        network = _read(path, device, streams, backend, precision, trust, threads)
    network.title += f" {network.precision}"
    network.description += f", {network.precision}"
    return network if unlimited or is_own(path) else LimitedBackend(network, path)


def _alternatives(
    path: Path, backend: BackendName, network: Backend
) -> list[tuple[Path, BackendName, Precision]]:
    """Return other ways to compute a network, the preferred one first."""
    others = []
    if backend is BackendName.OPENVINO and network.precision != Precision.FP32:
        others.append((path, BackendName.OPENVINO, Precision.FP32))
    if (
        backend is BackendName.OPENVINO
        and path.suffix.lower() == ".onnx"
        and importlib.util.find_spec("onnxruntime") is not None
    ):
        others.append((path, BackendName.ONNXRUNTIME, Precision.AUTO))
    return others


def _right_one(network: Backend, path: Path, others: Sequence[Callable[[], Backend]]) -> Backend:
    """Return the network if it is right about a known image, or else one that is.

    What our own networks find in the image is known. Others are compared with the first of
    `others`, if they are in int8 or bf16.

    Args:
        network: the network.
        path: its file.
        others: functions that load it in other ways, the preferred one first.
    """
    own = is_own(path)
    compact = network.precision != Precision.FP32 or "int8" in network.title
    if not own and not (compact and others):
        return network
    if answers_right(network, path, None if own else others[0]):
        return network
    problem = f"{path.name} gives wrong results in {network.title} on this machine"
    for load in others:
        try:
            other = load()
        except MaskyoloError:
            continue
        if not own or answers_right(other, path, None):
            _log.warning("%s; using %s instead", problem, other.title)
            return other
    _log.warning(
        "%s, and nothing else that is installed is right; run: %s",
        problem,
        install_command("onnxruntime"),
    )
    return network


def _in_int8(path: Path, precision: Precision) -> tuple[Path, Precision]:
    """Return the int8 form of one of our networks if that is wanted, or else the network."""
    from maskyolo.models.backends.openvino import native_precision

    int8 = path.with_name(f"{path.stem}-int8.xml")
    if not int8.is_file():
        return path, precision
    if precision is Precision.AUTO:
        precision = native_precision(has_int8=True)
    return (int8 if precision is Precision.INT8 else path), precision


def precision_of_file(path: Path) -> Precision:
    """Return the precision in which `load_backend` reads a file itself, not its own int8 form."""
    if not is_own(path) or choose_backend(path.suffix.lower())[0] is not BackendName.OPENVINO:
        return Precision.AUTO
    chosen = _in_int8(path, Precision.AUTO)[1]
    return Precision.FP32 if chosen is Precision.INT8 else Precision.AUTO


def choose_backend(suffix: str, device: str = "auto") -> tuple[BackendName, str]:
    """Choose the runtime for a type of file, and return it with a short reason.

    OpenVINO is the fastest on x86-64 and is installed with this package. ONNX Runtime is for ARM,
    CUDA GPUs, and machines without OpenVINO. Only PyTorch reads `.pt`.

    Args:
        suffix: `.onnx`, `.xml` or `.pt`.
        device: auto, cpu, 0 (first GPU), mps.

    Examples:
        >>> backend, reason = choose_backend(".pt")
        >>> str(backend), reason
        ('torch', 'nothing else reads .pt')
    """
    usual = _READ_BY[suffix][0]
    if len(_READ_BY[suffix]) == 1:
        return usual, f"nothing else reads {suffix}"
    if device.isdigit():
        return BackendName.ONNXRUNTIME, f"it computes {suffix} on a CUDA GPU"
    machine = platform.machine().lower()
    if importlib.util.find_spec("openvino") is None:
        return BackendName.ONNXRUNTIME, "OpenVINO is not installed"
    if machine in ("arm64", "aarch64") and importlib.util.find_spec("onnxruntime") is not None:
        return BackendName.ONNXRUNTIME, f"the fastest on {machine}"
    if machine in ("x86_64", "amd64"):
        return usual, f"the fastest on {machine}"
    return usual, "it is installed"


def _read(
    path: Path,
    device: str,
    streams: int,
    backend: BackendName,
    precision: Precision,
    trust: bool,
    threads: int | None,
) -> Backend:
    if backend is BackendName.TORCH:
        check_trust(path, trust)
        from maskyolo.models.backends.torch import TorchBackend

        return TorchBackend(path, device, trust, threads)
    if backend is BackendName.ONNXRUNTIME:
        from maskyolo.models.backends.onnxruntime import OnnxRuntimeBackend

        return OnnxRuntimeBackend(path, device, streams, threads)
    from maskyolo.models.backends.openvino import OpenVinoBackend

    return OpenVinoBackend(path, device, streams, precision, threads)
