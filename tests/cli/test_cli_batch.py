"""`maskyolo batch` on the command line: output, exit codes, Ctrl-C."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from archives import detect_lines, make_archive

from maskyolo.cli import main


def call(*words: str | Path) -> int:
    """Run the command in this process and return its exit code."""
    with pytest.raises(SystemExit) as end:
        main(["batch", *map(str, words)])
    return int(end.value.code or 0)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return make_archive(tmp_path / "archive")


def test_a_plan_is_made_run_and_joined(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, lines = tmp_path / "out", tmp_path / "lines.jsonl"
    assert call("plan", archive, "--out", out, "--shard", 4, "--imgsz", 160, "--threads", 1) == 0
    assert capsys.readouterr().out == f"8 items in 2 shards\n{out}\n"
    assert call("status", out) == 0
    assert capsys.readouterr().out == "0 of 2 shards, 0 of 8 items, 0 errors\n"
    assert call("run", out, "--only", "1/2") == 0
    assert capsys.readouterr().out.startswith("1 of 2 shards, 4 of 8 items, 0 errors\n")
    assert call("join", out, "--jsonl", lines) == 1
    assert "1 shard of 2 of the plan" in capsys.readouterr().err
    assert call("run", out, "--strict") == 1
    told = capsys.readouterr()
    assert told.out == f"2 of 2 shards, 8 of 8 items, 1 error\n{out}\n"
    assert told.err.count("\n") == 1
    assert told.err.startswith(f"maskyolo: cannot decode {archive / 'c.jpg'}")
    assert call("run", out, "--strict") == 0  # nothing was left to do
    capsys.readouterr()
    assert call("join", out, "--jsonl", lines, "--strict") == 1
    assert (
        capsys.readouterr().out == f"8 items, 13 rows, 1 error\n{lines}\n{out / 'manifest.json'}\n"
    )
    assert lines.read_bytes() == detect_lines(archive, tmp_path / "detect.jsonl")


def test_mistakes_are_one_line(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("plan", archive) == 2
    assert call("run", tmp_path, "--only", "3/2") == 1
    assert call("status", tmp_path) == 1
    assert call("plan", "0", "--out", tmp_path / "out") == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if "maskyolo: " in line]
    assert len(lines) == 3
    assert "only must be I/N" in lines[0]
    assert "there is no plan in" in lines[1]
    assert "cannot plan 0: it is not an image or video file" in lines[2]


def test_ctrl_c_keeps_finished_shards(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert call("plan", archive, "--out", out, "--shard", 1, "--imgsz", 160, "--threads", 1) == 0
    code = (
        "import os, signal\n"
        "from maskyolo.cli import main\n"
        "from maskyolo.batch import local\n"
        "shard = local.process_shard\n"
        "def process_shard(plan, number, *others):\n"
        "    if number == 3:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "    shard(plan, number, *others)\n"
        "local.process_shard = process_shard\n"
        f"main(['batch', 'run', {str(out)!r}])\n"
    )
    told = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert told.returncode == 130, told.stderr
    assert "stopped; finished shards are kept" in told.stderr
    assert "Traceback" not in told.stderr
    done = {path.stem for path in (out / "parts").glob("*.parquet")}
    assert {"000000", "000001", "000002"} <= done
    assert call("run", out) == 0
