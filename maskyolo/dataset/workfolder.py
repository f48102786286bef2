"""The folder that a data set is built in, `OUT.part`, and how it replaces `OUT`.

Stopping at any moment loses nothing. While photos are processed, images and labels are in flat
`images` and `labels` folders, and the journal has a line per finished photo. At the end, they move
to the folders of their splits. If there is an old set, it moves into the new one, the new one takes
its place, and the old one is removed. Every step can be repeated or undone.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from maskyolo.core.classes import SPLITS
from maskyolo.core.files import inside, part_of, sync_files, sync_folder, sync_tree, write_atomic
from maskyolo.core.item_errors import ERROR_LOG
from maskyolo.errors import OutputError

if sys.platform != "win32":
    import fcntl

__all__ = [
    "JOURNAL",
    "MARKER",
    "SETTINGS",
    "SHEETS",
    "arrange",
    "check_free",
    "claim",
    "flatten",
    "foreign_file",
    "is_taken",
    "locked",
    "locked_set",
    "publish",
    "recover",
    "working_folder",
]

JOURNAL = "journal.jsonl"
#: File with the name of the command that a working folder belongs to.
MARKER = ".maskyolo"
SETTINGS = "convert.yaml"
SHEETS = "sheets"
_KINDS = ("images", "labels")
_OWN = {*_KINDS, SHEETS, SETTINGS, JOURNAL, MARKER, ERROR_LOG, "data.yaml", "ledger.csv"}
_REPLACED = ".replaced"
_SCENE = re.compile(r"scene_\d{5,}\.(jpg|txt)")  # as scenes.write_scenes names them


def working_folder(out: Path | str) -> tuple[Path, Path]:
    """Return the folder to create, with links to it resolved, and the working folder next to it.

    Raises:
        OutputError: `out` is the root of a disk, so there is no place next to it.
    """
    out = Path(out)
    # Renaming to a link would replace the link and leave its target behind.
    if out.is_symlink() or not out.name:
        out = out.resolve()
    if not out.name:
        raise OutputError(
            f"cannot write to {out}: it is the root of a disk", "choose another folder"
        )
    return out, out.with_name(out.name + ".part")


def is_taken(out: Path) -> bool:
    """Return whether an output folder already exists; an empty folder does not count."""
    return out.exists() and (not out.is_dir() or any(out.iterdir()))


def check_free(out: Path, what: str) -> None:
    """Check that an output folder does not exist; to be called again after it is `locked`.

    Raises:
        OutputError: it exists.
    """
    if is_taken(out):
        raise OutputError(
            f"cannot write the {what} to {out}: it exists", "choose another folder or remove it"
        )


@contextmanager
def locked(part: Path) -> Iterator[None]:
    """Create the working folder and lock it against other runs (not on Windows).

    The lock ends with the process, even if the process is killed.

    Raises:
        OutputError: another run is using it.
    """
    part.mkdir(parents=True, exist_ok=True)
    if sys.platform == "win32":
        yield
        return
    folder = os.open(part, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # If another run has just finished, it has renamed its working folder to the data set.
            theirs = not (part.exists() and os.path.samestat(os.fstat(folder), part.stat()))
        except BlockingIOError:
            theirs = True
        if theirs:
            raise OutputError(
                f"cannot work in {part}: another run is using it",
                "wait until it is done, or choose another folder",
            )
        try:
            yield
        finally:
            with suppress(OSError):
                part.rmdir()  # succeeds only if the folder is empty
    finally:
        os.close(folder)


def locked_set(root: Path) -> AbstractContextManager[None]:
    """Lock a data set against all runs, including those that replace it, to change it in place.

    See `locked`.
    """
    part = working_folder(root)[1]
    # Where no working folder can be created, no run can be using one.
    return locked(part if os.access(part.parent, os.W_OK) else root)


def claim(part: Path, command: str, folders: Iterable[str] = (), names: str = "") -> None:
    """Create the working folder of `command`, or take over the one from an interrupted run.

    Args:
        part: the folder.
        command: the command that uses it.
        folders: folders in it from which the command removes files that it does not need.
        names: a regular expression for the names of the command's files in these folders.

    Raises:
        OutputError: the folder has files of another origin, or a file in one of `folders` does not
            match `names`.
    """
    part.mkdir(parents=True, exist_ok=True)
    marker = part / MARKER
    own = {marker.name, part_of(marker).name}
    for path in (part, *part.iterdir()):
        if path.is_symlink():  # we create none, and it would redirect the output elsewhere
            raise _not_ours(part, path.name, command)
    found = min((path.name for path in part.iterdir() if path.name not in own), default=None)
    ours = marker.is_file() and marker.read_bytes() == command.encode()
    if found and not ours:
        raise _not_ours(part, found, command)
    for path in (path for folder in folders for path in _below(part, folder)):
        if path.is_file() and not re.fullmatch(names, path.name.removesuffix(".part")):
            raise _not_ours(part, path.relative_to(part).as_posix(), command)
    if not ours:  # first, because it marks the folder as ours
        write_atomic(marker, command)
        sync_files([marker])


def recover(part: Path, out: Path) -> None:
    """Complete or undo a `publish` that was killed."""
    replaced = part / _REPLACED
    if replaced.is_dir() and not replaced.is_symlink() and not out.exists():
        replaced.replace(out)
    if (out / "ledger.csv").is_file():
        _tidy(out)


def flatten(part: Path) -> None:
    """Create the folders of images and labels, and undo an interrupted `arrange`."""
    for kind in _KINDS:
        (part / kind).mkdir(parents=True, exist_ok=True)
        for split in SPLITS:
            folder = part / kind / split
            if folder.is_dir() and inside(part, f"{kind}/{split}"):
                for path in folder.iterdir():
                    path.replace(part / kind / path.name)
                folder.rmdir()


def arrange(part: Path, placed: Iterable[tuple[str, str]], splits: Iterable[str]) -> None:
    """Move images and labels to the folders of their splits, and remove all others.

    Args:
        part: the working folder.
        placed: file name and split of each image.
        splits: the splits to create folders for.
    """
    for kind in _KINDS:
        for split in splits:
            (part / kind / split).mkdir()
    for name, split in placed:
        label = Path(name).with_suffix(".txt").name
        (part / "images" / name).replace(part / "images" / split / name)
        (part / "labels" / label).replace(part / "labels" / split / label)
    for kind in _KINDS:
        for path in (part / kind).iterdir():
            if path.is_file():
                path.unlink()


def publish(part: Path, out: Path) -> None:
    """Replace `out` with the finished working folder; files that convert did not make are kept.

    Everything is on the disk before anything moves, and each move before the next.
    """
    sync_tree(part)
    if (out / "ledger.csv").is_file():
        out.replace(part / _REPLACED)
        sync_folder(part)
        sync_folder(out.parent)
    elif out.is_dir():
        out.rmdir()
    part.replace(out)
    sync_folder(out.parent)
    _tidy(out)


def foreign_file(out: Path, placed: Iterable[str]) -> Path | None:
    """Return a file among the images or labels of `out` that convert did not put there, or None.

    Args:
        out: a data set.
        placed: paths of its images, relative to it.
    """
    images = {Path(image) for image in placed}
    known = images | {Path("labels", *path.parts[1:]).with_suffix(".txt") for path in images}
    for kind in _KINDS:
        for path in sorted((out / kind).rglob("*")):
            cache = path.suffix in (".cache", ".npy")  # written by Ultralytics
            if (
                path.is_file()
                and not cache
                and not _SCENE.fullmatch(path.name)
                and path.relative_to(out) not in known
            ):
                return path
    return None


def _below(part: Path, folder: str) -> list[Path]:
    """Return all files and folders in a folder of the working folder, sorted.

    Raises:
        DatasetError: it is a link to a place outside.
    """
    place = part / folder
    return sorted(inside(part, folder).rglob("*")) if place.exists() or place.is_symlink() else []


def _not_ours(part: Path, found: str, command: str) -> OutputError:
    return OutputError(
        f"cannot work in {part}: {found} in it is not from an interrupted {command}",
        "move it away or choose another --out",
    )


def _tidy(out: Path) -> None:
    replaced = out / _REPLACED
    if replaced.is_dir() and not replaced.is_symlink():
        for path in replaced.iterdir():
            if path.name not in _OWN:
                path.replace(out / path.name)
        sync_folder(out)
        shutil.rmtree(replaced)
    (out / JOURNAL).unlink(missing_ok=True)
    (out / MARKER).unlink(missing_ok=True)
