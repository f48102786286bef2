"""People who are tracked after the detection are those that `detect` tracks while it detects."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from archives import SETTINGS

import maskyolo
from maskyolo.batch import join_batch, plan_batch, run_batch
from maskyolo.errors import MaskyoloError, OutputError

WIDE = {**SETTINGS, "imgsz": 320}
AREAS = {"zone": "0.1,0,0.9,0,0.9,1,0.1,1", "line": "0.5,0,0.5,1", "alert_after": 0.5}


@pytest.fixture
def archive(tmp_path: Path, samples: Path) -> Path:
    """Two videos of a street, a damaged one, and a photo."""
    folder = tmp_path / "archive"
    folder.mkdir()
    shutil.copyfile(samples / "street.mp4", folder / "a.mp4")
    shutil.copyfile(samples / "queue.jpg", folder / "b.jpg")
    whole = (samples / "street.mp4").read_bytes()
    (folder / "c.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    shutil.copyfile(samples / "street.mp4", folder / "d.mp4")
    return folder


def detected(source: Path, out: Path, **settings: Any) -> tuple[bytes, bytes]:
    """Return the lines and events of `detect`."""
    files = {"save_json": out / "detect.jsonl", "events": out / "detect.csv"}
    for _ in maskyolo.detect(
        source, on_error=lambda *_: None, track=True, **files, **WIDE, **settings
    ):
        pass
    return files["save_json"].read_bytes(), files["events"].read_bytes()


def joined(source: Path, out: Path, *, shard: int = 1, **settings: Any) -> tuple[bytes, bytes]:
    """Return the lines and events of a plan with `track`."""
    areas = {name: settings.pop(name) for name in AREAS if name in settings}
    plan_batch(source, out, shard=shard, track=True, **WIDE, **settings)
    run_batch(out, on_error=lambda *_: None)
    join_batch(out, out / "lines.jsonl", events=out / "e.csv", counts=out / "c.json", **areas)
    return (out / "lines.jsonl").read_bytes(), (out / "e.csv").read_bytes()


def test_lines_and_events_are_those_of_detect_with_track(archive: Path, tmp_path: Path) -> None:
    lines, events = detected(archive, tmp_path, **AREAS)
    found = joined(archive, tmp_path / "out", **AREAS)
    rows = [json.loads(line) for line in lines.splitlines()]
    tracks = Counter(
        (row["source"], one["track_id"]) for row in rows for one in row.get("detections", [])
    )
    assert len([key for key in tracks if key[1]]) >= 3  # people are tracked
    assert tracks[str(archive / "b.jpg"), None] > 0  # and a photo has none
    assert b"appears" in events
    assert b"ends" in events
    assert found == (lines, events)
    counts = json.loads((tmp_path / "out" / "c.json").read_text())
    assert counts["people"] == len(
        {tuple(line.split(b",")[:4:3]) for line in events.splitlines() if b"enters" in line}
    )
    assert [one["source"] for one in counts["sources"]] == [
        str(archive / name) for name in ("a.mp4", "c.mp4", "d.mp4")
    ]


def test_strides_and_tiles_are_those_of_detect(archive: Path, tmp_path: Path) -> None:
    settings = {"vid_stride": 2, "slice_size": 320, "conf": 0.3, "max_det": 4}
    (archive / "d.mp4").unlink()
    lines, events = detected(archive, tmp_path, **settings)
    assert b'"track_id": 1' in lines
    assert joined(archive, tmp_path / "out", shard=100, **settings) == (lines, events)


def test_a_plan_without_track_cannot_be_tracked(archive: Path, tmp_path: Path) -> None:
    plan_batch(archive, tmp_path / "out", **WIDE)
    with pytest.raises(MaskyoloError, match=r"without --track.*plan again"):
        join_batch(tmp_path / "out", events=tmp_path / "events.csv")
    assert not list(tmp_path.glob("events*"))


def test_an_incomplete_join_leaves_no_files(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    joined(archive, out)
    part = max((out / "parts").iterdir())
    part.write_bytes(part.read_bytes()[:-9])
    with pytest.raises(MaskyoloError, match="remove it, and run"):
        join_batch(out, tmp_path / "new.jsonl", events=tmp_path / "new.csv")
    assert not list(tmp_path.glob("new*"))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"jsonl": "a.jsonl", "events": "a.jsonl"}, "both --jsonl and --events"),
        ({"events": "a.jsonl", "counts": "a.jsonl"}, "both --events and --counts"),
        ({"events": "a.txt"}, "unknown suffix '.txt'"),
        ({"events": "new.csv", "counts": "archive"}, "archive: it is a folder"),
        ({"events": "new.csv", "counts": "archive/b.jpg/c.json"}, "cannot write"),
    ],
)
def test_files_that_cannot_be_written_are_named_before_the_work(
    files: dict[str, str], message: str, archive: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    joined(archive, out)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(MaskyoloError, match=message):
        join_batch(out, **{name: tmp_path / file for name, file in files.items()})
    assert sorted(tmp_path.iterdir()) == before


def test_a_failure_at_the_end_leaves_no_incomplete_files(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OutputError("cannot write c.json: no space left", "free some")

    joined(archive, tmp_path / "out")
    monkeypatch.setattr("maskyolo.runtime.counting.write_atomic", full)
    files = {"events": tmp_path / "new.csv", "counts": tmp_path / "new.json"}
    with pytest.raises(OutputError, match="no space left"):
        join_batch(tmp_path / "out", tmp_path / "new.jsonl", **files)
    assert not list(tmp_path.glob("new*"))
