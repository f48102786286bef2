"""Reads items that are no local files: members of tar files, rows of Parquet files, and objects.

Object storage is read through `pyarrow.fs`: `s3://`, `gs://` and `abfs://`. Credentials come from
the environment or the machine, as its tools expect them, and are never part of a plan.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from maskyolo.batch.arrow import load_arrow
from maskyolo.batch.plans import Item
from maskyolo.core.images import MAX_FILE
from maskyolo.errors import FULL_DISK, SourceError

__all__ = ["Fetcher", "content_column", "filesystem", "open_place", "stat_place", "store_errors"]

#: Number of objects that are read ahead at once, and the bytes beyond which fewer are.
_AHEAD, _BYTES = 16, 64 << 20


@lru_cache(maxsize=64)
def filesystem(store: str) -> Any:
    """Return PyArrow's file system for the address of a bucket or container."""
    from pyarrow import fs

    load_arrow()
    return fs.FileSystem.from_uri(store)[0]


@contextmanager
def store_errors(name: str) -> Iterator[None]:
    """Turn errors of reading an item into a `SourceError` about it."""
    arrow = load_arrow()
    try:
        yield
    except FileNotFoundError as error:
        raise SourceError(f"cannot read {name}: no such file or object", "check it") from error
    except (OSError, EOFError, arrow.ArrowException) as error:
        if getattr(error, "errno", None) in FULL_DISK:
            raise
        reason = " ".join((getattr(error, "strerror", None) or str(error)).split())[:200]
        raise SourceError(
            f"cannot read {name}: {reason}", "check the address and your permissions"
        ) from error


def open_place(store: str, place: str) -> BinaryIO:
    """Open a file, or an object of a store, for reading at any offset.

    Raises:
        OSError: it cannot be opened.
    """
    if not store:
        return Path(place).open("rb")
    opened: BinaryIO = filesystem(store).open_input_file(place)
    return opened


def stat_place(store: str, place: str) -> tuple[int, int]:
    """Return size in bytes and time of change in ns of a file or object.

    Raises:
        OSError: there is none, or it cannot be reached.
    """
    if not store:
        found = Path(place).stat()
        return found.st_size, found.st_mtime_ns
    info = filesystem(store).get_file_info(place)
    if info.size is None:
        raise FileNotFoundError(place)
    return int(info.size), int(info.mtime_ns or -1)


def content_column(schema: Any) -> tuple[str, bool] | None:
    """Return the first column of a Parquet file with bytes, and whether it is a struct.

    Data sets of Hugging Face have a struct with `bytes` and `path`.
    """
    arrow = load_arrow()
    for field in schema:
        if arrow.types.is_binary(field.type) or arrow.types.is_large_binary(field.type):
            return field.name, False
        if arrow.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0:
            return field.name, True
    return None


class Fetcher:
    """Reads the bytes of items; those of object storage are read ahead in threads.

    Args:
        items: the items in the order in which they will be read.
    """

    def __init__(self, items: Iterable[Item]) -> None:
        self._waiting = deque(item for item in items if item.store and item.kind == "image")
        self._pool = ThreadPoolExecutor(_AHEAD) if self._waiting else None
        self._futures: dict[int, tuple[int, Future[bytes]]] = {}
        self._known: dict[tuple[str, str], tuple[int, int]] = {}
        self._rows: tuple[tuple[str, str, int], Any] | None = None
        self._lock = threading.Lock()

    def close(self) -> None:
        """Stop reading ahead."""
        if self._pool:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def stat(self, item: Item) -> tuple[int, int]:
        """Return the present size and time of change of the file that contains an item.

        Raises:
            OSError: there is none, or it cannot be reached.
        """
        key = item.store, item.place or item.name
        if not item.is_inside:
            return stat_place(*key)
        if key not in self._known:  # once for all items in the file
            self._known[key] = stat_place(*key)
        return self._known[key]

    def read(self, item: Item, check: Callable[[Item], None]) -> bytes:
        """Return the bytes of an image, once `check` has accepted the item.

        Raises:
            SourceError: it cannot be read, or is too large.
        """
        while self._pool and self._waiting and self._has_room():
            following = self._waiting.popleft()
            future = self._pool.submit(self._read, following, check)
            self._futures[following.number] = following.bytes, future
        ahead = self._futures.pop(item.number, None)
        return ahead[1].result() if ahead else self._read(item, check)

    @contextmanager
    def copy(self, item: Item) -> Iterator[Path]:
        """Copy a video to a temporary file, and remove that afterwards.

        Raises:
            SourceError: it cannot be read.
        """
        with tempfile.NamedTemporaryFile(suffix=Path(item.name).suffix) as file:
            with store_errors(item.name), open_place(item.store, item.place) as opened:
                if item.is_inside:
                    opened.seek(item.offset)
                    left = item.length
                    while left and (block := opened.read(min(left, 1 << 20))):
                        file.write(block)
                        left -= len(block)
                else:
                    shutil.copyfileobj(opened, file, 1 << 20)
                file.flush()
            yield Path(file.name)

    def _has_room(self) -> bool:
        return len(self._futures) < _AHEAD and (
            not self._futures or sum(size for size, _ in self._futures.values()) < _BYTES
        )

    def _read(self, item: Item, check: Callable[[Item], None]) -> bytes:
        with store_errors(item.name):
            check(item)
            if item.is_row:
                with self._lock:
                    return self._row(item)
            if item.bytes > MAX_FILE:
                raise SourceError(
                    f"cannot read {item.name}: it has {item.bytes} bytes, and the limit is "
                    f"{MAX_FILE}",
                    "scale it down first",
                )
            with closing(open_place(item.store, item.place)) as opened:
                opened.seek(max(item.offset, 0))
                data = opened.read(item.bytes)
        if len(data) < item.bytes:
            raise SourceError(
                f"cannot read {item.name}: it breaks off after {len(data)} of {item.bytes} bytes",
                "copy it again",
            )
        return data

    def _row(self, item: Item) -> bytes:
        """Return the bytes in a row of a Parquet file, whose row group is kept for the next."""
        arrow, key = load_arrow(), (item.store, item.place, item.offset)
        if self._rows is None or self._rows[0] != key:
            self._rows = None  # free it before the next one is read
            with (
                open_place(item.store, item.place) as opened,
                arrow.parquet.ParquetFile(opened) as file,
            ):
                found = content_column(file.schema_arrow)
                if found is None:
                    raise SourceError(f"{item.place} has no column of bytes", "check the file")
                column = file.read_row_group(item.offset, columns=[found[0]]).column(0)
            self._rows = key, (column, found[1])
        column, is_struct = self._rows[1]
        value = column[item.length].as_py()
        data = value and value["bytes"] if is_struct else value
        if data is None:
            raise SourceError(f"cannot read {item.name}: the row has no bytes", "check the file")
        return bytes(data)
