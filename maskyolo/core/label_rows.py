"""The rows of YOLO label files as all tools write them: boxes, polygons, keypoints, tracks."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from maskyolo.core.boxes import MAX_BOXES
from maskyolo.errors import DatasetError

__all__ = ["LabelRows", "UndecidedRowError", "looks_like_rows", "parse_rows", "tails_of"]

#: What the last two numbers of longer rows may be: a confidence and a track id (True), or the last
#: point of a polygon (False).
Tails = frozenset[bool]

_EXPECTED = "expected 'class cx cy w h'"


class UndecidedRowError(DatasetError):
    """A row of seven columns that may be a triangle, or a box with confidence and track id."""


@dataclass(frozen=True)
class LabelRows:
    """The rows of a label file.

    Attributes:
        classes: the class of each box (n): its id, or its name if the file contains names.
        boxes: float64 (n, 4) xyxy, as fractions of the image's width and height, unchecked.
        lines: the line number of each box (n), from 1.
        plain: whether Ultralytics reads the same boxes from the file.
        tracked: number of rows that end with a confidence and a track id.
    """

    classes: tuple[int | str, ...]
    boxes: npt.NDArray[np.float64]
    lines: tuple[int, ...]
    plain: bool = True
    tracked: int = 0


@dataclass(frozen=True)
class _Row:
    number: int
    text: str
    class_id: int | str
    values: tuple[float, ...]
    last: str
    odd: bool

    @property
    def is_long(self) -> bool:
        """Whether it can be a polygon, or end with a confidence and a track id."""
        return len(self.values) >= 6 and len(self.values) % 2 == 0

    def tail(self) -> bool | None:
        """Return whether a long row ends with a confidence and a track id; None if unclear."""
        conf, last = self.values[-2:]
        if not -0.5 < last < 1.5:
            return last.is_integer() and 0 <= conf <= 1
        if self.last not in ("0", "1"):  # tools that write 1 as an id write no decimal point
            return False
        x, y, w, h = self.values[:4]
        inside = min(x - w / 2, y - h / 2) > -0.01 and max(x + w / 2, y + h / 2) < 1.01
        fits = len(self.values) > 6 or (inside and min(w, h) > 0)
        return None if fits and 0 <= conf <= 1 else False


def parse_rows(
    text: str, name: str = "labels", keypoints: bool = False, tails: Iterable[bool] = ()
) -> LabelRows:
    """Parse a label file from any tool.

    A row is `class cx cy w h`, with or without a confidence and a track id at the end; `class x1 y1
    x2 y2 x3 y3 …` for a polygon, which is replaced by its bounding box; or a box and keypoints. The
    class is an id or a name. Numbers are separated by spaces, commas or semicolons.

    A row of seven columns that ends with 0 or 1 may be a triangle or a tracked box. The file's
    other rows decide, then `tails`.

    Args:
        text: the content of the file.
        name: the file, for error messages.
        keypoints: whether keypoints follow the box.
        tails: what `tails_of` returns for the other files of the set.

    Raises:
        UndecidedRowError: a row of seven columns that can be either.
        DatasetError: any other row, or one with pixels instead of fractions; the message includes
            the line number.
    """
    rows = list(itertools.islice(_rows(text, name), MAX_BOXES + 1))
    if len(rows) > MAX_BOXES:
        raise DatasetError(f"{name}: more than {MAX_BOXES:,} boxes", "remove some of them")
    own = _tails(rows) if not keypoints else frozenset()
    known = own if len(own) == 1 else own | frozenset(tails)
    boxes, kinds = [], Counter[str]()
    for row in rows:
        kind, box = _box_of(row, name, keypoints, known)
        kinds[kind] += 1
        boxes.append(box)
    return LabelRows(
        tuple(row.class_id for row in rows),
        np.array(boxes, dtype=np.float64).reshape(-1, 4),
        tuple(row.number for row in rows),
        plain=set(kinds) in ({"box"}, {"polygon"}, set())
        and not any(row.odd or isinstance(row.class_id, str) for row in rows),
        tracked=kinds["tracked box"] + kinds["tracked polygon"],
    )


def tails_of(text: str) -> Tails:
    """Return what the long rows of a label file end with, as far as that is certain."""
    try:
        return _tails(list(_rows(text, "")))
    except DatasetError:
        return frozenset()


def looks_like_rows(text: str) -> bool:
    """Return whether the first line of a text that is not empty is a row with a box."""
    line = next((line for line in text.splitlines() if line.strip()), "")
    try:
        return all(len(row.values) >= 4 for row in _rows(line, "")) and bool(line)
    except DatasetError:
        return False


def _tails(rows: Sequence[_Row]) -> Tails:
    found = (row.tail() for row in rows if row.is_long)
    return frozenset(tail for tail in found if tail is not None)


def _rows(text: str, name: str) -> Iterator[_Row]:
    for number, line in enumerate(text.lstrip("\ufeff").splitlines(), 1):
        if not line.strip():
            continue
        tokens, odd = _tokens(line)
        start = next((place for place, token in enumerate(tokens) if _is_number(token)), 0)
        try:
            values = tuple(float(token) for token in tokens[max(start, 1) :])
        except ValueError:
            raise _error(name, number, line, f"{_EXPECTED} in numbers") from None
        yield _Row(
            number,
            line.strip()[:60],
            " ".join(tokens[:start]) if start else _class_id(tokens[0], name, number, line),
            values,
            tokens[-1],
            odd,
        )


def _tokens(line: str) -> tuple[list[str], bool]:
    """Split a line, and return whether it has other separators or decimal commas."""
    tokens = line.split()
    if "," not in line and ";" not in line:
        return tokens, False
    if len(tokens) > 4 and all(re.fullmatch(r"[+-]?\d+(,\d+)?", token) for token in tokens[1:]):
        return [tokens[0], *(token.replace(",", ".") for token in tokens[1:])], True
    return [token for token in re.split(r"[\s,;]+", line) if token], True


def _is_number(token: str) -> bool:
    try:
        float(token)
    except ValueError:
        return False
    return True


def _class_id(token: str, name: str, number: int, line: str) -> int:
    try:
        value = float(token)
    except ValueError:
        raise _error(name, number, line, f"{_EXPECTED} in numbers") from None
    if not math.isfinite(value):
        raise DatasetError(f"{name}, line {number}: {value:g} is not a class id", "correct it")
    if value != int(value):
        raise _error(name, number, line, _EXPECTED)
    return int(value)


def _box_of(row: _Row, name: str, keypoints: bool, tails: Tails) -> tuple[str, list[float]]:
    """Return the kind of a row, and its box."""
    values = row.values
    if row.is_long and not keypoints:
        if _has_tail(row, name, tails):
            values = values[:-2]
        if len(values) > 4:
            _check_fractions(row, values, name)
            xs, ys = values[::2], values[1::2]
            kind = "polygon" if len(values) == len(row.values) else "tracked polygon"
            return kind, [min(xs), min(ys), max(xs), max(ys)]
    elif not (len(values) in (4, 5) or (keypoints and len(values) > 4)):
        raise _error(name, row.number, row.text, _EXPECTED)
    _check_fractions(row, values[:4], name)
    cx, cy, w, h = values[:4]
    kind = "tracked box" if row.is_long and not keypoints else "longer box"
    kind = "box" if len(row.values) == 4 else kind
    return kind, [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]


def _has_tail(row: _Row, name: str, tails: Tails) -> bool:
    tail = row.tail()
    if tail is not None:
        return tail
    if len(tails) == 1:
        return True in tails
    if len(row.values) > 6:
        return False
    raise UndecidedRowError(
        f"{name}, line {row.number}: '{row.text}' may be a triangle, or a box with confidence and "
        "track id",
        "remove the last two numbers if it is a box",
    )


def _check_fractions(row: _Row, values: Sequence[float], name: str) -> None:
    largest = max(values)
    if largest > 2:
        raise DatasetError(
            f"{name}, line {row.number}: {largest:g} is not a fraction of the image's size",
            "divide pixels by the image's width and height, or export the set as YOLO",
        )


def _error(name: str, number: int, line: str, expected: str) -> DatasetError:
    return DatasetError(
        f"{name}, line {number}: {expected}, found '{line.strip()[:60]}'", "correct the line"
    )
