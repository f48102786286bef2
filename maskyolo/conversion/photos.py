"""Find the photos in class folders; each gets the class of its folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from maskyolo.core.classes import ALL_CLASS_NAMES, CLASS_NAMES, class_of, plain_name
from maskyolo.core.files import walk_files
from maskyolo.core.labels import Labels
from maskyolo.dataset.formats.base import CLASS_CHOICES
from maskyolo.dataset.split_names import split_of
from maskyolo.dataset.synthesis_log import SYNTHESIS, Origin, read_origins
from maskyolo.errors import DatasetError

__all__ = ["Photo", "find_photos"]

_LITTER = {"thumbs.db", "desktop.ini", SYNTHESIS}


@dataclass(frozen=True)
class Photo:
    """A photo to convert.

    Attributes:
        path: the file.
        source: its path relative to the source folder, with forward slashes; identifies the photo
            in the ledger.
        class_name: what its folder stands for. For a photo with given labels: the class of its
            largest face, empty if it has none.
        labels: boxes in pixels of the upright image, if the source has them; they are used
            unchanged, and no faces are detected. None for a photo of a class folder.
        origin: the photo it was made from, if `synthesize` made it.
        split: train, val or test, if the source specifies it. Near-copies of one another all go to
            the split of the first of them.
        status: a status of the ledger, if the photo is already known to be unusable; else empty.
        reason: why, or other remarks from the source, for the ledger.
        annotated: whether its source specifies which faces it shows; False only for images of an
            annotated set that have no annotation.
    """

    path: Path
    source: str
    class_name: str
    labels: Labels | None = None
    origin: Origin | None = None
    split: str = ""
    status: str = ""
    reason: str = ""
    annotated: bool = True


def find_photos(
    source: Path | str, class_map: Mapping[str, str] | None = None, both: bool = True
) -> list[Photo]:
    """List the files in all class folders below `source`, sorted.

    A folder of masks worn incorrectly, such as `incorrect_mask`, is a third class.
    Folders inside a class folder belong to its class. Links to folders are followed. Folders that
    cannot be read and broken links are listed as `unreadable`.

    Args:
        source: the folder that contains the class folders.
        class_map: additional folder names and what each stands for: a class, or ignore (or drop)
            for a folder to leave out.
        both: whether to raise an error if one of the two classes has no photos.

    Raises:
        DatasetError: there is no such folder, it has no class folders, a class has no files, or a
            folder with files is not a known class.
    """
    source = Path(source)
    if not source.is_dir():
        raise DatasetError(
            f"no folder {source}", "give the folder that contains with_mask and without_mask"
        )
    known = {plain_name(folder): name for folder, name in (class_map or {}).items()}
    for name in known.values():
        if name not in CLASS_CHOICES:
            raise DatasetError(
                f"unknown class '{name}' in the class map",
                f"choose one of {', '.join(CLASS_CHOICES)}",
            )
    origins = read_origins(source)
    photos, unknown = [], Counter[str]()
    for path, reason in _list_files(source):
        relative = path.relative_to(source)
        if path.name.lower() in _LITTER or any(part.startswith(".") for part in relative.parts):
            continue
        folders = relative.parts if path.is_dir() else relative.parts[:-1]
        class_name = _class_of_folders(folders, known)
        if not class_name:
            unknown[Path(*folders).as_posix()] += 1
        elif class_name in ALL_CLASS_NAMES:
            photos.append(
                Photo(
                    path,
                    relative.as_posix(),
                    class_name,
                    split=split_of(relative.as_posix()),
                    origin=origins.get(relative.as_posix()),
                    status="unreadable" if reason else "",
                    reason=reason,
                )
            )
    _check_folders(source, photos, unknown, CLASS_NAMES if both else ())
    return photos


def _list_files(source: Path) -> list[tuple[Path, str]]:
    """List all files below a folder, sorted, each with the reason it cannot be read, or ""."""
    reasons: dict[Path, str] = {}

    def unreadable(folder: Path, error: OSError) -> None:
        reasons[folder] = f"folder not read: {(error.strerror or str(error)).lower()}"

    found = list(walk_files(source, unreadable))
    for path in found:
        if not path.is_file():
            reasons[path] = "broken link" if path.is_symlink() else "not a file"
    return [(path, reasons.get(path, "")) for path in sorted({*found, *reasons})]


def _class_of_folders(folders: Sequence[str], known: Mapping[str, str]) -> str:
    """Return what the outermost folder with a known name stands for; empty if there is none."""
    for folder in folders:
        name = known.get(plain_name(folder)) or class_of(folder)
        if name not in ("", "keep"):
            return name
    return ""


def _check_folders(
    source: Path, photos: Sequence[Photo], unknown: Counter[str], wanted: Sequence[str]
) -> None:
    """Raise DatasetError if there are no photos, unknown folders, or a wanted class is missing."""
    if not photos:
        places = ", ".join(sorted(unknown)[:5]) or "nothing"
        raise DatasetError(
            f"no class folders in {source}: found files in {places}",
            "sort the photos into with_mask and without_mask",
        )
    # loose files next to the class folders, such as a README, are ignored
    folder = next((folder for folder in unknown if folder != "."), None)
    if folder is not None:
        raise DatasetError(
            f"unknown class folder '{folder}' in {source} ({unknown[folder]} files)",
            f"map it with --map {folder.split('/')[-1]}=CLASS, where CLASS is "
            "with_mask, without_mask, incorrect_mask or ignore",
        )
    for name in wanted:
        if not any(photo.class_name == name for photo in photos):
            raise DatasetError(
                f"class '{name}' has no photos in {source}", "a detector needs both classes"
            )
