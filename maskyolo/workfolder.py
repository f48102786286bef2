"""The folder a data set is made in, `OUT.part`, and its way into place: a kill at any moment loses nothing.

While work goes on, pictures and labels lie flat in `images` and `labels`, and the journal has a line for each photo that is done. At
the end they move into their splits' folders, the old set, if there is one, moves into the new, the new one takes its place, and the
old is removed. Every step is one that can be done again or undone.
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
from maskyolo.errors import OutputError

if sys.platform != "win32":
    import fcntl

__all__ = [
    "JOURNAL",
    "MARKER",
    "SETTINGS",
    "SHEETS",
    "arrange",
    "claim",
    "flatten",
    "foreign_file",
    "locked",
    "locked_set",
    "publish",
    "recover",
    "working_folder",
]

JOURNAL = "journal.jsonl"
#: Names the command whose working folder it lies in.
MARKER = ".maskyolo"
SETTINGS = "convert.yaml"
SHEETS = "sheets"
_KINDS = ("images", "labels")
_OWN = {*_KINDS, SHEETS, SETTINGS, JOURNAL, MARKER, "data.yaml", "ledger.csv"}
_REPLACED = ".replaced"
_SCENE = re.compile(r"scene_\d{5,}\.(jpg|txt)")  # as scenes.write_scenes names them


def working_folder(out: Path | str) -> tuple[Path, Path]:
    """Return the folder to make, through links to it, and the one to make it in beside it.

    Raises:
        OutputError: there is nothing beside it, as it is a disk's root.
    """
    out = Path(out)
    if (
        out.is_symlink() or not out.name
    ):  # a rename would replace the link, and leave what it leads to behind
        out = out.resolve()
    if not out.name:
        raise OutputError(
            f"cannot write to {out}: it is no folder of its own; choose another folder"
        )
    return out, out.with_name(out.name + ".part")


@contextmanager
def locked(part: Path) -> Iterator[None]:
    """Make the working folder and keep other runs out of it, where the system can lock folders (not on Windows); a kill unlocks it.

    Raises:
        OutputError: another run is at work in it.
    """
    part.mkdir(parents=True, exist_ok=True)
    if sys.platform == "win32":
        yield
        return
    folder = os.open(part, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            theirs = not (
                part.exists() and os.path.samestat(os.fstat(folder), part.stat())
            )  # it has become a data set since
        except BlockingIOError:
            theirs = True
        if theirs:
            raise OutputError(
                f"cannot work in {part}: another run is at work in it; wait until it is done, or choose another folder"
            )
        try:
            yield
        finally:
            with suppress(OSError):
                part.rmdir()  # nothing was done
    finally:
        os.close(folder)


def locked_set(root: Path) -> AbstractContextManager[None]:
    """Keep other runs, those that make the set anew as well, out of a data set that is changed in place; see `locked`."""
    part = working_folder(root)[1]
    return locked(
        part if os.access(part.parent, os.W_OK) else root
    )  # where no working folder can be made none is at work


def claim(part: Path, command: str, folders: Iterable[str] = (), names: str = "") -> None:
    """Make the working folder of `command`, or take over the one that it left behind when it was interrupted.

    Args:
        part: the folder.
        command: who works in it.
        folders: folders in it from which the command will remove what it does not need.
        names: a pattern of the names it gives to the files in them.

    Raises:
        OutputError: the folder has files in it and is not this command's, or another's file is in one of `folders`.
    """
    part.mkdir(parents=True, exist_ok=True)
    marker = part / MARKER
    found = min((path.name for path in part.iterdir() if path != marker), default=None)
    if found and not (marker.is_file() and marker.read_bytes() == command.encode()):
        raise _not_ours(part, found, command)
    for path in (path for folder in folders for path in sorted((part / folder).rglob("*"))):
        if path.is_file() and not re.fullmatch(names, path.name.removesuffix(".part")):
            raise _not_ours(part, path.relative_to(part).as_posix(), command)
    marker.write_text(command, encoding="utf-8")


def recover(part: Path, out: Path) -> None:
    """Finish or undo what a kill during `publish` left half done."""
    if (part / _REPLACED).is_dir() and not out.exists():
        (part / _REPLACED).replace(out)
    if (out / "ledger.csv").is_file():
        _tidy(out)


def flatten(part: Path) -> None:
    """Make the folders of pictures and labels, or bring back into them what an interrupted `arrange` had moved on."""
    for kind in _KINDS:
        (part / kind).mkdir(parents=True, exist_ok=True)
        for split in SPLITS:
            folder = part / kind / split
            if folder.is_dir():
                for path in folder.iterdir():
                    path.replace(part / kind / path.name)
                folder.rmdir()


def arrange(part: Path, placed: Iterable[tuple[str, str]], splits: Iterable[str]) -> None:
    """Move pictures and labels, (file name of the picture, split), into the folders of their splits; remove what else there is."""
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
    """Put the finished working folder in place of `out`; files in `out` that no conversion made move along."""
    if (out / "ledger.csv").is_file():
        out.replace(part / _REPLACED)
    elif out.is_dir():
        out.rmdir()
    part.replace(out)
    _tidy(out)


def foreign_file(out: Path, placed: Iterable[str]) -> Path | None:
    """Return a file among the pictures or labels of `out` that no conversion put there, or None.

    Args:
        out: a data set.
        placed: its pictures, relative to it.
    """
    pictures = {Path(image) for image in placed}
    known = pictures | {Path("labels", *path.parts[1:]).with_suffix(".txt") for path in pictures}
    for kind in _KINDS:
        for path in sorted((out / kind).rglob("*")):
            cache = path.suffix in (".cache", ".npy")  # Ultralytics'
            if (
                path.is_file()
                and not cache
                and not _SCENE.fullmatch(path.name)
                and path.relative_to(out) not in known
            ):
                return path
    return None


def _not_ours(part: Path, found: str, command: str) -> OutputError:
    return OutputError(
        f"cannot work in {part}: {found} in it is not of an interrupted {command}; move it away or choose another --out"
    )


def _tidy(out: Path) -> None:
    replaced = out / _REPLACED
    if replaced.is_dir():
        for path in replaced.iterdir():
            if path.name not in _OWN:
                path.replace(out / path.name)
        shutil.rmtree(replaced)
    (out / JOURNAL).unlink(missing_ok=True)
    (out / MARKER).unlink(missing_ok=True)
