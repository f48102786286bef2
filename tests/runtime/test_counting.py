"""Each person is counted once, by class; zones, lines, events and alerts follow people."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import supervision as sv

from maskyolo.core.classes import CLASS_NAMES
from maskyolo.errors import MaskyoloError, OutputError
from maskyolo.runtime.areas import parse_points
from maskyolo.runtime.counting import Counting
from maskyolo.runtime.events import Event, EventFile
from maskyolo.runtime.frames import Frame
from maskyolo.runtime.results import Result
from maskyolo.runtime.source_counting import SETTLED
from maskyolo.runtime.timeline import ENTRIES, Timeline
from maskyolo.runtime.tracking import LOST

RATE = 10
WITH, WITHOUT = 0, 1
SIZE = (200, 100)


def result(index: int, *people: tuple[int, float, float, int], source: str = "a.mp4") -> Result:
    """Return a frame with people as (track, x and y of the face's center, class)."""
    class_ids = np.array([person[3] for person in people], np.int64)
    found = sv.Detections(
        np.array([(x - 5, y - 5, x + 5, y + 5) for _, x, y, _ in people], np.float32).reshape(
            -1, 4
        ),
        confidence=np.full(len(people), 0.9, np.float32),
        class_id=class_ids,
        tracker_id=np.array([person[0] for person in people], np.int64),
        data={"class_name": np.array(CLASS_NAMES)[class_ids]},
    )
    image = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    return Result(Frame(image, source, index, index / RATE, "video", Fraction(RATE)), found)


def run(
    counting: Counting,
    seconds: float,
    people: Callable[[float], list[tuple[int, float, float, int]]],
) -> list[tuple[str, int, float]]:
    """Count a video with these `people` at each time; return events as (event, track, time)."""
    reported: list[Event] = []
    counting.listeners.append(reported.append)
    for index in range(round(seconds * RATE)):
        counting.write(result(index, *people(index / RATE)))
    counting.close()
    return [(event.event, event.track_id, event.time) for event in reported]


def test_each_person_is_counted_once_by_class() -> None:
    counting = Counting()
    events = run(
        counting,
        10,
        lambda time: [
            (1, 20, 50, WITH),
            (2, 50, 50, WITHOUT),
            (3, 80, 50, WITHOUT if time < 5 else WITH),
            (4, 110, 50, WITH if time < 5 else WITHOUT),
            (5, 140, 50, WITHOUT if 3 < time < 6 else WITH),
            (-1, 170, 50, WITHOUT),
        ],
    )
    assert counting.people() == {"with_mask": 1, "without_mask": 1, "put_on": 2, "took_off": 1}
    assert [event for event in events if event[0] == "changes"] == [
        ("changes", 5, 3.1),
        ("changes", 3, 5.0),
        ("changes", 4, 5.0),
        ("changes", 5, 6.0),
    ]
    assert [event[:2] for event in events if event[0] == "ends"] == [
        ("ends", track) for track in range(1, 6)
    ]
    assert counting.summary().splitlines() == [
        "5 people: 1 with a mask, 1 without a mask, 3 changed (2 put a mask on, 1 took it off)",
        f"masks were worn {counting.share_with_mask():.0%} of the time that people were visible",
    ]


def test_the_summary_lists_only_the_changes_that_there_were() -> None:
    counting = Counting()
    run(counting, 5, lambda time: [(1, 20, 50, WITH), (2, 50, 50, WITH if time < 2 else WITHOUT)])
    assert counting.summary().startswith(
        "2 people: 1 with a mask, 0 without a mask, 1 changed (1 took it off)\n"
    )
    assert Counting().summary() == "0 people: 0 with a mask, 0 without a mask, 0 changed"


def test_a_face_seen_briefly_is_not_a_person() -> None:
    counting = Counting()
    assert run(counting, 5, lambda time: [(1, 20, 50, WITH)] if time < 0.8 * SETTLED else []) == []
    assert counting.people() == {}
    assert counting.share_with_mask() is None


def test_a_track_ends_when_it_was_last_seen_and_not_in_a_gap() -> None:
    events = run(
        Counting(),
        20,
        lambda time: [(1, 20, 50, WITH)] if time < 1 or 0.9 + LOST < time < 4 else [],
    )
    assert [event for event in events if event[0] != "appears"] == [("ends", 1, 3.9)]


def test_tracks_that_end_together_are_reported_in_the_order_they_were_last_seen() -> None:
    events = run(
        Counting(),
        5,
        lambda time: [
            (track, 20 * track, 50, WITH) for track, end in ((1, 4.9), (2, 3), (3, 4)) if time < end
        ],
    )
    assert [event for event in events if event[0] == "ends"] == [
        ("ends", 2, 2.9),
        ("ends", 3, 3.9),
        ("ends", 1, 4.8),
    ]


def test_without_tracks_only_detections_are_counted(tmp_path: Path) -> None:
    counting = Counting()
    counting.path = tmp_path / "counts.json"
    found = result(0, (1, 20, 50, WITH), (2, 50, 50, WITHOUT))
    found.detections.tracker_id = None
    counting.write(found)
    counting.close()
    assert json.loads(counting.path.read_text()) == {
        "frames": 1,
        "detections": {"with_mask": 1, "without_mask": 1},
    }


@pytest.mark.parametrize("zone", ["100,0,200,0,200,100,100,100", "0.5, 0, 1, 0, 1, 1, 0.5, 1"])
def test_with_a_zone_only_people_in_it_are_counted(zone: str) -> None:
    counting = Counting(zone=zone, alert_after=1)
    events = run(
        counting,
        8,
        lambda time: [
            (1, 20, 50, WITHOUT),  # never in it, like a poster on the wall
            (2, 50 if time < 2 or time >= 6 else 150, 50, WITHOUT),
        ],
    )
    assert counting.people() == {"without_mask": 1}
    assert [event for event in events if event[0] not in ("appears", "ends")] == [
        ("enters", 2, 2.0),
        ("alert", 2, 3.0),
        ("leaves", 2, 6.0),
    ]
    (source,) = counting.record()["sources"]
    assert {entry["time"]: entry["without_mask"] for entry in source["timeline"]} == {
        time: float(2 <= time < 6) for time in range(8)
    }


def test_a_mask_put_on_outside_the_zone_is_counted_on_return() -> None:
    counting = Counting(zone="100,0,200,0,200,100,100,100")
    run(
        counting,
        9,
        lambda time: [(1, 150 if time < 3 or time > 6 else 50, 50, WITHOUT if time < 4 else WITH)],
    )
    assert counting.people() == {"put_on": 1}


@pytest.mark.parametrize(("line", "way"), [("100,100,100,0", "out"), ("0.5,0,0.5,1", "in")])
def test_crossing_the_line_is_counted_in_its_direction(line: str, way: str) -> None:
    """People walk from left to right; which way is `in` depends on the line's direction."""
    counting = Counting(line=line)
    events = run(
        counting, 8, lambda time: [(1, 20 + 20 * time, 50, WITHOUT), (2, 20 + 5 * time, 20, WITH)]
    )
    assert [event[:2] for event in events if event[0].startswith("crosses")] == [
        (f"crosses_{way}", 1)
    ]
    other = "in" if way == "out" else "out"
    assert counting.record()["line"] == {
        way: {"with_mask": 0, "without_mask": 1},
        other: {"with_mask": 0, "without_mask": 0},
    }
    assert f"{way} 0 with_mask, 1 without_mask" in counting.summary()


def test_a_face_that_is_missed_while_it_crosses_is_still_counted() -> None:
    counting = Counting(line="100,100,100,0")
    events = run(
        counting, 8, lambda time: [] if 3.5 < time < 4.5 else [(1, 20 + 20 * time, 50, WITHOUT)]
    )
    assert [event[0] for event in events if event[0].startswith("crosses")] == ["crosses_out"]


def test_one_alert_per_period_without_a_mask() -> None:
    def people(time: float) -> list[tuple[int, float, float, int]]:
        return [
            (1, 20, 50, WITH if 10 <= time < 12 else WITHOUT),
            (2, 50, 50, WITHOUT if time < 3 else WITH),
            (3, 80, 50, WITH),
        ]

    events = run(Counting(alert_after=5), 20, people)
    assert [event for event in events if event[0] == "alert"] == [
        ("alert", 1, 5.5),
        ("alert", 1, 17.0),
    ]
    assert not [event for event in run(Counting(), 20, people) if event[0] == "alert"]


def test_sources_are_counted_separately_and_together() -> None:
    counting = Counting()
    for source, class_id in (("a.mp4", WITH), ("b.mp4", WITHOUT)):
        for index in range(20):
            counting.write(result(index, (1, 20, 50, class_id), source=source))
    counting.close()
    assert counting.people() == {"with_mask": 1, "without_mask": 1}
    assert [(counts.source, counts.people) for counts in counting.counts] == [
        ("a.mp4", {"with_mask": 1}),
        ("b.mp4", {"without_mask": 1}),
    ]
    assert counting.record()["share_with_mask"] == 0.5


def test_the_fraction_with_a_mask_is_over_time() -> None:
    counting = Counting()
    run(counting, 10, lambda time: [(1, 20, 50, WITHOUT if time < 5 else WITH)])
    (source,) = counting.record()["sources"]
    shares = [entry["share_with_mask"] for entry in source["timeline"]]
    assert shares == [0.0] * 5 + [1.0] * 5
    assert counting.share_with_mask() == round(50 / 95, 4)


def test_a_timeline_stays_small_however_long_the_run_is() -> None:
    timeline = Timeline()
    for second in range(100_000):
        timeline.add(second, (1, 3) if second < 50_000 else (3, 1))
    entries = timeline.records()
    assert timeline.step == 256
    assert ENTRIES / 2 < len(entries) <= ENTRIES
    assert entries[0] == {
        "time": 0.0,
        "with_mask": 1.0,
        "without_mask": 3.0,
        "share_with_mask": 0.25,
    }
    assert entries[-1]["share_with_mask"] == 0.75


def test_counts_are_saved_periodically(tmp_path: Path) -> None:
    counting = Counting()
    counting.path = tmp_path / "counts.json"
    for index in range(0, 61 * RATE, RATE // 2):
        counting.write(result(index, (1, 20, 50, WITH)))
    assert json.loads(counting.path.read_text())["people"] == 1


EVENT = Event("alert", "a,b.mp4", 7, 0.28, 3, "without_mask", 0.91234)


def test_events_as_csv(tmp_path: Path) -> None:
    file = EventFile(tmp_path / "new" / "events.csv")
    file(EVENT)
    assert not (tmp_path / "new" / "events.csv").exists()
    file.close()
    with (tmp_path / "new" / "events.csv").open(newline="", encoding="utf-8") as lines:
        assert list(csv.DictReader(lines)) == [
            {
                "source": "a,b.mp4",
                "frame": "7",
                "time": "0.28",
                "track_id": "3",
                "event": "alert",
                "class": "without_mask",
                "confidence": "0.9123",
                "datetime": "",
                "image": "",
                "clip": "",
            }
        ]


def test_events_as_json_lines(tmp_path: Path) -> None:
    file = EventFile(tmp_path / "events.jsonl")
    file(EVENT)
    file(EVENT)
    written = (tmp_path / "events.jsonl.part").read_text().splitlines()  # valid at any moment
    assert len(written) == 2
    expected: dict[str, Any] = {"source": "a,b.mp4", "frame": 7, "time": 0.28, "track_id": 3}
    assert json.loads(written[1]) == expected | {
        "event": "alert",
        "class": "without_mask",
        "confidence": 0.9123,
    }
    file.close()


def test_an_event_file_with_an_unknown_suffix_or_below_a_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MaskyoloError, match=r"unknown suffix '\.txt'"):
        EventFile(tmp_path / "events.txt")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file where a folder is needed"):
        EventFile(tmp_path / "file" / "events.csv")


@pytest.mark.parametrize(
    ("text", "maximum", "reason"),
    [
        ("1,2,x,4,5,6", None, "not numbers"),
        ("", None, "not numbers"),
        ("1,2,3,4,5", None, "5 numbers"),
        ("1,2,3,4", None, "4 numbers"),
        ("1,2,3,4,5,6", 2, "6 numbers"),
        ("1,2,3,4,5,-6", None, "at least 0"),
        ("1,2,3,4,5,nan", None, "at least 0"),
    ],
)
def test_wrong_points_are_an_error_of_one_line(text: str, maximum: int | None, reason: str) -> None:
    with pytest.raises(MaskyoloError, match=reason) as caught:
        parse_points(text, "zone", minimum=2 if maximum else 3, maximum=maximum)
    assert "\n" not in str(caught.value)


def test_a_zone_outside_the_image_or_a_line_without_length_is_an_error() -> None:
    with pytest.raises(MaskyoloError, match="200 x 100"):
        Counting(zone="0,300,100,300,100,400").write(result(0))
    with pytest.raises(MaskyoloError, match="no length"):
        Counting(line="5,5,5,5").write(result(0))


def test_zone_and_line_are_drawn() -> None:
    counting = Counting(zone="20,20,180,20,180,80,20,80", line="100,0,100,100")
    counting.write(result(0))
    image = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    counting.draw_overlay(image)
    assert min(image[place].min() for place in ((20, 60), (80, 60), (90, 100))) > 200
    assert not image[10, 60].any()
