"""Detect the format of an annotated set, and read it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from maskyolo.dataset.formats import coco, voc, yolo
from maskyolo.dataset.formats.base import AnnotatedPhoto, list_files
from maskyolo.errors import DatasetError

__all__ = ["FORMATS", "Format", "find_format", "read_annotations"]


class Format(Protocol):
    """A format of annotated sets: how to detect it, and how to read it."""

    def knows(self, source: Path, files: Sequence[Path]) -> bool:
        """Return whether `source` is a set in this format; `files` are all files in it."""

    def read(self, source: Path) -> list[AnnotatedPhoto]:
        """Read all images with their boxes, or with the reason they cannot be used.

        Raises:
            DatasetError: not a set in this format.
        """


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


def find_format(source: Path | str) -> str:
    """Return the format of an annotated set, a name in `FORMATS`, or else `folders`.

    Raises:
        DatasetError: `source` does not exist, or is a file that is not an annotation.
    """
    source = Path(source)
    if not source.exists():
        raise DatasetError(
            f"no folder {source}",
            "give a folder that contains with_mask and without_mask, or an annotated set",
        )
    # Ignore folders that cannot be read; the format's reader reports them.
    files = list_files(source, lambda *_: None) if source.is_dir() else []
    found = next((name for name, form in FORMATS.items() if form.knows(source, files)), None)
    if found is None and source.is_file():
        raise DatasetError(
            f"{source} is not a data set: expected a folder, a data.yaml or a COCO .json",
            "give the folder that contains it",
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
            f"{source} has no annotations in a known format (found '{name}')",
            f"the formats are {', '.join(FORMATS)}",
        )
    return FORMATS[name].read(Path(source))
