"""Blurred faces are gone from every image, crop and video written, and from yielded frames."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import supervision as sv

from maskyolo.core.classes import CLASS_NAMES
from maskyolo.core.images import ImageArray, read_image, write_image
from maskyolo.detectors.options import InferenceOptions
from maskyolo.errors import MaskyoloError
from maskyolo.runtime import detection
from maskyolo.runtime.blur import CELLS, HOLD, Blur, pixelate
from maskyolo.runtime.detection import detect
from maskyolo.runtime.frames import Frame
from maskyolo.runtime.video_writer import VideoWriter

BOX = (60, 40, 140, 120)
FACE = (slice(40, 120), slice(60, 140))
INNER = (slice(60, 116), slice(66, 134))  # no line or label is drawn there


@pytest.fixture
def noise() -> ImageArray:
    """An image of coarse noise, which survives the compression of a video."""
    cells = np.random.default_rng(0).integers(0, 256, (40, 50, 3))
    return cells.repeat(4, axis=0).repeat(4, axis=1).astype(np.uint8)


def found(image: ImageArray) -> sv.Detections:
    return sv.Detections(
        np.array([BOX], np.float32),
        confidence=np.array([0.9], np.float32),
        class_id=np.array([1]),
        data={"class_name": np.array(CLASS_NAMES)[[1]]},
    )


def distance(a: ImageArray, b: ImageArray) -> float:
    return float(np.abs(a.astype(float) - b).mean())


def test_a_blurred_face_has_few_colors_and_the_rest_is_unchanged(noise: ImageArray) -> None:
    before = noise.copy()
    hidden = pixelate(noise, [BOX])
    assert (noise == before).all()
    assert len(np.unique(hidden[FACE].reshape(-1, 3), axis=0)) <= CELLS**2
    changed = np.argwhere((hidden != noise).any(axis=2))
    assert changed.min(axis=0).tolist() == [24, 44]  # a fifth more on each side
    assert changed.max(axis=0).tolist() == [135, 155]


@pytest.mark.parametrize("side", [1, 2, 5, 9, 30])
def test_small_faces_are_blurred_too(noise: ImageArray, side: int) -> None:
    fine = np.random.default_rng(1).integers(0, 256, noise.shape).astype(np.uint8)
    hidden = pixelate(fine, [(50, 50, 50 + side, 50 + side)])[50 : 50 + side, 50 : 50 + side]
    cells = len(np.unique(hidden.reshape(-1, 3), axis=0))
    assert cells <= max((1.4 * side + 2) // 4, 1) ** 2
    assert cells < side**2 or side == 1


def test_boxes_beyond_the_edge_or_without_area(noise: ImageArray) -> None:
    hidden = pixelate(
        noise, [(-20, -20, 30, 30), (190, 150, 300, 300), (500, 500, 600, 600), (50, 50, 50, 50)]
    )
    assert (hidden[60:120, 40:150] == noise[60:120, 40:150]).all()
    assert distance(hidden[:30, :30], noise[:30, :30]) > 30
    assert (pixelate(noise, []) == noise).all()


def test_images_crops_and_videos_show_no_face(noise: ImageArray, tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for name in ("a.png", "b.jpg"):
        write_image(source / name, noise)
    video = VideoWriter(source / "c.mp4", Fraction(25))
    for _ in range(5):
        video.write(noise)
    video.close()

    yielded = [
        image
        for image, _ in detect(
            source, model=found, blur=True, save=True, save_crop=True, track=True, project=tmp_path
        )
    ]

    hidden = pixelate(noise, [BOX])
    written = [read_image(tmp_path / "predict" / name) for name in ("a.png", "b.jpg")]
    with av.open(str(tmp_path / "predict" / "c.mp4")) as container:
        written += [image.to_ndarray(format="bgr24") for image in container.decode(video=0)]
    assert len(written) == len(yielded) == 7
    for image in written + yielded:
        assert distance(image[INNER], hidden[INNER]) < 12
        assert distance(image[INNER], noise[INNER]) > 40
        assert distance(image[150:, 160:], noise[150:, 160:]) < 30  # the rest is still visible
    crops = [read_image(path) for path in (tmp_path / "predict" / "crops").rglob("*.jpg")]
    assert len(crops) == 7
    assert all(distance(crop, noise[FACE]) > 40 for crop in crops)


def test_without_blur_the_same_files_show_the_face(noise: ImageArray, tmp_path: Path) -> None:
    """Guards the test above, which an empty image would pass too."""
    write_image(tmp_path / "a.png", noise)
    list(detect(tmp_path / "a.png", model=found, save=True, project=tmp_path / "out"))
    assert distance(read_image(tmp_path / "out" / "predict" / "a.png")[INNER], noise[INNER]) == 0


def test_a_face_that_is_missed_for_a_moment_stays_hidden(noise: ImageArray) -> None:
    blur = Blur()

    def step(time: float, there: bool, source: str = "a.mp4") -> ImageArray:
        seen = found(noise) if there else sv.Detections.empty()
        return blur(Frame(noise, source, 0, time, "video", Fraction(25)), seen)[0].image

    step(0.0, there=True)
    assert distance(step(0.9 * HOLD, there=False)[FACE], noise[FACE]) > 40
    assert (step(1.1 * HOLD, there=False) == noise).all()
    step(5.0, there=True)
    assert (step(5.1, there=False, source="b.mp4") == noise).all()


def test_faces_of_low_confidence_are_hidden_but_not_reported(samples: Path, tmp_path: Path) -> None:
    def report(**settings: bool) -> tuple[ImageArray, sv.Detections]:
        ((image, detections),) = detect(samples / "plaza.jpg", conf=0.9, **settings)  # type: ignore[arg-type]
        return image, detections

    (plain, confident), (hidden, same) = report(), report(blur=True)
    assert len(confident) == len(same)
    assert (hidden != plain).any()


def test_faces_beyond_max_det_are_hidden_but_not_reported(samples: Path) -> None:
    def run(**settings: object) -> tuple[ImageArray, sv.Detections]:
        ((image, detections),) = detect(samples / "office.jpg", precision="fp32", **settings)  # type: ignore[arg-type]
        return image, detections

    (hidden, found), (few, best) = run(blur=True), run(blur=True, max_det=1)
    assert len(found) > len(best) == 1
    assert (few == hidden).all()


def test_two_stages_hide_faces_of_low_score_and_do_not_report_them(
    noise: ImageArray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(
        model: str, options: InferenceOptions, streams: int
    ) -> Callable[[ImageArray], sv.Detections]:
        face_conf = options.face_conf
        assert face_conf is not None

        def detect_one(image: ImageArray) -> sv.Detections:
            one = found(image)
            one.data["face_score"] = np.array([0.3], np.float32)
            rows: sv.Detections = one[one.data["face_score"] >= face_conf]  # type: ignore[assignment]
            return rows

        return detect_one

    monkeypatch.setattr(detection, "load_detector", load)
    write_image(tmp_path / "a.png", noise)
    ((image, reported),) = detect(tmp_path / "a.png", model="any", pipeline="two-stage", blur=True)
    assert distance(image[FACE], noise[FACE]) > 40
    assert len(reported) == 0
    ((_, reported),) = detect(
        tmp_path / "a.png", model="any", pipeline="two-stage", blur=True, face_conf=0.2
    )
    assert len(reported) == 1


def test_stats_only_writes_no_image(noise: ImageArray, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", noise)
    list(
        detect(
            tmp_path / "a.png",
            model=found,
            stats_only=True,
            save_txt=True,
            save_json=tmp_path / "out" / "a.jsonl",
            project=tmp_path,
        )
    )
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()} - {
        "a.png"
    }
    assert files == {
        "out/a.jsonl",
        "predict/args.yaml",
        "predict/counts.json",
        "predict/labels/a.txt",
    }


@pytest.mark.parametrize("setting", ["save", "save_crop"])
def test_stats_only_refuses_to_save_images(noise: ImageArray, tmp_path: Path, setting: str) -> None:
    write_image(tmp_path / "a.png", noise)
    with pytest.raises(MaskyoloError, match="--stats-only"):
        detect(tmp_path / "a.png", model=found, stats_only=True, **{setting: True})  # type: ignore[arg-type]
