"""The synthesis log, `synthesis.csv`: which photo each synthesized photo was made from.

`synthesize` writes it and `convert` reads it. A masked copy and its bare original show the same
person in front of the same background, so they must not be in different splits. An original whose
masked copy is in `with_mask` is left out of `without_mask`, as the projects of 2020 recommend.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from maskyolo.core.files import write_atomic
from maskyolo.core.parsing import read_table

__all__ = [
    "MADE_STATUSES",
    "SYNTHESIS",
    "MadePhoto",
    "Origin",
    "read_origins",
    "read_synthesis",
    "write_synthesis",
]

#: Name of the log file, which is next to the class folders.
SYNTHESIS = "synthesis.csv"

#: Statuses of photos, and their meanings. Only the first four have files in the set.
MADE_STATUSES = {
    "masked": "copies with a mask, in with_mask",
    "incorrect": "copies with a mask worn incorrectly, in incorrect_mask",
    "occluder": "copies with something else in front of the face, in without_mask",
    "bare": "unchanged photos, in without_mask",
    "left_out": "originals of masked copies: in no folder",
    "no_face": "no face found: in no folder",
    "unsure": "possibly not a face: in no folder",
    "turned": "head turned too far to draw on: in no folder",
    "small": "face too small to draw on: in no folder",
    "duplicate": "the same file as another",
    "unreadable": "damaged, or not an image",
}

#: The remedy for a log that cannot be read.
_REMEDY = "synthesize the photos again with maskyolo synthesize"


@dataclass(frozen=True)
class Origin:
    """The photo that another was made from.

    Attributes:
        sha256: checksum of its file.
        phash: 64-bit perceptual hash as 16 hex digits.
        left_out: whether the original itself must not be in the data set.
    """

    sha256: str
    phash: str
    left_out: bool = False


@dataclass(frozen=True)
class MadePhoto:
    """A line of `synthesis.csv`, all text: a photo of the set, or why a photo is not in it.

    Attributes:
        original: path of the photo relative to the folder of faces, with forward slashes.
        status: one of `MADE_STATUSES`.
        reason: details, in words; empty if the status says it all.
        file: the photo in the set, relative to the set's folder; empty if there is none.
        class_name: its class (column `class` in the file).
        drawn: what was drawn: a mask's kind, color and pattern, and how it is worn if incorrectly,
            or an occluder; one entry per face, separated by semicolons.
        sha256: checksum of the original's file; empty if it could not be read.
        phash: perceptual hash of the original; see `Origin`.
        landmarks: the faces' landmarks in pixels of the upright image, as a JSON list with five
            points per face.
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
    """Write a `synthesis.csv`.

    Raises:
        OutputError: the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(photo.to_dict() for photo in photos)
    write_atomic(path, text.getvalue())


def read_synthesis(path: Path | str) -> list[MadePhoto]:
    """Read a `synthesis.csv`.

    Raises:
        DatasetError: the file cannot be read, or columns are missing.
    """
    return read_table(path, _COLUMNS, lambda values, _: MadePhoto.from_dict(values), remedy=_REMEDY)


def read_origins(folder: Path | str) -> dict[str, Origin]:
    """Return the origins of all synthesized photos below a folder, by path relative to the folder.

    The result is empty if there is no `synthesis.csv`.

    Raises:
        DatasetError: a `synthesis.csv` cannot be read.
    """
    folder = Path(folder)
    origins: dict[str, Origin] = {}
    for path in sorted(folder.rglob(SYNTHESIS)):
        photos = read_synthesis(path)
        left_out = {photo.sha256 for photo in photos if photo.status == "left_out"}
        # by file name only, because a photo may have been moved to the other class
        places = {found.name: found for found in path.parent.rglob("*")}
        for photo in photos:
            if photo.file and (place := places.get(Path(photo.file).name)):
                origins[place.relative_to(folder).as_posix()] = Origin(
                    photo.sha256, photo.phash, photo.sha256 in left_out
                )
    return origins
