"""Real, tiny trainings on real faces; what they learn does not matter."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from maskyolo import adapt, load_detector
from maskyolo.adaptation import learning
from maskyolo.adaptation.adapting import Adaptation
from maskyolo.adaptation.frames import blur_outside
from maskyolo.adaptation.judging import Trial, choose_trial, explain, table
from maskyolo.cli import main
from maskyolo.core.classes import CLASS_NAMES
from maskyolo.core.images import read_image
from maskyolo.dataset.layout import load_dataset
from maskyolo.dataset.photo_hashes import load_hashes, save_hashes
from maskyolo.errors import DatasetError, MaskyoloError, SourceError, WeightsError
from maskyolo.evaluation.differences import Difference
from maskyolo.models.trust import record_own
from maskyolo.training.detector import TrainResult

#: Small enough for seconds; the weights are nearly the present ones, whatever was learned.
TINY: dict[str, Any] = {"imgsz": 160, "batch": 4, "epochs": 1, "device": "cpu"}


@pytest.fixture(scope="module")
def clip(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generated recording: real faces, over which the camera moves."""
    image = read_image(samples / "plaza.jpg")
    height, width = image.shape[:2]
    size = (int(0.9 * width) // 2 * 2, int(0.9 * height) // 2 * 2)
    path = tmp_path_factory.mktemp("clip") / "door.avi"
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, size)
    for number in range(12):
        x, y = number * (width - size[0]) // 12, number * (height - size[1]) // 12
        video.write(np.ascontiguousarray(image[y : y + size[1], x : x + size[0]]))
    video.release()
    return path


@pytest.fixture(scope="module")
def base(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base set of real faces, with the same photos in train and val."""
    folder = tmp_path_factory.mktemp("base") / "set"
    detector = load_detector()
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        for photo in ("indoors.jpg", "plaza.jpg", "portrait.jpg"):
            shutil.copy(samples / photo, folder / "images" / split)
            image = read_image(samples / photo)
            found: Any = detector(image)
            height, width = image.shape[:2]
            rows = [
                f"{kind} {(x1 + x2) / 2 / width:.6f} {(y1 + y2) / 2 / height:.6f} "
                f"{(x2 - x1) / width:.6f} {(y2 - y1) / height:.6f}"
                for (x1, y1, x2, y2), kind in zip(found.xyxy, found.class_id, strict=True)
            ]
            label = folder / "labels" / split / Path(photo).with_suffix(".txt").name
            label.write_text("\n".join(rows) + "\n")
    (folder / "data.yaml").write_text(
        f"path: {folder}\ntrain: images/train\nval: images/val\n"
        "names: {0: with_mask, 1: without_mask}\n"
    )
    return folder


@pytest.fixture(scope="module")
def stages() -> list[str]:
    return []


@pytest.fixture(scope="module")
def made(
    clip: Path, base: Path, stages: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Adaptation:
    """The result for the clip, measured on the base set's photos as if the camera had made them."""
    return adapt(
        clip,
        tmp_path_factory.mktemp("made") / "door",
        data=base,
        val_data=base,
        vid_stride=1,
        blend=(0.01,),
        on_progress=lambda what, done, total: stages.append(what),
        **TINY,
    )


@pytest.fixture
def labeled(made: Adaptation, tmp_path: Path) -> Path:
    """Frames of the clip with their labels, as if nobody had trained with them."""
    ignored = shutil.ignore_patterns("report.*", "weights")
    return shutil.copytree(made.folder, tmp_path / "door", ignore=ignored)


def by(value: float, spread: float = 0.01) -> Difference:
    return Difference(value, (value - spread, value + spread), 0.5)


def test_a_recording_becomes_frames_and_a_verdict(made: Adaptation, stages: list[str]) -> None:
    assert list(dict.fromkeys(stages)) == ["frames", "batches", "photos"]
    assert load_dataset(made.folder).images("train")
    assert not (made.folder / "training").exists()
    assert made.learned is not None
    (trial,) = made.learned.trials
    assert trial.camera is not None
    assert trial.camera == trial.base
    assert abs(trial.base.difference) < 0.1
    report = json.loads((made.folder / "report.json").read_text())
    assert report["verdict"] == made.learned.verdict
    assert report["trials"][0]["blend"] == 0.01


def test_kept_weights_run_and_know_their_photos(
    labeled: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = learning.find_checkpoint("maskyolo-n")

    def trained(*args: object, project: Path, **settings: object) -> TrainResult:
        weights = project / "run" / "weights"
        weights.mkdir(parents=True)
        for name in ("args.yaml", "results.csv"):
            (weights.parent / name).write_text("")
        shutil.copy(start, weights / "last.pt")
        record_own(weights / "last.pt")
        save_hashes(weights / "last.onnx", ["0123456789abcdef"])
        best = weights / "best.pt"
        return TrainResult(weights.parent, best, best.with_suffix(".onnx"), None)  # type: ignore[arg-type]

    monkeypatch.setattr(learning, "train_detector", trained)
    made = adapt(None, labeled, data=base, blend=(0.5,), **TINY)

    assert made.learned is not None
    assert made.learned.weights == labeled / "weights" / "best.pt"
    assert "not measured" in made.learned.verdict
    assert json.loads((labeled / "report.json").read_text())["kept"] == 0.5
    for suffix in (".pt", ".onnx"):
        assert load_detector(made.learned.weights.with_suffix(suffix)).class_names == CLASS_NAMES
    assert load_hashes(made.learned.weights) == ["0123456789abcdef"]


def test_weights_that_forget_are_not_kept_and_frames_are_removed(
    labeled: Path, base: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "wild.yaml"
    recipe.write_text("optimizer: AdamW\nlr0: 0.05\nwarmup_epochs: 0.0\nnbs: 4\nworkers: 0\n")

    with pytest.raises(SystemExit) as stopped:
        main(
            [
                "adapt", "--out", str(labeled), "--data", str(base), "--recipe", str(recipe),
                "--blend", "1", "--epochs", "1", "--imgsz", "160", "--batch", "4",
                "--device", "cpu", "--no-keep-frames",
            ]
        )  # fmt: skip

    assert stopped.value.code == 1
    lines = capfd.readouterr().err.splitlines()
    said = [line for line in lines if "the present weights stay" in line]
    assert len(said) == 1, lines
    assert said[0].startswith("maskyolo: the training does not help")
    names = sorted(path.name for path in labeled.iterdir())
    assert names == ["ledger.csv", "report.json", "report.txt"]
    assert json.loads((labeled / "report.json").read_text())["kept"] is None


def test_frames_are_removed_even_if_the_training_fails(
    labeled: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*args: object, **settings: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(learning, "train_detector", stop)
    with pytest.raises(KeyboardInterrupt):
        adapt(None, labeled, data=base, keep_frames=False, **TINY)

    assert [path.name for path in labeled.iterdir()] == ["ledger.csv"]


def test_frames_are_blurred_outside_faces(samples: Path, tmp_path: Path) -> None:
    shutil.copy(samples / "portrait.jpg", tmp_path)
    plain = adapt(tmp_path / "portrait.jpg", tmp_path / "plain")
    hidden = adapt(tmp_path / "portrait.jpg", tmp_path / "hidden", blur_outside=True)

    first, second = (
        read_image(one.folder / one.rows[0].image).astype(int) for one in (plain, hidden)
    )
    x1, y1, x2, y2 = (round(value) for value in plain.rows[0].boxes[0])
    face = np.s_[y1:y2, x1:x2]
    assert np.abs(first[face] - second[face]).mean() < 1
    edges = [
        cv2.Laplacian(one[:, : max(x1 // 2, 8)].astype(np.uint8), cv2.CV_64F).var()
        for one in (first, second)
    ]
    assert edges[1] < edges[0] / 5


def test_blurring_keeps_boxes_at_the_edge_and_no_boxes() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)

    assert (blur_outside(image, [[50, 30, 60, 40]])[30:, 50:] == image[30:, 50:]).all()
    assert (blur_outside(image, np.zeros((0, 4))) != image).any()


@pytest.mark.parametrize(
    ("trials", "kept"),
    [
        ([Trial(0.25, by(-0.001), by(0.03)), Trial(0.5, by(-0.004), by(0.05))], 0.5),
        ([Trial(0.25, by(-0.001), by(0.03)), Trial(0.5, by(-0.006), by(0.05))], 0.25),
        ([Trial(0.25, by(0.001), by(0.009))], None),
        ([Trial(0.25, by(-0.006))], None),
        ([Trial(0.25, by(-0.004)), Trial(0.5, by(0.002)), Trial(0.75, by(-0.1))], 0.5),
    ],
)
def test_the_rule(trials: list[Trial], kept: float | None) -> None:
    chosen = choose_trial(trials)

    assert (chosen and chosen.blend) == kept
    said = explain(trials, chosen)
    assert "\n" not in said
    assert ("the present weights stay" in said) is (kept is None)
    assert table(trials, chosen).count("kept") == (kept is not None)


def test_what_a_training_needs_is_checked_before_the_recordings_are_read(
    clip: Path, base: Path, tmp_path: Path
) -> None:
    (tmp_path / "alone.onnx").write_bytes(b"")
    for settings, error, text in (
        ({"data": tmp_path / "none"}, DatasetError, "no data set at"),
        ({"data": base, "val_data": tmp_path / "none"}, DatasetError, "no data set at"),
        ({"data": base, "model": tmp_path / "alone.onnx"}, WeightsError, "no alone.pt beside it"),
        ({"val_data": base}, MaskyoloError, "needs a base set"),
        ({"keep_frames": False}, MaskyoloError, "needs a base set"),
        ({"data": base, "blend": (0.0,)}, MaskyoloError, "blend must be above 0"),
    ):
        with pytest.raises(error, match=text):
            adapt(clip, tmp_path / "door", **settings)
    assert not (tmp_path / "door").exists()


def test_without_recordings_there_must_be_frames(base: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="has no frames to train on"):
        adapt(None, tmp_path / "none", data=base)
    with pytest.raises(SourceError, match="no recordings given"):
        adapt(None, tmp_path / "none")
    assert load_dataset(base).images("train")
