"""Every command ends with its exit code and at most one line on stderr."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from maskyolo.cli import main

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


@pytest.mark.parametrize(
    "command",
    [
        ["detect", "--source", "0", "--model"],
        ["train", "--data", "x", "--device", "cpu", "--recipe"],
        ["export", "--model"],
        ["val", "--data"],
        ["review", "find", "--data"],
    ],
)
def test_a_path_that_is_too_long_is_one_line(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*command, "a" * 5000])
    assert caught.value.code == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "file name too long" in told
    assert len(told) < 400


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("streams", ["2>&-", "2>/dev/full", "<&- >&- 2>&-", ">&-"])
@pytest.mark.parametrize("code", [QUICK_END, SLOW_END])
def test_closed_and_full_streams_do_not_end_a_run_nor_get_into_its_files(
    tmp_path: Path, samples: Path, streams: str, code: str
) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    shutil.copy(samples / "portrait.jpg", tmp_path)
    script = (
        f'exec "$0" -c "$1" detect --source "$2" --no-save --save-json "$2/out.jsonl" {streams}'
    )
    command = ["sh", "-c", script, sys.executable, code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert ["error" in line for line in lines] == [True, False]


def test_an_error_of_the_system_is_a_line() -> None:
    code = (
        "from maskyolo import cli\n"
        "def app(_): raise IsADirectoryError(21, 'Is a directory', 'a\\udcff')\n"
        "cli.app = app; cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        1,
        "maskyolo: cannot use a\\xff: is a directory; check the path\n",
    )
