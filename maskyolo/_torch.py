"""PyTorch on a CPU, as every training here uses it; imported only where PyTorch is."""

from __future__ import annotations

import torch

from maskyolo.backends import usable_cpus

__all__ = ["cpu_has_bf16", "use_all_cores"]


def cpu_has_bf16() -> bool:
    """Tell whether this CPU multiplies bfloat16 in hardware (AVX512-BF16 or AMX); elsewhere autocast would slow training down."""
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, probe, lambda: False)() for probe in probes)


def use_all_cores() -> None:
    """Let PyTorch compute on every core this process may use."""
    torch.set_num_threads(usable_cpus())
