"""Two-stage: confidence, order, no faces, single stages; the same from Python and the command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from classifiers import make_classifier

import maskyolo
from maskyolo.cli import main
from maskyolo.core.boxes import as_boxes
from maskyolo.core.images import ImageArray, read_image, write_image
from maskyolo.detectors.classifier import Classifier
from maskyolo.detectors.faces.base import Faces
from maskyolo.detectors.faces.loading import load_face_detector
from maskyolo.detectors.loading import load_detector
from maskyolo.detectors.two_stage import TwoStageDetector
from maskyolo.detectors.yolo import YoloDetector
from maskyolo.errors import MaskyoloError, WeightsError

CONFIDENT = float(
    1 / (1 + np.exp(-2))
)  # what the test's classifier answers for a crop of one color


class FakeFaces:
    """Returns given faces."""

    name = "fake"

    def __init__(self, boxes: list[list[float]], scores: list[float]) -> None:
        self.faces = Faces(as_boxes(boxes), np.array(scores, np.float32))

    def detect(self, image: ImageArray) -> Faces:
        return self.faces


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_classifier(tmp_path_factory.mktemp("model") / "means.onnx")


@pytest.fixture
def halves() -> ImageArray:
    """A BGR image (40, 80), red on the left and green on the right."""
    image = np.zeros((40, 80, 3), np.uint8)
    image[:, :40, 2] = image[:, 40:, 1] = 255
    return image


def test_confidence_is_the_faces_score_times_the_probability_of_its_class(
    model: Path, halves: ImageArray
) -> None:
    faces = FakeFaces([[0, 0, 20, 20], [50, 0, 80, 40], [5, 5, 30, 30]], [0.6, 0.9, 0.2])
    found = TwoStageDetector(faces, Classifier(model), conf=0.25)(halves)
    assert found.confidence == pytest.approx([0.9 * CONFIDENT, 0.6 * CONFIDENT], abs=1e-5)
    assert found.class_id is not None
    assert found.class_id.tolist() == [1, 0]
    assert found.data["class_name"].tolist() == ["without_mask", "with_mask"]
    assert found.xyxy.tolist() == [[50, 0, 80, 40], [0, 0, 20, 20]]
    assert len(TwoStageDetector(faces, Classifier(model), conf=0)(halves)) == 3
    assert len(TwoStageDetector(faces, Classifier(model), conf=0, max_det=1)(halves)) == 1


def test_the_stages_can_be_called_apart(model: Path, halves: ImageArray) -> None:
    detector = TwoStageDetector(FakeFaces([[0, 0, 20, 20]], [0.5]), Classifier(model), conf=0)
    faces = detector.face_detector.detect(halves)
    probabilities = detector.classify(halves, faces.boxes)
    assert probabilities.shape == (1, 2)
    assert detector(halves).confidence == pytest.approx(faces.scores * probabilities.max(axis=1))


@pytest.mark.parametrize("name", ["office.jpg", None])
def test_detections_have_the_fields_and_types_of_one_pass(
    model: Path, samples: Path, name: str | None
) -> None:
    image = read_image(samples / name) if name else np.zeros((50, 60, 3), np.uint8)
    ours, theirs = load_detector(model, pipeline="two-stage", conf=0)(image), load_detector()(image)
    assert bool(len(ours)) == bool(len(theirs)) == bool(name)
    for attribute in ("xyxy", "confidence", "class_id"):
        mine, other = getattr(ours, attribute), getattr(theirs, attribute)
        assert (mine.dtype, mine.shape[1:]) == (other.dtype, other.shape[1:]), attribute
    assert set(ours.data) == set(theirs.data) == {"class_name"}
    assert ours.data["class_name"].dtype == theirs.data["class_name"].dtype


@pytest.mark.parametrize("detector", ["ssd-plain", "ssd", "yunet", "haar"])
def test_odd_shapes_are_processed(model: Path, detector: str) -> None:
    find = load_detector(model, pipeline="two-stage", detector=detector, face_conf=0.01, conf=0)
    for shape in ((1, 1), (1, 500), (500, 2), (33, 47)):
        assert find(np.full((*shape, 3), 90, np.uint8)).xyxy.shape[1] == 4, shape


@pytest.mark.parametrize(
    "image", [np.zeros((5, 5), np.uint8), np.zeros((5, 5, 3)), np.zeros((0, 5, 3), np.uint8)]
)
def test_anything_but_a_bgr_image_is_refused(model: Path, image: ImageArray) -> None:
    with pytest.raises(ValueError, match="BGR"):
        TwoStageDetector(FakeFaces([], []), Classifier(model))(image)


def test_the_floor_of_faces_is_that_of_the_projects_of_2020_and_can_be_set(
    model: Path, samples: Path
) -> None:
    photo = read_image(samples / "queue.jpg")
    usual = load_detector(model, pipeline="two-stage", conf=0)
    scores = usual.face_detector.detect(photo).scores  # type: ignore[union-attr]
    low = load_face_detector("ssd-plain", conf=0.1).detect(photo).scores
    assert 0 < len(usual(photo)) == len(scores) == (low >= 0.5).sum() < len(low)
    assert len(load_detector(model, pipeline="two-stage", face_conf=0.1, conf=0)(photo)) == len(low)


def test_haars_faces_have_score_1(model: Path, samples: Path) -> None:
    photo = read_image(samples / "selfie.jpg")
    detector = load_detector(model, pipeline="two-stage", detector="haar", conf=0)
    assert isinstance(detector, TwoStageDetector)
    faces = detector.face_detector.detect(photo)
    assert len(faces) > 0
    assert sorted(detector(photo).confidence) == pytest.approx(
        sorted(detector.classify(photo, faces.boxes).max(axis=1))
    )


def test_the_folder_of_the_face_detector_can_be_given(model: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"res10_300x300_ssd_iter_140000\.caffemodel"):
        load_detector(model, pipeline="two-stage", face=tmp_path)


def test_options_of_the_other_pipeline_are_refused(model: Path, samples: Path) -> None:
    for name, value in (("detector", "ssd"), ("face", "face_detector"), ("face_conf", 0.5)):
        with pytest.raises(MaskyoloError, match=r"--pipeline two-stage"):
            load_detector(**{name: value})  # type: ignore[arg-type]
    for name, value in (
        ("backend", "onnxruntime"),
        ("precision", "bf16"),
        ("imgsz", 320),
        ("iou", 0.4),
    ):
        with pytest.raises(MaskyoloError, match=rf"--{name}.*--pipeline yolo"):
            load_detector(model, pipeline="two-stage", **{name: value})  # type: ignore[arg-type]
    with pytest.raises(MaskyoloError, match=r"face-conf must be between 0 and 1, got 1\.5"):
        load_detector(model, pipeline="two-stage", face_conf=1.5)
    with pytest.raises(MaskyoloError, match="three-stage"):
        load_detector(pipeline="three-stage")
    with pytest.raises(MaskyoloError, match="three-stage"):
        maskyolo.detect(samples / "office.jpg", pipeline="three-stage")
    with pytest.raises(WeightsError, match=r"YOLO.*two-stage"):
        load_detector("maskyolo-n", pipeline="two-stage")
    with pytest.raises(WeightsError, match="--pipeline two-stage"):
        load_detector(model)
    assert isinstance(load_detector(pipeline="yolo"), YoloDetector)


@pytest.mark.parametrize("name", ["mask_detector.model", "x.h5", "saved.model"])
@pytest.mark.parametrize("pipeline", ["yolo", "two-stage"])
def test_the_error_for_a_keras_model_says_how_to_convert_it(
    tmp_path: Path, name: str, pipeline: str
) -> None:
    (tmp_path / name).mkdir() if name == "saved.model" else (tmp_path / name).write_bytes(
        b"\x89HDF"
    )
    with pytest.raises(WeightsError, match=r"tools/convert_keras\.py .* --out") as error:
        load_detector(tmp_path / name, pipeline=pipeline)
    assert "\n" not in str(error.value)


def test_detecting_imports_nothing_heavy(model: Path, samples: Path) -> None:
    code = f"""
import sys, maskyolo
settings = dict(model={str(model)!r}, pipeline="two-stage")
for frame, found in maskyolo.detect(source={str(samples / "selfie.jpg")!r}, **settings):
    assert len(found) > 0
print(*({{"torch", "ultralytics", "matplotlib", "fiftyone", "onnx", "h5py"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("\n", "", 0)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory, samples: Path) -> dict[str, Path]:
    """Images of extreme cases, cut and pasted from a real face."""
    photo = read_image(samples / "selfie.jpg")
    height, width = photo.shape[:2]
    (left, top, right, bottom) = load_face_detector("ssd-plain").detect(photo).boxes[0].astype(int)
    side = max(right - left, bottom - top)
    view = photo[
        max(top - side // 3, 0) : bottom + side // 3, max(left - side // 2, 0) : right + side // 2
    ]
    tile = cv2.resize(view, (96, 96), interpolation=cv2.INTER_AREA)
    far = np.full((240, 320, 3), 120, np.uint8)
    small = cv2.resize(view, (36, 36), interpolation=cv2.INTER_AREA)
    far[100:136, 150:186] = small
    images = {
        "none": np.full((240, 320, 3), 120, np.uint8),
        "sixty": np.tile(tile, (6, 10, 1)),
        "cut": photo[:, (left + right) // 2 - side // 8 :],
        "small": far,
        "gray": cv2.cvtColor(cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR),
    }
    folder = tmp_path_factory.mktemp("scenes")
    for name, image in images.items():
        write_image(folder / f"{name}.png", np.ascontiguousarray(image))
    cv2.imwrite(str(folder / "gray.png"), images["gray"][..., 0])  # one channel in the file
    assert (height, width) == photo.shape[:2]
    return {name: folder / f"{name}.png" for name in images}


@pytest.mark.parametrize(
    ("name", "detector", "minimum", "maximum"),
    [
        ("none", "ssd-plain", 0, 0),
        ("sixty", "yunet", 60, 60),
        ("cut", "yunet", 1, 1),
        ("small", "yunet", 1, 1),
        ("gray", "ssd-plain", 1, 1),
        ("gray", "haar", 1, 9),
    ],
)
def test_python_and_the_command_give_the_same(
    model: Path,
    scenes: dict[str, Path],
    tmp_path: Path,
    name: str,
    detector: str,
    minimum: int,
    maximum: int,
) -> None:
    words = [
        "--image",
        scenes[name],
        "--pipeline",
        "two-stage",
        "--detector",
        detector,
        "--model",
        model,
        "--confidence",
        "0.2",
    ]
    with pytest.raises(SystemExit) as end:
        main(["detect", *map(str, words), "--no-save", "--save-json", str(tmp_path / "out.jsonl")])
    assert end.value.code == 0
    (line,) = (tmp_path / "out.jsonl").read_text().splitlines()
    told = json.loads(line)["detections"]
    image = read_image(scenes[name])
    found = load_detector(model, pipeline="two-stage", detector=detector, conf=0.2)(image)
    assert minimum <= len(found) == len(told) <= maximum
    assert np.array([one["box"] for one in told]).reshape(-1, 4) == pytest.approx(
        found.xyxy, abs=0.01
    )
    assert [one["confidence"] for one in told] == pytest.approx(found.confidence, abs=1e-4)
    assert [one["class"] for one in told] == found.data["class_name"].tolist()
    assert (found.xyxy[:, 2:] <= [image.shape[1], image.shape[0]]).all()
    if name == "small":
        assert 12 < (found.xyxy[0, 2:] - found.xyxy[0, :2]).max() < 28
    if name == "cut":
        assert found.xyxy[0, 0] < 2
    ((_, streamed),) = maskyolo.detect(
        scenes[name], model=model, pipeline="two-stage", detector=detector, conf=0.2
    )
    assert (streamed.xyxy == found.xyxy).all()
