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


def test_it_prints_what_became_of_the_photos_and_the_folder_last(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "with_mask" / "empty.jpg").touch()
    assert command("convert", photos, "--out", tmp_path / "set", "--scenes", 2) == 0
    printed, told = capsys.readouterr()
    lines = printed.splitlines()
    assert lines[0].split() == ["kept", "unreadable", "all"]
    assert lines[1].split() == ["with_mask", "8", "1", "9"]
    assert lines[2].split() == ["without_mask", "8", "0", "8"]
    assert (
        "near-copies in different splits: 0 of 0 pairs; a plain random split would have had 0"
        in printed
    )
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
        (["--splits", "many"], 2, "expected fractions such as"),
        (["--splits", "0.5,0.5"], 1, "must be three fractions"),
        (["--map", "folder"], 2, "expected NAME=CLASS"),
        (["--map", "folder=mask"], 1, "unknown class 'mask'"),
        (["--detector", "mtcnn"], 2, "--detector"),
        (["--weights", "gone.caffemodel"], 1, "gone.caffemodel"),
        (["--scenes", "-1"], 2, "--scenes"),
        (["--bystanders", "guess"], 2, "--bystanders"),
        (["--exclude", "gone"], 1, "no images to exclude in gone"),
    ],
)
def test_wrong_options_are_one_line(
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    told: str,
) -> None:
    assert command("convert", photos, "--out", tmp_path / "set", *arguments) == code
    error = capsys.readouterr().err
    assert told in error
    assert code == 2 or error.count("\n") == 1
    assert not (tmp_path / "set").exists()


def test_ctrl_c_exits_with_130_and_the_same_command_goes_on(photos: Path, tmp_path: Path) -> None:
    for name in ("with_mask", "without_mask"):
        for number in range(3):
            for crop in (photos / name).glob("0?.jpg"):
                (photos / name / f"{number}-{crop.name}").write_bytes(
                    crop.read_bytes() + str(number).encode()
                )
    out = tmp_path / "set"
    arguments = [sys.executable, "-m", "maskyolo", "convert", str(photos), "--out", str(out)]
    journal = tmp_path / "set.part" / "journal.jsonl"
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not (
        journal.is_file() and journal.read_text().count("\n") > 5
    ):
        pass
    process.send_signal(signal.SIGINT)
    _, told = process.communicate()
    assert process.returncode == 130
    assert "run the same command again" in told
    assert "Traceback" not in told
    assert not out.exists()
    assert journal.read_text().count("\n") > 5
    finished = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert (out / "data.yaml").is_file()
    assert not journal.exists()


def test_a_second_run_needs_update_and_says_what_left_the_set(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("convert", photos, "--out", tmp_path / "set", "--no-sheets") == 0
    assert command("convert", photos, "--out", tmp_path / "set", "--no-sheets") == 1
    assert (
        "it exists; choose another folder or remove it, or update it with --update"
        in capsys.readouterr().err
    )
    (photos / "with_mask" / "03.jpg").unlink()
    assert command("convert", photos, "--out", tmp_path / "set", "--no-sheets", "--update") == 0
    printed = capsys.readouterr().out
    assert f"removed from the set, because no longer in {photos}: with_mask/03.jpg" in printed
    assert "contact sheets" not in printed
    assert len(list((tmp_path / "set" / "images").rglob("*.jpg"))) == 15


def test_a_class_that_loses_more_photos_is_a_warning(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for crop in list((photos / "with_mask").iterdir())[:6]:
        crop.write_bytes(crop.read_bytes()[:300])
    assert command("convert", photos, "--out", tmp_path / "set") == 0
    assert "warning: with_mask lost 6 of 8 photos (75.0%)" in capsys.readouterr().err


def test_a_seed_is_not_negative(photos: Path, tmp_path: Path) -> None:
    assert command("convert", photos, "--out", tmp_path / "set", "--seed", -1, "--scenes", 1) == 2
