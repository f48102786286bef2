"""The processor of this machine."""

from __future__ import annotations

import platform
import re
from pathlib import Path

__all__ = ["describe_processor"]


def describe_processor() -> tuple[str, set[str]]:
    """Return the processor's name and, on Linux, its instruction sets.

    Examples:
        >>> describe_processor()[0]  # doctest: +SKIP
        'AMD EPYC 9R14'
    """
    name, flags = platform.processor() or platform.machine(), set[str]()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
        if model := re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE):
            name = model[1].strip()
        if listed := re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.MULTILINE):
            flags = set(listed[1].split())
    return name, flags
