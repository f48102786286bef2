"""`maskyolo review find` on the samples, with given predictions; the folds' trainings are stubs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from paths import SAMPLES
from PIL import Image

from maskyolo.cli import main
from maskyolo.conversion.convert import convert_dataset
from maskyolo.core.boxes import as_boxes, box_iou
from maskyolo.core.classes import CLASS_NAMES
from maskyolo.core.images import read_image
from maskyolo.dataset.layout import load_dataset
from maskyolo.dataset.ledger import read_ledger, write_ledger
from maskyolo.errors import DatasetError, ImageError, MaskyoloError, OutputError
from maskyolo.models.own import find_model
from maskyolo.review.finding.find import find_errors
from maskyolo.review.finding.folds import FoldDetector, train_fold
from maskyolo.review.finding.judging import match_predictions
from maskyolo.review.finding.predictions import Predictions, read_predictions, write_predictions
from maskyolo.review.options import FindOptions
from maskyolo.review.review_set import read_review_set
from maskyolo.review.suspicions import read_suspicions


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The samples as a data set whose labels are correct."""
    out = tmp_path_factory.mktemp("whole") / "set"
    samples = SAMPLES
    convert_dataset(samples, out, format="voc", sheets=False)
    return out


def labels_of(root: Path, stem: str) -> Path:
    return next((root / "labels").rglob(f"*{stem}*.txt"))


@pytest.fixture
def planted(whole: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A copy with a wrong class in office and a missing box in queue; and correct predictions."""
    review = read_review_set(whole)
    rng = np.random.default_rng(0)
    seen = {}
    for photo in review.photos.values():
        faces = photo.faces(review.names)
        scores = np.array(
            [
                np.where(np.arange(2) == CLASS_NAMES.index(face.class_name), 0.8, 0.05)
                for face in faces
            ]
        ).reshape(-1, 2)
        seen[photo.image] = Predictions(
            as_boxes([face.box for face in faces]) + rng.normal(0, 0.3, (len(faces), 4)),
            scores.astype(np.float32),
        )
    write_predictions(
        tmp_path / "predictions.jsonl",
        {image: Predictions(as_boxes(found.boxes), found.scores) for image, found in seen.items()},
    )
    root = tmp_path / "set"
    root.mkdir()
    for path in sorted(whole.rglob("*")):
        if path.is_file():
            (root / path.relative_to(whole)).parent.mkdir(parents=True, exist_ok=True)
            (root / path.relative_to(whole)).write_bytes(path.read_bytes())
    (root / "data.yaml").write_text((root / "data.yaml").read_text().replace(str(whole), str(root)))
    office, queue = labels_of(root, "office"), labels_of(root, "queue")
    first, *rest = office.read_text().splitlines(keepends=True)
    office.write_text(f"{1 - int(first[0])}{first[1:]}" + "".join(rest))
    queue.write_text("".join(queue.read_text().splitlines(keepends=True)[1:]))
    return root, tmp_path / "predictions.jsonl"


def test_the_errors_lead_the_list(planted: tuple[Path, Path], tmp_path: Path) -> None:
    root, predictions = planted
    before = {path: path.read_bytes() for path in (root / "labels").rglob("*.txt")}
    progress: list[tuple[str, int, int | None]] = []
    found = find_errors(
        root,
        predictions=predictions,
        project=tmp_path / "runs",
        on_progress=lambda *now: progress.append(now),
    )
    assert found.csv == root / "review.csv"
    assert (found.photos, found.labels) == (8, 38)
    listed = read_suspicions(found.csv)
    worst = {suspicion.rank: suspicion for suspicion in reversed(listed)}
    assert {
        (Path(worst[place].image).stem.split("_")[-2], worst[place].reason) for place in (1, 2)
    } == {
        ("office", "wrong_class"),
        ("queue", "missing"),
    }
    swapped = next(suspicion for suspicion in listed if suspicion.source == "office.jpg")
    assert (swapped.label, swapped.split, swapped.source) == (
        0,
        swapped.image.split("/")[1],
        "office.jpg",
    )
    assert progress[-1] == ("photos analyzed", 8, 8)
    with Image.open(found.folder / "sheet.png") as sheet:
        assert sheet.width == 160 * len(worst)
    with found.csv.open(encoding="utf-8") as file:
        assert (
            next(file).strip()
            == "rank,image,split,label,box,reason,score,suggestion,source,tags,new_class,new_box"
        )
    assert {path: path.read_bytes() for path in before} == before


def test_a_list_that_people_filled_in_is_not_overwritten(
    planted: tuple[Path, Path], tmp_path: Path
) -> None:
    root, predictions = planted
    find_errors(root, predictions=predictions, project=tmp_path / "runs")
    text = (root / "review.csv").read_text()
    find_errors(root, predictions=predictions, project=tmp_path / "runs")
    assert (root / "review.csv").read_text() == text
    lines = text.splitlines(keepends=True)
    (root / "review.csv").write_text(
        "".join([lines[0], lines[1].rstrip("\n,") + ",wrong_class,,\n", *lines[2:]])
    )
    with pytest.raises(
        OutputError,
        match=r"has 1 lines that were filled in and would be lost; apply them with `maskyolo",
    ):
        find_errors(root, predictions=predictions, project=tmp_path / "runs")


def test_photos_that_people_corrected_are_not_listed(
    planted: tuple[Path, Path], tmp_path: Path
) -> None:
    root, predictions = planted
    rows = read_ledger(root / "ledger.csv")
    write_ledger(
        root / "ledger.csv",
        [
            row.corrected(row.boxes, row.classes) if row.source == "queue.jpg" else row
            for row in rows
        ],
    )
    found = find_errors(root, predictions=predictions, project=tmp_path / "runs")
    assert "queue.jpg" not in {suspicion.source for suspicion in found.suspicions}


def test_each_photo_is_judged_by_a_detector_not_trained_on_it(
    planted: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if the search is interrupted and continued: only the remaining folds are trained."""
    root, predictions = planted
    trained_on: dict[Path, set[str]] = {}
    judged: dict[str, Path] = {}
    known = read_predictions(predictions)
    stop_at = [2]

    def train(
        photos: list[Path], folder: Path, options: FindOptions, names: Any, on_progress: Any
    ) -> Path:
        assert names == ("with_mask", "without_mask")
        assert options.epochs == 1
        if len(trained_on) + 1 == stop_at[0]:
            raise KeyboardInterrupt
        assert folder not in trained_on
        trained_on[folder] = {photo.relative_to(root).as_posix() for photo in photos}
        return folder

    class Detector:
        def __init__(self, weights: Path, imgsz: int, device: str, classes: int) -> None:
            self.weights = weights

        def __call__(self, image: np.ndarray) -> Predictions:
            name = next(name for name in known if np.array_equal(read_image(root / name), image))
            judged[name] = self.weights
            return known[name]

    monkeypatch.setattr("maskyolo.review.finding.judging.train_fold", train)
    monkeypatch.setattr("maskyolo.review.finding.judging.FoldDetector", Detector)
    with pytest.raises(KeyboardInterrupt):
        find_errors(root, folds=2, epochs=1, project=tmp_path / "runs")
    begun = tmp_path / "runs" / "find"
    with pytest.raises(
        MaskyoloError,
        match=r"cannot resume .*find: it was started with --folds 2, --seed 0; give the same",
    ):
        find_errors(root, folds=3, epochs=1, seed=1, resume=begun)
    stop_at[0] = 0
    found = find_errors(root, folds=2, epochs=1, resume=begun)
    assert found.folder == begun
    assert len(trained_on) == 2
    assert set(judged) == set(known)
    assert all(name not in trained_on[folder] for name, folder in judged.items())
    assert sum(len(photos) for photos in trained_on.values()) == len(known)
    again = read_predictions(found.folder / "predictions.jsonl")
    assert list(again) == list(known)
    np.testing.assert_allclose(again[next(iter(known))].scores, known[next(iter(known))].scores)


def test_a_fold_is_trained_on_a_list_of_its_photos(
    planted: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, _ = planted
    photos = load_dataset(root).images("train")
    given: dict[str, Any] = {}

    class Result:
        best = tmp_path / "weights" / "best.pt"

    def train(**settings: Any) -> Result:
        given.update(settings)
        return Result()

    monkeypatch.setattr("maskyolo.training.detector.train_detector", train)
    last = train_fold(photos, tmp_path / "folds" / "fold1", FindOptions(epochs=2, imgsz=64))
    assert last == tmp_path / "weights" / "last.pt"
    assert (given["recipe"], given["epochs"], given["imgsz"], given["name"]) == (
        "finetune",
        2,
        64,
        "fold1",
    )
    made = load_dataset(given["data"])
    assert made.images("train") == photos
    assert set(made.images("val")) <= set(photos)
    assert made.label_of(made.images("train")[0]).is_file()


def test_a_fold_s_training_that_was_interrupted_is_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "fold1"
    given: list[dict[str, Any]] = []

    class Result:
        best = folder / "weights" / "best.pt"

    def train(**settings: Any) -> Result:
        given.append(settings)
        folder.mkdir(exist_ok=True)
        (folder / "args.yaml").touch()
        (folder / "data.yaml").touch()
        if len(given) == 1:
            raise KeyboardInterrupt
        (folder / "report.json").touch()
        return Result()

    def run(photos: list[str]) -> Path:
        return train_fold(
            [Path(photo) for photo in photos], folder, FindOptions(epochs=2, imgsz=64)
        )

    monkeypatch.setattr("maskyolo.training.detector.train_detector", train)
    with pytest.raises(KeyboardInterrupt):
        run(["a.jpg", "b.jpg"])
    assert run(["a.jpg", "b.jpg"]) == folder / "weights" / "last.pt"
    assert [settings.get("resume") for settings in given] == [None, folder]
    assert run(["a.jpg", "b.jpg"]) == folder / "weights" / "last.pt"
    assert len(given) == 2, "a finished one is not trained again"
    run(["a.jpg", "c.jpg"])
    assert given[2]["name"] == "fold1", "other photos: from the start"


def test_a_fold_s_detector_scores_both_classes_and_uses_the_mirror_image(samples: Path) -> None:
    detector = FoldDetector(find_model("maskyolo-n"), imgsz=320)
    image = read_image(samples / "portrait.jpg")
    found, mirrored = detector(image), detector(np.ascontiguousarray(image[:, ::-1]))
    best, other = int(found.confidence.argmax()), int(mirrored.confidence.argmax())
    assert found.class_ids[best] == 0
    assert found.scores[best, 0] > 0.3 > found.scores[best, 1]
    turned = mirrored.boxes[other].copy()
    turned[[0, 2]] = image.shape[1] - turned[[2, 0]]
    assert box_iou(found.boxes[best], turned)[0, 0] > 0.9
    assert found.scores[best, 0] == pytest.approx(mirrored.scores[other, 0], abs=0.05)


def test_a_set_of_three_classes_is_searched_with_detectors_of_three(
    planted: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if the third class is in the photos of one fold only, which no detector learns from."""
    root, predictions = planted
    data = yaml.safe_load((root / "data.yaml").read_text())
    data["names"] = ["with_mask", "without_mask", "mask_weared_incorrect"]
    (root / "data.yaml").write_text(yaml.safe_dump(data))
    image = next(iter(read_predictions(predictions)))
    label = (root / image.replace("images", "labels")).with_suffix(".txt")
    label.write_text("2" + label.read_text()[1:])
    trained: list[tuple[str, ...]] = []

    def train(
        photos: list[Path], folder: Path, options: FindOptions, names: Any, on_progress: Any
    ) -> Path:
        trained.append(tuple(names))
        assert (len(names) == 3) == (root / image in photos)
        return find_model("maskyolo-n")

    monkeypatch.setattr("maskyolo.review.finding.judging.train_fold", train)
    found = find_errors(root, folds=2, imgsz=96, project=tmp_path / "runs")
    assert sorted(map(len, trained)) == [2, 3]
    scores = read_predictions(found.folder / "predictions.jsonl")
    assert {one.scores.shape[1] for one in scores.values() if len(one)} == {3}
    listed = next(one for one in found.suspicions if one.image == image and one.label == 0)
    assert listed.suggested_class in ("with_mask", "without_mask")

    line = {
        "source": image,
        "detections": [
            {"box": [1, 2, 30, 40], "class": "incorrect_mask", "class_id": 2, "confidence": 0.7}
        ],
    }
    (tmp_path / "three.jsonl").write_text(json.dumps(line) + "\n")
    three = read_predictions(tmp_path / "three.jsonl")[image]
    np.testing.assert_allclose(three.scores, [[0, 0, 0.7]], atol=1e-6)


def test_predictions_of_detect_are_read(tmp_path: Path) -> None:
    line = {
        "source": "a.jpg",
        "detections": [
            {"box": [1, 2, 30, 40], "class": "without_mask", "class_id": 1, "confidence": 0.7}
        ],
    }
    file = tmp_path / "found.jsonl"
    file.write_text(
        json.dumps(line) + "\n\n" + json.dumps({"source": "b.jpg", "error": "empty"}) + "\n"
    )
    found = read_predictions(file)
    assert list(found) == ["a.jpg"]
    np.testing.assert_allclose(found["a.jpg"].scores, [[0, 0.7]], atol=1e-6)
    file.write_text('{"source": "a.jpg"}\n')
    with pytest.raises(DatasetError, match="line 1: no predictions"):
        read_predictions(file)
    with pytest.raises(DatasetError, match="cannot read predictions"):
        read_predictions(tmp_path / "no.jsonl")


def test_errors_are_one_line(
    planted: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, predictions = planted
    with pytest.raises(MaskyoloError, match="folds must be at least 2, got 1"):
        find_errors(root, folds=1)
    with pytest.raises(
        MaskyoloError, match=r"cannot resume .*nowhere: no search was started there"
    ):
        find_errors(root, resume=tmp_path / "nowhere")
    some = tmp_path / "some.jsonl"
    some.write_text(predictions.read_text().splitlines()[0] + "\n")
    with pytest.raises(SystemExit) as stopped:
        main(
            [
                "review",
                "find",
                "--data",
                str(root),
                "--predictions",
                str(some),
                "--project",
                str(tmp_path / "runs"),
            ]
        )
    assert stopped.value.code == 1
    reported = capsys.readouterr()
    assert "has no predictions for 7 of the 8 photos" in reported.err
    assert reported.err.count("\n") == 1
    assert not (tmp_path / "runs").exists()
    (root / "data.yaml").write_text(
        (root / "data.yaml").read_text().replace("with_mask\n", "face\n", 1)
    )
    with pytest.raises(DatasetError, match="has the classes"):
        find_errors(root, predictions=predictions)


def test_a_photo_that_cannot_be_read_is_reported_and_left_out(
    planted: tuple[Path, Path], tmp_path: Path
) -> None:
    root, predictions = planted
    broken = next((root / "images").rglob("*portrait*"))
    broken.write_bytes(b"\xff\xd8")
    reported: list[MaskyoloError] = []
    found = find_errors(
        root, predictions=predictions, project=tmp_path / "runs", on_error=reported.append
    )
    assert found.photos == 7
    assert [type(error) for error in reported] == [ImageError]
    assert "portrait" in str(reported[0])
    lines = predictions.read_text().splitlines(keepends=True)
    predictions.write_text(
        "".join(line for line in lines if "portrait" not in line)
    )  # as a search that skipped it writes them
    assert (
        find_errors(root, predictions=predictions, project=tmp_path / "runs").suspicions
        == found.suspicions
    )


def test_predictions_belong_to_the_image_whose_path_has_the_same_end(
    planted: tuple[Path, Path], tmp_path: Path
) -> None:
    root, predictions = planted
    first, second = [json.loads(line) for line in predictions.read_text().splitlines()[:2]]
    twin = root / "images" / "val" / Path(second["source"]).name
    twin.write_bytes((root / first["source"]).read_bytes())
    review = read_review_set(root)
    lines = [json.loads(line) for line in predictions.read_text().splitlines()]
    lines = [line | {"source": f"data/mask/{line['source']}"} for line in lines] + [
        {"source": str(twin), "detections": []}
    ]
    predictions.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = match_predictions(predictions, review)
    assert len(found) == len(review.photos)
    assert len(found[second["source"]]) == len(second["detections"]) > 0
    assert len(found[twin.relative_to(root).as_posix()]) == 0


def test_a_set_without_labels_is_an_error(planted: tuple[Path, Path], tmp_path: Path) -> None:
    root, predictions = planted
    for path in (root / "labels").rglob("*.txt"):
        path.write_text("")
    with pytest.raises(DatasetError, match="has no labels to judge"):
        find_errors(root, predictions=predictions, project=tmp_path / "runs")


def test_the_command_reports_counts_list_and_folder(
    planted: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, predictions = planted
    main_ok(
        [
            "review",
            "find",
            "--data",
            str(root),
            "--predictions",
            str(predictions),
            "--project",
            str(tmp_path / "runs"),
        ]
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("photos with 38 labels")
    assert lines[-1] == str(tmp_path / "runs" / "find")
    assert any(line.split()[0] == "wrong_class" for line in lines)


def main_ok(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert not stopped.value.code
