"""The processor of this machine."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

__all__ = ["describe_processor", "instruction_sets"]

#: Values of `ONEDNN_MAX_CPU_ISA`, with which oneDNN, and so OpenVINO, imitates older processors,
#: and what each lacks of the instructions that matter to precision.
_BF16 = {"avx512_bf16", "amx_bf16"}
_LACKS = {
    "AVX2": _BF16 | {"avx512f", "avx512_vnni", "avx_vnni"},
    "AVX2_VNNI": _BF16 | {"avx512f", "avx512_vnni"},
    "AVX512_CORE": _BF16 | {"avx512_vnni", "avx_vnni"},
    "AVX512_CORE_VNNI": _BF16,
    "SSE41": _BF16 | {"avx512f", "avx512_vnni", "avx_vnni", "avx2"},
}


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


def instruction_sets() -> set[str]:
    """Return the processor's instruction sets by Linux's names; empty on other systems.

    Those that the environment variable `ONEDNN_MAX_CPU_ISA` hides are left out.
    """
    lacks = _LACKS.get(os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper(), set())
    return describe_processor()[1] - lacks
