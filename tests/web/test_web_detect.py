"""The page finds what `maskyolo detect` finds, and survives every file."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import Page, new_page
from paths import SAMPLES
from PIL import Image

from maskyolo import load_detector
from maskyolo.core.boxes import box_iou
from maskyolo.core.images import decode_image, read_image

STREET = SAMPLES / "street.jpg"


@pytest.fixture(scope="module")
def opened(browser: Any, server: str) -> Iterator[Page]:
    """One page for all tests here, so that the detector is loaded once."""
    with new_page(browser, server) as page:
        yield page


@pytest.fixture
def photos(opened: Page) -> Iterator[Page]:
    yield opened
    opened.locate("#clear").click()


def encoded(image: Image.Image, kind: str = "JPEG", **settings: Any) -> bytes:
    target = io.BytesIO()
    image.save(target, kind, **settings)
    return target.getvalue()


def upload(name: str, data: bytes, kind: str = "") -> dict[str, Any]:
    return {"name": name, "mimeType": kind, "buffer": data}


def differences(
    records: list[dict[str, Any]], files: list[bytes], imgsz: int
) -> tuple[list[tuple[int, int]], list[float], list[float]]:
    """Return, for each image, the numbers of boxes of page and library, then IoUs, score gaps."""
    detector = load_detector(imgsz=imgsz, precision="fp32")
    numbers, overlaps, gaps = [], [], []
    for record, data in zip(records, files, strict=True):
        expected = detector(decode_image(data))
        found = record["detections"]
        numbers.append((len(found), len(expected)))
        if not len(expected) or not found:
            continue
        ious = box_iou(expected.xyxy, np.array([each["box"] for each in found]))
        for row, nearest in enumerate(ious.argmax(1)):
            overlaps.append(float(ious[row, nearest]))
            gaps.append(abs(found[nearest]["confidence"] - float(expected.confidence[row])))
            assert found[nearest]["class_id"] == expected.class_id[row]
    return numbers, overlaps, gaps


def check_parity(page: Page, files: list[bytes], imgsz: int) -> None:
    page.locate("#size").select_option(str(imgsz), force=True)
    page.choose(*(upload(f"{number}.jpg", data) for number, data in enumerate(files)))
    numbers, overlaps, gaps = differences(page.records(), files, imgsz)
    assert all(found == expected for found, expected in numbers), numbers
    assert len(overlaps) > 10
    assert np.mean(np.array(overlaps) > 0.95) >= 0.99
    assert np.mean(gaps) <= 0.005
    assert max(gaps) <= 0.05


@pytest.mark.parametrize("imgsz", [640, 416, 320])
def test_the_same_boxes_as_detect(photos: Page, imgsz: int) -> None:
    files = [path.read_bytes() for path in sorted(SAMPLES.glob("*.jpg"))]
    assert len(files) == 8
    check_parity(photos, files, imgsz)


def test_the_same_boxes_in_large_photos(photos: Page) -> None:
    sizes = {"street": (4000, 3000), "queue": (3333, 2401), "station": (2500, 1700)}
    files = [
        encoded(Image.open(SAMPLES / f"{name}.jpg").resize(size), quality=80)
        for name, size in sizes.items()
    ]
    check_parity(photos, files, 640)


def with_alpha(photo: Image.Image) -> bytes:
    pixels = np.array(photo.convert("RGBA"))
    pixels[..., 3] = 110  # on black instead of white, other faces would be found
    pixels[:, :20, 3] = 0
    return encoded(Image.fromarray(pixels), "PNG")


def turned(photo: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(photo.rotate(90, expand=True), exif=exif, quality=95)


def test_odd_images_are_read_as_by_detect(photos: Page) -> None:
    photo = Image.open(STREET).convert("RGB")
    files = {
        "turned.jpg": turned(photo),
        "transparent.png": with_alpha(photo),
        "gray.png": encoded(photo.convert("L"), "PNG"),
        "cmyk.jpg": encoded(photo.convert("CMYK")),
        "4k.webp": encoded(photo.resize((3840, 2160)), "WEBP"),
        "huge.jpg": encoded(photo.resize((10_000, 10_000), Image.Resampling.NEAREST), quality=60),
        "<img src=x onerror=alert(1)>.jpg": STREET.read_bytes(),
        "tiny.png": encoded(photo.resize((1, 1)), "PNG"),
    }
    photos.choose(*(upload(name, data) for name, data in files.items()))
    records = photos.records()
    assert [record["source"] for record in records] == list(files)
    assert [record.get("error") for record in records] == [None] * len(files)
    sizes = [decode_image(data).shape[1::-1] for data in files.values()]
    assert [(record["width"], record["height"]) for record in records] == sizes
    numbers, overlaps, gaps = differences(records, list(files.values()), 640)
    assert all(found == expected for found, expected in numbers), numbers
    assert min(overlaps) > 0.9
    assert max(gaps) < 0.1  # the decoders of both sides convert CMYK differently
    assert photos.locate("#strip img").count() == 0


BAD = {
    "truncated.jpg": (STREET.read_bytes()[:30_000], "not an image that this browser can decode"),
    "empty.jpg": (b"", "the file is empty"),
    "text.txt": (b"hello", "not an image that this browser can decode"),
    "script.svg": (
        (
            b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'>"
            b"<script>alert(1)</script></svg>"
        ),
        "not an image that this browser can decode",
    ),
    "photo.heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200), "cannot decode HEIC"),
    "broken.mp4": (b"\0\0\0\x18ftypmp42" + bytes(500), "not a video that this browser can play"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_line_and_the_next_photo_works(photos: Page, name: str) -> None:
    data, reason = BAD[name]
    photos.choose(upload(name, data))
    problem = photos.text("#problem-text")
    assert problem.startswith(f"{name}: ")
    assert reason in problem
    assert "\n" not in problem
    photos.choose(STREET)
    assert photos.counts() == (2, 2)
    bad, good = photos.records()
    assert set(bad) == {"source", "frame", "error"}
    assert f"{name}: {bad['error']}" == problem
    assert len(good["detections"]) == 4


def test_an_image_of_too_many_pixels_is_refused(photos: Page) -> None:
    bomb = encoded(Image.new("1", (14_000, 13_000)), "PNG")
    photos.choose(upload("bomb.png", bomb))
    assert "more than 178 megapixels" in photos.text("#problem-text")


def test_the_slider_and_the_saved_image(photos: Page) -> None:
    photos.choose(STREET)
    assert photos.counts() == (2, 2)
    assert photos.locate("#canvas").get_attribute("aria-label") == (
        "street.jpg: 2 with mask, 2 without mask"
    )
    found = photos.records()[0]["detections"]
    steps = [step / 100 for step in range(30, 95, 5)]
    few = next(one for one in steps if 0 < sum(face["confidence"] > one for face in found) < 4)
    photos.locate("#conf").fill(str(few))
    kept = [face for face in found if face["confidence"] > few]
    with_mask = sum(face["class"] == "with_mask" for face in kept)
    assert photos.counts() == (with_mask, len(kept) - with_mask)
    assert photos.records()[0]["detections"] == kept
    numbers = [f"✓ {with_mask}", f"✕ {len(kept) - with_mask}"]
    assert photos.text("#strip .sum").split("\n") == numbers
    with photos.raw.expect_download() as download:
        photos.locate("#save-image").click()
    assert download.value.suggested_filename == "street-maskyolo.jpg"
    drawn = np.array(Image.open(Path(download.value.path())).convert("RGB")).astype(int)
    original = np.array(Image.open(STREET).convert("RGB")).astype(int)
    assert drawn.shape == original.shape
    changed = np.abs(drawn - original).max(2) > 80
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    assert abs(columns[-1] - max(face["box"][2] for face in kept)) < 12
    assert abs(rows[-1] - max(face["box"][3] for face in kept)) < 12
    photos.locate("#conf").fill("0.25")


def test_an_example_and_the_list_of_faces(photos: Page) -> None:
    photos.locate("[data-example*=queue]").click()
    photos.locate("#strip .sum b").first.wait_for()
    found = photos.records()[0]["detections"]
    with_mask = sum(face["class"] == "with_mask" for face in found)
    assert photos.counts() == (with_mask, len(found) - with_mask)
    clear = load_detector(conf=0.4)(read_image(SAMPLES / "queue.jpg"))
    assert len(found) >= len(clear) > 6
    photos.locate("#faces summary").click()
    rows = photos.locate("#face-rows tr")
    assert rows.count() == len(found)
    assert "with mask" in rows.first.inner_text()
