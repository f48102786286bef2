"""Makes the images of docs/labels.md from the sample photos.

Run it in the repository's root with the environment's Python:
`python tools/make_label_pictures.py`. The sample photos are CC0, and the images show what `convert`
and `synthesize` really do with them.
"""

from __future__ import annotations

import csv
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import cv2
from PIL import Image, ImageDraw, ImageFont, ImageOps

from maskyolo.conversion.convert import convert_dataset
from maskyolo.core.images import read_image
from maskyolo.dataset.contact_sheets import draw_sheet
from maskyolo.dataset.ledger import STATUSES, LedgerRow, read_ledger, write_ledger
from maskyolo.detectors.faces.loading import load_face_detector
from maskyolo.synthesis.synthesize import synthesize_masks

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "data" / "samples"
IMAGES = ROOT / "docs" / "images"
TILE = 200


def statuses(work: Path) -> list[tuple[Path, LedgerRow]]:
    """Convert photos of every kind; return one photo per status, one of them blanked."""
    photos, bench = work / "photos", work / "benchmark"
    shutil.copytree(SAMPLES / "folders", photos)
    bench.mkdir()
    masked, bare = photos / "with_mask", photos / "without_mask"
    shutil.copy(SAMPLES / "street.jpg", masked)
    shutil.copy(SAMPLES / "portrait.jpg", masked)
    shutil.copy(SAMPLES / "portrait.jpg", bare)
    shutil.copy(masked / "02.jpg", masked / "02b.jpg")
    (masked / "broken.jpg").write_bytes((masked / "01.jpg").read_bytes()[:1500])
    Image.open(SAMPLES / "street.jpg").crop((160, 80, 222, 180)).save(masked / "turned-away.jpg")
    ImageOps.mirror(Image.open(bare / "03.jpg")).save(bench / "03-mirrored.jpg", quality=80)
    (work / "bare").mkdir()
    shutil.copy(bare / "05.jpg", work / "bare")
    made = synthesize_masks(work / "bare", work / "made", masks=1.0)
    shutil.copytree(made.folder / "with_mask", photos / "made" / "with_mask")
    shutil.copy(made.folder / "synthesis.csv", photos / "made")
    out = work / "set"
    rows = convert_dataset(photos, out, exclude=[bench]).rows
    wrong = next(row for row in rows if row.source == "without_mask/02.jpg")
    x1, y1, x2, y2 = wrong.boxes[0]
    better = wrong.corrected(
        [(x1, y1 - 0.1 * (y2 - y1), x2, y2)], wrong.classes, "box redrawn in review"
    )
    label = out / wrong.image.replace("images/", "labels/").replace(".jpg", ".txt")
    label.unlink()  # the ledger's boxes count where there is no label file
    write_ledger(
        out / "ledger.csv",
        [better if row.source == wrong.source else row for row in read_ledger(out / "ledger.csv")],
    )
    rows = convert_dataset(photos, out, exclude=[bench], update=True).rows
    shown = [
        next(row for row in rows if row.source == "with_mask/01.jpg"),
        next(row for row in rows if row.source == "with_mask/street.jpg"),
    ]
    shown += [next(row for row in rows if row.status == status) for status in STATUSES[1:]]
    return [(out / row.image if row.in_set else photos / row.source, row) for row in shown]


def panel(draw: ImageDraw.ImageDraw, place: int, title: str, lines: tuple[str, ...] = ()) -> None:
    """Write the title of a panel of the journey, and lines of text."""
    draw.text((place * (TILE + 16) + 2, 4), title, fill="black", font=ImageFont.load_default(13))
    for number, line in enumerate(lines):
        draw.text(
            (place * (TILE + 16) + 2, 34 + 15 * number),
            line,
            fill="black",
            font=ImageFont.load_default(11),
        )


def journey(photo: Path, kept: LedgerRow, label: str) -> Image.Image:
    """Draw the steps of one photo, from its folder to its split."""
    sheet = Image.new("RGB", (6 * (TILE + 16), TILE + 60), "white")
    draw = ImageDraw.Draw(sheet)
    image = read_image(photo)
    side = round(0.5 * max(image.shape[:2]))
    bordered = cv2.copyMakeBorder(
        image, side, side, side, side, cv2.BORDER_CONSTANT, value=(104, 177, 123)
    )
    boxed = image.copy()
    (x1, y1, x2, y2) = (round(value) for value in kept.boxes[0])
    cv2.rectangle(boxed, (x1, y1), (x2, y2), (60, 170, 0), 2)
    titles = ("1 the photo", "2 one of the passes", "3 the box")
    for place, (title, shown) in enumerate(zip(titles, (image, bordered, boxed), strict=True)):
        panel(draw, place, title)
        tile = ImageOps.contain(Image.fromarray(shown[:, :, ::-1]), (TILE, TILE))
        sheet.paste(tile, (place * (TILE + 16), 30))
    where = kept.source.split("/")[0] + "/"
    draw.text(
        (2, TILE + 36), f"in the folder {where}", fill="black", font=ImageFont.load_default(11)
    )
    draw.text(
        (TILE + 18, TILE + 36),
        "with a border, so that it is not too large",
        fill="black",
        font=ImageFont.load_default(11),
    )
    draw.text(
        (2 * (TILE + 16) + 2, TILE + 36),
        f"score {kept.scores[0]:.2f}, by {kept.origins[0]}",
        fill="black",
        font=ImageFont.load_default(11),
    )
    class_id, *numbers = label.split()
    panel(
        draw,
        3,
        "4 the label",
        (
            f"{class_id}    (0 = with_mask)",
            *(f"{float(number):.4f}" for number in numbers),
            "",
            "class, center x and y,",
            "width and height, as",
            "shares of the image",
        ),
    )
    row = (
        f"source   {kept.source}",
        f"class   {kept.class_name}",
        f"status   {kept.status}",
        f"classes   {', '.join(kept.classes)}",
        f"deciders   {', '.join(kept.deciders)}",
        f"agreed   {', '.join(map(str, kept.agreed))}",
        f"size   {kept.size}",
        f"phash   {kept.phash}",
        f"sha256   {kept.sha256[:16]}…",
        f"group   {kept.group}",
    )
    panel(draw, 4, "5 the row of the ledger", row)
    name = Path(kept.image)
    panel(
        draw,
        5,
        "6 the split",
        (
            f"split   {kept.split}",
            "",
            f"{name.parent.as_posix()}/",
            f"  {name.name[:26]}",
            f"  {name.name[26:]}",
            "",
            f"{name.parent.as_posix().replace('images', 'labels')}/",
            f"  {name.stem[:24]}",
            f"  {name.stem[24:]}.txt",
        ),
    )
    return sheet


def labels() -> Image.Image:
    """Draw the box of each sample face, green with a mask and red without."""
    side, columns = 150, 8
    rows = list(csv.DictReader((SAMPLES / "folders.csv").open(encoding="utf-8")))
    sheet = Image.new("RGB", (columns * side, -(-len(rows) // columns) * side), "white")
    labeler = load_face_detector("ssd", cross_check="both", convention=True)
    for place, row in enumerate(rows):
        image = read_image(SAMPLES / "folders" / row["file"])
        scale = side / max(image.shape[:2])
        shown = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        color = (60, 170, 0) if row["file"].startswith("with_mask") else (40, 20, 210)
        for box in labeler.detect(image).boxes:
            x1, y1, x2, y2 = (round(float(value) * scale) for value in box)
            cv2.rectangle(shown, (x1, y1), (x2, y2), color, 2)
        corner = (place % columns * side, place // columns * side)
        sheet.paste(Image.fromarray(shown[:, :, ::-1]), corner)
    return sheet


def convention() -> Image.Image:
    """Draw what the SSD finds (gray), the label (green), and what a person drew (white)."""
    rows = list(csv.DictReader((SAMPLES / "folders.csv").open(encoding="utf-8")))[::4][:4]
    sheet = Image.new("RGB", (len(rows) * (TILE + 16), TILE), "white")
    ssd = load_face_detector("ssd")
    labeler = load_face_detector("ssd", cross_check="both", convention=True)
    for place, row in enumerate(rows):
        image = read_image(SAMPLES / "folders" / row["file"])
        scale = TILE / max(image.shape[:2])
        shown = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        human = [[float(row[side]) for side in ("face_x1", "face_y1", "face_x2", "face_y2")]]
        for boxes, color, line in (
            (ssd.detect(image).boxes, (150, 150, 150), 2),
            (human, (255, 255, 255), 3),
            (labeler.detect(image).boxes, (60, 170, 0), 2),
        ):
            for box in boxes[:1]:
                x1, y1, x2, y2 = (round(float(value) * scale) for value in box)
                cv2.rectangle(shown, (x1, y1), (x2, y2), color, line)
        sheet.paste(Image.fromarray(shown[:, :, ::-1]), (place * (TILE + 16), 0))
    return sheet


def main() -> None:
    """Make all images."""
    labels().save(IMAGES / "labels.jpg", quality=85)
    convention().save(IMAGES / "convention.jpg", quality=85)
    with tempfile.TemporaryDirectory() as folder:
        found = statuses(Path(folder))
        sheet = draw_sheet(
            [(path, replace(row, source=f"{row.status}: {row.source}")) for path, row in found],
            columns=5,
            tile=TILE,
        )
        sheet.save(IMAGES / "statuses.jpg", quality=82)
        kept = found[0][1]
        label = (
            (Path(folder) / "set" / kept.image.replace("images/", "labels/"))
            .with_suffix(".txt")
            .read_text()
        )
        journey(SAMPLES / "folders" / kept.source, kept, label).save(
            IMAGES / "journey.jpg", quality=85
        )


if __name__ == "__main__":
    main()
