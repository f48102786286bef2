"""Run folders: numbered, never mixed, with their settings."""

from pathlib import Path

import pytest
import yaml

from maskyolo.core.runs import new_run, save_args
from maskyolo.errors import OutputError


def test_the_second_run_gets_the_number_two(tmp_path: Path) -> None:
    assert [new_run(tmp_path / "runs", "predict").name for _ in range(3)] == [
        "predict",
        "predict2",
        "predict3",
    ]


def test_exist_ok_uses_the_folder_that_is_there(tmp_path: Path) -> None:
    assert new_run(tmp_path, "predict") == new_run(tmp_path, "predict", exist_ok=True)


def test_a_file_in_its_place_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "predict").touch()
    with pytest.raises(OutputError, match="predict"):
        new_run(tmp_path, "predict", exist_ok=True)
    (tmp_path / "runs").touch()
    with pytest.raises(OutputError, match="runs"):
        new_run(tmp_path / "runs", "predict")


@pytest.mark.parametrize("name", ["", "../elsewhere", "a/b"])
def test_a_name_cannot_leave_the_project(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match="--project"):
        new_run(tmp_path, name)


def test_settings_are_written_with_paths_as_text(tmp_path: Path) -> None:
    save_args(
        tmp_path,
        {"source": Path("a b.jpg"), "conf": 0.25, "names": ("é", 1), "save": True, "nothing": None},
    )
    assert yaml.safe_load((tmp_path / "args.yaml").read_text(encoding="utf-8")) == {
        "source": "a b.jpg",
        "conf": 0.25,
        "names": ["é", 1],
        "save": True,
        "nothing": None,
    }
