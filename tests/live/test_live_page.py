"""The live page in Chromium: frames move, counts are those of the API, zones are drawn and kept."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest
from browsing import Page, new_page
from live import Mjpeg, until
from serving import Running, running

from maskyolo.core.detector import Detector

AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js")
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 800}
FACES = {"with_mask": 2, "without_mask": 2}


@pytest.fixture(scope="module")
def browser(launch: Any) -> Any:
    return launch()


@pytest.fixture
def camera(samples: Path) -> Iterator[Mjpeg]:
    """A camera that sends a frame whenever the last one was watched, about 20 per second."""
    mjpeg, over = Mjpeg(samples / "office.jpg"), threading.Event()

    def send() -> None:
        while not over.wait(0.05):
            mjpeg.send(1, (640, 448))

    sender = threading.Thread(target=send)
    sender.start()
    yield mjpeg
    over.set()
    sender.join()
    mjpeg.die()


@contextmanager
def watching(browser: Any, server: Running, **settings: Any) -> Iterator[Page]:
    with new_page(browser, server.url, permissions=(), **settings) as page:
        yield page


def frame_of(page: Page) -> int:
    return int(page.locate(".camera[data-frame]").get_attribute("data-frame"))


def test_frames_move_and_the_counts_are_those_of_the_api(
    browser: Any, camera: Mjpeg, detector: Detector
) -> None:
    with (
        running(camera.url, detector, alert_after=0.5) as server,
        watching(browser, server) as page,
    ):
        first = frame_of(page)
        until(lambda: frame_of(page) > first + 5)
        size = page.raw.evaluate("[document.querySelector('canvas').width, innerWidth]")
        assert size[0] == 640
        page.wait_for_text("#now-with", re.compile("^2$"))
        page.wait_for_text("#now-without", re.compile("^2$"))
        page.wait_for_text("#today-people", re.compile("^4$"))
        page.locate("#alerts img").first.wait_for()
        size = "document.querySelector('#alerts img').naturalWidth"
        until(lambda: page.raw.evaluate(size) > 0)
        about = server.camera()
        assert about["now"] == FACES
        shown = {name: page.text(f"#today-{name}") for name in ("people", "with", "without")}
        assert shown == {"people": "4", "with": "2", "without": "2"}
        assert page.raw.evaluate("document.querySelectorAll('#hours rect').length") == 2
        assert page.text("#link") == "1 of 1 live"


def click(page: Page, x: float, y: float) -> None:
    page.locate(".picture").scroll_into_view_if_needed()
    box = page.locate(".picture").bounding_box()
    page.raw.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])


def test_a_zone_drawn_with_the_mouse_works_after_a_restart(
    browser: Any, camera: Mjpeg, detector: Detector, tmp_path: Path
) -> None:
    areas = tmp_path / "areas.json"
    with running(camera.url, detector, areas=areas) as server, watching(browser, server) as page:
        frame_of(page)
        page.locate("text=Draw a zone").click()
        assert page.locate(".save").is_disabled()
        for corner in ((0.02, 0.02), (0.5, 0.02), (0.5, 0.98), (0.02, 0.98), (0.02, 0.02)):
            click(page, *corner)  # the last one closes it
        page.locate(".save").click()
        page.locate("text=Remove the zone").wait_for()
        zone = server.camera()["zone"]
        assert len(zone) == 4
        assert [value for point in zone for value in point] == pytest.approx(
            [0.02, 0.02, 0.5, 0.02, 0.5, 0.98, 0.02, 0.98], abs=0.01
        )
    with running(camera.url, detector, areas=areas) as server, watching(browser, server) as page:
        assert server.camera()["zone"] == zone
        until(lambda: 'event="appears"' in server.ask("/metrics").body.decode())
        page.wait_for_text("#today-people", re.compile("^2$"))  # of four faces, two are in it
        assert page.locate(".areas polygon").count() == 1
        page.locate("text=Draw a line").click()
        click(page, 0.5, 0.1)
        click(page, 0.5, 0.9)
        page.locate(".save").click()
        page.locate("text=Remove the line").wait_for()
        page.locate("text=Remove the zone").click()
        page.locate("text=Remove the zone").wait_for(state="detached")
        about = server.camera()
        assert (about["zone"], len(about["line"])) == (None, 2)


def test_the_token_is_asked_for_once(
    browser: Any, camera: Mjpeg, detector: Detector, tmp_path: Path
) -> None:
    with running(camera.url, detector, token_file=tmp_path / "token.txt") as server:  # noqa: SIM117
        with browser.new_context() as context:
            page = Page(context.new_page())
            page.open(server.url)
            page.locate("#token").fill("wrong")
            page.locate("#login button").click()
            page.locate("#wrong").wait_for()
            page.locate("#token").fill(server.token)
            page.locate("#login button").click()
            frame_of(page)
            assert server.token not in str(page.requests)
            page.raw.reload()
            frame_of(page)
            assert not page.locate("#login").is_visible()
            assert page.raw.evaluate("document.cookie") == ""  # no script can read it
            refused = [problem for problem in page.problems if "401" not in problem]
            assert refused == []


def test_without_images_the_page_has_numbers(
    browser: Any, camera: Mjpeg, detector: Detector
) -> None:
    with running(camera.url, detector, stats_only=True) as server:  # noqa: SIM117
        with watching(browser, server) as page:
            page.wait_for_text("#now-with", re.compile("^2$"))
            assert page.text(".blank") == "Only numbers are served."


@pytest.mark.parametrize(
    ("viewport", "color_scheme"), [(PHONE, "light"), (DESKTOP, "dark")], ids=["phone", "desktop"]
)
def test_axe_finds_no_serious_fault_in_the_live_page(
    browser: Any, camera: Mjpeg, detector: Detector, viewport: dict[str, int], color_scheme: str
) -> None:
    with running([camera.url, camera.url], detector, alert_after=0.0) as server:
        settings = {"viewport": viewport, "color_scheme": color_scheme}
        with watching(browser, server, **settings) as page:
            page.locate("#alerts img").first.wait_for()
            page.locate("text=Draw a zone").first.click()
            page.raw.evaluate(AXE.read_text(encoding="utf-8"))
            found = page.raw.evaluate("axe.run()")
            assert len(found["passes"]) > 15
            assert [
                f"{fault['id']}: {node['html'][:150]}"
                for fault in found["violations"]
                if fault["impact"] in ("serious", "critical")
                for node in fault["nodes"]
            ] == []
            wide = page.raw.evaluate("document.documentElement.scrollWidth")
            assert wide <= viewport["width"]
