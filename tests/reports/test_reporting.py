"""A report equals the same figures computed with pandas, and the counts of the run."""

from __future__ import annotations

import csv
import json
import random
import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import maskyolo
from maskyolo.cli import main
from maskyolo.core.images import write_image
from maskyolo.errors import MaskyoloError
from maskyolo.reports.reporting import report
from maskyolo.runtime.events import Event, EventFile

ZONE = timezone(timedelta(hours=1))
MONDAY = datetime(2026, 11, 16, tzinfo=ZONE)
CAMERAS = ("rtsp://door/1", "entrance <script>alert(1)</script>")
HOSTILE = CAMERAS[1]


def event(
    name: str, seconds: float, track: int = 1, bare: bool = False, source: str = "door"
) -> Event:
    moment = MONDAY + timedelta(seconds=round(seconds, 3))
    kind = "without_mask" if bare else "with_mask"
    return Event(name, source, int(10 * seconds), seconds, track, kind, 0.9, moment)


def write_events(path: Path, events: list[Event]) -> Path:
    file = EventFile(path)
    for one in events:
        file(one)
    file.close()
    return path


def make_week() -> list[Event]:
    """Return a week of people at two doors; some stay past the hour and past midnight."""
    chance = random.Random(21)
    found: list[Event] = []
    for source in CAMERAS:
        for track in range(1, 301):
            begin = chance.uniform(0, 7 * 86400 - 7200)
            end = begin + chance.expovariate(1 / 900) + 1
            moments = sorted(chance.uniform(begin, end) for _ in range(chance.choice([0, 0, 1, 2])))
            bare = chance.random() < 0.3
            found.append(event("appears", begin, track, bare, source))
            if source == HOSTILE and chance.random() < 0.5:
                found.append(event("enters", begin, track, bare, source))
            for moment in moments:
                bare = not bare
                found.append(event("changes", moment, track, bare, source))
            if bare and chance.random() < 0.2:
                found.append(event("alert", end, track, bare, source))
            found.append(event("ends", end, track, bare, source))
    return sorted(found, key=lambda one: one.time)


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_events(tmp_path_factory.mktemp("week") / "week.csv", make_week())


def read_people(path: Path) -> Any:
    """Return one row per person, with pandas: states by comparing the first and last class."""
    table = pd.read_csv(path)
    table["moment"] = pd.to_datetime(table["datetime"]).dt.tz_localize(None)
    table["order"] = range(len(table))
    groups = table.sort_values(["moment", "order"]).groupby(["source", "track_id"])
    people = groups.agg(
        arrived=("moment", "first"),
        left=("moment", "last"),
        last=("class", "last"),
        classes=("class", "nunique"),
        alerts=("event", lambda events: (events == "alert").sum()),
    ).reset_index()
    changed = people["classes"] > 1
    people["state"] = people["last"]
    people.loc[changed, "state"] = people["last"].map(
        {"with_mask": "put_on", "without_mask": "took_off"}
    )
    return people


def seconds_by_class(path: Path, frequency: str) -> Any:
    """Return person-seconds by camera, period and class, with pandas: one row per second."""
    table = pd.read_csv(path)
    table["moment"] = pd.to_datetime(table["datetime"]).dt.tz_localize(None)
    table = table[table["event"].isin(["appears", "changes", "ends"])]
    table = table.sort_values(["source", "track_id", "moment"], kind="stable")
    table["until"] = table.groupby(["source", "track_id"])["moment"].shift(-1)
    spans = table.dropna(subset="until")
    first = spans["moment"].min().floor(frequency)
    parts = []
    for begin in pd.date_range(first, spans["until"].max(), freq=frequency):
        end = begin + pd.Timedelta(1, frequency)
        overlap = spans["until"].clip(upper=end) - spans["moment"].clip(lower=begin)
        inside = spans.assign(begin=begin, seconds=overlap.dt.total_seconds().clip(lower=0))
        parts.append(inside[inside["seconds"] > 0])
    return pd.concat(parts).groupby(["begin", "source", "class"])["seconds"].sum()


@pytest.mark.parametrize(("by", "frequency"), [("hour", "h"), ("day", "D")])
def test_a_week_equals_a_calculation_in_pandas(
    week: Path, tmp_path: Path, by: str, frequency: str
) -> None:
    figures = report(week, by=by, out=tmp_path / "week.html")
    people, seconds = read_people(week), seconds_by_class(week, frequency)
    assert figures.total.total == len(people) == 600
    assert dict(figures.total.people) == people["state"].value_counts().to_dict()
    assert figures.total.median_stay == pytest.approx(
        (people["left"] - people["arrived"]).dt.total_seconds().median(), abs=1e-3
    )
    worn = seconds.groupby("class").sum()
    assert figures.total.share == pytest.approx(worn["with_mask"] / worn.sum(), abs=1e-9)

    table = pd.read_csv(tmp_path / "week.csv", keep_default_na=False)
    table = table[table["zone"] == ""]
    table.index = pd.MultiIndex.from_arrays([pd.to_datetime(table["begin"]), table["camera"]])
    arrivals = people["arrived"].dt.floor(frequency)
    for state in ("with_mask", "without_mask", "put_on", "took_off"):
        expected = (people["state"] == state).groupby([arrivals, people["source"]]).sum()
        got = table[state].astype(int)
        assert got[got > 0].to_dict() == expected[expected > 0].to_dict()
    for name in ("with_mask", "without_mask"):
        got = table[f"seconds_{name}"].astype(float)
        expected = seconds.xs(name, level="class")
        assert got[got > 0].to_dict() == pytest.approx(expected.to_dict(), abs=2e-3)
    assert table["alerts"].astype(int).sum() == people["alerts"].sum() > 10


def test_the_zone_and_the_person_files_equal_pandas(week: Path, tmp_path: Path) -> None:
    report(week, out=tmp_path / "week.html")
    table = pd.read_csv(tmp_path / "week-people.csv", keep_default_na=False)
    expected, events = read_people(week), pd.read_csv(week)
    whole = table[table["zone"] == ""]
    assert whole.set_index(["camera", "track_id"])["state"].to_dict() == (
        expected.set_index(["source", "track_id"])["state"].to_dict()
    )
    entered = events[events["event"] == "enters"]
    assert sorted(table[table["zone"] == "zone"]["track_id"]) == sorted(entered["track_id"])
    alerts = pd.read_csv(tmp_path / "week-alerts.csv")
    assert alerts["datetime"].tolist() == sorted(events[events["event"] == "alert"]["datetime"])


def test_the_page_is_complete_without_a_network_and_names_are_escaped(
    week: Path, tmp_path: Path
) -> None:
    report(week, out=tmp_path / "week.html")
    page = (tmp_path / "week.html").read_text(encoding="utf-8")
    assert "entrance &lt;script&gt;" in page
    assert "<script" not in page
    assert re.findall(r'(?:src|href|url\()\s*=?\s*"?(?!data:)\w+', page) == []
    assert page.count("<svg") == 5
    assert "600</b>people" in page


def test_an_alert_is_shown_with_its_image(tmp_path: Path) -> None:
    write_image(tmp_path / "door.jpg", np.full((80, 120, 3), 90, np.uint8))
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    lines = [
        event("appears", 60, bare=True).record(),
        event("alert", 70, bare=True).record() | {"image": "door.jpg"},
        event("alert", 80, bare=True).record() | {"image": "broken.jpg"},
    ]
    (tmp_path / "e.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    figures = report(tmp_path / "e.jsonl", out=tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert page.count('src="data:image/jpeg;base64,') == 1
    assert "the image cannot be read" in page
    assert (figures.total.alerts, figures.open_ended) == (2, 1)
    assert "1 person: the run still goes on or was killed" in page


def test_people_are_those_of_the_run(samples: Path, tmp_path: Path) -> None:
    """Without a zone, the report and `counts.json` count the same people of the same video."""
    for _ in maskyolo.detect(
        samples / "street.mp4",
        track=True,
        events=tmp_path / "e.csv",
        start="2026-11-27T23:59:58+01:00",
        project=tmp_path,
        stats_only=True,
    ):
        pass
    counts = json.loads((tmp_path / "predict" / "counts.json").read_text())
    figures = report(tmp_path / "e.csv", out=tmp_path / "r.html")
    states = {name: number for name, number in figures.total.people.items() if number}
    assert states == {name: counts[name] for name in states}
    assert figures.total.total == counts["people"] > 0
    assert len(figures.periods) == 2  # on both sides of midnight


def test_a_zone_entered_twice_is_one_person_and_the_class_is_that_in_the_zone(
    tmp_path: Path,
) -> None:
    events = [
        event("appears", 0, bare=True),
        event("changes", 10),
        event("enters", 20),
        event("leaves", 30),
        event("enters", 50),
        event("crosses_in", 55),
        event("ends", 60),
    ]
    figures = report(write_events(tmp_path / "e.csv", events), out=tmp_path / "r.html")
    whole, zone = figures.by_place["door", ""], figures.by_place["door", "zone"]
    assert dict(whole.people) == {"put_on": 1}
    assert dict(zone.people) == {"with_mask": 1}
    assert (whole.stays, zone.stays) == ([60.0], [20.0])
    assert whole.crossed["in"] == 1


def test_a_number_that_is_used_again_is_another_person(tmp_path: Path) -> None:
    first = [event("appears", 0), event("ends", 9), event("appears", 100), event("ends", 101)]
    write_events(tmp_path / "a.csv", first)
    write_events(tmp_path / "b.jsonl", [event("appears", 200), event("ends", 205)])
    files = [tmp_path / "a.csv", tmp_path / "b.jsonl", tmp_path / "a.csv"]  # one of them twice
    assert sorted(report(files, out=tmp_path / "r.html").total.stays) == [1.0, 5.0, 9.0]


def test_events_without_a_time_of_day_need_the_start(tmp_path: Path) -> None:
    text = "source,frame,time,track_id,event,class,confidence\n"
    text += "a.mp4,15,0.6,1,appears,without_mask,0.9\na.mp4,40,1.6,1,ends,without_mask,0.9\n"
    path = tmp_path / "old.csv"
    path.write_text(text)
    with pytest.raises(MaskyoloError, match=r"line 2 has no time of day.*pass .*--start 2026"):
        report(path, out=tmp_path / "r.html")
    figures = report(path, start="2026-11-27T08:00:00+01:00", out=tmp_path / "r.html")
    assert figures.periods == [datetime(2026, 11, 27, 8)]
    path.write_text(text + "b.mp4,15,0.6,1,appears,without_mask,0.9\n")
    with pytest.raises(MaskyoloError, match="2 recordings have no time of day"):
        report(path, start="2026-11-27T08:00:00+01:00", out=tmp_path / "r.html")


def wrong_files() -> Iterator[tuple[str, str, str]]:
    head = ",".join(EventFile.FIELDS) + "\n"
    row = "door,1,{time},{track},appears,{kind},0.9,{moment}\n"
    good = {"time": "1", "track": "1", "kind": "with_mask", "moment": "2026-11-16T08:00:00+01:00"}
    yield "e.csv", "source,time\n1,2\n", "missing columns track_id, event, class"
    yield "e.csv", head, "no people"
    for name, value, problem in (
        ("time", "nan", "line 2: the time is 'nan'"),
        ("track", "x", "line 2: "),
        ("kind", "helmet", "line 2: the class is 'helmet'"),
        ("moment", "2026-11-16T08:00:00", "line 2: .* has no zone"),
        ("moment", "soon", "line 2: "),
    ):
        yield "e.csv", head + row.format(**good | {name: value}), problem
    yield "e.jsonl", '{"source": "a.jpg", "frame": 0, "detections": []}\n', "line 1: missing time"
    yield "e.jsonl", "[1]\n", "line 1: not a JSON object"
    yield "e.jsonl", "{\n", "line 1: "
    yield "e.txt", "", "unknown suffix"
    old = row.format(**good | {"track": "2", "moment": "1970-01-01T00:00:00+00:00"})
    yield "e.csv", head + row.format(**good) + old, "clock may have been wrong"


@pytest.mark.parametrize(("name", "text", "problem"), list(wrong_files()))
def test_a_wrong_file_is_an_error_of_one_line(
    tmp_path: Path, name: str, text: str, problem: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(MaskyoloError, match=problem) as caught:
        report(tmp_path / name, out=tmp_path / "r.html")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_the_report_never_replaces_its_events(tmp_path: Path) -> None:
    path = write_events(tmp_path / "report.csv", [event("appears", 0), event("ends", 9)])
    with pytest.raises(MaskyoloError, match="it is one of the event files"):
        report(path, out=tmp_path / "report.html")
    assert path.read_text().startswith("source,")


def test_a_table_holds_no_formula(tmp_path: Path) -> None:
    source = '=HYPERLINK("http://x")'
    write_events(tmp_path / "e.csv", [event("appears", 0, source=source)])
    report(tmp_path / "e.csv", out=tmp_path / "r.html")
    with (tmp_path / "r.csv").open(newline="") as file:
        assert next(iter(csv.DictReader(file)))["camera"] == f"'{source}"


def test_the_command_prints_the_people_and_the_file(
    week: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["report", str(week), "--by", "day", "--out", str(tmp_path / "w.html")])
    assert end.value.code == 0
    summary, file = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"600 people: .* changed; masks worn \d+% of the time", summary)
    assert file == str(tmp_path / "w.html")
    assert {path.name for path in tmp_path.iterdir()} == {
        "w.html",
        "w.csv",
        "w-people.csv",
        "w-alerts.csv",
    }
