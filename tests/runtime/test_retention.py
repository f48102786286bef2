"""Old files of cameras are deleted, nothing else is, and a new run overwrites nothing."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from live import Mjpeg, until

import maskyolo
from maskyolo.errors import MaskyoloError, OutputError
from maskyolo.runtime.json_lines import LineFile
from maskyolo.runtime.retention import Kept, Retention, keep_earlier
from maskyolo.runtime.run import Summary

OURS = (
    "events-2026-11-01.csv",
    "events-2026-11-01_2.csv",
    "runs/predict/counts-2026-11-02.json",
    "runs/predict2/alerts/2026-11-03_080012.250_track3.jpg",
    "runs/predict2/alerts/camera1/2026-11-03_080012.250_track3_2.jpg",
    "events-2026-11-20.csv",
)
OTHERS = (
    "events.csv",
    "events.csv.part",
    "events-2026-11-01.jsonl",
    "my-events-2026-11-01.csv",
    "events-2026-11-01-copy.csv",
    "events-2026-13-01.csv",
    "other-2026-11-01.csv",
    "sub/events-2026-11-01.csv",
    "runs/predict/counts.json",
    "runs/predict/notes-2026-11-02.json",
    "runs/predict2/alerts/party-2026-11-03.jpg",
    "runs/predict2/alerts/2026-11-03_080012.250_track3.txt",
    "runs/mine/counts-2026-11-02.json",
    "runs/predict9/counts-2026-11-02.json",  # no run: it has no args.yaml
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (*OURS, *OTHERS):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 1000)
    for run in ("predict", "predict2", "mine"):
        (tmp_path / "runs" / run / "args.yaml").write_text("")
    (tmp_path / "target").write_text("x")
    (tmp_path / "events-2026-11-04.csv").symlink_to(tmp_path / "target")
    return tmp_path


def retention(folder: Path, kept: Kept) -> Retention:
    def fail(error: MaskyoloError) -> None:
        raise error

    return Retention(kept, [folder / "events.csv"], folder / "runs" / "predict", fail)


def there(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_only_our_own_dated_files_are_deleted(folder: Path) -> None:
    before = there(folder)
    gone = retention(folder, Kept(days=10)).clean(date(2026, 11, 30))
    assert before - there(folder) == set(OURS[:5])
    assert {str(path.relative_to(folder)) for path in gone} == set(OURS[:5])
    assert (folder / "events-2026-11-04.csv").is_symlink()


def test_a_file_is_kept_for_the_days_given(folder: Path) -> None:
    assert not retention(folder, Kept(days=29)).clean(date(2026, 11, 30))
    gone = retention(folder, Kept(days=28)).clean(date(2026, 11, 30))
    assert {path.name for path in gone} == {"events-2026-11-01.csv", "events-2026-11-01_2.csv"}


def test_the_oldest_are_deleted_above_the_size(folder: Path) -> None:
    assert not retention(folder, Kept(gigabytes=6e-6)).clean()
    gone = retention(folder, Kept(gigabytes=3.5e-6)).clean()
    assert [path.name for path in gone] == [Path(name).name for name in OURS[:3]]


def test_what_cannot_be_deleted_is_reported_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unlink(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    errors: list[MaskyoloError] = []
    monkeypatch.setattr(Path, "unlink", unlink)
    kept = Retention(Kept(days=1), [folder / "events.csv"], folder / "none", errors.append)
    assert kept.clean() == []
    (error,) = errors
    assert error.problem.endswith("events-2026-11-01.csv: permission denied")


def test_the_files_of_an_earlier_run_get_their_date(tmp_path: Path) -> None:
    path, day = tmp_path / "events.csv", datetime(2026, 11, 5, 12).timestamp()
    for name in ("events.csv", "events.csv.part"):
        (tmp_path / name).write_text(name)
        os.utime(tmp_path / name, (day, day))
    keep_earlier(path)
    assert (tmp_path / "events-2026-11-05.csv").read_text() == "events.csv"
    assert (tmp_path / "events-2026-11-05_2.csv").read_text() == "events.csv.part"
    assert len(list(tmp_path.iterdir())) == 2
    keep_earlier(path)  # nothing there


def test_a_file_that_another_run_writes_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    running = LineFile(path)
    running.line("a")
    with pytest.raises(OutputError, match="another run is writing it"):
        LineFile(path, dated=True)
    running.line("b")
    running.close()
    assert path.read_text() == "a\nb\n"


@pytest.fixture
def camera(samples: Path) -> Iterator[Mjpeg]:
    mjpeg = Mjpeg(samples / "office.jpg")
    yield mjpeg
    mjpeg.die()


def test_a_camera_that_is_started_again_overwrites_nothing_and_deletes_old_files(
    camera: Mjpeg, tmp_path: Path
) -> None:
    today = datetime.now().astimezone().date()
    old, young = (today - timedelta(days=days) for days in (40, 2))
    for day in (old, young):
        (tmp_path / f"seen-{day}.jsonl").write_text("{}\n")
    outputs = {"save_json": tmp_path / "seen.jsonl", "events": tmp_path / "events.csv"}
    for _ in range(2):
        stop = threading.Event()
        frames = maskyolo.detect(
            camera.url, **outputs, stats_only=True, project=tmp_path, name="run", exist_ok=True,
            keep_days=30, stop=stop, reconnect=60, imgsz=64, summary=Summary(),
        )  # fmt: skip
        next(frames)
        until(lambda: not (tmp_path / f"seen-{old}.jsonl").exists())
        frames.close()
    names = there(tmp_path)
    assert f"seen-{young}.jsonl" in names
    dated = {name.split("-")[0] for name in names - {f"seen-{young}.jsonl"} if "-20" in name}
    assert dated == {"seen", "events", "run/counts"}  # of the first run
    assert {"seen.jsonl", "events.csv", "run/counts.json"} <= names
