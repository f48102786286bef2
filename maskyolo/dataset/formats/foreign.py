"""Recognize annotations in formats that are not read, to say which export to choose."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maskyolo.core.parsing import load_json
from maskyolo.errors import DatasetError

__all__ = ["foreign_format"]

#: Number of files to look into, per kind.
_SAMPLE = 5
_SUFFIXES = {
    ".tfrecord": "TFRecord files",
    ".record": "TFRecord files",
    ".parquet": "Parquet files",
    ".mat": "MATLAB files",
    ".json": "a JSON file",
    ".jsonl": "a JSON Lines file",
    ".xml": "an XML file",
    ".csv": "a CSV table",
}


def foreign_format(files: Sequence[Path]) -> str:
    """Return what other annotations there are among the files of a folder; empty if there are none.

    For example "LabelMe's JSON (a.json)".
    """
    for suffix, general in _SUFFIXES.items():
        found = [path for path in files if path.suffix.lower() == suffix]
        if not found:
            continue
        if suffix == ".json":
            named = ((_kind_of_json(path), path) for path in found[:_SAMPLE])
            name, path = next(((kind, path) for kind, path in named if kind), (general, found[0]))
        else:
            name, path = general, found[0]
        return f"{name} ({path.name})"
    return ""


def _kind_of_json(path: Path) -> str:
    try:
        content = load_json(path)
    except DatasetError:
        return ""
    if isinstance(content, dict):
        return _kind_of_dict(content)
    first = content[0] if isinstance(content, list) and content else None
    if isinstance(first, dict) and {"image", "annotations"} <= first.keys():
        return "Create ML's JSON"
    return ""


def _kind_of_dict(content: dict[str, Any]) -> str:
    keys = content.keys()
    for needed, name in (
        ({"shapes", "imagePath"}, "LabelMe's JSON"),
        ({"_via_img_metadata"}, "VGG Image Annotator's JSON"),
        ({"assets", "tags"}, "VoTT's JSON"),
        ({"objects", "size"}, "Supervisely's JSON"),
        ({"items", "categories"}, "Datumaro's JSON"),
        ({"images", "categories"}, "COCO's JSON without annotations"),
    ):
        if needed <= keys:
            return name
    rows = [value for value in list(content.values())[:1] if isinstance(value, dict)]
    return "VGG Image Annotator's JSON" if rows and "regions" in rows[0] else ""
