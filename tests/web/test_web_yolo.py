"""yolo.js, tracking.js and results.js compute what their Python originals compute."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from browsing import Page, new_page

from maskyolo.core.classes import ALL_CLASS_NAMES
from maskyolo.detectors.classes import find_classes
from maskyolo.detectors.yolo import letterbox, network_shape, postprocess
from maskyolo.runtime.drawing import COLORS
from maskyolo.runtime.tracking import Vote


@pytest.fixture(scope="module")
def modules(browser: Any, server: str) -> Iterator[Page]:
    """A page on which the modules can be called; the detector is not needed."""
    with new_page(browser) as page:
        page.open(f"{server}model.json", ready=False)
        yield page


def test_the_shape_of_the_input(modules: Page) -> None:
    random = np.random.default_rng(1)
    sizes = np.exp(random.uniform(0, np.log(9000), (2000, 2))).astype(int)
    jobs = [
        (int(height), int(width), int(imgsz))
        for (height, width), imgsz in zip(sizes, random.integers(1, 1300, 2000), strict=True)
    ]
    found = modules.call("yolo.js", "return given.map((job) => module.networkShape(...job))", jobs)
    assert found == [list(network_shape(*job)) for job in jobs]


def test_halves_are_rounded_as_in_python(modules: Page) -> None:
    values = [0.5, 1.5, 2.5, -0.5, -1.5, 7.0, 2.4999, 3.5001]
    found = modules.call("yolo.js", "return given.map(module.roundHalfEven)", values)
    assert found == [round(value) for value in values]


def test_the_place_in_the_letterbox(modules: Page) -> None:
    random = np.random.default_rng(2)
    jobs: list[Any] = [
        [
            *map(int, random.integers(1, 600, 2)),
            [int(side) * 32 for side in random.integers(1, 9, 2)],
        ]
        for _ in range(2000)
    ]
    found = modules.call("yolo.js", "return given.map((job) => module.placement(...job))", jobs)
    for (height, width, shape), placed in zip(jobs, found, strict=True):
        image = np.zeros((height, width, 3), np.uint8)
        canvas, scales, border = letterbox(image, tuple(shape))
        assert placed["scales"] == pytest.approx(scales, abs=1e-12)
        assert placed["border"] == list(border)
        rows, columns = (
            np.flatnonzero(~canvas[..., 0].all(1)),
            np.flatnonzero(~canvas[..., 0].all(0)),
        )
        assert placed["inner"] == [len(rows), len(columns)]


LETTERBOX = """
const [width, height, shape, pixels] = given;
const rgba = Uint8Array.from(atob(pixels), (letter) => letter.charCodeAt(0));
const rows = (top, count) => rgba.subarray(4 * width * top, 4 * width * (top + count));
const { tensor } = module.letterbox({ width, height, rows }, shape);
return Array.from(tensor, (value) => Math.round(value * 255));
"""


@pytest.mark.parametrize(
    ("size", "shape"),
    [
        ((40, 30), (64, 96)),
        ((96, 64), (64, 96)),
        ((200, 333), (64, 96)),
        ((128, 192), (64, 96)),
        ((1, 7), (32, 32)),
    ],
)
def test_the_pixels_of_the_letterbox(
    modules: Page, size: tuple[int, int], shape: tuple[int, int]
) -> None:
    height, width = size
    image = np.random.default_rng(3).integers(0, 256, (height, width, 3), np.uint8)
    rgba = np.dstack([image[..., ::-1], np.full(size, 255, np.uint8)])
    text = base64.b64encode(rgba.tobytes()).decode()
    found = modules.call("yolo.js", LETTERBOX, [width, height, shape, text])
    canvas = letterbox(image, shape)[0]
    difference = np.reshape(found, (3, *shape)) - canvas[..., ::-1].transpose(2, 0, 1).astype(int)
    assert np.abs(difference).max() <= 1  # cv2's results differ by as much from CPU to CPU


@pytest.mark.parametrize("classes", [2, 3])
def test_non_maximum_suppression(modules: Page, classes: int) -> None:
    random = np.random.default_rng(4)
    rounds = []
    for _ in range(100):
        anchors = int(random.integers(0, 60))
        centers = random.choice([20.0, 24.0, 60.0, 300.0], (2, anchors))
        output = np.concatenate(
            [
                centers + random.normal(0, 4, (2, anchors)),
                random.choice([0.0, 16.0, 40.5, 41.0], (2, anchors)),
                random.choice([0.1, 0.25, 0.4, 0.4, 0.9, random.random()], (classes, anchors)),
            ]
        ).astype(np.float32)
        conf, iou = float(random.choice([0.05, 0.25, 0.4])), float(random.choice([0.3, 0.5, 1.0]))
        rounds.append((output, conf, iou, int(random.choice([3, 300]))))
    given = [
        [output.ravel().tolist(), len(output), {"conf": conf, "iou": iou, "maxDet": most}]
        for output, conf, iou, most in rounds
    ]
    code = "return given.map(([o, ...rest]) => module.postprocess(Float32Array.from(o), ...rest))"
    found = modules.call("yolo.js", code, given)
    kept = 0
    for (output, conf, iou, most), mine in zip(rounds, found, strict=True):
        boxes, scores, ids = postprocess(output, conf, iou, most)
        np.testing.assert_allclose(np.reshape(mine["boxes"], (-1, 4)), boxes, atol=1e-3)
        np.testing.assert_array_equal(np.float32(mine["scores"]), scores)
        assert mine["ids"] == ids.tolist()
        kept += len(boxes)
    assert kept > 300


def test_the_vote_on_a_class(modules: Page) -> None:
    random = np.random.default_rng(5)
    steps = [
        [int(random.integers(2)), float(random.uniform(0.1, 1)), float(time)]
        for time in np.cumsum(random.exponential(0.1, 300))
    ]
    code = "const vote = new module.Vote(0, 0); return given.map((step) => vote.add(...step));"
    vote = Vote(0, 0.0)
    expected = [vote.add(class_id, confidence, time) for class_id, confidence, time in steps]
    assert modules.call("tracking.js", code, steps) == expected
    assert 0 < sum(expected) < len(expected)


def test_tracks_follow_faces_and_keep_their_class(modules: Page) -> None:
    """A face that moves, disappears for a moment and looks bare in one frame is one masked face."""
    frames = []
    for number in range(30):
        box = [10 + 3 * number, 20, 50 + 3 * number, 70]
        faces = [{"box": box, "classId": int(number == 12), "confidence": 0.8}]
        still = {"box": [200, 20, 240, 70], "classId": 1, "confidence": 0.6 if number < 5 else 0.2}
        frames.append([[*faces, still] if number != 20 else [still], number / 10, 0.25])
    code = "const t = new module.Tracker(); return given.map((frame) => t.update(...frame));"
    found = modules.call("tracking.js", code, frames)
    assert [face["trackId"] for face in found[0]] == [None, None]
    assert {(face["trackId"], face["classId"]) for faces in found[2:] for face in faces} == {
        (1, 0),
        (2, 1),
    }
    assert [len(faces) for faces in found] == [1 if number == 20 else 2 for number in range(30)]


def test_sizes_are_chosen_by_time(modules: Page) -> None:
    jobs = [([50, 900, 60], 640), ([200, 210, 10], 640), ([400, 400, 400], 640), ([9e9] * 3, 640)]
    found = modules.call("capture.js", "return given.map((job) => module.chooseSize(...job))", jobs)
    assert found == [640, 416, 320, 320]
    rates = modules.call("capture.js", "return [10, 120, 480, 9e9].map(module.playbackRate)")
    assert rates == [1, 1, 0.25, 0.1]


@pytest.mark.parametrize(
    ("names", "class_map", "incorrect"),
    [
        (["with_mask", "without_mask"], None, False),
        (["without_mask", "with_mask"], None, False),
        (["mask_weared_incorrect", "no mask", "Mask"], None, False),
        (["mask_weared_incorrect", "no mask", "Mask"], None, True),
        (["helmet", "without_mask", "with_mask", "no mask"], {"helmet": "ignore"}, False),
    ],
)
def test_the_scores_of_the_classes(
    modules: Page, names: list[str], class_map: dict[str, str] | None, incorrect: bool
) -> None:
    classes = find_classes(names, class_map, incorrect)
    output = np.random.default_rng(6).random((4 + len(names), 50), np.float32)
    expected = classes.select(output)
    code = "return Array.from(module.selectClasses(Float32Array.from(given[0]), ...given[1]))"
    given = [output.ravel().tolist(), [len(output), classes.rows]]
    found = np.reshape(modules.call("yolo.js", code, given), (-1, 50))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_colors_are_those_of_detect(modules: Page) -> None:
    shown = modules.call("results.js", "return module.COLORS")
    names = modules.call("yolo.js", "return module.CLASS_NAMES")
    assert shown == list(COLORS)
    assert names == list(ALL_CLASS_NAMES)
