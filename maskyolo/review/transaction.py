"""Changes a data set's files atomically, and keeps everything that is needed to undo it.

A change is a folder `review/NNNN` in the data set. Its subfolders `before` and `after` hold the
changed files under their paths in the data set. A file that is only in `before` is removed; one
that is only in `after` is new. The folder's name shows the state of the change:

- `NNNN.part` is being written; the data set is still unchanged.
- `NNNN.doing` and `NNNN.undoing` may have changed some files; the next command continues.
- `NNNN` is done.
- `NNNN.undone` was undone.

The disk has everything in a state before the folder gets the name of the next one. The data set may
be a stranger's, with a folder that they made, so every file is checked to be inside the set.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from maskyolo.core.files import inside, sync_files, sync_folder, sync_tree, write_atomic
from maskyolo.core.parsing import parse_json
from maskyolo.errors import DatasetError, output_errors

__all__ = ["CHANGES", "FOLDER", "Transaction"]

#: Name of the folder of changes in the data set's folder.
FOLDER = "review"

#: Name of the change log, which has one JSON object per line and change.
CHANGES = "changes.jsonl"


class Transaction:
    """One change of a data set.

    Args:
        root: the data set's folder.
        number: number of the change, from 1.
    """

    def __init__(self, root: Path, number: int) -> None:
        self.root, self.number = root, number

    @property
    def folder(self) -> Path:
        """The folder of the change once it is done."""
        return self._at("")

    @classmethod
    def prepare(
        cls, root: Path, files: Mapping[str, bytes | None], log: Sequence[Mapping[str, Any]]
    ) -> Transaction:
        """Write a change to its folder without applying it.

        Args:
            root: the data set's folder.
            files: new content of each file, by its path relative to `root`; None removes it.
            log: the lines of the change log.

        Raises:
            DatasetError: one of the files is outside the data set.
            OutputError: the folder cannot be written.
        """
        change = cls(root, max(_numbers(root), default=0) + 1)
        part = change._at("part")
        with output_errors(part):
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            for name, data in files.items():
                if (place := inside(root, name)).exists():
                    _copy(place, part / "before" / name)
                if data is not None:
                    _put(part / "after" / name, data)
            write_atomic(
                part / CHANGES, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in log)
            )
            sync_tree(part)
        return change

    def commit(self) -> None:
        """Apply the change that `prepare` wrote.

        Raises:
            OutputError: a file cannot be written; another call, or `finish_pending`, continues.
        """
        if self._at("part").is_dir():
            self._move("part", "doing")
        self._apply("doing", "before", "after")
        self._move("doing", "")

    def undo(self, keep: Mapping[str, bytes] | None = None) -> None:
        """Restore every file as it was before, byte for byte.

        Args:
            keep: content to use instead for some files, such as those that `changed_since` lists.

        Raises:
            DatasetError: a file was changed since, and undoing would lose that change.
            OutputError: a file cannot be written.
        """
        keep = dict(keep or {})
        if changed := [name for name in self.changed_since() if name not in keep]:
            others = f" (and {len(changed) - 1} more files)" if len(changed) > 1 else ""
            raise DatasetError(
                f"cannot undo change {self.number} of {self.root}: "
                f"{changed[0]} was changed after it{others}",
                f"the earlier versions are in {self.folder / 'before'}",
            )
        for name, data in keep.items():
            with output_errors(self.folder):
                place = inside(self.root, f"{FOLDER}/{self.folder.name}/before/{name}")
                _put(place, data)
                sync_files([place])
        self._move("", "undoing")
        self._roll_back()

    def files(self) -> list[str]:
        """List the changed files, relative to the data set."""
        return sorted({*self._files("", "before"), *self._files("", "after")})

    def changed_since(self) -> list[str]:
        """List the files, relative to the data set, that are no longer as this change left them."""
        before, after = self._files("", "before"), self._files("", "after")
        changed = [
            name
            for name in after
            if not _same(inside(self.root, name), self.folder / "after" / name)
        ]
        gone = [name for name in before if name not in after]
        return sorted(changed + [name for name in gone if inside(self.root, name).exists()])

    @classmethod
    def last(cls, root: Path) -> Transaction | None:
        """Return the latest completed change that was not undone, or None."""
        done = _numbers(root, "")
        return cls(root, max(done)) if done else None

    @classmethod
    def log(cls, root: Path) -> list[dict[str, Any]]:
        """Return the change logs of all completed changes that were not undone, oldest first."""
        logs = [cls(root, number).folder / CHANGES for number in sorted(_numbers(root, ""))]
        return [change for log in logs for change in _read_log(log)]

    @classmethod
    def finish_pending(cls, root: Path) -> None:
        """Finish a change that was interrupted by a crash.

        Raises:
            OutputError: a file cannot be written.
        """
        for number in _numbers(root, "doing"):
            cls(root, number).commit()
        for number in _numbers(root, "undoing"):
            cls(root, number)._roll_back()

    def _roll_back(self) -> None:
        self._apply("undoing", "after", "before")
        self._move("undoing", "undone")

    def _apply(self, state: str, old: str, new: str) -> None:
        folder = self._at(state)
        old_files, new_files = self._files(state, old), self._files(state, new)
        with output_errors(self.root):
            for name in new_files:
                if not _same(inside(self.root, name), folder / new / name):
                    _copy(folder / new / name, self.root / name)
            gone = sorted({*old_files} - {*new_files})
            for name in gone:
                inside(self.root, name).unlink(missing_ok=True)
            # Older versions of Ultralytics detect an outdated cache only by file sizes.
            for cache in (self.root / "labels").glob("*.cache"):
                inside(self.root, f"labels/{cache.name}").unlink(missing_ok=True)
            sync_files(self.root / name for name in new_files)
            for folder in {(self.root / name).parent for name in gone}:
                sync_folder(folder)

    def _files(self, state: str, which: str) -> list[str]:
        """Return the files in `before` or `after`, relative to that folder.

        Raises:
            DatasetError: one of them is a link to a place outside the data set.
        """
        folder = self._at(state) / which
        found = [path for path in folder.rglob("*") if not path.is_dir()]
        return sorted(
            path.relative_to(folder).as_posix()
            for path in found
            if inside(self.root, path.relative_to(self.root)).is_file()
        )

    def _at(self, state: str) -> Path:
        name = f"{self.number:04d}.{state}" if state else f"{self.number:04d}"
        return inside(self.root, f"{FOLDER}/{name}")

    def _move(self, old: str, new: str) -> None:
        with output_errors(self._at(new)):
            self._at(old).replace(self._at(new))
            sync_folder(self.root / FOLDER)


def _numbers(root: Path, state: str | None = None) -> list[int]:
    """Return the numbers of the changes in a state ("": done), or of all changes."""
    found = []
    folder = root / FOLDER
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        name = re.fullmatch(r"(\d{4,})(?:\.(doing|undoing|undone))?", path.name)
        if name and path.is_dir() and (state is None or (name[2] or "") == state):
            found.append(int(name[1]))
    return found


def _read_log(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a change log.

    Raises:
        DatasetError: the file is missing or damaged.
    """
    number = 0
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        changes = []
        for number, line in enumerate(lines, 1):  # noqa: B007  for the message
            change = parse_json(line)
            _check_change(change)
            changes.append(change)
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DatasetError(
            f"cannot read the change log {path}, line {number}: {reason}",
            f"move {path.parent} out of the data set; its changes then no longer count as applied",
        ) from error
    return changes


def _check_change(change: Any) -> None:
    """Raise an error unless a line of the log has what `csv_edits` reads from it."""
    str(change["image"] + change["what"])
    for face in (change["before"], change["after"]):
        if face is not None:
            str(face["class"] + "")
            _, _, _, _ = map(float, face["box"])


def _same(path: Path, other: Path) -> bool:
    return path.is_file() and path.read_bytes() == other.read_bytes()


def _put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, data)


def _copy(source: Path, target: Path) -> None:
    """Copy a file to a temporary name next to its target, then move it into place."""
    _put(target, source.read_bytes())
