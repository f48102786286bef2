"""A run over many files that was killed continues where it was, and ends with the same lines."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import supervision as sv
from clips import make_clip

from maskyolo.core.images import ImageArray
from maskyolo.errors import MaskyoloError, OutputError
from maskyolo.runtime.detection import detect
from maskyolo.runtime.json_lines import JsonLines
from maskyolo.runtime.run import Summary

#: Runs `detect` over a folder and kills itself at the given image or frame.
KILLED = """
import os, signal, sys
from maskyolo import load_detector
from maskyolo.runtime.detection import detect
detector, calls = load_detector(imgsz=160), 0
class Killer:
    workers = 1
    def __call__(self, image):
        global calls
        calls += 1
        if calls == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)
        return detector(image)
for _ in detect(sys.argv[1], Killer(), save_json=sys.argv[2], imgsz=160): pass
"""


class Killer:
    """The same detector, as far as the settings of a run say, that is not killed."""

    workers = 1

    def __init__(self, detector: Callable[[ImageArray], sv.Detections]) -> None:
        self._detector = detector
        self.calls = 0

    def __call__(self, image: ImageArray) -> sv.Detections:
        self.calls += 1
        return self._detector(image)


@pytest.fixture(scope="module")
def detector() -> Callable[[ImageArray], sv.Detections]:
    from maskyolo import load_detector

    return load_detector(imgsz=160)


@pytest.fixture
def folder(samples: Path, tmp_path: Path) -> Path:
    """Four images, one damaged file, and a video of six frames among them."""
    place = tmp_path / "archive"
    place.mkdir()
    for name, image in (("a", "street"), ("b", "queue"), ("e", "office"), ("f", "selfie")):
        shutil.copyfile(samples / f"{image}.jpg", place / f"{name}.jpg")
    (place / "c.jpg").write_bytes(b"not an image")
    make_clip(place / "d.mp4", 6)
    return place


def _kill_at(call: int, folder: Path, out: Path) -> None:
    code = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder), str(out), str(call)],
        capture_output=True,
        check=False,
    ).returncode
    assert code == -9
    assert not out.exists()


@pytest.mark.parametrize("call", [1, 2, 4, 6, 9])
def test_a_killed_run_is_continued_with_the_same_lines(
    call: int,
    folder: Path,
    tmp_path: Path,
    detector: Callable[[ImageArray], sv.Detections],
) -> None:
    whole, out = tmp_path / "whole.jsonl", tmp_path / "out.jsonl"
    options = {"imgsz": 160}
    list(detect(folder, Killer(detector), save_json=whole, **options))
    expected = whole.read_bytes()
    assert len(expected.splitlines()) == 11
    _kill_at(call, folder, out)
    summary, again = Summary(), Killer(detector)
    list(detect(folder, again, save_json=out, resume=True, summary=summary, **options))
    assert out.read_bytes() == expected
    # call 1, 2: images a, b; 3 to 8: the video, which is started again; 9, 10: e, f
    assert again.calls == {1: 10, 2: 9, 4: 8, 6: 8, 9: 8}[call]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "archive",
        "out.jsonl",
        "whole.jsonl",
    ]


def _interrupted(folder: Path, out: Path, lines: int) -> None:
    """Leave what a killed run with a blind detector leaves after so many lines, and half a line."""
    whole = out.with_name("whole.jsonl")
    list(detect(folder, blind, save_json=whole))
    text = whole.read_bytes().splitlines(keepends=True)
    file = JsonLines(out, 0, _settings(folder, out))
    for line in text[:lines]:
        file.line(line.decode().rstrip("\n"))
    Path(f"{out}.part").write_bytes(b"".join(text[:lines]) + text[lines][:20])


def _settings(folder: Path, out: Path) -> dict[str, object]:
    """Return the settings that a run stores, as it stores them."""
    del out
    place = folder.parent / "probe.jsonl"
    frames = detect(folder, blind, save_json=place)
    next(frames)
    found = json.loads(Path(f"{place}.part.json").read_text())
    frames.close()
    assert not Path(f"{place}.part.json").exists()
    place.unlink()
    return dict(found)


def blind(image: ImageArray) -> sv.Detections:
    del image
    return sv.Detections(
        np.zeros((0, 4), np.float32),
        confidence=np.zeros(0, np.float32),
        class_id=np.zeros(0, np.int64),
        data={"class_name": np.zeros(0, str)},
    )


def test_photos_that_were_added_come_after_the_finished_ones(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    _interrupted(folder, out, 2)
    shutil.copyfile(folder / "a.jpg", folder / "aa.jpg")
    list(detect(folder, blind, save_json=out, resume=True))
    names = [Path(json.loads(line)["source"]).name for line in out.read_text().splitlines()]
    assert names[:4] == ["a.jpg", "b.jpg", "aa.jpg", "c.jpg"]
    assert sorted(set(names)) == ["a.jpg", "aa.jpg", "b.jpg", "c.jpg", "d.mp4", "e.jpg", "f.jpg"]


def test_other_settings_or_sources_are_not_mixed_in(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    _interrupted(folder, out, 2)
    before = Path(f"{out}.part").read_bytes()
    with pytest.raises(MaskyoloError, match=r"made with conf 0.25, and this run has 0.5"):
        list(detect(folder, blind, save_json=out, resume=True, conf=0.5))
    (folder / "a.jpg").unlink()
    with pytest.raises(MaskyoloError, match=r"line 1 is about .*a\.jpg, which is not among"):
        list(detect(folder, blind, save_json=out, resume=True))
    assert Path(f"{out}.part").read_bytes() == before
    shutil.copyfile(folder / "b.jpg", folder / "a.jpg")
    Path(f"{out}.part.json").unlink()
    with pytest.raises(MaskyoloError, match="unknown how the lines were made"):
        list(detect(folder, blind, save_json=out, resume=True))
    assert Path(f"{out}.part").read_bytes() == before


@pytest.mark.parametrize("line", [b"[1]\n", b"{}\n", b"\xff\n", b'{"source": 1, "frame": 0}\n'])
def test_a_damaged_line_is_named(line: bytes, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    _interrupted(folder, out, 2)
    part = Path(f"{out}.part")
    first = part.read_bytes().splitlines(keepends=True)[0]
    part.write_bytes(first + line)
    with pytest.raises(MaskyoloError, match="line 2 is not a line of JSON"):
        list(detect(folder, blind, save_json=out, resume=True))
    assert part.read_bytes() == first + line


def test_a_finished_run_stays_as_it_is(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    list(detect(folder, blind, save_json=out, resume=True))  # nothing to continue: from the start
    before = out.read_bytes()
    summary = Summary()
    assert list(detect(folder, blind, save_json=out, resume=True, summary=summary)) == []
    assert summary.resumed == 6
    assert out.read_bytes() == before
    shutil.copyfile(folder / "a.jpg", folder / "g.jpg")
    with pytest.raises(MaskyoloError, match=r"is complete, and there are 1 source"):
        list(detect(folder, blind, save_json=out, resume=True))
    (folder / "g.jpg").unlink()
    out.rename(f"{out}.part")  # killed after the last line, before the file was moved into place
    with pytest.raises(MaskyoloError, match="line 1 is about"):
        list(detect(folder / "f.jpg", blind, save_json=out, resume=True))
    assert list(detect(folder, blind, save_json=out, resume=True)) == []
    assert out.read_bytes() == before


def test_two_runs_do_not_continue_the_same_file(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    frames = detect(folder, blind, save_json=out)
    next(frames)
    with pytest.raises(OutputError, match="another run is writing it"):
        list(detect(folder, blind, save_json=out, resume=True))
    assert len([1, *frames]) == 10
    assert len(out.read_text().splitlines()) == 11


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "--save-json"),
        ({"save_json": "x.jsonl", "track": True}, "tracks, events and counts"),
        ({"save_json": "x.jsonl", "stats_only": True}, "tracks, events and counts"),
    ],
)
def test_what_cannot_be_resumed_is_an_error(
    options: dict[str, object], problem: str, folder: Path
) -> None:
    with pytest.raises(MaskyoloError, match=problem):
        list(detect(folder, blind, resume=True, **options))  # type: ignore[arg-type]


def test_a_camera_cannot_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(MaskyoloError, match="is for image and video files, and 0 is none"):
        list(detect(0, blind, resume=True, save_json=tmp_path / "x.jsonl"))
