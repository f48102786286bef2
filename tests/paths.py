"""Where the repository and its samples are."""

from pathlib import Path

__all__ = ["ROOT", "SAMPLES"]

ROOT = Path(__file__).parent.parent
SAMPLES = ROOT / "data" / "samples"
