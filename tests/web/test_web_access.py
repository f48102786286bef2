"""The page can be used by everyone, and its design holds together."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest
from browsing import new_page
from paths import SAMPLES

AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js")
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 800}


@pytest.mark.parametrize(
    ("viewport", "color_scheme"), [(PHONE, "light"), (DESKTOP, "dark")], ids=["phone", "desktop"]
)
def test_axe_finds_no_serious_fault(
    browser: Any, server: str, viewport: dict[str, int], color_scheme: str
) -> None:
    settings = {"viewport": viewport, "color_scheme": color_scheme}
    with new_page(browser, server, **settings) as page:
        assert faults(page) == []
        page.choose(SAMPLES / "street.jpg", SAMPLES / "portrait.jpg", empty_file())
        page.locate("#faces summary").click()
        assert page.locate("#problem").is_visible()
        assert faults(page) == []
        page.start_camera()
        page.locate("#live-badge").wait_for()
        assert faults(page) == []
        wide = page.raw.evaluate("document.documentElement.scrollWidth")
        assert wide <= viewport["width"]


def empty_file() -> dict[str, Any]:
    return {
        "name": "a very long name of a file, without a break.jpg",
        "mimeType": "",
        "buffer": b"",
    }


def faults(page: Any) -> list[str]:
    """Return axe-core's faults that are serious or critical."""
    page.raw.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.raw.evaluate("axe.run()")
    assert len(found["passes"]) > 20
    return [
        f"{fault['id']}: {node['html'][:150]}"
        for fault in found["violations"]
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"]
    ]


def test_the_keyboard_is_enough(browser: Any, server: str) -> None:
    with new_page(browser, server) as page:
        page.raw.keyboard.press("Tab")
        assert page.raw.evaluate("document.activeElement.textContent") == "Skip to the detector"
        page.raw.keyboard.press("Enter")
        for _ in range(3):
            page.raw.keyboard.press("Tab")
        assert page.raw.evaluate("document.activeElement.dataset.example")
        page.raw.keyboard.press("Enter")
        page.locate("#strip .sum b").first.wait_for()
        page.wait_for_text("#spoken", "street.webp: ")
        spoken = re.search(r"(\d+) with mask, (\d+) without mask", page.text("#spoken"))
        assert spoken
        assert tuple(map(int, spoken.groups())) == page.counts() > (0, 0)
        page.locate("#conf").focus()
        page.raw.keyboard.press("End")
        assert page.text("#conf-value") == "0.95"
        assert page.counts() == (0, 0)
