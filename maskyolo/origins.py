"""Which photo a made photo was made from: the `synthesis.csv` that `synthesize` writes and `convert` reads.

A masked copy and its bare original show one person before one background, so they must never be in two splits; and an original
whose masked copy is in `with_mask` is left out of `without_mask`, as the projects of 2020 ask for.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from maskyolo.core.files import write_atomic
from maskyolo.errors import DatasetError

__all__ = [
    "MADE_STATUSES",
    "SYNTHESIS",
    "MadePhoto",
    "Origin",
    "read_origins",
    "read_synthesis",
    "write_synthesis",
]

#: Name of the file beside the class folders.
SYNTHESIS = "synthesis.csv"

#: What can become of a photo, and what it means; the first three are files of the set.
MADE_STATUSES = {
    "masked": "copies with a mask, in with_mask",
    "confuser": "copies with something else before the face, in without_mask",
    "bare": "photos as they are, in without_mask",
    "left_out": "originals of masked copies: in neither folder",
    "no_face": "no face found: in neither folder",
    "unsure": "a face that may be none: in neither folder",
    "turned": "a head turned too far to draw on: in neither folder",
    "small": "a face too small to draw on: in neither folder",
    "duplicate": "the same file as another",
    "unreadable": "damaged, or no picture",
}


@dataclass(frozen=True)
class Origin:
    """The photo that another was made from.

    Attributes:
        sha256: of its file.
        phash: 64-bit perceptual hash as 16 hex digits.
        left_out: it must not be in the set itself.
    """

    sha256: str
    phash: str
    left_out: bool = False


@dataclass(frozen=True)
class MadePhoto:
    """A line of `synthesis.csv`: a photo of the set, or a photo that is not in it and why; all of them are text.

    Attributes:
        original: path of the photo relative to the folder of faces, with forward slashes.
        status: one of `MADE_STATUSES`.
        reason: why, in words; empty for a plain case.
        file: the photo of the set, relative to its folder; empty if there is none.
        class_name: its class (column `class` in the file).
        drawn: what was drawn: a kind of mask, its colour and pattern; or a confuser. One for each face, divided by semicolons.
        sha256: of the original's file; empty if it could not be read.
        phash: perceptual hash of the original; see `Origin`.
        landmarks: the faces' landmarks in pixels of the upright picture: a JSON list of five points for each face.
    """

    original: str
    status: str
    reason: str = ""
    file: str = ""
    class_name: str = ""
    drawn: str = ""
    sha256: str = ""
    phash: str = ""
    landmarks: str = ""

    def to_dict(self) -> dict[str, str]:
        """Return the line's values by column."""
        return {
            ("class" if name == "class_name" else name): value
            for name, value in asdict(self).items()
        }

    @classmethod
    def from_dict(cls, values: dict[str, str]) -> MadePhoto:
        """Build a line from its values by column."""
        return cls(
            **{("class_name" if name == "class" else name): value for name, value in values.items()}
        )


_COLUMNS = ["class" if field.name == "class_name" else field.name for field in fields(MadePhoto)]


def write_synthesis(path: Path | str, photos: Iterable[MadePhoto]) -> None:
    """Write a `synthesis.csv`. Raises OutputError."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(photo.to_dict() for photo in photos)
    write_atomic(path, text.getvalue())


def read_synthesis(path: Path | str) -> list[MadePhoto]:
    """Read a `synthesis.csv`.

    Raises:
        DatasetError: it cannot be read, or columns are missing.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(
            f"cannot read {path}: {error}; make the photos anew with maskyolo synthesize"
        ) from error
    lines = csv.DictReader(io.StringIO(text, newline=""))
    try:
        missing = [name for name in _COLUMNS if name not in (lines.fieldnames or [])]
        if missing:
            raise DatasetError(
                f"{path} lacks the columns {', '.join(missing)}; make the photos anew with maskyolo synthesize"
            )
        return [
            MadePhoto.from_dict({name: line[name] or "" for name in _COLUMNS}) for line in lines
        ]
    except csv.Error as error:
        raise DatasetError(
            f"{path}, line {lines.reader.line_num}: {error}; make the photos anew with maskyolo synthesize"
        ) from error


def read_origins(folder: Path | str) -> dict[str, Origin]:
    """Return the origins of all made photos below a folder, by their path relative to it; empty if there is no `synthesis.csv`.

    Raises:
        DatasetError: a `synthesis.csv` that cannot be read.
    """
    folder = Path(folder)
    origins: dict[str, Origin] = {}
    for path in sorted(folder.rglob(SYNTHESIS)):
        photos = read_synthesis(path)
        left_out = {photo.sha256 for photo in photos if photo.status == "left_out"}
        places = {
            found.name: found for found in path.parent.rglob("*")
        }  # a photo may have been moved to the other class
        for photo in photos:
            if photo.file and (place := places.get(Path(photo.file).name)):
                origins[place.relative_to(folder).as_posix()] = Origin(
                    photo.sha256, photo.phash, photo.sha256 in left_out
                )
    return origins
