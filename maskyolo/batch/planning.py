"""Makes a plan: lists an archive, divides it into shards, and fixes the settings."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import fields, replace
from itertools import chain
from pathlib import Path
from typing import Any

from maskyolo.batch.arrow import load_arrow
from maskyolo.batch.listing import list_items
from maskyolo.batch.options import PlanOptions
from maskyolo.batch.plans import FORMAT, ITEMS, PARTS, PLAN, Item, Plan, read_plan, shown
from maskyolo.core.choices import BackendName, Pipeline, Precision
from maskyolo.core.detector import class_names_of
from maskyolo.core.files import part_of, sha256_of, write_atomic
from maskyolo.core.options import takes_options
from maskyolo.detectors.loading import describe_detector, load_detector, model_file
from maskyolo.detectors.options import InferenceOptions
from maskyolo.detectors.yolo import YoloDetector
from maskyolo.errors import OutputError, output_errors
from maskyolo.models.backends.loading import choose_backend
from maskyolo.runtime.addresses import display_name
from maskyolo.runtime.provenance import describe_model, made_with

__all__ = ["plan_batch"]

#: Bytes of a video that count as one image: a frame of 1080p H.264 at 4 Mbit/s and 25 fps.
VIDEO_BYTES = 20_000


@takes_options(PlanOptions)
def plan_batch(
    source: str | Path | Sequence[str | Path],
    out: Path | str,
    *,
    options: PlanOptions | None = None,
    on_progress: Callable[[int, int | None], None] | None = None,
    **settings: Any,
) -> Plan:
    """List the images and videos of an archive in shards, for `run_batch`.

    Runtime, precision and inference size are fixed, so that every machine gives the same results.

    Args:
        source: folder, glob, list or file, or several, as for `detect`; a tar file, a Parquet file
            with images as bytes, or the address of an object or prefix, such as s3://bucket/photos.
        out: folder to create, for the plan and the results.
        options: all settings; see `PlanOptions`.
        on_progress: called with the number of items listed, and None.
        settings: fields of `PlanOptions`, which override `options`.

    Raises:
        SourceError: there is nothing to read, or a source is a camera, stream or pipe.
        OutputError: `out` already exists, or cannot be written.
        WeightsError: the model cannot be loaded.
        DependencyError: PyArrow is not installed.

    Examples:
        >>> plan = plan_batch("data/samples", "plans/samples", shard=4)  # doctest: +SKIP
        >>> sum(plan.sizes)  # doctest: +SKIP
        9
    """
    chosen = PlanOptions.merge(options, settings)
    load_arrow()
    out = Path(out).absolute()
    if out.exists() and ((out / PLAN).exists() or any(out.iterdir() if out.is_dir() else [out])):
        raise OutputError(
            f"cannot plan in {out}: it already exists",
            "choose another folder"
            + (f", or process its plan: maskyolo batch run {out}" if (out / PLAN).exists() else ""),
        )
    items = list_items(source)
    first = next(items)  # before anything is written
    detector = load_detector(options=chosen.part(InferenceOptions))
    chosen = _fixed(chosen, detector)
    file = model_file(chosen)
    model = describe_model(file, describe_detector(detector)[0])
    _write_items(out, _shards(_numbered(chain([first], items), on_progress), chosen.shard))
    recorded = {**chosen.recorded(), "model": str(chosen.model or file.stem)}
    several = [source] if isinstance(source, (str, Path)) else source
    content: dict[str, Any] = {
        "format": FORMAT,
        "maskyolo": made_with()["maskyolo"],
        "base": str(Path.cwd()),
        "sources": [display_name(one) for one in several],
        "settings": {name: value for name, value in recorded.items() if value is not None},
        "model": model,
        "classes": class_names_of(detector),
        "made": made_with(chosen.threads),
    }
    decisive = {"items": sha256_of(out / ITEMS), **{key: content[key] for key in _DECISIVE}}
    content["id"] = sha256_of(json.dumps(decisive, default=str, sort_keys=True).encode())
    text = json.dumps(content, indent=2, default=str) + "\n"
    write_atomic(out / PLAN, text)  # last: without it, the folder is no plan
    return read_plan(out)


_DECISIVE = ("maskyolo", "base", "settings", "model")


def _fixed(options: PlanOptions, detector: Any) -> PlanOptions:
    """Return the options with what this machine has chosen for `auto`."""
    if options.pipeline is not Pipeline.YOLO or not isinstance(detector, YoloDetector):
        return options
    backend = options.backend
    if backend is BackendName.AUTO:
        backend = choose_backend(model_file(options).suffix.lower(), options.device)[0]
    return replace(
        options,
        backend=backend,
        precision=Precision(detector.backend.precision),
        imgsz=detector.imgsz,
    )


def _numbered(
    items: Iterable[Item], on_progress: Callable[[int, int | None], None] | None
) -> Iterator[Item]:
    for number, item in enumerate(items):
        yield replace(item, number=number)
        if on_progress:
            on_progress(number + 1, None)


def _shards(items: Iterable[Item], images: int) -> Iterator[list[Item]]:
    """Yield the items in groups of about `images` images; a longer video is alone in its group."""
    shard: list[Item] = []
    weight = 0
    for item in items:
        own = max(1, item.bytes // VIDEO_BYTES) if item.kind == "video" else 1
        if shard and weight + own > images:
            yield shard
            shard, weight = [], 0
        shard.append(item)
        weight += own
    if shard:
        yield shard


def _write_items(out: Path, shards: Iterable[list[Item]]) -> None:
    """Write the list of items into the folder, which is created, one row group per shard."""
    arrow = load_arrow()
    kinds = {"int": arrow.int64(), "str": arrow.string()}
    schema = arrow.schema(
        {
            "source": arrow.string(),
            **{field.name: kinds[str(field.type)] for field in fields(Item)},
            "name": arrow.binary(),  # only if it is not the same as `source`
        }
    )
    path = out / ITEMS
    part = part_of(path)
    try:
        with output_errors(out):
            (out / PARTS).mkdir(parents=True, exist_ok=True)
        with output_errors(path), arrow.parquet.ParquetWriter(part, schema) as writer:
            for shard in shards:
                rows = [_row(item) for item in shard]
                writer.write_table(
                    arrow.Table.from_pylist(rows, schema=schema), row_group_size=len(rows)
                )
        with output_errors(path):
            part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        with suppress(OSError):  # the folder may have been there before
            (out / PARTS).rmdir()
            out.rmdir()
        raise


def _row(item: Item) -> dict[str, Any]:
    texts = {name: shown(value) for name, value in vars(item).items() if isinstance(value, str)}
    return {
        **vars(item),
        **texts,
        "source": item.source,
        "name": None if item.source == item.name else os.fsencode(item.name),
    }
