"""Live sources and recordings with a known start say at what time of day something happened."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
import supervision as sv
from live import Mjpeg

from maskyolo.core.classes import CLASS_NAMES
from maskyolo.core.images import ImageArray
from maskyolo.errors import MaskyoloError
from maskyolo.runtime.counting import Counting
from maskyolo.runtime.detection import detect
from maskyolo.runtime.events import Event, EventFile
from maskyolo.runtime.frames import Frame
from maskyolo.runtime.json_lines import JsonLines
from maskyolo.runtime.results import Result
from maskyolo.runtime.time_of_day import Clock, format_moment, parse_start

ZONE = timezone(timedelta(hours=1))
MIDNIGHT = datetime(2026, 11, 28, tzinfo=ZONE)
IMAGE = np.zeros((100, 200, 3), np.uint8)


def live(seconds: float, *, tracks: int = 1) -> Result:
    """Return a frame of a camera, that many seconds after midnight, with masked people."""
    found = sv.Detections(
        np.array([[40 * n, 10, 40 * n + 20, 30] for n in range(tracks)], np.float32),
        confidence=np.full(tracks, 0.9, np.float32),
        class_id=np.zeros(tracks, np.int64),
        tracker_id=np.arange(1, tracks + 1),
        data={"class_name": np.full(tracks, CLASS_NAMES[0])},
    )
    moment = MIDNIGHT + timedelta(seconds=seconds)
    frame = Frame(IMAGE, "0", round(10 * (seconds + 60)), seconds + 60, "live", moment=moment)
    return Result(frame, found)


def nothing_in(image: ImageArray) -> sv.Detections:
    return sv.Detections(
        np.zeros((0, 4), np.float32),
        confidence=np.zeros(0, np.float32),
        class_id=np.zeros(0, np.int64),
        data={"class_name": np.zeros(0, str)},
    )


def test_a_live_frame_has_the_time_at_which_it_arrived() -> None:
    clock = Clock(None, lambda: MIDNIGHT, lambda: 105.5)
    frame = Frame(IMAGE, "0", 3, 7.0, "live", taken=103.25)
    moment = clock.moment(frame)
    assert moment is not None
    assert format_moment(moment) == "2026-11-27T23:59:57.750+01:00"


def test_a_file_has_a_time_of_day_if_its_start_is_known() -> None:
    frame = Frame(IMAGE, "a.mp4", 30, 1.25, "video")
    assert Clock().moment(frame) is None
    moment = Clock(parse_start("2026-11-27T08:00:00+01:00")).moment(frame)
    assert moment is not None
    assert format_moment(moment) == "2026-11-27T08:00:01.250+01:00"
    local = parse_start("2026-11-27 08:00")
    assert local.tzinfo is not None
    assert local.replace(tzinfo=None) == datetime(2026, 11, 27, 8)
    with pytest.raises(MaskyoloError, match="--start is for recordings"):
        Clock(local).moment(replace(frame, kind="live"))
    with pytest.raises(MaskyoloError, match="after the year 9999"):
        Clock(parse_start("9999-12-31T23:59:59Z")).moment(frame)


@pytest.mark.parametrize("text", ["", "8:00", "2026-13-01", "tomorrow", "0001-01-01"])
def test_a_wrong_start_is_an_error_of_one_line(text: str) -> None:
    if text == "0001-01-01":  # in some zones, it is before the first year
        text = "0001-01-01T00:00:00+99:00"
    with pytest.raises(MaskyoloError, match="--start must be a date and time") as caught:
        parse_start(text)
    assert "\n" not in str(caught.value)


def test_a_file_of_lines_is_cut_at_midnight(tmp_path: Path) -> None:
    (tmp_path / "seen-2026-11-27.jsonl").write_text("of an earlier run\n")
    file = JsonLines(tmp_path / "seen.jsonl")
    for seconds in (-2, -1, 0, 1, -0.5, 86_400):  # the clock is set back once
        file.write(live(seconds))
    file.close()

    def times(name: str) -> list[str]:
        lines = (tmp_path / name).read_text().splitlines()
        return [json.loads(line)["datetime"] for line in lines]

    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "seen-2026-11-27.jsonl",
        "seen-2026-11-27_2.jsonl",
        "seen-2026-11-28.jsonl",
        "seen.jsonl",
    ]
    assert (tmp_path / "seen-2026-11-27.jsonl").read_text() == "of an earlier run\n"
    assert times("seen-2026-11-27_2.jsonl") == [
        "2026-11-27T23:59:58.000+01:00",
        "2026-11-27T23:59:59.000+01:00",
    ]
    assert len(times("seen-2026-11-28.jsonl")) == 3
    assert times("seen.jsonl") == ["2026-11-29T00:00:00.000+01:00"]


def test_a_recording_stays_one_file(tmp_path: Path) -> None:
    file = JsonLines(tmp_path / "seen.jsonl")
    for seconds in (-1, 1):
        result = live(seconds)
        file.write(replace(result, frame=replace(result.frame, kind="video")))
    file.close()
    assert [path.name for path in tmp_path.iterdir()] == ["seen.jsonl"]
    assert len((tmp_path / "seen.jsonl").read_text().splitlines()) == 2


def test_events_and_counts_are_cut_at_midnight(tmp_path: Path) -> None:
    counting, file = Counting(), EventFile(tmp_path / "events.csv")
    counting.path = tmp_path / "counts.json"
    counting.listeners = [file]
    for tenth in range(-20, 30):
        result = live(tenth / 10, tracks=2 if tenth < 0 else 1)
        file.write(result)
        counting.write(result)
    counting.close()
    file.close()

    def rows(name: str) -> list[tuple[str, str, str]]:
        with (tmp_path / name).open(newline="") as lines:
            return [
                (row["event"], row["track_id"], row["datetime"]) for row in csv.DictReader(lines)
            ]

    assert rows("events-2026-11-27.csv") == [
        ("appears", "1", "2026-11-27T23:59:58.500+01:00"),
        ("appears", "2", "2026-11-27T23:59:58.500+01:00"),
        ("ends", "1", "2026-11-27T23:59:59.900+01:00"),
        ("ends", "2", "2026-11-27T23:59:59.900+01:00"),
    ]
    assert rows("events.csv") == [
        ("appears", "1", "2026-11-28T00:00:00.500+01:00"),
        ("ends", "1", "2026-11-28T00:00:02.900+01:00"),
    ]
    before = json.loads((tmp_path / "counts-2026-11-27.json").read_text())
    after = json.loads((tmp_path / "counts.json").read_text())
    assert [(one["frames"], one["people"]) for one in (before, after)] == [(20, 2), (30, 1)]
    (source,) = after["sources"]
    assert source["datetime"] == "2026-11-28T00:00:00.000+01:00"
    assert [(entry["time"], entry["datetime"]) for entry in source["timeline"]] == [
        (60.0, "2026-11-28T00:00:00.000+01:00"),
        (61.0, "2026-11-28T00:00:01.000+01:00"),
        (62.0, "2026-11-28T00:00:02.000+01:00"),
    ]
    assert sum(counting.people().values()) == 3  # the run's summary is about both days


def test_an_alert_has_the_time_of_day() -> None:
    event = Event("alert", "0", 7, 0.7, 3, "without_mask", 0.9, MIDNIGHT)
    assert event.record()["datetime"] == "2026-11-28T00:00:00.000+01:00"
    assert "moment" not in event.record()


def test_every_line_of_a_camera_has_the_time_of_day(samples: Path, tmp_path: Path) -> None:
    camera = Mjpeg(samples / "street.jpg")
    before = datetime.now().astimezone()
    try:
        frames = detect(camera.url, nothing_in, save_json=tmp_path / "seen.jsonl")
        found = [next(frames)[1].metadata for _ in range(3)]
        frames.close()
    finally:
        camera.die()
    after = datetime.now().astimezone()
    lines = [json.loads(line) for line in (tmp_path / "seen.jsonl").read_text().splitlines()]
    moments = [datetime.fromisoformat(line["datetime"]) for line in lines]
    slack = timedelta(milliseconds=1)  # the file has milliseconds
    assert before - slack <= moments[0] <= moments[1] <= moments[2] <= after
    assert all(abs(one["datetime"] - two) <= slack for one, two in zip(found, moments, strict=True))


def test_the_start_of_a_recording_gives_every_line_a_time(samples: Path, tmp_path: Path) -> None:
    place, clip = tmp_path / "seen.jsonl", samples / "street.mp4"
    given = {"start": "2026-11-27T23:59:59+01:00", "save_json": place, "vid_stride": 20}
    assert len(list(detect(clip, nothing_in, **given))) > 2
    for line in map(json.loads, place.read_text().splitlines()):
        moment = datetime.fromisoformat(line["datetime"])
        assert moment - parse_start(str(given["start"])) == timedelta(
            milliseconds=round(1000 * line["time"])
        )
    with pytest.raises(MaskyoloError, match="there are 2 sources"):
        list(detect([clip, clip], nothing_in, start="2026-11-27T08:00:00Z"))
    list(detect(clip, nothing_in, save_json=place, vid_stride=50))
    assert "datetime" not in place.read_text()
