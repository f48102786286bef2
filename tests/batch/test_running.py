"""A plan gives the lines of `detect`, also after its processes were killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
from archives import SETTINGS, detect_lines, make_archive, patch_workers
from paths import ROOT

import maskyolo
from maskyolo.batch import batch_status, join_batch, plan_batch, run_batch
from maskyolo.errors import MaskyoloError, WeightsError

#: Runs a plan and kills itself when the given number of items is done.
DRIVER = """
import os, signal, sys
from maskyolo.batch import run_batch
def on_progress(done, total):
    if done >= int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
run_batch(sys.argv[1], on_progress=on_progress, on_error=lambda *_: None)
"""


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return make_archive(tmp_path / "archive")


@pytest.fixture
def expected(archive: Path, tmp_path: Path) -> bytes:
    return detect_lines(archive, tmp_path / "detect.jsonl")


def plan(archive: Path, out: Path, shard: int = 3) -> Path:
    return plan_batch(archive, out, shard=shard, **SETTINGS).out


def joined(out: Path) -> bytes:
    join_batch(out, out / "joined.jsonl")
    return (out / "joined.jsonl").read_bytes()


def test_the_lines_are_those_of_detect(archive: Path, expected: bytes, tmp_path: Path) -> None:
    out = plan(archive, tmp_path / "out")
    errors: list[tuple[str, str]] = []
    progress: list[tuple[int, int | None]] = []
    status = run_batch(
        out,
        on_error=lambda *error: errors.append(error),
        on_progress=lambda *now: progress.append(now),
    )
    assert status.complete
    assert (status.items, status.rows, status.errors) == (8, 13, 1)
    assert expected.count(b"\n") == 13
    assert b"with_mask" in expected
    assert joined(out) == expected
    assert [name for name, _ in errors] == [str(archive / "c.jpg")]
    assert progress == sorted(set(progress))
    assert progress[-1] == (8, 8)


def test_the_rows_are_typed(archive: Path, tmp_path: Path) -> None:
    out = plan(archive, tmp_path / "out", 100)
    run_batch(out, on_error=lambda *_: None)
    table = pq.read_table(out / "parts")
    assert table.column_names == [
        "item", "source", "frame", "time", "width", "height", "rate", "detections", "error",
    ]  # fmt: skip
    rows = table.to_pylist()
    assert [row["item"] for row in rows] == [0, 1, 2, 3, *[4] * 6, 5, 6, 7]
    found = rows[0]["detections"][0]
    assert found["class"] in ("with_mask", "without_mask")
    assert len(found["box"]) == 4
    assert rows[2]["error"].startswith(f"cannot decode {archive / 'c.jpg'}: not an image")
    assert rows[2]["detections"] is None
    assert [row["time"] for row in rows[4:10]] == [0.0, 0.04, 0.08, 0.12, 0.16, 0.2]


def test_two_jobs_share_a_plan(archive: Path, expected: bytes, tmp_path: Path) -> None:
    out = plan(archive, tmp_path / "out", 1)
    first = run_batch(out, only="0/2", on_error=lambda *_: None)
    assert (first.finished_shards, first.shards) == (4, 8)
    assert sorted(path.name for path in (out / "parts").iterdir()) == [
        f"{number:06}.parquet" for number in (0, 2, 4, 6)
    ]
    assert not (out / "manifest.json").exists()
    assert run_batch(out, only="1/2", on_error=lambda *_: None).complete
    assert joined(out) == expected


@pytest.mark.parametrize("done", [1, 3, 5])
def test_a_killed_driver_is_run_again(
    done: int, archive: Path, expected: bytes, tmp_path: Path
) -> None:
    out = plan(archive, tmp_path / "out", 2)
    killed = subprocess.run([sys.executable, "-c", DRIVER, str(out), str(done)], check=False)
    assert killed.returncode == -signal.SIGKILL
    before = {path: path.stat().st_mtime_ns for path in (out / "parts").glob("*.parquet")}
    assert len(before) >= done // 2  # the worker may be ahead of the driver
    assert batch_status(out).finished_shards == len(before)
    assert run_batch(out, on_error=lambda *_: None).complete
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert joined(out) == expected
    assert [path.name for path in (out / "parts").iterdir() if path.suffix != ".parquet"] == []


def test_a_worker_ends_with_its_driver(archive: Path, tmp_path: Path) -> None:
    out = plan(archive, tmp_path / "out", 2)
    listed = "print(*(child.pid for child in psutil.Process().children()), flush=True)"
    code = "import psutil\n" + DRIVER.replace("os.kill", f"{listed}; os.kill")
    told = subprocess.run(
        [sys.executable, "-c", code, str(out), "1"], check=False, stdout=subprocess.PIPE, text=True
    ).stdout
    (worker,) = map(int, told.split())
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(worker).wait(timeout=60)


@pytest.mark.parametrize("kills", [(1,), (2,), (3, 6), (1, 3, 5, 7)])
def test_a_killed_worker_costs_nothing(
    kills: tuple[int, ...],
    archive: Path,
    expected: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = plan(archive, tmp_path / "out", 4)
    patch_workers(monkeypatch, tmp_path / "reads", kills)
    errors: list[tuple[str, str]] = []
    assert run_batch(out, on_error=lambda *error: errors.append(error)).complete
    assert (tmp_path / "reads").stat().st_size >= max(kills)
    assert joined(out) == expected
    assert len(errors) == 1


def test_an_image_that_kills_the_process_is_one_error(
    archive: Path, expected: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison = archive / "b.jpg"
    poison.write_bytes(b"DEADLY")
    out = plan(archive, tmp_path / "out", 4)
    patch_workers(monkeypatch, tmp_path / "reads", signal="SIGSEGV")
    errors: list[tuple[str, str]] = []
    progress: list[int] = []
    status = run_batch(
        out,
        on_error=lambda *error: errors.append(error),
        on_progress=lambda done, _: progress.append(done),
    )
    assert status.complete
    assert status.errors == 2
    assert [name for name, _ in errors] == [str(poison), str(archive / "c.jpg")]
    assert progress == sorted(set(progress))
    assert progress[-1] == 8
    lines, before = joined(out).splitlines(), expected.splitlines()
    assert json.loads(lines[1]) == {
        "source": str(poison),
        "frame": 0,
        "error": f"cannot process {poison}: it ends the process (signal SIGSEGV); remove it or "
        "copy it again",
    }
    assert lines[:1] + lines[2:] == before[:1] + before[2:]


def test_a_file_that_has_changed_since_the_plan_is_an_error(
    archive: Path, expected: bytes, tmp_path: Path
) -> None:
    out = plan(archive, tmp_path / "out")
    changed, touched, gone = archive / "a.jpg", archive / "b.jpg", archive / "d.jpg"
    changed.write_bytes(changed.read_bytes() + b"\0")
    size, again = changed.stat().st_size, "plan again in another folder"
    os.utime(touched, ns=(0, 12345))
    gone.unlink()
    assert run_batch(out, on_error=lambda *_: None).errors == 4
    lines = [json.loads(line) for line in joined(out).splitlines()]
    assert [line["error"] for line in lines[:4] if "error" in line] == [
        f"{changed} has changed since it was planned: {size - 1} bytes then, {size} now; {again}",
        f"{touched} has changed since it was planned: it was written again; {again}",
        json.loads(expected.splitlines()[2])["error"],
        f"cannot read image {gone}: no such file or directory; check the path",
    ]
    assert joined(out).splitlines()[4:] == expected.splitlines()[4:]


def test_shards_with_errors_are_retried_on_request(
    archive: Path, expected: bytes, tmp_path: Path
) -> None:
    out = plan(archive, tmp_path / "out", 3)
    lost = archive / "g.jpg"
    lost.rename(tmp_path / "elsewhere.jpg")
    assert run_batch(out, on_error=lambda *_: None).errors == 2
    before = {path.name: path.stat().st_mtime_ns for path in (out / "parts").iterdir()}
    (tmp_path / "elsewhere.jpg").rename(lost)
    assert run_batch(out).errors == 2
    assert run_batch(out, retry_errors=True, on_error=lambda *_: None).errors == 1
    after = {path.name: path.stat().st_mtime_ns for path in (out / "parts").iterdir()}
    assert [name for name in before if before[name] == after[name]] == ["000001.parquet"]
    assert joined(out) == expected


def test_another_model_of_the_same_name_is_refused(archive: Path, tmp_path: Path) -> None:
    own = ROOT / "maskyolo" / "weights" / "maskyolo-n.onnx"
    model = tmp_path / "own.onnx"
    model.write_bytes(own.read_bytes())
    out = plan_batch(archive, tmp_path / "out", model=str(model), **SETTINGS).out
    model.write_bytes(own.with_name("maskyolo-n-folders.onnx").read_bytes())
    with pytest.raises(WeightsError, match="is not the model of the plan") as caught:
        run_batch(out)
    assert str(model) in str(caught.value)
    assert list((out / "parts").glob("*")) == []


def test_tiles_and_strides_are_those_of_detect(archive: Path, tmp_path: Path) -> None:
    settings = {**SETTINGS, "slice_size": 320, "vid_stride": 2, "conf": 0.1, "max_det": 3}
    lines = tmp_path / "detect.jsonl"
    for _ in maskyolo.detect(archive, save_json=lines, on_error=lambda *_: None, **settings):
        pass
    out = plan_batch(archive, tmp_path / "out", shard=4, **settings).out
    run_batch(out, on_error=lambda *_: None)
    assert lines.read_bytes().count(b"e.mp4") == 3
    assert joined(out) == lines.read_bytes()


def test_the_working_folder_of_the_plan_counts(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    expected = detect_lines("archive", tmp_path / "detect.jsonl")
    plan_batch("archive", "out", **SETTINGS)
    monkeypatch.chdir("/")
    run_batch(tmp_path / "out", on_error=lambda *_: None)
    assert b'{"source": "archive/a.jpg"' in expected
    assert joined(tmp_path / "out") == expected


@pytest.mark.parametrize("only", ["2/2", "1", "a/b", "-1/2", "0/0"])
def test_a_wrong_share_is_refused(only: str, tmp_path: Path) -> None:
    with pytest.raises(MaskyoloError, match="only must be I/N"):
        run_batch(tmp_path, only=only)
