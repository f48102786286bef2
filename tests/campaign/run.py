"""Runs the campaign of hostile inputs: `make campaign`, or one area with one seed.

    python tests/campaign/run.py --seeds 1 2 3 --size large
    python tests/campaign/run.py --areas images labels --seeds 7

Prints for each area and seed how many trials were tried, survived and failed, with the reason of
each failure, and exits with 1 if any failed.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent))  # helpers that the tests share

from harness import Size, areas, run_area


def main() -> int:
    """Run the chosen areas with the chosen seeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--areas", nargs="+", choices=areas(), default=areas())
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--size", choices=[size.value for size in Size], default="large")
    parser.add_argument("--verbose", action="store_true", help="print each trial and its seconds")
    arguments = parser.parse_args()
    broken = 0
    for name in arguments.areas:
        for seed in arguments.seeds:
            start = time.monotonic()
            shown = _print_trial if arguments.verbose else None
            tried, failures = run_area(name, seed, Size(arguments.size), shown)
            broken += len(failures)
            print(
                f"{name}, seed {seed}: {tried} tried, {tried - len(failures)} survived, "
                f"{len(failures)} failed, {time.monotonic() - start:.0f} s",
                flush=True,
            )
            for failure in failures:
                print(f"  {failure.name}: {failure.reason}", flush=True)
    return int(broken > 0)


def _print_trial(name: str, seconds: float) -> None:
    print(f"  {seconds:6.1f} s  {name}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
