"""`detect()` streams results, writes as it goes, and completes all files however it ends."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import supervision as sv
import yaml
from clips import make_clip, probe
from PIL import Image

import maskyolo
from maskyolo.core.classes import CLASS_NAMES
from maskyolo.core.images import ImageArray, read_image
from maskyolo.errors import ImageError, MaskyoloError, OutputError, SourceError
from maskyolo.runtime.detection import detect
from maskyolo.runtime.options import DetectOptions
from maskyolo.runtime.run import Summary
from maskyolo.runtime.video_writer import VideoWriter


def one_face(image: ImageArray) -> sv.Detections:
    """Find one masked face in the upper left quarter of any image."""
    height, width = image.shape[:2]
    return sv.Detections(
        xyxy=np.array([[0, 0, width / 2, height / 2]], np.float32),
        confidence=np.array([0.9], np.float32),
        class_id=np.array([0]),
        data={"class_name": np.array(["with_mask"])},
    )


def run(source: Any, folder: Path, **settings: Any) -> list[dict[str, Any]]:
    """Detect and return the lines of JSON."""
    for _ in detect(
        source, model=one_face, project=folder, save_json=folder / "out.jsonl", **settings
    ):
        pass
    return lines(folder / "out.jsonl")


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.jpg", "b.jpg"):
        Image.new("RGB", (40, 30), "gray").save(folder / name)
    return folder


def test_results_are_streamed_with_their_source_and_frame(photos: Path) -> None:
    results = list(detect(photos, model=one_face))
    assert [frame.shape for frame, _ in results] == [(30, 40, 3)] * 2
    assert [found.metadata for _, found in results] == [
        {"source": str(photos / name), "frame": 0, "time": 0.0, "width": 40, "height": 30}
        for name in ("a.jpg", "b.jpg")
    ]


def test_nothing_is_written_unless_requested(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(list(detect(photos, model=one_face))) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_yielded_frames_are_not_annotated(photos: Path, tmp_path: Path) -> None:
    ((frame, _),) = detect(photos / "a.jpg", model=one_face, save=True, project=tmp_path / "runs")
    assert len(np.unique(frame)) == 1


def test_all_requested_outputs_are_written(photos: Path, tmp_path: Path) -> None:
    make_clip(photos / "c.mp4", frames=5)
    summary = Summary()
    records = run(photos, tmp_path, save=True, save_txt=True, save_crop=True, summary=summary)
    assert [(Path(record["source"]).name, record["frame"]) for record in records] == [
        ("a.jpg", 0),
        ("b.jpg", 0),
    ] + [("c.mp4", i) for i in range(5)]
    folder = tmp_path / "predict"
    assert summary == Summary(folder=folder, frames=7, total=None, counts=summary.counts, errors=[])
    assert summary.counts == {"with_mask": 7}
    assert sorted(path.name for path in folder.iterdir()) == [
        "a.jpg",
        "args.yaml",
        "b.jpg",
        "c.mp4",
        "crops",
        "labels",
    ]
    assert (
        len(list((folder / "labels").iterdir()))
        == len(list((folder / "crops" / "with_mask").iterdir()))
        == 7
    )
    assert probe(folder / "c.mp4")[:2] == (5, 25)


def test_the_total_is_given_if_it_is_known(photos: Path, tmp_path: Path) -> None:
    summary = Summary()
    next(detect(photos, model=one_face, summary=summary))
    assert summary.total == 2
    next(
        detect(
            make_clip(tmp_path / "c.mp4", frames=7), model=one_face, vid_stride=2, summary=summary
        )
    )
    assert summary.total == 4


def test_bad_files_of_a_batch_are_reported_and_skipped(
    photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (photos / "aa.jpg").write_bytes(b"not an image")
    (photos / "z.mp4").write_bytes(b"not a video")
    reported: list[str] = []
    records = run(
        photos, tmp_path, on_error=lambda source, error: reported.append(Path(source).name)
    )
    assert reported == ["aa.jpg", "z.mp4"]
    assert ["error" in record for record in records] == [False, True, False, True]
    assert all("detections" not in record for record in records if "error" in record)
    list(detect(photos, model=one_face))
    assert [record.name for record in caplog.records if record.name == "maskyolo"] == [
        "maskyolo"
    ] * 2


def test_a_batch_of_nothing_but_bad_files_is_an_error(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"not an image")
    with pytest.raises(SourceError, match=r"none of the 2.*a\.jpg"):
        list(detect(tmp_path, model=one_face, on_error=lambda *_: None))


def test_one_bad_source_is_an_error_and_leaves_no_files(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"not an image")
    with pytest.raises(ImageError):
        list(detect(tmp_path / "a.jpg", model=one_face, project=tmp_path / "out", save=True))
    assert not (tmp_path / "out").exists()


def test_a_video_that_breaks_off_keeps_what_was_read(tmp_path: Path) -> None:
    whole = make_clip(
        tmp_path / "whole.mp4", frames=40, options={"movflags": "faststart"}
    ).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match="breaks off"):
        run(tmp_path / "cut.mp4", tmp_path, save=True)
    *records, last = lines(tmp_path / "out.jsonl")
    assert 5 < len(records) < 40
    assert last["frame"] == len(records)
    assert "breaks off" in last["error"]
    assert probe(tmp_path / "predict" / "cut.mp4")[0] == len(records)


@pytest.mark.parametrize("how", ["close", "interrupt", "forget"])
def test_leaving_early_closes_everything(tmp_path: Path, how: str) -> None:
    clip = make_clip(tmp_path / "c.mp4", frames=20)
    calls = 0

    def detector(image: ImageArray) -> sv.Detections:
        nonlocal calls
        calls += 1
        if how == "interrupt" and calls == 6:
            raise KeyboardInterrupt
        return one_face(image)

    results = detect(
        clip, model=detector, save=True, project=tmp_path, save_json=tmp_path / "out.jsonl"
    )
    for _ in range(5):
        next(results)
    if how == "close":
        results.close()
    elif how == "interrupt":
        with pytest.raises(KeyboardInterrupt):
            next(results)
    else:
        del results
    assert len(lines(tmp_path / "out.jsonl")) == 5
    assert probe(tmp_path / "predict" / "c.mp4")[0] == 5
    assert not list(tmp_path.rglob("*.part"))


def test_a_run_folder_that_cannot_be_made_is_one_line(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file"):
        list(detect(photos, model=one_face, save=True, project=tmp_path / "file"))


def test_unusual_images_are_processed(tmp_path: Path) -> None:
    folder = tmp_path / "odd [1] ü"
    folder.mkdir()
    Image.new("RGB", (1, 1)).save(folder / "pixel.png")
    Image.new("CMYK", (30, 20)).save(folder / "cmyk.jpg")
    Image.new("I;16", (30, 20)).save(folder / "deep.png")
    Image.new("L", (30, 20)).save(folder / "gray.tif")
    Image.new("RGBA", (30, 20)).save(folder / "alpha.webp")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20)).save(folder / "turned.jpg", exif=exif)
    records = run(folder, tmp_path, save=True)
    assert {
        Path(record["source"]).name: (record["width"], record["height"]) for record in records
    } == {
        "pixel.png": (1, 1),
        "cmyk.jpg": (30, 20),
        "deep.png": (30, 20),
        "gray.tif": (30, 20),
        "alpha.webp": (30, 20),
        "turned.jpg": (20, 30),
    }
    assert len(list((tmp_path / "predict").iterdir())) == 7


def test_an_image_of_a_hundred_megapixels_is_processed(tmp_path: Path) -> None:
    Image.new("RGB", (10000, 10000)).save(tmp_path / "big.png", compress_level=1)
    ((frame, found),) = detect(tmp_path / "big.png", model=one_face)
    assert frame.shape == (10000, 10000, 3)
    assert found.xyxy.tolist() == [[0, 0, 5000, 5000]]


def test_a_stride_below_one_is_refused(photos: Path) -> None:
    with pytest.raises(MaskyoloError, match="vid-stride must be at least 1, got 0"):
        detect(photos, model=one_face, vid_stride=0)


def test_the_package_offers_detect_and_load_detector_lazily(samples: Path) -> None:
    assert [
        len(found)
        for _, found in maskyolo.detect(
            source=samples / "portrait.jpg", model=maskyolo.load_detector()
        )
    ] == [1]
    assert callable(maskyolo.detect)
    with pytest.raises(AttributeError):
        _ = maskyolo.no_such_name  # type: ignore[attr-defined]


def test_detecting_imports_nothing_heavy(samples: Path) -> None:
    code = f"""
import sys, maskyolo
assert not {{"cv2", "numpy", "supervision", "openvino"}} & set(sys.modules), "heavy import"
for frame, found in maskyolo.detect(source={str(samples / "portrait.jpg")!r}):
    assert len(found) == 1
print(*({{"torch", "ultralytics", "matplotlib", "fiftyone"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("\n", "", 0)


def test_a_single_unreadable_input_gets_its_line_of_json_too(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"not an image")
    with pytest.raises(ImageError, match=r"broken\.jpg"):
        list(detect(tmp_path / "broken.jpg", model=one_face, save_json=tmp_path / "out.jsonl"))
    (line,) = (tmp_path / "out.jsonl").read_text().splitlines()
    record = json.loads(line)
    assert "broken.jpg" in record["error"]
    assert "detections" not in record


def walker(image: ImageArray) -> sv.Detections:
    """Find a face where the image is white: bare in the left half, masked in the right half."""
    white = np.argwhere(image.min(axis=2) > 128)
    if not len(white):
        return sv.Detections.empty()
    (top, left), (bottom, right) = white.min(axis=0), white.max(axis=0) + 1
    class_id = int(left + right < image.shape[1])
    return sv.Detections(
        xyxy=np.array([[left, top, right, bottom]], np.float32),
        confidence=np.array([0.9], np.float32),
        class_id=np.array([class_id]),
        data={"class_name": np.array([CLASS_NAMES[class_id]])},
    )


@pytest.fixture
def walk(tmp_path: Path) -> Path:
    """Four seconds in which a white square moves from left to right."""
    path = tmp_path / "walk.mp4"
    video = VideoWriter(path, Fraction(25))
    for index in range(100):
        image = np.zeros((120, 240, 3), np.uint8)
        image[40:80, 2 * index : 2 * index + 40] = 255
        video.write(image)
    video.close()
    return path


def test_people_are_tracked_counted_and_reported(walk: Path, tmp_path: Path) -> None:
    summary = Summary()
    alarm = tmp_path / "alarm.jsonl"
    code = "import sys; open(sys.argv[1], 'a').write(sys.stdin.read())"
    results = list(
        detect(
            walk,
            model=walker,
            zone="0.2,0,1,0,1,1,0.2,1",
            line="0.3,1,0.3,0",
            events=tmp_path / "events.csv",
            alert_after=0.5,
            alert_cmd=shlex.join([sys.executable, "-c", code, str(alarm)]),
            stats_only=True,
            save_json=tmp_path / "out.jsonl",
            project=tmp_path / "runs",
            summary=summary,
        )
    )
    events = [line.split(",") for line in (tmp_path / "events.csv").read_text().splitlines()]
    fields = "source,frame,time,track_id,event,class,confidence,datetime,image,clip"
    assert events[0] == fields.split(",")
    assert [(event[3], event[4], event[5]) for event in events[1:]] == [
        ("1", "appears", "without_mask"),
        ("1", "enters", "without_mask"),
        ("1", "crosses_out", "without_mask"),
        ("1", "alert", "without_mask"),
        ("1", "changes", "with_mask"),
        ("1", "ends", "with_mask"),
    ]
    assert [json.loads(line)["event"] for line in alarm.read_text().splitlines()] == ["alert"]
    assert {
        record["detections"][0]["track_id"] for record in lines(tmp_path / "out.jsonl")[3:]
    } == {1}
    assert lines(tmp_path / "out.jsonl")[0]["detections"][0]["track_id"] is None
    assert all(found.tracker_id.tolist() == [1] for _, found in results[3:])  # type: ignore[union-attr]
    assert summary.people
    assert summary.people.people() == {"put_on": 1}
    assert sorted(path.name for path in (tmp_path / "runs" / "predict").iterdir()) == [
        "args.yaml",
        "counts.json",
    ]
    counts = json.loads((tmp_path / "runs" / "predict" / "counts.json").read_text())
    assert (counts["people"], counts["put_on"], counts["frames"]) == (1, 1, 100)


def test_a_run_that_is_closed_early_has_its_counts_and_events(walk: Path, tmp_path: Path) -> None:
    results = detect(
        walk,
        model=walker,
        track=True,
        events=tmp_path / "events.jsonl",
        stats_only=True,
        project=tmp_path / "runs",
    )
    for _ in range(40):
        next(results)
    results.close()
    assert [event["event"] for event in lines(tmp_path / "events.jsonl")] == ["appears", "ends"]
    assert (
        json.loads((tmp_path / "runs" / "predict" / "counts.json").read_text())["without_mask"] == 1
    )


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"alert_cmd": "true"}, "--alert-after"),
        ({"alert_url": "http://127.0.0.1/"}, "--alert-after"),
        ({"events": "a.jsonl", "save_json": "a.jsonl"}, "use two files"),
        ({"alert_after": -1.0}, "alert-after must be at least 0, got -1"),
        ({"zone": "1,2"}, "--zone"),
        ({"events": "events.txt"}, "unknown suffix"),
    ],
)
def test_wrong_tracking_options_are_errors(
    walk: Path, settings: dict[str, Any], reason: str
) -> None:
    with pytest.raises(MaskyoloError, match=reason):
        detect(walk, model=walker, **settings)


def test_still_images_are_not_tracked(photos: Path) -> None:
    with pytest.raises(MaskyoloError, match="still images"):
        detect(photos, model=one_face, track=True)


def test_the_secret_of_an_address_is_not_stored(walk: Path, tmp_path: Path) -> None:
    next(
        detect(
            walk,
            model=walker,
            alert_after=99,
            alert_url="https://example.org/hook/secret",
            stats_only=True,
            project=tmp_path / "runs",
        )
    )
    text = (tmp_path / "runs" / "predict" / "args.yaml").read_text()
    assert "alert_url: example.org" in text
    assert "/hook" not in text


def test_args_yaml_records_the_options_in_effect_and_no_passwords(
    walk: Path, tmp_path: Path
) -> None:
    options = DetectOptions(
        conf=0.4,
        slice_size=64,
        zone="0,0,1,0,1,1,0,1",
        alert_after=9,
        alert_cmd=shlex.join([sys.executable, "secret"]),
        save_txt=True,
        project=tmp_path / "runs",
        events=tmp_path / "events.csv",
    )
    next(detect(walk, walker, options=options, conf=0.6))
    recorded = yaml.safe_load((tmp_path / "runs" / "predict" / "args.yaml").read_text())
    names = (
        "source model conf iou imgsz device vid_stride reconnect max_det slice_size pipeline "
        "detector face face_conf class_map incorrect backend precision threads start track zone "
        "line events alert_after alert_cmd alert_url mqtt notify notify_images alert_outbox "
        "blur stats_only save save_json save_txt save_conf save_crop show resume classes "
        "save_alerts alert_clip keep_days keep_gb provenance "
    )
    assert set(recorded) == set(names.split())
    assert recorded["source"] == str(walk)
    assert recorded["model"] == "function"
    assert recorded["conf"] == 0.6
    assert recorded["slice_size"] == 64
    assert recorded["pipeline"] == "yolo"
    assert recorded["track"] is True
    assert recorded["alert_cmd"] == f"{sys.executable} ***"
    assert recorded["events"] == str(tmp_path / "events.csv")


def test_the_size_of_the_weights_is_reported_and_recorded(samples: Path, tmp_path: Path) -> None:
    for given, side in ((None, 640), (310, 320)):
        summary = Summary()
        list(
            detect(
                samples / "portrait.jpg",
                imgsz=given,
                save_txt=True,
                project=tmp_path,
                exist_ok=True,
                summary=summary,
            )
        )
        assert summary.network.startswith("OpenVINO CPU ")
        assert summary.network.endswith(f", {side} px")
        assert summary.network_details.endswith(f"; images at {side} pixels")
        assert f"imgsz: {side}\n" in (tmp_path / "predict" / "args.yaml").read_text()


def test_two_stages_report_what_computes_them(samples: Path) -> None:
    summary = Summary()
    list(detect(samples / "portrait.jpg", pipeline="two-stage", detector="haar", summary=summary))
    assert summary.network == "haar, then mobilenet_v2 (OpenVINO CPU fp32)"
    assert (
        summary.network_details
        == "two stages: haar in OpenCV, then mobilenet_v2 in OpenVINO on the CPU, fp32"
    )


class Faulty:
    """Finds a face, but raises the error of the image with a given gray value."""

    def __init__(self, errors: dict[int, Exception], workers: int) -> None:
        self.errors, self.workers = errors, workers

    def __call__(self, image: ImageArray) -> sv.Detections:
        if error := self.errors.get(int(image[0, 0, 0])):
            raise error
        return one_face(image)


@pytest.mark.parametrize("workers", [1, 2])
def test_any_error_of_one_file_is_its_line_and_the_rest_goes_on(
    tmp_path: Path, workers: int
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for gray in range(5):
        Image.new("RGB", (40, 30), (gray,) * 3).save(folder / f"{gray}.png")
    faults: dict[int, Exception] = {1: RecursionError("deep"), 3: MemoryError()}
    summary, told = Summary(), []
    for _ in detect(
        folder,
        model=Faulty(faults, workers),
        project=tmp_path / "runs",
        save_json=tmp_path / "out.jsonl",
        summary=summary,
        on_error=lambda source, error: told.append((Path(source).name, str(error))),
    ):
        pass
    found = lines(tmp_path / "out.jsonl")
    assert [Path(line["source"]).name for line in found] == [f"{gray}.png" for gray in range(5)]
    assert ["error" in line for line in found] == [False, True, False, True, False]
    assert [name for name, _ in told] == ["1.png", "3.png"]
    assert summary.folder
    log = summary.folder / "errors.log"
    assert told[0][1] == found[1]["error"]
    assert str(log) in found[1]["error"]
    assert "RecursionError: deep" in log.read_text()
    assert "not enough memory" in found[3]["error"]
    assert summary.frames == 3
    assert len(summary.errors) == 2


def test_an_error_in_a_video_ends_that_video_only(tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in ("a.mp4", "b.mp4"):
        make_clip(folder / name, frames=6)
    calls: list[int] = []

    def detector(image: ImageArray) -> sv.Detections:
        calls.append(1)
        if len(calls) == 3:
            raise ValueError("odd")
        return one_face(image)

    for _ in detect(
        folder,
        model=detector,
        project=tmp_path / "runs",
        save=True,
        save_json=tmp_path / "out.jsonl",
        on_error=lambda *_: None,
    ):
        pass
    found = lines(tmp_path / "out.jsonl")
    assert [(Path(line["source"]).name, line["frame"], "error" in line) for line in found] == [
        ("a.mp4", 0, False),
        ("a.mp4", 1, False),
        ("a.mp4", 2, True),
        *(("b.mp4", frame, False) for frame in range(6)),
    ]
    assert sorted(path.name for path in (tmp_path / "runs" / "predict").iterdir()) == [
        "a.mp4",
        "args.yaml",
        "b.mp4",
        "errors.log",
    ]


def test_an_error_of_the_only_file_is_a_users_error(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30), (7,) * 3).save(tmp_path / "a.png")
    with pytest.raises(MaskyoloError, match=r"a\.png: unexpected KeyError: 1; .*errors\.log"):
        list(
            detect(tmp_path / "a.png", model=Faulty({7: KeyError(1)}, 1), project=tmp_path / "runs")
        )


@pytest.mark.parametrize("length", [200, 245, 246, 251, 255])
def test_every_name_that_a_source_can_have_is_written(tmp_path: Path, length: int) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    names = ["ж" * 2 + letter * (length - 8) + ".jpg" for letter in "ab"]
    for name in names:
        Image.new("RGB", (40, 30), "gray").save(folder / name)
    make_clip(folder / ("v" * (length - 4) + ".mp4"), frames=1)
    records = run(folder, tmp_path, save=True, save_txt=True, save_crop=True)
    assert [record.get("error") for record in records] == [None] * 3
    made = tmp_path / "predict"
    assert len([path for path in made.iterdir() if path.suffix in (".jpg", ".mp4")]) == 3
    assert len(list((made / "labels").iterdir())) == 3
    assert len(list((made / "crops" / "with_mask").iterdir())) == 3
    assert not list(made.rglob("*.part"))


def test_a_folder_that_vanishes_during_a_run_is_a_users_error(photos: Path, tmp_path: Path) -> None:
    results = detect(photos, model=one_face, project=tmp_path / "runs", save=True)
    next(results)
    shutil.rmtree(tmp_path / "runs")
    with pytest.raises(OutputError, match="its folder was removed or renamed"):
        next(results)


def test_an_alert_has_an_image(walk: Path, tmp_path: Path) -> None:
    found = list(
        detect(
            walk,
            walker,
            alert_after=0.2,
            save_alerts=True,
            events=tmp_path / "events.jsonl",
            start="2026-11-27T08:00:00+01:00",
            project=tmp_path / "runs",
        )
    )
    events = lines(tmp_path / "events.jsonl")
    (alert,) = [event for event in events if event["event"] == "alert"]
    image = Path(alert["image"])
    assert image.parent == tmp_path / "runs" / "predict" / "alerts"
    seconds = alert["time"]
    assert image.name == f"2026-11-27_0800{seconds:06.3f}_track1.jpg"
    assert all("image" not in event for event in events if event is not alert)
    frame = found[alert["frame"]][0]
    saved = read_image(image)
    assert saved.shape == frame.shape
    x1, y1, x2, y2 = found[alert["frame"]][1].xyxy[0].astype(int)
    assert saved[y1 + 8 : y2 - 8, x1 + 8 : x2 - 8].min() > 200  # the face, between its drawn edges
    assert np.abs(saved.astype(int) - frame).max() > 100  # the box is drawn


def test_the_image_of_an_alert_is_blurred(walk: Path, tmp_path: Path) -> None:
    options = {"alert_after": 0.2, "save_alerts": True, "project": tmp_path / "runs"}
    for name, blur in (("sharp", False), ("blurred", True)):
        list(detect(walk, walker, blur=blur, name=name, **options))
    (sharp,) = (tmp_path / "runs" / "sharp" / "alerts").iterdir()
    (blurred,) = (tmp_path / "runs" / "blurred" / "alerts").iterdir()
    assert sharp.name == blurred.name

    def grays(path: Path) -> int:
        """Return the number of pixels between black and white, as in cells at the face's edges."""
        image = read_image(path).astype(int)
        return int(
            (np.ptp(image, axis=2) < 20)[(image.max(axis=2) > 60) & (image.min(axis=2) < 200)].sum()
        )

    assert grays(blurred) > 2 * grays(sharp) + 200


def test_images_of_alerts_need_alerts_and_pixels(walk: Path) -> None:
    with pytest.raises(MaskyoloError, match=r"--save-alerts, --alert-clip\) need --alert-after"):
        list(detect(walk, walker, save_alerts=True))
    with pytest.raises(MaskyoloError, match="--stats-only, which saves none"):
        list(detect(walk, walker, save_alerts=True, alert_after=1, stats_only=True))


def test_only_chosen_classes_are_reported_and_all_are_counted(walk: Path, tmp_path: Path) -> None:
    summary = Summary()
    found = list(
        detect(
            walk,
            walker,
            track=True,
            classes=["no mask"],
            save=True,
            save_txt=True,
            save_crop=True,
            save_json=tmp_path / "out.jsonl",
            project=tmp_path / "runs",
            summary=summary,
        )
    )
    assert {int(class_id) for _, one in found for class_id in one.class_id} == {1}  # type: ignore[union-attr]
    records = lines(tmp_path / "out.jsonl")
    assert len(records) == 100
    assert {found["class"] for record in records for found in record["detections"]} == {
        "without_mask"
    }
    assert set(summary.counts) == {"without_mask"}
    folder = tmp_path / "runs" / "predict"
    assert list((folder / "crops" / "with_mask").iterdir()) == []
    assert list((folder / "crops" / "without_mask").iterdir()) != []
    texts = [path.read_text() for path in (folder / "labels").iterdir()]
    assert {line.split()[0] for text in texts for line in text.splitlines()} == {"1"}
    assert summary.people
    assert summary.people.people() == {"put_on": 1}  # the masked half is counted, too
    with pytest.raises(MaskyoloError, match="reports no class 'helmet'"):
        list(detect(walk, walker, classes=["helmet"]))
