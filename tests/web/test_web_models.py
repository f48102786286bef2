"""Other models on the page: their classes in any order, or one line about what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from browsing import Page, constant_network, new_page
from paths import SAMPLES

from maskyolo.web.site import File, build_site


def open_with(
    page: Page, server: str, site: dict[str, File], network: bytes, **changes: Any
) -> None:
    """Open the page with another network, and with changes in its description."""
    description = json.loads(site["model.json"].data) | changes
    page.raw.route("**/model.onnx", lambda route: route.fulfill(body=network))
    page.raw.route("**/model.json", lambda route: route.fulfill(json=description))
    page.open(server)


@pytest.mark.parametrize(
    ("names", "scores", "two", "three"),
    [
        (["without_mask", "with_mask"], [0.2, 0.9], ("with_mask", 0, 0.9), None),
        (
            ["mask_weared_incorrect", "Mask", "no mask"],
            [0.8, 0.1, 0.5],
            ("without_mask", 1, 0.9),
            ("incorrect_mask", 2, 0.8),
        ),
    ],
)
def test_classes_in_another_order_and_three_classes(
    browser: Any,
    server: str,
    tmp_path: Path,
    names: list[str],
    scores: list[float],
    two: tuple[str, int, float],
    three: tuple[str, int, float] | None,
) -> None:
    path = tmp_path / "mine.onnx"
    path.write_bytes(constant_network(scores, names))
    site = build_site(path)
    with new_page(browser, service_workers="block") as page:
        open_with(page, server, site, site["model.onnx"].data)
        page.choose(SAMPLES / "portrait.jpg")
        assert only_face(page) == two
        assert page.counts() == ((1, 0) if two[1] == 0 else (0, 1))
        assert page.locate("#incorrect-setting").is_visible() is bool(three)
        if three:
            page.locate("#incorrect").check()
            page.wait_for_text("#count-2", "1")
            assert only_face(page) == three
            assert page.counts() == (0, 0)


def only_face(page: Page) -> tuple[str, int, float]:
    (found,) = page.records()[0]["detections"]
    return found["class"], found["class_id"], found["confidence"]


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (b"no model", ""),
        (b"", ""),
        (constant_network([0.1, 0.2, 0.3]), "the model's output is [1,7,4], not [1, 6, anchors]"),
    ],
    ids=["no model", "empty", "other output"],
)
def test_a_wrong_model_is_one_line(
    browser: Any, server: str, site: dict[str, File], network: bytes, reason: str
) -> None:
    """`maskyolo web` refuses such models itself; a static host may get another file later."""
    with new_page(browser, service_workers="block") as page:
        open_with(page, server, site, network)
        page.locate("#problem").wait_for()
        problem = page.text("#problem-text")
        page.problems.clear()  # the runtime logs on the console what it cannot read
    assert problem.startswith("The detector cannot start: ")
    assert reason in problem
    assert 30 < len(problem) < 300
    assert "\n" not in problem
