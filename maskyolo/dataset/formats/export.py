"""Convert an annotated set to another format, with all boxes and splits unchanged."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from maskyolo.core.classes import CLASS_NAMES, order_names, plain_name
from maskyolo.core.files import write_atomic
from maskyolo.core.images import ImageArray, decode_image, is_plain_rgb, write_image
from maskyolo.core.labels import IGNORE_CLASS
from maskyolo.core.text import counted
from maskyolo.dataset.formats import coco, voc, yolo
from maskyolo.dataset.formats.base import (
    AnnotatedPhoto,
    Checked,
    ExportedPhoto,
    FloatBoxes,
    check_boxes,
    map_classes,
)
from maskyolo.dataset.formats.reading import check_understood, read_annotations
from maskyolo.dataset.split_names import REST
from maskyolo.dataset.workfolder import MARKER, check_free, claim, locked, publish, working_folder
from maskyolo.errors import DatasetError, ImageError, output_errors

__all__ = ["WRITTEN", "Export", "export_dataset"]

#: The formats that can be written.
WRITTEN = ("yolo", "voc", "coco")


@dataclass(frozen=True)
class Export:
    """The result of `export_dataset`.

    Attributes:
        folder: the new set.
        photos: number of images by split; the split is empty for images without one.
        boxes: number of boxes by class.
        skipped: source and reason for each image that could not be used.
        changed: source and reason for each image whose boxes had to be changed.
        notes: remarks on the source.
    """

    folder: Path
    photos: Counter[str] = field(default_factory=Counter)
    boxes: Counter[str] = field(default_factory=Counter)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    changed: list[tuple[str, str]] = field(default_factory=list)
    notes: tuple[str, ...] = ()


def export_dataset(
    source: Path | str,
    out: Path | str,
    *,
    to: str = "yolo",
    format: str = "auto",  # noqa: A002  # the command's option
    class_map: Mapping[str, str] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Export:
    """Convert an annotated set to another format; images, boxes, classes and splits are kept.

    Images are copied byte for byte, except those that some programs read differently (rotated by
    EXIF, with transparency, 16-bit, ...), which are written upright as JPEG. An image keeps its
    name unless two have the same. Boxes that stick out of the image by more than a pixel are
    clipped. Boxes without area in the image and COCO's `iscrowd` regions are left out. Work in
    progress is in `OUT.part`, which becomes `out` at the end.

    Args:
        source: a Pascal VOC folder, a COCO file or folder, a `data.yaml` or its folder.
        out: output folder; it must not exist or be empty.
        to: output format: voc, coco or yolo.
        format: format of the source; auto detects it.
        class_map: classes to rename or leave out, by name: with_mask, without_mask, drop or keep;
            all others stay as they are.
        on_progress: called with the number of images done and their total number.

    Raises:
        DatasetError: no annotated set, no usable image, or an unknown format.
        OutputError: `out` exists or cannot be written, or `OUT.part` is not from an interrupted
            export.
    """
    out, part = working_folder(out)
    if to not in WRITTEN:
        raise DatasetError(f"unknown format '{to}'", f"choose one of {', '.join(WRITTEN)}")
    found = read_annotations(source, format)
    photos = found.photos
    if found.notes or any(photo.status for photo in photos):
        check_understood(source, found)
    targets = _targets(photos, class_map or {}, str(source))
    check_free(out, "data set")
    with output_errors(part), locked(part):
        check_free(out, "data set")  # another run may have finished in the meantime
        claim(part, "convert --to")
        _clear(part)
        exporter = _Exporter(part, to, targets, "" if any(p.split for p in photos) else "train")
        made = Export(out, notes=found.notes)
        for number, photo in enumerate(photos, 1):
            exporter.add(photo, made)
            if on_progress:
                on_progress(number, len(photos))
        if not exporter.exported:
            name, reason = made.skipped[0]
            raise DatasetError(f"no image of {source} can be used: {name}: {reason}")
        exporter.write(out)
        publish(part, out)
    return made


def _clear(part: Path) -> None:
    """Remove what an interrupted export left in the working folder."""
    for path in part.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != MARKER:
            path.unlink()


def _targets(
    photos: Sequence[AnnotatedPhoto], class_map: Mapping[str, str], where: str
) -> dict[str, str]:
    """Return the new name of each class, in the order of the old names; `drop` for removed ones."""
    if IGNORE_CLASS in class_map.values():
        raise DatasetError(
            "ignore in the class map blanks out faces, which --to cannot do",
            "use drop, or convert without --to",
        )
    found = Counter(name for photo in photos for name in photo.names)
    listed = {plain_name(name) for name in class_map}
    mapped = Counter({name: count for name, count in found.items() if plain_name(name) in listed})
    return {name: name for name in found} | map_classes(mapped, class_map, where)


class _Exporter:
    """Writes images to the working folder one by one, and at the end the annotations of all."""

    def __init__(self, part: Path, to: str, targets: Mapping[str, str], no_split: str) -> None:
        self.part = part
        self.to = to
        self.targets = targets
        self.no_split = no_split
        self.exported: list[ExportedPhoto] = []
        names = list(dict.fromkeys(target for target in targets.values() if target != "drop"))
        if set(names) & set(CLASS_NAMES):
            names = list(order_names(names))
        self.names = names
        self._stems: set[str] = set()

    def add(self, photo: AnnotatedPhoto, made: Export) -> None:
        """Copy an image, and count it and its boxes in `made`, or record why it cannot be used."""
        if photo.status:
            made.skipped.append((photo.source, photo.reason))
            return
        try:
            data = photo.path.read_bytes()
            image = decode_image(data, photo.source)  # in full: the header would hide a truncation
        except OSError as error:
            made.skipped.append((photo.source, (error.strerror or str(error)).lower()))
            return
        except ImageError as error:
            made.skipped.append((photo.source, str(error)))
            return
        height, width = image.shape[:2]
        checked = check_boxes(photo, width, height, overhang=1.0)
        if checked.status:
            made.skipped.append((photo.source, checked.reason))
            return
        split = photo.split or self.no_split
        crowds = int(photo.ignored.sum())
        if crowds and crowds == len(photo.names):
            made.skipped.append((photo.source, "all its boxes are crowds (iscrowd 1)"))
            return
        boxes, class_ids = self._labels(photo, checked)
        file = self._copy(photo.path, split, data, image)
        self.exported.append(ExportedPhoto(file, split, width, height, boxes, class_ids))
        made.photos[split] += 1
        made.boxes.update(self.names[class_id] for class_id in class_ids)
        crowd = f"{counted(crowds, 'crowd')} left out" if crowds else ""
        if changes := "; ".join(filter(None, (checked.reason, crowd))):
            made.changed.append((photo.source, changes))

    def write(self, home: Path) -> None:
        """Write the annotations of a set that will be at `home`."""
        if self.to == "yolo":
            yolo.write_yolo(self.exported, self.names, self.part, home)
        else:
            writer = {"voc": voc.write_voc, "coco": coco.write_coco}[self.to]
            writer(self.exported, self.names, self.part)

    def _labels(
        self, photo: AnnotatedPhoto, checked: Checked
    ) -> tuple[FloatBoxes, tuple[int, ...]]:
        """Return the boxes to write and their class ids, without dropped classes and regions."""
        kept, class_ids = [], []
        for place, index in enumerate(checked.index):
            target = self.targets[photo.names[index]]
            if target != "drop" and not (len(photo.ignored) and photo.ignored[index]):
                kept.append(place)
                class_ids.append(self.names.index(target))
        return checked.boxes[kept], tuple(class_ids)

    def _copy(self, path: Path, split: str, data: bytes, image: ImageArray) -> Path:
        """Write the image under a unique name; return its path relative to the set."""
        folder = Path("JPEGImages") if self.to == "voc" else Path("images", split or REST)
        stem, number = path.stem, 1
        while stem.casefold() in self._stems:
            number += 1
            stem = f"{path.stem}-{number}"
        self._stems.add(stem.casefold())
        (self.part / folder).mkdir(parents=True, exist_ok=True)
        if is_plain_rgb(data):
            file = folder / f"{stem}{path.suffix}"
            write_atomic(self.part / file, data)
        else:
            file = folder / f"{stem}.jpg"
            write_image(self.part / file, image)
        return file
