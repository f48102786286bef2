"""PyTorch on a CPU."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

GLIBC = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="another C library gives memory back in its own way"
)


@GLIBC
def test_memory_of_a_tensor_serves_the_next_one() -> None:
    code = """
import resource, torch
from maskyolo._torch import keep_memory
def pages_got() -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(64):
        torch.ones(2**24)  # 64 MB, 16,384 pages
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(pages_got())
keep_memory()
print(pages_got())
"""
    told = subprocess.run(
        [sys.executable, "-c", code], timeout=600, check=True, capture_output=True, text=True
    ).stdout
    given_back, kept = map(int, told.split())
    assert given_back > 64 * 16384
    # The first tensors need pages of their own, as many as it takes until one leaves a gap that fits the alignment of the next: the
    # place of the heap is drawn by the system, so each of them fits or not by chance.
    assert kept < given_back / 2


@GLIBC
def test_what_is_kept_is_not_held_a_second_time_by_a_loader() -> None:
    code = """
import os, torch
from maskyolo._torch import keep_memory
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
    told = subprocess.run(
        [sys.executable, "-c", code], timeout=600, check=True, capture_output=True, text=True
    ).stdout
    kept, forked = map(int, told.split())
    assert kept > 31 * 2**24
    assert forked < 4 * 2**24
