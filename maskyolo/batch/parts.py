"""The results of a shard: one Parquet file, which is written whole."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from maskyolo.batch.arrow import load_arrow
from maskyolo.batch.plans import Item, Plan, shown
from maskyolo.core.files import move_into_place
from maskyolo.errors import MaskyoloError, output_errors

if TYPE_CHECKING:
    from typing import Self

__all__ = ["PartInfo", "PartWriter", "read_info", "read_rows", "remove_leftovers"]

#: Number of rows that are written at once.
_ROWS = 1000
#: The key of a part's facts in the metadata of its file.
_KEY = b"maskyolo"


@dataclass(frozen=True)
class PartInfo:
    """What a part says about itself.

    Attributes:
        items: number of items of its shard.
        rows: number of rows: images, frames and errors.
        errors: number of rows with an error.
        made: versions and processor of the machine that made it.
    """

    items: int
    rows: int
    errors: int
    made: Mapping[str, Any]


class PartWriter:
    """Writes the rows of a shard to a temporary file, which `finish` moves into place.

    Several processes may write the same part; the last one to finish replaces it with an equal one.

    Raises:
        OutputError: no space left, or no permission.
    """

    def __init__(self, plan: Plan, shard: int, made: Mapping[str, Any]) -> None:
        arrow = load_arrow()
        self._path = plan.part(shard)
        self._part = self._path.with_name(
            f".{self._path.stem}-{os.getpid()}-{uuid.uuid4().hex[:8]}.part"
        )
        self._facts = {"plan": plan.id, "shard": shard, "items": plan.sizes[shard], "made": made}
        self._schema, self._rows = _schema(arrow), list[dict[str, Any]]()
        self._names: list[str] = []
        self.rows = self.errors = 0
        with output_errors(self._path):
            self._writer = arrow.parquet.ParquetWriter(self._part, self._schema, compression="zstd")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the temporary file, unless the part is finished."""
        del kind, error, trace
        self._writer.close()
        self._part.unlink(missing_ok=True)

    def add(self, item: Item, record: Mapping[str, Any]) -> None:
        """Add a row: a record of `json_record` about an item, or one with `frame` and `error`."""
        found = record.get("detections")
        error = record.get("error")
        self._rows.append(
            {
                "item": item.number,
                "source": item.source,
                **{name: record.get(name) for name in ("frame", "time", "width", "height", "rate")},
                "detections": found,
                "error": None if error is None else shown(error),
            }
        )
        self.rows += 1
        self.errors += error is not None
        if len(self._rows) >= _ROWS:
            self._flush()

    def finish(self) -> None:
        """Move the file into place, and sync it."""
        self._flush()
        facts = {**self._facts, "rows": self.rows, "errors": self.errors}
        with output_errors(self._path):
            self._writer.add_key_value_metadata({_KEY: json.dumps(facts)})
            self._writer.close()
            try:
                move_into_place(self._part, self._path)
            except FileNotFoundError:  # removed as a leftover: another process was faster
                if not self._path.exists():
                    raise

    def _flush(self) -> None:
        table = load_arrow().Table.from_pylist(self._rows, schema=self._schema)
        self._rows.clear()
        with output_errors(self._path):
            self._writer.write_table(table)


def read_info(plan: Plan, shard: int) -> PartInfo:
    """Return what the part of a finished shard says about itself.

    Raises:
        MaskyoloError: it is damaged, or belongs to another plan.
    """
    arrow, path = load_arrow(), plan.part(shard)
    try:
        with arrow.parquet.ParquetFile(path) as file:
            rows = file.metadata.num_rows
            facts = json.loads((file.metadata.metadata or {})[_KEY])
        found = PartInfo(facts["items"], facts["rows"], facts["errors"], facts["made"])
        own = (facts["plan"], facts["shard"], found.rows) == (plan.id, shard, rows)
    except (OSError, arrow.ArrowException, KeyError, TypeError, ValueError) as error:
        raise MaskyoloError(
            f"cannot read {path}: {' '.join(str(error).split())[:200] or type(error).__name__}",
            f"remove it, and run `maskyolo batch run {plan.out}` again",
        ) from error
    if not own:
        raise MaskyoloError(
            f"{path} is not the result of shard {shard} of this plan",
            f"remove it, and run `maskyolo batch run {plan.out}` again",
        )
    return found


def read_rows(plan: Plan, shard: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of a finished shard.

    Raises:
        MaskyoloError: the part is damaged.
    """
    arrow, path = load_arrow(), plan.part(shard)
    try:
        with arrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_ROWS):
                yield from batch.to_pylist()
    except (OSError, arrow.ArrowException) as error:
        raise MaskyoloError(
            f"cannot read {path}: {' '.join(str(error).split())[:200]}",
            f"remove it, and run `maskyolo batch run {plan.out}` again",
        ) from error


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of processes that were killed, once all shards are finished."""
    for path in folder.glob(".*.part"):
        path.unlink(missing_ok=True)


def _schema(arrow: Any) -> Any:
    whole, real, text = arrow.int64(), arrow.float64(), arrow.string()
    detection = arrow.struct(
        {"box": arrow.list_(real), "class": text, "class_id": whole, "confidence": real}
    )
    return arrow.schema(
        {
            "item": whole,
            "source": text,
            "frame": whole,
            "time": real,
            "width": whole,
            "height": whole,
            "rate": real,
            "detections": arrow.list_(detection),
            "error": text,
        }
    )
