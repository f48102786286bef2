"""Cameras and videos on the page: frames flow, everything is released, memory stays flat."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil
from browsing import Page, constant_network, new_page
from paths import SAMPLES

REMEMBER_CAMERAS = """
const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
window.opened = [];
navigator.mediaDevices.getUserMedia = async (wanted) => {
  const media = await open(wanted);
  window.opened.push(...media.getTracks());
  return media;
};
"""


def test_the_camera_runs_and_is_released(browser: Any, server: str) -> None:
    with new_page(browser) as page:
        page.raw.add_init_script(REMEMBER_CAMERAS)
        page.open(server)
        page.start_camera()
        assert page.text("#live-badge") == "Live"
        assert page.counts() == (2, 2)
        assert page.raw.evaluate("opened.map((track) => track.readyState)") == ["live"]
        page.wait_for_text("#speed", re.compile(r"[5-9] images"))
        page.locate("#camera-button").click()
        page.locate("#live-badge").wait_for(state="hidden")
        assert page.raw.evaluate("opened.map((track) => track.readyState)") == ["ended"]
        assert page.raw.evaluate("document.getElementById('video').srcObject") is None
        records = page.records()
        page.start_camera()
        page.locate("#live-badge").wait_for()
        assert len(page.raw.evaluate("opened.map((track) => track.readyState)")) == 2
    assert len(records) >= 5
    assert [record["frame"] for record in records] == list(range(len(records)))
    assert {(record["width"], record["height"]) for record in records} == {(640, 448)}
    times = [record["time"] for record in records]
    assert times == sorted(set(times))
    assert {1, 2} <= {found["track_id"] for found in records[-1]["detections"]}


def refusal(browser: Any, url: str, **settings: Any) -> str:
    """Return what the page says when the camera cannot be used; a photo works afterwards."""
    with new_page(browser, url, **settings) as page:
        page.locate("[data-do=camera]:visible").first.click()
        page.locate("#problem").wait_for()
        problem = page.text("#problem-text")
        page.choose(SAMPLES / "portrait.jpg")
        assert page.counts() == (1, 0)
    return problem


def test_a_refused_camera_is_one_line(launch: Any, server: str) -> None:
    strict = launch("--use-fake-device-for-media-stream")
    assert refusal(strict, server, permissions=()) == (
        "Camera access was denied. Allow it in the browser's settings for this page, "
        "then try again."
    )


def test_no_camera_is_one_line(launch: Any, server: str) -> None:
    none = launch("--use-fake-device-for-media-stream=device-count=0")
    assert refusal(none, server) == "No camera was found. Connect one, or choose photos."


def test_a_video_is_tracked_and_can_be_paused(page: Page) -> None:
    page.locate("#files").set_input_files(SAMPLES / "street.mp4")
    page.locate("#player").wait_for()
    page.wait_for_text("#play", "Play")  # at its end
    page.wait_for_text("#clock", "0:03 / 0:03")
    records = page.records()
    assert len(records) >= 3
    assert {record["source"] for record in records} == {"street.mp4"}
    times = [record["time"] for record in records]
    assert times == sorted(times)
    assert 0 <= times[0] < times[-1] <= 3
    assert any(found["track_id"] for record in records for found in record["detections"])
    page.locate("#seek").fill("1")
    page.wait_for_text("#clock", "0:01 / 0:03")


def small_clip(path: Path) -> Path:
    """Write 120 frames of 320x192, 60 per second."""
    with av.open(str(path), "w") as target:
        stream = target.add_stream("libx264", rate=60, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 320, 192, "yuv420p"
        for number in range(120):
            image = np.full((192, 320, 3), 2 * number, np.uint8)
            target.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        target.mux(stream.encode())
    return path


def test_memory_stays_flat(launch: Any, server: str, tmp_path: Path) -> None:
    """For 500 frames of a video that repeats, with a tiny network, so that frames are many."""
    alone = launch("--js-flags=--expose-gc")
    with new_page(alone, service_workers="block") as page:
        network = constant_network([0.9, 0.1])
        page.raw.route("**/model.onnx", lambda route: route.fulfill(body=network))
        page.open(server)
        page.locate("#files").set_input_files(small_clip(tmp_path / "clip.mp4"))
        page.raw.evaluate("document.getElementById('video').loop = true")
        first, last = (memory(alone, page, images) for images in (200, 700))
    assert last < 1.1 * first, (first, last)


def memory(browser: Any, page: Page, images: int) -> int:
    """Return the bytes that the page's processes have to themselves after so many images.

    The memory that they share is not counted: there, Chromium itself keeps frames of any video that
    a page reads, up to a limit.
    """
    hundreds = images // 100
    page.wait_for_text("#speed", re.compile(rf", ([{hundreds}-9]\d\d|\d{{4,}}) images"))
    page.raw.evaluate("gc()")
    for worker in page.raw.workers:
        if worker.url.endswith("/worker.js"):
            worker.evaluate("gc()")
    known = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
    renderers = [psutil.Process(each["id"]) for each in known if each["type"] == "renderer"]
    infos = [process.memory_info() for process in renderers]
    return sum(info.rss - info.shared for info in infos)
