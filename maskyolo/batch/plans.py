"""A plan: the items of an archive in shards, and the settings with which all are processed."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

from maskyolo.batch.arrow import load_arrow
from maskyolo.batch.options import PlanOptions
from maskyolo.core.parsing import ParseError, read_limited
from maskyolo.core.repeating import typed_value
from maskyolo.errors import MaskyoloError

__all__ = ["FORMAT", "ITEMS", "PARTS", "PLAN", "Item", "Plan", "read_plan", "shown"]

#: Version of the folder's layout.
FORMAT = 2
#: The files and the folder of a plan.
PLAN, ITEMS, PARTS = "plan.json", "items.parquet", "parts"


@dataclass(frozen=True)
class Item:
    """An image or video of the archive.

    Attributes:
        number: its position in the plan, from 0.
        name: its path, as `detect` names it.
        kind: `image`, `animation`, `video`, or `unreadable`.
        size: bytes of the file that contains it when it was planned; -1 if unknown.
        mtime: time of its last change when it was planned, in ns since 1970; -1 if unknown.
        problem: why it is unreadable, as in `MaskyoloError`.
        remedy: what can be done about that.
        store: address of the bucket or container with the file; empty for a local file.
        place: the file that contains it; empty for a local file of its own.
        offset: where it begins in a tar file, or its row group in a Parquet file; else -1.
        length: its bytes in a tar file, or its row in the row group; else -1.
    """

    number: int
    name: str
    kind: str
    size: int = -1
    mtime: int = -1
    problem: str = ""
    remedy: str = ""
    store: str = ""
    place: str = ""
    offset: int = -1
    length: int = -1

    @property
    def is_inside(self) -> bool:
        """Whether it is a part of a tar or Parquet file."""
        return self.offset >= 0

    @property
    def is_row(self) -> bool:
        """Whether it is a row of a Parquet file."""
        return self.is_inside and self.place.lower().endswith(".parquet")

    @property
    def bytes(self) -> int:
        """Its own size in bytes; that of a row is unknown, and -1."""
        return -1 if self.is_row else self.length if self.is_inside else self.size

    @property
    def source(self) -> str:
        """The name as text that can be stored: bytes that are not UTF-8 are escaped."""
        return shown(self.name)

    def restore(self, text: str) -> str:
        """Return a text about the item as it was before `shown`."""
        if self.source == self.name:
            return text
        for name in (self.name, self.name.replace("\n", "\\x0a")):  # the latter in errors
            text = text.replace(shown(name), name)
        return text


@dataclass(frozen=True)
class Plan:
    """A plan that was read from its folder.

    Attributes:
        out: the folder.
        id: checksum of items, settings and weights; each part has it.
        base: the working folder in which it was planned, where relative paths begin.
        sources: what was planned, as given.
        options: the settings, with runtime, precision and inference size fixed.
        model: file, checksum and runtime of the model.
        classes: names of the classes that it reports, by class id.
        sizes: number of items of each shard.
    """

    out: Path
    id: str
    base: Path
    sources: tuple[str, ...]
    options: PlanOptions
    model: Mapping[str, str]
    classes: tuple[str, ...]
    sizes: tuple[int, ...]

    def part(self, shard: int) -> Path:
        """Return the file with the results of a shard; it exists once the shard is finished."""
        return self.out / PARTS / f"{shard:06}.parquet"

    def missing(self) -> list[int]:
        """Return the shards that are not finished."""
        there = {path.name for path in (self.out / PARTS).glob("*.parquet")}
        return [shard for shard in range(len(self.sizes)) if self.part(shard).name not in there]

    def items(self, shard: int) -> list[Item]:
        """Return the items of a shard, in order.

        Raises:
            MaskyoloError: the list of items cannot be read.
        """
        arrow, path = load_arrow(), self.out / ITEMS
        try:
            with arrow.parquet.ParquetFile(path) as file:
                rows = file.read_row_group(shard).to_pylist()
        except (OSError, arrow.ArrowException) as error:
            raise _unreadable(path, error) from error
        return [_item(**row) for row in rows]


def shown(text: str) -> str:
    r"""Return a text that can be stored: bytes of a name that are not UTF-8 become `\udcNN`."""
    return text.encode(errors="backslashreplace").decode()


def read_plan(out: Path | str) -> Plan:
    """Read the plan in a folder.

    Raises:
        MaskyoloError: there is none, it is damaged, or another version of maskyolo made it.
    """
    out = Path(out).absolute()
    path = out / PLAN
    try:
        content = json.loads(read_limited(path))
    except FileNotFoundError as error:
        raise MaskyoloError(
            f"there is no plan in {out}", f"make one: maskyolo batch plan SOURCE --out {out}"
        ) from error
    except (OSError, ParseError, ValueError, RecursionError) as error:
        raise _unreadable(path, error) from error
    found = content.get("maskyolo") if isinstance(content, dict) else None
    version = sys.modules["maskyolo"].__version__
    if found != version or content.get("format") != FORMAT:
        raise MaskyoloError(
            f"{path} was made with maskyolo {found}, and this is {version}, which may "
            "give other results",
            "install the same version, or plan again in another folder",
        )
    try:
        return Plan(
            out,
            str(content["id"]),
            Path(content["base"]),
            tuple(map(str, content["sources"])),
            _options(content["settings"], path),
            {str(key): str(value) for key, value in content["model"].items()},
            tuple(map(str, content["classes"])),
            _sizes(out / ITEMS),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise _unreadable(path, error) from error


def _item(source: str, name: bytes | None, problem: str, remedy: str, **other: Any) -> Item:
    item = Item(name=source if name is None else os.fsdecode(name), **other)
    return replace(item, problem=item.restore(problem), remedy=item.restore(remedy))


def _options(settings: Mapping[str, Any], path: Path) -> PlanOptions:
    hints = get_type_hints(PlanOptions)
    return PlanOptions(
        **{
            field.name: typed_value(value, hints[field.name], f"{path}: {field.name}")
            for field in fields(PlanOptions)
            if (value := settings.get(field.name)) is not None
        }
    )


def _sizes(path: Path) -> tuple[int, ...]:
    arrow = load_arrow()
    try:
        found = arrow.parquet.read_metadata(path)
    except (OSError, arrow.ArrowException) as error:
        raise _unreadable(path, error) from error
    return tuple(found.row_group(n).num_rows for n in range(found.num_row_groups))


def _unreadable(path: Path, error: Exception) -> MaskyoloError:
    reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
    return MaskyoloError(
        f"cannot read {path}: {reason or type(error).__name__}", "plan again in another folder"
    )
