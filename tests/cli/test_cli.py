"""Every command ends with its exit code and at most one line on stderr."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

QUICK_END = (
    "from maskyolo.cli import main; main()"  # as where neither PyTorch nor FiftyOne was imported
)
SLOW_END = f"import sys; sys.modules['fiftyone'] = None; {QUICK_END}"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("flags", [[], ["-u"]])
@pytest.mark.parametrize("code", [QUICK_END, SLOW_END])
@pytest.mark.parametrize("arguments", [["--version"], ["models"]])
def test_a_full_disk_behind_stdout_is_reported_in_one_line(
    arguments: list[str], code: str, flags: list[str]
) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, *flags, "-c", code, *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (
        done.stderr == "maskyolo: cannot write the output: no space left on device; "
        "free some space or redirect it\n"
    )
    assert done.returncode == 1


@pytest.mark.parametrize("code", [QUICK_END, SLOW_END])
def test_a_reader_that_stops_and_a_closed_stdout_are_not_errors(code: str) -> None:
    script = '"$0" -c "$1" models | head -n 1 >/dev/null; "$0" -c "$1" --version >&-'
    done = subprocess.run(
        ["sh", "-c", script, sys.executable, code], capture_output=True, text=True, check=False
    )
    assert (done.stderr, done.returncode) == ("", 0)


def test_a_command_does_not_import_those_beside_it() -> None:
    code = (
        "import sys; from contextlib import suppress; from maskyolo.cli import app\n"
        "with suppress(SystemExit): app(['detect', '--help'])\n"
        "print(sorted(name for name in sys.modules if name.endswith('.options')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "maskyolo.runtime.options" in done.stdout.splitlines()[-1]
    assert "maskyolo.training.options" not in done.stdout.splitlines()[-1]
