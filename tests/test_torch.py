"""PyTorch on a CPU."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library gives memory back in its own way")
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
    told = subprocess.run([sys.executable, "-c", code], timeout=600, check=True, capture_output=True, text=True).stdout
    given_back, kept = map(int, told.split())
    assert given_back > 64 * 16384
    # The first tensors need pages of their own, as many as it takes until one leaves a gap that fits the alignment of the next: the
    # place of the heap is drawn by the system, so each of them fits or not by chance.
    assert kept < given_back / 2
