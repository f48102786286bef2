"""PyTorch on a CPU, set up for both trainings; imported only where PyTorch is installed."""

from __future__ import annotations

import ctypes
import os
import platform
from functools import cache

import torch

from maskyolo.core.parallel import usable_cpus

__all__ = ["cpu_has_bf16", "keep_memory", "use_all_cores"]

#: Parameters of glibc's mallopt(3): from which size the free end of the heap is returned to the
#: system, and how many allocations mmap() may serve.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def cpu_has_bf16() -> bool:
    """Return whether this CPU multiplies bfloat16 in hardware (AVX512-BF16 or AMX).

    On other CPUs autocast would slow a training down.
    """
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, probe, lambda: False)() for probe in probes)


def use_all_cores() -> None:
    """Let PyTorch compute on every core that this process may use."""
    torch.set_num_threads(usable_cpus())


@cache
def keep_memory() -> None:
    """Let this process keep the memory of freed tensors for the next ones; needs glibc.

    Each step of a training allocates the same gigabytes, which glibc otherwise returns to the
    system and requests again, page by page. In steps of 16 images of 640 pixels that takes a fifth
    of the processor time, against 3 to 5 % with this, and the steps take 12 to 18 % less time.

    A forked process, such as an image loader, would hold the kept memory a second time as soon as
    either writes to it, so it is returned to the system before each fork.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, -1)
        os.register_at_fork(before=lambda: libc.malloc_trim(0))
