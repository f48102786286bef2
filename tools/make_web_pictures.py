"""Makes the screenshots of the browser page in docs/images.

    python tools/make_web_pictures.py

Needs maskyolo[dev] and Chromium. The camera shows one of the sample photos.
"""

from __future__ import annotations

import io
import shutil
import tempfile
import threading
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from maskyolo.web.server import PageServer
from maskyolo.web.site import build_site

ROOT = Path(__file__).resolve().parent.parent
SAMPLES, IMAGES = ROOT / "data" / "samples", ROOT / "docs" / "images"
PHONE, DESKTOP = (390, 844), (1280, 800)
VIEWS = {
    "web-desktop": (DESKTOP, "light", "photo"),
    "web-desktop-camera": (DESKTOP, "dark", "camera"),
    "web-phone": (PHONE, "light", "photo"),
    "web-phone-camera": (PHONE, "dark", "camera"),
}


def take(browser: Any, url: str, name: str) -> None:
    """Take one of the screenshots."""
    (width, height), scheme, content = VIEWS[name]
    page = browser.new_page(
        viewport={"width": width, "height": height},
        color_scheme=scheme,
        device_scale_factor=2 if width < 600 else 1.25,
        permissions=["camera"],
    )
    page.goto(url)
    names = ("street", "queue", "station", "office", "portrait")
    page.locator("#files").set_input_files([SAMPLES / f"{name}.jpg" for name in names])
    page.locator("#strip .sum b").nth(9).wait_for()
    page.locator("#busy").wait_for(state="hidden")
    if content == "camera":
        page.locator("#camera-button").click()
        page.locator("#speed", has_text="20 images").wait_for(timeout=120_000)
        page.evaluate("document.getElementById('caption').textContent = 'Front camera'")
    target = IMAGES / f"{name}.webp"
    with Image.open(io.BytesIO(page.screenshot())) as shot:
        shot.convert("RGB").save(target, quality=80, method=6)
    page.close()
    print(target.name, target.stat().st_size)


def main() -> None:
    """Serve the page, and take all screenshots."""
    with (
        tempfile.TemporaryDirectory() as folder,
        PageServer(build_site(), 0) as server,
        sync_playwright() as playwright,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with Image.open(SAMPLES / "office.jpg") as photo:
            photo.resize((960, 672)).save(Path(folder) / "camera.mjpeg", "JPEG", quality=92)
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=[
                "--no-sandbox",
                "--use-fake-device-for-media-stream",
                "--use-fake-ui-for-media-stream",
                f"--use-file-for-fake-video-capture={folder}/camera.mjpeg",
            ],
        )
        for name in VIEWS:
            take(browser, server.url, name)
        browser.close()
        server.shutdown()


if __name__ == "__main__":
    main()
