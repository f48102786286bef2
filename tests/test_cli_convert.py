"""`maskyolo convert`: what it prints, its exit codes, and Ctrl-C on the real command."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from maskyolo.cli import main


def command(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


@pytest.fixture
def photos(samples: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(samples / "folders", tmp_path / "photos"))


def test_it_prints_what_became_of_the_photos_and_the_folder_last(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos / "with_mask" / "empty.jpg").touch()
    assert command("convert", photos, "--out", tmp_path / "set", "--scenes", 2) == 0
    printed, told = capsys.readouterr()
    lines = printed.splitlines()
    assert lines[0].split() == ["kept", "no_face", "duplicate", "ambiguous", "unreadable", "all"]
    assert lines[1].split()[-2:] == ["1", "9"]
    assert "2 scenes" in printed
    assert lines[-1] == str(tmp_path / "set")
    assert "empty.jpg" in told


def test_strict_exits_with_1_for_a_bad_file_but_makes_the_set(photos: Path, tmp_path: Path) -> None:
    (photos / "with_mask" / "empty.jpg").touch()
    assert command("convert", photos, "--out", tmp_path / "set", "--strict") == 1
    assert (tmp_path / "set" / "data.yaml").is_file()


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--splits", "many"], 2, "not a list of numbers"),
        (["--splits", "0.5,0.5"], 1, "give the shares"),
        (["--map", "folder"], 2, "not NAME=CLASS"),
        (["--map", "folder=mask"], 1, "unknown class 'mask'"),
        (["--detector", "mtcnn"], 1, "unknown face detector"),
        (["--weights", "gone.caffemodel"], 1, "gone.caffemodel"),
        (["--scenes", "-1"], 2, "--scenes"),
    ],
)
def test_wrong_options_are_one_line(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, told: str
) -> None:
    assert command("convert", photos, "--out", tmp_path / "set", *arguments) == code
    error = capsys.readouterr().err
    assert told in error
    assert code == 2 or error.count("\n") == 1
    assert not (tmp_path / "set").exists()


def test_ctrl_c_exits_with_130_and_the_same_command_goes_on(photos: Path, tmp_path: Path) -> None:
    for name in ("with_mask", "without_mask"):
        for number in range(40):
            for crop in (photos / name).glob("0?.jpg"):
                shutil.copy(crop, photos / name / f"{number}-{crop.name}")
    out = tmp_path / "set"
    arguments = [sys.executable, "-m", "maskyolo", "convert", str(photos), "--out", str(out)]
    journal = tmp_path / "set.part" / "journal.jsonl"
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not (journal.is_file() and journal.read_text().count("\n") > 20):
        pass
    process.send_signal(signal.SIGINT)
    _, told = process.communicate()
    assert process.returncode == 130
    assert "the same command goes on" in told
    assert "Traceback" not in told
    assert not out.exists()
    assert journal.read_text().count("\n") > 20
    finished = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert (out / "data.yaml").is_file()
    assert not journal.exists()
