"""Annotated sets of other makers: Pascal VOC, COCO and YOLO, read into one form and written from it."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from maskyolo.core.classes import CLASS_NAMES
from maskyolo.core.files import write_atomic
from maskyolo.errors import DatasetError, ImageError, OutputError, output_errors
from maskyolo.formats import coco, voc, yolo
from maskyolo.formats.base import (
    CLASS_CHOICES,
    REST,
    AnnotatedPhoto,
    ExportedPhoto,
    check_boxes,
    list_files,
    map_classes,
)
from maskyolo.images import decode_image, is_plain_rgb, write_image
from maskyolo.labels import IGNORE_CLASS
from maskyolo.workfolder import MARKER, claim, locked, working_folder

__all__ = [
    "CLASS_CHOICES",
    "FORMATS",
    "AnnotatedPhoto",
    "Export",
    "Format",
    "export_dataset",
    "find_format",
    "map_classes",
    "read_annotations",
]


class Format(Protocol):
    """A format of annotated sets: how to know it, and how to read it."""

    def knows(self, source: Path, files: Sequence[Path]) -> bool:
        """Tell whether `source` is a set in this format; `files` are all files below it, if it is a folder."""

    def read(self, source: Path) -> list[AnnotatedPhoto]:
        """Read all pictures with their boxes, and what cannot be used with a reason. Raises DatasetError."""


@dataclass(frozen=True)
class _Functions:
    knows: Callable[[Path, Sequence[Path]], bool]
    read: Callable[[Path], list[AnnotatedPhoto]]


#: The formats by name, in the order in which they are tried.
FORMATS: Mapping[str, Format] = {
    "yolo": _Functions(yolo.is_yolo, yolo.read_yolo_set),
    "voc": _Functions(voc.is_voc, voc.read_voc),
    "coco": _Functions(coco.is_coco, coco.read_coco),
}


@dataclass(frozen=True)
class Export:
    """What `export_dataset` wrote.

    Attributes:
        folder: the new set.
        photos: number of pictures by split; the split is empty for those in none.
        boxes: number of boxes by class.
        skipped: source and reason of what could not be used.
        changed: source and reason of pictures whose boxes had to be changed.
    """

    folder: Path
    photos: Counter[str] = field(default_factory=Counter)
    boxes: Counter[str] = field(default_factory=Counter)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    changed: list[tuple[str, str]] = field(default_factory=list)


def find_format(source: Path | str) -> str:
    """Return the format of an annotated set, a name in `FORMATS`, or `folders` if it has no annotations.

    Raises:
        DatasetError: nothing there, or a file that is no annotation.
    """
    source = Path(source)
    if not source.exists():
        raise DatasetError(
            f"no folder {source}; give a folder with with_mask and without_mask in it, or an annotated set"
        )
    files = (
        list_files(source, lambda *_: None) if source.is_dir() else []
    )  # who reads the set says what cannot be read
    found = next((name for name, form in FORMATS.items() if form.knows(source, files)), None)
    if found is None and source.is_file():
        raise DatasetError(
            f"{source} is no data set: expected a folder, a data.yaml or a COCO .json; give the folder it is in"
        )
    return found or "folders"


def read_annotations(source: Path | str, format: str = "auto") -> list[AnnotatedPhoto]:  # noqa: A002  # the command's option
    """Read an annotated set.

    Raises:
        DatasetError: no such set, or an unknown format.
    """
    name = find_format(source) if format == "auto" else format
    if name not in FORMATS:
        raise DatasetError(
            f"{source} has no annotations that are known (format '{name}'); the formats are {', '.join(FORMATS)}"
        )
    return FORMATS[name].read(Path(source))


def export_dataset(
    source: Path | str,
    out: Path | str,
    *,
    to: str = "yolo",
    format: str = "auto",  # noqa: A002  # the command's option
    class_map: Mapping[str, str] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Export:
    """Write an annotated set once more in another format: every picture, box, class and split as it is.

    Pictures are copied byte for byte, but for those that not every program reads alike (turned by EXIF, with transparency, of
    16 bits, …): these are written upright as JPEG. A picture keeps its name unless two have the same. Boxes that stick out of the
    picture by more than a pixel are clipped, and those without area in it are left out, as are COCO's `iscrowd` regions. Work goes to
    `OUT.part`, which becomes `out` when all is done.

    Args:
        source: a Pascal VOC folder, a COCO file or folder, a `data.yaml` or its folder.
        out: folder to make; it must not exist or be empty.
        to: voc, coco or yolo.
        format: that of the source; auto finds out.
        class_map: classes to rename or leave out, by name: with_mask, without_mask, drop or keep; all others stay as they are.
        on_progress: called with the number of pictures done and of all.

    Raises:
        DatasetError: no annotated set, no usable picture, or an unknown format.
        OutputError: `out` exists, or cannot be written, or `OUT.part` is not of an interrupted export.
    """
    out, part = working_folder(out)
    if to not in FORMATS:
        raise DatasetError(f"unknown format '{to}' to write; choose from {', '.join(FORMATS)}")
    photos = read_annotations(source, format)
    targets = _targets(photos, class_map or {}, str(source))
    names = list(dict.fromkeys(target for target in targets.values() if target != "drop"))
    if set(names) & set(CLASS_NAMES):
        names = [*CLASS_NAMES, *(name for name in names if name not in CLASS_NAMES)]
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(
            f"cannot write the data set to {out}: it exists; choose another folder or remove it"
        )
    made = Export(out)
    exported: list[ExportedPhoto] = []
    with output_errors(part), locked(part):
        claim(part, "convert --to")
        for path in part.iterdir():  # of an interrupted export
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != MARKER:
                path.unlink()
        any_split = any(photo.split for photo in photos)
        taken: set[str] = set()
        for number, photo in enumerate(photos, 1):
            _export_one(
                photo, part, to, targets, names, made, exported, taken, "" if any_split else "train"
            )
            if on_progress:
                on_progress(number, len(photos))
        if not exported:
            raise DatasetError(
                f"no picture of {source} can be used: {made.skipped[0][0]}: {made.skipped[0][1]}"
            )
        if to == "yolo":
            yolo.write_yolo(exported, names, part, out)
        else:
            {"voc": voc.write_voc, "coco": coco.write_coco}[to](exported, names, part)
        if out.is_dir():
            out.rmdir()
        part.replace(out)
        (out / MARKER).unlink()
    return made


def _targets(
    photos: Sequence[AnnotatedPhoto], class_map: Mapping[str, str], where: str
) -> dict[str, str]:
    """Return the new name of each class, in the order of the old ones; `drop` for those to leave out."""
    if IGNORE_CLASS in class_map.values():
        raise DatasetError(
            "class map: faces are blanked (ignore) only when a data set is made; give drop, or convert without --to"
        )
    found = Counter(name for photo in photos for name in photo.names)
    return map_classes(found, dict.fromkeys(found, "keep") | dict(class_map), where)


def _export_one(
    photo: AnnotatedPhoto,
    part: Path,
    to: str,
    targets: Mapping[str, str],
    names: Sequence[str],
    made: Export,
    exported: list[ExportedPhoto],
    taken: set[str],
    no_split: str,
) -> None:
    """Copy one picture into the new set and add its boxes to what is to be written, or its reason to what is skipped."""
    if photo.status:
        made.skipped.append((photo.source, photo.reason))
        return
    try:
        data = photo.path.read_bytes()
        image = decode_image(
            data, photo.source
        )  # all of it: a picture that is cut short has a whole head
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
    keep = [
        place
        for place, index in enumerate(checked.index)
        if targets[photo.names[index]] != "drop"
        and not (len(photo.ignored) and photo.ignored[index])
    ]
    class_ids = tuple(names.index(targets[photo.names[checked.index[place]]]) for place in keep)
    split = photo.split or no_split
    folder = Path("JPEGImages") if to == "voc" else Path("images", split or REST)
    stem, number = photo.path.stem, 1
    while stem.casefold() in taken:
        number += 1
        stem = f"{photo.path.stem}-{number}"
    taken.add(stem.casefold())
    (part / folder).mkdir(parents=True, exist_ok=True)
    if is_plain_rgb(data):
        file = folder / f"{stem}{photo.path.suffix}"
        write_atomic(part / file, data)
    else:
        file = folder / f"{stem}.jpg"
        write_image(part / file, image)
    exported.append(ExportedPhoto(file, split, width, height, checked.boxes[keep], class_ids))
    made.photos[split] += 1
    made.boxes.update(names[class_id] for class_id in class_ids)
    if checked.reason:
        made.changed.append((photo.source, checked.reason))
