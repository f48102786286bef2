"""The third class in everything that `detect` writes; two classes as before."""

from __future__ import annotations

import csv
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import supervision as sv
from foreign_models import foreign_model
from paths import SAMPLES

import maskyolo
from maskyolo.cli import main
from maskyolo.core.classes import ALL_CLASS_NAMES, CLASS_NAMES
from maskyolo.core.images import ImageArray
from maskyolo.runtime.drawing import COLORS, draw_detections
from maskyolo.runtime.run import Summary
from maskyolo.runtime.tracking import Vote
from maskyolo.runtime.video_writer import VideoWriter

WITH, WITHOUT, INCORRECT = range(3)


class Walk:
    """Finds one face at the same place, in a class that the frame's brightness says."""

    class_names = ALL_CLASS_NAMES

    def __call__(self, image: ImageArray) -> sv.Detections:
        class_id = np.array([min(int(image[0, 0, 0]) // 80, INCORRECT)])
        return sv.Detections(
            np.array([[20, 20, 60, 70]], np.float32),
            confidence=np.array([0.9], np.float32),
            class_id=class_id,
            data={"class_name": np.array(ALL_CLASS_NAMES)[class_id]},
        )


class TwoClasses(Walk):
    class_names = CLASS_NAMES

    def __call__(self, image: ImageArray) -> sv.Detections:
        found = super().__call__(image)
        found.class_id = np.minimum(np.asarray(found.class_id), WITHOUT)
        found.data["class_name"] = np.array(CLASS_NAMES)[found.class_id]
        return found


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Two seconds with a mask, two with one worn incorrectly, two without, two with a mask."""
    path = tmp_path / "clip.mp4"
    writer = VideoWriter(path, Fraction(10))
    for number, class_id in enumerate(np.repeat([WITH, INCORRECT, WITHOUT, WITH], 20).tolist()):
        writer.write(np.full((100, 200, 3), 80 * class_id + 40, np.uint8), number / 10)
    writer.close()
    return path


def run(clip: Path, tmp_path: Path, detector: Any, **settings: Any) -> tuple[Path, Summary]:
    summary = Summary()
    found = maskyolo.detect(
        clip, detector, project=tmp_path / "runs", summary=summary, exist_ok=True, **settings
    )
    assert sum(1 for _ in found) == 80
    assert summary.folder
    return summary.folder, summary


def test_a_person_through_three_classes(clip: Path, tmp_path: Path) -> None:
    events = tmp_path / "events.csv"
    folder, summary = run(
        clip,
        tmp_path,
        Walk(),
        events=events,
        alert_after=3.0,
        line="100,0,100,100",
        save_txt=True,
        save_crop=True,
        save_json=tmp_path / "found.jsonl",
        save=True,
    )
    rows = list(csv.DictReader(events.read_text().splitlines()))
    assert [(row["event"], row["class"]) for row in rows] == [
        ("appears", "with_mask"),
        ("changes", "incorrect_mask"),
        ("changes", "without_mask"),
        ("alert", "without_mask"),  # the time with a mask worn incorrectly counts
        ("changes", "with_mask"),
        ("ends", "with_mask"),
    ]
    assert float(rows[3]["time"]) < 6
    lines = [json.loads(line) for line in (tmp_path / "found.jsonl").read_text().splitlines()]
    middle = lines[35]["detections"][0]
    assert (middle["class"], middle["class_id"]) == ("incorrect_mask", 2)
    assert (folder / "labels" / "clip_35.txt").read_text().startswith("2 ")
    assert {path.name for path in (folder / "crops").iterdir()} == {*ALL_CLASS_NAMES}
    assert len(list((folder / "crops" / "incorrect_mask").iterdir())) > 15
    assert summary.class_names == ALL_CLASS_NAMES
    assert summary.people
    counts = summary.people.record()
    assert [*counts["detections"]] == [*ALL_CLASS_NAMES]
    assert counts["detections"]["incorrect_mask"] > 15
    assert (counts["people"], counts["incorrect_mask"], counts["put_on"]) == (1, 0, 1)
    assert [*counts["line"]["in"]] == [*ALL_CLASS_NAMES]
    times = {entry["time"]: entry for entry in counts["sources"][0]["timeline"]}
    assert times[3.0]["incorrect_mask"] == 1
    assert times[3.0]["share_with_mask"] == 0
    assert "0 with a mask worn incorrectly" in summary.people.summary()


def test_someone_who_ends_with_a_mask_worn_incorrectly(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    writer = VideoWriter(path, Fraction(10))
    for number in range(80):
        writer.write(np.full((100, 200, 3), 40 if number < 40 else 200, np.uint8), number / 10)
    writer.close()
    _, summary = run(path, tmp_path, Walk(), track=True, save_txt=True)
    assert summary.people
    assert dict(summary.people.people()) == {"incorrect_mask": 1}


def test_two_classes_leave_no_trace_of_a_third(clip: Path, tmp_path: Path) -> None:
    folder, summary = run(clip, tmp_path, TwoClasses(), stats_only=True, track=True)
    assert "incorrect" not in (folder / "counts.json").read_text()
    assert summary.people
    assert "incorrectly" not in summary.people.summary()
    assert summary.class_names == CLASS_NAMES


def test_votes_over_three_classes() -> None:
    vote = Vote(WITH, 0.0)
    for step in range(1, 21):
        vote.add(WITH, 0.5, step / 10)
    for step in range(21, 41):
        vote.add(INCORRECT if step % 2 else WITHOUT, 0.5, step / 10)
    assert vote.class_id == WITH  # no class has a majority
    for step in range(41, 51):
        vote.add(INCORRECT, 0.9, step / 10)
    assert vote.class_id == INCORRECT


def test_each_class_has_a_color_on_which_white_text_is_readable() -> None:
    seen = set()
    for class_id in range(3):
        image = np.full((200, 200, 3), 128, np.uint8)
        found = sv.Detections(
            np.array([[50, 50, 150, 150]], np.float32),
            confidence=np.array([0.9], np.float32),
            class_id=np.array([class_id]),
            data={"class_name": np.array([ALL_CLASS_NAMES[class_id]])},
        )
        drawn = draw_detections(image, found)
        blue, green, red = drawn[120, 50].tolist()
        assert f"#{red:02x}{green:02x}{blue:02x}" == COLORS[class_id]
        seen.add((blue, green, red))
        linear = [(value / 255) ** 2.2 for value in (red, green, blue)]
        luminance = float(np.dot(linear, [0.2126, 0.7152, 0.0722]))
        assert 1.05 / (luminance + 0.05) > 4  # the contrast of WCAG
    assert len(seen) == 3


def test_the_command_maps_and_reports_the_third_class(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head = [("bad", "without_mask"), ("naked", None), ("good", "with_mask")]
    model = foreign_model(tmp_path / "other.onnx", head)
    words = ["detect", "--source", str(SAMPLES / "street.jpg"), "--model", str(model)]
    words += ["--imgsz", "320", "--no-save", "--save-json", str(tmp_path / "found.jsonl")]
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 1
    said = capsys.readouterr().err
    assert "map them with --map bad=CLASS --map naked=CLASS --map good=CLASS" in said
    for choice in ("bad=incorrect_mask", "naked=without_mask", "good=with_mask"):
        words += ["--map", choice]
    for more, names in ((["--incorrect"], {"with_mask", "incorrect_mask"}), ([], {*CLASS_NAMES})):
        with pytest.raises(SystemExit) as end:
            main([*words, *more])
        assert end.value.code in (0, None)
        record = json.loads((tmp_path / "found.jsonl").read_text())
        assert {face["class"] for face in record["detections"]} == names
        assert ("incorrect_mask" in capsys.readouterr().out) == bool(more)
