"""Memory of PyTorch on a CPU."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

GLIBC = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="keep_memory needs glibc")


@GLIBC
def test_the_memory_of_a_freed_tensor_is_reused() -> None:
    code = """
import resource, torch
from maskyolo.training.torch_cpu import keep_memory
def count_new_pages() -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(64):
        torch.ones(2**24)  # 64 MB, 16,384 pages
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(count_new_pages())
keep_memory()
print(count_new_pages())
"""
    output = subprocess.run(
        [sys.executable, "-c", code], timeout=600, check=True, capture_output=True, text=True
    ).stdout
    returned, kept = map(int, output.split())
    assert returned > 64 * 16384
    # The first few tensors need new pages until one leaves a gap that fits the alignment of the
    # next. The system places the heap at random, so each of them fits by chance.
    assert kept < returned / 2


@GLIBC
def test_kept_memory_is_not_held_a_second_time_by_a_forked_loader() -> None:
    code = """
import os, torch
from maskyolo.training.torch_cpu import keep_memory
def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
keep_memory()
before = resident()
tensors = [torch.ones(2**22) for _ in range(32)]  # 16 MB each
last = tensors[-1]
tensors.clear()
print(resident() - before, flush=True)
if os.fork() == 0:
    print(resident() - before, flush=True)
    os._exit(0)
os.wait()
"""
    output = subprocess.run(
        [sys.executable, "-c", code], timeout=600, check=True, capture_output=True, text=True
    ).stdout
    kept, forked = map(int, output.split())
    assert kept > 31 * 2**24
    assert forked < 4 * 2**24
