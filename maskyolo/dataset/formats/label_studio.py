"""Label Studio's JSON: a list of tasks, each with an image and its annotations in percent."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PureWindowsPath
from typing import Any

from maskyolo.core.images import IMAGE_SUFFIXES
from maskyolo.core.parsing import load_json
from maskyolo.dataset.formats.base import AnnotatedPhoto, AnnotatedSet, ImageIndex
from maskyolo.dataset.formats.gathering import Shapes, find_referenced, gather, problems_of
from maskyolo.dataset.formats.shapes import box_of_points, rotated_box
from maskyolo.errors import DatasetError

__all__ = ["is_label_studio", "read_label_studio"]

#: Keys of a task's annotations in the JSON of today, and of versions before 1.0.
_ANNOTATIONS = ("annotations", "completions")


def is_label_studio(source: Path, files: Sequence[Path]) -> bool:
    """Return whether a file or folder is a set of Label Studio: a JSON file with tasks."""
    candidates = [source] if source.is_file() else files
    json_files = [path for path in candidates if path.suffix.lower() == ".json"][:20]
    return any(_tasks_in(path) is not None for path in json_files)


def read_label_studio(source: Path) -> AnnotatedSet:
    """Read Label Studio's JSON or JSON-MIN, or all such files in a folder; see `gather` for images.

    Rectangles, ellipses and polygons become boxes around them. An image with another shape is
    `ambiguous`. Of several annotations of a task, the one marked as ground truth counts, or else
    the first that was not cancelled. A task without annotations is left out.

    Raises:
        DatasetError: no such file.
    """
    expected = "export the project as JSON, COCO or YOLO"
    return gather(source, "label-studio", ".json", _read_file, expected)


def _tasks_in(path: Path) -> list[dict[str, Any]] | None:
    """Return the tasks in a JSON file; None if it is another kind of file."""
    try:
        content = load_json(path)
    except DatasetError:
        return None
    if isinstance(content, dict) and isinstance(content.get("data"), dict):
        content = [content]  # a single task
    if not isinstance(content, list) or not content:
        return None
    tasks = [task for task in content if isinstance(task, dict)]
    return tasks if tasks and _is_task(tasks[0]) else None


def _is_task(task: Mapping[str, Any]) -> bool:
    if isinstance(task.get("data"), dict):
        return any(isinstance(task.get(key), list) for key in _ANNOTATIONS)
    rows = [row for value in task.values() if isinstance(value, list) for row in value]
    return any(isinstance(row, dict) and "original_width" in row for row in rows)


def _read_file(path: Path, index: ImageIndex) -> list[AnnotatedPhoto] | None:
    tasks = _tasks_in(path)
    if tasks is None:
        return None
    problems = Counter[str]()
    found = []
    for number, task in enumerate(tasks, 1):
        try:
            photo = _read_task(path, task, number, index, problems)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            problems["tasks that cannot be read"] += 1
            continue
        found += [photo] if photo else []
    return [*found, *problems_of(path, index, problems)]


def _read_task(
    path: Path,
    task: Mapping[str, Any],
    number: int,
    index: ImageIndex,
    problems: Counter[str],
) -> AnnotatedPhoto | None:
    """Return the image of a task; None if the task is not annotated."""
    results = _results_of(task)
    if results is None:
        problems["tasks without annotations"] += 1
        return None
    reference = _image_of(task)
    image, missing = find_referenced(reference, path, index, task.get("id", number))
    if image is None:
        return missing
    shapes = Shapes()
    named = {str(row.get("id")): row for row in results if _names_of(row)}
    for row in results:
        value = row.get("value", row)
        if not {"x", "points", "rle", "keypointlabels"} & value.keys():
            continue  # a choice or a text for the whole image
        names = _names_of(row) or _names_of(named.get(str(row.get("id")), {}))
        if not _names_of(row) and str(row.get("id")) in named:
            continue  # the same region without its label, which follows
        shapes.add(names[0] if names else "", _box(row), "with a shape without a box")
    return shapes.photo(image, index)


def _results_of(task: Mapping[str, Any]) -> list[Mapping[str, Any]] | None:
    """Return the regions of a task's annotation; None if it has none."""
    given = next((task[key] for key in _ANNOTATIONS if isinstance(task.get(key), list)), None)
    if given is None:  # JSON-MIN: the regions are values of the task itself
        lists = [value for value in task.values() if isinstance(value, list)]
        rows: list[Mapping[str, Any]] = [
            row for value in lists for row in value if isinstance(row, dict)
        ]
        return rows or None
    usable = [entry for entry in given if not (entry.get("was_cancelled") or entry.get("skipped"))]
    best = next((entry for entry in usable if entry.get("ground_truth")), None)
    chosen = best or (usable[0] if usable else None)
    return None if chosen is None else list(chosen.get("result") or [])


def _image_of(task: Mapping[str, Any]) -> str:
    """Return the path or address of a task's image."""
    data = task.get("data")
    values = data if isinstance(data, dict) else task
    texts = {key: value for key, value in values.items() if isinstance(value, str)}
    for key in ("image", "img", "photo", "picture", "url"):
        if key in texts:
            return texts[key]
    for value in texts.values():
        if PureWindowsPath(value.partition("?")[0]).suffix.lower() in IMAGE_SUFFIXES:
            return value
    return str(task.get("file_upload") or "")


def _names_of(row: Mapping[str, Any]) -> list[str]:
    """Return the labels of a region."""
    value = row.get("value", row)
    keys = [key for key in value if key.endswith("labels") and isinstance(value[key], list)]
    return [str(name) for key in keys for name in value[key]]


def _box(row: Mapping[str, Any]) -> list[float] | None:
    """Return the xyxy box of a region in pixels; None if it has none."""
    value = row.get("value", row)
    width = float(row.get("original_width") or value.get("original_width") or 0)
    height = float(row.get("original_height") or value.get("original_height") or 0)
    if not (width > 0 and height > 0 and math.isfinite(width + height)):
        return None
    if "points" in value:
        return box_of_points(
            [(float(x) * width / 100, float(y) * height / 100) for x, y in value["points"]]
        )
    if "x" not in value or "keypointlabels" in value:
        return None
    x, y = float(value["x"]) * width / 100, float(value["y"]) * height / 100
    turned = float(value.get("rotation") or 0)
    if "radiusX" in value:
        across = float(value["radiusX"]) * width / 100
        down = float(value["radiusY"]) * height / 100
        return rotated_box(x - across, y - down, 2 * across, 2 * down, turned, (x, y))
    if "width" not in value or "height" not in value:
        return None
    across, down = float(value["width"]) * width / 100, float(value["height"]) * height / 100
    # Label Studio rotates around the top left corner
    box = [x, y, x + across, y + down]
    return rotated_box(x, y, across, down, turned, (x, y)) if turned else box
