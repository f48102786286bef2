"""`maskyolo detect` on the command line: exit codes, output, Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from clips import make_clip, probe

from maskyolo.cli import main


def call(*words: str | Path) -> int:
    """Run the command in this process and return its exit code."""
    with pytest.raises(SystemExit) as end:
        main(["detect", *map(str, words)])
    return int(end.value.code or 0)


def test_annotated_images_are_saved_by_default_and_the_folder_is_printed_last(
    samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        call(
            "--source",
            samples / "office.jpg",
            "--project",
            tmp_path,
            "--save-json",
            tmp_path / "out.jsonl",
        )
        == 0
    )
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "1 frame, 4 detections: 2 with_mask, 2 without_mask",
        str(tmp_path / "out.jsonl"),
        str(tmp_path / "predict"),
    ]
    assert re.fullmatch(r"OpenVINO CPU (fp32|bf16|int8), 640 px\n", err)
    assert (tmp_path / "predict" / "office.jpg").is_file()
    (line,) = (tmp_path / "out.jsonl").read_text().splitlines()
    assert len(json.loads(line)["detections"]) == 4


def test_verbose_says_why_the_runtime_and_precision_were_chosen(
    samples: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(samples / "office.jpg", "--no-save", "--verbose") == 0
    out, err = capsys.readouterr()
    assert out == "1 frame, 4 detections: 2 with_mask, 2 without_mask\n"
    assert re.fullmatch(r"OpenVINO on the CPU, .*: the fastest on .*; images at 640 pixels\n", err)


def test_a_video_keeps_its_length_and_rate(samples: Path, tmp_path: Path) -> None:
    assert (
        call(
            "--source",
            samples / "street.mp4",
            "--project",
            tmp_path,
            "--imgsz",
            "160",
            "--save-json",
            tmp_path / "out.jsonl",
        )
        == 0
    )
    assert probe(tmp_path / "predict" / "street.mp4") == probe(samples / "street.mp4")
    assert (
        len((tmp_path / "out.jsonl").read_text().splitlines()) == probe(samples / "street.mp4")[0]
    )


def test_without_save_there_is_no_folder(
    samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        call("--source", samples / "portrait.jpg", "--no-save", "--project", tmp_path / "runs") == 0
    )
    assert capsys.readouterr().out == "1 frame, 1 detection: 1 with_mask, 0 without_mask\n"
    assert not (tmp_path / "runs").exists()


def test_stats_only_saves_no_image_although_saving_is_the_default(
    samples: Path, tmp_path: Path
) -> None:
    assert call("--source", samples / "portrait.jpg", "--stats-only", "--project", tmp_path) == 0
    written = sorted(path.name for path in (tmp_path / "predict").iterdir())
    assert written == ["args.yaml", "counts.json"]


def test_a_bad_file_in_a_batch_is_reported_and_fails_only_with_strict(
    samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"not an image")
    (tmp_path / "good.jpg").write_bytes((samples / "portrait.jpg").read_bytes())
    assert call("--source", tmp_path, "--no-save") == 0
    assert "bad.jpg" in capsys.readouterr().err
    assert call("--source", tmp_path, "--no-save", "--strict") == 1


@pytest.mark.parametrize(
    "words",
    [
        ["--source", "gone.jpg"],
        ["--source", "empty"],
        ["--source", "text.mp4"],
        ["--source", "97"],
        ["--source", "text.mp4", "--model", "gone"],
        ["--source", "photo.jpg", "--model", "text.onnx"],
        ["--source", "photo.jpg", "--project", "text.mp4"],
        ["--source", "photo.jpg", "--save-json", "empty"],
        ["--source", "photo.jpg", "--device", "npu7"],
        ["--source", "photo.jpg", "--show"],
    ],
    ids=" ".join,
)
def test_a_users_error_is_one_line_and_exit_code_1(
    words: list[str],
    samples: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    Path("empty").mkdir()
    for name in ("text.mp4", "text.onnx"):
        Path(name).write_text("text")
    Path("photo.jpg").write_bytes((samples / "portrait.jpg").read_bytes())
    assert call(*words) == 1
    err = capfd.readouterr().err
    assert err.startswith("maskyolo: ")
    assert err.count("\n") == 1
    assert not list(tmp_path.rglob("*.part"))


def test_wrong_usage_is_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert call() == 2
    assert call("--source", "x.jpg", "--conf", "7") == 2
    assert "--source" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="sends signals as POSIX does")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_ctrl_c_completes_all_outputs(tmp_path: Path, number: signal.Signals) -> None:
    clip = make_clip(tmp_path / "c.mp4", frames=2000)
    json_file = tmp_path / "out.jsonl"
    words = [
        "--source",
        clip,
        "--imgsz",
        "160",
        "--project",
        tmp_path / "runs",
        "--save-json",
        json_file,
    ]
    running = subprocess.Popen(
        [sys.executable, "-m", "maskyolo", "detect", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    part = tmp_path / "out.jsonl.part"
    while running.poll() is None and not (part.is_file() and part.stat().st_size > 5000):
        os.sched_yield() if hasattr(os, "sched_yield") else time.sleep(0.01)
    running.send_signal(number)
    out, err = running.communicate(timeout=120)
    assert running.returncode == 130, err
    assert "Traceback" not in err
    records = [json.loads(line) for line in json_file.read_text().splitlines()]
    assert 10 < len(records) < 2000
    assert probe(tmp_path / "runs" / "predict" / "c.mp4")[0] == len(records)
    assert out.splitlines()[-1] == str(tmp_path / "runs" / "predict")
    assert not list(tmp_path.rglob("*.part"))


def test_a_source_needs_no_option(
    samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(samples / "office.jpg", "--source", samples / "street.jpg", "--no-save") == 0
    assert capsys.readouterr().out.startswith("2 frames, ")


def test_without_a_source_it_says_what_a_source_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert call() == 2
    assert "no source given, such as photo.jpg or 0" in capsys.readouterr().err


def test_source_can_be_given_several_times(
    samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--source", samples / "office.jpg", "--source", samples / "street.jpg"]
    words += ["--imgsz", "160", "--project", tmp_path, "--save-json", tmp_path / "out.jsonl"]
    assert call(*words) == 0
    assert capsys.readouterr().out.startswith("2 frames, ")
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [Path(line["source"]).name for line in lines] == ["office.jpg", "street.jpg"]
    recorded = yaml.safe_load((tmp_path / "predict" / "args.yaml").read_text())
    assert recorded["source"] == [str(samples / "office.jpg"), str(samples / "street.jpg")]


def test_a_camera_among_files_is_one_clear_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cams.txt").write_text("rtsp://me:secret@10.0.0.5/x\nphoto.jpg\n")
    assert call("--source", tmp_path / "cams.txt", "--project", tmp_path) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("start one `maskyolo detect` for cameras and streams, and one for files")
    assert "secret" not in line
