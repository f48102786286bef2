"""Joins the parts of a finished plan: a manifest with checksums, and the lines of `detect`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from maskyolo.batch.options import JoinOptions
from maskyolo.batch.parts import read_info, read_rows, remove_leftovers
from maskyolo.batch.plans import FORMAT, PARTS, Item, Plan, read_plan
from maskyolo.batch.tracks import TrackedLines
from maskyolo.core.files import sha256_of, write_atomic
from maskyolo.core.options import takes_options
from maskyolo.core.text import counted
from maskyolo.errors import MaskyoloError
from maskyolo.runtime.counting import Counting
from maskyolo.runtime.json_lines import LineFile

__all__ = ["MANIFEST", "JoinResult", "join_batch", "write_manifest"]

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class JoinResult:
    """What was joined.

    Attributes:
        manifest: the file with settings, versions, counts and checksums.
        items: number of images and videos.
        rows: number of rows: images, frames and errors.
        errors: number of rows with an error.
        people: the counts of tracked people, if people were tracked.
    """

    manifest: Path
    items: int
    rows: int
    errors: int
    people: Counting | None = None


@takes_options(JoinOptions)
def join_batch(
    out: Path | str,
    jsonl: Path | str | None = None,
    *,
    options: JoinOptions | None = None,
    on_progress: Callable[[int, int | None], None] | None = None,
    **settings: Any,
) -> JoinResult:
    """Check that every shard of a plan is finished, and write its manifest.

    The parts (`parts/*.parquet`) are one Parquet data set. With `jsonl`, the same lines are written
    as by `detect` with `save_json`, in the same order. Of a plan with `track`, people are tracked
    and counted now, with the lines, events and counts of `detect` with `track`.

    Args:
        out: the folder of the plan.
        jsonl: file of lines to write.
        options: what to count and write of tracked people; see `JoinOptions`.
        on_progress: called with the number of items joined, and their total.
        settings: fields of `JoinOptions`, which override `options`.

    Raises:
        MaskyoloError: a shard is not finished, a part is damaged or belongs to another plan, or
            people are to be counted in a plan without `track`.
        OutputError: a file cannot be written.

    Examples:
        >>> result = join_batch("plans/samples", "samples.jsonl")  # doctest: +SKIP
        >>> result.items, result.errors  # doctest: +SKIP
        (9, 0)
    """
    chosen = JoinOptions.merge(options, settings)
    plan = read_plan(out)
    if chosen.needs_tracks and not plan.options.track:
        raise MaskyoloError(
            f"people cannot be tracked in the results of the plan in {plan.out}, which was made "
            "without --track",
            "plan again in another folder, with --track",
        )
    missing = plan.missing()
    if missing:
        raise MaskyoloError(
            f"{counted(len(missing), 'shard')} of {len(plan.sizes)} of the plan in {plan.out} "
            f"{'is' if len(missing) == 1 else 'are'} not finished, such as {missing[0]}",
            f"run: maskyolo batch run {plan.out}",
        )
    if plan.options.track and (jsonl is not None or chosen.needs_tracks):
        people = _track(plan, None if jsonl is None else Path(jsonl), chosen, on_progress)
        return replace(write_manifest(plan), people=people)
    if jsonl is not None:
        _write_lines(plan, Path(jsonl), on_progress)
    return write_manifest(plan)


def write_manifest(plan: Plan) -> JoinResult:
    """Write the manifest of a finished plan, and remove what killed processes have left.

    Raises:
        MaskyoloError: a part is damaged or belongs to another plan.
        OutputError: the manifest cannot be written.
    """
    remove_leftovers(plan.out / PARTS)
    infos = [read_info(plan, shard) for shard in range(len(plan.sizes))]
    makers: list[Mapping[str, Any]] = []
    for info in infos:
        if info.made not in makers:
            makers.append(info.made)
    result = JoinResult(
        plan.out / MANIFEST,
        sum(info.items for info in infos),
        sum(info.rows for info in infos),
        sum(info.errors for info in infos),
    )
    content = {
        "format": FORMAT,
        "plan": plan.id,
        "sources": plan.sources,
        "model": plan.model,
        "settings": {
            name: value for name, value in plan.options.recorded().items() if value is not None
        },
        "items": result.items,
        "rows": result.rows,
        "errors": result.errors,
        "machines": makers,
        "parts": [
            {
                "file": f"{PARTS}/{plan.part(shard).name}",
                "sha256": sha256_of(plan.part(shard)),
                "items": info.items,
                "rows": info.rows,
                "errors": info.errors,
            }
            for shard, info in enumerate(infos)
        ],
    }
    write_atomic(result.manifest, json.dumps(content, indent=2, default=str) + "\n")
    return result


def _write_lines(
    plan: Plan, path: Path, on_progress: Callable[[int, int | None], None] | None
) -> None:
    """Write the lines of all shards."""
    done, total = 0, sum(plan.sizes)
    file = LineFile(path)
    try:
        for shard, size in enumerate(plan.sizes):
            read_info(plan, shard)
            for line in _lines(plan, shard):
                file.line(line)
            done += size
            if on_progress:
                on_progress(done, total)
    except BaseException:
        file.abandon()
        raise
    file.close()


def _track(
    plan: Plan,
    jsonl: Path | None,
    options: JoinOptions,
    on_progress: Callable[[int, int | None], None] | None,
) -> Counting:
    """Track people in the rows of all shards, and write lines, events and counts."""
    done, total = 0, sum(plan.sizes)
    lines = TrackedLines(plan, jsonl, options)
    try:
        for shard, size in enumerate(plan.sizes):
            read_info(plan, shard)
            items = {item.number: item for item in plan.items(shard)}
            for number, rows in groupby(read_rows(plan, shard), key=itemgetter("item")):
                lines.add(items[number], rows)
                lines.finish(items[number])
            done += size
            if on_progress:
                on_progress(done, total)
        lines.close()
    except BaseException:
        lines.abandon()
        raise
    return lines.counting


def _lines(plan: Plan, shard: int) -> Iterator[str]:
    """Yield the lines of a shard, as `JsonLines` writes them."""
    items = {item.number: item for item in plan.items(shard)}
    for row in read_rows(plan, shard):
        yield json.dumps(_record(items[row["item"]], row), ensure_ascii=False)


def _record(item: Item, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as a record of `json_record`."""
    if row["error"] is not None:
        return {"source": item.name, "frame": row["frame"], "error": item.restore(row["error"])}
    return {
        "source": item.name,
        **{name: row[name] for name in ("frame", "time", "width", "height")},
        "detections": [{**found, "track_id": None} for found in row["detections"]],
    }
