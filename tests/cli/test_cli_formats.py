"""`maskyolo convert` of sets that have boxes: what it prints and its exit codes."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from maskyolo.cli import main
from maskyolo.core.images import write_image


def command(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


@pytest.fixture
def street(samples: Path, tmp_path: Path) -> Path:
    (tmp_path / "street").mkdir()
    for path in (*samples.glob("*.jpg"), *(samples / "annotations").glob("*.xml")):
        shutil.copy(path, tmp_path / "street")
    return tmp_path / "street"


def test_an_annotated_set_and_folders_and_then_another_format(
    street: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = tmp_path / "photos"
    (folders / "with_mask").mkdir(parents=True)
    shutil.copy(street / "portrait.jpg", folders / "with_mask")
    (street / "list.txt").write_text("street\noffice\nqueue\nportrait\nselfie.jpg\n")
    assert (
        command(
            "convert",
            street,
            folders,
            "--list",
            "list.txt",
            "--splits",
            "0.5,0.5,0",
            "--out",
            tmp_path / "set",
        )
        == 0
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["kept", "duplicate", "all"]
    assert [line.split() for line in lines[1:3]] == [
        ["with_mask", "3", "1", "4"],
        ["without_mask", "2", "0", "2"],
    ]
    assert (
        command(
            "convert", tmp_path / "set" / "data.yaml", "--to", "coco", "--out", tmp_path / "coco"
        )
        == 0
    )
    printed = capsys.readouterr().out
    assert "boxes: " in printed
    assert printed.splitlines()[-2:] == [
        "left out: 0 images; boxes changed in 0",
        str(tmp_path / "coco"),
    ]


def test_a_photo_without_annotation_is_not_one_without_faces(
    street: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (2, 60, 80, 3), np.uint8)
    for name, image in zip(("wall.png", "unknown.png"), noise, strict=True):
        write_image(street / name, image)
    (street / "wall.xml").write_text("<annotation></annotation>")
    assert command("convert", street, "--splits", "0.5,0.5,0", "--out", tmp_path / "set") == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {
        line[:13].strip(): dict(zip(lines[0].split(), line[13:].split(), strict=True))
        for line in lines[1:5]
    }
    assert (rows["no faces"]["kept"], rows["no faces"]["all"]) == ("1", "1")
    assert (rows["no annotation"]["excluded"], rows["no annotation"]["all"]) == ("1", "1")


def test_strict_exits_with_1_for_an_annotation_that_cannot_be_used(
    street: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (street / "office.xml").write_text("<annotation>")
    assert command("convert", street, "--to", "yolo", "--out", tmp_path / "set", "--strict") == 1
    assert "office.jpg: office.xml: damaged XML" in capsys.readouterr().err
    assert (tmp_path / "set" / "data.yaml").is_file()


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--format", "tfrecord"], 2, "--format"),
        (["--format", "coco"], 1, "no COCO annotations"),
        (["--splits", "keep"], 1, "cannot keep the splits"),
        (["--splits", "kept"], 2, "or keep"),
        (["--list", "gone.txt"], 1, "no list gone.txt"),
        (["--map", "with_mask=helmet"], 1, "unknown class 'helmet'"),
        (["--to", "tfrecord"], 1, "unknown format 'tfrecord'"),
        (["--to", "yolo", "--map", "with_mask=ignore"], 1, "use drop"),
        (["--to", "yolo", "--list", "gone.txt"], 2, "no --list"),
        (["elsewhere", "--to", "yolo"], 2, "one source"),
        (
            ["--to", "yolo", "--update", "--scenes", "0", "--no-sheets"],
            1,
            "cannot be used with --scenes, --update, --sheets",
        ),
    ],
)
def test_wrong_options_are_one_line(
    street: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    told: str,
) -> None:
    assert command("convert", street, "--out", tmp_path / "set", *arguments) == code
    error = capsys.readouterr().err
    assert told in error
    assert code == 2 or error.count("\n") == 1
    assert not (tmp_path / "set").exists()
