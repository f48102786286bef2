"""Reinstalls opencv-python if opencv-python-headless has overwritten it.

Both packages write the same `cv2` folder and the last one wins. FiftyOne requires the headless one,
which cannot open windows.
Run it with the environment's Python: `python tools/fix_opencv.py`.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version


def installed(package: str) -> str | None:
    """Return the installed version of a package, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def main() -> int:
    """Reinstall opencv-python if both packages are installed; return pip's exit code."""
    full = installed("opencv-python")
    if full is None or installed("opencv-python-headless") is None:
        return 0
    print(
        "opencv-python-headless is also installed: installing opencv-python last, so that "
        "windows open"
    )
    return subprocess.call(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--force-reinstall",
            "--no-deps",
            f"opencv-python=={full}",
        ]
    )


if __name__ == "__main__":
    raise SystemExit(main())
