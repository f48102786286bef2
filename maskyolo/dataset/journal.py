"""The journal of a working folder: what is finished, so that an interrupted run continues.

It has one line per photo. A line is written once the files that it refers to are on the disk, so
every line is valid even after a power cut. Each line starts with its own checksum and contains
those of its files. Entries that do not match, and all entries after a damaged line, are done again.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import re
import time
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maskyolo.core.files import fresh_part, inside, move_into_place, sync_files
from maskyolo.core.parsing import parse_json
from maskyolo.core.text import counted
from maskyolo.errors import DatasetError

__all__ = ["Entry", "Journal", "checksum", "read_journal"]

#: Seconds between two syncs; a kill loses at most the work of this time.
_PAUSE = 1.0


@dataclass(frozen=True)
class Entry:
    """A line of the journal.

    Attributes:
        content: what it records, in JSON types.
        files: `checksum` of each file that it refers to, by path relative to the working folder.
    """

    content: Any
    files: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, content: Any, folder: Path, names: Iterable[str]) -> Entry:
        """Return an entry about files that were just written to a working folder.

        Raises:
            OSError: a file cannot be read.
        """
        return cls(content, {name: checksum((folder / name).read_bytes()) for name in names})

    def is_intact(self, folder: Path) -> bool:
        """Return whether all its files in a working folder have the size and content they had."""
        try:
            return all(
                (path := inside(folder, name)).is_file() and checksum(path.read_bytes()) == known
                for name, known in self.files.items()
            )
        except (OSError, DatasetError):
            return False


class Journal:
    """Appends entries to a journal, in batches.

    Args:
        path: the journal; an existing one is replaced.
        settings: what the run depends on, in JSON types; see `read_journal`.
        entries: the entries to start with.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(self, path: Path, settings: Any, entries: Iterable[Entry] = ()) -> None:
        self._folder = path.parent
        lines = [_line([settings]), *map(_entry_line, entries)]
        part = fresh_part(path)
        part.write_bytes(b"".join(lines))
        move_into_place(part, path)
        self._file = path.open("ab")
        self._waiting: list[Entry] = []
        self._synced = time.monotonic()

    def add(self, entry: Entry) -> None:
        """Add an entry, whose files are written, to the next batch.

        Raises:
            OSError: the disk is full or fails.
        """
        self._waiting.append(entry)
        if time.monotonic() - self._synced >= _PAUSE:
            self._flush()

    def close(self) -> None:
        """Write what is waiting, and close the file.

        Raises:
            OSError: the disk is full or fails.
        """
        try:
            self._flush()
        finally:
            self._file.close()

    def _flush(self) -> None:
        batch, self._waiting = self._waiting, []
        if batch:
            sync_files(self._folder / name for entry in batch for name in entry.files)
            self._file.write(b"".join(map(_entry_line, batch)))
            self._file.flush()
            os.fsync(self._file.fileno())
        self._synced = time.monotonic()


def read_journal(path: Path, settings: Any) -> list[Entry]:
    """Return the entries of an interrupted run, up to the first damaged line.

    A damaged journal is logged as a warning. An unfinished last line is not damage.

    Returns:
        No entries if there is no journal, or if its settings are others.

    Raises:
        OSError: it cannot be read.
    """
    if not path.is_file():
        return []
    *lines, rest = path.read_bytes().split(b"\n")
    contents = list(itertools.takewhile(lambda content: content is not None, map(_content, lines)))
    if len(contents) < len(lines) or b"\0" in rest:
        logging.getLogger("maskyolo").warning(
            "%s is damaged after %s; what it recorded later is done again",
            path,
            counted(max(len(contents) - 1, 0), "entry", "entries"),
        )
    if contents[:1] != [[settings]]:
        return []
    return [Entry(content, files) for content, files in contents[1:]]


def checksum(data: bytes) -> str:
    """Return the size and the CRC-32 of a file's content, which detect damage by a power cut."""
    return f"{len(data)}-{zlib.crc32(data):08x}"


def _entry_line(entry: Entry) -> bytes:
    return _line([entry.content, dict(entry.files)])


def _line(content: Any) -> bytes:
    text = json.dumps(content).encode()
    return b'["%08x", %b]\n' % (zlib.crc32(text), text)


def _content(line: bytes) -> Any:
    """Return the content of a line, or None if it is damaged."""
    found = re.fullmatch(rb'\["([0-9a-f]{8})", (.*)\]', line, re.DOTALL)
    if not found or int(found[1], 16) != zlib.crc32(found[2]):
        return None
    try:
        return parse_json(found[2].decode())
    except ValueError:  # not ours
        return None
