"""What `serve` keeps on disk: lines of frames, counts over restarts, files for some days."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from live import Mjpeg, until
from serving import Running, running

from maskyolo.core.detector import Detector
from maskyolo.errors import MaskyoloError
from maskyolo.live import keeping
from maskyolo.live.tally import Tally
from maskyolo.runtime.activity import Activity
from maskyolo.runtime.named_cameras import NamedCamera


def today(camera: Mjpeg, server: Running) -> dict[str, int]:
    """Send a frame and return today's counts."""
    camera.send(1)
    found: dict[str, int] = server.camera()["today"]
    return found


def test_counts_survive_a_restart(
    camera: Mjpeg, detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "SAVE_EVERY", 0.0)
    file, door = tmp_path / "counts.json", NamedCamera("door", camera.url)
    with running(door, detector, save_counts=file) as server:
        until(lambda: today(camera, server)["people"] == 4)

        def saved() -> Any:
            content = json.loads(file.read_text()) if file.exists() else {}
            return sum(sum(hour.values()) for hour in content.get("door", {}).values())

        until(lambda: saved() == 4)  # also before it ends: it may be killed
    before = json.loads(file.read_text())
    with running(door, detector, save_counts=file) as server:
        assert server.camera()["today"]["people"] >= 4
        until(lambda: today(camera, server)["people"] == 8)  # the same people count again
    other = NamedCamera("gate", camera.url)
    with running(other, detector, save_counts=file) as server:
        assert server.camera()["today"]["people"] == 0
    after = json.loads(file.read_text())
    assert after.keys() == {"door", "gate"}
    assert sum(map(len, after["door"].values())) >= sum(map(len, before["door"].values()))


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{",
        '{"door": []}',
        '{"door": {"noon": {"with_mask": 1}}}',
        '{"door": {"2026-11-27T08:00:00": {"with_mask": -1}}}',
        '{"door": {"2026-11-27T08:00:00": {"with_mask": 0.5}}}',
        '{"door": {"2026-11-27T08:00:00": {"people": 1}}}',
        '{"door": {"2026-11-27T08:00:00+01:00": {"with_mask": 1}}}',
        '{"door": {"2026-11-27T08:00:00": 3}}',
    ],
)
def test_a_wrong_file_of_counts_is_an_error_of_one_line(
    text: str, camera: Mjpeg, detector: Detector, tmp_path: Path
) -> None:
    file = tmp_path / "counts.json"
    file.write_text(text)
    door = NamedCamera("door", camera.url)
    with pytest.raises(MaskyoloError) as error, running(door, detector, save_counts=file):
        pass
    assert str(error.value).startswith(f"cannot read {file}")
    assert "\n" not in str(error.value)
    assert file.read_text() == text


def test_a_tally_is_restored_as_it_was() -> None:
    tally, again = Tally(), Tally()
    tally.restore({"2026-11-27T08:00:00": {"with_mask": 2, "put_on": 1}})
    again.restore(json.loads(json.dumps(tally.record())))
    day = datetime(2026, 11, 27).date()
    assert again.by_hour(day) == tally.by_hour(day)
    assert again.today(day)["people"] == 3


def test_frames_are_written_as_lines_of_json(
    camera: Mjpeg, samples: Path, detector: Detector, tmp_path: Path
) -> None:
    other = Mjpeg(samples / "portrait.jpg")
    file = tmp_path / "seen.jsonl"
    named = [NamedCamera("door", camera.url), NamedCamera("gate", other.url)]
    with running(named, detector, save_json=file) as server:
        until(lambda: all(server.camera(n)["status"] == "live" for n in (1, 2)))
        camera.send(3)
        until(lambda: server.ask("/cameras/1/detections").json()["frame"] == camera.sent - 1)
    other.die()
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert {line["source"] for line in lines} == {"door", "gate"}
    assert all(line["detections"] and line["datetime"] for line in lines)
    frames = [line["frame"] for line in lines if line["source"] == "door"]
    assert frames == sorted(set(frames))
    assert frames[-1] == camera.sent - 1


def test_old_files_are_deleted_while_it_runs(
    camera: Mjpeg, detector: Detector, tmp_path: Path
) -> None:
    day = datetime.now().astimezone().date()
    old, young = (tmp_path / f"events-{day - timedelta(days=days)}.csv" for days in (9, 1))
    earlier = tmp_path / "events.csv"
    for path in (old, young, earlier):
        path.write_text("source\n")
    with running(camera.url, detector, events=earlier, keep_days=7) as server:
        until(lambda: not old.exists())
        assert server.ask("/cameras").status == 200
    assert young.exists()
    assert len(list(tmp_path.glob("events-*.csv"))) == 2  # that of the earlier run has its date


def test_the_log_gets_what_all_cameras_have_done(camera: Mjpeg, detector: Detector) -> None:
    found: list[Activity] = []
    named = [NamedCamera("door", camera.url), NamedCamera("away", "http://127.0.0.1:9/x.mjpg")]
    with running(named, detector, found.append):
        until(lambda: any(one.frames["door"] for one in found))
        camera.die()
        number = len(found)
        until(lambda: len(found) > number + 1)
        assert found[-1].active > found[number].active  # alive, although no frame arrives
    assert found[-1].frames["away"] == 0
    assert found[-1].interruptions >= 1
    camera.start()
