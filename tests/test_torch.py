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
    torch.ones(2**24)  # 64 MB, 16,384 pages
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
pages_got()
print(pages_got())
keep_memory()
pages_got()
print(pages_got())
"""
    told = subprocess.run([sys.executable, "-c", code], timeout=600, check=True, capture_output=True, text=True).stdout
    given_back, kept = map(int, told.split())
    assert kept < given_back / 10
