"""The single-stage detector: geometry, NMS, class order, wrong files, and real photos."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from classifiers import make_classifier
from paths import SAMPLES
from PIL import Image

from maskyolo.core.boxes import box_iou
from maskyolo.core.images import ImageArray, read_image
from maskyolo.detectors.loading import load_detector
from maskyolo.detectors.yolo import (
    YoloDetector,
    letterbox,
    network_shape,
    photo_shape,
    postprocess,
)
from maskyolo.errors import DependencyError, MaskyoloError, WeightsError
from maskyolo.models.backends.base import Tensor, parse_imgsz, parse_names, to_tensor
from maskyolo.models.backends.loading import load_backend
from maskyolo.models.own import find_model


class FakeBackend:
    """Returns given boxes, in pixels of the network's input."""

    precision = "f32"

    def __init__(
        self, columns: list[list[float]], names: tuple[str, ...] = ("with_mask", "without_mask")
    ) -> None:
        self.output = np.array(columns, np.float32).reshape(-1, 6).T[None]
        self.names = names
        self.shape: tuple[int, int] | None = None
        self.imgsz: int | None = None
        self.seen: tuple[int, ...] = ()

    def __call__(self, batch: ImageArray, mixed: bool = False) -> Tensor:
        self.seen = batch.shape
        return self.output


@pytest.fixture(scope="module")
def detector() -> YoloDetector:
    return load_detector()


@pytest.mark.parametrize(
    ("height", "width", "imgsz", "shape"),
    [
        (720, 1280, 640, (384, 640)),
        (1280, 720, 640, (640, 384)),
        (480, 640, 640, (480, 640)),
        (1, 1, 640, (640, 640)),
        (1, 10000, 640, (32, 640)),
        (500, 500, 33, (64, 64)),
    ],
)
def test_the_input_has_as_little_border_as_possible(
    height: int, width: int, imgsz: int, shape: tuple[int, int]
) -> None:
    assert network_shape(height, width, imgsz) == shape


@pytest.mark.parametrize(
    ("height", "width", "imgsz", "shape"),
    [
        (1080, 1920, 640, (384, 640)),
        (100, 4000, 640, (384, 640)),
        (3000, 4000, 640, (480, 640)),
        (2000, 3000, 640, (480, 640)),
        (4000, 3000, 640, (640, 480)),
        (1920, 1080, 640, (640, 480)),
        (900, 1000, 640, (640, 640)),
        (1080, 1920, 320, (192, 320)),
        (3, 4, 32, (32, 32)),
    ],
)
def test_photos_get_the_smallest_of_four_shapes(
    height: int, width: int, imgsz: int, shape: tuple[int, int]
) -> None:
    assert photo_shape(height, width, imgsz) == shape


def test_photos_fit_into_their_shape_and_there_are_only_four() -> None:
    sizes = [(height, width) for height in range(20, 1000, 17) for width in range(20, 1000, 19)]
    shapes = [photo_shape(*size, 640) for size in sizes]
    assert len(set(shapes)) == 4
    exact = [network_shape(*size, 640) for size in sizes]
    assert all(a >= c and b >= d for (a, b), (c, d) in zip(shapes, exact, strict=True))


def test_letterbox_keeps_the_aspect_ratio_on_gray() -> None:
    image = np.zeros((50, 100, 3), np.uint8)
    image[..., 0] = 255  # blue
    canvas, scales, (left, top) = letterbox(image, (64, 64))
    assert canvas.shape == (64, 64, 3)
    assert (scales, left, top) == ((0.64, 0.64), 0, 16)
    assert canvas[0, 0].tolist() == [114, 114, 114]
    assert (canvas == [255, 0, 0]).all(axis=2).sum() == 32 * 64


def test_networks_of_floats_get_rgb_from_0_to_1() -> None:
    batch = to_tensor(np.full((2, 32, 64, 3), [255, 51, 0], np.uint8))
    assert (batch.shape, batch.dtype) == ((2, 3, 32, 64), np.float32)
    assert batch[1, :, 31, 63] == pytest.approx([0, 0.2, 1])


def test_letterbox_of_an_extreme_aspect_keeps_a_pixel() -> None:
    assert letterbox(np.zeros((1, 10000, 3), np.uint8), (32, 640))[0].shape == (32, 640, 3)


def test_one_face_has_one_state() -> None:
    output = np.array(
        [
            [50, 50, 20, 20, 0.9, 0.1],
            [51, 50, 20, 20, 0.2, 0.8],
            [90, 50, 20, 20, 0.1, 0.7],
            [10, 10, 5, 5, 0.1, 0.2],
        ],
        np.float32,
    ).T
    boxes, confidence, class_ids = postprocess(output, conf=0.25, iou=0.5)
    assert boxes.tolist() == [[40, 40, 60, 60], [80, 40, 100, 60]]
    assert confidence.tolist() == pytest.approx([0.9, 0.7])
    assert class_ids.tolist() == [0, 1]
    assert len(postprocess(output, conf=0.25, iou=0.95)[0]) == 3
    assert len(postprocess(output, conf=0.25, iou=0.5, max_det=1)[0]) == 1


def test_nothing_found_is_empty_arrays() -> None:
    detections = YoloDetector(FakeBackend([[5, 5, 2, 2, 0.1, 0.1]]))(
        np.zeros((30, 40, 3), np.uint8)
    )
    assert detections.xyxy.shape == (0, 4)
    assert detections.class_id is not None
    assert detections.class_id.shape == detections.data["class_name"].shape == (0,)


def test_boxes_are_in_pixels_of_the_image_and_inside_it() -> None:
    backend = FakeBackend([[320, 192, 64, 32, 0.9, 0], [630, 380, 100, 100, 0.8, 0]])
    detections = YoloDetector(backend)(np.zeros((720, 1280, 3), np.uint8))
    assert backend.seen == (1, 384, 640, 3)
    assert detections.xyxy[0] == pytest.approx(
        [576, 328, 704, 392]
    )  # scale 2, 12 pixels of border above
    assert detections.xyxy[1] == pytest.approx([1160, 636, 1280, 720])


def test_a_box_around_the_whole_image_is_the_whole_image() -> None:
    backend = FakeBackend([[320, 240, 640, 458, 0.9, 0]])  # 366 rows become 457.5, so 458
    assert YoloDetector(backend)(np.zeros((366, 512, 3), np.uint8)).xyxy[0] == pytest.approx(
        [0, 0, 512, 366], abs=1e-3
    )


def test_classes_are_told_apart_by_name_not_by_place() -> None:
    backend = FakeBackend([[320, 320, 64, 32, 0.9, 0]], names=("without_mask", "with_mask"))
    detections = YoloDetector(backend)(np.zeros((640, 640, 3), np.uint8))
    assert detections.class_id is not None
    assert detections.class_id.tolist() == [1]
    assert detections.data["class_name"].tolist() == ["without_mask"]


def test_a_network_of_one_size_gets_that_size() -> None:
    backend = FakeBackend([])
    backend.shape, backend.imgsz = (192, 320), 640
    for detector in (YoloDetector(backend), YoloDetector(backend, imgsz=310)):
        detector(np.zeros((100, 200, 3), np.uint8))
        assert (detector.imgsz, backend.seen) == (320, (1, 192, 320, 3))
    with pytest.raises(MaskyoloError, match="exported for 320 pixels only; leave out imgsz"):
        YoloDetector(backend, imgsz=640)


@pytest.mark.parametrize(
    ("said", "given", "side"),
    [(None, None, 640), (416, None, 416), (416, 320, 320), (410, None, 416)],
)
def test_the_inference_size_is_that_of_the_weights_by_default(
    said: int | None, given: int | None, side: int
) -> None:
    backend = FakeBackend([])
    backend.imgsz = said
    detector = YoloDetector(backend, given)
    detector(np.zeros((100, 100, 3), np.uint8))
    assert (detector.imgsz, backend.seen) == (side, (1, side, side, 3))


def test_weights_with_a_size_beyond_any_memory_are_refused() -> None:
    backend = FakeBackend([])
    backend.imgsz = 100_000
    with pytest.raises(MaskyoloError, match="imgsz must be between 32 and 8192, got 100000"):
        YoloDetector(backend)


def test_other_classes_are_the_wrong_weights() -> None:
    with pytest.raises(WeightsError, match=r"cat, dog; map them with --map cat=CLASS"):
        YoloDetector(FakeBackend([], names=("cat", "dog")))


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((5, 5), np.uint8),
        np.zeros((5, 5, 4), np.uint8),
        np.zeros((5, 5, 3)),
        np.zeros((0, 5, 3), np.uint8),
    ],
)
def test_anything_but_a_bgr_image_is_refused(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="BGR"):
        YoloDetector(FakeBackend([]))(image)


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (Image.new("RGB", (40, 30)), "Image"),
        ("photo.jpg", "str"),
        (None, "NoneType"),
        ([[0]], "list"),
    ],
)
@pytest.mark.parametrize("pipeline", ["yolo", "two-stage"])
def test_anything_but_an_array_is_refused_with_the_way_to_one(
    given: Any, kind: str, pipeline: str, tmp_path: Path
) -> None:
    model = make_classifier(tmp_path / "a.onnx") if pipeline == "two-stage" else None
    detector = load_detector(
        model, pipeline=pipeline, detector="haar" if pipeline == "two-stage" else None
    )
    with pytest.raises(ValueError, match=rf"got {kind}; read a file with cv2.imread\(path\)"):
        detector(given)
    pixels = np.asarray(Image.new("RGB", (40, 30)).convert("RGB"))[:, :, ::-1]
    assert len(detector(pixels)) == 0  # what the message advises


def test_the_shipped_model_finds_the_faces_people_marked(detector: YoloDetector) -> None:
    found = detector(read_image(SAMPLES / "portrait.jpg"))
    assert found.data["class_name"].tolist() == ["with_mask"]
    assert found.confidence is not None
    assert found.confidence[0] > 0.5
    photo = read_image(SAMPLES / "office.jpg")
    found = detector(photo)
    assert sorted(found.data["class_name"]) == [
        "with_mask",
        "with_mask",
        "without_mask",
        "without_mask",
    ]
    assert (found.xyxy >= 0).all()
    assert (found.xyxy <= [photo.shape[1], photo.shape[0]] * 2).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3000, 2), (33, 47)])
def test_odd_shapes_are_processed(detector: YoloDetector, shape: tuple[int, int]) -> None:
    assert detector(np.full((*shape, 3), 90, np.uint8)).xyxy.shape[1] == 4


def test_the_same_photo_gives_the_same_numbers(detector: YoloDetector) -> None:
    photo = read_image(SAMPLES / "queue.jpg")
    assert (detector(photo).xyxy == detector(photo).xyxy).all()


def test_a_checkpoint_gives_what_its_onnx_gives() -> None:
    pytest.importorskip("ultralytics")
    checkpoint = find_model("maskyolo-n").with_suffix(".pt")
    for name in ("office.jpg", "queue.jpg"):
        photo = read_image(SAMPLES / name)
        ours, theirs = (
            load_detector(precision="fp32")(photo),
            load_detector(checkpoint, device="cpu")(photo),
        )
        assert len(ours) == len(theirs) > 0
        assert (box_iou(ours.xyxy, theirs.xyxy).max(axis=1) > 0.95).all()


def test_an_unknown_model_is_an_error_with_the_known_names() -> None:
    with pytest.raises(WeightsError, match="maskyolo-n"):
        load_detector("nothing-like-it")
    with pytest.raises(WeightsError, match=r"nowhere/x\.onnx"):
        load_detector("nowhere/x.onnx")


@pytest.mark.parametrize("suffix", [".onnx", ".xml", ".bin", ""])
def test_a_file_that_is_not_a_model_is_a_one_line_error(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(b"not a model at all")
    with pytest.raises(WeightsError, match="model") as error:
        load_detector(path)
    assert "\n" not in str(error.value)


def test_half_a_model_is_a_one_line_error(tmp_path: Path) -> None:
    whole = find_model("maskyolo-n").read_bytes()
    (tmp_path / "half.onnx").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsError, match=r"half\.onnx") as error:
        load_detector(tmp_path / "half.onnx")
    assert "\n" not in str(error.value)


def test_a_damaged_checkpoint_is_a_one_line_error(tmp_path: Path) -> None:
    pytest.importorskip("ultralytics")
    (tmp_path / "x.pt").write_bytes(b"not a model at all")
    with pytest.raises(WeightsError, match=r"x\.pt") as error:
        load_detector(tmp_path / "x.pt")
    assert "\n" not in str(error.value)


def test_a_checkpoint_without_pytorch_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.pt").touch()
    monkeypatch.setitem(__import__("sys").modules, "ultralytics", None)
    with pytest.raises(DependencyError, match=r"pip install .*\[train\]"):
        load_backend(tmp_path / "x.pt", trust=True)


def test_an_unavailable_device_is_a_one_line_error() -> None:
    with pytest.raises(MaskyoloError, match=r"'npu7'.*CPU"):
        load_detector(device="npu7")


@pytest.mark.parametrize(
    ("setting", "value"), [("conf", 1.5), ("iou", -1), ("imgsz", 0), ("imgsz", 100_000)]
)
def test_settings_out_of_range_are_named(setting: str, value: float) -> None:
    with pytest.raises(MaskyoloError, match=f"{setting} must be between .* got {value}"):
        load_detector(**{setting: value})  # type: ignore[arg-type]


def test_class_names_are_read_and_never_run() -> None:
    assert parse_names("{0: 'with_mask', 1: 'without_mask'}", Path("x")) == (
        "with_mask",
        "without_mask",
    )
    json = '{"0": "with_mask", "1": "without_mask"}'
    assert parse_names(json, Path("x")) == ("with_mask", "without_mask")
    for text in ("__import__('os').abort()", "{1: 'a'}", "[", "7"):
        with pytest.raises(WeightsError, match="class names"):
            parse_names(text, Path("x"))


def test_the_size_is_read_from_the_metadata() -> None:
    for text, side in {"[416, 416]": 416, "[384, 640]": 640, "320": 320}.items():
        assert parse_imgsz({"imgsz": text}, Path("x")) == side
    assert parse_imgsz({}, Path("x")) is None
    for text in ("[]", "large", "None", "__import__('os').abort()"):
        with pytest.raises(WeightsError, match="imgsz"):
            parse_imgsz({"imgsz": text}, Path("x"))


@pytest.mark.parametrize("model", ["maskyolo-n", "maskyolo-n-folders"])
@pytest.mark.parametrize("shape", [(480, 640), (640, 480), (640, 640), (360, 640)])
def test_there_is_no_face_in_a_plain_image(model: str, shape: tuple[int, int]) -> None:
    detector = load_detector(model)
    for gray in range(0, 256, 15):  # a white wall, a covered lens, and what is between
        assert len(detector(np.full((*shape, 3), gray, np.uint8))) == 0, gray


def test_the_int8_file_is_of_the_same_weights() -> None:
    full, quantized = (load_detector(precision=precision) for precision in ("fp32", "int8"))
    for name in ("office.jpg", "selfie.jpg", "portrait.jpg", "folders/with_mask/04.jpg"):
        image = read_image(SAMPLES / name)
        one, two = full(image), quantized(image)
        assert len(one) == len(two) > 0
        overlaps = box_iou(one.xyxy, two.xyxy)
        best = overlaps.argmax(axis=1)
        assert overlaps.max(axis=1).min() > 0.93
        assert one.class_id is not None
        assert two.class_id is not None
        assert (one.class_id == two.class_id[best]).all()
        assert np.abs(one.confidence - two.confidence[best]).max() < 0.06  # type: ignore[index]
