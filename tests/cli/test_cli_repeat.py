"""`--args` repeats an earlier run: the same options give the same figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from maskyolo import evaluate
from maskyolo.cli import main
from maskyolo.runtime.options import DetectOptions


def call(*words: str | Path) -> int:
    """Run the command in this process and return its exit code."""
    with pytest.raises(SystemExit) as end:
        main([*map(str, words)])
    return int(end.value.code or 0)


def figures(run: Path) -> Any:
    return json.loads((run / "report.json").read_text()) | {"provenance": None}


def test_val_repeated_from_args_yaml_has_the_same_figures(
    samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--images", samples, "--labels", samples / "annotations", "--project", tmp_path]
    given = ["--imgsz", "256", "--conf", "0.4", "--seed", "5", "--map", "with_mask=with_mask"]
    assert call("val", *words, *given, "--map", "without_mask=without_mask") == 0
    capsys.readouterr()
    again = ["val", "--args", tmp_path / "val", "--project", tmp_path]
    assert call(*again, "--name", "again") == 0
    assert "differ" not in capsys.readouterr().err
    assert figures(tmp_path / "again") == figures(tmp_path / "val")
    first, second = (yaml.safe_load((tmp_path / n / "args.yaml").read_text()) for n in words_of())
    assert first | {"provenance": 0} == second | {"provenance": 0}
    assert (second["conf"], second["imgsz"], second["provenance"]["seed"]) == (0.4, 256, 5)

    assert call(*again, "--conf", "0.25", "--seed", "0", "--name", "other") == 0
    assert figures(tmp_path / "other")["confidence"] == 0.25
    assert "seed 0 instead of 5" in capsys.readouterr().err
    called = evaluate(args=tmp_path / "val", seed=0, project=None)
    assert called.intervals == evaluate(args=tmp_path / "other", conf=0.4, project=None).intervals


def words_of() -> tuple[str, str]:
    return "val", "again"


def test_another_model_is_named(
    samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--images", samples, "--labels", samples / "annotations", "--project", tmp_path]
    assert call("val", *where, "--imgsz", "64") == 0
    args = tmp_path / "val" / "args.yaml"
    args.write_text(args.read_text().replace("sha256: ", "sha256: ff"))
    capsys.readouterr()
    assert call("val", "--args", args, "--project", tmp_path) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "differ" in line]
    assert line.startswith(f"maskyolo: figures may differ from those of {args}: model sha256 ")


def test_compare_and_detect_repeat_their_models_and_sources(samples: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("portrait.jpg\nselfie.jpg\n")
    words = ["--images", samples, "--labels", samples / "annotations", "--rounds", "0"]
    words += ["--list", tmp_path / "list.txt", "--imgsz", "128", "--project", tmp_path]
    models = ["--model", "maskyolo-n", "--model", "maskyolo-n-folders"]
    assert call("compare", *words, *models) == 0
    assert call("compare", "--args", tmp_path / "compare", "--project", tmp_path) == 0
    assert figures(tmp_path / "compare2") == figures(tmp_path / "compare")

    two = [samples / "office.jpg", "--source", samples / "selfie.jpg"]
    out = ["--save-json", tmp_path / "x.jsonl", "--project", tmp_path]
    assert call("detect", *two, "--imgsz", "128", "--save-txt", "--no-save", *out) == 0
    (tmp_path / "x.jsonl").unlink()
    assert call("detect", "--args", tmp_path / "predict", "--project", tmp_path) == 0
    first, second = (
        {file.name: file.read_text() for file in (tmp_path / name / "labels").iterdir()}
        for name in ("predict", "predict2")
    )
    assert first == second
    assert len(first) == 2
    assert not list((tmp_path / "predict2").glob("*.jpg"))
    assert not (tmp_path / "x.jsonl").exists()


def test_another_run_cannot_make_this_one_run_or_write_anything_else(tmp_path: Path) -> None:
    content = {"alert_cmd": "rm x", "alert_url": "http://a", "alert_after": 1.0, "trust": True}
    content |= {"events": "a.csv", "save_json": "a.jsonl", "project": "/tmp", "conf": 0.5}
    (tmp_path / "args.yaml").write_text(yaml.safe_dump(content))
    assert DetectOptions.saved(tmp_path) == {"alert_after": 1.0, "conf": 0.5}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- a", "does not consist of 'name: value' lines"),
        ("conf: high", "conf has a wrong value: 'high'"),
        ("conf: 7", "conf must be between 0 and 1, got 7"),
        ("save_txt: maybe", "save_txt has a wrong value"),
        ("imgsz: true", "imgsz has a wrong value"),
        ("class_map: {1: 2}", "class_map has a wrong value"),
        ("precision: fp7", "unknown precision 'fp7'"),
        ("source: rtsp://***@cam/a", "no source given"),
        ("a: !!python/object:os.system {}", "line 1"),
    ],
)
def test_a_file_that_is_no_runs_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, told: str
) -> None:
    (tmp_path / "args.yaml").write_text(text)
    code = call("detect", "--args", tmp_path)
    err = capsys.readouterr().err
    assert code in (1, 2)
    assert told in err
    assert code == 2 or err.count("\n") == 1


def test_a_missing_file_says_what_to_give(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("val", "--args", "gone.yaml") == 1
    assert "give the args.yaml of an earlier run, or its folder" in capsys.readouterr().err
