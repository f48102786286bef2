"""Changes a data set's files atomically, and keeps everything that is needed to undo it.

A change is a folder `review/NNNN` in the data set. Its subfolders `before` and `after` hold the
changed files under their paths in the data set. A file that is only in `before` is removed; one
that is only in `after` is new. The folder's name shows the state of the change:

- `NNNN.part` is being written; the data set is still unchanged.
- `NNNN.doing` and `NNNN.undoing` may have changed some files; the next command continues.
- `NNNN` is done.
- `NNNN.undone` was undone.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from maskyolo.core.files import write_atomic
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
        return self.root / FOLDER / f"{self.number:04d}"

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
            OutputError: the folder cannot be written.
        """
        change = cls(root, max(_numbers(root), default=0) + 1)
        part = change._at("part")
        with output_errors(part):
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            for name, data in files.items():
                if (root / name).exists():
                    _copy(root / name, part / "before" / name)
                if data is not None:
                    _put(part / "after" / name, data)
            write_atomic(
                part / CHANGES, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in log)
            )
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
                _put(self.folder / "before" / name, data)
        self._move("", "undoing")
        self._roll_back()

    def files(self) -> list[str]:
        """List the changed files, relative to the data set."""
        return sorted({*_files(self.folder / "before"), *_files(self.folder / "after")})

    def changed_since(self) -> list[str]:
        """List the files, relative to the data set, that are no longer as this change left them."""
        before, after = _files(self.folder / "before"), _files(self.folder / "after")
        changed = [
            name for name in after if not _same(self.root / name, self.folder / "after" / name)
        ]
        return sorted(
            changed + [name for name in before if name not in after and (self.root / name).exists()]
        )

    @classmethod
    def last(cls, root: Path) -> Transaction | None:
        """Return the latest completed change that was not undone, or None."""
        done = _numbers(root, "")
        return cls(root, max(done)) if done else None

    @classmethod
    def log(cls, root: Path) -> list[dict[str, Any]]:
        """Return the change logs of all completed changes that were not undone, oldest first."""
        logs = [cls(root, number).folder / CHANGES for number in sorted(_numbers(root, ""))]
        return [
            json.loads(line)
            for log in logs
            for line in log.read_text(encoding="utf-8").splitlines()
        ]

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
        old_files, new_files = _files(folder / old), _files(folder / new)
        with output_errors(self.root):
            for name in new_files:
                if not _same(self.root / name, folder / new / name):
                    _copy(folder / new / name, self.root / name)
            for name in sorted({*old_files} - {*new_files}):
                (self.root / name).unlink(missing_ok=True)
            # Older versions of Ultralytics detect an outdated cache only by file sizes.
            for cache in (self.root / "labels").glob("*.cache"):
                cache.unlink(missing_ok=True)

    def _at(self, state: str) -> Path:
        return self.folder.with_name(f"{self.number:04d}.{state}") if state else self.folder

    def _move(self, old: str, new: str) -> None:
        with output_errors(self._at(new)):
            self._at(old).replace(self._at(new))


def _numbers(root: Path, state: str | None = None) -> list[int]:
    """Return the numbers of the changes in a state ("": done), or of all changes."""
    found = []
    folder = root / FOLDER
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        name = re.fullmatch(r"(\d{4,})(?:\.(doing|undoing|undone))?", path.name)
        if name and path.is_dir() and (state is None or (name[2] or "") == state):
            found.append(int(name[1]))
    return found


def _files(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )


def _same(path: Path, other: Path) -> bool:
    return path.is_file() and path.read_bytes() == other.read_bytes()


def _put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, data)


def _copy(source: Path, target: Path) -> None:
    """Copy a file to a temporary name next to its target, then move it into place."""
    _put(target, source.read_bytes())
